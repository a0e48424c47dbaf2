//! What is asked of the figures.

use crate::budgets;
use crate::moving::Round;
use crate::readers::{Pace, Scene};
use crate::report::{Report, pace, quantiles};
use crate::samples::Sifted;
use benches::statistics::{Goal, Target};
use hdrhistogram::Histogram;

/// Rates of moves: with the time in which the system took pages back, and without it.
const FORMS: [&str; 2] = ["pages given back included", "moving alone"];

/// The 99.9th percentile; not a number where so few were timed that none of them is beyond it.
fn p999(of: &Histogram<u64>) -> f64 {
    if of.len() < 1000 { f64::NAN } else { quantiles(of)[2] }
}

/// Reads a second in a scene over those in another.
fn throughput(of: &Sifted, beside: &Sifted) -> f64 {
    if beside.reads_per_s > 0.0 { of.reads_per_s / beside.reads_per_s } else { f64::NAN }
}

impl Report {
    pub(crate) fn goals(&self) -> Vec<Goal> {
        let mut goals = Vec::new();
        let mut add = |figure: String, value: f64, target: Target| {
            goals.push(Goal { figure, value, target });
        };
        for outcome in &self.readers {
            let idle = &outcome.scenes[Scene::Idle as usize].1;
            let full = &outcome.scenes[Scene::Full as usize].1;
            let pace = pace(outcome.pace);
            if outcome.pace == Pace::Full {
                let figure = format!("throughput of reads, full defragmentation / idle, {pace}");
                add(figure, throughput(full, idle), Target::AtLeast(0.9));
            }
            let figure = format!("p99.9 of a read, full defragmentation / idle, {pace}");
            add(figure, p999(&full.net) / p999(&idle.net), Target::AtMost(2.0));
        }
        for moves in &self.moves {
            let bytes = moves.bytes;
            if bytes == 64 {
                for (form, rate) in FORMS.into_iter().zip([Round::whole_rate, Round::rate]) {
                    let figure = format!("million moves a second, objects of 64 B, {form}");
                    add(figure, moves.median(rate) / 1e6, Target::AtLeast(8.0));
                }
            } else if bytes >= 4096 {
                for (form, speed) in FORMS.into_iter().zip([Round::whole_speed, Round::own_speed]) {
                    let ratio = moves.median(|it| speed(it) / it.copy_speed);
                    let figure = format!("bytes moved / bare copies, blocks of {bytes} B, {form}");
                    add(figure, ratio, Target::AtLeast(0.5));
                }
            }
            let useful = moves.median(|it| it.useful as f64 / it.moves as f64);
            let figure = format!("useful moves / moves, blocks of {bytes} B");
            add(figure, useful, Target::AtLeast(0.9));
        }
        if let Some(budgets) = &self.budgets {
            let late = budgets::Outcome::late(&budgets.net);
            let figure =
                "passes of 500 µs that are 100 µs late, but for waits for a core, of 1,000";
            add(figure.to_owned(), late, Target::AtMost(1.0));
            let useful = budgets.useful as f64 / budgets.moves as f64;
            let figure = "useful moves / moves, passes under load";
            add(figure.to_owned(), useful, Target::AtLeast(0.9));
        }
        goals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::time;

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
