//! The figures once they were measured.

use crate::question::{Figure, Question, Row};
use benches::statistics::{Ratio, Summary, Target};

/// A figure and what came out.
pub(crate) struct Outcome {
    pub(crate) figure: String,
    pub(crate) unit: &'static str,
    pub(crate) ratio: Ratio,
    pub(crate) rounds: usize,
    pub(crate) comparisons: Vec<Comparison>,
}

/// Two contestants compared.
pub(crate) struct Comparison {
    pub(crate) label: String,
    pub(crate) ours: String,
    pub(crate) peer: String,
    /// Nanoseconds.
    pub(crate) ours_ns: Summary,
    pub(crate) peer_ns: Summary,
    pub(crate) ratio: Summary,
    pub(crate) target: Option<Target>,
}

impl Outcome {
    /// From the samples of the question's entrants.
    pub(crate) fn new(question: &Question, figure: &Figure, samples: &[Vec<f64>]) -> Self {
        let compare = |row: &Row| Comparison {
            label: row.label.clone(),
            ours: question.entrants[row.ours].name.clone(),
            peer: question.entrants[row.peer].name.clone(),
            ours_ns: Summary::of(&samples[row.ours]),
            peer_ns: Summary::of(&samples[row.peer]),
            ratio: figure.ratio.summary(&samples[row.ours], &samples[row.peer]),
            target: row.target,
        };
        Self {
            figure: figure.name.clone(),
            unit: question.unit,
            ratio: figure.ratio,
            rounds: samples[0].len(),
            comparisons: figure.rows.iter().map(compare).collect(),
        }
    }

    /// Whether all targets were met.
    pub(crate) fn met(&self) -> bool {
        self.comparisons.iter().all(|comparison| comparison.met() != Some(false))
    }
}

impl Comparison {
    /// Whether the target was met, where there is one.
    pub(crate) fn met(&self) -> Option<bool> {
        self.target.map(|target| target.is_met(self.ratio.median))
    }
}

/// An outcome for the tests: a target met, one missed, and none.
#[cfg(test)]
pub(crate) fn example() -> Outcome {
    let compare = |peer: &str, ns: f64, target| Comparison {
        label: peer.to_owned(),
        ours: "pool".to_owned(),
        peer: peer.to_owned(),
        ours_ns: Summary::of(&[2.0, 2.0]),
        peer_ns: Summary::of(&[ns, ns]),
        ratio: Ratio::Time.summary(&[2.0, 2.0], &[ns, ns]),
        target,
    };
    Outcome {
        figure: "test & trial".to_owned(),
        unit: "read",
        ratio: Ratio::Time,
        rounds: 2,
        comparisons: vec![
            compare("quick", 1.0, Some(Target::AtMost(1.5))),
            compare("slow", 16.0, Some(Target::AtMost(0.25))),
            compare("other", 4.0, None),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_held_against_the_median_ratio() {
        let outcome = example();
        let met: Vec<_> = outcome.comparisons.iter().map(Comparison::met).collect();
        assert_eq!(met, [Some(false), Some(true), None]);
        assert!(!outcome.met());
    }
}
