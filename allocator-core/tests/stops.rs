//! What others do while a mover stands still between two of its steps.
//!
//! The mover's thread is stopped at one of its allocations of memory, another one in each turn, until all of them had their
//! turn; somebody else then frees blocks that may be planned by now, and asks for others, so that the same slot gets a place
//! at the same offset which is of another kind. Where the mover has a lock that the other needs, it is let go after a while.
#![cfg(not(any(loom, miri)))]

mod common;

use allocator_core::{Budget, DefragReport, Handle, Heap, Policy};
use common::typed::Typed;
use common::{bytes, fill, holds};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long the mover stands still at most.
const STOP_MAX: Duration = Duration::from_millis(15);

/// More allocations than a pass over these heaps makes.
const TURNS_MAX: usize = 2000;

const GRANULE: usize = 16;

/// Granules of a page.
const PAGE: usize = 256;

/// Bytes of the blocks that are placed in chunks of their own at first, and in cells or segments later.
const SMALL: usize = 256;

struct Stopping;

thread_local! {
    /// Allocations of this thread until it stops; it does not where there is none.
    static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// What the one who stands still and the other tell each other.
static STATE: AtomicU32 = AtomicU32::new(UNTIL_STOP);
const UNTIL_STOP: u32 = 0;
const STOPPED: u32 = 1;
const DONE: u32 = 2;
const NEVER: u32 = 3;

fn stand_still() {
    let left = LEFT.try_with(Cell::get).ok().flatten();
    let Some(left) = left else { return };
    LEFT.set(left.checked_sub(1));
    if left > 0 {
        return;
    }
    STATE.store(STOPPED, Ordering::SeqCst);
    let start = Instant::now();
    while STATE.load(Ordering::SeqCst) != DONE && start.elapsed() < STOP_MAX {
        thread::yield_now();
    }
}

// SAFETY: as the allocator of the system.
unsafe impl GlobalAlloc for Stopping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        stand_still();
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Stopping = Stopping;

/// Runs `work`, which stops at its allocation number `at`, where `change` is run by another thread; what they give. There may
/// be no such allocation.
fn stopped_at<R, C: Send>(
    at: usize,
    work: impl FnOnce() -> R,
    change: impl FnOnce() -> C + Send,
) -> (R, Option<C>) {
    STATE.store(UNTIL_STOP, Ordering::SeqCst);
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            while STATE.load(Ordering::SeqCst) == UNTIL_STOP {
                thread::yield_now();
            }
            let stopped = STATE.load(Ordering::SeqCst) == STOPPED;
            let changed = stopped.then(change);
            STATE.store(DONE, Ordering::SeqCst);
            changed
        });
        LEFT.set(Some(at));
        let done = work();
        LEFT.set(None);
        let seqcst = Ordering::SeqCst;
        let _ = STATE.compare_exchange(UNTIL_STOP, NEVER, seqcst, seqcst);
        (done, other.join().unwrap())
    })
}

/// One mover at a time is told of its allocations.
fn take_turns() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is in a heap: raw blocks, and the small ones as objects of a table where there is one.
struct Blocks {
    heap: Heap,
    objects: Option<Typed<[u8; SMALL]>>,
    /// Those that are there to the end, with their seeds.
    kept: Mutex<Vec<(Handle, u64)>>,
}

impl Blocks {
    fn new(capacity: usize, policy: Policy, is_typed: bool) -> Self {
        let builder = Heap::builder().capacity(capacity).page_size(PAGE * GRANULE).policy(policy);
        // With one stripe, and below a MiB, first fit has no segments.
        let stripes = if policy == Policy::FirstFit { 2 } else { 1 };
        let builder = builder.stripes(stripes).thread_cache(0).patience(Duration::from_secs(5));
        let heap = builder.build().unwrap();
        let objects = is_typed.then(|| Typed::new(&heap));
        Self { heap, objects, kept: Mutex::default() }
    }

    /// A raw block with a chunk of so many granules.
    fn chunk(&self, granules: usize) -> Handle {
        self.heap.allocate(bytes((granules - 1) * GRANULE)).unwrap()
    }

    fn small(&self, seed: u64) -> Handle {
        let mut object = [0; SMALL];
        fill(&mut object, seed);
        match &self.objects {
            Some(objects) => objects.insert(object).unwrap().cast(),
            None => self.heap.allocate_bytes(&object).unwrap(),
        }
    }

    fn end(&self, block: Handle) {
        self.heap.deallocate(block).unwrap();
    }

    fn end_small(&self, block: Handle) {
        match &self.objects {
            Some(objects) => assert!(objects.table.retire(block)),
            None => self.end(block),
        }
    }

    fn keep_small(&self, seed: u64) -> Handle {
        let block = self.small(seed);
        self.kept.lock().unwrap().push((block, seed));
        block
    }

    /// Where a small block is.
    fn place(&self, block: Handle) -> usize {
        match &self.objects {
            Some(objects) => objects.with(block.cast(), |object| object.as_ptr().addr()).unwrap(),
            None => self.heap.read(block).unwrap().as_ptr().addr(),
        }
    }

    fn check(&self, what: &str) {
        self.heap.verify().unwrap_or_else(|error| panic!("{what}: {error}"));
        for (block, seed) in self.kept.lock().unwrap().iter() {
            let is_whole = match &self.objects {
                Some(objects) => objects.with(block.cast(), |object| holds(object, *seed)),
                None => Some(holds(&self.heap.read(*block).unwrap(), *seed)),
            };
            assert_eq!(is_whole, Some(true), "{what}: block {seed}");
        }
    }
}

/// Plays a scene as often as its mover makes allocations, and stops it at another one each time. `scene` sets up a heap;
/// `work` moves its blocks; `change` runs while the mover stands still, and says whether the block came round as it should:
/// it does not where the mover has already moved something, or has a lock.
fn play<S: Sync>(
    scene: impl Fn() -> (Blocks, S),
    work: impl Fn(&Heap) -> DefragReport,
    change: impl Fn(&Blocks, &S) -> bool + Sync,
) {
    let _turn = take_turns();
    let mut found_out = 0;
    for at in 0..TURNS_MAX {
        let (blocks, planned) = scene();
        let change = || change(&blocks, &planned);
        let (report, came_round) = stopped_at(at, || work(&blocks.heap), change);
        blocks.check(&format!("stop {at}"));
        match came_round {
            // A move of it was planned, and given up.
            Some(true) => found_out += u64::from(report.cancelled > 0),
            Some(false) => {}
            None => {
                assert!(found_out > 0, "not in {at} stops");
                return;
            }
        }
    }
    panic!("the pass makes more than {TURNS_MAX} allocations");
}

/// A small block with a chunk of its own, and what was freed or ends with it.
struct Planned {
    block: Handle,
    /// It lies between the begin of the block's page and the block.
    between: Handle,
    /// These follow the block.
    others: Vec<Handle>,
    place: usize,
}

/// Chunks from the bottom on: one that stays, a hole, a block that can be moved into it, one up to the small ones, the small ones.
/// Sizes in granules; the small blocks begin in the middle of a page, or right behind its header.
fn small_chunks(
    policy: Policy,
    is_typed: bool,
    &[capacity, bottom, hole, first, between, others]: &[usize; 6],
) -> (Blocks, Planned) {
    let blocks = Blocks::new(capacity, policy, is_typed);
    if bottom > 0 {
        blocks.chunk(bottom);
    }
    let [hole_block, _, between_block] = [hole, first, between].map(|len| blocks.chunk(len));
    let at = 1 + bottom + hole + first + between;
    let end = at.next_multiple_of(PAGE);
    let rest = blocks.chunk(end - at);
    blocks.chunk(capacity / GRANULE + 1 - end);
    blocks.end(rest);
    blocks.heap.flush();
    // There is no page left for them.
    let block = blocks.small(1);
    let others = (0..others).map(|_| blocks.small(2)).collect();
    let place = blocks.place(block);
    blocks.end(hole_block);
    blocks.heap.flush();
    (blocks, Planned { block, between: between_block, others, place })
}

/// The page of the small blocks becomes one of the stripe, and the slot of the first gets a place there which is where it was.
fn come_round_in_page(blocks: &Blocks, planned: &Planned) -> bool {
    let Planned { block, between, others, place } = planned;
    blocks.end(*between);
    // The last that is freed is the first to be used again.
    blocks.end_small(*block);
    others.iter().for_each(|other| blocks.end_small(*other));
    blocks.heap.flush();
    for seed in 10..10 + others.len() as u64 {
        blocks.keep_small(seed);
    }
    let again = blocks.keep_small(9);
    again.index() == block.index() && blocks.place(again) == *place
}

/// Two slabs of small blocks, the upper one with more of them; gives those of the lower one.
fn small_cells() -> (Blocks, [Handle; 4]) {
    const CELLS: usize = 15;
    let blocks = Blocks::new(SLABS[0], Policy::SizeClass, true);
    blocks.chunk(SLABS[0] / GRANULE - 2 * PAGE - 1);
    let [upper, lower] = [0, 1].map(|_| (0..CELLS).map(|_| blocks.small(1)).collect::<Vec<_>>());
    upper[8..].iter().chain(&lower[4..]).for_each(|block| blocks.end_small(*block));
    blocks.heap.flush();
    (blocks, lower[..4].try_into().expect("there are more"))
}

/// The lower slab goes, and the slot of its last block gets a chunk at the same place.
fn come_round_in_chunk(blocks: &Blocks, lower: &[Handle; 4]) -> bool {
    let place = blocks.place(lower[3]);
    lower.iter().for_each(|block| blocks.end_small(*block));
    blocks.heap.flush();
    // Nothing is left in the upper one, and no page.
    let fillers: Vec<_> = (0..7).map(|_| blocks.heap.allocate(bytes(SMALL)).unwrap()).collect();
    blocks.chunk(63);
    let again = blocks.keep_small(9);
    // There would be room for it.
    fillers.iter().for_each(|filler| blocks.end(*filler));
    blocks.heap.flush();
    again.index() == lower[3].index() && blocks.place(again) == place
}

/// What [`small_chunks`] is told. A batch is a 32nd of the capacity: so many bytes that it ends behind the small block.
const SLABS: [usize; 6] = [80 << 10, 0, 190, 65, 63, 3];
const SEGMENTS: [usize; 6] = [1 << 20, 256, 265, 100, 1939, 0];

fn defragment(heap: &Heap) -> DefragReport {
    heap.defragment()
}

#[test]
fn a_chunk_that_became_a_cell_is_left_by_a_defragmentation() {
    for is_typed in [false, true] {
        play(|| small_chunks(Policy::SizeClass, is_typed, &SLABS), defragment, come_round_in_page);
    }
}

#[test]
fn a_chunk_that_became_a_cell_is_left_by_who_makes_room() {
    // More than the largest hole has, so that a window is emptied.
    let make_room = |heap: &Heap| heap.make_room(230 * GRANULE, 1).defrag;
    for is_typed in [false, true] {
        play(|| small_chunks(Policy::SizeClass, is_typed, &SLABS), make_room, come_round_in_page);
    }
}

#[test]
fn a_chunk_that_became_one_of_a_segment_is_left() {
    // No more than two blocks: segments are dissolved before others are planned.
    let two_blocks =
        |heap: &Heap| heap.defragment_with(Budget::unlimited().bytes(100 * GRANULE as u64));
    for is_typed in [false, true] {
        let scene = || small_chunks(Policy::FirstFit, is_typed, &SEGMENTS);
        play(scene, two_blocks, come_round_in_page);
    }
}

#[test]
fn a_cell_that_became_a_chunk_is_left() {
    play(small_cells, defragment, come_round_in_chunk);
}
