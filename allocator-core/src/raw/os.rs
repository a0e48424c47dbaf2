//! What is asked of the operating system: reserved memory, giving pages back, residency, barriers.
//!
//! Where the system offers nothing of the kind (and under Miri and loom) plain allocations stand in:
//! nothing is ever given back, residency is unknown, and the asymmetric barrier is not available.

use core::ptr::NonNull;

/// Bytes of the pages in which memory is given back.
pub(crate) const OS_PAGE: usize = 4096;

/// A zeroed range of memory of its own.
#[derive(Debug)]
pub(crate) struct Mapping {
    ptr: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a mapping is memory and nothing else; what is done with it is its user's business.
unsafe impl Send for Mapping {}
// SAFETY: as above; the mapping itself is never changed after it was made.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// The first byte, aligned to [`OS_PAGE`].
    pub(crate) fn ptr(&self) -> NonNull<u8> {
        self.ptr
    }
}

/// Whether this build talks to the operating system at all.
const SYSTEM: bool = cfg!(all(unix, not(miri), not(loom)));

#[cfg(all(unix, not(miri), not(loom)))]
mod system {
    use super::{Mapping, NonNull, OS_PAGE};

    impl Mapping {
        /// Reserves `bytes` of zeroed memory that is committed page by page when it is touched.
        pub(crate) fn new(bytes: usize) -> Option<Self> {
            let bytes = bytes.next_multiple_of(OS_PAGE).max(OS_PAGE);
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
            // SAFETY: a fresh anonymous mapping at an address of the system's choice touches no memory
            // that is in use.
            let ptr = unsafe { libc::mmap(core::ptr::null_mut(), bytes, protection, flags, -1, 0) };
            if ptr == libc::MAP_FAILED {
                return None;
            }
            Some(Self { ptr: NonNull::new(ptr.cast())?, bytes })
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: the range was mapped by `new`, and its owner gives it up.
            let failed = unsafe { libc::munmap(self.ptr.as_ptr().cast(), self.bytes) };
            debug_assert_eq!(failed, 0, "a mapping of our own can be unmapped");
        }
    }

    /// Gives the pages back; they read as zeroes afterwards. False when the system refuses.
    ///
    /// # Safety
    /// The range is page-aligned, lies in a live [`Mapping`], and nobody needs its bytes.
    pub(crate) unsafe fn release(ptr: *mut u8, bytes: usize) -> bool {
        // SAFETY: guaranteed by the caller.
        unsafe { libc::madvise(ptr.cast(), bytes, libc::MADV_DONTNEED) == 0 }
    }

    /// Bytes of the system's pages.
    pub(super) fn page_size() -> usize {
        // SAFETY: a question without side effects.
        usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(0)
    }

    /// Asks for huge pages; a system without them ignores it.
    pub(crate) fn prefer_huge_pages(mapping: &Mapping) {
        #[cfg(target_os = "linux")]
        // SAFETY: the advice changes how the range is backed, not what it holds.
        unsafe {
            libc::madvise(mapping.ptr.as_ptr().cast(), mapping.bytes, libc::MADV_HUGEPAGE);
        }
        let _ = mapping;
    }

    /// Bytes of the first `bytes` of the mapping that are resident, where the system tells.
    pub(crate) fn resident(mapping: &Mapping, bytes: usize) -> Option<usize> {
        const CHUNK: usize = 1 << 26;
        if page_size() != OS_PAGE {
            return None;
        }
        let mut pages = vec![0_u8; CHUNK.min(bytes.next_multiple_of(OS_PAGE)) / OS_PAGE];
        let mut resident = 0;
        let mut at = 0;
        while at < bytes.min(mapping.bytes) {
            let chunk = CHUNK.min(bytes.min(mapping.bytes) - at);
            // SAFETY: `at` is below the size of the mapping.
            let start = unsafe { mapping.ptr.as_ptr().add(at) };
            // SAFETY: the range lies in the mapping, and `pages` holds one byte for each of its pages.
            let failed = unsafe { libc::mincore(start.cast(), chunk, pages.as_mut_ptr().cast()) };
            if failed != 0 {
                return None;
            }
            let seen = &pages[..chunk.div_ceil(OS_PAGE)];
            resident += seen.iter().filter(|page| **page & 1 == 1).count() * OS_PAGE;
            at += chunk;
        }
        Some(resident)
    }
}

#[cfg(not(all(unix, not(miri), not(loom))))]
mod system {
    use super::{Mapping, NonNull, OS_PAGE};
    use std::alloc::{Layout, alloc_zeroed, dealloc};

    impl Mapping {
        fn layout(bytes: usize) -> Option<Layout> {
            Layout::from_size_align(bytes, OS_PAGE).ok()
        }

        /// Allocates `bytes` of zeroed memory.
        pub(crate) fn new(bytes: usize) -> Option<Self> {
            let bytes = bytes.next_multiple_of(OS_PAGE).max(OS_PAGE);
            // SAFETY: the size is not zero.
            let ptr = NonNull::new(unsafe { alloc_zeroed(Self::layout(bytes)?) })?;
            Some(Self { ptr, bytes })
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            let layout = Self::layout(self.bytes).expect("the layout was valid in `new`");
            // SAFETY: allocated in `new` with this layout; its owner gives it up.
            unsafe { dealloc(self.ptr.as_ptr(), layout) };
        }
    }

    /// Nothing is given back here.
    ///
    /// # Safety
    /// None; it has the signature of its sibling.
    pub(crate) unsafe fn release(_ptr: *mut u8, _bytes: usize) -> bool {
        false
    }

    pub(super) fn page_size() -> usize {
        OS_PAGE
    }

    pub(crate) fn prefer_huge_pages(_mapping: &Mapping) {}

    pub(crate) fn resident(_mapping: &Mapping, _bytes: usize) -> Option<usize> {
        None
    }
}

use system::page_size;
pub(crate) use system::{prefer_huge_pages, release, resident};

/// Whether [`release`] can give pages of a mapping back: where the system's pages are ours. A system with
/// larger pages would round a range up, over bytes that are needed.
pub(crate) fn can_release() -> bool {
    SYSTEM && page_size() == OS_PAGE
}

/// The expensive half of an asymmetric fence (`membarrier(2)`, private expedited).
#[cfg(all(target_os = "linux", not(miri), not(loom)))]
pub(crate) mod membarrier {
    const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;
    const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;

    fn call(command: libc::c_int) -> bool {
        // SAFETY: membarrier takes integers and touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }

    /// Registers the process; false where the system does not offer it. May be repeated.
    pub(crate) fn register() -> bool {
        call(REGISTER_PRIVATE_EXPEDITED)
    }

    /// Runs a full memory barrier on every thread of the process that is running now; the others
    /// passed one when they were switched out.
    pub(crate) fn barrier() {
        assert!(call(PRIVATE_EXPEDITED), "membarrier failed after the process was registered");
    }
}

/// No asymmetric barrier here.
#[cfg(not(all(target_os = "linux", not(miri), not(loom))))]
pub(crate) mod membarrier {
    pub(crate) fn register() -> bool {
        false
    }

    #[cfg(not(loom))]
    pub(crate) fn barrier() {
        unreachable!("the process could not be registered");
    }

    /// Models of the bare protocol have asymmetric readers all the same.
    #[cfg(loom)]
    pub(crate) fn barrier() {
        crate::sync::atomic::heavy_barrier();
    }
}
