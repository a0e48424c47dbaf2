//! Raw blocks: bytes of the heap, reached through handles and borrowed under a reader-writer count.
//!
//! Unlike the objects of a pool, raw blocks give `&mut [u8]`, so each access holds its block
//! (`block.rs`): shared while it is read, alone while it is written or resized. A held block stays where it is.

use crate::block::{self, Access, HoldOutcome};
use crate::error::{AccessError, AllocError, AllocErrorKind, ResizeError, StaleHandle};
use crate::guard::Guard;
use crate::handle::Handle;
use crate::head::{Head, Size};
use crate::heap::{Heap, Inner};
use crate::raw::Wipe;
use crate::slot;
use crate::sync::Backoff;
use crate::sync::atomic::{AtomicU64, Ordering};
use core::alloc::Layout;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;
use core::slice;

/// Whether a call waits for the holders of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Yes,
    No,
}

/// A block that this call holds.
struct Held<'h> {
    head: Head<'h>,
    offset: u32,
    size: Size,
}

impl Heap {
    /// Allocates a block. It reads as zeroes until it is written; the zeroes are written when it is first
    /// accessed.
    ///
    /// Any size from 0 to the whole heap, alignments up to 4096. No lock where the thread's cache has a block of
    /// the size class, else one stripe's and one of the slot table. O(1) with [`Policy::SizeClass`](crate::Policy::SizeClass); each policy states its cost.
    ///
    /// # Errors
    /// No room, no slot, or an alignment above 4096. Retired blocks were reclaimed before that is said, and
    /// nothing has changed.
    ///
    /// ```
    /// # use allocator_core::Heap;
    /// # use std::alloc::Layout;
    /// let heap = Heap::builder().capacity(1024).build()?;
    /// let whole = heap.allocate(Layout::from_size_align(1024, 1)?)?;
    /// let error = heap.allocate(Layout::new::<u8>()).unwrap_err();
    /// assert_eq!((error.requested, error.largest_free), (1, 0));
    /// heap.deallocate(whole)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn allocate(&self, layout: Layout) -> Result<Handle, AllocError> {
        self.inner().allocate(layout, |_, _| true)
    }

    /// Allocates a block whose bytes are zero, written now. O(size).
    ///
    /// # Errors
    /// As [`allocate`](Self::allocate).
    pub fn allocate_zeroed(&self, layout: Layout) -> Result<Handle, AllocError> {
        self.inner().allocate(layout, |inner, offset| {
            // SAFETY: the block is not published yet, so it is ours alone.
            unsafe { inner.store.memory().zero(offset, 0, layout.size()) };
            false
        })
    }

    /// Allocates a block that holds a copy of `bytes`, without an alignment. O(size).
    ///
    /// # Errors
    /// As [`allocate`](Self::allocate).
    pub fn allocate_bytes(&self, bytes: &[u8]) -> Result<Handle, AllocError> {
        let layout = Layout::for_value(bytes);
        self.inner().allocate(layout, |inner, offset| {
            inner.store.memory().track_write(offset);
            let place = inner.store.memory().block(offset).as_ptr();
            // SAFETY: the block is ours alone and has room for `bytes`, which lie elsewhere.
            unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
            false
        })
    }

    /// Ends the life of a block. Its memory is free again when no guard and no borrow can see it any more.
    ///
    /// One compare-and-swap, no lock; each full batch of them starts a grace period. Waits only for a
    /// copy of this very block.
    ///
    /// # Errors
    /// A stale, double-freed, foreign or forged handle; nothing has changed.
    pub fn deallocate(&self, handle: Handle) -> Result<(), StaleHandle> {
        let inner = self.inner();
        let word = inner.raw.word(handle).ok_or(StaleHandle)?;
        let word = slot::unlink(word, handle).ok_or(StaleHandle)?;
        // The block is in use until it is retired.
        let head = inner.store.head(word.offset());
        // It is looked at when the grace period is over, and written for the next block.
        head.prefetch();
        inner.raw.retire_raw(inner, handle.index(), word, head.room());
        Ok(())
    }

    /// Whether `handle` names a block now. Never waits.
    pub fn contains(&self, handle: Handle) -> bool {
        let word = self.inner().raw.word(handle);
        // Acquire: whoever learns that the block is there sees what was written before it was allocated.
        word.is_some_and(|word| slot::names_object(word.load(Ordering::Acquire), handle))
    }

    /// Bytes of a block. Waits at most for a copy of this very block.
    ///
    /// # Errors
    /// A stale handle.
    pub fn size(&self, handle: Handle) -> Result<usize, StaleHandle> {
        let inner = self.inner();
        let word = inner.raw.word(handle).ok_or(StaleHandle)?;
        // Inside the section the block that the slot names stays in use.
        let _guard = self.enter();
        let offset = slot::find(word, handle).ok_or(StaleHandle)?;
        Ok(inner.size_of(&inner.store.head(offset)).bytes)
    }

    /// Borrows a block for reading, together with other readers. Waits for a writer; one that this thread
    /// holds itself is a deadlock, as with a lock.
    ///
    /// # Errors
    /// A stale handle; [`AccessError::Busy`] after 32,765 readers.
    pub fn read(&self, handle: Handle) -> Result<BlockRef<'_>, AccessError> {
        self.shared(handle, Wait::Yes)
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// A stale handle, or [`AccessError::Busy`] where a writer has the block.
    pub fn try_read(&self, handle: Handle) -> Result<BlockRef<'_>, AccessError> {
        self.shared(handle, Wait::No)
    }

    /// Borrows a block for writing, alone. Waits for readers and for a writer; a borrow of this thread is a
    /// deadlock, as with a lock.
    ///
    /// # Errors
    /// A stale handle.
    pub fn write(&self, handle: Handle) -> Result<BlockMut<'_>, AccessError> {
        self.exclusive(handle, Wait::Yes)
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// A stale handle, or [`AccessError::Busy`] where anybody has the block.
    pub fn try_write(&self, handle: Handle) -> Result<BlockMut<'_>, AccessError> {
        self.exclusive(handle, Wait::No)
    }

    /// Gives a block another size. The handle stays valid, the bytes that fit are kept, new ones are zero.
    /// Waits for borrows like [`write`](Self::write). In place where there is room, else O(size).
    ///
    /// # Errors
    /// A stale handle, or no room; nothing has changed.
    ///
    /// ```
    /// # use allocator_core::Heap;
    /// let heap = Heap::builder().capacity(1 << 16).build()?;
    /// let handle = heap.allocate_bytes(b"abc")?;
    /// heap.resize(handle, 5)?;
    /// assert_eq!(&*heap.read(handle)?, b"abc\0\0");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resize(&self, handle: Handle, size: usize) -> Result<(), ResizeError> {
        self.inner().resize(handle, size, Wait::Yes)
    }

    /// The same without waiting for borrows.
    ///
    /// # Errors
    /// As [`resize`](Self::resize), or [`AccessError::Busy`].
    pub fn try_resize(&self, handle: Handle, size: usize) -> Result<(), ResizeError> {
        self.inner().resize(handle, size, Wait::No)
    }

    fn shared(&self, handle: Handle, wait: Wait) -> Result<BlockRef<'_>, AccessError> {
        let inner = self.inner();
        let mut backoff = Backoff::default();
        let held = loop {
            let held = inner.hold(handle, Access::Shared, wait)?;
            if !held.size.zeroes_due {
                break held;
            }
            // Nobody accessed the block yet. Take it alone, write the zeroes, share it again; another first
            // reader may be at it too, and whoever is first does it for both.
            block::let_go(held.head.header, Access::Shared);
            match inner.hold(handle, Access::Exclusive, Wait::No) {
                Ok(mut held) => {
                    inner.write_zeroes(&mut held);
                    block::downgrade(held.head.header);
                    break held;
                }
                Err(AccessError::Stale) => return Err(AccessError::Stale),
                Err(AccessError::Busy) => backoff.step(),
            }
        };
        inner.store.memory().track_read(held.offset);
        let place = inner.store.memory().block(held.offset);
        Ok(BlockRef {
            inner,
            place,
            len: held.size.bytes,
            offset: held.offset,
            header: held.head.header,
        })
    }

    fn exclusive(&self, handle: Handle, wait: Wait) -> Result<BlockMut<'_>, AccessError> {
        let inner = self.inner();
        let mut held = inner.hold(handle, Access::Exclusive, wait)?;
        inner.write_zeroes(&mut held);
        inner.store.memory().track_write(held.offset);
        let place = inner.store.memory().block(held.offset);
        Ok(BlockMut {
            inner,
            place,
            len: held.size.bytes,
            offset: held.offset,
            header: held.head.header,
        })
    }
}

impl Inner {
    /// `init` writes the bytes, or says that they are to be read as zeroes and were not written.
    fn allocate(
        &self,
        layout: Layout,
        init: impl FnOnce(&Self, u32) -> bool,
    ) -> Result<Handle, AllocError> {
        let request = self.request(layout).ok_or_else(|| {
            self.refusal(AllocErrorKind::Unsupported, layout.size(), layout.align())
        })?;
        let pair = match self.raw.place_cached_of(request.class) {
            Some(pair) => pair,
            None => {
                let request = self.store.without_rare_class(&request);
                self.raw.place_slowly(self, &request, layout)?
            }
        };
        let zeroes_due = init(self, pair.offset());
        let size = Size { bytes: layout.size(), align: layout.align(), zeroes_due };
        self.store.head(pair.offset()).set_size(size);
        slot::publish(self.raw.words.get(pair.slot), pair.word);
        Ok(Handle::new(pair.slot, pair.generation()))
    }

    fn size_of(&self, head: &Head<'_>) -> Size {
        head.size().expect("the slots of raw blocks name raw blocks")
    }

    /// Holds the block of `handle`.
    fn hold(&self, handle: Handle, access: Access, wait: Wait) -> Result<Held<'_>, AccessError> {
        let word = self.raw.word(handle).ok_or(AccessError::Stale)?;
        let mut backoff = Backoff::default();
        loop {
            // Inside the section the block that the slot names cannot go away before it is held. The section
            // is left before waiting, so a waiting thread delays nobody's moves.
            let guard = Guard::enter(&self.readers);
            let offset = slot::find(word, handle).ok_or(AccessError::Stale)?;
            let head = self.store.head(offset);
            match block::try_hold(head.header, access) {
                // Sizes change under an exclusive hold only.
                HoldOutcome::Held => return Ok(Held { head, offset, size: self.size_of(&head) }),
                HoldOutcome::Full => return Err(AccessError::Busy),
                HoldOutcome::Busy => {}
            }
            drop(guard);
            if wait == Wait::No {
                return Err(AccessError::Busy);
            }
            backoff.step();
        }
    }

    /// Writes the zeroes that an exclusively held block still owes.
    fn write_zeroes(&self, held: &mut Held<'_>) {
        if !held.size.zeroes_due {
            return;
        }
        // SAFETY: held exclusively, and the block has room for its size.
        unsafe { self.store.memory().zero(held.offset, 0, held.size.bytes) };
        held.size.zeroes_due = false;
        held.head.set_size(held.size);
    }

    fn resize(&self, handle: Handle, size: usize, wait: Wait) -> Result<(), ResizeError> {
        let held = self.hold(handle, Access::Exclusive, wait)?;
        let release = Release(held.head.header);
        let align = held.size.align;
        let request = Layout::from_size_align(size, align)
            .ok()
            .and_then(|layout| Some((layout, self.request(layout)?)));
        let Some((layout, request)) = request else {
            return Err(self.refusal(AllocErrorKind::Unsupported, size, align).into());
        };
        let new_size = Size { bytes: size, ..held.size };
        let kept = held.size.bytes.min(size);
        let finish = |offset: u32, head: &Head<'_>| {
            if !new_size.zeroes_due {
                // SAFETY: the place has room for `size` bytes and is ours alone.
                unsafe { self.store.memory().zero(offset, kept, size) };
            }
            head.set_size(new_size);
        };
        if size < held.size.bytes && !held.size.zeroes_due && self.store.memory().wipes(Wipe::Freed)
        {
            // What is cut off, before it is free. Shrinking never fails.
            // SAFETY: held exclusively, and nobody needs these bytes.
            unsafe { self.store.memory().zero(held.offset, size, held.size.bytes) };
        }
        if self.store.resize_in_place(held.offset, &request) {
            finish(held.offset, &held.head);
            return Ok(());
        }
        let new = self.place(&self.raw, handle.index(), &request, layout)?;
        if !new_size.zeroes_due {
            // SAFETY: we hold the old block alone, and the new one is not published yet.
            unsafe { self.store.memory().copy(held.offset, new, kept) };
        }
        let word = self.raw.word_at(handle.index()).expect("the handle was found before");
        finish(new, &self.store.head(new));
        if !slot::swing(word, handle, held.offset, new) {
            // Somebody freed the block meanwhile.
            self.store.wipe(Wipe::Moved, new);
            self.store.free(new);
            return Err(AccessError::Stale.into());
        }
        core::mem::forget(release);
        // Held exclusively, and its slot names the other block.
        self.store.wipe(Wipe::Moved, held.offset);
        block::bury(held.head.header);
        self.raw.retire_bare(self, held.offset, held.head.room());
        Ok(())
    }
}

/// Ends an exclusive hold.
struct Release<'h>(&'h AtomicU64);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        block::let_go(self.0, Access::Exclusive);
    }
}

/// The bytes of a raw block, borrowed together with other readers.
///
/// The block stays where it is meanwhile; a defragmentation leaves it out. It is counted, not a guard, so it
/// may be kept and may go to other threads. Whoever waits for one that was forgotten (`mem::forget`) waits for ever.
pub struct BlockRef<'h> {
    inner: &'h Inner,
    header: &'h AtomicU64,
    place: NonNull<u8>,
    len: usize,
    offset: u32,
}

// SAFETY: shared bytes under a counted hold.
unsafe impl Send for BlockRef<'_> {}
// SAFETY: as above.
unsafe impl Sync for BlockRef<'_> {}

impl Deref for BlockRef<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the block holds `len` initialised bytes, and the shared hold keeps writers away.
        unsafe { slice::from_raw_parts(self.place.as_ptr(), self.len) }
    }
}

impl fmt::Debug for BlockRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockRef").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Drop for BlockRef<'_> {
    fn drop(&mut self) {
        self.inner.store.memory().track_read(self.offset);
        block::let_go(self.header, Access::Shared);
    }
}

/// The bytes of a raw block, borrowed alone. As [`BlockRef`] otherwise.
pub struct BlockMut<'h> {
    inner: &'h Inner,
    header: &'h AtomicU64,
    place: NonNull<u8>,
    len: usize,
    offset: u32,
}

// SAFETY: bytes under an exclusive hold.
unsafe impl Send for BlockMut<'_> {}
// SAFETY: as above; `&BlockMut` gives `&[u8]` only.
unsafe impl Sync for BlockMut<'_> {}

impl Deref for BlockMut<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the block holds `len` initialised bytes, and the exclusive hold is ours.
        unsafe { slice::from_raw_parts(self.place.as_ptr(), self.len) }
    }
}

impl DerefMut for BlockMut<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes it the only borrow through us.
        unsafe { slice::from_raw_parts_mut(self.place.as_ptr(), self.len) }
    }
}

impl fmt::Debug for BlockMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockMut").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Drop for BlockMut<'_> {
    fn drop(&mut self) {
        self.inner.store.memory().track_write(self.offset);
        block::let_go(self.header, Access::Exclusive);
    }
}
