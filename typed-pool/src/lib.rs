//! Pools of typed objects that threads share and that are **moved together while they are read**.
//!
//! A [`Pool<T>`] keeps its objects in a [`Heap`] and hands out a [`Handle<T>`] for each. Nobody
//! keeps an address, so [`Heap::defragment`] may move objects to where memory is dense and give the
//! rest back to the operating system, at any time, without a pause. No callback is needed for that:
//! a Rust value that is not borrowed can be moved bit by bit. A handle whose object is gone is
//! *stale* and finds nothing, for good.
//!
//! ```
//! use typed_pool::{Heap, Pool};
//!
//! struct Session { user: String, requests: u64 }
//!
//! let heap = Heap::builder().capacity(8 << 20).build()?;
//! let sessions = Pool::new(&heap)?;
//! let ada = sessions.insert(Session { user: "Ada".into(), requests: 7 })?;
//! let bob = sessions.insert(Session { user: "Bob".into(), requests: 0 })?;
//!
//! std::thread::scope(|s| {
//!     s.spawn(|| assert_eq!(sessions.get(ada).unwrap().user, "Ada")); // no lock, no count
//!     s.spawn(|| sessions.defragment()); // may move both meanwhile
//!     s.spawn(|| sessions.remove(bob));
//! });
//! assert!(sessions.get(bob).is_none());
//! assert_eq!(sessions.take(ada)?.requests, 7);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Overview
//! | to | call | waits for |
//! |---|---|---|
//! | put in | [`insert`](Pool::insert), [`insert_with`](Pool::insert_with); many: [`insert_many`](Pool::insert_many), `extend` | a lock of some instructions |
//! | read | [`get`](Pool::get), [`with`](Pool::with); many: [`enter`](Pool::enter), [`get_many`](PoolGuard::get_many), [`with_many`](Pool::with_many) | at most the copy of that object |
//! | read all | [`iter`](Pool::iter), [`PoolGuard::iter`]; as they lie: [`iter_by_address`](PoolGuard::iter_by_address) | as above |
//! | keep, or send elsewhere | [`pin`](Pool::pin) | as above |
//! | change, shared | [`replace`](Pool::replace), [`rcu`](Pool::rcu); or a `Mutex` or atomics inside `T` | a lock of some instructions |
//! | change, alone | [`get_mut`](Pool::get_mut), [`iter_mut`](Pool::iter_mut), [`retain`](Pool::retain) | as a read |
//! | remove | [`remove`](Pool::remove), [`clear`](Pool::clear); many: [`remove_many`](Pool::remove_many), [`remove_where`](Pool::remove_where) | a lock of some instructions |
//! | get the value back | [`take`](Pool::take), [`try_take`](Pool::try_take), [`drain`](Pool::drain) | `take`: readers, up to the heap's patience |
//! | compact | [`defragment`](Pool::defragment), [`Heap::defragment`], [`Heap::make_room`]; in the background: [`Heap::defragmenter`] | readers, up to the heap's patience |
//! | ask about it | [`Heap::waste`], [`Heap::stats`]; [`Heap::forecast`] | some locks of some instructions; a defragmentation that is under way |
//! | cache | [`insert_purgeable`](Pool::insert_purgeable), [`allow_purge`](Pool::allow_purge), [`on_purge`](Pool::on_purge); [`purge`](Pool::purge) | as `insert`; as `remove` |
//! | make room | [`make_room`](Pool::make_room) | as `defragment`, several times where it purges |
//!
//! Three kinds of borrow, by how long they may last:
//! * a **guard** ([`PoolGuard`], or inside a [`Ref`] or [`RefMut`]) costs nearly nothing, stays on
//!   its thread and is meant to be short: it delays moves and reclamation of the whole heap, and
//!   nothing else;
//! * a **pin** ([`Pinned`]) is counted, may last and go to other threads: it delays its own object
//!   only;
//! * a **handle** is no borrow at all.
//!
//! # Consistency: what concurrent readers may observe
//! * **Look-ups are exact.** One that finds an object found it in the pool at some moment between
//!   call and return; everything its inserter did before is visible. After `remove`, `take` or
//!   `replace` has returned, look-ups that happen later find nothing, or the new version.
//! * **What was found stays.** An object is alive and in place until the guard or pin that found it
//!   is dropped, though it may be removed or replaced meanwhile. Two look-ups under one guard may
//!   therefore give two versions of an object, both intact.
//! * **One winner.** Of several threads that remove or take an object exactly one gets it. All that
//!   replace it succeed, in some order, and [`rcu`](Pool::rcu) never loses an update.
//! * **Alone after `take`.** When it returns the value, nobody reads the object any more.
//! * **Moves do not show**, except in the address: it holds only as long as the guard or pin. A
//!   reader that asks for an object in the middle of its move waits for that copy.
//! * **Iteration is weakly consistent**: what is there all the time is seen once, what comes or
//!   goes meanwhile perhaps. [`len`](Pool::len) is exact while nobody inserts or removes.
//! * **Foreign handles find nothing in practice.** Pools number their objects from bases of their
//!   own. Should a made-up or foreign handle fit by chance, it names some object of *this* pool: a
//!   wrong answer, never another type.
//!
//! # When `Drop` runs
//! Removed and replaced objects are dropped when no guard or pin can see them: in batches, by later
//! calls that insert, remove or replace in the same pool, or [`flush`](Pool::flush) or defragment
//! it. Dropping the pool drops all the rest at once, except what is pinned, which its last pin
//! drops. Purged objects are removed ones: only calls on their own pool purge them. No lock is held while
//! `Drop` or the callback of [`on_purge`](Pool::on_purge) runs; it may use the pool (a `take` in it may find that the
//! call around it has a guard open). When it panics, the panic goes to the caller of the method
//! that happened to reclaim, and the other objects are dropped nevertheless; when a second one panics
//! while that panic unwinds, the process aborts, as with a `Vec`. Chains of objects that remove each
//! other as they are dropped, or keep the last pin of each other, are dropped without recursion.
//! [`flush`](Pool::flush) follows them, as far as they were in the pool when it was called. A pool drops on the thread that calls it, so only pools of `T: Send` can be shared. [`Heap`] methods never drop
//! objects of a pool.
//!
//! # Costs in bytes
//! * Each object: its slot, 8 bytes; its header, 8 bytes in a slab (default policy, up to 1 KiB and
//!   an alignment of 256), otherwise 16; rounding: to 16 bytes, in slabs to 8 bytes, in those of heaps
//!   below 32 MiB to one of 32 size classes, less than an eighth more. Objects without a size take 16
//!   bytes.
//! * [`Handle`]: 8 bytes, and so is `Option<Handle>`. [`Ref`], [`RefMut`]: at most 48. [`Pinned`]:
//!   32; pins are counted in the header.
//! * An empty pool: some 300 bytes and 256 for each stripe of the heap, and address space (not
//!   memory) of 8 bytes for each object that the heap could hold.
//!
//! Alignments up to 4096 are possible. See `allocator_core` for the limits of a heap.
//!
//! # Mistakes that do not compile
//! A guard that outlives its pool; drop it first:
//! ```compile_fail,E0505
//! # use typed_pool::Pool;
//! let pool = Pool::with_capacity(8).unwrap();
//! let handle = pool.insert(1).unwrap();
//! let guard = pool.enter();
//! drop(pool);
//! println!("{:?}", guard.get(handle));
//! ```
//! A reference that outlives its guard:
//! ```compile_fail,E0597
//! # use typed_pool::Pool;
//! let pool = Pool::with_capacity(8).unwrap();
//! let handle = pool.insert(String::from("text")).unwrap();
//! let text: &String = {
//!     let guard = pool.enter();
//!     guard.get(handle).unwrap()
//! };
//! println!("{text}");
//! ```
//! Keep the guard as long as the reference, or ask for what is to be kept:
//! ```
//! # use typed_pool::Pool;
//! let pool = Pool::with_capacity(8)?;
//! let handle = pool.insert(String::from("text"))?;
//! let guard = pool.enter();
//! let text: Option<&String> = guard.get(handle);
//! let copy: Option<String> = pool.with(handle, String::clone);
//! let pinned = pool.pin(handle)?; // for a while, or another thread
//! assert!(text == copy.as_ref() && text == Some(&pinned));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//! A handle of one type, used on a pool of another:
//! ```compile_fail,E0308
//! # use typed_pool::{Handle, Pool};
//! # struct Order;
//! # struct Customer;
//! let (orders, customers) = (Pool::with_capacity(8).unwrap(), Pool::with_capacity(8).unwrap());
//! let order: Handle<Order> = orders.insert(Order).unwrap();
//! customers.insert(Customer).unwrap();
//! customers.remove(order);
//! ```
//! The handle's type says which pool it is for: `orders.remove(order)`.
//!
//! # Features
//! * `slotmap`: handles work as keys of slotmap's secondary maps.

#![deny(unsafe_code)]

mod ahead;
mod error;
mod iter;
mod many;
mod mutate;
mod pinned;
mod pool;
mod purge;
mod read;
mod reference;
mod update;

#[allow(unsafe_code)]
mod place;

#[cfg(doctest)]
mod refused;

pub use error::{InsertError, InsertManyError, PoolError, RcuError, ReplaceError};
pub use iter::{AddressIter, GetMany, GuardIter, Handles, Iter, IterMut};
pub use mutate::Drain;
pub use pinned::Pinned;
pub use pool::Pool;
pub use reference::{PoolGuard, Ref, RefMut};

// Everything of the core that this crate's signatures and those of `Heap` mention.
pub use allocator_core::{
    AccessError, AllocError, AllocErrorKind, BlockMut, BlockRef, Budget, Buffer, BuildError,
    DefragReport, FenceMode, Forecast, Guard, Handle, Heap, HeapBuilder, HeapMap, Policy,
    ResizeError, RoomReport, StaleHandle, Stats, StripeStats, TakeError, UnknownPolicy,
    VerifyError,
};
#[cfg(not(loom))]
pub use allocator_core::{Defragmenter, DefragmenterBuilder, DefragmenterState, DefragmenterStats};

/// The example of the project's front page, run as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct FrontPage;
