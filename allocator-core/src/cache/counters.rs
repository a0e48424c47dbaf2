//! [`Counters`]: how much is in a cache, for whoever asks, and whether anything in it has changed.

use crate::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use core::hash::{Hash, Hasher};

/// Written inside the cache only, read by anybody at any time.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Pairs on the open list.
    pub(super) open: AtomicUsize,
    /// Bytes of these, where each has its own size.
    pub(super) open_bytes: AtomicUsize,
    /// Retired objects that are not on the open list, and their bytes.
    pub(super) closed: AtomicUsize,
    closed_bytes: AtomicUsize,
    /// Pairs in the magazine of a table whose objects are of one size.
    pub(super) magazine: AtomicUsize,
    /// Pairs in the magazines of the table of raw blocks.
    pub(super) by_class: AtomicUsize,
    /// One more with each change but those by which a pair is taken or an object retired the short way: these change a length, each
    /// in one direction only.
    turns: AtomicUsize,
    /// Objects put in minus objects ended through this cache, plus what is in magazines and on the open list: so
    /// that taking a pair and retiring an object each change one length and nothing else.
    balance: AtomicIsize,
}

// Relaxed throughout: whoever writes has the cache to itself, and is ordered by its lock; others read a hint, or
// are ordered by what told them of the objects that they count.
#[inline(always)]
pub(super) fn get(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::Relaxed)
}

#[inline(always)]
pub(super) fn set(counter: &AtomicUsize, value: usize) {
    // Relaxed: as in `get`.
    counter.store(value, Ordering::Relaxed);
}

/// What anybody may see of a counter.
fn peek(counter: &AtomicUsize) -> usize {
    // Acquire: pairs with the Release in `set_taken`.
    counter.load(Ordering::Acquire)
}

/// Something was taken out, and is in hand until it arrives.
pub(super) fn set_taken(counter: &AtomicUsize, value: usize) {
    // Release: whoever finds it gone is told that it is in hand, or was. Weaker, it could be missed, and room refused.
    counter.store(value, Ordering::Release);
}

impl Counters {
    /// Objects put in minus objects ended; only the sum over caches means anything.
    pub(super) fn live(&self) -> isize {
        // Relaxed: as in `get`.
        self.balance.load(Ordering::Relaxed) - (self.cached() + get(&self.open)) as isize
    }

    pub(super) fn retired(&self) -> usize {
        peek(&self.open) + peek(&self.closed)
    }

    /// Their bytes; `object` where all have as many.
    pub(super) fn retired_bytes(&self, object: Option<usize>) -> usize {
        let open =
            object.map_or_else(|| peek(&self.open_bytes), |object| object * peek(&self.open));
        open + peek(&self.closed_bytes)
    }

    pub(super) fn cached(&self) -> usize {
        peek(&self.magazine) + peek(&self.by_class)
    }

    /// Tells `version` words that are others as soon as anything in the cache has changed.
    pub(super) fn tell_version(&self, version: &mut impl Hasher) {
        let words = [&self.turns, &self.open, &self.magazine, &self.by_class].map(peek);
        words.hash(version);
    }

    /// Something was changed another way than the short one.
    fn turn(&self) {
        set(&self.turns, get(&self.turns).wrapping_add(1));
    }

    /// See `balance`.
    pub(super) fn add_balance(&self, change: isize) {
        self.turn();
        // Relaxed: as in `get`.
        let balance = self.balance.load(Ordering::Relaxed).wrapping_add(change);
        self.balance.store(balance, Ordering::Relaxed);
    }

    pub(super) fn add_closed(&self, more: usize, bytes: usize) {
        set(&self.closed, get(&self.closed) + more);
        set(&self.closed_bytes, get(&self.closed_bytes) + bytes);
        self.turn();
    }

    pub(super) fn sub_closed(&self, fewer: usize, bytes: usize) {
        if fewer > 0 {
            set(&self.closed_bytes, get(&self.closed_bytes) - bytes);
            set_taken(&self.closed, get(&self.closed) - fewer);
            self.turn();
        }
    }
}
