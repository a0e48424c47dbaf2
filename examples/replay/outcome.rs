//! What a replay found, as the summary and the JSON show it.

use std::time::Duration;

use examples::trace::Trace;
use serde::Serialize;

use crate::compaction::Totals;
use crate::measure::Measurement;
use crate::options::Options;
use crate::worker::Done;

/// The figures that are given per trace and for all traces together.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Figures {
    /// Records done.
    pub(crate) ops: u64,
    /// Objects of the trace.
    pub(crate) objects: u64,
    /// Checks made, wrong ones included.
    pub(crate) verified: u64,
    /// Checks that were wrong.
    pub(crate) mismatches: u64,
    /// Allocations and resizes that found no room.
    pub(crate) failed_allocations: u64,
    /// Largest sum of the requested sizes of live objects. For several traces: the largest of all.
    pub(crate) peak_live_bytes: u64,
    /// Defragmentations, whole and budgeted.
    pub(crate) defragmentations: u64,
    pub(crate) moves: u64,
    pub(crate) moved_bytes: u64,
    /// Time in defragmentations.
    pub(crate) defragment_s: f64,
    /// Around the measured defragmentation.
    pub(crate) resident_before: u64,
    pub(crate) resident_after: u64,
    pub(crate) fragmentation_before: f64,
    pub(crate) fragmentation_after: f64,
    /// Size of the heap.
    pub(crate) capacity: u64,
    pub(crate) elapsed_s: f64,
}

/// What the replay of one trace found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) trace: String,
    pub(crate) description: String,
    pub(crate) policy: String,
    pub(crate) defragment: String,
    pub(crate) threads: usize,
    pub(crate) readers: usize,
    /// Largest number of live objects that the trace has.
    pub(crate) peak_objects: u64,
    pub(crate) measured: Measured,
    #[serde(flatten)]
    pub(crate) figures: Figures,
    /// The first wrong checks.
    pub(crate) notes: Vec<String>,
    #[serde(skip)]
    pub(crate) measurement: Measurement,
}

/// The measured defragmentation.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Measured {
    /// Number of records before it.
    pub(crate) at: u64,
    /// Sum of the requested sizes of the objects that lived there.
    pub(crate) live_bytes: u64,
    pub(crate) moves: u64,
    pub(crate) moved_bytes: u64,
    /// Moves that gave way to a reader or a remove.
    pub(crate) cancelled: u64,
    pub(crate) blocked_by_guards: u64,
    pub(crate) blocked_by_pins: u64,
    pub(crate) freed_bytes: u64,
    /// Whether nothing was left to do.
    pub(crate) complete: bool,
    pub(crate) elapsed_s: f64,
}

impl From<&Measurement> for Measured {
    fn from(measurement: &Measurement) -> Self {
        let place = Measured {
            at: measurement.at,
            live_bytes: measurement.live_bytes,
            ..Measured::default()
        };
        match &measurement.report {
            Some(report) => Measured {
                moves: report.moves,
                moved_bytes: report.moved_bytes,
                cancelled: report.cancelled,
                blocked_by_guards: report.blocked_by_guards,
                blocked_by_pins: report.blocked_by_pins,
                freed_bytes: report.freed_bytes,
                complete: report.complete,
                elapsed_s: report.elapsed.as_secs_f64(),
                ..place
            },
            None => place,
        }
    }
}

/// What all replays found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) total: Figures,
    pub(crate) traces: Vec<Outcome>,
}

/// What a replay hands over besides the trace and the options.
pub(crate) struct Played {
    pub(crate) done: Done,
    pub(crate) measurement: Measurement,
    pub(crate) totals: Totals,
    pub(crate) peak_live_bytes: u64,
    pub(crate) capacity: usize,
    pub(crate) elapsed: Duration,
}

impl Outcome {
    pub(crate) fn new(trace: &Trace, options: &Options, played: Played) -> Outcome {
        let Played { done, measurement, totals, .. } = played;
        let figures = Figures {
            ops: done.ops,
            objects: u64::from(trace.objects()),
            verified: done.checks.verified,
            mismatches: done.checks.mismatches,
            failed_allocations: done.failed_allocations,
            peak_live_bytes: played.peak_live_bytes,
            defragmentations: totals.passes,
            moves: totals.moves,
            moved_bytes: totals.moved_bytes,
            defragment_s: totals.elapsed.as_secs_f64(),
            resident_before: measurement.before.resident,
            resident_after: measurement.after.resident,
            fragmentation_before: measurement.before.fragmentation,
            fragmentation_after: measurement.after.fragmentation,
            capacity: played.capacity as u64,
            elapsed_s: played.elapsed.as_secs_f64(),
        };
        Outcome {
            trace: trace.name().to_owned(),
            description: trace.description().to_owned(),
            policy: options.policy.to_string(),
            defragment: options.defragment.to_string(),
            threads: options.threads,
            readers: options.readers,
            peak_objects: u64::from(trace.peak_objects()),
            measured: Measured::from(&measurement),
            figures,
            notes: done.checks.notes,
            measurement,
        }
    }
}

impl Report {
    pub(crate) fn new(traces: Vec<Outcome>) -> Report {
        let mut total = Figures::default();
        for Outcome { figures, .. } in &traces {
            total.add(figures);
        }
        if total.capacity > 0 {
            total.fragmentation_before /= total.capacity as f64;
            total.fragmentation_after /= total.capacity as f64;
        }
        Report { total, traces }
    }

    /// Whether every check was right and every allocation succeeded.
    pub(crate) fn all_right(&self) -> bool {
        self.total.mismatches == 0 && self.total.failed_allocations == 0
    }
}

impl Figures {
    /// Adds the figures of one trace; the fragmentations weighted by the capacity.
    fn add(&mut self, other: &Figures) {
        self.ops += other.ops;
        self.objects += other.objects;
        self.verified += other.verified;
        self.mismatches += other.mismatches;
        self.failed_allocations += other.failed_allocations;
        self.peak_live_bytes = self.peak_live_bytes.max(other.peak_live_bytes);
        self.defragmentations += other.defragmentations;
        self.moves += other.moves;
        self.moved_bytes += other.moved_bytes;
        self.defragment_s += other.defragment_s;
        self.resident_before += other.resident_before;
        self.resident_after += other.resident_after;
        self.fragmentation_before += other.fragmentation_before * other.capacity as f64;
        self.fragmentation_after += other.fragmentation_after * other.capacity as f64;
        self.capacity += other.capacity;
        self.elapsed_s += other.elapsed_s;
    }

    /// Bytes moved in a second of defragmentation.
    pub(crate) fn moved_bytes_per_s(&self) -> f64 {
        if self.defragment_s > 0.0 { self.moved_bytes as f64 / self.defragment_s } else { 0.0 }
    }
}
