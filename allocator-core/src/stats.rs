//! [`Stats`]: the counters of a heap at one moment.

use crate::heap::{Heap, Inner};
use crate::raw::GRANULE;
use crate::size_class::room;
use crate::store::Store;
use crate::stripe::Stripe;

/// The counters of a heap at one moment. Sizes are in bytes.
///
/// ```
/// # use allocator_core::Heap;
/// let heap = Heap::builder().capacity(1 << 20).build()?;
/// heap.allocate_bytes(&[1; 1000])?;
/// let stats = heap.stats();
/// assert_eq!(stats.live_blocks, 1);
/// assert!(stats.largest_free <= stats.free_bytes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// What the heap was built for.
    pub capacity: usize,
    /// Objects and raw blocks that are alive.
    pub live_blocks: usize,
    /// Bytes of blocks in use, rounded as they were placed; retired ones included. Headers count where a block
    /// has a chunk of its own, not in slabs.
    pub live_bytes: usize,
    /// Bytes in which blocks could be placed, in whatever pieces.
    pub free_bytes: usize,
    /// The largest block that could be placed without moving anything.
    pub largest_free: usize,
    /// Bytes of the buffer's pages that were used and not given back to the system since.
    pub committed: usize,
    /// Bytes of the buffer that are resident, where the system tells. Asking costs a system call and a look
    /// at each page.
    pub resident: Option<usize>,
    /// Retired objects whose blocks are not free yet.
    pub pending_blocks: usize,
    /// Bytes of these; of raw blocks, those that their places have room for.
    pub pending_bytes: usize,
    /// Blocks that threads keep for their next inserts; see
    /// [`HeapBuilder::thread_cache`](crate::HeapBuilder::thread_cache).
    pub cached_blocks: usize,
    /// Bytes of these, counted neither as live nor as free.
    pub cached_bytes: usize,
    /// Slots without generations left, retired for good.
    pub retired_slots: usize,
    /// Objects of the present pools that were purged so far.
    pub purged: usize,
    /// Bytes of the slots of all pools and of raw blocks: pages that were used and not given back to the system since.
    /// Not part of [`committed`](Self::committed).
    pub slot_bytes: usize,
    /// Typed pools of the heap.
    pub pools: usize,
    /// Each stripe's share.
    pub stripes: Vec<StripeStats>,
    /// Bytes of the largest free run, with the header that a block in it would need.
    largest_run: usize,
}

/// What one stripe holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct StripeStats {
    /// Pages that the stripe holds.
    pub pages: usize,
    /// Bytes of blocks in use in them, those that threads keep included.
    pub live_bytes: usize,
    /// Bytes in which the stripe can place blocks.
    pub free_bytes: usize,
}

impl Stats {
    /// The share of the free memory that the largest free run leaves out: 0 when all free memory is one
    /// run, towards 1 as it falls to pieces.
    pub fn fragmentation(&self) -> f64 {
        fragmentation(self.largest_run, self.free_bytes)
    }
}

pub(crate) fn fragmentation(largest: usize, free: usize) -> f64 {
    if free == 0 { 0.0 } else { 1.0 - largest.min(free) as f64 / free as f64 }
}

/// The free and used space of a store.
#[derive(Debug, Default)]
pub(crate) struct SpaceStats {
    pub(crate) free_bytes: usize,
    pub(crate) largest_free: usize,
    largest_run: usize,
    pub(crate) committed: usize,
    pub(crate) stripes: Vec<StripeStats>,
    held_granules: u64,
    central_free: u64,
    trimmed: u64,
}

impl SpaceStats {
    /// A free run of so many granules, for blocks with chunks of their own.
    fn note_run(&mut self, run: u32) {
        let block = run.saturating_sub(crate::chunk::HEADER);
        self.largest_free = self.largest_free.max(block as usize * GRANULE);
        self.largest_run = self.largest_run.max(run as usize * GRANULE);
    }

    /// A free cell of so many bytes.
    fn note_cell(&mut self, bytes: usize) {
        self.largest_free = self.largest_free.max(bytes);
        self.largest_run = self.largest_run.max(bytes);
    }

    pub(crate) fn fragmentation(&self) -> f64 {
        fragmentation(self.largest_run, self.free_bytes)
    }

    /// Bytes of blocks with chunks of their own. Pages may have changed hands between the locks.
    fn central_used(&self, store: &Store) -> usize {
        let (lo, hi) = store.memory().bounds();
        let used = u64::from(hi - lo).saturating_sub(self.held_granules + self.central_free);
        used as usize * GRANULE
    }
}

/// Sums up the store, one lock at a time. O(stripes), and the cost of the policy's `largest`.
pub(crate) fn space(store: &Store) -> SpaceStats {
    space_of(store, usize::MAX)
}

/// The fragmentation; the largest free run is looked for among so many that are nearly of its length.
pub(crate) fn fragmentation_of(store: &Store, looks: usize) -> f64 {
    space_of(store, looks).fragmentation()
}

fn space_of(store: &Store, looks: usize) -> SpaceStats {
    let mut sum = SpaceStats::default();
    for number in 0..store.stripes() {
        let share = match &*store.stripe(number) {
            Stripe::Slabs(slabs) => {
                let totals = slabs.totals();
                sum.trimmed += totals.trimmed;
                if let Some(class) = slabs.largest_class() {
                    sum.note_cell(room(class));
                }
                StripeStats {
                    pages: totals.pages,
                    live_bytes: totals.used as usize * GRANULE,
                    free_bytes: (totals.granules - totals.used) as usize * GRANULE,
                }
            }
            Stripe::Segments(segments) => {
                let pages = segments.pages().count();
                let free = segments.free() as usize * GRANULE;
                let page = store.shared.pages.page() as usize * GRANULE;
                sum.note_run(segments.largest(store.memory(), looks));
                StripeStats { pages, live_bytes: pages * page - free, free_bytes: free }
            }
        };
        sum.held_granules += share.pages as u64 * u64::from(store.shared.pages.page());
        sum.free_bytes += share.free_bytes;
        sum.stripes.push(share);
    }
    let central = store.central();
    sum.central_free = central.space.free();
    sum.free_bytes += sum.central_free as usize * GRANULE;
    sum.note_run(central.space.largest(store.memory(), looks));
    sum.committed = central.committed().saturating_sub(sum.trimmed as usize * GRANULE);
    sum
}

/// How much of the committed memory serves blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Usage {
    /// Bytes of blocks in use, with their share of the headers of their pages; what threads keep included.
    pub(crate) live: u64,
    /// Bytes of pages that were used and not given back.
    pub(crate) committed: u64,
}

impl Usage {
    /// Committed bytes that serve no block.
    pub(crate) fn wasted(self) -> u64 {
        self.committed.saturating_sub(self.live)
    }

    /// The same as a share of what is committed.
    pub(crate) fn waste(self) -> f64 {
        if self.committed == 0 { 0.0 } else { self.wasted() as f64 / self.committed as f64 }
    }
}

/// Asks each stripe and the centre for its counters, and each thread for what it has retired. O(stripes and caches), one lock at a
/// time.
pub(crate) fn usage(inner: &Inner) -> Usage {
    let store = &inner.store;
    // Nobody asks for the largest free run.
    let space = space_of(store, 1);
    let page = u64::from(store.shared.pages.page()) * GRANULE as u64;
    // Blocks take their share of the headers of their pages: a slab without a free cell wastes nothing.
    let of_pages = |share: &StripeStats| {
        let (live, free) = (share.live_bytes as u64, share.free_bytes as u64);
        share.pages as u64 * page * live / (live + free).max(1)
    };
    let in_stripes: u64 = space.stripes.iter().map(of_pages).sum();
    let committed = space.committed as u64;
    let retired: usize = inner.tables.all().iter().map(|table| table.retired_bytes()).sum();
    let live = (in_stripes + space.central_used(store) as u64).saturating_sub(retired as u64);
    // Headers of slabs whose ends were given back are shared by few.
    Usage { live: live.min(committed), committed }
}

impl Heap {
    /// The share of the committed memory that serves no block: `1 - live / committed`, 0 for a heap that nothing
    /// was put into. What threads keep counts as live, and what is removed as waste, though its own pool may have to
    /// [reclaim](crate::Table::reclaim) it first; headers count as what they belong to.
    ///
    /// Cheap, unlike [`stats`](Self::stats): O(stripes, and threads of each pool), one lock at a time, nothing is scanned and the
    /// system is not asked. Not exact while others allocate. Memory over a caller's buffer is never given back, so there the
    /// share falls only as the heap fills up.
    ///
    /// ```
    /// # use allocator_core::Heap;
    /// let heap = Heap::builder().capacity(4 << 20).build()?;
    /// let handles: Vec<_> = (0..1000).map(|_| heap.allocate_bytes(&[1; 2000])).collect::<Result<_, _>>()?;
    /// assert!(heap.waste() < 0.1);
    /// handles.into_iter().try_for_each(|handle| heap.deallocate(handle))?;
    /// heap.flush();
    /// assert!(heap.waste() > 0.9); // free, but not given back yet
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn waste(&self) -> f64 {
        usage(self.inner()).waste()
    }

    /// The counters of the heap. Exact while nothing else goes on. O(slots and pages of the system), one lock
    /// at a time.
    pub fn stats(&self) -> Stats {
        stats(self.inner())
    }
}

fn stats(inner: &Inner) -> Stats {
    let space = space(&inner.store);
    let in_stripes: usize = space.stripes.iter().map(|stripe| stripe.live_bytes).sum();
    let tables = inner.tables.all();
    let pending = tables.iter().map(|table| table.pending(inner));
    let (pending_blocks, pending_bytes) = pending.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    let cached = tables.iter().map(|table| table.cached(&inner.readers));
    let (cached_blocks, cached_bytes) = cached.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    let in_use = space.central_used(&inner.store) + in_stripes;
    Stats {
        capacity: inner.capacity,
        live_blocks: tables.iter().map(|table| table.live()).sum(),
        live_bytes: in_use.saturating_sub(cached_bytes),
        free_bytes: space.free_bytes,
        largest_free: space.largest_free,
        committed: space.committed,
        resident: inner.store.memory().resident(),
        pending_blocks,
        pending_bytes,
        cached_blocks,
        cached_bytes,
        retired_slots: tables.iter().map(|table| table.exhausted()).sum(),
        purged: tables.iter().map(|table| table.purged()).sum(),
        slot_bytes: tables.iter().map(|table| table.slot_bytes()).sum(),
        pools: tables.len() - 1,
        stripes: space.stripes,
        largest_run: space.largest_run,
    }
}
