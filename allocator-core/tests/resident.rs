//! Compaction gives memory back to the system, seen from outside, and needs none to do so.
#![cfg(all(target_os = "linux", not(loom), not(miri)))]

mod common;

use allocator_core::{Budget, Heap, Policy, Stats};
use common::live::{assert_all, populate, thin_out};
use common::{Rng, StopOnDrop};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

const CAPACITY: usize = 64 << 20;

/// A heap of 64 MiB with a fifth of some 48 MiB still alive.
fn sparse(policy: Policy) -> (Heap, Vec<common::live::Live>, Stats) {
    let heap = common::heap(policy, CAPACITY);
    let mut rng = Rng::new(11);
    let mut live = populate(&heap, &mut rng, 6000, 60_000);
    let full = heap.stats();
    thin_out(&heap, &mut rng, &mut live, 80);
    (heap, live, full)
}

#[test]
fn resident_memory_falls_with_the_live_data() {
    for policy in Policy::ALL {
        let heap = common::heap(*policy, CAPACITY);
        let untouched = heap.stats().resident.expect("Linux tells");
        assert!(untouched < 1 << 20, "{policy}: {untouched} bytes before the first block");

        let (heap, live, full) = sparse(*policy);
        let before = heap.stats();
        let resident = before.resident.expect("Linux tells");
        assert!(resident >= full.live_bytes, "{policy}: {full:?}");
        assert!(resident > 3 * before.live_bytes, "{policy}: the heap is sparse: {before:?}");

        let report = heap.defragment();
        let after = heap.stats();
        let left = after.resident.expect("Linux tells");
        assert!(left < after.live_bytes * 5 / 4 + (1 << 20), "{policy}: {left} stay: {report}");
        assert!(left <= after.committed, "{policy}: {after:?}");
        assert!(after.committed < before.committed, "{policy}");
        let freed = (before.committed - after.committed) as u64;
        assert!(report.freed_bytes >= freed, "{policy}: {freed} are gone: {report}");
        assert!(report.freed_bytes <= before.committed as u64, "{policy}: {report}");
        assert_all(&heap, &live);

        live.iter().for_each(|(handle, ..)| heap.deallocate(*handle).unwrap());
        heap.flush();
        heap.defragment();
        let empty = heap.stats();
        assert!(empty.resident.expect("Linux tells") < 64 << 10, "{policy}: {empty:?}");
    }
}

#[test]
fn a_partly_filled_slab_keeps_what_its_blocks_need() {
    let heap = common::heap(Policy::SizeClass, CAPACITY);
    let mut rng = Rng::new(3);
    let mut put = |count: u64| -> Vec<common::live::Live> {
        let sizes: Vec<usize> = (0..count).map(|_| 1 + rng.below(1024)).collect();
        let put =
            |(size, seed)| common::put(&heap, common::bytes(size), seed).expect("there is room");
        let handles: Vec<_> = sizes.iter().copied().zip(0..).map(put).collect();
        handles.into_iter().zip(sizes).zip(0..).map(|((h, size), seed)| (h, size, seed)).collect()
    };
    let mut live = put(60_000);
    thin_out(&heap, &mut Rng::new(4), &mut live, 97);
    heap.defragment();
    let stats = heap.stats();
    let left = stats.resident.expect("Linux tells");
    // 128 classes, each with one slab of 64 KiB that is not full: a half of it would be 4 MiB.
    assert!(left < stats.live_bytes + 128 * (12 << 10), "{left} stay: {stats:?}");
    assert!(left <= stats.committed, "{stats:?}");
    heap.verify().unwrap();
    assert_all(&heap, &live);

    // The ends are committed again when they are needed.
    let more = put(60_000);
    let stats = heap.stats();
    assert!(stats.resident.expect("Linux tells") <= stats.committed, "{stats:?}");
    heap.verify().unwrap();
    assert_all(&heap, &live);
    assert_all(&heap, &more);
}

/// The most that was committed at any moment while `f` ran, as far as another thread can see.
fn peak_during(heap: &Heap, f: impl FnOnce()) -> usize {
    let (done, peak) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(heap.stats().committed, Ordering::Relaxed);
            }
        });
        let _stop = StopOnDrop(&done);
        f();
    });
    peak.into_inner()
}

#[test]
fn a_pass_commits_nothing_to_free_memory() {
    for policy in Policy::ALL {
        let (heap, live, _) = sparse(*policy);
        let before = heap.stats().committed;
        let peak = peak_during(&heap, || assert!(heap.defragment().complete));
        assert!(peak <= before, "{policy}: {peak} at the peak, {before} before");
        assert_all(&heap, &live);
    }
}

#[test]
fn passes_in_slices_commit_nothing_to_free_memory() {
    for policy in Policy::ALL {
        let (heap, live, _) = sparse(*policy);
        let before = heap.stats().committed;
        loop {
            let mut complete = false;
            let peak = peak_during(&heap, || {
                complete = heap.defragment_with(Budget::unlimited().moves(200)).complete;
            });
            assert!(peak <= before, "{policy}: {peak} at the peak, {before} before");
            if complete {
                break;
            }
        }
        assert_all(&heap, &live);
    }
}
