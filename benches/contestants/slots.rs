//! concurrent-slotmap: a slotmap without locks, whose removed objects wait for guards.

use super::{Make, Reader, SharedStore};
use crate::object::Object;
use concurrent_slotmap::{SlotId, SlotMap};

impl Make for SlotMap<SlotId, Object> {
    const NAME: &'static str = "concurrent-slotmap";

    fn with_room(objects: usize) -> Self {
        // Address space only; removed objects keep their slots until guards are gone.
        Self::new(u32::try_from(2 * objects + (1 << 20)).expect("32 bits"))
    }

    fn live(&mut self) -> usize {
        self.len() as usize
    }
}

impl SharedStore for SlotMap<SlotId, Object> {
    type Key = SlotId;

    #[inline]
    fn insert(&self, object: Object) -> SlotId {
        self.insert(object, &self.pin())
    }

    #[inline]
    fn remove(&self, key: SlotId) -> bool {
        self.remove(key, &self.pin()).is_some()
    }

    fn find(&self, key: SlotId) -> Option<Object> {
        self.get(key, &self.pin()).copied()
    }
}

/// Each read opens a guard of its own.
#[derive(Debug)]
pub struct ConcurrentSlots;

impl Reader for ConcurrentSlots {
    const NAME: &'static str = "concurrent-slotmap, own guard";
    type From = SlotMap<SlotId, Object>;

    fn sum(map: &Self::From, keys: &[SlotId]) -> u64 {
        keys.iter().map(|key| map.get(*key, &map.pin()).expect("live").value).sum()
    }
}

/// One guard is open for all reads.
#[derive(Debug)]
pub struct ConcurrentSlotsOneGuard;

impl Reader for ConcurrentSlotsOneGuard {
    const NAME: &'static str = "concurrent-slotmap, one guard";
    type From = SlotMap<SlotId, Object>;

    fn sum(map: &Self::From, keys: &[SlotId]) -> u64 {
        let guard = map.pin();
        keys.iter().map(|key| map.get(*key, &guard).expect("live").value).sum()
    }
}
