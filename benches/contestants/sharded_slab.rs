//! sharded-slab: slots sharded by thread, keys with generations.

use super::{Make, Reader, SharedStore};
use crate::object::Object;
use sharded_slab::Slab;

impl Make for Slab<Object> {
    const NAME: &'static str = "sharded-slab";

    fn with_room(_objects: usize) -> Self {
        Self::new()
    }

    fn live(&mut self) -> usize {
        self.unique_iter().count()
    }
}

impl SharedStore for Slab<Object> {
    type Key = usize;

    #[inline]
    fn insert(&self, object: Object) -> usize {
        self.insert(object).expect("room")
    }

    #[inline]
    fn remove(&self, key: usize) -> bool {
        self.remove(key)
    }

    fn find(&self, key: usize) -> Option<Object> {
        self.get(key).map(|object| *object)
    }
}

/// `Slab::get`.
#[derive(Debug)]
pub struct ReadSlab;

impl Reader for ReadSlab {
    const NAME: &'static str = Slab::<Object>::NAME;
    type From = Slab<Object>;

    fn sum(slab: &Slab<Object>, keys: &[usize]) -> u64 {
        keys.iter().map(|key| slab.get(*key).expect("live").value).sum()
    }
}
