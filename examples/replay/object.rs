//! The objects that live in typed pools.

use typed_pool::{AllocError, Handle, Pool};

use crate::content;
use crate::verdict::Verdict;

/// How many payload bytes the objects of each pool can hold. With the two numbers of an
/// [`Object`] they come to 32, 64, 128 and 256 bytes.
pub(crate) const PAYLOADS: [usize; 4] = [24, 56, 120, 248];

/// An object of up to `N` bytes.
pub(crate) struct Object<const N: usize> {
    id: u32,
    length: u32,
    bytes: [u8; N],
}

impl<const N: usize> Object<N> {
    fn new(id: u32, length: u32) -> Self {
        let mut bytes = [0; N];
        content::fill(&mut bytes[..length as usize], content::seed(id, 0));
        Object { id, length, bytes }
    }

    fn check(&self, id: u32, length: u32) -> Verdict {
        if (self.id, self.length) != (id, length) {
            return Verdict::Wrong("the handle leads to another object");
        }
        let (used, rest) = self.bytes.split_at(length as usize);
        if content::check(used, content::seed(id, 0)) && content::is_zero(rest) {
            Verdict::Right
        } else {
            Verdict::Wrong("the contents are wrong")
        }
    }
}

/// What to expect behind a handle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    /// The bits of the handle.
    pub(crate) handle: u64,
    pub(crate) id: u32,
    pub(crate) length: u32,
}

/// A typed pool, whatever the size of its objects.
pub(crate) trait Shelf: Send + Sync {
    /// Makes an object; the bits of its handle.
    fn insert(&self, id: u32, length: u32) -> Result<u64, AllocError>;

    /// Reads the whole object through a guard of its own.
    fn check(&self, expected: Expected) -> Verdict;

    /// Reads several objects under one guard, handing on each verdict.
    fn check_all(&self, expected: &[Expected], verdict: &mut dyn FnMut(Expected, Verdict));

    /// Removes the object; false when the handle is stale.
    fn remove(&self, handle: u64) -> bool;

    /// Whether the handle leads to an object.
    fn contains(&self, handle: u64) -> bool;

    /// Number of objects.
    fn len(&self) -> usize;

    /// Reclaims removed objects that nobody can see any more.
    fn flush(&self);
}

impl<const N: usize> Shelf for Pool<Object<N>> {
    fn insert(&self, id: u32, length: u32) -> Result<u64, AllocError> {
        let inserted = Pool::insert(self, Object::new(id, length));
        inserted.map(Handle::to_bits).map_err(|refused| refused.error)
    }

    fn check(&self, Expected { handle, id, length }: Expected) -> Verdict {
        match Handle::from_bits(handle).and_then(|handle| self.get(handle)) {
            Some(object) => object.check(id, length),
            None => Verdict::Stale,
        }
    }

    fn check_all(&self, expected: &[Expected], verdict: &mut dyn FnMut(Expected, Verdict)) {
        let guard = self.enter();
        for &entry in expected {
            let object = Handle::from_bits(entry.handle).and_then(|handle| guard.get(handle));
            verdict(entry, object.map_or(Verdict::Stale, |it| it.check(entry.id, entry.length)));
        }
    }

    fn remove(&self, handle: u64) -> bool {
        Handle::from_bits(handle).is_some_and(|handle| Pool::remove(self, handle))
    }

    fn contains(&self, handle: u64) -> bool {
        Handle::from_bits(handle).is_some_and(|handle| Pool::contains(self, handle))
    }

    fn len(&self) -> usize {
        Pool::len(self)
    }

    fn flush(&self) {
        Pool::flush(self);
    }
}
