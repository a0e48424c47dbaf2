//! `Heap::verify`: walks the whole heap and checks every invariant.

use crate::block::Owner;
use crate::central::Central;
use crate::chunk::{self, Kind};
use crate::error::VerifyError;
use crate::heap::{Heap, Inner};
use crate::placement::Run;
use crate::slot::Snapshot;
use crate::stripe::Shared;
use crate::sync::atomic::Ordering;
use crate::table::Slots;

#[cfg(all(test, not(loom)))]
mod tests;

impl Heap {
    /// Walks the whole heap and checks every invariant: chunks and free runs tile the buffer and each segment, and lie
    /// nowhere else; free neighbours are joined, tags, counts and the policy's index agree, every slab's cells add up, every
    /// live slot names a block that begins where the slot says, has room for the object, and names that slot.
    ///
    /// Waits for a running defragmentation; may run beside everything else. O(blocks + slots), the blocks
    /// under all locks of the stripes and the centre.
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
    {
        let (stripes, central) = inner.store.lock_all();
        for stripe in &stripes {
            stripe.check(&inner.store.shared)?;
        }
        let pages = verify_central(inner, &central)?;
        let held: usize = stripes.iter().map(|stripe| stripe.pages()).sum();
        if held != pages {
            return Err(format!("stripes hold {held} pages, the centre handed out {pages}"));
        }
        let labelled = inner.store.shared.pages.held();
        if labelled != pages {
            return Err(format!("{labelled} pages are labelled as those of stripes, {pages} are"));
        }
    }
    for table in inner.tables.all() {
        verify_slots(inner, &table)?;
    }
    Ok(())
}

/// Chunks and free runs tile the centre; the number of chunks that are pages of stripes.
fn verify_central(inner: &Inner, central: &Central) -> Result<usize, String> {
    let Shared { memory, pages, .. } = &inner.store.shared;
    let (lo, hi) = central.bounds();
    let free = central.space.check(memory, lo, hi)?;
    let mut held = 0;
    chunk::check_tiling(memory, Run { start: lo, len: hi - lo }, &free, |chunk, kind| {
        let label = pages.label(chunk.start);
        if label.kind() != kind {
            return Err(format!("the page of the {kind:?} {chunk:?} is labelled {label:?}"));
        }
        if kind != Kind::Block {
            held += 1;
            if chunk.len != pages.page() || pages.start(chunk.start) != chunk.start {
                return Err(format!("the {kind:?} {chunk:?} is not one page"));
            }
        }
        Ok(())
    })?;
    Ok(held)
}

/// Every live slot names a block that is in use, names the slot, and has room for what is in it.
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
        let found = inner.store.with_lock_of(offset, || {
            // A block is unlinked before it is freed, and it is freed under this lock: while its slot
            // still names it, the header is one.
            let now = Snapshot(word.load(Ordering::Acquire));
            if !now.is_occupied() || now.offset() != offset {
                return Ok(());
            }
            verify_block(inner, table, index, offset)
        });
        found.map_err(|error| {
            format!("slot {index} of table {} names granule {offset}: {error}", table.id())
        })?;
    }
    Ok(())
}

/// What a slot names, under the lock that it would be freed under.
fn verify_block(inner: &Inner, table: &Slots, index: u32, offset: u32) -> Result<(), String> {
    if !inner.store.is_block(offset) {
        return Err("no block begins there".into());
    }
    let head = inner.store.head(offset);
    // Relaxed: the owner was written before the slot word, which was acquired.
    let owner = Owner::of(head.header.load(Ordering::Relaxed));
    if owner != Some(table.owner(index)) {
        return Err(format!("the block there belongs to {owner:?}"));
    }
    // Sizes of raw bytes change while they are held, without a lock.
    let (room, bytes) = (head.room(), table.bytes());
    if room < bytes || !offset.is_multiple_of(table.align(None)) {
        return Err(format!(
            "the block there has room for {room} bytes, which is no place for {bytes}"
        ));
    }
    Ok(())
}
