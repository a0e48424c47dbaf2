//! One replay: a trace, a new heap, and the threads that work on it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;
use examples::trace::Trace;

use crate::compaction::Compaction;
use crate::measure::{self, Measurement};
use crate::options::{Mode, Options};
use crate::outcome::{Outcome, Played};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::reader;
use crate::schedule::{Aborted, Schedule};
use crate::store::{Change, Store};
use crate::verdict::Checks;
use crate::worker::{self, Done};

/// How often the main thread looks how far the workers are.
const TICK: Duration = Duration::from_millis(1);

/// What the threads of a replay share.
pub(crate) struct Run<'a> {
    pub(crate) trace: &'a Trace,
    pub(crate) plan: &'a Plan,
    pub(crate) mode: Mode,
    pub(crate) store: Store,
    pub(crate) schedule: Schedule,
    pub(crate) compaction: Compaction,
    pub(crate) live: Live,
    pub(crate) stop: AtomicBool,
}

/// The sum of the requested sizes of the live objects.
#[derive(Debug, Default)]
pub(crate) struct Live {
    bytes: AtomicU64,
    peak: AtomicU64,
}

impl Live {
    pub(crate) fn change(&self, change: Change) {
        let before = self.bytes.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
        let now = before.wrapping_add_signed(change);
        if now > self.peak.load(Ordering::Relaxed) {
            self.peak.fetch_max(now, Ordering::Relaxed);
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Stops the other threads, however the main thread leaves.
struct StopOnDrop<'a>(&'a Run<'a>);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
        // The workers are done by now, unless this is a panic.
        self.0.schedule.abort();
    }
}

/// Replays a trace on a heap of its own.
pub(crate) fn replay(trace: &Trace, options: &Options, progress: &Progress) -> Result<Outcome> {
    let plan = Plan::new(trace, options.threads);
    let capacity = match options.capacity {
        Some(size) => usize::try_from(size.as_u64())?,
        None => plan.capacity(),
    };
    let run = Run {
        trace,
        plan: &plan,
        mode: options.defragment,
        store: Store::new(capacity, options.policy, &plan.homes)?,
        schedule: Schedule::new(options.threads, plan.window),
        compaction: Compaction::default(),
        live: Live::default(),
        stop: AtomicBool::new(false),
    };
    progress.start(trace.name(), trace.records().len());
    let start = Instant::now();
    let (done, measurement) = thread::scope(|scope| play(&run, scope, options, progress));
    let elapsed = start.elapsed();
    progress.finish();
    let played = Played {
        done,
        measurement,
        totals: run.compaction.totals(),
        peak_live_bytes: run.live.peak.into_inner(),
        capacity: run.store.heap.capacity(),
        elapsed,
    };
    Ok(Outcome::new(trace, options, played))
}

/// Starts the threads, measures in the middle, and waits for the end.
fn play<'scope, 'env>(
    run: &'env Run<'env>,
    scope: &'scope Scope<'scope, 'env>,
    options: &Options,
    progress: &Progress,
) -> (Done, Measurement) {
    let stop = StopOnDrop(run);
    let readers: Vec<_> =
        (0..options.readers).map(|index| scope.spawn(move || reader::read(run, index))).collect();
    if run.mode == Mode::Background {
        scope.spawn(|| run.compaction.run_in_background(&run.store.heap, &run.stop));
    }
    let workers: Vec<_> =
        (0..options.threads).map(|index| scope.spawn(move || worker::work(run, index))).collect();

    let mut checks = Checks::default();
    let measurement = measure_at_gate(run, &mut checks, progress);
    while !workers.iter().all(ScopedJoinHandle::is_finished) {
        progress.show(run.schedule.earliest());
        thread::sleep(TICK);
    }
    let mut done = Done::default();
    for worker in workers {
        let part = join(worker);
        done.ops += part.ops;
        done.failed_allocations += part.failed_allocations;
        checks.add(part.checks);
    }
    run.store.check_everything(&mut checks);
    drop(stop);
    for reader in readers {
        checks.add(join(reader));
    }
    (Done { checks, ..done }, measurement)
}

/// Waits until all workers have come to the gate, measures, and lets them go on.
fn measure_at_gate(run: &Run<'_>, checks: &mut Checks, progress: &Progress) -> Measurement {
    loop {
        match run.schedule.all_at_gate() {
            Ok(true) => break,
            Ok(false) => {
                progress.show(run.schedule.earliest());
                thread::sleep(TICK);
            }
            Err(Aborted) => return Measurement::default(),
        }
    }
    let paused = run.compaction.pause();
    let measurement = measure::measure(run, checks);
    drop(paused);
    run.schedule.open_gate();
    measurement
}

/// The result of a thread, or its panic.
fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
