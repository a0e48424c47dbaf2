//! [`Segments`]: pages of one stripe from which blocks are cut by the stripe's own placement policy.
//!
//! A segment is one page, taken from the centre. Its first granule is the page's chunk header and its last one
//! a wall, so free runs never join across pages of different owners; between the two, chunks and free
//! runs tile the page exactly as they tile the centre.
//!
//! Everything here runs under the stripe's lock.

use crate::block::Owner;
use crate::chunk::{self, Kind};
use crate::pages::{Label, PageMap};
use crate::placement::{AnyPlacement, Need, Run};
use crate::raw::Memory;
use crate::space::{End, Space};
use crate::stripe::Request;
use std::collections::BTreeSet;

/// Blocks above this share of a page go to the centre.
const SHARE: u32 = 4;

/// The segments of one stripe.
#[derive(Debug)]
pub(crate) struct Segments {
    stripe: u8,
    space: Space,
    /// First granules of the pages.
    starts: BTreeSet<u32>,
}

impl Segments {
    /// No pages yet; offsets are below `granules`.
    pub(crate) fn new(stripe: u8, granules: u32, placement: AnyPlacement) -> Self {
        Self { stripe, space: Space::new(granules, placement), starts: BTreeSet::new() }
    }

    /// Whether blocks of `need` are cut from segments of `page` granules.
    pub(crate) fn holds(need: Need, page: u32) -> bool {
        need.len.saturating_add(need.align) <= page / SHARE
    }

    /// Free granules.
    pub(crate) fn free(&self) -> u64 {
        self.space.free()
    }

    /// Length of the largest free run; see [`Space::largest`].
    pub(crate) fn largest(&self, memory: &Memory, looks: usize) -> u32 {
        self.space.largest(memory, looks)
    }

    /// Cuts a block; gives its offset. Cost of the policy.
    pub(crate) fn allocate(&mut self, memory: &Memory, need: Need, owner: Owner) -> Option<u32> {
        let taken = self.space.allocate(memory, need, End::Low)?;
        Some(chunk::init_block(memory, taken, owner))
    }

    /// Makes the chunk `page` a segment.
    pub(crate) fn add_page(&mut self, memory: &Memory, pages: &PageMap, page: Run) {
        chunk::init(memory, page, Kind::Segment);
        self.starts.insert(page.start);
        self.space.release(memory, Self::inside(page));
        pages.set(page.start, Label::Segment { stripe: self.stripe });
    }

    /// Frees the block at `offset`; gives its page where that is empty now.
    pub(crate) fn free_block(
        &mut self,
        memory: &Memory,
        pages: &PageMap,
        offset: u32,
    ) -> Option<Run> {
        let joined = self.space.release(memory, chunk::of_block(memory, offset));
        let page = Run { start: pages.start(offset), len: pages.page() };
        (joined == Self::inside(page)).then(|| {
            self.space.withdraw(memory, joined);
            self.starts.remove(&page.start);
            pages.set(page.start, Label::Central);
            page
        })
    }

    /// Gives up every page: labels them as the centre's, and gives the runs that are free in them. The
    /// blocks stay where they are; the caller, who holds the lock of the centre too, makes the runs free
    /// there.
    pub(crate) fn dissolve(&mut self, memory: &Memory, pages: &PageMap) -> Vec<Run> {
        let mut runs = Vec::new();
        for start in core::mem::take(&mut self.starts) {
            let page = Run { start, len: pages.page() };
            for run in self.space.runs(memory, start, page.end()) {
                self.space.withdraw(memory, run);
                runs.push(run);
            }
            runs.push(Run { start, len: 1 });
            runs.push(Run { start: page.end() - 1, len: 1 });
            pages.set(start, Label::Central);
        }
        runs
    }

    /// Lets a chunk grow in place; see [`Space::grow`].
    pub(crate) fn grow(&mut self, memory: &Memory, chunk: Run, request: &Request) -> bool {
        self.space.grow(memory, chunk, request)
    }

    /// Makes the end of a chunk free.
    pub(crate) fn release(&mut self, memory: &Memory, run: Run) {
        self.space.release(memory, run);
    }

    /// The segments' pages, in address order.
    pub(crate) fn pages(&self) -> impl Iterator<Item = u32> {
        self.starts.iter().copied()
    }

    /// The free runs of the page at `start`.
    pub(crate) fn runs(&self, memory: &Memory, start: u32, page: u32) -> Vec<Run> {
        self.space.runs(memory, start, start + page)
    }

    /// Checks the space, and that chunks and its free runs tile the stripe's pages.
    pub(crate) fn check(&self, memory: &Memory, pages: &PageMap) -> Result<(), String> {
        let (lo, hi) = memory.bounds();
        let free = self.space.check(memory, lo, hi)?;
        let mut rest = &free[..];
        for page in self.pages() {
            let label = pages.label(page);
            if label != (Label::Segment { stripe: self.stripe }) {
                return Err(format!("the page {page} of a segment is labelled {label:?}"));
            }
            let inside = Self::inside(Run { start: page, len: pages.page() });
            let (these, others) =
                rest.split_at(rest.partition_point(|run| run.start < inside.end()));
            chunk::check_tiling(memory, inside, these, |chunk, kind| match kind {
                Kind::Block => Ok(()),
                Kind::Slab | Kind::Segment => Err(format!("{kind:?} {chunk:?} is in a segment")),
            })?;
            rest = others;
        }
        match rest.first() {
            Some(run) => Err(format!("free run {run:?} of a stripe is in none of its segments")),
            None => Ok(()),
        }
    }

    /// What is between the header and the wall.
    fn inside(page: Run) -> Run {
        Run { start: page.start + 1, len: page.len - 2 }
    }
}
