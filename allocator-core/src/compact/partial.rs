//! [`Partial`]: what the survey found of a class, and in which order its slabs are emptied and filled.

use std::collections::VecDeque;

/// Degrees of fullness that the survey tells apart.
const LEVELS: usize = 8;

/// The slabs of a class that have both blocks and free cells, by fullness.
#[derive(Debug, Default)]
pub(super) struct Partial {
    /// First granules of their pages, in address order. None for most classes: these cost nothing.
    levels: Vec<VecDeque<u32>>,
    pub(super) slabs: u32,
    pub(super) used: u64,
    /// How many of them there is no need for.
    pub(super) needless: u32,
}

impl Partial {
    /// The slab to empty next: of those that lie below `bound`, and have to go from there anyway, the sparsest;
    /// after those the sparsest of all.
    pub(super) fn pop_victim(&mut self, bound: u32) -> Option<u32> {
        let below = |level: &VecDeque<u32>| level.front().is_some_and(|page| *page < bound);
        let level = self.levels.iter().position(below);
        let level = level.or_else(|| self.levels.iter().position(|level| !level.is_empty()))?;
        self.levels[level].pop_front()
    }

    /// The slab to fill next: the fullest that lies above `bound`.
    pub(super) fn pop_target_above(&mut self, bound: u32) -> Option<u32> {
        let above = |level: &&mut VecDeque<u32>| level.back().is_some_and(|page| *page >= bound);
        self.levels.iter_mut().rev().find(above)?.pop_back()
    }

    /// The fullest of all.
    pub(super) fn pop_target(&mut self) -> Option<u32> {
        self.levels.iter_mut().rev().find(|level| !level.is_empty())?.pop_back()
    }

    /// Makes a slab the next victim again.
    pub(super) fn put_back(&mut self, page: u32) {
        self.level(0).push_front(page);
    }

    /// Adds a slab with `used` of `cells` cells in use, which lies above those that were added before.
    pub(super) fn add(&mut self, page: u32, used: u32, cells: u32) {
        let level = (used as usize * LEVELS / cells as usize).min(LEVELS - 1);
        self.level(level).push_back(page);
        self.slabs += 1;
        self.used += u64::from(used);
    }

    /// A level to add something to.
    fn level(&mut self, level: usize) -> &mut VecDeque<u32> {
        self.levels.resize_with(LEVELS, VecDeque::new);
        &mut self.levels[level]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn partial(slabs: &[(u32, u32)]) -> Partial {
        let mut partial = Partial::default();
        slabs.iter().for_each(|(page, used)| partial.add(*page, *used, 80));
        partial
    }

    #[test]
    fn victims_are_sparse_and_low_targets_full_and_high() {
        let slabs = [(10, 30), (20, 5), (30, 75), (40, 6), (50, 70), (60, 31)];
        let mut victims = partial(&slabs);
        let popped: Vec<_> = std::iter::from_fn(|| victims.pop_victim(35)).collect();
        assert_eq!(popped, [20, 10, 30, 40, 60, 50]);
        let mut targets = partial(&slabs);
        let popped: Vec<_> = std::iter::from_fn(|| targets.pop_target_above(35)).collect();
        assert_eq!(popped, [50, 60, 40]);
        let popped: Vec<_> = std::iter::from_fn(|| targets.pop_target()).collect();
        assert_eq!(popped, [30, 10, 20]);
        victims.put_back(20);
        assert_eq!(victims.pop_victim(0), Some(20));
    }
}
