//! Models of a heap without room but for what is on its way from one place to another: as nobody reads, nothing is refused.
//!
//! Two of three blocks, or all but a few of the cells, are taken. In a model a magazine is refilled with two pairs and holds six,
//! and a depot holds two.

#![cfg(loom)]

mod modelling;
#[path = "modelling/objects.rs"]
mod objects;

use allocator_core::{Handle, Heap};
use loom::thread;
use modelling::explore;
use objects::{Objects, heap, heap_with_slabs};
use std::sync::Arc;

/// Three fill the heap.
const BYTES: [u8; 300] = [7; 300];

/// Four fill a page.
type Wide = [u64; 28];

/// A heap whose cells are all taken, and the objects in them.
fn full() -> (Heap, Arc<Objects<Wide>>, Vec<Handle<Wide>>) {
    let heap = heap_with_slabs();
    let objects = Objects::new(&heap);
    let handles = std::iter::from_fn(|| objects.try_insert([7; 28])).collect();
    (heap, Arc::new(objects), handles)
}

/// Inserts on a thread of its own, which finds room.
fn insert_beside(objects: &Arc<Objects<Wide>>) -> thread::JoinHandle<Handle<Wide>> {
    let objects = Arc::clone(objects);
    thread::spawn(move || objects.try_insert([8; 28]).expect("there is a place"))
}

/// Each of two threads has freed a block before it asks for one: wherever the one that is left is, it is found.
#[test]
fn allocate_after_free_against_the_same() {
    let paths = ["the other's slot was used", "the own slot was used"];
    explore(Some(1), paths, move |[others, own]| {
        let heap = heap();
        let blocks = [(); 3].map(|()| heap.allocate_bytes(&BYTES).unwrap());
        let turn = |heap: &Heap, block| {
            heap.deallocate(block).unwrap();
            heap.allocate_bytes(&BYTES).expect("there is the place of what was freed")
        };
        let other = thread::spawn({
            let heap = heap.clone();
            move || turn(&heap, blocks[1])
        });
        let mine = turn(&heap, blocks[0]);
        other.join().unwrap();
        own.reached_if(mine.index() == blocks[0].index());
        others.reached_if(mine.index() == blocks[1].index());
    });
}

/// There are two cells: who refills its magazine takes both, and the other finds the one that it only keeps.
#[test]
fn insert_against_refill() {
    explore(Some(2), ["the first cell", "the second cell"], |[first, second]| {
        let (heap, objects, handles) = full();
        assert!(handles[..2].iter().all(|handle| objects.retire(*handle)));
        heap.flush();
        let other = insert_beside(&objects);
        let mine = objects.try_insert([9; 28]).expect("there is a place");
        let is_first = mine.index() < other.join().unwrap().index();
        first.reached_if(is_first);
        second.reached_if(!is_first);
    });
}

/// The same where both are in the depot.
#[test]
fn insert_against_withdrawal() {
    explore(Some(2), ["the first cell", "the second cell"], |[first, second]| {
        let (heap, objects, handles) = full();
        // Four stay in the magazine, two go to the depot and two to the store, where raw blocks find them.
        assert!(handles[..8].iter().all(|handle| objects.retire(*handle)));
        let kept = [(); 4].map(|()| objects.insert([7; 28]));
        let raw = [(); 2].map(|()| heap.allocate_bytes(&[7; size_of::<Wide>()]).unwrap());
        let stats = heap.stats();
        let live = handles.len() - 8 + kept.len() + raw.len();
        assert_eq!((stats.cached_blocks, stats.live_blocks, stats.pending_blocks), (2, live, 0));
        let other = insert_beside(&objects);
        let mine = objects.try_insert([9; 28]).expect("there is a place");
        let is_first = mine.index() < other.join().unwrap().index();
        first.reached_if(is_first);
        second.reached_if(!is_first);
    });
}

/// The one place is that of an object which another thread reclaims.
#[test]
fn insert_against_reclaim() {
    explore(Some(2), ["reclaimed beside the insert", "by it"], |[beside, by_it]| {
        let (_heap, objects, handles) = full();
        assert!(objects.retire(handles[0]));
        let other = insert_beside(&objects);
        let reclaimed = objects.table().reclaim();
        other.join().unwrap();
        beside.reached_if(reclaimed == 1);
        by_it.reached_if(reclaimed == 0);
    });
}

/// The one place is in the cache of a thread, which gives it back.
#[test]
fn insert_against_flush() {
    explore(Some(2), ["inserted"], |[inserted]| {
        let (heap, objects, handles) = full();
        assert!(handles[..2].iter().all(|handle| objects.retire(*handle)));
        heap.flush();
        objects.insert([7; 28]);
        assert_eq!(heap.stats().cached_blocks, 1);
        let other = insert_beside(&objects);
        heap.flush();
        other.join().unwrap();
        inserted.reached();
    });
}
