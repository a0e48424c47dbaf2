//! `Heap::verify`: walks the whole heap and checks every invariant.

use crate::block::Owner;
use crate::central::Central;
use crate::chunk::{self, Kind};
use crate::error::VerifyError;
use crate::heap::{Heap, Inner};
use crate::pages::Label;
use crate::placement::Run;
use crate::slot::Snapshot;
use crate::sync::atomic::Ordering;
use crate::table::Slots;

impl Heap {
    /// Walks the whole heap and checks every invariant: chunks and free runs tile the buffer, free
    /// neighbours are joined, tags, counts and the policy's index agree, every slab's cells add up, every
    /// live slot names a block whose header names that slot.
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
        let pages = verify_chunks(inner, &central)?;
        let held: usize = stripes.iter().map(|stripe| stripe.pages()).sum();
        if held != pages {
            return Err(format!("stripes hold {held} pages, the centre handed out {pages}"));
        }
    }
    for table in inner.tables.all() {
        verify_slots(inner, &table)?;
    }
    Ok(())
}

/// Chunks and free runs tile the centre; the number of chunks that are pages of stripes.
fn verify_chunks(inner: &Inner, central: &Central) -> Result<usize, String> {
    let memory = inner.store.memory();
    let page = inner.store.shared.pages.page();
    let (lo, hi) = central.bounds();
    let mut free = central.space.check(memory, lo, hi)?.into_iter().peekable();
    let (mut at, mut pages) = (lo, 0);
    while at < hi {
        if let Some(run) = free.next_if(|run| run.start == at) {
            at = run.end();
            continue;
        }
        let inside = |chunk: &Run| chunk.len > 0 && chunk.len <= hi - at;
        let (chunk, kind) = chunk::at(memory, at)
            .filter(|(chunk, _)| inside(chunk))
            .ok_or_else(|| format!("neither a chunk nor a free run is at granule {at}"))?;
        let label = inner.store.shared.pages.label(at);
        let fits = match kind {
            Kind::Block => label == Label::Central,
            Kind::Slab => matches!(label, Label::Slab { .. }),
            Kind::Segment => matches!(label, Label::Segment { .. }),
        };
        if !fits {
            return Err(format!("the page of the {kind:?} at granule {at} is labelled {label:?}"));
        }
        if kind != Kind::Block {
            pages += 1;
            if chunk.len != page || at % page != 0 {
                return Err(format!("the {kind:?} {chunk:?} is not one page"));
            }
        }
        at = chunk.end();
    }
    Ok(pages)
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
