//! [`Vacant`]: the slots that can be handed out, kept by *slot page*, the slots that share a page of the system.
//!
//! Vacant slots that were used are on their page's list, which runs through the offset halves of their words. The others of
//! a page are *bare*: nobody looks at their words, and they all get the page's generation next. A page that was never
//! used is bare as a whole, and so is one that was given back to the system: its words read as zeroes, which is a
//! vacant slot for every reader, whatever handle it has.
//!
//! No key comes back to life: the generation of a page that is given back is the highest that any of its slots would have got
//! next (its *watermark*), so every slot of it goes on above all that it ever had.
//!
//! The lowest page with a used slot is taken from first, so high pages become vacant as a whole.

use crate::bitmap::Bitmap;
use crate::cache::InHand;
use crate::handle::GENERATION_END;
use crate::raw::WordArray;
use crate::raw::os::OS_PAGE;
use crate::slot::Snapshot;
use crate::sync::atomic::Ordering;
use core::fmt;
use core::ops::Range;

/// Slots of a page.
pub(super) const PAGE_SLOTS: u32 =
    if cfg!(any(loom, miri)) { 2 } else { (OS_PAGE / size_of::<u64>()) as u32 };

/// "No slot": the end of a page's list.
const NONE: u32 = u32::MAX;

/// Pages that are given back to the system with one call, at most.
const RELEASE_MAX: usize = 64;

/// Slots that can be handed out.
#[derive(Debug)]
pub(super) struct Vacant {
    /// Number of slots there can be.
    limit: u32,
    /// Generation of slots that were never used.
    first_generation: u32,
    /// The pages up to the last one that was used.
    pages: Vec<Page>,
    /// Pages with a vacant slot and a used one; those of `low` and above count.
    open: Pages,
    /// Pages that are bare as a whole.
    bare: Pages,
    /// Pages without an object that are not bare as a whole: these can be given back.
    idle: Pages,
    /// Pages that are not bare as a whole.
    touched: usize,
}

/// The vacant slots of a page.
#[derive(Clone, Copy, Debug)]
struct Page {
    /// First slot of the list.
    head: u32,
    /// Slots on the list.
    listed: u32,
    /// So many of the last slots are bare.
    bare: u32,
    /// Generation of their next objects.
    generation: u32,
}

/// A set of page numbers.
struct Pages {
    bits: Bitmap,
    /// No page below this one is in the set.
    low: usize,
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").field("low", &self.low).finish_non_exhaustive()
    }
}

impl Pages {
    fn new(pages: usize) -> Self {
        Self { bits: Bitmap::new(pages + 1), low: 0 }
    }

    fn put(&mut self, page: usize, is_in: bool) {
        if is_in {
            self.bits.set(page);
            self.low = self.low.min(page);
        } else {
            self.bits.clear(page);
        }
    }

    /// The lowest of the first `end` pages that is in the set.
    fn lowest(&mut self, end: usize) -> Option<usize> {
        if self.low >= end {
            return None;
        }
        let found = self.bits.next_set(self.low, end);
        self.low = found.unwrap_or(end);
        found
    }
}

/// What a page is, which says in which sets it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// No slot of it can be handed out.
    Full,
    /// Some can.
    Open,
    /// All can, and some of their words were used.
    Idle,
    /// All are bare.
    Bare,
}

impl Page {
    /// Takes the first slot of the list, or the first bare one; `end` is the last slot's successor.
    fn take(&mut self, words: &WordArray, end: u32) -> Option<(u32, u32)> {
        if self.head != NONE {
            let slot = self.head;
            // Relaxed: words of listed slots change under the lock of the list only.
            let word = Snapshot(words.get(slot).load(Ordering::Relaxed));
            debug_assert!(word.is_vacant() && !word.is_exhausted());
            self.head = word.offset();
            self.listed -= 1;
            return Some((slot, word.generation()));
        }
        let slot = end - self.bare;
        self.bare = self.bare.checked_sub(1)?;
        Some((slot, self.generation))
    }
}

impl Vacant {
    /// `limit` slots that were never used.
    pub(super) fn new(limit: u32, first_generation: u32) -> Self {
        let pages = limit.div_ceil(PAGE_SLOTS) as usize;
        Self {
            limit,
            first_generation,
            pages: Vec::new(),
            open: Pages::new(pages),
            bare: Pages::new(pages),
            idle: Pages::new(pages),
            touched: 0,
        }
    }

    /// Slots of a page: the last one may be shorter.
    fn slots(&self, page: usize) -> Range<u32> {
        let start = page as u32 * PAGE_SLOTS;
        start..start.saturating_add(PAGE_SLOTS).min(self.limit)
    }

    /// Takes up to `count` vacant slots of the lowest pages that have any, and tells `put` of each, with the generation of its
    /// next object. Fewer when the others are in use or retired.
    pub(super) fn take(
        &mut self,
        words: &WordArray,
        count: usize,
        mut put: impl FnMut((u32, u32)),
    ) {
        let mut left = count;
        while left > 0 {
            let Some(number) = self.lowest_page() else { return };
            let (slots, was) = (self.slots(number), self.state(number));
            let page = &mut self.pages[number];
            self.touched += usize::from(page.bare as usize == slots.len());
            while left > 0
                && let Some(slot) = page.take(words, slots.end)
            {
                left -= 1;
                put(slot);
            }
            self.settle(number, was);
        }
    }

    /// A page with a vacant slot: one that is in use, one that was given back, one that was never used.
    fn lowest_page(&mut self) -> Option<usize> {
        let end = self.pages.len();
        if let found @ Some(_) = self.open.lowest(end).or_else(|| self.bare.lowest(end)) {
            return found;
        }
        let slots = self.slots(end);
        if slots.is_empty() {
            return None;
        }
        let bare = slots.len() as u32;
        self.pages.push(Page { head: NONE, listed: 0, bare, generation: self.first_generation });
        Some(end)
    }

    /// Takes slots back, each with the generation that its next object gets. One without generations left is retired for
    /// good, and its page stays.
    pub(super) fn put(&mut self, words: &WordArray, slots: impl Iterator<Item = (u32, u32)>) {
        for (slot, generation) in slots {
            let number = (slot / PAGE_SLOTS) as usize;
            let was = self.state(number);
            let page = &mut self.pages[number];
            let link = if generation >= GENERATION_END {
                NONE
            } else {
                page.listed += 1;
                core::mem::replace(&mut page.head, slot)
            };
            // Relaxed: nothing is published; the next user of the slot gets it through the lock of the list. A reader with a
            // stale handle finds it vacant with either value.
            words.get(slot).store(Snapshot::vacant(generation, link).0, Ordering::Relaxed);
            self.settle(number, was);
        }
    }

    /// Puts a page that was changed into the sets that it belongs to; `was` is what it was before.
    fn settle(&mut self, number: usize, was: State) {
        let is = self.state(number);
        if is == was {
            return;
        }
        self.open.put(number, matches!(is, State::Open | State::Idle));
        self.bare.put(number, is == State::Bare);
        self.idle.put(number, is == State::Idle);
    }

    fn state(&self, number: usize) -> State {
        let room = self.slots(number).len() as u32;
        let page = &self.pages[number];
        match page.listed + page.bare {
            _ if page.bare == room => State::Bare,
            0 => State::Full,
            vacant if vacant == room => State::Idle,
            _ => State::Open,
        }
    }

    /// Bytes of pages that slots were taken from and that were not given back since.
    pub(super) fn touched_bytes(&self) -> usize {
        self.touched * PAGE_SLOTS as usize * size_of::<u64>()
    }

    /// Takes pages without an object out, up to `most` in a row, to be given back to the system: nobody is handed a slot of
    /// theirs until [`join`](Self::join), so they are in hand until then. O(slots of the pages). `None` when there is no such page.
    pub(super) fn part(
        &mut self,
        words: &WordArray,
        most: usize,
        _in_hand: &InHand<'_>,
    ) -> Option<Range<usize>> {
        let end = self.pages.len();
        let first = self.idle.lowest(end).filter(|_| most > 0)?;
        let longest = (first + most.min(RELEASE_MAX)).min(end);
        let last = (first..longest).find(|page| !self.idle.bits.get(*page)).unwrap_or(longest);
        for number in first..last {
            let (generation, was) = (self.watermark(words, number), self.state(number));
            self.pages[number] = Page { head: NONE, listed: 0, bare: 0, generation };
            self.settle(number, was);
        }
        Some(first..last)
    }

    /// The highest generation that a slot of the page, which has no object, would get next.
    fn watermark(&self, words: &WordArray, number: usize) -> u32 {
        let (slots, page) = (self.slots(number), self.pages[number]);
        // Relaxed: as in `take`. The words of bare slots say nothing.
        let listed = (slots.start..slots.end - page.bare)
            .map(|slot| Snapshot(words.get(slot).load(Ordering::Relaxed)).generation());
        let bare = if page.bare > 0 { page.generation } else { 0 };
        listed.fold(bare, u32::max)
    }

    /// The slots of pages, to be given back to the system.
    pub(super) fn slots_of(&self, pages: &Range<usize>) -> Range<u32> {
        self.slots(pages.start).start..self.slots(pages.end - 1).end
    }

    /// Takes the pages of [`part`](Self::part) back: every slot of theirs can be handed out.
    pub(super) fn join(&mut self, pages: Range<usize>) {
        self.touched -= pages.len();
        for number in pages {
            let was = self.state(number);
            self.pages[number].bare = self.slots(number).len() as u32;
            self.settle(number, was);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::cache::Hands;
    use core::iter::once;
    use std::collections::{BTreeSet, HashMap};

    const LIMIT: u32 = 3 * PAGE_SLOTS + 1;

    fn slots() -> (Vacant, WordArray) {
        (Vacant::new(LIMIT, 7), WordArray::new(LIMIT as usize, false).unwrap())
    }

    fn take(vacant: &mut Vacant, words: &WordArray, count: usize) -> Vec<(u32, u32)> {
        let mut taken = Vec::new();
        vacant.take(words, count, |slot| taken.push(slot));
        taken
    }

    fn take_all(vacant: &mut Vacant, words: &WordArray) -> Vec<(u32, u32)> {
        take(vacant, words, 2 * LIMIT as usize)
    }

    fn load(words: &WordArray, slot: u32) -> Snapshot {
        // Relaxed: the test is one thread.
        Snapshot(words.get(slot).load(Ordering::Relaxed))
    }

    fn release_all(vacant: &mut Vacant, words: &WordArray) -> usize {
        let mut released = 0;
        while let Some(pages) = vacant.part(words, usize::MAX, &Hands::default().take()) {
            words.release(vacant.slots_of(&pages));
            released += pages.len();
            vacant.join(pages);
        }
        released
    }

    #[test]
    fn slots_are_handed_out_from_the_lowest_page_on() {
        let (mut vacant, words) = slots();
        let all = take_all(&mut vacant, &words);
        assert!(all.iter().copied().eq((0..LIMIT).map(|slot| (slot, 7))));
        for slot in [LIMIT - 1, 2 * PAGE_SLOTS, 1, 2 * PAGE_SLOTS + 1] {
            vacant.put(&words, once((slot, 8)));
        }
        let again = take_all(&mut vacant, &words);
        assert_eq!(again[0], (1, 8));
        let pages: Vec<u32> = again.iter().map(|(slot, _)| slot / PAGE_SLOTS).collect();
        assert_eq!(pages, [0, 2, 2, 3]);
    }

    #[test]
    fn released_pages_read_as_vacant_and_go_on_above_their_watermark() {
        let (mut vacant, words) = slots();
        take_all(&mut vacant, &words);
        for slot in 0..LIMIT {
            vacant.put(&words, once((slot, if slot == 1 { 90 } else { 8 })));
        }
        assert_eq!(vacant.touched_bytes(), 4 * PAGE_SLOTS as usize * 8);
        assert_eq!(release_all(&mut vacant, &words), 4);
        assert_eq!((vacant.touched_bytes(), release_all(&mut vacant, &words)), (0, 0));
        for slot in 0..LIMIT {
            let word = load(&words, slot);
            assert!(word.is_vacant() && (word.0 == 0 || !crate::raw::os::can_release()));
        }
        let expected = (0..LIMIT).map(|slot| (slot, if slot < PAGE_SLOTS { 90 } else { 8 }));
        assert!(take_all(&mut vacant, &words).into_iter().eq(expected));
    }

    #[test]
    fn a_page_with_a_slot_in_use_or_retired_for_good_stays() {
        let (mut vacant, words) = slots();
        take_all(&mut vacant, &words);
        (1..PAGE_SLOTS).for_each(|slot| vacant.put(&words, once((slot, 8))));
        assert_eq!(release_all(&mut vacant, &words), 0);
        vacant.put(&words, once((0, GENERATION_END)));
        assert_eq!(release_all(&mut vacant, &words), 0);
        assert!(load(&words, 0).is_exhausted());
        assert_eq!(take_all(&mut vacant, &words).len() as u32, PAGE_SLOTS - 1);
    }

    #[test]
    fn nobody_is_handed_a_slot_of_a_page_that_is_being_released() {
        let (mut vacant, words) = slots();
        take_all(&mut vacant, &words);
        (0..PAGE_SLOTS).for_each(|slot| vacant.put(&words, once((slot, 8))));
        let hands = Hands::default();
        let pages = vacant.part(&words, usize::MAX, &hands.take()).unwrap();
        let more = vacant.part(&words, 1, &hands.take());
        assert_eq!((take(&mut vacant, &words, 1), more), (vec![], None));
        vacant.join(pages);
        assert_eq!(take(&mut vacant, &words, 1), [(0, 8)]);
    }

    #[test]
    fn no_generation_of_a_slot_ever_comes_again() {
        let (mut vacant, words) = slots();
        let (mut used, mut last) = (BTreeSet::new(), HashMap::new());
        let mut random = 1_u64;
        for _ in 0..if cfg!(miri) { 300 } else { 100_000 } {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            match (random >> 33) % 100 {
                0 => {
                    release_all(&mut vacant, &words);
                }
                1 => {
                    for slot in core::mem::take(&mut used) {
                        vacant.put(&words, once((slot, last[&slot] + 1)));
                    }
                }
                n if n < 60 => {
                    let Some((slot, generation)) = take(&mut vacant, &words, 1).pop() else {
                        continue;
                    };
                    assert!(used.insert(slot), "slot {slot} is in use");
                    let before = last.insert(slot, generation);
                    assert!(before.is_none_or(|before| before < generation), "slot {slot}");
                }
                n => {
                    let slot = (random >> 40) as u32 % LIMIT;
                    if used.remove(&slot) {
                        vacant.put(&words, once((slot, last[&slot] + 1 + (n == 99) as u32)));
                        // It may have been given up without an object.
                        last.entry(slot).and_modify(|last| *last += (n == 99) as u32);
                    }
                }
            }
        }
        let free = take_all(&mut vacant, &words).len() + used.len();
        assert_eq!(free as u32, LIMIT, "none is lost");
    }
}
