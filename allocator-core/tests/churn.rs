//! Threads come and go: what a heap keeps for each of them is used again.
#![cfg(not(any(loom, miri)))]

mod common;

use allocator_core::{Heap, Policy};
use common::{bytes, put};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::thread;

/// Bytes that this process has allocated and not freed, besides the buffers of heaps.
static LIVE: AtomicIsize = AtomicIsize::new(0);

struct Counting;

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's duties are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads and writes in the heap on `threads` threads, a few at a time.
fn churn(heap: &Heap, threads: usize) {
    let shared = put(heap, bytes(100), 1).unwrap();
    for _ in 0..threads / 4 {
        thread::scope(|scope| {
            for seed in 0..4 {
                scope.spawn(move || {
                    let _guard = heap.enter();
                    let own = put(heap, bytes(200), seed).unwrap();
                    common::assert_holds(heap, own, 200, seed);
                    common::assert_holds(heap, shared, 100, 1);
                    heap.deallocate(own).unwrap();
                });
            }
        });
    }
    heap.deallocate(shared).unwrap();
    heap.flush();
}

// One test for the file: the count is that of the whole process.
#[test]
fn a_thousand_threads_cost_no_more_than_a_few() {
    for policy in Policy::ALL {
        let heap = common::heap(*policy, 1 << 20);
        churn(&heap, 40);
        let before = LIVE.load(Ordering::Relaxed);
        churn(&heap, 1000);
        let grown = LIVE.load(Ordering::Relaxed) - before;
        // A record that stayed behind with each thread would be 128 KB, caches more; threads that end late may need some more
        // at a time than before.
        assert!(grown < 64 << 10, "{policy}: {grown} bytes after a thousand threads");
        let stats = heap.stats();
        assert_eq!((stats.live_blocks, stats.pending_blocks), (0, 0), "{policy}");
        assert!(heap.defragment().complete, "{policy}");
        heap.verify().unwrap();
    }
    // The other way round: one thread, many heaps.
    let one = || {
        put(&common::heap(Policy::default(), 1 << 16), bytes(10), 1).unwrap();
    };
    (0..20).for_each(|_| one());
    let before = LIVE.load(Ordering::Relaxed);
    (0..500).for_each(|_| one());
    let grown = LIVE.load(Ordering::Relaxed) - before;
    assert!(grown < 16 << 10, "{grown} bytes after five hundred heaps");
}
