//! The figures for programs: one object a line.

use crate::outcome::{Comparison, Outcome};
use anyhow::Result;
use benches::statistics::{Ratio, Target};
use serde::Serialize;

#[derive(Serialize)]
struct Line<'o> {
    figure: &'o str,
    ours: &'o str,
    peer: &'o str,
    ratio: f64,
    target: Option<f64>,
    met: Option<bool>,
    bound: Option<&'static str>,
    kind: &'static str,
    quartiles: [f64; 2],
    range: [f64; 2],
    ours_ns: f64,
    peer_ns: f64,
    unit: &'static str,
    rounds: usize,
}

/// The comparisons of a figure, one a line.
pub(crate) fn lines(outcome: &Outcome) -> Result<String> {
    let mut text = String::new();
    for comparison in &outcome.comparisons {
        text += &serde_json::to_string(&line(outcome, comparison))?;
        text.push('\n');
    }
    Ok(text)
}

fn line<'o>(outcome: &'o Outcome, comparison: &'o Comparison) -> Line<'o> {
    let Comparison { ours, peer, ours_ns, peer_ns, ratio, target, .. } = comparison;
    Line {
        figure: &outcome.figure,
        ours,
        peer,
        ratio: ratio.median,
        target: target.map(Target::limit),
        met: comparison.met(),
        bound: target.map(Target::sign),
        kind: match outcome.ratio {
            Ratio::Time => "time",
            Ratio::Speed => "speed",
        },
        quartiles: [ratio.lower, ratio.upper],
        range: [ratio.min, ratio.max],
        ours_ns: ours_ns.median,
        peer_ns: peer_ns.median,
        unit: outcome.unit,
        rounds: outcome.rounds,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::example;
    use serde_json::{Value, json};

    #[test]
    fn one_object_a_line() {
        let text = lines(&example()).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(lines.len(), 3);
        for (key, value) in [
            ("figure", json!("test & trial")),
            ("ours", json!("pool")),
            ("peer", json!("quick")),
            ("ratio", json!(2.0)),
            ("target", json!(1.5)),
            ("bound", json!("<=")),
            ("met", json!(false)),
            ("quartiles", json!([2.0, 2.0])),
            ("peer_ns", json!(1.0)),
            ("rounds", json!(2)),
        ] {
            assert_eq!(lines[0][key], value, "{key}");
        }
        assert!(lines[2]["target"].is_null() && lines[2]["met"].is_null());
    }
}
