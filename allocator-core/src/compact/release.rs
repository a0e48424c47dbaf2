//! Giving the pages of free memory back to the system, in steps.

use super::pass::Pass;
use super::round::Round;
use crate::heap::Inner;
use crate::placement::Run;
use crate::raw::GRANULE;
use crate::raw::os::OS_PAGE;
use std::time::Instant;

/// Pages of the system that one step gives back, without and with a clock.
const PAGES: usize = 4096;
const PAGES_IN_TIME: usize = 64;

/// Free runs that one step looks at.
const RUNS: usize = 128;

/// Granules that may wait to be given back before a pass sees to them: many pages at a time cost less.
const WAITING_MAX: u32 = (4 << 20) / GRANULE as u32;

/// Memory that became free by moves and is still backed by pages.
#[derive(Debug, Default)]
pub(super) struct Pending {
    runs: Vec<Run>,
    granules: u32,
}

impl Pending {
    pub(super) fn add(&mut self, start: u32, len: u32) {
        self.granules += len;
        match self.runs.last_mut() {
            Some(last) if last.end() == start => last.len += len,
            Some(last) if start + len == last.start => {
                *last = Run { start, len: last.len + len };
            }
            _ => self.runs.push(Run { start, len }),
        }
    }

    /// Whether so much waits that it should be given back before more is moved.
    pub(super) fn is_long(&self) -> bool {
        self.granules >= WAITING_MAX
    }

    /// One step; false when nothing waits. Memory that has other users by now is theirs.
    pub(super) fn give_back(&mut self, heap: &Inner, pass: &mut Pass) -> bool {
        let Some(run) = self.runs.last_mut() else { return false };
        let end = give_back(heap, pass, run.start, run.end());
        let done = end - run.start;
        self.granules -= done;
        *run = Run { start: end, len: run.len - done };
        if run.len == 0 {
            self.runs.pop();
        }
        true
    }

    /// Sees to it that `bytes` more can be committed without needing more than when the work began, as far as what
    /// waits allows that.
    pub(super) fn make_allowance(&mut self, heap: &Inner, pass: &mut Pass, bytes: usize) {
        while heap.store.central().committed().saturating_add(bytes) > pass.committed_max
            && self.give_back(heap, pass)
        {}
    }
}

/// One step of the stage that gives back all that is left; false when it is done.
pub(super) fn release(heap: &Inner, pass: &mut Pass, round: &mut Round) -> bool {
    let (lo, hi) = heap.store.memory().bounds();
    round.at = give_back(heap, pass, round.at.max(lo), hi);
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
    let most = if pass.is_timed() { PAGES_IN_TIME } else { PAGES };
    let (at, done) = heap.store.central().space.release_maps(round.at, most as u32);
    round.at = at;
    !done
}

/// Gives back pages of free memory in `lo..hi`, not too many; up to where that is done.
fn give_back(heap: &Inner, pass: &mut Pass, lo: u32, hi: u32) -> u32 {
    let pages = if pass.is_timed() { PAGES_IN_TIME } else { PAGES };
    let limits = (pages, RUNS);
    let start = Instant::now();
    let mut central = heap.store.central();
    let (released, end) = central.release_some(heap.store.memory(), lo, hi, limits);
    pass.report.freed_bytes += (released * OS_PAGE) as u64;
    pass.report.releasing += start.elapsed();
    end
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn neighbours_wait_as_one() {
        let mut pending = Pending::default();
        for start in [100, 110, 90, 300, 310] {
            pending.add(start, 10);
        }
        let runs = [Run { start: 90, len: 30 }, Run { start: 300, len: 20 }];
        assert_eq!((&pending.runs[..], pending.granules), (&runs[..], 50));
        assert!(!pending.is_long());
    }
}
