//! How much memory ours and its peers take for what they hold, over time and in the end.
//!
//! ```text
//! cargo run --release -p benches --bin memory
//! cargo run --release -p benches --bin memory -- --quick --workload W3,R1
//! cargo run --release -p benches --bin memory -- --json --picture memory.svg
//! cargo run --release -p benches --bin memory -- --help
//! ```
//!
//! Each measurement has a process of its own (`benches::footprint`); allocators take turns. The run
//! says which targets are met.

mod goals;
mod json;
mod options;
mod outcome;
mod picture;
mod table;

use crate::options::{Allocator, Options};
use crate::outcome::Outcome;
use anyhow::{Context, Result};
use benches::cli::{self, print};
use benches::footprint::Task;
use benches::footprint::scenario::Scenario;
use benches::picture::PictureFile;
use benches::programs;
use benches::progress::Progress;
use benches::statistics::Goal;
use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    let parsed = options::parse(env::args_os());
    cli::run(parsed, |options| Ok(run(options)? || !options.strict))
}

/// Measures what the options ask for; whether every target was met.
fn run(options: &Options) -> Result<bool> {
    let picture = options.picture.as_deref().map(PictureFile::open).transpose()?;
    programs::provide()?;
    let scenarios = options.scenarios();
    let steps = scenarios
        .iter()
        .map(|scenario| options.rounds(*scenario) as usize * options.allocators(*scenario).len());
    let progress = Progress::new(steps.sum(), false);
    let mut groups = Vec::new();
    for scenario in scenarios {
        let group = measure(scenario, options, &progress)?;
        let shown = if options.json { json::lines(&group)? } else { table::text(&group, options) };
        progress.hidden_while(|| print(&shown))?;
        groups.push(group);
    }
    progress.finish();
    if let Some(picture) = picture {
        picture.write(&picture::draw(&groups).context("cannot draw the picture")?)?;
    }
    let goals: Vec<_> = groups.iter().map(|group| (group.scenario, group.goals())).collect();
    if !options.json {
        print(&table::verdict(&goals))?;
    }
    Ok(goals.iter().flat_map(|(_, goals)| goals).all(Goal::is_met))
}

/// What came out in one scenario.
struct Group {
    scenario: Scenario,
    /// One for each allocator.
    outcomes: Vec<Outcome>,
}

impl Group {
    fn outcome(&self, allocator: Allocator) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.allocator == allocator)
    }

    /// The targets of ours.
    fn goals(&self) -> Vec<Goal> {
        let ours = self.outcome(Allocator::Ours);
        ours.map_or_else(Vec::new, |ours| goals::goals(ours, self.outcome(Allocator::Glibc)))
    }
}

/// Measures all allocators of a scenario, in every round another one first.
fn measure(scenario: Scenario, options: &Options, progress: &Progress) -> Result<Group> {
    let allocators = options.allocators(scenario);
    let outcome =
        |allocator: &Allocator| Outcome { scenario, allocator: *allocator, reports: Vec::new() };
    let mut outcomes: Vec<_> = allocators.iter().map(outcome).collect();
    for round in 0..options.rounds(scenario) {
        for turn in 0..allocators.len() {
            let outcome = &mut outcomes[(turn + round as usize) % allocators.len()];
            let allocator = outcome.allocator;
            progress.say(format_args!("{scenario}, {}", allocator.name()));
            let task = Task {
                scenario,
                ours: allocator == Allocator::Ours,
                bytes: options.bytes(scenario),
                divisor: options.divisor(),
                seed: u64::from(round) + 1,
            };
            let report = task.ask(&programs::path(allocator.program()));
            let report = report.with_context(|| format!("{scenario}, {}", allocator.name()))?;
            outcome.reports.push(report);
            progress.done();
        }
    }
    outcomes.retain(|outcome| !outcome.reports.is_empty());
    Ok(Group { scenario, outcomes })
}
