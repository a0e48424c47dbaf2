//! A heap that is filled until it has no room: what was asked for over its capacity.

use crate::footprint::arena::{Arena, Refused, RlsfArena, TalcArena};
use crate::footprint::report::{Refusal, Report};
use allocator_core::Heap;
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

/// An allocator that gets full.
struct Filled<A: Arena> {
    arena: A,
    blocks: Vec<(A::Key, usize)>,
    bytes: usize,
}

impl Fill {
    /// Fills a heap of so many bytes, then regions of peers with the same steps, unless the heap compacts, which they cannot.
    ///
    /// # Errors
    /// Anything but that there is no room.
    pub fn measure(&self, capacity: usize, seed: u64) -> Result<Report> {
        let compacts = matches!(self, Self::Mixed { compacts: true });
        let heap = Heap::builder().capacity(capacity).compact_when_full(compacts).build()?;
        let start = Instant::now();
        let (mut filled, refused) = self.fill(heap, seed)?;
        let elapsed_s = start.elapsed().as_secs_f64();
        let refusal = Some(filled.refusal(refused));
        filled.verify()?;
        filled.arena.verify().context("the heap is not as it should be")?;
        let efficiency = Some(filled.efficiency(capacity));
        let mut peers = Vec::new();
        if !compacts {
            let rlsf = self.efficiency(RlsfArena::new(capacity), capacity, seed)?;
            let talc = self.efficiency(TalcArena::new(capacity), capacity, seed)?;
            peers = vec![("rlsf".to_owned(), rlsf), ("talc".to_owned(), talc)];
        }
        Ok(Report { elapsed_s, efficiency, refusal, peers, ..Report::default() })
    }

    /// Of a peer.
    fn efficiency<A: Arena>(&self, arena: A, capacity: usize, seed: u64) -> Result<f64> {
        let (mut filled, _) = self.fill(arena, seed)?;
        filled.verify()?;
        Ok(filled.efficiency(capacity))
    }

    /// Fills one until something is refused.
    fn fill<A: Arena>(&self, arena: A, seed: u64) -> Result<(Filled<A>, Refused)> {
        let mut filled = Filled { arena, blocks: Vec::new(), bytes: 0 };
        let rng = &mut Rng::with_seed(seed);
        loop {
            let step = match *self {
                Self::Mixed { .. } => filled.step(rng)?,
                Self::Uniform { size } => filled.allocate(size)?,
            };
            if let Err(refused) = step {
                return Ok((filled, refused));
            }
        }
    }
}

impl<A: Arena> Filled<A> {
    /// What was refused, if anything was.
    fn step(&mut self, rng: &mut Rng) -> Result<Result<(), Refused>> {
        match rng.u32(..10) {
            0..5 => return self.allocate(rng.usize(NEW)),
            _ if self.blocks.is_empty() => {}
            5 => {
                let (key, size) = self.blocks.swap_remove(rng.usize(..self.blocks.len()));
                self.arena.deallocate(key)?;
                self.bytes -= size;
            }
            _ => {
                let place = rng.usize(..self.blocks.len());
                let to = rng.usize(RESIZED);
                let (key, size) = &mut self.blocks[place];
                if let Err(refused) = self.arena.resize(*key, to)? {
                    return Ok(Err(refused));
                }
                self.bytes = self.bytes - *size + to;
                *size = to;
            }
        }
        Ok(Ok(()))
    }

    /// What was refused, if it was.
    fn allocate(&mut self, size: usize) -> Result<Result<(), Refused>> {
        match self.arena.allocate(size)? {
            Ok(key) => self.blocks.push((key, size)),
            Err(refused) => return Ok(Err(refused)),
        }
        self.bytes += size;
        Ok(Ok(()))
    }

    fn efficiency(&self, capacity: usize) -> f64 {
        self.bytes as f64 / capacity as f64
    }

    /// Writes a byte of each block's own to both ends of all, then looks whether they are there: no
    /// two blocks share memory.
    fn verify(&mut self) -> Result<()> {
        let Self { arena, blocks, .. } = self;
        let byte = |place: usize| (place % 251) as u8 + 1;
        for (place, (key, size)) in blocks.iter().enumerate() {
            arena.mark(*key, *size, byte(place))?;
        }
        for (place, (key, _)) in blocks.iter().enumerate() {
            let marks = arena.marks(*key)?;
            ensure!(marks == [byte(place); 2], "block {place} was overwritten");
        }
        Ok(())
    }
}

impl Filled<Heap> {
    fn refusal(&self, refused: Refused) -> Refusal {
        let stats = self.arena.stats();
        let cells: usize = stats.stripes.iter().map(|stripe| stripe.free_bytes).sum();
        Refusal {
            requested_bytes: refused.size as u64,
            live_bytes: self.bytes as u64,
            block_bytes: stats.live_bytes as u64,
            free_cell_bytes: cells as u64,
            free_run_bytes: (stats.free_bytes - cells) as u64,
            largest_bytes: stats.largest_free as u64,
        }
    }
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
            let has_peers = !matches!(fill, Fill::Mixed { compacts: true });
            assert_eq!(report.peers.len(), if has_peers { 2 } else { 0 });
            assert!(report.peers.iter().all(|(_, share)| (0.5..1.0).contains(share)), "{report:?}");
        }
    }
}
