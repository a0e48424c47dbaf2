//! Slots and objects that are brought into the cache before their turn comes: of a batch of handles
//! ([`Ahead`]), or of a walk over the slots.

use allocator_core::{Handle, Table};
use core::borrow::Borrow;
use core::marker::PhantomData;

/// How many objects ahead one is asked for. Measured with objects of 64 bytes to 1 KiB: fewer do not
/// cover a miss, more gain nothing.
const OBJECTS_AHEAD: usize = 12;

/// How many objects ahead the slot of one is asked for.
pub(crate) const SLOTS_AHEAD: usize = 2 * OBJECTS_AHEAD;

/// Asks for the object that a walk over the slots, which is at slot `index`, comes to a little later.
/// The slots themselves are read in order, which needs no help.
#[inline(always)]
pub(crate) fn ask_ahead_of<T>(table: &Table, index: u32) {
    table.prefetch_block(index.saturating_add(OBJECTS_AHEAD as u32), size_of::<T>());
}

/// Gives handles one by one, after it has asked for the slots of those that come later and for the
/// objects of those that come soon.
#[derive(Debug)]
pub(crate) struct Ahead<T, I> {
    slots: I,
    objects: I,
    now: I,
    marker: PhantomData<fn() -> Handle<T>>,
}

impl<T, I: Iterator<Item: Borrow<Handle<T>>> + Clone> Ahead<T, I> {
    #[inline]
    pub(crate) fn new(table: &Table, handles: I) -> Self {
        let (slots, objects) = (handles.clone(), handles.clone());
        let mut ahead = Self { slots, objects, now: handles, marker: PhantomData };
        for handle in ahead.slots.by_ref().take(SLOTS_AHEAD) {
            table.prefetch_slot(handle.borrow().index());
        }
        for handle in ahead.objects.by_ref().take(OBJECTS_AHEAD) {
            table.prefetch_block(handle.borrow().index(), size_of::<T>());
        }
        ahead
    }

    /// The next handle.
    #[inline(always)]
    pub(crate) fn next(&mut self, table: &Table) -> Option<Handle<T>> {
        let handle = *self.now.next()?.borrow();
        if let Some(later) = self.slots.next() {
            table.prefetch_slot(later.borrow().index());
        }
        if let Some(soon) = self.objects.next() {
            table.prefetch_block(soon.borrow().index(), size_of::<T>());
        }
        Some(handle)
    }

    /// Of the handles that are left.
    pub(crate) fn size_hint(&self) -> (usize, Option<usize>) {
        self.now.size_hint()
    }
}
