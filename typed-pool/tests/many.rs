//! Reading, putting in and removing many objects in one call.

#![cfg(not(loom))]

mod common;

use common::{Counted, Drops, Random, heap, heaps, panics};
use std::collections::HashSet;
use std::{iter, ptr};
use typed_pool::{AllocErrorKind, Handle, Heap, Pool};

/// A pool of counted objects whose ids count from 0, and their handles.
fn counted(drops: &Drops, heap: &Heap, objects: u64) -> (Pool<Counted>, Vec<Handle<Counted>>) {
    let pool = Pool::new(heap).unwrap();
    let handles = pool.insert_many((0..objects).map(|id| drops.make(id))).unwrap();
    (pool, handles)
}

/// Batches of every length up to some look-aheads, of objects of one size.
fn reads<const BYTES: usize>(heap: &Heap) {
    let pool = Pool::new(heap).unwrap();
    let handles = pool.insert_many((0..80).map(|i| [i; BYTES])).unwrap();
    let stale: HashSet<_> = handles.iter().copied().step_by(7).collect();
    assert_eq!(pool.remove_many(&handles.iter().copied().step_by(7).collect::<Vec<_>>()), 12);
    pool.defragment();
    let guard = pool.enter();
    for len in 0..=handles.len() {
        let batch = &handles[handles.len() - len..];
        let found = guard.get_many(batch);
        assert_eq!(found.len(), len);
        for (handle, object) in iter::zip(batch, found) {
            assert_eq!(object.is_none(), stale.contains(handle));
            let alone = guard.get(*handle);
            assert_eq!(object.map(ptr::from_ref), alone.map(ptr::from_ref));
        }
    }
}

#[test]
fn many_objects_are_what_each_one_is() {
    for heap in heaps(4 << 20) {
        reads::<0>(&heap);
        reads::<1>(&heap);
        reads::<64>(&heap);
        reads::<100>(&heap);
        reads::<1024>(&heap);
        reads::<5000>(&heap);
    }
}

#[test]
fn handles_of_a_batch_come_from_anything() {
    struct Edge {
        to: Handle<u32>,
    }
    let pool = Pool::with_capacity(100).unwrap();
    let handles = pool.insert_many(0..100).unwrap();
    let guard = pool.enter();
    let sum = |found: &mut dyn Iterator<Item = Option<&u32>>| found.flatten().sum::<u32>();
    assert_eq!(sum(&mut guard.get_many(&handles)), 4950);
    assert_eq!(sum(&mut guard.get_many(&handles[10..12])), 21);
    assert_eq!(sum(&mut guard.get_many([handles[1], handles[1]])), 2);
    assert_eq!(sum(&mut guard.get_many(handles.clone())), 4950);
    let edges: Vec<_> = handles.iter().map(|to| Edge { to: *to }).collect();
    assert_eq!(sum(&mut guard.get_many(edges.iter().map(|edge| edge.to))), 4950);
    let evens = handles.iter().filter(|handle| handle.index() % 2 == 0);
    assert_eq!(sum(&mut guard.get_many(evens)), 2450);
    assert_eq!(guard.get_many(iter::empty::<Handle<u32>>()).next(), None);
    assert_eq!(format!("{:?}", guard.get_many(&handles)), "GetMany { .. }");
}

#[test]
fn a_batch_that_is_read_sees_each_object_when_its_turn_comes() {
    let pool = Pool::with_capacity(100).unwrap();
    let handles = pool.insert_many(0..100).unwrap();
    let guard = pool.enter();
    let mut found = guard.get_many(&handles);
    let first = found.next().unwrap().unwrap();
    pool.remove(handles[0]);
    pool.remove(handles[1]);
    pool.replace(handles[2], 1000).unwrap();
    assert_eq!((first, found.next(), found.next()), (&0, Some(None), Some(Some(&1000))));
}

#[test]
fn a_long_batch_does_not_keep_one_guard() {
    let drops = Drops::default();
    let (pool, handles) = counted(&drops, &heap(1 << 20), 200);
    let mut calls = 0_u64;
    pool.with_many(&handles, |handle, object| {
        assert_eq!((handle, object.unwrap().checked()), (handles[calls as usize], calls));
        match calls {
            0 => assert!(pool.remove(handle)),
            63 => assert_eq!(pool.flush(), 0), // the guard that showed it is open
            64 => assert_eq!(pool.flush(), 1),
            _ => {}
        }
        calls += 1;
    });
    assert_eq!((calls, drops.dropped()), (200, 1));
    assert!(panics(|| pool.with_many(&handles, |_, _| panic!("as it should"))));
    pool.flush();
    assert!(pool.take(handles[1]).is_ok(), "no guard is left");
}

#[test]
fn a_refused_batch_loses_nothing() {
    for heap in heaps(64 << 10) {
        let drops = Drops::default();
        let pool = Pool::new(&heap).unwrap();
        let refused = pool.insert_many((0..5000).map(|id| drops.make(id))).unwrap_err();
        let inserted = refused.handles.len();
        assert!((100..5000).contains(&inserted));
        assert_eq!(refused.error.kind, AllocErrorKind::OutOfMemory);
        assert_eq!(
            refused.to_string(),
            format!("{inserted} values were inserted, then: {}", refused.error)
        );
        assert!(format!("{refused:?}").starts_with("InsertManyError { inserted: "));
        assert_eq!((pool.len(), drops.live()), (inserted, inserted + 1));
        for (handle, id) in refused.handles.iter().zip(0..) {
            assert_eq!(pool.get(*handle).unwrap().checked(), id);
        }
        let half = refused.handles[..inserted / 2].to_vec();
        assert_eq!(refused.value.checked(), inserted as u64);
        assert_eq!(pool.remove_many(&half), half.len());
        // What was not inserted goes on where it stopped.
        let again = pool.insert_many(refused.into_values()).unwrap_err();
        assert!(again.handles.len() >= half.len());
        assert_eq!(pool.get(again.handles[0]).unwrap().checked(), inserted as u64);
        assert_eq!(again.value.checked(), (inserted + again.handles.len()) as u64);
        assert_eq!(again.rest.size_hint().0, 4999 - again.value.id as usize);
        drop((again, pool));
        assert_eq!(drops.live(), 0);
        heap.verify().unwrap();
    }
}

#[test]
fn an_iterator_that_promises_too_much_is_not_believed() {
    let pool = Pool::new(&heap(4096)).unwrap();
    let refused = pool.insert_many(iter::repeat([1_u8; 100])).unwrap_err();
    assert!(refused.rest.size_hint().0 > 1 << 60 && pool.len() == refused.handles.len());
}

#[test]
fn values_may_be_made_with_the_pool_that_they_go_into() {
    let pool = Pool::with_capacity(100).unwrap();
    let first = pool.insert(1).unwrap();
    let doubled = (0..6).map(|_| pool.iter().map(|(_, value)| *value).sum());
    let handles = pool.insert_many(doubled).unwrap();
    let guard = pool.enter();
    assert!(guard.get_many(&handles).flatten().eq(&[1, 2, 4, 8, 16, 32]));
    assert_eq!(guard.get(first), Some(&1));
}

#[test]
fn a_batch_whose_iterator_panics_leaves_nothing() {
    for heap in heaps(1 << 20) {
        let drops = Drops::default();
        let (mut pool, handles) = counted(&drops, &heap, 10);
        let fails_at = |end| {
            let drops = &drops;
            (0..).map(move |id| if id < end { drops.make(id) } else { panic!("as it should") })
        };
        for end in [0, 1, 63, 64, 300] {
            assert!(panics(|| drop(pool.insert_many(fails_at(end)))));
            assert_eq!(pool.len(), 10);
            pool.flush();
            assert_eq!(drops.live(), 10);
        }
        assert!(handles.iter().all(|handle| pool.contains(*handle)));
        // Nobody waits for the handles of `extend`: what is in stays.
        assert!(panics(|| pool.extend(fails_at(25))));
        assert_eq!((pool.len(), drops.live()), (35, 35));
        heap.verify().unwrap();
    }
}

#[test]
fn a_pool_is_extended_until_it_is_full() {
    let drops = Drops::default();
    let heap = heap(16 << 10);
    let mut pool = Pool::new(&heap).unwrap();
    pool.extend((0..10).map(|id| drops.make(id)));
    (&pool).extend([drops.make(10)]);
    assert_eq!((pool.len(), drops.live()), (11, 11));
    let many: Vec<_> = (0..5000).map(|id| drops.make(id)).collect();
    assert!(panics(|| pool.extend(many)));
    assert!((12..5000).contains(&pool.len()));
    assert_eq!(pool.len(), drops.live());
}

#[test]
fn removing_many_counts_each_object_once() {
    for heap in heaps(1 << 20) {
        let drops = Drops::default();
        let (pool, handles) = counted(&drops, &heap, 300);
        let (other, foreign) = counted(&drops, &heap, 300);
        assert_eq!(pool.remove_many(&foreign), 0);
        let twice = [&handles[..200], &foreign, &handles[100..200]].concat();
        assert_eq!(pool.remove_many(&twice), 200);
        assert_eq!(pool.remove_many(&handles), 100);
        assert_eq!(pool.remove_many(&[]), 0);
        pool.flush();
        assert_eq!((pool.len(), other.len(), drops.live()), (0, 300, 300));
        heap.verify().unwrap();
    }
}

#[test]
fn removing_many_goes_on_after_a_drop_that_panics() {
    let drops = Drops::default();
    let heap = heap(1 << 20);
    let (pool, handles) = counted(&drops, &heap, 1000);
    let bomb = pool.insert(drops.bomb(1)).unwrap();
    pool.remove(bomb);
    assert!(panics(|| {
        pool.remove_many(&handles);
    }));
    assert!(handles.iter().all(|handle| !pool.contains(*handle)));
    while pool.flush() > 0 {}
    assert_eq!((pool.len(), drops.live()), (0, 0));
    heap.verify().unwrap();
}

#[test]
fn objects_come_in_the_order_of_their_addresses() {
    for heap in heaps(4 << 20) {
        let drops = Drops::default();
        let (pool, mut handles) = counted(&drops, &heap, 3000);
        let mut random = Random(7);
        for round in 0..3 {
            // Slots and places are mixed.
            for _ in 0..3000 {
                let place = random.below(handles.len());
                assert!(pool.remove(handles[place]));
                handles[place] = pool.insert(drops.make(round)).unwrap();
            }
            let guard = pool.enter();
            let found: Vec<_> = guard.iter_by_address().collect();
            assert!(found.is_sorted_by_key(|(_, object)| ptr::from_ref(*object)));
            assert_eq!(found.len(), 3000);
            assert!(found.iter().all(|(handle, object)| {
                guard.get(*handle).is_some_and(|same| ptr::eq(same, *object))
            }));
            let expected: HashSet<_> = handles.iter().copied().collect();
            assert_eq!(found.iter().map(|(handle, _)| *handle).collect::<HashSet<_>>(), expected);
            drop(guard);
            pool.defragment();
        }
    }
}

#[test]
fn what_goes_during_a_walk_by_address_is_left_out() {
    let pool = Pool::with_capacity(100).unwrap();
    let handles = pool.insert_many(0..10).unwrap();
    let guard = pool.enter();
    let mut walk = guard.iter_by_address();
    assert_eq!(walk.size_hint(), (0, Some(10)));
    let (first, _) = walk.next().unwrap();
    pool.remove(first);
    let gone = *handles.iter().rfind(|handle| **handle != first).unwrap();
    pool.remove(gone);
    let replaced = *handles.iter().find(|handle| ![first, gone].contains(handle)).unwrap();
    pool.replace(replaced, 1000).unwrap();
    let late = pool.insert(2000).unwrap();
    let rest: Vec<_> = walk.by_ref().collect();
    assert_eq!(rest.len(), 8);
    assert!(rest.contains(&(replaced, &1000)));
    assert!(rest.iter().all(|(handle, _)| ![first, gone, late].contains(handle)));
    assert!(walk.next().is_none() && walk.next().is_none());
}
