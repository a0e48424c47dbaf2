//! What the machine does to a measurement: spans in which a core ran nobody, and the time that a thread
//! waited for a core.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// How often a watchdog looks at the clock.
const INTERVAL: Duration = Duration::from_millis(1);

/// A watchdog that wakes so late says that its core ran nobody: one that sleeps so much is not kept waiting
/// for long by who is running.
const LATE: Duration = Duration::from_millis(10);

/// A span of time.
pub(crate) type Span = (Instant, Instant);

/// The cores that this process may run on.
pub(crate) fn cores() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else { return Vec::new() };
    (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

/// Keeps the calling thread on one of the cores, where the system lets it.
pub(crate) fn stay_on(core: Option<usize>) {
    let Some(core) = core else { return };
    let mut set = CpuSet::new();
    set.set(core);
    // Without it the figures are only noisier.
    let _ = sched_setaffinity(None, &set);
}

/// Starts a watchdog for each core.
pub(crate) fn start<'s>(
    scope: &'s Scope<'s, '_>,
    stop: &'s AtomicBool,
) -> Vec<ScopedJoinHandle<'s, Vec<Span>>> {
    cores().into_iter().map(|core| scope.spawn(move || watch(core, stop))).collect()
}

/// The spans in which nothing woke the thread that should have been woken.
fn watch(core: usize, stop: &AtomicBool) -> Vec<Span> {
    stay_on(Some(core));
    let mut spans = Vec::new();
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(INTERVAL);
        let now = Instant::now();
        if now - last > INTERVAL + LATE {
            spans.push((last, now));
        }
        last = now;
    }
    spans
}

/// The time that the calling thread was on a core.
pub(crate) fn on_core() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// Whether a span meets one of others.
pub(crate) fn meets(span: Span, others: &[Span]) -> bool {
    others.iter().any(|other| span.0 < other.1 && other.0 < span.1)
}

/// The time that the calling thread has waited for a core, where the system tells.
#[derive(Debug)]
pub(crate) struct Waits {
    file: Option<File>,
    last: Duration,
}

impl Waits {
    /// For the calling thread.
    pub(crate) fn new() -> Self {
        let mut waits =
            Self { file: File::open("/proc/thread-self/schedstat").ok(), last: Duration::ZERO };
        waits.since();
        waits
    }

    /// Since the last call. Costs a system call.
    pub(crate) fn since(&mut self) -> Duration {
        let now = self.total();
        now.saturating_sub(std::mem::replace(&mut self.last, now))
    }

    /// Up to now.
    fn total(&self) -> Duration {
        self.read().unwrap_or_default()
    }

    fn read(&self) -> Option<Duration> {
        let file = self.file.as_ref()?;
        let mut text = [0_u8; 128];
        let read = file.read_at(&mut text, 0).ok()?;
        // Time on a core, time waiting for one, number of turns.
        let text = std::str::from_utf8(&text[..read]).ok()?;
        text.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_meet_where_they_overlap() {
        let start = Instant::now();
        let span = |from: u64, to: u64| {
            (start + Duration::from_millis(from), start + Duration::from_millis(to))
        };
        let others = [span(10, 20), span(30, 40)];
        assert!(meets(span(15, 16), &others) && meets(span(5, 11), &others));
        assert!(meets(span(0, 100), &others) && meets(span(39, 50), &others));
        assert!(!meets(span(20, 30), &others) && !meets(span(0, 10), &others));
    }

    #[test]
    fn waits_are_those_since_the_last_call() {
        let mut waits = Waits::new();
        let total = waits.total();
        assert!(waits.since() <= waits.total() && waits.total() >= total);
    }
}
