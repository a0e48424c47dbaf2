//! The background defragmenter: it gives memory back, keeps to its share, gets out of the way, and ends.
#![cfg(all(target_os = "linux", not(loom), not(miri)))]

mod common;

use allocator_core::{Defragmenter, DefragmenterState, Handle, Heap, Policy};
use common::live::{assert_all, fragmented, populate, thin_out};
use common::{Rng, StopOnDrop, assert_holds, bytes, put};
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const MS: Duration = Duration::from_millis(1);

/// One that looks every millisecond, at every byte.
fn eager(heap: &Heap) -> Defragmenter {
    heap.defragmenter().interval(MS).ignore_below(0).rest_max(20 * MS).start().unwrap()
}

/// Waits until `is_so`; a loaded machine gets its time.
#[track_caller]
fn wait_until(what: &str, background: &Defragmenter, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: {background:?}");
        thread::sleep(MS);
    }
}

#[test]
fn it_gives_back_what_a_sparse_heap_holds() {
    for policy in Policy::ALL {
        let (heap, live) = fragmented(*policy, 21);
        let before = heap.stats();
        let background = eager(&heap);
        wait_until("enough", &background, || {
            let stats = background.stats();
            stats.passes > 0 && stats.state != DefragmenterState::Active
        });
        let stats = background.stop();
        let after = heap.stats();
        assert_eq!(stats.state, DefragmenterState::Stopped, "{policy}");
        assert!(after.committed < before.committed * 2 / 3, "{policy}: {after:?}");
        assert!(stats.freed_bytes >= (before.committed - after.committed) as u64, "{policy}");
        assert!(stats.passes > 1 && stats.moves > 0 && stats.moved_bytes > stats.moves, "{policy}");
        assert!(
            stats.useful_moves * 2 > stats.moves && stats.useful_moves <= stats.moves,
            "{stats:?}"
        );
        assert!(stats.busy < stats.elapsed && stats.longest_pass <= stats.busy, "{policy}");
        assert_all(&heap, &live);
    }
}

#[test]
fn nothing_runs_unless_it_is_asked_for_or_worth_it() {
    let (heap, live) = fragmented(Policy::SizeClass, 22);
    let waste = heap.waste();
    assert!(waste > 0.2, "{waste}");
    thread::sleep(20 * MS);
    assert_eq!(heap.waste(), waste);
    let idle = heap.defragmenter().interval(MS).ignore_below(1 << 40).start().unwrap();
    wait_until("a look", &idle, || idle.stats().waste == waste);
    thread::sleep(20 * MS);
    let stats = idle.stop();
    assert_eq!((stats.passes, stats.last), (0, None));
    assert_all(&heap, &live);
}

#[test]
fn it_keeps_to_its_share_of_a_core() {
    let (heap, live) = fragmented(Policy::SizeClass, 23);
    let background = heap
        .defragmenter()
        .interval(MS)
        .ignore_below(0)
        .cpu_share(0.05, 0.20)
        .slice(Duration::from_micros(20))
        .start()
        .unwrap();
    wait_until("passes", &background, || background.stats().passes >= 10);
    let stats = background.stop();
    // The pause after the last slice is still to come.
    let paid = stats.busy - stats.longest_pass.min(stats.busy);
    assert!(paid.as_secs_f64() <= 0.20 * stats.elapsed.as_secs_f64(), "{stats:?}");
    assert_all(&heap, &live);
}

#[test]
fn it_runs_beside_readers_writers_and_other_passes() {
    for policy in Policy::ALL {
        let (heap, live) = fragmented(*policy, 24);
        let background = eager(&heap);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let _stop = StopOnDrop(&done);
            for seed in 0..2 {
                let (heap, done, live) = (&heap, &done, &live);
                scope.spawn(move || {
                    let mut rng = Rng::new(seed);
                    let mut mine: Vec<(Handle, usize, u64)> = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        let (handle, size, seed) = live[rng.below(live.len())];
                        assert_holds(heap, handle, size, seed);
                        if mine.len() > 300 {
                            thin_out(heap, &mut rng, &mut mine, 90);
                        }
                        let (size, seed) = (rng.spread(1, 20_000), rng.below(1000) as u64);
                        // Refused only while a thread that has to wait for its turn keeps what was freed.
                        mine.extend(
                            put(heap, bytes(size), seed).map(|handle| (handle, size, seed)),
                        );
                    }
                    mine.iter().for_each(|(handle, size, seed)| {
                        assert_holds(heap, *handle, *size, *seed);
                    });
                });
            }
            wait_until("passes", &background, || {
                heap.defragment_with(allocator_core::Budget::unlimited().moves(10));
                background.stats().passes > 20
            });
        });
        assert!(background.stop().moves > 0, "{policy}");
        assert_all(&heap, &live);
    }
}

#[test]
fn pins_and_guards_make_it_rest_and_it_goes_on_after_them() {
    let (heap, live) = fragmented(Policy::SizeClass, 25);
    let pins: Vec<_> = live.iter().map(|(handle, ..)| heap.read(*handle).unwrap()).collect();
    let background = eager(&heap);
    wait_until("rest", &background, || background.stats().futile_passes > 3);
    // A slice of planning looks at no block, so it has no pin to report.
    wait_until("pins", &background, || {
        background.stats().last.is_some_and(|report| report.blocked_by_pins > 0)
    });
    assert_eq!(background.stats().moves, 0);
    drop(pins);
    wait_until("moves", &background, || background.stats().moves > 0);

    let _ = background.stop();
    let guard = heap.enter();
    let background = eager(&heap);
    wait_until("guard", &background, || {
        background.stats().last.is_some_and(|report| report.blocked_by_guards == 1)
    });
    drop(guard);
    wait_until("complete", &background, || {
        let stats = background.stats();
        stats.state == DefragmenterState::Idle || stats.last.is_some_and(|report| report.complete)
    });
    drop(background);
    assert_all(&heap, &live);
}

#[test]
fn a_heap_that_is_dropped_is_gone_and_the_thread_with_it() {
    let (heap, _) = fragmented(Policy::SizeClass, 26);
    let background = eager(&heap);
    wait_until("passes", &background, || background.stats().passes > 0);
    drop(heap);
    wait_until("end", &background, || background.stats().state == DefragmenterState::HeapGone);
    let stats = background.stop();
    assert_eq!(stats.state, DefragmenterState::HeapGone, "its own end stays what it was");
}

#[test]
fn it_stops_at_once_in_a_pause_and_in_the_middle_of_its_work() {
    let (heap, live) = fragmented(Policy::FirstFit, 27);
    let hour = Duration::from_secs(3600);
    let asleep =
        heap.defragmenter().start_above(1.0).interval(hour).rest_max(hour).start().unwrap();
    thread::sleep(5 * MS);
    let start = Instant::now();
    assert_eq!(asleep.stop().passes, 0);
    assert!(start.elapsed() < Duration::from_secs(30), "it slept on");
    for pause in 0..40 {
        let background = eager(&heap);
        thread::sleep(Duration::from_micros(pause * 50));
        drop(background);
    }
    heap.verify().unwrap();
    // Nothing of the passes that were cut short is in the way of a whole one.
    assert!(heap.defragment().complete);
    assert_all(&heap, &live);
}

#[test]
fn two_of_one_heap_are_safe() {
    let heap = Heap::builder().capacity(8 << 20).build().unwrap();
    let two = [eager(&heap), eager(&heap)];
    let mut rng = Rng::new(28);
    for _ in 0..5 {
        let mut live = populate(&heap, &mut rng, 500, 10_000);
        thin_out(&heap, &mut rng, &mut live, 70);
        assert_all(&heap, &live);
        thin_out(&heap, &mut rng, &mut live, 100);
    }
    drop(two);
    heap.verify().unwrap();
}

#[test]
fn memory_that_cannot_be_given_back_is_left_alone() {
    let heap = Heap::builder().buffer(vec![0; 4 << 20]).build().unwrap();
    let mut rng = Rng::new(29);
    let mut live = populate(&heap, &mut rng, 500, 10_000);
    thin_out(&heap, &mut rng, &mut live, 70);
    heap.flush();
    let (forecast, waste) = (heap.forecast(), heap.waste());
    assert!(forecast.moves > 0 && waste > 0.2, "{forecast}, {waste}");
    assert_eq!(forecast.freed_bytes, 0);
    let background = eager(&heap);
    wait_until("a look", &background, || background.stats().waste == waste);
    thread::sleep(20 * MS);
    let stats = background.stats();
    assert_eq!((stats.state, stats.passes), (DefragmenterState::Idle, 0));
    assert_eq!(heap.defragment().freed_bytes, 0);
    assert_all(&heap, &live);
}

#[test]
fn a_long_interval_needs_no_other_setting() {
    let heap = Heap::builder().capacity(1 << 20).build().unwrap();
    for seconds in [1, 20, 3600] {
        let interval = Duration::from_secs(seconds);
        drop(heap.defragmenter().interval(interval).start().unwrap());
        // What was set is taken as it was set.
        let short = heap.defragmenter().interval(interval).rest_max(MS).start();
        assert!(short.unwrap_err().to_string().starts_with("rest_max"));
    }
}

#[test]
fn settings_out_of_range_are_named() {
    let heap = Heap::builder().capacity(1 << 20).build().unwrap();
    let new = || heap.defragmenter();
    for (builder, setting) in [
        (new().start_above(1.5), "start_above"),
        (new().start_above(f64::NAN), "start_above"),
        (new().stop_below(0.2), "stop_below"),
        (new().full_effort_at(0.05), "full_effort_at"),
        (new().cpu_share(0.0, 0.5), "cpu_share"),
        (new().cpu_share(0.3, 0.2), "cpu_share"),
        (new().slice(Duration::from_secs(2)), "slice"),
        (new().interval(Duration::ZERO), "interval"),
        (new().rest_max(MS), "rest_max"),
    ] {
        let error = builder.start().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with(setting), "{error}");
    }
}
