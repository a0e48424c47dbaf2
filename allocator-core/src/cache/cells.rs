//! [`Cells`]: what a thread keeps of one table, retired objects and pairs for the next inserts.

use crate::grace::Grace;
use crate::handle::{GENERATION_END, Handle};
use crate::raw::GRANULE;
use crate::size_class::{CLASSES, granules};
use std::collections::VecDeque;

/// Most pairs that a magazine is refilled with, or spills, at a time; and most objects of a batch.
const PAIRS_MAX: usize = if cfg!(any(loom, miri)) { 2 } else { 512 };

/// Fewest objects of a batch that is closed by count.
const BATCH_MIN: usize = if cfg!(any(loom, miri)) { 2 } else { 128 };

/// Retired bytes that make a batch.
const BATCH_BYTES: usize = 256 << 10;

/// A slot and its block, or a block alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pair {
    /// Of the block.
    pub(crate) offset: u32,
    /// The slot, or [`Pair::NO_SLOT`] where it lives on with another block.
    pub(crate) slot: u32,
    /// Of the slot's next object.
    pub(crate) generation: u32,
}

impl Pair {
    /// Stands for a slot that lives on with another block.
    pub(crate) const NO_SLOT: u32 = u32::MAX;

    /// What the object of `handle` had, whose life is over.
    #[inline(always)]
    pub(crate) fn ended<T: ?Sized>(handle: Handle<T>, offset: u32) -> Self {
        Self { offset, slot: handle.index(), generation: handle.generation() + 1 }
    }

    /// Whether another object can use both slot and block.
    pub(crate) fn is_whole(self) -> bool {
        self.slot != Self::NO_SLOT && self.generation < GENERATION_END
    }

    /// A block whose slot lives on with another one.
    pub(crate) fn bare(offset: u32) -> Self {
        Self { offset, slot: Self::NO_SLOT, generation: 0 }
    }
}

/// How much a thread keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    /// Objects that make a batch where other threads are about, whose attention a grace period costs.
    batch: usize,
    /// Pairs of each class that a magazine is refilled with at most, and spills; it holds twice as many. 0
    /// where nothing is kept.
    pairs: [u16; CLASSES],
}

impl Limits {
    /// For `bytes` of each class that is kept at all.
    pub(crate) fn new(bytes: usize, is_kept: impl Fn(usize) -> bool) -> Self {
        let pairs = |class| {
            let pairs = (bytes / room(class)).min(PAIRS_MAX);
            // A single one is not worth a refill.
            if is_kept(class) && pairs > 1 { pairs } else { 0 }
        };
        let pairs: [usize; CLASSES] = core::array::from_fn(pairs);
        let most = pairs.iter().copied().max().unwrap_or(0);
        Self { batch: most.clamp(BATCH_MIN, PAIRS_MAX), pairs: pairs.map(|pairs| pairs as u16) }
    }

    /// Objects that make a batch: few where their grace periods cost nothing, so that what was just removed is
    /// soon used again, while it is near.
    pub(crate) fn batch(&self, alone: bool) -> usize {
        if alone { BATCH_MIN } else { self.batch }
    }

    pub(crate) fn pairs(&self, class: usize) -> usize {
        usize::from(self.pairs[class])
    }

    /// Bytes of a block, where only one class is kept.
    pub(super) fn only_room(&self) -> usize {
        self.pairs.iter().position(|pairs| *pairs > 0).map_or(0, room)
    }
}

/// Bytes of a cell of `class`.
pub(super) fn room(class: usize) -> usize {
    granules(class) as usize * GRANULE
}

/// Retired objects with a grace period of their own.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) grace: Grace,
    pub(crate) objects: Retired,
}

/// Objects whose life is over, and their bytes.
#[derive(Debug, Default)]
pub(crate) struct Retired {
    pub(crate) pairs: Vec<Pair>,
    pub(crate) bytes: usize,
}

impl Retired {
    pub(crate) fn append(&mut self, mut other: Self) {
        self.pairs.append(&mut other.pairs);
        self.bytes += other.bytes;
    }
}

/// What one thread keeps of one table.
#[derive(Debug)]
pub(crate) struct Cells {
    /// Retired since the last batch was closed.
    pub(super) open: Retired,
    /// Objects that make the next batch.
    pub(super) batch: usize,
    /// Older ones, waiting for their grace periods.
    pub(super) waiting: VecDeque<Batch>,
    /// Past their grace period, left over when a drop panicked.
    pub(super) ready: Retired,
    /// Pairs that nobody sees any more, by size class. The header of each block names its slot.
    pub(super) magazines: [Vec<Pair>; CLASSES],
}

impl Default for Cells {
    fn default() -> Self {
        let magazines = core::array::from_fn(|_| Vec::new());
        let (open, ready) = (Retired::default(), Retired::default());
        Self { open, batch: BATCH_MIN, waiting: VecDeque::new(), ready, magazines }
    }
}

impl Cells {
    /// Puts an object whose life is over on the open list; whether that is a batch now.
    #[inline]
    pub(super) fn retire(&mut self, object: Pair, bytes: usize) -> bool {
        self.open.pairs.push(object);
        self.open.bytes += bytes;
        self.is_batch()
    }

    fn is_batch(&self) -> bool {
        self.open.pairs.len() >= self.batch || self.open.bytes >= BATCH_BYTES
    }

    /// Takes the open list where it is a batch, or in any case.
    pub(super) fn close_open(&mut self, always: bool) -> Option<Retired> {
        if self.open.pairs.is_empty() || !(always || self.is_batch()) {
            return None;
        }
        let pairs = Vec::with_capacity(self.batch);
        Some(core::mem::replace(&mut self.open, Retired { pairs, bytes: 0 }))
    }

    /// Takes the objects whose grace period is over.
    pub(super) fn past_grace(&mut self) -> Retired {
        let mut objects = core::mem::take(&mut self.ready);
        while self.waiting.front_mut().is_some_and(|batch| batch.grace.poll()) {
            objects.append(self.waiting.pop_front().expect("there is a first one").objects);
        }
        objects
    }

    /// Bytes of the retired objects.
    pub(super) fn retired_bytes(&self) -> usize {
        let waiting: usize = self.waiting.iter().map(|batch| batch.objects.bytes).sum();
        self.open.bytes + waiting + self.ready.bytes
    }

    /// Takes all retired objects, whatever their grace periods.
    pub(super) fn all_retired(&mut self) -> Retired {
        let mut objects = core::mem::take(&mut self.open);
        objects.append(core::mem::take(&mut self.ready));
        self.waiting.drain(..).for_each(|batch| objects.append(batch.objects));
        objects
    }

    /// Takes what the magazines hold.
    pub(super) fn empty_magazines(&mut self) -> Vec<Pair> {
        self.magazines.iter_mut().flat_map(|magazine| magazine.drain(..)).collect()
    }
}
