//! What writes to places: new objects, new versions, mutable borrows. The numbers are those of
//! `mod.rs`.

use super::Objects;
use crate::ahead::ask_ahead_of;
use allocator_core::{AllocError, Handle, Replacement, Reservation, Table, TableGuard};
use core::marker::PhantomData;
use core::ops::Range;
use core::ptr::NonNull;

impl<T> Objects<T> {
    /// Takes a slot and a block for a new object.
    pub(crate) fn vacant(&self) -> Result<Vacant<'_, T>, AllocError> {
        Ok(Vacant { reservation: self.table.reserve()?, marker: PhantomData })
    }

    /// The same out of what the thread keeps.
    #[inline(always)]
    pub(crate) fn vacant_cached(&self) -> Option<Vacant<'_, T>> {
        Some(Vacant { reservation: self.table.reserve_cached()?, marker: PhantomData })
    }

    /// Takes a block for a new version of the object of `handle`.
    pub(crate) fn room(&self, handle: Handle<T>) -> Result<Room<'_, T>, AllocError> {
        Ok(Room { objects: self, handle, block: self.table.reserve_replacement(handle)? })
    }

    /// Borrows an object mutably; `None` when the handle is stale or the object is held.
    pub(crate) fn exclusive(&mut self, handle: Handle<T>) -> Option<Exclusive<'_, T>> {
        // SAFETY: `&mut self` for the life of the result.
        unsafe { Exclusive::new(self.table.enter(), handle) }
    }

    /// Opens a section to borrow objects mutably in, one after the other.
    pub(crate) fn alone(&mut self) -> Alone<'_, T> {
        Alone { guard: self.table.enter(), marker: PhantomData }
    }

    /// Walks over the objects that are not held.
    pub(crate) fn walk(&mut self) -> Walk<'_, T> {
        Walk { slots: 0..self.table.slots_used(), objects: self, marker: PhantomData }
    }
}

/// An object that nobody else can reach, in a section that keeps movers away.
#[derive(Debug)]
pub(crate) struct Exclusive<'p, T> {
    place: NonNull<T>,
    _guard: TableGuard<'p>,
    marker: PhantomData<&'p mut T>,
}

impl<'p, T> Exclusive<'p, T> {
    /// # Safety
    /// The objects stay mutably borrowed for `'p`, and no other `Exclusive` of this object exists.
    unsafe fn new(guard: TableGuard<'p>, handle: Handle<T>) -> Option<Self> {
        // A hold that is gone when we look happened before (the count is read with Acquire), and
        // cannot come back: (3.).
        if guard.is_held(handle) {
            return None;
        }
        let place = guard.locate(handle)?.cast::<T>();
        Some(Self { place, _guard: guard, marker: PhantomData })
    }

    #[inline]
    pub(crate) fn get(&self) -> &T {
        // SAFETY: a `T` is there: (1.); `_guard` is still open: (2.); it is ours alone by the duty
        // of `new`.
        unsafe { self.place.as_ref() }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut T {
        // SAFETY: as in `get`; and `&mut self` makes it the only borrow through us.
        unsafe { self.place.as_mut() }
    }
}

/// A section in which nobody else looks at the objects, except by holds.
#[derive(Debug)]
pub(crate) struct Alone<'p, T> {
    guard: TableGuard<'p>,
    marker: PhantomData<&'p mut Objects<T>>,
}

impl<'p, T> Alone<'p, T> {
    /// The table, for what needs no type.
    #[inline(always)]
    pub(crate) fn table(&self) -> &'p Table {
        self.guard.table()
    }

    /// The handle of the object in slot `index`, if there is one.
    pub(crate) fn handle_at(&self, index: u32) -> Option<Handle<T>> {
        self.guard.handle_at(index).map(Handle::cast)
    }

    /// The object of `handle`; `None` when the handle is stale or the object is held.
    pub(crate) fn get_mut(&mut self, handle: Handle<T>) -> Option<&mut T> {
        // As in `Exclusive::new`.
        if self.guard.is_held(handle) {
            return None;
        }
        let mut place = self.guard.locate(handle)?.cast::<T>();
        // SAFETY: a `T` is there: (1.), it stays while `guard` is open: (2.), the objects are borrowed
        // mutably and it is not held: (3.), and `&mut self` makes it the only borrow through us.
        Some(unsafe { place.as_mut() })
    }
}

/// A walk over all objects that gives each out mutably, once.
#[derive(Debug)]
pub(crate) struct Walk<'p, T> {
    objects: &'p Objects<T>,
    slots: Range<u32>,
    marker: PhantomData<&'p mut Objects<T>>,
}

impl<'p, T> Walk<'p, T> {
    pub(crate) fn next(&mut self) -> Option<(Handle<T>, Exclusive<'p, T>)> {
        self.slots.by_ref().find_map(|index| {
            ask_ahead_of::<T>(&self.objects.table, index);
            let guard = self.objects.table.enter();
            let handle = guard.handle_at(index)?.cast::<T>();
            // SAFETY: the walk borrows the objects mutably for `'p`. Each slot is visited once, and
            // two slots never name the same object.
            let object = unsafe { Exclusive::new(guard, handle) }?;
            Some((handle, object))
        })
    }

    /// Slots still to be visited.
    pub(crate) fn slots_left(&self) -> usize {
        self.slots.len()
    }
}

/// A slot and a block for an object that is not there yet. Dropping it gives both back.
#[derive(Debug)]
pub(crate) struct Vacant<'p, T> {
    reservation: Reservation<'p>,
    marker: PhantomData<&'p Objects<T>>,
}

impl<T> Vacant<'_, T> {
    pub(crate) fn handle(&self) -> Handle<T> {
        self.reservation.handle()
    }

    #[inline(always)]
    pub(crate) fn fill(self, value: T) -> Handle<T> {
        let place = self.reservation.as_ptr().cast::<T>();
        // SAFETY: room of the layout of `T`, not visible to anybody.
        unsafe { place.write(value) };
        // SAFETY: the object was just written.
        unsafe { self.reservation.publish() }
    }
}

/// A block for a new version of an object. Dropping it gives the block back.
#[derive(Debug)]
pub(crate) struct Room<'p, T> {
    objects: &'p Objects<T>,
    handle: Handle<T>,
    block: Replacement<'p>,
}

/// Why a new version did not replace the old one.
#[derive(Debug)]
pub(crate) enum Missed<'p, T, S> {
    /// The handle is stale; nothing was computed.
    Stale(S),
    /// Another version came first: the room, and the version that nobody saw.
    Lost(Room<'p, T>, T),
}

impl<'p, T> Room<'p, T> {
    /// Computes a version from the present one and puts it in its place, which is retired.
    pub(crate) fn swap<S>(
        self,
        state: S,
        make: impl FnOnce(S, &T) -> T,
    ) -> Result<(), Missed<'p, T, S>> {
        let Self { objects, handle, block } = self;
        let guard = objects.table.enter();
        let Some(old) = guard.locate(handle) else { return Err(Missed::Stale(state)) };
        // SAFETY: as in `Section::get`; the guard stays open until the end.
        let value = make(state, unsafe { old.cast::<T>().as_ref() });
        let place = block.as_ptr().cast::<T>();
        // SAFETY: room of the layout of `T`, not visible to anybody.
        unsafe { place.write(value) };
        // SAFETY: a `T` was just written to the block.
        match unsafe { guard.swing(handle, old, block) } {
            Ok(()) => Ok(()),
            Err(block) => {
                // SAFETY: written above and not published, so it is still ours alone.
                let value = unsafe { place.read() };
                Err(Missed::Lost(Self { objects, handle, block }, value))
            }
        }
    }
}
