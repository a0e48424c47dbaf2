//! A cache that forgets what was put in long ago, and is filled with objects of one size, then of
//! another.
//!
//! As in Redis an entry is charged with more than its payload, and what goes is the oldest of five
//! entries picked at random: so what goes does not lie together.

use crate::footprint::blocks::Blocks;
use crate::footprint::live::Live;
use crate::footprint::report::Report;
use crate::footprint::run::Run;
use anyhow::Result;
use fastrand::Rng;

/// What all entries may be charged with together.
const LIMIT: u64 = 100 << 20;

/// Objects of the first and of the second size that are put in.
const COUNTS: [u32; 2] = [700_000, 170_000];

/// Entries of which the oldest goes.
const PICKED: usize = 5;

/// A cache.
#[derive(Clone, Debug)]
pub struct Cache {
    /// The first and the second size.
    pub sizes: [u32; 2],
    /// What an entry is charged with beyond its payload.
    pub charge: u32,
    /// The first objects are put in as one batch, which is not held to the limit before it is in.
    pub in_one_go: bool,
}

impl Cache {
    /// Measures it, everything so many times smaller.
    ///
    /// # Errors
    /// No room, or bytes that are not what they were.
    pub fn measure<B: Blocks>(&self, divisor: u32, seed: u64) -> Result<Report> {
        let limit = LIMIT / u64::from(divisor);
        let [small, large] = self.sizes;
        let blocks = match self.in_one_go {
            true => u64::from(COUNTS[0] / divisor) + 1,
            false => limit / u64::from(small + self.charge) + 1,
        };
        let rng = &mut Rng::with_seed(seed);
        let mut run = Run::<B>::new(blocks as usize, large, limit)?;
        run.timed(|live| {
            for _ in 0..COUNTS[0] / divisor {
                if !self.in_one_go {
                    self.make_room(live, small, divisor, limit, rng)?;
                }
                live.insert(small)?;
            }
            for _ in 0..COUNTS[1] / divisor {
                self.make_room(live, large, divisor, limit, rng)?;
                live.insert(large)?;
            }
            Ok(())
        })?;
        run.deleted()?;
        run.report()
    }
}

impl Cache {
    /// Forgets entries until one more of `size` bytes keeps the limit.
    fn make_room<B: Blocks>(
        &self,
        live: &mut Live<B>,
        size: u32,
        divisor: u32,
        limit: u64,
        rng: &mut Rng,
    ) -> Result<()> {
        // What went in at once is equally old.
        let same = if self.in_one_go { COUNTS[0] / divisor } else { 0 };
        let age = |live: &Live<B>, place: usize| live.number(place).saturating_sub(same);
        let charge = u64::from(self.charge);
        let more = u64::from(size) + charge;
        while live.bytes() + live.len() as u64 * charge + more > limit {
            let mut oldest = rng.usize(..live.len());
            for _ in 1..PICKED {
                let other = rng.usize(..live.len());
                oldest = if age(live, other) < age(live, oldest) { other } else { oldest };
            }
            live.remove(oldest)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::footprint::blocks::{Pools, SystemBlocks};
    use crate::footprint::scenario::{Kind, Scenario};

    #[test]
    fn what_survives_weighs_what_it_should() {
        for (scenario, megabytes) in [(Scenario::R1, 79.0), (Scenario::R2, 76.0)] {
            let Kind::Cache(cache) = scenario.kind() else { panic!("a cache") };
            let report = cache.measure::<SystemBlocks>(20, 1).unwrap();
            let live = 20.0 * report.deleted.unwrap().live_bytes as f64 / 1e6;
            assert!((megabytes * 0.99..megabytes * 1.01).contains(&live), "{scenario}: {live}");
        }
    }

    #[test]
    fn pools_keep_what_the_others_keep() {
        let cache = Cache { sizes: [150, 300], charge: 85, in_one_go: false };
        let ours = cache.measure::<Pools<150, 300>>(100, 3).unwrap();
        let system = cache.measure::<SystemBlocks>(100, 3).unwrap();
        let live = |report: &Report| report.deleted.map(|it| (it.live_bytes, it.live_blocks));
        assert_eq!(live(&ours), live(&system));
        assert!(ours.defragmentation.unwrap().moves > 0);
    }
}
