//! Models of the typed pool: its public interface under the model checker.
//!
//! The protocol has models of its own in `allocator-core`; these are about what the pool adds: values are
//! read whole, taken once, dropped once. The bounds are the largest that finish in seconds.

#![cfg(loom)]

#[path = "../../allocator-core/tests/modelling/mod.rs"]
mod modelling;

use loom::thread;
use modelling::explore;
use std::sync::Arc;
use typed_pool::{Heap, Pool};

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
    explore(Some(3), ["moved"], |[moved]| {
        let (pool, handle) = pool_with_a_hole();
        let reader = thread::spawn({
            let pool = Arc::clone(&pool);
            move || assert_eq!(*pool.get(handle).expect("it is there all the time"), [7; 4])
        });
        moved.reached_if(pool.defragment().moves > 0);
        reader.join().unwrap();
        assert_eq!(pool.with(handle, |value| *value), Some([7; 4]));
    });
}

/// `try_take` gives the value out only when nobody reads it, and then nobody finds it.
#[test]
fn try_take_against_get() {
    explore(Some(3), ["taken unread", "read, then taken"], |[unread, read]| {
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
        unread.reached_if(taken.is_ok() && seen.is_none());
        read.reached_if(taken.is_ok() && seen.is_some());
    });
}

/// An object is read whole or not at all while it is removed, and dropped exactly once.
#[test]
fn get_against_remove() {
    explore(Some(3), ["removed first"], |[stale]| {
        let heap = Heap::builder().capacity(1024).stripes(1).build().unwrap();
        let pool = Arc::new(Pool::new(&heap).unwrap());
        let witness = Arc::new(());
        let handle = pool.insert(Arc::clone(&witness)).unwrap();
        let reader = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.get(handle).is_some_and(|value| Arc::strong_count(&value) >= 2)
        });
        assert!(pool.remove(handle));
        stale.reached_if(!reader.join().unwrap());
        drop(pool);
        assert_eq!(Arc::strong_count(&witness), 1, "dropped once");
    });
}

/// A reader finds the old version or the new one, whole.
#[test]
fn get_against_replace() {
    explore(Some(3), ["the old version read", "the new version read"], |[old, new]| {
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
        old.reached_if(seen == [1; 4]);
        new.reached_if(seen == [2; 4]);
    });
}

/// What is removed is the version that was asked for, or nothing.
#[test]
fn remove_where_against_replace() {
    let paths = ["removed", "kept, as the old version was asked for", "asked for the new version"];
    explore(Some(3), paths, |[gone, old, new]| {
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
        gone.reached_if(removed == 1);
        old.reached_if(removed == 0 && asked == [1; 4]);
        new.reached_if(asked == [2; 4]);
    });
}

/// An object that is looked at and removed is not moved in between.
#[test]
fn remove_where_against_defragment() {
    explore(Some(3), ["moved"], |[moved]| {
        let (pool, handle) = pool_with_a_hole();
        let remover = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.remove_where(|_, value| *value == [7; 4])
        });
        moved.reached_if(pool.defragment().moves > 0);
        assert_eq!(remover.join().unwrap(), 1);
        assert!(!pool.contains(handle) && pool.is_empty());
    });
}

/// An insert into a full heap purges the object that another thread reads: the reader sees it whole or not at all, and the room
/// is used again only when nobody reads it.
#[test]
fn purge_against_get() {
    explore(Some(3), ["read, then purged", "purged first"], |[read, stale]| {
        let heap = Heap::builder().capacity(256).stripes(1).build().unwrap();
        let pool = Arc::new(Pool::new(&heap).unwrap());
        let old = pool.insert_purgeable([7_u64; 20]).unwrap();
        let reader = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.get(old).map(|value| *value)
        });
        let new = pool.insert([8; 20]).expect("the reader's guard is short");
        let seen = reader.join().unwrap();
        assert!(seen.is_none_or(|value| value == [7; 20]));
        assert!(!pool.contains(old), "it was purged");
        read.reached_if(seen.is_some());
        stale.reached_if(seen.is_none());
        assert_eq!(pool.with(new, |value| *value), Some([8; 20]));
        assert_eq!(heap.stats().purged, 1);
    });
}
