//! Pins: what they keep, from whom, and how long.

#![cfg(not(loom))]

mod common;

use common::{Counted, Drops, heap, heaps, panics};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use typed_pool::{AccessError, Handle, Pinned, Pool, TakeError};

fn pinned(drops: &Drops) -> (Pool<Counted>, Handle<Counted>, Pinned<Counted>) {
    let pool = Pool::new(&heap(1 << 20)).unwrap();
    let handle = pool.insert(drops.make(1)).unwrap();
    let pinned = pool.pin(handle).unwrap();
    (pool, handle, pinned)
}

#[test]
fn a_pinned_object_outlives_its_removal() {
    let drops = Drops::default();
    let (pool, handle, pinned) = pinned(&drops);
    assert!(pool.remove(handle));
    assert_eq!((pool.flush(), pinned.checked()), (0, 1));
    assert_eq!(pool.pin(handle).unwrap_err(), AccessError::Stale);
    assert_eq!(pool.heap().stats().pending_blocks, 1);
    // The pool can use its other room meanwhile.
    let other = pool.insert(drops.make(2)).unwrap();
    assert!(other != handle && pool.defragment().complete);
    let clone = pinned.clone();
    drop(pinned);
    assert_eq!((pool.flush(), clone.checked(), drops.live()), (0, 1, 2));
    drop(clone);
    assert_eq!((pool.flush(), drops.live()), (1, 1));
}

#[test]
fn a_pinned_object_outlives_its_pool_and_the_last_pin_drops_it_wherever_it_is() {
    let drops = Drops::default();
    let (pool, handle, pinned) = pinned(&drops);
    let heap = pool.heap().clone();
    let others: Vec<_> = (2..50).map(|id| pool.insert(drops.make(id)).unwrap()).collect();
    let removed = pool.pin(others[0]).unwrap();
    pool.remove(others[0]);
    drop(pool);
    assert_eq!((drops.live(), heap.stats().pools), (2, 1));
    let clone = pinned.clone();
    drop(pinned);
    thread::spawn(move || assert_eq!(clone.checked(), 1)).join().unwrap();
    assert_eq!((drops.live(), removed.checked()), (1, 2));
    drop(heap); // the pin keeps the memory
    assert_eq!(removed.checked(), 2);
    drop(removed);
    assert_eq!(drops.live(), 0);
    let _ = handle;
}

#[test]
fn a_closed_pool_is_forgotten_with_its_last_pin() {
    let drops = Drops::default();
    let (pool, _, pinned) = pinned(&drops);
    let heap = pool.heap().clone();
    drop(pool);
    assert!(heap.defragment().complete);
    heap.verify().unwrap();
    drop(pinned);
    let stats = heap.stats();
    assert_eq!((stats.pools, stats.live_blocks, stats.pending_blocks), (0, 0, 0));
    heap.verify().unwrap();
    // Its id is free for another pool, whose objects are its own.
    let pool = Pool::new(&heap).unwrap();
    let handle = pool.insert(3_u8).unwrap();
    assert_eq!(*pool.get(handle).unwrap(), 3);
}

#[test]
fn a_pin_keeps_the_version_it_saw() {
    let drops = Drops::default();
    let (pool, handle, first) = pinned(&drops);
    pool.replace(handle, drops.make(2)).unwrap();
    let second = pool.pin(handle).unwrap();
    pool.rcu(handle, |old| drops.make(old.checked() + 1)).unwrap();
    assert_eq!([first.checked(), second.checked(), pool.get(handle).unwrap().checked()], [1, 2, 3]);
    assert_eq!((pool.flush(), drops.live()), (0, 3));
    drop(first);
    assert_eq!((pool.flush(), drops.live()), (1, 2));
    // The present version is not pinned.
    assert_eq!(pool.take(handle).unwrap().checked(), 3);
    drop(pool);
    assert_eq!((second.checked(), drops.live()), (2, 1));
}

#[test]
fn a_pinned_object_stays_in_place_and_everything_else_moves() {
    for heap in heaps(4 << 20) {
        let pool = Pool::new(&heap).unwrap();
        let handles: Vec<_> = (0..2000).map(|i| pool.insert([i; 25]).unwrap()).collect();
        let place = |handle| std::ptr::from_ref(&*pool.get(handle).unwrap()).addr();
        for handle in handles.iter().filter(|handle| handle.index() % 4 != 0) {
            pool.remove(*handle);
        }
        let kept: Vec<_> = handles.iter().copied().filter(|h| pool.contains(*h)).collect();
        let places: Vec<_> = kept.iter().map(|handle| place(*handle)).collect();
        let pins: Vec<_> = kept.iter().step_by(7).map(|h| pool.pin(*h).unwrap()).collect();
        let report = pool.defragment();
        assert!(report.moves > 0 && report.blocked_by_pins > 0, "{report}");
        assert!(report.blocked_by_pins <= pins.len() as u64, "{report}");
        for (i, (handle, before)) in kept.iter().zip(&places).enumerate() {
            assert!(i % 7 > 0 || place(*handle) == *before, "pinned {handle:?} was moved");
        }
        drop(pins);
        let report = pool.defragment();
        assert!(report.complete && report.blocked_by_pins == 0, "{report}");
        for handle in kept {
            assert_eq!(*pool.get(handle).unwrap(), [pool.get(handle).unwrap()[0]; 25]);
        }
        heap.verify().unwrap();
    }
}

#[test]
fn what_is_pinned_is_left_alone_by_everything_that_needs_it_alone() {
    let drops = Drops::default();
    let (mut pool, handle, pinned) = pinned(&drops);
    let other = pool.insert(drops.make(2)).unwrap();
    assert_eq!(pool.take(handle).unwrap_err(), TakeError::Pinned);
    assert_eq!(pool.try_take(handle).unwrap_err(), TakeError::Pinned);
    assert!(pool.get_mut(handle).is_none());
    assert!(pool.iter_mut().map(|(handle, _)| handle).eq([other]));
    pool.retain(|_, object| object.checked() == 2);
    assert_eq!(pool.len(), 2);
    assert!(pool.drain().map(|(handle, _)| handle).eq([other]));
    drop(pool.drain());
    assert_eq!((pool.len(), pinned.checked()), (1, 1));
    pool.clear();
    assert!(pool.is_empty() && !pool.contains(handle));
    assert_eq!((pinned.checked(), drops.live()), (1, 1));
    drop(pinned);
    assert_eq!((pool.flush(), drops.live()), (1, 0));
}

#[test]
fn an_object_can_be_had_alone_again_when_its_last_pin_is_gone() {
    let drops = Drops::default();
    let (mut pool, handle, first) = pinned(&drops);
    let second = thread::spawn(move || first.clone()).join().unwrap();
    assert!(pool.get_mut(handle).is_none());
    drop(second);
    pool.get_mut(handle).unwrap().id = 1;
    assert_eq!(pool.take(handle).unwrap().checked(), 1);
}

#[test]
fn pins_are_counted_up_to_the_documented_limit() {
    const LIMIT: usize = 32_765;
    let drops = Drops::default();
    let (pool, handle, first) = pinned(&drops);
    let mut pins: Vec<_> = (1..LIMIT).map(|_| first.try_clone().unwrap()).collect();
    assert_eq!(first.try_clone().unwrap_err(), AccessError::Busy);
    assert_eq!(pool.pin(handle).unwrap_err(), AccessError::Busy);
    assert!(panics(|| drop(first.clone())));
    assert_eq!(pool.take(handle).unwrap_err(), TakeError::Pinned);
    pins.pop();
    pins.push(first.clone());
    assert!(pool.remove(handle));
    assert_eq!(pool.flush(), 0);
    drop(pins);
    assert_eq!((pool.flush(), first.checked()), (0, 1));
    drop(first);
    assert_eq!((pool.flush(), drops.live()), (1, 0));
}

#[test]
fn a_drop_that_lets_pins_of_its_own_pool_go_reaches_all_of_them() {
    struct Chain {
        _object: Counted,
        _next: Option<Pinned<Chain>>,
    }
    let drops = Drops::default();
    let pool = Pool::new(&heap(1 << 20)).unwrap();
    let mut next = None;
    for id in 0..200 {
        let object = Chain { _object: drops.make(id), _next: next };
        next = Some(pool.pin(pool.insert(object).unwrap()).unwrap());
    }
    drop(pool);
    assert_eq!(drops.live(), 200);
    drop(next);
    assert_eq!(drops.live(), 0);
}

#[test]
fn pins_come_and_go_on_all_threads_while_objects_move() {
    for heap in heaps(1 << 20) {
        let drops = Drops::default();
        let pool = Pool::new(&heap).unwrap();
        let handles: Vec<_> = (0..64).map(|id| pool.insert(drops.make(id)).unwrap()).collect();
        let over = AtomicBool::new(false);
        thread::scope(|s| {
            for turn in 0..2 {
                let (pool, handles, drops) = (&pool, &handles, &drops);
                s.spawn(move || {
                    for round in 0..1500 {
                        let handle = handles[(round * 7 + turn * 13) % handles.len()];
                        let pinned = pool.pin(handle).unwrap();
                        let clone = pinned.clone();
                        drop(pinned);
                        if round % 5 == 0 {
                            pool.replace(handle, drops.make(clone.checked())).unwrap();
                        }
                        assert_eq!(clone.checked() % 64, clone.id);
                    }
                });
            }
            s.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    pool.defragment();
                    pool.flush();
                }
            });
            // The defragmenting thread ends when the others have.
            s.spawn(|| {
                thread::sleep(std::time::Duration::from_millis(60));
                over.store(true, Ordering::Relaxed);
            });
        });
        pool.flush();
        assert_eq!((pool.len(), drops.live()), (64, 64));
        heap.verify().unwrap();
        drop(pool);
        assert_eq!(drops.live(), 0);
    }
}

/// Pins another node, as long as it lives.
struct Link {
    _next: Option<Pinned<Link>>,
    _object: Counted,
}

#[test]
fn a_chain_of_pins_ends_with_its_pool_and_needs_no_stack() {
    const LINKS: u64 = if cfg!(miri) { 50 } else { 50_000 };
    // The last pin of the last link is dropped before the pool or after it; the links are in two pools by turns.
    for (pin_first, pools) in [(true, 1), (false, 1), (true, 2), (false, 2)] {
        let drops = Drops::default();
        let heap = heap(32 << 20);
        let mut pools: Vec<_> = (0..pools).map(|_| Pool::new(&heap).unwrap()).collect();
        let mut last = None;
        for id in 0..LINKS {
            let pool = &pools[id as usize % pools.len()];
            let link = Link { _next: last.take(), _object: drops.make(id) };
            last = Some(pool.pin(pool.insert(link).unwrap()).unwrap());
        }
        if pin_first {
            drop(last.take());
        }
        while let Some(pool) = pools.pop() {
            drop(pool);
        }
        drop(last);
        assert_eq!((drops.live(), heap.stats().pools), (0, 0), "pin first: {pin_first}");
        heap.verify().unwrap();
    }
}

/// Its last pin goes with the link before it, which then has all that can be dropped be dropped.
struct Flushing {
    _next: Option<Pinned<Flushing>>,
    flush: Flush,
}

struct Flush(&'static Pool<Flushing>, Arc<AtomicUsize>);

impl Drop for Flush {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.flush();
    }
}

#[test]
fn a_chain_of_pins_whose_links_flush_their_pool_needs_no_stack() {
    const LINKS: usize = if cfg!(miri) { 50 } else { 20_000 };
    let pool: &'static Pool<Flushing> = Box::leak(Box::new(Pool::new(&heap(32 << 20)).unwrap()));
    let drops = Arc::<AtomicUsize>::default();
    let mut last = None;
    for _ in 0..LINKS {
        let flush = Flush(pool, Arc::clone(&drops));
        let handle = pool.insert(Flushing { _next: last.take(), flush }).unwrap();
        last = Some(pool.pin(handle).unwrap());
        assert!(pool.remove(handle));
    }
    assert!(last.as_ref().is_some_and(|last| Arc::ptr_eq(&last.flush.1, &drops)));
    drop(last);
    while drops.load(Ordering::Relaxed) < LINKS {
        assert!(pool.flush() > 0);
    }
}
