//! What goes wrong in practice, and must end in a clear answer: never in a hang, a leak without
//! end, or worse.

#![cfg(not(loom))]

mod common;

use common::{Counted, Drops, heap, heaps};
use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};
use typed_pool::{AccessError, Handle, Pinned, Pool, RcuError, Ref, TakeError};

#[test]
fn a_stale_handle_is_refused_by_everything() {
    let drops = Drops::default();
    let mut pool = Pool::new(&heap(1 << 20)).unwrap();
    let stale = pool.insert(drops.make(1)).unwrap();
    assert!(pool.remove(stale));
    pool.flush();
    // Its slot is in use again, by a stranger who must not notice.
    let stranger = (0..100).find_map(|id| {
        let handle = pool.insert(drops.make(id)).unwrap();
        (handle.index() == stale.index()).then_some(handle)
    });
    let stranger = stranger.expect("the slot is used again");
    assert_ne!(stranger, stale);
    assert!(!pool.contains(stale) && !pool.remove(stale));
    assert!(pool.get(stale).is_none() && pool.get_mut(stale).is_none());
    assert!(pool.enter().get(stale).is_none() && pool.with(stale, |_| ()).is_none());
    assert_eq!(
        (pool.enter().get_many([stale]).flatten().count(), pool.remove_many(&[stale])),
        (0, 0)
    );
    assert_eq!(pool.pin(stale).unwrap_err(), AccessError::Stale);
    assert_eq!(pool.take(stale).unwrap_err(), TakeError::Stale);
    assert_eq!(pool.try_take(stale).unwrap_err(), TakeError::Stale);
    assert_eq!(pool.replace(stale, drops.make(2)).unwrap_err().error, RcuError::Stale);
    assert_eq!(pool.rcu(stale, |_| drops.make(2)).unwrap_err(), RcuError::Stale);
    assert!(pool.get(stranger).unwrap().checked() < 100);
    pool.heap().verify().unwrap();
}

#[test]
fn of_many_threads_that_remove_an_object_one_does() {
    for heap in heaps(1 << 20) {
        let drops = Drops::default();
        let pool = &Pool::new(&heap).unwrap();
        let handles: Vec<_> = (0..2000).map(|id| pool.insert(drops.make(id)).unwrap()).collect();
        let remove = || handles.iter().filter(|handle| pool.remove(**handle)).count();
        let removed: usize = thread::scope(|s| {
            let threads = [s.spawn(remove), s.spawn(remove), s.spawn(remove)];
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        pool.flush();
        assert_eq!((removed, pool.len(), drops.dropped()), (2000, 0, 2000));
        heap.verify().unwrap();
    }
}

#[test]
fn made_up_handles_find_nothing_or_an_object_of_the_pool() {
    for heap in heaps(1 << 20) {
        let pool = Pool::new(&heap).unwrap();
        let handles: HashSet<_> = (0..500).map(|i| pool.insert(i.to_string()).unwrap()).collect();
        let mut bits = 0x1234_5678_9abc_def1_u64;
        let mut forged = Vec::new();
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            forged.extend(Handle::from_bits(bits));
            forged.extend(Handle::from_bits(bits & !(0xffff_ff00)));
        }
        for handle in &handles {
            for flip in 0..64 {
                forged.extend(Handle::from_bits(handle.to_bits() ^ (1 << flip)));
            }
        }
        for forged in forged.iter().filter(|forged| !handles.contains(*forged)) {
            assert!(!pool.contains(*forged) && pool.get(*forged).is_none());
            assert!(!pool.remove(*forged) && pool.take(*forged).is_err());
            assert_eq!(pool.enter().get_many([forged]).next(), Some(None));
            assert!(pool.replace(*forged, String::new()).is_err());
        }
        assert_eq!(pool.len(), 500);
        heap.verify().unwrap();
    }
}

#[test]
fn handles_of_other_pools_find_nothing() {
    let heap = heap(4 << 20);
    let pools: Vec<_> = (0..20).map(|_| Pool::new(&heap).unwrap()).collect();
    let handles: Vec<Vec<_>> =
        pools.iter().map(|pool| (0..50).map(|i| pool.insert(i).unwrap()).collect()).collect();
    for (i, pool) in pools.iter().enumerate() {
        for (j, handles) in handles.iter().enumerate() {
            assert!(handles.iter().all(|handle| pool.contains(*handle) == (i == j)));
        }
    }
    // Nor does one of a pool that is gone, in a pool that took its place.
    let old = handles[0][0];
    drop(pools);
    let pool = Pool::new(&heap).unwrap();
    let new: Vec<_> = (0..50).map(|i| pool.insert(i).unwrap()).collect();
    assert!(new.iter().any(|handle| handle.index() == old.index()));
    assert!(!pool.contains(old) && !pool.remove(old));
}

#[test]
fn a_forgotten_guard_delays_and_never_hangs() {
    let drops = Drops::default();
    let heap = heap(1 << 20);
    let pool = Pool::new(&heap).unwrap();
    let handles: Vec<_> = (0..4000).map(|id| pool.insert(drops.make(id)).unwrap()).collect();
    let (kept, gone): (Vec<_>, Vec<_>) = handles.iter().partition(|h| h.index() % 4 == 0);
    gone.iter().for_each(|handle| assert!(pool.remove(*handle)));
    pool.flush();
    thread::scope(|s| {
        s.spawn(|| std::mem::forget((pool.enter(), pool.get(kept[0]))));
    });
    let start = Instant::now();
    let live = kept.len() - 100;
    kept.iter().skip(live).for_each(|handle| assert!(pool.remove(*handle)));
    assert_eq!((pool.flush(), drops.live()), (0, kept.len()));
    assert_eq!(pool.take(kept[0]).unwrap_err(), TakeError::Busy);
    let report = pool.defragment();
    assert!(!report.complete && report.blocked_by_guards == 1 && report.moves == 0, "{report}");
    let id = pool.get(kept[0]).unwrap().checked();
    pool.replace(kept[0], drops.make(id)).unwrap();
    assert_eq!(pool.len(), live);
    drop(pool);
    assert_eq!(drops.live(), 0);
    assert!(start.elapsed() < Duration::from_secs(30));
    heap.verify().unwrap();
}

#[test]
fn a_thread_that_defragments_inside_its_own_guard_is_told() {
    let pool = Pool::new(&heap(1 << 20)).unwrap();
    let handle = pool.insert(1).unwrap();
    let found = pool.get(handle).unwrap();
    let report = pool.defragment();
    assert!(report.own_guard && !report.complete && report.moves == 0, "{report}");
    assert_eq!(*found, 1);
    drop(found);
    assert!(pool.defragment().complete);
}

#[test]
fn guards_nest_and_close_in_any_order() {
    let drops = Drops::default();
    let pool = Pool::new(&heap(1 << 20)).unwrap();
    let handles: Vec<_> = (0..20).map(|id| pool.insert(drops.make(id)).unwrap()).collect();
    let mut open: Vec<Ref<'_, _>> = handles.iter().map(|h| pool.get(*h).unwrap()).collect();
    handles.iter().for_each(|handle| assert!(pool.remove(*handle)));
    while open.len() > 1 {
        assert_eq!(pool.flush(), 0);
        let closed = open.swap_remove(open.len() / 3);
        assert!(closed.checked() < 20);
    }
    drop(open);
    assert_eq!((pool.flush(), drops.live()), (20, 0));
}

#[test]
fn pools_may_be_used_while_a_thread_is_torn_down() {
    static POOL: LazyLock<Pool<String>> = LazyLock::new(|| Pool::new(&heap(1 << 20)).unwrap());
    struct AtExit(Handle<String>);
    impl Drop for AtExit {
        fn drop(&mut self) {
            // The thread-locals of the library may be gone already.
            assert_eq!(POOL.get(self.0).as_deref(), Some(&"kept".to_string()));
            let pinned = POOL.pin(self.0).unwrap();
            assert!(POOL.remove(self.0));
            assert_eq!(*pinned, "kept");
            let other = POOL.insert("new".to_string()).unwrap();
            assert_eq!(POOL.take(other).unwrap(), "new");
            POOL.flush();
        }
    }
    thread_local!(static LATE: RefCell<Option<AtExit>> = const { RefCell::new(None) });
    for early in [false, true] {
        let end = thread::spawn(move || {
            if early {
                LATE.with_borrow_mut(|late| {
                    *late = Some(AtExit(POOL.insert("kept".into()).unwrap()))
                });
            }
            assert!(POOL.iter().all(|(_, text)| *text == "kept"));
            LATE.with_borrow_mut(|late| *late = Some(AtExit(POOL.insert("kept".into()).unwrap())));
        });
        end.join().unwrap();
    }
    // `early` removed one more; a drop that panicked in a torn down thread would have left its
    // object.
    while POOL.flush() > 0 {}
    assert_eq!((POOL.len(), POOL.heap().stats().live_blocks), (0, 0));
    POOL.heap().verify().unwrap();
}

#[test]
fn a_circle_of_pins_leaks_and_does_no_more_harm() {
    struct Selfish {
        _object: Counted,
        pin: std::sync::Mutex<Option<Pinned<Selfish>>>,
    }
    let drops = Drops::default();
    let heap = heap(1 << 20);
    let pool = Pool::new(&heap).unwrap();
    let object = Selfish { _object: drops.make(1), pin: std::sync::Mutex::new(None) };
    let handle = pool.insert(object).unwrap();
    let pinned = pool.pin(handle).unwrap();
    *pinned.pin.lock().unwrap() = Some(pinned.clone());
    drop((pinned, pool));
    assert!(heap.defragment().complete);
    heap.verify().unwrap();
    assert_eq!((drops.live(), heap.stats().pools), (1, 1));
}

#[test]
fn pools_can_be_shared_by_reference_count_and_dropped_by_any_thread() {
    let drops = Drops::default();
    let pool = Arc::new(Pool::new(&heap(1 << 20)).unwrap());
    let handle = pool.insert(drops.make(1)).unwrap();
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || assert_eq!(pool.get(handle).unwrap().checked(), 1))
        })
        .collect();
    drop(pool);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(drops.live(), 0);
}
