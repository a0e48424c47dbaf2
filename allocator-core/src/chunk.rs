//! Chunks: the used pieces of the heap's centre and of segments, each behind a header granule.
//!
//! ```text
//!  0        4        8                16
//! +--------+--------+-----------------+----------
//! | length | kind   | header word     | payload ...     length in granules, header included
//! +--------+--------+-----------------+----------
//! ```
//!
//! Chunks and free runs tile the centre without gaps, so the heap can be walked from chunk to chunk
//! (Lea's boundary tags). A block's offset names its payload, the granule behind the header. Length
//! and kind are touched under the lock of the space that the chunk is cut from; the header word is an
//! atomic, see `block.rs`.

use crate::block::Owner;
use crate::placement::Run;
use crate::raw::Memory;
use crate::sync::atomic::Ordering;

/// Granules of the header.
pub(crate) const HEADER: u32 = 1;

const LENGTH: usize = 0;
const KIND: usize = 1;

/// What a chunk is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// One block.
    Block = 0x1b,
    /// A page of cells of one size class.
    Slab = 0x2b,
    /// A page that a stripe cuts blocks from.
    Segment = 0x3b,
}

impl Kind {
    fn of(word: u32) -> Option<Self> {
        [Self::Block, Self::Slab, Self::Segment].into_iter().find(|kind| *kind as u32 == word)
    }
}

/// Writes the header of a chunk of `kind`.
pub(crate) fn init(memory: &Memory, chunk: Run, kind: Kind) {
    set_len(memory, chunk.start, chunk.len);
    memory.set_word(chunk.start, KIND, kind as u32);
}

/// Writes the header of a chunk that holds one block; gives the block's offset.
pub(crate) fn init_block(memory: &Memory, chunk: Run, owner: Owner) -> u32 {
    init(memory, chunk, Kind::Block);
    let offset = chunk.start + HEADER;
    // Relaxed: published with the offset, by the Release of the slot word; the mover reads it under the
    // lock that the caller holds.
    memory.new_header(header_index(offset)).store(owner.header(), Ordering::Relaxed);
    offset
}

/// Changes the length of a used chunk.
pub(crate) fn set_len(memory: &Memory, start: u32, len: u32) {
    memory.set_word(start, LENGTH, len);
}

/// The used chunk at `start`, and its kind; `None` where the header makes no sense.
pub(crate) fn at(memory: &Memory, start: u32) -> Option<(Run, Kind)> {
    let kind = Kind::of(memory.word(start, KIND))?;
    Some((Run { start, len: memory.word(start, LENGTH) }, kind))
}

/// The chunk of the block at `offset`.
pub(crate) fn of_block(memory: &Memory, offset: u32) -> Run {
    let start = offset - HEADER;
    debug_assert_eq!(memory.word(start, KIND), Kind::Block as u32, "no block at {offset}");
    Run { start, len: memory.word(start, LENGTH) }
}

/// Where the header word of the general block at `offset` is, in words of 8 bytes.
pub(crate) fn header_index(offset: u32) -> u64 {
    u64::from(offset) * 2 - 1
}
