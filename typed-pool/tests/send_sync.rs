//! Which types may go to other threads, for every public type and every kind of object.

#![cfg(not(loom))]

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard};
use typed_pool::{
    AddressIter, AllocError, BlockMut, BlockRef, Budget, DefragReport, Defragmenter,
    DefragmenterBuilder, DefragmenterState, DefragmenterStats, Drain, Forecast, GetMany, Guard,
    GuardIter, Handle, Handles, Heap, HeapBuilder, HeapMap, InsertError, InsertManyError, Iter,
    IterMut, Pinned, Pool, PoolError, PoolGuard, RcuError, Ref, RefMut, ReplaceError, ResizeError,
    RoomReport, Stats,
};

/// Whether a type is `Send`, and whether it is `Sync`: inherent constants win over those of the
/// trait.
struct Is<T: ?Sized>(std::marker::PhantomData<T>);

trait Not {
    const SEND: bool = false;
    const SYNC: bool = false;
}
impl<T: ?Sized> Not for Is<T> {}

struct IsSend<T: ?Sized>(std::marker::PhantomData<T>);
impl<T: ?Sized> Not for IsSend<T> {}
impl<T: ?Sized + Send> IsSend<T> {
    const SEND: bool = true;
}
impl<T: ?Sized + Sync> Is<T> {
    const SYNC: bool = true;
}

/// Asserts `[Send, Sync]` of a type.
macro_rules! assert_is {
    ($($t:ty: $send:literal $sync:literal),* $(,)?) => { $(
        assert_eq!((<IsSend<$t>>::SEND, <Is<$t>>::SYNC), ($send, $sync), stringify!($t));
    )* };
}

/// `Send + Sync`.
type Both = Mutex<Cell<u8>>;
/// `Send`, not `Sync`.
type SendOnly = Cell<u8>;
/// `Sync`, not `Send`.
type SyncOnly = MutexGuard<'static, u8>;
/// Neither.
type Neither = Rc<u8>;

#[test]
fn the_samples_are_what_they_should_be() {
    assert_is! { Both: true true, SendOnly: true false, SyncOnly: false true, Neither: false false }
}

#[test]
fn a_pool_is_sync_only_where_its_objects_are_send_and_sync() {
    assert_is! {
        Pool<Both>: true true,
        Pool<SendOnly>: true false,
        Pool<SyncOnly>: false false,
        Pool<Neither>: false false,
    }
}

#[test]
fn a_pin_is_like_arc() {
    assert_is! {
        Pinned<Both>: true true,
        Pinned<SendOnly>: false false,
        Pinned<SyncOnly>: false false,
        Pinned<Neither>: false false,
    }
}

#[test]
fn what_carries_a_guard_stays_on_its_thread() {
    assert_is! {
        PoolGuard<'static, Both>: false false,
        PoolGuard<'static, SyncOnly>: false false,
        Ref<'static, Both>: false false,
        Ref<'static, SendOnly>: false false,
        Ref<'static, SyncOnly>: false false,
        RefMut<'static, Both>: false false,
        RefMut<'static, SendOnly>: false false,
        RefMut<'static, SyncOnly>: false false,
        GuardIter<'static, Both>: false false,
        GuardIter<'static, Neither>: false false,
        AddressIter<'static, Both>: false false,
        AddressIter<'static, Neither>: false false,
        GetMany<'static, Both, std::vec::IntoIter<Handle<Both>>>: false false,
        GetMany<'static, SyncOnly, std::vec::IntoIter<Handle<SyncOnly>>>: false false,
    }
}

#[test]
fn iterators_go_where_their_borrow_of_the_pool_may_go() {
    assert_is! {
        Iter<'static, Both>: true true,
        Iter<'static, SendOnly>: false false,
        Iter<'static, SyncOnly>: false false,
        Iter<'static, Neither>: false false,
        Handles<'static, Both>: true true,
        Handles<'static, SendOnly>: false false,
        Handles<'static, SyncOnly>: false false,
        IterMut<'static, Both>: true true,
        IterMut<'static, SyncOnly>: false false,
        IterMut<'static, Neither>: false false,
        Drain<'static, Both>: true true,
        Drain<'static, SendOnly>: true false,
        Drain<'static, SyncOnly>: false false,
        Drain<'static, Neither>: false false,
    }
}

#[test]
fn errors_are_as_their_values_and_handles_go_everywhere() {
    assert_is! {
        InsertError<Both>: true true,
        InsertError<SendOnly>: true false,
        InsertError<SyncOnly>: false true,
        InsertError<Neither>: false false,
        InsertManyError<Both, std::vec::IntoIter<Both>>: true true,
        InsertManyError<SendOnly, std::vec::IntoIter<SendOnly>>: true false,
        InsertManyError<SyncOnly, std::vec::IntoIter<SyncOnly>>: false true,
        InsertManyError<Both, std::vec::IntoIter<Neither>>: false false,
        ReplaceError<Both>: true true,
        ReplaceError<SendOnly>: true false,
        ReplaceError<SyncOnly>: false true,
        ReplaceError<Neither>: false false,
        PoolError: true true,
        RcuError: true true,
        Handle<Neither>: true true,
    }
}

#[test]
fn heaps_settings_and_reports_go_everywhere_and_guards_nowhere() {
    assert_is! {
        Heap: true true,
        HeapBuilder: true true,
        HeapMap: true true,
        Budget: true true,
        Defragmenter: true true,
        DefragmenterBuilder: true true,
        DefragmenterState: true true,
        DefragmenterStats: true true,
        DefragReport: true true,
        RoomReport: true true,
        Forecast: true true,
        Stats: true true,
        AllocError: true true,
        ResizeError: true true,
        BlockRef<'static>: true true,
        BlockMut<'static>: true true,
        Guard<'static>: false false,
    }
}

#[test]
fn a_pool_with_a_callback_is_as_one_without() {
    // What tells of purged objects is of no type, so it must not make a pool more or less than its objects do.
    let mut pool = Pool::with_capacity(8).unwrap();
    pool.on_purge(|_| ());
    let handle = pool.insert_purgeable(Cell::new(1)).unwrap();
    let pool = std::thread::spawn(move || {
        assert_eq!(pool.purge(1), 1);
        pool
    })
    .join()
    .unwrap();
    assert!(!pool.contains(handle));
}

#[test]
fn objects_that_must_stay_on_their_thread_can_live_in_a_pool_there() {
    let pool = Pool::with_capacity(64).unwrap();
    let counter = Rc::new(Cell::new(0));
    let handles: Vec<_> = (0..64).map(|_| pool.insert(Rc::clone(&counter)).unwrap()).collect();
    for (_, object) in &pool {
        object.set(object.get() + 1);
    }
    assert_eq!((counter.get(), Rc::strong_count(&counter)), (64, 65));
    // Another thread may move the bytes of such objects, though it may not look at them.
    let heap = pool.heap().clone();
    assert!(handles.iter().skip(2).all(|handle| pool.remove(*handle)));
    pool.flush();
    let report = std::thread::spawn(move || heap.defragment()).join().unwrap();
    assert!(report.complete);
    assert_eq!(Rc::strong_count(&counter), 3);
    pool.get(handles[1]).unwrap().set(7);
    assert_eq!(pool.take(handles[0]).unwrap().get(), 7);
    drop(pool);
    assert_eq!(Rc::strong_count(&counter), 1);
}

#[test]
fn a_pool_of_cells_may_move_to_another_thread_as_a_whole() {
    let pool = Pool::with_capacity(8).unwrap();
    let handle = pool.insert(Cell::new(1)).unwrap();
    let pool = std::thread::spawn(move || {
        pool.get(handle).unwrap().set(2);
        pool
    })
    .join()
    .unwrap();
    assert_eq!(pool.take(handle).unwrap().get(), 2);
}
