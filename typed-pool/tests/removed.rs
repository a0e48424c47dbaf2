//! Removed objects that wait to be dropped: they are seen as waste, somebody drops them, and a drop that makes more of them keeps
//! nobody from returning.

#![cfg(not(any(loom, miri)))]

mod common;

use common::{Drops, remove_under_guard};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use typed_pool::{DefragmenterState, Heap, Pool};

/// More than any of these calls may take on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn what_is_removed_is_waste_before_it_is_dropped() {
    const OBJECTS: u64 = 100_000;
    let heap = Heap::builder().capacity(64 << 20).build().unwrap();
    let drops = Drops::default();
    let pool = Pool::new(&heap).unwrap();
    let handles: Vec<_> = (0..OBJECTS).map(|id| pool.insert(drops.make(id)).unwrap()).collect();
    assert!(heap.waste() < 0.1, "{}", heap.waste());
    remove_under_guard(&pool, &handles);
    assert_eq!(drops.live() as u64, OBJECTS, "nobody dropped any yet");
    assert!(heap.waste() > 0.8, "{}", heap.waste());

    // The defragmenter says that something is wrong which it cannot mend, and does when it can.
    let background = heap.defragmenter().interval(Duration::from_millis(1)).start().unwrap();
    let wait_for = |what: &str, is_so: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < LIMIT, "{what}: {:?}", background.stats());
            thread::sleep(Duration::from_millis(1));
        }
    };
    wait_for("resting", &|| background.stats().state == DefragmenterState::Resting);
    assert_eq!(drops.live() as u64, OBJECTS, "it drops no objects");
    assert_eq!(pool.flush() as u64, OBJECTS);
    assert_eq!(drops.live(), 0);
    wait_for("freed", &|| heap.stats().committed < 1 << 20);
    drop(background);
}

#[test]
fn raw_blocks_that_wait_are_waste_too() {
    let heap = Heap::builder().capacity(16 << 20).build().unwrap();
    let blocks: Vec<_> = (0..2000).map(|_| heap.allocate_bytes(&[7; 4000]).unwrap()).collect();
    assert!(heap.waste() < 0.1, "{}", heap.waste());
    let guard = heap.enter();
    blocks.iter().for_each(|block| heap.deallocate(*block).unwrap());
    assert!(heap.waste() > 0.9, "{}", heap.waste());
    drop(guard);
    heap.flush();
    assert!(heap.waste() > 0.9 && heap.stats().pending_blocks == 0);
}

#[test]
fn what_a_thread_left_is_dropped_by_those_that_go_on() {
    let heap = Heap::builder().capacity(16 << 20).build().unwrap();
    let drops = Drops::default();
    let pool = Pool::new(&heap).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for id in 0..100 {
                assert!(pool.remove(pool.insert(drops.make(id)).unwrap()));
            }
        });
    });
    assert_eq!(drops.dropped(), 0, "less than a batch");
    let mine = Drops::default();
    let mut turns = 0;
    while drops.live() > 0 {
        turns += 1;
        assert!(turns < 10_000, "{} of 100", drops.dropped());
        pool.remove(pool.insert(mine.make(turns)).unwrap());
    }
}

/// Puts another one in and removes it when it is dropped.
struct Again;

static POOL: OnceLock<Pool<Again>> = OnceLock::new();
static GOES_ON: AtomicBool = AtomicBool::new(true);
static DROPS: AtomicUsize = AtomicUsize::new(0);

impl Drop for Again {
    fn drop(&mut self) {
        DROPS.fetch_add(1, Ordering::Relaxed);
        if GOES_ON.load(Ordering::Relaxed)
            && let Some(pool) = POOL.get()
            && let Ok(handle) = pool.insert(Again)
        {
            pool.remove(handle);
        }
    }
}

#[test]
fn a_drop_that_makes_another_keeps_nobody_from_returning() {
    type Call = fn(&'static Pool<Again>);
    let heap = Heap::builder().capacity(1 << 20).build().unwrap();
    let pool = POOL.get_or_init(|| Pool::new(&heap).unwrap());
    let calls: [(&str, Call); 5] = [
        ("flush", |pool| assert!(pool.flush() >= 100)),
        ("defragment", |pool| assert!(pool.defragment().complete)),
        ("make_room", |pool| assert!(pool.make_room(1000, 1).fits)),
        ("purge", |pool| {
            for _ in 0..1000 {
                pool.insert_purgeable(Again).unwrap();
            }
            assert!(pool.purge(500) == 500);
        }),
        ("heap.flush", |pool| assert_eq!(pool.heap().flush(), 0, "not its own pool")),
    ];
    for (name, call) in calls {
        for _ in 0..100 {
            pool.remove(pool.insert(Again).unwrap());
        }
        let before = DROPS.load(Ordering::Relaxed);
        let (sender, returned) = mpsc::channel();
        let thread = thread::spawn(move || {
            call(pool);
            sender.send(()).unwrap();
        });
        if returned.recv_timeout(LIMIT).is_err() {
            // So that it ends.
            GOES_ON.store(false, Ordering::Relaxed);
            panic!("{name} did not return in {LIMIT:?}");
        }
        thread.join().unwrap();
        let dropped = DROPS.load(Ordering::Relaxed) - before;
        assert!(dropped < 100_000, "{name}: {dropped}");
    }
    GOES_ON.store(false, Ordering::Relaxed);
    pool.flush();
    assert_eq!(pool.flush(), 0, "that was all");
}

#[test]
fn what_a_thread_left_is_dropped_though_an_idle_one_has_taken_its_cache_over() {
    let heap = Heap::builder().capacity(16 << 20).build().unwrap();
    let (left, mine) = (Drops::default(), Drops::default());
    let pool = Pool::new(&heap).unwrap();
    let (inserted, has_inserted) = mpsc::channel();
    let (end, may_end) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope
            .spawn(|| {
                for id in 0..100 {
                    assert!(pool.remove(pool.insert(left.make(id)).unwrap()));
                }
            })
            .join()
            .unwrap();
        let (idle, its) = (&pool, mine.clone());
        scope.spawn(move || {
            idle.insert(its.make(1)).unwrap();
            inserted.send(()).unwrap();
            may_end.recv().unwrap();
        });
        has_inserted.recv().unwrap();
        for id in 0..20_000 {
            pool.remove(pool.insert(mine.make(id)).unwrap());
        }
        assert_eq!(left.dropped(), 100);
        end.send(()).unwrap();
    });
}
