//! Retired objects: from the end of their life until their block and slot are free.
//!
//! `remove` unlinks an object and puts it on its shard's list. A full list becomes a batch with a grace period
//! of its own; when that is over nobody can see the objects, except through pins. Then each is dropped,
//! its block freed, its slot handed back. What is pinned waits on the table's `held` list.
//!
//! User code (`Drop`) runs here without any lock, after the lists are consistent; if it panics, the rest of
//! the batch goes back on the list. A shard is reclaimed by one thread at a time, which also keeps a chain
//! of objects that remove each other from recursing.

use super::{NONE, Slots};
use crate::block;
use crate::grace::Grace;
use crate::heap::Inner;
use crate::slot::{self, Snapshot};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering, fence};
use std::collections::VecDeque;

/// Retired objects that make a batch.
const BATCH: usize = if cfg!(any(loom, miri)) { 2 } else { 64 };

/// Retired bytes that make a batch.
const BATCH_BYTES: usize = 256 << 10;

/// An object whose life is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retired {
    /// Its block.
    pub(crate) offset: u32,
    /// Its slot, or [`Retired::NO_SLOT`] where the slot lives on with another block.
    pub(crate) slot: u32,
    pub(crate) bytes: usize,
}

impl Retired {
    /// Stands for a slot that lives on with another block.
    pub(crate) const NO_SLOT: u32 = NONE;
}

/// The retired objects of one shard.
#[derive(Debug)]
pub(super) struct Retirement {
    lists: Mutex<Lists>,
    /// A thread reclaims here.
    busy: AtomicBool,
}

impl Default for Retirement {
    fn default() -> Self {
        Self { lists: Mutex::new(Lists::default()), busy: AtomicBool::new(false) }
    }
}

#[derive(Debug, Default)]
struct Lists {
    /// Retired since the last batch was closed.
    open: Vec<Retired>,
    open_bytes: usize,
    /// Older ones, waiting for their grace periods.
    batches: VecDeque<Batch>,
    /// Past their grace period, left over when a drop panicked.
    ready: Vec<Retired>,
}

#[derive(Debug)]
struct Batch {
    grace: Grace,
    objects: Vec<Retired>,
}

/// How far a reclamation goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effort {
    /// The home shard, once it has a full batch.
    Batch,
    /// All shards, everything whose grace period is over by now.
    All,
}

/// Clears a shard's `busy` flag, also when a drop panics.
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

/// Objects past their grace period. What is left when a drop panics goes back on the list.
struct Ready<'a> {
    home: &'a Retirement,
    objects: Vec<Retired>,
}

impl Drop for Ready<'_> {
    fn drop(&mut self) {
        if !self.objects.is_empty() {
            self.home.lists.lock().ready.append(&mut self.objects);
        }
    }
}

impl Slots {
    /// Puts an unlinked object on the list of the home shard, and reclaims when that is full.
    pub(crate) fn retire(&self, heap: &Inner, object: Retired) {
        let full = {
            let mut lists = self.shard().retirement.lists.lock();
            lists.open.push(object);
            lists.open_bytes += object.bytes;
            lists.open.len() >= BATCH || lists.open_bytes >= BATCH_BYTES
        };
        if full {
            self.reclaim(heap, Effort::Batch);
        }
    }

    /// Frees retired objects whose grace period is over; gives their number. Never waits for readers.
    ///
    /// Runs `Drop` of the table's objects: the caller holds no lock, and is entitled to drop them (it
    /// works for their pool, or they have no `Drop`).
    pub(crate) fn reclaim(&self, heap: &Inner, effort: Effort) -> usize {
        let mut freed = self.reclaim_held(heap);
        match effort {
            Effort::Batch => freed += self.reclaim_shard(heap, &self.shard().retirement, effort),
            Effort::All => {
                for shard in &self.shards {
                    freed += self.reclaim_shard(heap, &shard.retirement, effort);
                }
            }
        }
        freed
    }

    fn reclaim_shard(&self, heap: &Inner, home: &Retirement, effort: Effort) -> usize {
        let Some(_busy) = Busy::claim(&home.busy) else { return 0 };
        let mut freed = 0;
        // One batch a call, as others may retire as fast as we reclaim; except that a chain of objects that
        // retire each other as they are dropped is followed to its end.
        let follow = effort == Effort::All && !self.is_plain();
        home.close_batch(heap, effort);
        // SeqCst: with the fence in `close`, either the table's end finds the batch, or we see the end.
        fence(Ordering::SeqCst);
        if self.is_closed() {
            // Nobody reads through the table any more, and nobody else would look here again.
            return self.settle_all(heap, Ready { home, objects: home.drain() });
        }
        loop {
            let ready = Ready { home, objects: home.past_grace() };
            if ready.objects.is_empty() {
                return freed;
            }
            freed += self.settle_all(heap, ready);
            if follow {
                home.close_batch(heap, effort);
            }
        }
    }

    fn settle_all(&self, heap: &Inner, mut ready: Ready<'_>) -> usize {
        let mut freed = 0;
        while let Some(object) = ready.objects.pop() {
            freed += usize::from(self.settle(heap, object));
        }
        freed
    }

    /// Frees a retired object that only pins can still see; false where one does.
    fn settle(&self, heap: &Inner, object: Retired) -> bool {
        if block::is_held(heap.store.header(object.offset)) {
            self.held.lock().push(object);
            // SeqCst: with the fence in `release_hold`, either we see the last pin gone, or its owner sees the
            // object on the list. Needed only once the pool is gone, when nobody else would look.
            fence(Ordering::SeqCst);
            if self.is_closed() {
                self.reclaim_held(heap);
            }
            return false;
        }
        self.free(heap, object);
        true
    }

    /// Drops an object and frees its block and slot, the latter two even when the drop panics.
    fn free(&self, heap: &Inner, object: Retired) {
        struct Free<'a>(&'a Slots, &'a Inner, Retired);
        impl Drop for Free<'_> {
            fn drop(&mut self) {
                let Self(slots, heap, object) = self;
                heap.store.free(object.offset);
                if object.slot != Retired::NO_SLOT {
                    // Relaxed: the word of a retired slot is ours alone.
                    let word = slots.words.get(object.slot).load(Ordering::Relaxed);
                    slots.return_slot(object.slot, Snapshot(word).generation());
                }
            }
        }
        let _free = Free(self, heap, object);
        if let Some(drop) = self.drop {
            heap.store.memory().track_write(object.offset);
            // SAFETY: the block holds an initialised object of this table, nobody else can reach it, and
            // it is dropped once: it was on one list and is on none now.
            unsafe { drop(heap.store.memory().block(object.offset).as_ptr()) };
        }
    }

    /// Frees what was pinned when its grace period ended and is not any more.
    pub(super) fn reclaim_held(&self, heap: &Inner) -> usize {
        let mut sweep = Sweep { slots: self, heap, freed: 0 };
        sweep.run();
        sweep.freed
    }

    fn is_closed(&self) -> bool {
        // Relaxed: ordered by the fences in `close`, `settle` and `release_hold`.
        self.closed.load(Ordering::Relaxed)
    }

    /// A pin of an object was let go and none is left: where the pool is gone, nobody else would drop it.
    pub(super) fn last_hold_gone(&self, heap: &Inner) {
        // SeqCst: see `settle` and `close`.
        fence(Ordering::SeqCst);
        if self.is_closed() {
            self.reclaim_held(heap);
        }
    }

    /// Ends the life of every object and forgets the table. What is pinned is dropped with its last pin.
    ///
    /// Nobody reads through this table any more, so nothing waits for a grace period.
    pub(super) fn close(&self, heap: &Inner) {
        // Relaxed: ordered by the fence.
        self.closed.store(true, Ordering::Relaxed);
        // SeqCst: with the fence in `last_hold_gone`, either a last pin sees the table closed, or `settle` below
        // sees the pin gone.
        fence(Ordering::SeqCst);
        // Its drop comes after that of `Closing`, and forgets the table whatever panics.
        let mut sweep = Sweep { slots: self, heap, freed: 0 };
        Closing { slots: self, heap, next: 0 }.run();
        sweep.run();
    }

    /// Number and bytes of retired objects that still have their blocks.
    pub(crate) fn pending(&self) -> (usize, usize) {
        let sum = |objects: &[Retired]| {
            (objects.len(), objects.iter().map(|object| object.bytes).sum::<usize>())
        };
        let mut parts = vec![sum(&self.held.lock())];
        for shard in &self.shards {
            let lists = shard.retirement.lists.lock();
            parts.extend([sum(&lists.open), sum(&lists.ready)]);
            parts.extend(lists.batches.iter().map(|batch| sum(&batch.objects)));
        }
        parts.into_iter().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    }

    /// Whether retired objects wait for grace periods, or are being reclaimed by another thread; those that
    /// are only pinned do not count.
    pub(crate) fn is_waiting(&self) -> bool {
        self.shards.iter().any(|shard| {
            // Relaxed: a hint.
            let busy = shard.retirement.busy.load(Ordering::Relaxed);
            let lists = shard.retirement.lists.lock();
            busy || !(lists.open.is_empty() && lists.ready.is_empty() && lists.batches.is_empty())
        })
    }

    /// Whether objects may be dropped by any thread: they have no `Drop`.
    pub(crate) fn is_plain(&self) -> bool {
        self.drop.is_none()
    }
}

impl Retirement {
    /// Turns the open list into a batch, where it is full or everything is wanted.
    fn close_batch(&self, heap: &Inner, effort: Effort) {
        let objects = {
            let mut lists = self.lists.lock();
            let full = lists.open.len() >= BATCH || lists.open_bytes >= BATCH_BYTES;
            if lists.open.is_empty() || !(full || effort == Effort::All) {
                return;
            }
            lists.open_bytes = 0;
            core::mem::take(&mut lists.open)
        };
        // Outside the lock: the heavy barrier may be a system call.
        let grace = Grace::start(&heap.readers);
        self.lists.lock().batches.push_back(Batch { grace, objects });
    }

    /// Takes the objects whose grace period is over.
    fn past_grace(&self) -> Vec<Retired> {
        let mut lists = self.lists.lock();
        let mut objects = core::mem::take(&mut lists.ready);
        while lists.batches.front_mut().is_some_and(|batch| batch.grace.poll()) {
            objects.extend(lists.batches.pop_front().into_iter().flat_map(|batch| batch.objects));
        }
        objects
    }

    /// Takes everything, whatever the grace periods.
    fn drain(&self) -> Vec<Retired> {
        let mut lists = self.lists.lock();
        lists.open_bytes = 0;
        let mut objects = core::mem::take(&mut lists.open);
        objects.append(&mut lists.ready);
        objects.extend(lists.batches.drain(..).flat_map(|batch| batch.objects));
        objects
    }
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
                let header = |object: &Retired| self.heap.store.header(object.offset);
                let free = |object: &Retired| !block::is_held(header(object));
                held.iter().position(free).map(|place| held.swap_remove(place))
            };
            let Some(object) = found else { return };
            self.slots.free(self.heap, object);
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
        while self.next < self.slots.used() {
            let index = self.next;
            self.next += 1;
            let word = self.slots.words.get(index);
            // Acquire: another thread may have put the object in; it is dropped here.
            let seen = Snapshot(word.load(Ordering::Acquire));
            if seen.is_vacant() {
                continue;
            }
            let handle = crate::Handle::<[u8]>::new(index, seen.generation());
            if let Some(offset) = slot::unlink(word, handle) {
                let bytes = self.slots.bytes_of(index);
                self.slots.settle(self.heap, Retired { offset, slot: index, bytes });
            }
        }
        for shard in &self.slots.shards {
            let home = &shard.retirement;
            self.slots.settle_all(self.heap, Ready { home, objects: home.drain() });
        }
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
