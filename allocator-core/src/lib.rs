//! A lock-striped allocator over one fixed buffer that hands out **generational handles** instead of
//! addresses, so blocks can be moved while other threads read them: [`Heap::defragment`] brings the free
//! memory together and gives it back to the system, and every handle stays valid.
//!
//! This is the untyped core. Objects of a type live in `typed_pool::Pool<T>`, which is built on [`Table`]; raw
//! bytes are allocated here, with [`Heap::allocate`].
//!
//! ```
//! use allocator_core::{Heap, Policy};
//! use std::alloc::Layout;
//!
//! let heap = Heap::builder().capacity(8 << 20).policy(Policy::SizeClass).build()?;
//! let mut handles = Vec::new();
//! for i in 0..1000_u32 {
//!     handles.push(heap.allocate_bytes(&i.to_le_bytes())?);
//! }
//! for handle in handles.extract_if(.., |h| h.index() % 2 == 1) {
//!     heap.deallocate(handle)?;
//! }
//! let report = heap.defragment();
//! assert!(report.fragmentation_after <= report.fragmentation_before);
//! for handle in handles {
//!     assert_eq!(heap.read(handle)?.len(), 4); // moved or not, it is there
//! }
//! heap.verify()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What holds while compaction runs
//! * A reader waits at most for the copy of the one object that it asks for, and only if it asks at
//!   that moment. No lock is taken and nothing shared is written to read an object of a pool.
//! * What a guard has shown stays where it is until the guard closes; what is pinned or borrowed stays until
//!   it is let go.
//! * Inserts and removes go on; a remove beats a planned move.
//! * A guard that stays open delays moves and reclamation, and is reported; it delays nothing else.
//!
//! # Costs
//! An object costs its slot (8 bytes), its header word and rounding: in a slab of a heap from 32 MiB on 8 bytes and to 8
//! bytes, in smaller heaps 8 bytes and to the next of 32 size classes, otherwise 16 bytes and to 16 bytes. Offsets have 32 bits and granules 16 bytes, so a heap
//! holds at most 64 GiB. A slot serves at least 2^29 objects before it is retired for good; where its page of 512 slots is given
//! back to the system now and then, the page does.
//!
//! Most inserts and removes take no lock: each thread keeps some slots and blocks of each table for its next ones
//! ([`HeapBuilder::thread_cache`]).
//!
//! # How to read the source
//! The modules are listed below in reading order; [`design`] has the states and the proof.

#![deny(unsafe_code)]

mod handle;
mod policy;

#[allow(unsafe_code)]
mod blocks;
mod builder;
mod check;
#[cfg(not(loom))]
mod defragmenter;
mod error;
mod heap;
mod map;
mod stats;

mod block;
#[allow(unsafe_code)]
mod cache;
#[allow(unsafe_code)]
mod grace;
#[allow(unsafe_code)]
mod guard;
mod record;
mod slot;
#[allow(unsafe_code)]
mod table;
#[allow(unsafe_code)]
mod threads;

mod bitmap;
mod central;
mod chunk;
mod committed;
#[allow(unsafe_code)]
mod decommit;
mod head;
mod pages;
mod placement;
mod segment;
mod size_class;
mod slab;
mod space;
mod store;
mod stripe;

#[allow(unsafe_code)]
mod compact;
mod raw;
mod sync;

#[cfg(all(test, loom))]
#[allow(unsafe_code)]
mod models;

#[doc = include_str!("../DESIGN.md")]
pub mod design {}

pub use blocks::{BlockMut, BlockRef};
pub use builder::{FenceMode, HeapBuilder};
pub use compact::{Budget, DefragReport, Forecast, RoomReport};
#[cfg(not(loom))]
pub use defragmenter::{Defragmenter, DefragmenterBuilder, DefragmenterState, DefragmenterStats};
pub use error::{
    AccessError, AllocError, AllocErrorKind, BuildError, ResizeError, StaleHandle, TakeError,
    VerifyError,
};
pub use guard::Guard;
pub use handle::Handle;
pub use heap::Heap;
pub use map::HeapMap;
pub use policy::{Policy, UnknownPolicy};
pub use raw::Buffer;
pub use stats::{Stats, StripeStats};
pub use table::{Hold, Replacement, Reservation, Table, TableGuard, TableSpec};
