//! Every object is dropped exactly once, whatever becomes of it, and whoever panics.

#![cfg(not(loom))]

mod common;

use common::{Counted, Drops, heap, heaps, panics};
use std::cell::Cell;
use std::sync::Arc;
use typed_pool::{Handle, Pool};

/// A pool with `count` objects, the ones in `bombs` with a drop that panics.
fn filled(drops: &Drops, count: u64, bombs: &[u64]) -> (Pool<Counted>, Vec<Handle<Counted>>) {
    let pool = Pool::new(&heap(1 << 20)).unwrap();
    let make = |id| if bombs.contains(&id) { drops.bomb(id) } else { drops.make(id) };
    let handles = (0..count).map(|id| pool.insert(make(id)).unwrap()).collect();
    (pool, handles)
}

#[test]
fn every_way_out_of_a_pool_drops_once() {
    for heap in heaps(1 << 20) {
        let drops = Drops::default();
        let mut pool = Pool::new(&heap).unwrap();
        let handles: Vec<_> = (0..900).map(|id| pool.insert(drops.make(id)).unwrap()).collect();
        let (removed, rest) = handles.split_at(100);
        removed.iter().for_each(|handle| assert!(pool.remove(*handle)));
        let (taken, rest) = rest.split_at(100);
        taken.iter().for_each(|handle| assert!(pool.take(*handle).unwrap().checked() < 200));
        let (replaced, rest) = rest.split_at(100);
        for handle in replaced {
            pool.replace(*handle, drops.make(1000)).unwrap();
            pool.rcu(*handle, |old| drops.make(old.checked() + 1)).unwrap();
        }
        pool.flush();
        assert_eq!((pool.len(), drops.live(), drops.dropped()), (700, 700, 400));
        let report = pool.defragment();
        assert!(report.complete && report.moves > 0, "{report}");
        assert_eq!(drops.live(), 700);
        assert!(pool.drain().take(100).all(|(_, object)| object.checked() < 2000));
        // The drain was dropped early, so the rest is gone too.
        assert_eq!((pool.len(), drops.live()), (0, 0));
        assert!(rest.iter().all(|handle| !pool.contains(*handle)));
        for id in 0..100 {
            pool.insert(drops.make(id)).unwrap();
        }
        pool.retain(|_, object| object.checked() % 2 == 0);
        assert_eq!((pool.len(), drops.live()), (50, 50));
        pool.clear();
        assert_eq!((pool.len(), drops.live()), (0, 0));
        pool.insert(drops.make(1)).unwrap();
        drop(pool);
        assert_eq!(drops.live(), 0);
        heap.verify().unwrap();
        let stats = heap.stats();
        assert_eq!((stats.live_blocks, stats.pending_blocks, stats.pools), (0, 0, 0));
    }
}

#[test]
fn a_removed_object_is_dropped_when_its_last_guard_is() {
    let drops = Drops::default();
    let (pool, handles) = filled(&drops, 2, &[]);
    let (first, second) = (pool.get(handles[0]), pool.get(handles[0]));
    pool.remove(handles[0]);
    assert_eq!((pool.len(), pool.flush(), drops.live()), (1, 0, 2));
    assert_eq!(first.unwrap().checked(), 0);
    assert_eq!((pool.flush(), drops.live()), (0, 2));
    drop(second);
    assert_eq!((pool.flush(), drops.live()), (1, 1));
}

#[test]
fn removed_objects_are_dropped_in_the_course_of_removals() {
    let drops = Drops::default();
    let (pool, handles) = filled(&drops, 2000, &[]);
    for handle in handles {
        pool.remove(handle);
    }
    assert!(drops.live() < 200, "{} of 2000 are still there", drops.live());
}

#[test]
fn a_full_heap_drops_what_was_removed_before_it_refuses() {
    let drops = Drops::default();
    let pool = Pool::new(&heap(4096)).unwrap();
    let mut handles: Vec<_> = (0..).map_while(|id| pool.insert(drops.make(id)).ok()).collect();
    assert!(handles.len() > 30);
    pool.remove(handles.pop().unwrap());
    assert_eq!(drops.live(), handles.len() + 1);
    assert!(pool.insert(drops.make(0)).is_ok());
    assert_eq!(drops.live(), handles.len() + 1);
}

#[test]
fn a_pool_drops_everything_at_once_though_a_guard_of_the_heap_is_open() {
    let drops = Drops::default();
    let (pool, handles) = filled(&drops, 100, &[]);
    let heap = pool.heap().clone();
    let _guard = heap.enter();
    handles.iter().take(50).for_each(|handle| assert!(pool.remove(*handle)));
    assert_eq!(drops.live(), 100);
    drop(pool);
    assert_eq!((drops.live(), heap.stats().pools), (0, 0));
}

#[test]
fn objects_without_a_size_are_dropped_too() {
    thread_local!(static DROPPED: Cell<usize> = const { Cell::new(0) });
    struct Nothing;
    impl Drop for Nothing {
        fn drop(&mut self) {
            DROPPED.set(DROPPED.get() + 1);
        }
    }
    let mut pool = Pool::with_capacity(100).unwrap();
    let handles: Vec<_> = (0..100).map(|_| pool.insert(Nothing).unwrap()).collect();
    assert!(pool.remove(handles[0]) && pool.flush() == 1 && DROPPED.get() == 1);
    drop(pool.take(handles[1]).unwrap());
    assert_eq!(pool.drain().take(10).count(), 10);
    drop(pool);
    assert_eq!(DROPPED.get(), 100);
}

#[test]
fn a_panicking_drop_does_not_keep_a_pool_from_dropping_the_rest() {
    for bomb in [0, 40, 99] {
        let drops = Drops::default();
        let (pool, handles) = filled(&drops, 100, &[bomb]);
        let heap = pool.heap().clone();
        handles.iter().skip(30).take(40).for_each(|handle| assert!(pool.remove(*handle)));
        assert!(panics(|| drop(pool)));
        assert_eq!((drops.dropped(), drops.live()), (100, 0), "bomb {bomb}");
        assert_eq!((heap.stats().pools, heap.stats().live_blocks), (0, 0), "bomb {bomb}");
        heap.verify().unwrap();
    }
}

#[test]
fn a_panicking_drop_does_not_keep_what_was_pinned_from_being_dropped() {
    let drops = Drops::default();
    let (pool, handles) = filled(&drops, 3, &[0, 1, 2]);
    let heap = pool.heap().clone();
    let pins: Vec<_> = handles.iter().map(|handle| pool.pin(*handle).unwrap()).collect();
    handles.iter().take(2).for_each(|handle| assert!(pool.remove(*handle)));
    assert_eq!(pool.flush(), 0);
    let mut pins = pins.into_iter();
    drop((pins.next(), pins.next()));
    assert_eq!(drops.live(), 3);
    // The first drop panics here; the other object that was pinned must not be forgotten.
    assert!(panics(|| while pool.flush() > 0 {}));
    assert_eq!(drops.live(), 2);
    assert!(panics(|| drop(pool)));
    assert_eq!(drops.live(), 1);
    assert!(panics(|| drop(pins.next())));
    assert_eq!((drops.live(), heap.stats().pools, heap.stats().live_blocks), (0, 0, 0));
    heap.verify().unwrap();
}

#[test]
fn panicking_drops_in_flush_cost_one_call_each() {
    let drops = Drops::default();
    let (pool, handles) = filled(&drops, 60, &[7, 8, 50]);
    handles.iter().for_each(|handle| assert!(pool.remove(*handle)));
    let panicked = (0..10).filter(|_| panics(|| assert!(pool.flush() < 61))).count();
    assert_eq!((panicked, drops.dropped(), drops.live()), (3, 60, 0));
    assert_eq!(pool.heap().stats().pending_blocks, 0);
    assert!(pool.insert(drops.make(1)).is_ok());
    pool.heap().verify().unwrap();
}

#[test]
fn a_panicking_drop_in_clear_or_drain_leaves_an_empty_pool() {
    for (clear, bomb) in [(true, 3), (true, 299), (false, 3), (false, 299)] {
        let drops = Drops::default();
        let (mut pool, _) = filled(&drops, 300, &[bomb]);
        assert!(panics(|| if clear { pool.clear() } else { drop(pool.drain()) }));
        assert!(pool.is_empty());
        pool.flush();
        assert_eq!((drops.dropped(), drops.live()), (300, 0));
        let handle = pool.insert(drops.make(1)).unwrap();
        assert_eq!(pool.get(handle).unwrap().checked(), 1);
        pool.heap().verify().unwrap();
    }
}

#[test]
fn inserts_that_panic_because_of_somebody_elses_drop_cost_neither_slot_nor_room() {
    let drops = Drops::default();
    let heap = heap(8192);
    let fill = |pool: &Pool<_>| (0..).map_while(|id| pool.insert(drops.make(id)).ok()).count();
    let pool = Pool::new(&heap).unwrap();
    let all = fill(&pool);
    drop(pool);
    let guest = heap.allocate_zeroed(std::alloc::Layout::new::<[u8; 7000]>()).unwrap();
    let pool = Pool::new(&heap).unwrap();
    let few = fill(&pool);
    assert!(all > 100 && few < all / 3, "{few} of {all} fit beside the guest");
    let mut handles: Vec<_> = pool.handles().collect();
    for round in 0..1000 {
        pool.remove(handles.pop().unwrap());
        pool.remove(pool.insert(drops.bomb(round)).unwrap());
        // The heap is full: this reclaims the bomb first, and panics.
        assert!(panics(|| drop(pool.insert(drops.make(round)))));
        handles.push(pool.insert(drops.make(round)).unwrap());
        assert_eq!((pool.len(), drops.live()), (few, few));
    }
    heap.deallocate(guest).unwrap();
    heap.flush();
    // Slots for all of them, and room but for the part of a page that is cut off otherwise.
    let again = few + fill(&pool);
    assert!(again >= all * 9 / 10, "{again} of {all}");
    heap.verify().unwrap();
}

#[test]
fn a_drop_may_use_its_own_pool() {
    struct Node {
        next: Option<Handle<Node>>,
        pool: std::sync::Weak<Pool<Node>>,
        drops: Drops,
    }
    impl Drop for Node {
        fn drop(&mut self) {
            drop(self.drops.make(0));
            if let (Some(next), Some(pool)) = (self.next, self.pool.upgrade()) {
                assert!(pool.remove(next));
            }
        }
    }
    let drops = Drops::default();
    let pool = Arc::new(Pool::new(&heap(4 << 20)).unwrap());
    let mut next = None;
    for _ in 0..10_000 {
        let (drops, weak) = (drops.clone(), Arc::downgrade(&pool));
        next = Some(pool.insert(Node { next, pool: weak, drops }).unwrap());
    }
    // A chain: each drop removes the next object, without recursion.
    assert!(pool.remove(next.unwrap()));
    while pool.flush() > 0 {}
    assert_eq!((drops.dropped(), pool.len()), (10_000, 0));
}

#[test]
fn a_forgotten_pool_drops_nothing_and_harms_nobody() {
    let drops = Drops::default();
    let (pool, handles) = filled(&drops, 100, &[]);
    let heap = pool.heap().clone();
    handles.iter().step_by(2).for_each(|handle| assert!(pool.remove(*handle)));
    std::mem::forget(pool);
    heap.flush();
    assert!(heap.defragment().complete);
    heap.verify().unwrap();
    assert_eq!((drops.live(), heap.stats().pools), (100, 1));
}

#[test]
fn what_a_thread_left_under_a_guard_is_dropped_later_by_others() {
    /// More than make a batch.
    const MANY: u64 = 3000;
    let (heap, drops) = (heap(1 << 20), Drops::default());
    let pool = Pool::new(&heap).unwrap();
    let turn = || {
        for id in 0..MANY {
            // Objects of the pool without drops of ours.
            assert!(pool.remove(pool.insert(None).unwrap()), "{id}");
        }
    };
    // What this thread keeps is not what the other one leaves.
    turn();
    let guard = heap.enter();
    std::thread::scope(|scope| {
        let left = scope.spawn(|| pool.remove(pool.insert(Some(drops.make(1))).unwrap()));
        assert!(left.join().unwrap());
    });
    turn();
    assert_eq!(drops.live(), 1, "the guard was there before");
    drop(guard);
    turn();
    assert_eq!(drops.live(), 0);
}
