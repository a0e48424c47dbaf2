//! The figures for people.

use crate::Group;
use crate::goals::quoted;
use crate::options::Options;
use crate::outcome::{Outcome, Shares};
use benches::footprint::blocks::{
    BACKGROUND_CPU_SHARE, BACKGROUND_INTERVAL, BACKGROUND_START_ABOVE, BACKGROUND_STOP_BELOW,
};
use benches::footprint::report::{Background, Checkpoint, Refusal};
use benches::footprint::scenario::{Kind, Scenario};
use benches::statistics::Goal;
use benches::table::aligned;
use clap::ValueEnum;

/// A scenario: what came out for each allocator, the targets, and where our bytes are.
pub(crate) fn text(group: &Group, options: &Options) -> String {
    let Group { scenario, outcomes } = group;
    let help = scenario.to_possible_value().and_then(|value| value.get_help().cloned());
    let mib = options.bytes(*scenario) >> 20;
    let size = match scenario.kind() {
        Kind::Shift(_) => format!("{mib} MiB live"),
        Kind::Fill(_) => format!("{mib} MiB of capacity"),
        _ if options.divisor() > 1 => format!("{} times smaller", options.divisor()),
        _ => "as Redis was measured".to_owned(),
    };
    let rounds = outcomes.first().map_or(0, |outcome| outcome.reports.len());
    let rounds =
        if rounds == 1 { "measured once".to_owned() } else { format!("medians of {rounds}") };
    let what = help.map(|help| help.to_string()).unwrap_or_default();
    let mut text = format!("{scenario}: {what} ({size}; {rounds})\n");
    text += &if scenario.fits_any_allocator() { factors(outcomes) } else { efficiency(outcomes) };
    for (name, share) in outcomes.iter().flat_map(Outcome::peers) {
        text += &format!("  efficiency of {name} with the same steps: {}\n", number(share));
    }
    for [name, figures] in quoted(*scenario) {
        text += &format!("  quoted, not measured: {name} {figures}\n");
    }
    for goal in group.goals() {
        let Goal { figure, value, target } = &goal;
        let verdict = if goal.is_met() { "met" } else { "MISSED" };
        text += &format!("  {figure}: {}, target {target}, {verdict}\n", number(*value));
    }
    for outcome in outcomes {
        text += &shares(outcome);
        text += &background(outcome);
        text += &refusal(outcome);
    }
    text + "\n"
}

fn factors(outcomes: &[Outcome]) -> String {
    let head = [
        "allocator",
        "deleted",
        "defragmented",
        "end",
        "settled",
        "peak",
        "seconds",
        "of it defragmenting",
    ];
    let row = |outcome: &Outcome| {
        let cells = [
            outcome.deleted_factor(),
            outcome.defragmented_factor(),
            outcome.end_factor(),
            outcome.settled_factor(),
            outcome.peak_factor(),
            Some(outcome.elapsed_s()),
            outcome.defragmentation_s(),
        ];
        let cells = cells.map(|cell| cell.map_or_else(String::new, number));
        [outcome.allocator.name().to_owned()].into_iter().chain(cells).collect()
    };
    aligned(&head, &outcomes.iter().map(row).collect::<Vec<_>>(), 1)
}

fn efficiency(outcomes: &[Outcome]) -> String {
    let row = |outcome: &Outcome| {
        let efficiency = outcome.efficiency().map_or_else(String::new, number);
        vec![outcome.allocator.name().to_owned(), efficiency, number(outcome.elapsed_s())]
    };
    let rows: Vec<_> = outcomes.iter().map(row).collect();
    aligned(&["allocator", "efficiency", "seconds"], &rows, 1)
}

/// Where the bytes of ours are, over payload; nothing for the others.
fn shares(outcome: &Outcome) -> String {
    let share = |(stage, checkpoint): (&str, Checkpoint)| {
        let shares = Shares::of(&checkpoint, checkpoint.account.as_ref()?);
        let Shares { payload, rounding, kept, cells, rest, outside } = shares;
        let [payload, rounding, kept, cells, rest, outside] =
            [payload, rounding, kept, cells, rest, outside].map(|share| format!("{share:.3}"));
        Some(format!(
            "  {stage}: payload {payload}, rounding {rounding}, retired and cached {kept}, \
             free cells {cells}, slab headers and free runs {rest}, \
             outside the buffer {outside}\n"
        ))
    };
    outcome.checkpoints().into_iter().filter_map(share).collect()
}

/// What the background defragmenter did, where there is one.
fn background(outcome: &Outcome) -> String {
    let Some(done) = outcome.background() else { return String::new() };
    let Background { passes, moves, freed_bytes, busy_s, waste, .. } = done;
    let freed_mib = freed_bytes as f64 / f64::from(1 << 20);
    format!(
        "  in the background: {passes} passes, {moves} moves, {freed_mib:.1} MiB given back, \
         busy for {} s, waste at last {waste:.3}\n  \
         its settings, no defaults: cpu_share {BACKGROUND_CPU_SHARE}, interval {BACKGROUND_INTERVAL:?}, \
         start_above {BACKGROUND_START_ABOVE}, stop_below {BACKGROUND_STOP_BELOW}\n",
        number(busy_s)
    )
}

/// What a full heap had left.
fn refusal(outcome: &Outcome) -> String {
    let Some(refusal) = outcome.refusal() else { return String::new() };
    let Refusal { requested_bytes, largest_bytes, .. } = refusal;
    let kib = |bytes: u64| format!("{:.0} KiB", bytes as f64 / 1024.0);
    format!(
        "  refused: {requested_bytes} bytes, the largest room is {largest_bytes}; rounding {}, \
         free cells {}, free runs {}\n",
        kib(refusal.block_bytes.saturating_sub(refusal.live_bytes)),
        kib(refusal.free_cell_bytes),
        kib(refusal.free_run_bytes),
    )
}

/// Three digits behind the point for what is held against targets; fewer for more.
fn number(value: f64) -> String {
    let decimals = if value < 10.0 { 3 } else { 1 };
    // What is not quite there must not look as if it was.
    let decimals = if value != 1.0 && (value - 1.0).abs() < 0.0015 { 5 } else { decimals };
    format!("{value:.decimals$}")
}

/// How many targets were met.
pub(crate) fn verdict(goals: &[(Scenario, Vec<Goal>)]) -> String {
    let all =
        || goals.iter().flat_map(|(scenario, goals)| goals.iter().map(move |it| (scenario, it)));
    let missed: Vec<_> = all()
        .filter(|(_, goal)| !goal.is_met())
        .map(|(scenario, Goal { figure, value, target })| {
            format!("missed: {scenario}, {figure}: {}, target {target}\n", number(*value))
        })
        .collect();
    let count = all().count();
    format!("{}{} of {count} targets met\n", missed.concat(), count - missed.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Allocator, parse};
    use crate::outcome::example;
    use benches::cli::Parsed;

    fn group(scenario: Scenario) -> Group {
        let allocators =
            if scenario.fits_any_allocator() { &Allocator::ALL[..2] } else { &[Allocator::Ours] };
        let outcomes = allocators.iter().map(|allocator| example(scenario, *allocator)).collect();
        Group { scenario, outcomes }
    }

    fn shown(scenario: Scenario) -> String {
        let Parsed::Run(options) = parse(["memory".into(), "--quick".into()]) else {
            panic!("they are right")
        };
        text(&group(scenario), &options)
    }

    #[test]
    fn a_table_has_all_there_is_to_know() {
        let text = shown(Scenario::W3);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].ends_with("then 130 B (16 MiB live; measured once)"), "{text}");
        let words = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>();
        assert_eq!(
            words(2),
            ["ours", "2.000", "2.000", "2.000", "2.000", "1.500", "2.000", "0.200"]
        );
        assert_eq!(words(3), ["glibc", "2.000", "2.000", "2.000", "1.500", "2.000"]);
        assert!(text.contains("end: 2.000, target <= 1.25, MISSED"), "{text}");
        assert!(text.contains("in the background: 0 passes"), "{text}");
        assert!(
            text.contains("cpu_share 1, interval 1ms, start_above 0.025, stop_below 0.01"),
            "{text}"
        );
        assert!(text.contains("deleted: payload 1.000, rounding 0.200, retired and cached 0.150"));
    }

    #[test]
    fn quoted_figures_are_marked() {
        let text = shown(Scenario::R3);
        assert!(text.contains("quoted, not measured: Redis 7.0 4.65 -> 1.44"), "{text}");
        assert!(text.contains("16 times smaller"), "{text}");
        assert!(shown(Scenario::U1).contains("efficiency: 0.980, target >= 0.97, met"));
        assert!(shown(Scenario::U1).contains("refused: 0 bytes"));
        assert!(shown(Scenario::U1).contains("efficiency of rlsf with the same steps: 0.750"));
    }

    #[test]
    fn the_verdict_names_what_was_missed() {
        let goals = [Scenario::H1, Scenario::U1].map(|it| (it, group(it).goals()));
        assert_eq!(
            verdict(&goals),
            "missed: H1, efficiency: 0.980, target >= 0.99\n1 of 2 targets met\n"
        );
        assert_eq!(number(0.99896), "0.99896");
    }
}
