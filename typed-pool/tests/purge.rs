//! Objects that may be purged: which go, when, who is told, and what their readers keep.

#![cfg(not(loom))]

mod common;

use common::{Counted, Drops, Random, heap, heaps, panics};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::thread;
use std::time::Duration;
use typed_pool::{Handle, Heap, Policy, Pool};

/// What was purged.
type Noted = Arc<Mutex<Vec<Handle<Counted>>>>;

/// A pool that notes what is purged, and its notes.
fn noting(heap: &Heap) -> (Pool<Counted>, Noted) {
    let mut pool = Pool::new(heap).unwrap();
    let purged = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&purged);
    pool.on_purge(move |handle| notes.lock().unwrap().push(handle));
    (pool, purged)
}

#[test]
fn the_oldest_go_when_there_is_no_room_and_each_is_told() {
    for heap in heaps(64 << 10) {
        let drops = Drops::default();
        let (pool, purged) = noting(&heap);
        let kept: Vec<_> = (0..100).map(|id| pool.insert(drops.make(id)).unwrap()).collect();
        let count = if cfg!(miri) { 1500 } else { 20_000 };
        let handles: Vec<_> =
            (0..count).map(|id| pool.insert_purgeable(drops.make(id)).unwrap()).collect();
        let purged = purged.lock().unwrap();
        assert!(purged.len() > 100, "{} purged", purged.len());
        assert!(handles.starts_with(&purged), "the oldest ones, in order");
        assert!(purged.iter().all(|handle| pool.get(*handle).is_none()));
        for (handle, id) in handles.iter().zip(0..).skip(purged.len()) {
            assert_eq!(pool.get(*handle).expect("it is younger").checked(), id);
        }
        assert!(kept.iter().zip(0..).all(|(handle, id)| pool.get(*handle).unwrap().id == id));
        assert_eq!(heap.stats().purged, purged.len());
        pool.flush();
        assert_eq!(drops.live(), pool.len());
        assert_eq!(pool.len(), 100 + handles.len() - purged.len());
        // Few at a time: the heap stays full.
        assert!(heap.stats().live_bytes > 32 << 10, "{:?}", heap.stats());
        drop(pool);
        assert_eq!(drops.live(), 0);
        heap.verify().unwrap();
    }
}

#[test]
fn every_way_in_purges_and_other_pools_do_not() {
    let heap = heap(64 << 10);
    let drops = Drops::default();
    let (pool, purged) = noting(&heap);
    for id in 0..3000 {
        pool.insert_purgeable(drops.make(id)).unwrap();
    }
    let told = || purged.lock().unwrap().len();
    let before = told();
    let other = Pool::new(&heap).unwrap();
    let refused = (0..5000).find_map(|id| other.insert(drops.make(id)).err()).expect("it is full");
    assert_eq!((refused.error.purged, told()), (0, before));
    assert!(heap.allocate(std::alloc::Layout::new::<[u8; 8000]>()).is_err());
    assert_eq!(told(), before);
    drop(refused);
    pool.insert_with(|_| drops.make(1)).unwrap();
    assert!(told() > before);
    let before = told();
    assert_eq!(pool.insert_many((0..50).map(|id| drops.make(id))).unwrap().len(), 50);
    assert!(told() > before);
    // What is not purgeable is all that is left in the end.
    let refused =
        (0..5000).find_map(|id| pool.insert(drops.make(id)).err()).expect("full for good");
    assert_eq!(refused.error.free / 1024, 0, "{}", refused.error);
    assert_eq!(pool.purge(1), 0);
}

#[test]
fn room_is_made_by_moving_first() {
    for heap in heaps(256 << 10) {
        let drops = Drops::default();
        let (pool, purged) = noting(&heap);
        let mut handles = Vec::new();
        while heap.stats().free_bytes > 20_000 {
            let next = handles.len() as u64;
            handles
                .extend((next..next + 20).map(|id| pool.insert_purgeable(drops.make(id)).unwrap()));
        }
        for handle in handles.iter().skip(1).step_by(3) {
            pool.remove(*handle);
        }
        let moved = pool.make_room(50_000, 64);
        assert!(moved.fits && moved.purged == 0, "{moved}");
        let purging = pool.make_room(200_000, 64);
        assert!(purging.fits && purging.purged > 0, "{purging}");
        assert_eq!(purged.lock().unwrap().len(), purging.purged);
        let none = pool.make_room(1 << 30, 64);
        assert!(!none.fits && none.purged == 0, "{none}");
        for (handle, id) in handles.iter().zip(0..) {
            assert!(pool.get(*handle).is_none_or(|object| object.checked() == id));
        }
        heap.verify().unwrap();
    }
}

#[test]
fn pinned_objects_and_those_under_guards_stay_for_their_readers() {
    let heap = heap(64 << 10);
    let drops = Drops::default();
    let (pool, purged) = noting(&heap);
    let first: Vec<_> = (0..50).map(|id| pool.insert_purgeable(drops.make(id)).unwrap()).collect();
    let pins: Vec<_> = first.iter().map(|handle| pool.pin(*handle).unwrap()).collect();
    for id in 50..5000 {
        pool.insert_purgeable(drops.make(id)).unwrap();
    }
    assert!(first.iter().all(|handle| pool.contains(*handle)), "pinned ones are passed over");
    assert!(pins.iter().zip(0..).all(|(pin, id)| pin.checked() == id));
    drop(pins);

    // Inside an own guard nothing is purged.
    let (guard, before) = (pool.enter(), purged.lock().unwrap().len());
    let refused = (0..5000).find_map(|id| pool.insert(drops.make(id)).err()).expect("it is full");
    assert_eq!((refused.error.purged, purged.lock().unwrap().len()), (0, before));
    assert_eq!(pool.make_room(50_000, 1).purged, 0);
    drop((guard, refused));

    // Under a guard of another thread objects are purged in vain, so not all of them are.
    let (entered, is_entered) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let (pool, handles) = (&pool, pool.handles().collect::<Vec<_>>());
        scope.spawn(move || {
            let guard = pool.enter();
            let seen: Vec<_> = handles.iter().filter_map(|handle| guard.get(*handle)).collect();
            entered.send(()).unwrap();
            may_leave.recv().unwrap();
            assert!(seen.iter().all(|object| object.checked() < 5000), "they are alive and whole");
        });
        is_entered.recv().unwrap();
        let len = pool.len();
        let refused =
            (0..100).find_map(|id| pool.insert(drops.make(id)).err()).expect("it is full");
        assert!(refused.error.purged < 10 && pool.len() + 10 > len, "{}", refused.error);
        leave.send(()).unwrap();
    });
    pool.insert(drops.make(1)).unwrap();
    drop(pool);
    assert_eq!(drops.live(), 0);
}

#[test]
fn the_callback_may_use_the_pool_and_is_called_when_a_drop_panics() {
    let heap = heap(64 << 10);
    let drops = Drops::default();
    let told = Arc::new(AtomicUsize::new(0));
    let mut pool = Pool::new(&heap).unwrap();
    let log = Arc::new(Pool::new(&heap).unwrap());
    pool.on_purge({
        let (log, told) = (Arc::clone(&log), Arc::clone(&told));
        move |handle: Handle<Counted>| {
            let entry = log.insert_purgeable(handle);
            assert!(entry.is_err() || log.get(entry.unwrap()).is_some_and(|seen| *seen == handle));
            told.fetch_add(1, Ordering::Relaxed);
        }
    });
    for id in 0..2000 {
        pool.insert_purgeable(drops.make(id)).unwrap();
    }
    let before = told.load(Ordering::Relaxed);
    assert!(before > 0 && heap.stats().purged >= before);
    drop(pool);

    let (pool, purged) = noting(&heap);
    for id in 0..1000 {
        let make = |id| if id % 7 == 0 { drops.bomb(id) } else { drops.make(id) };
        pool.insert_purgeable(make(id)).ok();
    }
    let mut panicked = 0;
    while !pool.is_empty() {
        panicked += usize::from(panics(|| {
            pool.purge(50);
        }));
        panicked += usize::from(panics(|| {
            pool.flush();
        }));
    }
    assert!(panicked > 0);
    while panics(|| {
        pool.flush();
    }) {}
    let mut purged = std::mem::take(&mut *purged.lock().unwrap());
    let told = purged.len();
    purged.sort();
    purged.dedup();
    assert_eq!(purged.len(), told, "each is told once");
    drop(pool);
    assert_eq!(drops.live(), 0);
    heap.verify().unwrap();
}

#[test]
fn the_callback_may_read_and_remove_in_its_own_pool() {
    let heap = heap(64 << 10);
    let mut pool = Pool::new(&heap).unwrap();
    let own: Arc<OnceLock<Weak<Pool<[u64; 25]>>>> = Arc::default();
    let told = Arc::new(AtomicUsize::new(0));
    pool.on_purge({
        let (own, told) = (Arc::clone(&own), Arc::clone(&told));
        move |handle| {
            let Some(pool) = own.get().and_then(Weak::upgrade) else { return };
            assert!(!pool.contains(handle) && pool.pin(handle).is_err());
            // Whatever comes first, but for one that stays.
            if let Some(other) = pool.handles().nth(1) {
                assert!(pool.with(other, |object| object[0] < 1000).unwrap());
                assert!(pool.remove(other));
            }
            pool.flush();
            told.fetch_add(1, Ordering::Relaxed);
        }
    });
    let pool = Arc::new(pool);
    own.set(Arc::downgrade(&pool)).unwrap();
    for id in 0..1000 {
        pool.insert_purgeable([id; 25]).unwrap();
    }
    assert!(told.load(Ordering::Relaxed) > 10 && pool.purge(1) == 1);
    heap.verify().unwrap();
}

#[test]
fn threads_purge_what_others_read() {
    let heap = heap(256 << 10);
    let drops = Drops::default();
    let (pool, purged) = noting(&heap);
    let (rounds, done) = (if cfg!(miri) { 40 } else { 20_000 }, AtomicBool::new(false));
    thread::scope(|scope| {
        let (pool, drops, done) = (&pool, &drops, &done);
        let workers: Vec<_> = (0..2)
            .map(|seed| {
                scope.spawn(move || {
                    let mut random = Random(seed + 1);
                    let mut mine: Vec<(Handle<Counted>, u64)> = Vec::new();
                    for id in 0..rounds {
                        // Refused only while the other thread keeps what was purged.
                        let Ok(handle) = pool.insert_purgeable(drops.make(id)) else { continue };
                        mine.push((handle, id));
                        let (handle, id) = mine[random.below(mine.len())];
                        match random.below(10) {
                            0 => drop(pool.remove(handle)),
                            1 => drop(pool.pin(handle).map(|pin| assert_eq!(pin.checked(), id))),
                            _ => {
                                let seen = pool.get(handle).map(|object| object.checked());
                                assert!(seen.is_none_or(|seen| seen == id));
                            }
                        }
                    }
                })
            })
            .collect();
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                pool.make_room(20_000, 16);
                pool.purge(1);
                thread::yield_now();
            }
        });
        let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        done.store(true, Ordering::Relaxed);
        results.into_iter().for_each(|result| result.unwrap());
    });
    assert_eq!(heap.stats().purged, purged.lock().unwrap().len());
    pool.flush();
    assert_eq!(drops.live(), pool.len());
    heap.verify().unwrap();
    drop(pool);
    assert_eq!(drops.live(), 0);
}

#[test]
fn handles_of_objects_that_are_gone_do_not_pile_up() {
    let pool = Pool::new(&heap(64 << 10)).unwrap();
    for id in 0..if cfg!(miri) { 100 } else { 100_000_u64 } {
        let handle = pool.insert_purgeable(id).unwrap();
        assert!(pool.remove(handle));
    }
    // Nothing is left to purge, and finding that out is no long search.
    assert_eq!(pool.purge(10), 0);
}

#[test]
fn naming_an_object_again_costs_nothing_and_keeps_its_turn() {
    let pool = Pool::new(&heap(64 << 10)).unwrap();
    let [a, b, c] = [1, 2, 3].map(|id: u64| pool.insert_purgeable(id).unwrap());
    for _ in 0..if cfg!(miri) { 100 } else { 100_000 } {
        pool.allow_purge(a);
        pool.allow_purge(b);
    }
    assert_eq!(pool.purge(1), 1);
    assert!(!pool.contains(a) && pool.contains(b) && pool.contains(c));
    assert_eq!((pool.purge(1), pool.contains(b)), (1, false));
    assert_eq!((pool.purge(9), pool.contains(c)), (1, false));
}

#[test]
fn what_never_fits_purges_nothing() {
    for heap in heaps(256 << 10) {
        let (pool, purged) = noting(&heap);
        let drops = Drops::default();
        for id in 0..50 {
            pool.insert_purgeable(drops.make(id)).unwrap();
        }
        for (bytes, align) in [(100, 8192), (100, 3), (100, 0), (257 << 10, 1), (usize::MAX, 1)] {
            let report = pool.make_room(bytes, align);
            assert!(!report.fits && report.never_fits, "{bytes} by {align}: {report}");
        }
        assert!(purged.lock().unwrap().is_empty());
        let most = pool.make_room(256 << 10, 1);
        assert!(most.fits && !most.never_fits && most.purged > 0, "{most}");
        assert!(most.to_string().contains(&format!("{} objects were purged", most.purged)));
    }
}

#[test]
fn a_busy_mover_purges_nothing_where_there_is_room() {
    let builder = Heap::builder().capacity(1 << 20).policy(Policy::FirstFit).stripes(1);
    let heap = builder.patience(Duration::from_millis(10)).build().unwrap();
    let (pool, cache) = (Pool::new(&heap).unwrap(), Pool::new(&heap).unwrap());
    let holes: Vec<_> = (0..200).map(|id| pool.insert([id; 500]).unwrap()).collect();
    for id in 0..20 {
        cache.insert_purgeable([id; 100]).unwrap();
    }
    let (entered, is_entered) = mpsc::channel();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (heap, done) = (&heap, &done);
        scope.spawn(move || {
            let _guard = heap.enter();
            entered.send(()).unwrap();
            while !done.load(Ordering::Relaxed) {
                thread::yield_now();
            }
        });
        is_entered.recv().unwrap();
        // Waits for the guard with the mover in its hand: for what is retired, and for its first moves.
        holes.iter().step_by(2).for_each(|handle| assert!(pool.remove(*handle)));
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                heap.defragment();
            }
        });
        let mut busy = 0;
        let reports = std::iter::repeat_with(|| cache.make_room(100, 8)).take_while(|report| {
            busy += usize::from(report.defrag.mover_busy);
            busy < 3
        });
        let wrong = reports.take(10_000).find(|report| !report.fits || report.purged > 0);
        done.store(true, Ordering::Relaxed);
        assert_eq!(wrong, None);
        assert_eq!(busy, 3, "nobody kept the mover");
    });
    assert_eq!((cache.len(), heap.stats().purged), (20, 0));
}

#[test]
fn a_callback_that_puts_in_others_keeps_no_call_from_ending() {
    let heap = heap(64 << 10);
    let mut pool = Pool::new(&heap).unwrap();
    let own: Arc<OnceLock<Weak<Pool<[u64; 25]>>>> = Arc::default();
    let told = Arc::new(AtomicUsize::new(0));
    pool.on_purge({
        let (own, told) = (Arc::clone(&own), Arc::clone(&told));
        move |_| {
            told.fetch_add(1, Ordering::Relaxed);
            if let Some(pool) = own.get().and_then(Weak::upgrade) {
                drop(pool.insert_purgeable([9; 25]));
            }
        }
    });
    let pool = Arc::new(pool);
    own.set(Arc::downgrade(&pool)).unwrap();
    for id in 0..400 {
        if let Err(refused) = pool.insert_purgeable([id; 25]) {
            assert!(refused.error.purged > 0, "{}", refused.error);
        }
    }
    assert!(told.load(Ordering::Relaxed) > 0);
    let len = pool.len();
    let purged = pool.purge(usize::MAX);
    assert!(purged > 0 && purged <= len, "{purged} of {len}");
    assert!(!pool.make_room(60_000, 8).fits, "the callback fills it");
    // While readers keep what is purged, what the callback puts in is refused, and not by callbacks inside of it.
    let before = told.load(Ordering::Relaxed);
    thread::scope(|scope| {
        let _guard = heap.enter();
        let refused = scope.spawn(|| (0..1000).find_map(|id| pool.insert([id; 25]).err()));
        let refused = refused.join().unwrap().expect("it is full");
        let times = told.load(Ordering::Relaxed) - before;
        assert!(times < 10 && times == refused.error.purged, "{times}, {}", refused.error);
    });
    heap.verify().unwrap();
}

#[test]
fn objects_without_a_size_are_not_purged_in_vain() {
    let pool = Pool::new(&heap(64 << 10)).unwrap();
    let full = (0..100_000).find(|_| pool.insert(()).is_err()).expect("every slot is in use");
    pool.handles().for_each(|handle| pool.allow_purge(handle));
    let len = pool.len();
    assert!(len > 100 && len <= full);
    let (entered, is_entered) = mpsc::channel();
    let (leave, may_leave) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let pool = &pool;
        scope.spawn(move || {
            let _guard = pool.enter();
            entered.send(()).unwrap();
            may_leave.recv().unwrap_err();
        });
        is_entered.recv().unwrap();
        // Dropping it ends the section, also after a panic.
        let _leave = leave;
        let refused = pool.insert_purgeable(()).unwrap_err();
        assert!(refused.error.purged < 10 && pool.len() + 10 > len, "{}", refused.error);
    });
    pool.insert_purgeable(()).unwrap();
}
