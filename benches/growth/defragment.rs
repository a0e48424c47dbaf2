//! The cost of a full defragmentation against the bytes that it has to move.

use crate::options::Plan;
use crate::sparse::{Defragmented, Sparse};
use crate::sweep::{median, turns};
use crate::table;
use anyhow::{Context, Result};
use benches::progress::Progress;
use serde_json::{Value, json};
use typed_pool::{Heap, Pool};

/// A heap that was filled with objects of one size and thinned out.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) object_bytes: usize,
    /// Bytes of the objects before.
    pub(crate) filled: usize,
    /// The share of them that was removed.
    pub(crate) removed: f64,
    /// One for each round.
    pub(crate) samples: Vec<Defragmented>,
}

impl Case {
    fn median(&self, figure: impl Fn(&Defragmented) -> f64) -> f64 {
        median(&self.samples.iter().map(figure).collect::<Vec<_>>())
    }

    pub(crate) fn moved_bytes(&self) -> f64 {
        self.median(|it| it.moved_bytes as f64)
    }

    pub(crate) fn milliseconds(&self) -> f64 {
        self.median(|it| it.time.as_secs_f64() * 1e3)
    }

    pub(crate) fn move_ns(&self) -> f64 {
        self.median(Defragmented::move_ns)
    }

    fn bare_ns(&self) -> f64 {
        self.median(Defragmented::bare_ns)
    }

    fn ratio(&self) -> f64 {
        self.median(|it| it.move_ns() / it.bare_ns())
    }

    fn bytes_per_s(&self) -> f64 {
        self.median(|it| it.moved_bytes as f64 / it.time.as_secs_f64())
    }
}

/// Steps of progress that [`cases`] reports.
pub(crate) fn work(plan: &Plan) -> usize {
    plan.move_rounds
}

/// All cases, in every round in another order.
pub(crate) fn cases(plan: &Plan, progress: &Progress) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for object_bytes in [64, 4096] {
        for filled in &plan.fills {
            for removed in &plan.removed {
                let samples = Vec::new();
                cases.push(Case { object_bytes, filled: *filled, removed: *removed, samples });
            }
        }
    }
    for round in 0..plan.move_rounds {
        for turn in turns(round, cases.len()) {
            let case = &mut cases[turn];
            progress.say(format_args!(
                "defragmentation of {} filled with objects of {}",
                table::size(case.filled as u64),
                table::size(case.object_bytes as u64),
            ));
            let sample = match case.object_bytes {
                64 => sample::<8>(case, round as u64),
                _ => sample::<512>(case, round as u64),
            };
            case.samples.push(sample.with_context(|| format!("defragmentation, {case:?}"))?);
        }
        progress.done();
    }
    Ok(cases)
}

/// One defragmentation of a new heap with objects of `W` words.
fn sample<const W: usize>(case: &Case, seed: u64) -> Result<Defragmented> {
    let heap = Heap::builder().capacity((2 * case.filled).max(16 << 20)).build()?;
    let pool = Pool::new(&heap)?;
    let objects = (case.filled / (W * size_of::<u64>())) as u32;
    let mut sparse = Sparse::<W>::new(&pool, objects);
    sparse.thin_out((f64::from(objects) * case.removed) as usize, seed)?;
    let done = sparse.defragment()?;
    heap.verify()?;
    Ok(done)
}

/// A row a case.
pub(crate) fn table(cases: &[Case]) -> String {
    let head = ["object", "filled", "removed", "moved", "ms", "moves", "ns a move", "MB/s"];
    let head = head.into_iter().chain(["bare copy ns", "move / bare"]).map(str::to_owned);
    let row = |case: &Case| {
        vec![
            table::size(case.object_bytes as u64),
            table::size(case.filled as u64),
            format!("{:.0} %", case.removed * 100.0),
            table::size(case.moved_bytes() as u64),
            format!("{:.2}", case.milliseconds()),
            table::count(case.median(|it| it.moves as f64) as u64),
            format!("{:.1}", case.move_ns()),
            format!("{:.0}", case.bytes_per_s() / 1e6),
            format!("{:.1}", case.bare_ns()),
            format!("{:.2}", case.ratio()),
        ]
    };
    let rows: Vec<_> = cases.iter().map(row).collect();
    benches::table::aligned(&head.collect::<Vec<_>>(), &rows, 0)
}

/// One value a case.
pub(crate) fn json(cases: &[Case]) -> impl Iterator<Item = Value> {
    cases.iter().map(|case| {
        json!({
            "section": "defragment",
            "object_bytes": case.object_bytes,
            "filled_bytes": case.filled,
            "removed": case.removed,
            "moves": case.median(|it| it.moves as f64),
            "moved_bytes": case.moved_bytes(),
            "freed_bytes": case.median(|it| it.freed_bytes as f64),
            "ms": case.milliseconds(),
            "move_ns": case.move_ns(),
            "bytes_per_s": case.bytes_per_s(),
            "bare_copy_ns": case.bare_ns(),
            "ratio": case.ratio(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sizes_are_moved() {
        let case = |object_bytes| Case {
            object_bytes,
            filled: 4 << 20,
            removed: 0.75,
            samples: Vec::new(),
        };
        let (mut small, mut large) = (case(64), case(4096));
        small.samples.push(sample::<8>(&small, 1).expect("right"));
        large.samples.push(sample::<512>(&large, 1).expect("right"));
        for case in [&small, &large] {
            assert!(case.moved_bytes() >= (1 << 20) as f64 / 4.0, "{case:?}");
            assert!(case.ratio() > 0.0 && case.bytes_per_s() > 0.0);
        }
        assert_eq!(json(&[small, large]).count(), 2);
    }
}
