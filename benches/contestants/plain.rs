//! What one thread alone can change: slotmap, thunderdome, and vectors of pointers.

use super::{Collection, Make, Reader, Store};
use crate::object::Object;
use slotmap::{DefaultKey, SlotMap};
use std::sync::Arc;
use thunderdome::{Arena, Index};

impl Make for SlotMap<DefaultKey, Object> {
    const NAME: &'static str = "SlotMap";

    fn with_room(objects: usize) -> Self {
        Self::with_capacity(objects)
    }

    fn live(&mut self) -> usize {
        self.len()
    }
}

impl Store for SlotMap<DefaultKey, Object> {
    type Key = DefaultKey;

    #[inline]
    fn insert(&mut self, object: Object) -> DefaultKey {
        self.insert(object)
    }

    #[inline]
    fn remove(&mut self, key: DefaultKey) -> bool {
        self.remove(key).is_some()
    }

    fn find(&self, key: DefaultKey) -> Option<Object> {
        self.get(key).copied()
    }
}

/// `SlotMap::get`.
#[derive(Debug)]
pub struct ReadSlotMap;

impl Reader for ReadSlotMap {
    const NAME: &'static str = SlotMap::NAME;
    type From = SlotMap<DefaultKey, Object>;

    fn sum(map: &Self::From, keys: &[DefaultKey]) -> u64 {
        keys.iter().map(|key| map.get(*key).expect("live").value).sum()
    }
}

impl Make for Arena<Object> {
    const NAME: &'static str = "thunderdome";

    fn with_room(objects: usize) -> Self {
        Self::with_capacity(objects)
    }

    fn live(&mut self) -> usize {
        self.len()
    }
}

impl Store for Arena<Object> {
    type Key = Index;

    #[inline]
    fn insert(&mut self, object: Object) -> Index {
        self.insert(object)
    }

    #[inline]
    fn remove(&mut self, index: Index) -> bool {
        self.remove(index).is_some()
    }

    fn find(&self, index: Index) -> Option<Object> {
        self.get(index).copied()
    }
}

/// `Arena::get`.
#[derive(Debug)]
pub struct ReadArena;

impl Reader for ReadArena {
    const NAME: &'static str = Arena::NAME;
    type From = Arena<Object>;

    fn sum(arena: &Self::From, keys: &[Index]) -> u64 {
        keys.iter().map(|key| arena.get(*key).expect("live").value).sum()
    }
}

impl Collection for Vec<Box<Object>> {
    type Key = u32;

    fn fill(count: usize) -> (Self, Vec<u32>) {
        let objects = (0..count as u64).map(|number| Box::new(Object::new(number))).collect();
        (objects, (0..count as u32).collect())
    }

    fn find(&self, index: u32) -> Option<Object> {
        self.get(index as usize).map(|object| **object)
    }
}

/// A box each, through indices.
#[derive(Debug)]
pub struct ReadBoxes;

impl Reader for ReadBoxes {
    const NAME: &'static str = "Vec<Box>";
    type From = Vec<Box<Object>>;

    fn sum(objects: &Self::From, indices: &[u32]) -> u64 {
        indices.iter().map(|index| objects[*index as usize].value).sum()
    }
}

impl Collection for Vec<Arc<Object>> {
    type Key = u32;

    fn fill(count: usize) -> (Self, Vec<u32>) {
        let objects = (0..count as u64).map(|number| Arc::new(Object::new(number))).collect();
        (objects, (0..count as u32).collect())
    }

    fn find(&self, index: u32) -> Option<Object> {
        self.get(index as usize).map(|object| **object)
    }
}

/// A reference count each, which a reader holds while it reads.
#[derive(Debug)]
pub struct CloneArcs;

impl Reader for CloneArcs {
    const NAME: &'static str = "Vec<Arc>, clone";
    type From = Vec<Arc<Object>>;

    fn sum(objects: &Self::From, indices: &[u32]) -> u64 {
        indices.iter().map(|index| Arc::clone(&objects[*index as usize]).value).sum()
    }
}
