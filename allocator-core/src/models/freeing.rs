//! A block is freed, or grows, while its page changes hands.

use super::modelling::{UNBOUNDED, explore};
use crate::heap::Heap;
use crate::pages::Label;
use crate::policy::Policy;
use core::alloc::Layout;
use loom::thread;

/// The page's segment ends between the look at its label and the lock that this names: the block is one of the centre by then,
/// when `change` has its turn.
fn against_drain(change: fn(&Heap, u32)) {
    explore(UNBOUNDED, ["in the segment", "in the centre"], move |[segment, centre]| {
        let builder = Heap::builder().policy(Policy::FirstFit).stripes(2);
        let heap = builder.capacity(4 << 10).page_size(1 << 10).build().unwrap();
        let store = &heap.inner().store;
        let free = heap.stats().free_bytes;
        let request = heap.inner().request(Layout::new::<[u64; 8]>()).unwrap();
        // Holes of the centre come first.
        let mut blocks = Vec::new();
        let is_in_segment = |block: &u32| store.shared.pages.label(*block) != Label::Central;
        while !blocks.last().is_some_and(is_in_segment) {
            let owner = heap.inner().raw.owner(blocks.len() as u32);
            blocks.push(store.allocate(&request, owner).expect("a whole page is left"));
        }
        let block = blocks.pop().expect("one is in a segment");
        let drainer = thread::spawn({
            let heap = heap.clone();
            move || heap.inner().store.drain()
        });
        let was_segment = is_in_segment(&block);
        change(&heap, block);
        segment.reached_if(was_segment);
        centre.reached_if(!was_segment);
        drainer.join().unwrap();
        store.free_all(blocks.into_iter());
        store.drain();
        heap.verify().unwrap();
        assert_eq!(heap.stats().free_bytes, free, "a run was forgotten, or is free twice");
    });
}

#[test]
fn free_against_drain() {
    against_drain(|heap, block| heap.inner().store.free(block));
}

#[test]
fn grow_against_drain() {
    against_drain(|heap, block| {
        let request = heap.inner().request(Layout::new::<[u64; 20]>()).unwrap();
        assert!(heap.inner().store.resize_in_place(block, &request), "there is room behind it");
        heap.inner().store.free(block);
    });
}
