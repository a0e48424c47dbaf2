//! A minimal typed face of `Table`, as a container of somebody else's would have it.

use allocator_core::{
    AccessError, AllocError, Handle, Heap, Hold, Table, TableGuard, TableSpec, TakeError,
};
use std::alloc::Layout;
use std::marker::PhantomData;
use std::mem::needs_drop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Objects of one type.
pub(crate) struct Typed<T> {
    pub(crate) table: Table,
    marker: PhantomData<T>,
}

unsafe fn drop_in_place<T>(place: *mut u8) {
    // SAFETY: the table calls this once for each object that was published, at its place.
    unsafe { place.cast::<T>().drop_in_place() }
}

/// Moves the object at `place` out, for `take`, which says when.
fn read_out<T>(place: NonNull<u8>) -> T {
    // SAFETY: a table of `T` calls this with the place of an object that nobody else can see, once.
    unsafe { place.cast().read() }
}

impl<T: Send + Sync> Typed<T> {
    pub(crate) fn new(heap: &Heap) -> Self {
        let drop = needs_drop::<T>().then_some(drop_in_place::<T> as unsafe fn(*mut u8));
        let spec = TableSpec { layout: Layout::new::<T>(), drop };
        // SAFETY: `drop` fits the objects, which are all a `T` and may be dropped on any thread.
        let table = unsafe { Table::new(heap, spec) }.expect("the heap serves one more table");
        Self { table, marker: PhantomData }
    }

    pub(crate) fn insert(&self, value: T) -> Result<Handle<T>, AllocError> {
        self.insert_with(|_| value)
    }

    pub(crate) fn insert_with(
        &self,
        make: impl FnOnce(Handle<T>) -> T,
    ) -> Result<Handle<T>, AllocError> {
        let reservation = self.table.reserve()?;
        let value = make(reservation.handle());
        // SAFETY: the place has the layout of a `T` and is ours.
        unsafe { reservation.as_ptr().cast::<T>().write(value) };
        // SAFETY: the object was just written.
        Ok(unsafe { reservation.publish() })
    }

    /// The object of a handle that is this table's, while the guard is open.
    pub(crate) fn get<'g>(guard: &'g TableGuard<'_>, handle: Handle<T>) -> Option<&'g T> {
        let place = guard.locate(handle)?;
        // SAFETY: the table holds objects of `T` only, and this one stays while the guard is open.
        Some(unsafe { place.cast::<T>().as_ref() })
    }

    pub(crate) fn with<R>(&self, handle: Handle<T>, f: impl FnOnce(&T) -> R) -> Option<R> {
        let guard = self.table.enter();
        Self::get(&guard, handle).map(f)
    }

    pub(crate) fn hold(&self, handle: Handle<T>) -> Result<Held<T>, AccessError> {
        // SAFETY: a `Held` owns a `T` for the borrow checker, and objects may be dropped on any thread: `T: Send + Sync`.
        let hold = unsafe { self.table.enter().hold(handle) }?;
        Ok(Held { hold, marker: PhantomData })
    }

    pub(crate) fn take(&self, handle: Handle<T>) -> Result<T, TakeError> {
        // SAFETY: the object is moved out, without a panic.
        unsafe { self.table.take(handle, read_out) }
    }

    pub(crate) fn try_take(&self, handle: Handle<T>) -> Result<T, TakeError> {
        // SAFETY: as in `take`.
        unsafe { self.table.try_take(handle, read_out) }
    }

    pub(crate) fn take_mut(&mut self, handle: Handle<T>) -> Result<T, TakeError> {
        // SAFETY: as in `take`.
        unsafe { self.table.take_mut(handle, read_out) }
    }

    /// Puts what `f` makes of the present object in its place; `None` where the handle is stale.
    pub(crate) fn update(&self, handle: Handle<T>, f: impl Fn(&T) -> T) -> Option<()> {
        loop {
            let new = self.table.reserve_replacement(handle).ok()?;
            let guard = self.table.enter();
            let old = guard.locate(handle)?;
            // SAFETY: as in `get`.
            let value = f(unsafe { old.cast::<T>().as_ref() });
            let place = new.as_ptr().cast::<T>();
            // SAFETY: the place has the layout of a `T` and is ours.
            unsafe { place.write(value) };
            // SAFETY: the replacement holds a `T`.
            match unsafe { guard.swing(handle, old, new) } {
                Ok(()) => return Some(()),
                // SAFETY: the object was written above, and nobody took it.
                Err(back) => unsafe { back.as_ptr().cast::<T>().drop_in_place() },
            }
        }
    }
}

/// A hold on an object.
pub(crate) struct Held<T> {
    pub(crate) hold: Hold,
    marker: PhantomData<T>,
}

impl<T> Held<T> {
    pub(crate) fn get(&self) -> &T {
        // SAFETY: the object is a `T` and stays while it is held.
        unsafe { self.hold.as_ptr().cast::<T>().as_ref() }
    }
}

/// Counts its drops; panics in the one that it is told to.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) number: u64,
    pub(crate) drops: Arc<AtomicUsize>,
    pub(crate) panics: bool,
}

impl Tally {
    pub(crate) fn new(number: u64, drops: &Arc<AtomicUsize>) -> Self {
        Self { number, drops: Arc::clone(drops), panics: false }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
        assert!(!self.panics, "told to panic");
    }
}

/// Runs `f`, in which a [`Tally`] must panic.
#[track_caller]
pub(crate) fn must_panic(f: impl FnOnce()) {
    let panic = catch_unwind(AssertUnwindSafe(f)).expect_err("a drop panicked");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"told to panic"));
}
