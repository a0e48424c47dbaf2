//! Blocks with chunks of their own go to the bottom of the buffer.
//!
//! *Sliding*: a block moves down into the free run before it, in address order, so the free memory wanders
//! up until something is in its way (the compaction of Knuth, TAOCP vol. 1, 2.5 exercise 33, one batch at a
//! time). *Sinking*: a block above the lowest slab moves into a free run below that slab, so that slabs
//! never lie between blocks for good.

use super::budget::Pass;
use super::mover::{BATCH, Marked, Mover, Outcome, Victim, mark_all, move_all, move_to};
use crate::block::{Owner, Shape};
use crate::chunk::{self, Kind};
use crate::heap::Inner;
use crate::placement::{Need, Run};
use crate::sync::atomic::Ordering;

/// Slides every block that can be slid. O(blocks above the first free run), two locks of the centre a block.
pub(super) fn slide(heap: &Inner, mover: &Mover<'_>, pass: &mut Pass) {
    let (mut at, _) = heap.store.memory().bounds();
    while let Some((victims, end)) = next_batch(heap, at) {
        at = end;
        for marked in mark_all(heap, mover, pass, &victims) {
            if pass.is_over() {
                marked.unmark();
                continue;
            }
            if let Some(end) = slide_one(heap, pass, &marked) {
                // What the block left free behind it is where the next batch begins.
                at = end;
            }
        }
        if pass.is_over() {
            return;
        }
        let memory = heap.store.memory();
        let mut central = heap.store.central();
        if let Some(hole) = central.space.run_at(memory, at) {
            // The places that were filled may have been committed for it.
            pass.report.freed_bytes += central.release_pages(memory, hole.start, hole.end());
        }
    }
}

/// The blocks behind the first free run from `at` on, up to the next slab, and the end of the last one.
/// `None` when nothing is left above `at`.
fn next_batch(heap: &Inner, at: u32) -> Option<(Vec<Victim>, u32)> {
    let memory = heap.store.memory();
    let central = heap.store.central();
    let (_, hi) = central.bounds();
    let mut victims = Vec::new();
    let mut at = central.space.next_run(memory, at, hi)?.end();
    while at < hi && victims.len() < BATCH {
        if let Some(run) = central.space.run_at(memory, at) {
            at = run.end();
            continue;
        }
        let (chunk, kind) = chunk::at(memory, at).expect("chunks and free runs tile the centre");
        if kind != Kind::Block {
            // Begin again behind it, unless there is something to do before it.
            at = if victims.is_empty() { chunk.end() } else { at };
            break;
        }
        victims.extend(victim(heap, chunk));
        at = chunk.end();
    }
    Some((victims, at))
}

/// Slides one block into the free run before it; the end of its new place. `None` when it stays.
fn slide_one(heap: &Inner, pass: &mut Pass, marked: &Marked) -> Option<u32> {
    let memory = heap.store.memory();
    let start = marked.victim.offset - chunk::HEADER;
    let len = marked.victim.room + chunk::HEADER;
    let need = Need { len, align: marked.align(), skew: chunk::HEADER };
    let mut central = heap.store.central();
    let Some(run) = central.space.run_before(memory, start) else {
        drop(central);
        marked.unmark();
        return None;
    };
    // Where the block fits into the run, only its new place is taken: everybody else finds the rest.
    if let Some(target) = need.place_low(run) {
        let taken = Run { start: target, len };
        central.claim(memory, run, taken);
        let place = chunk::init_block(memory, taken, marked.victim.owner);
        drop(central);
        return move_to(heap, pass, marked, place).then(|| taken.end());
    }
    // The new place overlaps the old one, so the run is shorter than the block.
    central.space.withdraw(memory, run);
    drop(central);
    slide_over(heap, pass, marked, run)
}

/// Slides a block into a shorter free run before it, which is withdrawn.
///
/// From here to the end the granules of the run and the block belong to the mover: nobody else walks the
/// centre without the mover lock.
fn slide_over(heap: &Inner, pass: &mut Pass, marked: &Marked, run: Run) -> Option<u32> {
    let memory = heap.store.memory();
    let start = run.end();
    let Some(locked) = marked.lock(heap, pass) else {
        heap.store.central().release(memory, run);
        return None;
    };
    // Only now: who held the block until a moment ago may have resized it in place.
    let chunk = chunk::of_block(memory, marked.victim.offset);
    let room = Run { start: run.start, len: run.len + chunk.len };
    let need = Need { len: chunk.len, align: marked.align(), skew: chunk::HEADER };
    let target = need.place_low(room).unwrap_or(start);
    if target >= start {
        locked.publish(marked.victim.offset);
        heap.store.central().release(memory, run);
        return None;
    }
    // The new header lies below the old block; the copy may run over the old header.
    locked.copy(heap, target + chunk::HEADER);
    let place = Run { start: target, len: chunk.len };
    locked.adopt_size(heap, chunk::init_block(memory, place, marked.victim.owner));
    pass.note_move(locked.bytes);
    locked.publish(target + chunk::HEADER);
    let mut central = heap.store.central();
    central.note_taken(place);
    if target > run.start {
        central.release(memory, Run { start: run.start, len: target - run.start });
    }
    central.release(memory, Run { start: place.end(), len: chunk.end() - place.end() });
    Some(place.end())
}

/// Moves the blocks above the lowest slab into free runs below it. O(blocks above it), and a look at up to
/// [`LOOKS_MAX`](crate::central::LOOKS_MAX) free runs a block.
pub(super) fn sink(heap: &Inner, mover: &Mover<'_>, pass: &mut Pass) {
    let Some((victims, below)) = above_lowest_slab(heap) else { return };
    for batch in victims.chunks(BATCH) {
        if pass.is_over() {
            return;
        }
        let outcome = move_all(heap, mover, pass, batch, |victim| {
            let memory = heap.store.memory();
            let mut central = heap.store.central();
            let align = heap.tables.get(victim.owner)?.align(victim.shape);
            let len = victim.room + chunk::HEADER;
            let need = Need { len, align, skew: chunk::HEADER };
            let taken = central.allocate_below(memory, need, below)?;
            Some(chunk::init_block(memory, taken, victim.owner))
        });
        if outcome != Outcome::Done {
            return;
        }
    }
}

/// The blocks above the lowest slab, and where that slab begins. O(pages, and chunks above).
fn above_lowest_slab(heap: &Inner) -> Option<(Vec<Victim>, u32)> {
    let memory = heap.store.memory();
    let central = heap.store.central();
    let (lo, hi) = central.bounds();
    let lowest = heap.store.shared.pages.first_held(lo, hi)?;
    let (mut at, mut victims) = (lowest, Vec::new());
    while at < hi {
        if let Some(run) = central.space.run_at(memory, at) {
            at = run.end();
            continue;
        }
        let (chunk, kind) = chunk::at(memory, at).expect("chunks and free runs tile the centre");
        if kind == Kind::Block {
            victims.extend(victim(heap, chunk));
        }
        at = chunk.end();
    }
    Some((victims, lowest))
}

/// The block of a chunk. The caller holds the lock of the centre.
pub(super) fn victim(heap: &Inner, chunk: Run) -> Option<Victim> {
    let offset = chunk.start + chunk::HEADER;
    // Relaxed: owners of chunks of the centre change under its lock only.
    let header = heap.store.memory().header(chunk::header_index(offset)).load(Ordering::Relaxed);
    let shape = Shape::of(header);
    Owner::of(header).map(|owner| Victim { offset, owner, room: chunk.len - chunk::HEADER, shape })
}
