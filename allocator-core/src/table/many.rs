//! Help for batches: what is needed soon is brought into the cache meanwhile, in which order objects lie, and
//! the removal of what was looked at.
//!
//! A look-up by a handle at random misses twice: at the slot, then at the block that it names. Who knows
//! handles ahead asks for the slots of some, later for the blocks of these, and looks them up after that,
//! so that the misses of many overlap.

use super::{Slots, Table, TableGuard};
use crate::handle::Handle;
use crate::raw::GRANULE;
use crate::raw::prefetch::{ENABLED, fetch};
use crate::slot::{self, Snapshot};
use core::ptr::NonNull;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Lines of a block that are asked for; what is read in order the hardware fetches by itself.
const LINES: usize = 4;

impl Slots {
    /// Begins to load the word of a slot into the cache.
    pub(crate) fn prefetch(&self, slot: u32) {
        if ENABLED && let Some(word) = self.word_at(slot) {
            fetch(core::ptr::from_ref(word).cast());
        }
    }
}

impl Table {
    /// Begins to load slot `index` into the cache, for a call on it that follows some hundred instructions
    /// later. A hint: changes nothing, never waits, and any index will do. Does nothing on other
    /// processors than x86-64.
    #[inline(always)]
    pub fn prefetch_slot(&self, index: u32) {
        if ENABLED && index < self.view.limit {
            fetch(self.view.words.wrapping_add(index as usize).cast());
        }
    }

    /// Begins to load the first `bytes` bytes, 256 at most, of the object in slot `index`. As
    /// [`prefetch_slot`](Self::prefetch_slot), which should come some time before: the slot is read here.
    #[inline(always)]
    pub fn prefetch_block(&self, index: u32, bytes: usize) {
        if !ENABLED {
            return;
        }
        // The object may go or move before it is looked up: nothing is accessed through this.
        let Some(offset) = self.offset_hint(index) else { return };
        let block = self.view.base.wrapping_add(offset as usize * GRANULE);
        let bytes = bytes.min(LINE * LINES);
        for at in (0..bytes).step_by(LINE) {
            fetch(block.wrapping_add(at));
        }
        // Where the block does not begin with a line, it ends in one more.
        fetch(block.wrapping_add(bytes.saturating_sub(1)));
    }

    /// Where the object of slot `index` was a moment ago, as a number that grows with the address; `None` for a
    /// slot without one. Good for putting objects in the order of their addresses, and nothing else:
    /// needs no section, cancels no move, waits for none. O(1).
    #[inline(always)]
    pub fn offset_hint(&self, index: u32) -> Option<u32> {
        let seen = Snapshot(self.load(self.view, index)?);
        (!seen.is_vacant()).then(|| seen.offset())
    }
}

impl TableGuard<'_> {
    /// As [`Table::retire`], for an object that was looked at: it is retired only while it is still the one at
    /// `found`, where [`locate`](Self::locate) of this guard found it. False when the handle is stale
    /// or names a replacement by now, and for any other address.
    pub fn retire_found<T: ?Sized>(&self, handle: Handle<T>, found: NonNull<u8>) -> bool {
        let (_, slots) = self.table.parts();
        let base = self.view.base;
        let is_found = |offset| base.wrapping_add(offset as usize * GRANULE) == found.as_ptr();
        // No other object comes to this place while this section is open, so an equal place is the same object.
        let unlinked = slots.word(handle).and_then(|word| slot::unlink_if(word, handle, is_found));
        let Some(word) = unlinked else { return false };
        self.table.retire_unlinked(handle.index(), word);
        true
    }
}
