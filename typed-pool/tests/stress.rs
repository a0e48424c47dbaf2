//! Several threads at once, of every kind: what they find must always be whole, and at the end
//! everything must add up.

#![cfg(not(loom))]

mod common;

use common::{Counted, Drops, Random, heaps};
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use typed_pool::{Budget, Handle, Heap, Pool, TakeError};

/// How long each scenario runs on each kind of heap.
const TIME: Duration = Duration::from_millis(if cfg!(debug_assertions) { 120 } else { 200 });

/// What one thread does until the flag is set.
type Work<'a> = dyn Fn(&AtomicBool, Random) + Sync + 'a;

/// Runs the threads until the time is over, or one of them panics.
fn run(threads: &[&Work<'_>]) {
    let over = AtomicBool::new(false);
    thread::scope(|s| {
        let threads: Vec<_> = (1..)
            .zip(threads)
            .map(|(seed, work)| {
                let over = &over;
                s.spawn(move || work(over, Random(0x9e37_79b9_7f4a_7c15 >> seed)))
            })
            .collect();
        let mut time = Duration::ZERO;
        while time < TIME && !threads.iter().any(|thread| thread.is_finished()) {
            thread::sleep(Duration::from_millis(5));
            time += Duration::from_millis(5);
        }
        over.store(true, Ordering::Relaxed);
    });
}

/// Calls `work` until the time is over, at least 20 times, however slow the machine is.
fn repeat(work: impl Fn(&mut Random) + Sync) -> impl Fn(&AtomicBool, Random) + Sync {
    move |over, mut random| {
        let mut rounds = 0;
        while rounds < 20 || !over.load(Ordering::Relaxed) {
            work(&mut random);
            rounds += 1;
        }
    }
}

/// Handles that the threads hand to each other; some are stale.
struct Board(Vec<Mutex<Option<Handle<Counted>>>>);

impl Board {
    fn new(len: usize) -> Self {
        Self((0..len).map(|_| Mutex::new(None)).collect())
    }

    fn look(&self, random: &mut Random) -> Option<Handle<Counted>> {
        *self.0[random.below(self.0.len())].lock().unwrap()
    }

    fn put(&self, handle: Handle<Counted>, random: &mut Random) -> Option<Handle<Counted>> {
        self.0[random.below(self.0.len())].lock().unwrap().replace(handle)
    }
}

fn defragmenter(heap: &Heap) -> impl Fn(&AtomicBool, Random) + Sync {
    repeat(move |random| {
        let report = match random.below(3) {
            0 => heap.defragment(),
            1 => heap.defragment_with(Budget::unlimited().moves(20)),
            _ => heap.defragment_with(Budget::unlimited().time(Duration::from_micros(200))),
        };
        assert!(!report.own_guard);
        if random.below(20) == 0 {
            heap.verify().unwrap();
        }
    })
}

fn check_end(pool: Pool<Counted>, drops: &Drops, heap: &Heap) {
    heap.verify().unwrap();
    while pool.flush() > 0 {}
    let live = pool.iter().inspect(|(_, object)| assert_eq!(object.checked(), object.id)).count();
    assert_eq!((live, drops.live()), (pool.len(), pool.len()));
    heap.defragment();
    heap.verify().unwrap();
    drop(pool);
    heap.verify().unwrap();
    let stats = heap.stats();
    assert_eq!((drops.live(), stats.live_blocks, stats.pending_blocks), (0, 0, 0));
}

#[test]
fn readers_inserters_removers_and_a_mover() {
    for heap in heaps(1 << 20) {
        let (drops, reads) = (Drops::default(), AtomicU64::new(0));
        let pool = Pool::new(&heap).unwrap();
        let board = Board::new(3000);
        for place in &board.0 {
            *place.lock().unwrap() = pool.insert(drops.make(7)).ok();
        }
        {
            let reader = repeat(|random| {
                let guard = pool.enter();
                for _ in 0..20 {
                    let Some(handle) = board.look(random) else { continue };
                    if let Some(object) = guard.get(handle) {
                        let id = object.checked();
                        if random.below(64) == 0 {
                            thread::yield_now();
                        }
                        assert_eq!(object.checked(), id);
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            let writer = repeat(|random| {
                let id = random.below(1 << 30) as u64;
                let Ok(handle) = pool.insert(drops.make(id)) else { return };
                // What was on the board is removed by whoever finds it first.
                if let Some(old) = board.put(handle, random) {
                    pool.remove(old);
                }
                if random.below(4) == 0 {
                    board.look(random).map(|handle| pool.remove(handle));
                }
            });
            run(&[&reader, &writer, &writer, &defragmenter(&heap)]);
        }
        assert!(reads.load(Ordering::Relaxed) > 100);
        check_end(pool, &drops, &heap);
    }
}

#[test]
fn pins_takers_replacers_and_a_mover() {
    for heap in heaps(1 << 20) {
        let drops = Drops::default();
        let pool = Pool::new(&heap).unwrap();
        let (board, kept) = (Board::new(200), Mutex::new(Vec::new()));
        {
            let writer = repeat(|random| {
                if let Ok(handle) = pool.insert_with(|me| drops.make(me.to_bits()))
                    && let Some(old) = board.put(handle, random)
                {
                    match pool.try_take(old) {
                        Ok(object) => assert!(object.checked() >= object.id),
                        Err(TakeError::OwnGuard) => unreachable!("no guard is open here"),
                        Err(_) => drop(pool.remove(old)),
                    }
                }
            });
            let replacer = repeat(|random| {
                let Some(handle) = board.look(random) else { return };
                let id = handle.to_bits();
                if random.below(2) == 0 {
                    let _ = pool.replace(handle, drops.make(id));
                } else {
                    let _ = pool.rcu(handle, |old| drops.make(old.checked()));
                }
            });
            let pinner = repeat(|random| {
                if let Some(handle) = board.look(random)
                    && let Ok(pinned) = pool.pin(handle)
                {
                    assert_eq!(pinned.checked(), handle.to_bits());
                    let mut kept = kept.lock().unwrap();
                    kept.push(pinned);
                    if kept.len() > 50 {
                        let at = random.below(50);
                        drop(kept.swap_remove(at).clone());
                    }
                }
            });
            run(&[&writer, &replacer, &pinner, &defragmenter(&heap)]);
        }
        // Half of the pins go before the pool, half after it.
        let mut kept = kept.into_inner().unwrap();
        let late = kept.split_off(kept.len() / 2);
        kept.iter().for_each(|pinned| assert!(pinned.checked() > 0));
        drop(kept);
        drop(pool);
        assert!(drops.live() <= late.len());
        late.iter().for_each(|pinned| assert!(pinned.checked() > 0));
        drop(late);
        assert_eq!((drops.live(), heap.stats().pools, heap.stats().live_blocks), (0, 0, 0));
        heap.verify().unwrap();
    }
}

#[test]
fn several_pools_of_one_heap_that_is_always_full() {
    for heap in heaps(256 << 10) {
        let drops = Drops::default();
        let pool = Pool::new(&heap).unwrap();
        let large = Pool::new(&heap).unwrap();
        {
            let small = repeat(|random| {
                if pool.insert(drops.make(random.0)).is_err() {
                    let first = random.below(64);
                    pool.handles()
                        .skip(first)
                        .step_by(3)
                        .for_each(|handle| assert!(pool.remove(handle)));
                }
            });
            let blocks = repeat(|random| {
                if random.below(3) > 0 {
                    let _ = large.insert([random.0 as u32; 300]);
                } else if let Some(handle) = large.handles().next() {
                    assert!(
                        large.with(handle, |words| words.iter().all(|w| *w == words[0])).unwrap()
                    );
                    assert!(large.remove(handle));
                }
            });
            let iterator = repeat(|_| {
                pool.iter().for_each(|(_, object)| assert_eq!(object.checked(), object.id));
                assert!(
                    large.iter().all(|(_, words)| words.iter().all(|word| *word == words[299]))
                );
            });
            run(&[&small, &blocks, &iterator, &defragmenter(&heap)]);
        }
        drop(large);
        check_end(pool, &drops, &heap);
    }
}

#[test]
fn batches_and_a_mover() {
    for heap in heaps(1 << 20) {
        let drops = Drops::default();
        let pool = Pool::new(&heap).unwrap();
        {
            let inserter = repeat(|random| {
                let values = (0..random.below(200)).map(|id| drops.make(id as u64));
                let handles = pool.insert_many(values).unwrap_or_else(|refused| refused.handles);
                let guard = pool.enter();
                let found = guard.get_many(&handles).flatten();
                assert!(found.zip(0..).all(|(object, _)| object.checked() < 200));
                drop(guard);
                let kept = random.below(handles.len() + 1);
                pool.remove_many(&handles[kept..]);
                if pool.len() > 4000 {
                    pool.remove_where(|handle, _| handle.index() % 2 == 0);
                }
            });
            let reader = repeat(|random| {
                let guard = pool.enter();
                let mut seen = HashSet::new();
                for (handle, object) in guard.iter_by_address().take(random.below(3000)) {
                    assert_eq!(object.checked(), object.id);
                    assert!(seen.insert(handle), "an object came twice");
                }
                drop(guard);
                let handles: Vec<_> = pool.handles().collect();
                pool.with_many(&handles, |_, object| {
                    assert!(object.is_none_or(|object| object.checked() < 200));
                });
            });
            let sweeper = repeat(|random| {
                let id = random.below(200) as u64;
                pool.remove_where(|_, object| object.checked() == id);
            });
            run(&[&inserter, &reader, &sweeper, &inserter, &defragmenter(&heap)]);
        }
        check_end(pool, &drops, &heap);
    }
}

#[test]
fn pools_come_and_go() {
    for heap in heaps(1 << 20) {
        let drops = Drops::default();
        let lives = |random: &mut Random| {
            let mut pool = Pool::new(&heap).unwrap();
            let handles: Vec<_> =
                (0..100).map_while(|id| pool.insert(drops.make(id)).ok()).collect();
            let pinned = handles.get(random.below(100)).map(|handle| pool.pin(*handle).unwrap());
            handles.iter().step_by(2).for_each(|handle| assert!(pool.remove(*handle)));
            pool.iter_mut().for_each(|(_, object)| assert!(object.checked() < 100));
            if random.below(2) == 0 {
                pool.clear();
            }
            drop(pool);
            assert!(pinned.is_none_or(|pinned| pinned.checked() < 100));
        };
        let worker = repeat(lives);
        run(&[&worker, &worker, &defragmenter(&heap)]);
        let stats = heap.stats();
        assert_eq!((drops.live(), stats.pools, stats.live_blocks), (0, 0, 0));
        heap.verify().unwrap();
    }
}
