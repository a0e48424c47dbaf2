//! [`WordArray`]: a large, lazily committed array of zeroed `AtomicU64` that never moves.

#[cfg(loom)]
pub(crate) use modelled::WordArray;
#[cfg(not(loom))]
pub(crate) use real::WordArray;

#[cfg(not(loom))]
mod real {
    use crate::raw::os::{Mapping, prefer_huge_pages};
    use crate::sync::atomic::AtomicU64;
    use core::ptr::NonNull;

    /// A large array of words. Untouched parts cost address space only.
    #[derive(Debug)]
    pub(crate) struct WordArray {
        // Keeps the memory behind `first` alive.
        _mapping: Mapping,
        first: NonNull<AtomicU64>,
        len: usize,
    }

    // SAFETY: the array is atomics and nothing else.
    unsafe impl Send for WordArray {}
    // SAFETY: as above.
    unsafe impl Sync for WordArray {}

    impl WordArray {
        /// Reserves `len` words, all zero; `None` when the system has no room for them.
        pub(crate) fn new(len: usize, huge_pages: bool) -> Option<Self> {
            let mapping = Mapping::new(len.checked_mul(size_of::<AtomicU64>())?)?;
            if huge_pages {
                prefer_huge_pages(&mapping);
            }
            let first = mapping.ptr().cast();
            Some(Self { _mapping: mapping, first, len })
        }

        /// The word at `index`.
        ///
        /// # Panics
        /// Where `index` is out of bounds.
        #[inline(always)]
        pub(crate) fn get(&self, index: u32) -> &AtomicU64 {
            assert!((index as usize) < self.len, "slot {index} of {}", self.len);
            // SAFETY: in bounds of the mapping, by the assertion.
            let word = unsafe { self.first.add(index as usize) };
            // SAFETY: aligned (the mapping is page-aligned), zeroed memory is a valid `AtomicU64`, only
            // ever accessed as one, and alive as long as `self`.
            unsafe { word.as_ref() }
        }

        /// The first word, for a reader that does its own bounds check.
        pub(crate) fn as_ptr(&self) -> *const AtomicU64 {
            self.first.as_ptr()
        }
    }
}

#[cfg(loom)]
mod modelled {
    use crate::sync::atomic::AtomicU64;
    use std::collections::HashMap;
    use std::sync::Mutex;

    /// Words that are made with the array: the real one is zeroed before anybody sees it, and loom takes
    /// the making of an atomic for a write, which a reader must be ordered behind.
    const EAGER: u32 = 4;

    /// The words of a model: the first few, the others when first touched, since loom pays for each.
    #[derive(Debug)]
    pub(crate) struct WordArray {
        // Invariant: entries are never removed, so a box lives as long as the array.
        words: Mutex<HashMap<u32, Box<AtomicU64>>>,
        len: usize,
    }

    impl WordArray {
        pub(crate) fn new(len: usize, _huge_pages: bool) -> Option<Self> {
            let word = |index| (index, Box::new(AtomicU64::new(0)));
            Some(Self { words: Mutex::new((0..EAGER).map(word).collect()), len })
        }

        pub(crate) fn get(&self, index: u32) -> &AtomicU64 {
            assert!((index as usize) < self.len, "slot {index} of {}", self.len);
            let mut words = self.words.lock().expect("no panic under this lock");
            let word: *const AtomicU64 =
                &**words.entry(index).or_insert_with(|| Box::new(AtomicU64::new(0)));
            // SAFETY: the box is never removed or replaced before `self` is dropped.
            unsafe { &*word }
        }
    }
}
