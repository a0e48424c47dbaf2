//! Medians, their spread, and targets.

use serde::Serialize;
use statrs::statistics::{Data, Max, Min, OrderStatistics};
use std::fmt;

/// The middle of some samples and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Half of the samples are below.
    pub median: f64,
    /// A quarter of the samples is below.
    pub lower: f64,
    /// A quarter of the samples is above.
    pub upper: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Summary {
    /// Of at least one sample.
    ///
    /// # Panics
    /// Without a sample, or when one is not a number.
    #[must_use]
    pub fn of(samples: &[f64]) -> Self {
        assert!(!samples.is_empty() && samples.iter().all(|sample| sample.is_finite()));
        let mut data = Data::new(samples.to_vec());
        Self {
            median: data.median(),
            lower: data.lower_quartile(),
            upper: data.upper_quartile(),
            min: data.min(),
            max: data.max(),
        }
    }
}

/// What is put above what when two contestants are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ratio {
    /// Our time over the peer's: less is better.
    Time,
    /// Our speed over the peer's: more is better.
    Speed,
}

impl Ratio {
    /// The summary of the ratios round by round. Samples of the same round were taken within
    /// moments, so what slowed the machine down for a while is in both.
    #[must_use]
    pub fn summary(self, ours: &[f64], peer: &[f64]) -> Summary {
        let ratio = |(ours, peer): (&f64, &f64)| match self {
            Self::Time => ours / peer,
            Self::Speed => peer / ours,
        };
        Summary::of(&ours.iter().zip(peer).map(ratio).collect::<Vec<_>>())
    }
}

/// What a ratio is to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// This much or less.
    AtMost(f64),
    /// Less than this.
    Below(f64),
    /// This much or more.
    AtLeast(f64),
}

impl Target {
    /// Whether `ratio` is what it is to be.
    #[must_use]
    pub fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(limit) => ratio <= limit,
            Self::Below(limit) => ratio < limit,
            Self::AtLeast(limit) => ratio >= limit,
        }
    }

    /// The limit alone.
    #[must_use]
    pub fn limit(self) -> f64 {
        let (Self::AtMost(limit) | Self::Below(limit) | Self::AtLeast(limit)) = self;
        limit
    }

    /// How the ratio is to stand to the limit.
    #[must_use]
    pub fn sign(self) -> &'static str {
        match self {
            Self::AtMost(_) => "<=",
            Self::Below(_) => "<",
            Self::AtLeast(_) => ">=",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.sign(), self.limit())
    }
}

/// A figure and what it is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// What it is called.
    pub figure: String,
    /// Not a number where it was not measured, which meets nothing.
    pub value: f64,
    /// What it is to be.
    pub target: Target,
}

impl Goal {
    /// Whether it is.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.target.is_met(self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_does_not_depend_on_the_order() {
        let summary = Summary::of(&[5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!(summary, Summary::of(&[1.0, 2.0, 3.0, 4.0, 5.0]));
        assert_eq!((summary.min, summary.median, summary.max), (1.0, 3.0, 5.0));
        assert!(1.0 < summary.lower && summary.lower < 3.0);
        assert!(3.0 < summary.upper && summary.upper < 5.0);
    }

    #[test]
    fn one_sample_and_an_even_number_of_samples() {
        let one = Summary::of(&[2.5]);
        assert_eq!((one.lower, one.median, one.upper), (2.5, 2.5, 2.5));
        assert_eq!(Summary::of(&[1.0, 2.0, 4.0, 9.0]).median, 3.0);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        // The whole machine was ten times slower in the second round.
        let (ours, peer) = ([1.0, 10.0, 1.2], [2.0, 20.0, 2.0]);
        assert_eq!(Ratio::Time.summary(&ours, &peer).median, 0.5);
        assert_eq!(Ratio::Speed.summary(&ours, &peer).median, 2.0);
        // Not what the medians of each would give.
        let (ours, peer) = ([1.0, 4.0, 9.0], [4.0, 2.0, 3.0]);
        assert_eq!(Ratio::Time.summary(&ours, &peer).median, 2.0);
    }

    #[test]
    fn targets_and_their_borders() {
        for (target, less, equal, more) in [
            (Target::AtMost(2.0), true, true, false),
            (Target::Below(2.0), true, false, false),
            (Target::AtLeast(2.0), false, true, true),
        ] {
            let met = [1.9, 2.0, 2.1].map(|ratio| target.is_met(ratio));
            assert_eq!(met, [less, equal, more], "{target}");
            assert_eq!(target.limit(), 2.0);
            let goal = Goal { figure: "it".to_owned(), value: f64::NAN, target };
            assert!(!goal.is_met(), "what was not measured meets nothing");
        }
        assert_eq!(Target::AtMost(0.35).to_string(), "<= 0.35");
    }

    #[test]
    #[should_panic(expected = "is_finite")]
    fn what_is_not_a_number_is_refused() {
        let _ = Summary::of(&[1.0, f64::NAN]);
    }
}
