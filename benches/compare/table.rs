//! The figures for people.

use crate::outcome::{Comparison, Outcome};
use benches::contestants::{Control, Reader};
use benches::statistics::{Ratio, Summary};
use comfy_table::{CellAlignment, Table, presets};

/// What two threads that share nothing gain at least on a machine that has nothing else to do.
const GAIN_MIN: f64 = 1.9;

/// A figure as a table.
pub(crate) fn text(outcome: &Outcome) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(headers(outcome.ratio));
    for comparison in &outcome.comparisons {
        table.add_row(row(comparison));
    }
    for column in table.column_iter_mut().skip(1).take(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let title =
        format!("{} (ns a {}; medians of {} rounds)", outcome.figure, outcome.unit, outcome.rounds);
    format!("{title}\n{}\n\n", table.trim_fmt())
}

fn headers(ratio: Ratio) -> [&'static str; 7] {
    match ratio {
        Ratio::Time => ["peer", "ns", "ours", "ours / peer", "quartiles", "target", ""],
        Ratio::Speed => ["contestant", "alone", "together", "gain", "quartiles", "target", ""],
    }
}

fn row(comparison: &Comparison) -> [String; 7] {
    let Comparison { label, ours_ns, peer_ns, ratio, target, .. } = comparison;
    [
        label.clone(),
        number(peer_ns.median),
        number(ours_ns.median),
        number(ratio.median),
        quartiles(ratio),
        target.map_or_else(String::new, |target| target.to_string()),
        match comparison.met() {
            Some(true) => "met".to_owned(),
            Some(false) => "MISSED".to_owned(),
            None => String::new(),
        },
    ]
}

fn quartiles(ratio: &Summary) -> String {
    format!("{} .. {}", number(ratio.lower), number(ratio.upper))
}

/// Three digits or so: more would promise more than was measured.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value {
        value if value < 1.0 => 3,
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

/// How many targets were met.
pub(crate) fn verdict(outcomes: &[Outcome]) -> String {
    let all = outcomes.iter().flat_map(|outcome| {
        outcome.comparisons.iter().map(move |comparison| (outcome, comparison))
    });
    let with_target: Vec<_> = all.filter(|(_, comparison)| comparison.met().is_some()).collect();
    let missed = with_target.iter().filter(|(_, comparison)| comparison.met() == Some(false));
    let missed: Vec<_> = missed
        .map(|(outcome, comparison)| {
            let Comparison { label, ratio, target, .. } = comparison;
            let target = target.map_or_else(String::new, |target| target.to_string());
            let median = number(ratio.median);
            format!("missed: {}, {label}: {median}, target {target}\n", outcome.figure)
        })
        .collect();
    let met = with_target.len() - missed.len();
    let busy = outcomes.iter().find_map(busy).unwrap_or_default();
    format!("{}{busy}{met} of {} targets met\n", missed.concat(), with_target.len())
}

/// A remark when threads that share nothing were in each other's way.
fn busy(outcome: &Outcome) -> Option<String> {
    let control = outcome.comparisons.iter().find(|row| row.label == Control::NAME)?;
    let gain = control.ratio.median;
    (outcome.ratio == Ratio::Speed && gain < GAIN_MIN).then(|| {
        let gain = number(gain);
        let reason = format!("threads that share nothing gained only {gain}");
        format!("the machine was busy: {reason}, so figures with threads say little\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::example;

    #[test]
    fn a_table_has_all_there_is_to_know() {
        let text = text(&example());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "test & trial (ns a read; medians of 2 rounds)");
        let words = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>();
        let row = ["quick", "1.00", "2.00", "2.00", "2.00", "..", "2.00", "<=", "1.5", "MISSED"];
        assert_eq!(words(2), row);
        assert!(words(3).ends_with(&["<=", "0.25", "met"]));
        assert_eq!(words(4).len(), 7);
    }

    #[test]
    fn the_verdict_names_what_was_missed() {
        assert_eq!(
            verdict(&[example()]),
            "missed: test & trial, quick: 2.00, target <= 1.5\n1 of 2 targets met\n"
        );
    }

    #[test]
    fn a_busy_machine_is_named() {
        let mut outcome = example();
        Control::NAME.clone_into(&mut outcome.comparisons[2].label);
        assert!(!verdict(&[outcome]).contains("busy"));
        let mut outcome = example();
        Control::NAME.clone_into(&mut outcome.comparisons[2].label);
        outcome.ratio = Ratio::Speed;
        assert!(verdict(&[outcome]).contains("busy: threads that share nothing gained only 0.500"));
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!([0.1234, 1.234, 12.34, 123.4].map(number), ["0.123", "1.23", "12.3", "123"]);
    }
}
