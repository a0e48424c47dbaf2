//! Objects that the pool may remove when room is needed: caches of what can be made again.
//!
//! The queue of their handles is the table's. Why a pool removes objects of its own only: they may have a `Drop`, and the
//! pool's callback is user code; both must run in a call on this pool, by a thread that may do so, with no lock held.

use crate::error::InsertError;
use crate::place::Vacant;
use crate::pool::Pool;
use allocator_core::{AllocError, AllocErrorKind, Handle, RoomReport};
use core::cell::Cell;
use core::fmt;
use core::panic::AssertUnwindSafe;

/// What [`Pool::on_purge`] was given.
type Told = dyn Fn(Handle<[u8]>) + Send + Sync;

/// Who is told of each purged object. Of no type, so that a pool may outlive what its objects borrow, as before.
pub(crate) struct OnPurge(AssertUnwindSafe<Box<Told>>);

impl fmt::Debug for OnPurge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnPurge")
    }
}

thread_local! {
    /// The thread is inside a callback of a purge.
    static IS_TELLING: Cell<bool> = const { Cell::new(false) };
}

/// As long as a callback runs.
struct Telling {
    /// It runs inside another one.
    is_nested: bool,
}

impl Telling {
    fn begin() -> Self {
        Self { is_nested: IS_TELLING.replace(true) }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        IS_TELLING.set(self.is_nested);
    }
}

/// Attempts of a call that others have purged for.
const TRIES: u32 = 100;

/// What one call has purged, and may purge still.
struct Purging {
    purged: usize,
    /// As many as there were when room turned out to be missing first, so that it ends also where the callback puts in others. When
    /// the call began there may have been fewer: others put in what fills the heap meanwhile.
    left: Option<usize>,
    /// How many the next attempt removes.
    count: usize,
    /// How often it may try again without having purged any, where others have.
    tries: u32,
    /// With so many objects that this thread retired and nobody could reclaim, the last attempt was in vain.
    retired_max: usize,
}

impl Purging {
    fn new() -> Self {
        Self { purged: 0, left: None, count: 1, tries: TRIES, retired_max: usize::MAX }
    }

    fn tries_again(&mut self) -> bool {
        self.tries = self.tries.saturating_sub(1);
        self.tries > 0
    }
}

impl<T> Pool<T> {
    /// Puts in a value that the pool may remove again when room is needed: one that can be made anew, or read from where
    /// it came from. Its handle is stale then, as after [`remove`](Self::remove). Costs what [`insert`](Self::insert) costs,
    /// a lock of some instructions, and some 8 to 32 bytes outside the heap. Those of objects that are gone are used again
    /// by later calls.
    ///
    /// *When*: where an `insert`, `insert_with`, `insert_many` or `extend` of this pool would be refused, after everything was reclaimed
    /// and (where the heap was built for that) moved that could be, and in [`make_room`](Self::make_room). Other pools and raw
    /// blocks of the heap never purge objects of this one: its objects are dropped by calls on itself only. *Which*:
    /// the objects that were put in longest ago first; pinned ones are passed over and count as new from then on. *How
    /// many*: as few as it takes, twice as many at each attempt. Nothing is purged by a thread that is inside a guard of the
    /// heap, which would keep what is purged, and no more where guards or pins of others turn out to: so while somebody keeps a
    /// guard open, each insert that is refused costs an object or two. Replacing an object purges nothing.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    ///
    /// # Panics
    /// As [`insert`](Self::insert), and when the callback of [`on_purge`](Self::on_purge) does. The value is dropped then.
    ///
    /// ```
    /// # use typed_pool::{Heap, Pool};
    /// let pages = Pool::new(&Heap::builder().capacity(64 << 10).build()?)?;
    /// let first = pages.insert_purgeable([0_u8; 4000])?;
    /// let kept = pages.insert([1; 4000])?;
    /// for _ in 0..100 {
    ///     pages.insert_purgeable([2; 4000])?; // never refused: older ones make room
    /// }
    /// assert!(pages.get(first).is_none() && pages.get(kept).is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn insert_purgeable(&self, value: T) -> Result<Handle<T>, InsertError<T>> {
        let handle = self.insert(value)?;
        self.allow_purge(handle);
        Ok(handle)
    }

    /// Lets the pool remove an object that is in it already, after all that it may remove before; see
    /// [`insert_purgeable`](Self::insert_purgeable). There is no way to take that back but to pin the object. No effect
    /// on a stale handle. A lock of some instructions; O(1) on average.
    ///
    /// Once for each object: another call for the same one does not make it newer, it is purged when the first of its
    /// turns comes. To keep what is used, put it in anew.
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let pool = Pool::with_capacity(8)?;
    /// let handle = pool.insert(7)?;
    /// pool.allow_purge(handle);
    /// assert_eq!(pool.purge(1), 1);
    /// assert!(!pool.contains(handle));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn allow_purge(&self, handle: Handle<T>) {
        self.objects.table().allow_purge(handle);
    }

    /// Calls `told` with the handle of each object that is purged from now on, in place of what was given before. The handle
    /// is stale by then; the object may not be dropped yet. Objects that are removed otherwise, or go with the pool, are
    /// not told.
    ///
    /// `told` runs on the thread whose call needs the room, inside that call, with no lock of the pool or heap held. It may
    /// use the pool; what it puts in purges nothing, in whatever pool, so it may be refused. Where it puts in purgeable objects,
    /// it may take the room that the call around it needs: that purges as many as there were when it found none, and is refused
    /// then. A [`purge`](Self::purge) in it does purge, and calls it again, inside itself. It must not ask for a lock that callers
    /// of `insert` hold either. When it panics, the panic goes to
    /// that caller; where the `Drop` of an object panicked just before, the process aborts.
    ///
    /// ```
    /// # use typed_pool::{Heap, Pool};
    /// use std::sync::{Arc, Mutex};
    ///
    /// let mut tiles = Pool::new(&Heap::builder().capacity(64 << 10).build()?)?;
    /// let purged = Arc::new(Mutex::new(Vec::new()));
    /// tiles.on_purge({
    ///     let purged = Arc::clone(&purged);
    ///     move |handle| purged.lock().unwrap().push(handle)
    /// });
    /// let handles: Vec<_> =
    ///     (0..100_u64).map(|i| tiles.insert_purgeable([i; 200])).collect::<Result<_, _>>()?;
    /// let purged = purged.lock().unwrap();
    /// assert!(!purged.is_empty() && handles.starts_with(&purged)); // the oldest
    /// assert_eq!(tiles.len(), 100 - purged.len());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_purge(&mut self, told: impl Fn(Handle<T>) + Send + Sync + 'static) {
        let told = move |handle: Handle<[u8]>| told(handle.cast());
        self.on_purge = Some(OnPurge(AssertUnwindSafe(Box::new(told))));
    }

    /// Removes up to `count` of the objects that may be, oldest first; their number. It looks at as many as there are when
    /// it begins, so it ends also where the callback puts in others. They are dropped as removed ones are,
    /// so guards and pins keep what they see. Works inside a guard too. Waits for no reader but a copy. O(count), and
    /// a look at each handle that is stale or pinned.
    ///
    /// # Panics
    /// As [`remove`](Self::remove), or when the callback of [`on_purge`](Self::on_purge) does. The removals so far have happened,
    /// and were told.
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let pool = Pool::with_capacity(8)?;
    /// let [a, b, c] = [1, 2, 3].map(|value| pool.insert_purgeable(value).unwrap());
    /// let pin = pool.pin(a)?;
    /// assert_eq!(pool.purge(1), 1); // `b`: the oldest that is not pinned
    /// assert!(pool.contains(a) && !pool.contains(b) && pool.contains(c));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn purge(&self, count: usize) -> usize {
        self.objects.table().purge(count, |handle| {
            if let Some(OnPurge(told)) = &self.on_purge {
                let _telling = Telling::begin();
                told(handle);
            }
        })
    }

    /// Makes contiguous room for a block of `bytes` aligned to `align`, as [`Heap::make_room`](crate::Heap::make_room) does,
    /// for whatever pool of the heap; where moving does not help, purges objects of this pool: one, then twice as many at
    /// each attempt, until there is room, none is left, or guards turn out to keep them. More may go than would have been
    /// enough. The report's `purged` is their number, its `defrag` that of the last attempt. Nothing is purged by a thread
    /// inside a guard of the heap, for a block that [never fits](RoomReport::never_fits), or while there are as many free bytes
    /// and only another defragmentation [keeps](crate::DefragReport::mover_busy) them from being moved together.
    ///
    /// Each attempt waits as [`Heap::make_room`](crate::Heap::make_room) does, for guards up to the heap's patience, and
    /// costs what that does, and a look at all slots.
    ///
    /// # Panics
    /// As [`flush`](Self::flush) and [`purge`](Self::purge).
    ///
    /// ```
    /// # use typed_pool::{Heap, Pool};
    /// let heap = Heap::builder().capacity(64 << 10).build()?;
    /// let cache = Pool::new(&heap)?;
    /// while heap.stats().free_bytes > 2000 {
    ///     cache.insert_purgeable([0_u8; 1000])?;
    /// }
    /// assert!(!heap.make_room(20_000, 1).fits);
    /// let report = cache.make_room(20_000, 1);
    /// assert!(report.fits && report.purged > 0 && !cache.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn make_room(&self, bytes: usize, align: usize) -> RoomReport {
        self.flush();
        let mut report = self.heap().make_room(bytes, align);
        let mut purging = Purging::new();
        while !report.fits && !report.never_fits {
            // Moving may help yet.
            let is_early = report.defrag.mover_busy && bytes <= report.free_bytes;
            if is_early || !self.purge_more(&mut purging) {
                break;
            }
            self.flush();
            report = self.heap().make_room(bytes, align);
        }
        report.purged = purging.purged;
        report
    }

    /// A place for a new object, purging others where there is none.
    #[cold]
    pub(crate) fn vacant_after_purge(&self) -> Result<Vacant<'_, T>, AllocError> {
        let table = self.objects.table();
        let mut purging = Purging::new();
        loop {
            let before = table.purged();
            let mut error = match self.objects.vacant() {
                Ok(vacant) => return Ok(vacant),
                Err(error) => error,
            };
            let helps =
                matches!(error.kind, AllocErrorKind::OutOfMemory | AllocErrorKind::OutOfSlots);
            if helps && self.purge_more(&mut purging) {
                continue;
            }
            // What other threads have purged meanwhile may be there by now, though nothing is left for this one.
            if !helps || !purging.tries_again() || !self.may_purge() || table.purged() == before {
                error.purged = purging.purged;
                return Err(error);
            }
        }
    }

    /// Whether purging can be of use here. Inside an own guard it is not; and each purge inside a callback would run the callback
    /// again, as deep as there are objects.
    fn may_purge(&self) -> bool {
        !self.heap().is_entered() && !IS_TELLING.get()
    }

    /// Purges twice as many as the last time; false where that is of no use: none is left, or readers keep them.
    fn purge_more(&self, purging: &mut Purging) -> bool {
        let table = self.objects.table();
        let retired = table.retired_here();
        // Where guards keep all of what was purged, they would keep more of it too.
        let is_in_vain = retired >= purging.retired_max;
        if is_in_vain || !self.may_purge() {
            return false;
        }
        let left = purging.left.get_or_insert_with(|| table.purgeable());
        let now = self.purge(purging.count.min(*left));
        *left -= now;
        purging.retired_max = retired.saturating_add(now);
        purging.count = purging.count.saturating_mul(2);
        purging.purged += now;
        now > 0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_before_room_was_missing_may_go() {
        let pool = Pool::with_capacity(10).unwrap();
        // A call begins, and waits for a processor while others fill the heap.
        let mut purging = Purging::new();
        let handles = [1, 2, 3].map(|value| pool.insert_purgeable(value).unwrap());
        assert!(pool.purge_more(&mut purging));
        assert!(!pool.contains(handles[0]));
        // What comes after that is not its.
        pool.flush();
        let later = [4, 5, 6].map(|value| pool.insert_purgeable(value).unwrap());
        while pool.purge_more(&mut purging) {
            pool.flush();
        }
        assert_eq!((purging.purged, pool.len()), (3, 3));
        assert!(later.iter().all(|handle| pool.contains(*handle)));
    }
}
