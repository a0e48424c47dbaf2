//! [`Seen`]: a slab as it was seen under its stripe's lock. The lock is not kept, so whatever is done with the slab looks
//! again whether it is still the same.

use super::mover::Victim;
use crate::block::{self, Owner};
use crate::chunk::Kind;
use crate::heap::Inner;
use crate::pages::Label;
use crate::size_class::granules;
use crate::slab::{Mode, Slabs};
use crate::stripe::{Shared, Stripe};

/// Free runs that are looked at for a free page, at a time.
const LOOKS: usize = 64;

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

/// Takes up to `count` cells of the targets.
pub(super) fn take_cells(
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

/// The blocks of slabs, as far as these are still the same.
pub(super) fn blocks(heap: &Inner, slabs: &[Seen]) -> Vec<Victim> {
    let shared = &heap.store.shared;
    // As many as were seen: a list that grows by doubling itself would take twice the memory.
    let mut victims = Vec::with_capacity(slabs.iter().map(|slab| slab.used as usize).sum());
    for seen in slabs {
        let (geometry, room) = (shared.classes.geometry(seen.class), granules(seen.class));
        let victim =
            |(offset, owner)| Victim { offset, owner, room, kind: Kind::Slab, shape: None };
        with_slabs(heap, seen.stripe, |slabs| {
            if same(slabs, seen) {
                let blocks = slabs.blocks(&shared.memory, geometry, seen.number);
                victims.extend(blocks.map(victim));
            }
        });
    }
    victims
}

/// The blocks of a slab that are held at the moment. Under the lock of its stripe.
pub(super) fn held<'s>(
    heap: &'s Inner,
    slabs: &'s Slabs,
    slab: &Seen,
) -> impl Iterator<Item = (u32, Owner)> + 's {
    let shared = &heap.store.shared;
    let geometry = shared.classes.geometry(slab.class);
    let blocks = slabs.blocks(&shared.memory, geometry, slab.number);
    blocks.filter(|(offset, _)| block::is_held(heap.store.header(*offset)))
}

/// Whether there are any.
pub(super) fn has_held(heap: &Inner, slab: &Seen) -> bool {
    let any = with_slabs(heap, slab.stripe, |slabs| {
        same(slabs, slab) && held(heap, slabs, slab).next().is_some()
    });
    any == Some(true)
}

/// Makes the highest free page that begins in `above..below`, of [`LOOKS`] free runs, a slab of the stripe and class of
/// another; `below` is moved as [`Central::allocate_page_above`](crate::central::Central::allocate_page_above) says.
pub(super) fn add_above(
    heap: &Inner,
    slabs: &mut Slabs,
    like: &Seen,
    mode: Mode,
    (above, below): (u32, &mut u32),
) -> Option<Seen> {
    let Shared { memory, pages, classes } = &heap.store.shared;
    // Stripe before centre.
    let mut central = heap.store.central();
    let run = central.allocate_page_above(memory, pages.page(), above, below, LOOKS)?;
    drop(central);
    let number = slabs.add_page(memory, pages, classes, like.class, run, mode);
    Some(Seen { number, page: run.start, used: 0, ..*like })
}

/// Closes a slab; false where it is another by now, or empty.
pub(super) fn close(heap: &Inner, slab: &Seen, mode: Mode) -> bool {
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
pub(super) fn is_ours(heap: &Inner, slab: &Seen) -> bool {
    let ours =
        with_slabs(heap, slab.stripe, |slabs| same(slabs, slab) && slabs.is_closed(slab.number));
    ours == Some(true)
}

/// Opens a slab that this pass closed. An empty one goes back to the centre; true in that case.
pub(super) fn reopen(heap: &Inner, slab: &Seen) -> bool {
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
pub(super) fn same(slabs: &Slabs, seen: &Seen) -> bool {
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
