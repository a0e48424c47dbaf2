//! The objects that live in raw blocks.

use std::alloc::Layout;

use allocator_core::{AccessError, Handle, Heap, ResizeError};
use examples::trace::{Op, Record};

use crate::cell::Cell;
use crate::content;
use crate::store::Refused;
use crate::verdict::{Checks, Verdict};

/// Makes a block and writes its contents; the bits of the handle.
pub(crate) fn allocate(
    heap: &Heap,
    record: &Record,
    align_log2: u8,
    checks: &mut Checks,
) -> Result<u64, Refused> {
    let id = record.object;
    let size = usize::try_from(record.size).map_err(|_| Refused::Impossible)?;
    let layout = Layout::from_size_align(size, 1 << align_log2).map_err(|_| Refused::Impossible)?;
    let zeroed = record.op == Op::AllocateZeroed;
    let made = if zeroed { heap.allocate_zeroed(layout) } else { heap.allocate(layout) };
    let handle = made.map_err(Refused::Heap)?;
    match heap.write(handle) {
        Ok(mut block) => {
            checks.expect(block.len() == size, || format!("object {id}: a block of another size"));
            if zeroed {
                checks.expect(content::is_zero(&block), || format!("object {id}: not zeroed"));
            }
            content::fill(&mut block, content::seed(id, 0));
        }
        Err(_) => checks.expect(false, || format!("object {id}: a new block is refused")),
    }
    Ok(handle.to_bits())
}

/// Gives the block another size, checks what was kept, and writes new contents. False when the
/// block could not be resized though there was room, which is counted as a mismatch.
pub(crate) fn resize(
    heap: &Heap,
    bits: u64,
    record: &Record,
    cell: &Cell,
    checks: &mut Checks,
) -> Result<bool, Refused> {
    let id = record.object;
    let size = usize::try_from(record.size).map_err(|_| Refused::Impossible)?;
    let (Some(handle), Some(version)) = (Handle::from_bits(bits), cell.version()) else {
        checks.expect(false, || format!("object {id}: no handle"));
        return Ok(false);
    };
    cell.change();
    match heap.resize(handle, size) {
        Ok(()) => {}
        Err(ResizeError::Alloc(error)) => {
            cell.unchanged();
            return Err(Refused::Heap(error));
        }
        Err(error) => {
            cell.unchanged();
            checks.expect(false, || format!("object {id} cannot be resized: {error}"));
            return Ok(false);
        }
    }
    match heap.write(handle) {
        Ok(mut block) => {
            let kept = size.min(cell.size() as usize);
            let right = block.len() == size
                && content::check(&block[..kept], content::seed(id, version))
                && content::is_zero(&block[kept..]);
            checks.expect(right, || format!("object {id}: the resize lost contents"));
            content::fill(&mut block, content::seed(id, version + 1));
        }
        Err(_) => checks.expect(false, || format!("object {id}: a live block is refused")),
    }
    cell.changed(record.size);
    Ok(true)
}

/// Reads the whole block.
pub(crate) fn check(heap: &Heap, bits: u64, id: u32, cell: &Cell, align_log2: u8) -> Verdict {
    let Some(handle) = Handle::from_bits(bits) else { return Verdict::Stale };
    let block = match heap.read(handle) {
        Ok(block) => block,
        Err(AccessError::Busy) => return Verdict::Changing,
        Err(_) => return Verdict::Stale,
    };
    // While the block is held nobody can resize or write it, so the version and the size that
    // are seen now belong to its contents.
    let Some(version) = cell.version() else { return Verdict::Changing };
    if block.len() as u64 != cell.size() {
        Verdict::Wrong("the block has another size")
    } else if !block.as_ptr().addr().is_multiple_of(1 << align_log2) {
        Verdict::Wrong("the block is not aligned")
    } else if !content::check(&block, content::seed(id, version)) {
        Verdict::Wrong("the contents are wrong")
    } else {
        Verdict::Right
    }
}

/// Whether the handle leads to a block.
pub(crate) fn contains(heap: &Heap, bits: u64) -> bool {
    Handle::from_bits(bits).is_some_and(|handle| heap.contains(handle))
}

/// Gives the block back; false when the handle is stale.
pub(crate) fn remove(heap: &Heap, bits: u64) -> bool {
    Handle::from_bits(bits).is_some_and(|handle| heap.deallocate(handle).is_ok())
}
