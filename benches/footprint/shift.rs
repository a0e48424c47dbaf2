//! Workloads that shift (Rumble et al., "Log-structured Memory for DRAM-based Storage", FAST 2014):
//! five times the live payload is allocated in blocks of some sizes, while deletions at random keep
//! the payload below the limit; a share of the blocks is deleted at random; then the same again with
//! other sizes.

use crate::footprint::blocks::Blocks;
use crate::footprint::live::Live;
use crate::footprint::report::Report;
use crate::footprint::run::Run;
use anyhow::Result;
use fastrand::Rng;
use std::ops::RangeInclusive;

/// Allocated payload, over the limit.
const TURNOVER: u64 = 5;

/// A workload.
#[derive(Clone, Debug)]
pub struct Shift {
    /// Sizes before.
    pub before: RangeInclusive<u32>,
    /// The share of the blocks that is deleted then.
    pub deleted: f64,
    /// Sizes after that.
    pub after: RangeInclusive<u32>,
}

impl Shift {
    /// Measures it with so many bytes of live payload.
    ///
    /// # Errors
    /// No room, or bytes that are not what they were.
    pub fn measure<B: Blocks>(&self, limit: u64, seed: u64) -> Result<Report> {
        let Self { before, deleted, after } = self;
        let blocks = limit / u64::from(*before.start().min(after.start())) + 1;
        let size_max = *before.end().max(after.end());
        let rng = &mut Rng::with_seed(seed);
        let mut run = Run::<B>::new(blocks as usize, size_max, limit)?;
        run.timed(|live| turn_over(live, before, limit, rng))?;
        run.timed(|live| {
            let kept = live.len() - (live.len() as f64 * deleted).round() as usize;
            while live.len() > kept {
                live.remove_random(rng)?;
            }
            Ok(())
        })?;
        run.deleted()?;
        run.start_background()?;
        run.timed(|live| turn_over(live, after, limit, rng))?;
        run.ended()?;
        run.report()
    }
}

fn turn_over<B: Blocks>(
    live: &mut Live<B>,
    sizes: &RangeInclusive<u32>,
    limit: u64,
    rng: &mut Rng,
) -> Result<()> {
    let mut allocated = 0;
    while allocated < TURNOVER * limit {
        let size = rng.u32(sizes.clone());
        while live.bytes() + u64::from(size) > limit {
            live.remove_random(rng)?;
        }
        live.insert(size)?;
        allocated += u64::from(size);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::footprint::blocks::{HeapBlocks, SystemBlocks};

    #[test]
    fn the_payload_is_the_same_whoever_keeps_it() {
        let shift = Shift { before: 50..=150, deleted: 0.9, after: 5000..=15_000 };
        let ours = shift.measure::<HeapBlocks>(1 << 20, 7).unwrap();
        let system = shift.measure::<SystemBlocks>(1 << 20, 7).unwrap();
        for (ours, system) in [(ours.deleted, system.deleted), (ours.end, system.end)] {
            let (ours, system) = (ours.unwrap(), system.unwrap());
            assert_eq!(
                (ours.live_bytes, ours.live_blocks),
                (system.live_bytes, system.live_blocks)
            );
        }
        let (deleted, end) = (ours.deleted.unwrap(), ours.end.unwrap());
        assert!((90_000..120_000).contains(&deleted.live_bytes), "{deleted:?}");
        assert!(end.live_bytes > (1 << 20) - 15_000 && end.live_bytes <= 1 << 20, "{end:?}");
        assert_eq!(ours.defragmented.unwrap().live_bytes, deleted.live_bytes);
    }
}
