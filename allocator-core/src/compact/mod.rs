//! Moving blocks together while threads read.
//!
//! * `budget.rs`: how much a defragmentation may do, and what it reports;
//! * `mover.rs`: the protocol, for a batch of blocks: mark, grace period, lock, copy, publish;
//! * `slabs.rs`: empties sparse slabs into fuller ones, then moves slabs to the top of the buffer;
//! * `pack.rs`: packs the slabs that stay partly filled, and gives their ends back;
//! * `slide.rs`: brings blocks with chunks of their own to the bottom of the buffer.
//!
//! Slabs end up at the top, other blocks at the bottom, the free memory in one run between them.

mod budget;
mod mover;
mod pack;
mod slabs;
mod slide;

pub use budget::{Budget, DefragReport};
pub(crate) use mover::MoverLock;

use crate::grace::Grace;
use crate::heap::Inner;
use crate::stats;
use budget::Pass;

/// Slabs and other blocks can be in each other's way, and readers cancel moves, so the steps are repeated, this
/// often at most.
const ROUNDS_MAX: usize = 16;

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
    slabs::resume_raise(heap, &mover, &mut pass);
    let mut settled = false;
    for _ in 0..ROUNDS_MAX {
        let before = pass.attempts();
        slabs::consolidate(heap, &mover, &mut pass);
        slabs::raise(heap, &mover, &mut pass);
        slide::slide(heap, &mover, &mut pass);
        slide::sink(heap, &mover, &mut pass);
        pack::pack(heap, &mover, &mut pass);
        settled = pass.attempts() == before && !pass.is_over();
        if settled || pass.is_over() {
            break;
        }
    }
    heap.store.drain();
    if settled {
        heap.store.central().space.release_maps();
    }
    pass.finish(heap, settled)
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
