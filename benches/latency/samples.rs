//! Latencies of reads: histograms, and the long ones one by one until it is known what the machine did.

use crate::watchdog::{Span, Waits, meets};
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// Longer reads are looked at one by one.
pub(crate) const LONG: Duration = Duration::from_micros(20);

/// Quantiles that are printed; the last is the worst.
pub(crate) const QUANTILES: [f64; 5] = [0.5, 0.99, 0.999, 0.9999, 1.0];

/// A read that took long.
#[derive(Clone, Copy, Debug)]
struct Outlier {
    /// From the start to the end, with the reads before that made it late.
    span: Span,
    time: Duration,
    /// How much of it the thread waited for a core.
    waited: Duration,
}

/// Some reads in a row.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    short: Vec<Duration>,
    long: Vec<Outlier>,
    /// Reads that were timed together, and their time.
    pub(crate) reads: u64,
    pub(crate) time: Duration,
}

impl Turn {
    pub(crate) fn clear(&mut self) {
        self.short.clear();
        self.long.clear();
        (self.reads, self.time) = (0, Duration::ZERO);
    }

    /// Notes one read.
    pub(crate) fn note(&mut self, start: Instant, time: Duration, waits: &mut Waits) {
        if time < LONG {
            self.short.push(time);
        } else {
            self.long.push(Outlier { span: (start, start + time), time, waited: waits.since() });
        }
    }
}

/// Reads that are due at a fixed rate, each timed from the moment at which it was due: one that takes long makes
/// those after it late, until they have caught up.
#[derive(Debug)]
pub(crate) struct Schedule {
    interval: Duration,
    due: Instant,
    /// The end of the last read, and how late it was but for waits for a core.
    last: Instant,
    net: Duration,
    /// When the first was due of the reads that have been late since.
    late_since: Instant,
}

impl Schedule {
    pub(crate) fn new(interval: Duration) -> Self {
        let now = Instant::now();
        Self { interval, due: now, last: now, net: Duration::ZERO, late_since: now }
    }

    /// The next read is due now, and nothing is late.
    pub(crate) fn begin(&mut self) {
        *self = Self::new(self.interval);
    }

    /// When the next read is due.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    /// Notes the read that was due, which ended `now`.
    pub(crate) fn note(&mut self, now: Instant, turn: &mut Turn, waits: &mut Waits) {
        let own = now.saturating_duration_since(self.due.max(self.last));
        // Nobody waits for a core in a read that itself is short.
        let waited = if own < LONG { Duration::ZERO } else { waits.since() };
        self.book(now, own.saturating_sub(waited), turn);
    }

    /// Books a read that took so long by itself, but for waits for a core.
    fn book(&mut self, now: Instant, own: Duration, turn: &mut Turn) {
        let time = now.saturating_duration_since(self.due);
        self.net = (self.net.saturating_sub(self.interval) + own).min(time);
        self.last = now;
        self.due += self.interval;
        if time < LONG {
            turn.short.push(time);
            self.late_since = self.due;
        } else {
            let (span, waited) = ((self.late_since, now), time - self.net);
            turn.long.push(Outlier { span, time, waited });
        }
    }
}

/// Latencies in one scene, in nanoseconds.
#[derive(Clone, Debug)]
pub(crate) struct Samples {
    raw: Histogram<u64>,
    short: Histogram<u64>,
    outliers: Vec<Outlier>,
    /// Reads that were not timed one by one, and their time.
    pub(crate) reads: u64,
    pub(crate) time: Duration,
}

impl Samples {
    pub(crate) fn new() -> Self {
        // Up to a minute, in two significant digits.
        let histogram = Histogram::new_with_bounds(1, 60_000_000_000, 2).expect("valid bounds");
        Self {
            raw: histogram.clone(),
            short: histogram,
            outliers: Vec::new(),
            reads: 0,
            time: Duration::ZERO,
        }
    }

    /// Takes the reads of a turn in.
    pub(crate) fn take(&mut self, turn: &Turn) {
        for time in &turn.short {
            let nanos = (time.as_nanos() as u64).max(1);
            self.raw.saturating_record(nanos);
            self.short.saturating_record(nanos);
        }
        for outlier in &turn.long {
            self.raw.saturating_record(outlier.time.as_nanos() as u64);
            self.outliers.push(*outlier);
        }
        self.reads += turn.reads;
        self.time += turn.time;
    }

    /// Leaves out what the machine did: reads in a span in which a core ran nobody, and the part of a read in
    /// which its thread waited for a core, where that is most of it.
    pub(crate) fn sift(&self, frozen: &[Span]) -> Sifted {
        let (mut net, mut left_out) = (self.short.clone(), 0);
        for outlier in &self.outliers {
            if meets(outlier.span, frozen) || outlier.waited * 2 > outlier.time {
                left_out += 1;
            } else {
                net.saturating_record(outlier.time.as_nanos() as u64);
            }
        }
        Sifted {
            net,
            raw: self.raw.clone(),
            left_out,
            reads_per_s: self.reads as f64 / self.time.as_secs_f64().max(1e-9),
        }
    }
}

/// Latencies in one scene, and what was left out of them.
#[derive(Clone, Debug)]
pub(crate) struct Sifted {
    pub(crate) net: Histogram<u64>,
    pub(crate) raw: Histogram<u64>,
    pub(crate) left_out: u64,
    pub(crate) reads_per_s: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_did_is_left_out_of_the_net_figures_only() {
        let (start, mut samples) = (Instant::now(), Samples::new());
        let ms = Duration::from_millis;
        let outlier = |at: Duration, time: Duration, waited| Outlier {
            span: (start + at, start + at + time),
            time,
            waited,
        };
        let mut turn = Turn { reads: 10, time: ms(1), ..Turn::default() };
        turn.short = vec![Duration::from_nanos(100); 1000];
        turn.long = vec![
            outlier(ms(0), ms(1), ms(0)),
            outlier(ms(10), ms(2), ms(2)),
            outlier(ms(20), ms(4), ms(0)),
        ];
        samples.take(&turn);
        let sifted = samples.sift(&[(start + ms(21), start + ms(30))]);
        assert_eq!((sifted.left_out, sifted.net.len(), sifted.raw.len()), (2, 1001, 1003));
        assert!(sifted.net.max() < 1_100_000 && sifted.raw.max() >= 4_000_000);
        assert_eq!(sifted.reads_per_s, 10_000.0);
    }

    #[test]
    fn reads_behind_a_long_one_are_late_too() {
        let us = Duration::from_micros;
        let (mut schedule, mut turn) = (Schedule::new(us(10)), Turn::default());
        let start = schedule.due();
        // The second takes 100 µs and waits for a core in 90 of them; the others take 1 µs each.
        let mut now = start;
        for own in [1, 100, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1] {
            now = now.max(schedule.due()) + us(own);
            schedule.book(now, us(if own == 100 { 10 } else { own }), &mut turn);
        }
        // Each read makes up for 9 µs.
        assert_eq!((turn.short.len(), turn.long.len()), (5, 9));
        assert_eq!(turn.long[..2].iter().map(|it| it.time).collect::<Vec<_>>(), [us(100), us(91)]);
        assert!(turn.long.iter().all(|it| it.span.0 == start + us(10)));
        assert_eq!((turn.long[0].waited, turn.long[1].waited), (us(90), us(90)));
        schedule.begin();
        assert!(schedule.due() >= start && schedule.net.is_zero());
    }
}
