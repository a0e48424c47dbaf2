//! Blocks that are resized, mostly in place, while a mover carries them about: neither bytes nor neighbours
//! are lost.
#![cfg(not(loom))]

mod common;

use allocator_core::{Handle, Heap, Policy, ResizeError};
use common::live::HEADER;
use common::{Rng, StopOnDrop, address, builders, bytes, fill, holds, sleep_until};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Blocks of each thread.
const BLOCKS: usize = 24;

/// Gives own blocks another size again and again. What was written stays, what grows is zero.
fn resize_own(heap: &Heap, seed: u64, stop: &AtomicBool) {
    let mut rng = Rng::new(seed);
    let make = |size: usize| (heap.allocate(bytes(size)).expect("there is room"), size, 0, 0);
    let mut blocks: Vec<(Handle, usize, usize, u64)> =
        (0..BLOCKS).map(|_| make(rng.spread(50, 4000))).collect();
    while !stop.load(Ordering::Relaxed) {
        let (handle, size, written, seed) = &mut blocks[rng.below(BLOCKS)];
        // Downwards and a little upwards succeeds in place.
        let wanted = match rng.below(3) {
            0 => rng.spread(50, 4000),
            1 => *size - *size / 4,
            _ => *size + 40,
        };
        match heap.resize(*handle, wanted) {
            Ok(()) => (*size, *written) = (wanted, wanted.min(*written)),
            Err(ResizeError::Alloc(_)) => {}
            Err(error) => panic!("{error}: {handle:?} is nobody else's"),
        }
        let mut block = heap.write(*handle).expect("it is nobody else's");
        assert_eq!(block.len(), *size, "{handle:?}");
        let (kept, grown) = block.split_at(*written);
        assert!(holds(kept, *seed), "{handle:?} of {size} bytes lost some");
        assert!(
            grown.iter().all(|byte| *byte == 0),
            "{handle:?} of {size} bytes did not grow zero"
        );
        if rng.below(4) == 0 {
            (*written, *seed) = (*size, rng.next() >> 1);
            fill(&mut block, *seed);
        }
    }
    blocks.iter().for_each(|(handle, ..)| heap.deallocate(*handle).expect("it is live"));
}

#[test]
fn resizing_and_moving_do_not_disturb_each_other() {
    for (name, builder) in builders(1 << 20) {
        let heap = builder.page_size(8 << 10).build().unwrap();
        let (stop, moves) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            scope.spawn(|| resize_own(&heap, 1, &stop));
            scope.spawn(|| resize_own(&heap, 2, &stop));
            scope.spawn(|| {
                let mut rng = Rng::new(3);
                while !stop.load(Ordering::Relaxed) {
                    // A hole at the bottom, so that everything above it is moved.
                    let hole = heap.allocate(bytes(rng.spread(16, 9000))).expect("there is room");
                    moves.fetch_add(heap.defragment().moves, Ordering::Relaxed);
                    heap.deallocate(hole).expect("it is live");
                    moves.fetch_add(heap.defragment().moves, Ordering::Relaxed);
                }
            });
            let _stop = StopOnDrop(&stop);
            sleep_until(Duration::from_millis(250), || moves.load(Ordering::Relaxed) > 0);
        });
        heap.verify().unwrap_or_else(|error| panic!("{name}: {error}"));
        heap.flush();
        assert!(heap.defragment().complete, "{name}");
        assert_eq!(heap.stats().live_bytes, 0, "{name}");
    }
}

#[test]
fn a_block_grows_into_all_of_the_free_run_behind_it() {
    for policy in Policy::ALL {
        let heap = common::heap(*policy, 1 << 20);
        let [block, behind, _wall] = [(); 3].map(|()| heap.allocate(bytes(20_000)).unwrap());
        let place = address(&heap, block);
        assert_eq!(address(&heap, behind), place + 20_000 + HEADER, "{policy}");
        heap.deallocate(behind).unwrap();
        heap.flush();
        heap.resize(block, 2 * 20_000 + HEADER).unwrap();
        assert_eq!(address(&heap, block), place, "{policy}: there was room for it");
        heap.verify().unwrap();
    }
}
