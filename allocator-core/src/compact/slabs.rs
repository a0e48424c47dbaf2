//! Slabs: those that there is no need for are emptied into others of their class, then what still lies low
//! moves to the top.
//!
//! The survey (`round.rs`) says how many slabs each class needs, and so about where the lowest slab will be in
//! the end. What lies below that *bound* has to go from there anyway, so it is emptied first; what lies above
//! is filled first. So nearly every block is moved once at most.

use super::mover::{Mover, Outcome, Victim, move_all};
use super::pass::Pass;
use super::round::Round;
use crate::block::{self, Owner};
use crate::heap::Inner;
use crate::pages::Label;
use crate::raw::GRANULE;
use crate::size_class::{CLASSES, granules};
use crate::slab::{Mode, Slabs};
use crate::stripe::{Shared, Stripe};
use std::time::Instant;

/// Free runs that are looked at for a free page, at a time.
const LOOKS: usize = 64;

/// Pages that one step looks at for a slab to raise.
const PAGES_A_STEP: usize = 1024;

/// A slab as it was seen under its stripe's lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) stripe: usize,
    pub(super) number: u32,
    pub(super) class: usize,
    /// First granule of the page; with the number it says whether the slab is still the same.
    pub(super) page: u32,
    pub(super) used: u32,
}

/// A slab on its way to a page above it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raise {
    from: Seen,
    to: Seen,
    /// Moves that were made already.
    moves: u64,
}

/// The open slab in the page at `page`, if there is one.
pub(super) fn see(heap: &Inner, page: u32) -> Option<Seen> {
    let Label::Slab { stripe, class, slab: number } = heap.store.shared.pages.label(page) else {
        return None;
    };
    let (stripe, class) = (usize::from(stripe), usize::from(class));
    with_slabs(heap, stripe, |slabs| {
        let used = slabs.slab(number).used;
        let seen = Seen { stripe, number, class, page, used };
        (same(slabs, &seen) && !slabs.is_closed(number)).then_some(seen)
    })
    .flatten()
}

/// Gives the centre the page of a slab that has no blocks.
pub(super) fn give_up_empty(heap: &Inner, slab: &Seen) {
    let is_empty = with_slabs(heap, slab.stripe, |slabs| {
        let is_empty = same(slabs, slab) && slabs.slab(slab.number).used == 0;
        if is_empty && !slabs.is_closed(slab.number) {
            slabs.close(slab.number, Mode::Emptying);
        }
        is_empty
    });
    if is_empty == Some(true) {
        reopen(heap, slab);
    }
}

/// One step: empties a slab of the class at hand as far as the others have room and the budget goes. False
/// when all classes are done. Afterwards, without pins and readers, the free cells of a class are fewer than a
/// slab has.
pub(super) fn consolidate(
    heap: &Inner,
    mover: &mut Mover<'_>,
    pass: &mut Pass,
    round: &mut Round,
) -> bool {
    let class = round.at as usize;
    if class >= CLASSES {
        return false;
    }
    let pages = &heap.store.shared.pages;
    let bound = round.bound;
    let partial = &mut round.classes[class];
    let page = if partial.needless > 0 { partial.pop_victim(bound) } else { None };
    let Some(page) = page else {
        round.targets.clear();
        round.at += 1;
        return true;
    };
    let leave = !pass.is_thorough() && mover.unfinished().futile.has(page);
    let victim = see(heap, page).filter(|seen| seen.class == class && !leave);
    let victim = victim.filter(|victim| close(heap, victim, Mode::Emptying));
    let Some(victim) = victim else {
        // Others have emptied it, or filled it again; or it is left alone for a while.
        if pages.label(page) == Label::Central {
            pass.report.useful_moves += mover.unfinished().partly.take(page);
        }
        round.classes[class].needless -= 1;
        return true;
    };
    let (before, useful) = (pass.report.moves, pass.report.useful_moves);
    let pins = pass.report.blocked_by_pins;
    let start = Instant::now();
    // With barriers far apart, where nothing ends the pass between two slabs.
    let others =
        if pass.is_thorough() { more_victims(heap, pass, round, &victim) } else { Vec::new() };
    let mut all = blocks(heap, &victim);
    others.iter().for_each(|other| all.extend(blocks(heap, other)));
    let outcome = empty(heap, mover, pass, round, class, &all);
    settle_others(heap, mover, pass, round, &others, (before, useful));
    let gone = !is_ours(heap, &victim) || reopen(heap, &victim);
    let moves = pass.report.moves - before;
    pass.rate.note_cells(moves, start.elapsed());
    // Those of a slab that was raised to be filled count already.
    let moves = moves.saturating_sub(pass.report.useful_moves - useful);
    let partial = &mut round.classes[class];
    let unfinished = mover.unfinished();
    if gone {
        partial.needless = partial.needless.saturating_sub(1);
        pass.report.useful_moves += moves + unfinished.partly.take(page);
        unfinished.pending.add(page, heap.store.shared.pages.page());
        unfinished.futile.forget(page);
        return true;
    }
    unfinished.partly.add(page, moves);
    match outcome {
        Outcome::Over => partial.put_back(page),
        Outcome::Done => {
            partial.needless = partial.needless.saturating_sub(1);
            round.leftovers.push((class, page));
            if pass.report.blocked_by_pins > pins {
                unfinished.futile.note(page);
            }
        }
        // Others have taken the room.
        Outcome::NoRoom => partial.needless = 0,
    }
    true
}

/// Opens the slabs that were emptied together with another, and notes what became of them; `before`: moves, and
/// useful ones, before that.
fn settle_others(
    heap: &Inner,
    mover: &mut Mover<'_>,
    pass: &mut Pass,
    round: &mut Round,
    others: &[Seen],
    before: (u64, u64),
) {
    for other in others {
        let partial = &mut round.classes[other.class];
        partial.needless = partial.needless.saturating_sub(1);
        if !is_ours(heap, other) || reopen(heap, other) {
            let report = &mut pass.report;
            let most = report.moves - before.0 - (report.useful_moves - before.1);
            report.useful_moves += most.min(u64::from(other.used));
            mover.unfinished().pending.add(other.page, heap.store.shared.pages.page());
        } else {
            round.leftovers.push((other.class, other.page));
        }
    }
}

/// Closes more slabs that there is no need for, until they make a batch together with the first.
fn more_victims(heap: &Inner, pass: &Pass, round: &mut Round, first: &Seen) -> Vec<Seen> {
    let partial = &mut round.classes[first.class];
    let mut count = first.used as usize;
    let mut victims = Vec::new();
    while count < pass.batch() && (victims.len() as u32) + 1 < partial.needless {
        let Some(page) = partial.pop_victim(round.bound) else { break };
        let seen = see(heap, page).filter(|seen| seen.class == first.class);
        match seen.filter(|seen| close(heap, seen, Mode::Emptying)) {
            Some(seen) => {
                count += seen.used as usize;
                victims.push(seen);
            }
            None => partial.needless -= 1,
        }
    }
    victims
}

/// Moves the blocks of closed slabs into open slabs of their class.
fn empty(
    heap: &Inner,
    mover: &mut Mover<'_>,
    pass: &mut Pass,
    round: &mut Round,
    class: usize,
    victims: &[Victim],
) -> Outcome {
    let mut rest = victims;
    while !rest.is_empty() {
        let room = find_room(heap, mover, pass, round, class, pass.batch().min(rest.len()));
        if pass.is_over() {
            return Outcome::Over;
        }
        if room == 0 {
            return Outcome::NoRoom;
        }
        let (batch, after) = rest.split_at(room.min(pass.batch()).min(rest.len()));
        rest = after;
        let targets = &round.targets;
        let outcome = move_all(heap, mover, pass, batch, |batch, places| {
            take_cells(heap, targets, class, batch.len(), |n| batch.victim(n).owner, places);
        });
        match outcome {
            Outcome::Over => return Outcome::Over,
            // Somebody was faster; there may be room elsewhere, and at the end what was left is seen.
            Outcome::NoRoom | Outcome::Done => {}
        }
    }
    Outcome::Done
}

/// Sees to targets with room for `count` blocks together, if there are any; gives their room.
fn find_room(
    heap: &Inner,
    mover: &mut Mover<'_>,
    pass: &mut Pass,
    round: &mut Round,
    class: usize,
    count: usize,
) -> usize {
    let cells = heap.store.shared.classes.geometry(class).cells as usize;
    let mut room = 0;
    round.targets.retain_mut(|target| {
        let free = see(heap, target.page)
            .filter(|seen| seen.class == class)
            .map_or(0, |seen| cells - seen.used as usize);
        room += free;
        free > 0
    });
    while room < count {
        let partial = &mut round.classes[class];
        let Some(page) = partial.pop_target_above(round.bound) else { break };
        if let Some(target) = see(heap, page).filter(|seen| seen.class == class) {
            room += cells - target.used as usize;
            round.targets.push(target);
        }
    }
    if room == 0
        && let Some(target) = raised_target(heap, mover, pass, round, class)
    {
        room = cells - target.used as usize;
        round.targets.push(target);
    }
    room
}

/// A target where all that lie above the bound are full: one from below it, brought up first.
fn raised_target(
    heap: &Inner,
    mover: &mut Mover<'_>,
    pass: &mut Pass,
    round: &mut Round,
    class: usize,
) -> Option<Seen> {
    let page = round.classes[class].pop_target()?;
    let target = see(heap, page).filter(|seen| seen.class == class)?;
    if target.page >= round.bound {
        return Some(target);
    }
    let Begun::Raise(raise) = begin_raise(heap, mover, pass, round, &target, round.bound) else {
        // It stays where it is for now.
        return see(heap, page);
    };
    carry(heap, mover, pass, raise);
    see(heap, raise.to.page)
}

/// Takes up to `count` cells of the targets.
fn take_cells(
    heap: &Inner,
    targets: &[Seen],
    class: usize,
    count: usize,
    owner: impl Fn(usize) -> Owner,
    places: &mut Vec<u32>,
) {
    let shared = &heap.store.shared;
    let geometry = shared.classes.geometry(class);
    for target in targets {
        with_slabs(heap, target.stripe, |slabs| {
            if !same(slabs, target) {
                return;
            }
            while places.len() < count && slabs.has_room(target.number, geometry) {
                let owner = owner(places.len());
                places.push(slabs.take_cell(&shared.memory, geometry, target.number, owner));
            }
        });
        if places.len() == count {
            return;
        }
    }
}

/// Goes on with the raise that the pass before had no budget left for: the survey would take its two slabs for
/// two sparse ones, and the blocks would be moved back.
pub(super) fn resume_raise(heap: &Inner, mover: &mut Mover<'_>, pass: &mut Pass) {
    let Some(raise) = mover.unfinished().raise.take() else { return };
    let there = with_slabs(heap, raise.from.stripe, |slabs| {
        let there = same(slabs, &raise.from) && same(slabs, &raise.to);
        if there {
            slabs.close(raise.from.number, Mode::Emptying);
            slabs.close(raise.to.number, Mode::Filling);
        }
        there
    });
    if there == Some(true) {
        carry(heap, mover, pass, raise);
    }
}

/// One step: moves the lowest slab that was not looked at yet to a free page above it. False when there is no
/// such page.
pub(super) fn raise(
    heap: &Inner,
    mover: &mut Mover<'_>,
    pass: &mut Pass,
    round: &mut Round,
) -> bool {
    let pages = &heap.store.shared.pages;
    let (lo, hi) = heap.store.memory().bounds();
    let mut at = round.at.max(pages.start(lo));
    let mut found = None;
    for _ in 0..PAGES_A_STEP {
        if at >= hi || found.is_some() {
            break;
        }
        found = see(heap, at);
        at = at.saturating_add(pages.page());
    }
    let Some(seen) = found else {
        round.at = at;
        return at < hi;
    };
    match begin_raise(heap, mover, pass, round, &seen, at) {
        Begun::Raise(raise) => carry(heap, mover, pass, raise),
        Begun::Held(blocks) => {
            let bytes = granules(seen.class) as usize * GRANULE;
            blocks.iter().for_each(|(_, owner)| pass.note_pinned(*owner, bytes));
        }
        Begun::Gone => {}
        Begun::NotYet => return true,
        Begun::NoPage => return false,
    }
    round.at = at;
    true
}

/// What became of an attempt to raise a slab.
enum Begun {
    Raise(Raise),
    /// These blocks of it are held; the others would only fill one more slab partly.
    Held(Vec<(u32, Owner)>),
    /// The slab is gone by itself.
    Gone,
    /// Not all free runs were looked at.
    NotYet,
    /// No page is free above it.
    NoPage,
}

/// Takes the highest free page that lies above `above`, and closes both slabs.
fn begin_raise(
    heap: &Inner,
    mover: &mut Mover<'_>,
    pass: &mut Pass,
    round: &mut Round,
    from: &Seen,
    above: u32,
) -> Begun {
    let shared = &heap.store.shared;
    let page = shared.pages.page();
    mover.unfinished().pending.make_allowance(heap, pass, page as usize * GRANULE);
    let begun = with_slabs(heap, from.stripe, |slabs| {
        if !same(slabs, from) {
            return Begun::Gone;
        }
        let geometry = shared.classes.geometry(from.class);
        let mut held = slabs.blocks(&shared.memory, geometry, from.number);
        held.retain(|(offset, _)| block::is_held(heap.store.header(*offset)));
        if !held.is_empty() {
            return Begun::Held(held);
        }
        // Stripe before centre.
        let mut central = heap.store.central();
        let below = &mut round.free_below;
        let Some(run) = central.allocate_page_above(&shared.memory, page, above, below, LOOKS)
        else {
            return if round.free_below > above { Begun::NotYet } else { Begun::NoPage };
        };
        drop(central);
        let Shared { memory, pages, classes } = shared;
        slabs.close(from.number, Mode::Emptying);
        let number = slabs.add_page(memory, pages, classes, from.class, run, Mode::Filling);
        let to = Seen { number, page: run.start, used: 0, ..*from };
        Begun::Raise(Raise { from: *from, to, moves: 0 })
    });
    begun.unwrap_or(Begun::NoPage)
}

/// Moves the blocks of one closed slab into the other, as far as the budget goes.
fn carry(heap: &Inner, mover: &mut Mover<'_>, pass: &mut Pass, raise: Raise) {
    let Raise { from, to, moves: earlier } = raise;
    let (start, before) = (Instant::now(), pass.report.moves);
    let victims = blocks(heap, &from);
    let mut rest = &victims[..];
    let mut outcome = Outcome::Done;
    while outcome == Outcome::Done && !rest.is_empty() {
        let (batch, after) = rest.split_at(pass.batch().min(rest.len()));
        rest = after;
        outcome = move_all(heap, mover, pass, batch, |batch, places| {
            let targets = core::slice::from_ref(&to);
            take_cells(heap, targets, to.class, batch.len(), |n| batch.victim(n).owner, places);
        });
    }
    let gone = !is_ours(heap, &from) || reopen(heap, &from);
    reopen(heap, &to);
    let moves = pass.report.moves - before;
    pass.rate.note_cells(moves, start.elapsed());
    if gone {
        pass.report.useful_moves += earlier + moves;
        // Soon: the page that was filled may have been committed for it.
        mover.unfinished().pending.add(from.page, heap.store.shared.pages.page());
    } else if outcome == Outcome::Over {
        mover.unfinished().raise = Some(Raise { moves: earlier + moves, ..raise });
    }
}

/// The blocks of a slab, if it is still the same.
pub(super) fn blocks(heap: &Inner, slab: &Seen) -> Vec<Victim> {
    let shared = &heap.store.shared;
    let blocks = with_slabs(heap, slab.stripe, |slabs| {
        if !same(slabs, slab) {
            return Vec::new();
        }
        slabs.blocks(&shared.memory, shared.classes.geometry(slab.class), slab.number)
    });
    let room = granules(slab.class);
    let victim = |(offset, owner)| Victim { offset, owner, room, shape: None };
    blocks.unwrap_or_default().into_iter().map(victim).collect()
}

/// Closes a slab; false where it is another by now, or empty.
fn close(heap: &Inner, slab: &Seen, mode: Mode) -> bool {
    let closed = with_slabs(heap, slab.stripe, |slabs| {
        let is_there =
            same(slabs, slab) && slabs.slab(slab.number).used > 0 && !slabs.is_closed(slab.number);
        if is_there {
            slabs.close(slab.number, mode);
        }
        is_there
    });
    closed == Some(true)
}

/// Whether the slab is still there and closed. Only a mover closes slabs: a closed one with this number and page
/// is the one that this pass closed.
fn is_ours(heap: &Inner, slab: &Seen) -> bool {
    let ours =
        with_slabs(heap, slab.stripe, |slabs| same(slabs, slab) && slabs.is_closed(slab.number));
    ours == Some(true)
}

/// Opens a slab that this pass closed. An empty one goes back to the centre; true in that case.
fn reopen(heap: &Inner, slab: &Seen) -> bool {
    let shared = &heap.store.shared;
    let gone = with_slabs(heap, slab.stripe, |slabs| {
        if !same(slabs, slab) || !slabs.is_closed(slab.number) {
            return false;
        }
        let geometry = shared.classes.geometry(slab.class);
        let page = slabs.reopen(&shared.memory, &shared.pages, geometry, slab.number);
        page.inspect(|page| {
            heap.store.central().release(&shared.memory, *page);
        })
        .is_some()
    });
    gone == Some(true)
}

/// Whether the slab that was seen is still there.
fn same(slabs: &Slabs, seen: &Seen) -> bool {
    let slab = slabs.slab(seen.number);
    slab.page == seen.page && usize::from(slab.class) == seen.class
}

/// Runs `f` on the slabs of a stripe, locked; `None` where stripes hold segments.
pub(super) fn with_slabs<R>(
    heap: &Inner,
    stripe: usize,
    f: impl FnOnce(&mut Slabs) -> R,
) -> Option<R> {
    match &mut *heap.store.stripe(stripe) {
        Stripe::Slabs(slabs) => Some(f(slabs)),
        Stripe::Segments(_) => None,
    }
}
