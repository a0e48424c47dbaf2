//! Raw blocks of memory: ours, two allocators behind a lock, and the global allocator.

use super::BlockSet;
use allocator_core::{Handle, Heap};
use std::alloc::{self, Layout, handle_alloc_error};
use std::num::NonZeroU32;
use std::ptr::NonNull;

/// The alignment of all blocks.
const ALIGN: usize = 8;

/// Blocks whose handles are checked to be stale once they are freed.
const EXCHANGED: usize = 100;

/// The byte that the block of a place is filled with.
fn byte(place: usize) -> u8 {
    (place % 251) as u8
}

#[inline]
fn layout(size: NonZeroU32) -> Layout {
    Layout::from_size_align(size.get() as usize, ALIGN).expect("less than 4 GiB")
}

/// Ours.
#[derive(Debug)]
pub struct HeapBlocks {
    heap: Heap,
    handles: Vec<Handle>,
}

impl BlockSet for HeapBlocks {
    const NAME: &'static str = "heap";

    fn with_room(bytes: usize) -> Self {
        let heap = Heap::builder().capacity(bytes).build().expect("a heap");
        Self { heap, handles: Vec::new() }
    }

    fn push(&mut self, size: NonZeroU32) {
        self.handles.push(self.heap.allocate(layout(size)).expect("room"));
    }

    #[inline]
    fn exchange(&mut self, place: usize, size: NonZeroU32) -> bool {
        let was_there = self.heap.deallocate(self.handles[place]).is_ok();
        self.handles[place] = self.heap.allocate(layout(size)).expect("room");
        was_there
    }

    fn is_intact(&mut self) -> bool {
        let Self { heap, handles } = self;
        for (place, handle) in handles.iter().enumerate() {
            heap.write(*handle).expect("live").fill(byte(place));
        }
        // Stale at once, and when another block has taken the room.
        let is_stale = |handle| heap.read(handle).is_err() && heap.deallocate(handle).is_err();
        for (place, handle) in handles.iter_mut().enumerate().take(EXCHANGED) {
            let (old, size) = (*handle, heap.size(*handle).expect("live"));
            let is_freed = heap.deallocate(old).is_ok() && is_stale(old);
            *handle = heap.allocate_bytes(&vec![byte(place); size]).expect("room");
            if !is_freed || !is_stale(old) {
                return false;
            }
        }
        let holds = |(place, handle): (usize, &Handle)| {
            heap.read(*handle).is_ok_and(|block| block.iter().all(|found| *found == byte(place)))
        };
        handles.iter().enumerate().all(holds) && heap.stats().live_blocks == handles.len()
    }
}

/// What hands out pointers.
///
/// # Safety
/// `allocate` gives memory of the layout that is nobody else's until `deallocate`, at the latest
/// until the allocator is dropped.
pub unsafe trait Pointers: 'static {
    /// The name in tables.
    const NAME: &'static str;

    /// With room for blocks of `bytes` in all.
    fn with_room(bytes: usize) -> Self;

    /// A block, where there is room.
    ///
    /// # Safety
    /// The size is not zero.
    unsafe fn allocate(&self, layout: Layout) -> Option<NonNull<u8>>;

    /// Takes a block back.
    ///
    /// # Safety
    /// It came from `allocate` with this layout, and is given up now.
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout);
}

/// What gives blocks other sizes too.
///
/// # Safety
/// `reallocate` gives memory as `allocate` does, with the bytes of the old block as far as both go.
pub unsafe trait Resizing: Pointers {
    /// Gives a block another size, elsewhere if need be; `None` where there is no room, and it stays as it is.
    ///
    /// # Safety
    /// It came from here with this layout, and is given up if another one is given. The size is not zero.
    unsafe fn reallocate(
        &self,
        block: NonNull<u8>,
        layout: Layout,
        size: usize,
    ) -> Option<NonNull<u8>>;
}

/// Blocks behind pointers, with the sizes that such allocators want back.
#[derive(Debug)]
pub struct PointerBlocks<A: Pointers> {
    allocator: A,
    blocks: Vec<(NonNull<u8>, NonZeroU32)>,
}

impl<A: Pointers> PointerBlocks<A> {
    #[inline]
    fn allocate(&self, size: NonZeroU32) -> NonNull<u8> {
        let layout = layout(size);
        // SAFETY: the size is not zero.
        let block = unsafe { self.allocator.allocate(layout) };
        block.unwrap_or_else(|| handle_alloc_error(layout))
    }
}

impl<A: Pointers> BlockSet for PointerBlocks<A> {
    const NAME: &'static str = A::NAME;

    fn with_room(bytes: usize) -> Self {
        Self { allocator: A::with_room(bytes), blocks: Vec::new() }
    }

    fn push(&mut self, size: NonZeroU32) {
        self.blocks.push((self.allocate(size), size));
    }

    #[inline]
    fn exchange(&mut self, place: usize, size: NonZeroU32) -> bool {
        let (block, old_size) = self.blocks[place];
        // SAFETY: the block came from this allocator with this size, and is replaced at once.
        unsafe { self.allocator.deallocate(block, layout(old_size)) };
        self.blocks[place] = (self.allocate(size), size);
        true
    }

    fn is_intact(&mut self) -> bool {
        for (place, (block, size)) in self.blocks.iter().enumerate() {
            // SAFETY: the block is ours and has so many bytes.
            unsafe { block.write_bytes(byte(place), size.get() as usize) };
        }
        self.blocks.iter().enumerate().all(|(place, (block, size))| {
            let bytes = NonNull::slice_from_raw_parts(*block, size.get() as usize);
            // SAFETY: the block is ours and was filled.
            unsafe { bytes.as_ref() }.iter().all(|found| *found == byte(place))
        })
    }
}

impl<A: Pointers> Drop for PointerBlocks<A> {
    fn drop(&mut self) {
        for (block, size) in self.blocks.drain(..) {
            // SAFETY: as in `exchange`; the block is taken out of the list.
            unsafe { self.allocator.deallocate(block, layout(size)) };
        }
    }
}

/// The global allocator of the process.
#[derive(Debug)]
pub struct Global;

// SAFETY: it is an allocator.
unsafe impl Pointers for Global {
    const NAME: &'static str = "global allocator";

    fn with_room(_bytes: usize) -> Self {
        Self
    }

    #[inline]
    unsafe fn allocate(&self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: guaranteed by the caller.
        NonNull::new(unsafe { alloc::alloc(layout) })
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: guaranteed by the caller.
        unsafe { alloc::dealloc(block.as_ptr(), layout) };
    }
}
