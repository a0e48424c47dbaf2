//! Packing: the blocks of a partly filled slab go into its first cells, so that the rest of its pages can be given back.
//!
//! After `slabs.rs` one slab of each class is partly filled, which is a large share of a heap with many classes and little
//! in them.

use super::budget::Pass;
use super::mover::{BATCH, Mover, Outcome, Victim, move_all};
use crate::heap::Inner;
use crate::raw::GRANULE;
use crate::raw::os::OS_PAGE;
use crate::size_class::granules;
use crate::slab::{Mode, Slabs};
use crate::stripe::Stripe;

/// Granules that packing a slab has to gain.
const GAIN_MIN: u32 = (OS_PAGE / GRANULE) as u32;

/// A slab with room; the page says, together with the number, whether it is still the same.
#[derive(Clone, Copy, Debug)]
struct Loose {
    stripe: usize,
    number: u32,
    class: usize,
    page: u32,
}

/// Packs and trims every slab with room where that pays. O(slabs with room), and a move for at most half of the cells of
/// each.
pub(super) fn pack(heap: &Inner, mover: &Mover<'_>, pass: &mut Pass) {
    let shared = &heap.store.shared;
    if !shared.memory.can_release() || shared.pages.page() < 4 * GAIN_MIN {
        return;
    }
    for stripe in 0..heap.store.stripes() {
        for loose in loose(heap, stripe) {
            if pass.is_over() {
                return;
            }
            loose.pack(heap, mover, pass);
        }
    }
}

fn loose(heap: &Inner, stripe: usize) -> Vec<Loose> {
    let loose = |slabs: &mut Slabs| {
        let found = slabs.loose(&heap.store.shared.classes, GAIN_MIN);
        let seen = |number| {
            let slab = slabs.slab(number);
            Loose { stripe, number, class: usize::from(slab.class), page: slab.page }
        };
        found.into_iter().map(seen).collect()
    };
    match &mut *heap.store.stripe(stripe) {
        Stripe::Slabs(slabs) => loose(slabs),
        Stripe::Segments(_) => Vec::new(),
    }
}

impl Loose {
    fn pack(self, heap: &Inner, mover: &Mover<'_>, pass: &mut Pass) {
        let shared = &heap.store.shared;
        let geometry = shared.classes.geometry(self.class);
        let victims = self.with(heap, |slabs| {
            slabs.close(self.number, Mode::Filling);
            pass.report.freed_bytes += slabs.trim(&shared.memory, geometry, self.number);
            // Where the blocks would end if they lay in the first cells.
            let end = geometry.offset(self.page, slabs.slab(self.number).used);
            let mut blocks = slabs.blocks(&shared.memory, geometry, self.number);
            blocks.retain(|(offset, _)| *offset >= end);
            blocks
        });
        let room = granules(self.class);
        let victim = |(offset, owner)| Victim { offset, owner, room, shape: None };
        let victims: Vec<_> = victims.unwrap_or_default().into_iter().map(victim).collect();
        for batch in victims.chunks(BATCH) {
            // At once: a cell that is freed meanwhile would be the next one to be taken.
            let places = self.with(heap, |slabs| {
                let place = |victim: &Victim| {
                    let Victim { offset, owner, .. } = *victim;
                    slabs.take_cell_below(&shared.memory, geometry, self.number, offset, owner)
                };
                batch.iter().map_while(place).collect::<Vec<u32>>()
            });
            let mut places = batch.iter().zip(places.unwrap_or_default());
            let free = |(_, place): (&Victim, u32)| heap.store.free(place);
            let outcome = move_all(heap, mover, pass, batch, |victim| {
                let its_own = |(planned, _): &(&Victim, u32)| planned.offset == victim.offset;
                loop {
                    match places.next()? {
                        found if its_own(&found) => return Some(found.1),
                        left_out => free(left_out),
                    }
                }
            });
            places.for_each(free);
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
    }

    /// Runs `f` on the stripe's slabs, locked, while the slab is there.
    fn with<R>(&self, heap: &Inner, f: impl FnOnce(&mut Slabs) -> R) -> Option<R> {
        match &mut *heap.store.stripe(self.stripe) {
            Stripe::Slabs(slabs) => {
                let slab = slabs.slab(self.number);
                let same = slab.page == self.page && usize::from(slab.class) == self.class;
                same.then(|| f(slabs))
            }
            Stripe::Segments(_) => None,
        }
    }
}
