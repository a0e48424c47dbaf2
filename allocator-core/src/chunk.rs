//! Chunks: the used pieces of the heap's centre and of segments, each behind a header granule.
//!
//! ```text
//!  0                           8                16
//! +--------+------+-----------+-----------------+----------
//! | length | kind | slack     | header word     | payload ...     length in granules, header included
//! +--------+------+-----------+-----------------+----------
//!   32 bits  8      24
//! ```
//!
//! Chunks and free runs tile the centre without gaps, so the heap can be walked from chunk to chunk
//! (Lea's boundary tags). A block's offset names its payload, the granule behind the header. *Slack*
//! is what the payload has more than the raw bytes in it need. The first word is written under the lock of the space that
//! the chunk is cut from, by who may change the block; it is an atomic, so that the size of raw bytes can be asked for at any
//! time. The header word is one too, see `block.rs`.

use crate::block::Owner;
use crate::placement::Run;
use crate::raw::{GRANULE, Memory};
use crate::sync::atomic::Ordering;

/// Granules of the header.
pub(crate) const HEADER: u32 = 1;

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
    fn of(bits: u8) -> Option<Self> {
        [Self::Block, Self::Slab, Self::Segment].into_iter().find(|kind| *kind as u8 == bits)
    }
}

/// The first word of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Extent(u64);

const KIND_SHIFT: u32 = 32;
const SLACK_SHIFT: u32 = 40;

impl Extent {
    fn new(len: u32, kind: Kind, slack: usize) -> Self {
        debug_assert!(slack <= GRANULE, "{slack} bytes too many in a chunk of {len}");
        Self(u64::from(len) | (kind as u64) << KIND_SHIFT | (slack as u64) << SLACK_SHIFT)
    }

    fn len(self) -> u32 {
        self.0 as u32
    }

    fn kind(self) -> Option<Kind> {
        Kind::of((self.0 >> KIND_SHIFT) as u8)
    }

    fn slack(self) -> usize {
        (self.0 >> SLACK_SHIFT) as usize
    }
}

fn extent(memory: &Memory, start: u32) -> Extent {
    Extent(memory.extent(start))
}

/// Writes the header of a chunk of `kind`.
pub(crate) fn init(memory: &Memory, chunk: Run, kind: Kind) {
    memory.new_extent(chunk.start, Extent::new(chunk.len, kind, 0).0);
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

/// Gives the used chunk of a block another length, and says how many bytes of the payload were asked for. The caller may
/// change the block, and has the lock of its space.
pub(crate) fn set_block(memory: &Memory, chunk: Run, bytes: usize) {
    let slack = (chunk.len - HEADER) as usize * GRANULE - bytes;
    memory.set_extent(chunk.start, Extent::new(chunk.len, Kind::Block, slack).0);
}

/// The used chunk at `start`, and its kind; `None` where the header makes no sense.
pub(crate) fn at(memory: &Memory, start: u32) -> Option<(Run, Kind)> {
    let extent = extent(memory, start);
    Some((Run { start, len: extent.len() }, extent.kind()?))
}

/// Whether the block of a chunk has an owner. The caller holds the lock of its space.
fn is_owned(memory: &Memory, chunk: Run) -> bool {
    // Relaxed: owners of chunks change under the lock only.
    let header = memory.header(header_index(chunk.start + HEADER)).load(Ordering::Relaxed);
    chunk.len > HEADER && Owner::of(header).is_some()
}

/// The chunk of the block at `offset`.
pub(crate) fn of_block(memory: &Memory, offset: u32) -> Run {
    let start = offset - HEADER;
    let extent = extent(memory, start);
    debug_assert_eq!(extent.kind(), Some(Kind::Block), "no block at {offset}");
    Run { start, len: extent.len() }
}

/// Bytes of the payload of the block at `offset`, without what is too much for the raw bytes in it. At any time while
/// the block is in use.
pub(crate) fn bytes(memory: &Memory, offset: u32) -> usize {
    let extent = Extent(memory.extent_now(offset - HEADER));
    (extent.len() - HEADER) as usize * GRANULE - extent.slack()
}

/// Bytes that the block at `offset` has room for. As [`bytes`].
pub(crate) fn room(memory: &Memory, offset: u32) -> usize {
    (Extent(memory.extent_now(offset - HEADER)).len() - HEADER) as usize * GRANULE
}

/// Says how many bytes of the payload of the block at `offset` are those that were asked for. The caller may change
/// the block.
pub(crate) fn set_bytes(memory: &Memory, offset: u32, bytes: usize) {
    let start = offset - HEADER;
    let len = Extent(memory.extent_now(start)).len();
    let slack = (len - HEADER) as usize * GRANULE - bytes;
    memory.set_extent_now(start, Extent::new(len, Kind::Block, slack).0);
}

/// Where the header word of the general block at `offset` is, in words of 8 bytes.
pub(crate) fn header_index(offset: u32) -> u64 {
    u64::from(offset) * 2 - 1
}

/// Used chunks and the runs `free`, which are in address order, tile `all`: neither is inside of the other. Tells `see` of each
/// chunk. O(chunks and runs).
pub(crate) fn check_tiling(
    memory: &Memory,
    all: Run,
    free: &[Run],
    mut see: impl FnMut(Run, Kind) -> Result<(), String>,
) -> Result<(), String> {
    let mut free = free.iter().peekable();
    let mut at = all.start;
    while at < all.end() {
        if let Some(run) = free.next_if(|run| run.start == at) {
            at = run.end();
            continue;
        }
        let (chunk, kind) = self::at(memory, at)
            .filter(|(chunk, _)| chunk.len > 0 && chunk.len <= all.end() - at)
            .ok_or_else(|| format!("neither a chunk nor a free run is at granule {at}"))?;
        if kind == Kind::Block && !is_owned(memory, chunk) {
            return Err(format!("the block of {chunk:?} belongs to no table"));
        }
        see(chunk, kind)?;
        at = chunk.end();
        if let Some(run) = free.next_if(|run| run.start < at) {
            return Err(format!("{run:?} is free, inside the {kind:?} {chunk:?}"));
        }
    }
    match free.next() {
        Some(run) => Err(format!("{run:?} is free, behind the end at granule {}", all.end())),
        None => Ok(()),
    }
}
