//! Models of objects that come and go: inserted, removed, replaced, pinned, taken.
//!
//! A batch of retired objects is two in a model. The bounds are the largest that finish in seconds.

#![cfg(loom)]

mod modelling;
#[path = "modelling/objects.rs"]
mod objects;

use allocator_core::{Handle, Heap, TakeError};
use loom::thread;
use modelling::{UNBOUNDED, explore};
use objects::{Census, Counted, Objects, behind_a_hole, heap, locate, moved};
use std::sync::Arc;

/// A table of numbers in `heap`, for several threads.
fn numbers(heap: &Heap) -> Arc<Objects<u64>> {
    Arc::new(Objects::new(heap))
}

/// Reads a counted object in a section of its own.
fn value(objects: &Objects<Counted>, handle: Handle<Counted>) -> Option<u64> {
    let guard = objects.table().enter();
    let object = locate(&guard, handle)?;
    let value = object.value;
    // Something to do for the others while the section is open.
    let _ = locate(&guard, handle);
    assert_eq!(object.value, value, "the object ended under a reader");
    Some(value)
}

/// Whoever finds a new object finds it whole, without having been told of it.
#[test]
fn read_against_insert() {
    explore(UNBOUNDED, ["found", "not yet there"], |[found, missing]| {
        let heap = heap();
        let objects = numbers(&heap);
        let inserter = thread::spawn({
            let objects = Arc::clone(&objects);
            move || objects.insert(7)
        });
        let guard = objects.table().enter();
        match guard.handle_at(0) {
            Some(handle) => {
                found.reached();
                assert_eq!(locate(&guard, handle.cast()), Some(&7_u64));
            }
            None => missing.reached(),
        }
        drop(guard);
        let handle = inserter.join().unwrap();
        assert_eq!(objects.get(handle), Some(7));
    });
}

/// A slot and its block serve again at once when nobody can see the old object, and a handle of the old one
/// never finds the new one.
#[test]
fn read_against_remove_and_reuse() {
    let paths = ["read", "stale", "the slot was reused", "the slot was not free yet"];
    explore(Some(6), paths, |[read, stale, reused, waited]| {
        let heap = heap();
        let objects = numbers(&heap);
        let handle = objects.insert(7);
        let reader = thread::spawn({
            let objects = Arc::clone(&objects);
            move || objects.get(handle)
        });
        assert!(objects.retire(handle));
        objects.table().reclaim();
        let new = objects.insert(8);
        let seen = reader.join().unwrap();
        assert!(seen.is_none_or(|seen| seen == 7), "a stale handle found {seen:?}");
        read.reached_if(seen.is_some());
        stale.reached_if(seen.is_none());
        reused.reached_if(new.index() == handle.index());
        waited.reached_if(new.index() != handle.index());
        assert_ne!(new, handle);
        assert_eq!((objects.get(handle), objects.get(new)), (None, Some(8)));
    });
}

/// A page of slots is given back to the system while a thread with a handle of it reads, and then inserts: it finds its
/// object or nothing, and the page goes on with generations that it never had.
#[test]
fn read_and_insert_against_slot_page_release() {
    let paths = ["read", "stale", "released", "a slot of it was taken before"];
    explore(Some(2), paths, |[read, stale, released, kept]| {
        let heap = heap();
        let objects = numbers(&heap);
        let old = [objects.insert(7), objects.insert(8)];
        let other = thread::spawn({
            let objects = Arc::clone(&objects);
            move || (objects.get(old[1]), objects.insert(9))
        });
        assert!(old.into_iter().all(|handle| objects.retire(handle)));
        objects.table().reclaim();
        let report = heap.defragment();
        let (seen, new) = other.join().unwrap();
        read.reached_if(seen.is_some());
        stale.reached_if(seen.is_none());
        released.reached_if(report.freed_slot_bytes > 0);
        kept.reached_if(report.freed_slot_bytes == 0);
        assert!(seen.is_none_or(|seen| seen == 8), "a stale handle found {seen:?}");
        assert!(old.into_iter().all(|old| objects.get(old).is_none() && old != new));
        let newer = objects.insert(10);
        assert!(old.into_iter().all(|old| old != newer));
        assert_eq!((objects.get(new), objects.get(newer)), (Some(9), Some(10)));
        heap.verify().unwrap();
    });
}

/// A full batch is dropped and freed by the retiring thread, unless a section still sees its objects; then by
/// the next reclamation.
#[test]
fn reclaim_against_reader() {
    let paths = ["reclaimed at once", "left for later", "read", "stale"];
    explore(Some(6), paths, |[at_once, later, read, stale]| {
        let heap = heap();
        let objects = Arc::new(Objects::<Counted>::new(&heap));
        let census = Census::default();
        let handles = [7, 8].map(|value| objects.insert(census.born(value)));
        let reader = thread::spawn({
            let objects = Arc::clone(&objects);
            move || value(&objects, handles[1])
        });
        assert!(handles.into_iter().all(|handle| objects.retire(handle)));
        at_once.reached_if(census.living() == 0);
        later.reached_if(census.living() == 2);
        let seen = reader.join().unwrap();
        assert!(seen.is_none_or(|seen| seen == 8));
        read.reached_if(seen.is_some());
        stale.reached_if(seen.is_none());
        objects.table().reclaim();
        assert_eq!((census.living(), heap.stats().pending_blocks), (0, 0));
    });
}

/// Two threads reclaim at a time: each object ends once, whoever finds it.
#[test]
fn reclaim_against_reclaim() {
    explore(Some(2), ["one of them did it all", "each did its part"], |[one, each]| {
        let heap = heap();
        let objects = Arc::new(Objects::<Counted>::new(&heap));
        let census = Census::default();
        let handles = [7, 8].map(|value| objects.insert(census.born(value)));
        assert!(objects.retire(handles[0]));
        let other = thread::spawn({
            let objects = Arc::clone(&objects);
            move || {
                assert!(objects.retire(handles[1]));
                objects.table().reclaim()
            }
        });
        let mine = objects.table().reclaim();
        let theirs = other.join().unwrap();
        one.reached_if(mine == 2 || theirs == 2);
        each.reached_if(mine == 1 && theirs == 1);
        let rest = objects.table().reclaim();
        assert!(mine + theirs + rest <= 2);
        assert_eq!((census.living(), heap.stats().live_blocks), (0, 0));
        heap.verify().unwrap();
    });
}

/// A replaced object stays for who reads it; who comes later reads the new one, whole.
#[test]
fn read_against_replace() {
    let paths = ["read the old one", "read the new one"];
    explore(Some(5), paths, |[old, new]| {
        let heap = heap();
        let objects = Arc::new(Objects::<Counted>::new(&heap));
        let census = Census::default();
        let handle = objects.insert(census.born(7));
        let reader = thread::spawn({
            let objects = Arc::clone(&objects);
            move || value(&objects, handle).expect("a replacement never leaves a gap")
        });
        assert!(objects.replace(handle, census.born(8)));
        objects.table().reclaim();
        let seen = reader.join().unwrap();
        old.reached_if(seen == 7);
        new.reached_if(seen == 8);
        objects.table().reclaim();
        assert_eq!((census.living(), value(&objects, handle)), (1, Some(8)));
    });
}

/// Of two replacements at a time each is swung in, or refused and its block given back.
#[test]
fn replace_against_replace() {
    let paths = ["both", "one was refused"];
    explore(Some(5), paths, |[both, refused]| {
        let heap = heap();
        let objects = numbers(&heap);
        let handle = objects.insert(7);
        let writer = thread::spawn({
            let objects = Arc::clone(&objects);
            move || objects.replace(handle, 8)
        });
        let mine = objects.replace(handle, 9);
        let other = writer.join().unwrap();
        both.reached_if(mine && other);
        refused.reached_if(mine != other);
        assert!(mine || other, "each was refused because of the other");
        assert!(matches!(objects.get(handle), Some(8 | 9)));
        objects.table().reclaim();
        assert_eq!(heap.stats().live_blocks, 1);
        heap.verify().unwrap();
    });
}

/// A removed object stays for who holds it, and ends once, with the reclamation after the last hold.
#[test]
fn retire_against_hold() {
    let paths = ["reclaimed at once", "held", "stale"];
    explore(Some(6), paths, |[at_once, held, stale]| {
        let heap = heap();
        let objects = Arc::new(Objects::<Counted>::new(&heap));
        let census = Census::default();
        let handle = objects.insert(census.born(7));
        let holder = thread::spawn({
            let objects = Arc::clone(&objects);
            move || objects.hold(handle).map(|pin| pin.object().value)
        });
        assert!(objects.retire(handle));
        let at_once_freed = objects.table().reclaim();
        at_once.reached_if(at_once_freed == 1);
        let seen = holder.join().unwrap();
        assert!(seen.is_none_or(|seen| seen == 7));
        held.reached_if(seen.is_some());
        stale.reached_if(seen.is_none());
        assert_eq!(objects.table().reclaim(), 1 - at_once_freed);
        assert_eq!((census.living(), heap.stats().pending_blocks), (0, 0));
    });
}

/// A value that is taken out is nobody else's: a reader has seen it before, or finds nothing.
#[test]
fn take_against_reader() {
    let paths = ["taken", "busy", "read", "stale"];
    explore(Some(4), paths, |[taken, busy, read, stale]| {
        let heap = heap();
        let objects = numbers(&heap);
        let handle = objects.insert(7);
        let reader = thread::spawn({
            let objects = Arc::clone(&objects);
            move || objects.get(handle)
        });
        let took = objects.try_take(handle);
        taken.reached_if(took.is_ok());
        busy.reached_if(took == Err(TakeError::Busy));
        assert!(matches!(took, Ok(7) | Err(TakeError::Busy)));
        let took = took.is_ok();
        let seen = reader.join().unwrap();
        read.reached_if(seen == Some(7));
        stale.reached_if(seen.is_none());
        assert!(took || seen == Some(7));
        assert_eq!(objects.get(handle).is_none(), took);
        assert_eq!(heap.stats().live_blocks, usize::from(!took));
    });
}

/// What is pinned cannot be taken out, and what is taken out cannot be pinned.
#[test]
fn take_against_hold() {
    let paths = ["taken", "pinned", "busy"];
    explore(Some(3), paths, |[taken, pinned, busy]| {
        let heap = heap();
        let objects = numbers(&heap);
        let handle = objects.insert(7);
        let holder = thread::spawn({
            let objects = Arc::clone(&objects);
            move || objects.hold(handle).map(|pin| *pin.object())
        });
        let took = objects.try_take(handle);
        let seen = holder.join().unwrap();
        taken.reached_if(took.is_ok());
        pinned.reached_if(took == Err(TakeError::Pinned));
        busy.reached_if(took == Err(TakeError::Busy));
        assert!(took.is_ok() || seen == Some(7));
        assert!(seen.is_none_or(|seen| seen == 7));
        assert_eq!(objects.get(handle).is_none(), took.is_ok());
    });
}

/// A value that is taken while its object moves is read at the place where it is by then.
#[test]
fn take_against_move() {
    explore(Some(5), ["moved first", "taken first"], |[move_first, take_first]| {
        let heap = heap();
        let objects = Arc::new(Objects::<Counted>::new(&heap));
        let census = Census::default();
        let handle = behind_a_hole(&objects, census.born(1), census.born(7));
        let mover = thread::spawn({
            let heap = heap.clone();
            move || heap.defragment()
        });
        let object = objects.take(handle).unwrap();
        let report = mover.join().unwrap();
        move_first.reached_if(moved(&report));
        take_first.reached_if(!moved(&report));
        assert_eq!((object.value, census.living()), (7, 1));
        assert_eq!(value(&objects, handle), None);
        assert_eq!(heap.stats().live_blocks, 0);
        heap.verify().unwrap();
    });
}

/// A pass of a mover and a take of the same object do not take each other's mark for their own, though a reader cancels it
/// in between. Three threads: bounded.
#[test]
fn take_against_move_and_reader() {
    let paths = ["moved", "taken", "read", "stale"];
    explore(Some(2), paths, |[did_move, taken, read, stale]| {
        let heap = heap();
        let objects = numbers(&heap);
        let handle = behind_a_hole(&objects, 1, 7);
        let mover = thread::spawn({
            let heap = heap.clone();
            move || heap.defragment()
        });
        let reader = thread::spawn({
            let objects = Arc::clone(&objects);
            move || objects.get(handle)
        });
        let took = objects.take(handle);
        let report = mover.join().unwrap();
        let seen = reader.join().unwrap();
        did_move.reached_if(moved(&report));
        taken.reached_if(took == Ok(7));
        read.reached_if(seen == Some(7));
        stale.reached_if(seen.is_none());
        assert_eq!(took, Ok(7), "nobody else takes or holds it");
        assert_eq!(heap.stats().live_blocks, 0);
    });
}

/// Who has a table alone cannot take out what is pinned, as pins outlive every borrow.
#[test]
fn exclusive_take_against_pin() {
    explore(UNBOUNDED, ["taken", "pinned"], |[taken, pinned]| {
        let heap = heap();
        let mut objects = Objects::<u64>::new(&heap);
        let handle = objects.insert(7);
        let pin = objects.hold(handle).expect("nobody else holds it");
        let holder = thread::spawn(move || assert_eq!(*pin.object(), 7));
        let took = objects.take_mut(handle);
        // In the place of what was taken.
        objects.insert(8);
        holder.join().unwrap();
        taken.reached_if(took == Ok(7));
        pinned.reached_if(took == Err(TakeError::Pinned));
        assert!(matches!(took, Ok(7) | Err(TakeError::Pinned)));
        assert_eq!(objects.get(handle).is_none(), took.is_ok());
    });
}

/// Of a take and a removal at a time exactly one gets the value.
#[test]
fn take_against_remove() {
    explore(UNBOUNDED, ["taken", "removed"], |[taken, removed]| {
        let heap = heap();
        let objects = Arc::new(Objects::<Counted>::new(&heap));
        let census = Census::default();
        let handle = objects.insert(census.born(7));
        let remover = thread::spawn({
            let objects = Arc::clone(&objects);
            move || objects.retire(handle)
        });
        let took = objects.take(handle).map(|object| object.value);
        let did_remove = remover.join().unwrap();
        taken.reached_if(took == Ok(7));
        removed.reached_if(did_remove);
        assert_eq!(took.is_ok(), !did_remove, "both or neither got the value");
        objects.table().reclaim();
        assert_eq!((census.living(), heap.stats().live_blocks), (0, 0));
    });
}

/// A thread that ends leaves its record, with its count, to the next one, while a grace period runs. Three
/// threads.
#[test]
fn thread_exit_hands_record_on() {
    let paths = ["reclaimed at once", "left for later"];
    explore(Some(2), paths, |[at_once, later]| {
        let heap = heap();
        let objects = numbers(&heap);
        let handle = objects.insert(7);
        let read = || {
            let objects = Arc::clone(&objects);
            thread::spawn(move || objects.get(handle))
        };
        let readers = [read(), read()];
        assert!(objects.retire(handle));
        let freed = objects.table().reclaim();
        at_once.reached_if(freed == 1);
        later.reached_if(freed == 0);
        for reader in readers {
            assert!(matches!(reader.join().unwrap(), None | Some(7)));
        }
        objects.table().reclaim();
        assert_eq!(heap.stats().live_blocks, 0);
    });
}
