//! Models of `Heap::defragment` against everything that goes on meanwhile.
//!
//! The heaps are a few blocks small. The bounds are the largest that finish in seconds.

#![cfg(loom)]

mod modelling;
#[path = "modelling/objects.rs"]
mod objects;

use allocator_core::{Budget, DefragReport, Heap};
use loom::thread;
use modelling::{Path, UNBOUNDED, explore};
use objects::{Objects, behind_a_hole, heap, heap_with_slabs, locate, moved, wider_heap};
use std::sync::Arc;

/// A table of numbers in `heap`, for several threads.
fn numbers(heap: &Heap) -> Arc<Objects<u64>> {
    Arc::new(Objects::new(heap))
}

/// A reader finds the old place before the lock or the new one after it, and nothing is copied under it.
#[test]
fn read_against_move() {
    let paths = ["moved", "cancelled", "read at the old place", "read at the new place"];
    explore(Some(6), paths, |[did_move, cancelled, old, new]| {
        let heap = heap();
        let objects = numbers(&heap);
        let handle = behind_a_hole(&objects, 1, 7);
        let home = objects.place(handle);
        let reader = thread::spawn({
            let objects = Arc::clone(&objects);
            move || {
                let seen = |seen: &u64| (*seen, std::ptr::from_ref(seen).addr());
                objects.see(handle, seen).expect("the object is there all the time")
            }
        });
        let report = heap.defragment();
        let (value, place) = reader.join().unwrap();
        assert_eq!(value, 7);
        did_move.reached_if(moved(&report));
        cancelled.reached_if(report.cancelled > 0);
        old.reached_if(moved(&report) && Some(place) == home);
        new.reached_if(Some(place) != home);
        assert_eq!(objects.get(handle), Some(7));
        heap.verify().unwrap();
    });
}

/// The same where slabs are consolidated.
#[test]
fn read_against_move_of_a_slab() {
    /// Four of them fill a slab.
    type Wide = [u64; 28];
    explore(Some(5), ["moved", "cancelled"], |[did_move, cancelled]| {
        let heap = heap_with_slabs();
        let objects = Arc::new(Objects::<Wide>::new(&heap));
        let full = [1, 2, 3, 4].map(|value| objects.insert([value; 28]));
        let handle = objects.insert([7; 28]);
        for object in &full[1..] {
            assert!(objects.retire(*object));
        }
        objects.table().reclaim();
        let reader = thread::spawn({
            let objects = Arc::clone(&objects);
            move || objects.get(handle).expect("the object is there all the time")
        });
        let report = heap.defragment();
        assert_eq!(reader.join().unwrap(), [7; 28]);
        did_move.reached_if(moved(&report));
        cancelled.reached_if(report.cancelled > 0);
        assert_eq!(objects.get(handle), Some([7; 28]));
        heap.verify().unwrap();
    });
}

/// Two readers and a mover.
#[test]
fn two_readers_against_move() {
    let paths = ["moved", "cancelled", "one read before and one after"];
    explore(Some(2), paths, |[did_move, cancelled, both]| {
        let heap = heap();
        let objects = numbers(&heap);
        let handle = behind_a_hole(&objects, 1, 7);
        let read = || {
            let objects = Arc::clone(&objects);
            thread::spawn(move || objects.place(handle).expect("the object is there all the time"))
        };
        let readers = [read(), read()];
        let report = heap.defragment();
        let places = readers.map(|reader| reader.join().unwrap());
        did_move.reached_if(moved(&report));
        cancelled.reached_if(report.cancelled > 0);
        both.reached_if(places[0] != places[1]);
        assert_eq!(objects.get(handle), Some(7));
    });
}

/// The mover may see only the second announcement of a reader: it must see the first section's reads too.
#[test]
fn reentering_reader() {
    let paths = ["moved", "cancelled", "moved between the sections"];
    explore(Some(4), paths, |[did_move, cancelled, between]| {
        let heap = heap();
        let objects = numbers(&heap);
        let handle = behind_a_hole(&objects, 1, 7);
        let reader = thread::spawn({
            let objects = Arc::clone(&objects);
            move || [objects.place(handle), objects.place(handle)]
        });
        let report = heap.defragment();
        let places = reader.join().unwrap();
        did_move.reached_if(moved(&report));
        cancelled.reached_if(report.cancelled > 0);
        between.reached_if(places[0] != places[1]);
        assert!(places[0].is_some() && places[1].is_some());
    });
}

/// A section is open while its object is marked, cancelled and marked again: the second mark needs a grace
/// period of its own, which waits for the section.
#[test]
fn cancel_and_remark() {
    explore(Some(4), ["moved after a mark that was cancelled"], |[second]| {
        let heap = heap();
        let objects = numbers(&heap);
        let handle = behind_a_hole(&objects, 1, 7);
        let reader = thread::spawn({
            let objects = Arc::clone(&objects);
            move || {
                let guard = objects.table().enter();
                let first = locate(&guard, handle).expect("the object is there all the time");
                let again = locate(&guard, handle).expect("the object is there all the time");
                assert!(std::ptr::eq(first, again), "the object moved under an open section");
                assert_eq!(*first, 7);
            }
        });
        // It tries again what a reader has cancelled.
        let report = heap.defragment();
        reader.join().unwrap();
        second.reached_if(report.cancelled > 0 && moved(&report));
        assert_eq!(objects.get(handle), Some(7));
    });
}

/// What is pinned stays where it is until the pin is dropped, long after the section is left.
#[test]
fn pin_against_move() {
    let paths = ["moved", "pinned", "cancelled"];
    explore(Some(4), paths, |[did_move, pinned, cancelled]| {
        let heap = heap();
        let objects = numbers(&heap);
        let handle = behind_a_hole(&objects, 1, 7);
        let holder = thread::spawn({
            let objects = Arc::clone(&objects);
            move || {
                let pin = objects.hold(handle).expect("nobody else holds the object");
                assert_eq!(*pin.object(), 7);
            }
        });
        let report = heap.defragment();
        holder.join().unwrap();
        did_move.reached_if(moved(&report));
        pinned.reached_if(report.blocked_by_pins == 1);
        cancelled.reached_if(report.cancelled > 0);
        assert!(moved(&report) || pinned_or_cancelled(&report));
        assert_eq!(objects.get(handle), Some(7));
        heap.verify().unwrap();
    });
}

/// Sections of one heap do not count for another, also where they are nested in each other.
#[test]
fn two_heaps_guards() {
    let paths = ["moved", "cancelled"];
    explore(Some(4), paths, |[did_move, cancelled]| {
        let (heap, other) = (heap(), heap());
        let objects = numbers(&heap);
        let handle = behind_a_hole(&objects, 1, 7);
        let reader = thread::spawn({
            let (objects, other) = (Arc::clone(&objects), other.clone());
            move || {
                let outer = other.enter();
                let value = objects.get(handle);
                // Forgotten: it stays open for ever, in the other heap.
                std::mem::forget(outer);
                assert_eq!(value, Some(7));
            }
        });
        let outer = other.enter();
        // With a section of this heap it would move nothing, and with the forgotten one it would not end.
        let report = heap.defragment();
        drop(outer);
        reader.join().unwrap();
        did_move.reached_if(moved(&report));
        cancelled.reached_if(report.cancelled > 0);
        assert!(!report.own_guard && report.blocked_by_guards == 0);
        let inner = heap.enter();
        assert!(heap.defragment().own_guard);
        drop(inner);
        assert!(!heap.defragment().own_guard);
    });
}

/// A replacement whose section found the object is not refused because of a move.
#[test]
fn replace_against_move() {
    let paths = ["moved first", "the move was beaten"];
    explore(Some(4), paths, |[did_move, beaten]| {
        let heap = heap();
        let objects = numbers(&heap);
        let handle = behind_a_hole(&objects, 1, 7);
        let writer = thread::spawn({
            let objects = Arc::clone(&objects);
            move || assert!(objects.replace(handle, 8), "nobody else replaces it")
        });
        let report = heap.defragment();
        writer.join().unwrap();
        did_move.reached_if(moved(&report));
        beaten.reached_if(report.cancelled > 0);
        assert_eq!(objects.get(handle), Some(8));
        heap.verify().unwrap();
        assert_eq!(heap.stats().live_blocks, 1);
    });
}

/// Exactly one of a removal and a move wins, and the block is freed once, at the place where it is by then.
#[test]
fn move_against_remove() {
    let paths = ["moved first", "the move was beaten"];
    explore(UNBOUNDED, paths, |[did_move, beaten]| {
        let heap = heap();
        let free = heap.stats().free_bytes;
        let objects = numbers(&heap);
        let handle = behind_a_hole(&objects, 1, 7);
        let remover = thread::spawn({
            let objects = Arc::clone(&objects);
            move || assert!(objects.retire(handle), "nobody else removes it")
        });
        let report = heap.defragment();
        remover.join().unwrap();
        did_move.reached_if(moved(&report));
        beaten.reached_if(report.cancelled > 0);
        assert_eq!(objects.get(handle), None);
        objects.table().reclaim();
        heap.verify().unwrap();
        let stats = heap.stats();
        assert_eq!((stats.live_blocks, stats.pending_blocks, stats.free_bytes), (0, 0, free));
    });
}

/// A mover whose budget is spent takes its other marks back, but not over a removal.
#[test]
fn unmark_against_remove() {
    explore(UNBOUNDED, ["moved"], |[did_move]| {
        let heap = wider_heap();
        let objects = numbers(&heap);
        let [hole, first, second] = [1, 7, 8].map(|value| objects.insert(value));
        assert!(objects.retire(hole));
        assert_eq!(objects.table().reclaim(), 1);
        let remover = thread::spawn({
            let objects = Arc::clone(&objects);
            move || assert!(objects.retire(second), "nobody else removes it")
        });
        let report = heap.defragment_with(Budget::unlimited().moves(1));
        remover.join().unwrap();
        did_move.reached_if(moved(&report));
        assert_eq!(objects.get(second), None, "a removed object came back");
        objects.table().reclaim();
        assert_eq!((objects.get(first), heap.stats().live_blocks), (Some(7), 1));
        heap.verify().unwrap();
    });
}

/// Two defragmentations at a time: one waits, so that nobody takes the other's mark for its own. The smaller
/// bound first: what is wrong is found sooner there.
#[test]
fn move_against_move() {
    let paths = ["the first moved", "the second moved", "cancelled"];
    let model = |[first, second, cancelled]: [&'static Path; 3]| {
        let heap = heap();
        let objects = numbers(&heap);
        let handle = behind_a_hole(&objects, 1, 7);
        let mover = thread::spawn({
            let heap = heap.clone();
            move || heap.defragment()
        });
        let reader = thread::spawn({
            let objects = Arc::clone(&objects);
            move || assert_eq!(objects.get(handle), Some(7))
        });
        let reports = [heap.defragment(), mover.join().unwrap()];
        reader.join().unwrap();
        first.reached_if(moved(&reports[0]));
        second.reached_if(moved(&reports[1]));
        cancelled.reached_if(reports.iter().any(|report| report.cancelled > 0));
        assert_eq!(objects.get(handle), Some(7));
    };
    explore(Some(2), paths, model);
    explore(Some(3), paths, model);
}

fn pinned_or_cancelled(report: &DefragReport) -> bool {
    report.blocked_by_pins == 1 || report.cancelled > 0
}
