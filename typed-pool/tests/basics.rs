//! Inserting, finding, removing, and what a pool holds.

#![cfg(not(loom))]

mod common;

use common::{heap, heaps, panics};
use std::collections::HashSet;
use typed_pool::{AllocErrorKind, BuildError, Handle, Heap, Pool, PoolError, Ref, RefMut};

#[repr(align(64))]
#[derive(Clone, Copy, PartialEq, Debug)]
struct Line(u64);

#[repr(align(128))]
#[derive(Clone, Copy, PartialEq, Debug)]
struct TwoLines([u64; 3]);

#[repr(align(4096))]
#[derive(Clone, Copy, PartialEq, Debug)]
struct Page(u8);

#[repr(align(4096))]
#[derive(Clone, Copy, PartialEq, Debug)]
struct AlignedNothing;

#[repr(align(8192))]
struct TwoPages;

/// Inserts, moves and takes objects of one type, and looks at each after every step.
fn keeps<T: Clone + PartialEq + std::fmt::Debug>(heap: &Heap, make: impl Fn(u8) -> T) {
    let pool = Pool::new(heap).unwrap();
    let mut live = Vec::new();
    for i in 0..48_u8 {
        live.push((pool.insert(make(i)).unwrap(), make(i)));
    }
    let gone: Vec<_> = live.extract_if(.., |(handle, _)| handle.index() % 3 == 0).collect();
    assert!(gone.iter().all(|(handle, _)| pool.remove(*handle)));
    let report = pool.defragment();
    assert!(report.complete, "{report}");
    heap.verify().unwrap();
    for (handle, value) in &live {
        let found = pool.get(*handle).unwrap();
        assert_eq!(*found, *value);
        assert_eq!(std::ptr::from_ref(&*found).addr() % align_of::<T>(), 0);
    }
    assert!(gone.iter().all(|(handle, _)| pool.get(*handle).is_none()));
    assert_eq!(pool.len(), live.len());
    for (handle, value) in live {
        assert_eq!(pool.take(handle).unwrap(), value);
    }
    assert!(pool.is_empty());
}

#[test]
fn objects_of_every_size_and_alignment_survive_moves() {
    let own_buffer = Heap::builder().buffer(vec![0xa5_u8; 4 << 20]).build().unwrap();
    for heap in heaps(4 << 20).chain([own_buffer]) {
        keeps(&heap, |_| ());
        keeps(&heap, |i| i);
        keeps(&heap, |i| [i; 17]);
        keeps(&heap, |i| [u64::from(i); 128]);
        keeps(&heap, |i| [u64::from(i); 1000]);
        keeps(&heap, |i| i.to_string());
        keeps(&heap, |i| Line(i.into()));
        keeps(&heap, |i| TwoLines([i.into(); 3]));
        keeps(&heap, Page);
        keeps(&heap, |_| AlignedNothing);
        assert_eq!(heap.stats().live_blocks, 0);
        assert_eq!(heap.stats().pools, 0);
        heap.verify().unwrap();
    }
}

#[test]
fn an_alignment_above_4096_is_refused() {
    let error = Pool::<TwoPages>::new(&heap(1 << 20)).unwrap_err();
    assert_eq!((error.kind, error.align), (AllocErrorKind::Unsupported, 8192));
    let error = Pool::<TwoPages>::with_capacity(1).unwrap_err();
    assert!(matches!(error, PoolError::Alloc(_)));
}

/// Fills a pool with as many objects as it was made for.
fn fits<T: Copy>(value: T) {
    for objects in [0, 1, 2, 3, 7, 30, 200, 1500] {
        let pool = Pool::with_capacity(objects).unwrap();
        for i in 0..objects {
            let inserted = pool.insert(value);
            assert!(inserted.is_ok(), "{i} of {objects}: {}", inserted.unwrap_err());
        }
        let block = size_of::<T>().max(align_of::<T>()).next_multiple_of(16);
        let (heap, most) = (pool.heap().capacity(), objects * (block * 17 / 8 + 34));
        assert!(heap <= 1024 + most + 2 * align_of::<T>(), "{heap} bytes for {objects}");
    }
}

#[test]
fn a_pool_holds_what_it_was_made_for() {
    fits(());
    fits(1_u8);
    fits([1_u8; 16]);
    fits([1_u8; 17]);
    fits([1_u8; 24]);
    fits([1_u8; 100]);
    fits([1_u8; 129]);
    fits([1_u8; 200]);
    fits([1_u8; 513]);
    fits([1_u8; 900]);
    fits([1_u8; 1024]);
    fits([1_u8; 1025]);
    fits([1_u8; 5000]);
    fits(Line(1));
    fits([Line(1); 3]);
    fits(TwoLines([1; 3]));
    fits(Page(1));
    fits(AlignedNothing);
}

#[test]
fn a_pool_that_no_heap_can_hold_is_refused() {
    let error = Pool::<u64>::with_capacity(usize::MAX).unwrap_err();
    assert!(matches!(error, PoolError::Build(BuildError::OutOfRange { .. })), "{error}");
    assert!(error.to_string().contains("capacity is 18446744073709551615"), "{error}");
    assert!(Pool::<[u64; 1 << 20]>::with_capacity(1 << 20).is_err());
}

#[test]
fn a_full_pool_gives_the_value_back_and_has_room_again_after_a_removal() {
    for heap in heaps(64 << 10) {
        let pool = Pool::new(&heap).unwrap();
        let mut handles = Vec::new();
        let refused = loop {
            match pool.insert(vec![handles.len(); 4]) {
                Ok(handle) => handles.push(handle),
                Err(refused) => break refused,
            }
        };
        assert!(handles.len() > 1000, "{} fit", handles.len());
        assert_eq!(refused.error.kind, AllocErrorKind::OutOfMemory);
        assert_eq!(refused.error.requested, size_of::<Vec<usize>>());
        assert!(format!("{refused} {refused:?}").contains("no room"));
        let value = refused.into_value();
        assert_eq!(value, [handles.len(); 4]);
        assert!(pool.insert_with(|_| unreachable!("there is no room")).is_err());
        for (i, handle) in handles.iter().enumerate() {
            assert!(pool.remove(*handle));
            let again = pool.insert(value.clone()).unwrap();
            assert_eq!(pool.len(), handles.len(), "after {i}");
            assert!(pool.remove(again) && pool.insert(value.clone()).is_ok());
        }
    }
}

#[test]
fn a_slot_never_gives_the_same_handle_twice() {
    let pool = Pool::with_capacity(1).unwrap();
    let mut seen = HashSet::new();
    for i in 0..5000 {
        let handle = pool.insert(i).unwrap();
        assert!(seen.insert(handle), "{handle:?} came again");
        assert_eq!(pool.with(handle, |value| *value), Some(i));
        assert!(if i % 2 == 0 { pool.remove(handle) } else { pool.take(handle) == Ok(i) });
    }
    assert!(seen.iter().all(|handle| !pool.contains(*handle) && pool.get(*handle).is_none()));
    let slots: HashSet<u32> = seen.iter().map(|handle| handle.index()).collect();
    assert!(slots.len() < 500, "{} slots for one object at a time", slots.len());
}

#[test]
fn an_object_can_know_its_own_handle() {
    #[derive(Debug)]
    struct Node(Handle<Node>);
    let pool = Pool::with_capacity(8).unwrap();
    let handle = pool
        .insert_with(|me| {
            assert!(!pool.contains(me) && pool.get(me).is_none() && !pool.remove(me));
            assert!(pool.replace(me, Node(me)).is_err() && pool.take(me).is_err());
            let other = pool.insert(Node(me)).unwrap();
            assert_ne!(other, me);
            Node(me)
        })
        .unwrap();
    assert_eq!(pool.with(handle, |me| me.0), Some(handle));
    assert_eq!(pool.iter().filter(|(_, me)| me.0 == handle).count(), 2);
}

#[test]
fn the_handle_of_an_insert_that_panicked_is_stale_for_good() {
    let pool = Pool::with_capacity(8).unwrap();
    let mut leaked = Vec::new();
    for _ in 0..200 {
        assert!(panics(|| {
            let _ = pool.insert_with(|me| {
                leaked.push(me);
                panic!("as it should")
            });
        }));
        assert!(pool.is_empty());
        let handle = pool.insert(1).unwrap();
        assert!(leaked.iter().all(|leaked| *leaked != handle && !pool.contains(*leaked)));
        assert!(pool.remove(handle));
    }
    pool.flush();
    assert_eq!(pool.heap().stats().live_blocks, 0);
    pool.heap().verify().unwrap();
}

#[test]
fn iterators_see_every_object_once() {
    let mut pool = Pool::with_capacity(500).unwrap();
    let handles: Vec<_> = (0..500).map(|i| pool.insert(i).unwrap()).collect();
    for handle in handles.iter().step_by(3) {
        pool.remove(*handle);
    }
    let expected: HashSet<_> = (0..500).filter(|i| i % 3 > 0).map(|i| (handles[i], i)).collect();
    assert_eq!(
        pool.iter().map(|(handle, value)| (handle, *value)).collect::<HashSet<_>>(),
        expected
    );
    let guard = pool.enter();
    assert_eq!(
        guard.iter().map(|(handle, value)| (handle, *value)).collect::<HashSet<_>>(),
        expected
    );
    assert_eq!((&guard).into_iter().count(), expected.len());
    drop(guard);
    assert!(pool.handles().all(|handle| pool.contains(handle)));
    assert_eq!(pool.handles().count(), expected.len());
    for (_, mut value) in &mut pool {
        *value += 1;
    }
    assert_eq!((&pool).into_iter().map(|(_, value)| *value - 1).sum::<usize>(), {
        expected.iter().map(|(_, value)| value).sum::<usize>()
    });
    let (low, high) = pool.iter().size_hint();
    assert!(low <= expected.len() && high.unwrap() >= expected.len());
}

#[test]
fn pools_and_raw_blocks_share_a_heap() {
    for heap in heaps(1 << 20) {
        let (words, lines) = (Pool::new(&heap).unwrap(), Pool::new(&heap).unwrap());
        let (mut all_words, mut all_lines, mut raw) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..200_u64 {
            all_words.push(words.insert(i.to_string()).unwrap());
            all_lines.push(lines.insert(Line(i)).unwrap());
            raw.push(heap.allocate_bytes(&[i as u8; 50]).unwrap());
        }
        assert_eq!((heap.stats().pools, heap.stats().live_blocks), (2, 600));
        drop(lines);
        assert_eq!((heap.stats().pools, heap.stats().live_blocks), (1, 400));
        heap.defragment();
        heap.verify().unwrap();
        for i in 0..200 {
            assert_eq!(*words.get(all_words[i]).unwrap(), i.to_string());
            assert_eq!(*heap.read(raw[i]).unwrap(), [i as u8; 50]);
        }
        assert!(all_lines.iter().all(|handle| !words.contains(handle.cast())));
    }
}

#[test]
fn sizes_are_as_documented() {
    assert_eq!(size_of::<Option<Handle<String>>>(), 8);
    assert!(size_of::<Ref<'_, u8>>() <= 48 && size_of::<RefMut<'_, u8>>() <= 48);
    assert_eq!(size_of::<typed_pool::Pinned<u8>>(), 32);
}

#[cfg(feature = "slotmap")]
#[test]
fn the_null_key_of_slotmap_finds_nothing() {
    let pool = Pool::with_capacity(8).unwrap();
    pool.insert(1).unwrap();
    assert!(!pool.contains(Handle::default()) && pool.get(Handle::default()).is_none());
}
