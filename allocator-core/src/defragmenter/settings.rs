//! [`DefragmenterBuilder`]: the settings of a background defragmenter.

use super::Defragmenter;
use crate::heap::Heap;
use core::fmt;
use core::ops::RangeInclusive;
use std::io;
use std::time::Duration;

/// Shortest and longest slice.
const SLICES: RangeInclusive<Duration> = Duration::from_micros(10)..=Duration::from_secs(1);
/// Shortest and longest interval, and rest.
const INTERVALS: RangeInclusive<Duration> = Duration::from_micros(100)..=Duration::from_secs(3600);
/// Smallest and largest share of a core.
const SHARES: RangeInclusive<f64> = 0.001..=1.0;

/// Settings that were checked.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Settings {
    pub(super) start_above: f64,
    pub(super) stop_below: f64,
    pub(super) full_effort_at: f64,
    pub(super) ignore_below: u64,
    pub(super) share_min: f64,
    pub(super) share_max: f64,
    pub(super) slice: Duration,
    pub(super) interval: Duration,
    pub(super) rest_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            start_above: 0.10,
            stop_below: 0.05,
            full_effort_at: 0.50,
            ignore_below: 1 << 20,
            share_min: 0.02,
            share_max: 0.25,
            slice: Duration::from_micros(500),
            interval: Duration::from_millis(100),
            rest_max: Duration::from_secs(10),
        }
    }
}

/// Settings of a [`Defragmenter`]; made by [`Heap::defragmenter`].
///
/// ```
/// use allocator_core::Heap;
/// use std::time::Duration;
///
/// let heap = Heap::builder().capacity(16 << 20).build()?;
/// let background = heap
///     .defragmenter()
///     .start_above(0.20) // a fifth of the committed memory is waste
///     .stop_below(0.10)
///     .cpu_share(0.01, 0.10)
///     .slice(Duration::from_micros(200))
///     .start()?;
/// drop(background); // stops it
///
/// let error = heap.defragmenter().cpu_share(0.5, 0.1).start().unwrap_err();
/// assert_eq!(error.to_string(), "cpu_share is 0.5..0.1: the lower bound is above the upper one");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing before `start`"]
pub struct DefragmenterBuilder {
    heap: Heap,
    settings: Settings,
    stop_below: Option<f64>,
    full_effort_at: Option<f64>,
    rest_max: Option<Duration>,
}

impl DefragmenterBuilder {
    pub(super) fn new(heap: Heap) -> Self {
        let settings = Settings::default();
        Self { heap, settings, stop_below: None, full_effort_at: None, rest_max: None }
    }

    /// The share of the committed memory that may be waste ([`Heap::waste`]) before it begins: 0 to 1, by default 0.10.
    /// A smaller share keeps less memory and moves more.
    pub fn start_above(mut self, waste: f64) -> Self {
        self.settings.start_above = waste;
        self
    }

    /// The share at which it stops once it has begun: 0 to [`start_above`](Self::start_above), by default 0.05, or half of
    /// `start_above` if that is less. The distance between the two keeps it from starting over and over at a limit.
    pub fn stop_below(mut self, waste: f64) -> Self {
        self.stop_below = Some(waste);
        self
    }

    /// The share of waste from which on it works with the upper bound of its [`cpu_share`](Self::cpu_share):
    /// [`start_above`](Self::start_above) to 1, by default 0.50, or `start_above` if that is more.
    pub fn full_effort_at(mut self, waste: f64) -> Self {
        self.full_effort_at = Some(waste);
        self
    }

    /// Bytes of waste that are never worth a pass, whatever share they are: by default 1 MiB. Any number; with 0 it
    /// runs after a small heap's every change.
    pub fn ignore_below(mut self, bytes: u64) -> Self {
        self.settings.ignore_below = bytes;
        self
    }

    /// Bounds of the share of one core that it uses while it is at work: 0.001 to 1, by default 0.02 to 0.25. It works with
    /// the first where it has just begun, with the second from [`full_effort_at`](Self::full_effort_at) on, and in
    /// proportion between. What a slice takes longer than it should is made up for by the pause after it.
    pub fn cpu_share(mut self, min: f64, max: f64) -> Self {
        (self.settings.share_min, self.settings.share_max) = (min, max);
        self
    }

    /// How long it works at a time: 10 µs to 1 s, by default 500 µs. Nobody waits for a slice to end, except who
    /// defragments, makes room (an allocation too, with [`compact_when_full`](crate::HeapBuilder::compact_when_full)), asks for a
    /// forecast or takes a value out meanwhile, and who ends the defragmenter. Shorter ones pay more for planning and barriers.
    pub fn slice(mut self, time: Duration) -> Self {
        self.settings.slice = time;
        self
    }

    /// How often it looks whether there is something to do: 100 µs to an hour, by default 100 ms. A look costs a
    /// lock and some instructions for each stripe.
    pub fn interval(mut self, time: Duration) -> Self {
        self.settings.interval = time;
        self
    }

    /// How long it rests at most after slices that gained nothing: [`interval`](Self::interval) to an hour, by default
    /// 10 s, or an interval if that is more. The first such rest is an interval long, each one after it twice as long.
    pub fn rest_max(mut self, time: Duration) -> Self {
        self.rest_max = Some(time);
        self
    }

    /// Starts the thread. It looks at the heap at once, and does not keep it alive.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] names the setting that cannot be had; anything else is what the system said when
    /// it was asked for a thread.
    pub fn start(self) -> io::Result<Defragmenter> {
        let settings = self.checked()?;
        Defragmenter::start(self.heap, settings)
    }

    fn checked(&self) -> io::Result<Settings> {
        let mut all = self.settings;
        all.stop_below = self.stop_below.unwrap_or(all.stop_below.min(all.start_above / 2.0));
        all.full_effort_at = self.full_effort_at.unwrap_or(all.full_effort_at.max(all.start_above));
        all.rest_max = self.rest_max.unwrap_or(all.rest_max.max(all.interval));
        within("start_above", all.start_above, 0.0..=1.0)?;
        within("stop_below", all.stop_below, 0.0..=all.start_above)?;
        within("full_effort_at", all.full_effort_at, all.start_above..=1.0)?;
        within("cpu_share", all.share_min, SHARES)?;
        within("cpu_share", all.share_max, SHARES)?;
        within("slice", all.slice, SLICES)?;
        within("interval", all.interval, INTERVALS)?;
        within("rest_max", all.rest_max, all.interval..=*INTERVALS.end())?;
        if all.share_min > all.share_max {
            let (min, max) = (all.share_min, all.share_max);
            let message =
                format!("cpu_share is {min}..{max}: the lower bound is above the upper one");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(all)
    }
}

fn within<T: PartialOrd + fmt::Debug>(
    setting: &str,
    value: T,
    range: RangeInclusive<T>,
) -> io::Result<()> {
    // Not a number is in no range.
    if range.contains(&value) {
        return Ok(());
    }
    let message = format!("{setting} is {value:?}, which is not in {range:?}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}
