//! Where slots and blocks for new objects come from, and where they go when an object is gone: the thread's
//! cache first, the table's list of vacant slots and the store behind it.

use super::{Effort, Slots};
use crate::cache::{Inside, Pair};
use crate::error::{AllocError, AllocErrorKind};
use crate::heap::Inner;
use crate::pages::Label;
use crate::stripe::Request;
use core::alloc::Layout;

/// Pairs that an empty magazine is refilled with from the store, at most.
const REFILL_MAX: usize = 64;

/// A slot that goes back when this is dropped.
struct TakenSlot<'a> {
    slots: &'a Slots,
    slot: u32,
    generation: u32,
}

impl Drop for TakenSlot<'_> {
    fn drop(&mut self) {
        self.slots.return_slots(core::iter::once((self.slot, self.generation)));
    }
}

impl Slots {
    /// Takes a slot and a block for a new object, which is counted from now on, out of the thread's cache.
    #[inline(always)]
    pub(crate) fn place_cached(&self) -> Option<Pair> {
        self.caches.take()
    }

    /// The same in the table of raw blocks, for one of a class.
    #[inline(always)]
    pub(crate) fn place_cached_of(&self, class: Option<usize>) -> Option<Pair> {
        self.caches.take_of(class?)
    }

    /// Finds a slot and a block for a new object where the cache has none: refills it, or goes without it.
    ///
    /// # Errors
    /// No slot or no room, after everything was reclaimed that could be.
    #[cold]
    pub(crate) fn place_slowly(
        &self,
        heap: &Inner,
        request: &Request,
        layout: Layout,
    ) -> Result<Pair, AllocError> {
        if let Some(class) = request.class.filter(|class| self.caches.limits().pairs(*class) > 0) {
            let take_from = |cache: &mut Inside<'_>| {
                if self.is_typed() { cache.take() } else { cache.take_of(class) }
            };
            let take = || self.caches.own().with(take_from);
            let refill = || {
                self.refill(heap, request, class);
                take()
            };
            // It was not empty where somebody looked into it just then.
            if let Some(pair) = take().or_else(refill) {
                return Ok(pair);
            }
        }
        let slot = self.take_slot().or_else(|| {
            self.reclaim(heap, Effort::All);
            self.empty_caches(heap);
            self.take_slot()
        });
        let (slot, generation) =
            slot.ok_or_else(|| heap.refusal(AllocErrorKind::OutOfSlots, 0, 1))?;
        // Reclaiming runs `Drop`s, which may panic.
        let taken = TakenSlot { slots: self, slot, generation };
        let offset = heap.place(self, slot, request, layout)?;
        core::mem::forget(taken);
        self.caches.own().with(|cache| cache.begin());
        Ok(Pair::new(slot, generation, offset))
    }

    /// Gives a place back for which there is no object after all. Its handle may have been shown to somebody: it
    /// never names another object.
    pub(crate) fn give_up(&self, heap: &Inner, pair: Pair) {
        self.ended(heap, Pair::new(pair.slot, pair.generation() + 1, pair.offset()));
    }

    /// Takes back what an object had that ended its life without being retired: nobody can see it.
    pub(crate) fn ended(&self, heap: &Inner, pair: Pair) {
        self.caches.own().with(|cache| cache.end());
        self.recycle(heap, &[pair], Effort::Batch);
    }

    /// Fills the thread's magazine of a class: with what became free of what the thread retired, with what other
    /// threads spilled, or from the store.
    fn refill(&self, heap: &Inner, request: &Request, class: usize) {
        // A thread that removes too has what it removed before, unless somebody reads it still.
        let waiting = self.is_plain() && self.caches.own().any().cache().retired() > 0;
        if waiting && self.reclaim(heap, Effort::Batch) > 0 {
            return;
        }
        let pairs = match self.caches.withdraw() {
            Some(pairs) => pairs,
            None => self.fresh_pairs(heap, request, class),
        };
        let rest = self.caches.own().with(|cache| cache.keep(class, &pairs));
        self.release(heap, &rest);
    }

    /// Takes slots and blocks that nobody has. The lock of the slots, and a stripe's, once for all of them.
    fn fresh_pairs(&self, heap: &Inner, request: &Request, class: usize) -> Vec<Pair> {
        let count = self.caches.limits().pairs(class).min(REFILL_MAX);
        let slots = self.take_slots(count);
        let mut pairs = Vec::with_capacity(slots.len());
        let mut generations = slots.iter().map(|(_, generation)| *generation);
        let owners = slots.iter().map(|(slot, _)| self.owner(*slot));
        heap.store.allocate_cells(request, owners, |owner, offset| {
            let generation = generations.next().expect("one for each owner");
            pairs.push(Pair::new(owner.slot, generation, offset));
        });
        let left = &slots[pairs.len()..];
        if !left.is_empty() {
            self.return_slots(left.iter().copied());
        }
        // The lowest first in line.
        pairs.reverse();
        pairs
    }

    /// Takes back what nobody can see any more.
    pub(super) fn recycle(&self, heap: &Inner, pairs: &[Pair], effort: Effort) {
        for pair in pairs {
            // The block's bytes are given up: whoever gets them next writes.
            heap.store.memory().track_write(pair.offset());
        }
        match effort {
            Effort::Batch => self.keep(heap, pairs),
            Effort::All => self.release(heap, pairs),
        }
    }

    /// Puts pairs into the thread's magazines as far as they have room.
    fn keep(&self, heap: &Inner, pairs: &[Pair]) {
        let (mut spilled, mut rest) = (Vec::new(), Vec::new());
        self.caches.own().with(|cache| {
            if let Some(class) = self.only_class()
                && Pair::are_whole(pairs)
            {
                spilled.push(cache.keep(class, pairs));
                return;
            }
            // Runs of one class at a time.
            let class_of = |pair: &Pair| self.class_of(heap, *pair);
            for run in pairs.chunk_by(|a, b| class_of(a) == class_of(b)) {
                match class_of(&run[0]) {
                    Some(class) => spilled.push(cache.keep(class, run)),
                    None => rest.extend_from_slice(run),
                }
            }
        });
        for magazine in spilled.into_iter().filter(|magazine| !magazine.is_empty()) {
            // The depot of the raw blocks would have to know their classes.
            let back = if self.is_typed() { self.caches.deposit(magazine) } else { Some(magazine) };
            rest.extend(back.into_iter().flatten());
        }
        self.release(heap, &rest);
    }

    /// The size class of a pair that can be kept.
    fn class_of(&self, heap: &Inner, pair: Pair) -> Option<usize> {
        if !pair.is_whole() {
            return None;
        }
        if self.is_typed() {
            return self.only_class();
        }
        match heap.store.shared.pages.label(pair.offset()) {
            Label::Slab { class, .. } => {
                let class = usize::from(class);
                (self.caches.limits().pairs(class) > 0).then_some(class)
            }
            Label::Central | Label::Segment { .. } => None,
        }
    }

    /// The class whose pairs a typed table keeps, if it does.
    fn only_class(&self) -> Option<usize> {
        let class = self.request.as_ref()?.class?;
        (self.caches.limits().pairs(class) > 0).then_some(class)
    }

    /// Gives blocks back to the store, and their slots to the list of vacant ones.
    fn release(&self, heap: &Inner, pairs: &[Pair]) {
        if pairs.is_empty() {
            return;
        }
        heap.store.free_all(pairs.iter().map(|pair| pair.offset()));
        let slots = pairs.iter().filter(|pair| pair.slot != Pair::NO_SLOT);
        self.return_slots(slots.map(|pair| (pair.slot, pair.generation())));
    }

    /// The heap is gone: threads may forget their caches.
    pub(crate) fn close_caches(&self) {
        self.caches.close();
    }

    /// Gives back all that threads keep for the next inserts.
    pub(crate) fn empty_caches(&self, heap: &Inner) {
        for any in self.caches.all().filter(|any| any.cache().cached() > 0) {
            let pairs = any.with(&heap.readers, |cache| cache.empty());
            self.release(heap, &pairs);
        }
        while let Some(pairs) = self.caches.withdraw() {
            self.release(heap, &pairs);
        }
    }
}
