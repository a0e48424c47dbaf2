//! The figures for programs: one object a line.

use crate::Group;
use crate::goals::quoted;
use crate::options::Allocator;
use crate::outcome::Outcome;
use anyhow::Result;
use benches::footprint::blocks::{
    BACKGROUND_CPU_SHARE, BACKGROUND_INTERVAL, BACKGROUND_START_ABOVE, BACKGROUND_STOP_BELOW,
};
use benches::footprint::report::{Background, Checkpoint, Refusal};
use benches::statistics::Goal;
use serde::Serialize;

#[derive(Serialize)]
struct Line<'o> {
    workload: String,
    allocator: &'static str,
    deleted_factor: Option<f64>,
    defragmented_factor: Option<f64>,
    end_factor: Option<f64>,
    settled_factor: Option<f64>,
    peak_factor: Option<f64>,
    efficiency: Option<f64>,
    /// That of peers with the same steps, by name.
    peer_efficiencies: Vec<(&'o str, f64)>,
    elapsed_s: f64,
    rounds: usize,
    /// All targets of the line; null where there are none.
    met: Option<bool>,
    targets: Vec<Target<'o>>,
    defragmentation: Option<Defragmentation>,
    background: Option<Background>,
    /// Its settings.
    background_cpu_share: Option<f64>,
    background_interval_s: Option<f64>,
    background_start_above: Option<f64>,
    background_stop_below: Option<f64>,
    refusal: Option<Refusal>,
    checkpoints: Vec<Named<'o>>,
    /// Figures of others that were not measured.
    quoted: &'static [[&'static str; 2]],
}

#[derive(Serialize)]
struct Target<'o> {
    figure: &'o str,
    value: f64,
    bound: &'static str,
    target: f64,
    met: bool,
}

#[derive(Serialize)]
struct Defragmentation {
    cpu_s: Option<f64>,
    elapsed_s: Option<f64>,
    moves: Option<f64>,
    peak_over_start: Option<f64>,
}

#[derive(Serialize)]
struct Named<'o> {
    stage: &'o str,
    #[serde(flatten)]
    checkpoint: Checkpoint,
}

/// The outcomes of a scenario, one a line.
pub(crate) fn lines(group: &Group) -> Result<String> {
    let goals = group.goals();
    let mut text = String::new();
    for outcome in &group.outcomes {
        text += &serde_json::to_string(&line(outcome, &goals))?;
        text.push('\n');
    }
    Ok(text)
}

fn line<'o>(outcome: &'o Outcome, goals: &'o [Goal]) -> Line<'o> {
    let is_ours = outcome.allocator == Allocator::Ours;
    let goals = if is_ours { goals } else { &[] };
    let target = |goal: &'o Goal| Target {
        figure: &goal.figure,
        value: goal.value,
        bound: goal.target.sign(),
        target: goal.target.limit(),
        met: goal.is_met(),
    };
    let background = outcome.background();
    let setting = |value: f64| background.map(|_| value);
    let named = |(stage, checkpoint)| Named { stage, checkpoint };
    Line {
        workload: outcome.scenario.to_string(),
        allocator: outcome.allocator.name(),
        deleted_factor: outcome.deleted_factor(),
        defragmented_factor: outcome.defragmented_factor(),
        end_factor: outcome.end_factor(),
        settled_factor: outcome.settled_factor(),
        peak_factor: outcome.peak_factor(),
        efficiency: outcome.efficiency(),
        peer_efficiencies: outcome.peers(),
        elapsed_s: outcome.elapsed_s(),
        rounds: outcome.reports.len(),
        met: (!goals.is_empty()).then(|| goals.iter().all(Goal::is_met)),
        targets: goals.iter().map(target).collect(),
        defragmentation: outcome.cpu_s().map(|cpu_s| Defragmentation {
            cpu_s: Some(cpu_s),
            elapsed_s: outcome.defragmentation_s(),
            moves: outcome.moves(),
            peak_over_start: outcome.peak_ratio(),
        }),
        background,
        background_cpu_share: setting(BACKGROUND_CPU_SHARE),
        background_interval_s: setting(BACKGROUND_INTERVAL.as_secs_f64()),
        background_start_above: setting(BACKGROUND_START_ABOVE),
        background_stop_below: setting(BACKGROUND_STOP_BELOW),
        refusal: outcome.refusal(),
        checkpoints: outcome.checkpoints().into_iter().map(named).collect(),
        quoted: if is_ours { quoted(outcome.scenario) } else { &[] },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::example;
    use benches::footprint::scenario::Scenario;
    use serde_json::{Value, json};

    fn values(scenario: Scenario, allocators: &[Allocator]) -> Vec<Value> {
        let outcomes = allocators.iter().map(|allocator| example(scenario, *allocator)).collect();
        let text = lines(&Group { scenario, outcomes }).unwrap();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[test]
    fn one_object_a_line() {
        let lines = values(Scenario::W3, &[Allocator::Ours, Allocator::Glibc]);
        assert_eq!(lines.len(), 2);
        for (key, value) in [
            ("workload", json!("W3")),
            ("allocator", json!("ours")),
            ("deleted_factor", json!(2.0)),
            ("defragmented_factor", json!(2.0)),
            ("end_factor", json!(2.0)),
            ("peak_factor", json!(1.5)),
            ("elapsed_s", json!(2.0)),
            ("efficiency", json!(null)),
            ("background_cpu_share", json!(1.0)),
            ("background_interval_s", json!(0.001)),
            ("background_start_above", json!(BACKGROUND_START_ABOVE)),
            ("background_stop_below", json!(0.01)),
            ("met", json!(false)),
        ] {
            assert_eq!(lines[0][key], value, "{key}");
        }
        let last = &lines[0]["checkpoints"][2];
        assert_eq!((&last["stage"], &last["live_bytes"]), (&json!("end"), &json!(100)));
        assert!(lines[1]["defragmented_factor"].is_null() && lines[1]["met"].is_null());
        assert!(lines[1]["background_cpu_share"].is_null());
    }

    #[test]
    fn what_does_not_apply_is_null() {
        let lines = values(Scenario::H1, &[Allocator::Ours]);
        let line = &lines[0];
        assert!(line["deleted_factor"].is_null() && line["defragmentation"].is_null());
        assert_eq!((&line["efficiency"], &line["met"]), (&json!(0.98), &json!(false)));
    }
}
