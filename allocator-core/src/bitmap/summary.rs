//! [`Summary`]: which words of a bitmap are not zero.

use super::{WORD, mask};
use crate::raw::ZeroedWords;
use core::ops::Range;

/// One bit for each word of the bitmap, and one bit for each 64 of these.
pub(super) struct Summary {
    words: ZeroedWords,
    /// Invariant: bit `w` is set if and only if `words[w]` is not zero.
    top: Box<[u64]>,
}

impl Summary {
    /// For a bitmap of `words` words, all zero.
    pub(super) fn new(words: usize) -> Self {
        let len = words.div_ceil(WORD);
        Self { words: ZeroedWords::new(len), top: vec![0; len.div_ceil(WORD)].into_boxed_slice() }
    }

    /// The word numbered `word` is not zero.
    pub(super) fn set(&mut self, word: usize) {
        let index = word / WORD;
        self.words[index] |= 1 << (word % WORD);
        self.top[index / WORD] |= 1 << (index % WORD);
    }

    /// The word numbered `word` is zero again.
    pub(super) fn clear(&mut self, word: usize) {
        let index = word / WORD;
        self.words[index] &= !(1 << (word % WORD));
        if self.words[index] == 0 {
            self.top[index / WORD] &= !(1 << (index % WORD));
        }
    }

    /// Whether the word numbered `word` is not zero.
    #[cfg(all(test, not(loom)))]
    pub(super) fn get(&self, word: usize) -> bool {
        let index = word / WORD;
        let is_set = self.words[index] >> (word % WORD) & 1 != 0;
        assert!(!is_set || self.top[index / WORD] >> (index % WORD) & 1 != 0, "{word}");
        is_set
    }

    /// Whether 64 words at a time are zero, those numbered from `64 * groups.start` to `64 * groups.end`.
    pub(super) fn is_clear(&self, groups: Range<usize>) -> bool {
        let end = groups.end.min(self.words.len());
        self.words[groups.start.min(end)..end].iter().all(|word| *word == 0)
    }

    /// The first word of `[from, to)` that is not zero.
    pub(super) fn next(&self, from: usize, to: usize) -> Option<usize> {
        if from >= to {
            return None;
        }
        let (first, end) = (from / WORD, to.div_ceil(WORD));
        // It is often near, and then the level above need not be read.
        if let found @ Some(_) = self.first_of(first, from, to) {
            return found;
        }
        self.first_of(self.next_group(first + 1, end)?, from, to)
    }

    /// The last word of `[from, to)` that is not zero.
    pub(super) fn prev(&self, from: usize, to: usize) -> Option<usize> {
        if from >= to {
            return None;
        }
        let (first, last) = (from / WORD, (to - 1) / WORD);
        if let found @ Some(_) = self.last_of(last, from, to) {
            return found;
        }
        self.last_of(self.prev_group(first, last)?, from, to)
    }

    fn first_of(&self, index: usize, from: usize, to: usize) -> Option<usize> {
        let found = self.words[index] & mask(index, from, to);
        (found != 0).then(|| index * WORD + found.trailing_zeros() as usize)
    }

    fn last_of(&self, index: usize, from: usize, to: usize) -> Option<usize> {
        let found = self.words[index] & mask(index, from, to);
        (found != 0).then(|| index * WORD + found.ilog2() as usize)
    }

    /// The first of the words `[from, to)` of this level that is not zero.
    fn next_group(&self, from: usize, to: usize) -> Option<usize> {
        (from / WORD..to.div_ceil(WORD)).filter(|_| from < to).find_map(|index| {
            let found = self.top[index] & mask(index, from, to);
            (found != 0).then(|| index * WORD + found.trailing_zeros() as usize)
        })
    }

    /// The last of them.
    fn prev_group(&self, from: usize, to: usize) -> Option<usize> {
        (from / WORD..to.div_ceil(WORD)).rev().filter(|_| from < to).find_map(|index| {
            let found = self.top[index] & mask(index, from, to);
            (found != 0).then(|| index * WORD + found.ilog2() as usize)
        })
    }
}
