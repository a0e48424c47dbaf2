//! Readers with guards and holds, writers that replace, take and retire, and a mover, on the objects of a
//! table: nobody sees an object half moved, lost, or dropped too early, in either fence mode.
#![cfg(not(loom))]

mod common;

use allocator_core::{Budget, Handle, Heap, TakeError};
use common::typed::{Tally, Typed};
use common::{Rng, StopOnDrop, builders, bytes, sleep_until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

const CELLS: usize = 64;
const TIME: Duration = Duration::from_millis(250);

/// An object that shows when it is torn, another's, or overwritten.
struct Body {
    owner: u64,
    words: [u64; 40],
    tally: Tally,
}

impl Body {
    fn new(handle: Handle<Self>, version: u64, drops: &Arc<AtomicUsize>) -> Self {
        let owner = handle.to_bits();
        Self { owner, words: [version; 40], tally: Tally::new(version, drops) }
    }

    #[track_caller]
    fn check(&self, handle: Handle<Self>) -> u64 {
        assert_eq!(self.owner, handle.to_bits(), "the object of {handle:?} is another's");
        let version = self.tally.number;
        assert!(self.words.iter().all(|word| *word == version), "{handle:?} is torn");
        version
    }
}

/// What the threads share.
struct Arena {
    pool: Typed<Body>,
    cells: Vec<AtomicU64>,
    made: AtomicUsize,
    taken: AtomicUsize,
    moves: AtomicU64,
    drops: Arc<AtomicUsize>,
    stop: AtomicBool,
}

impl Arena {
    fn new(heap: &Heap) -> Self {
        let cells = (0..CELLS).map(|_| AtomicU64::new(0)).collect();
        Self {
            pool: Typed::new(heap),
            cells,
            made: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            moves: AtomicU64::new(0),
            drops: Arc::default(),
            stop: AtomicBool::new(false),
        }
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn make(&self, handle: Handle<Body>, version: u64) -> Body {
        self.made.fetch_add(1, Ordering::Relaxed);
        Body::new(handle, version, &self.drops)
    }

    fn pick(&self, rng: &mut Rng) -> Option<Handle<Body>> {
        Handle::from_bits(self.cells[rng.below(CELLS)].load(Ordering::Acquire))
    }

    /// What a guard or a hold has shown stays as it was.
    fn read(&self, seed: u64) {
        let mut rng = Rng::new(seed);
        while self.goes_on() {
            let guard = self.pool.table.enter();
            let mut seen: Vec<(Handle<Body>, &Body, u64)> = Vec::new();
            for _ in 0..8 {
                let Some(handle) = self.pick(&mut rng) else { continue };
                let Some(body) = Typed::get(&guard, handle) else { continue };
                seen.push((handle, body, body.check(handle)));
            }
            for (handle, body, version) in seen {
                assert_eq!(body.check(handle), version, "{handle:?} changed under a guard");
            }
            drop(guard);
            let Some(handle) = self.pick(&mut rng) else { continue };
            let Ok(held) = self.pool.hold(handle) else { continue };
            let (place, version) = (held.hold.as_ptr(), held.get().check(handle));
            thread::yield_now();
            assert_eq!((held.hold.as_ptr(), held.get().check(handle)), (place, version));
        }
    }

    /// Replaces, updates, takes and retires objects.
    fn write(&self, seed: u64) {
        let mut rng = Rng::new(seed);
        while self.goes_on() {
            let cell = &self.cells[rng.below(CELLS)];
            match rng.below(8) {
                0..=2 => {
                    let version = rng.next();
                    let new = self.pool.insert_with(|handle| self.make(handle, version));
                    let new = new.map_or(0, Handle::to_bits);
                    self.end(cell.swap(new, Ordering::AcqRel), &mut rng);
                }
                3 => self.end(cell.swap(0, Ordering::AcqRel), &mut rng),
                _ => {
                    let Some(handle) = self.pick(&mut rng) else { continue };
                    let version = rng.next();
                    self.pool.update(handle, |old| {
                        old.check(handle);
                        self.make(handle, version)
                    });
                }
            }
        }
    }

    /// Ends the object of bits that came out of a cell: nobody else does.
    fn end(&self, bits: u64, rng: &mut Rng) {
        let Some(handle) = Handle::from_bits(bits) else { return };
        let way = rng.below(8);
        if way < 2 {
            let wait = way == 0;
            match if wait { self.pool.take(handle) } else { self.pool.try_take(handle) } {
                Ok(body) => {
                    body.check(handle);
                    self.taken.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Err(error) => {
                    assert!(matches!(error, TakeError::Busy | TakeError::Pinned), "{error}");
                }
            }
        }
        assert!(self.pool.table.retire(handle), "only we could retire it");
    }

    /// Makes holes and closes them.
    fn compact(&self) {
        let heap = self.pool.table.heap();
        let (mut rng, mut holes) = (Rng::new(99), Vec::new());
        while self.goes_on() {
            for _ in 0..20 {
                holes.extend(heap.allocate(bytes(rng.spread(1, 3000))).ok());
            }
            while holes.len() > 60 {
                heap.deallocate(holes.swap_remove(rng.below(holes.len()))).expect("it is ours");
            }
            let budget = Budget::unlimited();
            let budget = if rng.below(2) == 0 { budget.moves(30) } else { budget };
            self.moves.fetch_add(heap.defragment_with(budget).moves, Ordering::Relaxed);
        }
    }

    /// Every object that was made was dropped exactly once.
    fn end_all(self) {
        let heap = self.pool.table.heap().clone();
        heap.verify().expect("consistent once all is quiet");
        for cell in &self.cells {
            if let Some(handle) = Handle::from_bits(cell.load(Ordering::Relaxed)) {
                self.pool.with(handle, |body| body.check(handle)).expect("it is live");
            }
        }
        let (made, drops) = (self.made.load(Ordering::Relaxed), Arc::clone(&self.drops));
        drop(self);
        assert_eq!(drops.load(Ordering::Relaxed), made, "dropped too often or not at all");
        assert_eq!(heap.stats().pools, 0);
        heap.verify().expect("consistent without the table");
    }
}

#[test]
fn readers_see_whole_objects_while_they_are_moved_and_replaced() {
    for (_, builder) in builders(1 << 20) {
        let patience = Duration::from_millis(100);
        let heap = builder.page_size(8 << 10).patience(patience).build().unwrap();
        let arena = Arena::new(&heap);
        thread::scope(|scope| {
            scope.spawn(|| arena.read(1));
            scope.spawn(|| arena.read(2));
            scope.spawn(|| arena.write(3));
            scope.spawn(|| arena.compact());
            let _stop = StopOnDrop(&arena.stop);
            sleep_until(TIME, || {
                let taken = arena.taken.load(Ordering::Relaxed);
                taken > 0 && arena.moves.load(Ordering::Relaxed) > 0
            });
        });
        arena.end_all();
    }
}

#[test]
fn no_change_inside_an_object_is_lost_by_moving_it() {
    const COUNTERS: usize = 200;
    for (name, builder) in builders(1 << 20) {
        let heap = builder.page_size(4 << 10).build().unwrap();
        let pool: Typed<(AtomicU64, [u64; 12])> = Typed::new(&heap);
        // Fails where a section that is long in ending keeps all that was retired.
        let new = |_| pool.insert((AtomicU64::new(0), [0; 12])).ok();
        let handles: Vec<_> = (0..COUNTERS).filter_map(new).collect();
        let (stop, moves) = (AtomicBool::new(false), AtomicU64::new(0));
        let count = |seed: u64| {
            let (mut rng, mut added) = (Rng::new(seed), 0);
            while !stop.load(Ordering::Relaxed) {
                let guard = pool.table.enter();
                let pick = |_| Typed::get(&guard, handles[rng.below(COUNTERS)]).unwrap();
                let found: [_; 8] = std::array::from_fn(pick);
                // Time for a mover to do what it must not do before the section ends.
                thread::yield_now();
                for counter in found {
                    counter.0.fetch_add(1, Ordering::Relaxed);
                }
                added += found.len() as u64;
            }
            added
        };
        let added = thread::scope(|scope| {
            let counting = [scope.spawn(|| count(1)), scope.spawn(|| count(2))];
            scope.spawn(|| {
                let mut rng = Rng::new(3);
                while !stop.load(Ordering::Relaxed) {
                    // Objects that come and go leave holes.
                    let short: Vec<_> = (0..rng.below(200)).filter_map(new).collect();
                    short.iter().for_each(|handle| assert!(pool.table.retire(*handle)));
                    pool.table.reclaim();
                    let hole = heap.allocate(bytes(rng.spread(1, 9000)));
                    moves.fetch_add(heap.defragment().moves, Ordering::Relaxed);
                    hole.into_iter().for_each(|hole| heap.deallocate(hole).unwrap());
                    moves.fetch_add(heap.defragment().moves, Ordering::Relaxed);
                }
            });
            let stopping = StopOnDrop(&stop);
            sleep_until(TIME, || moves.load(Ordering::Relaxed) > 0);
            drop(stopping);
            counting.map(|thread| thread.join().unwrap()).iter().sum::<u64>()
        });
        let total = |handle| pool.with(handle, |counter| counter.0.load(Ordering::Relaxed));
        let counted: u64 = handles.into_iter().filter_map(total).sum();
        assert_eq!(counted, added, "{name}: counts were lost");
        heap.verify().unwrap();
    }
}
