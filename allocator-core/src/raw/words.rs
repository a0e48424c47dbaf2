//! [`WordArray`]: a large, lazily committed array of zeroed `AtomicU64` that never moves.

#[cfg(loom)]
pub(crate) use modelled::WordArray;
#[cfg(not(loom))]
pub(crate) use real::WordArray;

#[cfg(not(loom))]
mod real {
    use crate::raw::os::{self, Mapping, OS_PAGE, prefer_huge_pages};
    use crate::sync::atomic::{AtomicU64, Ordering};
    use core::ops::Range;
    use core::ptr::NonNull;

    /// A large array of words. Untouched parts cost address space only.
    #[derive(Debug)]
    pub(crate) struct WordArray {
        // Keeps the memory behind `first` alive.
        _mapping: Mapping,
        first: NonNull<AtomicU64>,
        len: usize,
        huge_pages: bool,
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
            Some(Self { _mapping: mapping, first, len, huge_pages })
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

        /// Whether [`release`](Self::release) can do anything. Huge pages stay: giving back a part would split them.
        pub(crate) fn can_release(&self) -> bool {
            (os::can_release() || cfg!(miri)) && !self.huge_pages
        }

        /// Gives the pages of these words back to the system; they are zero afterwards. False when it refuses.
        ///
        /// The words may be loaded meanwhile, by anybody, and show their old value or zero; nobody stores to them.
        ///
        /// # Panics
        /// Where they are out of bounds.
        pub(crate) fn release(&self, words: Range<u32>) -> bool {
            assert!(words.start < words.end && words.end as usize <= self.len, "{words:?}");
            if cfg!(miri) {
                // Relaxed: what the system does orders nothing either.
                words.for_each(|index| self.get(index).store(0, Ordering::Relaxed));
                return true;
            }
            let bytes = words.len() * size_of::<AtomicU64>();
            // SAFETY: in bounds of the mapping, by the assertion.
            let first = unsafe { self.first.add(words.start as usize) };
            let is_aligned = first.addr().get().is_multiple_of(OS_PAGE);
            // SAFETY: page-aligned, and the mapping ends with a whole page. Nobody needs the values: the caller's duty,
            // which a wrong answer can follow from, and nothing unsound: zero is a valid word.
            is_aligned
                && unsafe { os::release(first.as_ptr().cast(), bytes.next_multiple_of(OS_PAGE)) }
        }

        /// The first word, for a reader that does its own bounds check.
        pub(crate) fn as_ptr(&self) -> *const AtomicU64 {
            self.first.as_ptr()
        }
    }
}

#[cfg(loom)]
mod modelled {
    use crate::sync::atomic::{AtomicU64, Ordering};
    use core::ops::Range;
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

        pub(crate) fn can_release(&self) -> bool {
            true
        }

        /// Relaxed: what the system does orders nothing either.
        pub(crate) fn release(&self, words: Range<u32>) -> bool {
            words.for_each(|index| self.get(index).store(0, Ordering::Relaxed));
            true
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
