//! Taking a value out: the steps of a move, with the caller as its destination.
//!
//! Mark, wait until no guard is left that was open before, lock. Then nobody can see the object and nobody
//! can begin to, its bytes can be read out, and the slot is made vacant. Any step that fails puts the
//! object back as it was, so a guard that somebody forgot costs patience, never the value.

use super::{Slots, Table};
use crate::block;
use crate::error::TakeError;
use crate::grace::Grace;
use crate::handle::Handle;
use crate::heap::Inner;
use crate::slot::{self, LockOutcome, Snapshot};
use crate::sync::atomic::Ordering;
use core::ptr::NonNull;
use std::time::Instant;

impl Table {
    /// Locks the object of `handle` for its value to be taken out, waiting for readers of other threads up
    /// to the heap's patience, and for a running pass of a mover.
    ///
    /// # Errors
    /// Says what keeps the object; nothing has changed then.
    pub fn take<T: ?Sized>(&self, handle: Handle<T>) -> Result<Extracted<'_>, TakeError> {
        let (inner, _) = self.parts();
        let deadline = Instant::now() + inner.patience;
        loop {
            match self.attempt(handle, Some(deadline)) {
                // A reader cancelled the mark and is gone soon.
                Err(TakeError::Busy) if Instant::now() < deadline => std::thread::yield_now(),
                done => return done,
            }
        }
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// As [`take`](Self::take), with [`TakeError::Busy`] where it would wait.
    pub fn try_take<T: ?Sized>(&self, handle: Handle<T>) -> Result<Extracted<'_>, TakeError> {
        self.attempt(handle, None)
    }

    fn attempt<T: ?Sized>(
        &self,
        handle: Handle<T>,
        deadline: Option<Instant>,
    ) -> Result<Extracted<'_>, TakeError> {
        let (inner, slots) = self.parts();
        if inner.readers.own_open().is_some() {
            return Err(if self.contains(handle) { TakeError::OwnGuard } else { TakeError::Stale });
        }
        // The mover lock makes our mark the only one, from here until the slot is locked.
        let mover = match deadline {
            Some(deadline) => inner.mover.lock_until(deadline),
            None => inner.mover.try_lock(),
        };
        let _mover = mover.ok_or(TakeError::Busy)?;
        let marked = self.mark(handle)?;
        let word = slots.word(handle).ok_or(TakeError::Stale)?;
        let mut grace = Grace::start(&inner.readers);
        let over = if deadline.is_some() { grace.wait(deadline) } else { grace.poll() };
        if !over {
            slot::unmark(word, marked);
            return Err(TakeError::Busy);
        }
        match slot::lock(word, marked) {
            LockOutcome::Cancelled => Err(TakeError::Busy),
            LockOutcome::Locked if block::is_held(inner.store.header(marked.offset())) => {
                slot::unlock(word, marked, marked.offset());
                Err(TakeError::Pinned)
            }
            LockOutcome::Locked => Ok(Extracted { table: self, index: handle.index(), marked }),
        }
    }

    /// Marks the slot of `handle`, unless it is stale or the object is pinned.
    fn mark<T: ?Sized>(&self, handle: Handle<T>) -> Result<Snapshot, TakeError> {
        let guard = self.enter();
        let word = self.parts().1.word(handle).ok_or(TakeError::Stale)?;
        if guard.locate(handle).is_none() {
            return Err(TakeError::Stale);
        }
        if guard.is_held(handle) {
            return Err(TakeError::Pinned);
        }
        // Acquire: as in `TableGuard::locate`.
        let seen = Snapshot(word.load(Ordering::Acquire));
        if seen.generation() != handle.generation() {
            return Err(TakeError::Stale);
        }
        // A replacement may come in between; then the caller tries again.
        slot::mark(word, seen.offset()).ok_or(TakeError::Busy)
    }
}

/// An object that is locked so that its value can be read out. Dropping it leaves the object in the table.
#[derive(Debug)]
pub struct Extracted<'t> {
    table: &'t Table,
    index: u32,
    marked: Snapshot,
}

impl Extracted<'_> {
    /// Where the object is. Readers of this object wait while it is locked: read it out at once.
    pub fn as_ptr(&self) -> NonNull<u8> {
        let (inner, _) = self.table.parts();
        inner.store.memory().block(self.marked.offset())
    }

    /// Ends the life of the object without dropping it.
    ///
    /// # Safety
    /// The value was read out; it is the caller's now.
    pub unsafe fn finish(self) {
        let (inner, slots) = self.table.parts();
        let this = core::mem::ManuallyDrop::new(self);
        slots.end_locked(inner, this.index, this.marked);
    }
}

impl Drop for Extracted<'_> {
    fn drop(&mut self) {
        let (_, slots) = self.table.parts();
        slot::unlock(slots.words.get(self.index), self.marked, self.marked.offset());
    }
}

impl Slots {
    /// Ends a locked object: nobody can see it, so its block and slot are free at once.
    fn end_locked(&self, heap: &Inner, index: u32, marked: Snapshot) {
        let word = self.words.get(index);
        slot::vacate(word, marked);
        self.count(-1);
        heap.store.free(marked.offset());
        self.return_slot(index, marked.generation() + 1);
    }
}
