//! Models of what threads keep: inserts and removes without a lock, beside those who look into their caches.
//!
//! In a model a magazine is refilled with two pairs and holds six, a batch is two objects, a depot holds two pairs.

#![cfg(loom)]

mod modelling;
#[path = "modelling/objects.rs"]
mod objects;

use loom::thread;
use modelling::explore;
use objects::{Census, Counted, Objects, heap_with_slabs};
use std::sync::Arc;

/// A pair that a thread keeps serves its next insert, unless somebody took it back meanwhile; either way
/// nobody else gets slot or block.
#[test]
fn insert_against_flush() {
    let paths = ["the kept pair was used", "it was taken back first"];
    explore(Some(2), paths, |[kept, taken]| {
        let heap = heap_with_slabs();
        let objects = Arc::new(Objects::<u64>::new(&heap));
        // Leaves one pair in our cache.
        let first = objects.insert(7);
        let other = thread::spawn({
            let heap = heap.clone();
            move || heap.flush()
        });
        let before = heap.stats().cached_blocks;
        let second = objects.insert(8);
        other.join().unwrap();
        kept.reached_if(before == 1);
        taken.reached_if(before == 0);
        assert_eq!((objects.get(first), objects.get(second)), (Some(7), Some(8)));
        heap.verify().unwrap();
    });
}

/// The retired objects of one thread are reclaimed by another while it goes on: each ends once.
#[test]
fn retire_against_reclaim() {
    let paths = ["the other found one", "nothing was there yet"];
    explore(Some(3), paths, |[found, nothing]| {
        let heap = heap_with_slabs();
        let objects = Arc::new(Objects::<Counted>::new(&heap));
        let census = Census::default();
        let handle = objects.insert(census.born(7));
        let other = thread::spawn({
            let objects = Arc::clone(&objects);
            move || objects.table().reclaim()
        });
        assert!(objects.retire(handle));
        let theirs = other.join().unwrap();
        found.reached_if(theirs == 1);
        nothing.reached_if(theirs == 0);
        let rest = objects.table().reclaim();
        assert_eq!((theirs + rest, census.living()), (1, 0));
        let stats = heap.stats();
        assert_eq!((stats.live_blocks, stats.pending_blocks, stats.cached_blocks), (0, 0, 0));
        heap.verify().unwrap();
    });
}

/// What a thread keeps when it ends serves the next one that comes.
#[test]
fn thread_exit_against_newcomer() {
    let paths = ["the newcomer adopted the cache", "it came too early"];
    explore(Some(3), paths, |[adopted, early]| {
        let heap = heap_with_slabs();
        let objects = Arc::new(Objects::<u64>::new(&heap));
        let spawn = |value| {
            let objects = Arc::clone(&objects);
            thread::spawn(move || objects.insert(value))
        };
        let threads = [spawn(7), spawn(8)];
        let handles = threads.map(|thread| thread.join().unwrap());
        // Two pairs a refill: one refill for both, or one each.
        let kept = heap.stats().cached_blocks;
        adopted.reached_if(kept == 0);
        early.reached_if(kept == 2);
        assert_ne!(handles[0].index(), handles[1].index());
        assert_eq!(handles.map(|handle| objects.get(handle)), [Some(7), Some(8)]);
        heap.verify().unwrap();
    });
}

/// Full batches go into the remover's magazine and from there, when that spills, to the thread that inserts.
#[test]
fn insert_against_remove_of_many() {
    let paths = ["an insert used what was removed", "inserts had room of their own"];
    explore(Some(2), paths, |[reused, fresh]| {
        let heap = heap_with_slabs();
        let objects = Arc::new(Objects::<u64>::new(&heap));
        let old = [0, 1, 2, 3, 4, 5, 6, 7].map(|value| objects.insert(value));
        let inserter = thread::spawn({
            let objects = Arc::clone(&objects);
            move || [10, 11].map(|value| objects.insert(value))
        });
        for handle in old {
            assert!(objects.retire(handle));
        }
        let new = inserter.join().unwrap();
        let is_old = new.iter().any(|new| old.iter().any(|old| old.index() == new.index()));
        reused.reached_if(is_old);
        fresh.reached_if(!is_old);
        assert_eq!(new.map(|handle| objects.get(handle)), [Some(10), Some(11)]);
        assert!(old.into_iter().all(|handle| objects.get(handle).is_none()));
        heap.flush();
        assert_eq!(heap.stats().live_blocks, 2);
        heap.verify().unwrap();
    });
}

/// A defragmentation takes back what a thread keeps while the thread inserts; nothing is lost, and what is alive is
/// whole wherever it goes.
#[test]
fn insert_against_defragment() {
    let paths = ["moved", "not moved", "the thread's cache was empty afterwards", "it was not"];
    explore(Some(2), paths, |[moved, still, empty, kept]| {
        let heap = heap_with_slabs();
        let objects = Arc::new(Objects::<[u8; 224]>::new(&heap));
        // Four fill a page: one page with two of them is left, and one with one.
        let old = [1, 2, 3, 4, 5].map(|value| objects.insert([value; 224]));
        assert!(objects.retire(old[0]) && objects.retire(old[1]));
        objects.table().reclaim();
        let inserter = thread::spawn({
            let objects = Arc::clone(&objects);
            move || objects.insert([9; 224])
        });
        let report = heap.defragment();
        let new = inserter.join().unwrap();
        moved.reached_if(report.moves > 0);
        still.reached_if(report.moves == 0);
        let cached = heap.stats().cached_blocks;
        empty.reached_if(cached == 0);
        kept.reached_if(cached > 0);
        for (value, handle) in [(3, old[2]), (4, old[3]), (5, old[4]), (9, new)] {
            assert_eq!(objects.get(handle), Some([value; 224]));
        }
        heap.verify().unwrap();
    });
}
