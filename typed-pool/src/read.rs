//! Reading a pool: guards, pins, iterators.

use crate::iter::{Handles, Iter};
use crate::pinned::Pinned;
use crate::pool::Pool;
use crate::reference::{PoolGuard, Ref};
use allocator_core::{AccessError, Handle};

impl<T> Pool<T> {
    /// Opens a guard to read many objects with: the fastest way to read. Never waits. O(1).
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let pool = Pool::with_capacity(8)?;
    /// let handles = [pool.insert(1)?, pool.insert(2)?];
    /// let guard = pool.enter();
    /// assert_eq!(handles.iter().filter_map(|h| guard.get(*h)).sum::<i32>(), 3);
    /// # drop(guard);
    /// pool.remove(handles[0]);
    /// assert_eq!(pool.enter().get(handles[0]), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn enter(&self) -> PoolGuard<'_, T> {
        PoolGuard::new(self.objects.enter())
    }

    /// The object of `handle`, or `None` when the handle is stale. Opens a guard, which the [`Ref`]
    /// carries, and looks the handle up like [`PoolGuard::get`]. O(1).
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let pool = Pool::with_capacity(8)?;
    /// let handle = pool.insert("here")?;
    /// assert_eq!(pool.get(handle).as_deref(), Some(&"here"));
    /// pool.remove(handle);
    /// assert!(pool.get(handle).is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn get(&self, handle: Handle<T>) -> Option<Ref<'_, T>> {
        Some(Ref::new(self.objects.enter().into_shared(handle)?))
    }

    /// What `f` makes of the object, or `None` when the handle is stale. A guard is open while `f`
    /// runs. O(1).
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let pool = Pool::with_capacity(8)?;
    /// let handle = pool.insert(vec![1, 2, 3])?;
    /// assert_eq!(pool.with(handle, Vec::len), Some(3));
    /// pool.remove(handle);
    /// assert_eq!(pool.with(handle, Vec::len), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn with<R>(&self, handle: Handle<T>, f: impl FnOnce(&T) -> R) -> Option<R> {
        self.objects.enter().get(handle).map(f)
    }

    /// Pins the object: it stays where it is, alive, for as long as you like. One compare-and-swap
    /// on the object's header and two reference counts; waits for a copy of this very object at
    /// most.
    ///
    /// Needs `T: Sync` even on one thread: a pool may be sent elsewhere while pins of its objects
    /// stay behind.
    ///
    /// # Errors
    /// [`AccessError::Stale`], or [`AccessError::Busy`] when the object has 32,765 pins.
    ///
    /// ```
    /// # use typed_pool::{AccessError, Pool};
    /// let pool = Pool::with_capacity(8)?;
    /// let handle = pool.insert(String::from("kept"))?;
    /// let pinned = pool.pin(handle)?;
    /// assert!(pool.remove(handle));
    /// assert_eq!(*pinned, "kept");
    /// assert_eq!(pool.pin(handle).unwrap_err(), AccessError::Stale);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// ```compile_fail,E0277
    /// # use typed_pool::Pool;
    /// # use std::cell::Cell;
    /// let pool = Pool::with_capacity(8).unwrap();
    /// let pinned = pool.pin(pool.insert(Cell::new(1)).unwrap()).unwrap();
    /// std::thread::spawn(move || pool.iter().for_each(|(_, cell)| cell.set(2))); // would race
    /// println!("{}", pinned.get());
    /// ```
    pub fn pin(&self, handle: Handle<T>) -> Result<Pinned<T>, AccessError>
    where
        T: Sync,
    {
        Ok(Pinned::new(self.objects.hold(handle)?))
    }

    /// Whether `handle` names an object now. Never waits, opens no guard. O(1).
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let pool = Pool::with_capacity(8)?;
    /// let handle = pool.insert(1)?;
    /// assert!(pool.contains(handle));
    /// pool.remove(handle);
    /// assert!(!pool.contains(handle));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn contains(&self, handle: Handle<T>) -> bool {
        self.objects.table().contains(handle)
    }

    /// The objects of the pool with their handles, in no particular order.
    ///
    /// Weakly consistent: an object that is there from the call to the end is seen exactly once;
    /// one that is inserted or removed meanwhile may be seen or not. Each [`Ref`] has a guard of
    /// its own; [`PoolGuard::iter`] makes do with one. O(slots that were ever used).
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let pool = Pool::with_capacity(8)?;
    /// let (one, two) = (pool.insert(1)?, pool.insert(2)?);
    /// for (handle, value) in pool.iter() {
    ///     if *value == 1 {
    ///         pool.remove(handle); // allowed; `value` stays until it is dropped
    ///     }
    /// }
    /// assert!(!pool.contains(one) && pool.contains(two));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(&self.objects)
    }

    /// The handles of the objects; as [`iter`](Self::iter), but no guard is open between two of
    /// them, so each may be stale by the time it is used.
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let pool = Pool::with_capacity(8)?;
    /// let handle = pool.insert(1)?;
    /// assert!(pool.handles().eq([handle]));
    /// pool.remove(handle);
    /// assert_eq!(pool.handles().next(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handles(&self) -> Handles<'_, T> {
        Handles::new(&self.objects)
    }
}

impl<'p, T> IntoIterator for &'p Pool<T> {
    type Item = (Handle<T>, Ref<'p, T>);
    type IntoIter = Iter<'p, T>;

    fn into_iter(self) -> Iter<'p, T> {
        self.iter()
    }
}
