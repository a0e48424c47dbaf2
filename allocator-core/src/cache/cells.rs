//! [`Cells`]: what a thread keeps of one table, retired objects and pairs for the next inserts.

use super::counters::{Counters, get, set, set_taken};
use super::hands::InHand;
use crate::grace::Grace;
use crate::handle::GENERATION_END;
use crate::size_class::{CLASSES, room};
use crate::slot::Snapshot;
use std::collections::VecDeque;

/// Most pairs of a class that count as what a thread keeps; a magazine holds three times as many.
const PAIRS_MAX: usize = if cfg!(any(loom, miri)) { 2 } else { 1024 };

/// Most objects of a batch: twice what a thread keeps, so that a magazine holds it beside the rest.
const BATCH_MAX: usize = if cfg!(any(loom, miri)) { 2 } else { 2 * PAIRS_MAX };

/// Fewest objects of a batch that is closed by count.
const BATCH_MIN: usize = if cfg!(any(loom, miri)) { 2 } else { 128 };

/// Retired bytes that make a batch.
const BATCH_BYTES: usize = 256 << 10;

/// A slot and its block, or a block alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pair {
    /// The word of the slot while it is vacant: its next generation, and the offset of the block.
    pub(crate) word: Snapshot,
    /// The slot, or [`Pair::NO_SLOT`] where it lives on with another block.
    pub(crate) slot: u32,
}

impl Pair {
    /// Stands for a slot that lives on with another block.
    pub(crate) const NO_SLOT: u32 = u32::MAX;

    /// `generation` is that of the slot's next object.
    pub(crate) fn new(slot: u32, generation: u32, offset: u32) -> Self {
        Self { word: Snapshot::vacant(generation, offset), slot }
    }

    /// A block whose slot lives on with another one.
    pub(crate) fn bare(offset: u32) -> Self {
        Self::new(Self::NO_SLOT, 0, offset)
    }

    /// Of the block.
    #[inline(always)]
    pub(crate) fn offset(self) -> u32 {
        self.word.offset()
    }

    /// Of the slot's next object.
    #[inline(always)]
    pub(crate) fn generation(self) -> u32 {
        self.word.generation()
    }

    /// Whether another object can use both slot and block.
    pub(crate) fn is_whole(self) -> bool {
        self.slot != Self::NO_SLOT && self.generation() < GENERATION_END
    }

    /// Whether that is so for all of them.
    pub(crate) fn are_whole(pairs: &[Self]) -> bool {
        // Sums of 32-bit numbers that overflow for a pair which is not whole. No comparison, and no way out of the
        // loop: it takes a third of the instructions.
        const BELOW: u64 = (1 << 32) - ((GENERATION_END as u64) << 2);
        let overflow = |pair: &Self| (u64::from(pair.slot) + 1) | ((pair.word.0 >> 32) + BELOW);
        pairs.iter().fold(0, |all, pair| all | overflow(pair)) >> 32 == 0
    }
}

/// How much a thread keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    /// Bytes of each object; `None` where each has its own.
    object: Option<usize>,
    /// Objects that make a batch where a grace period is cheap, and where it interrupts other threads.
    batch: [usize; 2],
    /// Pairs of each class that count as what a thread keeps. A magazine holds three times as many, and two thirds
    /// stay in one that spills. 0 where nothing is kept.
    pairs: [u16; CLASSES],
}

impl Limits {
    /// For `bytes` of each of the classes `kept`, and objects of a size.
    pub(crate) fn new(
        bytes: usize,
        object: Option<usize>,
        kept: impl Iterator<Item = usize>,
    ) -> Self {
        let mut pairs = [0; CLASSES];
        let mut most = 0;
        for class in kept {
            let count = (bytes / room(class)).min(PAIRS_MAX);
            // A single one is not worth a refill.
            if count > 1 {
                pairs[class] = count as u16;
                most = most.max(count);
            }
        }
        let most_bytes = object.map_or(BATCH_MAX, |object| (BATCH_BYTES / object.max(1)).max(1));
        let batch = [BATCH_MIN, (2 * most).clamp(BATCH_MIN, BATCH_MAX)].map(|n| n.min(most_bytes));
        Self { object, batch, pairs }
    }

    /// Objects that make a batch: few where their grace periods cost nothing, so that what was just removed is
    /// soon used again, while it is near.
    pub(super) fn batch(&self, is_quiet: bool) -> usize {
        self.batch[usize::from(!is_quiet)]
    }

    pub(crate) fn pairs(&self, class: usize) -> usize {
        usize::from(self.pairs[class])
    }

    /// Bytes of each object, where all have as many.
    pub(super) fn object(&self) -> Option<usize> {
        self.object
    }

    /// The only class that is kept, where objects are of one size.
    pub(super) fn only_class(&self) -> Option<usize> {
        self.object.and_then(|_| self.pairs.iter().position(|pairs| *pairs > 0))
    }
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
    fn append(&mut self, mut other: Self) {
        if self.pairs.is_empty() {
            core::mem::swap(self, &mut other);
        }
        self.pairs.append(&mut other.pairs);
        self.bytes += other.bytes;
    }
}

/// What one thread keeps of one table. The first pairs of a buffer are in use, as many as a counter says.
#[derive(Debug)]
pub(super) struct Cells {
    /// Retired since the last batch was closed. Full when it is a batch.
    open: Box<[Pair]>,
    /// Objects that make the next batch; 0 before the first one.
    batch: usize,
    /// For the next batch: the buffer of an old one, or nothing.
    spare: Box<[Pair]>,
    /// Older ones, waiting for their grace periods.
    pub(super) waiting: VecDeque<Batch>,
    /// Past their grace period, left over when a drop panicked.
    ready: Retired,
    /// Pairs that nobody sees any more, where all objects are of one size. The header of each block names its slot.
    magazine: Box<[Pair]>,
    /// The same by size class, in the table of raw blocks.
    by_class: Box<[Vec<Pair>]>,
}

impl Cells {
    pub(super) fn new(limits: &Limits) -> Self {
        // Only raw blocks are of many classes.
        let classes = if limits.object.is_some() { 0 } else { CLASSES };
        Self {
            open: Box::default(),
            spare: Box::default(),
            batch: 0,
            waiting: VecDeque::new(),
            ready: Retired::default(),
            magazine: Box::default(),
            by_class: vec![Vec::new(); classes].into_boxed_slice(),
        }
    }
}

/// Access to a cache.
pub(crate) struct Inside<'c> {
    pub(super) cells: &'c mut Cells,
    pub(super) counters: &'c Counters,
    pub(super) limits: &'c Limits,
}

impl Inside<'_> {
    /// An object begins its life, in a pair from elsewhere.
    pub(crate) fn begin(&mut self) {
        self.counters.add_balance(1);
    }

    /// An object ended its life and was not retired.
    pub(crate) fn end(&mut self) {
        self.counters.add_balance(-1);
    }

    /// Takes a pair for an object that begins its life, in a table whose objects are of one size.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Option<Pair> {
        let left = get(&self.counters.magazine).wrapping_sub(1);
        let pair = *self.cells.magazine.get(left)?;
        set(&self.counters.magazine, left);
        Some(pair)
    }

    /// The same in the table of raw blocks.
    #[inline(always)]
    pub(crate) fn take_of(&mut self, class: usize) -> Option<Pair> {
        let pair = self.cells.by_class[class].pop()?;
        set(&self.counters.by_class, get(&self.counters.by_class) - 1);
        Some(pair)
    }

    /// Retires an object that ended its life, of a table whose objects are of one size; whether a batch is full.
    /// `None` where there is no room for it.
    #[inline(always)]
    pub(super) fn try_retire(&mut self, object: Pair) -> Option<bool> {
        let len = get(&self.counters.open);
        *self.cells.open.get_mut(len)? = object;
        set(&self.counters.open, len + 1);
        Some(len + 1 == self.cells.open.len())
    }

    /// The same in the table of raw blocks.
    #[inline(always)]
    pub(super) fn try_retire_of(&mut self, object: Pair, bytes: usize) -> Option<bool> {
        let is_batch = self.try_retire(object)?;
        let bytes = get(&self.counters.open_bytes) + bytes;
        set(&self.counters.open_bytes, bytes);
        Some(is_batch || bytes >= BATCH_BYTES)
    }

    /// Retires an object that ended its life, and makes room for it. `bytes` are those of its block.
    pub(crate) fn retire(&mut self, object: Pair, bytes: usize) -> bool {
        let len = get(&self.counters.open);
        if len == self.cells.open.len() {
            // There is no buffer yet, or it is full because its batch could not be closed.
            let mut pairs = Vec::from(core::mem::take(&mut self.cells.open));
            pairs.resize(len + self.batch(), Pair::bare(0));
            self.cells.open = pairs.into_boxed_slice();
        }
        self.try_retire_of(object, bytes).expect("there is room now")
    }

    /// Objects that make a batch.
    fn batch(&self) -> usize {
        if self.cells.batch == 0 { self.limits.batch(true) } else { self.cells.batch }
    }

    /// The bytes of `count` objects from the open list.
    fn open_bytes(&self) -> usize {
        match self.limits.object {
            Some(object) => object * get(&self.counters.open),
            None => get(&self.counters.open_bytes),
        }
    }

    /// Takes the open list where it is a batch, or in any case; it stays counted.
    pub(crate) fn close_open(&mut self, always: bool, _in_hand: &InHand<'_>) -> Option<Retired> {
        let (len, bytes) = (get(&self.counters.open), self.open_bytes());
        let is_batch = len >= self.batch() || bytes >= BATCH_BYTES;
        if len == 0 || !(always || is_batch) {
            return None;
        }
        let pairs = if 2 * len < self.cells.open.len() {
            self.cells.open[..len].to_vec()
        } else {
            let spare = core::mem::take(&mut self.cells.spare);
            let buffer = if spare.len() == self.batch() {
                spare
            } else {
                vec![Pair::bare(0); self.batch()].into_boxed_slice()
            };
            let mut pairs = Vec::from(core::mem::replace(&mut self.cells.open, buffer));
            pairs.truncate(len);
            pairs
        };
        // First counted there, then no longer here: whoever looks finds them.
        self.counters.add_closed(len, bytes);
        set(&self.counters.open_bytes, 0);
        set_taken(&self.counters.open, 0);
        self.counters.add_balance(-(len as isize));
        Some(Retired { pairs, bytes })
    }

    /// Keeps the buffer of a batch for another one.
    pub(crate) fn reuse(&mut self, buffer: Vec<Pair>) {
        if buffer.len() == buffer.capacity() {
            self.cells.spare = buffer.into_boxed_slice();
        }
    }

    /// Puts a batch behind the others.
    pub(crate) fn wait(&mut self, batch: Batch) {
        self.cells.batch = self.limits.batch(batch.grace.is_quiet());
        self.cells.waiting.push_back(batch);
    }

    /// Whether the grace period of some retired objects is over.
    pub(crate) fn is_ready(&mut self) -> bool {
        let is_over = |batch: &mut Batch| batch.grace.poll();
        !self.cells.ready.pairs.is_empty() || self.cells.waiting.front_mut().is_some_and(is_over)
    }

    /// Takes the retired objects whose grace period is over.
    pub(crate) fn past_grace(&mut self, _in_hand: &InHand<'_>) -> Retired {
        let mut objects = core::mem::take(&mut self.cells.ready);
        let waiting = &mut self.cells.waiting;
        while waiting.front_mut().is_some_and(|batch| batch.grace.poll()) {
            objects.append(waiting.pop_front().expect("there is a first one").objects);
        }
        self.counters.sub_closed(objects.pairs.len(), objects.bytes);
        objects
    }

    /// Takes all retired objects, whatever their grace periods.
    pub(crate) fn all_retired(&mut self, in_hand: &InHand<'_>) -> Retired {
        let mut objects = self.close_open(true, in_hand).unwrap_or_default();
        objects.append(core::mem::take(&mut self.cells.ready));
        self.cells.waiting.drain(..).for_each(|batch| objects.append(batch.objects));
        self.counters.sub_closed(objects.pairs.len(), objects.bytes);
        objects
    }

    /// Puts retired objects back that nobody sees any more.
    pub(crate) fn put_back(&mut self, objects: Retired) {
        self.counters.add_closed(objects.pairs.len(), objects.bytes);
        self.cells.ready.append(objects);
    }

    /// Keeps pairs that nobody sees any more, the last of them first in line, in a table whose objects are of one size.
    /// Gives what has to leave the magazine for that.
    pub(crate) fn keep(&mut self, class: usize, pairs: &[Pair]) -> Vec<Pair> {
        let spilled = self.keep_in_order(self.limits.pairs(class), pairs);
        self.counters.add_balance(pairs.len() as isize - spilled.len() as isize);
        spilled
    }

    /// The same for one pair in the table of raw blocks.
    pub(crate) fn keep_of(&mut self, class: usize, pair: Pair, spilled: &mut Vec<Pair>) {
        let most = self.limits.pairs(class);
        let magazine = &mut self.cells.by_class[class];
        let before = magazine.len();
        magazine.push(pair);
        if magazine.len() > 3 * most {
            spilled.extend(magazine.drain(..most));
        }
        let change = magazine.len() as isize - before as isize;
        set(&self.counters.by_class, get(&self.counters.by_class).wrapping_add_signed(change));
        self.counters.add_balance(change);
    }

    /// The oldest leave the magazine: what was used last is still near.
    fn keep_in_order(&mut self, most: usize, pairs: &[Pair]) -> Vec<Pair> {
        let magazine = &mut self.cells.magazine;
        if magazine.is_empty() {
            *magazine = vec![Pair::bare(0); 3 * most].into_boxed_slice();
        }
        let len = get(&self.counters.magazine);
        if let Some(room) = magazine.get_mut(len..len + pairs.len()) {
            room.copy_from_slice(pairs);
            set(&self.counters.magazine, len + pairs.len());
            return Vec::new();
        }
        let all = [&magazine[..len], pairs].concat();
        let (spilled, kept) = all.split_at(all.len() - 2 * most);
        magazine[..kept.len()].copy_from_slice(kept);
        set(&self.counters.magazine, kept.len());
        spilled.to_vec()
    }

    /// Bytes of the blocks in magazines.
    pub(super) fn cached_bytes(&self) -> usize {
        let by_class = self.cells.by_class.iter().map(Vec::len).enumerate();
        let only = self.limits.only_class().map(|class| (class, get(&self.counters.magazine)));
        by_class.chain(only).map(|(class, pairs)| pairs * room(class)).sum()
    }

    /// Takes up to `most` pairs of what the magazines hold.
    pub(crate) fn empty_some(&mut self, most: usize, _in_hand: &InHand<'_>) -> Vec<Pair> {
        let held = get(&self.counters.magazine);
        let left = held.saturating_sub(most);
        let mut pairs = self.cells.magazine[left..held].to_vec();
        set_taken(&self.counters.magazine, left);
        let of_classes = pairs.len();
        for magazine in &mut self.cells.by_class {
            let left = magazine.len().saturating_sub(most - pairs.len());
            pairs.extend(magazine.drain(left..));
        }
        let of_classes = pairs.len() - of_classes;
        set_taken(&self.counters.by_class, get(&self.counters.by_class) - of_classes);
        self.counters.add_balance(-(pairs.len() as isize));
        pairs
    }

    /// Takes what the magazines hold.
    pub(crate) fn empty(&mut self, _in_hand: &InHand<'_>) -> Vec<Pair> {
        // With their buffers: who wants all of that back wants memory.
        let mut pairs = Vec::from(core::mem::take(&mut self.cells.magazine));
        pairs.truncate(get(&self.counters.magazine));
        for magazine in &mut self.cells.by_class {
            pairs.append(&mut core::mem::take(magazine));
        }
        set_taken(&self.counters.magazine, 0);
        set_taken(&self.counters.by_class, 0);
        self.counters.add_balance(-(pairs.len() as isize));
        self.cells.spare = Box::default();
        pairs
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::cache::Hands;
    use std::hash::{DefaultHasher, Hasher};

    #[test]
    fn one_pair_that_is_not_whole_is_found_among_others() {
        let last = GENERATION_END - 1;
        let whole = [Pair::new(0, 0, u32::MAX), Pair::new(u32::MAX - 1, last, 0)];
        let odd = [Pair::bare(5), Pair::new(0, GENERATION_END, 7), Pair::new(u32::MAX, 3, 7)];
        assert!(whole.iter().all(|pair| pair.is_whole()) && Pair::are_whole(&whole.repeat(9)));
        for odd in odd {
            assert!(!odd.is_whole());
            for place in 0..7 {
                let mut pairs = whole.repeat(3);
                pairs.insert(place, odd);
                assert!(!Pair::are_whole(&pairs), "{odd:?} at {place}");
            }
        }
    }

    /// Does `f` inside a cache of raw blocks of two classes, which keeps `most` of each.
    fn inside<R>(most: usize, f: impl FnOnce(&mut Inside<'_>) -> R) -> R {
        let classes = [0, 1];
        let mut limits = Limits::new(0, None, classes.into_iter());
        classes.iter().for_each(|class| limits.pairs[*class] = most as u16);
        let (mut cells, counters) = (Cells::new(&limits), Counters::default());
        f(&mut Inside { cells: &mut cells, counters: &counters, limits: &limits })
    }

    #[test]
    fn no_more_is_taken_than_asked_for() {
        inside(4, |cache| {
            let mut spilled = Vec::new();
            for slot in 0..12 {
                cache.keep_of(slot as usize % 2, Pair::new(slot, 1, slot), &mut spilled);
            }
            for (most, left) in [(8, 4), (3, 1), (3, 0)] {
                let before = cache.counters.cached();
                let taken = cache.empty_some(most, &Hands::default().take());
                assert_eq!(taken.len(), most.min(before));
                assert_eq!(cache.counters.cached(), left);
            }
            assert_eq!((spilled.len(), cache.counters.live()), (0, 0));
        });
    }

    #[test]
    fn what_was_kept_first_is_spilled_first() {
        inside(4, |cache| {
            let mut spilled = Vec::new();
            for slot in 0..13 {
                cache.keep_of(1, Pair::new(slot, 1, slot), &mut spilled);
            }
            assert!(spilled.iter().map(|pair| pair.slot).eq(0..4));
            let taken = core::iter::from_fn(|| cache.take_of(1));
            assert!(taken.map(|pair| pair.slot).eq((4..13).rev()));
        });
    }

    #[test]
    fn a_pair_that_was_away_meanwhile_makes_another_version() {
        let limits = Limits::new(1 << 10, Some(64), [0].into_iter());
        let (mut cells, counters) = (Cells::new(&limits), Counters::default());
        let mut cache = Inside { cells: &mut cells, counters: &counters, limits: &limits };
        let version = || {
            let mut version = DefaultHasher::new();
            counters.tell_version(&mut version);
            version.finish()
        };
        cache.keep(0, &[Pair::new(1, 1, 1), Pair::new(2, 1, 2)]);
        let mut versions = vec![version()];
        for _ in 0..10 {
            let pair = cache.take().unwrap();
            assert!(cache.keep(0, &[pair]).is_empty());
            assert!(!versions.contains(&version()), "{versions:?}");
            versions.push(version());
        }
    }
}
