//! A heap that is filled and thinned out, and may be given blocks of another size then.

use crate::footprint::blocks::Blocks;
use crate::footprint::report::Report;
use crate::footprint::run::Run;
use anyhow::Result;
use fastrand::Rng;
use std::ops::RangeInclusive;

/// How many blocks, of which sizes.
type Batch = (u32, RangeInclusive<u32>);

/// What is put in and deleted.
#[derive(Clone, Debug)]
pub struct Thinned {
    /// The blocks that are put in first.
    pub before: Batch,
    /// How many of these stay.
    pub survivors: u32,
    /// Every other one is deleted, and not random ones.
    pub in_turn: bool,
    /// The blocks that are put in last.
    pub after: Option<Batch>,
}

impl Thinned {
    /// Measures it, everything so many times smaller.
    ///
    /// # Errors
    /// No room, or bytes that are not what they were.
    pub fn measure<B: Blocks>(&self, divisor: u32, seed: u64) -> Result<Report> {
        let (count, sizes) = &self.before;
        let size_max = self.after.iter().map(|after| *after.1.end()).fold(*sizes.end(), u32::max);
        let room = u64::from(count / divisor) * u64::from(*sizes.end());
        let rng = &mut Rng::with_seed(seed);
        let mut run = Run::<B>::new((count / divisor) as usize, size_max, room)?;
        run.timed(|live| {
            for _ in 0..count / divisor {
                live.insert(rng.u32(sizes.clone()))?;
            }
            if self.in_turn {
                live.remove_every_other()?;
            }
            while live.len() > (self.survivors / divisor) as usize {
                live.remove_random(rng)?;
            }
            if let Some((count, sizes)) = &self.after {
                for _ in 0..count / divisor {
                    live.insert(rng.u32(sizes.clone()))?;
                }
            }
            Ok(())
        })?;
        run.deleted()?;
        run.report()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::footprint::blocks::{HeapBlocks, SystemBlocks};
    use crate::footprint::scenario::{Kind, Scenario};

    #[test]
    fn what_survives_weighs_what_it_should() {
        for scenario in [Scenario::R3, Scenario::R4] {
            let Kind::Thinned(thinned) = scenario.kind() else { panic!("thinned out") };
            let ours = thinned.measure::<HeapBlocks>(50, 1).unwrap();
            let system = thinned.measure::<SystemBlocks>(50, 1).unwrap();
            let live = |report: &Report| report.deleted.unwrap().live_bytes;
            assert_eq!(live(&ours), live(&system));
            let megabytes = live(&ours) as f64 * 50.0 / 1e6;
            assert!((103.0..107.0).contains(&megabytes), "{scenario}: {megabytes}");
        }
    }
}
