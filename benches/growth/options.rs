//! The command line, and what it makes of the measurement.

use clap::Parser;
use clap::builder::RangedU64ValueParser;
use std::path::PathBuf;
use std::time::Duration;

/// Measures how costs grow: of get, insert, remove and one move with the number of live objects; of
/// a defragmentation with the bytes to move; of work in several threads with their number and that
/// of stripes.
///
/// Beside each figure stands a reference of the same round that can grow by cache misses only: a
/// ratio that stays is growth by nothing else. Every result is checked; the exit status is 2 when
/// one is wrong.
#[derive(Debug, Parser)]
#[command(name = "growth", max_term_width = 100)]
pub(crate) struct Options {
    /// Print JSON, one figure a line, instead of tables
    #[arg(long)]
    pub(crate) json: bool,

    /// Draw the figures, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) picture: Option<PathBuf>,

    /// Measure less: fewer and smaller steps, fewer rounds
    #[arg(long)]
    pub(crate) quick: bool,

    /// The last step of live objects; 10 million, or 1 million with --quick. At 10 million the
    /// measurement needs 3 GB of memory
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u32>::new().range(1000..=100_000_000))]
    pub(crate) objects_max: Option<u32>,

    /// The last step of threads
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub(crate) threads_max: usize,
}

/// How much is measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Rounds that a figure is the median of.
    pub(crate) rounds: usize,
    /// Live objects, step by step.
    pub(crate) objects: Vec<u32>,
    /// Reads of one contestant in a round, and objects that it replaces.
    pub(crate) reads: usize,
    pub(crate) replacements: usize,
    /// Rounds of moves and defragmentations, which take long; and moves in one of them, at least.
    pub(crate) move_rounds: usize,
    pub(crate) moves: u64,
    /// Bytes of objects that a heap is filled with before it is thinned out.
    pub(crate) fills: Vec<usize>,
    /// Shares of the objects that are removed then.
    pub(crate) removed: Vec<f64>,
    pub(crate) threads: Vec<usize>,
    pub(crate) stripes: Vec<usize>,
    /// How long threads work for one sample.
    pub(crate) span: Duration,
}

impl Options {
    pub(crate) fn plan(&self) -> Plan {
        let objects_max =
            self.objects_max.unwrap_or(if self.quick { 1_000_000 } else { 10_000_000 });
        let threads = |factor| steps(&[factor], 1, self.threads_max);
        if self.quick {
            return Plan {
                rounds: 3,
                objects: steps(&[10], 1000, objects_max),
                reads: 500_000,
                replacements: 50_000,
                move_rounds: 3,
                moves: 5000,
                fills: vec![8 << 20, 32 << 20],
                removed: vec![0.5, 0.9],
                threads: threads(4),
                stripes: vec![1, 8, 64],
                span: Duration::from_millis(40),
            };
        }
        Plan {
            rounds: 5,
            objects: steps(&[3, 10], 1000, objects_max),
            reads: 1_000_000,
            replacements: 200_000,
            move_rounds: 3,
            moves: 20_000,
            fills: vec![16 << 20, 64 << 20, 256 << 20],
            removed: vec![0.5, 0.75, 0.9],
            threads: threads(2),
            stripes: vec![1, 2, 4, 8, 16, 32, 64],
            span: Duration::from_millis(100),
        }
    }
}

/// `first`, then its multiples by the factors, and by these times the last factor, and so on; ends
/// with `last`.
fn steps<N>(factors: &[N], first: N, last: N) -> Vec<N>
where
    N: Copy + PartialOrd + std::ops::Mul<Output = N>,
{
    let mut steps = vec![first];
    let mut base = first;
    while base < last {
        steps.extend(factors.iter().map(|factor| base * *factor));
        base = steps[steps.len() - 1];
    }
    steps.retain(|step| *step < last);
    steps.push(last);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn steps_end_where_they_should() {
        assert_eq!(steps(&[3, 10], 1000, 10_000), [1000, 3000, 10_000]);
        assert_eq!(steps(&[10], 1000_u32, 50_000), [1000, 10_000, 50_000]);
        assert_eq!(steps(&[2], 1, 8), [1, 2, 4, 8]);
        assert_eq!(steps(&[2], 1, 1), [1]);
        assert_eq!(steps(&[3, 10], 1000, 2000), [1000, 2000]);
    }

    #[test]
    fn limits_are_kept() {
        let parse = |line: &[&str]| Options::try_parse_from([&["growth"], line].concat());
        let plan = parse(&["--objects-max", "50000", "--threads-max", "5"]).expect("valid").plan();
        assert_eq!(plan.objects, [1000, 3000, 10_000, 30_000, 50_000]);
        assert_eq!(plan.threads, [1, 2, 4, 5]);
        assert!(parse(&["--objects-max", "10"]).is_err());
    }
}
