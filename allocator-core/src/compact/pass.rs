//! [`Pass`]: one call of a defragmentation, which spends its budget and fills in its report.

use super::budget::Budget;
use super::rate::Rate;
use super::report::DefragReport;
use crate::block::Owner;
use crate::grace::Grace;
use crate::heap::Inner;
use crate::stats;
use core::cell::Cell;
use core::time::Duration;
use std::collections::HashSet;
use std::time::Instant;

/// Blocks of one batch: so many that the barriers, each an interrupt of every running thread, are far apart.
const BATCH: usize = if cfg!(loom) { 2 } else { 4096 };

/// The same where the clock runs: marks, reservations and what is given back at the end of a batch are not
/// interrupted.
const BATCH_IN_TIME: usize = if cfg!(loom) { 2 } else { 128 };

/// Bytes of one batch, without and with a clock.
const BATCH_BYTES: usize = 2 << 20;
const BATCH_BYTES_IN_TIME: usize = 64 << 10;

/// However little time a call has, its first batch waits so long for readers.
const FIRST_WAIT: Duration = Duration::from_micros(100);

/// Copies of so many bytes are begun only while there is time for them.
const LONG_COPY: usize = 64 << 10;

/// What a copy may exceed the time by.
const SLACK: Duration = Duration::from_micros(50);

/// The share of the time that may be left at the end, so as not to exceed it.
const MARGIN: u32 = 8;

/// Free runs that are looked at for the largest, in a report that must not take long.
const LOOKS_IN_TIME: usize = 64;

/// A defragmentation under way.
#[derive(Debug)]
pub(crate) struct Pass {
    budget: Budget,
    start: Instant,
    deadline: Option<Instant>,
    patience: Duration,
    /// Guards stayed open: the rest would wait for them again.
    blocked: bool,
    /// There is no time for what comes next.
    stopped: bool,
    /// Something was done that the next call need not do again.
    got_on: bool,
    /// When the clock was read last.
    last_look: Cell<Instant>,
    /// The longest time between two looks at the clock, of late.
    longest: Cell<Duration>,
    /// Bytes that were committed when the pass began; it must not need more.
    pub(super) committed_max: usize,
    /// Whose blocks were found pinned: each is reported once, however often it is tried.
    pinned: HashSet<Owner>,
    pub(super) rate: Rate,
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
            stopped: false,
            got_on: false,
            last_look: Cell::new(start),
            longest: Cell::new(Duration::ZERO),
            committed_max: usize::MAX,
            pinned: HashSet::new(),
            rate: Rate::default(),
            report: DefragReport::default(),
        }
    }

    /// Until when the pass waits for somebody, counted from now.
    pub(super) fn patience(&self) -> Instant {
        let patience = Instant::now() + self.patience;
        let deadline = self.deadline.map(|deadline| {
            if self.got_on() { deadline } else { deadline.max(self.start + FIRST_WAIT) }
        });
        deadline.map_or(patience, |deadline| deadline.min(patience))
    }

    /// Whether the budget is spent, or waiting turned out to be of no use.
    pub(super) fn is_over(&self) -> bool {
        self.blocked || self.stopped || self.is_spent() || self.is_late()
    }

    /// Whether the moves or bytes of the budget are used up.
    fn is_spent(&self) -> bool {
        self.report.moves >= self.budget.moves || self.report.moved_bytes >= self.budget.bytes
    }

    /// Whether the time is over, or less is left than what has taken longest of late between two looks at the clock. Reads
    /// the clock, where there is a limit.
    pub(super) fn is_late(&self) -> bool {
        let (Some(deadline), Some(time)) = (self.deadline, self.budget.time) else { return false };
        let now = Instant::now();
        let stretch = now - self.last_look.replace(now);
        self.longest.set(self.longest.get().max(stretch));
        let counts = self.got_on() || time.is_zero();
        counts && now + self.longest.get().min(time / MARGIN) >= deadline
    }

    fn got_on(&self) -> bool {
        self.got_on || self.report.moves > 0
    }

    /// A step is done that stays done.
    pub(super) fn note_step(&mut self) {
        self.got_on = true;
    }

    /// Whether a block is so large that its copy would end long after the time.
    pub(super) fn lacks_time_for(&self, bytes: usize) -> bool {
        let Some(deadline) = self.deadline.filter(|_| bytes >= LONG_COPY) else { return false };
        self.report.moves > 0 && Instant::now() + self.rate.copy(bytes) > deadline + SLACK
    }

    /// Ends the pass.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Whether guards stayed open.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether what was left undone was not left for want of budget.
    pub(super) fn may_go_on(&self) -> bool {
        !self.is_blocked() && !self.stopped && !self.is_spent()
    }

    /// Whether nothing ends the pass before its work is done.
    pub(super) fn is_thorough(&self) -> bool {
        self.budget.is_unlimited()
    }

    /// Whether the clock runs.
    pub(super) fn is_timed(&self) -> bool {
        self.deadline.is_some()
    }

    /// Blocks that are marked at a time.
    pub(super) fn batch(&self) -> usize {
        let most = if self.is_timed() { BATCH_IN_TIME } else { BATCH };
        let left = self.budget.moves.saturating_sub(self.report.moves);
        most.min(usize::try_from(left).unwrap_or(most)).max(2)
    }

    /// How many of so many blocks are marked at a time: all of them rather than few that are left over, where nothing ends
    /// the pass meanwhile.
    pub(super) fn batch_of(&self, blocks: usize) -> usize {
        let most = self.batch();
        if self.is_thorough() && blocks < 2 * most { blocks } else { most.min(blocks) }
    }

    /// Bytes of blocks that are marked at a time, one block at least.
    pub(super) fn batch_bytes(&self) -> usize {
        if self.is_timed() { BATCH_BYTES_IN_TIME } else { BATCH_BYTES }
    }

    /// Moves that were made or cancelled by readers.
    pub(super) fn attempts(&self) -> u64 {
        self.report.moves + self.report.cancelled
    }

    /// Waits for the grace period of a batch; false where guards stayed open, which ends the pass.
    pub(super) fn wait(&mut self, grace: &mut Grace) -> bool {
        if grace.poll() {
            return true;
        }
        let start = Instant::now();
        let is_over = grace.wait(Some(self.patience()));
        let waited = start.elapsed();
        // It ends with the time, and makes no pass late.
        self.last_look.set(start + waited);
        self.report.waited += waited;
        if !is_over {
            let guards = grace.open_guards() as u64;
            self.blocked = true;
            self.report.blocked_by_guards = self.report.blocked_by_guards.max(guards);
            self.report.blocked_for = self.report.blocked_for.max(waited);
        }
        is_over
    }

    /// Begins with what the longest step of those before has taken.
    pub(super) fn expect_steps_of(&mut self, longest: Duration) {
        // What took long once may have been the machine's doing.
        self.longest.set(longest / 2);
        // Waiting for the right to move was no step.
        self.last_look.set(Instant::now());
    }

    /// The longest time between two looks at the clock, of late.
    pub(super) fn longest(&self) -> Duration {
        self.longest.get()
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

    /// The fragmentation now.
    pub(super) fn fragmentation(&self, heap: &Inner) -> f64 {
        let looks = if self.is_timed() { LOOKS_IN_TIME } else { usize::MAX };
        stats::fragmentation_of(&heap.store, looks)
    }

    /// Closes the report. `settled`: nothing was left to do.
    pub(super) fn finish(mut self, heap: &Inner, settled: bool) -> DefragReport {
        self.report.fragmentation_after = self.fragmentation(heap);
        self.report.complete = settled && !self.blocked;
        self.report.elapsed = self.start.elapsed();
        self.report
    }
}
