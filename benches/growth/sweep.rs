//! [`Sweep`]: what an operation costs each contestant, step by step.

use crate::table;
use serde_json::{Value, json};

/// How the cost of an operation grows with the number of something.
#[derive(Debug)]
pub(crate) struct Sweep {
    pub(crate) operation: &'static str,
    /// What there is more of at each step.
    pub(crate) of: &'static str,
    /// Ours first, then the references.
    pub(crate) contestants: &'static [&'static str],
    pub(crate) ours: usize,
    pub(crate) steps: Vec<Step>,
}

/// The samples of a step: for each contestant nanoseconds, round by round.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) count: u64,
    pub(crate) samples: Vec<Vec<f64>>,
}

impl Step {
    pub(crate) fn new(count: u64, contestants: usize) -> Self {
        Self { count, samples: vec![Vec::new(); contestants] }
    }

    /// The median of a contestant's samples.
    pub(crate) fn median(&self, contestant: usize) -> f64 {
        median(&self.samples[contestant])
    }

    /// The median of the ratios round by round: what disturbed a round is in both of its samples.
    pub(crate) fn ratio(&self, ours: usize, reference: usize) -> f64 {
        let pairs = self.samples[ours].iter().zip(&self.samples[reference]);
        median(&pairs.map(|(ours, reference)| ours / reference).collect::<Vec<_>>())
    }
}

impl Sweep {
    pub(crate) fn new(
        operation: &'static str,
        of: &'static str,
        ours: usize,
        contestants: &'static [&'static str],
    ) -> Self {
        Self { operation, of, contestants, ours, steps: Vec::new() }
    }

    /// Every one of ours with every reference.
    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let (ours, all) = (self.ours, self.contestants.len());
        (ours..all).flat_map(move |reference| (0..ours).map(move |our| (our, reference)))
    }

    /// A row a step: nanoseconds, then ratios. Below them what the last step has more than the first:
    /// nanoseconds, and the factor between the ratios.
    pub(crate) fn table(&self) -> String {
        let mut head = vec![self.of.to_owned()];
        head.extend(self.contestants.iter().map(|name| format!("{name} ns")));
        head.extend(self.pairs().map(|(our, reference)| {
            format!("{} / {}", self.contestants[our], self.contestants[reference])
        }));
        let mut rows = Vec::new();
        for step in &self.steps {
            let mut row = vec![table::count(step.count)];
            row.extend((0..self.contestants.len()).map(|one| format!("{:.2}", step.median(one))));
            row.extend(
                self.pairs().map(|(our, reference)| format!("{:.2}", step.ratio(our, reference))),
            );
            rows.push(row);
        }
        if let [first, .., last] = &self.steps[..] {
            let mut row = vec!["growth".to_owned()];
            let more = |one| format!("{:+.2}", last.median(one) - first.median(one));
            row.extend((0..self.contestants.len()).map(more));
            row.extend(self.pairs().map(|(our, reference)| {
                format!("×{:.2}", last.ratio(our, reference) / first.ratio(our, reference))
            }));
            rows.push(row);
        }
        benches::table::aligned(&head, &rows, 0)
    }

    /// One value for each contestant and step.
    pub(crate) fn json(&self) -> impl Iterator<Item = Value> {
        self.steps.iter().flat_map(move |step| {
            self.contestants.iter().enumerate().map(move |(one, name)| {
                let references = if one < self.ours { self.ours } else { usize::MAX };
                let ratios = references..self.contestants.len();
                let ratios = ratios.map(|it| (self.contestants[it], step.ratio(one, it)));
                json!({
                    "section": self.of,
                    "operation": self.operation,
                    (self.of): step.count,
                    "contestant": name,
                    "ns": step.median(one),
                    "ratios": ratios.map(|(name, ratio)| (name.to_owned(), json!(ratio)))
                        .collect::<serde_json::Map<_, _>>(),
                })
            })
        })
    }
}

/// The middle one, or between the two in the middle.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        even if even % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// Who is when in a round: another one first each time, and every other round backwards.
pub(crate) fn turns(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| {
        let place = (turn + round) % count;
        if round.is_multiple_of(2) { place } else { count - 1 - place }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep() -> Sweep {
        let mut sweep = Sweep::new("get", "objects", 1, &["pool", "map"]);
        let samples = [vec![2.0, 9.0, 4.0], vec![1.0, 3.0, 4.0]].to_vec();
        sweep.steps.push(Step { count: 1000, samples });
        let samples = [vec![4.0, 4.0, 4.0], vec![1.0, 1.0, 1.0]].to_vec();
        sweep.steps.push(Step { count: 10_000, samples });
        sweep
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        assert_eq!(sweep().steps[0].ratio(0, 1), 2.0); // of 2, 3 and 1
        let table = sweep().table();
        assert!(table.contains("pool / map") && table.contains("×2.00"), "{table}");
    }

    #[test]
    fn figures_have_what_they_are_of() {
        let values: Vec<_> = sweep().json().collect();
        assert_eq!(values.len(), 4);
        assert_eq!(values[2]["objects"], 10_000);
        assert_eq!(values[2]["ratios"]["map"], 4.0);
        assert_eq!(values[3]["ratios"], json!({}));
    }

    #[test]
    fn everybody_is_first_at_times() {
        let firsts: Vec<_> = (0..4).map(|round| turns(round, 3).next()).collect();
        assert_eq!(firsts, [Some(0), Some(1), Some(2), Some(2)]);
        assert!((0..9).all(|round| turns(round, 3).sum::<usize>() == 3));
    }
}
