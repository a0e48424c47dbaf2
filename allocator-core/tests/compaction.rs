//! Compaction without concurrency: the free memory becomes one run, contents stay, memory goes back to
//! the system, borrowed blocks stay where they are and are reported, budgets are kept.
#![cfg(not(loom))]

mod common;

use allocator_core::{AllocErrorKind, Budget, Handle, Heap, Policy, Stats};
use common::{Rng, address, aligned, assert_holds, builders, bytes, put};
use std::time::{Duration, Instant};

/// A live block: its handle, size and the seed of its pattern.
type Live = (Handle, usize, u64);

/// Page size of the heaps here: small, so that a heap has many of them.
const PAGE: usize = 16 << 10;

/// Header of a chunk: a free run of this length more than a block holds the block.
const HEADER: usize = 16;

/// Puts `count` blocks of 1 to `size_max` bytes into the heap.
fn populate(heap: &Heap, rng: &mut Rng, count: usize, size_max: usize) -> Vec<Live> {
    (0..count as u64)
        .map(|seed| {
            let size = rng.spread(1, size_max);
            let layout = aligned(size, 1 << rng.below(5));
            (put(heap, layout, seed).expect("there is room"), size, seed)
        })
        .collect()
}

/// Frees a random half of the blocks, or another share.
fn thin_out(heap: &Heap, rng: &mut Rng, live: &mut Vec<Live>, percent: usize) {
    for (handle, ..) in live.extract_if(.., |_| rng.below(100) < percent) {
        heap.deallocate(handle).unwrap();
    }
    heap.flush();
}

#[track_caller]
fn assert_all(heap: &Heap, live: &[Live]) {
    heap.verify().unwrap();
    for (handle, size, seed) in live {
        assert_holds(heap, *handle, *size, *seed);
    }
}

/// Asserts the promise of a full defragmentation: one free run, but for the documented slack. With slabs
/// that is the free cells of one slab a class (of 32 classes), and less than a page behind the last page
/// boundary of the buffer, where no slab fits.
#[track_caller]
fn assert_one_run(name: &str, policy: Policy, stats: &Stats) {
    let in_slabs: usize = stats.stripes.iter().map(|stripe| stripe.free_bytes).sum();
    let slabs: usize = stats.stripes.iter().map(|stripe| stripe.pages).sum();
    let outside = stats.free_bytes - in_slabs - stats.largest_free - HEADER;
    match policy {
        Policy::FirstFit => assert_eq!((in_slabs, slabs, outside), (0, 0, 0), "{name}"),
        _ => {
            assert!(outside < PAGE, "{name}: {outside} bytes lie apart: {stats:?}");
            assert!(in_slabs < 32 * PAGE, "{name}: {in_slabs} bytes in partial slabs");
        }
    }
}

#[test]
fn the_free_memory_becomes_one_run_and_nothing_is_lost() {
    for (name, builder) in builders(8 << 20) {
        let heap = builder.page_size(PAGE).build().unwrap();
        let policy = heap.policy();
        let mut rng = Rng::new(1);
        let mut live = populate(&heap, &mut rng, 4000, 20_000);
        thin_out(&heap, &mut rng, &mut live, 50);
        let before = heap.stats();

        let report = heap.defragment();
        let after = heap.stats();
        assert!(report.complete && report.moves > 0, "{name}: {report}");
        assert!(report.moved_bytes > 0 && report.elapsed > Duration::ZERO, "{name}: {report}");
        assert_eq!(report.fragmentation_before, before.fragmentation(), "{name}");
        assert_eq!(report.fragmentation_after, after.fragmentation(), "{name}");
        assert!(after.fragmentation() < before.fragmentation(), "{name}: {report}");
        assert_eq!((report.blocked_by_guards, report.blocked_by_pins), (0, 0), "{name}");
        assert_eq!((report.cancelled, report.own_guard), (0, false), "{name}");
        assert_one_run(&name, policy, &after);
        assert_eq!(after.live_blocks, live.len(), "{name}");
        assert_all(&heap, &live);

        let again = heap.defragment();
        assert!(again.complete && again.moves == 0, "{name}: nothing is left to do: {again}");
        heap.allocate(bytes(after.largest_free)).expect("as large as the report says");
    }
}

#[test]
fn at_most_one_slab_of_a_class_keeps_free_cells() {
    let heap = Heap::builder().capacity(8 << 20).page_size(PAGE).stripes(4).build().unwrap();
    let mut rng = Rng::new(2);
    let sizes = [16, 48, 100, 640];
    let mut live: Vec<Live> = (0..8000)
        .map(|seed| (sizes[seed as usize % 4], seed))
        .map(|(size, seed)| (put(&heap, bytes(size), seed).unwrap(), size, seed))
        .collect();
    thin_out(&heap, &mut rng, &mut live, 80);
    heap.defragment();
    assert_all(&heap, &live);
    // Filling one slab of each class to the brim must not need a new one: all else is full.
    let pages = |stats: &Stats| stats.stripes.iter().map(|stripe| stripe.pages).sum::<usize>();
    let stats = heap.stats();
    let free: usize = stats.stripes.iter().map(|stripe| stripe.free_bytes).sum();
    assert!(free < sizes.len() * PAGE, "{free} bytes are free in slabs");
    assert!(pages(&stats) * PAGE < stats.live_bytes * 5 / 4 + sizes.len() * PAGE, "{stats:?}");
}

#[test]
fn emptied_heaps_are_one_run() {
    for (name, builder) in builders(2 << 20) {
        let heap = builder.page_size(PAGE).build().unwrap();
        let mut rng = Rng::new(3);
        let live = populate(&heap, &mut rng, 1000, 5_000);
        live.iter().for_each(|(handle, ..)| heap.deallocate(*handle).unwrap());
        heap.flush();
        heap.defragment();
        let stats = heap.stats();
        assert_eq!(stats.fragmentation(), 0.0, "{name}: {stats:?}");
        assert!(stats.largest_free >= 2 << 20, "{name}: {stats:?}");
        assert_eq!((stats.live_bytes, stats.pending_blocks), (0, 0), "{name}");
        heap.verify().unwrap();
    }
}

#[test]
fn borrowed_blocks_stay_and_are_reported() {
    for (name, builder) in builders(4 << 20) {
        let heap = builder.page_size(PAGE).build().unwrap();
        let mut rng = Rng::new(4);
        let mut live = populate(&heap, &mut rng, 2000, 10_000);
        thin_out(&heap, &mut rng, &mut live, 60);
        let (read, written) = (live[live.len() / 3], live[live.len() / 2]);
        let reader = heap.read(read.0).unwrap();
        let second = heap.read(read.0).unwrap();
        let writer = heap.write(written.0).unwrap();
        let places = [reader.as_ptr(), writer.as_ptr()];

        let report = heap.defragment();
        assert!(report.moves > 0, "{name}: {report}");
        assert_eq!(places, [reader.as_ptr(), writer.as_ptr()], "{name}");
        assert!(report.blocked_by_pins <= 2, "{name}: only two blocks are held: {report}");
        assert!(report.pinned_bytes <= (read.1 + written.1) as u64, "{name}: {report}");
        drop((reader, second, writer));
        assert_all(&heap, &live);
        assert!(heap.defragment().complete, "{name}");
        assert_one_run(&name, heap.policy(), &heap.stats());
        assert_all(&heap, &live);
    }
}

#[test]
fn a_borrowed_block_in_the_way_is_counted_once() {
    for policy in Policy::ALL {
        let heap = common::heap(*policy, 1 << 20);
        let hole = heap.allocate(bytes(100_000)).unwrap();
        let pinned = put(&heap, bytes(3000), 1).unwrap();
        let others: Vec<_> =
            (0..50).map(|i| put(&heap, bytes(5000), i).unwrap()).collect();
        heap.deallocate(hole).unwrap();
        others.iter().step_by(2).for_each(|handle| heap.deallocate(*handle).unwrap());
        heap.flush();

        let place = address(&heap, pinned);
        let borrow = heap.read(pinned).unwrap();
        let report = heap.defragment();
        assert!(report.moves > 0, "{policy}: those above it still move: {report}");
        assert_eq!(borrow.as_ptr().addr(), place, "{policy}");
        assert_eq!(
            (report.blocked_by_pins, report.pinned_bytes),
            (1, 3000),
            "{policy}: {report}"
        );
        assert!(report.to_string().contains("1 blocks (3000 bytes) are pinned"), "{report}");
        drop(borrow);
        assert!(heap.defragment().moves > 0, "{policy}: now it can go");
        assert_ne!(address(&heap, pinned), place, "{policy}");
    }
}

/// A heap of blocks of two kinds with half of them freed.
fn fragmented(policy: Policy, seed: u64) -> (Heap, Vec<Live>) {
    let heap = Heap::builder().capacity(8 << 20).policy(policy).page_size(PAGE).stripes(2);
    let heap = heap.build().unwrap();
    let mut rng = Rng::new(seed);
    let mut live = populate(&heap, &mut rng, 3000, 20_000);
    thin_out(&heap, &mut rng, &mut live, 50);
    (heap, live)
}

#[test]
fn budgets_of_moves_are_kept_and_repeated_calls_finish() {
    for policy in Policy::ALL {
        for limit in [1, 7, 100] {
            let (heap, live) = fragmented(*policy, 5);
            let (mut calls, mut moves) = (0, 0);
            loop {
                let report = heap.defragment_with(Budget::unlimited().moves(limit));
                assert!(report.moves <= limit, "{policy}: {report}");
                assert!(report.complete || report.moves == limit, "{policy}: {report}");
                (calls, moves) = (calls + 1, moves + report.moves);
                assert!(moves < 100_000, "{policy}: it never ends");
                if report.complete {
                    break;
                }
            }
            assert!(calls > moves / limit.max(1), "{policy}: {calls} calls, {moves} moves");
            assert_eq!(heap.defragment().moves, 0, "{policy}: `complete` meant complete");
            assert_one_run("budget of moves", *policy, &heap.stats());
            assert_all(&heap, &live);
        }
    }
}

#[test]
fn budgets_of_bytes_are_kept_and_repeated_calls_finish() {
    for policy in Policy::ALL {
        let (heap, live) = fragmented(*policy, 6);
        let (limit, largest) = (50_000, 20_000);
        loop {
            let report = heap.defragment_with(Budget::unlimited().bytes(limit));
            assert!(report.moved_bytes < limit + largest, "{policy}: {report}");
            if report.complete {
                break;
            }
            assert!(report.moved_bytes >= limit, "{policy}: {report}");
            heap.verify().unwrap();
        }
        assert_eq!(heap.defragment().moves, 0, "{policy}: `complete` meant complete");
        assert_all(&heap, &live);
    }
}

#[test]
fn budgets_of_time_are_kept_and_repeated_calls_finish() {
    for policy in Policy::ALL {
        let (heap, live) = fragmented(*policy, 7);
        let slice = Duration::from_millis(2);
        let start = Instant::now();
        loop {
            let report = heap.defragment_with(Budget::unlimited().time(slice));
            // One batch of planning and one copy may come on top, and a loaded machine.
            assert!(report.elapsed < slice + Duration::from_millis(500), "{policy}: {report}");
            if report.complete {
                break;
            }
            assert!(report.elapsed >= slice, "{policy}: it stopped before its time: {report}");
            assert!(start.elapsed() < Duration::from_secs(30), "{policy}: it never ends");
        }
        assert_eq!(heap.defragment().moves, 0, "{policy}: `complete` meant complete");
        assert_all(&heap, &live);
    }
}

#[test]
fn an_empty_budget_moves_nothing_and_is_not_complete() {
    let none = Budget::unlimited();
    for policy in Policy::ALL {
        let (heap, live) = fragmented(*policy, 8);
        for budget in [none.moves(0), none.bytes(0), none.time(Duration::ZERO)] {
            let report = heap.defragment_with(budget);
            assert_eq!(report.moves, 0, "{policy}: {budget:?}");
            assert!(!report.complete, "{policy}: {budget:?} left everything to do");
        }
        assert_all(&heap, &live);
    }
}

#[test]
fn compact_when_full_makes_room_for_a_large_block() {
    for policy in Policy::ALL {
        for size in [600, 9000] {
            for compacting in [false, true] {
                let heap = Heap::builder().capacity(4 << 20).policy(*policy).page_size(PAGE);
                let heap = heap.compact_when_full(compacting).build().unwrap();
                let mut live: Vec<Live> = (0..)
                    .map_while(|seed| Some((put(&heap, bytes(size), seed).ok()?, size, seed)))
                    .collect();
                // Every fourth block stays: no hole is longer than three blocks.
                let mut turn = 0..;
                for (handle, ..) in live.extract_if(.., |_| turn.next().unwrap() % 4 > 0) {
                    heap.deallocate(handle).unwrap();
                }
                heap.flush();
                let wanted = 2 << 20;
                let name = format!("{policy}, blocks of {size}");
                match heap.allocate(bytes(wanted)) {
                    Ok(large) => {
                        assert!(compacting, "{name}: without compaction there is no such run");
                        assert_eq!(heap.read(large).unwrap().len(), wanted);
                    }
                    Err(error) => {
                        assert!(!compacting, "{name}: compaction would make room: {error}");
                        assert_eq!(error.kind, AllocErrorKind::OutOfMemory);
                        assert_eq!((error.requested, error.align), (wanted, 1));
                        assert!(error.free >= wanted, "{name}: {error}");
                        assert!(error.largest_free < wanted, "{name}: {error}");
                        assert_eq!(error.pending, 0, "{name}");
                    }
                }
                assert_all(&heap, &live);
            }
        }
    }
}
