//! The contestants: our pool, and the references that can grow by cache misses only.

use slotmap::{DefaultKey, SlotMap};
use typed_pool::{Handle, Pool};

/// What every contestant stores: 64 bytes.
pub(crate) type Object = [u64; 8];

/// The object of a number.
#[inline]
pub(crate) fn object(number: u32) -> Object {
    let n = u64::from(number);
    [n, !n, n + 2, n + 3, n + 5, n + 7, n + 11, n + 13]
}

/// Something that stores objects under keys.
pub(crate) trait Store {
    type Key: Copy;

    /// In how many ways it can be read.
    const WAYS: usize = 1;

    /// Whether the key of a removed object finds nothing for good.
    const GOES_STALE: bool;

    /// Puts the object of a number in.
    fn insert(&mut self, number: u32) -> Self::Key;

    /// False when there is none.
    fn remove(&mut self, key: Self::Key) -> bool;

    fn object(&self, key: Self::Key) -> Option<Object>;

    /// Reads the objects of some keys: the sum of their first words, none when one is gone.
    fn sum(&self, way: usize, keys: &[Self::Key]) -> Option<u64>;

    /// How many are alive, if it knows.
    fn live(&self) -> Option<usize>;
}

impl Store for &Pool<Object> {
    type Key = Handle<Object>;
    /// Under one guard; with a guard for each read.
    const WAYS: usize = 2;
    const GOES_STALE: bool = true;

    #[inline]
    fn insert(&mut self, number: u32) -> Self::Key {
        Pool::insert(self, object(number)).expect("the heap is large enough")
    }

    #[inline]
    fn remove(&mut self, key: Self::Key) -> bool {
        Pool::remove(self, key)
    }

    fn object(&self, key: Self::Key) -> Option<Object> {
        self.with(key, |object| *object)
    }

    #[inline(never)]
    fn sum(&self, way: usize, keys: &[Self::Key]) -> Option<u64> {
        if way == 0 {
            let guard = self.enter();
            keys.iter().map(|key| guard.get(*key).map(|object| object[0])).sum()
        } else {
            keys.iter().map(|key| self.get(*key).map(|object| object[0])).sum()
        }
    }

    fn live(&self) -> Option<usize> {
        Some(self.len())
    }
}

impl Store for SlotMap<DefaultKey, Object> {
    type Key = DefaultKey;
    const GOES_STALE: bool = true;

    #[inline]
    fn insert(&mut self, number: u32) -> Self::Key {
        SlotMap::insert(self, object(number))
    }

    #[inline]
    fn remove(&mut self, key: Self::Key) -> bool {
        SlotMap::remove(self, key).is_some()
    }

    fn object(&self, key: Self::Key) -> Option<Object> {
        self.get(key).copied()
    }

    #[inline(never)]
    fn sum(&self, _way: usize, keys: &[Self::Key]) -> Option<u64> {
        keys.iter().map(|key| self.get(*key).map(|object| object[0])).sum()
    }

    fn live(&self) -> Option<usize> {
        Some(self.len())
    }
}

/// `Vec<Option<Box<Object>>>`, where the number of an object is its index: two dependent loads, as
/// in a pool, and nothing else; an allocation of the system for each object.
#[derive(Debug, Default)]
pub(crate) struct Boxes(Vec<Option<Box<Object>>>);

impl Store for Boxes {
    type Key = u32;
    const GOES_STALE: bool = false;

    #[inline]
    fn insert(&mut self, number: u32) -> Self::Key {
        let object = Some(Box::new(object(number)));
        match self.0.get_mut(number as usize) {
            Some(place) => *place = object,
            None => self.0.push(object),
        }
        number
    }

    #[inline]
    fn remove(&mut self, key: Self::Key) -> bool {
        self.0[key as usize].take().is_some()
    }

    fn object(&self, key: Self::Key) -> Option<Object> {
        self.0[key as usize].as_deref().copied()
    }

    #[inline(never)]
    fn sum(&self, _way: usize, keys: &[Self::Key]) -> Option<u64> {
        let object = |key: &u32| self.0[*key as usize].as_deref();
        keys.iter().map(|key| object(key).map(|object| object[0])).sum()
    }

    fn live(&self) -> Option<usize> {
        None
    }
}
