//! Removal by what objects are: `retain` of who has the pool alone, `remove_where` of who shares it.

#![cfg(not(loom))]

mod common;

use common::{Counted, Drops, heap, heaps, panics};
use std::thread;
use typed_pool::{Handle, Heap, Pool};

/// A pool of counted objects whose ids count from 0, and their handles.
fn counted(drops: &Drops, heap: &Heap, objects: u64) -> (Pool<Counted>, Vec<Handle<Counted>>) {
    let pool = Pool::new(heap).unwrap();
    let handles = pool.insert_many((0..objects).map(|id| drops.make(id))).unwrap();
    (pool, handles)
}

/// Ids of the objects that are left.
fn ids(pool: &Pool<Counted>) -> Vec<u64> {
    let mut ids: Vec<_> = pool.iter().map(|(_, object)| object.checked()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn what_retain_removes_is_dropped_while_it_goes_on() {
    for heap in heaps(1 << 20) {
        let drops = Drops::default();
        let (mut pool, _) = counted(&drops, &heap, 1000);
        let (mut asked, mut at_last) = (0, 0);
        pool.retain(|_, object| {
            asked += 1;
            at_last = drops.dropped();
            object.checked() == 0
        });
        assert!(at_last >= 500, "{at_last} of {asked}: retain keeps a guard open");
        assert_eq!((asked, ids(&pool), drops.live()), (1000, vec![0], 1));
        heap.verify().unwrap();
    }
}

#[test]
fn retain_changes_what_it_keeps_and_leaves_what_is_pinned() {
    for heap in heaps(1 << 20) {
        let drops = Drops::default();
        let (mut pool, handles) = counted(&drops, &heap, 500);
        let pins: Vec<_> = handles.iter().step_by(9).map(|h| pool.pin(*h).unwrap()).collect();
        let mut asked = Vec::new();
        let mut objects = Pool::new(&heap).unwrap(); // another pool may be used meanwhile
        pool.retain(|handle, object| {
            objects.extend([object.id]);
            asked.push(handle);
            object.checked() % 2 == 0
        });
        assert!(
            asked.iter().all(|handle| !handles.iter().step_by(9).any(|pinned| pinned == handle))
        );
        assert_eq!((asked.len(), objects.len()), (500 - pins.len(), asked.len()));
        let kept = |id: &u64| id.is_multiple_of(2) || id.is_multiple_of(9);
        assert!(ids(&pool).into_iter().eq((0..500).filter(kept)));
        drop(pins);
        pool.retain(|_, object| object.checked() % 2 == 0);
        assert!(ids(&pool).into_iter().eq((0..500).step_by(2)));
        heap.verify().unwrap();
    }
}

#[test]
fn retain_that_is_stopped_has_removed_what_it_was_told_to() {
    for stop in [0, 1, 40, 63, 64, 65, 200] {
        let drops = Drops::default();
        let (mut pool, _) = counted(&drops, &heap(1 << 20), 300);
        let mut asked = Vec::new();
        assert!(panics(|| pool.retain(|_, object| {
            assert!(asked.len() < stop, "as it should");
            asked.push(object.checked());
            object.checked() % 3 == 0
        })));
        assert!(
            ids(&pool).into_iter().eq((0..300).filter(|id| id % 3 == 0 || !asked.contains(id)))
        );
        while pool.flush() > 0 {}
        assert_eq!(drops.live(), pool.len());
        pool.heap().verify().unwrap();
    }
}

#[test]
fn retain_stops_at_a_drop_that_panics_after_the_batch_is_removed() {
    let drops = Drops::default();
    let mut pool = Pool::new(&heap(1 << 20)).unwrap();
    let objects = (0..1000).map(|id| if id == 10 { drops.bomb(id) } else { drops.make(id) });
    pool.extend(objects);
    let mut refused = Vec::new();
    assert!(panics(|| pool.retain(|_, object| {
        refused.push(object.checked());
        false
    })));
    assert!((64..=1000).contains(&refused.len()));
    assert!(ids(&pool).into_iter().eq((0..1000).filter(|id| !refused.contains(id))));
    while pool.flush() > 0 {}
    assert_eq!(drops.live(), pool.len());
    pool.retain(|_, _| false);
    assert_eq!((pool.len(), drops.live()), (0, 0));
    pool.heap().verify().unwrap();
}

#[test]
fn a_version_that_was_not_asked_for_stays() {
    for heap in heaps(1 << 20) {
        let drops = Drops::default();
        let (pool, handles) = counted(&drops, &heap, 300);
        let removed = pool.remove_where(|handle, object| match object.checked() % 3 {
            0 => true,
            1 => {
                // Somebody else is faster, and so is somebody who removes.
                pool.replace(handle, drops.make(1000 + object.id)).unwrap();
                true
            }
            _ => pool.remove(handle),
        });
        assert_eq!(removed, 100);
        assert!(ids(&pool).into_iter().eq((1001..1300).step_by(3)));
        assert!(handles.iter().skip(1).step_by(3).all(|handle| pool.contains(*handle)));
        while pool.flush() > 0 {}
        assert_eq!(drops.live(), 100);
        heap.verify().unwrap();
    }
}

#[test]
fn remove_where_sees_objects_with_their_handles_and_leaves_pins_alive() {
    for heap in heaps(1 << 20) {
        let drops = Drops::default();
        let (pool, handles) = counted(&drops, &heap, 300);
        let pinned = pool.pin(handles[7]).unwrap();
        let mut asked = 0;
        assert_eq!(
            pool.remove_where(|handle, object| {
                asked += 1;
                assert_eq!(handles[object.checked() as usize], handle);
                object.id < 150
            }),
            150
        );
        assert_eq!((asked, pool.len(), pinned.checked()), (300, 150, 7));
        assert!(handles[..150].iter().all(|handle| !pool.contains(*handle)));
        assert_eq!(pool.remove_where(|_, _| false), 0);
        drop(pinned);
        while pool.flush() > 0 {}
        assert_eq!(drops.live(), 150);
        heap.verify().unwrap();
    }
}

#[test]
fn remove_where_that_is_stopped_has_removed_what_it_was_told_to() {
    let drops = Drops::default();
    let (pool, _) = counted(&drops, &heap(1 << 20), 300);
    let mut asked = Vec::new();
    assert!(panics(|| {
        pool.remove_where(|_, object| {
            assert!(asked.len() < 100, "as it should");
            asked.push(object.checked());
            object.id % 2 == 0
        });
    }));
    assert!(ids(&pool).into_iter().eq((0..300).filter(|id| id % 2 == 1 || !asked.contains(id))));
    while pool.flush() > 0 {}
    assert_eq!(drops.live(), pool.len());
}

#[test]
fn of_many_threads_that_remove_where_each_object_is_removed_by_one() {
    for heap in heaps(1 << 20) {
        let drops = Drops::default();
        let (pool, _) = counted(&drops, &heap, 2000);
        let removed: usize = thread::scope(|s| {
            let all = || pool.remove_where(|_, object| object.checked() % 2 == 0);
            let threads = [s.spawn(all), s.spawn(all)];
            heap.defragment();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((removed, pool.len()), (1000, 1000));
        while pool.flush() > 0 {}
        assert_eq!(drops.live(), 1000);
        heap.verify().unwrap();
    }
}
