//! A heap that is filled until it has no room: what was asked for over its capacity.

use crate::footprint::report::{Refusal, Report};
use allocator_core::{AllocError, AllocErrorKind, Handle, Heap, ResizeError};
use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use std::ops::RangeInclusive;
use std::time::Instant;

/// Sizes of new blocks, and those that blocks are given later.
const NEW: RangeInclusive<usize> = 1..=10_000;
const RESIZED: RangeInclusive<usize> = 1..=100_000;

/// What it is filled with.
#[derive(Clone, Debug)]
pub enum Fill {
    /// Of ten steps, at random, five allocate up to 10 kB, one frees a block, four give a block
    /// another size of up to 100 kB.
    Mixed {
        /// Whether the heap compacts before it gives up.
        compacts: bool,
    },
    /// Blocks of one size.
    Uniform {
        /// Bytes.
        size: usize,
    },
}

/// A heap that gets full.
struct Filled {
    heap: Heap,
    blocks: Vec<(Handle, usize)>,
    bytes: usize,
}

impl Fill {
    /// Fills a heap of so many bytes.
    ///
    /// # Errors
    /// Anything but that there is no room.
    pub fn measure(&self, capacity: usize, seed: u64) -> Result<Report> {
        let compacts = matches!(self, Self::Mixed { compacts: true });
        let heap = Heap::builder().capacity(capacity).compact_when_full(compacts).build()?;
        let mut filled = Filled { heap, blocks: Vec::new(), bytes: 0 };
        let rng = &mut Rng::with_seed(seed);
        let start = Instant::now();
        let error = loop {
            let refused = match *self {
                Self::Mixed { .. } => filled.step(rng)?,
                Self::Uniform { size } => filled.allocate(size)?,
            };
            if let Some(error) = refused {
                break error;
            }
        };
        let elapsed_s = start.elapsed().as_secs_f64();
        let refusal = Some(filled.refusal(&error));
        filled.verify()?;
        let efficiency = Some(filled.bytes as f64 / capacity as f64);
        Ok(Report { elapsed_s, efficiency, refusal, ..Report::default() })
    }
}

impl Filled {
    /// What was refused, if anything was.
    fn step(&mut self, rng: &mut Rng) -> Result<Option<AllocError>> {
        match rng.u32(..10) {
            0..5 => return self.allocate(rng.usize(NEW)),
            _ if self.blocks.is_empty() => {}
            5 => {
                let (handle, size) = self.blocks.swap_remove(rng.usize(..self.blocks.len()));
                self.heap.deallocate(handle)?;
                self.bytes -= size;
            }
            _ => {
                let place = rng.usize(..self.blocks.len());
                let size = rng.usize(RESIZED);
                let block = &mut self.blocks[place];
                match self.heap.resize(block.0, size) {
                    Ok(()) => {}
                    Err(ResizeError::Alloc(error)) if is_full(&error) => return Ok(Some(error)),
                    Err(error) => return Err(error.into()),
                }
                self.bytes = self.bytes - block.1 + size;
                block.1 = size;
            }
        }
        Ok(None)
    }

    /// What was refused, if it was.
    fn allocate(&mut self, size: usize) -> Result<Option<AllocError>> {
        let layout = std::alloc::Layout::from_size_align(size, 1)?;
        match self.heap.allocate(layout) {
            Ok(handle) => self.blocks.push((handle, size)),
            Err(error) if is_full(&error) => return Ok(Some(error)),
            Err(error) => return Err(error.into()),
        }
        self.bytes += size;
        Ok(None)
    }

    fn refusal(&self, error: &AllocError) -> Refusal {
        let stats = self.heap.stats();
        let cells: usize = stats.stripes.iter().map(|stripe| stripe.free_bytes).sum();
        Refusal {
            requested_bytes: error.requested as u64,
            live_bytes: self.bytes as u64,
            block_bytes: stats.live_bytes as u64,
            free_cell_bytes: cells as u64,
            free_run_bytes: (stats.free_bytes - cells) as u64,
            largest_bytes: stats.largest_free as u64,
        }
    }

    /// Writes a byte of each block's own to both ends of all, then looks whether they are there: no
    /// two blocks share memory.
    fn verify(&self) -> Result<()> {
        let byte = |place: usize| (place % 251) as u8 + 1;
        for (place, (handle, size)) in self.blocks.iter().enumerate() {
            let mut block = self.heap.write(*handle)?;
            ensure!(block.len() == *size, "a block of {size} bytes has {}", block.len());
            block[0] = byte(place);
            block[*size - 1] = byte(place);
        }
        for (place, (handle, _)) in self.blocks.iter().enumerate() {
            let block = self.heap.read(*handle)?;
            let ends = [block.first(), block.last()].map(|end| end.copied());
            ensure!(ends == [Some(byte(place)); 2], "block {place} was overwritten");
        }
        self.heap.verify().context("the heap is not as it should be")
    }
}

fn is_full(error: &AllocError) -> bool {
    error.kind == AllocErrorKind::OutOfMemory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heap_gets_full() {
        for fill in [
            Fill::Mixed { compacts: false },
            Fill::Mixed { compacts: true },
            Fill::Uniform { size: 529 },
            Fill::Uniform { size: 33_000 },
        ] {
            let report = fill.measure(8 << 20, 1).unwrap();
            let efficiency = report.efficiency.unwrap();
            assert!((0.5..=1.0).contains(&efficiency), "{fill:?}: {efficiency}");
            let refusal = report.refusal.unwrap();
            assert!(refusal.requested_bytes > refusal.largest_bytes, "{refusal:?}");
            assert!(refusal.block_bytes >= refusal.live_bytes, "{refusal:?}");
        }
    }
}
