//! The whole interface once, on tiny heaps with few rounds, so that Miri can look at every unsafe
//! operation, with many schedules. Run by the ordinary test runner too.

#![cfg(not(loom))]

mod common;

use common::{Drops, panics};
use std::cell::{Cell, RefCell};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use typed_pool::{Handle, Heap, Policy, Pool};

/// Heaps of a few pages: slabs and a mover that has something to do.
fn heaps() -> impl Iterator<Item = Heap> {
    heaps_of(16 << 10)
}

fn heaps_of(capacity: usize) -> impl Iterator<Item = Heap> {
    Policy::ALL.iter().map(move |policy| {
        let builder = Heap::builder().capacity(capacity).page_size(1024).policy(*policy);
        builder.patience(Duration::from_secs(10)).build().unwrap()
    })
}

/// An object large enough that a few fill a page.
#[derive(Debug)]
struct Large<T>(T, [u64; 12]);

fn large<T>(value: T) -> Large<T> {
    Large(value, [7; 12])
}

/// A pool of 24 objects of which every second one is gone, and the handles of the others.
fn with_holes<T>(heap: &Heap, make: impl Fn(u64) -> T) -> (Pool<T>, Vec<Handle<T>>) {
    let pool = Pool::new(heap).unwrap();
    let mut handles: Vec<_> = (0..24).map(|i| pool.insert(make(i)).ok().unwrap()).collect();
    let mut turn = 0..;
    handles
        .extract_if(.., |_| turn.next().is_some_and(|turn| turn % 2 == 1))
        .for_each(|handle| assert!(pool.remove(handle)));
    while pool.flush() > 0 {}
    (pool, handles)
}

#[test]
fn objects_move_and_stay_what_they_are() {
    for heap in heaps() {
        let (pool, handles) = with_holes(&heap, |i| large((i, RefCell::new(i.to_string()))));
        let report = pool.defragment();
        assert!(report.moves > 0, "{report}");
        let guard = pool.enter();
        for handle in &handles {
            let object = guard.get(*handle).unwrap();
            object.0.1.borrow_mut().push('!');
            assert_eq!((&*object.0.1.borrow(), object.1[11]), (&format!("{}!", object.0.0), 7));
        }
        drop(guard);
        heap.defragment();
        assert!(pool.iter().all(|(_, object)| object.0.1.borrow().ends_with('!')));
        heap.verify().unwrap();
    }
}

#[test]
fn values_come_and_go_on_one_thread() {
    for heap in heaps() {
        let drops = Drops::default();
        let (mut pool, handles) = with_holes(&heap, |i| drops.make(i));
        pool.replace(handles[0], drops.make(100)).unwrap();
        pool.rcu(handles[0], |old| drops.make(old.checked() + 1)).unwrap();
        assert_eq!(pool.take(handles[0]).unwrap().checked(), 101);
        assert!(pool.replace(handles[0], drops.make(1)).is_err());
        let me = pool.insert_with(|me| drops.make(me.to_bits())).unwrap();
        assert!(panics(|| assert!(pool.insert_with(|_| panic!("as it should")).is_err())));
        assert_eq!(pool.try_take(me).unwrap().checked(), me.to_bits());
        pool.get_mut(handles[1]).unwrap().id = 2;
        let all: Vec<_> = pool.iter_mut().collect();
        assert_eq!(
            all.iter().filter(|(_, object)| object.id != 2 || object.checked() == 2).count(),
            11
        );
        drop(all);
        pool.retain(|handle, object| handle == handles[2] || object.checked() % 4 == 0);
        let mut drain = pool.drain();
        assert!(drain.next().is_some_and(|(_, object)| object.checked() < 24));
        drop(drain);
        assert!(pool.is_empty());
        pool.insert(drops.bomb(1)).unwrap();
        pool.insert(drops.make(2)).unwrap();
        assert!(panics(|| pool.clear()));
        assert!(pool.is_empty());
        pool.insert(drops.make(3)).unwrap();
        drop(pool);
        assert_eq!(drops.live(), 0);
        heap.verify().unwrap();
    }
}

#[test]
fn sizes_and_alignments() {
    #[repr(align(256))]
    struct Wide(u8);
    for heap in heaps() {
        let (nothing, empty) = with_holes(&heap, |_| ());
        assert_eq!(nothing.with(empty[1], |()| 1), Some(1));
        drop(nothing);
        let (wide, handles) = with_holes(&heap, |i| Wide(i as u8));
        wide.defragment();
        assert!(handles.iter().all(|handle| wide.with(*handle, |wide| wide.0).unwrap() % 2 == 0));
    }
}

#[test]
fn pins_outlive_everything() {
    for heap in heaps() {
        let drops = Drops::default();
        let (mut pool, handles) = with_holes(&heap, |i| drops.make(i));
        let pins: Vec<_> = handles.iter().take(4).map(|h| pool.pin(*h).unwrap()).collect();
        pool.remove(handles[0]);
        pool.replace(handles[1], drops.make(50)).unwrap();
        assert!(pool.get_mut(handles[2]).is_none());
        pool.defragment();
        pool.clear();
        drop((pool, heap));
        let other = pins[3].clone();
        thread::scope(|s| {
            s.spawn(move || assert!(other.checked() < 24));
            s.spawn(move || pins.into_iter().for_each(|pinned| assert!(pinned.checked() < 24)));
        });
        assert_eq!(drops.live(), 0);
    }
}

#[test]
fn readers_and_a_mover() {
    for heap in heaps() {
        let (pool, handles) = with_holes(&heap, |i| large(Mutex::new(Box::new(i))));
        thread::scope(|s| {
            s.spawn(|| assert!(!heap.defragment().own_guard));
            for _ in 0..2 {
                s.spawn(|| {
                    for handle in &handles {
                        let guard = pool.enter();
                        let object = guard.get(*handle).unwrap();
                        **object.0.lock().unwrap() += 100;
                        **guard.get(*handle).unwrap().0.lock().unwrap() += 100;
                    }
                });
            }
        });
        assert!(pool.iter().all(|(_, object)| (400..424).contains(&**object.0.lock().unwrap())));
        heap.verify().unwrap();
    }
}

#[test]
fn a_mutable_borrow_and_a_mover() {
    for heap in heaps() {
        let (mut pool, handles) = with_holes(&heap, |i| large(Cell::new(i)));
        thread::scope(|s| {
            s.spawn(|| heap.defragment());
            for (_, mut object) in &mut pool {
                *object.0.get_mut() += 100;
                object.0.set(object.0.get() + 100);
            }
            for handle in &handles {
                let mut object = pool.get_mut(*handle).unwrap();
                *object.0.get_mut() += 100;
            }
            assert_eq!(pool.drain().filter(|(_, object)| object.0.get() >= 300).count(), 12);
        });
        heap.verify().unwrap();
    }
}

#[test]
fn readers_removers_and_takers() {
    for heap in heaps() {
        let drops = Drops::default();
        let (pool, handles) = with_holes(&heap, |i| drops.make(i));
        thread::scope(|s| {
            s.spawn(|| {
                for handle in &handles {
                    let found = pool.get(*handle);
                    thread::yield_now();
                    assert!(found.is_none_or(|object| object.checked() < 24));
                }
            });
            s.spawn(|| {
                for handle in handles.iter().step_by(2) {
                    pool.remove(*handle);
                    assert!(pool.insert(drops.make(1)).is_ok());
                }
            });
            for handle in handles.iter().skip(1).step_by(2) {
                if let Ok(object) = pool.take(*handle) {
                    assert!(object.checked() < 24);
                }
            }
        });
        drop(pool);
        assert_eq!(drops.live(), 0);
    }
}

#[test]
fn replacers_and_a_mover() {
    for heap in heaps() {
        let drops = Drops::default();
        let (pool, handles) = with_holes(&heap, |i| large(drops.make(i)));
        let pinned = pool.pin(handles[0]).unwrap();
        thread::scope(|s| {
            for _ in 0..2 {
                s.spawn(|| {
                    for handle in [handles[0], handles[5], handles[11]].repeat(2) {
                        pool.rcu(handle, |old| large(drops.make(old.0.checked() + 100))).unwrap();
                    }
                });
            }
            pool.defragment();
        });
        assert_eq!(pinned.0.checked(), 0);
        assert_eq!(pool.get(handles[0]).unwrap().0.checked(), 400);
        drop(pool);
        assert_eq!(drops.live(), 1);
        drop(pinned);
        assert_eq!(drops.live(), 0);
        heap.verify().unwrap();
    }
}

#[test]
fn batches_on_one_thread() {
    for heap in heaps_of(4 << 10) {
        let drops = Drops::default();
        let mut pool = Pool::new(&heap).unwrap();
        let handles = pool.insert_many((0..16).map(|id| large(drops.make(id)))).unwrap();
        assert_eq!(pool.remove_many(&[handles[3], handles[3], handles[9]]), 2);
        let forged = Handle::from_bits(handles[3].to_bits() | 0xffff_fff0).unwrap();
        let guard = pool.enter();
        let mut found = guard.get_many(handles.iter().copied().chain([forged]));
        let first = found.next().unwrap().unwrap();
        assert!(pool.remove(handles[0]) && pool.remove(handles[15]));
        assert_eq!(found.flatten().map(|object| object.0.checked()).sum::<u64>(), 120 - 3 - 9 - 15);
        assert_eq!((first.0.checked(), guard.iter_by_address().count()), (0, 12));
        drop(guard);
        pool.with_many(&handles, |_, object| assert!(object.is_none_or(|o| o.0.checked() < 15)));
        pool.retain(|_, object| {
            object.1[0] += 1;
            object.0.checked() % 3 > 0
        });
        assert!(panics(|| pool.retain(|_, object| {
            assert!(object.0.checked() < 10 && object.1[0] == 8, "as it should");
            false
        })));
        // Of 10, 11, 13 and 14:
        assert_eq!(pool.remove_where(|_, object| object.0.checked() % 2 == 0), 2);
        let again =
            (0..).map(|id| if id < 5 { large(drops.make(id)) } else { panic!("as it should") });
        assert!(panics(|| drop(pool.insert_many(again))));
        let refused = pool.insert_many((0..50).map(|id| large(drops.make(id)))).unwrap_err();
        assert_eq!(refused.value.0.checked(), refused.handles.len() as u64);
        drop((refused, pool));
        assert_eq!(drops.live(), 0);
        heap.verify().unwrap();
    }
}

#[test]
fn batches_and_a_mover() {
    for heap in heaps() {
        let drops = Drops::default();
        let (pool, handles) = with_holes(&heap, |i| large(drops.make(i)));
        thread::scope(|s| {
            s.spawn(|| heap.defragment());
            s.spawn(|| {
                let guard = pool.enter();
                for object in guard.get_many(&handles).flatten() {
                    thread::yield_now();
                    assert!(object.0.checked() < 24);
                }
                assert!(guard.iter_by_address().all(|(_, object)| object.0.checked() < 24));
            });
            let removed = pool.remove_where(|_, object| object.0.checked() % 4 == 0);
            assert_eq!((removed, pool.remove_many(&handles[6..])), (6, 3));
        });
        let (mut pool, heap) = (pool, &heap);
        thread::scope(|s| {
            s.spawn(|| heap.defragment());
            pool.retain(|_, object| {
                object.1[11] += object.0.checked();
                thread::yield_now();
                true
            });
        });
        assert!(pool.iter().all(|(_, object)| object.1[11] == object.0.checked() + 7));
        heap.verify().unwrap();
    }
}

/// Objects that are purged before a heap is full enough: each costs a whole defragmentation.
const PURGED: usize = if cfg!(miri) { 4 } else { 60 };

#[test]
fn purges_and_readers() {
    for heap in heaps() {
        let drops = Drops::default();
        let mut pool = Pool::new(&heap).unwrap();
        let told = std::sync::Arc::new(Mutex::new(Vec::new()));
        pool.on_purge({
            let told = std::sync::Arc::clone(&told);
            move |handle| told.lock().unwrap().push(handle)
        });
        let first = pool.insert_purgeable(large(drops.make(0))).unwrap();
        let pin = pool.pin(first).unwrap();
        thread::scope(|scope| {
            let (pool, drops) = (&pool, &drops);
            let mut handles = Vec::new();
            for id in 1.. {
                handles.extend(pool.insert_purgeable(large(drops.make(id))).ok());
                if id == 45 {
                    let handles = handles.clone();
                    scope.spawn(move || {
                        for handle in handles {
                            if let Some(object) = pool.get(handle) {
                                assert!(object.0.checked() > 0 && object.1 == [7; 12]);
                            }
                        }
                    });
                }
                if id > 45 && told.lock().unwrap().len() >= PURGED {
                    break;
                }
            }
            assert!(pool.make_room(1000, 16).fits);
        });
        let purged = told.lock().unwrap().len();
        assert!(purged >= PURGED && heap.stats().purged == purged);
        assert_eq!(pin.0.checked(), 0);
        drop((pool, pin));
        assert_eq!(drops.live(), 0);
        heap.verify().unwrap();
    }
}
