//! [`Budget`] and [`DefragReport`], and the pass that spends the one and fills in the other.

use crate::block::Owner;
use crate::heap::Inner;
use crate::stats;
use core::fmt;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// How much one defragmentation may do. Whichever limit is reached first ends it, between two moves; the
/// clock is read after every move.
///
/// ```
/// use allocator_core::{Budget, Heap};
/// use std::time::Duration;
///
/// let heap = Heap::builder().capacity(1 << 20).build()?;
/// let slice = Budget::unlimited().bytes(1 << 20).time(Duration::from_micros(500));
/// while !heap.defragment_with(slice).complete {}
/// # Ok::<(), allocator_core::BuildError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Budget {
    bytes: u64,
    moves: u64,
    time: Option<Duration>,
}

impl Budget {
    /// No limit.
    pub const fn unlimited() -> Self {
        Self { bytes: u64::MAX, moves: u64::MAX, time: None }
    }

    /// Stops once so many bytes were moved; the last block may exceed it.
    pub const fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Stops after so many moves.
    pub const fn moves(mut self, moves: u64) -> Self {
        self.moves = moves;
        self
    }

    /// Stops after this time, planning and waiting included, though not before 64 moves or 64 KiB: so that
    /// every call gets on, however short the time. Planning costs O(slabs).
    pub const fn time(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }
}

/// What a defragmentation did, and what was in its way.
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct DefragReport {
    /// Blocks that were moved.
    pub moves: u64,
    /// Their bytes.
    pub moved_bytes: u64,
    /// Bytes of pages that were given back to the system.
    pub freed_bytes: u64,
    /// Bytes of pages of slots without an object that were given back as well.
    pub freed_slot_bytes: u64,
    /// Time from the call to its end.
    pub elapsed: Duration,
    /// [`Stats::fragmentation`](crate::Stats::fragmentation) before the first move.
    pub fragmentation_before: f64,
    /// The same after the last one.
    pub fragmentation_after: f64,
    /// Nothing is left to do, as far as guards, pins and readers let it.
    pub complete: bool,
    /// Moves that a reader cancelled because it came first, or that a remove overtook.
    pub cancelled: u64,
    /// Threads whose open guards ended a batch of moves.
    pub blocked_by_guards: u64,
    /// Blocks that were left in place because they are pinned or borrowed.
    pub blocked_by_pins: u64,
    /// Bytes of these.
    pub pinned_bytes: u64,
    /// The calling thread holds a guard of the heap itself, so nothing was moved.
    pub own_guard: bool,
}

impl fmt::Display for DefragReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "moved {} blocks ({} bytes) in {:.1?}, gave back {} bytes, fragmentation {:.1} % -> {:.1} %",
            self.moves,
            self.moved_bytes,
            self.elapsed,
            self.freed_bytes,
            self.fragmentation_before * 100.0,
            self.fragmentation_after * 100.0,
        )?;
        if self.own_guard {
            f.write_str("; the calling thread holds a guard itself")?;
        }
        if self.blocked_by_guards > 0 {
            write!(f, "; guards of {} threads stayed open", self.blocked_by_guards)?;
        }
        if self.blocked_by_pins > 0 {
            write!(
                f,
                "; {} blocks ({} bytes) are pinned",
                self.blocked_by_pins, self.pinned_bytes
            )?;
        }
        if self.cancelled > 0 {
            write!(f, "; {} moves were cancelled by readers", self.cancelled)?;
        }
        Ok(())
    }
}

/// The clock does not end a pass before so many moves, or so many bytes.
const MOVES_MIN: u64 = 64;
const BYTES_MIN: u64 = 64 << 10;

/// Slabs of a class that a pass with a clock plans to empty, or to raise, at a time.
const SLABS_MAX: usize = 16;

/// A defragmentation under way.
#[derive(Debug)]
pub(crate) struct Pass {
    budget: Budget,
    start: Instant,
    deadline: Option<Instant>,
    patience: Duration,
    /// Guards stayed open: the rest would wait for them again.
    blocked: bool,
    /// Whose blocks were found pinned: each is reported once, however often it is tried.
    pinned: HashSet<Owner>,
    pub(super) report: DefragReport,
}

impl Pass {
    pub(super) fn new(heap: &Inner, budget: Budget) -> Self {
        let start = Instant::now();
        Self {
            budget,
            start,
            deadline: budget.time.and_then(|time| start.checked_add(time)),
            patience: heap.patience,
            blocked: false,
            pinned: HashSet::new(),
            report: DefragReport::default(),
        }
    }

    /// Until when the pass waits for somebody, counted from now.
    pub(super) fn patience(&self) -> Instant {
        let patience = Instant::now() + self.patience;
        self.deadline.map_or(patience, |deadline| deadline.min(patience))
    }

    /// Whether the budget is spent, or waiting turned out to be of no use.
    pub(super) fn is_over(&self) -> bool {
        self.blocked
            || self.report.moves >= self.budget.moves
            || self.report.moved_bytes >= self.budget.bytes
            || self.has_got_on() && self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Whether the pass did enough for the clock to count.
    fn has_got_on(&self) -> bool {
        self.attempts() + self.report.blocked_by_pins >= MOVES_MIN
            || self.report.moved_bytes >= BYTES_MIN
            || self.budget.time == Some(Duration::ZERO)
    }

    /// Slabs that are planned at a time: few where the clock runs.
    pub(super) fn slabs_max(&self) -> usize {
        if self.budget.time.is_some() { SLABS_MAX } else { usize::MAX }
    }

    /// Whether a clock ends the pass.
    pub(super) fn has_clock(&self) -> bool {
        self.budget.time.is_some()
    }

    /// Moves that were made or cancelled by readers.
    pub(super) fn attempts(&self) -> u64 {
        self.report.moves + self.report.cancelled
    }

    /// A grace period did not end in time.
    pub(super) fn note_guards(&mut self, guards: usize) {
        self.blocked = true;
        self.report.blocked_by_guards = self.report.blocked_by_guards.max(guards as u64);
    }

    pub(super) fn note_move(&mut self, bytes: usize) {
        self.report.moves += 1;
        self.report.moved_bytes += bytes as u64;
    }

    pub(super) fn note_pinned(&mut self, owner: Owner, bytes: usize) {
        if self.pinned.insert(owner) {
            self.report.blocked_by_pins += 1;
            self.report.pinned_bytes += bytes as u64;
        }
    }

    /// Gives the pages of free runs back to the system.
    fn release_pages(&mut self, heap: &Inner) {
        let mut central = heap.store.central();
        let (lo, hi) = central.bounds();
        self.report.freed_bytes += central.release_pages(heap.store.memory(), lo, hi);
    }

    /// Gives empty pages back and closes the report. `settled`: nothing was left to move.
    pub(super) fn finish(mut self, heap: &Inner, settled: bool) -> DefragReport {
        self.release_pages(heap);
        self.close(heap, settled)
    }

    /// Closes the report.
    pub(super) fn close(mut self, heap: &Inner, settled: bool) -> DefragReport {
        self.report.fragmentation_after = stats::space(&heap.store).fragmentation();
        self.report.complete = settled && !self.blocked;
        self.report.elapsed = self.start.elapsed();
        self.report
    }
}
