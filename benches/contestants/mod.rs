//! The contestants, one file for each family, and who takes part in which question.
//!
//! To add one, implement the trait of the question in a file here, as its own documentation
//! recommends to use it, and name it in the lists below:
//!
//! | question | trait | list |
//! |---|---|---|
//! | reading | [`Reader`] (of a [`Collection`], or of a store) | [`readers`] |
//! | removing and inserting, one thread | [`Store`] | [`stores`] |
//! | the same with several threads | [`SharedStore`] (is a store, too) | [`shared_stores`] |

mod locked;
mod maps;
mod plain;
mod pool;
mod sharded_slab;
mod slots;
mod traits;

pub use locked::{ReadLock, ReadMutex};
pub use maps::{Papaya, PapayaOnePin, ReadDash};
pub use plain::{CloneArcs, ReadArena, ReadBoxes, ReadSlotMap};
pub use pool::{OneGuard, OwnGuard};
pub use sharded_slab::ReadSlab;
pub use slots::{ConcurrentSlots, ConcurrentSlotsOneGuard};
pub use traits::{By, Collection, Make, Reader, SharedStore, Store};

use crate::rounds::Entrant;

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
