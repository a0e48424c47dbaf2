//! Slabs: sparse ones are emptied into fuller ones of their class, then slabs move to the top.

use super::budget::Pass;
use super::mover::{BATCH, Mover, Outcome, Victim, move_all};
use crate::block::{self, Owner};
use crate::heap::Inner;
use crate::raw::GRANULE;
use crate::size_class::{CLASSES, granules};
use crate::slab::{Mode, Slabs};
use crate::stripe::{Shared, Stripe};

/// A slab as it was seen under its stripe's lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) stripe: usize,
    pub(super) number: u32,
    pub(super) class: usize,
    /// First granule of the page; with the number it says whether the slab is still the same.
    pub(super) page: u32,
    pub(super) used: u32,
    pub(super) free: u32,
}

/// Empties the sparsest slabs of each class as far as the other slabs of the class, of whatever stripe, have
/// room. Afterwards, without pins and readers, at most one slab of each class has free cells.
pub(super) fn consolidate(heap: &Inner, mover: &Mover<'_>, pass: &mut Pass) {
    let mut partial: [Vec<Seen>; CLASSES] = core::array::from_fn(|_| Vec::new());
    survey(heap, |seen| {
        if seen.free > 0 {
            partial[seen.class].push(seen);
        }
    });
    for slabs in partial.iter_mut().filter(|slabs| slabs.len() > 1) {
        if pass.is_over() {
            return;
        }
        lowest_first(slabs, pass.slabs_max(), |seen| (seen.used, seen.page));
        let victims = &slabs[..sparsest(slabs).min(pass.slabs_max())];
        for victim in victims {
            with_slabs(heap, victim.stripe, |slabs| {
                if same(slabs, victim) {
                    slabs.close(victim.number, Mode::Emptying);
                }
            });
        }
        for victim in victims {
            if pass.is_over() || empty(heap, mover, pass, victim) != Outcome::Done {
                break;
            }
        }
        for victim in victims {
            reopen(heap, victim);
        }
    }
}

/// Brings the `count` slabs with the lowest keys to the front, sorted.
fn lowest_first<K: Ord>(slabs: &mut [Seen], count: usize, key: impl Fn(&Seen) -> K) {
    let count = count.min(slabs.len());
    if count < slabs.len() {
        slabs.select_nth_unstable_by_key(count, &key);
    }
    slabs[..count].sort_unstable_by_key(key);
}

/// A slab on its way to a page above it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raise {
    from: Seen,
    to: Seen,
}

/// Goes on with the raise that the pass before had no budget left for: to `consolidate` its two slabs would
/// look like two sparse ones, and it would move the blocks back.
pub(super) fn resume_raise(heap: &Inner, mover: &Mover<'_>, pass: &mut Pass) {
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

/// Moves slabs to free pages above them, the lowest first, until there is none.
pub(super) fn raise(heap: &Inner, mover: &Mover<'_>, pass: &mut Pass) {
    let mut slabs = Vec::new();
    survey(heap, |seen| slabs.push(seen));
    lowest_first(&mut slabs, pass.slabs_max(), |seen| seen.page);
    slabs.truncate(pass.slabs_max());
    for seen in slabs {
        if pass.is_over() {
            return;
        }
        match begin_raise(heap, &seen) {
            Begun::Raise(raise) => carry(heap, mover, pass, raise),
            Begun::Held(blocks) => {
                let bytes = granules(seen.class) as usize * GRANULE;
                blocks.iter().for_each(|(_, owner)| pass.note_pinned(*owner, bytes));
            }
            Begun::Gone => {}
            Begun::NoPage => return,
        }
    }
}

/// How many of a class's slabs, sparsest first, fit into the rest of them.
fn sparsest(slabs: &[Seen]) -> usize {
    let mut room: u64 = slabs.iter().map(|seen| u64::from(seen.free)).sum();
    let mut needed = 0;
    let fits = |seen: &&Seen| {
        room -= u64::from(seen.free);
        needed += u64::from(seen.used);
        needed <= room
    };
    slabs.iter().take_while(fits).count()
}

/// Shows every slab to `look`. O(slabs), one stripe's lock at a time.
pub(super) fn survey(heap: &Inner, mut look: impl FnMut(Seen)) {
    for stripe in 0..heap.store.stripes() {
        with_slabs(heap, stripe, |slabs| {
            for (number, slab) in slabs.iter() {
                let class = usize::from(slab.class);
                let free = heap.store.shared.classes.geometry(class).cells - slab.used;
                look(Seen { stripe, number, class, page: slab.page, used: slab.used, free });
            }
        });
    }
}

/// Moves the blocks of a closed slab into open slabs of its class.
fn empty(heap: &Inner, mover: &Mover<'_>, pass: &mut Pass, slab: &Seen) -> Outcome {
    let victims = blocks(heap, slab);
    for batch in victims.chunks(BATCH) {
        let outcome = move_all(heap, mover, pass, batch, |victim| {
            let count = heap.store.stripes();
            (0..count).find_map(|turn| {
                with_slabs(heap, (slab.stripe + turn) % count, |slabs| {
                    let shared = &heap.store.shared;
                    slabs.allocate(&shared.memory, &shared.classes, slab.class, victim.owner)
                })
                .flatten()
            })
        });
        if outcome != Outcome::Done {
            return outcome;
        }
    }
    Outcome::Done
}

/// What became of an attempt to raise a slab.
enum Begun {
    Raise(Raise),
    /// These blocks of it are held; the others would only fill one more slab partly.
    Held(Vec<(u32, Owner)>),
    /// The slab is gone by itself.
    Gone,
    /// No page is free above it.
    NoPage,
}

/// Takes the highest free page above a slab, and closes both.
fn begin_raise(heap: &Inner, from: &Seen) -> Begun {
    let shared = &heap.store.shared;
    let page = shared.pages.page();
    let begun = with_slabs(heap, from.stripe, |slabs| {
        if !same(slabs, from) {
            return Begun::Gone;
        }
        // Stripe before centre.
        let mut central = heap.store.central();
        let above = from.page + page;
        let Some(run) = central.allocate_page_above(&shared.memory, page, above) else {
            return Begun::NoPage;
        };
        let geometry = shared.classes.geometry(from.class);
        let mut held = slabs.blocks(&shared.memory, geometry, from.number);
        held.retain(|(offset, _)| block::is_held(heap.store.header(*offset)));
        if !held.is_empty() {
            central.release(&shared.memory, run);
            return Begun::Held(held);
        }
        let Shared { memory, pages, classes } = shared;
        slabs.close(from.number, Mode::Emptying);
        let number = slabs.add_page(memory, pages, classes, from.class, run, Mode::Filling);
        Begun::Raise(Raise { from: *from, to: Seen { number, page: run.start, ..*from } })
    });
    begun.unwrap_or(Begun::NoPage)
}

/// Moves the blocks of one closed slab into the other, as far as the budget goes.
fn carry(heap: &Inner, mover: &Mover<'_>, pass: &mut Pass, raise: Raise) {
    let shared = &heap.store.shared;
    let Raise { from, to } = raise;
    let geometry = shared.classes.geometry(from.class);
    for batch in blocks(heap, &from).chunks(BATCH) {
        let outcome = move_all(heap, mover, pass, batch, |victim| {
            with_slabs(heap, to.stripe, |slabs| {
                slabs
                    .has_room(to.number, geometry)
                    .then(|| slabs.take_cell(&shared.memory, geometry, to.number, victim.owner))
            })
            .flatten()
        });
        if outcome == Outcome::Over {
            mover.unfinished().raise.set(Some(raise));
        }
        if outcome != Outcome::Done {
            break;
        }
    }
    reopen(heap, &from);
    reopen(heap, &to);
    // At once: the page that was filled may have been committed for it.
    let mut central = heap.store.central();
    let end = from.page + shared.pages.page();
    pass.report.freed_bytes += central.release_pages(&shared.memory, from.page, end);
}

/// The blocks of a slab, if it is still the same and closed.
pub(super) fn blocks(heap: &Inner, slab: &Seen) -> Vec<Victim> {
    let shared = &heap.store.shared;
    let blocks = with_slabs(heap, slab.stripe, |slabs| {
        if !same(slabs, slab) {
            return Vec::new();
        }
        slabs.blocks(&shared.memory, shared.classes.geometry(slab.class), slab.number)
    });
    blocks
        .unwrap_or_default()
        .into_iter()
        .map(|(offset, owner)| Victim { offset, owner, room: granules(slab.class), shape: None })
        .collect()
}

/// Opens a slab that this pass closed. An empty one goes back to the centre.
fn reopen(heap: &Inner, slab: &Seen) {
    let shared = &heap.store.shared;
    with_slabs(heap, slab.stripe, |slabs| {
        // Only a mover closes slabs: a closed one with this number and page is the one we closed.
        if !same(slabs, slab) || !slabs.is_closed(slab.number) {
            return;
        }
        let geometry = shared.classes.geometry(slab.class);
        if let Some(page) = slabs.reopen(&shared.memory, &shared.pages, geometry, slab.number) {
            heap.store.central().release(&shared.memory, page);
        }
    });
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
