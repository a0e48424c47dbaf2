//! What each thread keeps of a table, so that most inserts and removes take no lock.
//!
//! A *pair* is a slot and its block, whose header names the slot. What a thread removes goes onto its list of
//! retired objects; a full list is a batch with a grace period of its own; what nobody sees any more after that
//! goes, pair by pair, into the thread's *magazine*, and from there into its next inserts. A magazine
//! that overflows spills a part of itself into the table's *depot*, from which the magazines of other threads are
//! refilled, so a thread that only removes feeds one that only inserts. (Bonwick, Adams: "Magazines and Vmem",
//! USENIX 2001.)
//!
//! * this file: the caches of a table, one a thread, and their counters;
//! * `bias.rs`: the lock of a cache, cheap for its thread, which others can take for a look;
//! * `cells.rs`: what is in a cache; `counters.rs`: how much, and whether it has changed;
//! * `hands.rs`: what has been taken out and not arrived elsewhere.
//!
//! Lock order: a cache, then the locks of the table, then those of the store. Nobody who holds one of those asks
//! for a cache. No user code runs inside a cache.

mod bias;
mod cells;
mod counters;
mod hands;

pub(crate) use bias::Biased;
pub(crate) use cells::{Batch, Inside, Limits, Pair, Retired};
pub(crate) use hands::{Hands, InHand};

use crate::guard::Readers;
use crate::size_class::room;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex, local};
use crate::threads::{
    self, AllMine, ID_STEP, Latest, Mine, Node, PerThread, Roster, Tenure, TornDown,
};
use cells::Cells;
use core::hash::Hasher;
use core::ptr;
use counters::Counters;

/// Spilled magazines that a depot keeps; what comes on top goes back to the store.
const DEPOT_MAX: usize = if cfg!(any(loom, miri)) { 1 } else { 8 };

/// The caches of one table.
#[derive(Debug)]
pub(crate) struct Caches {
    id: u64,
    limits: Limits,
    /// The light barrier of a cache's lock is a full fence.
    plain: bool,
    roster: Roster<Cache>,
    depot: Mutex<Vec<Vec<Pair>>>,
    /// Pairs in the depot; stored under its lock.
    in_depot: AtomicUsize,
    /// A thread that ended may have left retired objects.
    has_left: AtomicBool,
    /// The table is gone; threads may forget their caches.
    closed: AtomicBool,
}

/// One thread's cache.
#[derive(Debug)]
pub(crate) struct Cache {
    cells: Biased<Cells>,
    counters: Counters,
    /// The number of its thread while that reclaims objects of the table, from whatever cache; else 0.
    pub(crate) reclaimer: AtomicUsize,
    /// Its thread ended, and left retired objects in it.
    left: AtomicBool,
}

// SAFETY: the cells are behind their lock, all else is atomics. (A node's pointer to the next is the roster's.)
unsafe impl Send for Caches {}
// SAFETY: as above.
unsafe impl Sync for Caches {}

impl Cache {
    /// Whether a thread that ended has left retired objects in it, and nobody has reclaimed them since.
    pub(crate) fn is_left(&self) -> bool {
        // Acquire: pairs with the Release in `set_left`: the objects are seen.
        self.left.load(Ordering::Acquire)
    }

    pub(crate) fn set_left(&self, left: bool) {
        // Release: see `is_left`.
        self.left.store(left, Ordering::Release);
    }

    /// Retired objects.
    pub(crate) fn retired(&self) -> usize {
        self.counters.retired()
    }

    /// Pairs in magazines.
    pub(crate) fn cached(&self) -> usize {
        self.counters.cached()
    }
}

/// The calling thread's cache, until this is dropped.
pub(crate) struct Own<'c> {
    caches: &'c Caches,
    node: *const Node<Cache>,
    tenure: Tenure,
}

impl Own<'_> {
    fn node(&self) -> &Node<Cache> {
        // SAFETY: the caches keep their nodes alive.
        unsafe { &*self.node }
    }

    /// The same cache for who does not mind a mutex.
    pub(crate) fn any(&self) -> Any<'_> {
        Any { caches: self.caches, node: self.node(), own: true }
    }

    /// Runs `f` inside the cache, by way of its mutex. `f` calls nothing that asks for a cache.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Inside<'_>) -> R) -> R {
        self.node().value.cells.with_mutex(|cells| f(&mut self.caches.inside(self.node(), cells)))
    }
}

impl Drop for Own<'_> {
    fn drop(&mut self) {
        if self.tenure == Tenure::Once {
            self.node().disown();
            self.caches.left(&self.node().value);
        }
    }
}

/// Any thread's cache.
#[derive(Clone, Copy)]
pub(crate) struct Any<'c> {
    caches: &'c Caches,
    node: &'c Node<Cache>,
    own: bool,
}

impl<'c> Any<'c> {
    /// Whether it is the calling thread's.
    pub(crate) fn is_own(&self) -> bool {
        self.own
    }

    pub(crate) fn cache(&self) -> &'c Cache {
        &self.node.value
    }

    /// Runs `f` inside the cache. Waits for its thread, which is inside for some instructions only. A heavy
    /// barrier where that is another thread. `f` calls nothing that asks for a cache.
    pub(crate) fn with<R>(&self, readers: &Readers, f: impl FnOnce(&mut Inside<'_>) -> R) -> R {
        let cells = &self.node.value.cells;
        let f = |cells: &mut Cells| f(&mut self.caches.inside(self.node, cells));
        if self.own {
            return cells.with_mutex(f);
        }
        let order = || {
            // Whoever claims a vacant node later sees that it is revoked. The barrier of a plain heap costs less than
            // the question.
            if self.caches.plain || !self.node.is_vacant() {
                readers.heavy_barrier();
            }
        };
        cells.with_other(order, f)
    }
}

impl Caches {
    /// `plain` as in [`Readers`].
    pub(crate) fn new(limits: Limits, plain: bool) -> Self {
        // One counter for all tables of the process, on `std` even in a model: it orders nothing.
        static NEXT_ID: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(ID_STEP);
        Self {
            // Relaxed: only uniqueness matters.
            id: NEXT_ID.fetch_add(ID_STEP, std::sync::atomic::Ordering::Relaxed),
            limits,
            plain,
            roster: Roster::new(),
            depot: Mutex::new(Vec::new()),
            in_depot: AtomicUsize::new(0),
            has_left: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// Retired objects are in a cache whose thread has ended.
    pub(crate) fn note_left(&self) {
        // Release: whoever takes the note finds the cache. Partner: the Acquire in `take_left`.
        self.has_left.store(true, Ordering::Release);
    }

    /// Takes the note that there are such, if somebody made it.
    pub(crate) fn take_left(&self) -> bool {
        // Relaxed: a hint that spares the swap. Acquire: see `note_left`.
        self.has_left.load(Ordering::Relaxed) && self.has_left.swap(false, Ordering::Acquire)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes a pair for an object that begins its life, in a table whose objects are of one size, out of the calling
    /// thread's cache. Two stores and a load for the lock; nothing is taken where that is revoked, or the cache
    /// is not at hand. `id` is that of these caches, which the caller may have nearer.
    // What is taken and what is retired stays in registers only as long as no call that is not inlined gets
    // it as a whole: a pair that goes through memory costs half of an insert.
    #[inline(always)]
    pub(crate) fn take(&self, id: u64) -> Option<Pair> {
        let node = self.latest(id)?;
        // SAFETY: the node is ours (`latest`), and nobody enters the cells below.
        let mut entered = unsafe { node.value.cells.enter() }?;
        self.inside(node, entered.value()).take()
    }

    /// The same in the table of raw blocks.
    #[inline(always)]
    pub(crate) fn take_of(&self, class: usize) -> Option<Pair> {
        let node = self.latest(self.id)?;
        // SAFETY: as in `take`.
        let mut entered = unsafe { node.value.cells.enter() }?;
        self.inside(node, entered.value()).take_of(class)
    }

    /// Retires an object that ended its life, of a table whose objects are of one size, into the calling thread's
    /// cache; whether a batch is full. The lock and `id` as in [`take`](Self::take); `None` where that is revoked,
    /// the cache is not at hand, or has no room.
    #[inline(always)]
    pub(crate) fn try_retire(&self, id: u64, object: Pair) -> Option<bool> {
        let node = self.latest(id)?;
        // SAFETY: as in `take`.
        let mut entered = unsafe { node.value.cells.enter() }?;
        self.inside(node, entered.value()).try_retire(object)
    }

    /// The same in the table of raw blocks.
    #[inline(always)]
    pub(crate) fn try_retire_of(&self, object: Pair, bytes: usize) -> Option<bool> {
        let node = self.latest(self.id)?;
        // SAFETY: as in `take`.
        let mut entered = unsafe { node.value.cells.enter() }?;
        self.inside(node, entered.value()).try_retire_of(object, bytes)
    }

    /// The calling thread's node, where it is at hand. `id` is ours.
    #[inline(always)]
    fn latest(&self, id: u64) -> Option<&Node<Cache>> {
        debug_assert_eq!(id, self.id, "a node of other caches may be gone");
        let node = LATEST.with(|latest| latest.get(id))?;
        // SAFETY: alive as long as its caches are, whose ids are not used again.
        Some(unsafe { &*node })
    }

    #[inline(always)]
    fn inside<'a>(&'a self, node: &'a Node<Cache>, cells: &'a mut Cells) -> Inside<'a> {
        Inside { cells, counters: &node.value.counters, limits: &self.limits }
    }

    /// The calling thread's cache.
    pub(crate) fn own(self: &Arc<Self>) -> Own<'_> {
        let (node, tenure) = threads::find(self);
        Own { caches: self, node, tenure }
    }

    /// The calling thread's cache, if it has one already.
    pub(crate) fn own_known(&self) -> Result<Option<Any<'_>>, TornDown> {
        // SAFETY: we keep our nodes alive.
        let node = threads::own(self)?.map(|node| unsafe { &*node });
        Ok(node.map(|node| Any { caches: self, node, own: true }))
    }

    /// All caches, those of threads that ended included.
    pub(crate) fn all(&self) -> impl Iterator<Item = Any<'_>> {
        let own = threads::own(self).ok().flatten().unwrap_or(ptr::null());
        self.roster.iter().map(move |node| Any { caches: self, node, own: ptr::eq(own, node) })
    }

    /// Objects put in minus objects ended: exact while nobody does either.
    pub(crate) fn live(&self) -> isize {
        self.roster.iter().map(|node| node.value.counters.live()).sum()
    }

    /// Number and bytes of the blocks that are kept, in magazines and in the depot. Steps into each cache.
    pub(crate) fn cached(&self, readers: &Readers) -> (usize, usize) {
        // Relaxed: stored under the lock of the depot, read as a hint or in order. Only a table with blocks of one
        // class has a depot.
        let depot = self.in_depot.load(Ordering::Relaxed);
        let mut sum = (depot, depot * self.limits.only_class().map_or(0, room));
        for any in self.all().filter(|any| any.cache().cached() > 0) {
            sum.0 += any.cache().cached();
            sum.1 += any.with(readers, |cache| cache.cached_bytes());
        }
        sum
    }

    /// Number and bytes of the retired objects. O(caches); no lock.
    pub(crate) fn retired(&self) -> (usize, usize) {
        let object = self.limits.object();
        self.roster.iter().map(|node| &node.value.counters).fold((0, 0), |sum, counters| {
            (sum.0 + counters.retired(), sum.1 + counters.retired_bytes(object))
        })
    }

    /// Tells `version` words that are others as soon as anything has changed in a cache. O(caches).
    pub(crate) fn tell_version(&self, version: &mut impl Hasher) {
        // The depot is filled and emptied by who has pairs in hand ([`Hands`]).
        self.roster.iter().for_each(|node| node.value.counters.tell_version(version));
    }

    /// Puts pairs into the depot; false where that is full.
    pub(crate) fn deposit(&self, pairs: &[Pair]) -> bool {
        let mut depot = self.depot.lock();
        let has_room = depot.len() < DEPOT_MAX;
        if has_room {
            depot.push(pairs.to_vec());
            self.count_depot(&depot);
        }
        has_room
    }

    /// Whether there is anything in the depot.
    pub(crate) fn has_depot(&self) -> bool {
        // Acquire: pairs with the Release in `count_depot`.
        self.in_depot.load(Ordering::Acquire) > 0
    }

    /// Takes a spilled magazine out of the depot, or `most` pairs of it: what is left has not been away meanwhile, where the
    /// table's end would not find it.
    pub(crate) fn withdraw(&self, most: usize, _in_hand: &InHand<'_>) -> Option<Vec<Pair>> {
        if !self.has_depot() {
            return None;
        }
        let mut depot = self.depot.lock();
        let magazine = depot.last_mut()?;
        let pairs = magazine.split_off(magazine.len().saturating_sub(most));
        if magazine.is_empty() {
            depot.pop();
        }
        self.count_depot(&depot);
        Some(pairs)
    }

    fn count_depot(&self, depot: &[Vec<Pair>]) {
        // Release: as in `cells::set_taken`.
        self.in_depot.store(depot.iter().map(Vec::len).sum(), Ordering::Release);
    }

    /// The table is gone: nobody asks for its caches again.
    pub(crate) fn close(&self) {
        // Relaxed: see `is_closed`.
        self.closed.store(true, Ordering::Relaxed);
    }
}

local! {
    /// The fast way to the thread's cache of a table.
    static LATEST: Latest<Cache> = Latest::new()
}

impl PerThread for Caches {
    type Value = Cache;

    fn id(&self) -> u64 {
        self.id
    }

    fn roster(&self) -> &Roster<Cache> {
        &self.roster
    }

    fn make(&self) -> Cache {
        Cache {
            cells: Biased::new(Cells::new(&self.limits), self.plain),
            counters: Counters::default(),
            reclaimer: AtomicUsize::new(0),
            left: AtomicBool::new(false),
        }
    }

    fn is_closed(&self) -> bool {
        // Relaxed: a hint. What is kept once too often goes the next time.
        self.closed.load(Ordering::Relaxed)
    }

    fn taken(_: &Cache) {}

    fn left(&self, cache: &Cache) {
        if cache.retired() > 0 {
            cache.set_left(true);
            self.note_left();
        }
    }

    /// Whoever comes next finds all of it where it should be.
    fn is_free(_: &Cache) -> bool {
        true
    }

    fn mine(all: &AllMine) -> &Mine<Self> {
        &all.caches
    }

    fn with_latest<R>(f: impl FnOnce(&Latest<Cache>) -> R) -> Option<R> {
        LATEST.try_with(f).ok()
    }
}
