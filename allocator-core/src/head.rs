//! [`Head`]: the header word of a block in use, wherever that is kept, and the size of raw bytes.
//!
//! Raw bytes say how many they are in two places, so that no block pays for it: those in a cell of a slab by what the
//! cell has too much (`block.rs`), those with a chunk of their own by the chunk (`chunk.rs`).

use crate::block::{self, Shape};
use crate::chunk;
use crate::pages::Label;
use crate::raw::Memory;
use crate::raw::prefetch::fetch;
use crate::store::Store;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The head of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'s> {
    pub(crate) header: &'s AtomicU64,
    memory: &'s Memory,
    offset: u32,
    /// Bytes that the cell of a slab holds; `None` for a block with a chunk of its own.
    cell: Option<usize>,
}

/// Size and alignment of raw bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Size {
    pub(crate) bytes: usize,
    /// In bytes.
    pub(crate) align: usize,
    /// The bytes are to be read as zeroes, but were not written yet.
    pub(crate) zeroes_due: bool,
}

impl Store {
    /// The head of the block at `offset`.
    ///
    /// The block must not go away meanwhile: the caller is inside a read-side section and found it through
    /// its slot, holds it, or owns it.
    // Always, so that who asks for one thing pays for nothing else.
    #[inline(always)]
    pub(crate) fn head(&self, offset: u32) -> Head<'_> {
        let memory = self.memory();
        let (index, cell) = match self.shared.pages.label(offset) {
            Label::Slab { class, .. } => {
                let geometry = self.shared.classes.geometry(usize::from(class));
                let page = self.shared.pages.start(offset);
                (geometry.header_of(page, offset), Some(geometry.room))
            }
            Label::Central | Label::Segment { .. } => (chunk::header_index(offset), None),
        };
        Head { header: memory.header(index), memory, offset, cell }
    }

    /// Its header word.
    #[inline(always)]
    pub(crate) fn header(&self, offset: u32) -> &AtomicU64 {
        self.head(offset).header
    }
}

impl Head<'_> {
    /// Begins to load the header word into the cache.
    #[inline]
    pub(crate) fn prefetch(&self) {
        fetch(core::ptr::from_ref(self.header).cast());
    }

    /// Whether the block is in a cell of a slab.
    #[inline]
    pub(crate) fn is_cell(&self) -> bool {
        self.cell.is_some()
    }

    /// Bytes that the block has room for. Does not look at the header word, which may be a cache miss.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.cell.unwrap_or_else(|| chunk::room(self.memory, self.offset))
    }

    /// The size of the raw bytes; `None` for an object of a typed table. One moment's, unless the caller holds the block
    /// or has locked its slot.
    pub(crate) fn size(&self) -> Option<Size> {
        // Acquire: pairs with the Release in `block::set_shape`.
        let shape = Shape::of(self.header.load(Ordering::Acquire))?;
        let bytes = match self.cell {
            Some(room) => room - shape.slack(),
            None => chunk::bytes(self.memory, self.offset),
        };
        Some(Size { bytes, align: shape.align(), zeroes_due: shape.are_zeroes_due() })
    }

    /// Says what the size of the raw bytes is, which have room in the block. The caller may change the block, as
    /// [`block::set_shape`] says.
    #[inline(always)]
    pub(crate) fn set_size(&self, size: Size) {
        let slack = match self.cell {
            Some(room) => room - size.bytes,
            None => {
                chunk::set_bytes(self.memory, self.offset, size.bytes);
                0
            }
        };
        block::set_shape(self.header, Shape::new(size.align, slack, size.zeroes_due));
    }
}
