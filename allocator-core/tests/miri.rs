//! The protocol and small uses of the API, for Miri: real threads on heaps of a few blocks.
//!
//! Miri takes another schedule, other weak values and other places in memory with each seed, and checks every
//! access to the buffer itself, where loom sees one cell for each block. They run as ordinary tests too.

#![cfg(not(loom))]

#[path = "modelling/objects.rs"]
mod objects;

use allocator_core::{Buffer, Handle, Heap, Policy, TakeError};
use objects::{Census, Counted, Objects, behind_a_hole, heap, heap_with_slabs, locate};
use std::alloc::Layout;
use std::cell::RefCell;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// How often each thread does its part: Miri repeats the tests itself, with many seeds.
const ROUNDS: usize = if cfg!(miri) { 3 } else { 300 };

#[test]
fn readers_against_moves() {
    for heap in [heap(), heap_with_slabs()] {
        let objects = Objects::<[u64; 6]>::new(&heap);
        let kept = behind_a_hole(&objects, [1; 6], [7; 6]);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..4 * ROUNDS {
                        assert_eq!(objects.get(kept), Some([7; 6]));
                        thread::yield_now();
                    }
                });
            }
            for round in 0..ROUNDS as u64 {
                // A hole below, so that there is something to move. A section may keep the one before.
                let hole = objects.try_insert([round; 6]);
                heap.defragment();
                if let Some(hole) = hole {
                    assert!(objects.retire(hole));
                }
                objects.table().reclaim();
                heap.defragment();
            }
        });
        assert_eq!(objects.get(kept), Some([7; 6]));
        heap.verify().unwrap();
    }
}

#[test]
fn readers_against_removal_and_reuse() {
    let heap = heap();
    let objects = Objects::<Counted>::new(&heap);
    let census = Census::default();
    for round in 0..ROUNDS as u64 {
        let handle = objects.insert(census.born(round));
        thread::scope(|scope| {
            scope.spawn(|| {
                let guard = objects.table().enter();
                if let Some(object) = locate(&guard, handle) {
                    assert_eq!(object.value, round);
                    thread::yield_now();
                    assert_eq!(object.value, round);
                }
            });
            assert!(objects.retire(handle));
            objects.table().reclaim();
            let next = objects.insert(census.born(round + 1));
            assert!(objects.retire(next));
        });
    }
    objects.table().reclaim();
    assert_eq!((census.living(), heap.stats().live_blocks), (0, 0));
    heap.verify().unwrap();
}

#[test]
fn pins_against_moves_and_removal() {
    let heap = heap();
    let objects = Objects::<Counted>::new(&heap);
    let census = Census::default();
    for round in 0..ROUNDS as u64 {
        let handle = behind_a_hole(&objects, census.born(0), census.born(round));
        let pin = objects.hold(handle).unwrap();
        thread::scope(|scope| {
            let place = std::ptr::from_ref(pin.object()).addr();
            scope.spawn(move || {
                thread::yield_now();
                assert_eq!(pin.object().value, round);
                assert_eq!(std::ptr::from_ref(pin.object()).addr(), place);
            });
            heap.defragment();
            assert!(objects.retire(handle));
            objects.table().reclaim();
        });
        objects.table().reclaim();
        assert_eq!(census.living(), 0);
    }
    assert_eq!(heap.stats().live_blocks, 0);
}

#[test]
fn the_last_of_pin_and_table_drops_the_object() {
    for _ in 0..ROUNDS {
        let heap = heap();
        let objects = Objects::<Counted>::new(&heap);
        let census = Census::default();
        let pin = {
            let handle = objects.insert(census.born(7));
            objects.hold(handle).unwrap()
        };
        thread::scope(|scope| {
            scope.spawn(move || {
                assert_eq!(pin.object().value, 7);
            });
            drop(objects);
        });
        assert_eq!((census.living(), heap.stats().live_blocks), (0, 0));
    }
}

#[test]
fn a_pin_keeps_the_memory_of_a_heap_that_is_gone() {
    let census = Census::default();
    let pin = {
        let heap = heap();
        let objects = Objects::<Counted>::new(&heap);
        let handle = objects.insert(census.born(7));
        objects.hold(handle).unwrap()
    };
    assert_eq!((pin.object().value, census.living()), (7, 1));
    drop(pin);
    assert_eq!(census.living(), 0);
}

#[test]
fn replacements_against_readers_and_moves() {
    let heap = heap();
    let objects = Objects::<[u64; 4]>::new(&heap);
    let handle = behind_a_hole(&objects, [0; 4], [1; 4]);
    thread::scope(|scope| {
        scope.spawn(|| {
            for version in 2..ROUNDS as u64 + 2 {
                while !objects.replace(handle, [version; 4]) {
                    // Old versions that the reader keeps fill the heap.
                    thread::yield_now();
                }
            }
        });
        scope.spawn(|| {
            let mut newest = 0;
            for _ in 0..ROUNDS {
                let version = objects.get(handle).expect("a replacement never leaves a gap");
                assert!(version.iter().all(|part| *part == version[0]), "torn: {version:?}");
                assert!(version[0] >= newest, "{newest} was followed by {}", version[0]);
                newest = version[0];
            }
        });
        for _ in 0..ROUNDS {
            heap.defragment();
        }
    });
    assert_eq!(objects.get(handle), Some([ROUNDS as u64 + 1; 4]));
    objects.table().reclaim();
    assert_eq!(heap.stats().live_blocks, 1);
    heap.verify().unwrap();
}

#[test]
fn values_are_taken_once() {
    let heap = heap();
    let objects = Objects::<Counted>::new(&heap);
    let census = Census::default();
    for round in 0..ROUNDS as u64 {
        let handle = objects.insert(census.born(round));
        let taken = thread::scope(|scope| {
            let take = || {
                match objects.try_take(handle) {
                    Ok(object) => Some(object),
                    // The other one, or its section.
                    Err(TakeError::Busy) => objects.take(handle).ok(),
                    Err(_) => None,
                }
            };
            let others = [scope.spawn(take), scope.spawn(take)];
            others.map(|other| other.join().unwrap())
        });
        let values: Vec<u64> = taken.iter().flatten().map(|object| object.value).collect();
        assert_eq!(values, [round]);
        drop(taken);
        assert_eq!((census.living(), heap.stats().live_blocks), (0, 0));
    }
}

#[test]
fn blocks_are_written_resized_and_moved() {
    let heap = heap();
    let hole = heap.allocate_bytes(&[0; 40]).unwrap();
    let block = heap.allocate_bytes(&[0; 8]).unwrap();
    heap.deallocate(hole).unwrap();
    thread::scope(|scope| {
        for step in [1, 16] {
            let heap = &heap;
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let mut bytes = heap.write(block).unwrap();
                    bytes[0] = bytes[0].wrapping_add(1);
                    drop(bytes);
                    let size = heap.size(block).unwrap();
                    heap.resize(block, size % 64 + step).unwrap();
                    assert!(heap.read(block).unwrap()[1..].iter().all(|byte| *byte == 0));
                }
            });
        }
        for _ in 0..ROUNDS {
            heap.defragment();
        }
    });
    assert_eq!(heap.read(block).unwrap()[0], (2 * ROUNDS) as u8);
    heap.deallocate(block).unwrap();
    heap.flush();
    assert_eq!(heap.stats().live_blocks, 0);
    heap.verify().unwrap();
}

#[test]
fn the_first_readers_of_a_block_share_its_zeroes() {
    let heap = heap();
    for _ in 0..ROUNDS {
        let block = heap.allocate(Layout::new::<[u8; 24]>()).unwrap();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| assert_eq!(*heap.read(block).unwrap(), [0; 24]));
            }
        });
        heap.write(block).unwrap().fill(1);
        heap.deallocate(block).unwrap();
    }
}

#[test]
fn threads_that_end_hand_their_records_on() {
    let heap = heap();
    let objects = Objects::<u64>::new(&heap);
    let handle = behind_a_hole(&objects, 1, 7);
    for _ in 0..ROUNDS {
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| assert_eq!(objects.get(handle), Some(7)));
            }
            heap.defragment();
        });
    }
}

/// Reads when its thread ends, when the thread's own list of records may be gone already.
struct LastWish(Arc<Objects<u64>>, Handle<u64>);

impl Drop for LastWish {
    fn drop(&mut self) {
        assert_eq!(self.0.get(self.1), Some(7));
    }
}

thread_local! {
    static WISH: RefCell<Option<LastWish>> = const { RefCell::new(None) };
}

#[test]
fn destructors_of_thread_locals_may_read() {
    let heap = heap();
    let objects = Arc::new(Objects::<u64>::new(&heap));
    let handle = behind_a_hole(&objects, 1, 7);
    for read_first in [false, true] {
        let reader = thread::spawn({
            let objects = Arc::clone(&objects);
            move || {
                if read_first {
                    assert_eq!(objects.get(handle), Some(7));
                }
                WISH.set(Some(LastWish(objects, handle)));
            }
        });
        heap.defragment();
        reader.join().unwrap();
    }
    // Nobody is inside a section any more.
    assert_eq!(heap.defragment().blocked_by_guards, 0);
}

#[test]
fn a_forgotten_guard_hangs_nobody() {
    let heap = Heap::builder().capacity(1 << 10).patience(Duration::ZERO).build().unwrap();
    let objects = Objects::<u64>::new(&heap);
    let handle = behind_a_hole(&objects, 1, 7);
    thread::scope(|scope| {
        scope.spawn(|| std::mem::forget(heap.enter()));
    });
    let report = heap.defragment();
    assert_eq!((report.moves, report.blocked_by_guards), (0, 1));
    assert_eq!(objects.take(handle).unwrap_err(), TakeError::Busy);
    assert_eq!(objects.get(handle), Some(7));
    assert!(objects.retire(handle));
    assert_eq!((objects.table().reclaim(), heap.stats().pending_blocks), (0, 1));
    let next = objects.insert(8);
    assert_eq!(objects.get(next), Some(8));
}

#[test]
fn guards_of_two_heaps_are_independent() {
    let (one, two) = (heap(), heap());
    let objects = [Objects::<u64>::new(&one), Objects::<u64>::new(&two)];
    let handles = objects.each_ref().map(|objects| behind_a_hole(objects, 1, 7));
    thread::scope(|scope| {
        for first in [0, 1] {
            let (objects, handles) = (&objects, &handles);
            scope.spawn(move || {
                let outer = objects[first].table().enter();
                assert_eq!(locate(&outer, handles[first]), Some(&7));
                assert_eq!(objects[1 - first].get(handles[1 - first]), Some(7));
                assert_eq!(locate(&outer, handles[first]), Some(&7));
            });
        }
        let guard = two.enter();
        one.defragment();
        assert!(two.defragment().own_guard);
        drop(guard);
        two.defragment();
    });
    assert_eq!([0, 1].map(|of| objects[of].get(handles[of])), [Some(7), Some(7)]);
}

#[test]
fn a_buffer_of_the_callers_is_used_and_given_back() {
    static mut BYTES: [u8; 1200] = [0xff; 1200];
    let place = &raw mut BYTES;
    // SAFETY: the only reference to it, and this runs once.
    let bytes: &'static mut [u8] = unsafe { &mut *place };
    let buffers: [Buffer; 3] =
        [vec![0xff; 1301].into(), vec![0xff; 1100].into_boxed_slice().into(), bytes.into()];
    for buffer in buffers {
        let heap = Heap::builder().buffer(buffer).build().unwrap();
        let objects = Objects::<u128>::new(&heap);
        let handle = behind_a_hole(&objects, 1, 7);
        let block = heap.allocate(Layout::from_size_align(100, 64).unwrap()).unwrap();
        assert_eq!(heap.read(block).unwrap().as_ptr().addr() % 64, 0);
        heap.defragment();
        assert_eq!(*heap.read(block).unwrap(), [0; 100]);
        assert_eq!(objects.get(handle), Some(7));
        heap.verify().unwrap();
    }
}

#[test]
fn every_policy_keeps_the_bytes_of_every_block() {
    for policy in Policy::ALL {
        let heap =
            Heap::builder().capacity(7 << 10).page_size(1 << 10).policy(*policy).build().unwrap();
        let mut blocks: Vec<(Handle, u8)> = Vec::new();
        for round in 0..20_u8 {
            let size = usize::from(round) * 37 % 230;
            blocks.push((heap.allocate_bytes(&vec![round; size]).unwrap(), round));
            if round % 3 == 0 {
                let (block, _) = blocks.swap_remove(usize::from(round) * 7 % blocks.len());
                heap.deallocate(block).unwrap();
            }
            if round % 9 == 8 {
                heap.defragment();
            }
        }
        heap.verify().unwrap();
        for (block, round) in blocks {
            let bytes = heap.read(block).unwrap();
            assert_eq!(bytes.len(), usize::from(round) * 37 % 230);
            assert!(bytes.iter().all(|byte| *byte == round));
        }
    }
}

#[test]
fn room_is_made_beside_readers() {
    for policy in Policy::ALL {
        let heap = Heap::builder().capacity(8 << 10).page_size(1 << 10).policy(*policy).stripes(1);
        let heap = heap.patience(Duration::from_secs(10)).build().unwrap();
        let objects = Objects::<[u64; 20]>::new(&heap);
        let mut handles: Vec<_> = (0..).map_while(|n| objects.try_insert([n; 20])).collect();
        let mut kept = Vec::new();
        for (n, handle) in handles.drain(..).enumerate() {
            if n % 3 == 0 {
                kept.push((handle, n as u64));
            } else {
                assert!(objects.retire(handle));
            }
        }
        objects.table().reclaim();
        let pin = objects.hold(kept[0].0).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                for (handle, n) in kept.iter().cycle().take(4 * kept.len()) {
                    assert_eq!(objects.get(*handle), Some([*n; 20]));
                    thread::yield_now();
                }
            });
            for bytes in [500, 1500, 2500] {
                heap.make_room(bytes, 64);
            }
        });
        let room = heap.make_room(2500, 64);
        assert!(room.fits, "{policy}: {room}");
        heap.allocate_bytes(&[1; 2500]).unwrap();
        assert!(kept.iter().all(|(handle, n)| objects.get(*handle) == Some([*n; 20])));
        drop(pin);
        heap.verify().unwrap();
    }
}

#[test]
fn pages_of_slots_are_given_back_beside_readers_and_inserters() {
    let heap = heap();
    let objects = Objects::<u64>::new(&heap);
    let mut old = Vec::new();
    for round in 0..ROUNDS as u64 {
        let handles = [0, 1, 2, 3].map(|n| objects.insert(4 * round + n));
        assert!(handles.iter().all(|handle| !old.contains(handle)), "a key came back to life");
        thread::scope(|scope| {
            scope.spawn(|| {
                for (handle, n) in handles.iter().zip(0..) {
                    let seen = objects.get(*handle);
                    assert!(seen.is_none_or(|seen| seen == 4 * round + n));
                }
                let new = objects.insert(round);
                assert_eq!(objects.get(new), Some(round));
                assert!(objects.retire(new));
            });
            handles.iter().for_each(|handle| assert!(objects.retire(*handle)));
            objects.table().reclaim();
            heap.defragment();
        });
        old.extend(handles);
        assert!(old.iter().all(|handle| objects.get(*handle).is_none()));
    }
    heap.verify().unwrap();
}
