//! Heaps small enough for a model, and objects in a table of theirs.

#![allow(dead_code, reason = "each binary of models uses what it needs")]

use allocator_core::{
    DefragReport, Handle, Heap, HeapBuilder, Hold, Table, TableGuard, TableSpec, TakeError,
};
use std::alloc::Layout;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A heap of one kibibyte, without slabs.
pub(crate) fn heap() -> Heap {
    builder().capacity(1 << 10).build().expect("the settings are in range")
}

/// A heap of two kibibytes, without slabs: two small blocks are moved at a time.
pub(crate) fn wider_heap() -> Heap {
    builder().capacity(2 << 10).build().expect("the settings are in range")
}

/// A heap of four pages, in slabs of one page.
pub(crate) fn heap_with_slabs() -> Heap {
    builder().capacity(4 << 10).page_size(1 << 10).build().expect("the settings are in range")
}

/// The same with two stripes, which only a model lets so small a heap have.
pub(crate) fn heap_of_two_stripes() -> Heap {
    let builder = builder().capacity(4 << 10).page_size(1 << 10).stripes(2);
    builder.build().expect("the settings are in range")
}

/// A heap whose mover plans for some blocks at a time, in slabs of one page; threads keep nothing.
pub(crate) fn heap_for_plans() -> Heap {
    let builder = builder().capacity(10 << 10).page_size(1 << 10).thread_cache(0);
    builder.build().expect("the settings are in range")
}

fn builder() -> HeapBuilder {
    // A model has no clock: nobody loses patience.
    Heap::builder().stripes(1).patience(Duration::from_secs(3600))
}

/// Objects of type `T`: as much of a typed pool as a model needs.
pub(crate) struct Objects<T> {
    table: Table,
    objects: PhantomData<T>,
}

impl<T: Copy + PartialEq + std::fmt::Debug + 'static> Objects<T> {
    /// Gives the object of `handle` while a section is open; what it shows must not change until `see`
    /// returns.
    pub(crate) fn see<R>(&self, handle: Handle<T>, see: impl FnOnce(&T) -> R) -> Option<R> {
        let guard = self.table.enter();
        let object = locate(&guard, handle)?;
        let before = *object;
        let seen = see(object);
        assert_eq!(before, *object, "the object changed under a reader");
        drop(guard);
        Some(seen)
    }

    /// Reads the object in a section of its own.
    pub(crate) fn get(&self, handle: Handle<T>) -> Option<T> {
        self.see(handle, |object| *object)
    }

    /// Reads the object in a section of its own; gives its address.
    pub(crate) fn place(&self, handle: Handle<T>) -> Option<usize> {
        self.see(handle, |object| std::ptr::from_ref(object).addr())
    }
}

impl<T> Objects<T> {
    pub(crate) fn new(heap: &Heap) -> Self {
        unsafe fn drop_object<T>(object: *mut u8) {
            // SAFETY: the table passes an object of its layout, once.
            unsafe { object.cast::<T>().drop_in_place() };
        }
        let drop = std::mem::needs_drop::<T>().then_some(drop_object::<T> as unsafe fn(*mut u8));
        let spec = TableSpec { layout: Layout::new::<T>(), drop };
        // SAFETY: `drop` drops a `T`, and only `insert` and `replace` put objects in, which are `T`. The
        // models use objects that any thread may drop.
        let table = unsafe { Table::new(heap, spec) }.expect("a new heap has room for a table");
        Self { table, objects: PhantomData }
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) fn insert(&self, object: T) -> Handle<T> {
        self.try_insert(object).expect("the heap has room")
    }

    /// `None` where the heap has no room.
    pub(crate) fn try_insert(&self, object: T) -> Option<Handle<T>> {
        let reserved = self.table.reserve().ok()?;
        // SAFETY: room for a `T`, ours alone.
        unsafe { reserved.as_ptr().cast::<T>().write(object) };
        // SAFETY: just written.
        Some(unsafe { reserved.publish() })
    }

    /// Puts `object` in the place of the old one; false when somebody else replaced or removed that, or the
    /// heap has no room.
    ///
    /// It is written inside the section, so the fence of entering does not order it before what follows.
    pub(crate) fn replace(&self, handle: Handle<T>, object: T) -> bool {
        let guard = self.table.enter();
        let Ok(new) = self.table.reserve_replacement(handle) else { return false };
        let Some(old) = guard.locate(handle) else { return false };
        // SAFETY: room for a `T`, ours alone.
        unsafe { new.as_ptr().cast::<T>().write(object) };
        // SAFETY: a `T` was just written.
        match unsafe { guard.swing(handle, old, new) } {
            Ok(()) => true,
            Err(new) => {
                // SAFETY: still ours alone, and holds a `T`.
                unsafe { new.as_ptr().cast::<T>().drop_in_place() };
                false
            }
        }
    }

    /// Pins the object.
    pub(crate) fn hold(&self, handle: Handle<T>) -> Option<Pin<T>> {
        // SAFETY: the models use objects that borrow nothing and that any thread may drop.
        let hold = unsafe { self.table.enter().hold(handle) }.ok()?;
        Some(Pin { hold, object: PhantomData })
    }

    /// Takes the object out, waiting for readers.
    pub(crate) fn take(&self, handle: Handle<T>) -> Result<T, TakeError> {
        // SAFETY: a table of `Objects<T>` holds objects of type `T`.
        let read = |place: NonNull<u8>| unsafe { place.cast::<T>().read() };
        // SAFETY: it is read out, and nothing panics.
        unsafe { self.table.take(handle, read) }
    }

    /// Takes the object out, or says what keeps it.
    pub(crate) fn try_take(&self, handle: Handle<T>) -> Result<T, TakeError> {
        // SAFETY: as in `take`.
        let read = |place: NonNull<u8>| unsafe { place.cast::<T>().read() };
        // SAFETY: as in `take`.
        unsafe { self.table.try_take(handle, read) }
    }

    /// Takes the object out, for who has the table alone.
    pub(crate) fn take_mut(&mut self, handle: Handle<T>) -> Result<T, TakeError> {
        // SAFETY: as in `take`.
        let read = |place: NonNull<u8>| unsafe { place.cast::<T>().read() };
        // SAFETY: as in `take`.
        unsafe { self.table.take_mut(handle, read) }
    }

    pub(crate) fn retire(&self, handle: Handle<T>) -> bool {
        self.table.retire(handle)
    }
}

/// The object of `handle`, for as long as the guard is open.
pub(crate) fn locate<'g, T>(guard: &'g TableGuard<'_>, handle: Handle<T>) -> Option<&'g T> {
    let object: NonNull<u8> = guard.locate(handle)?;
    // SAFETY: a table of `Objects<T>` holds objects of type `T`, and the guard keeps this one in place.
    Some(unsafe { object.cast().as_ref() })
}

/// An object that is pinned.
pub(crate) struct Pin<T> {
    hold: Hold,
    object: PhantomData<T>,
}

impl<T> Pin<T> {
    pub(crate) fn object(&self) -> &T {
        // SAFETY: as in `locate`; the hold keeps the object in place.
        unsafe { self.hold.as_ptr().cast().as_ref() }
    }
}

/// Counts the objects that are there, to see that each ends once.
#[derive(Clone, Default)]
pub(crate) struct Census(Arc<AtomicUsize>);

impl Census {
    pub(crate) fn living(&self) -> usize {
        // Relaxed: no part of the model, and read where the threads are joined.
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn born(&self, value: u64) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted { value, census: self.clone() }
    }
}

/// An object that is counted.
pub(crate) struct Counted {
    pub(crate) value: u64,
    census: Census,
}

impl Drop for Counted {
    fn drop(&mut self) {
        assert!(self.census.0.fetch_sub(1, Ordering::Relaxed) > 0, "dropped twice");
        self.value = 0xdead;
    }
}

/// Two objects with a hole before the second one, where a defragmentation moves it to. Gives the second.
pub(crate) fn behind_a_hole<T>(objects: &Objects<T>, first: T, second: T) -> Handle<T> {
    let hole = objects.insert(first);
    let handle = objects.insert(second);
    assert!(objects.retire(hole));
    assert_eq!(objects.table().reclaim(), 1);
    handle
}

/// Whether a defragmentation went through the steps of a move and did it.
pub(crate) fn moved(report: &DefragReport) -> bool {
    report.moves > 0
}
