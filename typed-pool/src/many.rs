//! Many objects in one call: reading, putting in, removing.
//!
//! Guards are opened for [`BATCH`] objects at a time, so that a long call delays moves and
//! reclamation no more than a short one.

use crate::ahead::{Ahead, SLOTS_AHEAD, ask_ahead_of};
use crate::error::{InsertError, InsertManyError};
use crate::pool::Pool;
use allocator_core::Handle;
use core::borrow::Borrow;

/// How many objects, or slots, one guard serves.
pub(crate) const BATCH: u32 = if cfg!(any(loom, miri)) { 4 } else { 64 };

/// Handles for which room is made ahead, whatever an iterator promises.
const PROMISED: usize = 1 << 12;

impl<T> Pool<T> {
    /// Calls `f` with each handle and its object, or `None` where the handle is stale, in the order of
    /// the handles. Fast as [`PoolGuard::get_many`](crate::PoolGuard::get_many), which says what can be
    /// given as handles; but a guard is open for 64 objects at a time only, so a long batch delays
    /// neither moves nor the `Drop` of removed objects. O(1) each.
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let pool = Pool::with_capacity(8)?;
    /// let handles = pool.insert_many([1, 20, 300])?;
    /// pool.remove(handles[1]);
    /// let (mut sum, mut stale) = (0, 0);
    /// pool.with_many(&handles, |_, value| match value {
    ///     Some(value) => sum += value,
    ///     None => stale += 1,
    /// });
    /// assert_eq!((sum, stale), (301, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_many<I>(&self, handles: I, mut f: impl FnMut(Handle<T>, Option<&T>))
    where
        I: IntoIterator<Item: Borrow<Handle<T>>, IntoIter: Clone>,
    {
        let table = self.objects.table();
        let mut handles = Ahead::new(table, handles.into_iter());
        loop {
            let section = self.objects.enter();
            for _ in 0..BATCH {
                let Some(handle) = handles.next(table) else { return };
                f(handle, section.get(handle));
            }
        }
    }

    /// Puts many values in; gives their handles, in the order of the values. Costs what
    /// [`insert`](Self::insert) costs for each, and the vector. The iterator may use the pool.
    ///
    /// # Errors
    /// Out of memory or slots. Nothing is lost: the error has the handles of what is in, the value that
    /// had no room, and the rest of the iterator.
    ///
    /// # Panics
    /// When the iterator does, or, where the heap is full, the `Drop` of an object that is reclaimed.
    /// What the call has put in is removed then: nobody was told the handles.
    ///
    /// ```
    /// # use typed_pool::{Heap, Pool};
    /// let pool = Pool::new(&Heap::builder().capacity(4096).build()?)?;
    /// let few = pool.insert_many(["a", "b"].map(String::from))?;
    /// pool.remove(few[0]);
    /// assert!(pool.get(few[0]).is_none() && *pool.get(few[1]).unwrap() == "b");
    ///
    /// let refused = pool.insert_many((0..1000).map(|i| i.to_string())).unwrap_err();
    /// let inserted = refused.handles.len();
    /// assert!(pool.len() == 1 + inserted && refused.value == inserted.to_string());
    /// assert_eq!(refused.into_values().count(), 1000 - inserted);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn insert_many<I: IntoIterator<Item = T>>(
        &self,
        values: I,
    ) -> Result<Vec<Handle<T>>, InsertManyError<T, I::IntoIter>> {
        let mut rest = values.into_iter();
        let promised = rest.size_hint().0.min(PROMISED);
        let mut untold = Untold { pool: self, handles: Vec::with_capacity(promised) };
        while let Some(value) = rest.next() {
            match self.insert(value) {
                Ok(handle) => untold.handles.push(handle),
                Err(InsertError { value, error }) => {
                    return Err(InsertManyError { handles: untold.tell(), value, rest, error });
                }
            }
        }
        Ok(untold.tell())
    }

    /// Removes many objects, each as [`remove`](Self::remove) does it; gives how many there were.
    /// Stale handles are ignored, and so is a handle that comes again. Asks for slots before their
    /// turn comes, so that their cache misses overlap. O(1) each.
    ///
    /// # Panics
    /// When the `Drop` of an object that was removed earlier panics. All the handles are stale
    /// nevertheless; a second panic aborts, as in a `Vec`.
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let pool = Pool::with_capacity(8)?;
    /// let handles = pool.insert_many(1..=3)?;
    /// assert_eq!(pool.remove_many(&handles[..2]), 2);
    /// assert_eq!(pool.remove_many(&handles), 1); // two are stale
    /// assert!(pool.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove_many(&self, handles: &[Handle<T>]) -> usize {
        let mut removal = Removal { pool: self, handles, next: 0, removed: 0 };
        removal.run();
        removal.removed
    }

    /// Removes the objects for which `which` says yes, while other threads use the pool; gives their
    /// number. What is seen while others insert and remove is as with [`iter`](Self::iter). An object
    /// that is replaced between question and removal stays: its new version was not asked for. What
    /// others change *inside* it in between, by a `Mutex` or atomics, is not noticed.
    ///
    /// A guard is open for 64 slots at a time, also while `which` runs. O(slots that were ever used).
    /// See [`retain`](Self::retain) for who has the pool alone.
    ///
    /// # Panics
    /// When `which` does, or the `Drop` of an object that was removed earlier. What was asked for until
    /// then and had a yes is removed, all the rest is not.
    ///
    /// ```
    /// # use typed_pool::Pool;
    /// let sessions = Pool::with_capacity(8)?;
    /// let handles = sessions.insert_many([5, 60, 70])?; // minutes of silence
    /// assert_eq!(sessions.remove_where(|_, silent| *silent >= 30), 2);
    /// assert!(sessions.contains(handles[0]) && !sessions.contains(handles[1]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove_where(&self, mut which: impl FnMut(Handle<T>, &T) -> bool) -> usize {
        let table = self.objects.table();
        let mut slots = 0..table.slots_used();
        let mut removed = 0;
        while !slots.is_empty() {
            let section = self.objects.enter();
            for index in slots.by_ref().take(BATCH as usize) {
                ask_ahead_of::<T>(table, index);
                let Some(handle) = section.handle_at(index) else { continue };
                let Some(object) = section.get(handle) else { continue };
                if which(handle, object) {
                    removed += usize::from(section.remove_found(handle, object));
                }
            }
        }
        removed
    }
}

/// Handles of objects that were put in. Dropping it removes the objects.
struct Untold<'p, T> {
    pool: &'p Pool<T>,
    handles: Vec<Handle<T>>,
}

impl<T> Untold<'_, T> {
    /// The objects are the business of who asked for them from now on.
    fn tell(mut self) -> Vec<Handle<T>> {
        core::mem::take(&mut self.handles)
    }
}

impl<T> Drop for Untold<'_, T> {
    fn drop(&mut self) {
        self.pool.remove_many(&self.handles);
    }
}

/// Removes objects; the rest too, when the `Drop` of one panics.
struct Removal<'a, T> {
    pool: &'a Pool<T>,
    handles: &'a [Handle<T>],
    next: usize,
    removed: usize,
}

impl<T> Removal<'_, T> {
    fn run(&mut self) {
        let table = self.pool.objects.table();
        let rest = self.handles.iter().skip(self.next);
        rest.take(SLOTS_AHEAD).for_each(|soon| table.prefetch_slot(soon.index()));
        while let Some(handle) = self.handles.get(self.next) {
            if let Some(later) = self.handles.get(self.next + SLOTS_AHEAD) {
                table.prefetch_slot(later.index());
            }
            self.next += 1;
            self.removed += usize::from(self.pool.remove(*handle));
        }
    }
}

impl<T> Drop for Removal<'_, T> {
    fn drop(&mut self) {
        // Nothing is left unless a panic ended the run.
        self.run();
    }
}

/// As [`Pool::insert_many`], for pools whose objects are found by [`iter`](Pool::iter) or
/// [`handles`](Pool::handles): these handles nobody is told.
///
/// # Panics
/// When there is no room, as `Vec` without memory, since `extend` cannot refuse: the rest of the
/// iterator is dropped then. When the iterator panics, or the `Drop` of an object that is reclaimed.
/// What was put in stays.
///
/// ```
/// # use typed_pool::Pool;
/// let mut pool = Pool::with_capacity(8)?;
/// pool.extend(["a", "b"]);
/// (&pool).extend(["c"]); // a shared one
/// assert_eq!(pool.len(), 3);
/// let gone = pool.handles().next().unwrap();
/// pool.remove(gone);
/// assert!(!pool.contains(gone) && pool.len() == 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl<T> Extend<T> for Pool<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        (&*self).extend(values);
    }
}

/// The same for a pool that is shared.
impl<T> Extend<T> for &Pool<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, values: I) {
        for value in values {
            if let Err(refused) = self.insert(value) {
                panic!("no room to extend a pool: {}", refused.error);
            }
        }
    }
}
