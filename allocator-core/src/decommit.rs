//! [`Decommit`]: pages of free memory that are given back to the system together.
//!
//! Each time that pages are taken from a process, every core that runs one of its threads is interrupted to forget where they
//! were: a reader pays some microseconds for it. So ranges are collected under the lock of the centre, and given back by one
//! call of the system.

use crate::central::Central;
use crate::placement::{Need, Run};
use crate::raw::os::OS_PAGE;
use crate::raw::together::RANGES_MAX;
use crate::raw::{Memory, PAGE};
use core::ops::Range;

/// Pages that are to be given back together; they do not count as committed any more. They are given back under the lock under
/// which they were collected.
#[derive(Debug)]
#[must_use]
pub(crate) struct Decommit {
    /// Numbers of pages of the system.
    ranges: Vec<Range<usize>>,
    pages_left: usize,
    /// Free runs that may still be looked at.
    looks_left: usize,
}

impl Decommit {
    /// For so many pages, of so many free runs that are looked at.
    pub(crate) fn new(pages: usize, looks: usize) -> Self {
        Self { ranges: Vec::new(), pages_left: pages, looks_left: looks }
    }

    /// Whether nothing more should be collected.
    pub(crate) fn is_full(&self) -> bool {
        self.pages_left == 0 || self.looks_left == 0 || self.ranges.len() >= RANGES_MAX
    }

    fn add(&mut self, range: Range<usize>) {
        self.pages_left -= range.len();
        match self.ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.ranges.push(range),
        }
    }
}

impl Central {
    /// Collects pages that lie inside free runs and in `lo..hi`, in address order, until enough are collected. Gives up to where
    /// that is done. O(pages and free runs).
    pub(crate) fn collect(
        &mut self,
        memory: &Memory,
        (lo, hi): (u32, u32),
        into: &mut Decommit,
    ) -> u32 {
        if !memory.can_release() {
            return hi;
        }
        // The run that `lo` lies in begins before it.
        let mut at = self.space.previous_start(lo).unwrap_or(lo);
        while !into.is_full() {
            let Some(run) = self.space.next_run(memory, at, hi) else { return hi };
            into.looks_left -= 1;
            at = run.end();
            let Range { start, end } = pages_inside(run);
            let (first, last) = memory.worth_releasing(start, end);
            let mut page = first.max(lo.div_ceil(PAGE) as usize);
            let end = last.min((hi / PAGE) as usize).max(page);
            while let Some(pages) = self.committed.take_first(page..end, into.pages_left) {
                page = pages.end;
                into.add(pages);
                if into.is_full() {
                    return (page as u32 * PAGE).clamp(lo, hi);
                }
            }
        }
        at.clamp(lo, hi)
    }

    /// Collects pages from the middle of the free memory, to which moves bring least: of the free runs below the largest
    /// one, the nearest first, with half of the looks, then of that one and those above it. O(pages and free runs), plus
    /// the policy's `largest` and `find`.
    pub(crate) fn collect_middle(&mut self, memory: &Memory, into: &mut Decommit) {
        if into.is_full() || !memory.can_release() || self.space.free() == 0 {
            return;
        }
        let len = self.space.largest(memory, into.looks_left);
        let Some(middle) = self.space.find(memory, Need { len, align: 1, skew: 0 }) else { return };
        let (lo, hi) = self.bounds();
        let (mut from, looks_above) = (middle.start, into.looks_left / 2);
        while !into.is_full()
            && into.looks_left > looks_above
            && let Some(run) = self.space.previous_run(memory, from, lo)
        {
            into.looks_left -= 1;
            from = run.start;
            let Range { start, end } = pages_inside(run);
            let (start, end) = memory.worth_releasing(start, end);
            self.collect_last(start..end, into);
        }
        self.collect(memory, (middle.start, hi), into);
    }

    /// Collects the last of some pages that are free.
    fn collect_last(&mut self, pages: Range<usize>, into: &mut Decommit) {
        let Range { start, mut end } = pages;
        while !into.is_full()
            && start < end
            && let Some(pages) = self.committed.take_last(start..end, into.pages_left)
        {
            end = pages.start;
            into.add(pages);
        }
    }

    /// Gives what was collected back to the system; the number of pages, 0 where it refuses. O(pages).
    pub(crate) fn decommit(&mut self, memory: &Memory, decommit: Decommit) -> usize {
        let ranges = decommit.ranges;
        // SAFETY: the pages lie inside free runs between their tags, and the lock of the centre was held since then.
        if unsafe { memory.release(&ranges) } {
            return ranges.iter().map(Range::len).sum();
        }
        ranges.into_iter().for_each(|range| self.committed.add(range));
        0
    }

    /// Where more than `most` bytes are committed, gives back as many pages of the free `run`, its highest ones,
    /// `pages` at most.
    pub(crate) fn keep_committed(&mut self, memory: &Memory, run: Run, most: usize, pages: usize) {
        if run.len < 2 || !memory.can_release() {
            return;
        }
        let excess = self.committed().saturating_sub(most).div_ceil(OS_PAGE);
        let mut decommit = Decommit::new(pages.min(excess), 1);
        self.collect_last(pages_inside(run), &mut decommit);
        self.decommit(memory, decommit);
    }
}

/// The pages of a free run that nothing is written in: the granules with its tag and its footer stay.
fn pages_inside(run: Run) -> Range<usize> {
    (run.start + 1).div_ceil(PAGE) as usize..((run.end() - 1) / PAGE) as usize
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::heap::Heap;
    use crate::raw::os::can_release;
    use core::alloc::Layout;

    /// Blocks with chunks of their own slide to the bottom: what is given back there would be needed again.
    #[test]
    fn the_middle_is_given_back_and_not_the_bottom() {
        const BLOCK_PAGES: usize = 3;
        const BLOCKS: usize = 400;
        let heap = Heap::builder().capacity(16 << 20).stripes(1).build().unwrap();
        let layout = Layout::from_size_align(BLOCK_PAGES * OS_PAGE, 8).unwrap();
        let blocks: Vec<_> = (0..BLOCKS).map(|_| heap.allocate(layout).unwrap()).collect();
        blocks.into_iter().step_by(2).for_each(|block| heap.deallocate(block).unwrap());
        heap.flush();
        let memory = heap.inner().store.memory();
        let mut central = heap.inner().store.central();
        let before = central.committed();
        for pages in [1, 20, 50] {
            let mut decommit = Decommit::new(pages, BLOCKS);
            central.collect_middle(memory, &mut decommit);
            let collected: usize = decommit.ranges.iter().map(Range::len).sum();
            let lowest = decommit.ranges.iter().map(|range| range.start).min();
            assert_eq!(collected, if can_release() { pages } else { 0 });
            assert!(lowest.is_none_or(|lowest| lowest > BLOCKS * BLOCK_PAGES * 3 / 4));
            assert_eq!(central.decommit(memory, decommit), collected);
        }
        let given_back = if can_release() { 71 * OS_PAGE } else { 0 };
        assert_eq!(central.committed(), before - given_back);
    }
}
