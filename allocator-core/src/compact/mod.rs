//! Moving blocks together while threads read.
//!
//! * `budget.rs`: how much a defragmentation may do, and what it reports;
//! * `mover.rs`: the protocol, for a batch of blocks: mark, grace period, lock, copy, publish;
//! * `slabs.rs`: empties sparse slabs into fuller ones, then moves slabs to the top of the buffer;
//! * `slide.rs`: brings blocks with chunks of their own to the bottom of the buffer;
//! * `window.rs`: makes room for one block where that costs least;
//! * `choice.rs`: where that is;
//! * `room.rs`: who asks for that, and the report.
//!
//! Slabs end up at the top, other blocks at the bottom, the free memory in one run between them.

mod budget;
mod choice;
mod mover;
mod room;
mod slabs;
mod slide;
mod window;

pub use budget::{Budget, DefragReport};
pub(crate) use mover::MoverLock;
pub use room::RoomReport;

use crate::central::Central;
use crate::grace::Grace;
use crate::heap::Inner;
use crate::placement::{Need, Run};
use crate::raw::GRANULE;
use crate::stats;
use budget::Pass;
use mover::Mover;

/// Slabs and other blocks can be in each other's way, and readers cancel moves, so the steps are repeated, this
/// often at most.
const ROUNDS_MAX: usize = 16;

/// Pages of a table's slots that a pass with a clock gives back: some tens of microseconds.
const SLOT_PAGES_MAX: usize = 64;

/// One defragmentation of a heap.
pub(crate) fn run(heap: &Inner, budget: Budget) -> DefragReport {
    let mut pass = Pass::new(heap, budget);
    let Some(mover) = heap.mover.lock_until(pass.patience()) else {
        return pass.finish(heap, false);
    };
    pass.report.own_guard = heap.readers.own_open().is_some();
    reclaim(heap, &pass);
    // After reclaiming, so that the two figures of the report differ by what was moved.
    pass.report.fragmentation_before = stats::space(&heap.store).fragmentation();
    heap.store.drain();
    if pass.report.own_guard {
        // A grace period would wait for ourselves.
        return pass.finish(heap, false);
    }
    let settled = rounds(heap, &mover, &mut pass);
    release_slots(heap, &mut pass);
    pass.finish(heap, settled)
}

/// Gives pages of slots without an object back to the system, some where the clock runs.
fn release_slots(heap: &Inner, pass: &mut Pass) {
    let most = if pass.has_clock() { SLOT_PAGES_MAX } else { usize::MAX };
    for table in heap.tables.all() {
        pass.report.freed_slot_bytes += table.release_pages(most);
        if pass.has_clock() && pass.is_over() {
            return;
        }
    }
}

/// Brings everything together, as far as the budget goes; whether nothing is left to move.
fn rounds(heap: &Inner, mover: &Mover<'_>, pass: &mut Pass) -> bool {
    slabs::resume_raise(heap, mover, pass);
    let mut settled = false;
    for _ in 0..ROUNDS_MAX {
        let before = pass.attempts();
        slabs::consolidate(heap, mover, pass);
        slabs::raise(heap, mover, pass);
        slide::slide(heap, mover, pass);
        slide::sink(heap, mover, pass);
        settled = pass.attempts() == before && !pass.is_over();
        if settled || pass.is_over() {
            break;
        }
    }
    heap.store.drain();
    settled
}

/// Makes room for a block with a chunk of its own: the cheapest window first, everything if that fails. What `take` gives for
/// the free run, under the lock of the centre, so that nobody else gets it.
fn make_room<R>(
    heap: &Inner,
    need: Need,
    take: impl Fn(&mut Central, Run) -> R,
) -> (Option<R>, DefragReport) {
    let mut pass = Pass::new(heap, Budget::unlimited());
    let Some(mover) = heap.mover.lock_until(pass.patience()) else {
        return (None, pass.close(heap, false));
    };
    pass.report.own_guard = heap.readers.own_open().is_some();
    reclaim(heap, &pass);
    let space = stats::space(&heap.store);
    pass.report.fragmentation_before = space.fragmentation();
    heap.store.drain();
    let find = || {
        let mut central = heap.store.central();
        let run = central.space.find(heap.store.memory(), need)?;
        Some(take(&mut central, run))
    };
    let mut room = find();
    if room.is_some() || pass.report.own_guard {
        return (room, pass.close(heap, false));
    }
    if need.len as usize * GRANULE <= space.free_bytes {
        room = window::make(heap, &mover, &mut pass, need, &take);
    }
    if room.is_some() || pass.is_over() {
        return (room, pass.close(heap, false));
    }
    // No window could be emptied, or slabs hold what is free.
    let settled = rounds(heap, &mover, &mut pass);
    room = find();
    (room, pass.finish(heap, settled))
}

/// Reclaims retired blocks, which cannot be moved, waiting for their grace periods as far as the pass may.
fn reclaim(heap: &Inner, pass: &Pass) {
    heap.reclaim_plain();
    if !pass.report.own_guard && heap.plain_waiting() {
        // Over at the latest when the grace periods of the retired blocks are, unless guards stay open.
        Grace::start(&heap.readers).wait(Some(pass.patience()));
        heap.reclaim_plain();
    }
    // What threads keep would stay in the way.
    heap.empty_caches();
}
