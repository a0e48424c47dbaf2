//! The contestants, one file for each family, and who takes part in which question.
//!
//! To add one, implement the trait of the question in a file here, as the contestant's own
//! documentation recommends to use it, and name it in the lists below:
//!
//! * [reading](crate::questions::reading): a [`Reader`] of a [`Collection`] or store, named in
//!   [`readers`] or [`shared_readers`];
//! * [removing and inserting](crate::questions::churning) on one thread: a [`Store`], in
//!   [`stores`];
//! * the same on several, and [handing over](crate::questions::handing_over): a [`SharedStore`],
//!   which is a store, too, in [`shared_stores`];
//! * [raw blocks](crate::questions::raw_blocks): a [`BlockSet`], or [`Pointers`] of one, in
//!   [`block_sets`].

mod arenas;
mod blocks;
mod boxes;
mod control;
mod locked;
mod maps;
mod plain;
mod pool;
mod sharded_slab;
mod slots;
mod traits;

pub use arenas::{MutexRlsf, MutexTalc};
pub use blocks::{Global, HeapBlocks, PointerBlocks, Pointers, Resizing};
pub use boxes::Boxes;
pub use control::Control;
pub use locked::{ReadLock, ReadMutex};
pub use maps::{Papaya, PapayaOnePin, ReadDash};
pub use plain::{CloneArcs, ReadArena, ReadBoxes, ReadSlotMap};
pub use pool::{OneGuard, OwnGuard};
pub use sharded_slab::ReadSlab;
pub use slots::{ConcurrentSlots, ConcurrentSlotsOneGuard};
pub use traits::{BlockSet, By, Collection, Make, Reader, SharedStore, Store};

use crate::object::Object;
use crate::rounds::Entrant;
use ::sharded_slab::Slab;
use concurrent_slotmap::SlotId;
use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};
use slotmap::{DefaultKey, SlotMap};
use thunderdome::Arena;
use typed_pool::Pool;

/// A question to readers.
pub trait AskReader {
    /// The contestant that answers it.
    fn entrant<R: Reader>(&self) -> Entrant;
}

/// All readers.
pub fn readers(question: &impl AskReader) -> Vec<Entrant> {
    let alone = [
        question.entrant::<ReadSlotMap>(),
        question.entrant::<ReadArena>(),
        question.entrant::<ReadBoxes>(),
    ];
    shared_readers(question).into_iter().chain(alone).collect()
}

/// Readers that let other threads insert and remove meanwhile.
pub fn shared_readers(question: &impl AskReader) -> Vec<Entrant> {
    vec![
        question.entrant::<OwnGuard>(),
        question.entrant::<OneGuard>(),
        question.entrant::<ReadSlab>(),
        question.entrant::<ConcurrentSlots>(),
        question.entrant::<ConcurrentSlotsOneGuard>(),
        question.entrant::<ReadDash>(),
        question.entrant::<Papaya>(),
        question.entrant::<PapayaOnePin>(),
        question.entrant::<ReadLock>(),
        question.entrant::<ReadMutex>(),
        question.entrant::<CloneArcs>(),
        question.entrant::<Control>(),
    ]
}

/// Those for numbers of objects that make the others slow to fill.
pub fn large_readers(question: &impl AskReader) -> Vec<Entrant> {
    vec![
        question.entrant::<OwnGuard>(),
        question.entrant::<OneGuard>(),
        question.entrant::<ReadSlotMap>(),
        question.entrant::<ReadBoxes>(),
    ]
}

/// A question to stores.
pub trait AskStore {
    /// The contestant that answers it.
    fn entrant<S: Store + Make>(&self) -> Entrant;
}

/// All stores.
pub fn stores(question: &impl AskStore) -> Vec<Entrant> {
    vec![
        question.entrant::<Pool<Object>>(),
        question.entrant::<Slab<Object>>(),
        question.entrant::<concurrent_slotmap::SlotMap<SlotId, Object>>(),
        question.entrant::<DashMap<u64, Object>>(),
        question.entrant::<papaya::HashMap<u64, Object>>(),
        question.entrant::<RwLock<SlotMap<DefaultKey, Object>>>(),
        question.entrant::<Mutex<SlotMap<DefaultKey, Object>>>(),
        question.entrant::<SlotMap<DefaultKey, Object>>(),
        question.entrant::<Arena<Object>>(),
    ]
}

/// A question to stores that threads share.
pub trait AskShared {
    /// The contestant that answers it.
    fn entrant<S: SharedStore + Make>(&self) -> Entrant;
}

/// Stores that threads share.
pub fn shared_stores(question: &impl AskShared) -> Vec<Entrant> {
    vec![
        question.entrant::<Pool<Object>>(),
        question.entrant::<Slab<Object>>(),
        question.entrant::<concurrent_slotmap::SlotMap<SlotId, Object>>(),
        question.entrant::<DashMap<u64, Object>>(),
        question.entrant::<papaya::HashMap<u64, Object>>(),
        question.entrant::<RwLock<SlotMap<DefaultKey, Object>>>(),
        question.entrant::<Mutex<SlotMap<DefaultKey, Object>>>(),
    ]
}

/// A question about raw blocks.
pub trait AskBlocks {
    /// The contestant that answers it.
    fn entrant<B: BlockSet>(&self) -> Entrant;
}

/// All that hand out raw blocks, but for global allocators: those are [remote](crate::remote).
pub fn block_sets(question: &impl AskBlocks) -> Vec<Entrant> {
    vec![
        question.entrant::<HeapBlocks>(),
        question.entrant::<PointerBlocks<MutexRlsf>>(),
        question.entrant::<PointerBlocks<MutexTalc>>(),
    ]
}
