//! [`Central`]: the space that all stripes draw from, and which of its pages are committed.
//!
//! Large blocks live here directly; stripes take page-sized chunks and give them back when empty. Lock
//! order: the mover lock, then one stripe, then the centre.

use crate::committed::Committed;
use crate::placement::{AnyPlacement, Need, Run};
use crate::raw::{Memory, PAGE};
use crate::space::{End, Space};
use crate::stripe::Request;

/// Free runs that are looked at for a place below a block before it stays where it is.
pub(crate) const LOOKS_MAX: usize = 64;

/// The space behind the stripes.
pub(crate) struct Central {
    pub(crate) space: Space,
    pub(crate) committed: Committed,
    lo: u32,
    hi: u32,
}

impl core::fmt::Debug for Central {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Central")
            .field("space", &self.space)
            .field("committed", &self.committed())
            .finish_non_exhaustive()
    }
}

impl Central {
    /// All of `memory`, free.
    pub(crate) fn new(memory: &Memory, placement: AnyPlacement) -> Self {
        let (lo, hi) = memory.bounds();
        let mut central = Self {
            space: Space::new(hi, placement),
            committed: Committed::new(hi.div_ceil(PAGE) as usize + 1),
            lo,
            hi,
        };
        central.release(memory, Run { start: lo, len: hi - lo });
        central
    }

    /// The usable granules.
    pub(crate) fn bounds(&self) -> (u32, u32) {
        (self.lo, self.hi)
    }

    /// Takes a place; see [`Space::allocate`].
    pub(crate) fn allocate(&mut self, memory: &Memory, need: Need, end: End) -> Option<Run> {
        let taken = self.space.allocate(memory, need, end)?;
        self.note_taken(taken);
        Some(taken)
    }

    /// Takes a place for `need` where the run that the policy picks is shorter than `below`.
    pub(crate) fn allocate_hole(&mut self, memory: &Memory, need: Need, below: u32) -> Option<Run> {
        let run = self.space.find(memory, need).filter(|run| run.len < below)?;
        let taken = Run { start: need.place_low(run)?, len: need.len };
        self.claim(memory, run, taken);
        Some(taken)
    }

    /// Takes a page-aligned chunk of `page` granules above granule `above`, as high as there is one among the free
    /// runs that begin below `below`, `looks` of them at most; `below` tells where to go on looking, and is
    /// not above `above` when there is none.
    pub(crate) fn allocate_page_above(
        &mut self,
        memory: &Memory,
        page: u32,
        above: u32,
        below: &mut u32,
        looks: usize,
    ) -> Option<Run> {
        let need = Need { len: page, align: page, skew: 0 };
        let mut from = self.hi.min(*below);
        for _ in 0..looks {
            let Some(run) = self.space.previous_run(memory, from, above) else {
                *below = above;
                return None;
            };
            if let Some(start) = need.place_high(run).filter(|start| *start >= above) {
                let taken = Run { start, len: page };
                self.claim(memory, run, taken);
                // There may be another page in what is left of the run.
                *below = start;
                return Some(taken);
            }
            from = run.start;
        }
        *below = from;
        None
    }

    /// Takes a place that lies below granule `below`, as low as there is one among the first
    /// [`LOOKS_MAX`] free runs.
    pub(crate) fn allocate_below(
        &mut self,
        memory: &Memory,
        need: Need,
        below: u32,
    ) -> Option<Run> {
        let mut from = self.lo;
        for _ in 0..LOOKS_MAX {
            let run = self.space.next_run(memory, from, below)?;
            if let Some(start) = need.place_low(run).filter(|start| *start < below) {
                let taken = Run { start, len: need.len };
                self.claim(memory, run, taken);
                return Some(taken);
            }
            from = run.end();
        }
        None
    }

    /// Takes `taken` out of the free run `run`.
    pub(crate) fn claim(&mut self, memory: &Memory, run: Run, taken: Run) {
        self.space.claim(memory, run, taken);
        self.note_taken(taken);
    }

    /// Takes `part` out of the free run `run` without writing to it: nobody finds it until it is released.
    pub(crate) fn set_aside(&mut self, memory: &Memory, run: Run, part: Run) {
        self.space.claim(memory, run, part);
        for rest in [(run.start, part.start), (part.end(), run.end())] {
            if rest.0 < rest.1 {
                self.note_tags(Run { start: rest.0, len: rest.1 - rest.0 });
            }
        }
    }

    /// Makes a run free; see [`Space::release`].
    pub(crate) fn release(&mut self, memory: &Memory, run: Run) -> Run {
        let joined = self.space.release(memory, run);
        self.note_tags(joined);
        joined
    }

    /// Lets a chunk grow in place; see [`Space::grow`].
    pub(crate) fn grow(&mut self, memory: &Memory, chunk: Run, request: &Request) -> bool {
        let grown = self.space.grow(memory, chunk, request);
        if grown {
            self.note_taken(Run { start: chunk.start, len: request.need.len });
        }
        grown
    }

    /// Bytes of pages that were touched and not given back since.
    pub(crate) fn committed(&self) -> usize {
        self.committed.bytes()
    }

    /// The pages of a run are about to be written.
    pub(crate) fn note_taken(&mut self, taken: Run) {
        self.commit(taken.start / PAGE, (taken.end() - 1) / PAGE);
        // What is left of the run on both sides got new tags.
        if taken.end() < self.hi {
            self.commit(taken.end() / PAGE, taken.end() / PAGE);
        }
        if taken.start > self.lo {
            self.commit((taken.start - 1) / PAGE, (taken.start - 1) / PAGE);
        }
    }

    /// The tags of a free run were written.
    fn note_tags(&mut self, run: Run) {
        self.commit(run.start / PAGE, run.start / PAGE);
        self.commit((run.end() - 1) / PAGE, (run.end() - 1) / PAGE);
    }

    fn commit(&mut self, first: u32, last: u32) {
        self.committed.add(first as usize..last as usize + 1);
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::placement::FirstFit;
    use crate::raw::os::OS_PAGE;

    /// Pages of the buffer that a test uses.
    const PAGES: u32 = 8;

    #[test]
    fn pages_with_the_tags_of_what_is_left_are_committed() {
        // A run of each length, so that it ends in the middle and at the end of a page.
        for len in 1..2 * PAGE {
            let memory = Memory::map(PAGES * PAGE, false).unwrap();
            let (lo, hi) = memory.bounds();
            let mut central =
                Central::new(&memory, AnyPlacement::FirstFit(FirstFit::new(hi, PAGE)));
            let need = Need { len, align: 1, skew: 0 };
            let taken = central.allocate(&memory, need, End::Low).unwrap();
            let page = |at: u32| (at / PAGE) as usize;
            // Up to the tag behind it, and the last one of the buffer.
            let expected = page(taken.end()) + 1 - page(lo) + 1;
            assert_eq!(central.committed(), expected * OS_PAGE, "{len} granules");
        }
    }
}
