//! Threads that allocate, read, write, resize and free shared and own blocks while another one
//! defragments, and invariants that are looked at meanwhile.
#![cfg(not(loom))]

mod common;

use allocator_core::{AccessError, Budget, Handle, Heap, Policy, ResizeError};
use common::{Rng, StopOnDrop, builders, bytes, fill, sleep_until, within};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Blocks that all threads work on: the bits of their handles, 0 for none.
const CELLS: usize = 96;

/// How long each kind of heap is worked on at least.
const TIME: Duration = Duration::from_millis(250);

/// A block starts with the bits of its handle and a version; the rest is the pattern of both.
const HEAD: usize = 16;

fn seed_of(bits: u64, version: u64) -> u64 {
    bits.rotate_left(17) ^ version
}

fn write_version(block: &mut [u8], handle: Handle, version: u64) {
    let bits = handle.to_bits();
    block[..8].copy_from_slice(&bits.to_le_bytes());
    block[8..HEAD].copy_from_slice(&version.to_le_bytes());
    fill(&mut block[HEAD..], seed_of(bits, version));
}

/// Asserts that a block is its handle's own and nothing but one version: the start of its pattern, and
/// zeroes from where it grew.
#[track_caller]
fn assert_one_version(block: &[u8], handle: Handle) {
    let word = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().expect("8 bytes"));
    assert_eq!(word(0), handle.to_bits(), "the block of {handle:?} is another's");
    let mut expected = vec![0; block.len() - HEAD];
    fill(&mut expected, seed_of(word(0), word(8)));
    let body = &block[HEAD..];
    if body != expected {
        let same = body.iter().zip(&expected).take_while(|(a, b)| a == b).count();
        assert!(body[same..].iter().all(|byte| *byte == 0), "{handle:?} is torn at byte {same}");
    }
}

/// What the threads share.
struct Arena {
    heap: Heap,
    cells: Vec<AtomicU64>,
    moves: AtomicU64,
    stop: AtomicBool,
}

impl Arena {
    fn new(heap: Heap) -> Self {
        let cells = (0..CELLS).map(|_| AtomicU64::new(0)).collect();
        Self { heap, cells, moves: AtomicU64::new(0), stop: AtomicBool::new(false) }
    }

    fn make(&self, rng: &mut Rng) -> Option<Handle> {
        let size = HEAD + rng.spread(1, 6000);
        let handle = self.heap.allocate(bytes(size)).ok()?;
        write_version(&mut self.heap.write(handle).expect("nobody else knows it"), handle, 0);
        Some(handle)
    }

    /// One random operation on a shared block; others may do theirs on the same one meanwhile.
    fn step(&self, rng: &mut Rng) {
        let cell = &self.cells[rng.below(CELLS)];
        let now = Handle::from_bits(cell.load(Ordering::Acquire));
        match (rng.below(10), now) {
            (0..=1, _) | (_, None) => {
                let new = self.make(rng).map_or(0, Handle::to_bits);
                self.free(cell.swap(new, Ordering::AcqRel));
            }
            (2, _) => self.free(cell.swap(0, Ordering::AcqRel)),
            (3..=6, Some(handle)) => match self.heap.read(handle) {
                Ok(block) => assert_one_version(&block, handle),
                Err(error) => assert_eq!(error, AccessError::Stale),
            },
            (7..=8, Some(handle)) => match self.heap.write(handle) {
                Ok(mut block) => {
                    assert_one_version(&block, handle);
                    write_version(&mut block, handle, rng.next());
                }
                Err(error) => assert_eq!(error, AccessError::Stale),
            },
            (_, Some(handle)) => match self.heap.resize(handle, HEAD + rng.spread(1, 6000)) {
                Ok(()) | Err(ResizeError::Alloc(_)) => {}
                Err(error) => assert_eq!(error, AccessError::Stale.into()),
            },
        }
    }

    /// Who took the bits out of a cell is the only one to free the block.
    fn free(&self, bits: u64) {
        if let Some(handle) = Handle::from_bits(bits) {
            self.heap.deallocate(handle).expect("it was ours alone to free");
        }
    }

    /// Works on shared blocks, and on own ones that nobody else may disturb.
    fn work(&self, seed: u64) {
        let mut rng = Rng::new(seed);
        let mut own: Vec<(Handle, u64)> = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            self.step(&mut rng);
            if own.len() < 20 {
                own.extend(self.make(&mut rng).map(|handle| (handle, 0)));
                continue;
            }
            let index = rng.below(own.len());
            let (handle, version) = &mut own[index];
            let mut block = self.heap.write(*handle).expect("nobody else frees it");
            assert_one_version(&block, *handle);
            assert_eq!(block[8..HEAD], version.to_le_bytes(), "a version of ours is lost");
            *version = rng.next();
            write_version(&mut block, *handle, *version);
            drop(block);
            if rng.below(4) == 0 {
                self.heap.deallocate(own.swap_remove(index).0).expect("nobody else frees it");
            }
        }
        own.into_iter().for_each(|(handle, _)| self.free(handle.to_bits()));
    }

    /// Fills and empties pages, so that they change hands all the time.
    fn turn_pages(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let blocks: Vec<_> =
                (0..300).filter_map(|_| self.heap.allocate(bytes(48)).ok()).collect();
            blocks.into_iter().for_each(|handle| self.free(handle.to_bits()));
        }
    }

    /// Defragments without a pause, in every form.
    fn compact(&self) {
        for turn in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let budget = Budget::unlimited();
            let report = self.heap.defragment_with(match turn % 4 {
                0 => budget,
                1 => budget.moves(10),
                2 => budget.bytes(50_000),
                _ => budget.time(Duration::from_millis(1)),
            });
            assert!(!report.own_guard, "{report}");
            self.moves.fetch_add(report.moves, Ordering::Relaxed);
        }
    }

    /// Everything is still there, and goes.
    fn end(self) {
        self.heap.verify().expect("consistent once all is quiet");
        let live = self.cells.iter().filter(|cell| cell.load(Ordering::Relaxed) != 0).count();
        assert_eq!(self.heap.stats().live_blocks, live);
        for cell in &self.cells {
            if let Some(handle) = Handle::from_bits(cell.load(Ordering::Relaxed)) {
                assert_one_version(&self.heap.read(handle).expect("it is live"), handle);
                self.heap.deallocate(handle).expect("it is live");
            }
        }
        self.heap.flush();
        let report = self.heap.defragment();
        assert!(report.complete, "{report}");
        let stats = self.heap.stats();
        assert_eq!((stats.live_bytes, stats.pending_blocks), (0, 0), "{stats:?}");
        assert!(stats.largest_free >= self.heap.capacity(), "{stats:?}");
        self.heap.verify().expect("consistent when empty");
    }
}

/// Runs `workers` threads and one that defragments, for a while and until something was moved.
fn run(arena: &Arena, workers: u64) {
    thread::scope(|scope| {
        for seed in 0..workers {
            scope.spawn(move || arena.work(seed));
        }
        scope.spawn(|| arena.compact());
        let _stop = StopOnDrop(&arena.stop);
        sleep_until(TIME, || arena.moves.load(Ordering::Relaxed) > 0);
    });
}

#[test]
fn nothing_is_lost_while_blocks_are_moved() {
    for (_, builder) in builders(1 << 20) {
        let heap = builder.page_size(8 << 10).patience(Duration::from_millis(100));
        let arena = Arena::new(heap.build().unwrap());
        run(&arena, 3);
        arena.end();
    }
}

#[test]
fn nothing_is_lost_in_a_heap_that_is_always_full() {
    for policy in Policy::ALL {
        let builder = Heap::builder().capacity(160 << 10).policy(*policy).compact_when_full(true);
        let heap = builder.patience(Duration::from_millis(5)).build().unwrap();
        let arena = Arena::new(heap);
        run(&arena, 2);
        arena.end();
    }
}

#[test]
fn invariants_can_be_looked_at_while_everything_goes_on() {
    for (name, builder) in builders(1 << 20) {
        let arena = Arena::new(builder.page_size(1 << 10).build().unwrap());
        thread::scope(|scope| {
            scope.spawn(|| arena.work(1));
            scope.spawn(|| arena.turn_pages());
            let _stop = StopOnDrop(&arena.stop);
            let end = Instant::now() + Duration::from_millis(200);
            while Instant::now() < end {
                arena.heap.verify().unwrap_or_else(|error| panic!("{name}: {error}"));
                let map = arena.heap.map(50);
                assert!(
                    map.cells.iter().all(|share| (0.0..=1.0).contains(share)),
                    "{name}: {map:?}"
                );
                let stats = arena.heap.stats();
                assert!(stats.largest_free <= stats.free_bytes, "{name}: {stats:?}");
            }
        });
        arena.end();
    }
}

#[test]
fn two_first_readers_share_a_block() {
    let heap = Heap::builder().capacity(1 << 16).build().unwrap();
    let barrier = Arc::new(Barrier::new(2));
    for round in 0..3000 {
        let handle = heap.allocate(bytes(64)).unwrap();
        let (there, also_there) = mpsc::channel();
        let other = thread::spawn({
            let (heap, barrier) = (heap.clone(), Arc::clone(&barrier));
            move || {
                barrier.wait();
                let block = heap.read(handle).unwrap();
                // Where nobody waits any more, the other reader was late.
                let _ = there.send(());
                block.iter().all(|byte| *byte == 0)
            }
        });
        barrier.wait();
        let block = heap.read(handle).unwrap();
        let both = also_there.recv_timeout(Duration::from_secs(2));
        assert!(block.iter().all(|byte| *byte == 0));
        drop(block);
        assert!(other.join().unwrap());
        assert!(both.is_ok(), "round {round}: a reader waited for another reader");
        heap.deallocate(handle).unwrap();
    }
}

#[test]
fn borrows_can_be_let_go_by_another_thread() {
    within(Duration::from_secs(20), || {
        let heap = Heap::builder().capacity(1 << 16).build().unwrap();
        let handle = heap.allocate_bytes(b"here").unwrap();
        thread::scope(|scope| {
            let block = heap.write(handle).unwrap();
            scope.spawn(move || drop(block));
            assert_eq!(*heap.read(handle).unwrap(), *b"here");
        });
    });
}
