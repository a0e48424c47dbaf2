//! The targets, and figures of others that are quoted.

use crate::outcome::Outcome;
use benches::footprint::scenario::Scenario;
use benches::statistics::{Goal, Target};

/// Most time that a workload may take, over glibc's.
const TIME_RATIO: f64 = 1.5;

/// Most processor time that the defragmentation of R3 may take, in seconds.
const CPU_MAX: f64 = 0.15;

/// What the factor is to be after a defragmentation.
fn defragmented(scenario: Scenario) -> Option<f64> {
    Some(match scenario {
        Scenario::W3 | Scenario::W8 => 2.2,
        Scenario::W5 => 2.1,
        Scenario::W6 => 1.35,
        Scenario::W7 => 1.25,
        Scenario::R1 | Scenario::R4 => 1.12,
        Scenario::R2 => 1.15,
        Scenario::R3 => 1.1,
        _ => return None,
    })
}

/// What the factor is to be at the end.
fn end(scenario: Scenario) -> Option<f64> {
    Some(match scenario {
        Scenario::W1 | Scenario::W2 | Scenario::W3 => 1.25,
        Scenario::W4 | Scenario::W5 | Scenario::W6 | Scenario::W7 | Scenario::W8 => 1.15,
        _ => return None,
    })
}

/// What share of the capacity is to be usable.
fn efficiency(scenario: Scenario) -> Option<f64> {
    Some(match scenario {
        Scenario::H1 => 0.99,
        Scenario::H2 => 0.999,
        Scenario::U1 | Scenario::U2 => 0.97,
        _ => return None,
    })
}

/// The targets that our outcome has; `glibc` is that of the same run.
pub(crate) fn goals(ours: &Outcome, glibc: Option<&Outcome>) -> Vec<Goal> {
    let scenario = ours.scenario;
    let is_shift = end(scenario).is_some();
    let most = |figure: &str, value: Option<f64>, limit: Option<f64>| {
        Some(Goal { figure: figure.to_owned(), value: value?, target: Target::AtMost(limit?) })
    };
    let time_ratio = glibc.map(|glibc| ours.elapsed_s() / glibc.elapsed_s());
    let is_r3 = scenario == Scenario::R3;
    [
        most("defragmented", ours.defragmented_factor(), defragmented(scenario)),
        most("end", ours.end_factor(), end(scenario)),
        most("time / glibc's", time_ratio, is_shift.then_some(TIME_RATIO)),
        most("peak / start of the defragmentation", ours.peak_ratio(), Some(1.0)),
        most("cpu seconds of the defragmentation", ours.cpu_s(), is_r3.then_some(CPU_MAX)),
        ours.efficiency().zip(efficiency(scenario)).map(|(value, limit)| Goal {
            figure: "efficiency".to_owned(),
            value,
            target: Target::AtLeast(limit),
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What others say of themselves in a scenario; it was not measured in this run.
pub(crate) fn quoted(scenario: Scenario) -> &'static [[&'static str; 2]] {
    match scenario {
        Scenario::R1 => &[
            ["Mesh", "1.71"],
            ["Redis 7.0", "3.41 -> 1.51 (net of its index about 1.23), 1.1 s of CPU in 3.5 s"],
        ],
        Scenario::R2 => &[
            ["Mesh", "1.49"],
            ["Redis 7.0", "2.10 -> 1.48 (net of its index 1.15), 0.9 s of CPU in 2.5 s"],
        ],
        Scenario::R3 => &[
            ["Mesh", "3.43, 0.34 s of CPU"],
            ["Redis 7.0", "4.65 -> 1.44 (net of its index 1.22), 1.2 s of CPU in 3.2 s"],
        ],
        Scenario::R4 => &[
            ["Mesh", "1.52"],
            ["Redis 7.0", "2.46 -> 1.69 (net of its index 1.08), 1.2 s of CPU in 3.4 s"],
        ],
        Scenario::H1 => &[
            ["dlmalloc", "0.9905"],
            ["rlsf", "0.9897"],
            ["talc", "0.976"],
            ["offset-allocator", "0.976"],
            ["buddy", "0.677"],
        ],
        Scenario::U1 | Scenario::U2 => &[["offset-allocator", "0.75"], ["rlsf", "0.745"]],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Allocator;
    use crate::outcome::example;

    #[test]
    fn figures_are_held_against_their_targets() {
        let ours = example(Scenario::W3, Allocator::Ours);
        let glibc = example(Scenario::W3, Allocator::Glibc);
        let goals = goals(&ours, Some(&glibc));
        let verdicts: Vec<_> =
            goals.iter().map(|goal| (goal.figure.as_str(), goal.is_met())).collect();
        assert_eq!(
            verdicts,
            [
                ("defragmented", true),
                ("end", false),
                ("time / glibc's", true),
                ("peak / start of the defragmentation", false),
            ]
        );
        assert_eq!(goals[2].value, 1.0);
    }

    #[test]
    fn every_scenario_has_targets() {
        for scenario in Scenario::all() {
            let ours = example(*scenario, Allocator::Ours);
            assert!(
                goals(&ours, None)
                    .iter()
                    .any(|goal| { goal.figure != "peak / start of the defragmentation" })
            );
        }
        let cpu = goals(&example(Scenario::R3, Allocator::Ours), None).pop().unwrap();
        assert!(cpu.figure.starts_with("cpu") && cpu.is_met());
    }
}
