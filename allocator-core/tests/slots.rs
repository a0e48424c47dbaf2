//! Pages of slots without an object go back to the system, and no key comes back to life.
#![cfg(not(loom))]

mod common;

use allocator_core::{AllocErrorKind, Budget, Handle, Heap};
use common::typed::Typed;
use common::{Rng, StopOnDrop, bytes};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// Objects of a test: enough for many pages of slots.
const MANY: u64 = if cfg!(miri) { 40 } else { 20_000 };

/// Whether pages are given back here at all.
const RELEASES: bool = cfg!(any(miri, all(target_os = "linux", target_arch = "x86_64")));

fn heap() -> Heap {
    Heap::builder().capacity(8 << 20).build().unwrap()
}

#[test]
fn pages_of_vacant_slots_are_given_back_and_their_keys_stay_stale() {
    let heap = heap();
    let pool = Typed::new(&heap);
    let mut old: HashSet<Handle<u64>> = HashSet::new();
    for round in 0..5 {
        let new: Vec<_> = (0..MANY).map(|n| pool.insert(n).unwrap()).collect();
        let full = heap.stats().slot_bytes;
        assert!(full as u64 >= MANY * 8, "{full} bytes in round {round}");
        for (handle, n) in new.iter().zip(0..) {
            assert!(!old.contains(handle), "{handle:?} was handed out before");
            assert_eq!(pool.with(*handle, |value| *value), Some(n));
        }
        // The last one stays, and so does its page.
        let kept = new[new.len() - 1];
        new[..new.len() - 1].iter().for_each(|handle| assert!(pool.table.retire(*handle)));
        pool.table.reclaim();
        let report = heap.defragment();
        let left = heap.stats().slot_bytes;
        if RELEASES {
            assert!(left <= 2 * 4096, "{left} bytes are left: {report}");
            assert_eq!(report.freed_slot_bytes as usize, full - left);
        }
        old.extend(&new);
        let stale = |handle: &Handle<u64>| *handle == kept || !pool.table.contains(*handle);
        assert!(old.iter().all(stale), "a key came back to life");
        assert_eq!(pool.with(kept, |value| *value), Some(MANY - 1));
        assert!(pool.table.retire(kept));
        pool.table.reclaim();
        heap.verify().unwrap();
    }
    assert!(pool.table.slots_used() as u64 <= MANY + 512, "released slots are used again");
}

#[test]
fn slots_of_raw_blocks_are_given_back_too() {
    let heap = heap();
    let all: Vec<_> = (0..MANY).map(|_| heap.allocate(bytes(16)).unwrap()).collect();
    let full = heap.stats().slot_bytes;
    all.iter().for_each(|handle| heap.deallocate(*handle).unwrap());
    heap.flush();
    heap.defragment();
    assert!(!RELEASES || heap.stats().slot_bytes < full / 4);
    let again: Vec<_> = (0..MANY).map(|_| heap.allocate_bytes(&[3; 16]).unwrap()).collect();
    let old: HashSet<_> = all.iter().collect();
    assert!(again.iter().all(|handle| !old.contains(handle)));
    assert!(all.iter().all(|handle| heap.read(*handle).is_err()));
    assert!(again.iter().all(|handle| *heap.read(*handle).unwrap() == [3; 16]));
}

#[test]
fn a_pass_with_a_clock_gives_back_some_pages_at_a_time() {
    let heap = heap();
    let pool = Typed::new(&heap);
    let all: Vec<_> = (0..4 * MANY).map(|n| pool.insert(n).unwrap()).collect();
    all.iter().for_each(|handle| assert!(pool.table.retire(*handle)));
    pool.table.reclaim();
    let mut passes = 0;
    loop {
        let report = heap.defragment_with(Budget::unlimited().time(Duration::from_micros(500)));
        assert!(report.freed_slot_bytes <= 64 * 4096);
        passes += 1;
        if report.complete && report.freed_slot_bytes == 0 {
            break;
        }
        assert!(passes < 1000, "it never ends: {report}");
    }
    assert!(!RELEASES || heap.stats().slot_bytes == 0);
}

#[test]
fn low_slots_are_handed_out_first() {
    let heap = Heap::builder().capacity(8 << 20).thread_cache(0).build().unwrap();
    let pool = Typed::new(&heap);
    let mut all: Vec<_> = (0..MANY).map(|n| pool.insert(n).unwrap()).collect();
    let mut rng = Rng::new(41);
    for _ in 0..MANY / 2 {
        assert!(pool.table.retire(all.swap_remove(rng.below(all.len()))));
    }
    pool.table.reclaim();
    for n in 0..MANY / 4 {
        let slot = pool.insert(n).unwrap().index();
        // Half of the slots below are vacant, a quarter is asked for.
        assert!(u64::from(slot) < MANY * 3 / 4, "slot {slot}");
    }
}

#[test]
fn pages_are_given_back_while_others_insert_remove_and_look_up() {
    let heap = heap();
    let pool = Typed::new(&heap);
    let rounds = if cfg!(miri) { 3 } else { 60 };
    let (done, live) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _stop = StopOnDrop(&done);
        let (heap, pool, done, live) = (&heap, &pool, &done, &live);
        let burst = 0..if cfg!(miri) { 8 } else { 3000_u64 };
        let workers: Vec<_> = (0..2_u64)
            .map(|seed| {
                let burst = burst.clone();
                scope.spawn(move || {
                    let mut stale: Vec<Handle<(u64, u64)>> = Vec::new();
                    for round in 0..rounds {
                        let mine: Vec<_> =
                            burst.clone().map(|n| pool.insert((seed, n)).unwrap()).collect();
                        live.fetch_add(mine.len(), Ordering::Relaxed);
                        for (handle, n) in mine.iter().zip(burst.clone()) {
                            assert_eq!(pool.with(*handle, |seen| *seen), Some((seed, n)));
                        }
                        for handle in &stale {
                            assert!(!pool.table.contains(*handle), "{handle:?} in round {round}");
                        }
                        mine.iter().for_each(|handle| assert!(pool.table.retire(*handle)));
                        pool.table.reclaim();
                        stale.extend(mine.iter().step_by(17));
                    }
                })
            })
            .collect();
        let releaser = scope.spawn(move || {
            let mut freed = 0;
            while !done.load(Ordering::Relaxed) {
                freed += heap.defragment().freed_slot_bytes;
                thread::yield_now();
            }
            freed
        });
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        done.store(true, Ordering::Relaxed);
        let freed = releaser.join().unwrap();
        assert!(!RELEASES || cfg!(miri) || freed > 0, "nothing was given back meanwhile");
    });
    assert!(live.into_inner() > 0);
    pool.table.reclaim();
    assert!(pool.table.is_empty());
    heap.verify().unwrap();
}

#[test]
#[cfg(not(miri))]
fn the_background_gives_slots_back_too() {
    let heap = heap();
    let background = heap.defragmenter().interval(Duration::from_millis(1)).ignore_below(0);
    let pool = Typed::new(&heap);
    let all: Vec<_> = (0..8 * MANY).map(|n| pool.insert(n).unwrap()).collect();
    let full = heap.stats().slot_bytes;
    let background = background.start().unwrap();
    all.iter().for_each(|handle| assert!(pool.table.retire(*handle)));
    pool.table.reclaim();
    let start = std::time::Instant::now();
    while RELEASES && heap.stats().slot_bytes > full / 10 {
        assert!(start.elapsed() < Duration::from_secs(60), "{background:?}");
        thread::sleep(Duration::from_millis(1));
    }
    assert!(!RELEASES || background.stop().freed_bytes >= (full * 9 / 10) as u64);
    assert!(all.iter().all(|handle| !pool.table.contains(*handle)));
}

#[test]
fn a_heap_without_room_loses_no_slots() {
    let builder = Heap::builder().capacity(256 << 10).page_size(4 << 10).stripes(1);
    let heap = builder.thread_cache(64 << 10).build().unwrap();
    let pool = Typed::new(&heap);
    let mut objects: Vec<_> = (0..).map_while(|n: u64| pool.insert([n; 8]).ok()).collect();
    for _ in 0..200 {
        let error = pool.insert([0; 8]).unwrap_err();
        assert_eq!(error.kind, AllocErrorKind::OutOfMemory, "{error}");
    }
    let gone = objects.split_off(objects.len() / 2);
    gone.iter().for_each(|handle| assert!(pool.table.retire(*handle)));
    objects.extend(gone.iter().map(|_| pool.insert([1; 8]).unwrap()));
    heap.verify().unwrap();
}
