//! A model of a heap without room but for what its threads have just removed: as nobody reads, nothing is refused.

#![cfg(loom)]

mod modelling;
#[path = "modelling/objects.rs"]
mod objects;

use loom::thread;
use modelling::explore;
use objects::heap;

/// Three fill the heap.
const BYTES: [u8; 300] = [7; 300];

/// Each of two threads has freed a block before it asks for one: wherever the one that is left is, it is found.
#[test]
fn allocate_after_free_against_the_same() {
    let paths = ["the other's slot was used", "the own slot was used"];
    explore(Some(1), paths, move |[others, own]| {
        let heap = heap();
        let blocks = [(); 3].map(|()| heap.allocate_bytes(&BYTES).unwrap());
        let turn = |heap: &allocator_core::Heap, block| {
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
