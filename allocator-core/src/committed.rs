//! [`Committed`]: which pages of the buffer are backed by memory.

use crate::bitmap::Bitmap;
use crate::raw::os::OS_PAGE;
use core::ops::Range;

/// Pages of the operating system that were touched since they were last given back.
pub(crate) struct Committed {
    pages: Bitmap,
    /// How many are set.
    count: usize,
}

impl Committed {
    /// None of `pages` pages.
    pub(crate) fn new(pages: usize) -> Self {
        Self { pages: Bitmap::new(pages), count: 0 }
    }

    /// Bytes of the pages.
    pub(crate) fn bytes(&self) -> usize {
        self.count * OS_PAGE
    }

    /// Pages are touched, some of them perhaps again.
    pub(crate) fn add(&mut self, pages: Range<usize>) {
        let mut page = pages.start;
        while let Some(from) = self.pages.next_clear(page, pages.end) {
            let to = self.pages.next_set(from, pages.end).unwrap_or(pages.end);
            self.pages.set_range(from, to);
            self.count += to - from;
            page = to;
        }
    }

    /// Takes the first committed pages in a row of `pages` out, `most` of them at most.
    pub(crate) fn take_first(&mut self, pages: Range<usize>, most: usize) -> Option<Range<usize>> {
        let from = self.pages.next_set(pages.start, pages.end)?;
        let end = pages.end.min(from + most);
        Some(self.take(from..self.pages.next_clear(from, end).unwrap_or(end)))
    }

    /// The same with the last ones.
    pub(crate) fn take_last(&mut self, pages: Range<usize>, most: usize) -> Option<Range<usize>> {
        let last = self.pages.prev_set(pages.end.checked_sub(1)?, pages.start)?;
        let mut from = last;
        while from > pages.start && last - from + 1 < most && self.pages.get(from - 1) {
            from -= 1;
        }
        Some(self.take(from..last + 1))
    }

    fn take(&mut self, pages: Range<usize>) -> Range<usize> {
        self.pages.clear_range(pages.start, pages.end);
        self.count -= pages.len();
        pages
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_counted_once() {
        let mut committed = Committed::new(100);
        committed.add(10..20);
        committed.add(15..30);
        committed.add(40..41);
        assert_eq!(committed.bytes(), 21 * OS_PAGE);
        assert_eq!(committed.take_first(0..100, 4), Some(10..14));
        assert_eq!(committed.take_first(0..16, 9), Some(14..16));
        assert_eq!(committed.take_last(0..100, 5), Some(40..41));
        assert_eq!(committed.take_last(0..100, 5), Some(25..30));
        assert_eq!(committed.take_last(20..20, 5), None);
        assert_eq!(committed.take_first(0..100, 99), Some(16..25));
        assert_eq!((committed.take_first(0..100, 99), committed.bytes()), (None, 0));
        committed.add(3..3);
        assert_eq!(committed.bytes(), 0);
    }
}
