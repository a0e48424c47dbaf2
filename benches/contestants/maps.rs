//! Concurrent hash maps, with the hash function that they bring. A key is the number of its object,
//! as a program would use an identifier of its own.

use super::{Make, Reader, SharedStore};
use crate::object::Object;
use dashmap::DashMap;
use papaya::HashMap;

impl Make for DashMap<u64, Object> {
    const NAME: &'static str = "dashmap";

    fn with_room(objects: usize) -> Self {
        Self::with_capacity(objects)
    }

    fn live(&mut self) -> usize {
        self.len()
    }
}

impl SharedStore for DashMap<u64, Object> {
    type Key = u64;

    #[inline]
    fn insert(&self, object: Object) -> u64 {
        self.insert(object.value, object);
        object.value
    }

    #[inline]
    fn remove(&self, key: u64) -> bool {
        self.remove(&key).is_some()
    }

    fn find(&self, key: u64) -> Option<Object> {
        self.get(&key).map(|object| *object)
    }
}

/// `DashMap::get`.
#[derive(Debug)]
pub struct ReadDash;

impl Reader for ReadDash {
    const NAME: &'static str = DashMap::NAME;
    type From = DashMap<u64, Object>;

    fn sum(map: &Self::From, keys: &[u64]) -> u64 {
        keys.iter().map(|key| map.get(key).expect("live").value).sum()
    }
}

impl Make for HashMap<u64, Object> {
    const NAME: &'static str = "papaya";

    fn with_room(objects: usize) -> Self {
        Self::with_capacity(objects)
    }

    fn live(&mut self) -> usize {
        self.len()
    }
}

impl SharedStore for HashMap<u64, Object> {
    type Key = u64;

    #[inline]
    fn insert(&self, object: Object) -> u64 {
        self.pin().insert(object.value, object);
        object.value
    }

    #[inline]
    fn remove(&self, key: u64) -> bool {
        self.pin().remove(&key).is_some()
    }

    fn find(&self, key: u64) -> Option<Object> {
        self.pin().get(&key).copied()
    }
}

/// Each read pins the map.
#[derive(Debug)]
pub struct Papaya;

impl Reader for Papaya {
    const NAME: &'static str = "papaya, own pin";
    type From = HashMap<u64, Object>;

    fn sum(map: &Self::From, keys: &[u64]) -> u64 {
        keys.iter().map(|key| map.pin().get(key).expect("live").value).sum()
    }
}

/// The map is pinned once for all reads.
#[derive(Debug)]
pub struct PapayaOnePin;

impl Reader for PapayaOnePin {
    const NAME: &'static str = "papaya, one pin";
    type From = HashMap<u64, Object>;

    fn sum(map: &Self::From, keys: &[u64]) -> u64 {
        let map = map.pin();
        keys.iter().map(|key| map.get(key).expect("live").value).sum()
    }
}
