//! [`Space`]: free runs with boundary tags, joined at once when neighbours are free.
//!
//! A free run carries its length in its first granule and again in its last one (the boundary tags of
//! Knuth, TAOCP vol. 1, 2.5, algorithm C), so both neighbours of a block that is freed are found in O(1).
//! Which granules are such ends is kept in two bitmaps beside the buffer, so blocks that are in use need
//! no tag, a stale plan can be checked before it is trusted, and the heap can be walked.
//!
//! ```text
//! first granule of a free run                 last granule
//! +--------+--------+--------+--------+       +--------+--------+--------+--------+
//! | length | next   | prev   |        |  ...  |        |        |        | length |
//! +--------+--------+--------+--------+       +--------+--------+--------+--------+
//! ```
//!
//! Where a block goes is the business of the placement policy.

use crate::bitmap::Bitmap;
use crate::chunk;
use crate::placement::{AnyPlacement, FreeMemory, Link, Need, Placement, Run};
use crate::raw::Memory;
use crate::stripe::Request;

const LENGTH: usize = 0;
const NEXT: usize = 1;
const PREV: usize = 2;
const FOOTER: usize = 3;

/// From which end of a free run a block is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// Blocks: the lowest place of the run.
    Low,
    /// Pages of slabs and segments: the highest place, so that the two kinds grow towards each other.
    High,
}

/// Free runs of one owner (the heap's centre, or a stripe), behind that owner's lock.
pub(crate) struct Space {
    /// First granules of the free runs.
    first: Bitmap,
    /// Last granules of the free runs.
    last: Bitmap,
    placement: AnyPlacement,
    /// Free granules.
    free: u64,
}

impl core::fmt::Debug for Space {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Space").field("free", &self.free).finish_non_exhaustive()
    }
}

/// The tags of the free runs, for the policy.
struct Tags<'a> {
    memory: &'a Memory,
    first: &'a Bitmap,
}

impl FreeMemory for Tags<'_> {
    fn len_of(&self, start: u32) -> u32 {
        debug_assert!(self.first.get(start as usize), "no free run starts at {start}");
        self.memory.word(start, LENGTH)
    }

    fn link(&self, start: u32, link: Link) -> u32 {
        self.memory.word(start, if link == Link::Next { NEXT } else { PREV })
    }

    fn set_link(&mut self, start: u32, link: Link, to: u32) {
        debug_assert!(self.first.get(start as usize), "no free run starts at {start}");
        self.memory.set_word(start, if link == Link::Next { NEXT } else { PREV }, to);
    }

    fn next_start(&self, from: u32, to: u32) -> Option<u32> {
        self.first.next_set(from as usize, to as usize).map(|start| start as u32)
    }
}

impl Space {
    /// An empty space for offsets below `granules`.
    pub(crate) fn new(granules: u32, placement: AnyPlacement) -> Self {
        let bits = granules as usize + 1;
        Self { first: Bitmap::new(bits), last: Bitmap::new(bits), placement, free: 0 }
    }

    /// Free granules.
    pub(crate) fn free(&self) -> u64 {
        self.free
    }

    /// Length of the largest free run among `looks` that are nearly as long. Cost of the policy's `largest`.
    pub(crate) fn largest(&self, memory: &Memory, looks: usize) -> u32 {
        self.placement.largest(&Tags { memory, first: &self.first }, looks)
    }

    /// Takes a place for `need` out of a free run that the policy picks. Cost of the policy, plus O(1).
    pub(crate) fn allocate(&mut self, memory: &Memory, need: Need, end: End) -> Option<Run> {
        let run = self.find(memory, need)?;
        let start = match end {
            End::Low => need.place_low(run),
            End::High => need.place_high(run),
        }?;
        let taken = Run { start, len: need.len };
        self.claim(memory, run, taken);
        Some(taken)
    }

    /// The free run that the policy picks for `need`. Cost of the policy.
    pub(crate) fn find(&self, memory: &Memory, need: Need) -> Option<Run> {
        self.placement.find(&Tags { memory, first: &self.first }, need)
    }

    /// Takes `taken` out of the free run `run`, which stays free on both sides of it.
    pub(crate) fn claim(&mut self, memory: &Memory, run: Run, taken: Run) {
        debug_assert!(run.start <= taken.start && taken.end() <= run.end());
        self.withdraw(memory, run);
        if taken.start > run.start {
            self.add(memory, Run { start: run.start, len: taken.start - run.start });
        }
        if taken.end() < run.end() {
            self.add(memory, Run { start: taken.end(), len: run.end() - taken.end() });
        }
    }

    /// Makes a run free and joins it with its free neighbours. O(1) plus the policy; gives the joined run.
    pub(crate) fn release(&mut self, memory: &Memory, run: Run) -> Run {
        let mut joined = run;
        if let Some(before) = self.run_before(memory, run.start) {
            self.withdraw(memory, before);
            joined = Run { start: before.start, len: before.len + joined.len };
        }
        if let Some(after) = self.run_at(memory, run.end()) {
            self.withdraw(memory, after);
            joined.len += after.len;
        }
        self.add(memory, joined);
        joined
    }

    /// Lets the used chunk grow as far as `request` needs it where the space behind it is free; false where it is
    /// not. O(1) plus the policy.
    pub(crate) fn grow(&mut self, memory: &Memory, chunk: Run, request: &Request) -> bool {
        let len = request.need.len;
        let more = len - chunk.len;
        let Some(run) = self.run_at(memory, chunk.end()).filter(|run| run.len >= more) else {
            return false;
        };
        self.claim(memory, run, Run { start: run.start, len: more });
        chunk::set_block(memory, Run { start: chunk.start, len }, request.bytes);
        true
    }

    /// Gives pages of the maps of the ends of free runs that are clear back to the system: `most` pages from number `from`
    /// on are looked at. Gives where to go on, and whether that was the end. O(most).
    pub(crate) fn release_maps(&mut self, from: u32, most: u32) -> (u32, bool) {
        let pages = from as usize..from.saturating_add(most) as usize;
        let done = [&mut self.first, &mut self.last].map(|map| map.release_clear(pages.clone()));
        (from.saturating_add(most), done.iter().all(|done| *done))
    }

    /// The free run that ends just before `at`.
    pub(crate) fn run_before(&self, memory: &Memory, at: u32) -> Option<Run> {
        let last = at - 1;
        self.last.get(last as usize).then(|| {
            let len = memory.word(last, FOOTER);
            Run { start: at - len, len }
        })
    }

    /// The free run that starts at `at`.
    pub(crate) fn run_at(&self, memory: &Memory, at: u32) -> Option<Run> {
        self.first.get(at as usize).then(|| Run { start: at, len: memory.word(at, LENGTH) })
    }

    /// The first free run that starts in `from..to`. O(distance / 262,144).
    pub(crate) fn next_run(&self, memory: &Memory, from: u32, to: u32) -> Option<Run> {
        let start = self.first.next_set(from as usize, to as usize)?;
        self.run_at(memory, start as u32)
    }

    /// The last free run that ends in `down_to..from`. O(distance / 262,144).
    pub(crate) fn previous_run(&self, memory: &Memory, from: u32, down_to: u32) -> Option<Run> {
        let last = self.last.prev_set(from.checked_sub(1)? as usize, down_to as usize)?;
        self.run_before(memory, last as u32 + 1)
    }

    /// Where the last free run that starts at or before `at` starts.
    pub(crate) fn previous_start(&self, at: u32) -> Option<u32> {
        self.first.prev_set(at as usize, 0).map(|start| start as u32)
    }

    /// All free runs in address order.
    pub(crate) fn runs(&self, memory: &Memory, lo: u32, hi: u32) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut at = lo;
        while let Some(run) = self.next_run(memory, at, hi) {
            runs.push(run);
            if run.len == 0 || run.len > hi - run.start {
                // Overwritten; `check` says so.
                break;
            }
            at = run.end();
        }
        runs
    }

    /// Checks tags, joins, counts and the policy's index. Visits every free run.
    pub(crate) fn check(&self, memory: &Memory, lo: u32, hi: u32) -> Result<Vec<Run>, String> {
        let runs = self.runs(memory, lo, hi);
        let mut free = 0;
        let mut end = 0;
        for run in &runs {
            if run.len == 0 || run.start < end || run.len > hi - run.start {
                return Err(format!("free run {run:?} overlaps its neighbour or the edge"));
            }
            if run.start == end && end != 0 {
                return Err(format!("free run {run:?} was not joined with the one before it"));
            }
            let footer = memory.word(run.end() - 1, FOOTER);
            if footer != run.len || !self.last.get(run.end() as usize - 1) {
                return Err(format!("free run {run:?} ends with the tag {footer}"));
            }
            free += u64::from(run.len);
            end = run.end();
        }
        let ends = self.last.count_range(0, hi as usize);
        if free != self.free || ends != runs.len() {
            return Err(format!(
                "{free} free granules in {} runs; {} and {ends} were counted",
                runs.len(),
                self.free
            ));
        }
        self.placement.check(&Tags { memory, first: &self.first }, &runs)?;
        Ok(runs)
    }

    fn add(&mut self, memory: &Memory, run: Run) {
        memory.set_word(run.start, LENGTH, run.len);
        memory.set_word(run.end() - 1, FOOTER, run.len);
        self.first.set(run.start as usize);
        self.last.set(run.end() as usize - 1);
        self.free += u64::from(run.len);
        self.placement.insert(&mut Tags { memory, first: &self.first }, run);
    }

    /// Takes a whole free run out.
    pub(crate) fn withdraw(&mut self, memory: &Memory, run: Run) {
        self.placement.remove(&mut Tags { memory, first: &self.first }, run);
        self.first.clear(run.start as usize);
        self.last.clear(run.end() as usize - 1);
        self.free -= u64::from(run.len);
    }
}
