//! Raw blocks: a random one of ten thousand is freed, another one of random size is allocated,
//! again and again. How long does such a pair take?
//!
//! The timed loop counts that each freed block was there, as far as its allocator can tell. After
//! it, untimed, all blocks are filled, each with bytes of its own, and then compared: no two
//! overlap.

use crate::contestants::{AskBlocks, BlockSet};
use crate::object::{positions, sizes};
use crate::rounds::{Contestant, Effort, Entrant, nanoseconds, repetitions};
use anyhow::{Context, Result, ensure};
use std::iter::zip;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Bytes of the largest block.
const LARGEST: u32 = 1024;

/// Blocks that are replaced, in this order, again and again.
const STEPS: usize = 16_384;

/// The question.
#[derive(Clone, Copy, Debug)]
pub struct RawBlocks {
    /// Blocks that are there all the time.
    pub live: usize,
}

impl AskBlocks for RawBlocks {
    fn entrant<B: BlockSet>(&self) -> Entrant {
        let Self { live } = *self;
        Entrant::new(B::NAME, move |effort| Churning::<B>::new(live, effort))
    }
}

struct Churning<B> {
    blocks: B,
    places: Vec<u32>,
    sizes: Vec<NonZeroU32>,
    passes: u32,
}

impl<B: BlockSet> Churning<B> {
    fn new(live: usize, effort: Effort) -> Result<Self> {
        // Room for all at the largest size, several times: nobody is to search for it.
        let mut blocks = B::with_room(live * LARGEST as usize * 3);
        let sizes = sizes(STEPS, LARGEST);
        sizes.iter().cycle().take(live).for_each(|size| blocks.push(*size));
        let places = positions(STEPS, u32::try_from(live).context("too many blocks")?);
        let mut churning = Self { blocks, places, sizes, passes: 1 };
        churning.passes = repetitions(effort.span, |passes| {
            churning.passes = passes;
            churning.run()
        })?;
        Ok(churning)
    }

    /// The time of all passes.
    fn run(&mut self) -> Result<Duration> {
        self.pass();
        let start = Instant::now();
        let freed: usize = (0..self.passes).map(|_| self.pass()).sum();
        let time = start.elapsed();
        let expected = self.passes as usize * STEPS;
        ensure!(freed == expected, "{freed} blocks of {expected} were there to be freed");
        Ok(time)
    }

    /// Replaces one block after the other; how many were there.
    fn pass(&mut self) -> usize {
        let steps = zip(&self.places, &self.sizes);
        steps.map(|(place, size)| usize::from(self.blocks.exchange(*place as usize, *size))).sum()
    }
}

impl<B: BlockSet> Contestant for Churning<B> {
    fn round(&mut self) -> Result<f64> {
        let time = self.run()?;
        ensure!(self.blocks.is_intact(), "what was written into a block is gone");
        Ok(nanoseconds(time, self.passes as usize * STEPS))
    }
}
