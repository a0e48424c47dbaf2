//! Slabs that still lie low move to the top, so that blocks with chunks of their own have the bottom to themselves.

use super::mover::{Mover, Outcome, move_all};
use super::pass::Pass;
use super::release::Allowance;
use super::round::Round;
use super::seen::{
    Seen, add_above, blocks, held, is_ours, reopen, same, see, take_cells, with_slabs,
};
use crate::block::Owner;
use crate::heap::Inner;
use crate::raw::GRANULE;
use crate::size_class::granules;
use crate::slab::Mode;
use std::time::Instant;

/// Pages that one step looks at for a slab to raise.
const PAGES_A_STEP: usize = 1024;

/// A slab on its way to a page above it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raise {
    from: Seen,
    to: Seen,
    /// Moves that were made already.
    moves: u64,
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
        found = see(heap, at).filter(|seen| !round.is_left_over(seen.page));
        at = at.saturating_add(pages.page());
    }
    let Some(seen) = found else {
        round.at = at;
        return at < hi;
    };
    match begin_raise(heap, mover, pass, round, &seen) {
        Begun::Raise(raise) => {
            carry(heap, mover, pass, raise);
            if pass.is_over() {
                // Perhaps before its first block: it is looked at again.
                return true;
            }
        }
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
    /// Not all free runs were looked at, or the time is over.
    NotYet,
    /// No page is free above it.
    NoPage,
}

/// Takes the highest free page that lies above the slab, and closes both slabs.
fn begin_raise(
    heap: &Inner,
    mover: &mut Mover<'_>,
    pass: &mut Pass,
    round: &mut Round,
    from: &Seen,
) -> Begun {
    let page = heap.store.shared.pages.page();
    let pending = &mut mover.unfinished().pending;
    if pending.make_allowance(heap, pass, page as usize * GRANULE) == Allowance::NotYet {
        return Begun::NotYet;
    }
    let begun = with_slabs(heap, from.stripe, |slabs| {
        if !same(slabs, from) {
            return Begun::Gone;
        }
        let held: Vec<_> = held(heap, slabs, from).collect();
        if !held.is_empty() {
            return Begun::Held(held);
        }
        let pages = (from.page, &mut round.free_below);
        match add_above(heap, slabs, from, Mode::Filling, pages) {
            Some(to) => {
                slabs.close(from.number, Mode::Emptying);
                Begun::Raise(Raise { from: *from, to, moves: 0 })
            }
            None if round.free_below > from.page => Begun::NotYet,
            None => Begun::NoPage,
        }
    });
    begun.unwrap_or(Begun::NoPage)
}

/// Moves the blocks of one closed slab into the other, as far as the budget goes.
fn carry(heap: &Inner, mover: &mut Mover<'_>, pass: &mut Pass, raise: Raise) {
    let Raise { from, to, moves: earlier } = raise;
    let (start, before) = (Instant::now(), pass.report.moves);
    let victims = blocks(heap, &[from]);
    let mut rest = &victims[..];
    let mut outcome = Outcome::Done;
    while outcome == Outcome::Done && !rest.is_empty() {
        let (batch, after) = rest.split_at(pass.batch_of(rest.len()));
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
