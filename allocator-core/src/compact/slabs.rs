//! Slabs: sparse ones are emptied into fuller ones of their class, then slabs move to the top.

use super::budget::Pass;
use super::mover::{BATCH, Mover, Outcome, Victim, move_all};
use crate::heap::Inner;
use crate::size_class::granules;
use crate::slab::{Mode, Slabs};
use crate::stripe::Stripe;

/// A slab as it was seen under its stripe's lock.
#[derive(Clone, Copy, Debug)]
struct Seen {
    stripe: usize,
    number: u32,
    class: usize,
    /// First granule of the page; with the number it says whether the slab is still the same.
    page: u32,
    used: u32,
    free: u32,
}

/// Empties the sparsest slabs of each class as far as the other slabs of the class, of whatever stripe, have
/// room. Afterwards, without pins and readers, at most one slab of each class has free cells.
pub(super) fn consolidate(heap: &Inner, mover: &Mover<'_>, pass: &mut Pass) {
    let mut partial = survey(heap, |seen| seen.free > 0);
    partial.sort_unstable_by_key(|seen| (seen.class, seen.used, seen.page));
    for slabs in partial.chunk_by(|a, b| a.class == b.class) {
        if pass.is_over() {
            return;
        }
        let victims = &slabs[..sparsest(slabs)];
        for victim in victims {
            with_slabs(heap, victim.stripe, |slabs| {
                if same(slabs, victim) {
                    slabs.close(victim.number);
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

/// Moves slabs to free pages above them, the lowest first, until there is none.
pub(super) fn raise(heap: &Inner, mover: &Mover<'_>, pass: &mut Pass) {
    let mut slabs = survey(heap, |_| true);
    slabs.sort_unstable_by_key(|seen| seen.page);
    for seen in slabs {
        if pass.is_over() || !raise_one(heap, mover, pass, &seen) {
            return;
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

/// All slabs that `wanted` picks. O(slabs), one stripe's lock at a time.
fn survey(heap: &Inner, wanted: impl Fn(&Seen) -> bool) -> Vec<Seen> {
    let mut found = Vec::new();
    for stripe in 0..heap.store.stripes() {
        with_slabs(heap, stripe, |slabs| {
            for (number, slab) in slabs.iter() {
                let class = usize::from(slab.class);
                let free = heap.store.shared.classes.geometry(class).cells - slab.used;
                let seen = Seen { stripe, number, class, page: slab.page, used: slab.used, free };
                if wanted(&seen) {
                    found.push(seen);
                }
            }
        });
    }
    found
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

/// Moves one slab to the highest free page above it; false when there is none.
fn raise_one(heap: &Inner, mover: &Mover<'_>, pass: &mut Pass, slab: &Seen) -> bool {
    let shared = &heap.store.shared;
    let page = shared.pages.page();
    // Stripe before centre.
    let target = with_slabs(heap, slab.stripe, |slabs| {
        if !same(slabs, slab) {
            return Some(None);
        }
        let above = slab.page + page;
        let run = heap.store.central().allocate_page_above(&shared.memory, page, above)?;
        slabs.close(slab.number);
        let number = slabs.add_page(&shared.memory, &shared.pages, slab.class, run, Mode::Filling);
        Some(Some(Seen { number, page: run.start, ..*slab }))
    });
    let target = match target.flatten() {
        None => return false,
        // The slab is gone by itself.
        Some(None) => return true,
        Some(Some(target)) => target,
    };
    let geometry = shared.classes.geometry(slab.class);
    for batch in blocks(heap, slab).chunks(BATCH) {
        let outcome = move_all(heap, mover, pass, batch, |victim| {
            with_slabs(heap, target.stripe, |slabs| {
                slabs
                    .has_room(target.number, geometry)
                    .then(|| slabs.take_cell(&shared.memory, geometry, target.number, victim.owner))
            })
            .flatten()
        });
        if outcome != Outcome::Done {
            break;
        }
    }
    reopen(heap, slab);
    reopen(heap, &target);
    // At once: the page that was filled may have been committed for it.
    let mut central = heap.store.central();
    pass.report.freed_bytes += central.release_pages(&shared.memory, slab.page, slab.page + page);
    true
}

/// The blocks of a slab, if it is still the same and closed.
fn blocks(heap: &Inner, slab: &Seen) -> Vec<Victim> {
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
        .map(|(offset, owner)| Victim { offset, owner, room: granules(slab.class) })
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
fn with_slabs<R>(heap: &Inner, stripe: usize, f: impl FnOnce(&mut Slabs) -> R) -> Option<R> {
    match &mut *heap.store.stripe(stripe) {
        Stripe::Slabs(slabs) => Some(f(slabs)),
        Stripe::Segments(_) => None,
    }
}
