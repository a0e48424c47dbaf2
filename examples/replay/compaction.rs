//! The defragmentations of a replay: who starts them and what they did.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use typed_pool::{Budget, DefragReport, Heap};

/// The background thread looks this often whether there is something to do.
const PERIOD: Duration = Duration::from_millis(4);
/// After a pass without effect it waits twice as long as before, up to this long.
const PERIOD_MAX: Duration = Duration::from_millis(64);
/// It begins to compact when the free memory is split up more than this,
const FRAGMENTATION_MAX: f64 = 0.5;
/// and goes on until it is split up less than this.
const FRAGMENTATION_MIN: f64 = 0.25;
/// Each of its passes stops after this time.
const PASS_TIME: Duration = Duration::from_micros(750);

/// What all defragmentations did together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) passes: u64,
    pub(crate) moves: u64,
    pub(crate) moved_bytes: u64,
    pub(crate) elapsed: Duration,
}

/// Counts the defragmentations.
#[derive(Debug, Default)]
pub(crate) struct Compaction {
    totals: Mutex<Totals>,
    /// Held during a pass of the background thread, and while measuring.
    pass: Mutex<()>,
}

impl Compaction {
    /// Compacts fully.
    pub(crate) fn defragment(&self, heap: &Heap) -> DefragReport {
        let report = heap.defragment();
        self.count(&report);
        report
    }

    /// Keeps the background thread from compacting.
    pub(crate) fn pause(&self) -> MutexGuard<'_, ()> {
        self.pass.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Compacts a little from time to time until the replay stops.
    pub(crate) fn run_in_background(&self, heap: &Heap, stop: &AtomicBool) {
        let (mut period, mut working) = (PERIOD, false);
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(period);
            let _pass = self.pause();
            let fragmentation = heap.stats().fragmentation();
            working = fragmentation > if working { FRAGMENTATION_MIN } else { FRAGMENTATION_MAX };
            if !working {
                continue;
            }
            let report = heap.defragment_with(Budget::unlimited().time(PASS_TIME));
            self.count(&report);
            let futile = report.moves == 0 && report.freed_bytes == 0;
            period = if futile { (period * 2).min(PERIOD_MAX) } else { PERIOD };
        }
    }

    fn count(&self, report: &DefragReport) {
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.passes += 1;
        totals.moves += report.moves;
        totals.moved_bytes += report.moved_bytes;
        totals.elapsed += report.elapsed;
    }
}
