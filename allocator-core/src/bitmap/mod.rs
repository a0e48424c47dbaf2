//! A bitmap with a summary, for maps that are mostly empty.
//!
//! Bits live in 64-bit words; a second, 64 times smaller array has one bit for each word that is not zero, and a third one for
//! that (`summary.rs`). A scan for a set bit reads one word of the third per 262,144 bits of empty span, so a
//! map of a mostly empty heap is searched at the speed of its contents, not of its size.
//!
//! All begin as zeroes, and nothing here writes a zero over a zero. The parts of a large map
//! that were never set therefore need no memory of their own, and those where nothing is set any more
//! can be given back. Nor is such a part read: the system would put a shared page of zeroes there, and
//! to replace that by one that can be written, interrupt every core that runs a thread of the process.
//!
//! A bitmap knows no lock: whoever shares one keeps it behind theirs.

mod summary;

use crate::raw::ZeroedWords;
use crate::raw::zeroed::PAGE_WORDS;
use core::ops::Range;
use summary::Summary;

const WORD: usize = u64::BITS as usize;

/// A fixed number of bits, all clear at first.
pub(crate) struct Bitmap {
    bits: usize,
    words: ZeroedWords,
    /// Which of them are not zero.
    summary: Summary,
    /// One bit for each page of words that was written since it was last given back.
    written: Vec<u64>,
}

/// The bits of word `word` that lie in `[from, to)`, which must meet that word.
fn mask(word: usize, from: usize, to: usize) -> u64 {
    let base = word * WORD;
    let low = from.saturating_sub(base);
    let high = (to - base).min(WORD);
    debug_assert!(low < high, "bits [{from}, {to}) do not meet word {word}");
    (u64::MAX >> (WORD - (high - low))) << low
}

impl Bitmap {
    /// A bitmap of `bits` clear bits. Allocates zeroed memory and touches none of it.
    pub(crate) fn new(bits: usize) -> Self {
        let words = bits.div_ceil(WORD);
        Self {
            bits,
            words: ZeroedWords::new(words),
            summary: Summary::new(words),
            written: vec![0; words.div_ceil(PAGE_WORDS * WORD)],
        }
    }

    /// Whether `bit` is set. O(1).
    pub(crate) fn get(&self, bit: usize) -> bool {
        debug_assert!(bit < self.bits);
        self.word(bit / WORD) >> (bit % WORD) & 1 != 0
    }

    /// Sets `bit`. O(1).
    pub(crate) fn set(&mut self, bit: usize) {
        debug_assert!(bit < self.bits);
        self.add(bit / WORD, 1 << (bit % WORD));
    }

    /// Clears `bit`. O(1).
    pub(crate) fn clear(&mut self, bit: usize) {
        debug_assert!(bit < self.bits);
        self.take(bit / WORD, 1 << (bit % WORD));
    }

    /// Sets the bits of `[from, to)`. One step per word.
    pub(crate) fn set_range(&mut self, from: usize, to: usize) {
        for word in self.words_of(from, to) {
            self.add(word, mask(word, from, to));
        }
    }

    /// Clears the bits of `[from, to)`. One step per word that holds a set bit, and one
    /// per 262,144 bits.
    pub(crate) fn clear_range(&mut self, from: usize, to: usize) {
        let mut span = self.words_of(from, to);
        while let Some(word) = self.summary.next(span.start, span.end) {
            self.take(word, mask(word, from, to));
            span.start = word + 1;
        }
    }

    /// The lowest set bit of `[from, to)`. O(1) where it is near; one step per 262,144 bits
    /// of empty span where it is not.
    pub(crate) fn next_set(&self, from: usize, to: usize) -> Option<usize> {
        let mut span = self.words_of(from, to);
        // The answer is often in the first word, and then the summary need not be read.
        while span.start < span.end {
            let word = span.start;
            let found = self.word(word) & mask(word, from, to);
            if found != 0 {
                return Some(word * WORD + found.trailing_zeros() as usize);
            }
            span.start = self.summary.next(word + 1, span.end)?;
        }
        None
    }

    /// The highest set bit of `[down_to, from]`, both ends included. Costs as much as
    /// [`next_set`](Self::next_set).
    pub(crate) fn prev_set(&self, from: usize, down_to: usize) -> Option<usize> {
        let mut span = self.words_of(down_to, from + 1);
        while span.start < span.end {
            let word = span.end - 1;
            let found = self.word(word) & mask(word, down_to, from + 1);
            if found != 0 {
                return Some(word * WORD + found.ilog2() as usize);
            }
            span.end = self.summary.prev(span.start, word)? + 1;
        }
        None
    }

    /// The lowest clear bit of `[from, to)`. One step per word of full span: the summary does
    /// not tell full words from others.
    pub(crate) fn next_clear(&self, from: usize, to: usize) -> Option<usize> {
        self.words_of(from, to).find_map(|word| {
            let found = !self.word(word) & mask(word, from, to);
            (found != 0).then(|| word * WORD + found.trailing_zeros() as usize)
        })
    }

    /// How many bits of `[from, to)` are set. One step per word that holds a set bit, and one
    /// per 262,144 bits.
    pub(crate) fn count_range(&self, from: usize, to: usize) -> usize {
        let mut span = self.words_of(from, to);
        let mut count = 0;
        while let Some(word) = self.summary.next(span.start, span.end) {
            count += (self.words[word] & mask(word, from, to)).count_ones() as usize;
            span.start = word + 1;
        }
        count
    }

    /// Gives the memory of those of the `pages` that were written and have no set bit back to the system, of the words
    /// only: the summary is small. One step a page. Whether there are no pages behind these.
    pub(crate) fn release_clear(&mut self, pages: Range<usize>) -> bool {
        let all = self.words.len().div_ceil(PAGE_WORDS);
        let end = pages.end.min(all);
        let mut clear: Vec<Range<usize>> = Vec::new();
        for page in pages.start..end {
            if !self.is_clear_again(page) {
                continue;
            }
            self.written[page / WORD] &= !(1 << (page % WORD));
            match clear.last_mut() {
                Some(last) if last.end == page => last.end += 1,
                _ => clear.push(page..page + 1),
            }
        }
        // Together: each call of the system interrupts the readers.
        self.words.release(&clear);
        pages.end >= all
    }

    /// Whether a page of words was written since it was last given back, and has no set bit.
    fn is_clear_again(&self, page: usize) -> bool {
        const GROUPS: usize = PAGE_WORDS / WORD;
        self.is_written(page) && self.summary.is_clear(page * GROUPS..(page + 1) * GROUPS)
    }

    /// Whether a page of words was written since it was last given back; all its words are zero if not.
    fn is_written(&self, page: usize) -> bool {
        self.written[page / WORD] >> (page % WORD) & 1 != 0
    }

    /// The word numbered `index`.
    fn word(&self, index: usize) -> u64 {
        if self.is_written(index / PAGE_WORDS) { self.words[index] } else { 0 }
    }

    /// The words that `[from, to)` meets; none where that span is empty.
    fn words_of(&self, from: usize, to: usize) -> Range<usize> {
        debug_assert!(to <= self.bits, "bit {to} of {}", self.bits);
        if from < to { from / WORD..to.div_ceil(WORD) } else { 0..0 }
    }

    fn add(&mut self, word: usize, bits: u64) {
        let page = word / PAGE_WORDS;
        if self.is_written(page) {
            self.words[word] |= bits;
        } else {
            self.written[page / WORD] |= 1 << (page % WORD);
            self.words[word] = bits;
        }
        self.summary.set(word);
    }

    fn take(&mut self, word: usize, bits: u64) {
        if self.word(word) & bits != 0 {
            self.words[word] &= !bits;
            if self.words[word] == 0 {
                self.summary.clear(word);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Bitmap;
    use proptest::prelude::*;

    /// The summary says of every word whether it is zero.
    fn assert_summary(map: &Bitmap) {
        for (index, word) in map.words.iter().enumerate() {
            assert_eq!(map.summary.get(index), *word != 0, "{index}");
        }
    }

    #[test]
    fn empty_spans_hold_nothing() {
        let mut map = Bitmap::new(0);
        map.set_range(0, 0);
        assert_eq!(map.next_set(0, 0), None);

        let mut map = Bitmap::new(130);
        map.set_range(64, 64);
        map.set_range(65, 64);
        assert_eq!(map.count_range(0, 130), 0);
        assert_eq!(map.next_clear(7, 7), None);
        assert_eq!(map.prev_set(3, 4), None);
    }

    #[test]
    fn ends_are_exact_at_the_boundaries_of_words_of_each_level() {
        const NEAR: [usize; 12] = [1, 63, 64, 65, 127, 128, 4095, 4096, 4097, 8191, 8192, 12_000];
        const FAR: [usize; 6] = [262_143, 262_144, 262_145, 524_287, 524_288, 600_000];
        let (far, len) = if cfg!(miri) { (&FAR[..0], 12_289) } else { (&FAR[..], 600_002) };
        for edge in NEAR.iter().chain(far).copied() {
            let mut map = Bitmap::new(len);
            map.set(edge);
            assert!(map.get(edge) && !map.get(edge - 1) && !map.get(edge + 1));
            assert_eq!(map.next_set(0, edge), None);
            assert_eq!(map.next_set(0, edge + 1), Some(edge));
            assert_eq!(map.next_set(edge, len), Some(edge));
            assert_eq!(map.next_set(edge + 1, len), None);
            assert_eq!(map.prev_set(len - 1, edge), Some(edge));
            assert_eq!(map.prev_set(len - 1, edge + 1), None);
            assert_eq!(map.prev_set(edge, 0), Some(edge));
            assert_eq!(map.prev_set(edge - 1, 0), None);
            assert_eq!(map.next_clear(edge, len), Some(edge + 1));
            map.clear(edge);
            assert_eq!(map.next_set(0, len), None);
            assert_summary(&map);
        }
    }

    #[test]
    fn scans_of_an_untouched_map_of_the_largest_heap_are_quick() {
        let bits = if cfg!(miri) { 1 << 20 } else { u32::MAX as usize };
        let mut map = Bitmap::new(bits);
        assert_eq!(map.next_set(1, bits), None);
        map.set(bits - 1);
        assert_eq!(map.next_set(0, bits), Some(bits - 1));
        assert_eq!(map.count_range(0, bits), 1);
        map.clear_range(0, bits);
        assert_eq!(map.prev_set(bits - 1, 0), None);
    }

    const BITS: usize = if cfg!(miri) { 4200 } else { 9000 };

    fn span() -> impl Strategy<Value = (usize, usize)> {
        prop_oneof![(0..=BITS, 0..200_usize), (0..=BITS, 0..BITS)]
            .prop_map(|(from, len)| (from, (from + len).min(BITS)))
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 2 } else { 256 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn agrees_with_a_vector_of_bools(
            changes in prop::collection::vec((any::<bool>(), span()), 0..12),
            bits in prop::collection::vec((any::<bool>(), 0..BITS), 0..12),
            asks in prop::collection::vec(span(), 1..12),
        ) {
            let mut map = Bitmap::new(BITS);
            let mut model = vec![false; BITS];
            for (value, (from, to)) in changes {
                if value { map.set_range(from, to) } else { map.clear_range(from, to) }
                model[from..to].fill(value);
            }
            for (value, bit) in bits {
                if value { map.set(bit) } else { map.clear(bit) }
                model[bit] = value;
                prop_assert_eq!(map.get(bit), value);
            }
            prop_assert!(map.release_clear(0..BITS));
            assert_summary(&map);
            for (from, to) in asks {
                let set = |bit: &usize| model[*bit];
                prop_assert_eq!(map.next_set(from, to), (from..to).find(set));
                prop_assert_eq!(map.next_clear(from, to), (from..to).find(|bit| !model[*bit]));
                prop_assert_eq!(map.count_range(from, to), (from..to).filter(set).count());
                if to > 0 {
                    prop_assert_eq!(map.prev_set(to - 1, from), (from..to).rev().find(set));
                }
            }
        }
    }
}
