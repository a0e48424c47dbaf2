//! Models of a stale plan: between the plan of a move and its mark a block is freed, its page changes hands, and the same slot
//! gets a place at the same offset which is of another kind.
//!
//! A page has 64 granules, and four cells for 224 bytes, the first ones 4 and 18 granules behind its start.

#![cfg(loom)]

mod modelling;
#[path = "modelling/objects.rs"]
mod objects;

use allocator_core::{Handle, Heap};
use loom::thread;
use modelling::explore;
use objects::{Objects, heap_for_plans};
use std::sync::Arc;

const GRANULE: usize = 16;

/// Bytes of a cell, and of a chunk of its own where no page is left.
const SMALL: usize = 224;

/// One to be preempted between plan and mark.
const PREEMPTIONS: Option<usize> = Some(1);

/// A raw block with a chunk of so many granules.
fn chunk(heap: &Heap, granules: usize) -> Handle {
    heap.allocate_bytes(&vec![5; (granules - 1) * GRANULE]).unwrap()
}

fn free(heap: &Heap, block: Handle) {
    heap.deallocate(block).unwrap();
    heap.flush();
}

/// From the bottom of the heap on: a hole, a block, a gap up to the page's cell 1, and there what `small` makes.
fn behind_a_block<R>(heap: &Heap, small: impl FnOnce() -> R) -> (Handle, R) {
    let [hole, block, gap, rest] = [46, 17, 17, 47].map(|granules| chunk(heap, granules));
    chunk(heap, heap.capacity() / GRANULE - 127);
    free(heap, rest);
    let small = small();
    free(heap, gap);
    free(heap, hole);
    (block, small)
}

/// A raw block with a chunk of its own becomes a cell.
#[test]
fn raw_chunk_becomes_cell() {
    let paths = ["the plan was stale", "moved before", "it came round before"];
    explore(PREEMPTIONS, paths, move |[stale, before, after]| {
        let heap = heap_for_plans();
        let (block, small) = behind_a_block(&heap, || heap.allocate_bytes(&[7; SMALL]).unwrap());
        let place = |block| heap.read(block).unwrap().as_ptr().addr();
        let planned = place(small);
        let other = thread::spawn({
            let heap = heap.clone();
            move || {
                free(&heap, small);
                [1, 2].map(|value| heap.allocate_bytes(&[value; SMALL]).ok())
            }
        });
        let report = heap.defragment();
        let cells = other.join().unwrap();
        heap.verify().unwrap();
        let came_round = cells[1].filter(|cell| cell.index() == small.index());
        let came_round = came_round.is_some_and(|cell| place(cell) == planned);
        stale.reached_if(came_round && report.cancelled > 0);
        before.reached_if(!came_round);
        after.reached_if(came_round && report.cancelled == 0);
        for (cell, value) in cells.into_iter().zip([1, 2]) {
            assert!(cell.is_none_or(|cell| *heap.read(cell).unwrap() == [value; SMALL]));
        }
        assert!(heap.read(block).unwrap().iter().all(|byte| *byte == 5));
        assert!(heap.read(small).is_err());
    });
}

/// An object in a cell becomes one with a chunk of its own, while the slab that its blocks should go to has room.
#[test]
fn cell_becomes_chunk() {
    let paths = ["the plan was stale", "moved before", "it came round before"];
    explore(PREEMPTIONS, paths, move |[stale, before, after]| {
        let heap = heap_for_plans();
        let objects = Arc::new(Objects::<[u8; SMALL]>::new(&heap));
        // Two pages are left, the upper one first: two blocks in each.
        chunk(&heap, heap.capacity() / GRANULE - 129);
        let [keep, .., gone, last] =
            [1, 2, 3, 4].map(|_| heap.allocate_bytes(&[8; SMALL]).unwrap());
        let [other_cell, small] = [5, 6].map(|value| objects.insert([value; SMALL]));
        free(&heap, gone);
        free(&heap, last);
        let planned = objects.place(small).unwrap();
        let other = thread::spawn({
            let (heap, objects) = (heap.clone(), Arc::clone(&objects));
            move || {
                let fillers = [1, 2].map(|_| heap.allocate_bytes(&[9; SMALL]).ok());
                assert!(objects.retire(other_cell));
                assert!(objects.retire(small));
                heap.flush();
                // Up to the second cell.
                let gap = heap.allocate_bytes(&[5; 16 * GRANULE]).ok();
                let again = objects.try_insert([7; SMALL]);
                // There is room in the upper slab again.
                fillers.iter().flatten().for_each(|filler| free(&heap, *filler));
                (gap, again)
            }
        });
        let report = heap.defragment();
        let (_, again) = other.join().unwrap();
        heap.verify().unwrap();
        let came_round = again.filter(|again| again.index() == small.index());
        let came_round = came_round.is_some_and(|again| objects.place(again) == Some(planned));
        stale.reached_if(came_round && report.cancelled > 0);
        before.reached_if(!came_round);
        after.reached_if(came_round && report.cancelled == 0);
        if let Some(again) = again {
            assert_eq!(objects.get(again), Some([7; SMALL]));
        }
        assert_eq!(*heap.read(keep).unwrap(), [8; SMALL]);
        assert_eq!(objects.get(small), None);
    });
}
