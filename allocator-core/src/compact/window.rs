//! Room for one block: empties the *cheapest window*, the stretch of the buffer whose blocks are the fewest bytes to
//! move, instead of sliding everything (`CompactMem` of the classic Mac OS stopped where the room was made as well).
//!
//! A window is made of whole pieces: free runs, blocks of the centre, slabs. What of it is free is taken out of the
//! centre at once; what is moved away stays the mover's until the window is whole. So nobody can take a part of it
//! meanwhile, and every place that is found for a block lies outside. Blocks that others free inside the window, or put
//! there, are found by the next sweep over it.
//!
//! A window is tried only where twice the room that its blocks need is free outside; the places are reserved before
//! the first block is moved.

use super::choice::{Choice, slabs_by_page};
use super::mover::{Batch, Mover, Outcome, Victim, mark_all, move_all};
use super::pass::Pass;
use super::seen::{Seen, blocks, held, same, see, with_slabs};
use super::slide::victim;
use crate::central::Central;
use crate::chunk::{self, Kind};
use crate::heap::Inner;
use crate::placement::{Need, Run};
use crate::slab::{Mode, Slabs};
use crate::space::End;
use crate::stripe::Shared;
use crate::sync::atomic::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Windows that are tried before a full pass is.
const WINDOWS_MAX: usize = 32;

/// Sweeps over a window whose blocks come and go, or whose moves readers cancel.
const SWEEPS_MAX: usize = 4;

/// Where `need` fits now, or after the cheapest window that can be emptied was emptied: what `take` gives for the free
/// run, under the lock of the centre. `None` where no window could be emptied.
pub(super) fn make<R>(
    heap: &Inner,
    mover: &Mover<'_>,
    pass: &mut Pass,
    need: Need,
    take: impl Fn(&mut Central, Run) -> R,
) -> Option<R> {
    let memory = heap.store.memory();
    let mut avoid = HashSet::new();
    for _ in 0..WINDOWS_MAX {
        let slabs = slabs_by_page(heap);
        let window = {
            let mut central = heap.store.central();
            if let Some(run) = central.space.find(memory, need) {
                return Some(take(&mut central, run));
            }
            Choice::new(heap, &central, need, &slabs, &avoid).cheapest()?
        };
        let mut taken = Taken::new(heap, window);
        match taken.empty(mover, pass) {
            Ok(()) => {
                let mut central = heap.store.central();
                taken.give_back(&mut central);
                if let Some(run) = central.space.find(memory, need) {
                    return Some(take(&mut central, run));
                }
            }
            Err(piece) => {
                avoid.insert(piece);
            }
        }
        drop(taken);
        if pass.is_over() {
            return None;
        }
    }
    None
}

/// What the mover has of a window. What is left when this is dropped becomes free.
struct Taken<'h> {
    heap: &'h Inner,
    window: Run,
    /// Runs that nobody else finds, first granule to length.
    pieces: BTreeMap<u32, u32>,
}

/// What a sweep has found that is not the mover's yet.
#[derive(Default)]
struct Found {
    blocks: Vec<Victim>,
    slabs: Vec<u32>,
    /// Places for the blocks, by the offsets of these.
    places: HashMap<u32, u32>,
}

impl<'h> Taken<'h> {
    /// Nothing of the window is the mover's yet.
    fn new(heap: &'h Inner, window: Run) -> Self {
        // Relaxed: who misses it comes before anything was taken.
        heap.emptying.store(true, Ordering::Relaxed);
        Self { heap, window, pieces: BTreeMap::new() }
    }

    /// Takes the whole window.
    ///
    /// # Errors
    /// The first granule of a piece that stays.
    fn empty(&mut self, mover: &Mover<'_>, pass: &mut Pass) -> Result<(), u32> {
        let mut stays = self.window.start;
        for _ in 0..SWEEPS_MAX {
            let mut found = self.sweep()?;
            self.reserve(&mut found)?;
            if found.blocks.is_empty() && found.slabs.is_empty() {
                return Ok(());
            }
            stays = found.blocks.first().map_or(stays, |block| block.offset - chunk::HEADER);
            let blocks = core::mem::take(&mut found.blocks);
            for victims in blocks.chunks(pass.batch()) {
                let batch = mark_all(self.heap, mover, pass, victims);
                for number in 0..batch.len() {
                    let place = found.places.remove(&batch.victim(number).offset);
                    let place = place.expect("there is one for each block");
                    self.take_block(pass, &batch, number, place);
                }
            }
            // Blocks that were gone, or that guards kept from being marked.
            found.places.values().for_each(|place| self.heap.store.free(*place));
            for page in found.slabs {
                if pass.is_over() {
                    return Err(page);
                }
                self.take_slab(mover, pass, page)?;
            }
            if pass.is_over() {
                break;
            }
        }
        Err(stays)
    }

    /// Takes what is free of the window out of the centre, and looks at the rest.
    /// O(pieces, and chunks between the window and the free run before it), under the lock of the centre.
    fn sweep(&mut self) -> Result<Found, u32> {
        let memory = self.heap.store.memory();
        let mut central = self.heap.store.central();
        let mut found = Found::default();
        let window = self.window;
        let mut at = anchor(&central, window.start);
        self.set_aside_free(&mut central);
        while at < window.end() {
            if let Some(len) = self.pieces.get(&at) {
                at += len;
                continue;
            }
            if let Some(run) = central.space.run_at(memory, at) {
                at = run.end();
                continue;
            }
            let (chunk, kind) =
                chunk::at(memory, at).expect("chunks and free runs tile the centre");
            at = chunk.end();
            if at <= window.start {
                continue;
            }
            match kind {
                Kind::Slab => found.slabs.push(chunk.start),
                Kind::Block => match victim(self.heap, chunk) {
                    Some(victim) => found.blocks.push(victim),
                    None => return Err(chunk.start),
                },
                Kind::Segment => return Err(chunk.start),
            }
        }
        Ok(found)
    }

    /// Takes what is free of the window out of the centre.
    fn set_aside_free(&mut self, central: &mut Central) {
        let memory = self.heap.store.memory();
        let window = self.window;
        let mut at = anchor(central, window.start);
        while let Some(run) = central.space.next_run(memory, at, window.end()) {
            let start = run.start.max(window.start);
            let end = run.end().min(window.end());
            if start < end {
                central.set_aside(memory, run, Run { start, len: end - start });
                self.pieces.insert(start, end - start);
            }
            at = run.end();
        }
    }

    /// Reserves a place in the centre for each block that was found, outside of the window.
    fn reserve(&mut self, found: &mut Found) -> Result<(), u32> {
        let memory = self.heap.store.memory();
        // The largest first, as long as there are large places.
        found.blocks.sort_unstable_by_key(|victim| core::cmp::Reverse(victim.room));
        // The registry's lock comes before that of the centre.
        let need = |victim: &Victim| {
            let align = self.heap.tables.get(victim.owner)?.align(victim.shape);
            Some(Need { len: victim.room + chunk::HEADER, align, skew: chunk::HEADER })
        };
        let needs: Vec<_> = found.blocks.iter().map(need).collect();
        let mut central = self.heap.store.central();
        // What others have freed meanwhile would be found first.
        self.set_aside_free(&mut central);
        for (victim, need) in found.blocks.iter().zip(needs) {
            let taken = need.and_then(|need| central.allocate(memory, need, End::Low));
            let Some(taken) = taken else {
                for place in found.places.values() {
                    central.release(memory, chunk::of_block(memory, *place));
                }
                return Err(victim.offset - chunk::HEADER);
            };
            found.places.insert(victim.offset, chunk::init_block(memory, taken, victim.owner));
        }
        Ok(())
    }

    /// Moves a block to its place, and keeps what it leaves.
    fn take_block(&mut self, pass: &mut Pass, batch: &Batch<'_>, number: usize, place: u32) {
        let Some(locked) = batch.lock(self.heap, pass, number) else {
            self.heap.store.free(place);
            return;
        };
        let old = locked.chunk(self.heap);
        if !locked.move_to(self.heap, pass, place) {
            self.heap.store.free(place);
            return;
        }
        pass.report.useful_moves += 1;
        // The block's bytes are given up: whoever gets them next writes.
        self.heap.store.memory().track_write(batch.victim(number).offset);
        self.pieces.insert(old.start, old.len);
    }

    /// Moves the blocks of the slab at `page` into other slabs of its class, or a new one, and keeps the page.
    fn take_slab(&mut self, mover: &Mover<'_>, pass: &mut Pass, page: u32) -> Result<(), u32> {
        let heap = self.heap;
        let shared = &heap.store.shared;
        let Some(seen) = see(heap, page) else {
            // It is gone by itself; the next sweep finds what is there.
            return Ok(());
        };
        let Seen { stripe, number, class, .. } = seen;
        let closed = with_slabs(heap, stripe, |slabs| {
            if !same(slabs, &seen) {
                return Ok(false);
            }
            if held(heap, slabs, &seen).next().is_some() {
                return Err(page);
            }
            // It stays when it is empty, so that nobody else gets the page.
            slabs.close(number, Mode::Filling);
            Ok(true)
        });
        if !closed.unwrap_or(Ok(false))? {
            return Ok(());
        }
        let before = pass.report.moves;
        for victims in blocks(heap, &[seen]).chunks(pass.batch()) {
            let outcome = move_all(heap, mover, pass, victims, |batch, places| {
                let victims = (0..batch.len()).map(|number| batch.victim(number));
                places.extend(victims.map_while(|victim| a_cell(heap, stripe, class, victim)));
            });
            if outcome != Outcome::Done {
                break;
            }
        }
        let emptied = with_slabs(heap, stripe, |slabs| {
            slabs.reopen(&shared.memory, &shared.pages, shared.classes.geometry(class), number)
        });
        let page = emptied.flatten().ok_or(page)?;
        pass.report.useful_moves += pass.report.moves - before;
        self.pieces.insert(page.start, page.len);
        Ok(())
    }

    /// Makes free what was taken. Under the lock of the centre.
    fn give_back(&mut self, central: &mut Central) {
        let memory = self.heap.store.memory();
        while let Some((start, len)) = self.pieces.pop_first() {
            central.release(memory, Run { start, len });
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.pieces.is_empty() {
            let heap = self.heap;
            self.give_back(&mut heap.store.central());
        }
        // Release: what was taken is back. Partner: the Acquire in `Inner::retry_beside_mover`.
        self.heap.emptying.store(false, Ordering::Release);
    }
}

/// A cell for a block in an open slab of its class, of this stripe first, or in a new one.
fn a_cell(heap: &Inner, stripe: usize, class: usize, victim: Victim) -> Option<u32> {
    let Shared { memory, classes, .. } = &heap.store.shared;
    let count = heap.store.stripes();
    let open = (0..count).find_map(|turn| {
        let allocate = |slabs: &mut Slabs| slabs.allocate(memory, classes, class, victim.owner);
        with_slabs(heap, (stripe + turn) % count, allocate).flatten()
    });
    open.or_else(|| in_new_slab(heap, stripe, class, victim))
}

/// A cell for a block in a new slab of the stripe.
fn in_new_slab(heap: &Inner, stripe: usize, class: usize, victim: Victim) -> Option<u32> {
    let Shared { memory, pages, classes } = &heap.store.shared;
    let need = Need { len: pages.page(), align: pages.page(), skew: 0 };
    with_slabs(heap, stripe, |slabs| {
        // Stripe before centre.
        let mut central = heap.store.central();
        let page = central.allocate(memory, need, End::High)?;
        slabs.add_page(memory, pages, classes, class, page, Mode::Open);
        slabs.allocate(memory, classes, class, victim.owner)
    })
    .flatten()
}

/// Where a walk can begin that is to reach `at`: where a free run that starts before it does. The lower end of the
/// buffer where there is none.
fn anchor(central: &Central, at: u32) -> u32 {
    let (lo, _) = central.bounds();
    central.space.previous_start(at).unwrap_or(lo)
}
