//! [`Pinned`]: a counted hold on one object.

use crate::place::Held;
use allocator_core::AccessError;
use core::fmt;
use core::ops::Deref;

/// An object of a pool that is pinned: it is neither moved nor dropped before its last pin is. Made
/// by [`Pool::pin`](crate::Pool::pin).
///
/// Unlike a guard it may be kept as long as you like, held across an `.await` and sent to other
/// threads, and it delays nothing but its own object. It outlives the pool, and keeps the heap's
/// memory alive. 32 bytes; making and dropping one writes to the object's header and to two
/// reference counts.
///
/// * When the object is removed, its last pin does not drop it at once: that is left to the pool's
///   next reclamation. When the pool is gone, the last pin drops the object, on whatever thread
///   that is.
/// * [`take`](crate::Pool::take) and everything that needs `&mut Pool` leaves a pinned object
///   alone.
/// * [`replace`](crate::Pool::replace) swaps the version below its handle; a pin keeps the one it
///   saw.
/// * An object that holds a pin on itself, or on another in a circle, is never dropped, as with
///   `Arc`.
///
/// It is no [`Pin`](core::pin::Pin): once the last pin is gone, the object may be moved again.
///
/// `Send` and `Sync` where `T: Send + Sync`, for the reasons that `Arc` has: clones give `&T` on
/// several threads, and whichever is last may drop the value.
///
/// ```
/// use typed_pool::Pool;
/// let pool = Pool::with_capacity(8)?;
/// let handle = pool.insert(String::from("session"))?;
/// let pinned = pool.pin(handle)?;
/// std::thread::spawn({
///     let pinned = pinned.clone();
///     move || assert_eq!(*pinned, "session")
/// })
/// .join()
/// .unwrap();
/// pool.remove(handle);
/// assert!(pool.pin(handle).is_err()); // stale
/// drop(pool);
/// assert_eq!(*pinned, "session"); // still there
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pinned<T> {
    held: Held<T>,
}

impl<T> Pinned<T> {
    pub(crate) fn new(held: Held<T>) -> Self {
        Self { held }
    }

    /// One more pin of the same object. O(1), never waits.
    ///
    /// # Errors
    /// [`AccessError::Busy`] when the object has 32,765 pins, as many as can be counted.
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let pool = Pool::with_capacity(8)?;
    /// let first = pool.pin(pool.insert(7)?)?;
    /// let second = first.try_clone()?;
    /// drop(first);
    /// assert_eq!(*second, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_clone(&self) -> Result<Self, AccessError> {
        Ok(Self { held: self.held.try_clone()? })
    }
}

impl<T> Clone for Pinned<T> {
    /// One more pin of the same object.
    ///
    /// # Panics
    /// When the object has 32,765 pins, as many as can be counted; see
    /// [`try_clone`](Pinned::try_clone).
    fn clone(&self) -> Self {
        self.try_clone().expect("an object has at most 32,765 pins")
    }
}

impl<T> Deref for Pinned<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.held.get()
    }
}

impl<T> AsRef<T> for Pinned<T> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<T: fmt::Debug> fmt::Debug for Pinned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

impl<T: fmt::Display> fmt::Display for Pinned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}
