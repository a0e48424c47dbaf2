//! Which window to empty: the stretch of the buffer whose blocks are the fewest bytes to move.
//!
//! Looking at every block would touch all of the buffer. Free runs and slabs are few, and their sizes known: what lies
//! between them is in use. So the cost of every window that begins or ends with one of these is estimated out of sums,
//! and only the most promising ones are walked through, to learn where their blocks begin and which must stay. All blocks
//! are looked at only where none of these will do.

use super::seen::with_slabs;
use crate::block;
use crate::central::Central;
use crate::chunk::{self, Kind};
use crate::heap::Inner;
use crate::pages::Label;
use crate::placement::{Need, Run};
use crate::size_class::CLASSES;
use crate::slab::Slab;
use std::collections::{BTreeMap, HashSet, VecDeque};

/// Promising windows that are walked through.
const WALKS_MAX: usize = 16;

/// A slab as far as windows are concerned.
pub(super) struct SlabCost {
    /// Granules of its blocks.
    used: u64,
    /// The other slabs of its class have cells for them.
    fits: bool,
}

/// The slabs of the heap by the first granule of their page. O(slabs).
pub(super) fn slabs_by_page(heap: &Inner) -> BTreeMap<u32, SlabCost> {
    let classes = heap.store.shared.classes;
    let free_of =
        |slab: &Slab| u64::from(classes.geometry(usize::from(slab.class)).cells - slab.used);
    let mut seen = Vec::new();
    let mut free = [0; CLASSES];
    for stripe in 0..heap.store.stripes() {
        with_slabs(heap, stripe, |slabs| seen.extend(slabs.iter().map(|(_, slab)| slab.clone())));
    }
    seen.iter().for_each(|slab| free[usize::from(slab.class)] += free_of(slab));
    let cost = |slab: &Slab| {
        let class = usize::from(slab.class);
        let used = u64::from(slab.used);
        let fits = free[class] - free_of(slab) >= used;
        (slab.page, SlabCost { used: used * u64::from(classes.geometry(class).cell), fits })
    };
    seen.iter().map(cost).collect()
}

/// A piece of a window.
#[derive(Clone, Copy)]
struct Piece {
    run: Run,
    /// Granules that have to be moved.
    cost: u64,
    /// Granules of blocks among them, which need places of the centre.
    blocks: u64,
    free: bool,
}

/// The choice among all windows, under the lock of the centre.
pub(super) struct Choice<'a> {
    heap: &'a Inner,
    central: &'a Central,
    need: Need,
    slabs: &'a BTreeMap<u32, SlabCost>,
    /// Pieces that turned out to stay.
    avoid: &'a HashSet<u32>,
    /// Length of the largest free run.
    largest: u32,
}

impl<'a> Choice<'a> {
    pub(super) fn new(
        heap: &'a Inner,
        central: &'a Central,
        need: Need,
        slabs: &'a BTreeMap<u32, SlabCost>,
        avoid: &'a HashSet<u32>,
    ) -> Self {
        let largest = central.space.largest(heap.store.memory(), usize::MAX);
        Self { heap, central, need, slabs, avoid, largest }
    }

    /// The cheapest window that can be emptied, as far as one can see. O(n log n) for n free runs and slabs, and the
    /// chunks of some windows; O(chunks) where these will not do.
    pub(super) fn cheapest(&self) -> Option<Run> {
        let mut best: Option<(u64, Run)> = None;
        for candidate in self.promising() {
            if best.is_some_and(|(least, _)| least <= candidate.cost) {
                // Estimates are never too high.
                break;
            }
            let found = self.cheapest_of(candidate.from, candidate.enough, candidate.to);
            best = best.into_iter().chain(found).min_by_key(|(cost, _)| *cost);
        }
        let (lo, hi) = self.central.bounds();
        best.or_else(|| self.cheapest_of(lo, hi, hi)).map(|(_, window)| window)
    }

    /// The windows that begin or end with a free run or a slab and cost least by estimate, the cheapest first.
    fn promising(&self) -> Vec<Candidate> {
        let sums = self.sums();
        let (lo, hi) = self.central.bounds();
        let len = self.need.len;
        let mut candidates = Vec::new();
        for sum in &sums {
            let (start, end) = (sum.run.start, sum.run.end());
            if let Some(to) = start.checked_add(len).filter(|to| *to <= hi) {
                let (at, next) = around(&sums, to);
                let cost = at.map_or(0, |at| at.cost_to(to)) - sum.before;
                let to_end = next.map_or(hi, |next| next.run.start);
                candidates.push(Candidate { cost, from: start, enough: to, to: to_end });
            }
            if let Some(from) = end.checked_sub(len).filter(|from| *from >= lo) {
                let (at, _) = around(&sums, from);
                let (from, before) = match at {
                    // It begins inside of a free run or slab: with all of it.
                    Some(at) if from < at.run.end() => (at.run.start, at.before),
                    // Or among blocks: with the one that is there.
                    Some(at) => (at.run.end(), at.cost_to(from)),
                    None => (lo, u64::from(from - lo)),
                };
                let cost = sum.before + sum.cost - before;
                candidates.push(Candidate { cost, from, enough: end, to: end });
            }
        }
        let most = WALKS_MAX.min(candidates.len());
        if most < candidates.len() {
            candidates.select_nth_unstable_by_key(most, |candidate| candidate.cost);
        }
        candidates.truncate(most);
        candidates.sort_unstable_by_key(|candidate| candidate.cost);
        candidates
    }

    /// Free runs and slabs in address order. O(free runs + slabs).
    fn sums(&self) -> Vec<Sum> {
        let memory = self.heap.store.memory();
        let page = self.heap.store.shared.pages.page();
        let (lo, hi) = self.central.bounds();
        let free = self.central.space.runs(memory, lo, hi).into_iter().map(|run| (run, 0));
        // Some may have gone since they were counted. A page is labelled before the centre gets it back, so where the label
        // says so the chunk of a slab begins.
        let pages = &self.heap.store.shared.pages;
        let is_there = |start: u32| matches!(pages.label(start), Label::Slab { .. });
        let slabs = self.slabs.iter().filter(|(start, _)| is_there(**start));
        let slabs = slabs.map(|(start, slab)| (Run { start: *start, len: page }, slab.used));
        let mut all: Vec<(Run, u64)> = free.chain(slabs).collect();
        all.sort_unstable_by_key(|(run, _)| run.start);
        let (mut at, mut before) = (lo, 0);
        let mut sums = Vec::with_capacity(all.len());
        for (run, cost) in all {
            before += u64::from(run.start - at);
            sums.push(Sum { run, cost, before });
            before += cost;
            at = run.end();
        }
        sums
    }

    /// The cheapest window between `from` and `to`, where chunks begin, that has twice its blocks' room outside; the first that
    /// ends at `enough` or above will do. O(chunks between them).
    fn cheapest_of(&self, from: u32, enough: u32, to: u32) -> Option<(u64, Run)> {
        let mut window = VecDeque::<Piece>::new();
        let (mut cost, mut blocks, mut free) = (0, 0, 0);
        let mut best: Option<(u64, Run)> = None;
        let mut at = from;
        while at < to && !(at >= enough && best.is_some()) {
            let (run, piece) = self.piece_at(at);
            at = run.end();
            let Some(piece) = piece else {
                window.clear();
                (cost, blocks, free) = (0, 0, 0);
                continue;
            };
            window.push_back(piece);
            (cost, blocks) = (cost + piece.cost, blocks + piece.blocks);
            free += if piece.free { u64::from(piece.run.len) } else { 0 };
            // As short as it can be with this end.
            while let Some(first) = window.front().copied() {
                let rest = Run { start: first.run.end(), len: at - first.run.end() };
                if rest.len == 0 || self.need.place_low(rest).is_none() {
                    break;
                }
                window.pop_front();
                (cost, blocks) = (cost - first.cost, blocks - first.blocks);
                free -= if first.free { u64::from(first.run.len) } else { 0 };
            }
            let Some(first) = window.front() else { continue };
            let run = Run { start: first.run.start, len: at - first.run.start };
            let has_room = 2 * blocks <= self.central.space.free() - free;
            let is_cheaper = best.is_none_or(|(least, _)| cost < least);
            if has_room && is_cheaper && self.need.place_low(run).is_some() {
                best = Some((cost, run));
            }
        }
        best
    }

    /// The free run or chunk at `at`, and what it is in a window; `None` where it stays.
    fn piece_at(&self, at: u32) -> (Run, Option<Piece>) {
        let memory = self.heap.store.memory();
        if let Some(run) = self.central.space.run_at(memory, at) {
            return (run, Some(Piece { run, cost: 0, blocks: 0, free: true }));
        }
        let (run, kind) = chunk::at(memory, at).expect("chunks and free runs tile the centre");
        let len = u64::from(run.len);
        let held = || block::is_held(self.heap.store.header(run.start + chunk::HEADER));
        let (cost, blocks) = match kind {
            Kind::Slab => (self.slab_cost(run), 0),
            // What is held now may be let go, and the other way round: this is a guess, and looked at again.
            Kind::Block => ((run.len <= self.largest && !held()).then_some(len), len),
            Kind::Segment => (None, 0),
        };
        let cost = cost.filter(|_| !self.avoid.contains(&run.start));
        (run, cost.map(|cost| Piece { run, cost, blocks, free: false }))
    }

    fn slab_cost(&self, page: Run) -> Option<u64> {
        match self.slabs.get(&page.start) {
            // A slab that fits into no others of its class needs a page of its own.
            Some(slab) => (slab.fits || self.largest >= 2 * page.len).then_some(slab.used),
            // It was made just now.
            None => Some(u64::from(page.len)),
        }
    }
}

/// A window by estimate: from `from` to `enough`, and on to the end of the block there, `to` at most.
#[derive(Clone, Copy)]
struct Candidate {
    cost: u64,
    from: u32,
    enough: u32,
    to: u32,
}

/// A free run or a slab.
#[derive(Clone, Copy)]
struct Sum {
    run: Run,
    /// Granules of its blocks.
    cost: u64,
    /// Granules of all blocks below it.
    before: u64,
}

impl Sum {
    /// Granules of all blocks below `to`, which is not below the start, and not above the next free run or slab.
    fn cost_to(&self, to: u32) -> u64 {
        let inside = if to > self.run.start { self.cost } else { 0 };
        self.before + inside + u64::from(to.saturating_sub(self.run.end()))
    }
}

/// The last one that starts at or below `at`, and the next one.
fn around(sums: &[Sum], at: u32) -> (Option<&Sum>, Option<&Sum>) {
    let next = sums.partition_point(|sum| sum.run.start <= at);
    (next.checked_sub(1).map(|last| &sums[last]), sums.get(next))
}
