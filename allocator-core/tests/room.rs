//! Making room for one block: less is moved than everything, nothing is lost, what is held stays.
#![cfg(not(loom))]

mod common;

use allocator_core::{Heap, Policy};
use common::live::{Live, PAGE, assert_all, fill_up, fragmented, populate, thin_out};
use common::{Rng, StopOnDrop, aligned, assert_holds, beside_a_guard, builders, bytes, put};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[test]
fn the_room_is_there_and_less_is_moved_than_everything() {
    for policy in Policy::ALL {
        // The same heap twice.
        let [whole, part] = [fragmented(*policy, 31), fragmented(*policy, 31)];
        let all = whole.0.defragment().moved_bytes;
        let (heap, live) = part;
        let wanted = heap.stats().largest_free + 200_000;
        let room = heap.make_room(wanted, 16);
        assert!(room.fits && room.largest_free >= wanted, "{policy}: {room}");
        assert!(room.defrag.moves > 0, "{policy}: {room}");
        assert!(room.defrag.moved_bytes < all / 2, "{policy}: {all} in all, {room}");
        assert_all(&heap, &live);
        let again = heap.make_room(wanted, 16);
        assert!(again.fits && again.defrag.moves == 0, "{policy}: it is there: {again}");
        put(&heap, aligned(wanted, 16), 0).unwrap();
        assert_all(&heap, &live);
    }
}

#[test]
fn only_what_lies_in_the_window_is_moved() {
    const SIZE: usize = 20_000;
    for policy in Policy::ALL {
        let builder = Heap::builder().capacity(1 << 20).policy(*policy).page_size(PAGE);
        let heap = builder.stripes(1).build().unwrap();
        let live = fill_up(&heap, SIZE);
        let holes = [5, 15, 25];
        holes.iter().for_each(|at| heap.deallocate(live[*at].0).unwrap());
        heap.flush();
        // The block above each hole stays, so the room is made with the one below it.
        let pins = holes.map(|at| heap.read(live[at + 1].0).unwrap());
        let room = heap.make_room(SIZE + SIZE / 2, 1);
        assert!(room.fits, "{policy}: {room}");
        assert_eq!((room.defrag.moves, room.defrag.moved_bytes), (1, SIZE as u64), "{policy}");
        drop(pins);
        heap.verify().unwrap();
    }
}

#[test]
fn ever_larger_blocks_get_room_until_all_that_is_free_is_one_run() {
    for (name, builder) in builders(8 << 20) {
        let heap = builder.page_size(PAGE).build().unwrap();
        let mut rng = Rng::new(32);
        let mut live = populate(&heap, &mut rng, 2500, 20_000);
        thin_out(&heap, &mut rng, &mut live, 50);
        let mut wanted = 1000;
        while wanted < heap.stats().free_bytes * 9 / 10 {
            let room = heap.make_room(wanted, 4096.min(wanted.next_power_of_two()));
            // A page or so for each class may stay partly filled.
            let slack = 40 * PAGE + 8192;
            assert!(
                room.fits || wanted + slack > heap.stats().free_bytes,
                "{name}: {wanted}: {room}"
            );
            wanted = wanted * 3 / 2;
        }
        assert_all(&heap, &live);
    }
}

#[test]
fn slabs_make_room_as_well() {
    let heap = Heap::builder().capacity(4 << 20).page_size(PAGE).stripes(2).build().unwrap();
    let mut rng = Rng::new(33);
    let mut live = fill_up(&heap, 64);
    thin_out(&heap, &mut rng, &mut live, 60);
    let wanted = 20 * PAGE;
    assert!(heap.stats().largest_free < wanted);
    let room = heap.make_room(wanted, 16);
    assert!(room.fits, "{room}");
    assert!(room.defrag.moved_bytes < wanted as u64, "less than half of it was in use: {room}");
    assert_all(&heap, &live);
}

#[test]
fn what_is_held_stays_and_other_windows_are_found() {
    for policy in Policy::ALL {
        let (heap, live) = fragmented(*policy, 34);
        let wanted = heap.stats().largest_free + 50_000;
        let held: Vec<_> = live.iter().step_by(40).map(|(h, ..)| heap.read(*h).unwrap()).collect();
        let places: Vec<_> = held.iter().map(|block| block.as_ptr()).collect();
        let room = heap.make_room(wanted, 1);
        assert!(room.fits, "{policy}: {room}");
        assert!(held.iter().map(|block| block.as_ptr()).eq(places), "{policy}: held blocks moved");
        assert_all(&heap, &live);
        drop(held);

        let all: Vec<_> = live.iter().map(|(h, ..)| heap.read(*h).unwrap()).collect();
        let wanted = heap.stats().largest_free + 50_000;
        let room = heap.make_room(wanted, 1);
        assert!(!room.fits && room.largest_free < wanted, "{policy}: {room}");
        assert_eq!(room.defrag.moves, 0, "{policy}: {room}");
        assert!(room.defrag.blocked_by_pins > 0, "{policy}: {room}");
        drop(all);
        assert!(heap.make_room(wanted, 1).fits, "{policy}");
        assert_all(&heap, &live);
    }
}

#[test]
fn guards_are_reported_and_leave_the_heap_as_it_was() {
    let builder = |policy| {
        let builder = Heap::builder().capacity(4 << 20).policy(policy).page_size(PAGE);
        builder.patience(std::time::Duration::from_millis(20)).build().unwrap()
    };
    for policy in Policy::ALL {
        let heap = builder(*policy);
        let mut rng = Rng::new(35);
        let mut live = populate(&heap, &mut rng, 1500, 20_000);
        thin_out(&heap, &mut rng, &mut live, 60);
        let (wanted, before) = (heap.stats().largest_free + 50_000, heap.stats());
        let room = beside_a_guard(&heap, || heap.make_room(wanted, 1));
        assert!(!room.fits && room.defrag.blocked_by_guards == 1, "{policy}: {room}");
        // Empty slabs went back, with what their headers take.
        assert!(heap.stats().free_bytes >= before.free_bytes, "{policy}: places were kept");
        let guard = heap.enter();
        assert!(heap.make_room(wanted, 1).defrag.own_guard, "{policy}");
        drop(guard);
        assert_all(&heap, &live);
        assert!(heap.make_room(wanted, 1).fits, "{policy}");
        assert_all(&heap, &live);
    }
}

#[test]
fn what_no_heap_holds_never_fits() {
    let heap = Heap::builder().capacity(1 << 20).build().unwrap();
    for (bytes, align) in [(100, 3), (100, 0), (100, 8192), (usize::MAX, 1), (2 << 20, 1)] {
        let room = heap.make_room(bytes, align);
        assert!(!room.fits && room.never_fits, "{bytes} by {align}: {room}");
        assert!(room.largest_free > 900_000 && room.free_bytes >= room.largest_free, "{room}");
        assert_eq!(room.defrag, Default::default());
    }
    assert!(heap.make_room(0, 1).fits && heap.make_room(900_000, 4096).fits);
}

#[test]
fn a_full_heap_places_a_block_by_emptying_a_window() {
    for policy in Policy::ALL {
        let builder = Heap::builder().capacity(4 << 20).policy(*policy).page_size(PAGE);
        let heap = builder.compact_when_full(true).build().unwrap();
        let mut rng = Rng::new(36);
        let mut live: Vec<Live> = Vec::new();
        let (mut placed, mut refused) = (0, 0);
        for seed in 0..if cfg!(miri) { 50 } else { 6000 } {
            let size = rng.spread(1, 60_000);
            match put(&heap, bytes(size), seed) {
                Ok(handle) => live.push((handle, size, seed)),
                Err(error) => {
                    assert!(error.free < size + 40 * PAGE, "{policy}: {error}");
                    refused += 1;
                    thin_out(&heap, &mut rng, &mut live, 10);
                    continue;
                }
            }
            placed += 1;
        }
        assert!(placed > refused, "{policy}: {placed} placed, {refused} refused");
        assert_all(&heap, &live);
    }
}

#[test]
fn room_is_made_while_others_allocate_free_and_read() {
    for policy in Policy::ALL {
        let (heap, live) = fragmented(*policy, 37);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let _stop = StopOnDrop(&done);
            for seed in 0..2 {
                let (heap, done, live) = (&heap, &done, &live);
                scope.spawn(move || {
                    let mut rng = Rng::new(seed);
                    let mut mine: Vec<Live> = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        let (handle, size, seed) = live[rng.below(live.len())];
                        assert_holds(heap, handle, size, seed);
                        if mine.len() > 100 {
                            thin_out(heap, &mut rng, &mut mine, 80);
                        }
                        let (size, seed) = (rng.spread(1, 5_000), rng.below(1000) as u64);
                        mine.extend(
                            put(heap, bytes(size), seed).map(|handle| (handle, size, seed)),
                        );
                    }
                    for (handle, size, seed) in mine {
                        assert_holds(heap, handle, size, seed);
                        heap.deallocate(handle).unwrap();
                    }
                });
            }
            let mut rng = Rng::new(38);
            for _ in 0..60 {
                heap.make_room(rng.spread(10_000, 1 << 20), 1 << rng.below(13));
                heap.verify().unwrap();
            }
        });
        assert_all(&heap, &live);
    }
}
