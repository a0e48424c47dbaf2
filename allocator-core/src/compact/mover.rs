//! The move protocol, for a batch of blocks.
//!
//! 1. *Mark* every block of the batch (a reader that comes now cancels).
//! 2. *Grace*: one heavy barrier for the whole batch, then wait for every guard that was open. Who read the
//!    slot word before the mark is gone then; who reads it after sees the mark.
//! 3. For one block after the other: reserve its new place, *lock* (fails where a reader or remover came
//!    first), look at its holds, copy, *publish*. The old place is free at once: nobody can see it.
//!
//! At most one thread does this at a time, the holder of the [`MoverLock`]: marks are not numbered, so a
//! second mover could take a mark that was cancelled and made again for its own, whose grace period is
//! another. `take` uses the same lock for the same reason.

use super::budget::Pass;
use super::slabs::Raise;
use crate::block::{self, Owner, Shape};
use crate::grace::Grace;
use crate::head::Size;
use crate::heap::Inner;
use crate::raw::GRANULE;
use crate::slot::{self, LockOutcome, Snapshot};
use crate::sync::atomic::AtomicU64;
use crate::sync::{Arc, Mutex, MutexGuard};
use crate::table::Slots;
use core::cell::Cell;
use std::time::Instant;

/// Blocks of one batch: enough to pay for the barrier, few enough that a batch does not stall removals of
/// its blocks for long.
pub(super) const BATCH: usize = if cfg!(loom) { 2 } else { 256 };

/// The right to mark blocks of the heap, and what the last pass left unfinished.
#[derive(Debug)]
pub(crate) struct MoverLock(Mutex<Unfinished>);

/// Proof that the mover lock is held.
pub(crate) struct Mover<'h>(MutexGuard<'h, Unfinished>);

/// Where a pass stopped in the middle of something that the next one would otherwise undo.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    pub(super) raise: Cell<Option<Raise>>,
}

impl Mover<'_> {
    pub(super) fn unfinished(&self) -> &Unfinished {
        &self.0
    }
}

impl MoverLock {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Unfinished::default()))
    }

    pub(crate) fn try_lock(&self) -> Option<Mover<'_>> {
        self.0.try_lock().map(Mover)
    }

    pub(crate) fn lock(&self) -> Mover<'_> {
        Mover(self.0.lock())
    }

    /// Waits for the lock, but not past `deadline`.
    pub(crate) fn lock_until(&self, deadline: Instant) -> Option<Mover<'_>> {
        self.0.try_lock_until(deadline).map(Mover)
    }
}

/// A block that is to be moved, as it was seen under the lock of its page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Victim {
    pub(super) offset: u32,
    pub(super) owner: Owner,
    /// Granules of its place; who holds the block may still change that.
    pub(super) room: u32,
    /// That of raw bytes.
    pub(super) shape: Option<Shape>,
}

/// A block whose slot is marked.
pub(super) struct Marked {
    pub(super) victim: Victim,
    slots: Arc<Slots>,
    snapshot: Snapshot,
}

/// A block that is locked: its bytes are the mover's alone until it publishes or puts back.
pub(super) struct Locked<'a> {
    marked: &'a Marked,
    pub(super) bytes: usize,
    /// That of raw bytes.
    size: Option<Size>,
}

impl Marked {
    fn word(&self) -> &AtomicU64 {
        self.slots.word_at(self.victim.owner.slot).expect("the slot was found when it was marked")
    }

    /// Alignment of the block, in granules.
    pub(super) fn align(&self) -> u32 {
        self.slots.align(self.victim.shape)
    }

    /// Gives the plan up.
    pub(super) fn unmark(&self) {
        slot::unmark(self.word(), self.snapshot);
    }

    /// Takes the block for a copy, after the grace period. `None` when a reader or remover came first, or
    /// the block is held; the report says which.
    pub(super) fn lock(&self, heap: &Inner, pass: &mut Pass) -> Option<Locked<'_>> {
        match slot::lock(self.word(), self.snapshot) {
            LockOutcome::Cancelled => {
                pass.report.cancelled += 1;
                None
            }
            LockOutcome::Locked => {
                // Only now: holds are taken inside sections, and those that saw the block live are over.
                let head = heap.store.head(self.victim.offset);
                let held = block::is_held(head.header);
                // Only now: who holds a raw block may resize it, and lets go of it after that.
                let size = head.size();
                let bytes = size.map_or(self.slots.bytes(), |size| size.bytes);
                let locked = Locked { marked: self, bytes, size };
                if held {
                    pass.note_pinned(self.victim.owner, bytes);
                    locked.publish(self.victim.offset);
                    return None;
                }
                Some(locked)
            }
        }
    }
}

impl Locked<'_> {
    /// Whether the block still fits a place with the room and alignment that it had when it was planned:
    /// who held it until a moment ago may have made it larger, or another block may have come in its
    /// place.
    pub(super) fn fits(&self, place: u32) -> bool {
        let room = self.marked.victim.room as usize * GRANULE;
        self.bytes <= room && place.is_multiple_of(self.marked.align())
    }

    /// Makes the block live at `offset`.
    pub(super) fn publish(self, offset: u32) {
        slot::unlock(self.marked.word(), self.marked.snapshot, offset);
    }

    /// Says at the place `to`, which has a header of its own, what the size of raw bytes is.
    pub(super) fn adopt_size(&self, heap: &Inner, to: u32) {
        if let Some(size) = self.size {
            heap.store.head(to).set_size(size);
        }
    }

    /// Copies the bytes to the place at `to`, which may overlap the old one.
    pub(super) fn copy(&self, heap: &Inner, to: u32) {
        // Zeroes that nobody wrote yet are due at the new place too.
        let written = self.size.is_none_or(|size| !size.zeroes_due);
        let bytes = if written { self.bytes } else { 0 };
        // SAFETY: the old place is locked, and no guard or hold that could see it is left; the new place
        // belongs to the caller.
        unsafe { heap.store.memory().copy(self.marked.victim.offset, to, bytes) };
    }
}

/// Steps 1 and 2: the victims that are still there, marked and past their grace period. Empty when guards
/// stayed open, which the pass then reports.
pub(super) fn mark_all(
    heap: &Inner,
    _mover: &Mover<'_>,
    pass: &mut Pass,
    victims: &[Victim],
) -> Vec<Marked> {
    let marked: Vec<Marked> = victims.iter().filter_map(|victim| mark(heap, *victim)).collect();
    if marked.is_empty() {
        return marked;
    }
    let mut grace = Grace::start(&heap.readers);
    if grace.wait(Some(pass.patience())) {
        return marked;
    }
    pass.note_guards(grace.open_guards());
    marked.iter().for_each(Marked::unmark);
    Vec::new()
}

fn mark(heap: &Inner, victim: Victim) -> Option<Marked> {
    let slots = heap.tables.get(victim.owner)?;
    // Fails where the slot names another block: this one is retired, or not published yet.
    let snapshot = slot::mark(slots.word_at(victim.owner.slot)?, victim.offset)?;
    Some(Marked { victim, slots, snapshot })
}

/// What became of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// Every block was moved, or is in the report.
    Done,
    /// No place was found for a block; the rest was left.
    NoRoom,
    /// The budget is spent, or guards stayed open.
    Over,
}

/// Moves a batch of blocks to places that `reserve` finds, each with the victim's room.
pub(super) fn move_all(
    heap: &Inner,
    mover: &Mover<'_>,
    pass: &mut Pass,
    victims: &[Victim],
    mut reserve: impl FnMut(Victim) -> Option<u32>,
) -> Outcome {
    let batch = mark_all(heap, mover, pass, victims);
    let mut outcome = Outcome::Done;
    for marked in &batch {
        if outcome == Outcome::Done && pass.is_over() {
            outcome = Outcome::Over;
        }
        if outcome != Outcome::Done {
            marked.unmark();
            continue;
        }
        let Some(place) = reserve(marked.victim) else {
            outcome = Outcome::NoRoom;
            marked.unmark();
            continue;
        };
        move_to(heap, pass, marked, place);
    }
    if pass.is_over() { Outcome::Over } else { outcome }
}

/// Step 3 for one block: to a place that was reserved for it, with the room that was planned. Where that
/// fails the place is freed, and the report says why.
pub(super) fn move_to(heap: &Inner, pass: &mut Pass, marked: &Marked, place: u32) -> bool {
    let Some(locked) = marked.lock(heap, pass) else {
        heap.store.free(place);
        return false;
    };
    if !locked.fits(place) {
        pass.report.cancelled += 1;
        locked.publish(marked.victim.offset);
        heap.store.free(place);
        return false;
    }
    locked.copy(heap, place);
    locked.adopt_size(heap, place);
    pass.note_move(locked.bytes);
    locked.publish(place);
    heap.store.free(marked.victim.offset);
    true
}
