//! What is filled until it has no room: our heap, and allocators that are given a region of the same size.

use crate::contestants::{MutexRlsf, MutexTalc, Resizing};
use allocator_core::{AllocError, AllocErrorKind, Handle, Heap, ResizeError};
use anyhow::{Context, Result, ensure};
use std::alloc::Layout;
use std::ptr::NonNull;

/// What was refused for want of room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Bytes of the block.
    pub size: usize,
}

/// An allocator over a region of a fixed size. Blocks are of one byte at least, and have no alignment.
pub trait Arena {
    /// What a block is found by.
    type Key: Copy;

    /// A block of `size` bytes, where there is room.
    ///
    /// # Errors
    /// Anything but that there is no room.
    fn allocate(&mut self, size: usize) -> Result<Result<Self::Key, Refused>>;

    /// Ends a block.
    ///
    /// # Errors
    /// It is not there.
    fn deallocate(&mut self, key: Self::Key) -> Result<()>;

    /// Gives a block another size, where there is room; else it stays as it is.
    ///
    /// # Errors
    /// Anything but that there is no room.
    fn resize(&mut self, key: Self::Key, size: usize) -> Result<Result<(), Refused>>;

    /// Writes a byte to both ends of a block.
    ///
    /// # Errors
    /// It is not there, or not of this size.
    fn mark(&mut self, key: Self::Key, size: usize, byte: u8) -> Result<()>;

    /// The bytes at both ends, which were marked before.
    ///
    /// # Errors
    /// It is not there.
    fn marks(&self, key: Self::Key) -> Result<[u8; 2]>;
}

fn refused(error: AllocError) -> Result<Refused> {
    if error.kind == AllocErrorKind::OutOfMemory {
        return Ok(Refused { size: error.requested });
    }
    Err(error.into())
}

impl Arena for Heap {
    type Key = Handle;

    fn allocate(&mut self, size: usize) -> Result<Result<Handle, Refused>> {
        Ok(match Heap::allocate(self, Layout::from_size_align(size, 1)?) {
            Ok(handle) => Ok(handle),
            Err(error) => Err(refused(error)?),
        })
    }

    fn deallocate(&mut self, key: Handle) -> Result<()> {
        Ok(Heap::deallocate(self, key)?)
    }

    fn resize(&mut self, key: Handle, size: usize) -> Result<Result<(), Refused>> {
        Ok(match Heap::resize(self, key, size) {
            Ok(()) => Ok(()),
            Err(ResizeError::Alloc(error)) => Err(refused(error)?),
            Err(error) => return Err(error.into()),
        })
    }

    fn mark(&mut self, key: Handle, size: usize, byte: u8) -> Result<()> {
        let mut block = self.write(key)?;
        ensure!(block.len() == size, "a block of {size} bytes has {}", block.len());
        block[0] = byte;
        block[size - 1] = byte;
        Ok(())
    }

    fn marks(&self, key: Handle) -> Result<[u8; 2]> {
        let block = self.read(key)?;
        let ends = block.first().copied().zip(block.last().copied());
        ends.map(<[u8; 2]>::from).context("a block has no bytes")
    }
}

/// An allocator that hands out pointers, and who keeps them.
#[derive(Debug)]
pub struct PointerArena<A> {
    allocator: A,
    /// The blocks, as they were asked for; `None` for those that ended.
    blocks: Vec<Option<(NonNull<u8>, Layout)>>,
}

impl<A: Resizing> PointerArena<A> {
    /// With a region of so many bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { allocator: A::with_room(capacity), blocks: Vec::new() }
    }

    fn block(&self, key: usize) -> Result<(NonNull<u8>, Layout)> {
        self.blocks.get(key).copied().flatten().context("the block is not there")
    }

    /// Where the first and the last byte of a block are.
    fn ends(&self, key: usize) -> Result<[NonNull<u8>; 2]> {
        let (block, layout) = self.block(key)?;
        // SAFETY: inside a block of ours.
        let last = unsafe { block.add(layout.size() - 1) };
        Ok([block, last])
    }
}

impl<A: Resizing> Arena for PointerArena<A> {
    type Key = usize;

    fn allocate(&mut self, size: usize) -> Result<Result<usize, Refused>> {
        let layout = layout(size)?;
        // SAFETY: the size is not zero (`layout`).
        let Some(block) = (unsafe { self.allocator.allocate(layout) }) else {
            return Ok(Err(Refused { size }));
        };
        self.blocks.push(Some((block, layout)));
        Ok(Ok(self.blocks.len() - 1))
    }

    fn deallocate(&mut self, key: usize) -> Result<()> {
        let (block, layout) = self.block(key)?;
        self.blocks[key] = None;
        // SAFETY: a block of ours with this layout, which is taken out of the list.
        unsafe { self.allocator.deallocate(block, layout) };
        Ok(())
    }

    fn resize(&mut self, key: usize, size: usize) -> Result<Result<(), Refused>> {
        let (block, old) = self.block(key)?;
        let new = layout(size)?;
        // SAFETY: a block of ours with this layout, which is replaced below; the new size is not zero (`layout`).
        let Some(block) = (unsafe { self.allocator.reallocate(block, old, size) }) else {
            return Ok(Err(Refused { size }));
        };
        self.blocks[key] = Some((block, new));
        Ok(Ok(()))
    }

    fn mark(&mut self, key: usize, size: usize, byte: u8) -> Result<()> {
        let (_, layout) = self.block(key)?;
        ensure!(layout.size() == size, "a block of {size} bytes has {}", layout.size());
        for end in self.ends(key)? {
            // SAFETY: inside a block of ours.
            unsafe { end.write(byte) };
        }
        Ok(())
    }

    fn marks(&self, key: usize) -> Result<[u8; 2]> {
        // SAFETY: inside a block of ours, and `mark` has written there.
        Ok(self.ends(key)?.map(|end| unsafe { end.read() }))
    }
}

fn layout(size: usize) -> Result<Layout> {
    ensure!(size > 0, "a block has a byte at least");
    Ok(Layout::from_size_align(size, 1)?)
}

/// rlsf.
pub type RlsfArena = PointerArena<MutexRlsf>;

/// talc.
pub type TalcArena = PointerArena<MutexTalc>;
