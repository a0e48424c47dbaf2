//! [`Freeing`]: giving back blocks that nobody can see any more, each under the lock that it is under.

use super::Store;
use crate::central::Central;
use crate::chunk;
use crate::raw::Wipe;
use crate::stripe::Stripe;
use crate::sync::{Mutex, MutexGuard, hand_over, lock_soon};

/// Blocks of the centre that are freed under one lock: a pass with a budget may wait for it.
const ROW_MAX: u32 = 16;

/// What is locked while blocks in a row are freed.
enum Held<'s> {
    Nothing,
    Stripe(usize, MutexGuard<'s, Stripe>),
    /// How many were freed since it was locked.
    Central(u32, MutexGuard<'s, Central>),
}

/// Blocks in a row that are freed.
struct Freeing<'s> {
    store: &'s Store,
    held: Held<'s>,
    /// Locks are waited for as a mover does.
    soon: bool,
}

impl Store {
    /// Frees the block at `offset`, which nobody can see any more. One stripe's lock or the centre's; both
    /// where a page becomes empty.
    pub(crate) fn free(&self, offset: u32) {
        self.free_all(core::iter::once(offset));
    }

    /// Frees blocks that nobody can see any more; each lock once for blocks in a row that are under it, that of the centre for
    /// [`ROW_MAX`] of them at most.
    pub(crate) fn free_all(&self, offsets: impl Iterator<Item = u32>) {
        Freeing { store: self, held: Held::Nothing, soon: false }.all(offsets);
    }

    /// The same for a mover, see [`lock_soon`].
    pub(crate) fn free_moved(&self, offsets: &[u32]) {
        Freeing { store: self, held: Held::Nothing, soon: true }.all(offsets.iter().copied());
    }
}

impl<'s> Freeing<'s> {
    fn all(mut self, offsets: impl Iterator<Item = u32>) {
        let wipes = !self.soon && self.store.memory().wipes(Wipe::Freed);
        for offset in offsets {
            // The block's bytes are given up: whoever gets them next writes.
            self.store.memory().track_write(offset);
            if wipes {
                // What a mover leaves it has wiped itself. Without a lock, as it may take long; nobody can see the block any
                // more, and it is ours until it is freed.
                self.held = Held::Nothing;
                self.store.wipe(Wipe::Freed, offset);
            }
            while !self.free(offset) {}
        }
    }

    /// Frees a block under its lock, which is taken where it is not held. False where its page changed hands meanwhile.
    #[inline]
    fn free(&mut self, offset: u32) -> bool {
        let Store { shared, central, .. } = self.store;
        let label = shared.pages.label(offset);
        // A block of the centre keeps its page in the centre while it is there.
        let Some(number) = label.stripe() else {
            self.free_in_central(offset);
            return true;
        };
        if !matches!(self.held, Held::Stripe(there, _) if there == number) {
            // Before the next one is taken: no thread holds two stripes, or takes one inside of the centre.
            self.held = Held::Nothing;
            self.held = Held::Stripe(number, lock(&self.store.stripes[number], self.soon));
        }
        let Held::Stripe(_, stripe) = &mut self.held else { unreachable!("a stripe is locked") };
        // As in `with_block`.
        let same = shared.pages.label(offset) == label;
        if same && let Some(page) = stripe.free(shared, label, offset) {
            lock(central, self.soon).release(&shared.memory, page);
        }
        same
    }

    fn free_in_central(&mut self, offset: u32) {
        if !matches!(self.held, Held::Central(..)) {
            self.held = Held::Nothing;
            self.held = Held::Central(0, lock(&self.store.central, self.soon));
        }
        let Held::Central(row, central) = &mut self.held else { unreachable!("it is locked") };
        let memory = self.store.memory();
        central.release(memory, chunk::of_block(memory, offset));
        *row += 1;
        if *row == ROW_MAX
            && let Held::Central(_, central) = core::mem::replace(&mut self.held, Held::Nothing)
        {
            hand_over(central);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>, soon: bool) -> MutexGuard<'_, T> {
    if soon { lock_soon(mutex) } else { mutex.lock() }
}
