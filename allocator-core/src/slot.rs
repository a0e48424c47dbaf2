//! The slot word: where a block is, in one `AtomicU64`, and its named transitions.
//!
//! ```text
//!  63            34 33  32 31                0
//! +----------------+------+-------------------+
//! | generation: 30 | tag  | offset: 32        |   offset in granules of 16 bytes
//! +----------------+------+-------------------+
//! ```
//!
//! | tag | name | a reader | who may leave the state |
//! |---|---|---|---|
//! | `00` | vacant | finds nothing | the inserter that owns the slot (`publish`) |
//! | `01` | live | uses the offset | remover (`unlink`), mover (`mark`), writer (`swing`) |
//! | `11` | marked: a move is planned | `resolve` cancels the mark, then uses the offset | reader, remover, mover (`lock`, `unmark`), writer |
//! | `10` | locked: bytes are being copied | waits until it is live again | the mover (`unlock`, `vacate`) |
//!
//! In a vacant slot the offset half is free for the list of vacant slots, or still names the retired
//! block. Every transition out of live or marked is a compare-and-swap, so exactly one wins; only the
//! owner of a reserved or locked slot stores plainly.
//!
//! Marks are not numbered. A mark that a reader cancelled cannot be mistaken for a later one because
//! only the holder of the heap's mover lock marks, and it holds the lock from `mark` to `lock`.

use crate::handle::{GENERATION_END, Handle};
use crate::sync::Backoff;
use crate::sync::atomic::{AtomicU64, Ordering};

const TAG: u64 = 0b11 << 32;
const VACANT: u64 = 0b00 << 32;
const LIVE: u64 = 0b01 << 32;
const LOCKED: u64 = 0b10 << 32;
const MARKED: u64 = 0b11 << 32;
const OFFSET: u64 = u32::MAX as u64;
/// One generation more.
const GENERATION: u64 = 1 << 34;
const UPPER: u64 = !OFFSET;

/// A value that a slot word had when it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Snapshot(pub(crate) u64);

impl Snapshot {
    /// A vacant word that carries `link` in its offset half.
    #[inline(always)]
    pub(crate) const fn vacant(generation: u32, link: u32) -> Self {
        Self((generation as u64) << 34 | VACANT | link as u64)
    }

    #[inline(always)]
    const fn live(generation: u32, offset: u32) -> Self {
        Self((generation as u64) << 34 | LIVE | offset as u64)
    }

    #[inline(always)]
    pub(crate) const fn generation(self) -> u32 {
        (self.0 >> 34) as u32
    }

    /// The offset of the block, or the link of a vacant slot.
    pub(crate) const fn offset(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    pub(crate) const fn is_live(self) -> bool {
        self.0 & TAG == LIVE
    }

    /// Live or marked: an object is there and may be read in place.
    pub(crate) const fn is_occupied(self) -> bool {
        self.is_live() || self.0 & TAG == MARKED
    }

    pub(crate) const fn is_locked(self) -> bool {
        self.0 & TAG == LOCKED
    }

    pub(crate) const fn is_vacant(self) -> bool {
        self.0 & TAG == VACANT
    }

    /// No generation is left: the slot is retired for good.
    pub(crate) const fn is_exhausted(self) -> bool {
        self.is_vacant() && self.generation() >= GENERATION_END
    }

    #[inline(always)]
    const fn with_tag(self, tag: u64) -> Self {
        Self(self.0 & !TAG | tag)
    }

    /// The vacant word that follows the end of this generation.
    #[inline(always)]
    const fn after(self) -> Self {
        Self::vacant(self.generation() + 1, self.offset())
    }

    /// The same of a live word, in one addition.
    #[inline(always)]
    const fn after_live(self) -> Self {
        debug_assert!(self.is_live());
        Self(self.0 + (GENERATION - LIVE + VACANT))
    }

    /// The live word of the object that begins its life in this vacant one.
    #[inline(always)]
    const fn begun(self) -> Self {
        debug_assert!(self.is_vacant());
        Self(self.0 | LIVE)
    }

    const fn same_generation<T: ?Sized>(self, handle: Handle<T>) -> bool {
        self.generation() == handle.generation()
    }
}

/// What became of an attempt to leave the marked state for locked.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LockOutcome {
    /// The caller owns the bytes of the block until it unlocks the slot.
    Locked,
    /// A reader cancelled the mark, or the object was removed or replaced.
    Cancelled,
}

/// Puts an object into the vacant slot that the caller owns: `vacant` has its generation, and its block in the
/// offset half.
///
/// Release: publishes the bytes of the block and its header. Partner: the Acquire loads in
/// `TableGuard::locate` and [`resolve`]. Weaker, a reader could see the offset and not yet the object.
#[inline(always)]
pub(crate) fn publish(word: &AtomicU64, vacant: Snapshot) {
    word.store(vacant.begun().0, Ordering::Release);
}

/// Finds the offset of the object that `handle` names; `None` where it is stale. Cancels a planned move, waits for the
/// end of a running one. The caller is inside a read-side section.
pub(crate) fn find<T: ?Sized>(word: &AtomicU64, handle: Handle<T>) -> Option<u32> {
    // Acquire: as in `TableGuard::locate`.
    let seen = word.load(Ordering::Acquire);
    if is_live_for(seen, handle) { Some(seen as u32) } else { resolve(word, handle, seen) }
}

/// Finds the offset of the object that `handle` names, where the first load did not show it live: cancels
/// a planned move, waits for the end of a running one (the copy of this one block).
///
/// The caller is inside a read-side section.
#[cold]
pub(crate) fn resolve<T: ?Sized>(word: &AtomicU64, handle: Handle<T>, seen: u64) -> Option<u32> {
    let mut backoff = Backoff::default();
    let mut seen = Snapshot(seen);
    loop {
        if !seen.same_generation(handle) || seen.is_vacant() {
            return None;
        }
        if seen.is_live() {
            return Some(seen.offset());
        }
        if seen.is_locked() {
            backoff.step();
            // Acquire: pairs with the Release of `unlock`; weaker, the new place could be read before
            // the copy.
            seen = Snapshot(word.load(Ordering::Acquire));
            continue;
        }
        // Relaxed on success: the block did not move, its bytes were acquired by the load that saw the
        // mark (marking is a read-modify-write, which continues the release sequence of the publishing
        // store), and what we read afterwards is protected by the mark being gone: the mover's
        // compare-and-swap to locked fails. Acquire on failure: the new value may be a published new place.
        let live = seen.with_tag(LIVE);
        match word.compare_exchange(seen.0, live.0, Ordering::Relaxed, Ordering::Acquire) {
            Ok(_) => return Some(live.offset()),
            Err(now) => seen = Snapshot(now),
        }
    }
}

/// Ends the life of the object that `handle` names. The offset half of the word keeps naming its block.
///
/// Gives the vacant word, which names the block that the caller must retire; `None` when the handle is
/// stale. Waits while the block is being copied.
pub(crate) fn unlink<T: ?Sized>(word: &AtomicU64, handle: Handle<T>) -> Option<Snapshot> {
    unlink_live(word, handle).or_else(|| unlink_if(word, handle, |_| true))
}

/// The fast half of [`unlink`]: `None` also where the object is about to move, or something came between.
#[inline(always)]
pub(crate) fn unlink_live<T: ?Sized>(word: &AtomicU64, handle: Handle<T>) -> Option<Snapshot> {
    // Acquire: as in `change`.
    let seen = word.load(Ordering::Acquire);
    if !is_live_for(seen, handle) {
        return None;
    }
    let ended = Snapshot(seen).after_live();
    // AcqRel: as in `change`. Relaxed on failure: looked at again.
    let swapped = word.compare_exchange(seen, ended.0, Ordering::AcqRel, Ordering::Relaxed);
    swapped.is_ok().then_some(ended)
}

/// The same, while the block is one that `is_it` says yes to; gives `None` where it is another.
pub(crate) fn unlink_if<T: ?Sized>(
    word: &AtomicU64,
    handle: Handle<T>,
    is_it: impl Fn(u32) -> bool,
) -> Option<Snapshot> {
    let offset = change(word, handle, |seen| is_it(seen.offset()).then(|| seen.after()))?;
    Some(Snapshot::vacant(handle.generation() + 1, offset))
}

/// Lets the slot of `handle` name the block at `new` in place of the one at `old`.
///
/// False when the handle is stale or the slot names another block by now; the caller, who is inside a
/// read-side section or holds the block at `old`, then keeps both.
pub(crate) fn swing<T: ?Sized>(word: &AtomicU64, handle: Handle<T>, old: u32, new: u32) -> bool {
    change(word, handle, |seen| {
        (seen.offset() == old).then(|| Snapshot::live(seen.generation(), new))
    })
    .is_some()
}

/// Locks the object that `handle` names, for who has its table alone; gives a word to unlock or vacate
/// it with. `None` when the handle is stale. Waits while the block is being copied.
pub(crate) fn seize<T: ?Sized>(word: &AtomicU64, handle: Handle<T>) -> Option<Snapshot> {
    let offset = change(word, handle, |seen| Some(seen.with_tag(LOCKED)))?;
    Some(Snapshot::live(handle.generation(), offset))
}

/// Replaces an occupied word of the generation of `handle` by `next` of it; gives the offset it had.
fn change<T: ?Sized>(
    word: &AtomicU64,
    handle: Handle<T>,
    next: impl Fn(Snapshot) -> Option<Snapshot>,
) -> Option<u32> {
    let mut backoff = Backoff::default();
    // Acquire: pairs with the Release of `publish` and `unlock`; the caller may touch the block's header.
    let mut seen = Snapshot(word.load(Ordering::Acquire));
    loop {
        if !seen.same_generation(handle) || seen.is_vacant() {
            return None;
        }
        if seen.is_locked() {
            backoff.step();
            // Acquire: as above.
            seen = Snapshot(word.load(Ordering::Acquire));
            continue;
        }
        let next = next(seen)?;
        // Release: publishes what the caller wrote before (a new block in `swing`), and orders the end
        // of this life before the grace period that follows. Acquire: the block may have been published
        // by another thread.
        match word.compare_exchange(seen.0, next.0, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Some(seen.offset()),
            Err(now) => seen = Snapshot(now),
        }
    }
}

/// Plans a move of the object that the word names while it is live at `offset`. Gives the marked word.
///
/// The caller holds the mover lock.
pub(crate) fn mark(word: &AtomicU64, offset: u32) -> Option<Snapshot> {
    // Relaxed: only a hint for the compare-and-swap.
    let seen = Snapshot(word.load(Ordering::Relaxed));
    if !seen.is_live() || seen.offset() != offset {
        return None;
    }
    let marked = seen.with_tag(MARKED);
    // Relaxed: the mark carries no data. That readers see either the mark or are seen themselves is the
    // work of the heavy barrier after it (`Readers::order_readers`).
    word.compare_exchange(seen.0, marked.0, Ordering::Relaxed, Ordering::Relaxed).ok()?;
    Some(marked)
}

/// Takes a mark back, unless a reader or a remover did so already.
pub(crate) fn unmark(word: &AtomicU64, marked: Snapshot) {
    // Relaxed: nothing was read or written under the mark. A failure means that it is gone.
    let live = marked.with_tag(LIVE);
    let _ = word.compare_exchange(marked.0, live.0, Ordering::Relaxed, Ordering::Relaxed);
}

/// Takes the block of a marked slot for a copy, after the grace period.
///
/// The caller holds the mover lock since it made the mark.
pub(crate) fn lock(word: &AtomicU64, marked: Snapshot) -> LockOutcome {
    // Relaxed: it succeeds on our own mark only, as nobody else marks, so there is nothing new to see. The mark read what
    // published the block, or a read-modify-write after that; the fence of the grace period (`Readers::order_readers`) made
    // an acquire of it. The bytes are published by `unlock`.
    let locked = marked.with_tag(LOCKED);
    match word.compare_exchange(marked.0, locked.0, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => LockOutcome::Locked,
        Err(_) => LockOutcome::Cancelled,
    }
}

/// Ends a move: the object of the locked slot is live at `offset`, its new place or still its old one.
pub(crate) fn unlock(word: &AtomicU64, marked: Snapshot, offset: u32) {
    // Release: publishes the copied bytes. Partner: the Acquire loads in `TableGuard::locate`, `resolve`
    // and `change`. Weaker, a reader could follow the new offset and see the bytes from before the copy.
    word.store(Snapshot::live(marked.generation(), offset).0, Ordering::Release);
}

/// Ends the life of the object of a locked slot, whose value the caller has taken out.
pub(crate) fn vacate(word: &AtomicU64, marked: Snapshot) {
    // Release: whoever sees the slot vacant also sees that the bytes were read out. Partner: the lock of
    // the list through which the slot is handed out again.
    word.store(marked.after().0, Ordering::Release);
}

/// Whether the word of `handle` has its generation and an object, whatever is being done to it.
#[inline]
pub(crate) fn names_object<T: ?Sized>(seen: u64, handle: Handle<T>) -> bool {
    let seen = Snapshot(seen);
    seen.same_generation(handle) && !seen.is_vacant()
}

/// Whether the upper half of the word equals that of the handle: live, and of its generation.
#[inline(always)]
pub(crate) const fn is_live_for<T: ?Sized>(seen: u64, handle: Handle<T>) -> bool {
    (seen ^ handle.to_bits()) & UPPER == 0
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn live() -> (AtomicU64, Handle) {
        let word = AtomicU64::new(0);
        publish(&word, Snapshot::vacant(5, 77));
        (word, Handle::new(0, 5))
    }

    fn now(word: &AtomicU64) -> Snapshot {
        // Relaxed: the tests are one thread each.
        Snapshot(word.load(Ordering::Relaxed))
    }

    #[test]
    fn a_reader_cancels_a_mark_and_the_lock_then_fails() {
        let (word, handle) = live();
        let marked = mark(&word, 77).unwrap();
        assert!(!is_live_for(marked.0, handle));
        assert_eq!(resolve(&word, handle, marked.0), Some(77));
        assert_eq!(lock(&word, marked), LockOutcome::Cancelled);
        assert!(is_live_for(now(&word).0, handle));
    }

    #[test]
    fn a_remove_wins_over_a_mark() {
        let (word, handle) = live();
        let marked = mark(&word, 77).unwrap();
        assert_eq!(unlink(&word, handle), Some(Snapshot::vacant(6, 77)));
        assert_eq!(lock(&word, marked), LockOutcome::Cancelled);
        unmark(&word, marked);
        assert!(now(&word).is_vacant());
        assert_eq!(now(&word).generation(), 6);
        assert_eq!(unlink(&word, handle), None);
    }

    #[test]
    fn a_move_publishes_the_new_place() {
        let (word, handle) = live();
        let marked = mark(&word, 77).unwrap();
        assert_eq!(mark(&word, 77), None);
        assert_eq!(lock(&word, marked), LockOutcome::Locked);
        assert!(now(&word).is_locked() && names_object(now(&word).0, handle));
        unlock(&word, marked, 99);
        assert_eq!(resolve(&word, handle, now(&word).0), Some(99));
        assert!(!swing(&word, handle, 77, 5) && swing(&word, handle, 99, 5));
        assert_eq!(now(&word).offset(), 5);
    }

    #[test]
    fn the_last_generation_ends_in_a_slot_that_is_retired_for_good() {
        let word = AtomicU64::new(0);
        publish(&word, Snapshot::vacant(GENERATION_END - 1, 1));
        assert!(unlink(&word, Handle::<u8>::new(0, GENERATION_END - 1)).is_some());
        assert!(now(&word).is_exhausted());
    }
}
