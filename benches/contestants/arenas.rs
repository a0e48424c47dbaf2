//! Allocators that hand out a region they were given, behind a mutex of parking_lot.

use super::blocks::{Pointers, Resizing};
use parking_lot::Mutex;
use rlsf::Tlsf;
use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use talc::DefaultBinning;
use talc::base::Talc;
use talc::source::Manual;

/// Memory for an allocator to hand out.
#[derive(Debug)]
struct Region(NonNull<[MaybeUninit<u8>]>);

impl Region {
    fn new(bytes: usize) -> Self {
        let memory = Box::into_raw(Box::new_uninit_slice(bytes));
        Self(NonNull::new(memory).expect("a box is not null"))
    }

    /// The memory, which nobody else may use.
    fn bytes(&self) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.0.cast(), self.0.len())
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the memory came from a box, and the allocator that used it is gone: it is the
        // field before this one.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// rlsf, for regions up to 256 MiB in one piece.
#[derive(Debug)]
pub struct MutexRlsf {
    tlsf: Mutex<Tlsf<'static, u32, u32, 23, 32>>,
    _region: Region,
}

// SAFETY: rlsf is an allocator; the region lives as long.
unsafe impl Pointers for MutexRlsf {
    const NAME: &'static str = "Mutex<rlsf>";

    fn with_room(bytes: usize) -> Self {
        let region = Region::new(bytes);
        let mut tlsf = Tlsf::new();
        // SAFETY: nobody else uses the region, and it lives as long as `tlsf`.
        let given = unsafe { tlsf.insert_free_block_ptr(region.bytes()) };
        given.expect("more than a header");
        Self { tlsf: Mutex::new(tlsf), _region: region }
    }

    #[inline]
    unsafe fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        self.tlsf.lock().allocate(layout)
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: guaranteed by the caller.
        unsafe { self.tlsf.lock().deallocate(block, layout.align()) };
    }
}

// SAFETY: as above.
unsafe impl Resizing for MutexRlsf {
    unsafe fn reallocate(
        &self,
        block: NonNull<u8>,
        layout: Layout,
        size: usize,
    ) -> Option<NonNull<u8>> {
        let layout = Layout::from_size_align(size, layout.align()).ok()?;
        // SAFETY: guaranteed by the caller.
        unsafe { self.tlsf.lock().reallocate(block, layout) }
    }
}

/// talc, with one heap.
#[derive(Debug)]
pub struct MutexTalc {
    talc: Mutex<Talc<Manual, DefaultBinning>>,
    _region: Region,
}

// SAFETY: talc is an allocator; the region lives as long.
unsafe impl Pointers for MutexTalc {
    const NAME: &'static str = "Mutex<talc>";

    fn with_room(bytes: usize) -> Self {
        let region = Region::new(bytes);
        let mut talc = Talc::new(Manual);
        // SAFETY: nobody else uses the region, and it lives as long as `talc`.
        let given = unsafe { talc.claim(region.bytes().cast().as_ptr(), region.0.len()) };
        given.expect("more than its bins");
        Self { talc: Mutex::new(talc), _region: region }
    }

    #[inline]
    unsafe fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: guaranteed by the caller.
        unsafe { self.talc.lock().allocate(layout) }
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: guaranteed by the caller.
        unsafe { self.talc.lock().deallocate(block.as_ptr(), layout) };
    }
}

// SAFETY: as above.
unsafe impl Resizing for MutexTalc {
    unsafe fn reallocate(
        &self,
        block: NonNull<u8>,
        layout: Layout,
        size: usize,
    ) -> Option<NonNull<u8>> {
        let mut talc = self.talc.lock();
        // SAFETY: guaranteed by the caller.
        if unsafe { talc.try_realloc_in_place(block.as_ptr(), layout, size) } {
            return Some(block);
        }
        let new = Layout::from_size_align(size, layout.align()).ok()?;
        // SAFETY: the size is not zero.
        let moved = unsafe { talc.allocate(new) }?;
        // SAFETY: it grows, or it would have had room: the bytes of the old block, in a new one that is longer.
        unsafe { moved.copy_from_nonoverlapping(block, layout.size()) };
        // SAFETY: guaranteed by the caller.
        unsafe { talc.deallocate(block.as_ptr(), layout) };
        Some(moved)
    }
}
