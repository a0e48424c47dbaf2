//! Models of the typed pool: its public interface under the model checker.
//!
//! The protocol has models of its own in `allocator-core`; these are about what the pool adds: values are
//! read whole, taken once, dropped once. The bounds are the largest that finish in seconds.

#![cfg(loom)]

use loom::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use typed_pool::{Heap, Pool};

/// Executions in which something happened; on `std`, so no part of the model.
static MOVED: AtomicUsize = AtomicUsize::new(0);
static TAKEN_BEFORE: AtomicUsize = AtomicUsize::new(0);
static READ_BEFORE: AtomicUsize = AtomicUsize::new(0);
static STALE: AtomicUsize = AtomicUsize::new(0);
static OLD_VERSION: AtomicUsize = AtomicUsize::new(0);
static NEW_VERSION: AtomicUsize = AtomicUsize::new(0);
static REMOVED: AtomicUsize = AtomicUsize::new(0);
static ASKED_FOR_OLD: AtomicUsize = AtomicUsize::new(0);
static ASKED_FOR_NEW: AtomicUsize = AtomicUsize::new(0);
static WHERE_MOVED: AtomicUsize = AtomicUsize::new(0);
static PURGED: AtomicUsize = AtomicUsize::new(0);
static PURGED_IN_VAIN: AtomicUsize = AtomicUsize::new(0);
static READ_BEFORE_PURGE: AtomicUsize = AtomicUsize::new(0);
static STALE_AFTER_PURGE: AtomicUsize = AtomicUsize::new(0);

fn count(counter: &AtomicUsize, happened: bool) {
    // Relaxed: read when the exploration is over.
    counter.fetch_add(usize::from(happened), Ordering::Relaxed);
}

fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 10_000;
    builder.check(model);
}

fn reached(counters: &[&AtomicUsize]) {
    for counter in counters {
        // Relaxed: the exploration is over.
        assert!(counter.load(Ordering::Relaxed) > 0, "no execution took this path");
    }
}

/// A pool whose second object can be moved into the place of its first.
fn pool_with_a_hole() -> (Arc<Pool<[u64; 4]>>, typed_pool::Handle<[u64; 4]>) {
    let heap = Heap::builder().capacity(1024).stripes(1).build().unwrap();
    let pool = Pool::new(&heap).unwrap();
    let hole = pool.insert([1; 4]).unwrap();
    let handle = pool.insert([7; 4]).unwrap();
    assert!(pool.remove(hole));
    pool.flush();
    (Arc::new(pool), handle)
}

/// A reader finds its object whole, wherever a defragmentation puts it.
#[test]
fn get_against_defragment() {
    explore(3, || {
        let (pool, handle) = pool_with_a_hole();
        let reader = thread::spawn({
            let pool = Arc::clone(&pool);
            move || assert_eq!(*pool.get(handle).expect("it is there all the time"), [7; 4])
        });
        count(&MOVED, pool.defragment().moves > 0);
        reader.join().unwrap();
        assert_eq!(pool.with(handle, |value| *value), Some([7; 4]));
    });
    reached(&[&MOVED]);
}

/// `try_take` gives the value out only when nobody reads it, and then nobody finds it.
#[test]
fn try_take_against_get() {
    explore(3, || {
        let (pool, handle) = pool_with_a_hole();
        let reader = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.get(handle).map(|value| *value)
        });
        let taken = pool.try_take(handle);
        let seen = reader.join().unwrap();
        assert!(seen.is_none_or(|value| value == [7; 4]));
        if let Ok(value) = &taken {
            assert_eq!(*value, [7; 4]);
            assert!(!pool.contains(handle));
        } else {
            assert!(seen.is_some(), "only the reader can keep it");
            assert!(pool.contains(handle));
        }
        count(&TAKEN_BEFORE, taken.is_ok() && seen.is_none());
        count(&READ_BEFORE, taken.is_ok() && seen.is_some());
    });
    reached(&[&TAKEN_BEFORE, &READ_BEFORE]);
}

/// An object is read whole or not at all while it is removed, and dropped exactly once.
#[test]
fn get_against_remove() {
    explore(3, || {
        let heap = Heap::builder().capacity(1024).stripes(1).build().unwrap();
        let pool = Arc::new(Pool::new(&heap).unwrap());
        let witness = Arc::new(());
        let handle = pool.insert(Arc::clone(&witness)).unwrap();
        let reader = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.get(handle).is_some_and(|value| Arc::strong_count(&value) >= 2)
        });
        assert!(pool.remove(handle));
        count(&STALE, !reader.join().unwrap());
        drop(pool);
        assert_eq!(Arc::strong_count(&witness), 1, "dropped once");
    });
    reached(&[&STALE]);
}

/// A reader finds the old version or the new one, whole.
#[test]
fn get_against_replace() {
    explore(3, || {
        let heap = Heap::builder().capacity(1024).stripes(1).build().unwrap();
        let pool = Arc::new(Pool::new(&heap).unwrap());
        let handle = pool.insert([1_u64; 4]).unwrap();
        let reader = thread::spawn({
            let pool = Arc::clone(&pool);
            move || *pool.get(handle).expect("one of them is there")
        });
        pool.replace(handle, [2; 4]).unwrap();
        let seen = reader.join().unwrap();
        assert!(seen == [1; 4] || seen == [2; 4]);
        count(&OLD_VERSION, seen == [1; 4]);
        count(&NEW_VERSION, seen == [2; 4]);
    });
    reached(&[&OLD_VERSION, &NEW_VERSION]);
}

/// What is removed is the version that was asked for, or nothing.
#[test]
fn remove_where_against_replace() {
    explore(3, || {
        let heap = Heap::builder().capacity(1024).stripes(1).build().unwrap();
        let pool = Arc::new(Pool::new(&heap).unwrap());
        let handle = pool.insert([1_u64; 4]).unwrap();
        let writer = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.replace(handle, [2; 4]).is_ok()
        });
        let mut asked = [0; 4];
        let removed = pool.remove_where(|_, value| {
            asked = *value;
            *value == [1; 4]
        });
        let replaced = writer.join().unwrap();
        assert!(asked == [1; 4] || asked == [2; 4]);
        assert_eq!(removed == 0, replaced, "the new version stays, or never came");
        assert_eq!(pool.with(handle, |value| *value), replaced.then_some([2; 4]));
        count(&REMOVED, removed == 1);
        count(&ASKED_FOR_OLD, removed == 0 && asked == [1; 4]);
        count(&ASKED_FOR_NEW, asked == [2; 4]);
    });
    reached(&[&REMOVED, &ASKED_FOR_OLD, &ASKED_FOR_NEW]);
}

/// An object that is looked at and removed is not moved in between.
#[test]
fn remove_where_against_defragment() {
    explore(3, || {
        let (pool, handle) = pool_with_a_hole();
        let remover = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.remove_where(|_, value| *value == [7; 4])
        });
        count(&WHERE_MOVED, pool.defragment().moves > 0);
        assert_eq!(remover.join().unwrap(), 1);
        assert!(!pool.contains(handle) && pool.is_empty());
    });
    reached(&[&WHERE_MOVED]);
}

/// An insert into a full heap purges the object that another thread reads: the reader sees it whole or not at all, and the room
/// is used again only when nobody reads it.
#[test]
fn purge_against_get() {
    explore(3, || {
        let heap = Heap::builder().capacity(256).stripes(1).build().unwrap();
        let pool = Arc::new(Pool::new(&heap).unwrap());
        let old = pool.insert_purgeable([7_u64; 20]).unwrap();
        let reader = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.get(old).map(|value| *value)
        });
        let new = pool.insert([8; 20]);
        let seen = reader.join().unwrap();
        assert!(seen.is_none_or(|value| value == [7; 20]));
        assert!(!pool.contains(old), "it was purged, whether that helped or not");
        count(&READ_BEFORE_PURGE, seen.is_some());
        count(&STALE_AFTER_PURGE, seen.is_none());
        count(&PURGED, new.is_ok());
        count(&PURGED_IN_VAIN, new.is_err());
        match new {
            Ok(new) => assert_eq!(pool.with(new, |value| *value), Some([8; 20])),
            Err(refused) => assert_eq!((refused.error.purged, refused.value), (1, [8; 20])),
        }
        assert_eq!(heap.stats().purged, 1);
    });
    reached(&[&PURGED, &PURGED_IN_VAIN, &READ_BEFORE_PURGE, &STALE_AFTER_PURGE]);
}
