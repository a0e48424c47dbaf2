//! Models of the store under the tables: stripes, pages that change hands, and who looks at them.
//!
//! In a model the main thread is at home in stripe 0, every other one in stripe 1. All that the threads
//! share here is behind locks, so there are few schedules; two models with many steps are bounded.

#![cfg(loom)]

mod modelling;
#[path = "modelling/objects.rs"]
mod objects;

use allocator_core::Heap;
use loom::thread;
use modelling::{UNBOUNDED, explore};
use objects::{Objects, heap, heap_of_two_stripes, moved};
use std::sync::Arc;

/// Bytes of which four fill a page.
const WIDE: [u8; 224] = [7; 224];

/// Two inserts get different slots and different blocks.
#[test]
fn insert_against_insert() {
    explore(UNBOUNDED, ["the other thread's slot was first"], |[first]| {
        let heap = heap();
        let objects = Arc::new(Objects::<u64>::new(&heap));
        let inserter = thread::spawn({
            let objects = Arc::clone(&objects);
            move || objects.insert(8)
        });
        let mine = objects.insert(7);
        let other = inserter.join().unwrap();
        first.reached_if(other.index() < mine.index());
        assert_ne!(mine.index(), other.index());
        assert_eq!((objects.get(mine), objects.get(other)), (Some(7), Some(8)));
        assert_eq!(objects.table().len(), 2);
        heap.verify().unwrap();
    });
}

/// A block goes back to the stripe that its page belongs to, and its slot to the stripe of who frees it.
#[test]
fn free_against_insert_across_stripes() {
    explore(Some(5), ["the cell was used again", "another cell was used"], |[again, another]| {
        let heap = heap_of_two_stripes();
        let objects = Arc::new(Objects::<u64>::new(&heap));
        let [kept, old] = [6, 7].map(|value| objects.insert(value));
        let place = objects.place(old);
        let remover = thread::spawn({
            let objects = Arc::clone(&objects);
            move || {
                assert!(objects.retire(old));
                assert_eq!(objects.table().reclaim(), 1);
            }
        });
        let new = objects.insert(8);
        remover.join().unwrap();
        again.reached_if(objects.place(new) == place);
        another.reached_if(objects.place(new) != place);
        assert_eq!([kept, old, new].map(|handle| objects.get(handle)), [Some(6), None, Some(8)]);
        heap.verify().unwrap();
    });
}

/// The last block of a page is freed, and the page goes to the centre, while others ask for room.
#[test]
fn page_changes_hands() {
    const LARGE: usize = 3500;
    explore(Some(1), ["the large block found room", "it did not"], |[found, refused]| {
        let heap = heap_of_two_stripes();
        let [blocks @ .., last] = [0; 8].map(|_| heap.allocate_bytes(&WIDE).unwrap());
        blocks.into_iter().for_each(|block| heap.deallocate(block).unwrap());
        heap.flush();
        let freer = thread::spawn({
            let heap = heap.clone();
            move || {
                heap.deallocate(last).unwrap();
                heap.flush();
            }
        });
        let large = heap.allocate_bytes(&[9; LARGE]);
        freer.join().unwrap();
        found.reached_if(large.is_ok());
        refused.reached_if(large.is_err());
        heap.verify().unwrap();
        let large = large.unwrap_or_else(|_| heap.allocate_bytes(&[9; LARGE]).unwrap());
        assert_eq!(*heap.read(large).unwrap(), [9; LARGE]);
        assert_eq!(heap.stats().live_blocks, 1);
    });
}

/// Whoever looks at a whole heap finds it sound at every moment, and each cell of its map between empty and
/// full.
#[test]
fn look_against_page() {
    fn look(heap: &Heap) {
        heap.verify().unwrap();
        let map = heap.map(4);
        assert!(map.cells.iter().all(|share| (0.0..=1.0).contains(share)), "{map:?}");
    }
    explore(Some(5), ["looked"], |[looked]| {
        let heap = heap_of_two_stripes();
        let user = thread::spawn({
            let heap = heap.clone();
            move || {
                let block = heap.allocate_bytes(&WIDE).unwrap();
                heap.deallocate(block).unwrap();
                heap.flush();
            }
        });
        look(&heap);
        looked.reached();
        user.join().unwrap();
        look(&heap);
    });
}

/// An insert goes on while blocks move, into room that the mover does not use.
#[test]
fn insert_against_move() {
    explore(UNBOUNDED, ["moved"], |[did_move]| {
        let heap = heap();
        let objects = Arc::new(Objects::<u64>::new(&heap));
        let handle = objects::behind_a_hole(&objects, 1, 7);
        let inserter = thread::spawn({
            let objects = Arc::clone(&objects);
            move || objects.insert(8)
        });
        let report = heap.defragment();
        let new = inserter.join().unwrap();
        did_move.reached_if(moved(&report));
        assert_eq!((objects.get(handle), objects.get(new)), (Some(7), Some(8)));
        heap.verify().unwrap();
    });
}
