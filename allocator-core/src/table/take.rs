//! Taking a value out: the steps of a move, with the caller as its destination.
//!
//! Mark, wait until no guard is left that was open before, lock. Then nobody can see the object and nobody
//! can begin to, its bytes can be read out, and the slot is made vacant. Any step that fails puts the
//! object back as it was, so a guard that somebody forgot costs patience, never the value.

use super::Table;
use crate::block;
use crate::cache::Pair;
use crate::error::TakeError;
use crate::grace::Grace;
use crate::handle::Handle;
use crate::raw::Wipe;
use crate::slot::{self, LockOutcome, Snapshot};
use crate::sync::atomic::Ordering;
use core::ptr::NonNull;
use std::time::Instant;

impl Table {
    /// Takes an object out: `read` gets its place once nobody else can see it, and reads the value out. Waits
    /// for readers of other threads up to the heap's patience, and for a running pass of a mover.
    ///
    /// Whoever looks this object up, removes or replaces it waits while `read` runs. So `read` must not do that, nor purge
    /// objects, nor wait for a thread that does: it would wait for itself. All else is allowed.
    ///
    /// # Errors
    /// Says what keeps the object; nothing has changed then.
    ///
    /// # Safety
    /// `read` moves the object out of its place, or ends its life there; the place is another's afterwards. If it panics, the
    /// object stays, so it must be whole then.
    pub unsafe fn take<T: ?Sized, R>(
        &self,
        handle: Handle<T>,
        read: impl FnOnce(NonNull<u8>) -> R,
    ) -> Result<R, TakeError> {
        let deadline = Instant::now() + self.parts().0.patience;
        loop {
            match self.attempt(handle, Some(deadline)) {
                // A reader cancelled the mark and is gone soon.
                Err(TakeError::Busy) if Instant::now() < deadline => std::thread::yield_now(),
                seized => return seized.map(|seized| seized.take_with(read)),
            }
        }
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// As [`take`](Self::take), with [`TakeError::Busy`] where it would wait.
    ///
    /// # Safety
    /// As [`take`](Self::take).
    pub unsafe fn try_take<T: ?Sized, R>(
        &self,
        handle: Handle<T>,
        read: impl FnOnce(NonNull<u8>) -> R,
    ) -> Result<R, TakeError> {
        self.attempt(handle, None).map(|seized| seized.take_with(read))
    }

    /// The same for who has the table alone: no guard of this table is left, so nothing is waited for but a
    /// copy of this very object, and an open guard of the caller is no obstacle.
    ///
    /// # Errors
    /// [`TakeError::Stale`] or [`TakeError::Pinned`]; nothing has changed then.
    ///
    /// # Safety
    /// As [`take`](Self::take).
    pub unsafe fn take_mut<T: ?Sized, R>(
        &mut self,
        handle: Handle<T>,
        read: impl FnOnce(NonNull<u8>) -> R,
    ) -> Result<R, TakeError> {
        let word = self.parts().1.word(handle).ok_or(TakeError::Stale)?;
        // A mover that has marked the object finds it locked, and gives the move up.
        let snapshot = slot::seize(word, handle).ok_or(TakeError::Stale)?;
        let seized = Seized { table: self, index: handle.index(), snapshot };
        if seized.is_held() {
            return Err(TakeError::Pinned);
        }
        Ok(seized.take_with(read))
    }

    fn attempt<T: ?Sized>(
        &self,
        handle: Handle<T>,
        deadline: Option<Instant>,
    ) -> Result<Seized<'_>, TakeError> {
        let (inner, slots) = self.parts();
        if inner.readers.is_entered() {
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
        if slot::lock(word, marked) == LockOutcome::Cancelled {
            return Err(TakeError::Busy);
        }
        let seized = Seized { table: self, index: handle.index(), snapshot: marked };
        // Dropping it puts the object back.
        if seized.is_held() { Err(TakeError::Pinned) } else { Ok(seized) }
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
struct Seized<'t> {
    table: &'t Table,
    index: u32,
    snapshot: Snapshot,
}

impl Seized<'_> {
    fn is_held(&self) -> bool {
        let (inner, _) = self.table.parts();
        block::is_held(inner.store.header(self.snapshot.offset()))
    }

    /// Reads the value out and ends the object's life: its block and slot are free at once.
    fn take_with<R>(self, read: impl FnOnce(NonNull<u8>) -> R) -> R {
        let (inner, slots) = self.table.parts();
        let result = read(inner.store.memory().block(self.snapshot.offset()));
        let (index, snapshot) = (self.index, self.snapshot);
        core::mem::forget(self);
        // The slot is locked, and the value was read out.
        inner.store.wipe(Wipe::Moved, snapshot.offset());
        slot::vacate(slots.words.get(index), snapshot);
        slots.ended(inner, Pair::new(index, snapshot.generation() + 1, snapshot.offset()));
        result
    }
}

impl Drop for Seized<'_> {
    fn drop(&mut self) {
        let (_, slots) = self.table.parts();
        slot::unlock(slots.words.get(self.index), self.snapshot, self.snapshot.offset());
    }
}
