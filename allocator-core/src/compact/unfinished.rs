//! [`Unfinished`]: what a pass leaves to the next one, under the mover lock.

use super::raise::Raise;
use super::rate::Rate;
use super::release::Pending;
use super::round::Round;
use crate::heap::Inner;
use crate::pages::Label;
use core::time::Duration;
use std::collections::HashMap;

/// Passes for which a page is left alone after it could not be emptied; doubled each time, up to the second.
const BACK_OFF: u64 = 4;
const BACK_OFF_MAX: u64 = 1024;

/// Pages that are remembered as futile, and as partly emptied, at most.
const FUTILE_MAX: usize = 4096;
const PARTLY_MAX: usize = 1024;

/// What a pass leaves to the next one.
#[derive(Debug, Default)]
pub(super) struct Unfinished {
    /// The round that goes on; `None` where the last one was complete.
    pub(super) round: Option<Round>,
    /// A slab on its way up.
    pub(super) raise: Option<Raise>,
    /// Pages that became free and are not given back yet.
    pub(super) pending: Pending,
    /// Pages that could not be emptied lately.
    pub(super) futile: Futile,
    /// Moves out of pages that are not free yet.
    pub(super) partly: Partly,
    /// What moves have cost.
    pub(super) rate: Rate,
    /// The longest time between two looks at the clock, half of it for each pass since.
    pub(super) longest_step: Duration,
    /// Bytes that were committed when the work began.
    pub(super) committed_max: usize,
}

/// Pages that could not be emptied, because of pins or readers, and until which pass they are left alone.
#[derive(Debug, Default)]
pub(super) struct Futile {
    passes: u64,
    pages: HashMap<u32, (u64, u64)>,
}

impl Futile {
    pub(super) fn begin_pass(&mut self) {
        self.passes += 1;
    }

    /// Whether a page is not worth an attempt yet.
    pub(super) fn has(&self, page: u32) -> bool {
        self.pages.get(&page).is_some_and(|(until, _)| *until > self.passes)
    }

    /// An attempt has failed.
    pub(super) fn note(&mut self, page: u32) {
        if self.pages.len() >= FUTILE_MAX {
            self.pages.clear();
        }
        let (until, wait) = self.pages.entry(page).or_insert((0, BACK_OFF / 2));
        *wait = (*wait * 2).min(BACK_OFF_MAX);
        *until = self.passes + *wait;
    }

    /// An attempt has succeeded.
    pub(super) fn forget(&mut self, page: u32) {
        self.pages.remove(&page);
    }
}

/// Moves out of pages that are not free yet: they were of use once the page is.
#[derive(Debug, Default)]
pub(super) struct Partly(HashMap<u32, u64>);

impl Partly {
    pub(super) fn add(&mut self, page: u32, moves: u64) {
        if self.0.len() < PARTLY_MAX || self.0.contains_key(&page) {
            *self.0.entry(page).or_insert(0) += moves;
        }
    }

    pub(super) fn take(&mut self, page: u32) -> u64 {
        self.0.remove(&page).unwrap_or(0)
    }

    /// The moves out of pages that came free since, by their last blocks' removal.
    pub(super) fn take_free(&mut self, heap: &Inner) -> u64 {
        let is_free = |page: &u32| heap.store.shared.pages.label(*page) == Label::Central;
        self.0.extract_if(|page, _| is_free(page)).map(|(_, moves)| moves).sum()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn futile_pages_are_left_alone_for_longer_and_longer() {
        let mut futile = Futile::default();
        let mut waits = Vec::new();
        for _ in 0..4 {
            futile.note(7);
            let mut wait = 0;
            while futile.has(7) {
                futile.begin_pass();
                wait += 1;
            }
            waits.push(wait);
        }
        assert_eq!(waits, [4, 8, 16, 32]);
        futile.note(7);
        futile.forget(7);
        assert!(!futile.has(7) && !futile.has(8));
    }
}
