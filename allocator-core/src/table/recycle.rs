//! Where slots and blocks for new objects come from, and where they go when an object is gone: the thread's
//! cache first, the table's list of vacant slots and the store behind it.

use super::{Effort, Slots};
use crate::cache::{Any, Inside, Pair};
use crate::error::{AllocError, AllocErrorKind};
use crate::heap::Inner;
use crate::pages::Label;
use crate::raw::Wipe;
use crate::stripe::Request;
use crate::sync::atomic::Ordering;
use crate::threads::{self, TornDown};
use core::alloc::Layout;
use core::hash::Hasher;

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
    /// Whether pairs are on their way: who found none should look again.
    pub(crate) fn is_in_hand(&self) -> bool {
        self.hands.is_any()
    }

    /// Tells `version` words that are others as soon as a pair has changed its place, or begun to. O(caches).
    pub(crate) fn tell_version(&self, version: &mut impl Hasher) {
        self.caches.tell_version(version);
        self.hands.tell_version(version);
    }

    /// The same for who may be dropping objects of the table itself, with the rest of them in hand.
    pub(crate) fn is_in_other_hands(&self) -> bool {
        self.is_in_hand() && !self.is_reclaiming()
    }

    /// Whether the calling thread reclaims objects of the table, and so may be in a `Drop` of one. O(1); O(caches) where the thread is
    /// being torn down, as it has another cache each time.
    pub(super) fn is_reclaiming(&self) -> bool {
        let thread = threads::number();
        // Relaxed: nobody else stores our number.
        let is_ours = |any: Any<'_>| any.cache().reclaimer.load(Ordering::Relaxed) == thread;
        match self.caches.own_known() {
            Ok(own) => own.is_some_and(is_ours),
            Err(TornDown) => self.caches.all().any(is_ours),
        }
    }

    /// Takes a slot and a block of a class for a new raw block, which is counted from now on, out of the thread's
    /// cache.
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
            heap.retry(self, || {
                self.reclaim(heap, Effort::All);
                self.empty_caches(heap);
                self.take_slot()
            })
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
        // What has no room in the magazine goes on to somewhere else.
        let _in_hand = self.hands.take();
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
        let in_hand = self.hands.take();
        let pairs = match self.caches.withdraw(usize::MAX, &in_hand) {
            Some(pairs) => pairs,
            None => self.fresh_pairs(heap, request, class),
        };
        let mut rest = Vec::new();
        self.caches.own().with(|cache| {
            if self.is_typed() {
                rest = cache.keep(class, &pairs);
            } else {
                pairs.iter().for_each(|pair| cache.keep_of(class, *pair, &mut rest));
            }
        });
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
            Effort::Batch => {
                if heap.store.memory().wipes(Wipe::Freed) {
                    // Nobody can see the blocks any more, and they are ours until they are kept.
                    pairs.iter().for_each(|pair| heap.store.wipe(Wipe::Freed, pair.offset()));
                }
                self.keep(heap, pairs);
            }
            Effort::All => self.release(heap, pairs),
        }
    }

    /// Puts pairs into the thread's magazines as far as they have room.
    fn keep(&self, heap: &Inner, pairs: &[Pair]) {
        let mut rest = Vec::new();
        match self.only_class() {
            Some(class) if Pair::are_whole(pairs) => {
                let spilled = self.caches.own().with(|cache| cache.keep(class, pairs));
                self.deposit(class, &spilled, &mut rest);
            }
            only_class => self.caches.own().with(|cache| {
                for pair in pairs {
                    match (only_class, self.class_of(heap, *pair)) {
                        (_, None) => rest.push(*pair),
                        (Some(class), _) => rest.extend(cache.keep(class, &[*pair])),
                        // The depot of the raw blocks would have to know their classes.
                        (None, Some(class)) => cache.keep_of(class, *pair, &mut rest),
                    }
                }
            }),
        }
        self.release(heap, &rest);
    }

    /// Puts pairs into the depot, as much at a time as a thread keeps; what that has no room for joins `rest`.
    fn deposit(&self, class: usize, pairs: &[Pair], rest: &mut Vec<Pair>) {
        for magazine in pairs.chunks(self.caches.limits().pairs(class)) {
            if !self.caches.deposit(magazine) {
                rest.extend_from_slice(magazine);
            }
        }
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

    /// Gives slots back to the list of vacant ones, and their blocks to the store; some at a time, so that what is
    /// asked for meanwhile is soon there.
    fn release(&self, heap: &Inner, pairs: &[Pair]) {
        for some in pairs.chunks(REFILL_MAX) {
            let slots = some.iter().filter(|pair| pair.slot != Pair::NO_SLOT);
            self.return_slots(slots.map(|pair| (pair.slot, pair.generation())));
            heap.store.free_all(some.iter().map(|pair| pair.offset()));
        }
    }

    /// The heap is gone: threads may forget their caches.
    pub(crate) fn close_caches(&self) {
        self.caches.close();
    }

    /// Gives back up to `most` pairs of what threads keep for the next inserts; false when there are none.
    pub(crate) fn empty_some(&self, heap: &Inner, most: usize) -> bool {
        if !self.has_cached() {
            return false;
        }
        let in_hand = self.hands.take();
        let pairs = if let Some(pairs) = self.caches.withdraw(most, &in_hand) {
            pairs
        } else if let Some(any) = self.caches.all().find(|any| any.cache().cached() > 0) {
            any.with(&heap.readers, |cache| cache.empty_some(most, &in_hand))
        } else {
            return false;
        };
        self.release(heap, &pairs);
        true
    }

    /// Whether threads, or the depot, keep anything for the next inserts.
    fn has_cached(&self) -> bool {
        self.caches.has_depot() || self.caches.all().any(|any| any.cache().cached() > 0)
    }

    /// Gives back all that threads keep for the next inserts.
    pub(crate) fn empty_caches(&self, heap: &Inner) {
        if !self.has_cached() {
            return;
        }
        let in_hand = self.hands.take();
        for any in self.caches.all().filter(|any| any.cache().cached() > 0) {
            let pairs = any.with(&heap.readers, |cache| cache.empty(&in_hand));
            self.release(heap, &pairs);
        }
        while let Some(pairs) = self.caches.withdraw(usize::MAX, &in_hand) {
            self.release(heap, &pairs);
        }
    }
}
