//! [`Heap`]: one managed buffer with its stripes, tables and counters.

use crate::builder::HeapBuilder;
use crate::cache::Limits;
use crate::chunk;
use crate::compact::{Budget, DefragReport, MoverLock};
use crate::error::{AllocError, AllocErrorKind};
use crate::guard::{Guard, Readers};
use crate::policy::Policy;
use crate::raw::Memory;
use crate::size_class::CLASSES;
use crate::store::Store;
use crate::stripe::Request;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Arc, yield_now};
use crate::table::{DropFn, Effort, Registry, Slots, SlotsConfig};
use core::alloc::Layout;
use core::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::time::{Duration, Instant};

/// How long an allocation that would be refused waits for retired blocks: for sections that are about to
/// end, not for guards that stay open.
const RETIRED_WAIT: Duration = Duration::from_millis(5);

/// How often it looks again at least where no guard is in the way: a thread that has to wait for a processor sees the time go by,
/// and nothing else. In a model, which has no clock, at most.
const LOOKS: u32 = if cfg!(loom) { 3 } else { 100 };

/// Largest alignment of a block, in bytes.
pub(crate) const ALIGN_MAX: usize = 4096;

/// One managed buffer that hands out handles instead of addresses, so its blocks can be moved.
///
/// A global allocator must not use a heap or its pools: they ask it for memory themselves.
///
/// Cheap to clone (a reference count); all clones are the same heap, and its memory is given back when the
/// last clone, pool and pin is gone.
///
/// ```
/// use allocator_core::Heap;
/// use std::alloc::Layout;
///
/// let heap = Heap::builder().capacity(1 << 20).build()?;
/// let handle = heap.allocate(Layout::new::<[u8; 100]>())?;
/// heap.write(handle)?.fill(7);
/// heap.defragment();
/// assert_eq!(heap.read(handle)?[99], 7);
/// heap.deallocate(handle)?;
/// assert!(heap.read(handle).is_err()); // stale for good
/// assert!(heap.deallocate(handle).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Heap {
    inner: Arc<Inner>,
}

/// The parts of a heap. Lock order: `mover`, then a thread's cache, then those of tables and the registry, then
/// one stripe, then the centre. No lock is held while user code runs.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) readers: Arc<Readers>,
    pub(crate) store: Store,
    pub(crate) tables: Registry,
    pub(crate) mover: MoverLock,
    /// The mover empties a stretch of the buffer, whose free parts nobody finds meanwhile, and may wait for guards.
    pub(crate) emptying: AtomicBool,
    /// The table of raw blocks.
    pub(crate) raw: Arc<Slots>,
    pub(crate) capacity: usize,
    pub(crate) policy: Policy,
    pub(crate) patience: Duration,
    compact_when_full: bool,
    /// Bytes of blocks that a thread keeps of each pool.
    thread_cache: usize,
    /// Slots of each table that threads may have in hand.
    spare_slots: u32,
    huge_pages: bool,
}

/// Settings that the builder has checked.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) capacity: usize,
    pub(crate) store_stripes: usize,
    pub(crate) spare_slots: u32,
    pub(crate) thread_cache: usize,
    pub(crate) huge_pages: bool,
    pub(crate) page_shift: u32,
    pub(crate) policy: Policy,
    pub(crate) asymmetric: bool,
    pub(crate) patience: Duration,
    pub(crate) compact_when_full: bool,
}

impl fmt::Debug for Heap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heap")
            .field("capacity", &self.inner.capacity)
            .field("policy", &self.inner.policy)
            .finish_non_exhaustive()
    }
}

impl Heap {
    /// Starts the settings of a heap.
    pub fn builder() -> HeapBuilder {
        HeapBuilder::new()
    }

    pub(crate) fn new(memory: Memory, settings: Settings) -> Option<Self> {
        let store =
            Store::new(memory, settings.policy, settings.store_stripes, settings.page_shift);
        let tables = Registry::new();
        let config = SlotsConfig {
            limit: slots_max(&store, 1, settings.spare_slots),
            caching: limits(&store, settings.thread_cache, None, None),
            plain: !settings.asymmetric,
            huge_pages: settings.huge_pages,
            request: None,
            bytes: 0,
            drop: None,
        };
        let raw = tables.create(next_salt(), config)?;
        let inner = Inner {
            readers: Arc::new(Readers::new(settings.asymmetric)),
            store,
            tables,
            mover: MoverLock::new(),
            emptying: AtomicBool::new(false),
            raw,
            capacity: settings.capacity,
            policy: settings.policy,
            patience: settings.patience,
            compact_when_full: settings.compact_when_full,
            thread_cache: settings.thread_cache,
            spare_slots: settings.spare_slots,
            huge_pages: settings.huge_pages,
        };
        Some(Self { inner: Arc::new(inner) })
    }

    #[inline(always)]
    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// A claim that does not keep the heap alive.
    #[cfg(not(loom))]
    pub(crate) fn downgrade(&self) -> crate::sync::Weak<Inner> {
        Arc::downgrade(&self.inner)
    }

    /// Bytes that the heap can hold as one block: what it was built for, or a little less in a buffer of the caller's.
    pub fn capacity(&self) -> usize {
        self.inner.capacity
    }

    /// The placement policy.
    pub fn policy(&self) -> Policy {
        self.inner.policy
    }

    /// Whether entering a read-side section is free of a hardware fence on threads that do it often.
    pub fn is_asymmetric(&self) -> bool {
        self.inner.readers.is_asymmetric()
    }

    /// Whether two handles of type `Heap` are the same heap.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Enters a read-side section; see [`Guard`]. Reads of this heap's pools are cheaper inside one.
    #[inline]
    pub fn enter(&self) -> Guard<'_> {
        Guard::enter(&self.inner.readers)
    }

    /// Whether the calling thread is inside a read-side section of this heap. Its own section keeps everything in place that
    /// others remove or would move, so this thread cannot make room then. O(heaps that the thread works with).
    ///
    /// ```
    /// # use allocator_core::Heap;
    /// let heap = Heap::builder().capacity(64 << 10).build()?;
    /// let guard = heap.enter();
    /// assert!(heap.is_entered());
    /// drop(guard);
    /// assert!(!heap.is_entered());
    /// # Ok::<(), allocator_core::BuildError>(())
    /// ```
    pub fn is_entered(&self) -> bool {
        self.inner.readers.is_entered()
    }

    /// Moves blocks together until the free memory is one run, and gives empty pages back to the system,
    /// while every other call goes on.
    ///
    /// Readers wait at most for the copy of the one object that they ask for. Pinned and borrowed blocks
    /// stay; objects that guards of other threads keep are tried as long as the heap's patience lasts, and
    /// reported. Called inside an own guard it moves nothing and says so. One defragmentation of a heap runs
    /// at a time; a second one waits for the first, up to the heap's patience, and is not
    /// [`complete`](DefragReport::complete) where that was not enough. O(blocks and free runs of the heap).
    ///
    /// ```
    /// # use allocator_core::Heap;
    /// let heap = Heap::builder().capacity(1 << 20).build()?;
    /// let handles: Vec<_> = (0..100).map(|_| heap.allocate_bytes(&[7; 4000])).collect::<Result<_, _>>()?;
    /// for handle in handles.iter().step_by(2) {
    ///     heap.deallocate(*handle)?;
    /// }
    /// let report = heap.defragment();
    /// assert!(report.complete && report.moves > 0 && report.fragmentation_after == 0.0);
    /// assert_eq!(heap.read(handles[1])?[0], 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn defragment(&self) -> DefragReport {
        self.defragment_with(Budget::unlimited())
    }

    /// The same within a budget; a later call goes on with what is left. With a budget of time it waits for readers
    /// and for another defragmentation no longer than that. See [`Budget`] for an example.
    pub fn defragment_with(&self, budget: Budget) -> DefragReport {
        crate::compact::run(&self.inner, budget)
    }

    /// Reclaims retired blocks whose grace period is over, of raw blocks and of pools whose objects have no
    /// `Drop` (the others are reclaimed by their own pool); gives their number. Also gives back what threads keep
    /// for their next inserts. Never waits for readers.
    pub fn flush(&self) -> usize {
        let reclaimed = self.inner.reclaim_plain();
        self.inner.empty_caches();
        reclaimed
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.readers.close();
        self.raw.close_caches();
    }
}

impl Inner {
    /// What a layout asks of the store, if any heap of this capacity could hold it.
    pub(crate) fn request(&self, layout: Layout) -> Option<Request> {
        if layout.align() > ALIGN_MAX {
            return None;
        }
        self.store.request(layout)
    }

    /// What makes up the table of a typed pool.
    pub(crate) fn table_config(
        &self,
        request: Request,
        bytes: usize,
        drop: Option<DropFn>,
    ) -> SlotsConfig {
        SlotsConfig {
            limit: slots_max(&self.store, request.need.len - chunk::HEADER, self.spare_slots),
            caching: limits(&self.store, self.thread_cache, Some(&request), Some(bytes)),
            plain: !self.readers.is_asymmetric(),
            huge_pages: self.huge_pages,
            request: Some(request),
            bytes,
            drop,
        }
    }

    /// Finds room for a block of `slot`: at once, or after reclaiming what is retired and what threads keep, then
    /// after giving the centre what stripes hold without need, then in a cell that is far too large, then (if the heap was
    /// built so) after moving others away.
    pub(crate) fn place(
        &self,
        slots: &Slots,
        slot: u32,
        request: &Request,
        layout: Layout,
    ) -> Result<u32, AllocError> {
        let owner = slots.owner(slot);
        if let Some(offset) = self.store.allocate(request, owner) {
            return Ok(offset);
        }
        let found = self.retry(slots, || {
            slots.reclaim(self, Effort::All);
            self.reclaim_plain();
            self.empty_caches();
            self.store.allocate(request, owner)
        });
        if let Some(offset) = found {
            return Ok(offset);
        }
        self.store.drain();
        let allocate = || self.store.allocate(request, owner);
        let compact_and_allocate = || {
            let free = crate::stats::space(&self.store).free_bytes;
            if !self.compact_when_full || layout.size() > free {
                return None;
            }
            self.compact_and_place(request, owner)
        };
        let found = self
            .store
            .allocate_central(request, owner)
            .or_else(allocate)
            .or_else(|| self.store.allocate_anywhere(request, owner))
            .or_else(compact_and_allocate)
            .or_else(|| self.retry_beside_mover(allocate));
        let kind = AllocErrorKind::OutOfMemory;
        found.ok_or_else(|| self.refusal(kind, layout.size(), layout.align()))
    }

    /// Asks `attempt` again as long as what it misses waits for sections of other threads to end, another thread
    /// has it in hand right now, or may have put it where `attempt` had already looked; not for long.
    pub(crate) fn retry<R>(
        &self,
        slots: &Slots,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        let mut looks = Looks::new();
        let mut version = self.version(slots);
        loop {
            if let found @ Some(_) = attempt() {
                return found;
            }
            let is_in_hand = slots.is_in_other_hands() || self.plain_in_hand();
            let is_waiting = slots.is_waiting() || self.plain_waiting();
            // After these: what changes between two of them is seen here.
            let before = core::mem::replace(&mut version, self.version(slots));
            let is_moving = is_in_hand || version != before;
            // Whoever has something in hand gives it back as soon as it runs: that is waited for as for a lock.
            let wait = match (is_in_hand, is_moving || is_waiting) {
                (true, _) => self.patience,
                (false, true) => RETIRED_WAIT.min(self.patience),
                (false, false) => return None,
            };
            let is_kept =
                !is_moving && self.readers.iter().any(|record| record.section().is_some());
            if self.readers.is_entered() || !looks.again(wait, if is_kept { 0 } else { LOOKS }) {
                return None;
            }
        }
    }

    /// What is another number, almost certainly, as soon as something changed its place that an allocation for the table could
    /// have: so what was looked for in vain from one such number to the same was nowhere.
    fn version(&self, slots: &Slots) -> u64 {
        let mut version = DefaultHasher::new();
        slots.tell_version(&mut version);
        let tables = self.tables.all();
        let plain = tables.iter().filter(|table| table.is_plain());
        plain.for_each(|table| table.tell_version(&mut version));
        version.finish()
    }

    /// Asks `attempt` again while blocks are moved: the mover has some of the free memory in hand. Not for long where that
    /// is for a batch at a time; as long as the heap's patience where it makes room for somebody.
    fn retry_beside_mover<R>(&self, attempt: impl Fn() -> Option<R>) -> Option<R> {
        let mut looks = Looks::new();
        loop {
            // Acquire: pairs with the Release in `Taken::drop`: what was taken is seen to be back.
            let long = self.emptying.load(Ordering::Acquire) && !self.readers.is_entered();
            let wait = if long { self.patience } else { RETIRED_WAIT.min(self.patience) };
            let is_moving = self.mover.try_lock().is_none();
            // What the mover had is back where it moves nothing.
            let found = attempt();
            if found.is_some() || !is_moving || !looks.again(wait, 0) {
                return found;
            }
        }
    }

    /// Reclaims what any thread may reclaim.
    pub(crate) fn reclaim_plain(&self) -> usize {
        let tables = self.tables.all();
        let plain = tables.iter().filter(|table| table.is_plain());
        plain.map(|table| table.reclaim(self, Effort::All)).sum()
    }

    /// Gives back all that threads keep for their next inserts. O(caches).
    pub(crate) fn empty_caches(&self) {
        self.tables.all().iter().for_each(|table| table.empty_caches(self));
    }

    /// Whether blocks wait for a grace period that any thread may reclaim after it.
    pub(crate) fn plain_waiting(&self) -> bool {
        self.tables.all().iter().any(|table| table.is_plain() && table.is_waiting())
    }

    /// Whether such blocks are on their way to where they can be had.
    fn plain_in_hand(&self) -> bool {
        self.tables.all().iter().any(|table| table.is_plain() && table.is_in_hand())
    }

    /// The error of a refusal, with the numbers of this moment.
    pub(crate) fn refusal(
        &self,
        kind: AllocErrorKind,
        requested: usize,
        align: usize,
    ) -> AllocError {
        let space = crate::stats::space(&self.store);
        let pending = self.tables.all().iter().map(|table| table.pending(self).1).sum();
        AllocError {
            kind,
            requested,
            align,
            free: space.free_bytes,
            largest_free: space.largest_free,
            pending,
            purged: 0,
        }
    }
}

/// Looks for room that may soon be there.
struct Looks {
    start: Instant,
    count: u32,
}

impl Looks {
    fn new() -> Self {
        Self { start: Instant::now(), count: 0 }
    }

    /// Lets others run; false where no time is left of what may be waited since the first look, and there were `least` looks.
    fn again(&mut self, wait: Duration, least: u32) -> bool {
        self.count += 1;
        yield_now();
        let has_time = if cfg!(loom) { self.count <= LOOKS } else { self.start.elapsed() < wait };
        has_time || self.count < least && !wait.is_zero()
    }
}

/// Slots for as many blocks of `granules` as the buffer holds, with what threads may have in hand.
fn slots_max(store: &Store, granules: u32, spare: u32) -> u32 {
    let (lo, hi) = store.memory().bounds();
    ((hi - lo) / granules.max(1)).saturating_add(spare).min(u32::MAX - 1)
}

/// What threads keep of a table whose blocks all make the same request, or any. Only cells of slabs are kept.
fn limits(store: &Store, bytes: usize, request: Option<&Request>, object: Option<usize>) -> Limits {
    let asked = match request {
        None => 0..CLASSES,
        Some(request) => request.class.map_or(0..0, |class| class..class + 1),
    };
    let has_cells = |class: &usize| store.shared.classes.geometry(*class).cells > 0;
    let kept = asked.filter(|class| store.has_slabs() && has_cells(class));
    // Raw blocks are of all classes.
    Limits::new(if object.is_some() { bytes } else { bytes / 8 }, object, kept)
}

/// A number that no table of the process had before.
pub(crate) fn next_salt() -> u64 {
    // On `std` even in a model: it orders nothing.
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: only uniqueness matters.
    NEXT.fetch_add(1, Ordering::Relaxed)
}
