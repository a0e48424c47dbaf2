//! What a contestant of each question can do.

use crate::object::Object;
use std::num::NonZeroU32;

/// What has a name, can be made, and knows what it holds.
pub trait Make: Sized + 'static {
    /// The name in tables.
    const NAME: &'static str;

    /// An empty one with room for `objects` objects, as far as it can be told.
    fn with_room(objects: usize) -> Self;

    /// The number of objects; for the checks, when nobody else uses it.
    fn live(&mut self) -> usize;
}

/// What hands out a key for each object, on one thread.
pub trait Store {
    /// Names an object.
    type Key: Copy + Send + Sync + 'static;

    /// Puts an object in.
    fn insert(&mut self, object: Object) -> Self::Key;

    /// Ends the life of an object; whether there was one.
    fn remove(&mut self, key: Self::Key) -> bool;

    /// A copy of an object; for the checks.
    fn find(&self, key: Self::Key) -> Option<Object>;
}

/// What does the same for several threads at a time.
pub trait SharedStore: Sync {
    /// Names an object.
    type Key: Copy + Send + Sync + 'static;

    /// Puts an object in.
    fn insert(&self, object: Object) -> Self::Key;

    /// Ends the life of an object; whether there was one.
    fn remove(&self, key: Self::Key) -> bool;

    /// A copy of an object; for the checks.
    fn find(&self, key: Self::Key) -> Option<Object>;
}

impl<S: SharedStore> Store for S {
    type Key = S::Key;

    #[inline]
    fn insert(&mut self, object: Object) -> S::Key {
        SharedStore::insert(self, object)
    }

    #[inline]
    fn remove(&mut self, key: S::Key) -> bool {
        SharedStore::remove(self, key)
    }

    fn find(&self, key: S::Key) -> Option<Object> {
        SharedStore::find(self, key)
    }
}

/// A shared store as one of its threads sees it.
#[derive(Debug)]
pub struct By<'s, S>(pub &'s S);

impl<S: SharedStore> Store for By<'_, S> {
    type Key = S::Key;

    #[inline]
    fn insert(&mut self, object: Object) -> S::Key {
        self.0.insert(object)
    }

    #[inline]
    fn remove(&mut self, key: S::Key) -> bool {
        self.0.remove(key)
    }

    fn find(&self, key: S::Key) -> Option<Object> {
        self.0.find(key)
    }
}

/// Objects that can be read by key; they need not come and go. Stores are collections.
pub trait Collection: Sized + Sync + 'static {
    /// Names an object.
    type Key: Copy + Send + Sync + 'static;

    /// The objects with the numbers below `count`, and their keys in that order.
    fn fill(count: usize) -> (Self, Vec<Self::Key>);

    /// A copy of an object; for the checks.
    fn find(&self, key: Self::Key) -> Option<Object>;
}

impl<S: Store + Make + Sync> Collection for S {
    type Key = S::Key;

    fn fill(count: usize) -> (Self, Vec<S::Key>) {
        let mut store = S::with_room(count);
        let keys = (0..count as u64).map(|number| store.insert(Object::new(number))).collect();
        (store, keys)
    }

    fn find(&self, key: S::Key) -> Option<Object> {
        Store::find(self, key)
    }
}

/// A way to read objects.
pub trait Reader: 'static {
    /// The name in tables.
    const NAME: &'static str;

    /// What is read.
    type From: Collection;

    /// Looks each key up, reads the object, and adds up the values: what is timed.
    ///
    /// # Panics
    /// When a key finds nothing.
    fn sum(objects: &Self::From, keys: &[<Self::From as Collection>::Key]) -> u64;
}

/// Raw blocks in numbered places.
pub trait BlockSet: Sized + 'static {
    /// The name in tables.
    const NAME: &'static str;

    /// None yet; with room for blocks of `bytes` in all.
    fn with_room(bytes: usize) -> Self;

    /// Allocates a block for one more place.
    fn push(&mut self, size: NonZeroU32);

    /// Frees the block of a place, then allocates another one for it: what is timed. Whether there
    /// was one, as far as the allocator can tell.
    fn exchange(&mut self, place: usize, size: NonZeroU32) -> bool;

    /// Fills each block with bytes of its own, and then looks whether all are still there.
    fn is_intact(&mut self) -> bool;
}
