//! A model of a stale plan, through the typed pool: an object with a chunk of its own is removed after its move was planned,
//! its page becomes a slab, and the next object gets its slot and a cell at the same place.
//!
//! The models of the core (`allocator-core/tests/loom_plans.rs`) say how the heap is laid out.

#![cfg(loom)]

#[path = "../../allocator-core/tests/modelling/mod.rs"]
mod modelling;

use loom::thread;
use modelling::explore;
use std::sync::Arc;
use typed_pool::{Heap, Pool};

const GRANULE: usize = 16;

#[test]
fn object_in_chunk_becomes_one_in_cell() {
    let paths = ["the plan was stale", "moved before", "it came round before"];
    explore(Some(1), paths, |[stale, before, after]| {
        let builder = Heap::builder().capacity(10 << 10).page_size(1 << 10).stripes(1);
        let heap = builder.thread_cache(0).build().unwrap();
        let chunk =
            |granules: usize| heap.allocate_bytes(&vec![5; (granules - 1) * GRANULE]).unwrap();
        let free = |block| {
            heap.deallocate(block).unwrap();
            heap.flush();
        };
        let pool = Arc::new(Pool::<[u8; 224]>::new(&heap).unwrap());
        let [hole, block, gap, rest] = [46, 17, 17, 47].map(chunk);
        chunk(heap.capacity() / GRANULE - 127);
        free(rest);
        let old = pool.insert([7; 224]).unwrap();
        free(gap);
        free(hole);
        let place = |handle| pool.with(handle, |object| std::ptr::from_ref(object).addr());
        let planned = place(old);
        let other = thread::spawn({
            let (heap, pool) = (heap.clone(), Arc::clone(&pool));
            move || {
                assert!(pool.remove(old));
                pool.flush();
                // The first cell of the page.
                let cell = heap.allocate_bytes(&[1; 224]).ok();
                (cell, pool.insert([2; 224]).ok())
            }
        });
        let report = heap.defragment();
        let (cell, new) = other.join().unwrap();
        heap.verify().unwrap();
        let came_round = new.filter(|new| new.index() == old.index());
        let came_round = came_round.is_some_and(|new| place(new) == planned);
        stale.reached_if(came_round && report.cancelled > 0);
        before.reached_if(!came_round);
        after.reached_if(came_round && report.cancelled == 0);
        assert!(new.is_none_or(|new| pool.with(new, |object| *object == [2; 224]) == Some(true)));
        assert!(cell.is_none_or(|cell| *heap.read(cell).unwrap() == [1; 224]));
        assert!(heap.read(block).unwrap().iter().all(|byte| *byte == 5));
        assert!(pool.get(old).is_none());
    });
}
