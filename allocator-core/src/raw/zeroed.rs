//! [`ZeroedWords`]: an array of words that begins as zeroes, and gives pages that are zero again back to the system.

use super::os::{Mapping, OS_PAGE, can_release};
use super::together::release_all;
use core::ops::{Deref, DerefMut, Range};
use core::ptr::NonNull;
use core::slice;

/// Bytes from which on an array is mapped.
const MAPPED_MIN: usize = 16 << 10;

/// Words of a page of the system.
pub(crate) const PAGE_WORDS: usize = OS_PAGE / size_of::<u64>();

/// An array of words, for one owner at a time. Parts that were never written need no memory of their own.
pub(crate) struct ZeroedWords {
    first: NonNull<u64>,
    len: usize,
    /// What keeps the memory; `None` for small arrays, and where the system gives no mapping: those are boxed.
    mapping: Option<Mapping>,
}

// SAFETY: an array of integers that the value owns.
unsafe impl Send for ZeroedWords {}
// SAFETY: as above; a shared reference only reads.
unsafe impl Sync for ZeroedWords {}

impl ZeroedWords {
    /// `len` zeroes. Touches no memory where they are many.
    pub(crate) fn new(len: usize) -> Self {
        let bytes = len * size_of::<u64>();
        let mapping = if bytes < MAPPED_MIN { None } else { Mapping::new(bytes) };
        let first = match &mapping {
            Some(mapping) => mapping.ptr().cast(),
            None => {
                let words = Box::into_raw(vec![0_u64; len].into_boxed_slice());
                NonNull::new(words.cast()).expect("a box is somewhere")
            }
        };
        Self { first, len, mapping }
    }

    /// Gives pages back whose words are all zero, together: ranges of pages of [`PAGE_WORDS`] words each, numbered in ascending
    /// order, as far as they are whole. The bytes that were given back.
    pub(crate) fn release(&mut self, pages: &[Range<usize>]) -> usize {
        let whole = self.len / PAGE_WORDS;
        if self.mapping.is_none() || !can_release() {
            return 0;
        }
        let cut = |range: &Range<usize>| range.start..range.end.min(whole);
        let pages: Vec<_> = pages.iter().map(cut).filter(|range| !range.is_empty()).collect();
        debug_assert!(pages.iter().all(|range| {
            self[range.start * PAGE_WORDS..range.end * PAGE_WORDS].iter().all(|word| *word == 0)
        }));
        // SAFETY: whole pages of the mapping; they read as zeroes afterwards, as they did before.
        let released = unsafe { release_all(self.first.as_ptr().cast(), &pages) };
        if released { pages.iter().map(|range| range.len() * OS_PAGE).sum() } else { 0 }
    }
}

impl Drop for ZeroedWords {
    fn drop(&mut self) {
        if self.mapping.is_none() {
            let words = core::ptr::slice_from_raw_parts_mut(self.first.as_ptr(), self.len);
            // SAFETY: made by `Box::into_raw` in `new`, and nobody uses the array any more.
            drop(unsafe { Box::from_raw(words) });
        }
    }
}

impl Deref for ZeroedWords {
    type Target = [u64];

    #[inline(always)]
    fn deref(&self) -> &[u64] {
        // SAFETY: `len` words, zeroed at first, that only `self` touches, alive as long as it.
        unsafe { slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl DerefMut for ZeroedWords {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u64] {
        // SAFETY: as above, and `self` is borrowed alone.
        unsafe { slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn pages_of_zeroes_are_given_back_and_read_as_zeroes() {
        for len in [0, 1, PAGE_WORDS, MAPPED_MIN / 8, 64 * PAGE_WORDS + 3] {
            let mut words = ZeroedWords::new(len);
            assert_eq!(words.len(), len);
            assert!(words.iter().all(|word| *word == 0));
            words.fill(7);
            words.fill(0);
            let released = words.release(&[0..1, 1..len]);
            let whole = if len * 8 < MAPPED_MIN { 0 } else { len / PAGE_WORDS * OS_PAGE };
            assert_eq!(released, if can_release() { whole } else { 0 });
            assert!(words.iter().all(|word| *word == 0));
            words.fill(1);
        }
    }
}
