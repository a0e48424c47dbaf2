//! Objects of one type in a table: this module and its part `write.rs` hold every unsafe operation
//! of the crate.
//!
//! [`Objects`] is a `Table` that remembers its type. What the comments below rely on, by number:
//!
//! 1. **Type.** Every published block of the table holds an initialised `T` at a place of the
//!    layout of `T`: the table was made with that layout, and only
//!    [`Vacant::fill`](write::Vacant::fill) and [`Room::swap`](write::Room::swap) publish blocks,
//!    each after it wrote a `T`.
//! 2. **Place.** What a guard has located stays there, alive, until that guard is dropped; what is
//!    held stays until its last hold is dropped. Both are promises of the core.
//! 3. **Sharing.** `&T` comes from guards and holds. `&mut T` comes from [`Objects::exclusive`],
//!    [`Objects::alone`] and [`Walk`], which borrow the objects mutably, so nobody has a guard of the table to look with,
//!    and which leave out what is held. New holds come from `&Objects` or from another hold, so
//!    there will be none either.
//! 4. **Threads.** Whoever has `&Objects<T>` may be on another thread than the one that inserted,
//!    and may read, drop and take values there: `Sync` needs `T: Send + Sync`. Who owns it alone
//!    may do so elsewhere: `Send` needs `T: Send`, as long as nothing that reads objects stays
//!    behind. Guards borrow the objects; holds do not, therefore making one needs `T: Sync`.
//! 5. **Life.** Values may be dropped by any call until the objects and all holds are gone. Both
//!    carry a marker that owns a `T`, so the borrow checker keeps alive what `T` borrows until
//!    then.

mod write;

pub(crate) use write::{Exclusive, Missed, Vacant, Walk};

use allocator_core::{
    AccessError, AllocError, Handle, Heap, Hold, Table, TableGuard, TableSpec, TakeError,
};
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ptr::NonNull;

/// The objects of one pool.
#[derive(Debug)]
pub(crate) struct Objects<T> {
    table: Table,
    /// Owns values, and lets them in through `&self`, so `T` must be invariant.
    marker: PhantomData<UnsafeCell<T>>,
}

// SAFETY: (4.) The new owner reads, drops and takes values, which `T: Send` allows; holds, the only
// readers that may stay behind, need `T: Sync` to be made.
unsafe impl<T: Send> Send for Objects<T> {}
// SAFETY: (4.) Threads that share the objects share values (`T: Sync`) and drop, insert and take
// values (`T: Send`).
unsafe impl<T: Send + Sync> Sync for Objects<T> {}

/// Drops the object at `place`.
///
/// # Safety
/// `place` holds an initialised `T` that nobody else can see, and that is not used afterwards.
unsafe fn drop_object<T>(place: *mut u8) {
    // SAFETY: as promised by the caller.
    unsafe { place.cast::<T>().drop_in_place() }
}

impl<T> Objects<T> {
    pub(crate) fn new(heap: &Heap) -> Result<Self, AllocError> {
        let drop = drop_object::<T> as unsafe fn(*mut u8);
        let drop = core::mem::needs_drop::<T>().then_some(drop);
        let spec = TableSpec { layout: Layout::new::<T>(), drop };
        // SAFETY: duty 1, the drop function fits what is published: (1.). Duty 2, it runs on
        // threads that may drop a `T`: (4.), while it may be dropped: (5.).
        let table = unsafe { Table::new(heap, spec) }?;
        Ok(Self { table, marker: PhantomData })
    }

    /// The table, for what needs no type.
    #[inline]
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    #[inline(always)]
    pub(crate) fn enter(&self) -> Section<'_, T> {
        Section { guard: self.table.enter(), marker: PhantomData }
    }

    /// Takes a value out, once nobody reads it; waits for that, or not.
    pub(crate) fn take(&self, handle: Handle<T>, wait: bool) -> Result<T, TakeError> {
        // SAFETY: called below only, with the place of an object: (1.), that is locked, so nobody
        // else reads or moves it.
        let read = |place: NonNull<u8>| unsafe { place.cast::<T>().read() };
        if wait {
            // SAFETY: `read` moves the object out, and does not panic.
            unsafe { self.table.take(handle, read) }
        } else {
            // SAFETY: as above.
            unsafe { self.table.try_take(handle, read) }
        }
    }

    /// Takes a value out that nobody else can read, unless it is held.
    pub(crate) fn take_mut(&mut self, handle: Handle<T>) -> Result<T, TakeError> {
        // SAFETY: as in `take`.
        let read = |place: NonNull<u8>| unsafe { place.cast::<T>().read() };
        // SAFETY: as in `take`.
        unsafe { self.table.take_mut(handle, read) }
    }

    /// Pins an object. The bound is explained at (4.).
    pub(crate) fn hold(&self, handle: Handle<T>) -> Result<Held<T>, AccessError>
    where
        T: Sync,
    {
        // SAFETY: a `Held` goes where a `T` may be dropped, and its clones do: (4.). It owns a `T` for
        // the borrow checker, so nothing that the objects borrow is gone before it is: (5.).
        let hold = unsafe { self.table.enter().hold(handle) }?;
        Ok(Held { hold, marker: PhantomData })
    }
}

/// A read-side section that knows the type of what it finds.
#[derive(Debug)]
pub(crate) struct Section<'p, T> {
    guard: TableGuard<'p>,
    marker: PhantomData<&'p Objects<T>>,
}

impl<'p, T> Section<'p, T> {
    #[inline(always)]
    pub(crate) fn get(&self, handle: Handle<T>) -> Option<&T> {
        let place = self.guard.locate(handle)?.cast::<T>();
        // SAFETY: a `T` is there: (1.), it stays while `self` is borrowed: (2.), and nobody has
        // `&mut T`: (3.).
        Some(unsafe { place.as_ref() })
    }

    /// Keeps the section together with the object it found.
    #[inline(always)]
    pub(crate) fn into_shared(self, handle: Handle<T>) -> Option<Shared<'p, T>> {
        let place = self.guard.locate(handle)?.cast::<T>();
        Some(Shared { place, _section: self })
    }

    /// The table, for what needs no type.
    #[inline(always)]
    pub(crate) fn table(&self) -> &'p Table {
        self.guard.table()
    }

    /// The handle of the object in slot `index`, if there is one.
    pub(crate) fn handle_at(&self, index: u32) -> Option<Handle<T>> {
        self.guard.handle_at(index).map(Handle::cast)
    }

    /// Removes the object of `handle`, while it is still the version that was found.
    pub(crate) fn remove_found(&self, handle: Handle<T>, found: &T) -> bool {
        self.guard.retire_found(handle, NonNull::from_ref(found).cast())
    }
}

/// An object and the section that found it.
#[derive(Debug)]
pub(crate) struct Shared<'p, T> {
    place: NonNull<T>,
    _section: Section<'p, T>,
}

impl<T> Shared<'_, T> {
    #[inline(always)]
    pub(crate) fn get(&self) -> &T {
        // SAFETY: located by `_section`, which is still open: (1.), (2.), (3.).
        unsafe { self.place.as_ref() }
    }
}

/// A pin that knows the type of its object.
#[derive(Debug)]
pub(crate) struct Held<T> {
    hold: Hold,
    /// The last hold may drop the object.
    marker: PhantomData<T>,
}

// SAFETY: like `Arc`: a hold gives `&T` on its thread while others may do so on theirs (`T: Sync`),
// and the last one drops the object wherever it is (`T: Send`).
unsafe impl<T: Send + Sync> Send for Held<T> {}
// SAFETY: as above: `&Held` gives `&T`, and can be cloned into a hold of another thread.
unsafe impl<T: Send + Sync> Sync for Held<T> {}

impl<T> Held<T> {
    #[inline]
    pub(crate) fn get(&self) -> &T {
        // SAFETY: a `T` is there: (1.), it stays while it is held: (2.), and nobody has `&mut T`:
        // (3.).
        unsafe { self.hold.as_ptr().cast::<T>().as_ref() }
    }

    pub(crate) fn try_clone(&self) -> Result<Self, AccessError> {
        Ok(Self { hold: self.hold.try_clone()?, marker: PhantomData })
    }
}
