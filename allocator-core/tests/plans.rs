//! What a mover has planned, and others change before it is done: the block that is moved is another one by then, or the
//! free memory is somebody else's.
#![cfg(not(any(loom, miri)))]

mod common;

use allocator_core::{Budget, Handle, Heap, Policy};
use common::typed::Typed;
use common::{Rng, aligned, bytes, holds, put};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

/// Blocks that keep a mover busy before it comes to the last one.
const BEFORE: usize = 1500;

fn first_fit(capacity: usize) -> Heap {
    let builder = Heap::builder().capacity(capacity).policy(Policy::FirstFit).stripes(1);
    builder.patience(Duration::from_millis(400)).build().unwrap()
}

fn some(heap: &Heap, count: usize) -> Vec<Handle> {
    (0..count).map(|_| heap.allocate(bytes(1100)).unwrap()).collect()
}

fn give_up(heap: &Heap, handles: impl IntoIterator<Item = Handle>) {
    handles.into_iter().for_each(|handle| heap.deallocate(handle).unwrap());
    heap.flush();
}

/// Runs `change` while the heap is defragmented, somewhat later in each turn.
fn beside_a_defragmentation<R: Send>(
    heap: &Heap,
    turn: usize,
    change: impl FnOnce() -> R + Send,
) -> R {
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        let changed = scope.spawn(|| {
            barrier.wait();
            (0..turn * 37 % 4000).for_each(|_| std::hint::spin_loop());
            change()
        });
        barrier.wait();
        heap.defragment();
        changed.join().unwrap()
    })
}

#[test]
fn a_block_that_was_cut_after_it_was_planned_keeps_its_size() {
    let heap = first_fit(256 * MIB);
    for turn in 0..120 {
        let hole = heap.allocate(bytes(48 * MIB)).unwrap();
        let before = some(&heap, BEFORE);
        let block = heap.allocate(bytes(40 * MIB)).unwrap();
        give_up(&heap, [hole]);
        beside_a_defragmentation(&heap, turn, || heap.resize(block, MIB).unwrap());
        assert_eq!(heap.size(block), Ok(MIB), "turn {turn}");
        let live = heap.stats().live_bytes;
        assert!(live < MIB + 2 * BEFORE * 1100, "turn {turn}: {live} bytes after the cut");
        give_up(&heap, before.into_iter().chain([block]));
    }
    heap.verify().unwrap();
}

#[test]
fn a_block_that_came_in_the_place_of_the_planned_one_keeps_its_alignment() {
    const ALIGN: usize = 4096;
    let heap = first_fit(64 * MIB);
    for turn in 0..500 {
        let first = heap.allocate(bytes(64)).unwrap();
        let mut others = some(&heap, BEFORE);
        let probe = heap.allocate(bytes(16)).unwrap();
        // Up to where a block is aligned by chance.
        let end = heap.read(probe).unwrap().as_ptr().addr() + 48;
        let pad = heap.allocate(bytes(ALIGN - end % ALIGN)).unwrap();
        let block = heap.allocate(bytes(5000)).unwrap();
        assert!(heap.read(block).unwrap().as_ptr().addr().is_multiple_of(ALIGN));
        heap.resize(first, 16).unwrap();
        heap.flush();
        let other = beside_a_defragmentation(&heap, turn, || {
            give_up(&heap, [block]);
            heap.allocate(aligned(5000, ALIGN)).unwrap()
        });
        let at = heap.read(other).unwrap().as_ptr();
        assert!(at.addr().is_multiple_of(ALIGN), "turn {turn}: {at:?}");
        others.extend([first, probe, pad, other]);
        give_up(&heap, others);
    }
    heap.verify().unwrap();
}

#[test]
fn what_guards_kept_from_being_moved_is_not_taken_for_done() {
    let heap = first_fit(MIB);
    let (hole, block) = (heap.allocate(bytes(5000)).unwrap(), heap.allocate(bytes(5000)).unwrap());
    give_up(&heap, [hole]);
    let place = || heap.read(block).unwrap().as_ptr().addr();
    let before = place();
    let budget = Budget::unlimited().moves(1000);
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            let guard = heap.enter();
            barrier.wait();
            barrier.wait();
            drop(guard);
        });
        barrier.wait();
        let report = heap.defragment_with(budget);
        assert!(!report.complete && report.blocked_by_guards == 1, "{report:?}");
        barrier.wait();
    });
    while !heap.defragment_with(budget).complete {}
    assert!(place() < before, "it was passed over");
}

#[test]
fn nobody_is_refused_what_is_free_while_room_is_made_for_another() {
    let heap = first_fit(MIB);
    let hole = heap.allocate(bytes(400 << 10)).unwrap();
    let _wall = heap.allocate(bytes(10 << 10)).unwrap();
    let end = heap.allocate(bytes(500 << 10)).unwrap();
    let _last = heap.allocate(bytes(64)).unwrap();
    give_up(&heap, [hole, end]);
    let barrier = Barrier::new(3);
    thread::scope(|scope| {
        scope.spawn(|| {
            let guard = heap.enter();
            barrier.wait();
            thread::sleep(Duration::from_millis(150));
            drop(guard);
        });
        scope.spawn(|| {
            barrier.wait();
            // Its window is nearly all that is free, and the guard keeps the wall in its place.
            heap.make_room(600 << 10, 1);
        });
        barrier.wait();
        thread::sleep(Duration::from_millis(30));
        heap.allocate(bytes(100 << 10)).unwrap();
    });
    heap.verify().unwrap();
}

#[test]
fn ends_of_slabs_that_were_given_back_are_no_waste() {
    let heap = Heap::builder().capacity(64 * MIB).stripes(1).build().unwrap();
    for size in (8..=1024).step_by(8) {
        let mut many: Vec<_> = (0..6000).map_while(|_| heap.allocate(bytes(size)).ok()).collect();
        // One of each class stays.
        many.pop();
        give_up(&heap, many);
    }
    heap.defragment();
    let (stats, waste) = (heap.stats(), heap.waste());
    let committed = stats.live_bytes as f64 / (1.0 - waste);
    assert!(committed < 1.2 * stats.committed as f64, "{waste} is waste: {stats:?}");
}

/// One defragments, one makes and drops tables, which keeps who asks for a table waiting in the middle of a plan, and one frees
/// blocks and asks for others whose places are now chunks of their own, now cells.
#[test]
fn three_kinds_of_thread_in_a_heap_of_five_pages() {
    const TIME: Duration = Duration::from_millis(1500);
    let builder = Heap::builder().capacity(5 * (64 << 10)).page_size(64 << 10).stripes(1);
    let heap = builder.thread_cache(0).build().unwrap();
    let start = Instant::now();
    let is_over = || start.elapsed() > TIME;
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over() {
                heap.defragment();
            }
        });
        scope.spawn(|| {
            while !is_over() {
                drop(Typed::<u64>::new(&heap));
            }
        });
        scope.spawn(|| {
            let mut rng = Rng::new(7);
            let mut live: Vec<(Handle, u64)> = Vec::new();
            let mut turn = 0;
            while !is_over() {
                turn += 1;
                let size = if rng.below(2) == 0 { 1 << 10 } else { 3000 };
                match put(&heap, bytes(size), turn) {
                    Ok(block) if rng.below(40) > 0 => live.push((block, turn)),
                    Ok(block) => heap.deallocate(block).unwrap(),
                    Err(_) => {
                        // Now some of them, now all in a row.
                        let from = rng.below(live.len());
                        let to = live.len().min(from + 1 + rng.below(120));
                        for (block, seed) in live.drain(from..to) {
                            assert!(holds(&heap.read(block).unwrap(), seed), "block {seed}");
                            heap.deallocate(block).unwrap();
                        }
                        heap.flush();
                    }
                }
            }
            for (block, seed) in live {
                assert!(holds(&heap.read(block).unwrap(), seed), "block {seed}");
            }
        });
    });
    heap.verify().unwrap();
}
