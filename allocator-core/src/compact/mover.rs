//! The move protocol, for a batch of blocks.
//!
//! 1. *Mark* every block of the batch (a reader that comes now cancels).
//! 2. *Grace*: one heavy barrier for the whole batch, then wait for every guard that was open. Who read the
//!    slot word before the mark is gone then; who reads it after sees the mark.
//! 3. *Reserve* the new places of the batch, under one lock.
//! 4. For one block after the other: *lock* (fails where a reader or remover came first), look at its holds,
//!    copy, *publish*. Nobody can see the old place then.
//! 5. Free the old places, and those that were reserved in vain, under one lock.
//!
//! At most one thread does this at a time, the holder of the [`MoverLock`]: marks are not numbered, so a
//! second mover could take a mark that was cancelled and made again for its own, whose grace period is
//! another. `take` uses the same lock for the same reason.

use super::pass::Pass;
use super::unfinished::Unfinished;
use crate::block::{self, Owner, Shape};
use crate::chunk::{self, Kind};
use crate::grace::Grace;
use crate::head::{Head, Size};
use crate::heap::Inner;
use crate::pages::Label;
use crate::placement::Run;
use crate::raw::{GRANULE, Wipe};
use crate::slot::{self, LockOutcome, Snapshot};
use crate::sync::atomic::AtomicU64;
use crate::sync::{Arc, Mutex, MutexGuard};
use crate::table::Slots;
use std::time::Instant;

/// Slots that are brought into the cache before they are marked.
const SLOTS_AHEAD: usize = 32;

/// Blocks that are brought into the cache before they are moved.
const BLOCKS_AHEAD: usize = 6;

/// The right to mark blocks of the heap, and what the last pass left unfinished.
#[derive(Debug)]
pub(crate) struct MoverLock(Mutex<Unfinished>);

/// Proof that the mover lock is held.
pub(crate) struct Mover<'h>(MutexGuard<'h, Unfinished>);

impl Mover<'_> {
    pub(super) fn unfinished(&mut self) -> &mut Unfinished {
        &mut self.0
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
    /// What its place is: a chunk of its own, or a cell of a slab.
    pub(super) kind: Kind,
    /// That of raw bytes with a chunk of their own.
    pub(super) shape: Option<Shape>,
}

/// A block whose slot is marked. Small, as a batch has thousands, in memory that is taken on top of the heap's.
#[derive(Clone, Copy, Debug)]
struct Marked {
    /// Which of the batch's victims it is.
    victim: u32,
    /// Which of the batch's tables it belongs to.
    table: u32,
    snapshot: Snapshot,
}

/// Those of some victims whose slots are marked, and the tables that they belong to.
pub(super) struct Batch<'v> {
    victims: &'v [Victim],
    tables: Vec<(u16, Arc<Slots>)>,
    marked: Vec<Marked>,
}

/// A block that is locked: its bytes are the mover's alone until it publishes or puts back.
pub(super) struct Locked<'b> {
    slots: &'b Slots,
    victim: Victim,
    snapshot: Snapshot,
    pub(super) bytes: usize,
    /// Bytes that its place has room for.
    room: usize,
    /// That of raw bytes.
    size: Option<Size>,
}

impl<'v> Batch<'v> {
    fn new(victims: &'v [Victim]) -> Self {
        Self { victims, tables: Vec::new(), marked: Vec::with_capacity(victims.len()) }
    }

    /// Blocks of the batch.
    pub(super) fn len(&self) -> usize {
        self.marked.len()
    }

    pub(super) fn victim(&self, number: usize) -> Victim {
        self.victims[self.marked[number].victim as usize]
    }

    /// Alignment of a block, in granules.
    pub(super) fn align(&self, number: usize) -> u32 {
        self.slots(number).align(self.victim(number).shape)
    }

    /// The table of a block.
    fn slots(&self, number: usize) -> &Slots {
        &self.tables[self.marked[number].table as usize].1
    }

    /// Gives up the plan for the blocks from `number` on.
    pub(super) fn unmark_from(&self, number: usize) {
        (number..self.len()).for_each(|number| self.unmark(number));
    }

    /// Gives up the plan for one block.
    pub(super) fn unmark(&self, number: usize) {
        let word = word(self.slots(number), self.victim(number));
        slot::unmark(word, self.marked[number].snapshot);
    }

    /// Takes a block for a copy, after the grace period. `None` when a reader or remover came first, the block is held, or
    /// is no longer what was planned; the report says which.
    ///
    /// Between plan and mark a block may be freed, its page become one of cells (or the other way round), and the same slot
    /// get a place at the same offset. The mark takes the one for the other, so this looks at the page again. From here on the
    /// label is that of the block which is locked: a block in use keeps its page.
    pub(super) fn lock(&self, heap: &Inner, pass: &mut Pass, number: usize) -> Option<Locked<'_>> {
        let (slots, victim) = (self.slots(number), self.victim(number));
        let snapshot = self.marked[number].snapshot;
        match slot::lock(word(slots, victim), snapshot) {
            LockOutcome::Cancelled => {
                pass.report.cancelled += 1;
                None
            }
            LockOutcome::Locked => {
                // Only now: holds are taken inside sections, and those that saw the block live are over.
                let head = heap.store.head(victim.offset);
                let held = block::is_held(head.header);
                // Only now: who holds a raw block may resize it, and lets go of it after that.
                let size = head.size();
                let bytes = size.map_or(slots.bytes(), |size| size.bytes);
                let locked = Locked { slots, victim, snapshot, bytes, room: head.room(), size };
                if held {
                    pass.note_pinned(victim.owner, bytes);
                    locked.publish(victim.offset);
                    return None;
                }
                if head.is_cell() != (victim.kind == Kind::Slab)
                    || !head.is_cell()
                        && heap.store.shared.pages.label(victim.offset) != Label::Central
                {
                    locked.put_back(pass);
                    return None;
                }
                Some(locked)
            }
        }
    }

    /// Which of the batch's tables owns a block; `None` where it is gone.
    fn table(&mut self, heap: &Inner, owner: Owner) -> Option<usize> {
        let known = self.tables.iter().position(|(id, _)| *id == owner.table);
        known.or_else(|| {
            self.tables.push((owner.table, heap.tables.get(owner)?));
            Some(self.tables.len() - 1)
        })
    }

    fn mark(&mut self, heap: &Inner) {
        let mut numbers = 0..;
        for some in self.victims.chunks(SLOTS_AHEAD) {
            for victim in some {
                if let Some(table) = self.table(heap, victim.owner) {
                    self.tables[table].1.prefetch(victim.owner.slot);
                }
            }
            for (victim, number) in some.iter().zip(&mut numbers) {
                let Some(table) = self.table(heap, victim.owner) else { continue };
                let Some(word) = self.tables[table].1.word_at(victim.owner.slot) else { continue };
                // Fails where the slot names another block: this one is retired, or not published yet.
                if let Some(snapshot) = slot::mark(word, victim.offset) {
                    self.marked.push(Marked { victim: number, table: table as u32, snapshot });
                }
            }
        }
    }

    /// Brings the bytes of a block, if there is one of this number, and the place it goes to into the cache.
    fn prefetch(&self, heap: &Inner, number: usize, places: &[u32]) {
        if number < self.len()
            && let Some(place) = places.get(number)
        {
            heap.store.memory().prefetch(self.victim(number).offset);
            heap.store.memory().prefetch(*place);
        }
    }
}

fn word(slots: &Slots, victim: Victim) -> &AtomicU64 {
    slots.word_at(victim.owner.slot).expect("the slot was found when it was marked")
}

impl Locked<'_> {
    /// Moves the block to `place`, which has a header of its own and shares no byte with it; puts it back where that is no
    /// place for it any more. Whether it was moved.
    pub(super) fn move_to(self, heap: &Inner, pass: &mut Pass, place: u32) -> bool {
        let head = heap.store.head(place);
        // Since it was planned, who held the block may have made it larger or smaller, or another one may have come in its
        // place: of the same slot, but of another size and alignment, in a page of another class. A place that is too long
        // is no good either: nobody would cut it.
        if head.room() != self.room || !place.is_multiple_of(self.align()) {
            self.put_back(pass);
            return false;
        }
        self.copy(heap, place);
        self.adopt_size(&head);
        pass.note_move(self.bytes);
        let offset = self.victim.offset;
        self.publish(place);
        // Nobody can see the old place any more, which is the mover's until it is freed.
        heap.store.wipe(Wipe::Moved, offset);
        true
    }

    /// The chunk of the block as it is now: who held it until it was locked may have resized it in place. For blocks that
    /// were planned as those with chunks of their own.
    pub(super) fn chunk(&self, heap: &Inner) -> Run {
        debug_assert_eq!(self.victim.kind, Kind::Block);
        chunk::of_block(heap.store.memory(), self.victim.offset)
    }

    /// Alignment of the block as it is now, in granules.
    pub(super) fn align(&self) -> u32 {
        let of_raw = |size: Size| size.align.div_ceil(GRANULE) as u32;
        self.size.map_or_else(|| self.slots.align(None), of_raw)
    }

    /// Makes the block live at `offset`.
    pub(super) fn publish(self, offset: u32) {
        slot::unlock(word(self.slots, self.victim), self.snapshot, offset);
    }

    /// Makes the block live where it was, and counts the move as cancelled.
    fn put_back(self, pass: &mut Pass) {
        pass.report.cancelled += 1;
        let offset = self.victim.offset;
        self.publish(offset);
    }

    /// Says at the new place what the size of raw bytes is.
    pub(super) fn adopt_size(&self, to: &Head<'_>) {
        if let Some(size) = self.size {
            to.set_size(size);
        }
    }

    /// Copies the bytes to the place at `to`, which may overlap the old one.
    pub(super) fn copy(&self, heap: &Inner, to: u32) {
        // Zeroes that nobody wrote yet are due at the new place too.
        let written = self.size.is_none_or(|size| !size.zeroes_due);
        let bytes = if written { self.bytes } else { 0 };
        // SAFETY: the old place is locked, and no guard or hold that could see it is left; the new place
        // belongs to the caller.
        unsafe { heap.store.memory().copy(self.victim.offset, to, bytes) };
    }
}

/// Steps 1 and 2: the victims that are still there, marked and past their grace period. Empty when guards
/// stayed open, which the pass then reports.
pub(super) fn mark_all<'v>(
    heap: &Inner,
    _mover: &Mover<'_>,
    pass: &mut Pass,
    victims: &'v [Victim],
) -> Batch<'v> {
    let mut batch = Batch::new(victims);
    batch.mark(heap);
    if batch.marked.is_empty() {
        return batch;
    }
    let mut grace = Grace::start(&heap.readers);
    if pass.wait(&mut grace) {
        return batch;
    }
    batch.unmark_from(0);
    Batch::new(&[])
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

/// Moves a batch of blocks to places that `reserve` finds, in the order of the batch, each with the room of its
/// block; fewer where there are no more.
pub(super) fn move_all(
    heap: &Inner,
    mover: &Mover<'_>,
    pass: &mut Pass,
    victims: &[Victim],
    reserve: impl FnOnce(&Batch<'_>, &mut Vec<u32>),
) -> Outcome {
    let batch = mark_all(heap, mover, pass, victims);
    let mut places = Vec::with_capacity(batch.len());
    if batch.len() > 0 && !pass.is_over() {
        reserve(&batch, &mut places);
    }
    for ahead in 0..BLOCKS_AHEAD {
        batch.prefetch(heap, ahead, &places);
    }
    let mut done = 0;
    while done < places.len() && !pass.is_over() {
        batch.prefetch(heap, done + BLOCKS_AHEAD, &places);
        let locked = batch.lock(heap, pass, done);
        if locked.is_some_and(|locked| locked.move_to(heap, pass, places[done])) {
            // Nobody can see the old place, which takes that of the new one in the list of what becomes free.
            places[done] = batch.victim(done).offset;
        }
        done += 1;
    }
    batch.unmark_from(done);
    heap.store.free_moved(&places);
    match (pass.is_over(), done < batch.len()) {
        (true, _) => Outcome::Over,
        (false, true) => Outcome::NoRoom,
        (false, false) => Outcome::Done,
    }
}
