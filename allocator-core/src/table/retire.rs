//! Retired objects: from the end of their life until their block and slot are free.
//!
//! `remove` unlinks an object and puts it into the thread's cache. A full list there becomes a batch with a
//! grace period of its own; when that is over nobody can see the objects, except through pins. Then each is
//! dropped, and its slot and block serve the thread's next inserts, or go back to where they came from. What
//! is pinned waits on the table's `held` list.
//!
//! User code (`Drop`) runs here without any lock, after the lists are consistent; if it panics, the rest of
//! the batch goes back on the list. A thread that drops objects does not begin to reclaim its own cache again, so a
//! chain of objects that remove each other does not recurse.

use super::Slots;
use super::sweep::Sweep;
use crate::block;
use crate::cache::{Any, Batch, Cache, InHand, Inside, Pair, Retired};
use crate::grace::Grace;
use crate::heap::Inner;
use crate::slot::Snapshot;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::threads;

/// How far a reclamation goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effort {
    /// The thread's own cache, once it has a full batch; what becomes free stays in the cache. And what threads left that have
    /// ended.
    Batch,
    /// All caches, everything whose grace period is over by now; what becomes free goes back to the store.
    All,
}

/// The owner of a cache reclaims, and may run `Drop`s, until this is dropped, also when one of them panics.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn new(cache: &'a Cache) -> Self {
        // Relaxed: the owner of the cache alone stores, and others only ask whether they are it.
        cache.reclaimer.store(threads::number(), Ordering::Relaxed);
        Self(&cache.reclaimer)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        // Relaxed: as in `new`.
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Objects past their grace period. What is left when a drop panics goes back into its cache.
pub(super) struct Ready<'a> {
    pub(super) slots: &'a Slots,
    pub(super) heap: &'a Inner,
    pub(super) home: Any<'a>,
    pub(super) objects: Retired,
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        if !self.objects.pairs.is_empty() {
            let mut objects = core::mem::take(&mut self.objects);
            // Only objects with a `Drop` come here, and those are all of one size.
            objects.bytes = objects.pairs.len() * self.slots.bytes;
            self.home.with(&self.heap.readers, |cache| cache.put_back(objects));
        }
    }
}

impl Slots {
    /// Puts a raw block of `bytes`, which is unlinked, into the thread's cache, and reclaims where a batch is full.
    /// `word` is that of its slot now.
    pub(crate) fn retire_raw(&self, heap: &Inner, slot: u32, word: Snapshot, bytes: usize) {
        let object = Pair { word, slot };
        match self.caches.try_retire_of(object, bytes) {
            Some(false) => {}
            full => self.retire_of_slowly(heap, object, full.is_none(), bytes),
        }
    }

    /// Retires an object of a typed table where the short way did not, and reclaims where that makes a batch.
    #[cold]
    pub(super) fn retire_slowly(&self, heap: &Inner, object: Pair, is_left: bool) {
        self.retire_of_slowly(heap, object, is_left, self.bytes);
    }

    #[cold]
    fn retire_of_slowly(&self, heap: &Inner, object: Pair, is_left: bool, bytes: usize) {
        if !is_left || self.caches.own().with(|cache| cache.retire(object, bytes)) {
            self.reclaim(heap, Effort::Batch);
        }
    }

    /// The same for a block whose object lives on in another one.
    pub(crate) fn retire_bare(&self, heap: &Inner, offset: u32, bytes: usize) {
        let is_batch = self.caches.own().with(|cache| {
            // It is counted as if an object ended.
            cache.begin();
            cache.retire(Pair::bare(offset), bytes)
        });
        if is_batch {
            self.reclaim(heap, Effort::Batch);
        }
    }

    /// Frees retired objects whose grace period is over; gives their number. Never waits for readers.
    ///
    /// Runs `Drop` of the table's objects: the caller holds no lock, and is entitled to drop them (it
    /// works for their pool, or they have no `Drop`). For [`Effort::Batch`] it has the table borrowed.
    #[cold]
    pub(crate) fn reclaim(&self, heap: &Inner, effort: Effort) -> usize {
        // What is dropped may retire more: as many are followed as there are now. A drop that puts in what it retires would go
        // on for ever.
        let follows = effort == Effort::All && !self.is_plain();
        let most = if follows { self.live() + self.caches.retired().0 } else { 0 };
        let own = self.caches.own();
        // A thread does not go into its cache again while it drops what it took out of one.
        let busy = if self.is_reclaiming() { None } else { Some(Busy::new(own.any().cache())) };
        let sweeps = busy.is_some() && self.may_be_held();
        let mut freed = if sweeps { self.reclaim_held(heap) } else { 0 };
        if effort == Effort::All {
            for home in self.caches.all().filter(|home| !home.is_own()) {
                freed += self.reclaim_cache(heap, home, effort, 0);
            }
        } else if busy.is_some() && self.caches.take_left() {
            freed += self.reclaim_left(heap);
        }
        // What was retired meanwhile is in the own cache: that one comes last, and again.
        if busy.is_some() {
            freed += self.reclaim_cache(heap, own.any(), effort, most);
        }
        // What was dropped may have let go of others.
        if sweeps && freed > 0 && !self.is_plain() {
            freed += self.reclaim_held(heap);
        }
        freed
    }

    /// Reclaims what threads that ended had retired, whoever has their caches by now; notes again where guards keep it, or a drop
    /// panics before all were looked at. O(caches).
    fn reclaim_left(&self, heap: &Inner) -> usize {
        struct Left<'a>(&'a Slots);
        impl Drop for Left<'_> {
            fn drop(&mut self) {
                if self.0.caches.all().any(|home| home.cache().is_left()) {
                    self.0.caches.note_left();
                }
            }
        }
        let _left = Left(self);
        let mut freed = 0;
        for home in self.caches.all().filter(|home| home.cache().is_left()) {
            home.cache().set_left(false);
            let here = self.reclaim_cache(heap, home, Effort::All, 0);
            if here == 0 && home.cache().retired() > 0 {
                home.cache().set_left(true);
            }
            freed += here;
        }
        freed
    }

    /// Reclaims up to `most` retired objects without `Drop`, of one thread; false when none is ready. Never waits
    /// for readers.
    pub(crate) fn reclaim_some(&self, heap: &Inner, most: usize) -> bool {
        debug_assert!(self.is_plain());
        let got = self.reclaim_some_of(heap, most);
        // After our last step into each cache, as in `reclaim_cache`: the table's end may have missed what we had in hand.
        if self.is_closed() {
            return self.reclaim(heap, Effort::All) > 0 || got;
        }
        got
    }

    fn reclaim_some_of(&self, heap: &Inner, most: usize) -> bool {
        for home in self.caches.all().filter(|home| home.cache().retired() > 0) {
            close_batch(self, heap, home, Effort::All);
            let Some((_in_hand, mut objects)) = self.take_ready(heap, home) else { continue };
            let all = objects.pairs.len();
            let pairs = objects.pairs.split_off(all.min(most));
            if !pairs.is_empty() {
                let bytes = objects.bytes / all * pairs.len();
                objects.bytes -= bytes;
                let rest = Retired { pairs, bytes };
                home.with(&heap.readers, |cache| cache.put_back(rest));
            }
            self.settle_all(Ready { slots: self, heap, home, objects }, Effort::All);
            return true;
        }
        false
    }

    /// Takes objects whose grace period is over out of a cache. Nothing is in hand where there are none: who looks in vain for
    /// room would take that for a promise.
    fn take_ready(&self, heap: &Inner, home: Any<'_>) -> Option<(InHand<'_>, Retired)> {
        home.with(&heap.readers, |cache| {
            cache.is_ready().then(|| {
                let in_hand = self.hands.take();
                let objects = cache.past_grace(&in_hand);
                (in_hand, objects)
            })
        })
    }

    /// Reclaims one batch, as others may retire as fast as we reclaim; and what its objects retire into the cache as they are
    /// dropped, until `follow` of them were reclaimed.
    fn reclaim_cache(&self, heap: &Inner, home: Any<'_>, effort: Effort, follow: usize) -> usize {
        // Others are no obstacle: each takes out what it deals with.
        if home.cache().retired() == 0 {
            return 0;
        }
        let mut freed = 0;
        close_batch(self, heap, home, effort);
        // No fence, the lock of the cache is enough: the table's end steps into it after we did, and finds the batch, or
        // before, and we see the end.
        if self.is_closed() {
            // Nobody reads through the table any more, and nobody else would look here again.
            let in_hand = self.hands.take();
            let objects = home.with(&heap.readers, |cache| cache.all_retired(&in_hand));
            return self.settle_all(Ready { slots: self, heap, home, objects }, Effort::All);
        }
        while let Some((_in_hand, objects)) = self.take_ready(heap, home) {
            freed += self.settle_all(Ready { slots: self, heap, home, objects }, effort);
            if freed < follow {
                close_batch(self, heap, home, effort);
            }
        }
        freed
    }

    pub(super) fn settle_all(&self, mut ready: Ready<'_>, effort: Effort) -> usize {
        let heap = ready.heap;
        let before = ready.objects.pairs.len();
        if self.may_be_held() {
            ready.objects.pairs.retain(|object| !self.set_aside(heap, *object));
        }
        let freed = ready.objects.pairs.len();
        if self.is_plain() {
            let pairs = core::mem::take(&mut ready.objects.pairs);
            self.recycle(heap, &pairs, effort);
            if effort == Effort::Batch {
                ready.home.with(&heap.readers, |cache| cache.reuse(pairs));
            }
        }
        while let Some(object) = ready.objects.pairs.pop() {
            self.free(heap, object, effort);
        }
        if freed < before && self.is_closed() {
            self.reclaim_held(heap);
        }
        freed
    }

    /// Puts a retired object that is pinned on the list of those; false where it is not.
    #[inline(always)]
    pub(super) fn set_aside(&self, heap: &Inner, object: Pair) -> bool {
        let held = block::is_held(heap.store.header(object.offset()));
        if held {
            self.push_held(object);
        }
        held
    }

    #[cold]
    fn push_held(&self, object: Pair) {
        // No fence: the lock of the list is enough. A table that ends looks at the list at last (`close`); where it did so
        // before this, we find it closed, and look after this (`settle_all`). So one look comes after this and after the fence
        // of `close`, and frees the object unless the last pin does. The owner of that pin may have missed the end: then the
        // fences make our look see the pin gone. Or have looked at the list before this: then the lock does. Or it
        // looks later, and finds the object.
        self.held.lock().push(object);
    }

    /// Drops an object and recycles its slot and block, these even when the drop panics.
    pub(super) fn free(&self, heap: &Inner, object: Pair, effort: Effort) {
        struct Free<'a>(&'a Slots, &'a Inner, Pair, Effort);
        impl Drop for Free<'_> {
            fn drop(&mut self) {
                let Self(slots, heap, object, effort) = self;
                slots.recycle(heap, &[*object], *effort);
            }
        }
        let _free = Free(self, heap, object, effort);
        if let Some(drop) = self.drop {
            heap.store.memory().track_write(object.offset());
            // SAFETY: the block holds an initialised object of this table, nobody else can reach it, and
            // it is dropped once: it was on one list and is on none now.
            unsafe { drop(heap.store.memory().block(object.offset()).as_ptr()) };
        }
    }

    /// Frees what was pinned when its grace period ended and is not any more.
    pub(super) fn reclaim_held(&self, heap: &Inner) -> usize {
        Sweep::new(self, heap).run()
    }

    pub(super) fn is_closed(&self) -> bool {
        // Acquire: whoever sees the table closed may free what others have read. Partner: the Release in `close`, which
        // comes after all that was done with the table. That one of two sees the other is the work of the fences in `close`
        // and `last_hold_gone`, and of the locks of the list of held objects and of each cache.
        self.closed.load(Ordering::Acquire)
    }

    /// Number and bytes of retired objects that still have their blocks.
    pub(crate) fn pending(&self, heap: &Inner) -> (usize, usize) {
        let held = {
            let held = self.held.lock();
            let bytes = |pair: &Pair| match self.is_typed() {
                true => self.bytes,
                false => heap.store.head(pair.offset()).room(),
            };
            (held.len(), held.iter().map(bytes).sum::<usize>())
        };
        let retired = self.caches.retired();
        (held.0 + retired.0, held.1 + retired.1)
    }

    /// Bytes of retired objects; pinned ones do not count. O(caches); no lock.
    pub(crate) fn retired_bytes(&self) -> usize {
        self.caches.retired().1
    }

    /// Whether retired objects wait for grace periods, or something is in the hands of another thread; objects that
    /// are only pinned do not count.
    pub(crate) fn is_waiting(&self) -> bool {
        self.is_in_hand() || self.caches.all().any(|any| any.cache().retired() > 0)
    }

    /// Whether objects may be dropped by any thread: they have no `Drop`.
    pub(crate) fn is_plain(&self) -> bool {
        self.drop.is_none()
    }
}

/// Turns the open list of a cache into a batch, where it is full or everything is wanted.
fn close_batch(slots: &Slots, heap: &Inner, home: Any<'_>, effort: Effort) {
    let always = effort == Effort::All;
    let close = |cache: &mut Inside<'_>| {
        let in_hand = slots.hands.take();
        let objects = cache.close_open(always, &in_hand)?;
        Some((in_hand, objects))
    };
    let Some((_in_hand, objects)) = home.with(&heap.readers, close) else { return };
    // Outside the cache: the heavy barrier may be a system call.
    let grace = Grace::start(&heap.readers);
    home.with(&heap.readers, |cache| cache.wait(Batch { grace, objects }));
}
