//! Giving the pages of free memory back to the system, in steps.

use super::pass::Pass;
use super::round::Round;
use crate::central::Central;
use crate::decommit::Decommit;
use crate::heap::Inner;
use crate::raw::GRANULE;
use crate::raw::os::OS_PAGE;
use std::collections::BTreeMap;
use std::time::Instant;

/// Pages of the system that one step gives back, without and with a clock. Fewer would be calls that interrupt readers more often.
const PAGES: usize = 2048;
const PAGES_IN_TIME: usize = 64;

/// Pages of the system that the lists of a batch may need, with those of what became free before it: one for so many that are
/// committed, and at most.
const PAGES_A_LIST_PAGE: usize = 64;
const LIST_PAGES_MAX: usize = 256;

/// Pages of each map of free runs that one step looks at where the clock runs.
const MAP_PAGES_IN_TIME: usize = 8;

/// Free runs that one step looks at.
const RUNS: usize = 128;

/// Granules that may wait to be given back before a pass sees to them: many pages at a time cost less.
const WAITING_MAX: u32 = (8 << 20) / GRANULE as u32;

/// Memory that became free by moves and is still backed by pages.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Granules at which it begins and of which it consists. What is near is given back together.
    runs: BTreeMap<u32, u32>,
    granules: u32,
}

impl Pending {
    pub(super) fn add(&mut self, start: u32, len: u32) {
        // Pages of slabs: one that became free again before it was given back waits once.
        self.granules += len - self.runs.insert(start, len).unwrap_or(0);
    }

    /// Whether so much waits that it should be given back before more is moved.
    pub(super) fn is_long(&self) -> bool {
        self.granules >= WAITING_MAX
    }

    /// One step; false when nothing waits. Memory that has other users by now is theirs.
    pub(super) fn give_back(&mut self, heap: &Inner, pass: &mut Pass) -> bool {
        if self.runs.is_empty() {
            return false;
        }
        give_back(heap, pass, |central, decommit| {
            while !decommit.is_full()
                && let Some((start, len)) = self.runs.pop_first()
            {
                let end = central.collect(heap.store.memory(), (start, start + len), decommit);
                self.granules -= end - start;
                if end < start + len {
                    self.runs.insert(end, start + len - end);
                }
            }
        });
        true
    }

    /// Sees to it that `bytes` more can be committed without needing more than when the work began, as far as what
    /// waits allows that.
    pub(super) fn make_allowance(
        &mut self,
        heap: &Inner,
        pass: &mut Pass,
        bytes: usize,
    ) -> Allowance {
        while heap.store.central().committed().saturating_add(bytes) > pass.committed_max {
            if !self.give_back(heap, pass) {
                return Allowance::None;
            }
            pass.note_step();
            if pass.is_late() {
                return Allowance::NotYet;
            }
        }
        Allowance::Met
    }
}

/// Whether more may be committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Allowance {
    Met,
    /// The time is over before.
    NotYet,
    /// There is nothing left to give back.
    None,
}

/// One step of the stage that gives back all that is left; false when it is done.
pub(super) fn release(heap: &Inner, pass: &mut Pass, round: &mut Round) -> bool {
    let (lo, hi) = heap.store.memory().bounds();
    let from = round.at.max(lo);
    give_back(heap, pass, |central, decommit| {
        round.at = central.collect(heap.store.memory(), (from, hi), decommit);
    });
    round.at < hi
}

/// One step of giving pages of slots without an object back; false when it is done.
pub(super) fn release_slots(heap: &Inner, pass: &mut Pass, round: &mut Round) -> bool {
    let tables = heap.tables.all();
    let Some(table) = tables.get(round.at as usize) else { return false };
    let most = if pass.is_timed() { PAGES_IN_TIME } else { PAGES };
    let released = table.release_pages(most);
    pass.report.freed_slot_bytes += released;
    if released < (most * OS_PAGE) as u64 {
        round.at += 1;
    }
    (round.at as usize) < tables.len()
}

/// One step of giving pages of the maps of free runs back that are clear; false when it is done.
pub(super) fn release_maps(heap: &Inner, pass: &Pass, round: &mut Round) -> bool {
    let most = if pass.is_timed() { MAP_PAGES_IN_TIME } else { PAGES };
    let (at, done) = heap.store.central().space.release_maps(round.at, most as u32);
    round.at = at;
    !done
}

/// Before a pass without a clock, whose lists need memory of their own: gives back clear pages of maps, and so much free
/// memory as they may need.
pub(super) fn make_own_room(heap: &Inner, pass: &mut Pass) {
    let mut maps = Round::new();
    while release_maps(heap, pass, &mut maps) {}
    let committed = heap.store.central().committed() / OS_PAGE;
    let pages = (committed / PAGES_A_LIST_PAGE).min(LIST_PAGES_MAX);
    // Not from where blocks go to: what is given back there is soon needed again.
    give_back_some(heap, pass, pages, |central, decommit| {
        central.collect_middle(heap.store.memory(), decommit);
    });
}

/// Gives back the pages of free memory that are collected, not too many.
fn give_back(heap: &Inner, pass: &mut Pass, collect: impl FnOnce(&mut Central, &mut Decommit)) {
    let pages = if pass.is_timed() { PAGES_IN_TIME } else { PAGES };
    give_back_some(heap, pass, pages, collect);
}

/// The same, so many pages at most.
fn give_back_some(
    heap: &Inner,
    pass: &mut Pass,
    pages: usize,
    collect: impl FnOnce(&mut Central, &mut Decommit),
) {
    let mut decommit = Decommit::new(pages, RUNS);
    let start = Instant::now();
    let mut central = heap.store.central();
    collect(&mut central, &mut decommit);
    let released = central.decommit(heap.store.memory(), decommit);
    pass.report.freed_bytes += (released * OS_PAGE) as u64;
    pass.report.releasing += start.elapsed();
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::compact::budget::Budget;
    use core::time::Duration;

    #[test]
    fn what_becomes_free_twice_waits_once() {
        let mut pending = Pending::default();
        for start in [100, 110, 90, 100] {
            pending.add(start, 10);
        }
        assert_eq!((pending.runs.len(), pending.granules), (3, 30));
        assert!(!pending.is_long());
    }

    #[test]
    fn what_one_step_leaves_of_a_run_waits_for_the_next() {
        const BYTES: usize = 3 * PAGES_IN_TIME * OS_PAGE;
        let heap = crate::Heap::builder().capacity(4 * BYTES).stripes(1).build().unwrap();
        let block = heap.allocate_bytes(&vec![7; BYTES]).unwrap();
        heap.deallocate(block).unwrap();
        heap.flush();
        let heap = heap.inner();
        let committed = || heap.store.central().committed();
        let (before, len) = (committed(), (BYTES / GRANULE) as u32);
        let mut pass = Pass::new(heap, Budget::unlimited().time(Duration::from_secs(1)));
        let mut pending = Pending::default();
        pending.add(heap.store.memory().bounds().0, len);
        let steps = (0..100).take_while(|_| pending.give_back(heap, &mut pass)).count();
        assert_eq!((pending.runs.len(), pending.granules), (0, 0), "after {steps} steps");
        if heap.store.memory().can_release() {
            assert!(steps >= 3 && committed() + BYTES <= before + 2 * OS_PAGE, "{steps} steps");
        }
    }
}
