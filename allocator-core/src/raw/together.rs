//! Giving several ranges of pages back to the system by one call.
//!
//! Each call of its own interrupts every core that runs a thread of the process, which costs readers there some microseconds.

use super::os::{OS_PAGE, release};
use core::ops::Range;

/// Ranges of one call; the system takes 1024 (`UIO_MAXIOV`).
pub(crate) const RANGES_MAX: usize = 128;

/// Gives the pages of several ranges back, numbered from `base` on: together where that is offered (Linux 6.15 and later), one
/// range after the other where it is not. They read as zeroes afterwards. False when the system refuses any of them; some may be
/// given back then.
///
/// # Safety
/// Every range lies in a live [`Mapping`](super::os::Mapping), and nobody needs its bytes.
pub(crate) unsafe fn release_all(base: *mut u8, pages: &[Range<usize>]) -> bool {
    // SAFETY: guaranteed by the caller.
    let mut one_by_one = pages.iter().map(|range| unsafe {
        release(base.wrapping_add(range.start * OS_PAGE), range.len() * OS_PAGE)
    });
    // SAFETY: guaranteed by the caller.
    (pages.len() > 1 && unsafe { at_once(base, pages) }) || one_by_one.all(|released| released)
}

#[cfg(all(target_os = "linux", not(miri), not(loom)))]
unsafe fn at_once(base: *mut u8, pages: &[Range<usize>]) -> bool {
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Stands for the process that calls (`PIDFD_SELF` of `pidfd_open(2)`), after a fork too.
    const SELF: libc::c_int = -10_000;
    /// The system does not know the call, or that name of the process, or does not allow it.
    static REFUSED: AtomicBool = AtomicBool::new(false);

    // Relaxed: a hint, which orders nothing; who misses it asks once more.
    if REFUSED.load(Ordering::Relaxed) {
        return false;
    }
    pages.chunks(RANGES_MAX).all(|some| {
        let mut ranges = [libc::iovec { iov_base: core::ptr::null_mut(), iov_len: 0 }; RANGES_MAX];
        for (range, pages) in ranges.iter_mut().zip(some) {
            range.iov_base = base.wrapping_add(pages.start * OS_PAGE).cast();
            range.iov_len = pages.len() * OS_PAGE;
        }
        let bytes: usize = some.iter().map(|range| range.len() * OS_PAGE).sum();
        let (call, advice) = (libc::SYS_process_madvise, libc::MADV_DONTNEED);
        // SAFETY: the ranges are the caller's to give up, and their list is read during the call only.
        let done = unsafe { libc::syscall(call, SELF, ranges.as_ptr(), some.len(), advice, 0) };
        if done < 0 {
            // Relaxed: as above.
            REFUSED.store(true, Ordering::Relaxed);
        }
        usize::try_from(done) == Ok(bytes)
    })
}

#[cfg(not(all(target_os = "linux", not(miri), not(loom))))]
unsafe fn at_once(_base: *mut u8, _pages: &[Range<usize>]) -> bool {
    false
}

#[cfg(all(test, unix, not(miri), not(loom)))]
mod tests {
    use super::super::os::{Mapping, can_release};
    use super::*;

    #[test]
    fn the_pages_of_all_ranges_and_no_others_read_as_zeroes() {
        const PAGES: usize = 400;
        let mapping = Mapping::new(PAGES * OS_PAGE).expect("there is room");
        if !can_release() {
            return;
        }
        for step in [2, 3, PAGES] {
            // SAFETY: the whole mapping, which is writable and the test's.
            unsafe { mapping.ptr().as_ptr().write_bytes(7, PAGES * OS_PAGE) };
            let ranges: Vec<_> = (0..PAGES).step_by(step).map(|page| page..page + 1).collect();
            // SAFETY: inside the mapping, and nobody needs the bytes.
            assert!(unsafe { release_all(mapping.ptr().as_ptr(), &ranges) });
            for page in 0..PAGES {
                let first = mapping.ptr().as_ptr().wrapping_add(page * OS_PAGE);
                // SAFETY: inside the mapping.
                let byte = unsafe { first.read() };
                assert_eq!(byte, if page % step == 0 { 0 } else { 7 }, "page {page} of {step}");
            }
        }
        // SAFETY: nothing is given back.
        assert!(unsafe { release_all(mapping.ptr().as_ptr(), &[]) });
    }
}
