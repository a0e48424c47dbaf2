//! [`Round`]: how far the compaction of the heap has come, kept from one call to the next.
//!
//! A round goes through its stages in small steps, between which a pass may end:
//!
//! 1. *gather*: what was retired and is seen by nobody, and what threads keep, goes back to the store;
//! 2. *drain*: stripes give up what they hold without need;
//! 3. *slots*, *maps*: pages of vacant slots, and of maps of free runs that are clear, are given back: before the round needs
//!    memory of its own, and in each round, as a heap in use may never be settled;
//! 4. *survey*: how full is each slab, as far as it has free cells;
//! 5. *consolidate*, *raise* (`slabs.rs`, `raise.rs`), *slide*, *sink* (`slide.rs`, `sink.rs`). Slabs that could not be
//!    emptied because threads kept some of their cells are tried again after another *gather*.
//!
//! Rounds follow each other until one has moved nothing; then the slabs that stay partly filled are packed (*pack*), the pages
//! of free memory are given back (*release*), *slots* and *maps* follow once more, and the work is complete. Whatever a round remembers of the heap is a hint: the heap goes on
//! changing, so each page is looked at again under its lock before anything is done with it.

use super::pack::Loose;
use super::partial::Partial;
use super::pass::Pass;
use super::seen::{self, Seen};
use super::unfinished::Unfinished;
use crate::heap::Inner;
use crate::pages::Label;
use crate::size_class::CLASSES;

/// Slabs and other blocks can be in each other's way, and readers cancel moves, so rounds are repeated, this
/// often at most.
pub(super) const ROUNDS_MAX: u32 = 16;

/// Pages that one step of the survey looks at.
const PAGES_A_STEP: u32 = if cfg!(loom) { 64 } else { 128 };

/// Retired objects, or pairs that threads keep, that one step of gathering gives back.
const OBJECTS_A_STEP: usize = if cfg!(loom) { 1 } else { 64 };

/// Steps of gathering that a table gets: threads may retire as fast as we reclaim.
const TURNS: u32 = 128;

/// Pages without a slab that are passed over as one that has.
const BARE_PAGES: u32 = 16;

/// What the round does at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Gather,
    Drain,
    Slots,
    Maps,
    Survey,
    Consolidate,
    Raise,
    Slide,
    Sink,
    Pack,
    Release,
}

/// A round of compaction, and where it goes on.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) stage: Stage,
    /// Where the stage goes on: a granule, or the number of a stripe or class.
    pub(super) at: u32,
    /// Rounds before this one.
    number: u32,
    /// Moves that were made or cancelled in this round.
    attempts: u64,
    /// What the survey found, by class.
    pub(super) classes: Vec<Partial>,
    /// Slabs that are to be left.
    keep: u32,
    /// Where the lowest slab will be, about, when all is done.
    pub(super) bound: u32,
    /// Free pages were looked for down to here.
    pub(super) free_below: u32,
    /// Open slabs that are being filled, of the class at hand.
    pub(super) targets: Vec<Seen>,
    /// The first granule of the lowest slab, once it was found.
    pub(super) lowest: Option<u32>,
    /// All is moved and given back that there was; only slots and maps may have changed since.
    settled: bool,
    /// Slabs that are to be packed; `None` before they were looked for.
    pub(super) loose: Option<Vec<Loose>>,
    /// Slabs that could not be emptied, with their classes, and whether they were tried again.
    pub(super) leftovers: Vec<(usize, u32)>,
    again: bool,
}

impl Round {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Gather,
            at: 0,
            number: 0,
            attempts: 0,
            classes: Vec::new(),
            keep: 0,
            bound: 0,
            free_below: u32::MAX,
            targets: Vec::new(),
            lowest: None,
            settled: false,
            loose: None,
            leftovers: Vec::new(),
            again: false,
        }
    }

    /// Whether nothing has been done in it.
    pub(super) fn is_new(&self) -> bool {
        self.stage == Stage::Gather && self.at == 0 && self.number == 0 && !self.again
    }

    /// Begins with the stage after the first: what that does was done in another way.
    pub(super) fn skip_gather(&mut self) {
        self.stage = Stage::Drain;
    }

    /// Goes on to the next stage; false after the last one.
    pub(super) fn next_stage(&mut self) -> bool {
        self.at = 0;
        self.stage = match self.stage {
            Stage::Gather if self.again => {
                self.try_again();
                Stage::Consolidate
            }
            Stage::Gather => Stage::Drain,
            Stage::Drain => Stage::Slots,
            Stage::Slots => Stage::Maps,
            Stage::Maps if self.settled => return false,
            Stage::Maps => Stage::Survey,
            Stage::Survey => Stage::Consolidate,
            Stage::Consolidate if !self.again && !self.leftovers.is_empty() => {
                self.again = true;
                Stage::Gather
            }
            Stage::Consolidate => Stage::Raise,
            Stage::Raise => Stage::Slide,
            Stage::Slide => Stage::Sink,
            Stage::Sink if self.attempts > 0 && self.number < ROUNDS_MAX => {
                *self = Self { number: self.number + 1, ..Self::new() };
                Stage::Gather
            }
            Stage::Sink => Stage::Pack,
            Stage::Pack => Stage::Release,
            Stage::Release => {
                self.settled = true;
                Stage::Slots
            }
        };
        match self.stage {
            Stage::Survey => self.classes = (0..CLASSES).map(|_| Partial::default()).collect(),
            Stage::Raise => {
                // Pages came free meanwhile.
                self.free_below = u32::MAX;
                self.leftovers.sort_unstable_by_key(|(_, page)| *page);
            }
            _ => {}
        }
        true
    }

    /// Makes the slabs that could not be emptied the next victims.
    fn try_again(&mut self) {
        for partial in &mut self.classes {
            partial.needless = 0;
        }
        for (class, page) in core::mem::take(&mut self.leftovers) {
            self.classes[class].put_back(page);
            self.classes[class].needless += 1;
        }
    }

    /// A page of a slab became free, and perhaps part of a longer run.
    pub(super) fn note_free(&mut self, page: u32) {
        if page >= self.bound {
            self.free_below = u32::MAX;
        }
    }

    /// Whether a slab could not be emptied, after the leftovers were sorted: the next round tries again, and nothing is gained
    /// by moving the few blocks in it up meanwhile.
    pub(super) fn is_left_over(&self, page: u32) -> bool {
        // Without an attempt there is no next round.
        let goes_on = self.attempts > 0 && self.number < ROUNDS_MAX;
        goes_on && self.leftovers.binary_search_by_key(&page, |(_, page)| *page).is_ok()
    }

    pub(super) fn note_attempts(&mut self, attempts: u64) {
        self.attempts += attempts;
    }
}

/// One step of gathering: one table after the other, what was retired there, then what threads keep of it. Waits
/// for nobody. False when it is done.
pub(super) fn gather(
    heap: &Inner,
    pass: &mut Pass,
    unfinished: &mut Unfinished,
    round: &mut Round,
) -> bool {
    if round.at == 0 {
        pass.report.useful_moves += unfinished.partly.take_free(heap);
    }
    if !pass.is_timed() && !round.again {
        // Done before the first round, in one go.
        return false;
    }
    let tables = heap.tables.all();
    let (table, turn) = (round.at / TURNS, round.at % TURNS);
    let Some(table) = tables.get(table as usize) else { return false };
    round.at += 1;
    let (got, end) = if turn < TURNS / 2 {
        (table.is_plain() && table.reclaim_some(heap, OBJECTS_A_STEP), TURNS / 2)
    } else {
        (table.empty_some(heap, OBJECTS_A_STEP), TURNS)
    };
    if !got {
        // Nothing is left; on to what threads keep, or to the next table.
        round.at += end - turn - 1;
    }
    true
}

/// One step of the second stage; false when it is done.
pub(super) fn drain(heap: &Inner, round: &mut Round) -> bool {
    let stripe = round.at as usize;
    if stripe < heap.store.stripes() {
        heap.store.drain_stripe(stripe);
        round.at += 1;
    }
    (round.at as usize) < heap.store.stripes()
}

/// One step of the survey; false when it is done.
pub(super) fn survey(heap: &Inner, round: &mut Round) -> bool {
    let pages = &heap.store.shared.pages;
    let (lo, hi) = heap.store.memory().bounds();
    let mut at = round.at.max(pages.start(lo));
    let mut looks = PAGES_A_STEP * BARE_PAGES;
    while at < hi && looks >= BARE_PAGES {
        looks -= 1;
        if let Label::Slab { .. } = pages.label(at) {
            looks -= BARE_PAGES - 1;
            look_at(heap, round, at);
        }
        at = at.saturating_add(pages.page());
    }
    round.at = at;
    if at < hi {
        return true;
    }
    for (class, partial) in round.classes.iter_mut().enumerate() {
        let cells = u64::from(heap.store.shared.classes.geometry(class).cells.max(1));
        let keep = partial.used.div_ceil(cells) as u32;
        partial.needless = partial.slabs.saturating_sub(keep);
        round.keep += keep;
    }
    // Blocks of the centre that still lie up there are moved away.
    round.bound = hi.saturating_sub(round.keep.saturating_mul(pages.page())).max(lo);
    false
}

/// Notes a slab; gives the centre one that is empty.
fn look_at(heap: &Inner, round: &mut Round, page: u32) {
    let Some(seen) = seen::see(heap, page) else { return };
    let cells = heap.store.shared.classes.geometry(seen.class).cells;
    if seen.used == 0 {
        seen::give_up_empty(heap, &seen);
    } else if seen.used < cells {
        round.classes[seen.class].add(page, seen.used, cells);
    } else {
        round.keep += 1;
    }
}
