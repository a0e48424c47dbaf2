//! Test support: a space of granules in ordinary vectors, with an oracle beside it.
//!
//! [`Space`] does what a stripe does around a policy (split, merge, keep the map), and keeps a
//! `BTreeMap` of the free runs that the policy knows nothing of. Words of memory that is not a
//! free run's are poisoned, so a policy that reads or writes out of turn panics.

use super::{FreeMemory, Link, Need, Placement, Run};
use crate::bitmap::Bitmap;
use std::collections::BTreeMap;

/// What the words of a free run hold where nobody has written.
const POISON: u32 = u32::MAX;

/// One granule: the words that a free run keeps at its start.
#[derive(Clone, Copy)]
struct Words {
    len: u32,
    links: [u32; 2],
}

const POISONED: Words = Words { len: POISON, links: [POISON; 2] };

/// The granules `[base, base + n)`.
pub(super) struct Memory {
    base: u32,
    words: Vec<Words>,
    starts: Bitmap,
}

impl Memory {
    fn index(&self, start: u32) -> usize {
        let index = (start - self.base) as usize;
        assert!(self.starts.get(index), "{start} is not the start of a free run");
        index
    }

    fn show(&mut self, run: Run) {
        let index = (run.start - self.base) as usize;
        self.starts.set(index);
        self.words[index].len = run.len;
    }

    fn hide(&mut self, run: Run) {
        let index = self.index(run.start);
        self.starts.clear(index);
        self.words[index] = POISONED;
    }
}

impl FreeMemory for Memory {
    fn len_of(&self, start: u32) -> u32 {
        self.words[self.index(start)].len
    }

    fn link(&self, start: u32, link: Link) -> u32 {
        let to = self.words[self.index(start)].links[link as usize];
        assert_ne!(to, POISON, "{link:?} of {start} was read before it was written");
        to
    }

    fn set_link(&mut self, start: u32, link: Link, to: u32) {
        let index = self.index(start);
        self.words[index].links[link as usize] = to;
    }

    fn next_start(&self, from: u32, to: u32) -> Option<u32> {
        let end = self.base + self.words.len() as u32;
        let (from, to) = (from.clamp(self.base, end), to.clamp(self.base, end));
        let found = self.starts.next_set((from - self.base) as usize, (to - self.base) as usize)?;
        Some(self.base + found as u32)
    }
}

/// A space of granules under a policy.
pub(super) struct Space<P> {
    pub(super) memory: Memory,
    pub(super) policy: P,
    /// The oracle: free runs by start.
    free: BTreeMap<u32, u32>,
    /// The oracle: blocks, in no order.
    pub(super) live: Vec<Run>,
}

impl<P: Placement> Space<P> {
    /// A space of one free run, `all`.
    pub(super) fn new(all: Run, policy: P) -> Self {
        let granules = all.len as usize;
        let starts = Bitmap::new(granules);
        let memory = Memory { base: all.start, words: vec![POISONED; granules], starts };
        let mut space = Self { memory, policy, free: BTreeMap::new(), live: Vec::new() };
        space.release(all);
        space
    }

    /// The free runs in address order, according to the oracle.
    pub(super) fn free_runs(&self) -> impl Iterator<Item = Run> {
        self.free.iter().map(|(&start, &len)| Run { start, len })
    }

    /// Finds room and takes it at the low or the high end of the run that was found.
    pub(super) fn allocate(&mut self, need: Need, high: bool) -> Option<Run> {
        let run = self.policy.find(&self.memory, need)?;
        assert_eq!(self.free.get(&run.start), Some(&run.len), "found {run:?}, which is not free");
        let start = if high { need.place_high(run) } else { need.place_low(run) };
        let block = Run { start: start.expect("no room in the run found"), len: need.len };
        self.withdraw(run);
        let front = Run { start: run.start, len: block.start - run.start };
        let back = Run { start: block.end(), len: run.end() - block.end() };
        for rest in [front, back].into_iter().filter(|rest| rest.len != 0) {
            self.release(rest);
        }
        self.live.push(block);
        Some(block)
    }

    /// Frees the block at `index` of `live`, and merges it with its neighbours.
    pub(super) fn free(&mut self, index: usize) {
        let mut run = self.live.swap_remove(index);
        let below = self.free.range(..run.start).next_back();
        if let Some(below) = below.map(|(&start, &len)| Run { start, len }) {
            assert!(below.end() <= run.start, "{run:?} overlaps the free {below:?}");
            if below.end() == run.start {
                self.withdraw(below);
                run = Run { start: below.start, len: below.len + run.len };
            }
        }
        if let Some(&len) = self.free.get(&run.end()) {
            self.withdraw(Run { start: run.end(), len });
            run.len += len;
        }
        self.release(run);
    }

    /// The policy's own check against the oracle, and what it says of the largest run.
    pub(super) fn check(&self) {
        let runs: Vec<Run> = self.free_runs().collect();
        self.policy.check(&self.memory, &runs).expect("the index has an error");
        let largest = runs.iter().map(|run| run.len).max().unwrap_or(0);
        assert_eq!(self.policy.largest(&self.memory, usize::MAX), largest);
    }

    /// Blocks and free runs fill the space without overlap, and no two free runs touch.
    pub(super) fn check_tiling(&self) {
        let mut all: Vec<(Run, bool)> = self.free_runs().map(|run| (run, true)).collect();
        all.extend(self.live.iter().map(|run| (*run, false)));
        all.sort_by_key(|(run, _)| run.start);
        let mut end = self.memory.base;
        let mut after_free = false;
        for (run, free) in all {
            assert_eq!(run.start, end, "a gap or an overlap at {run:?}");
            assert!(!(free && after_free), "{run:?} was not merged");
            (end, after_free) = (run.end(), free);
        }
        assert_eq!(end, self.memory.base + self.memory.words.len() as u32);
    }

    fn release(&mut self, run: Run) {
        self.free.insert(run.start, run.len);
        self.memory.show(run);
        self.policy.insert(&mut self.memory, run);
    }

    fn withdraw(&mut self, run: Run) {
        self.policy.remove(&mut self.memory, run);
        self.memory.hide(run);
        self.free.remove(&run.start);
    }
}

/// A space of the granules `[1, granules)`: granule 0 is never free.
pub(super) fn space_of<P: Placement>(granules: u32, policy: P) -> Space<P> {
    Space::new(Run { start: 1, len: granules - 1 }, policy)
}

/// A need of `len` granules anywhere.
pub(super) fn need(len: u32) -> Need {
    Need { len, align: 1, skew: 0 }
}

/// Pseudo-random numbers (Marsaglia's xorshift, 2003), the same in every run.
#[cfg(not(miri))]
pub(super) struct Random(pub(super) u64);

#[cfg(not(miri))]
impl Random {
    /// A number in `[0, below)`, where `below` is far smaller than 2⁶⁴.
    pub(super) fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 16) % below as u64) as usize
    }
}
