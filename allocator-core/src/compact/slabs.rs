//! Slabs that there is no need for are emptied into others of their class.
//!
//! The survey (`round.rs`) says how many slabs each class needs, and so about where the lowest slab will be in
//! the end. What lies below that *bound* has to go from there anyway, so it is emptied first; what lies above
//! is filled first, and where all is full there, free pages above it are made slabs, so that one more can be emptied. So nearly
//! every block is moved once at most.

use super::mover::{Mover, Outcome, move_all};
use super::pass::Pass;
use super::release::Allowance;
use super::round::Round;
use super::seen::{
    Seen, add_above, blocks, close, give_up_empty, has_held, is_ours, reopen, see, take_cells,
    with_slabs,
};
use crate::heap::Inner;
use crate::pages::Label;
use crate::raw::GRANULE;
use crate::size_class::CLASSES;
use crate::slab::Mode;
use std::time::Instant;

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
        next_class(heap, round);
        return true;
    };
    let leave = !pass.is_thorough() && mover.unfinished().futile.has(page);
    let victim = see_partial(heap, page, class).filter(|_| !leave);
    let victim = victim.filter(|victim| close(heap, victim, Mode::Emptying));
    let Some(victim) = victim else {
        // Others have emptied it, or filled it again; or it is left alone for a while.
        if pages.label(page) == Label::Central {
            pass.report.useful_moves += mover.unfinished().partly.take(page);
        }
        round.classes[class].needless -= 1;
        return true;
    };
    let before = pass.report.moves;
    let pins = pass.report.blocked_by_pins;
    let start = Instant::now();
    let mut slabs = vec![victim];
    if pass.is_thorough() {
        // With barriers far apart, where nothing ends the pass between two slabs.
        more_victims(heap, pass, round, &mut slabs);
    }
    let outcome = empty(heap, mover, pass, round, &slabs);
    let mut moves = pass.report.moves - before;
    pass.rate.note_cells(moves, start.elapsed());
    for other in &slabs[1..] {
        let share = moves.min(u64::from(other.used));
        moves -= share;
        settle(heap, mover, pass, round, other, share, (outcome, false));
    }
    let pinned = pass.report.blocked_by_pins > pins;
    settle(heap, mover, pass, round, &victim, moves, (outcome, pinned));
    true
}

/// Goes on to the next class with slabs that there is no need for.
fn next_class(heap: &Inner, round: &mut Round) {
    // One that was added may have stayed empty.
    round.targets.drain(..).for_each(|target| give_up_empty(heap, &target));
    let needless = |class: &usize| round.classes[*class].needless > 0;
    round.at = (round.at as usize + 1..CLASSES).find(needless).unwrap_or(CLASSES) as u32;
}

/// Opens a slab that was to be emptied, and notes what became of it; `moves` of its blocks were moved.
fn settle(
    heap: &Inner,
    mover: &mut Mover<'_>,
    pass: &mut Pass,
    round: &mut Round,
    slab: &Seen,
    moves: u64,
    (outcome, pinned): (Outcome, bool),
) {
    let page = slab.page;
    let gone = !is_ours(heap, slab) || reopen(heap, slab);
    let partial = &mut round.classes[slab.class];
    let unfinished = mover.unfinished();
    if gone {
        partial.needless = partial.needless.saturating_sub(1);
        pass.report.useful_moves += moves + unfinished.partly.take(page);
        unfinished.pending.add(page, heap.store.shared.pages.page());
        unfinished.futile.forget(page);
        round.note_free(page);
        return;
    }
    unfinished.partly.add(page, moves);
    match outcome {
        Outcome::Over => partial.put_back(page),
        Outcome::Done => {
            partial.needless = partial.needless.saturating_sub(1);
            round.leftovers.push((slab.class, page));
            if pinned {
                unfinished.futile.note(page);
            }
        }
        // Others have taken the room.
        Outcome::NoRoom => partial.needless = 0,
    }
}

/// The open slab of a class in the page at `page`, if it has room: of one that others have filled since the survey nothing is
/// gained, nor has it room for others.
fn see_partial(heap: &Inner, page: u32, class: usize) -> Option<Seen> {
    let cells = heap.store.shared.classes.geometry(class).cells;
    see(heap, page).filter(|seen| seen.class == class && seen.used < cells)
}

/// Closes more slabs that there is no need for, until they make a batch together with the first.
fn more_victims(heap: &Inner, pass: &Pass, round: &mut Round, victims: &mut Vec<Seen>) {
    let class = victims[0].class;
    let partial = &mut round.classes[class];
    let mut count = victims[0].used as usize;
    while count < pass.batch() && (victims.len() as u32) < partial.needless {
        let Some(page) = partial.pop_victim(round.bound) else { break };
        let seen = see_partial(heap, page, class);
        match seen.filter(|seen| close(heap, seen, Mode::Emptying)) {
            Some(seen) => {
                count += seen.used as usize;
                victims.push(seen);
            }
            None => partial.needless -= 1,
        }
    }
}

/// Moves the blocks of closed slabs of a class into open ones.
fn empty(
    heap: &Inner,
    mover: &mut Mover<'_>,
    pass: &mut Pass,
    round: &mut Round,
    slabs: &[Seen],
) -> Outcome {
    let class = slabs[0].class;
    let victims = blocks(heap, slabs);
    let mut rest = &victims[..];
    while !rest.is_empty() {
        let most = pass.batch_of(rest.len());
        let room = find_room(heap, mover, pass, round, slabs, most);
        if pass.is_over() {
            return Outcome::Over;
        }
        if room == 0 {
            return Outcome::NoRoom;
        }
        let (batch, after) = rest.split_at(room.min(most));
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

/// Sees to targets with room for `count` blocks of `victims` together, if there are any; gives their room.
fn find_room(
    heap: &Inner,
    mover: &mut Mover<'_>,
    pass: &mut Pass,
    round: &mut Round,
    victims: &[Seen],
    count: usize,
) -> usize {
    let class = victims[0].class;
    let cells = heap.store.shared.classes.geometry(class).cells as usize;
    let (mut room, mut lost) = (0, 0);
    round.targets.retain_mut(|target| {
        let Some(seen) = see(heap, target.page).filter(|seen| seen.class == class) else {
            // One that was added, and given up by others while it had no block.
            lost += u32::from(target.used == 0);
            return false;
        };
        *target = seen;
        room += cells - seen.used as usize;
        cells > seen.used as usize
    });
    let partial = &mut round.classes[class];
    partial.needless = partial.needless.saturating_sub(lost);
    while room < count
        && !pass.is_over()
        && let Some(page) = partial.pop_target_above(round.bound)
    {
        // Looked at for good, where the clock runs.
        pass.note_step();
        if let Some(target) = see_partial(heap, page, class) {
            room += cells - target.used as usize;
            round.targets.push(target);
        }
    }
    // Many at a time only where a batch is long. What stays where something is held would keep one slab more in the heap than
    // there is need for.
    let wanted = if pass.is_thorough() { count } else { 1 };
    let may_add = room < wanted && !victims.iter().any(|victim| has_held(heap, victim));
    while may_add && room < wanted {
        let Some(target) = add_target(heap, mover, pass, round, &victims[0]) else { break };
        room += cells;
        round.targets.push(target);
        // One more can go.
        round.classes[class].needless += 1;
    }
    // It is raised later, if it has to.
    while room == 0
        && !pass.is_over()
        && let Some(page) = round.classes[class].pop_target()
    {
        pass.note_step();
        if let Some(target) = see_partial(heap, page, class) {
            room = cells - target.used as usize;
            round.targets.push(target);
        }
    }
    room
}

/// Makes a free page above the bound a slab like another, the last of its class to be filled by others. `None` where there is none, where the
/// heap would need more memory than before, or when the time is over.
fn add_target(
    heap: &Inner,
    mover: &mut Mover<'_>,
    pass: &mut Pass,
    round: &mut Round,
    like: &Seen,
) -> Option<Seen> {
    let (page, bound) = (heap.store.shared.pages.page(), round.bound);
    let pending = &mut mover.unfinished().pending;
    if pending.make_allowance(heap, pass, page as usize * GRANULE) != Allowance::Met {
        return None;
    }
    // The locks are let go between two looks.
    while round.free_below > bound && !pass.is_late() {
        let added = with_slabs(heap, like.stripe, |slabs| {
            let pages = (bound, &mut round.free_below);
            let added = add_above(heap, slabs, like, Mode::Open, pages);
            added.inspect(|target| slabs.put_last(target.number))
        });
        if let Some(Some(target)) = added {
            return Some(target);
        }
        pass.note_step();
    }
    None
}
