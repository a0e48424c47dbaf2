//! Tables: arrays of slots, each naming one block of the heap.
//!
//! A table belongs to one typed pool, or to the raw blocks of the heap. Whatever a handle says, a look-up
//! in a table can only find an object of that table, so a forged or foreign handle is never type confusion.
//!
//! * this file: the slots, how they are handed out and taken back;
//! * `view.rs`: [`Table`], the face for typed pools: locate, retire, hold, swap;
//! * `reserve.rs`: places for new objects: reserve, publish;
//! * `recycle.rs`: where pairs of a slot and a block come from and go to: the thread's cache, the store;
//! * `retire.rs`: retired objects, from their end of life until their block is free;
//! * `take.rs`: taking a value out;
//! * `many.rs`: help for batches.

mod many;
mod recycle;
mod reserve;
mod retire;
mod take;
mod view;

pub use reserve::{Replacement, Reservation};
pub(crate) use retire::Effort;
pub use view::{Hold, Table, TableGuard, TableSpec};

use crate::block::Owner;
use crate::blocks::Size;
use crate::cache::{Caches, Limits, Pair};
use crate::guard::Readers;
use crate::handle::{GENERATION_END, Handle};
use crate::raw::WordArray;
use crate::slot::Snapshot;
use crate::stripe::Request;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex, RwLock};
use crossbeam_utils::CachePadded;

/// "No slot": the end of a list of vacant slots.
const NONE: u32 = u32::MAX;

/// Slots that are taken from the table's end at a time.
const FRESH_BATCH: u32 = if cfg!(any(loom, miri)) { 2 } else { 64 };

/// Drops an object in place.
pub(crate) type DropFn = unsafe fn(*mut u8);

/// The slots of one pool, or of the heap's raw blocks.
#[derive(Debug)]
pub(crate) struct Slots {
    /// Number of the table in its heap; never 0.
    id: u16,
    pub(crate) words: WordArray,
    /// Number of slots there can be.
    limit: u32,
    /// Generation of a slot's first object: a base of the table's own, so that another table's handle is
    /// refused in practice even where its index fits.
    first_generation: u32,
    /// Slots from here on were never used.
    fresh: AtomicU32,
    vacant: CachePadded<Mutex<Vacant>>,
    /// What threads keep.
    caches: Arc<Caches>,
    /// Pairs on their way between caches and the store, in so many hands.
    in_hand: AtomicUsize,
    /// Retired objects that are pinned.
    held: Mutex<Vec<Pair>>,
    /// An object was held at some time. Blocks of tables where this never happens need no look at their headers.
    was_held: AtomicBool,
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

/// Slots that can be handed out.
#[derive(Debug)]
struct Vacant {
    /// Head of the list that runs through the offset halves of vacant words.
    head: u32,
    /// Fresh slots that were taken from the end.
    fresh: core::ops::Range<u32>,
}

/// What makes up a table.
#[derive(Debug)]
pub(crate) struct SlotsConfig {
    pub(crate) limit: u32,
    /// How much threads keep, and whether their light barriers are full fences.
    pub(crate) caching: Limits,
    pub(crate) plain: bool,
    /// Slots on huge pages.
    pub(crate) huge_pages: bool,
    pub(crate) request: Option<Request>,
    pub(crate) bytes: usize,
    pub(crate) drop: Option<DropFn>,
}

impl Slots {
    fn new(id: u16, salt: u64, config: SlotsConfig) -> Option<Self> {
        let raw = config.request.is_none();
        Some(Self {
            id,
            words: WordArray::new(config.limit as usize, config.huge_pages)?,
            limit: config.limit,
            first_generation: spread(salt),
            fresh: AtomicU32::new(0),
            vacant: CachePadded::new(Mutex::new(Vacant { head: NONE, fresh: 0..0 })),
            caches: Arc::new(Caches::new(config.caching, config.plain)),
            in_hand: AtomicUsize::new(0),
            held: Mutex::new(Vec::new()),
            was_held: AtomicBool::new(raw),
            closed: AtomicBool::new(false),
            request: config.request,
            bytes: config.bytes,
            drop: config.drop,
            sizes: if raw {
                Some(WordArray::new(config.limit as usize, config.huge_pages)?)
            } else {
                None
            },
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

    /// Whether the table is that of a typed pool.
    fn is_typed(&self) -> bool {
        self.request.is_some()
    }

    /// Objects now: exact while nobody inserts or removes. O(threads).
    pub(crate) fn live(&self) -> usize {
        usize::try_from(self.caches.live()).unwrap_or(0)
    }

    /// Number and bytes of the blocks that threads keep. Steps into each cache.
    pub(crate) fn cached(&self, readers: &Readers) -> (usize, usize) {
        self.caches.cached(readers)
    }

    /// Whether a retired object could be held.
    fn may_be_held(&self) -> bool {
        // Relaxed: who holds an object does it inside a section, after it has set this; a retired object is
        // looked at after a grace period that has waited for that section.
        self.was_held.load(Ordering::Relaxed)
    }

    /// Somebody is about to hold an object, inside a section in which it was found.
    fn note_hold(&self) {
        // Relaxed: see `may_be_held`. Stored once only, to leave the line to its readers.
        if !self.was_held.load(Ordering::Relaxed) {
            self.was_held.store(true, Ordering::Relaxed);
        }
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
        // Acquire: pairs with the Release in `more_fresh`; who is told of a slot finds it below.
        self.fresh.load(Ordering::Acquire).min(self.limit)
    }

    /// Takes up to `count` vacant slots; gives each with the generation of its next object. One lock.
    fn take_slots(&self, count: usize) -> Vec<(u32, u32)> {
        let mut vacant = self.vacant.lock();
        core::iter::from_fn(|| self.take_one(&mut vacant)).take(count).collect()
    }

    /// Takes a vacant slot, as [`take_slots`](Self::take_slots). `None` when every slot is in use or retired.
    fn take_slot(&self) -> Option<(u32, u32)> {
        self.take_one(&mut self.vacant.lock())
    }

    fn take_one(&self, vacant: &mut Vacant) -> Option<(u32, u32)> {
        if vacant.head != NONE {
            let slot = vacant.head;
            // Relaxed: words of vacant slots change under the lock of the list only.
            let word = Snapshot(self.words.get(slot).load(Ordering::Relaxed));
            debug_assert!(word.is_vacant() && !word.is_exhausted());
            vacant.head = word.offset();
            return Some((slot, word.generation()));
        }
        if vacant.fresh.is_empty() {
            vacant.fresh = self.more_fresh();
        }
        let slot = vacant.fresh.next()?;
        Some((slot, self.first_generation))
    }

    /// Takes slots that were never used from the end of the table, under the lock of the list.
    fn more_fresh(&self) -> core::ops::Range<u32> {
        // Relaxed: changed under the lock only.
        let start = self.fresh.load(Ordering::Relaxed);
        let end = start.saturating_add(FRESH_BATCH).min(self.limit);
        // Release: see `used`.
        self.fresh.store(end, Ordering::Release);
        start..end
    }

    /// Takes slots back, each with the generation that its next object gets. A slot without generations left
    /// is retired for good. One lock.
    fn return_slots(&self, slots: impl Iterator<Item = (u32, u32)>) {
        let mut vacant = self.vacant.lock();
        for (slot, generation) in slots {
            let link = if generation >= GENERATION_END {
                NONE
            } else {
                core::mem::replace(&mut vacant.head, slot)
            };
            // Relaxed: nothing is published; the next user of the slot gets it through this lock. A reader
            // with a stale handle finds it vacant with either value.
            self.words.get(slot).store(Snapshot::vacant(generation, link).0, Ordering::Relaxed);
        }
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
