//! A slotmap behind a lock of parking_lot.

use super::{Make, Reader, SharedStore};
use crate::object::Object;
use parking_lot::{Mutex, RwLock};
use slotmap::{DefaultKey, SlotMap};

type Map = SlotMap<DefaultKey, Object>;

impl Make for Mutex<Map> {
    const NAME: &'static str = "Mutex<SlotMap>";

    fn with_room(objects: usize) -> Self {
        Self::new(SlotMap::with_capacity(objects))
    }

    fn live(&mut self) -> usize {
        self.get_mut().len()
    }
}

impl SharedStore for Mutex<Map> {
    type Key = DefaultKey;

    #[inline]
    fn insert(&self, object: Object) -> DefaultKey {
        self.lock().insert(object)
    }

    #[inline]
    fn remove(&self, key: DefaultKey) -> bool {
        self.lock().remove(key).is_some()
    }

    fn find(&self, key: DefaultKey) -> Option<Object> {
        self.lock().get(key).copied()
    }
}

/// A mutex that is locked for each read.
#[derive(Debug)]
pub struct ReadMutex;

impl Reader for ReadMutex {
    const NAME: &'static str = Mutex::NAME;
    type From = Mutex<Map>;

    fn sum(map: &Self::From, keys: &[DefaultKey]) -> u64 {
        keys.iter().map(|key| map.lock().get(*key).expect("live").value).sum()
    }
}

impl Make for RwLock<Map> {
    const NAME: &'static str = "RwLock<SlotMap>";

    fn with_room(objects: usize) -> Self {
        Self::new(SlotMap::with_capacity(objects))
    }

    fn live(&mut self) -> usize {
        self.get_mut().len()
    }
}

impl SharedStore for RwLock<Map> {
    type Key = DefaultKey;

    #[inline]
    fn insert(&self, object: Object) -> DefaultKey {
        self.write().insert(object)
    }

    #[inline]
    fn remove(&self, key: DefaultKey) -> bool {
        self.write().remove(key).is_some()
    }

    fn find(&self, key: DefaultKey) -> Option<Object> {
        self.read().get(key).copied()
    }
}

/// A reader-writer lock that is locked for each read.
#[derive(Debug)]
pub struct ReadLock;

impl Reader for ReadLock {
    const NAME: &'static str = RwLock::NAME;
    type From = RwLock<Map>;

    fn sum(map: &Self::From, keys: &[DefaultKey]) -> u64 {
        keys.iter().map(|key| map.read().get(*key).expect("live").value).sum()
    }
}
