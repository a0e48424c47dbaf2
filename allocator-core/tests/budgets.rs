//! Budgets of a defragmentation are kept, and repeated calls finish what one leaves undone.
#![cfg(not(loom))]

mod common;

use allocator_core::{Budget, Heap, Policy};
use common::live::{Live, PAGE, assert_all, assert_one_run, fill_up, fragmented, thin_out};
use common::{Rng, bytes, put};
use std::time::{Duration, Instant};

#[test]
fn moves_are_limited_and_repeated_calls_finish() {
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
            assert!(moves > limit && calls > moves / limit, "{policy}: {calls} calls");
            assert_eq!(heap.defragment().moves, 0, "{policy}: `complete` meant complete");
            assert_one_run("budget of moves", *policy, &heap.stats());
            assert_all(&heap, &live);
        }
    }
}

#[test]
fn bytes_are_limited_and_repeated_calls_finish() {
    for policy in Policy::ALL {
        let (heap, live) = fragmented(*policy, 6);
        // The last block may exceed the limit.
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
        assert_one_run("budget of bytes", *policy, &heap.stats());
        assert_all(&heap, &live);
    }
}

#[test]
fn time_is_limited_and_repeated_calls_finish() {
    for policy in Policy::ALL {
        let (heap, live) = fragmented(*policy, 7);
        let slice = Duration::from_micros(500);
        let (start, mut calls) = (Instant::now(), 0);
        loop {
            let report = heap.defragment_with(Budget::unlimited().time(slice));
            calls += 1;
            // Loosely: a copy may come on top, and a loaded machine.
            assert!(report.elapsed < slice + Duration::from_millis(500), "{policy}: {report}");
            if report.complete {
                break;
            }
            assert!(report.elapsed >= slice * 7 / 8, "{policy}: it stopped too early: {report}");
            assert!(start.elapsed() < Duration::from_secs(30), "{policy}: it never ends");
        }
        assert!(calls > 1, "{policy}: moving 3 MB takes longer than {slice:?}");
        assert_eq!(heap.defragment().moves, 0, "{policy}: `complete` meant complete");
        assert_all(&heap, &live);
    }
}

#[test]
fn slices_too_short_to_plan_everything_get_on_all_the_same() {
    let heap = Heap::builder().capacity(16 << 20).page_size(1 << 10).stripes(1).build().unwrap();
    let mut live = fill_up(&heap, 200);
    thin_out(&heap, &mut Rng::new(10), &mut live, 75);
    let (start, mut idle) = (Instant::now(), 0);
    loop {
        let report = heap.defragment_with(Budget::unlimited().time(Duration::from_micros(100)));
        if report.complete {
            break;
        }
        idle = if report.moves == 0 { idle + 1 } else { 0 };
        assert!(idle < 1000, "a thousand slices without a move: {report}");
        assert!(start.elapsed() < Duration::from_secs(30), "it never ends: {report}");
    }
    assert_all(&heap, &live);
}

#[test]
fn the_first_limit_that_is_reached_ends_the_pass() {
    for policy in Policy::ALL {
        let (heap, live) = fragmented(*policy, 8);
        let both = Budget::unlimited().moves(5).bytes(1 << 40).time(Duration::from_secs(60));
        assert_eq!(heap.defragment_with(both).moves, 5, "{policy}");
        let report = heap.defragment_with(both.moves(1000).bytes(1));
        assert_eq!(report.moves, 1, "{policy}: any block is a byte at least");
        assert_all(&heap, &live);
    }
}

#[test]
fn an_empty_budget_moves_nothing_and_is_not_complete() {
    let none = Budget::unlimited();
    for policy in Policy::ALL {
        let (heap, live) = fragmented(*policy, 9);
        for budget in [none.moves(0), none.bytes(0), none.time(Duration::ZERO)] {
            let report = heap.defragment_with(budget);
            assert_eq!((report.moves, report.moved_bytes), (0, 0), "{policy}: {budget:?}");
            assert!(!report.complete, "{policy}: {budget:?} left everything to do");
        }
        assert_all(&heap, &live);
    }
}

#[test]
fn slabs_are_raised_in_slices_too() {
    for limit in [1, 3, 50] {
        let heap = Heap::builder().capacity(1 << 20).page_size(PAGE).stripes(1).build().unwrap();
        // Two slabs and a half lie below pages that become free.
        let upper: Vec<_> = (0..700).map(|_| heap.allocate(bytes(64)).unwrap()).collect();
        let live: Vec<Live> =
            (0..330).map(|seed| (put(&heap, bytes(100), seed).unwrap(), 100, seed)).collect();
        upper.into_iter().for_each(|handle| heap.deallocate(handle).unwrap());
        heap.flush();
        let mut moves = 0;
        loop {
            let report = heap.defragment_with(Budget::unlimited().moves(limit));
            moves += report.moves;
            assert!(moves < 20 * live.len() as u64, "limit {limit}: blocks go back and forth");
            if report.complete {
                break;
            }
        }
        assert!(moves >= live.len() as u64, "limit {limit}: they had to move: {moves}");
        assert_one_run("raised", Policy::SizeClass, &heap.stats());
        assert_all(&heap, &live);
    }
}
