//! Blocks with chunks of their own go to the bottom of the buffer.
//!
//! A block moves down into the free memory before it, in address order, so the free memory wanders up until
//! something is in its way (the compaction of Knuth, TAOCP vol. 1, 2.5 exercise 33, one batch at a time).
//!
//! * Where the free run before a batch is long enough for all of it, the new places are *claimed* at once, and
//!   the old ones are freed at once after the last copy.
//! * Where it is shorter, the run and those between the blocks of the batch are *withdrawn*: from there to the
//!   end of the batch they belong to the mover, as do the blocks that it locks, and the free memory moves up
//!   from block to block. What is withdrawn is less than a batch, and a small part of the heap.
//!
//! The two cost one lock of the centre before the copies and one after them, for the whole batch.

use super::mover::{Batch, Mover, Victim, mark_all};
use super::pass::Pass;
use super::round::Round;
use crate::block::{Owner, Shape};
use crate::chunk::{self, Kind};
use crate::heap::Inner;
use crate::placement::{Need, Run};
use crate::raw::os::OS_PAGE;
use crate::raw::{GRANULE, Wipe};
use crate::sync::atomic::Ordering;
use std::time::Instant;

/// The share of the heap that may be withdrawn for a batch: one of so many.
const SHARE: usize = 32;

/// Blocks behind free memory.
struct Plan {
    victims: Vec<Victim>,
    /// The end of the last one, or where to look further.
    end: u32,
}

/// Granules of the heap that the mover has taken out of the free memory, or freed, and gives to the centre
/// later.
#[derive(Default)]
struct Pieces(Vec<Run>);

impl Pieces {
    fn add(&mut self, run: Run) {
        match self.0.last_mut() {
            _ if run.len == 0 => {}
            Some(last) if last.end() == run.start => last.len += run.len,
            _ => self.0.push(run),
        }
    }
}

/// One step: slides the next batch of blocks. False when nothing is left above.
pub(super) fn slide(heap: &Inner, mover: &Mover<'_>, pass: &mut Pass, round: &mut Round) -> bool {
    let (lo, _) = heap.store.memory().bounds();
    let begin = round.at.max(lo);
    let Some(Plan { victims, end }) = plan(heap, pass, begin) else { return false };
    round.at = end;
    if victims.is_empty() {
        return true;
    }
    let (start, before) = (Instant::now(), pass.report.moved_bytes);
    let batch = mark_all(heap, mover, pass, &victims);
    let slid = if batch.len() > 0 { slide_batch(heap, pass, &batch) } else { None };
    match slid {
        // What the last block left free behind it is where the next batch begins.
        Some(end) => round.at = end,
        // There was no time for it, or guards stayed open: it is planned again.
        None if pass.is_over() => round.at = begin,
        None => {}
    }
    pass.rate.note_bytes(pass.report.moved_bytes - before, start.elapsed());
    true
}

/// The blocks behind the first free run from `at` on, up to the next slab. `None` when nothing is left above `at`.
fn plan(heap: &Inner, pass: &Pass, at: u32) -> Option<Plan> {
    let memory = heap.store.memory();
    let most = pass.batch_bytes().min(heap.capacity / SHARE);
    let granules = (most / GRANULE) as u32;
    let central = heap.store.central();
    let (_, hi) = central.bounds();
    let mut victims = Vec::new();
    let mut at = central.space.next_run(memory, at, hi)?.end();
    let (mut blocks, mut between) = (0, 0);
    while at < hi && victims.len() < pass.batch() && blocks < granules {
        if let Some(run) = central.space.run_at(memory, at) {
            between += run.len;
            if between > granules && !victims.is_empty() {
                // There is room for many: the next batch begins with it.
                break;
            }
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
        blocks = blocks.saturating_add(chunk.len);
        at = chunk.end();
    }
    Some(Plan { victims, end: at })
}

/// Slides the blocks of a batch; where the free memory behind the last one that moved begins. `None` where none
/// did.
fn slide_batch(heap: &Inner, pass: &mut Pass, batch: &Batch<'_>) -> Option<u32> {
    let memory = heap.store.memory();
    let before = batch.victim(0).offset - chunk::HEADER;
    let mut central = heap.store.central();
    let hole = central.space.run_before(memory, before);
    if let Some((hole, places)) = hole.and_then(|hole| Some((hole, places(batch, hole)?))) {
        let end = places.last().map_or(hole.start, |place| place.end());
        let taken = Run { start: hole.start, len: end - hole.start };
        central.claim(memory, hole, taken);
        let rest = Run { start: end, len: hole.end() - end };
        central.keep_committed(memory, rest, pass.committed_max, pages_kept(pass));
        drop(central);
        return slide_apart(heap, pass, batch, taken, &places);
    }
    let gap = |number: usize| {
        let at = batch.victim(number).offset - chunk::HEADER;
        let gap = central.space.run_before(memory, at)?;
        central.space.withdraw(memory, gap);
        Some(gap)
    };
    let gaps: Vec<Option<Run>> = (0..batch.len()).map(gap).collect();
    drop(central);
    slide_over(heap, pass, batch, &gaps)
}

/// Pages of the system that a batch gives back at most, so as not to need more memory than before: twice what it
/// can commit.
fn pages_kept(pass: &Pass) -> usize {
    2 * pass.batch_bytes() / OS_PAGE
}

/// The places of all blocks of a batch in the run before it, if it is long enough.
fn places(batch: &Batch<'_>, hole: Run) -> Option<Vec<Run>> {
    let mut free = hole;
    let place = |number: usize| {
        let len = batch.victim(number).room + chunk::HEADER;
        let need = Need { len, align: batch.align(number), skew: chunk::HEADER };
        let start = need.place_low(free)?;
        free = Run { start: start + len, len: free.end() - start - len };
        Some(Run { start, len })
    };
    (0..batch.len()).map(place).collect()
}

/// Moves the blocks of a batch to places that lie below all of them, in a run that was claimed.
fn slide_apart(
    heap: &Inner,
    pass: &mut Pass,
    batch: &Batch<'_>,
    taken: Run,
    places: &[Run],
) -> Option<u32> {
    let memory = heap.store.memory();
    let (mut spare, mut old) = (Pieces::default(), Pieces::default());
    let (mut at, mut end) = (taken.start, None);
    for (number, place) in places.iter().enumerate() {
        if pass.is_over() || pass.lacks_time_for(place.len as usize * GRANULE) {
            batch.unmark_from(number);
            pass.stop();
            break;
        }
        let owner = batch.victim(number).owner;
        let Some(locked) = batch.lock(heap, pass, number) else { continue };
        let chunk = locked.chunk(heap);
        if !locked.move_to(heap, pass, chunk::init_block(memory, *place, owner)) {
            continue;
        }
        pass.report.useful_moves += 1;
        old.add(chunk);
        spare.add(Run { start: at, len: place.start - at });
        at = place.end();
        end = Some(at);
    }
    spare.add(Run { start: at, len: taken.end() - at });
    let mut central = heap.store.central();
    for run in spare.0.into_iter().chain(old.0) {
        central.release(memory, run);
    }
    end
}

/// Slides the blocks of a batch one after the other into the free memory before each, which is withdrawn:
/// `gaps` are the free runs before them.
///
/// The granules of these runs and of the blocks that are locked belong to the mover: nobody else walks the
/// centre without the mover lock.
fn slide_over(
    heap: &Inner,
    pass: &mut Pass,
    batch: &Batch<'_>,
    gaps: &[Option<Run>],
) -> Option<u32> {
    let memory = heap.store.memory();
    let (mut spare, mut places) = (Pieces::default(), Vec::new());
    // The free memory that wanders; it ends where the next block begins, or there is none.
    let mut hole = Run { start: 0, len: 0 };
    let mut stopped = false;
    for (number, gap) in gaps.iter().enumerate() {
        if let Some(gap) = *gap {
            if hole.end() == gap.start {
                hole.len += gap.len;
            } else {
                spare.add(core::mem::replace(&mut hole, gap));
            }
        }
        let Victim { offset, owner, room, .. } = batch.victim(number);
        let lacks_time = || pass.is_over() || pass.lacks_time_for(room as usize * GRANULE);
        if !stopped && lacks_time() {
            batch.unmark_from(number);
            pass.stop();
            stopped = true;
        }
        let start = offset - chunk::HEADER;
        if stopped || hole.len == 0 || hole.end() != start {
            if !stopped {
                batch.unmark(number);
            }
            continue;
        }
        let Some(locked) = batch.lock(heap, pass, number) else { continue };
        let chunk = locked.chunk(heap);
        let free = Run { start: hole.start, len: hole.len + chunk.len };
        let need = Need { len: chunk.len, align: locked.align(), skew: chunk::HEADER };
        let target = need.place_low(free).unwrap_or(start);
        if target >= start {
            locked.publish(offset);
            continue;
        }
        // The new header lies below the old block; the copy may run over the old header.
        locked.copy(heap, target + chunk::HEADER);
        let place = Run { start: target, len: chunk.len };
        locked.adopt_size(&heap.store.head(chunk::init_block(memory, place, owner)));
        pass.note_move(locked.bytes);
        pass.report.useful_moves += 1;
        locked.publish(target + chunk::HEADER);
        spare.add(Run { start: hole.start, len: target - hole.start });
        hole = Run { start: place.end(), len: chunk.end() - place.end() };
        if memory.wipes(Wipe::Moved) {
            // What of the old place is not part of the new one.
            let from = place.end().max(offset);
            memory.wipe(from, (chunk.end() - from) as usize * GRANULE);
        }
        places.push(place);
    }
    spare.add(hole);
    let mut central = heap.store.central();
    places.iter().for_each(|place| central.note_taken(*place));
    for run in spare.0 {
        central.release(memory, run);
    }
    let end = places.last()?.end();
    if let Some(run) = central.space.run_at(memory, end) {
        central.keep_committed(memory, run, pass.committed_max, pages_kept(pass));
    }
    Some(end)
}

/// The block of a chunk. The caller holds the lock of the centre.
pub(super) fn victim(heap: &Inner, chunk: Run) -> Option<Victim> {
    let offset = chunk.start + chunk::HEADER;
    // Relaxed: owners of chunks of the centre change under its lock only.
    let header = heap.store.memory().header(chunk::header_index(offset)).load(Ordering::Relaxed);
    let shape = Shape::of(header);
    let room = chunk.len - chunk::HEADER;
    Owner::of(header).map(|owner| Victim { offset, owner, room, kind: Kind::Block, shape })
}
