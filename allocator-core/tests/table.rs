//! The layer below typed pools: slots, reservations, holds, replacements, taking out.
#![cfg(not(loom))]

mod common;

use allocator_core::{
    AccessError, AllocErrorKind, Handle, Heap, Policy, Table, TableSpec, TakeError,
};
use common::typed::{Tally, Typed, must_panic};
use common::{beside_a_guard, heap};
use std::alloc::Layout;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

fn drops(counter: &Arc<AtomicUsize>) -> usize {
    counter.load(Ordering::Relaxed)
}

#[test]
fn objects_are_found_until_they_are_retired() {
    for policy in Policy::ALL {
        let heap = heap(*policy, 1 << 16);
        let (pool, drops_of) = (Typed::new(&heap), Arc::default());
        let handles: Vec<_> =
            (0..50).map(|i| pool.insert(Tally::new(i, &drops_of)).unwrap()).collect();
        assert_eq!((pool.table.len(), heap.stats().pools), (50, 1), "{policy}");
        for (number, handle) in (0..).zip(&handles) {
            assert_eq!(pool.with(*handle, |tally| tally.number), Some(number));
            assert!(pool.table.contains(*handle));
        }
        let (guard, first) = (pool.table.enter(), handles[0]);
        let seen = Typed::get(&guard, first).unwrap();
        assert!(pool.table.retire(first) && !pool.table.retire(first), "{policy}: only once");
        assert!(Typed::get(&guard, first).is_none() && !pool.table.contains(first));
        assert_eq!(pool.table.reclaim(), 0, "{policy}: our own guard still sees it");
        assert_eq!((seen.number, drops(&drops_of)), (0, 0));
        drop(guard);
        assert_eq!((pool.table.reclaim(), drops(&drops_of)), (1, 1), "{policy}");
        assert_eq!(heap.flush(), 0, "{policy}: objects with `Drop` are their pool's business");
        drop(pool);
        assert_eq!((drops(&drops_of), heap.stats().pools), (50, 0), "{policy}");
        assert_eq!(heap.stats().live_bytes, 0, "{policy}");
        heap.verify().unwrap();
    }
}

#[test]
fn a_dropped_reservation_gives_back_all_but_its_handle() {
    let heap = heap(Policy::default(), 1 << 16);
    let pool: Typed<u64> = Typed::new(&heap);
    let mut shown = HashSet::new();
    for _ in 0..500 {
        let reservation = pool.table.reserve().unwrap();
        let handle: Handle<u64> = reservation.handle();
        assert!(shown.insert(handle), "{handle:?} was shown before");
        assert!(!pool.table.contains(handle) && pool.with(handle, |_| ()).is_none());
        assert!(!pool.table.retire(handle));
        drop(reservation);
        assert!(!pool.table.contains(handle) && !pool.table.retire(handle));
    }
    let live = pool.insert(7).unwrap();
    assert!(!shown.contains(&live), "a handle that was shown has come to life");
    assert!(pool.table.slots_used() <= 64, "the slots were used again");
    assert_eq!((pool.table.len(), heap.stats().live_blocks), (1, 1));
    heap.verify().unwrap();
}

#[test]
fn a_slot_that_is_used_again_has_another_generation() {
    let heap = heap(Policy::default(), 1 << 16);
    let pool: Typed<u32> = Typed::new(&heap);
    let mut seen: Vec<Handle<u32>> = Vec::new();
    for value in 0..1000 {
        let handle = pool.insert(value).unwrap();
        let before = seen.iter().filter(|old| old.index() == handle.index());
        assert!(before.clone().all(|old| old.generation() < handle.generation()));
        seen.push(handle);
        assert!(pool.table.retire(handle));
        pool.table.reclaim();
    }
    assert!(pool.table.slots_used() <= 128, "{} slots", pool.table.slots_used());
    assert!(seen.iter().all(|handle| pool.with(*handle, |_| ()).is_none()));
}

#[test]
fn handles_of_other_tables_and_forged_ones_find_nothing() {
    let heap = heap(Policy::default(), 1 << 16);
    let (numbers, texts) = (Typed::<u64>::new(&heap), Typed::<String>::new(&heap));
    for i in 0..40 {
        let number = numbers.insert(i).unwrap();
        let text = texts.insert(i.to_string()).unwrap();
        assert!(texts.with(number.cast(), |_| ()).is_none(), "no string is a number");
        assert!(numbers.with(text.cast(), |_| ()).is_none());
        assert!(!texts.table.retire(number) && !numbers.table.retire(text));
        assert_eq!(texts.hold(number.cast()).map(|_| ()), Err(AccessError::Stale));
        assert_eq!(numbers.try_take(text.cast()), Err(TakeError::Stale));
        assert!(!heap.contains(number.cast()) && heap.read(text.cast()).is_err());
        let forged = Handle::from_bits(number.to_bits() + (4 << 32)).unwrap();
        assert!(numbers.with(forged, |_| ()).is_none());
        let beyond = Handle::from_bits(number.to_bits() | u64::from(u32::MAX)).unwrap();
        assert!(numbers.with(beyond, |_| ()).is_none() && !numbers.table.retire(beyond));
    }
    let (guard, mut found) = (numbers.table.enter(), 0);
    for index in 0..numbers.table.slots_used() {
        let Some(handle) = guard.handle_at(index) else { continue };
        assert_eq!(*Typed::<u64>::get(&guard, handle.cast()).unwrap(), found);
        found += 1;
    }
    assert_eq!(found, 40, "a walk over the slots finds every object");
}

#[test]
fn holds_outlive_retirement_moves_and_the_table() {
    for policy in Policy::ALL {
        let heap = heap(*policy, 1 << 16);
        let (pool, drops_of) = (Typed::new(&heap), Arc::default());
        let filler: Vec<_> =
            (0..40).map(|i| pool.insert(Tally::new(i, &drops_of)).unwrap()).collect();
        let handle = pool.insert(Tally::new(77, &drops_of)).unwrap();
        let hold = pool.hold(handle).unwrap();
        let other = hold.hold.try_clone().unwrap();
        assert!(pool.table.enter().is_held(handle) && !pool.table.enter().is_held(filler[0]));

        filler.iter().for_each(|handle| assert!(pool.table.retire(*handle)));
        assert_eq!(pool.table.reclaim(), 40);
        heap.defragment();
        assert_eq!(pool.with(handle, |tally| &raw const *tally), Some(&raw const *hold.get()));
        assert!(pool.table.retire(handle));
        assert_eq!((pool.table.reclaim(), drops(&drops_of)), (0, 40), "{policy}: it is held");
        assert_eq!(heap.stats().pending_blocks, 1);
        drop(pool);
        assert_eq!((hold.get().number, drops(&drops_of)), (77, 40), "{policy}");
        heap.defragment();
        heap.verify().unwrap();
        drop(heap);
        drop(hold);
        assert_eq!(drops(&drops_of), 40, "{policy}: one hold is left");
        thread::spawn(move || drop(other)).join().unwrap();
        assert_eq!(drops(&drops_of), 41, "{policy}: the last hold drops it");
    }
}

#[test]
fn a_replacement_takes_the_place_of_the_object_it_was_made_for() {
    let heap = heap(Policy::default(), 1 << 16);
    let (pool, drops_of) = (Typed::new(&heap), Arc::default());
    let handle = pool.insert(Tally::new(1, &drops_of)).unwrap();
    let guard = pool.table.enter();
    let first = Typed::get(&guard, handle).unwrap();
    pool.update(handle, |old| Tally::new(old.number + 1, &drops_of)).unwrap();
    assert_eq!((first.number, drops(&drops_of)), (1, 0), "who saw the old one keeps it");
    assert_eq!(Typed::get(&guard, handle).unwrap().number, 2);

    // Where another replacement came first, the old place is the wrong one.
    let late = pool.table.reserve_replacement(handle).unwrap();
    // SAFETY: the place is that of a `Tally`, and ours.
    unsafe { late.as_ptr().cast::<Tally>().write(Tally::new(99, &drops_of)) };
    let old = std::ptr::NonNull::from(first).cast();
    // SAFETY: the replacement holds a `Tally`.
    let back = unsafe { guard.swing(handle, old, late) }.unwrap_err();
    // SAFETY: nobody took the object that was written above.
    unsafe { back.as_ptr().cast::<Tally>().drop_in_place() };
    drop(back);
    assert_eq!(Typed::get(&guard, handle).unwrap().number, 2);
    drop(guard);
    assert_eq!((pool.table.reclaim(), drops(&drops_of)), (1, 2));
    assert_eq!((pool.table.len(), heap.stats().live_blocks), (1, 1));
    assert!(pool.table.retire(handle) && pool.update(handle, |_| unreachable!()).is_none());
    pool.table.reclaim();
    assert_eq!(heap.stats().live_bytes, 0, "every block was given back");
}

#[test]
fn a_value_can_be_taken_once_nobody_sees_it() {
    let heap = Heap::builder().capacity(1 << 16).patience(Duration::from_millis(20));
    let heap = heap.build().unwrap();
    let (mut pool, drops_of) = (Typed::new(&heap), Arc::default());
    let handle = pool.insert(Tally::new(5, &drops_of)).unwrap();

    let guard = pool.table.enter();
    assert_eq!(pool.take(handle).map(drop), Err(TakeError::OwnGuard));
    drop(guard);
    let hold = pool.hold(handle).unwrap();
    assert_eq!(pool.take(handle).map(drop), Err(TakeError::Pinned));
    assert_eq!(pool.take_mut(handle).map(drop), Err(TakeError::Pinned));
    drop(hold);
    beside_a_guard(&heap, || {
        assert_eq!(pool.try_take(handle).map(drop), Err(TakeError::Busy));
        assert_eq!(pool.take(handle).map(drop), Err(TakeError::Busy), "patience has an end");
    });
    must_panic(|| {
        // SAFETY: the closure panics before it moves the object out.
        let _ = unsafe { pool.table.take(handle, |_| panic!("told to panic")) };
    });
    assert_eq!(pool.with(handle, |tally| tally.number), Some(5), "it is still there");
    let taken = pool.take(handle).unwrap();
    assert_eq!((taken.number, drops(&drops_of)), (5, 0), "it is ours, undropped");
    assert_eq!(pool.take(handle).map(drop), Err(TakeError::Stale));
    let other = pool.insert(Tally::new(6, &drops_of)).unwrap();
    let _guard = heap.enter();
    assert_eq!(pool.take_mut(other).unwrap().number, 6, "alone, a guard is no obstacle");
    assert_eq!((pool.table.len(), heap.stats().live_blocks, drops(&drops_of)), (0, 0, 1));
}

#[test]
fn layouts_of_every_kind_are_placed() {
    #[repr(align(4096))]
    struct Page(u8);
    for policy in Policy::ALL {
        let heap = heap(*policy, 1 << 20);
        let (units, pages) = (Typed::<()>::new(&heap), Typed::<Page>::new(&heap));
        let blobs = Typed::<[u64; 1000]>::new(&heap);
        for i in 0..20 {
            let (unit, page) = (units.insert(()).unwrap(), pages.insert(Page(i)).unwrap());
            let blob = blobs.insert([u64::from(i); 1000]).unwrap();
            assert_eq!(units.with(unit, |()| 1), Some(1));
            let place = pages.with(page, |page| (page.0, (&raw const *page).addr() % 4096));
            assert_eq!(place, Some((i, 0)), "{policy}");
            assert_eq!(blobs.with(blob, |blob| blob.iter().sum()), Some(u64::from(i) * 1000));
        }
        assert_eq!((heap.stats().live_blocks, heap.stats().pools), (60, 3), "{policy}");
        let layout = Layout::from_size_align(8, 8192).unwrap();
        // SAFETY: no objects, no drop.
        let refused = unsafe { Table::new(&heap, TableSpec { layout, drop: None }) };
        assert_eq!(refused.map(drop).unwrap_err().kind, AllocErrorKind::Unsupported);
    }
}

#[test]
fn what_was_found_is_retired_unless_it_was_replaced() {
    for policy in Policy::ALL {
        let heap = heap(*policy, 1 << 16);
        let (pool, drops_of) = (Typed::new(&heap), Arc::default());
        let [gone, kept, stale] = [1, 2, 3].map(|i| pool.insert(Tally::new(i, &drops_of)).unwrap());
        let guard = pool.table.enter();
        let found = [gone, kept, stale].map(|handle| guard.locate(handle).unwrap());
        assert!(pool.update(kept, |old| Tally::new(old.number + 10, &drops_of)).is_some());
        assert!(pool.table.retire(stale));
        assert!(!guard.retire_found(kept, found[1]) && !guard.retire_found(stale, found[2]));
        assert!(!guard.retire_found(gone, found[1]), "{policy}: another object's place");
        assert!(guard.retire_found(gone, found[0]) && !guard.retire_found(gone, found[0]));
        assert!(guard.retire_found(kept, guard.locate(kept).unwrap()));
        assert_eq!((pool.table.len(), drops(&drops_of)), (0, 0), "{policy}");
        drop(guard);
        assert_eq!((pool.table.reclaim(), drops(&drops_of)), (4, 4), "{policy}");
        heap.verify().unwrap();
    }
}

#[test]
fn hints_take_any_index_and_change_nothing() {
    for policy in Policy::ALL {
        let heap = heap(*policy, 1 << 16);
        let pool: Typed<[u64; 9]> = Typed::new(&heap);
        let handles: Vec<_> = (0..200).map(|i| pool.insert([i; 9]).unwrap()).collect();
        assert!(handles.iter().step_by(3).all(|handle| pool.table.retire(*handle)));
        let indices = (0..pool.table.slots_used() + 100).chain([u32::MAX - 1, u32::MAX]);
        let mut by_hint = Vec::new();
        for index in indices {
            pool.table.prefetch_slot(index);
            for bytes in [0, 1, 72, usize::MAX] {
                pool.table.prefetch_block(index, bytes);
            }
            let handle = pool.table.enter().handle_at(index);
            assert_eq!(pool.table.offset_hint(index).is_some(), handle.is_some(), "{policy}");
            by_hint.extend(pool.table.offset_hint(index).map(|hint| (hint, index)));
        }
        by_hint.sort_unstable();
        let guard = pool.table.enter();
        let place = |index| guard.locate(guard.handle_at(index).unwrap()).unwrap();
        assert!(by_hint.is_sorted_by_key(|(_, index)| place(*index)), "{policy}");
        assert_eq!(by_hint.len(), pool.table.len());
    }
}

#[test]
fn the_queue_of_purgeable_objects_is_no_longer_than_twice_their_number() {
    let heap = heap(Policy::default(), 1 << 16);
    let pool: Typed<u64> = Typed::new(&heap);
    let handles: Vec<_> = (0..100).map(|i| pool.insert(i).unwrap()).collect();
    for round in 0..50 {
        for handle in &handles {
            pool.table.allow_purge(*handle);
            assert!(pool.table.purgeable() <= 200, "round {round}");
        }
    }
    for handle in handles.iter().step_by(2) {
        assert!(pool.table.retire(*handle));
    }
    // As many are there, each is removed once, and in the order in which they were named first.
    let mut purged = Vec::new();
    assert_eq!(pool.table.purge(usize::MAX, |handle| purged.push(handle.cast())), 50);
    assert!(purged.iter().eq(handles.iter().skip(1).step_by(2)));
    assert_eq!(pool.table.purgeable(), 0);
}

#[test]
fn a_purge_removes_no_more_than_there_were_when_it_began() {
    let heap = heap(Policy::default(), 1 << 16);
    let pool: Typed<u64> = Typed::new(&heap);
    for i in 0..10 {
        pool.table.allow_purge(pool.insert(i).unwrap());
    }
    let told = |_| pool.table.allow_purge(pool.insert(100).unwrap());
    assert_eq!(pool.table.purge(usize::MAX, told), 10);
    assert_eq!((pool.table.len(), pool.table.purgeable()), (10, 10));
}

#[test]
fn what_could_not_be_taken_can_be_moved() {
    for policy in Policy::ALL {
        let heap = heap(*policy, 1 << 20);
        let pool = Typed::new(&heap);
        let [hole, handle] = [1, 2].map(|byte| pool.insert([byte; 5000]).unwrap());
        assert!(pool.table.retire(hole));
        pool.table.reclaim();
        let busy = beside_a_guard(&heap, || pool.try_take(handle).map(|_| ()));
        assert_eq!(busy, Err(TakeError::Busy), "{policy}");
        // Not looked up in between, which would end a plan that was left.
        assert_eq!(heap.defragment().moves, 1, "{policy}");
        assert_eq!(pool.take(handle).map(|object| object[4999]), Ok(2), "{policy}");
    }
}
