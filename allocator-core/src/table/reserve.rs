//! [`Reservation`] and [`Replacement`]: places for objects that are not there yet.

use super::Table;
use crate::cache::Pair;
use crate::error::AllocError;
use crate::handle::Handle;
use crate::raw::{GRANULE, Wipe};
use crate::slot;

impl Table {
    /// Takes a slot and a block for a new object, as a rule from the thread's cache, without a lock; a cache that
    /// is empty is refilled under one of the slots' and one stripe's. Where the heap is full it first
    /// reclaims retired objects, which runs their `Drop`.
    ///
    /// # Errors
    /// Out of memory or slots; nothing has changed.
    ///
    /// # Panics
    /// When the `Drop` of an object that is reclaimed does.
    pub fn reserve(&self) -> Result<Reservation<'_>, AllocError> {
        let cached = self.slots.caches.take(self.caches);
        let pair = match cached {
            Some(pair) => pair,
            None => self.slots.place_slowly(self.heap.inner(), &self.request, self.layout)?,
        };
        Ok(Reservation { table: self, pair })
    }

    /// The fast half of [`reserve`](Self::reserve): takes a slot and a block out of the thread's cache, without a
    /// lock. `None` says only that the cache is empty.
    #[inline(always)]
    pub fn reserve_cached(&self) -> Option<Reservation<'_>> {
        Some(Reservation { table: self, pair: self.slots.caches.take(self.caches)? })
    }

    /// Takes a block to replace the object of `handle` with, by [`TableGuard::swing`](crate::TableGuard::swing). Does not ask
    /// whether there is such an object.
    ///
    /// # Errors
    /// Out of memory; nothing has changed.
    pub fn reserve_replacement<T: ?Sized>(
        &self,
        handle: Handle<T>,
    ) -> Result<Replacement<'_>, AllocError> {
        let inner = self.heap.inner();
        let slot = handle.index().min(self.view.limit - 1);
        let offset = inner.place(&self.slots, slot, &self.request, self.layout)?;
        Ok(Replacement { table: self, slot, offset })
    }
}

/// A slot and a block for an object that is not there yet. Dropping it gives both back, but drops no object that was written
/// to it; the handle it showed is stale then. [`Table::len`] counts it already, and one that is forgotten for ever.
#[derive(Debug)]
pub struct Reservation<'t> {
    table: &'t Table,
    pair: Pair,
}

impl Reservation<'_> {
    /// The handle that the object will have.
    #[inline]
    pub fn handle<T: ?Sized>(&self) -> Handle<T> {
        Handle::new(self.pair.slot, self.pair.generation())
    }

    /// Where the object goes: room of the table's layout, not initialised.
    #[inline(always)]
    pub fn as_ptr(&self) -> *mut u8 {
        // Nothing here can panic, so that a reservation can stay in registers.
        self.table.view.base.wrapping_add(self.pair.offset() as usize * GRANULE)
    }

    /// Makes the object visible to everybody who has its handle.
    ///
    /// # Safety
    /// An object was written to [`as_ptr`](Self::as_ptr): one of the table's layout that the table's
    /// [`drop`](crate::TableSpec::drop) may be called on, and that all who locate objects of the table take it for.
    #[inline(always)]
    pub unsafe fn publish<T: ?Sized>(self) -> Handle<T> {
        let Self { table, pair } = &*core::mem::ManuallyDrop::new(self);
        table.heap.inner().store.memory().track_write(pair.offset());
        // SAFETY: a slot of the table.
        slot::publish(unsafe { table.word(table.view, pair.slot) }, pair.word);
        Handle::next(pair.slot, pair.word)
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let (inner, slots) = self.table.parts();
        slots.give_up(inner, self.pair);
    }
}

/// A block that is to replace that of an object. Dropping it gives the block back, but drops no object that was written to it.
#[derive(Debug)]
pub struct Replacement<'t> {
    table: &'t Table,
    slot: u32,
    pub(super) offset: u32,
}

impl Replacement<'_> {
    /// Whether it was made for an object of this slot of this table, which its header names.
    pub(super) fn is_for<T: ?Sized>(&self, table: &Table, handle: Handle<T>) -> bool {
        core::ptr::eq(self.table, table) && self.slot == handle.index()
    }

    /// Where the new object goes: room of the table's layout, not initialised.
    pub fn as_ptr(&self) -> *mut u8 {
        self.table.heap.inner().store.memory().block(self.offset).as_ptr()
    }
}

impl Drop for Replacement<'_> {
    fn drop(&mut self) {
        let store = &self.table.heap.inner().store;
        // It was never published, so it is ours alone; who wrote a value has read it back.
        store.wipe(Wipe::Moved, self.offset);
        store.free(self.offset);
    }
}
