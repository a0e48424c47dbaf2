//! [`Handle`]: a slot index and a generation in 8 bytes.

use crate::slot::Snapshot;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::num::NonZeroU64;

/// Names one object of a heap: a slot index and the generation the slot had when the object was put in.
///
/// A handle stays valid while its object is moved and becomes *stale* for good when the object is
/// removed; generations are never reused. A stale, foreign or forged handle finds nothing: every look-up
/// checks bounds, generation and occupancy.
///
/// `T` is the type of the object; a raw block of the core heap is a `Handle<[u8]>`, the default.
/// 8 bytes, and `Option<Handle<T>>` is 8 bytes too.
///
/// ```
/// use allocator_core::Handle;
/// assert_eq!(size_of::<Option<Handle<String>>>(), 8);
///
/// let handle: Handle<u32> = Handle::from_bits(5 << 32 | 7).unwrap();
/// assert_eq!(format!("{handle:?}"), "7v1");
/// assert_eq!(Handle::from_bits(handle.to_bits()), Some(handle));
/// assert!(Handle::<u32>::from_bits(7).is_none());
/// ```
pub struct Handle<T: ?Sized = [u8]> {
    /// `generation:30 | 01 | index:32`: the upper half equals the upper half of the slot word while the
    /// object is live, so a look-up compares once.
    bits: NonZeroU64,
    marker: PhantomData<fn() -> *const T>,
}

/// The tag of a live slot; part of every handle, see `slot.rs`.
const LIVE: u64 = 0b01;

/// One more than the largest generation that a live object can have.
pub(crate) const GENERATION_END: u32 = (1 << 30) - 1;

const _: () = assert!(size_of::<Handle<str>>() == 8);
const _: () = assert!(size_of::<Option<Handle<str>>>() == 8);

impl<T: ?Sized> Handle<T> {
    pub(crate) const fn new(index: u32, generation: u32) -> Self {
        let upper = ((generation as u64) << 2) | LIVE;
        let bits = NonZeroU64::new((upper << 32) | index as u64).expect("a live tag is not zero");
        Self { bits, marker: PhantomData }
    }

    /// The handle of the next object in slot `index`, whose word is `vacant`. As [`new`](Self::new) with its
    /// generation, in fewer instructions.
    #[inline(always)]
    pub(crate) fn next(index: u32, vacant: Snapshot) -> Self {
        let upper = vacant.0 - u64::from(vacant.offset());
        let bits = (upper + u64::from(index)) | LIVE << 32;
        debug_assert_eq!(bits, Self::new(index, vacant.generation()).to_bits());
        let bits = NonZeroU64::new(bits).expect("a live tag is not zero");
        Self { bits, marker: PhantomData }
    }

    /// The handle as a number, for storage or a foreign interface. O(1).
    #[inline]
    pub const fn to_bits(self) -> u64 {
        self.bits.get()
    }

    /// The handle that [`to_bits`](Self::to_bits) gave, or `None` where the bits cannot be a handle.
    ///
    /// Any result is safe to use: bits that name no live object find nothing.
    pub const fn from_bits(bits: u64) -> Option<Self> {
        if (bits >> 32) & 0b11 != LIVE {
            return None;
        }
        match NonZeroU64::new(bits) {
            Some(bits) => Some(Self { bits, marker: PhantomData }),
            None => None,
        }
    }

    /// The index of the slot.
    #[inline]
    pub const fn index(self) -> u32 {
        self.bits.get() as u32
    }

    /// The generation that the slot must have.
    #[inline]
    pub const fn generation(self) -> u32 {
        (self.bits.get() >> 34) as u32
    }

    /// The same slot and generation, under another type. Safe: the table that is asked decides what
    /// type it holds, and a handle that was not made by it finds nothing.
    #[inline]
    pub const fn cast<U: ?Sized>(self) -> Handle<U> {
        Handle { bits: self.bits, marker: PhantomData }
    }
}

impl<T: ?Sized> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Handle<T> {}

impl<T: ?Sized> PartialEq for Handle<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bits == other.bits
    }
}

impl<T: ?Sized> Eq for Handle<T> {}

impl<T: ?Sized> PartialOrd for Handle<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: ?Sized> Ord for Handle<T> {
    /// By slot index, then by generation.
    fn cmp(&self, other: &Self) -> Ordering {
        self.to_bits().rotate_left(32).cmp(&other.to_bits().rotate_left(32))
    }
}

impl<T: ?Sized> Hash for Handle<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // One write of 8 bytes: hashers mix a single word faster than two halves.
        state.write_u64(self.bits.get());
    }
}

impl<T: ?Sized> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}v{}", self.index(), self.generation())
    }
}

/// Conversions and the `Key` trait of slotmap, so that its secondary maps work on our handles.
#[cfg(feature = "slotmap")]
#[allow(unsafe_code)]
mod key {
    use super::{Handle, LIVE};
    use slotmap::{Key, KeyData};

    impl<T: ?Sized> Default for Handle<T> {
        /// slotmap's null key: it finds nothing.
        fn default() -> Self {
            KeyData::default().into()
        }
    }

    impl<T: ?Sized> From<KeyData> for Handle<T> {
        /// Key data is untrusted: a version that no live slot can have is normalised to one that can, so
        /// that a forged key cannot pass for a slot in the middle of a move.
        fn from(key: KeyData) -> Self {
            let bits = (key.as_ffi() & !(0b11 << 32)) | (LIVE << 32);
            Self::from_bits(with_index(bits, (bits as u32).wrapping_sub(1)))
                .expect("the live tag was just set")
        }
    }

    /// Index 0 is slotmap's own: its maps never have an entry there, and leave it out of their counts. So ours begin at 1,
    /// and the one that wraps around to 0 is beyond any table.
    // SAFETY: `data` gives back exactly the index and version that the handle was made from, always the
    // same for the same handle, and two handles are equal exactly when their data is.
    unsafe impl<T: ?Sized> Key for Handle<T> {
        fn data(&self) -> KeyData {
            KeyData::from_ffi(with_index(self.to_bits(), self.index().wrapping_add(1)))
        }
    }

    /// The same bits with another lower half.
    fn with_index(bits: u64, index: u32) -> u64 {
        bits >> 32 << 32 | u64::from(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_and_unpacks_the_extremes() {
        for (index, generation) in [(0, 0), (u32::MAX, GENERATION_END - 1), (7, 12)] {
            let handle = Handle::<u8>::new(index, generation);
            assert_eq!((handle.index(), handle.generation()), (index, generation));
            assert_eq!(Handle::from_bits(handle.to_bits()), Some(handle));
        }
    }

    #[test]
    fn refuses_bits_with_the_tag_of_a_slot_that_is_not_live() {
        for tag in [0b00_u64, 0b10, 0b11] {
            assert_eq!(Handle::<u8>::from_bits((4 | tag) << 32 | 9), None);
        }
    }

    #[cfg(feature = "slotmap")]
    #[test]
    fn a_secondary_map_of_slotmap_takes_handles() {
        let mut map = slotmap::SecondaryMap::new();
        let (old, new) = (Handle::<u8>::new(3, 8), Handle::<u8>::new(3, 9));
        map.insert(old, "old");
        map.insert(new, "new");
        assert_eq!(map.get(old), None);
        assert_eq!(map.get(new), Some(&"new"));
        let forged: Handle<u8> = slotmap::KeyData::from_ffi(0b111 << 32 | 3).into();
        assert_eq!(Handle::from_bits(forged.to_bits()), Some(forged));
    }

    #[cfg(feature = "slotmap")]
    #[test]
    fn keys_and_handles_are_one_to_one() {
        use slotmap::{Key, KeyData};
        for (index, generation) in [(0, 0), (u32::MAX, GENERATION_END - 1), (1, 7)] {
            let handle = Handle::<u8>::new(index, generation);
            assert_eq!(Handle::from(handle.data()), handle);
        }
        for ffi in [1 << 32, 5 << 32 | 1, 1 << 32 | u64::from(u32::MAX)] {
            assert_eq!(Handle::<u8>::from(KeyData::from_ffi(ffi)).data().as_ffi(), ffi);
        }
        assert!(Handle::<u8>::default().is_null() && !Handle::<u8>::new(0, 0).is_null());
    }
}
