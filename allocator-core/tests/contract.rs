//! What safe calls may do with a table, in whatever order and with whatever they are given; and what its unsafe calls
//! refuse by themselves.
#![cfg(not(loom))]

mod common;

use allocator_core::{
    Guard, Handle, Heap, Hold, Policy, Replacement, Reservation, Table, TableGuard,
};
use common::typed::{Tally, Typed};
use common::{heap, within};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// A replacement for the object of `handle`, written.
fn replacement<'t>(
    pool: &'t Typed<Tally>,
    handle: Handle<Tally>,
    drops_of: &Arc<AtomicUsize>,
) -> Replacement<'t> {
    let new = pool.table.reserve_replacement(handle).unwrap();
    // SAFETY: the place is that of a `Tally`, and ours.
    unsafe { new.as_ptr().cast::<Tally>().write(Tally::new(99, drops_of)) };
    new
}

/// Drops what `swing` gave back, with its object.
fn drop_with_object(back: Replacement<'_>) {
    // SAFETY: nobody took the object that `replacement` has written.
    unsafe { back.as_ptr().cast::<Tally>().drop_in_place() };
}

#[test]
fn a_replacement_of_another_table_or_another_slot_is_given_back() {
    for policy in Policy::ALL {
        let heap = heap(*policy, 1 << 16);
        let (pool, other, drops_of) = (Typed::new(&heap), Typed::new(&heap), Arc::default());
        let [first, second] = [1, 2].map(|i| pool.insert(Tally::new(i, &drops_of)).unwrap());
        let strange = other.insert(Tally::new(3, &drops_of)).unwrap();
        assert_eq!(strange.index(), first.index(), "it is of the slot with the same number");
        let beyond = Handle::from_bits(first.to_bits() | u64::from(u32::MAX)).unwrap();

        let guard = pool.table.enter();
        let old = guard.locate(first).unwrap();
        for (of, handle) in [(&pool, second), (&other, strange), (&pool, beyond)] {
            let new = replacement(of, handle, &drops_of);
            // SAFETY: it was written.
            let back = unsafe { guard.swing(first, old, new) };
            drop_with_object(back.expect_err("it was made for another object"));
        }
        // SAFETY: as above.
        let back = unsafe { guard.swing(beyond, old, replacement(&pool, beyond, &drops_of)) };
        drop_with_object(back.expect_err("there is no such object"));
        assert_eq!((guard.locate(first), drops_of.load(Ordering::Relaxed)), (Some(old), 4));
        drop(guard);
        heap.verify().unwrap();
        let live = (pool.table.len(), other.table.len(), heap.stats().live_blocks);
        assert_eq!(live, (2, 1, 3), "{policy}");
        drop((pool, other));
        assert_eq!((drops_of.load(Ordering::Relaxed), heap.stats().live_bytes), (7, 0), "{policy}");
    }
}

#[test]
fn a_place_that_is_none_of_the_object_is_refused() {
    let heap = heap(Policy::default(), 1 << 16);
    let (pool, drops_of) = (Typed::new(&heap), Arc::default());
    let handle = pool.insert(Tally::new(1, &drops_of)).unwrap();
    let guard = pool.table.enter();
    let old = guard.locate(handle).unwrap();
    let inside = NonNull::new(old.as_ptr().wrapping_add(1)).unwrap();
    let far = NonNull::new(old.as_ptr().wrapping_add(16 << 32)).unwrap();
    let mut new = replacement(&pool, handle, &drops_of);
    for wrong in [NonNull::dangling(), inside, far, NonNull::from(&drops_of).cast()] {
        // SAFETY: it was written.
        new = unsafe { guard.swing(handle, wrong, new) }.expect_err("the object is elsewhere");
        assert!(!guard.retire_found(handle, wrong));
    }
    // SAFETY: as above.
    unsafe { guard.swing(handle, old, new) }.expect("it is there");
    assert_eq!(Typed::get(&guard, handle).map(|tally| tally.number), Some(99));
}

/// Puts an object into its own table when it is dropped.
struct Refill {
    table: Arc<Typed<Refill>>,
    refused: Arc<AtomicUsize>,
}

impl Drop for Refill {
    fn drop(&mut self) {
        let reservation = self.table.table.reserve();
        self.refused.fetch_add(usize::from(reservation.is_err()), Ordering::Relaxed);
    }
}

#[test]
fn a_drop_that_asks_for_room_does_not_wait_for_the_call_that_runs_it() {
    // The objects were retired by another thread, and by the one that reclaims.
    for by_other in [false, true] {
        within(Duration::from_secs(20), move || {
            let builder = Heap::builder().capacity(1 << 14).patience(Duration::from_secs(3600));
            let pool = Arc::new(Typed::new(&builder.build().unwrap()));
            let refused = Arc::<AtomicUsize>::default();
            let new = || Refill { table: Arc::clone(&pool), refused: Arc::clone(&refused) };
            let mut handles = Vec::new();
            while let Ok(reservation) = pool.table.reserve() {
                handles.push(reservation.handle::<Refill>());
                // SAFETY: the place is that of a `Refill`, and ours.
                unsafe { reservation.as_ptr().cast::<Refill>().write(new()) };
                // SAFETY: just written.
                unsafe { reservation.publish::<Refill>() };
            }
            // The others stay, so that the heap is full while these are dropped.
            let retire = || handles[..5].iter().for_each(|h| assert!(pool.table.retire(*h)));
            if by_other {
                thread::scope(|s| s.spawn(retire).join().unwrap());
            } else {
                retire();
            }
            assert_eq!(pool.table.reclaim(), 5);
            assert!(refused.load(Ordering::Relaxed) > 0, "the heap was full");
            // The objects keep the table that they are in.
            handles.iter().for_each(|handle| {
                pool.table.retire(*handle);
            });
            pool.table.reclaim();
        });
    }
}

#[test]
fn what_is_forgotten_costs_its_room_and_nothing_else() {
    for policy in Policy::ALL {
        let heap = heap(*policy, 1 << 16);
        for round in 0..3 {
            let (pool, drops_of) = (Typed::new(&heap), Arc::default());
            let handles: Vec<_> =
                (0..50).map(|i| pool.insert(Tally::new(i, &drops_of)).unwrap()).collect();
            std::mem::forget(pool.table.reserve().unwrap());
            std::mem::forget(pool.table.reserve_replacement(handles[7]).unwrap());
            handles.iter().step_by(2).for_each(|handle| assert!(pool.table.retire(*handle)));
            pool.table.reclaim();
            assert!(heap.defragment().complete, "{policy}, {round}");
            heap.verify().unwrap();
            drop(pool);
            // Their headers name slots of a table that is gone, and of the next one, which gets its number.
            assert!(heap.defragment().complete, "{policy}, {round}");
            heap.verify().unwrap();
            assert_eq!(drops_of.load(Ordering::Relaxed), 50);
        }
    }
}

#[test]
fn who_is_told_of_a_purge_may_use_the_table() {
    let heap = heap(Policy::default(), 1 << 16);
    let pool: Typed<u64> = Typed::new(&heap);
    let handles: Vec<_> = (0..20).map(|i| pool.insert(i).unwrap()).collect();
    handles.iter().for_each(|handle| pool.table.allow_purge(*handle));
    let (mut told, mut told_inside) = (Vec::new(), Vec::new());
    let removed = pool.table.purge(5, |handle| {
        told.push(handle);
        assert!(!pool.table.contains(handle) && !pool.table.retire(handle));
        pool.table.allow_purge(handle);
        // Whatever it does to those that come later, they are purged once or not at all.
        pool.table.purge(1, |handle| told_inside.push(handle));
        let next = pool.table.enter().handle_at(19).map(|handle| handle.cast());
        assert_eq!(next.map(|next| pool.take(next)), (told.len() == 1).then_some(Ok(19)));
        pool.table.reclaim();
    });
    assert_eq!((removed, told.len(), told_inside.len(), pool.table.len()), (5, 5, 5, 9));
    assert!(told.iter().all(|handle| !told_inside.contains(handle)));
    heap.verify().unwrap();
}

#[test]
fn who_takes_an_object_out_may_use_all_but_this_object() {
    for policy in Policy::ALL {
        within(Duration::from_secs(20), move || {
            let heap = heap(*policy, 1 << 16);
            let (pool, drops_of) = (Typed::new(&heap), Arc::default());
            let handles: Vec<_> =
                (0..50).map(|i| pool.insert(Tally::new(i, &drops_of)).unwrap()).collect();
            let use_all = |place: NonNull<u8>| {
                assert!(pool.table.retire(handles[7]) && pool.table.contains(handles[5]));
                assert_eq!((pool.table.reclaim(), pool.take(handles[9]).unwrap().number), (1, 9));
                drop(pool.table.reserve_replacement(handles[5]).unwrap());
                let other = pool.insert(Tally::new(99, &drops_of)).unwrap();
                assert!(pool.hold(other).is_ok() && pool.table.enter().handle_at(5).is_some());
                heap.defragment();
                assert!(heap.make_room(20_000, 64).fits);
                heap.verify().unwrap();
                // SAFETY: a `Tally` that nobody else can see, once.
                unsafe { place.cast::<Tally>().read() }
            };
            // SAFETY: the object is moved out, and nothing panics before.
            let taken = unsafe { pool.table.take(handles[5], use_all) };
            assert_eq!(taken.unwrap().number, 5);
            assert_eq!((pool.table.len(), drops_of.load(Ordering::Relaxed)), (48, 3), "{policy}");
            heap.verify().unwrap();
        });
    }
}

/// Whether a type is `Send`, and whether it is `Sync`: inherent constants win over those of the trait.
struct Is<T: ?Sized>(std::marker::PhantomData<T>);
struct IsSend<T: ?Sized>(std::marker::PhantomData<T>);

trait Not {
    const SEND: bool = false;
    const SYNC: bool = false;
}
impl<T: ?Sized> Not for Is<T> {}
impl<T: ?Sized> Not for IsSend<T> {}
impl<T: ?Sized + Send> IsSend<T> {
    const SEND: bool = true;
}
impl<T: ?Sized + Sync> Is<T> {
    const SYNC: bool = true;
}

#[test]
fn sections_stay_on_their_thread_and_all_else_may_go() {
    macro_rules! assert_is {
        ($($t:ty: $is:literal),* $(,)?) => { $(
            assert_eq!((<IsSend<$t>>::SEND, <Is<$t>>::SYNC), ($is, $is), stringify!($t));
        )* };
    }
    assert_is! {
        Table: true,
        Reservation<'static>: true,
        Replacement<'static>: true,
        Hold: true,
        Guard<'static>: false,
        TableGuard<'static>: false,
    }
}
