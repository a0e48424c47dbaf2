//! What was found.

use allocator_core::DefragmenterStats;
use serde::{Deserialize, Serialize};

/// What one process found. Times are in seconds, sizes in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What all operations took together, defragmentations included, checks left out.
    pub elapsed_s: f64,
    /// When a share of the blocks was deleted; in a cache, when the last one was put in.
    pub deleted: Option<Checkpoint>,
    /// After a defragmentation of that.
    pub defragmented: Option<Checkpoint>,
    /// When the workload had shifted.
    pub end: Option<Checkpoint>,
    /// Half a second after that: what a background defragmenter had in hand is done.
    pub settled: Option<Checkpoint>,
    /// The highest growth that was sampled.
    pub peak_bytes: u64,
    /// The most payload that was live at a time.
    pub peak_live_bytes: u64,
    /// What the defragmentation cost.
    pub defragmentation: Option<Defragmentation>,
    /// What the background defragmenter did.
    pub background: Option<Background>,
    /// Bytes asked for over the capacity of the heap, once it was full.
    pub efficiency: Option<f64>,
    /// The same of peers with the same steps, by name.
    pub peers: Vec<(String, f64)>,
    /// What the heap refused then.
    pub refusal: Option<Refusal>,
    /// Growth over time: the highest of each span.
    pub curve: Vec<Point>,
    /// When the stages ended.
    pub stages: Vec<f64>,
}

/// The state at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// By how much the process has grown since before the first block.
    pub grown_bytes: u64,
    /// Payload of the blocks that are live.
    pub live_bytes: u64,
    /// How many they are.
    pub live_blocks: u64,
    /// What the heap says of itself, where it is ours.
    pub account: Option<Account>,
}

/// Where the bytes of our heap are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Blocks as they were rounded, with headers in chunks but not in slabs.
    pub block_bytes: u64,
    /// Retired blocks among them.
    pub pending_bytes: u64,
    /// Blocks that threads keep.
    pub cached_bytes: u64,
    /// Free memory in pages that stripes have: cells of slabs.
    pub free_cell_bytes: u64,
    /// Resident bytes of the buffer.
    pub buffer_bytes: u64,
    /// Resident bytes that belong to the process but not to the buffer: tables and the rest.
    pub outside_bytes: u64,
}

/// The state of a heap that has no room for a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// Bytes of the block.
    pub requested_bytes: u64,
    /// Bytes that blocks were asked for with.
    pub live_bytes: u64,
    /// Blocks as they were rounded, with headers in chunks but not in slabs.
    pub block_bytes: u64,
    /// Free memory in pages that stripes have: cells of slabs.
    pub free_cell_bytes: u64,
    /// Free memory elsewhere.
    pub free_run_bytes: u64,
    /// The largest block that could be placed.
    pub largest_bytes: u64,
}

/// A defragmentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Defragmentation {
    /// Growth before it began.
    pub start_bytes: u64,
    /// The highest while it ran.
    pub peak_bytes: u64,
    /// Processor time.
    pub cpu_s: f64,
    /// Time.
    pub elapsed_s: f64,
    /// Blocks that were moved.
    pub moves: u64,
    /// Bytes of these.
    pub moved_bytes: u64,
    /// Whether nothing was left to do.
    pub complete: bool,
}

/// What a background defragmenter did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Background {
    /// Slices in which it worked.
    pub passes: u64,
    /// Those of them that were of no use.
    pub futile_passes: u64,
    /// Blocks that it moved.
    pub moves: u64,
    /// Bytes of these.
    pub moved_bytes: u64,
    /// Bytes that it gave back to the system.
    pub freed_bytes: u64,
    /// Time that it worked.
    pub busy_s: f64,
    /// The share of the committed memory that it found to be waste at last.
    pub waste: f64,
}

impl From<DefragmenterStats> for Background {
    fn from(stats: DefragmenterStats) -> Self {
        Self {
            passes: stats.passes,
            futile_passes: stats.futile_passes,
            moves: stats.moves,
            moved_bytes: stats.moved_bytes,
            freed_bytes: stats.freed_bytes,
            busy_s: stats.busy.as_secs_f64(),
            waste: stats.waste,
        }
    }
}

/// The growth at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Seconds since the start.
    pub at_s: f64,
    /// Bytes.
    pub bytes: u64,
}

impl Checkpoint {
    /// Growth over live payload.
    #[must_use]
    pub fn factor(&self) -> f64 {
        self.grown_bytes as f64 / self.live_bytes as f64
    }
}

impl Report {
    /// The highest growth over the most payload.
    #[must_use]
    pub fn peak_factor(&self) -> Option<f64> {
        let live = self.peak_live_bytes;
        (live > 0).then(|| self.peak_bytes as f64 / live as f64)
    }
}

impl Defragmentation {
    /// The highest growth over that at the start.
    #[must_use]
    pub fn peak_ratio(&self) -> f64 {
        self.peak_bytes as f64 / self.start_bytes as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors() {
        let checkpoint = Checkpoint { grown_bytes: 30, live_bytes: 20, ..Default::default() };
        assert_eq!(checkpoint.factor(), 1.5);
        assert_eq!(Report::default().peak_factor(), None);
        let report = Report { peak_bytes: 30, peak_live_bytes: 10, ..Default::default() };
        assert_eq!(report.peak_factor(), Some(3.0));
        let run = Defragmentation { start_bytes: 4, peak_bytes: 5, ..Default::default() };
        assert_eq!(run.peak_ratio(), 1.25);
    }
}
