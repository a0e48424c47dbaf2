//! Taking values out of a shared pool, and putting new versions in.

#![cfg(not(loom))]

mod common;

use common::{Drops, heap, heaps, panics};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use typed_pool::{AllocErrorKind, Heap, Pool, RcuError, TakeError};

#[test]
fn a_taken_value_is_the_callers() {
    for heap in heaps(1 << 20) {
        let drops = Drops::default();
        let pool = Pool::new(&heap).unwrap();
        let handle = pool.insert(drops.make(5)).unwrap();
        let object = pool.take(handle).unwrap();
        assert_eq!((pool.len(), pool.flush(), object.checked()), (0, 0, 5));
        assert_eq!(pool.take(handle).unwrap_err(), TakeError::Stale);
        assert_eq!(pool.try_take(handle).unwrap_err(), TakeError::Stale);
        drop(pool);
        assert_eq!(drops.live(), 1);
        drop(object);
        assert_eq!(drops.live(), 0);
        heap.verify().unwrap();
    }
}

#[test]
fn a_thread_that_reads_cannot_take_and_is_told_so() {
    let heap = heap(1 << 20);
    let (pool, other) = (Pool::new(&heap).unwrap(), Pool::new(&heap).unwrap());
    let handle = pool.insert(String::from("value")).unwrap();
    let stale = pool.insert(String::new()).unwrap();
    pool.remove(stale);
    let guard = other.insert(1).map(|handle| other.get(handle).unwrap()).unwrap();
    for take in [Pool::take, Pool::try_take] {
        assert_eq!(take(&pool, handle), Err(TakeError::OwnGuard));
        assert_eq!(take(&pool, stale), Err(TakeError::Stale));
    }
    assert_eq!(*guard, 1);
    drop(guard);
    assert_eq!(pool.take(handle).unwrap(), "value");
}

#[test]
fn take_waits_for_readers_and_try_take_does_not() {
    let patience = Duration::from_secs(60);
    let heap = Heap::builder().capacity(1 << 20).patience(patience).build().unwrap();
    let pool = &Pool::new(&heap).unwrap();
    let handle = pool.insert(String::from("value")).unwrap();
    let (step, read) = (&Barrier::new(2), &AtomicBool::new(false));
    thread::scope(|s| {
        s.spawn(move || {
            let found = pool.get(handle).unwrap();
            step.wait();
            step.wait();
            thread::sleep(Duration::from_millis(30));
            read.store(*found == "value", Ordering::Relaxed);
        });
        step.wait();
        let start = Instant::now();
        assert_eq!(pool.try_take(handle), Err(TakeError::Busy));
        assert!(start.elapsed() < patience / 2);
        step.wait();
        assert_eq!(pool.take(handle).unwrap(), "value");
        assert!(read.load(Ordering::Relaxed), "the reader was still there");
        assert!(start.elapsed() < patience / 2);
    });
}

#[test]
fn a_guard_that_stays_open_costs_patience_and_leaves_the_object() {
    let heap = heap(1 << 20);
    let pool = &Pool::new(&heap).unwrap();
    let handle = pool.insert(String::from("value")).unwrap();
    let (open, close) = (&Barrier::new(2), &Barrier::new(2));
    thread::scope(|s| {
        s.spawn(move || {
            let _guard = pool.enter();
            open.wait();
            close.wait();
        });
        open.wait();
        let start = Instant::now();
        assert_eq!(pool.take(handle), Err(TakeError::Busy));
        let waited = start.elapsed();
        assert!(
            waited > Duration::from_millis(45) && waited < Duration::from_secs(5),
            "{waited:?}"
        );
        // It is as it was.
        assert_eq!(*pool.get(handle).unwrap(), "value");
        close.wait();
    });
    assert_eq!(pool.take(handle).unwrap(), "value");
}

#[test]
fn of_many_threads_that_take_an_object_one_gets_it() {
    for heap in heaps(1 << 20) {
        let pool = &Pool::new(&heap).unwrap();
        let handles: Vec<_> = (0..200).map(|i| pool.insert(i.to_string()).unwrap()).collect();
        let run = |first: usize| {
            let handles = &handles;
            let take = |handle| loop {
                match pool.take(handle) {
                    Err(TakeError::Busy) => {} // the others had the mover lock for too long
                    taken => return taken.is_ok(),
                }
            };
            move || {
                let turn = (0..handles.len()).map(|i| handles[(first + i) % handles.len()]);
                turn.filter(|handle| take(*handle)).count()
            }
        };
        let taken: usize = thread::scope(|s| {
            let threads: Vec<_> = [0, 0, 100].map(|first| s.spawn(run(first))).into();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((taken, pool.len()), (200, 0));
    }
}

#[test]
fn a_refused_replacement_gives_the_value_back() {
    let drops = Drops::default();
    let pool = Pool::new(&heap(4096)).unwrap();
    let handles: Vec<_> = (0..).map_while(|id| pool.insert(drops.make(id)).ok()).collect();
    let live = drops.live();
    let refused = pool.replace(handles[0], drops.make(900)).unwrap_err();
    assert!(matches!(&refused.error, RcuError::Alloc(e) if e.kind == AllocErrorKind::OutOfMemory));
    assert!(format!("{refused} {refused:?}").contains("no room"));
    assert_eq!(refused.into_value().checked(), 900);
    let unused = |_: &_| unreachable!("there is no room");
    assert!(matches!(pool.rcu(handles[0], unused), Err(RcuError::Alloc(_))));
    assert_eq!((pool.get(handles[0]).unwrap().checked(), drops.live()), (0, live));

    // Of two reasons the one that will not go away is given.
    assert!(pool.remove(handles[0]));
    let again = pool.insert(drops.make(0)).unwrap();
    let refused = pool.replace(handles[0], drops.make(900)).unwrap_err();
    assert_eq!((&refused.error, refused.value.checked()), (&RcuError::Stale, 900));
    assert_eq!(pool.rcu(handles[0], |_| unreachable!("it is gone")), Err(RcuError::Stale));
    // With one object gone there is room for a version more.
    assert!(pool.remove(again));
    pool.replace(handles[1], drops.make(901)).unwrap();
    pool.rcu(handles[2], |old| drops.make(old.checked() + 900)).unwrap();
    drop((refused, pool));
    assert_eq!(drops.live(), 0);
}

#[test]
fn every_replaced_version_is_dropped_once_whoever_replaces_it() {
    for heap in heaps(1 << 20) {
        let drops = Drops::default();
        let pool = &Pool::new(&heap).unwrap();
        let handle = pool.insert(drops.make(0)).unwrap();
        thread::scope(|s| {
            for turn in 0..3 {
                let drops = &drops;
                s.spawn(move || {
                    for round in 0..2000 {
                        pool.replace(handle, drops.make(turn * 10_000 + round)).unwrap();
                        assert_eq!(pool.get(handle).unwrap().checked() % 10_000 / 2000, 0);
                    }
                });
            }
            s.spawn(|| (0..20).for_each(|_| assert!(!pool.defragment().own_guard)));
        });
        pool.flush();
        assert_eq!((pool.len(), drops.live(), drops.dropped()), (1, 1, 6000));
        heap.verify().unwrap();
    }
}

#[test]
fn rcu_loses_no_update() {
    for heap in heaps(1 << 20) {
        let drops = Drops::default();
        let pool = &Pool::new(&heap).unwrap();
        let handle = pool.insert(drops.make(0)).unwrap();
        let drops = &drops;
        thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(move || {
                    for _ in 0..1000 {
                        pool.rcu(handle, |old| drops.make(old.checked() + 1)).unwrap();
                    }
                });
            }
            s.spawn(|| (0..20).for_each(|_| assert!(!pool.defragment().own_guard)));
        });
        assert_eq!(pool.get(handle).unwrap().checked(), 3000);
        pool.flush();
        assert_eq!(drops.live(), 1);
    }
}

#[test]
fn rcu_computes_again_when_another_version_came_first() {
    let drops = Drops::default();
    let pool = Pool::new(&heap(1 << 20)).unwrap();
    let handle = pool.insert(drops.make(1)).unwrap();
    let calls = Cell::new(0);
    let make = |old: &common::Counted| {
        calls.set(calls.get() + 1);
        if calls.get() < 4 {
            pool.replace(handle, drops.make(old.checked() * 10)).unwrap();
        }
        drops.make(old.checked() + 1)
    };
    pool.rcu(handle, make).unwrap();
    assert_eq!((calls.get(), pool.get(handle).unwrap().checked()), (4, 1001));
    pool.flush();
    assert_eq!(drops.live(), 1);
    // It is gone by the time it is computed: nothing replaces it.
    let gone = pool.rcu(handle, |old| {
        assert!(pool.remove(handle));
        drops.make(old.checked())
    });
    assert_eq!(gone, Err(RcuError::Stale));
    pool.flush();
    assert_eq!((pool.len(), drops.live()), (0, 0));
    pool.heap().verify().unwrap();
}

#[test]
fn a_closure_that_panics_in_rcu_leaves_the_object() {
    let drops = Drops::default();
    let pool = Pool::new(&heap(4096)).unwrap();
    let handle = pool.insert(drops.make(1)).unwrap();
    for _ in 0..500 {
        assert!(panics(|| pool.rcu(handle, |_| panic!("as it should")).unwrap()));
    }
    assert_eq!((pool.get(handle).unwrap().checked(), drops.live()), (1, 1));
    pool.rcu(handle, |old| drops.make(old.checked() + 1)).unwrap();
    assert_eq!(pool.take(handle).unwrap().checked(), 2);
    pool.flush();
    assert_eq!((drops.live(), pool.heap().stats().live_blocks), (0, 0));
    pool.heap().verify().unwrap();
}

#[test]
fn a_version_of_rcu_that_nobody_saw_may_panic_when_it_is_dropped() {
    let drops = Drops::default();
    let pool = Pool::new(&heap(1 << 20)).unwrap();
    let handle = pool.insert(drops.make(1)).unwrap();
    let first = Cell::new(true);
    let make = |_: &_| {
        if first.replace(false) {
            pool.replace(handle, drops.make(2)).unwrap();
            return drops.bomb(3);
        }
        drops.make(4)
    };
    assert!(panics(|| pool.rcu(handle, make).unwrap()));
    assert_eq!(pool.get(handle).unwrap().checked(), 2);
    pool.flush();
    assert_eq!(drops.live(), 1);
    pool.heap().verify().unwrap();
}

#[test]
fn an_update_that_replaces_its_object_itself_is_computed_anew() {
    for heap in heaps(1 << 20) {
        let pool = Pool::new(&heap).unwrap();
        let handle = pool.insert(1).unwrap();
        let mut seen = Vec::new();
        let updated = pool.rcu(handle, |old| {
            seen.push(*old);
            if seen.len() == 1 {
                pool.replace(handle, 20).unwrap();
            } else if seen.len() == 2 {
                pool.rcu(handle, |old| old + 1).unwrap();
            }
            old + 100
        });
        assert_eq!((updated, pool.with(handle, |now| *now)), (Ok(()), Some(121)));
        assert_eq!(seen, [1, 20, 21]);
        // One that removes it finds that there is nothing to replace.
        assert_eq!(pool.rcu(handle, |_| i32::from(pool.remove(handle))), Err(RcuError::Stale));
        assert!(pool.is_empty());
        heap.verify().unwrap();
    }
}

/// Whoever has the pool alone is in nobody's way, and nobody in his: guards of another pool of the heap are no obstacle.
#[test]
fn the_only_owner_takes_at_once_while_another_pool_is_read() {
    let heap =
        Heap::builder().capacity(1 << 16).patience(Duration::from_secs(3600)).build().unwrap();
    let (mut pool, other) = (Pool::new(&heap).unwrap(), Pool::new(&heap).unwrap());
    let handles = [1, 2, 3].map(|value| pool.insert(vec![value; 9]).unwrap());
    let theirs = other.insert(7).unwrap();
    let (entered, is_entered) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let _guard = other.get(theirs);
            entered.send(()).unwrap();
            may_leave.recv().unwrap();
        });
        is_entered.recv().unwrap();
        assert_eq!(pool.take_mut(handles[0]), Ok(vec![1; 9]));
        assert_eq!(pool.take_mut(handles[0]), Err(TakeError::Stale));
        let pin = pool.pin(handles[1]).unwrap();
        assert_eq!(pool.take_mut(handles[1]), Err(TakeError::Pinned));
        drop(pin);
        let own = heap.enter();
        assert_eq!(pool.take_mut(handles[1]), Ok(vec![2; 9]));
        drop(own);
        assert_eq!((pool.len(), pool.get(handles[2]).unwrap()[0]), (1, 3));
        leave.send(()).unwrap();
    });
    heap.verify().unwrap();
}
