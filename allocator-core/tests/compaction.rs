//! Compaction without concurrency: the free memory becomes one run, contents stay, borrowed blocks stay
//! where they are and are reported, a full heap makes room.
#![cfg(not(loom))]

mod common;

use allocator_core::{AllocErrorKind, Heap, Policy};
use common::live::{
    Live, PAGE, assert_all, assert_one_run, fill_up, fragmented, populate, thin_out,
};
use common::{Rng, address, aligned, builders, bytes, put};
use std::time::Duration;

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
        heap.allocate(bytes(after.largest_free)).expect("as large as the statistics say");
    }
}

#[test]
fn alignments_survive_moves() {
    for policy in Policy::ALL {
        let (heap, mut live) = fragmented(*policy, 2);
        let mut rng = Rng::new(2);
        let mut strict: Vec<(Live, usize)> = Vec::new();
        for align in (0..60).map(|i| 1 << (i % 13)) {
            let size = rng.spread(1, 9000);
            let handle = put(&heap, aligned(size, align), align as u64).unwrap();
            strict.push(((handle, size, align as u64), align));
        }
        let before: Vec<_> =
            strict.iter().map(|((handle, ..), _)| address(&heap, *handle)).collect();
        for percent in [60, 70] {
            thin_out(&heap, &mut rng, &mut live, percent);
            assert!(heap.defragment().complete, "{policy}");
            assert_all(&heap, &live);
            for ((handle, size, seed), align) in &strict {
                assert_eq!(address(&heap, *handle) % align, 0, "{policy}: {size} by {align}");
                common::assert_holds(&heap, *handle, *size, *seed);
            }
        }
        let moved = strict.iter().zip(before);
        let moved =
            moved.filter(|(((handle, ..), _), old)| address(&heap, *handle) != *old).count();
        assert!(moved > 10, "{policy}: only {moved} of them moved");
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
    let stats = heap.stats();
    let free: usize = stats.stripes.iter().map(|stripe| stripe.free_bytes).sum();
    let pages: usize = stats.stripes.iter().map(|stripe| stripe.pages).sum();
    assert!(free < sizes.len() * PAGE, "{free} bytes are free in slabs");
    assert!(pages * PAGE < stats.live_bytes * 5 / 4 + sizes.len() * PAGE, "{stats:?}");
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

        let report = heap.defragment();
        assert!(report.moves > 0, "{name}: {report}");
        assert!(report.blocked_by_pins <= 2, "{name}: only two blocks are held: {report}");
        assert!(report.pinned_bytes <= (read.1 + written.1) as u64, "{name}: {report}");
        assert_eq!(address(&heap, read.0), reader.as_ptr().addr(), "{name}: it has moved");
        assert!(common::holds(&reader, read.2) && common::holds(&writer, written.2), "{name}");
        let place = writer.as_ptr().addr();
        drop((reader, second, writer));
        assert_eq!(address(&heap, written.0), place, "{name}: it has moved");
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
        let others: Vec<_> = (0..50).map(|i| put(&heap, bytes(5000), i).unwrap()).collect();
        heap.deallocate(hole).unwrap();
        others.iter().step_by(2).for_each(|handle| heap.deallocate(*handle).unwrap());
        heap.flush();

        let place = address(&heap, pinned);
        let borrow = heap.read(pinned).unwrap();
        let report = heap.defragment();
        assert!(report.moves > 0, "{policy}: those above it still move: {report}");
        assert_eq!(address(&heap, pinned), place, "{policy}");
        assert_eq!((report.blocked_by_pins, report.pinned_bytes), (1, 3000), "{policy}: {report}");
        assert!(report.to_string().contains("1 blocks (3000 bytes) are pinned"), "{report}");
        drop(borrow);
        assert!(heap.defragment().moves > 0, "{policy}: now it can go");
        assert_ne!(address(&heap, pinned), place, "{policy}");
    }
}

#[test]
fn a_pinned_block_first_in_its_slab_does_not_spoil_the_slab_above() {
    let builder = Heap::builder().capacity(1 << 16).page_size(1 << 10).stripes(1);
    let heap = builder.build().unwrap();
    let above = heap.allocate(bytes(0)).unwrap();
    let live: Vec<Live> =
        (0..3).map(|seed| (put(&heap, bytes(161), seed).unwrap(), 161, seed)).collect();
    heap.deallocate(above).unwrap();
    for (pinned, ..) in &live {
        let place = address(&heap, *pinned);
        let borrow = heap.read(*pinned).unwrap();
        heap.defragment();
        assert_eq!(borrow.as_ptr().addr(), place);
        drop(borrow);
        assert_eq!(address(&heap, *pinned), place);
        assert_all(&heap, &live);
    }
    assert!(heap.defragment().complete);
    assert_all(&heap, &live);
}

#[test]
fn a_cell_of_a_larger_class_is_better_than_none() {
    let heap = Heap::builder().capacity(1 << 20).page_size(8 << 10).stripes(2).build().unwrap();
    heap.allocate(bytes(200)).unwrap();
    // All else is full: what is free are cells of that one class.
    while heap.stats().largest_free > 208 {
        heap.allocate(bytes(heap.stats().largest_free)).unwrap();
    }
    let mut small = 0;
    while heap.stats().largest_free >= 20 {
        put(&heap, bytes(20), small).unwrap();
        small += 1;
    }
    assert!(small > 10, "{small} blocks fitted");
    assert_eq!(heap.allocate(bytes(20)).unwrap_err().kind, AllocErrorKind::OutOfMemory);
    heap.verify().unwrap();
}

/// Every fourth block of a full heap stays: no hole is longer than three blocks.
fn perforated(policy: Policy, size: usize, compacting: bool) -> (Heap, Vec<Live>) {
    let builder = Heap::builder().capacity(4 << 20).policy(policy).page_size(PAGE);
    let heap = builder.compact_when_full(compacting).build().unwrap();
    let mut live = fill_up(&heap, size);
    let mut turn = 0..;
    for (handle, ..) in live.extract_if(.., |_| turn.next().unwrap_or(0) % 4 > 0) {
        heap.deallocate(handle).unwrap();
    }
    heap.flush();
    (heap, live)
}

#[test]
fn a_heap_in_pieces_says_what_is_free_and_what_fits() {
    for policy in Policy::ALL {
        for size in [600, 9000] {
            let (heap, live) = perforated(*policy, size, false);
            let error = heap.allocate(bytes(2 << 20)).unwrap_err();
            assert_eq!(error.kind, AllocErrorKind::OutOfMemory, "{policy}, {size}");
            assert_eq!((error.requested, error.align), (2 << 20, 1));
            assert!(error.free >= 2 << 20, "{policy}, {size}: {error}");
            assert!(error.largest_free < 4 * (size + 100), "{policy}, {size}: {error}");
            assert_eq!(error.pending, 0, "{policy}, {size}");
            let stats = heap.stats();
            assert_eq!((stats.free_bytes, stats.largest_free), (error.free, error.largest_free));
            assert_all(&heap, &live);
        }
    }
}

#[test]
fn compact_when_full_makes_room_for_a_large_block() {
    for policy in Policy::ALL {
        for size in [600, 9000] {
            let (heap, live) = perforated(*policy, size, true);
            let large = put(&heap, bytes(2 << 20), 7)
                .unwrap_or_else(|error| panic!("{policy}, blocks of {size}: {error}"));
            common::assert_holds(&heap, large, 2 << 20, 7);
            assert_all(&heap, &live);
            let error = heap.allocate(bytes(4 << 20)).unwrap_err();
            assert!(error.free < 4 << 20, "{policy}: nothing could make room for that: {error}");
        }
    }
}

#[test]
fn blocks_behind_one_that_was_borrowed_can_be_moved_later() {
    for policy in Policy::ALL {
        let heap = common::heap(*policy, 1 << 20);
        // Too short for all that is behind it, so they follow each other.
        let hole = heap.allocate(bytes(6000)).unwrap();
        let live: Vec<Live> =
            (0..20).map(|seed| (put(&heap, bytes(5000), seed).unwrap(), 5000, seed)).collect();
        heap.deallocate(hole).unwrap();
        heap.flush();
        let places: Vec<_> = live.iter().map(|(block, ..)| address(&heap, *block)).collect();
        let borrow = heap.read(live[0].0).unwrap();
        assert_eq!(heap.defragment().moves, 0, "{policy}: it is in the way");
        drop(borrow);
        assert_eq!(heap.defragment().moves, 20, "{policy}");
        let lower = live.iter().zip(places).all(|((block, ..), old)| address(&heap, *block) < old);
        assert!(lower, "{policy}");
        assert_all(&heap, &live);
    }
}
