//! Models of the bare protocol: slot word, headers, sections and grace periods, without a store.
//!
//! They are small enough for every schedule of two threads. What a mover does here is spelled out step by
//! step; that `compact` takes the same steps is checked by the models of the public API in `tests/`. Two are of steps that a
//! model of that API would bury: `searching.rs` has caches, `freeing.rs` a store.

#[path = "../../tests/modelling/mod.rs"]
mod modelling;

mod caching;
mod fencing;
mod freeing;
mod holding;
mod leaving;
mod moving;
mod reading;
mod searching;

use crate::block::{self, Owner};
use crate::grace::Grace;
use crate::guard::{Guard, Readers};
use crate::handle::Handle;
use crate::slot::{self, LockOutcome, Snapshot};
use crate::sync::Arc;
use crate::sync::atomic::{AtomicU64, Ordering};
use loom::cell::{ConstPtr, UnsafeCell};

/// What the object holds.
const VALUE: u64 = 7;

/// What a place holds that nobody may read.
const POISON: u64 = 0xdead;

/// The generation of the object.
const GENERATION: u32 = 5;

/// Where the object is at first, and places it may be brought to.
const HOME: u32 = 0;
const AWAY: u32 = 1;
const FURTHER: u32 = 2;

/// One slot, and places for the block that it names.
struct Bare {
    word: AtomicU64,
    places: [Place; 3],
    readers: Arc<Readers>,
}

/// A place for a block, with a header.
struct Place {
    header: AtomicU64,
    bytes: UnsafeCell<u64>,
}

// SAFETY: the cells are tracked by loom, which reports every access that races with another.
unsafe impl Sync for Bare {}
// SAFETY: as above.
unsafe impl Send for Bare {}

/// What became of an attempt to move the object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Attempt {
    Moved,
    /// A reader, remover or writer came before the mark or between mark and lock.
    Lost,
    Held,
}

/// A read of a place that goes on until it is dropped.
struct Reading<'b> {
    // Before the cell, so that it ends first.
    pointer: ConstPtr<u64>,
    cell: &'b UnsafeCell<u64>,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        // SAFETY: loom tracks the pointer's life, and reports whoever writes meanwhile.
        assert_eq!(unsafe { *self.pointer.deref() }, VALUE, "the bytes changed under a reader");
        self.cell.with(|_| ());
    }
}

impl Place {
    fn new(value: u64) -> Self {
        let owner = Owner { table: 1, slot: 0 };
        Self { header: AtomicU64::new(owner.header()), bytes: UnsafeCell::new(value) }
    }

    fn look(&self) -> Reading<'_> {
        Reading { pointer: self.bytes.get(), cell: &self.bytes }
    }

    fn write(&self, value: u64) {
        // SAFETY: loom reports whoever accesses the place meanwhile.
        self.bytes.with_mut(|bytes| unsafe { *bytes = value });
    }

    fn copy(&self) -> u64 {
        // SAFETY: as above.
        self.bytes.with(|bytes| unsafe { *bytes })
    }
}

fn handle() -> Handle<u64> {
    Handle::new(0, GENERATION)
}

impl Bare {
    /// An object at [`HOME`].
    fn new() -> Self {
        let bare = Self::vacant();
        bare.publish();
        bare
    }

    /// The same, with an asymmetric fence.
    fn asymmetric() -> Self {
        let bare = Self { readers: Arc::new(Readers::new(true)), ..Self::vacant() };
        bare.publish();
        bare
    }

    /// A vacant slot.
    fn vacant() -> Self {
        Self {
            word: AtomicU64::new(Snapshot::vacant(GENERATION, 0).0),
            places: std::array::from_fn(|_| Place::new(POISON)),
            readers: Arc::new(Readers::new(false)),
        }
    }

    fn publish(&self) {
        self.place(HOME).write(VALUE);
        slot::publish(&self.word, Snapshot::vacant(GENERATION, HOME));
    }

    fn place(&self, offset: u32) -> &Place {
        &self.places[offset as usize]
    }

    fn enter(&self) -> Guard<'_> {
        Guard::enter(&self.readers)
    }

    /// Where the object is; the caller is inside a section.
    fn locate(&self) -> Option<u32> {
        // Acquire: as in `TableGuard::locate`.
        let seen = self.word.load(Ordering::Acquire);
        if slot::is_live_for(seen, handle()) {
            return Some(seen as u32);
        }
        slot::resolve(&self.word, handle(), seen)
    }

    /// Reads the object in a section of its own; gives the place where it was.
    fn read(&self) -> Option<u32> {
        let _guard = self.enter();
        let offset = self.locate()?;
        drop(self.place(offset).look());
        Some(offset)
    }

    /// Removes the object, and reclaims it where no section sees it. Gives the grace period, and whether it was over at once.
    fn reclaim(&self) -> (Grace, bool) {
        assert!(slot::unlink(&self.word, handle()).is_some());
        let mut grace = Grace::start(&self.readers);
        let is_over = grace.poll();
        if is_over {
            self.place(HOME).write(POISON);
        }
        (grace, is_over)
    }

    /// Every step of a move, in the order of `compact::mover`; waits for readers.
    fn relocate(&self, from: u32, to: u32) -> Attempt {
        let Some(marked) = slot::mark(&self.word, from) else { return Attempt::Lost };
        assert!(Grace::start(&self.readers).wait(None), "no section of our own is open");
        self.bring(marked, to)
    }

    /// The same without waiting; `None` where a section stayed open.
    fn try_relocate(&self, from: u32, to: u32) -> Option<Attempt> {
        let Some(marked) = slot::mark(&self.word, from) else { return Some(Attempt::Lost) };
        if !Grace::start(&self.readers).poll() {
            slot::unmark(&self.word, marked);
            return None;
        }
        Some(self.bring(marked, to))
    }

    /// The steps after the grace period.
    fn bring(&self, marked: Snapshot, to: u32) -> Attempt {
        let from = marked.offset();
        if slot::lock(&self.word, marked) == LockOutcome::Cancelled {
            return Attempt::Lost;
        }
        if block::is_held(&self.place(from).header) {
            slot::unlock(&self.word, marked, from);
            return Attempt::Held;
        }
        self.place(to).write(self.place(from).copy());
        slot::unlock(&self.word, marked, to);
        // The old place is free at once.
        self.place(from).write(POISON);
        Attempt::Moved
    }
}
