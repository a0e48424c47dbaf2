//! `Heap::verify`: walks the whole heap and checks every invariant.

use crate::block::Owner;
use crate::chunk::Kind;
use crate::error::VerifyError;
use crate::heap::{Heap, Inner};
use crate::slot::Snapshot;
use crate::sync::atomic::Ordering;
use crate::table::Slots;

impl Heap {
    /// Walks the whole heap and checks every invariant: chunks and free runs tile the buffer, free
    /// neighbours are joined, tags, counts and the policy's index agree, every slab's cells add up, every
    /// live slot names a block whose header names that slot.
    ///
    /// Waits for a running defragmentation; may run beside everything else. O(blocks + slots), one lock at a
    /// time.
    ///
    /// # Errors
    /// The first thing that is wrong, in words. That is a bug in this crate, or memory that unsafe code
    /// elsewhere has overwritten.
    pub fn verify(&self) -> Result<(), VerifyError> {
        verify(self.inner()).map_err(VerifyError)
    }
}

fn verify(inner: &Inner) -> Result<(), String> {
    // The mover takes granules out of the centre's walk for a moment.
    let _mover = inner.mover.lock();
    for number in 0..inner.store.stripes() {
        inner.store.stripe(number).check(&inner.store.shared)?;
    }
    let chunks = crate::map::chunks(inner)?;
    for (run, kind) in &chunks {
        let page = inner.store.shared.pages.page();
        if *kind != Kind::Block && (run.len != page || run.start % page != 0) {
            return Err(format!("the {kind:?} {run:?} is not one page"));
        }
    }
    for table in inner.tables.all() {
        verify_slots(inner, &table)?;
    }
    Ok(())
}

/// Every live slot names a block that is in use and names the slot.
fn verify_slots(inner: &Inner, table: &Slots) -> Result<(), String> {
    let (lo, hi) = inner.store.memory().bounds();
    for index in 0..table.used() {
        let Some(word) = table.word_at(index) else { break };
        // Acquire: as in `TableGuard::locate`.
        let seen = Snapshot(word.load(Ordering::Acquire));
        if !seen.is_occupied() {
            continue;
        }
        let offset = seen.offset();
        if offset <= lo || offset >= hi {
            return Err(format!("slot {index} names granule {offset}, outside of the buffer"));
        }
        let stranger = inner.store.with_lock_of(offset, || {
            // A block is unlinked before it is freed, and it is freed under this lock: while its slot
            // still names it, the header is one.
            let now = Snapshot(word.load(Ordering::Acquire));
            if !now.is_occupied() || now.offset() != offset {
                return None;
            }
            // Relaxed: the owner was written before the slot word, which was acquired.
            let owner = Owner::of(inner.store.header(offset).load(Ordering::Relaxed));
            (owner != Some(table.owner(index))).then_some(owner)
        });
        if let Some(owner) = stranger {
            return Err(format!(
                "slot {index} names the block at granule {offset}, which belongs to {owner:?}"
            ));
        }
    }
    Ok(())
}
