//! Models of the end of a table, while others hold its objects or reclaim them.
//!
//! The bounds are the largest that finish in seconds.

#![cfg(loom)]

mod modelling;
#[path = "modelling/objects.rs"]
mod objects;

use allocator_core::{Budget, Heap};
use loom::thread;
use modelling::explore;
use objects::{Census, Counted, Objects, heap, heap_with_slabs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// More than any pass takes.
const A_WHILE: Duration = Duration::from_secs(3600);

/// A heap, and how much of it is free.
fn new_heap() -> (Heap, usize) {
    let heap = heap();
    let free = heap.stats().free_bytes;
    (heap, free)
}

/// Nothing of a table is left when all have let go of it.
fn nothing_is_left(heap: &Heap, free: usize) {
    heap.verify().unwrap();
    assert_eq!((heap.stats().free_bytes, heap.stats().pools), (free, 0), "a block was forgotten");
}

/// A pin outlives its table: the object ends once, with the pin or with the table, whichever is last.
#[test]
fn last_pin_after_close() {
    let paths = ["dropped with the table", "dropped with the pin"];
    explore(Some(6), paths, |[with_table, with_pin]| {
        let (heap, free) = new_heap();
        let objects = Objects::<Counted>::new(&heap);
        let census = Census::default();
        let handle = objects.insert(census.born(7));
        let pin = objects.hold(handle).expect("nobody else holds it");
        let holder = thread::spawn({
            let census = census.clone();
            move || {
                assert_eq!(pin.object().value, 7);
                drop(pin);
                census.living() == 0
            }
        });
        drop(objects);
        let table_was_last = census.living() == 0;
        let pin_was_last = holder.join().unwrap();
        with_table.reached_if(table_was_last);
        with_pin.reached_if(pin_was_last && !table_was_last);
        assert_eq!(census.living(), 0, "nobody dropped the object");
        nothing_is_left(&heap, free);
    });
}

/// The same where a third thread has the retired object in hand when its table ends. Three threads: bounded.
#[test]
fn last_pin_after_close_and_flush() {
    explore(Some(2), ["flushed"], |[flushed]| {
        let (heap, free) = new_heap();
        let objects = Objects::<u64>::new(&heap);
        let handle = objects.insert(7);
        let pin = objects.hold(handle).expect("nobody else holds it");
        assert!(objects.retire(handle));
        let holder = thread::spawn(move || drop(pin));
        let other = thread::spawn({
            let heap = heap.clone();
            move || heap.flush()
        });
        drop(objects);
        holder.join().unwrap();
        let freed = other.join().unwrap();
        flushed.reached_if(freed == 1);
        nothing_is_left(&heap, free);
    });
}

/// Another thread has what was retired in hand when the table ends, and a section is open that began before: one of the two
/// frees it.
#[test]
fn flush_against_close() {
    explore(Some(3), ["flushed", "freed with the table"], |[flushed, with_table]| {
        let (heap, free) = new_heap();
        let objects = Objects::<u64>::new(&heap);
        let handle = objects.insert(7);
        assert!(objects.retire(handle));
        let closer = thread::spawn({
            let heap = heap.clone();
            move || {
                let _guard = heap.enter();
                drop(objects);
            }
        });
        let freed = heap.flush();
        closer.join().unwrap();
        flushed.reached_if(freed == 1);
        with_table.reached_if(freed == 0);
        nothing_is_left(&heap, free);
    });
}

/// Runs a timed pass, which gathers step by step; whether `has_ended` was set meanwhile.
fn pass(heap: &Heap, has_ended: &AtomicBool) -> bool {
    // Relaxed: in a model one thread runs at a time.
    let before = has_ended.load(Ordering::Relaxed);
    // A model has no clock: the pass does all that there is.
    assert!(heap.defragment_with(Budget::unlimited().time(A_WHILE)).complete);
    !before && has_ended.load(Ordering::Relaxed)
}

/// A pass has retired objects in hand when their table ends; a section was open that began before.
#[test]
fn gather_against_close() {
    explore(Some(2), ["the table ended meanwhile"], |[meanwhile]| {
        let (heap, free) = new_heap();
        let objects = Objects::<u64>::new(&heap);
        let handle = objects.insert(7);
        assert!(objects.retire(handle));
        let has_ended = Arc::new(AtomicBool::new(false));
        let closer = thread::spawn({
            let (heap, has_ended) = (heap.clone(), Arc::clone(&has_ended));
            move || {
                let _guard = heap.enter();
                drop(objects);
                // Relaxed: see `pass`.
                has_ended.store(true, Ordering::Relaxed);
            }
        });
        meanwhile.reached_if(pass(&heap, &has_ended));
        closer.join().unwrap();
        nothing_is_left(&heap, free);
    });
}

/// A pass has in hand what threads kept when their table ends.
#[test]
fn drain_of_depot_against_close() {
    explore(Some(1), ["the table ended meanwhile"], |[meanwhile]| {
        let heap = heap_with_slabs();
        let free = heap.stats().free_bytes;
        let objects = Objects::<u64>::new(&heap);
        let handles = [0, 1, 2, 3, 4, 5, 6, 7].map(|value| objects.insert(value));
        // More than a magazine holds.
        assert!(handles.into_iter().all(|handle| objects.retire(handle)));
        let has_ended = Arc::new(AtomicBool::new(false));
        let closer = thread::spawn({
            let has_ended = Arc::clone(&has_ended);
            move || {
                drop(objects);
                // Relaxed: see `pass`.
                has_ended.store(true, Ordering::Relaxed);
            }
        });
        meanwhile.reached_if(pass(&heap, &has_ended));
        closer.join().unwrap();
        // Empty slabs go.
        heap.defragment();
        nothing_is_left(&heap, free);
    });
}
