//! [`Memory`]: the buffer of a heap and the words inside it.
//!
//! Three kinds of words live inside the buffer:
//! * the *tag* of a free run (length and two links in its first granule, its length again in its last
//!   four bytes), read and written under the lock of the space that owns the run;
//! * the *extent* of a used chunk, an atomic that is written under that lock and may be looked at at any time;
//! * the *header word* of a block, an `AtomicU64` (see `block.rs`).
//!
//! Every access is bounds-checked, so a wrong offset can never leave the buffer. That it does not hit
//! bytes of a live object is the invariant of the callers: spaces and slabs only name granules they own.

use super::buffer::{Buffer, Owned};
use super::os::{Mapping, OS_PAGE, can_release, prefer_huge_pages, resident};
use super::prefetch::fetch;
use super::together::release_all;
use super::{GRANULE, PAGE};
use crate::sync::atomic::AtomicU64;
use core::mem::MaybeUninit;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;

/// Pages of the operating system in a huge one.
const HUGE: usize = (2 << 20) / OS_PAGE;

/// When bytes that are no longer needed are overwritten with zeroes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Wipe {
    Never,
    /// After they were copied elsewhere: by a mover, a resize, or who took a value out.
    Moved,
    /// Whenever a place becomes free.
    Freed,
}

/// Who keeps the memory behind [`Memory`] alive, and gives it back in the end.
#[derive(Debug)]
enum Owner {
    Mapped(Mapping),
    /// A box turned into a raw pointer, so that no reference to the buffer exists while it is in use.
    Boxed(*mut [MaybeUninit<u8>]),
    Static,
}

/// The buffer of a heap.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Granule 0; aligned to a page. With a caller's buffer it may lie before the first usable byte.
    base: *mut u8,
    /// The usable granules, `lo..hi`; `lo` is at least 1.
    lo: u32,
    hi: u32,
    owner: Owner,
    /// The system was asked to back it with huge pages.
    huge_pages: bool,
    wipe: Wipe,
    #[cfg(loom)]
    shadow: shadow::Shadow,
}

// SAFETY: a buffer is memory and nothing else; the protocol of the heap decides who touches what.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps a buffer of `granules` usable granules; `None` when the system has no room for it.
    pub(crate) fn map(granules: u32, huge_pages: bool) -> Option<Self> {
        let hi = granules.checked_add(1)?;
        let mapping = Mapping::new(hi as usize * GRANULE)?;
        if huge_pages {
            prefer_huge_pages(&mapping);
        }
        let mut memory = Self::new(mapping.ptr().as_ptr(), 1, hi, Owner::Mapped(mapping));
        memory.huge_pages = huge_pages;
        Some(memory)
    }

    /// Uses a caller's buffer; `None` when it holds no whole granule or more than offsets can name.
    pub(crate) fn over(buffer: Buffer) -> Option<Self> {
        let (raw, boxed): (*mut [MaybeUninit<u8>], bool) = match buffer.0 {
            Owned::Boxed(bytes) => (Box::into_raw(bytes), true),
            Owned::Static(bytes) => (bytes, false),
        };
        let owner = if boxed { Owner::Boxed(raw) } else { Owner::Static };
        let first = raw.cast::<u8>();
        // Align down to a page, so that offsets and addresses are aligned alike.
        let skip = first.addr() % OS_PAGE;
        let lo = skip.div_ceil(GRANULE).max(1);
        let hi = (skip + raw.len()) / GRANULE;
        let memory = Self::new(
            first.wrapping_sub(skip),
            u32::try_from(lo).ok()?,
            u32::try_from(hi).unwrap_or(0),
            owner,
        );
        // Dropping it gives a boxed buffer back.
        (memory.lo < memory.hi).then_some(memory)
    }

    fn new(base: *mut u8, lo: u32, hi: u32, owner: Owner) -> Self {
        Self {
            base,
            lo,
            hi,
            owner,
            huge_pages: false,
            wipe: Wipe::Never,
            #[cfg(loom)]
            shadow: shadow::Shadow::default(),
        }
    }

    /// The usable granules, first and one past the last.
    pub(crate) fn bounds(&self) -> (u32, u32) {
        (self.lo, self.hi)
    }

    /// Granule 0, for a reader that adds an offset of its own.
    pub(crate) fn base(&self) -> *mut u8 {
        self.base
    }

    /// The first byte of the block at `offset`.
    #[inline]
    pub(crate) fn block(&self, offset: u32) -> NonNull<u8> {
        self.check(offset, GRANULE);
        NonNull::new(self.base.wrapping_add(offset as usize * GRANULE))
            .expect("a granule of the buffer is not null")
    }

    #[inline]
    fn check(&self, offset: u32, bytes: usize) {
        let end = offset as u64 * GRANULE as u64 + bytes as u64;
        assert!(
            offset >= self.lo && end <= self.hi as u64 * GRANULE as u64,
            "granule {offset} is outside {}..{}",
            self.lo,
            self.hi,
        );
    }

    /// Reads the `index`-th 32-bit word of the granule.
    #[inline]
    pub(crate) fn word(&self, offset: u32, index: usize) -> u32 {
        self.check(offset, GRANULE);
        debug_assert!(index < 4);
        #[cfg(loom)]
        self.shadow.read(Place::Word(offset, index));
        let at = self.base.wrapping_add(offset as usize * GRANULE + index * 4).cast::<u32>();
        // SAFETY: inside the buffer (checked), aligned, written before by `set_word` under the same lock.
        unsafe { at.read() }
    }

    /// Writes the `index`-th 32-bit word of the granule.
    #[inline]
    pub(crate) fn set_word(&self, offset: u32, index: usize, value: u32) {
        self.check(offset, GRANULE);
        debug_assert!(index < 4);
        #[cfg(loom)]
        self.shadow.write(Place::Word(offset, index));
        let at = self.base.wrapping_add(offset as usize * GRANULE + index * 4).cast::<u32>();
        // SAFETY: inside the buffer (checked) and aligned; the granule belongs to the caller's space.
        unsafe { at.write(value) }
    }

    /// The extent of the used chunk at `start`, for who has the lock of its space or may change the chunk.
    #[inline]
    pub(crate) fn extent(&self, start: u32) -> u64 {
        #[cfg(loom)]
        self.shadow.read(Place::Word(start, 0));
        self.extent_now(start)
    }

    /// The same at any time while the chunk is in use.
    #[inline]
    pub(crate) fn extent_now(&self, start: u32) -> u64 {
        // Relaxed: whoever asks found the block through its slot word, or holds it, or has the lock; either orders it
        // behind the store.
        self.extent_word(start).load(Ordering::Relaxed)
    }

    /// Writes the extent of a used chunk, under the lock.
    #[inline]
    pub(crate) fn set_extent(&self, start: u32, extent: u64) {
        #[cfg(loom)]
        self.shadow.write(Place::Word(start, 0));
        self.set_extent_now(start, extent);
    }

    /// The same for who may change the chunk, at any time; length and kind stay as they are.
    #[inline]
    pub(crate) fn set_extent_now(&self, start: u32, extent: u64) {
        // Relaxed: as in `extent_now`.
        self.extent_word(start).store(extent, Ordering::Relaxed);
    }

    /// The same where the caller makes a chunk out of plain memory of its own.
    #[inline]
    pub(crate) fn new_extent(&self, start: u32, extent: u64) {
        // As in `new_header`.
        #[cfg(miri)]
        {
            self.check(start, GRANULE);
            let at = self.base.wrapping_add(start as usize * GRANULE).cast::<u64>();
            // SAFETY: inside the buffer (checked), aligned, and the caller's.
            unsafe { at.write(0) };
        }
        self.set_extent(start, extent);
    }

    /// On `std` even in a model, which sees the accesses under the lock as those of a plain word: as an atomic it
    /// would only add schedules.
    #[inline]
    fn extent_word(&self, start: u32) -> &std::sync::atomic::AtomicU64 {
        self.check(start, GRANULE);
        let at = self.base.wrapping_add(start as usize * GRANULE).cast();
        // SAFETY: inside the buffer (checked), aligned; the first word of a used chunk is accessed as an atomic only.
        unsafe { &*at }
    }

    /// The header word at `index` (in words of 8 bytes from granule 0).
    #[inline]
    pub(crate) fn header(&self, index: u64) -> &AtomicU64 {
        self.check((index / 2) as u32, GRANULE);
        #[cfg(loom)]
        {
            self.shadow.header(index)
        }
        #[cfg(not(loom))]
        {
            let at = self.base.wrapping_add(index as usize * 8).cast::<AtomicU64>();
            // SAFETY: inside the buffer (checked), aligned, and a header place is accessed as an atomic
            // only, from the moment its slab or chunk is made until it is given back under the lock.
            unsafe { &*at }
        }
    }

    /// The header word at `index`, where the caller makes a header out of plain memory of its own.
    #[inline]
    pub(crate) fn new_header(&self, index: u64) -> &AtomicU64 {
        // Miri keeps a history of each atomic, and fails on one that plain writes have covered in part.
        #[cfg(miri)]
        {
            self.check((index / 2) as u32, GRANULE);
            let at = self.base.wrapping_add(index as usize * 8).cast::<u64>();
            // SAFETY: inside the buffer (checked), aligned, and the caller's.
            unsafe { at.write(0) };
        }
        self.header(index)
    }

    /// Says when bytes are to be overwritten.
    pub(crate) fn set_wipe(&mut self, wipe: Wipe) {
        self.wipe = wipe;
    }

    /// Whether bytes are to be overwritten after what `what` says.
    #[inline]
    pub(crate) fn wipes(&self, what: Wipe) -> bool {
        self.wipe >= what
    }

    /// Overwrites bytes with zeroes, from the first of a granule on. As with [`set_word`](Self::set_word) they belong to the
    /// caller, and nobody needs them.
    pub(crate) fn wipe(&self, offset: u32, bytes: usize) {
        // SAFETY: the caller has them alone.
        unsafe { self.zero(offset, 0, bytes) };
    }

    /// Fills the bytes of a block with zeroes, from its `from`-th byte on.
    ///
    /// # Safety
    /// The caller has exclusive access to the block, which holds at least `to` bytes.
    pub(crate) unsafe fn zero(&self, offset: u32, from: usize, to: usize) {
        self.check(offset, to);
        self.track_write(offset);
        let start = self.base.wrapping_add(offset as usize * GRANULE + from);
        // SAFETY: inside the buffer (checked), exclusive by the caller.
        unsafe { start.write_bytes(0, to - from) };
    }

    /// Copies `bytes` from one block to another place; the two may overlap.
    ///
    /// # Safety
    /// The caller has exclusive access to both places.
    pub(crate) unsafe fn copy(&self, from: u32, to: u32, bytes: usize) {
        self.check(from, bytes);
        self.check(to, bytes);
        self.track_write(from);
        self.track_write(to);
        let source = self.base.wrapping_add(from as usize * GRANULE);
        let target = self.base.wrapping_add(to as usize * GRANULE);
        // SAFETY: both ranges are inside the buffer (checked) and exclusive by the caller; `copy` allows
        // them to overlap.
        unsafe { core::ptr::copy(source, target, bytes) };
    }

    /// Whether whole pages can be given back to the operating system.
    pub(crate) fn can_release(&self) -> bool {
        can_release() && matches!(self.owner, Owner::Mapped(_))
    }

    /// Whether the system was asked for huge pages.
    pub(crate) fn has_huge_pages(&self) -> bool {
        self.huge_pages
    }

    /// Which of the pages `from..to` of the operating system are worth giving back: all, but where the system
    /// was asked for huge pages, a huge page that would lose less than a half of itself stays whole at either
    /// end.
    pub(crate) fn worth_releasing(&self, from: usize, to: usize) -> (usize, usize) {
        if !self.huge_pages || from >= to {
            return (from, to);
        }
        let first = self.base.addr() / OS_PAGE;
        let (start, end) = (first + from, first + to);
        let (next, last) = (start.next_multiple_of(HUGE), end / HUGE * HUGE);
        let start = if next - start < HUGE / 2 { next } else { start };
        let end = if end - last < HUGE / 2 { last } else { end };
        if start >= end { (to, to) } else { (start - first, end - first) }
    }

    /// Begins to load the first line of a block into the cache.
    pub(crate) fn prefetch(&self, offset: u32) {
        fetch(self.base.wrapping_add(offset as usize * GRANULE));
    }

    /// Gives ranges of whole pages of the operating system back, together. False when the system refuses.
    ///
    /// # Safety
    /// Nobody needs the bytes of these pages, and the caller holds the lock of the space they are in.
    pub(crate) unsafe fn release(&self, pages: &[Range<usize>]) -> bool {
        debug_assert!(self.can_release() || pages.is_empty());
        for range in pages {
            self.check(range.start as u32 * PAGE, range.len() * OS_PAGE);
        }
        // SAFETY: page-aligned ranges of the mapping; the rest is the caller's duty.
        unsafe { release_all(self.base, pages) }
    }

    /// Resident bytes of the buffer, where the system tells.
    pub(crate) fn resident(&self) -> Option<usize> {
        match &self.owner {
            Owner::Mapped(mapping) => resident(mapping, self.hi as usize * GRANULE),
            Owner::Boxed(_) | Owner::Static => None,
        }
    }

    /// Tells the model checker that the block's bytes are read here.
    #[inline(always)]
    pub(crate) fn track_read(&self, offset: u32) {
        #[cfg(loom)]
        self.shadow.read(Place::Block(offset));
        let _ = offset;
    }

    /// Tells the model checker that the block's bytes are written, or given up, here.
    #[inline(always)]
    pub(crate) fn track_write(&self, offset: u32) {
        #[cfg(loom)]
        self.shadow.write(Place::Block(offset));
        let _ = offset;
    }

    /// Tells the model checker that the block's bytes are read from here until the result is dropped.
    #[cfg(loom)]
    pub(crate) fn track_borrow(&self, offset: u32) -> Borrowed {
        self.shadow.borrow(Place::Block(offset))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.wipe == Wipe::Freed && !self.can_release() {
            // Raw blocks that were never freed are now. The system does the same with pages of its own.
            let start = self.base.wrapping_add(self.lo as usize * GRANULE);
            // SAFETY: the usable granules of the buffer, which nobody uses any more.
            unsafe { start.write_bytes(0, (self.hi - self.lo) as usize * GRANULE) };
            // Or the compiler could leave it out, as the memory is given back next.
            core::hint::black_box(start);
        }
        if let Owner::Boxed(raw) = self.owner {
            // SAFETY: the pointer came from `Box::into_raw` in `over`, and nothing uses the buffer now.
            drop(unsafe { Box::from_raw(raw) });
        }
    }
}

#[cfg(loom)]
pub(crate) use shadow::Borrowed;
#[cfg(loom)]
use shadow::Place;

/// What the model checker sees of the buffer: a tracked cell for each block's bytes and for each word of a
/// tag, and an atomic for each header word. All are made when first touched.
#[cfg(loom)]
mod shadow {
    use crate::sync::atomic::AtomicU64;
    use loom::cell::{ConstPtr, UnsafeCell};
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    #[derive(Debug, Default)]
    pub(super) struct Shadow {
        // Invariant: entries are never removed, so a box lives as long as the buffer.
        headers: Mutex<HashMap<u64, Box<AtomicU64>>>,
        cells: Mutex<HashMap<Place, Arc<UnsafeCell<()>>>>,
    }

    /// Plain memory that is tracked.
    #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
    pub(super) enum Place {
        /// The bytes of the block at this granule.
        Block(u32),
        /// One word of a granule that holds a tag.
        Word(u32, usize),
    }

    /// A read that lasts: a write in the meantime is a race, however it is ordered.
    #[derive(Debug)]
    pub(crate) struct Borrowed {
        // Before the cell, so that it ends first.
        _reading: ConstPtr<()>,
        cell: Arc<UnsafeCell<()>>,
    }

    impl Drop for Borrowed {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                self.cell.with(|_| ());
            }
        }
    }

    impl Shadow {
        pub(super) fn header(&self, index: u64) -> &AtomicU64 {
            let mut headers = self.headers.lock().expect("no panic under this lock");
            let word: *const AtomicU64 =
                &**headers.entry(index).or_insert_with(|| Box::new(AtomicU64::new(0)));
            // SAFETY: the box is never removed or replaced before `self` is dropped.
            unsafe { &*word }
        }

        // The model's threads are coroutines of one thread; a model never runs on two.
        #[expect(clippy::arc_with_non_send_sync)]
        fn cell(&self, place: Place) -> Arc<UnsafeCell<()>> {
            let mut cells = self.cells.lock().expect("no panic under this lock");
            cells.entry(place).or_insert_with(|| Arc::new(UnsafeCell::new(()))).clone()
        }

        pub(super) fn read(&self, place: Place) {
            self.cell(place).with(|_| ());
        }

        pub(super) fn write(&self, place: Place) {
            self.cell(place).with_mut(|_| ());
        }

        pub(super) fn borrow(&self, place: Place) -> Borrowed {
            let cell = self.cell(place);
            Borrowed { _reading: cell.get(), cell }
        }
    }
}
