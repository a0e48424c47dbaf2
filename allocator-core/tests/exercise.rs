//! The classic exercise of a memory allocator over one fixed buffer: allocate gives a block or a clean
//! failure, deallocate makes it reusable, free neighbours are joined. Its three worked examples, its
//! edge cases and its load (10,000 operations, 8 bytes to 100 KB), each with every policy.
#![cfg(not(loom))]

mod common;

use allocator_core::{AccessError, AllocErrorKind, Handle, Heap, Policy, StaleHandle};
use common::{Rng, address, assert_holds, bytes, heap, put};

/// Frees a block and waits for nobody: there are no readers in these tests.
fn free_now(heap: &Heap, handle: Handle) {
    heap.deallocate(handle).expect("the handle is live");
    assert_eq!(heap.flush(), 1, "nothing keeps the block of {handle:?}");
}

#[test]
fn example_1_a_hole_is_used_again() {
    for policy in Policy::ALL {
        let heap = heap(*policy, 1024);
        let first = put(&heap, bytes(100), 1).unwrap();
        let second = put(&heap, bytes(200), 2).unwrap();
        let third = put(&heap, bytes(300), 3).unwrap();
        let hole = address(&heap, second);
        let before = heap.stats();
        free_now(&heap, second);
        assert!(heap.stats().free_bytes >= before.free_bytes + 200, "{policy}");

        let fourth = put(&heap, bytes(150), 4).unwrap();
        assert_eq!(address(&heap, fourth), hole, "{policy}: the hole has room");
        assert_eq!(heap.stats().largest_free, before.largest_free, "{policy}: the end was spared");
        for (handle, size, seed) in [(first, 100, 1), (third, 300, 3), (fourth, 150, 4)] {
            assert_holds(&heap, handle, size, seed);
        }
        assert_eq!(heap.read(second).unwrap_err(), AccessError::Stale);
        heap.verify().unwrap();
    }
}

#[test]
fn example_2_a_full_heap_refuses_until_something_is_freed() {
    for policy in Policy::ALL {
        let heap = heap(*policy, 512);
        let first = put(&heap, bytes(200), 1).unwrap();
        let second = put(&heap, bytes(200), 2).unwrap();
        let before = heap.stats();

        let error = put(&heap, bytes(200), 3).unwrap_err();
        assert_eq!(error.kind, AllocErrorKind::OutOfMemory, "{policy}");
        assert_eq!((error.requested, error.align), (200, 1));
        assert!(error.largest_free < 200 && error.free < 200, "{policy}: {error}");
        assert!(error.to_string().starts_with("no room for 200 bytes"), "{error}");
        assert_eq!(heap.stats(), before, "{policy}: a refusal changes nothing");

        // No flush: an allocation reclaims before it gives up.
        heap.deallocate(first).unwrap();
        let third = put(&heap, bytes(200), 3).unwrap();
        assert_holds(&heap, second, 200, 2);
        assert_holds(&heap, third, 200, 3);
        heap.verify().unwrap();
    }
}

#[test]
fn example_3_free_neighbours_become_one_hole() {
    for policy in Policy::ALL {
        let heap = heap(*policy, 1024);
        let first = put(&heap, bytes(200), 1).unwrap();
        let second = put(&heap, bytes(200), 2).unwrap();
        let third = put(&heap, bytes(450), 3).unwrap();
        let start = address(&heap, first);
        assert!(heap.allocate(bytes(400)).is_err(), "{policy}: the end is too short");

        free_now(&heap, first);
        assert!(heap.allocate(bytes(400)).is_err(), "{policy}: one hole is too short");
        free_now(&heap, second);
        let joined = put(&heap, bytes(400), 4).unwrap();
        assert_eq!(address(&heap, joined), start, "{policy}: both holes together");
        assert_holds(&heap, third, 450, 3);
        assert_holds(&heap, joined, 400, 4);
        heap.verify().unwrap();
    }
}

#[test]
fn neighbours_join_in_every_order() {
    const ORDERS: [[usize; 3]; 6] =
        [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for policy in Policy::ALL {
        for order in ORDERS {
            let heap = heap(*policy, 2048);
            let blocks = [150, 300, 250].map(|size| heap.allocate(bytes(size)).unwrap());
            let wall = put(&heap, bytes(100), 9).unwrap();
            let start = address(&heap, blocks[0]);
            // The rest of the heap is taken, so only the joined hole can hold what follows.
            let rest = heap.stats().largest_free;
            let rest = heap.allocate(bytes(rest)).unwrap();
            for index in order {
                free_now(&heap, blocks[index]);
                heap.verify().unwrap();
            }
            let joined = heap.allocate(bytes(150 + 300 + 250)).unwrap();
            assert_eq!(address(&heap, joined), start, "{policy}, freed as {order:?}");
            assert_holds(&heap, wall, 100, 9);
            assert!(heap.contains(rest));
        }
    }
}

#[test]
fn edge_a_request_beyond_the_heap_is_refused() {
    for policy in Policy::ALL {
        let heap = heap(*policy, 1024);
        let before = heap.stats();
        for size in [1200, 100_000, 1 << 30] {
            let error = heap.allocate(bytes(size)).unwrap_err();
            assert_eq!(error.kind, AllocErrorKind::OutOfMemory, "{policy}: {size}");
            assert_eq!(error.requested, size);
            assert!(error.largest_free >= 1024, "{policy}: the heap is empty");
        }
        let error = heap.allocate(bytes(isize::MAX as usize)).unwrap_err();
        assert_eq!(error.kind, AllocErrorKind::Unsupported, "{policy}");
        let mut after = heap.stats();
        // A slot was taken and put back: its page may be there from now on.
        after.slot_bytes = before.slot_bytes;
        assert_eq!(after, before, "{policy}: refusals change nothing");
    }
}

#[test]
fn edge_blocks_of_size_0_are_blocks() {
    for policy in Policy::ALL {
        let heap = heap(*policy, 1024);
        let empty = heap.allocate(bytes(0)).unwrap();
        let other = heap.allocate_bytes(&[]).unwrap();
        assert_ne!(empty, other, "{policy}");
        assert_eq!(heap.read(empty).unwrap().len(), 0);
        assert_eq!(heap.write(other).unwrap().len(), 0);
        assert_eq!(heap.stats().live_blocks, 2);
        heap.verify().unwrap();
        heap.deallocate(empty).unwrap();
        heap.deallocate(other).unwrap();
        assert_eq!(heap.deallocate(empty), Err(StaleHandle));
    }
}

#[test]
fn edge_double_frees_and_strangers_change_nothing() {
    for policy in Policy::ALL {
        let (heap, other) = (heap(*policy, 1024), heap(*policy, 1024));
        let kept = put(&heap, bytes(100), 1).unwrap();
        let freed = heap.allocate(bytes(100)).unwrap();
        free_now(&heap, freed);
        let reused = put(&heap, bytes(100), 2).unwrap();
        let foreign = other.allocate(bytes(100)).unwrap();
        let wild = Handle::from_bits(kept.to_bits() ^ 0x10).unwrap();
        let beyond = Handle::from_bits(kept.to_bits() | u64::from(u32::MAX)).unwrap();
        let next = Handle::from_bits(kept.to_bits() + (4 << 32)).unwrap();

        let before = heap.stats();
        for stranger in [freed, foreign, wild, beyond, next] {
            assert_eq!(heap.deallocate(stranger), Err(StaleHandle), "{policy}: {stranger:?}");
            assert_eq!(heap.read(stranger).unwrap_err(), AccessError::Stale);
            assert_eq!(heap.write(stranger).unwrap_err(), AccessError::Stale);
            assert_eq!(heap.resize(stranger, 10).unwrap_err(), AccessError::Stale.into());
            assert_eq!(heap.size(stranger), Err(StaleHandle));
            assert!(!heap.contains(stranger));
        }
        assert_eq!(heap.stats(), before, "{policy}");
        assert_holds(&heap, kept, 100, 1);
        assert_holds(&heap, reused, 100, 2);
        assert!(other.contains(foreign), "{policy}: its own heap still knows it");
        heap.verify().unwrap();
    }
}

#[test]
fn edge_the_whole_heap_is_one_block_again_and_again() {
    for policy in Policy::ALL {
        for capacity in [1 << 10, 3000, 1 << 16, 1 << 20] {
            let heap = heap(*policy, capacity);
            for round in 0..3 {
                let whole = put(&heap, bytes(capacity), round).unwrap();
                assert_holds(&heap, whole, capacity, round);
                let error = heap.allocate(bytes(1)).unwrap_err();
                assert_eq!(error.largest_free, 0, "{policy}, {capacity}: {error}");
                heap.verify().unwrap();
                heap.deallocate(whole).unwrap();
            }
            // Not even many small blocks in between leave a trace.
            let small: Vec<_> = (0..40).map_while(|_| heap.allocate(bytes(20)).ok()).collect();
            small.into_iter().for_each(|handle| heap.deallocate(handle).unwrap());
            heap.allocate(bytes(capacity)).unwrap_or_else(|error| {
                panic!("{policy}, {capacity}: {error}");
            });
        }
    }
}

#[test]
fn ten_thousand_operations_of_8_bytes_to_100_kilobytes() {
    for policy in Policy::ALL {
        let heap = heap(*policy, 1 << 20);
        let mut rng = Rng::new(0x5eed);
        let mut live: Vec<(Handle, usize, u64)> = Vec::new();
        let (mut done, mut refused) = (0, 0);
        for seed in 0..10_000 {
            if live.is_empty() || rng.below(100) < 55 {
                let size = rng.spread(8, 100_000);
                match put(&heap, bytes(size), seed) {
                    Ok(handle) => live.push((handle, size, seed)),
                    Err(error) => {
                        refused += 1;
                        assert_eq!(error.kind, AllocErrorKind::OutOfMemory, "{policy}: {error}");
                    }
                }
            } else {
                let (handle, size, seed) = live.swap_remove(rng.below(live.len()));
                assert_holds(&heap, handle, size, seed);
                heap.deallocate(handle).unwrap();
                assert_eq!(heap.deallocate(handle), Err(StaleHandle), "{policy}");
                done += 1;
            }
            if seed % 256 == 0 {
                heap.verify().unwrap_or_else(|error| panic!("{policy}, step {seed}: {error}"));
            }
        }
        assert!(done > 1000 && refused > 0, "{policy}: {done} freed, {refused} refused");
        assert_eq!(heap.stats().live_blocks, live.len(), "{policy}");
        for (handle, size, seed) in live {
            assert_holds(&heap, handle, size, seed);
            heap.deallocate(handle).unwrap();
        }
        heap.flush();
        heap.allocate(bytes(1 << 20)).expect("all free memory is one run again");
        heap.verify().unwrap();
    }
}
