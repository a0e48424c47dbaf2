//! Tables: arrays of slots, each naming one block of the heap.
//!
//! A table belongs to one typed pool, or to the raw blocks of the heap. Whatever a handle says, a look-up
//! in a table can only find an object of that table, so a forged or foreign handle is never type confusion.
//!
//! * this file: the slots, how they are handed out and taken back;
//! * `view.rs`: [`Table`], the face for typed pools: reserve, publish, locate, retire, hold, swap;
//! * `retire.rs`: retired objects, from their end of life until their block is free;
//! * `take.rs`: taking a value out.

mod retire;
mod take;
mod view;

pub(crate) use retire::{Effort, Retired};
pub use view::{Hold, Replacement, Reservation, Table, TableGuard, TableSpec};

use crate::block::Owner;
use crate::blocks::Size;
use crate::handle::{GENERATION_END, Handle};
use crate::heap::Inner;
use crate::raw::WordArray;
use crate::slot::{self, Snapshot};
use crate::stripe::{Request, home};
use crate::sync::atomic::{AtomicBool, AtomicIsize, AtomicU32, AtomicU64, Ordering};
use crate::sync::{Arc, Mutex, RwLock};
use core::num::NonZeroUsize;
use crossbeam_utils::CachePadded;
use retire::Retirement;

/// "No slot": the end of a list of vacant slots.
const NONE: u32 = u32::MAX;

/// Slots that a shard takes from the table's end at a time.
const FRESH_BATCH: u32 = if cfg!(any(loom, miri)) { 2 } else { 64 };

/// Drops an object in place.
pub(crate) type DropFn = unsafe fn(*mut u8);

/// The slots of one pool, or of the heap's raw blocks.
#[derive(Debug)]
pub(crate) struct Slots {
    /// Number of the table in its heap; never 0.
    id: u16,
    words: WordArray,
    /// Number of slots there can be.
    limit: u32,
    /// Generation of a slot's first object: a base of the table's own, so that another table's handle is
    /// refused in practice even where its index fits.
    first_generation: u32,
    /// Slots from here on were never used.
    fresh: AtomicU32,
    shards: Box<[CachePadded<Shard>]>,
    /// Retired objects that are pinned.
    held: Mutex<Vec<Retired>>,
    /// The pool is gone; the last pin of an object drops it.
    closed: AtomicBool,
    /// What each object asks of the store; `None` in the table of raw blocks.
    request: Option<Request>,
    /// Bytes of each object; 0 in the table of raw blocks.
    bytes: usize,
    drop: Option<DropFn>,
    /// Size and alignment of each raw block (`blocks.rs`).
    sizes: Option<WordArray>,
}

/// A slot without an object, and the generation of its next one. Dropping it hands the slot back.
#[derive(Debug)]
pub(crate) struct TakenSlot<'a> {
    slots: &'a Slots,
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl TakenSlot<'_> {
    /// The slot is the caller's from now on.
    pub(crate) fn keep(self) -> (u32, u32) {
        let this = core::mem::ManuallyDrop::new(self);
        (this.index, this.generation)
    }
}

impl Drop for TakenSlot<'_> {
    fn drop(&mut self) {
        self.slots.return_slot(self.index, self.generation);
    }
}

/// One lock's worth of a table's slots.
#[derive(Debug)]
struct Shard {
    vacant: Mutex<Vacant>,
    retirement: Retirement,
    /// Objects put in minus objects ended by threads at home here; only the sum over shards means anything.
    live: AtomicIsize,
}

/// Slots that can be handed out.
#[derive(Debug)]
struct Vacant {
    /// Head of the list that runs through the offset halves of vacant words.
    head: u32,
    /// Fresh slots that the shard took.
    fresh: core::ops::Range<u32>,
}

/// What makes up a table.
#[derive(Debug)]
pub(crate) struct SlotsConfig {
    pub(crate) limit: u32,
    pub(crate) shards: usize,
    pub(crate) request: Option<Request>,
    pub(crate) bytes: usize,
    pub(crate) drop: Option<DropFn>,
}

impl Slots {
    fn new(id: u16, salt: u64, config: SlotsConfig) -> Option<Self> {
        let shard = |_| {
            CachePadded::new(Shard {
                vacant: Mutex::new(Vacant { head: NONE, fresh: 0..0 }),
                retirement: Retirement::default(),
                live: AtomicIsize::new(0),
            })
        };
        let raw = config.request.is_none();
        Some(Self {
            id,
            words: WordArray::new(config.limit as usize)?,
            limit: config.limit,
            first_generation: spread(salt),
            fresh: AtomicU32::new(0),
            shards: (0..config.shards).map(shard).collect(),
            held: Mutex::new(Vec::new()),
            closed: AtomicBool::new(false),
            request: config.request,
            bytes: config.bytes,
            drop: config.drop,
            sizes: if raw { Some(WordArray::new(config.limit as usize)?) } else { None },
        })
    }

    pub(crate) fn owner(&self, slot: u32) -> Owner {
        Owner { table: self.id, slot }
    }

    /// The word of a slot; `None` out of bounds.
    #[inline]
    pub(crate) fn word<T: ?Sized>(&self, handle: Handle<T>) -> Option<&AtomicU64> {
        (handle.index() < self.limit).then(|| self.words.get(handle.index()))
    }

    /// The word of a slot that is known to exist.
    #[inline]
    pub(crate) fn word_at(&self, slot: u32) -> Option<&AtomicU64> {
        (slot < self.limit).then(|| self.words.get(slot))
    }

    /// Size and alignment of a raw block.
    pub(crate) fn size_word(&self, slot: u32) -> &AtomicU64 {
        self.sizes.as_ref().expect("only the table of raw blocks has sizes").get(slot)
    }

    /// Bytes of the object of a slot, which the caller keeps from changing.
    pub(crate) fn bytes_of(&self, slot: u32) -> usize {
        match &self.sizes {
            // Acquire: the size is written before the word that made the block visible.
            Some(sizes) => Size::of(sizes.get(slot).load(Ordering::Acquire)).bytes(),
            None => self.bytes,
        }
    }

    /// Whether the block of a slot holds bytes; a raw block may owe its first zeroes.
    pub(crate) fn is_written(&self, slot: u32) -> bool {
        // Acquire: as in `bytes_of`.
        let due =
            |sizes: &WordArray| Size::of(sizes.get(slot).load(Ordering::Acquire)).are_zeroes_due();
        !self.sizes.as_ref().is_some_and(due)
    }

    /// Alignment of the block of a slot, in granules.
    pub(crate) fn align_of(&self, slot: u32) -> u32 {
        match (&self.sizes, &self.request) {
            // Acquire: as in `bytes_of`.
            (Some(sizes), _) => Size::of(sizes.get(slot).load(Ordering::Acquire)).align_granules(),
            (None, Some(request)) => request.need.align,
            (None, None) => unreachable!("a table knows the layout of its blocks"),
        }
    }

    /// Objects now: exact while nobody inserts or removes.
    pub(crate) fn live(&self) -> usize {
        // Relaxed: a sum that is exact only in a quiet moment, which the caller has ordered already.
        let sum: isize = self.shards.iter().map(|shard| shard.live.load(Ordering::Relaxed)).sum();
        usize::try_from(sum).unwrap_or(0)
    }

    /// Slots that no generation is left for. Visits every slot that was used.
    pub(crate) fn exhausted(&self) -> usize {
        (0..self.used())
            // Relaxed: a count.
            .filter(|slot| Snapshot(self.words.get(*slot).load(Ordering::Relaxed)).is_exhausted())
            .count()
    }

    /// Slots below this number were used, or are about to be.
    pub(crate) fn used(&self) -> u32 {
        // Acquire: pairs with the read-modify-write in `more_fresh`; who is told of a slot finds it below.
        self.fresh.load(Ordering::Acquire).min(self.limit)
    }

    fn shard(&self) -> &Shard {
        let count = NonZeroUsize::new(self.shards.len()).expect("a table has a shard");
        &self.shards[home(count)]
    }

    fn count(&self, change: isize) {
        // Relaxed: see `live`.
        self.shard().live.fetch_add(change, Ordering::Relaxed);
    }

    /// Makes the object in the block at `offset` visible, in the slot that the caller took.
    pub(crate) fn begin(&self, slot: u32, generation: u32, offset: u32) {
        self.count(1);
        slot::publish(self.words.get(slot), generation, offset);
    }

    /// Deals with an object that the caller has unlinked.
    pub(crate) fn end(&self, heap: &Inner, object: Retired) {
        self.count(-1);
        self.retire(heap, object);
    }

    /// Takes a vacant slot. One shard's lock, where that has none left every shard's in turn. `None` when
    /// every slot is in use or retired.
    pub(crate) fn take_slot(&self) -> Option<TakenSlot<'_>> {
        let others = || self.shards.iter().find_map(|shard| self.take_from(shard, false));
        let (index, generation) = self.take_from(self.shard(), true).or_else(others)?;
        Some(TakenSlot { slots: self, index, generation })
    }

    fn take_from(&self, shard: &Shard, grow: bool) -> Option<(u32, u32)> {
        let mut vacant = shard.vacant.lock();
        if vacant.head != NONE {
            let slot = vacant.head;
            // Relaxed: words of vacant slots change under their shard's lock only.
            let word = Snapshot(self.words.get(slot).load(Ordering::Relaxed));
            debug_assert!(word.is_vacant() && !word.is_exhausted());
            vacant.head = word.offset();
            return Some((slot, word.generation()));
        }
        if vacant.fresh.is_empty() && grow {
            vacant.fresh = self.more_fresh();
        }
        let slot = vacant.fresh.next()?;
        Some((slot, self.first_generation))
    }

    /// Takes slots that were never used from the end of the table.
    fn more_fresh(&self) -> core::ops::Range<u32> {
        // Relaxed: a hint for the compare-and-swap.
        let mut start = self.fresh.load(Ordering::Relaxed);
        loop {
            let end = start.saturating_add(FRESH_BATCH).min(self.limit);
            // AcqRel: see `used`. Relaxed on failure: retried.
            match self.fresh.compare_exchange(start, end, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return start..end,
                Err(now) => start = now,
            }
        }
    }

    /// Takes a slot back, whose next object gets `generation`. A slot without generations left is retired for
    /// good.
    pub(crate) fn return_slot(&self, slot: u32, generation: u32) {
        let mut vacant = self.shard().vacant.lock();
        let link = if generation >= GENERATION_END {
            NONE
        } else {
            core::mem::replace(&mut vacant.head, slot)
        };
        // Relaxed: nothing is published; the next user of the slot gets it through this shard's lock. A
        // reader with a stale handle finds it vacant with either value.
        self.words.get(slot).store(Snapshot::vacant(generation, link).0, Ordering::Relaxed);
    }
}

/// The first generation of a table's slots: far from those of other tables, with at least half of all
/// generations left.
fn spread(salt: u64) -> u32 {
    // A round of splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
    let mut z = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (z >> 32) as u32 & (GENERATION_END >> 1)
}

/// The tables of a heap, by id.
#[derive(Debug)]
pub(crate) struct Registry {
    tables: RwLock<Vec<Option<Arc<Slots>>>>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self { tables: RwLock::new(Vec::new()) }
    }

    /// Makes a table; `None` when no id is left, or no memory.
    pub(crate) fn create(&self, salt: u64, config: SlotsConfig) -> Option<Arc<Slots>> {
        let mut tables = self.tables.write();
        let place = tables.iter().position(Option::is_none).unwrap_or(tables.len());
        let id = u16::try_from(place + 1).ok().filter(|id| *id <= crate::block::TABLE_MAX)?;
        let table = Arc::new(Slots::new(id, salt, config)?);
        if place == tables.len() {
            tables.push(None);
        }
        tables[place] = Some(Arc::clone(&table));
        Some(table)
    }

    /// The table that owns a block, if it is still there.
    pub(crate) fn get(&self, owner: Owner) -> Option<Arc<Slots>> {
        self.tables.read().get(usize::from(owner.table).checked_sub(1)?)?.clone()
    }

    /// All tables.
    pub(crate) fn all(&self) -> Vec<Arc<Slots>> {
        self.tables.read().iter().flatten().cloned().collect()
    }

    /// Forgets a table.
    fn remove(&self, table: &Slots) {
        let mut tables = self.tables.write();
        let entry = &mut tables[usize::from(table.id) - 1];
        if entry.as_ref().is_some_and(|there| core::ptr::eq(&**there, table)) {
            *entry = None;
        }
    }
}
