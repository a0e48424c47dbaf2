//! Moving blocks together while threads read.
//!
//! * `budget.rs`, `pass.rs`, `report.rs`: how much a defragmentation may do, the call that does it, what it
//!   reports; `rate.rs`, `forecast.rs`: what it costs, and what it would do;
//! * `round.rs`: the stages of the work, kept from one call to the next (`unfinished.rs`), and the survey of the slabs
//!   (`partial.rs`);
//! * `mover.rs`: the protocol, for a batch of blocks: mark, grace period, lock, copy, publish;
//! * `slabs.rs`, `raise.rs`: empty slabs into others, then move slabs to the top of the buffer; `seen.rs`: what both see of a slab;
//! * `slide.rs`, `sink.rs`: bring blocks with chunks of their own to the bottom of the buffer;
//! * `pack.rs`: packs the slabs that stay partly filled, and gives their ends back;
//! * `window.rs`, `choice.rs`, `room.rs`: make room for one block where that costs least;
//! * `release.rs`: gives the pages of free memory back to the system.
//!
//! Slabs end up at the top, other blocks at the bottom, the free memory in one run between them.

mod budget;
mod choice;
mod forecast;
mod mover;
mod pack;
mod partial;
mod pass;
mod raise;
mod rate;
mod release;
mod report;
mod room;
mod round;
mod seen;
mod sink;
mod slabs;
mod slide;
#[cfg(all(test, not(loom)))]
mod tests;
mod unfinished;
mod window;

pub use budget::Budget;
pub use forecast::Forecast;
pub(crate) use mover::MoverLock;
pub use report::DefragReport;
pub use room::RoomReport;

use crate::central::Central;
use crate::grace::Grace;
use crate::heap::Inner;
use crate::placement::{Need, Run};
use crate::raw::GRANULE;
use crate::stats;
use mover::Mover;
use pass::Pass;
use round::{Round, Stage};

/// One defragmentation of a heap.
pub(crate) fn run(heap: &Inner, budget: Budget) -> DefragReport {
    let mut pass = Pass::new(heap, budget);
    let Some(mut mover) = heap.mover.lock_until(pass.patience()) else {
        pass.report.mover_busy = true;
        return pass.finish(heap, false);
    };
    pass.report.own_guard = heap.readers.is_entered();
    let unfinished = mover.unfinished();
    unfinished.futile.begin_pass();
    pass.rate = unfinished.rate;
    pass.expect_steps_of(unfinished.longest_step);
    // A pass without limits looks at everything itself.
    let round = unfinished.round.take().filter(|_| !budget.is_unlimited());
    let mut round = round.unwrap_or_else(Round::new);
    if round.is_new() {
        if !pass.is_timed() {
            release::make_own_room(heap, &mut pass);
        }
        mover.unfinished().committed_max = heap.store.central().committed();
        if !pass.is_timed() {
            // Waits for readers; with a clock it is done in steps, and without waiting.
            reclaim(heap, &pass);
            round.skip_gather();
        }
    } else if !pass.is_timed() {
        heap.reclaim_plain();
    }
    pass.committed_max = mover.unfinished().committed_max;
    // After reclaiming, so that the two figures of the report differ by what was moved.
    pass.report.fragmentation_before = pass.fragmentation(heap);
    // Inside an own guard a grace period would wait for ourselves.
    let settled = !pass.report.own_guard && work(heap, &mut mover, &mut pass, &mut round);
    let unfinished = mover.unfinished();
    if !pass.is_timed() {
        while unfinished.pending.give_back(heap, &mut pass) {}
    }
    unfinished.rate = pass.rate;
    unfinished.longest_step = pass.longest();
    unfinished.round = (!settled && !pass.report.own_guard).then_some(round);
    pass.finish(heap, settled)
}

/// Goes on with the round, step by step, until nothing is left to do (true) or the pass is over.
fn work(heap: &Inner, mover: &mut Mover<'_>, pass: &mut Pass, round: &mut Round) -> bool {
    if !pass.is_over() {
        let attempts = pass.attempts();
        raise::resume_raise(heap, mover, pass);
        round.note_attempts(pass.attempts() - attempts);
    }
    while !pass.is_over() {
        let attempts = pass.attempts();
        let more = step(heap, mover, pass, round);
        round.note_attempts(pass.attempts() - attempts);
        if !pass.is_blocked() {
            pass.note_step();
        }
        if !more && pass.may_go_on() && !round.next_stage() {
            return true;
        }
    }
    false
}

/// One step, of some dozens of microseconds where the clock runs; false when its stage is done.
fn step(heap: &Inner, mover: &mut Mover<'_>, pass: &mut Pass, round: &mut Round) -> bool {
    let unfinished = mover.unfinished();
    if unfinished.pending.is_long() && unfinished.pending.give_back(heap, pass) {
        return true;
    }
    match round.stage {
        Stage::Gather => round::gather(heap, pass, unfinished, round),
        Stage::Drain => round::drain(heap, round),
        Stage::Slots => release::release_slots(heap, pass, round),
        Stage::Maps => release::release_maps(heap, pass, round),
        Stage::Survey => round::survey(heap, round),
        Stage::Consolidate => slabs::consolidate(heap, mover, pass, round),
        Stage::Raise => raise::raise(heap, mover, pass, round),
        Stage::Slide => slide::slide(heap, mover, pass, round),
        Stage::Sink => sink::sink(heap, mover, pass, round),
        Stage::Pack => pack::pack(heap, mover, pass, round),
        Stage::Release => release::release(heap, pass, round),
    }
}

/// Makes room for a block with a chunk of its own: the cheapest window first, everything if that fails. What `take` gives for
/// the free run, under the lock of the centre, so that nobody else gets it.
fn make_room<R>(
    heap: &Inner,
    need: Need,
    take: impl Fn(&mut Central, Run) -> R,
) -> (Option<R>, DefragReport) {
    let mut pass = Pass::new(heap, Budget::unlimited());
    let find = || {
        let mut central = heap.store.central();
        let run = central.space.find(heap.store.memory(), need)?;
        Some(take(&mut central, run))
    };
    let Some(mut mover) = heap.mover.lock_until(pass.patience()) else {
        // The time to wait is over, and it may be there without moving.
        heap.reclaim_plain();
        heap.empty_caches();
        heap.store.drain();
        pass.report.mover_busy = true;
        return (find(), pass.finish(heap, false));
    };
    pass.report.own_guard = heap.readers.is_entered();
    reclaim(heap, &pass);
    let space = stats::space(&heap.store);
    pass.report.fragmentation_before = space.fragmentation();
    heap.store.drain();
    let mut room = find();
    if room.is_some() || pass.report.own_guard {
        return (room, pass.finish(heap, false));
    }
    if need.len as usize * GRANULE <= space.free_bytes {
        room = window::make(heap, &mover, &mut pass, need, &take);
    }
    if room.is_some() || pass.is_over() {
        return (room, pass.finish(heap, false));
    }
    // No window could be emptied, or slabs hold what is free.
    let unfinished = mover.unfinished();
    unfinished.round = None;
    pass.rate = unfinished.rate;
    let settled = work(heap, &mut mover, &mut pass, &mut Round::new());
    mover.unfinished().rate = pass.rate;
    (find(), pass.finish(heap, settled))
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
