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
        let near = first_set(&self.words, first, from, to);
        near.or_else(|| {
            let group = next_set(&self.top, first + 1, end)?;
            first_set(&self.words, group, from, to)
        })
    }

    /// The last word of `[from, to)` that is not zero.
    pub(super) fn prev(&self, from: usize, to: usize) -> Option<usize> {
        if from >= to {
            return None;
        }
        let (first, last) = (from / WORD, (to - 1) / WORD);
        let near = last_set(&self.words, last, from, to);
        near.or_else(|| {
            let group = prev_set(&self.top, first, last)?;
            last_set(&self.words, group, from, to)
        })
    }
}

/// The first bit of `[from, to)` that is set in a word which meets that span.
fn first_set(words: &[u64], word: usize, from: usize, to: usize) -> Option<usize> {
    let found = words[word] & mask(word, from, to);
    (found != 0).then(|| word * WORD + found.trailing_zeros() as usize)
}

/// The last one.
fn last_set(words: &[u64], word: usize, from: usize, to: usize) -> Option<usize> {
    let found = words[word] & mask(word, from, to);
    (found != 0).then(|| word * WORD + found.ilog2() as usize)
}

/// The first bit of `[from, to)` that is set.
fn next_set(words: &[u64], from: usize, to: usize) -> Option<usize> {
    let mut span = if from < to { from / WORD..to.div_ceil(WORD) } else { 0..0 };
    span.find_map(|word| first_set(words, word, from, to))
}

/// The last one.
fn prev_set(words: &[u64], from: usize, to: usize) -> Option<usize> {
    let span = if from < to { from / WORD..to.div_ceil(WORD) } else { 0..0 };
    span.rev().find_map(|word| last_set(words, word, from, to))
}
