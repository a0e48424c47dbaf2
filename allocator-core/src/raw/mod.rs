//! Raw memory: the buffer, its in-band words, and what is asked of the operating system.
//!
//! Nothing here knows the protocol. Offsets are in granules of 16 bytes from the base of the buffer;
//! granule 0 is never handed out, so 0 can stand for "none".

#![allow(unsafe_code)]

mod buffer;
pub(crate) mod memory;
pub(crate) mod os;
pub(crate) mod prefetch;
pub(crate) mod together;
pub(crate) mod words;
pub(crate) mod zeroed;

pub use buffer::Buffer;
#[cfg(loom)]
pub(crate) use memory::Borrowed;
pub(crate) use memory::{Memory, Wipe};
pub(crate) use words::WordArray;
pub(crate) use zeroed::ZeroedWords;

/// Bytes of a granule.
pub(crate) const GRANULE: usize = 16;

/// Granules of a page of the operating system.
pub(crate) const PAGE: u32 = (os::OS_PAGE / GRANULE) as u32;
