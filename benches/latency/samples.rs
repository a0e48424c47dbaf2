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
    start: Instant,
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
            self.long.push(Outlier { start, time, waited: waits.since() });
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
            let span = (outlier.start, outlier.start + outlier.time);
            if meets(span, frozen) || outlier.waited * 2 > outlier.time {
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
        let outlier = |at, time, waited| Outlier { start: start + at, time, waited };
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
}
