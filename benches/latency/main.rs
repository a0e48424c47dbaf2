//! Readers while nothing runs, while full defragmentations run, and while the background one runs; how fast
//! blocks are moved; how well budgets of time are kept.
//!
//! ```text
//! cargo run --release -p benches --bin latency -- --picture latency.svg
//! cargo run --release -p benches --bin latency -- --quick --json
//! ```
//!
//! Scenes take turns within one run, and moves stand beside bare copies of the same bytes, so that what counts
//! are ratios. Every read is checked, and the heap is verified after each part.

mod budgets;
mod moving;
mod options;
mod picture;
mod readers;
mod report;
mod samples;
mod targets;
mod watchdog;

use crate::options::{Options, Part};
use crate::readers::Pace;
use crate::report::Report;
use anyhow::{Context, Result};
use benches::cli::{self, print};
use benches::picture::PictureFile;
use benches::statistics::Goal;
use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    let parsed = options::parse(env::args_os());
    cli::run(parsed, |options| Ok(run(options)? || !options.strict))
}

/// Measures everything; whether all targets were met.
fn run(options: &Options) -> Result<bool> {
    let picture = options.picture.as_deref().map(PictureFile::open).transpose()?;
    let mut report = Report::default();
    if options.wants(Part::Readers) {
        for pace in [Pace::Full, Pace::Rate(options.rate)] {
            report.readers.push(readers::measure(options, pace).context("readers")?);
        }
    }
    if options.wants(Part::Moving) {
        report.moves = moving::measure(options.rounds()).context("moves")?;
    }
    if options.wants(Part::Budgets) {
        report.budgets = Some(budgets::measure(options.passes()).context("budgets")?);
    }
    if let Some(picture) = picture {
        picture.write(&picture::draw(&report).context("cannot draw the picture")?)?;
    }
    print(&if options.json { report.json() } else { report.text() })?;
    Ok(report.goals().iter().all(Goal::is_met))
}
