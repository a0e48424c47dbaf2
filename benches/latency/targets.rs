//! What is asked of the figures.

use crate::budgets;
use crate::moving::Round;
use crate::readers::{Pace, Scene};
use crate::report::{Report, pace, quantiles};
use crate::samples::Sifted;
use hdrhistogram::Histogram;

/// Rates of moves: with the time in which the system took pages back, and without it.
const FORMS: [&str; 2] = ["pages given back included", "moving alone"];

/// A figure and its target.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) limit: f64,
    pub(crate) at_least: bool,
}

impl Target {
    /// What was not measured is not a number, and not met.
    pub(crate) fn met(&self) -> bool {
        if self.at_least { self.value >= self.limit } else { self.value <= self.limit }
    }

    pub(crate) fn sign(&self) -> &'static str {
        if self.at_least { ">=" } else { "<=" }
    }
}

/// The 99.9th percentile; not a number where so few were timed that none of them is beyond it.
fn p999(of: &Histogram<u64>) -> f64 {
    if of.len() < 1000 { f64::NAN } else { quantiles(of)[2] }
}

/// Reads a second in a scene over those in another.
fn throughput(of: &Sifted, beside: &Sifted) -> f64 {
    if beside.reads_per_s > 0.0 { of.reads_per_s / beside.reads_per_s } else { f64::NAN }
}

impl Report {
    pub(crate) fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        let mut add = |name: String, value: f64, limit: f64, at_least: bool| {
            targets.push(Target { name, value, limit, at_least });
        };
        for outcome in &self.readers {
            let idle = &outcome.scenes[Scene::Idle as usize].1;
            let full = &outcome.scenes[Scene::Full as usize].1;
            let pace = pace(outcome.pace);
            if outcome.pace == Pace::Full {
                let ratio = throughput(full, idle);
                add(
                    format!("throughput of reads, full defragmentation / idle, {pace}"),
                    ratio,
                    0.9,
                    true,
                );
            }
            let ratio = p999(&full.net) / p999(&idle.net);
            add(format!("p99.9 of a read, full defragmentation / idle, {pace}"), ratio, 2.0, false);
        }
        for moves in &self.moves {
            if moves.bytes == 64 {
                for (form, rate) in FORMS.into_iter().zip([Round::whole_rate, Round::rate]) {
                    let name = format!("million moves a second, objects of 64 B, {form}");
                    add(name, moves.median(rate) / 1e6, 8.0, true);
                }
            } else if moves.bytes >= 4096 {
                for (form, speed) in FORMS.into_iter().zip([Round::whole_speed, Round::own_speed]) {
                    let ratio = moves.median(|it| speed(it) / it.copy_speed);
                    let bytes = moves.bytes;
                    let name = format!("bytes moved / bare copies, blocks of {bytes} B, {form}");
                    add(name, ratio, 0.5, true);
                }
            }
            let useful = moves.median(|it| it.useful as f64 / it.moves as f64);
            add(format!("useful moves / moves, blocks of {} B", moves.bytes), useful, 0.9, true);
        }
        if let Some(budgets) = &self.budgets {
            let late = budgets::Outcome::late(&budgets.net);
            let name = "passes of 500 µs that are 100 µs late, but for waits for a core, of 1,000";
            add(name.to_owned(), late, 1.0, false);
            let useful = budgets.useful as f64 / budgets.moves as f64;
            add("useful moves / moves, passes under load".to_owned(), useful, 0.9, true);
        }
        targets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::time;

    #[test]
    fn targets_are_bounds() {
        let target =
            |value, at_least| Target { name: "it".to_owned(), value, limit: 2.0, at_least };
        assert!(target(2.0, true).met() && !target(1.9, true).met());
        assert!(target(2.0, false).met() && !target(2.1, false).met());
        assert!(!target(f64::NAN, false).met() && !target(f64::NAN, true).met());
    }

    #[test]
    fn what_was_not_measured_is_no_figure() {
        let mut histogram = Histogram::new_with_bounds(1, 1_000_000, 2).expect("valid bounds");
        assert!(p999(&histogram).is_nan() && time(quantiles(&histogram)[4]) == "-");
        histogram.record_n(7, 999).expect("in bounds");
        assert!(p999(&histogram).is_nan() && quantiles(&histogram)[4] == 7.0);
        histogram.record(7).expect("in bounds");
        assert_eq!(p999(&histogram), 7.0);
    }
}
