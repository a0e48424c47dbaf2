//! Tables: arrays of slots, each naming one block of the heap.
//!
//! A table belongs to one typed pool, or to the raw blocks of the heap. Whatever a handle says, a look-up
//! in a table can only find an object of that table, so a forged or foreign handle is never type confusion.
//!
//! * this file: the slots of a table, and the tables of a heap;
//! * `vacant.rs`: which slots can be handed out, and which of their pages given back to the system;
//! * `view.rs`: [`Table`], the face for typed pools: locate, retire, hold, swap;
//! * `reserve.rs`: places for new objects: reserve, publish;
//! * `recycle.rs`: where pairs of a slot and a block come from and go to: the thread's cache, the store;
//! * `retire.rs`: retired objects, from their end of life until their block is free;
//! * `sweep.rs`: the end of a table, and of objects that are pinned beyond it;
//! * `take.rs`: taking a value out;
//! * `purge.rs`: objects that can be removed when room is needed;
//! * `many.rs`: help for batches.

mod many;
mod purge;
mod recycle;
mod reserve;
mod retire;
mod sweep;
mod take;
mod vacant;
mod view;

pub use reserve::{Replacement, Reservation};
pub(crate) use retire::Effort;
pub use view::{Hold, Table, TableGuard, TableSpec};

use crate::block::{Owner, Shape};
use crate::cache::{Caches, Hands, Limits, Pair};
use crate::guard::Readers;
use crate::handle::{GENERATION_END, Handle};
use crate::raw::{GRANULE, WordArray};
use crate::slot::Snapshot;
use crate::stripe::Request;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::sync::{Arc, Mutex, RwLock};
use crossbeam_utils::CachePadded;
use purge::Purgeable;
use vacant::{PAGE_SLOTS, Vacant};

/// Bytes of a page of slots.
const PAGE_BYTES: u64 = PAGE_SLOTS as u64 * size_of::<u64>() as u64;

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
    /// Slots from here on were never used.
    fresh: AtomicU32,
    vacant: CachePadded<Mutex<Vacant>>,
    /// What threads keep.
    caches: Arc<Caches>,
    /// Pairs on their way between caches and the store.
    hands: Hands,
    /// Retired objects that are pinned.
    held: Mutex<Vec<Pair>>,
    /// An object was held at some time. Blocks of tables where this never happens need no look at their headers.
    was_held: AtomicBool,
    /// The pool is gone; the last pin of an object drops it.
    closed: AtomicBool,
    purgeable: Purgeable,
    /// What each object asks of the store; `None` in the table of raw blocks.
    request: Option<Request>,
    /// Bytes of each object; 0 in the table of raw blocks.
    bytes: usize,
    drop: Option<DropFn>,
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
            fresh: AtomicU32::new(0),
            vacant: CachePadded::new(Mutex::new(Vacant::new(config.limit, spread(salt)))),
            caches: Arc::new(Caches::new(config.caching, config.plain)),
            hands: Hands::default(),
            held: Mutex::new(Vec::new()),
            was_held: AtomicBool::new(raw),
            closed: AtomicBool::new(false),
            purgeable: Purgeable::new(),
            request: config.request,
            bytes: config.bytes,
            drop: config.drop,
        })
    }

    pub(crate) fn id(&self) -> u16 {
        self.id
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

    /// Bytes of each object; 0 in the table of raw blocks, which have sizes of their own.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Alignment of an object, or of raw bytes of a shape, in granules.
    pub(crate) fn align(&self, shape: Option<Shape>) -> u32 {
        match (&self.request, shape) {
            (Some(request), _) => request.need.align,
            (None, shape) => shape.map_or(1, |shape| shape.align().div_ceil(GRANULE) as u32),
        }
    }

    /// Objects that were purged.
    pub(crate) fn purged(&self) -> usize {
        self.purgeable.purged()
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
        // Relaxed: who was told of a slot finds it below, by what told it; others find it or not. The words are read as ever.
        self.fresh.load(Ordering::Relaxed).min(self.limit)
    }

    /// Takes up to `count` vacant slots; gives each with the generation of its next object. One lock.
    fn take_slots(&self, count: usize) -> Vec<(u32, u32)> {
        let mut taken = Vec::with_capacity(count);
        self.take_each(count, |slot| taken.push(slot));
        taken
    }

    /// Takes a vacant slot, as [`take_slots`](Self::take_slots). `None` when every slot is in use or retired.
    fn take_slot(&self) -> Option<(u32, u32)> {
        let mut taken = None;
        self.take_each(1, |slot| taken = Some(slot));
        taken
    }

    fn take_each(&self, count: usize, mut put: impl FnMut((u32, u32))) {
        let mut vacant = self.vacant.lock();
        let mut end = 0;
        vacant.take(&self.words, count, |taken| {
            end = end.max(taken.0 + 1);
            put(taken);
        });
        // Relaxed: changed under the lock only, and see `used`.
        if end > self.fresh.load(Ordering::Relaxed) {
            self.fresh.store(end, Ordering::Relaxed);
        }
    }

    /// Takes slots back, each with the generation that its next object gets. A slot without generations left
    /// is retired for good. One lock.
    fn return_slots(&self, slots: impl Iterator<Item = (u32, u32)>) {
        self.vacant.lock().put(&self.words, slots);
    }

    /// Gives pages of slots without an object back to the system, up to `most` of them; their bytes. The lock of the slots
    /// for some pages at a time, and not while the system is asked. O(slots of these pages).
    pub(crate) fn release_pages(&self, most: usize) -> u64 {
        // Not for ever, where others empty pages as fast.
        let (mut pages_left, mut bytes) = (most.min(self.used().div_ceil(PAGE_SLOTS) as usize), 0);
        if !self.words.can_release() {
            return bytes;
        }
        // The slots of these pages are nowhere for a moment: who finds none looks again.
        let in_hand = self.hands.take();
        loop {
            let parted = {
                let mut vacant = self.vacant.lock();
                let pages = vacant.part(&self.words, pages_left, &in_hand);
                pages.map(|pages| (vacant.slots_of(&pages), pages))
            };
            let Some((slots, pages)) = parted else { return bytes };
            // Where the system refuses, the words stay, and are those of vacant slots still.
            let released = self.words.release(slots);
            pages_left -= pages.len();
            bytes += if released { pages.len() as u64 * PAGE_BYTES } else { 0 };
            self.vacant.lock().join(pages);
        }
    }

    /// Bytes of the pages of slots that were used and not given back.
    pub(crate) fn slot_bytes(&self) -> usize {
        self.vacant.lock().touched_bytes()
    }
}

/// The first generation of a table's slots: a base of the table's own, so that another table's handle is refused in
/// practice even where its index fits; with at least half of all generations left.
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
        debug_assert!(config.request.is_some() || id == crate::block::RAW_TABLE);
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
