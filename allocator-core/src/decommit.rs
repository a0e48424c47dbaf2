//! [`Decommit`]: pages of free memory that are given back to the system together.
//!
//! Each time that pages are taken from a process, every core that runs one of its threads is interrupted to forget where they
//! were: a reader pays some microseconds for it. So ranges are collected under the lock of the centre, and given back by one
//! call of the system.

use crate::central::{Central, PAGE};
use crate::placement::Run;
use crate::raw::Memory;
use crate::raw::os::OS_PAGE;
use core::ops::Range;

/// Ranges that are given back together.
const RANGES_MAX: usize = 128;

/// Pages that are to be given back together; nobody else counts them as committed any more. They are given back under the lock
/// under which they were collected.
#[derive(Debug)]
#[must_use]
pub(crate) struct Decommit {
    /// Numbers of pages of the system.
    ranges: Vec<Range<usize>>,
    pages: usize,
    pages_max: usize,
    /// Free runs that may still be looked at.
    looks: usize,
}

impl Decommit {
    /// For so many pages, of so many free runs that are looked at.
    pub(crate) fn new(pages_max: usize, looks: usize) -> Self {
        Self { ranges: Vec::new(), pages: 0, pages_max, looks }
    }

    /// Whether nothing more should be collected.
    pub(crate) fn is_full(&self) -> bool {
        self.pages >= self.pages_max || self.ranges.len() >= RANGES_MAX || self.looks == 0
    }

    fn add(&mut self, range: Range<usize>) {
        self.pages += range.len();
        match self.ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            Some(last) if last.start == range.end => last.start = range.start,
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
            into.looks -= 1;
            at = run.end();
            // The granule with the tag and the one with the footer stay.
            let (first, last) = ((run.start + 1).div_ceil(PAGE), (run.end() - 1) / PAGE);
            let (first, last) = memory.worth_releasing(first as usize, last as usize);
            let mut page = first.max(lo.div_ceil(PAGE) as usize);
            let end = last.min((hi / PAGE) as usize).max(page);
            while let Some(from) = self.committed.next_set(page, end) {
                if into.is_full() {
                    return (from as u32 * PAGE).clamp(lo, hi);
                }
                let to = self.committed.next_clear(from, end).unwrap_or(end);
                page = to.min(from + into.pages_max - into.pages);
                self.take_committed(from..page, into);
            }
        }
        at.clamp(lo, hi)
    }

    /// Gives what was collected back to the system; the number of pages, 0 where it refuses. O(pages).
    pub(crate) fn decommit(&mut self, memory: &Memory, decommit: Decommit) -> usize {
        // SAFETY: the pages lie inside free runs between their tags, and the lock of the centre was held since then.
        if unsafe { memory.release(&decommit.ranges) } {
            return decommit.pages;
        }
        for range in decommit.ranges {
            self.committed_pages += range.len();
            self.committed.set_range(range.start, range.end);
        }
        0
    }

    /// Where more than `most` bytes are committed, gives back as many pages of the free `run`, its highest ones,
    /// `pages` at most.
    pub(crate) fn keep_committed(&mut self, memory: &Memory, run: Run, most: usize, pages: usize) {
        if run.len < 2 || !memory.can_release() {
            return;
        }
        let lo = (run.start + 1).div_ceil(PAGE) as usize;
        let mut end = ((run.end() - 1) / PAGE) as usize;
        let mut decommit = Decommit::new(pages, 1);
        while self.committed() > most && !decommit.is_full() && lo < end {
            let Some(last) = self.committed.prev_set(end - 1, lo) else { break };
            let excess = (self.committed() - most).div_ceil(OS_PAGE);
            let excess = excess.min(decommit.pages_max - decommit.pages);
            let mut from = last;
            while from > lo && last - from + 1 < excess && self.committed.get(from - 1) {
                from -= 1;
            }
            self.take_committed(from..last + 1, &mut decommit);
            end = from;
        }
        self.decommit(memory, decommit);
    }

    fn take_committed(&mut self, pages: Range<usize>, into: &mut Decommit) {
        self.committed.clear_range(pages.start, pages.end);
        self.committed_pages -= pages.len();
        into.add(pages);
    }
}
