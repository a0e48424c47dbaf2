//! Taking values out of a shared pool, and putting new versions in.

use crate::error::{RcuError, ReplaceError};
use crate::place::Missed;
use crate::pool::Pool;
use allocator_core::{Handle, TakeError};

impl<T> Pool<T> {
    /// Takes the value out, once nobody reads it: waits for readers of other threads and for a
    /// running defragmentation, up to the heap's patience (1 s by default).
    ///
    /// When it returns nobody sees the object any more, so the value is really the caller's.
    /// Guards of other pools of the heap count as well: who has the pool as `&mut` need not wait for any, with
    /// [`take_mut`](Self::take_mut). Objects that need not come back are cheaper to [`remove`](Self::remove). One barrier and a
    /// grace period a call; one such call of a heap runs at a time.
    ///
    /// # Errors
    /// Stale; pinned; guards of other threads stayed open; or the calling thread has a guard of the
    /// heap open itself (a [`Ref`](crate::Ref) is one), for which it would wait for ever. The
    /// object is as it was.
    ///
    /// ```
    /// # use typed_pool::{Pool, TakeError};
    /// let pool = Pool::with_capacity(8)?;
    /// let handle = pool.insert(String::from("mine"))?;
    /// let reader = pool.get(handle);
    /// assert_eq!(pool.take(handle), Err(TakeError::OwnGuard));
    /// drop(reader);
    /// assert_eq!(pool.take(handle)?, "mine");
    /// assert_eq!(pool.take(handle), Err(TakeError::Stale));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn take(&self, handle: Handle<T>) -> Result<T, TakeError> {
        self.objects.take(handle, true)
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// As [`take`](Self::take), with [`TakeError::Busy`] where that would wait: a guard of the heap
    /// is open on any thread, whatever it reads, or a defragmentation is running.
    ///
    /// ```
    /// # use typed_pool::{Pool, TakeError};
    /// let pool = Pool::with_capacity(8)?;
    /// let handle = pool.insert(String::from("mine"))?;
    /// let pinned = pool.pin(handle)?;
    /// assert_eq!(pool.try_take(handle), Err(TakeError::Pinned));
    /// drop(pinned);
    /// assert_eq!(pool.try_take(handle)?, "mine");
    /// assert_eq!(pool.try_take(handle), Err(TakeError::Stale));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_take(&self, handle: Handle<T>) -> Result<T, TakeError> {
        self.objects.take(handle, false)
    }

    /// Puts `value` in place of the object: who looks the handle up from now on finds it, who sees
    /// the old version keeps that. The old version is dropped like a removed object.
    ///
    /// Costs an insert's block (both versions exist for a moment) and one compare-and-swap. Never
    /// waits for readers. When several threads replace an object, all succeed, one after the other.
    ///
    /// # Errors
    /// Stale, or no room for the second version. The error gives the value back; the object is as
    /// it was.
    ///
    /// # Panics
    /// When the `Drop` of an object that was removed earlier panics.
    ///
    /// ```
    /// # use typed_pool::{Pool, RcuError};
    /// let pool = Pool::with_capacity(8)?;
    /// let handle = pool.insert("old".to_string())?;
    /// let reader = pool.get(handle).unwrap();
    /// pool.replace(handle, "new".to_string())?;
    /// assert_eq!((reader.as_str(), pool.get(handle).unwrap().as_str()), ("old", "new"));
    /// # drop(reader);
    /// pool.remove(handle);
    /// let refused = pool.replace(handle, "newer".to_string()).unwrap_err();
    /// assert_eq!((refused.error, refused.value), (RcuError::Stale, "newer".to_string()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn replace(&self, handle: Handle<T>, mut value: T) -> Result<(), ReplaceError<T>> {
        if !self.contains(handle) {
            return Err(ReplaceError { value, error: RcuError::Stale });
        }
        let mut room = match self.objects.room(handle) {
            Ok(room) => room,
            Err(error) => return Err(ReplaceError { value, error: error.into() }),
        };
        loop {
            match room.swap(value, |value, _| value) {
                Ok(()) => return Ok(()),
                Err(Missed::Stale(value)) => {
                    return Err(ReplaceError { value, error: RcuError::Stale });
                }
                Err(Missed::Lost(again, back)) => (room, value) = (again, back),
            }
        }
    }

    /// Replaces the object by what `make` computes from it (read, copy, update). When another
    /// thread replaces it meanwhile, `make` is called again with the new version, and what it gave
    /// first is dropped: no update is lost.
    ///
    /// Costs what [`replace`](Self::replace) costs, once; `make` runs under a guard, once more for
    /// each version that came first. Never waits for readers. A `make` that replaces this
    /// object is called again for that, so one that does it each time is called without an end.
    ///
    /// # Errors
    /// Stale, or no room for the second version. The object is as it was.
    ///
    /// # Panics
    /// When `make` does; the object is as it was. Or as [`replace`](Self::replace).
    ///
    /// ```
    /// # use typed_pool::{Pool, RcuError};
    /// let pool = Pool::with_capacity(8)?;
    /// let counts = pool.insert(vec![0; 3])?;
    /// std::thread::scope(|s| {
    ///     for i in [0, 1, 2, 2] {
    ///         let (pool, counts) = (&pool, counts);
    ///         s.spawn(move || {
    ///             pool.rcu(counts, |old| {
    ///                 let mut new = old.clone();
    ///                 new[i] += 1;
    ///                 new
    ///             })
    ///         });
    ///     }
    /// });
    /// assert_eq!(*pool.get(counts).unwrap(), [1, 1, 2]);
    /// pool.remove(counts);
    /// assert_eq!(pool.rcu(counts, Vec::clone), Err(RcuError::Stale));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn rcu(&self, handle: Handle<T>, mut make: impl FnMut(&T) -> T) -> Result<(), RcuError> {
        if !self.contains(handle) {
            return Err(RcuError::Stale);
        }
        let mut room = self.objects.room(handle)?;
        loop {
            match room.swap((), |(), old| make(old)) {
                Ok(()) => return Ok(()),
                Err(Missed::Stale(())) => return Err(RcuError::Stale),
                // The version that nobody saw is dropped outside of the guard.
                Err(Missed::Lost(again, _unseen)) => room = again,
            }
        }
    }
}
