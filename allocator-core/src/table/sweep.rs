//! The end of a table, and of the objects that are pinned beyond it.
//!
//! A table that is dropped is *closed*: all its objects are dropped at once, but for those that are pinned. Whoever lets
//! go of a last pin then drops what is not pinned any more, and who drops the last object forgets the table.
//!
//! An object that is dropped here may let go of the last pin of another one, and so on. So a thread that sweeps a table does
//! not begin to sweep it again, but leaves the object to the sweep that it is in: a chain of pins does not recurse.

use super::Slots;
use super::retire::{Effort, Ready};
use crate::block;
use crate::cache::Pair;
use crate::heap::Inner;
use crate::slot::{self, Snapshot};
use crate::sync::atomic::{Ordering, fence};
use crate::sync::local;
use core::cell::RefCell;

/// A table that the thread sweeps, and the offsets of objects that were let go of meanwhile.
struct Swept {
    slots: *const Slots,
    gone: Vec<u32>,
}

local! {
    /// Each sweep runs inside the one before it. Not there any more while the thread is being torn down: then they recurse.
    static SWEPT: RefCell<Vec<Swept>> = RefCell::new(Vec::new())
}

/// Runs `f` with the innermost sweep of the table, if there is one.
fn with_swept<R>(slots: &Slots, f: impl FnOnce(&mut Swept) -> R) -> Option<R> {
    let with = |swept: &RefCell<Vec<Swept>>| {
        swept.borrow_mut().iter_mut().rfind(|swept| core::ptr::eq(swept.slots, slots)).map(f)
    };
    SWEPT.try_with(with).ok().flatten()
}

/// Frees objects that were pinned and are not any more. A table that is closed is forgotten when none is left, and goes on
/// with the rest when a drop panics: nobody else would.
pub(super) struct Sweep<'a> {
    slots: &'a Slots,
    heap: &'a Inner,
    is_noted: bool,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(slots: &'a Slots, heap: &'a Inner) -> Self {
        // Before the table is closed its objects are left to its own calls.
        let note = || {
            let swept = Swept { slots, gone: Vec::new() };
            SWEPT.try_with(|all| all.borrow_mut().push(swept)).is_ok()
        };
        let is_noted = slots.is_closed() && note();
        Self { slots, heap, is_noted }
    }

    /// Frees all that are not pinned; their number.
    pub(super) fn run(&self) -> usize {
        let free = |object: &Pair| !block::is_held(self.heap.store.header(object.offset()));
        let mut freed = 0;
        loop {
            self.run_gone();
            if !self.free_one(free) {
                return freed;
            }
            freed += 1;
        }
    }

    /// Frees those that were let go of while others were dropped.
    fn run_gone(&self) {
        while let Some(offset) = with_swept(self.slots, |swept| swept.gone.pop()).flatten() {
            self.free_at(offset);
        }
    }

    /// Frees the object at `offset`, where it is on the list of those that were pinned, and is not pinned any more.
    fn free_at(&self, offset: u32) {
        let header = || self.heap.store.header(offset);
        self.free_one(|object| object.offset() == offset && !block::is_held(header()));
    }

    /// Frees an object of the list; false where there is no such.
    fn free_one(&self, is_it: impl Fn(&Pair) -> bool) -> bool {
        let found = {
            let mut held = self.slots.held.lock();
            // As a rule an object is pinned by one that was put in later.
            held.iter().rposition(is_it).map(|place| held.swap_remove(place))
        };
        let Some(object) = found else { return false };
        self.slots.free(self.heap, object, Effort::All);
        true
    }
}

impl Drop for Sweep<'_> {
    fn drop(&mut self) {
        if self.slots.is_closed() {
            if std::thread::panicking() {
                self.run();
            }
            if self.slots.held.lock().is_empty() {
                self.heap.tables.remove(self.slots);
            }
        }
        if self.is_noted {
            // Ours: those inside it are over. An error says that all are gone.
            let _ = SWEPT.try_with(|all| all.borrow_mut().pop());
        }
    }
}

impl Slots {
    /// The last pin of the object at `offset` was let go: where the table is gone, nobody else would drop it.
    pub(super) fn last_hold_gone(&self, heap: &Inner, offset: u32) {
        // SeqCst: see `close`.
        fence(Ordering::SeqCst);
        if self.is_closed() && with_swept(self, |swept| swept.gone.push(offset)).is_none() {
            let sweep = Sweep::new(self, heap);
            sweep.free_at(offset);
            sweep.run_gone();
        }
    }

    /// Ends the life of every object and forgets the table. What is pinned is dropped with its last pin.
    ///
    /// Nobody reads through this table any more, so nothing waits for a grace period.
    pub(super) fn close(&self, heap: &Inner) {
        // Release: see `is_closed`.
        self.closed.store(true, Ordering::Release);
        // SeqCst: with the fence in `last_hold_gone`, either a last pin sees the table closed, or `Closing` below
        // sees the pin gone.
        fence(Ordering::SeqCst);
        // Its drop comes after that of `Closing`, and forgets the table whatever panics.
        let sweep = Sweep::new(self, heap);
        Closing { slots: self, heap, next: 0 }.run();
        sweep.run();
    }
}

/// The end of a table. Goes on with the rest when a drop panics.
struct Closing<'a> {
    slots: &'a Slots,
    heap: &'a Inner,
    next: u32,
}

impl Closing<'_> {
    fn run(&mut self) {
        let Self { slots, heap, .. } = *self;
        while self.next < slots.used() {
            let index = self.next;
            self.next += 1;
            let word = slots.words.get(index);
            // Acquire: another thread may have put the object in; it is dropped here.
            let seen = Snapshot(word.load(Ordering::Acquire));
            if seen.is_vacant() {
                continue;
            }
            let handle = crate::Handle::<[u8]>::new(index, seen.generation());
            if let Some(word) = slot::unlink(word, handle) {
                let object = Pair { word, slot: index };
                if !(slots.may_be_held() && slots.set_aside(heap, object)) {
                    slots.free(heap, object, Effort::All);
                }
            }
        }
        for home in slots.caches.all() {
            let in_hand = slots.hands.take();
            let objects = home.with(&heap.readers, |cache| cache.all_retired(&in_hand));
            slots.settle_all(Ready { slots, heap, home, objects }, Effort::All);
        }
        slots.empty_caches(heap);
    }
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The object whose drop panicked is dealt with; a second panic aborts, as in a `Vec`.
            self.run();
        }
        self.slots.caches.close();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::sync::Arc;
    use crate::{Heap, Table, TableSpec};
    use core::alloc::Layout;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    unsafe fn panics(_: *mut u8) {
        panic!("told to panic");
    }

    /// A table of numbers, one of which it holds.
    fn table(heap: &Heap, drop: Option<unsafe fn(*mut u8)>) -> Table {
        let spec = TableSpec { layout: Layout::new::<u64>(), drop };
        // SAFETY: any number may be dropped by `drop`, on any thread.
        let table = unsafe { Table::new(heap, spec) }.unwrap();
        let place = table.reserve().unwrap();
        // SAFETY: room for a number.
        unsafe { place.as_ptr().cast::<u64>().write(7) };
        // SAFETY: just written.
        unsafe { place.publish::<u64>() };
        table
    }

    #[test]
    fn a_drop_that_panics_leaves_no_thread_its_cache() {
        let heap = Heap::builder().capacity(1 << 16).build().unwrap();
        for drop_object in [None, Some(panics as unsafe fn(*mut u8))] {
            let table = table(&heap, drop_object);
            let caches = Arc::downgrade(&table.slots.caches);
            let end = catch_unwind(AssertUnwindSafe(|| drop(table)));
            assert_eq!(end.is_err(), drop_object.is_some());
            // The thread forgets caches that are closed when it needs one that it does not have.
            assert!(caches.upgrade().is_some());
            drop(self::table(&heap, None));
            assert!(caches.upgrade().is_none(), "panics: {}", drop_object.is_some());
        }
    }
}
