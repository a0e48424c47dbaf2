//! What reads and writes objects: [`PoolGuard`], [`Ref`], [`RefMut`].

use crate::iter::{AddressIter, GetMany, GuardIter};
use crate::place::{Exclusive, Section, Shared};
use allocator_core::Handle;
use core::borrow::Borrow;
use core::fmt;
use core::ops::{Deref, DerefMut};

/// A read-side section of a pool's heap, shared by many reads; made by
/// [`Pool::enter`](crate::Pool::enter).
///
/// Cheap to open (two plain stores where the heap's fence is asymmetric and the thread reads
/// often), may be nested, and meant to be short. What it has shown stays where it is, alive, until
/// it is dropped: a guard that stays open delays moves and the `Drop` of removed objects, and
/// nothing else. It cannot leave its thread. While a thread has one open, its own
/// [`take`](crate::Pool::take) and [`defragment`](crate::Pool::defragment) do nothing and say so,
/// since they would wait for themselves.
///
/// ```
/// use typed_pool::Pool;
/// let pool = Pool::with_capacity(8)?;
/// let (a, b) = (pool.insert(1)?, pool.insert(2)?);
/// let guard = pool.enter();
/// let one = guard.get(a).unwrap();
/// pool.remove(a);
/// assert_eq!(guard.get(a), None); // stale for new look-ups
/// assert_eq!(one + guard.get(b).unwrap(), 3); // what was found stays until the guard is dropped
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PoolGuard<'p, T> {
    section: Section<'p, T>,
}

impl<'p, T> PoolGuard<'p, T> {
    #[inline(always)]
    pub(crate) fn new(section: Section<'p, T>) -> Self {
        Self { section }
    }

    /// The object of `handle`, or `None` when the handle is stale.
    ///
    /// One load, one compare (and a bounds check), one add; no lock, and nothing shared is written.
    /// Where a move of the object is planned the move is cancelled; where its bytes are being
    /// copied at this moment the call waits for the copy of this one object. O(1).
    #[inline]
    pub fn get(&self, handle: Handle<T>) -> Option<&T> {
        self.section.get(handle)
    }

    /// The objects of many handles, in their order; `None` for each that is stale. The handles may be
    /// a slice, or anything else that gives handles or references to them, such as
    /// `edges.iter().map(|edge| edge.to)`.
    ///
    /// Asks for slots and objects before their turn comes, so that the cache misses of many handles
    /// overlap: with objects beyond the cache two to six times as fast as [`get`](Self::get) in a
    /// loop that does something with each object or reads it whole, if it is larger than a cache line.
    /// With objects that are in the cache it costs some nanoseconds each. The handles are gone through
    /// three times, a few apart, hence the `Clone`. Otherwise as `get`, one after the other, each when
    /// its turn comes. O(1) each.
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let pool = Pool::with_capacity(8)?;
    /// let handles = [pool.insert("a")?, pool.insert("b")?, pool.insert("c")?];
    /// pool.remove(handles[1]);
    /// let guard = pool.enter();
    /// assert!(guard.get_many(&handles).eq([Some(&"a"), None, Some(&"c")]));
    /// let backwards: Vec<_> = guard.get_many(handles.iter().rev()).flatten().collect();
    /// assert_eq!(backwards, [&"c", &"a"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn get_many<I>(&self, handles: I) -> GetMany<'_, T, I::IntoIter>
    where
        I: IntoIterator<Item: Borrow<Handle<T>>, IntoIter: Clone>,
    {
        GetMany::new(&self.section, handles.into_iter())
    }

    /// The objects of the pool with their handles; see [`Pool::iter`](crate::Pool::iter) for what
    /// is seen while others insert and remove. Cheaper than that, since this guard serves all
    /// objects; it delays moves until it is dropped. O(slots that were ever used).
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let pool = Pool::with_capacity(8)?;
    /// let gone = pool.insert(1)?;
    /// pool.insert(2)?;
    /// pool.remove(gone);
    /// let guard = pool.enter();
    /// assert_eq!(guard.iter().map(|(_, value)| value).collect::<Vec<_>>(), [&2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> GuardIter<'_, T> {
        GuardIter::new(&self.section)
    }

    /// The objects of the pool with their handles in the order of their addresses, for walks over
    /// many objects that are read whole: memory is then read from one end to the other. Weakly
    /// consistent like [`iter`](Self::iter): the order is that at the call, an object is seen in the
    /// version that it has when its turn comes, and what is removed before that is left out.
    ///
    /// O(n log n) for n slots that were ever used, 8 bytes for each object, and both are spent before
    /// the first object comes: some 15 ns an object where addresses and slots have nothing to do with
    /// each other. It pays for objects of 512 bytes and more, or, with smaller ones, when the order is
    /// kept for later walks: what is collected from here stays nearly sorted until much was removed
    /// or moved. In a pool from which little was ever removed [`iter`](Self::iter) has this order
    /// already.
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let pool = Pool::with_capacity(8)?;
    /// let gone = pool.insert([0; 100])?;
    /// pool.insert([1; 100])?;
    /// pool.insert([2; 100])?;
    /// pool.remove(gone);
    /// let guard = pool.enter();
    /// let found: Vec<_> = guard.iter_by_address().collect();
    /// assert_eq!(found.len(), 2); // no stale one
    /// assert!(found.is_sorted_by_key(|(_, object)| std::ptr::from_ref(*object)));
    ///
    /// // The order, for later:
    /// let handles: Vec<_> = found.iter().map(|(handle, _)| *handle).collect();
    /// pool.remove(handles[0]);
    /// assert_eq!(guard.get_many(&handles).flatten().count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter_by_address(&self) -> AddressIter<'_, T> {
        AddressIter::new(&self.section)
    }
}

impl<'g, T> IntoIterator for &'g PoolGuard<'_, T> {
    type Item = (Handle<T>, &'g T);
    type IntoIter = GuardIter<'g, T>;

    fn into_iter(self) -> GuardIter<'g, T> {
        self.iter()
    }
}

impl<T> fmt::Debug for PoolGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolGuard").finish_non_exhaustive()
    }
}

/// An object of a pool, borrowed together with other readers; made by
/// [`Pool::get`](crate::Pool::get).
///
/// It carries a guard of its own, so all that is said of [`PoolGuard`] holds: short, and on one
/// thread. For a borrow that lasts, or goes elsewhere, see [`Pinned`](crate::Pinned).
///
/// ```
/// # use typed_pool::Pool;
/// let pool = Pool::with_capacity(8)?;
/// let handle = pool.insert("text".to_string())?;
/// let text = pool.get(handle).unwrap();
/// pool.remove(handle);
/// assert_eq!(*text, "text"); // alive until `text` is dropped
/// assert!(pool.get(handle).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Ref<'p, T> {
    object: Shared<'p, T>,
}

impl<'p, T> Ref<'p, T> {
    #[inline(always)]
    pub(crate) fn new(object: Shared<'p, T>) -> Self {
        Self { object }
    }
}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.object.get()
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

impl<T: fmt::Display> fmt::Display for Ref<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

/// An object of a pool, borrowed alone; made by [`Pool::get_mut`](crate::Pool::get_mut).
///
/// The pool is borrowed mutably, so nobody else reads its objects; but threads that share the heap
/// may defragment it. Therefore it carries a guard, which keeps the object in place, and stays on
/// its thread.
///
/// ```
/// # use typed_pool::Pool;
/// let mut pool = Pool::with_capacity(8)?;
/// let handle = pool.insert(1)?;
/// *pool.get_mut(handle).unwrap() += 1;
/// assert_eq!(pool.take(handle)?, 2);
/// assert!(pool.get_mut(handle).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RefMut<'p, T> {
    object: Exclusive<'p, T>,
}

impl<'p, T> RefMut<'p, T> {
    pub(crate) fn new(object: Exclusive<'p, T>) -> Self {
        Self { object }
    }
}

impl<T> Deref for RefMut<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.object.get()
    }
}

impl<T> DerefMut for RefMut<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.object.get_mut()
    }
}

impl<T: fmt::Debug> fmt::Debug for RefMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}

impl<T: fmt::Display> fmt::Display for RefMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::fmt(self, f)
    }
}
