//! Passes with a budget while the heap changes between and under them: each goes on with what the one before
//! has left, and believes nothing of it.
#![cfg(not(loom))]

mod common;

use allocator_core::{Budget, Handle, Heap, Policy};
use common::live::{Live, PAGE, assert_all, assert_one_run, fragmented, populate, thin_out};
use common::typed::Typed;
use common::{Rng, bytes, put};
use std::time::{Duration, Instant};

fn slice(moves: u64) -> Budget {
    Budget::unlimited().moves(moves)
}

/// Runs slices until nothing is left; the moves, and those that were of use.
fn finish(heap: &Heap, budget: Budget) -> (u64, u64) {
    let (start, mut moves, mut useful) = (Instant::now(), 0, 0);
    loop {
        let report = heap.defragment_with(budget);
        (moves, useful) = (moves + report.moves, useful + report.useful_moves);
        if report.complete {
            return (moves, useful);
        }
        assert!(start.elapsed() < Duration::from_secs(60), "it never ends: {report}");
    }
}

#[test]
fn the_shortest_time_gets_to_the_end() {
    for policy in Policy::ALL {
        let (heap, live) = fragmented(*policy, 21);
        finish(&heap, Budget::unlimited().time(Duration::from_nanos(1)));
        assert_eq!(heap.defragment().moves, 0, "{policy}: `complete` meant complete");
        assert_one_run("one step at a time", *policy, &heap.stats());
        assert_all(&heap, &live);
    }
}

#[test]
fn a_pass_without_limits_finishes_what_slices_began() {
    for policy in Policy::ALL {
        for slices in [1, 5, 30] {
            let (heap, live) = fragmented(*policy, 22);
            for _ in 0..slices {
                assert!(!heap.defragment_with(slice(10)).complete, "{policy}");
            }
            assert!(heap.defragment().complete, "{policy}");
            assert_one_run("slices, then all", *policy, &heap.stats());
            assert_eq!(finish(&heap, slice(10)).0, 0, "{policy}: nothing was left");
            assert_all(&heap, &live);
        }
    }
}

#[test]
fn everything_may_go_in_the_middle_of_a_round() {
    for policy in Policy::ALL {
        for slices in [1, 7, 40] {
            let (heap, live) = fragmented(*policy, 23);
            for _ in 0..slices {
                heap.defragment_with(slice(9));
            }
            live.iter().for_each(|(handle, ..)| heap.deallocate(*handle).unwrap());
            heap.flush();
            heap.verify().unwrap();
            finish(&heap, slice(9));
            let stats = heap.stats();
            assert_eq!((stats.live_bytes, stats.fragmentation()), (0, 0.0), "{policy}: {stats:?}");
            // And the heap is as good as new.
            let mut rng = Rng::new(slices);
            let live = populate(&heap, &mut rng, 500, 8000);
            finish(&heap, slice(9));
            assert_all(&heap, &live);
        }
    }
}

#[test]
fn blocks_come_and_go_between_the_slices() {
    for policy in Policy::ALL {
        let (heap, mut live) = fragmented(*policy, 24);
        let mut rng = Rng::new(24);
        for turn in 0..300_u64 {
            let budget = match turn % 3 {
                0 => slice(3),
                1 => Budget::unlimited().bytes(20_000),
                _ => Budget::unlimited().time(Duration::from_micros(20)),
            };
            heap.defragment_with(budget);
            for _ in 0..rng.below(8) {
                let at = rng.below(live.len());
                heap.deallocate(live.swap_remove(at).0).unwrap();
            }
            for seed in 0..rng.below(8) as u64 {
                let size = rng.spread(1, 9000);
                if let Ok(handle) = put(&heap, bytes(size), turn * 100 + seed) {
                    live.push((handle, size, turn * 100 + seed));
                }
            }
            if turn % 50 == 0 {
                assert_all(&heap, &live);
            }
        }
        finish(&heap, slice(100));
        assert_all(&heap, &live);
    }
}

#[test]
fn a_table_may_go_in_the_middle_of_a_round() {
    let heap = Heap::builder().capacity(4 << 20).page_size(PAGE).stripes(2).build().unwrap();
    let stays: Typed<[u64; 12]> = Typed::new(&heap);
    let mut kept: Vec<(u64, Handle<[u64; 12]>)> = Vec::new();
    for turn in 0..6 {
        let goes: Typed<[u64; 12]> = Typed::new(&heap);
        let mut gone = Vec::new();
        for number in 0..2000 {
            let number = number + turn * 10_000;
            kept.push((number, stays.insert([number; 12]).unwrap()));
            gone.push(goes.insert([number; 12]).unwrap());
        }
        let mut rng = Rng::new(turn);
        for (_, handle) in kept.extract_if(.., |_| rng.below(4) > 0) {
            assert!(stays.table.retire(handle));
        }
        gone.iter().step_by(3).for_each(|handle| assert!(goes.table.retire(*handle)));
        for _ in 0..turn + 1 {
            heap.defragment_with(slice(50));
        }
        drop(goes);
        heap.verify().unwrap();
        heap.defragment_with(slice(50));
    }
    finish(&heap, slice(50));
    for (number, handle) in &kept {
        assert_eq!(stays.with(*handle, |object| *object), Some([*number; 12]));
    }
    heap.verify().unwrap();
}

#[test]
fn nearly_all_moves_are_of_use_and_foreseen() {
    let sizes: [fn(&mut Rng) -> usize; 3] =
        [|_| 64, |rng| rng.spread(16, 1000), |rng| rng.spread(2000, 9000)];
    for (case, size) in sizes.iter().enumerate() {
        let heap = Heap::builder().capacity(16 << 20).page_size(PAGE).stripes(2).build().unwrap();
        let mut rng = Rng::new(case as u64);
        let mut live: Vec<Live> = Vec::new();
        while heap.stats().free_bytes > 4 << 20 {
            for _ in 0..100 {
                let (size, seed) = (size(&mut rng), live.len() as u64);
                live.push((put(&heap, bytes(size), seed).unwrap(), size, seed));
            }
        }
        thin_out(&heap, &mut rng, &mut live, 70);
        let forecast = heap.forecast();
        let report = heap.defragment();
        assert!(report.complete && report.moves > 500, "case {case}: {report}");
        assert!(report.useful_moves * 10 >= report.moves * 9, "case {case}: {report}");
        assert!(report.useful_moves <= report.moves, "case {case}: {report}");
        let ratio = forecast.moves as f64 / report.moves as f64;
        assert!((0.7..1.3).contains(&ratio), "case {case}: {forecast}, then {report}");
        let ratio = forecast.freed_bytes as f64 / report.freed_bytes.max(1) as f64;
        let is_told = cfg!(all(target_os = "linux", not(miri)));
        assert!(!is_told || (0.7..1.3).contains(&ratio), "case {case}: {forecast}, then {report}");
        assert!(forecast.duration > Duration::ZERO && report.moves_per_second() > 0.0);
        let after = heap.forecast();
        assert!(after.moves <= 100 && after.freed_pages <= 1, "case {case}: {after}");
        assert_all(&heap, &live);
    }
}

#[test]
fn an_open_guard_ends_each_slice_in_time_and_is_reported() {
    let builder = Heap::builder().capacity(8 << 20).page_size(PAGE).stripes(2);
    let heap = builder.patience(Duration::from_millis(30)).build().unwrap();
    let mut rng = Rng::new(25);
    let mut live = populate(&heap, &mut rng, 3000, 10_000);
    thin_out(&heap, &mut rng, &mut live, 50);
    std::thread::scope(|scope| {
        let (entered, is_entered) = std::sync::mpsc::channel();
        let (leave, may_leave) = std::sync::mpsc::channel::<()>();
        let heap = &heap;
        scope.spawn(move || {
            let _guard = heap.enter();
            entered.send(()).unwrap();
            may_leave.recv().unwrap();
        });
        is_entered.recv().unwrap();
        let mut blocked = 0;
        for _ in 0..200 {
            let report = heap.defragment_with(Budget::unlimited().time(Duration::from_micros(300)));
            assert!(!report.complete && report.moves == 0, "{report}");
            blocked += report.blocked_by_guards;
        }
        assert!(blocked > 0, "200 slices get as far as the first batch");
        let report = heap.defragment();
        assert_eq!((report.blocked_by_guards, report.moves, report.complete), (1, 0, false));
        assert!(report.blocked_for >= Duration::from_millis(30), "{report}");
        assert!(report.waited >= report.blocked_for, "{report}");
        assert!(report.to_string().contains("guards of 1 threads stayed open for"), "{report}");
        leave.send(()).unwrap();
    });
    finish(&heap, slice(500));
    assert_one_run("after the guard", Policy::SizeClass, &heap.stats());
    assert_all(&heap, &live);
}

#[test]
fn pages_with_pinned_blocks_are_not_tried_in_every_pass() {
    let heap = Heap::builder().capacity(4 << 20).page_size(PAGE).stripes(1).build().unwrap();
    let mut live: Vec<Live> =
        (0..20_000).map(|seed| (put(&heap, bytes(64), seed).unwrap(), 64, seed)).collect();
    thin_out(&heap, &mut Rng::new(26), &mut live, 90);
    let pinned: Vec<_> = live.iter().step_by(40).map(|it| heap.read(it.0).unwrap()).collect();
    finish(&heap, slice(1000));
    let mut seen = 0;
    for _ in 0..20 {
        let (_, _) = finish(&heap, slice(1000));
        seen += heap.defragment_with(slice(1000)).blocked_by_pins;
    }
    // Each pass that tries all of them would report all of them.
    assert!(seen < 20 * pinned.len() as u64, "{seen} of {} in 20 passes", pinned.len());
    drop(pinned);
    assert!(heap.defragment().complete, "a pass without limits tries everything");
    assert_one_run("after the pins", Policy::SizeClass, &heap.stats());
    assert_all(&heap, &live);
}

#[test]
fn heaps_on_huge_pages_give_back_whole_ones() {
    let heap = Heap::builder().capacity(64 << 20).huge_pages(true).build().unwrap();
    let mut rng = Rng::new(27);
    let mut live = populate(&heap, &mut rng, 6000, 10_000);
    thin_out(&heap, &mut rng, &mut live, 90);
    let before = heap.stats().committed;
    let report = heap.defragment();
    let after = heap.stats().committed;
    let is_told = cfg!(all(target_os = "linux", not(miri)));
    assert!(report.complete && (!is_told || after < before / 2), "{before}, {after}: {report}");
    assert_all(&heap, &live);
}
