//! Packing: the blocks of a partly filled slab go into its first cells, so that the rest of its pages can be given back.
//!
//! After `slabs.rs` one slab of each class is partly filled, which is a large share of a heap with many classes and little
//! in them.

use super::mover::{Mover, Outcome, Victim, move_all};
use super::pass::Pass;
use super::round::Round;
use super::seen::with_slabs;
use crate::chunk::Kind;
use crate::heap::Inner;
use crate::raw::PAGE;
use crate::size_class::granules;
use crate::slab::{Mode, Slabs};

/// Granules that packing a slab has to gain.
const GAIN_MIN: u32 = PAGE;

/// A slab with room; the page says, together with the number, whether it is still the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loose {
    stripe: usize,
    number: u32,
    class: usize,
    page: u32,
}

/// One step: looks for the slabs that are worth it, or packs and trims one of them. False when it is done.
pub(super) fn pack(heap: &Inner, mover: &Mover<'_>, pass: &mut Pass, round: &mut Round) -> bool {
    let shared = &heap.store.shared;
    // A huge page would be split for less than a half of it.
    let gains = shared.memory.can_release() && !shared.memory.has_huge_pages();
    if !gains || shared.pages.page() < 4 * GAIN_MIN {
        return false;
    }
    let stripes = heap.store.stripes();
    let loose =
        round.loose.get_or_insert_with(|| (0..stripes).flat_map(|n| find(heap, n)).collect());
    let Some(slab) = loose.pop() else { return false };
    if slab.pack(heap, mover, pass) == Outcome::Over {
        // What is left of it is seen when it is its turn again.
        loose.push(slab);
    }
    true
}

/// The slabs of a stripe that are worth it. O(slabs with room).
fn find(heap: &Inner, stripe: usize) -> Vec<Loose> {
    let found = with_slabs(heap, stripe, |slabs| {
        let seen = |number| {
            let slab = slabs.slab(number);
            Loose { stripe, number, class: usize::from(slab.class), page: slab.page }
        };
        slabs.loose(heap.store.shared.classes, GAIN_MIN).into_iter().map(seen).collect()
    });
    found.unwrap_or_default()
}

impl Loose {
    /// Moves at most half of the cells.
    fn pack(self, heap: &Inner, mover: &Mover<'_>, pass: &mut Pass) -> Outcome {
        let shared = &heap.store.shared;
        let geometry = shared.classes.geometry(self.class);
        let (freed_before, moves_before) = (pass.report.freed_bytes, pass.report.moves);
        let room = granules(self.class);
        let victim =
            |(offset, owner)| Victim { offset, owner, room, kind: Kind::Slab, shape: None };
        let victims = self.with(heap, |slabs| {
            slabs.close(self.number, Mode::Filling);
            pass.report.freed_bytes += slabs.trim(&shared.memory, geometry, self.number);
            // Where the blocks would end if they lay in the first cells.
            let end = geometry.offset(self.page, slabs.slab(self.number).used);
            let blocks = slabs.blocks(&shared.memory, geometry, self.number);
            blocks.filter(|(offset, _)| *offset >= end).map(victim).collect()
        });
        let Some(victims): Option<Vec<_>> = victims else { return Outcome::Done };
        let mut outcome = Outcome::Done;
        for batch in victims.chunks(pass.batch()) {
            outcome = move_all(heap, mover, pass, batch, |batch, places| {
                // At once: a cell that is freed meanwhile would be the next one to be taken.
                self.with(heap, |slabs| {
                    let place = |number| {
                        let Victim { offset, owner, .. } = batch.victim(number);
                        slabs.take_cell_below(&shared.memory, geometry, self.number, offset, owner)
                    };
                    places.extend((0..batch.len()).map_while(place));
                });
            });
            if outcome != Outcome::Done {
                break;
            }
        }
        self.with(heap, |slabs| {
            pass.report.freed_bytes += slabs.trim(&shared.memory, geometry, self.number);
            let page = slabs.reopen(&shared.memory, &shared.pages, geometry, self.number);
            if let Some(page) = page {
                // Stripe before centre.
                heap.store.central().release(&shared.memory, page);
            }
        });
        if pass.report.freed_bytes > freed_before {
            pass.report.useful_moves += pass.report.moves - moves_before;
        }
        outcome
    }

    /// Runs `f` on the stripe's slabs, locked, while the slab is there.
    fn with<R>(&self, heap: &Inner, f: impl FnOnce(&mut Slabs) -> R) -> Option<R> {
        let same = |slabs: &mut Slabs| {
            let slab = slabs.slab(self.number);
            let same = slab.page == self.page && usize::from(slab.class) == self.class;
            same.then(|| f(slabs))
        };
        with_slabs(heap, self.stripe, same).flatten()
    }
}
