//! Ours: a pool, read with a guard for each read, or one guard for many.

use super::{Make, Reader, SharedStore};
use crate::object::Object;
use typed_pool::{Handle, Heap, Pool};

/// Room for an object of 64 bytes in any case, headers and retired objects included.
const BYTES_EACH: usize = 128;

impl Make for Pool<Object> {
    const NAME: &'static str = "pool";

    fn with_room(objects: usize) -> Self {
        let capacity = (objects * BYTES_EACH).max(16 << 20);
        let heap = Heap::builder().capacity(capacity).huge_pages(true).build().expect("a heap");
        Self::new(&heap).expect("a pool")
    }

    fn live(&mut self) -> usize {
        self.len()
    }
}

impl SharedStore for Pool<Object> {
    type Key = Handle<Object>;

    #[inline]
    fn insert(&self, object: Object) -> Self::Key {
        self.insert(object).expect("room")
    }

    #[inline]
    fn remove(&self, handle: Self::Key) -> bool {
        self.remove(handle)
    }

    fn find(&self, handle: Self::Key) -> Option<Object> {
        self.get(handle).map(|object| *object)
    }
}

/// Each read opens a guard of its own.
#[derive(Debug)]
pub struct OwnGuard;

impl Reader for OwnGuard {
    const NAME: &'static str = "pool, own guard";
    type From = Pool<Object>;

    fn sum(pool: &Pool<Object>, handles: &[Handle<Object>]) -> u64 {
        handles.iter().map(|handle| pool.get(*handle).expect("live").value).sum()
    }
}

/// One guard is open for all reads.
#[derive(Debug)]
pub struct OneGuard;

impl Reader for OneGuard {
    const NAME: &'static str = "pool, one guard";
    type From = Pool<Object>;

    fn sum(pool: &Pool<Object>, handles: &[Handle<Object>]) -> u64 {
        let guard = pool.enter();
        handles.iter().map(|handle| guard.get(*handle).expect("live").value).sum()
    }
}
