//! What needs `&mut Pool`, while other threads defragment the heap.

#![cfg(not(loom))]

mod common;

use common::{Counted, Drops, heap, heaps, panics};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use typed_pool::{Handle, Heap, Pool};

/// Runs `f` while another thread defragments the heap without end. `f` is told how many passes
/// there were.
fn while_moving(heap: &Heap, f: impl FnOnce(&AtomicU64)) {
    let (over, passes) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|s| {
        s.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                heap.defragment();
                passes.fetch_add(1, Ordering::Relaxed);
            }
        });
        let panicked = panics(|| f(&passes));
        over.store(true, Ordering::Relaxed);
        assert!(!panicked);
    });
    heap.verify().unwrap();
}

type Row = [u64; 40];

/// A pool with holes, so that a mover has something to do, and its handles with what is there.
fn with_holes(heap: &Heap) -> (Pool<Row>, Vec<(Handle<Row>, u64)>) {
    let pool = Pool::new(heap).unwrap();
    let all: Vec<_> = (0..600).map(|i| (pool.insert([i; 40]).unwrap(), i)).collect();
    let (kept, gone): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, i)| i % 3 == 0);
    assert!(gone.iter().all(|(handle, _)| pool.remove(*handle)));
    pool.flush();
    (pool, kept)
}

#[test]
fn an_object_that_is_borrowed_mutably_does_not_move() {
    for heap in heaps(4 << 20) {
        let (mut pool, kept) = with_holes(&heap);
        while_moving(&heap, |passes| {
            for (handle, i) in &kept {
                let mut object = pool.get_mut(*handle).unwrap();
                assert_eq!(*object, [*i; 40]);
                for word in object.iter_mut() {
                    *word += 1;
                    std::hint::spin_loop();
                }
            }
            let before = passes.load(Ordering::Relaxed);
            let (handle, _) = kept[0];
            let mut object = pool.get_mut(handle).unwrap();
            let place = std::ptr::from_mut(&mut *object).addr();
            while passes.load(Ordering::Relaxed) < before + 2 {
                object[0] += 1;
                thread::yield_now();
            }
            assert_eq!(std::ptr::from_mut(&mut *object).addr(), place);
            object[0] = 1;
        });
        for (handle, i) in kept {
            assert_eq!(*pool.get(handle).unwrap(), [i + 1; 40]);
        }
    }
}

#[test]
fn mutable_borrows_of_all_objects_may_live_at_once_and_outlive_their_iterator() {
    for heap in heaps(4 << 20) {
        let (mut pool, kept) = with_holes(&heap);
        while_moving(&heap, |passes| {
            let mut all: Vec<_> = pool.iter_mut().collect();
            assert_eq!(all.len(), kept.len());
            let before = passes.load(Ordering::Relaxed);
            while passes.load(Ordering::Relaxed) < before + 2 {
                all.iter_mut().for_each(|(_, object)| object[1] += 1);
            }
            all.iter_mut().for_each(|(_, object)| object[1] = object[0]);
            // In any order.
            while all.len() > 1 {
                all.swap_remove(all.len() / 2);
            }
            assert_eq!(all[0].1[0], all[0].1[1]);
        });
        for (handle, i) in kept {
            assert_eq!(*pool.get(handle).unwrap(), [i; 40]);
        }
    }
}

#[test]
fn writes_of_one_borrow_are_seen_by_the_next_wherever_the_object_went() {
    for heap in heaps(4 << 20) {
        let (mut pool, kept) = with_holes(&heap);
        while_moving(&heap, |_| {
            for round in 0..30 {
                for (_, mut object) in &mut pool {
                    let first = object[0];
                    object.iter_mut().for_each(|word| *word = first + 1);
                }
                let (handle, i) = kept[round as usize % kept.len()];
                assert_eq!(*pool.get_mut(handle).unwrap(), [i + round + 1; 40]);
                if round % 3 == 0 {
                    // Something to move again.
                    let extra: Vec<_> = (0..50).map(|_| pool.insert([0; 40]).unwrap()).collect();
                    extra.iter().for_each(|handle| assert!(pool.remove(*handle)));
                }
            }
        });
        for (handle, i) in kept {
            assert_eq!(*pool.get(handle).unwrap(), [i + 30; 40]);
        }
    }
}

fn counted(drops: &Drops, heap: &Heap, count: u64) -> (Pool<Counted>, Vec<Handle<Counted>>) {
    let pool = Pool::new(heap).unwrap();
    let handles = (0..count).map(|id| pool.insert(drops.make(id)).unwrap()).collect();
    (pool, handles)
}

#[test]
fn drain_and_retain_work_while_objects_move_and_guards_of_others_are_open() {
    for heap in heaps(1 << 20) {
        let drops = Drops::default();
        let (mut pool, _) = counted(&drops, &heap, 500);
        let neighbour = Pool::new(&heap).unwrap();
        neighbour.insert(1_u8).unwrap();
        while_moving(&heap, |_| {
            // An own guard is no obstacle either.
            let _guard = neighbour.enter();
            pool.retain(|_, object| object.checked() % 5 == 0);
            assert_eq!(pool.len(), 100);
            let sum: u64 = pool.drain().map(|(_, object)| object.checked()).sum();
            assert_eq!((sum, pool.len()), ((0..100).map(|i| i * 5).sum(), 0));
        });
        pool.flush();
        assert_eq!(drops.live(), 0);
    }
}

#[test]
fn a_drain_can_be_dropped_early_or_forgotten() {
    let drops = Drops::default();
    let (mut pool, handles) = counted(&drops, &heap(1 << 20), 100);
    let mut drain = pool.drain();
    let (first, object) = drain.next().unwrap();
    assert_eq!((object.checked(), drops.live()), (object.id, 100));
    assert!(drain.size_hint().1.unwrap() >= 99);
    std::mem::forget(drain);
    assert!(handles.iter().all(|handle| pool.contains(*handle) == (*handle != first)));
    assert_eq!((pool.len(), drops.live()), (99, 100));
    drop(pool.drain());
    assert_eq!((pool.len(), drops.live()), (0, 1));
    assert_eq!(pool.drain().next().map(|(handle, _)| handle), None);
    pool.insert(object).unwrap();
    drop(pool);
    assert_eq!(drops.live(), 0);
}

#[test]
fn a_closure_that_panics_in_retain_leaves_a_whole_pool() {
    let drops = Drops::default();
    let (mut pool, handles) = counted(&drops, &heap(1 << 20), 100);
    let mut asked = 0;
    assert!(panics(|| pool.retain(|_, object| {
        asked += 1;
        assert!(asked < 50, "as it should");
        object.checked() % 2 == 0
    })));
    // Of the 49 that were answered some are gone; the one that panicked and the rest are there.
    let live = handles.iter().filter(|handle| pool.contains(**handle)).count();
    assert!((51..100).contains(&live), "{live}");
    assert_eq!(pool.len(), live);
    pool.iter().for_each(|(_, object)| assert!(object.checked() < 100));
    pool.flush();
    assert_eq!(drops.live(), live);
    pool.retain(|_, _| false);
    assert_eq!((pool.len(), drops.live()), (0, 0));
    pool.heap().verify().unwrap();
}

#[test]
fn retain_hands_out_each_object_once_with_its_handle() {
    let mut pool = Pool::with_capacity(100).unwrap();
    let handles: Vec<_> = (0..100).map(|i| pool.insert(i).unwrap()).collect();
    pool.retain(|handle, value| {
        assert_eq!(handles[*value as usize], handle);
        *value += 1000;
        *value % 2 == 1
    });
    assert!(pool.iter().all(|(_, value)| (1000..1100).contains(&*value) && *value % 2 == 1));
    assert_eq!(pool.len(), 50);
}

#[test]
fn a_cleared_pool_is_as_good_as_new() {
    for heap in heaps(1 << 20) {
        let drops = Drops::default();
        let (mut pool, handles) = counted(&drops, &heap, 1000);
        for round in 0..5 {
            pool.clear();
            assert_eq!((pool.len(), drops.live()), (0, 0), "round {round}");
            assert!(handles.iter().all(|handle| !pool.contains(*handle)));
            assert!(pool.iter().next().is_none() && pool.iter_mut().next().is_none());
            (0..1000).for_each(|id| assert!(pool.insert(drops.make(id)).is_ok()));
        }
        heap.verify().unwrap();
    }
}

#[test]
fn a_forgotten_mutable_borrow_harms_nobody() {
    let drops = Drops::default();
    let heap = heap(1 << 20);
    let (mut pool, handles) = counted(&drops, &heap, 10);
    thread::scope(|s| {
        s.spawn(|| std::mem::forget(pool.get_mut(handles[0])));
    });
    assert_eq!(pool.get_mut(handles[0]).unwrap().checked(), 0);
    assert!(pool.remove(handles[1]));
    assert_eq!(pool.flush(), 0); // the forgotten guard is open for ever
    assert_eq!(pool.drain().count(), 9);
    drop(pool);
    assert_eq!(drops.live(), 0);
}
