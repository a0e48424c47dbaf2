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
use crate::block;
use crate::cache::{Any, Batch, Pair, Retired};
use crate::grace::Grace;
use crate::heap::Inner;
use crate::slot::{self, Snapshot};
use crate::sync::atomic::{AtomicBool, Ordering, fence};

/// How far a reclamation goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effort {
    /// The thread's own cache, once it has a full batch; what becomes free stays in the cache.
    Batch,
    /// All caches, everything whose grace period is over by now; what becomes free goes back to the store.
    All,
}

/// Clears the flag of a thread that reclaims, also when a drop panics.
struct Busy<'a>(&'a AtomicBool);

impl<'a> Busy<'a> {
    fn claim(flag: &'a AtomicBool) -> Option<Self> {
        // Acquire: pairs with the Release below; weaker, it would be no lock. Relaxed on failure.
        flag.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(Self(flag))
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        // Release: see `claim`.
        self.0.store(false, Ordering::Release);
    }
}

/// Objects past their grace period. What is left when a drop panics goes back into its cache.
struct Ready<'a> {
    slots: &'a Slots,
    heap: &'a Inner,
    home: Any<'a>,
    objects: Retired,
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
        let mut freed = if self.may_be_held() { self.reclaim_held(heap) } else { 0 };
        match effort {
            Effort::Batch => {
                let own = self.caches.own();
                freed += self.reclaim_cache(heap, own.any(), effort);
            }
            Effort::All => {
                for home in self.caches.all().filter(|home| !home.is_own()) {
                    if home.cache().retired() > 0 {
                        freed += self.reclaim_cache(heap, home, effort);
                    }
                }
                // What is dropped may retire more, which goes into the own cache: that one comes last, and again.
                let own = self.caches.own();
                freed += self.reclaim_cache(heap, own.any(), effort);
            }
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
        let _in_hand = self.take_in_hand();
        for home in self.caches.all().filter(|home| home.cache().retired() > 0) {
            close_batch(heap, home, Effort::All);
            let mut objects = home.with(&heap.readers, |cache| cache.past_grace());
            if objects.pairs.is_empty() {
                continue;
            }
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

    fn reclaim_cache(&self, heap: &Inner, home: Any<'_>, effort: Effort) -> usize {
        // The owner does not go into its cache again while it drops what it took out of it. Others are no obstacle:
        // each takes out what it deals with.
        let busy = home.is_own().then(|| Busy::claim(&home.cache().reclaiming));
        if matches!(busy, Some(None)) {
            return 0;
        }
        let _in_hand = self.take_in_hand();
        let mut freed = 0;
        // One batch a call, as others may retire as fast as we reclaim; except that a chain of objects that
        // retire each other as they are dropped is followed to its end.
        let follow = effort == Effort::All && home.is_own() && !self.is_plain();
        close_batch(heap, home, effort);
        // No fence, the lock of the cache is enough: the table's end steps into it after we did, and finds the batch, or
        // before, and we see the end.
        if self.is_closed() {
            // Nobody reads through the table any more, and nobody else would look here again.
            let objects = home.with(&heap.readers, |cache| cache.all_retired());
            return self.settle_all(Ready { slots: self, heap, home, objects }, Effort::All);
        }
        loop {
            let objects = home.with(&heap.readers, |cache| cache.past_grace());
            if objects.pairs.is_empty() {
                return freed;
            }
            freed += self.settle_all(Ready { slots: self, heap, home, objects }, effort);
            if follow {
                close_batch(heap, home, effort);
            }
        }
    }

    fn settle_all(&self, mut ready: Ready<'_>, effort: Effort) -> usize {
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
    fn set_aside(&self, heap: &Inner, object: Pair) -> bool {
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
    fn free(&self, heap: &Inner, object: Pair, effort: Effort) {
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
        let mut sweep = Sweep { slots: self, heap, freed: 0 };
        sweep.run();
        sweep.freed
    }

    fn is_closed(&self) -> bool {
        // Acquire: whoever sees the table closed may free what others have read. Partner: the Release in `close`, which
        // comes after all that was done with the table. That one of two sees the other is the work of the fences in `close`
        // and `last_hold_gone`, and of the locks of the list of held objects and of each cache.
        self.closed.load(Ordering::Acquire)
    }

    /// A pin of an object was let go and none is left: where the pool is gone, nobody else would drop it.
    pub(super) fn last_hold_gone(&self, heap: &Inner) {
        // SeqCst: see `close`.
        fence(Ordering::SeqCst);
        if self.is_closed() {
            self.reclaim_held(heap);
        }
    }

    /// Ends the life of every object and forgets the table. What is pinned is dropped with its last pin.
    ///
    /// Nobody reads through this table any more, so nothing waits for a grace period.
    pub(super) fn close(&self, heap: &Inner) {
        // Release: see `is_closed`.
        self.closed.store(true, Ordering::Release);
        // SeqCst: with the fence in `last_hold_gone`, either a last pin sees the table closed, or `Closing` below
        // sees the pin gone.
        fence(Ordering::SeqCst);
        // Its drop comes after that of `Closing`, and forgets the table whatever panics.
        let mut sweep = Sweep { slots: self, heap, freed: 0 };
        Closing { slots: self, heap, next: 0 }.run();
        self.caches.close();
        sweep.run();
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
        let retired = self.caches.retired(&heap.readers);
        (held.0 + retired.0, held.1 + retired.1)
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
fn close_batch(heap: &Inner, home: Any<'_>, effort: Effort) {
    let always = effort == Effort::All;
    let Some(objects) = home.with(&heap.readers, |cache| cache.close_open(always)) else { return };
    // Outside the cache: the heavy barrier may be a system call.
    let grace = Grace::start(&heap.readers);
    home.with(&heap.readers, |cache| cache.wait(Batch { grace, objects }));
}

/// Frees objects that were pinned. A table that is closed is forgotten when none is left, and goes on with
/// the rest when a drop panics: nobody else would.
struct Sweep<'a> {
    slots: &'a Slots,
    heap: &'a Inner,
    freed: usize,
}

impl Sweep<'_> {
    fn run(&mut self) {
        loop {
            let found = {
                let mut held = self.slots.held.lock();
                let free = |object: &Pair| !block::is_held(self.heap.store.header(object.offset()));
                held.iter().position(free).map(|place| held.swap_remove(place))
            };
            let Some(object) = found else { return };
            self.slots.free(self.heap, object, Effort::All);
            self.freed += 1;
        }
    }
}

impl Drop for Sweep<'_> {
    fn drop(&mut self) {
        if !self.slots.is_closed() {
            return;
        }
        if std::thread::panicking() {
            self.run();
        }
        if self.slots.held.lock().is_empty() {
            self.heap.tables.remove(self.slots);
        }
    }
}

/// The end of a table. Goes on with the rest when a drop panics.
struct Closing<'a> {
    slots: &'a Slots,
    heap: &'a Inner,
    next: u32,
}

impl Closing<'_> {
    fn run(&mut self) {
        let Self { slots, heap, .. } = *self;
        while self.next < slots.used() {
            let index = self.next;
            self.next += 1;
            let word = slots.words.get(index);
            // Acquire: another thread may have put the object in; it is dropped here.
            let seen = Snapshot(word.load(Ordering::Acquire));
            if seen.is_vacant() {
                continue;
            }
            let handle = crate::Handle::<[u8]>::new(index, seen.generation());
            if let Some(word) = slot::unlink(word, handle) {
                let object = Pair { word, slot: index };
                if !(slots.may_be_held() && slots.set_aside(heap, object)) {
                    slots.free(heap, object, Effort::All);
                }
            }
        }
        for home in slots.caches.all() {
            let objects = home.with(&heap.readers, |cache| cache.all_retired());
            slots.settle_all(Ready { slots, heap, home, objects }, Effort::All);
        }
        slots.empty_caches(heap);
    }
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The object whose drop panicked is dealt with; a second panic aborts, as in a `Vec`.
            self.run();
        }
    }
}
