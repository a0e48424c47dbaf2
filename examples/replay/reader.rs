//! The threads that read live objects all the time.

use std::sync::atomic::Ordering;
use std::thread;

use crate::replay::Run;
use crate::verdict::Checks;

/// How many objects a reader looks for before it starts to check; few of them live.
const BATCH: usize = 64;

/// A reader keeps its processor for so many batches, which takes some hundred microseconds.
const BATCHES_MAX: u32 = 8;

/// Checks random live objects until the replay stops.
pub(crate) fn read(run: &Run<'_>, reader: usize) -> Checks {
    let mut checks = Checks::default();
    let mut random = fastrand::Rng::with_seed(reader as u64);
    let mut batches = 0u32;
    let mut ids = Vec::with_capacity(BATCH);
    while !run.stop.load(Ordering::Relaxed) {
        if run.plan.homes.is_empty() {
            thread::yield_now();
            continue;
        }
        ids.clear();
        let newest = run.schedule.newest();
        ids.extend((0..BATCH).map(|_| random.u32(..=newest)));
        run.store.check_shared(&ids, &mut checks);
        batches += 1;
        if batches.is_multiple_of(BATCHES_MAX) {
            // Some worker may wait for another that waits for this processor.
            thread::yield_now();
        }
    }
    checks
}
