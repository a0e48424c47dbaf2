//! [`Pool`]: making one, putting objects in, removing them, reclaiming their room.
//!
//! Readers are in `read.rs`, what takes values out or swaps versions in `update.rs`, what needs
//! `&mut Pool` in `mutate.rs`.

use crate::error::{InsertError, PoolError};
use crate::place::Objects;
use crate::purge::OnPurge;
use allocator_core::{AllocError, Budget, DefragReport, Handle, Heap};
use core::fmt;

/// Objects of one type in a [`Heap`], found by handles, shared by threads, moved when nobody looks.
///
/// Several pools may share a heap. The crate's documentation says what concurrent readers may
/// observe, what an object costs, and when `Drop` runs.
///
/// `Sync` where `T: Send + Sync`: threads that share a pool read each other's objects, and also
/// drop them and take them out. `Send` where `T: Send`. Any other `T` is welcome in a pool that
/// stays on its thread.
///
/// ```
/// use typed_pool::{Heap, Pool};
///
/// let heap = Heap::builder().capacity(1 << 20).build()?;
/// let (names, scores) = (Pool::new(&heap)?, Pool::new(&heap)?);
/// let ada = names.insert(String::from("Ada"))?;
/// let score = scores.insert(36_u64)?;
///
/// heap.defragment(); // objects may have moved, handles are as valid as before
/// assert_eq!(names.get(ada).as_deref(), Some(&"Ada".to_string()));
/// assert!(names.remove(ada));
/// assert!(names.get(ada).is_none()); // stale for good
/// assert_eq!(scores.with(score, |score| *score), Some(36));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pool<T> {
    pub(crate) objects: Objects<T>,
    pub(crate) on_purge: Option<OnPurge>,
}

impl<T> Pool<T> {
    /// An empty pool in `heap`, which other pools and raw blocks may share. Reserves address space
    /// for the slots, 8 bytes for each object that the heap could hold; no memory yet.
    ///
    /// # Errors
    /// The alignment of `T` is above 4096; the heap has 16,382 pools already; the system has no
    /// address space left.
    ///
    /// ```
    /// use typed_pool::{Heap, Pool};
    /// let heap = Heap::builder().capacity(1 << 20).build()?;
    /// let pool: Pool<[f32; 16]> = Pool::new(&heap)?;
    /// assert!(pool.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(heap: &Heap) -> Result<Self, AllocError> {
        Ok(Self { objects: Objects::new(heap)?, on_purge: None })
    }

    /// An empty pool in a heap of its own, with room for at least `objects` objects at a time.
    /// Removed objects count as long as a guard or pin can still see them.
    ///
    /// The heap gets twice the size of the objects and 32 bytes for each, and a sixteenth of that:
    /// headers, alignment and rounding at their worst. What is never used costs address space only.
    ///
    /// # Errors
    /// As [`new`](Self::new); or the heap would be larger than 64 GiB, or than what the system
    /// offers.
    ///
    /// ```
    /// use typed_pool::Pool;
    /// let pool = Pool::with_capacity(1000)?;
    /// for i in 0..1000 {
    ///     pool.insert([i; 5])?;
    /// }
    /// assert_eq!(pool.len(), 1000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_capacity(objects: usize) -> Result<Self, PoolError> {
        let heap = Heap::builder().capacity(capacity_for::<T>(objects)).build()?;
        Ok(Self::new(&heap)?)
    }

    /// Puts a value in, as a rule without a lock: each thread keeps some room for its next inserts.
    /// Now and then it refills that, under one lock of the pool's slots and one stripe
    /// of the heap. O(1) with the default policy.
    ///
    /// # Errors
    /// Out of memory or slots, after removed objects that nobody sees any more were reclaimed, and
    /// those [purged](Self::insert_purgeable) that may be. The error gives the value back.
    ///
    /// # Panics
    /// Where the heap is full: when the `Drop` of an object that is reclaimed then panics, or the
    /// callback of [`on_purge`](Self::on_purge). The value is dropped then.
    ///
    /// ```
    /// # use typed_pool::{Heap, Pool};
    /// let pool = Pool::new(&Heap::builder().capacity(1024).build()?)?;
    /// let handle = pool.insert([0_u8; 600])?;
    /// let refused = pool.insert([1_u8; 600]).unwrap_err();
    /// assert_eq!(refused.into_value(), [1; 600]);
    ///
    /// pool.remove(handle);
    /// assert!(pool.insert([1; 600]).is_ok()); // the room is there again
    /// assert!(!pool.contains(handle)); // under another handle
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn insert(&self, value: T) -> Result<Handle<T>, InsertError<T>> {
        // What goes through a call that is not inlined goes through memory, which costs more than the rest: so
        // the value goes straight to its place, and the place is asked for the short way first.
        let vacant = match self.objects.vacant_cached() {
            Some(vacant) => vacant,
            None => match self.vacant_after_purge() {
                Ok(vacant) => vacant,
                Err(error) => return Err(InsertError { value, error }),
            },
        };
        Ok(vacant.fill(value))
    }

    /// Puts in what `make` gives for the handle that the object will have, so that an object can
    /// know itself. Costs what [`insert`](Self::insert) costs.
    ///
    /// `make` runs without a lock and may use the pool, and it may give the handle away: the handle
    /// is stale until the value is in.
    ///
    /// # Errors
    /// Out of memory or slots; `make` was not called then.
    ///
    /// # Panics
    /// As [`insert`](Self::insert), or when `make` does. The handle is stale for good then.
    ///
    /// ```
    /// # use typed_pool::{Handle, Pool};
    /// struct Node {
    ///     me: Handle<Node>,
    /// }
    /// let pool = Pool::with_capacity(8)?;
    /// let node = pool.insert_with(|me| {
    ///     assert!(!pool.contains(me));
    ///     Node { me }
    /// })?;
    /// assert_eq!(pool.with(node, |node| node.me), Some(node));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn insert_with(&self, make: impl FnOnce(Handle<T>) -> T) -> Result<Handle<T>, AllocError> {
        let vacant = self.vacant_after_purge()?;
        let value = make(vacant.handle());
        Ok(vacant.fill(value))
    }

    /// Removes an object: from now on its handle is stale, and it is dropped once no guard or pin
    /// can see it, at the latest with the pool. False when the handle is stale already; of several
    /// threads that remove the same object exactly one gets true.
    ///
    /// One compare-and-swap, no lock; waits for a copy of this very object at most. Once in 128 to 2048
    /// removals of a thread, or after 256 KiB, it pays for a barrier where other threads use the
    /// heap, and drops what was removed earlier, by threads that have ended since, too. See [`take`](Self::take) for a value that is wanted
    /// back.
    ///
    /// # Panics
    /// When the `Drop` of an object that was removed earlier panics. The removal has happened.
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let pool = Pool::with_capacity(8)?;
    /// let handle = pool.insert(1)?;
    /// assert!(pool.remove(handle));
    /// assert!(!pool.remove(handle)); // no double free
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn remove(&self, handle: Handle<T>) -> bool {
        self.objects.table().retire(handle)
    }

    /// Objects in the pool: exact while nobody inserts or removes. O(threads).
    pub fn len(&self) -> usize {
        self.objects.table().len()
    }

    /// Whether [`len`](Self::len) is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops removed objects that nobody can see any more; their number. Never waits for readers.
    /// O(removed objects), and one barrier.
    ///
    /// # Panics
    /// When the `Drop` of one of them panics; the others are dropped by a later call.
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let pool = Pool::with_capacity(8)?;
    /// let handle = pool.insert(String::from("gone"))?;
    /// let gone = pool.get(handle);
    /// pool.remove(handle);
    /// assert_eq!(pool.flush(), 0); // `gone` still sees it
    /// drop(gone);
    /// assert_eq!(pool.flush(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush(&self) -> usize {
        self.objects.table().reclaim()
    }

    /// Reclaims the pool's removed objects, then defragments its heap: see [`Heap::defragment`].
    /// Readers wait at most for the copy of the one object that they ask for; handles stay valid.
    ///
    /// # Panics
    /// As [`flush`](Self::flush).
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let pool = Pool::with_capacity(1000)?;
    /// let handles: Vec<_> = (0..1000).map(|i| pool.insert([i; 9])).collect::<Result<_, _>>()?;
    /// handles.iter().skip(1).step_by(2).for_each(|handle| assert!(pool.remove(*handle)));
    /// let report = pool.defragment();
    /// assert!(report.complete && report.moves > 0);
    /// assert_eq!(pool.with(handles[0], |object| object[8]), Some(0));
    /// assert!(pool.get(handles[1]).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn defragment(&self) -> DefragReport {
        self.defragment_with(Budget::unlimited())
    }

    /// The same within a budget, which the reclaiming does not count against; see
    /// [`Heap::defragment_with`].
    ///
    /// # Panics
    /// As [`flush`](Self::flush).
    pub fn defragment_with(&self, budget: Budget) -> DefragReport {
        self.flush();
        self.heap().defragment_with(budget)
    }

    /// The heap that the objects live in.
    pub fn heap(&self) -> &Heap {
        self.objects.table().heap()
    }
}

impl<T> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Bytes of a heap that holds `objects` objects of `T` in any case.
fn capacity_for<T>(objects: usize) -> usize {
    const GRANULE: usize = 16;
    let (size, align) = (size_of::<T>(), align_of::<T>());
    // A block takes its size or alignment, whichever is larger, in whole granules; rounding to a
    // size class, its header and its share of a page's remainder take less than that again and two
    // granules.
    let block = size.max(align).max(1).saturating_add(GRANULE - 1) / GRANULE * GRANULE;
    let worst = block.saturating_mul(2).saturating_add(2 * GRANULE);
    let blocks = worst.saturating_mul(objects);
    // Both ends of the buffer are aligned to pages, which are a 64th of it at most.
    blocks.saturating_add(blocks / 16).saturating_add(2 * align).max(1 << 10)
}
