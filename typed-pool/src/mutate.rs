//! What needs `&mut Pool`: mutable borrows, drain, retain, clear.
//!
//! `&mut Pool` says that nobody reads the pool's objects through guards, though pins may exist, and
//! other threads may defragment the heap. So every mutable borrow carries a guard, which keeps its
//! object in place, and what is pinned is left alone.

use crate::ahead::ask_ahead_of;
use crate::iter::IterMut;
use crate::many::BATCH;
use crate::pool::Pool;
use crate::reference::RefMut;
use allocator_core::{Handle, TakeError};
use core::fmt;
use core::iter::FusedIterator;

impl<T> Pool<T> {
    /// The object of `handle`, mutably; `None` when the handle is stale or the object is pinned,
    /// like `Arc::get_mut`. Waits for a copy of this very object at most. O(1).
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let mut pool = Pool::with_capacity(8)?;
    /// let handle = pool.insert(vec![1])?;
    /// pool.get_mut(handle).unwrap().push(2);
    ///
    /// let pinned = pool.pin(handle)?;
    /// assert!(pool.get_mut(handle).is_none()); // `pinned` reads it
    /// assert_eq!(*pinned, [1, 2]);
    /// # drop(pinned);
    /// pool.remove(handle);
    /// assert!(pool.get_mut(handle).is_none()); // stale
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_mut(&mut self, handle: Handle<T>) -> Option<RefMut<'_, T>> {
        self.objects.exclusive(handle).map(RefMut::new)
    }

    /// Takes the value out at once: whoever has the pool alone waits for nobody but a copy of this very object, whatever guards
    /// of the heap are open, and may have guards itself. [`take`](Self::take) waits for all guards of the heap, those of other pools too. O(1).
    ///
    /// # Errors
    /// Stale, or pinned; the object is as it was.
    ///
    /// ```
    /// # use typed_pool::{Heap, Pool, TakeError};
    /// let heap = Heap::builder().capacity(1 << 16).build()?;
    /// let (mut pool, other) = (Pool::new(&heap)?, Pool::new(&heap)?);
    /// let (mine, theirs) = (pool.insert(String::from("mine"))?, other.insert(7)?);
    /// let reader = other.get(theirs);
    /// assert_eq!(pool.try_take(mine), Err(TakeError::OwnGuard)); // it does not know whose guard that is
    /// assert_eq!(pool.take_mut(mine)?, "mine");
    /// assert_eq!(pool.take_mut(mine), Err(TakeError::Stale));
    /// # drop(reader);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take_mut(&mut self, handle: Handle<T>) -> Result<T, TakeError> {
        self.objects.take_mut(handle)
    }

    /// All objects that are not pinned, mutably, with their handles. Each [`RefMut`] carries a
    /// guard of its own, so it may outlive the iterator. O(slots that were ever used).
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let mut pool = Pool::with_capacity(8)?;
    /// let (a, b) = (pool.insert(1)?, pool.insert(2)?);
    /// for (_, mut value) in pool.iter_mut() {
    ///     *value *= 10;
    /// }
    /// assert_eq!((pool.take(a)?, pool.take(b)?), (10, 20));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter_mut(&mut self) -> IterMut<'_, T> {
        IterMut::new(self.objects.walk())
    }

    /// Takes all values out, with the handles they had. Pinned objects stay in the pool.
    ///
    /// When the iterator is dropped early the rest is removed, as `Vec::drain` does it; when it is
    /// forgotten the rest stays. O(slots that were ever used).
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let mut pool = Pool::with_capacity(8)?;
    /// let (kept, gone) = (pool.insert(String::from("kept"))?, pool.insert(String::from("gone"))?);
    /// let pinned = pool.pin(kept)?;
    /// assert!(pool.drain().eq([(gone, String::from("gone"))]));
    /// assert!(pool.contains(kept) && !pool.contains(gone));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drain(&mut self) -> Drain<'_, T> {
        Drain { rest: Sweep::new(self, Pins::Keep) }
    }

    /// Removes the objects for which `keep` says no. Pinned objects stay without being asked.
    /// A guard is open for 64 slots at a time, also while `keep` runs. O(slots that were ever used).
    /// See [`remove_where`](Self::remove_where) for a pool that is shared.
    ///
    /// Removed objects are dropped before the call returns, unless a guard of the heap is open on
    /// some thread: then later, like any removed object.
    ///
    /// # Panics
    /// When `keep` does, or the `Drop` of a removed object. What `keep` said no to until then is
    /// removed, all the rest stays in the pool.
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let mut pool = Pool::with_capacity(8)?;
    /// let (odd, even) = (pool.insert(1)?, pool.insert(2)?);
    /// pool.retain(|_, value| *value % 2 == 0);
    /// assert!(!pool.contains(odd) && pool.contains(even));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn retain(&mut self, mut keep: impl FnMut(Handle<T>, &mut T) -> bool) {
        let mut slots = 0..self.objects.table().slots_used();
        let mut unwanted = Unwanted { pool: self, handles: Vec::with_capacity(BATCH as usize) };
        while !slots.is_empty() {
            let mut alone = unwanted.pool.objects.alone();
            for index in slots.by_ref().take(BATCH as usize) {
                ask_ahead_of::<T>(alone.table(), index);
                let Some(handle) = alone.handle_at(index) else { continue };
                if alone.get_mut(handle).is_some_and(|object| !keep(handle, object)) {
                    unwanted.handles.push(handle);
                }
            }
            // The guard is closed before the objects are removed, so that they can be reclaimed.
            drop(alone);
            unwanted.remove();
        }
        unwanted.pool.flush();
    }

    /// Removes all objects. Pinned ones are removed too, and live on until their last pin is gone
    /// and the pool reclaims, or is dropped. O(slots that were ever used).
    ///
    /// Objects are dropped before the call returns, unless a guard of the heap is open on some
    /// thread: then later, like any removed object.
    ///
    /// # Panics
    /// When the `Drop` of an object does. The rest is removed nevertheless, and dropped at the
    /// latest with the pool.
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let mut pool = Pool::with_capacity(8)?;
    /// let handle = pool.insert(1)?;
    /// pool.clear();
    /// assert!(pool.is_empty() && !pool.contains(handle));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear(&mut self) {
        drop(Sweep::new(self, Pins::Remove));
    }
}

impl<'p, T> IntoIterator for &'p mut Pool<T> {
    type Item = (Handle<T>, RefMut<'p, T>);
    type IntoIter = IterMut<'p, T>;

    fn into_iter(self) -> IterMut<'p, T> {
        self.iter_mut()
    }
}

/// Objects that are to be removed, at the latest when this is dropped.
struct Unwanted<'p, T> {
    pool: &'p mut Pool<T>,
    handles: Vec<Handle<T>>,
}

impl<T> Unwanted<'_, T> {
    fn remove(&mut self) {
        self.pool.remove_many(&self.handles);
        self.handles.clear();
    }
}

impl<T> Drop for Unwanted<'_, T> {
    fn drop(&mut self) {
        self.remove();
    }
}

/// What a sweep does with pinned objects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pins {
    Keep,
    Remove,
}

/// Removes what is left of a pool when it is dropped.
struct Sweep<'p, T> {
    pool: &'p mut Pool<T>,
    next: u32,
    end: u32,
    pins: Pins,
}

impl<'p, T> Sweep<'p, T> {
    fn new(pool: &'p mut Pool<T>, pins: Pins) -> Self {
        let end = pool.objects.table().slots_used();
        Self { pool, next: 0, end, pins }
    }

    /// The handle of the next object.
    fn next(&mut self) -> Option<Handle<T>> {
        while self.next < self.end {
            self.next += 1;
            let handle = self.pool.objects.enter().handle_at(self.next - 1);
            if handle.is_some() {
                return handle;
            }
        }
        None
    }

    fn remove_rest(&mut self) {
        while let Some(handle) = self.next() {
            if self.pins == Pins::Remove || self.pool.get_mut(handle).is_some() {
                self.pool.remove(handle);
            }
        }
    }
}

impl<T> Drop for Sweep<'_, T> {
    fn drop(&mut self) {
        /// Goes on when the `Drop` of an object panics.
        struct Rest<'a, 'p, T>(&'a mut Sweep<'p, T>);
        impl<T> Drop for Rest<'_, '_, T> {
            fn drop(&mut self) {
                self.0.remove_rest();
            }
        }
        if self.next < self.end {
            Rest(self).0.remove_rest();
            self.pool.flush();
        }
    }
}

/// The values of a pool, taken out one by one; made by [`Pool::drain`].
pub struct Drain<'p, T> {
    rest: Sweep<'p, T>,
}

impl<T> Iterator for Drain<'_, T> {
    type Item = (Handle<T>, T);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let handle = self.rest.next()?;
            if let Ok(value) = self.rest.pool.objects.take_mut(handle) {
                return Some((handle, value));
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some((self.rest.end - self.rest.next) as usize))
    }
}

impl<T> FusedIterator for Drain<'_, T> {}

impl<T> fmt::Debug for Drain<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").finish_non_exhaustive()
    }
}
