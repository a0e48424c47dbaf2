//! Passes of 500 µs under load: by how much they exceed it.

use crate::watchdog::{Span, Waits, cores, meets, on_core, start, stay_on};
use anyhow::{Result, ensure};
use benches::object::Object;
use fastrand::Rng;
use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use typed_pool::{Budget, Handle, Heap, Pool};

/// The budget of a pass, and by how much few may exceed it.
pub(crate) const SLICE: Duration = Duration::from_micros(500);
pub(crate) const SLACK: Duration = Duration::from_micros(100);

/// The size of the heap, and of its objects: some in slabs, some with chunks of their own.
const CAPACITY: usize = 1 << 30;
const SMALL: usize = 1_000_000;
const LARGE: usize = 40_000;

type Large = [u64; 512];

/// What the passes did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// All of them, and those that had something to do: only these count below.
    pub(crate) passes: u32,
    pub(crate) worked: u32,
    pub(crate) moves: u64,
    pub(crate) useful: u64,
    /// Nanoseconds beyond the budget: of all passes; without the time that the thread waited for a core, and
    /// passes in which a core ran nobody; and of the time that it was on a core. The last leaves out
    /// waits for locks and readers too: on a busy machine for somebody who waits for a core.
    pub(crate) raw: Histogram<u64>,
    pub(crate) net: Histogram<u64>,
    pub(crate) on_core: Histogram<u64>,
    /// The same as `net` of a loop that only reads the clock, as often: what the machine does.
    pub(crate) control: Histogram<u64>,
    pub(crate) left_out: u64,
}

impl Outcome {
    /// Passes that exceeded the budget by more than the slack, of 1,000; not a number where there are none.
    pub(crate) fn late(of: &Histogram<u64>) -> f64 {
        let late = of.count_between(SLACK.as_nanos() as u64, u64::MAX);
        late as f64 * 1000.0 / of.len() as f64
    }
}

/// The objects, which are read and replaced while passes run.
struct Load<'p> {
    small: &'p Pool<Object>,
    large: &'p Pool<Large>,
    smalls: Vec<Handle<Object>>,
    larges: Vec<Handle<Large>>,
    rng: Rng,
}

impl Load<'_> {
    fn fill(&mut self) -> Result<()> {
        for number in 0..SMALL {
            self.smalls.push(self.small.insert(Object::new(number as u64))?);
        }
        for number in 0..LARGE {
            self.larges.push(self.large.insert([number as u64; 512])?);
        }
        Ok(())
    }

    /// Reads some objects, and removes some or makes some.
    fn step(&mut self, growing: bool) -> Result<()> {
        for _ in 0..64 {
            if let Some(handle) = pick(&self.smalls, &mut self.rng) {
                let object = self.small.get(handle);
                ensure!(object.is_some_and(|it| *it == Object::new(it.value)), "torn or gone");
            }
        }
        for _ in 0..16 {
            if growing {
                self.smalls.push(self.small.insert(Object::new(self.rng.u64(..)))?);
            } else if self.smalls.len() > SMALL / 4 {
                let at = self.rng.usize(..self.smalls.len());
                ensure!(self.small.remove(self.smalls.swap_remove(at)), "an object is gone");
            }
        }
        if growing {
            self.larges.push(self.large.insert([self.rng.u64(..); 512])?);
        } else if self.larges.len() > LARGE / 4 {
            let at = self.rng.usize(..self.larges.len());
            ensure!(self.large.remove(self.larges.swap_remove(at)), "an object is gone");
        }
        Ok(())
    }

    fn run(mut self, stop: &AtomicBool) -> Result<()> {
        let mut growing = false;
        while !stop.load(Ordering::Relaxed) {
            growing =
                if growing { self.smalls.len() < SMALL } else { self.smalls.len() <= SMALL / 4 };
            self.step(growing)?;
        }
        Ok(())
    }
}

fn pick<T>(handles: &[Handle<T>], rng: &mut Rng) -> Option<Handle<T>> {
    handles.get(rng.usize(..handles.len().max(1))).copied()
}

/// Runs the passes.
pub(crate) fn measure(passes: u32) -> Result<Outcome> {
    let heap = Heap::builder().capacity(CAPACITY).build()?;
    let (small, large) = (Pool::new(&heap)?, Pool::new(&heap)?);
    let (smalls, larges) = (Vec::new(), Vec::new());
    let rng = Rng::with_seed(3);
    let mut load = Load { small: &small, large: &large, smalls, larges, rng };
    load.fill()?;
    let stop = AtomicBool::new(false);
    let cores = cores();
    let (first, last) = (cores.first().copied(), cores.last().copied());
    let (taken, frozen) = thread::scope(|scope| -> Result<_> {
        let watchdogs = start(scope, &stop);
        let loading = scope.spawn(|| {
            stay_on(last);
            load.run(&stop)
        });
        let passing = scope.spawn(|| {
            stay_on(first);
            let taken = run(&heap, passes, &stop);
            stop.store(true, Ordering::Relaxed);
            taken
        });
        let taken = passing.join().expect("passes do not panic");
        loading.join().expect("the load does not panic")?;
        let frozen: Vec<Span> = watchdogs
            .into_iter()
            .flat_map(|watchdog| watchdog.join().expect("watchdogs do not panic"))
            .collect();
        Ok((taken, frozen))
    })?;
    heap.verify()?;
    Ok(taken.sift(&frozen))
}

/// Passes, and what each took.
#[derive(Default)]
struct Taken {
    passes: u32,
    moves: u64,
    useful: u64,
    /// Of those that had something to do: span, how much of it the thread waited for a core, and how much it was on one.
    worked: Vec<(Span, Duration, Duration)>,
    /// Spans of as many loops after these, and how much of it the thread waited for a core.
    idled: Vec<(Span, Duration)>,
}

fn run(heap: &Heap, passes: u32, stop: &AtomicBool) -> Taken {
    let mut taken = Taken::default();
    let mut waits = Waits::new();
    for _ in 0..passes {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        waits.since();
        let before = on_core();
        let start = Instant::now();
        let report = heap.defragment_with(Budget::unlimited().time(SLICE));
        let end = Instant::now();
        let own = on_core() - before;
        let waited = waits.since();
        taken.passes += 1;
        if report.moves > 0 || !report.complete {
            taken.worked.push(((start, end), waited, own));
        }
        taken.moves += report.moves;
        taken.useful += report.useful_moves;
        if report.complete {
            // The load leaves something to do.
            thread::sleep(Duration::from_millis(1));
        }
    }
    // Not between the passes, which would find more to do.
    for _ in 0..taken.worked.len() {
        waits.since();
        let idled = idle();
        taken.idled.push((idled, waits.since()));
    }
    taken
}

/// Reads the clock until a pass would have to end.
fn idle() -> Span {
    let start = Instant::now();
    loop {
        let end = Instant::now();
        if end - start >= SLICE {
            return (start, end);
        }
    }
}

impl Taken {
    fn sift(self, frozen: &[Span]) -> Outcome {
        let mut raw = Histogram::new_with_bounds(1, 60_000_000_000, 2).expect("valid bounds");
        let (mut net, mut on_core, mut control) = (raw.clone(), raw.clone(), raw.clone());
        let mut left_out = 0;
        let record = |of: &mut Histogram<u64>, time: Duration| {
            of.saturating_record(time.saturating_sub(SLICE).as_nanos().max(1) as u64);
        };
        for (span, waited, own) in &self.worked {
            let time = span.1 - span.0;
            record(&mut raw, time);
            record(&mut on_core, *own);
            if meets(*span, frozen) {
                left_out += 1;
            } else {
                record(&mut net, time.saturating_sub(*waited));
            }
        }
        for (span, waited) in self.idled.iter().filter(|(span, _)| !meets(*span, frozen)) {
            record(&mut control, (span.1 - span.0).saturating_sub(*waited));
        }
        let Self { passes, moves, useful, worked, .. } = self;
        let worked = worked.len() as u32;
        Outcome { passes, worked, moves, useful, raw, net, on_core, control, left_out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_ends_when_its_time_is_over() {
        let (start, end) = idle();
        assert!(end - start >= SLICE);
    }

    #[test]
    fn passes_that_wait_for_a_core_are_not_late() {
        let (start, us) = (Instant::now(), Duration::from_micros);
        let pass = |at, time, waited| {
            ((start + us(at), start + us(at + time)), us(waited), us(time - waited))
        };
        let worked = vec![pass(0, 400, 0), pass(1000, 700, 0), pass(2000, 900, 350)];
        let frozen = [(start + us(5000), start + us(9000))];
        let idled = worked.iter().map(|(span, waited, _)| (*span, *waited)).take(2).collect();
        let worked = [worked, vec![pass(5500, 3000, 0)]].concat();
        let taken = Taken { worked, idled, ..Taken::default() };
        let outcome = taken.sift(&frozen);
        assert_eq!((outcome.worked, outcome.left_out, outcome.net.len()), (4, 1, 3));
        assert!((Outcome::late(&outcome.raw) - 750.0).abs() < 1.0);
        assert!((Outcome::late(&outcome.net) - 333.3).abs() < 1.0);
        assert!((Outcome::late(&outcome.control) - 500.0).abs() < 1.0);
        assert!(Outcome::late(&Taken::default().sift(&[]).net).is_nan());
    }
}
