//! The resident size of this process, from the system.

use crate::footprint::report::Point;
use anyhow::{Context, Result};
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How often the size is looked at: some microseconds each time.
const INTERVAL: Duration = Duration::from_millis(1);

/// Points of a curve: as many as these are merged two by two.
const POINTS_MAX: usize = 1024;

/// Asks the system for the resident size, without an allocation.
#[derive(Debug)]
struct Source {
    file: File,
    page: u64,
}

impl Source {
    fn open() -> Result<Self> {
        let file = File::open("/proc/self/statm").context("the system tells no resident size")?;
        Ok(Self { file, page: rustix::param::page_size() as u64 })
    }

    fn bytes(&self) -> Result<u64> {
        let mut text = [0; 128];
        let len = self.file.read_at(&mut text, 0).context("cannot read the resident size")?;
        Ok(pages(&text[..len]).context("the resident size makes no sense")? * self.page)
    }
}

/// The second number of the line.
fn pages(statm: &[u8]) -> Option<u64> {
    let mut fields = statm.split(|byte| *byte == b' ');
    std::str::from_utf8(fields.nth(1)?).ok()?.parse().ok()
}

/// What the sampling thread and the measuring one share.
#[derive(Debug)]
struct Shared {
    source: Source,
    start: Instant,
    stop: AtomicBool,
    /// The highest since it was last asked for.
    highest: AtomicU64,
    curve: Mutex<Curve>,
}

impl Shared {
    fn sample(&self) -> Result<u64> {
        let bytes = self.source.bytes()?;
        // Relaxed: a number; nothing is read by its means.
        self.highest.fetch_max(bytes, Ordering::Relaxed);
        let point = Point { at_s: self.start.elapsed().as_secs_f64(), bytes };
        self.curve.lock().expect("no panic").push(point);
        Ok(bytes)
    }
}

/// Samples in time, of which so many are merged into each point that they stay few.
#[derive(Debug)]
struct Curve {
    points: Vec<Point>,
    /// Samples that make up a point.
    stride: usize,
    /// Those that the last point has.
    last: usize,
}

impl Curve {
    /// The memory of the points is there from the start: it must not grow with what is measured.
    fn new() -> Self {
        let mut points = vec![Point { at_s: 1.0, bytes: 1 }; POINTS_MAX];
        black_box(&mut points).clear();
        Self { points, stride: 1, last: 1 }
    }

    fn push(&mut self, point: Point) {
        match self.points.last_mut() {
            Some(last) if self.last < self.stride => {
                last.bytes = last.bytes.max(point.bytes);
                self.last += 1;
                return;
            }
            _ => {}
        }
        if self.points.len() == POINTS_MAX {
            for place in 0..POINTS_MAX / 2 {
                let [first, second] = [self.points[2 * place], self.points[2 * place + 1]];
                let bytes = first.bytes.max(second.bytes);
                self.points[place] = Point { at_s: first.at_s, bytes };
            }
            self.points.truncate(POINTS_MAX / 2);
            self.stride *= 2;
        }
        self.points.push(point);
        self.last = 1;
    }
}

/// Watches the resident size until it is dropped.
#[derive(Debug)]
pub struct Meter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// The highest of all that was asked for.
    highest: u64,
}

impl Meter {
    /// Starts to watch.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn start() -> Result<Self> {
        let shared = Arc::new(Shared {
            source: Source::open()?,
            start: Instant::now(),
            stop: AtomicBool::new(false),
            highest: AtomicU64::new(0),
            curve: Mutex::new(Curve::new()),
        });
        shared.sample()?;
        let for_thread = shared.clone();
        let watch = move || {
            // Relaxed: nothing is read by its means; `join` follows it.
            while !for_thread.stop.load(Ordering::Relaxed) {
                // What cannot be read once is missing in the curve; who needs it hears of it.
                let _ = for_thread.sample();
                thread::sleep(INTERVAL);
            }
        };
        let thread = thread::Builder::new().name("meter".to_owned()).spawn(watch)?;
        Ok(Self { shared, thread: Some(thread), highest: 0 })
    }

    /// The resident size now.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn bytes(&self) -> Result<u64> {
        self.shared.sample()
    }

    /// The highest since the last call.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn take_highest(&mut self) -> Result<u64> {
        self.shared.sample()?;
        // Relaxed: as in `sample`.
        let highest = self.shared.highest.swap(0, Ordering::Relaxed);
        self.highest = self.highest.max(highest);
        Ok(highest)
    }

    /// The highest of all.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn highest(&mut self) -> Result<u64> {
        self.take_highest()?;
        Ok(self.highest)
    }

    /// Seconds since the start.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.shared.start.elapsed().as_secs_f64()
    }

    /// What was seen over time.
    ///
    /// # Panics
    /// The watching thread panicked.
    #[must_use]
    pub fn curve(&self) -> Vec<Point> {
        self.shared.curve.lock().expect("no panic").points.clone()
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        // Relaxed: as in `start`.
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, and said so.
            let _ = thread.join();
        }
    }
}

/// For tests that look at the resident size of the process or change it by tens of megabytes: they take turns.
#[cfg(test)]
pub(crate) fn one_at_a_time() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    // One that failed has nothing in it that another could find broken.
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_number_counts() {
        assert_eq!(pages(b"700 321 200 1 0 90 0\n"), Some(321));
        assert_eq!(pages(b"700"), None);
        assert_eq!(pages(b"a b c"), None);
    }

    #[test]
    fn memory_that_was_touched_is_seen() {
        let _turn = one_at_a_time();
        let mut meter = Meter::start().unwrap();
        let before = meter.bytes().unwrap();
        let touched = black_box(vec![1_u8; 64 << 20]);
        let with = meter.bytes().unwrap();
        drop(touched);
        let highest = meter.take_highest().unwrap();
        // Other tests of the process take and give back some meanwhile, a few megabytes.
        assert!(with >= before + (32 << 20) && highest >= with, "{before} {with} {highest}");
        assert!(meter.highest().unwrap() >= highest);
        assert!(meter.curve().iter().any(|point| point.bytes >= with));
    }

    #[test]
    fn a_long_curve_keeps_its_peaks() {
        let mut curve = Curve::new();
        let memory = curve.points.as_ptr();
        for place in 0..10_000_u64 {
            let bytes = if place == 7777 { 99 } else { 10 };
            curve.push(Point { at_s: place as f64, bytes });
        }
        assert!((POINTS_MAX / 2..=POINTS_MAX).contains(&curve.points.len()));
        let peaks: Vec<_> = curve.points.iter().filter(|point| point.bytes == 99).collect();
        assert!(peaks.len() == 1 && (7700.0..=7777.0).contains(&peaks[0].at_s));
        assert!(curve.points.is_sorted_by(|a, b| a.at_s < b.at_s));
        assert_eq!(curve.points.as_ptr(), memory);
    }
}
