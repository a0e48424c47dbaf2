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
mod watchdog;

use crate::options::{Options, Part};
use crate::readers::Pace;
use crate::report::{Report, Target};
use anyhow::{Context, Result};
use clap::Parser;
use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;

/// A target was missed, and `--strict` was given.
const MISSED: u8 = 1;
/// A result was wrong, or nothing could be measured.
const WRONG: u8 = 2;

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(met) if met || !options.strict => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(MISSED),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(WRONG)
        }
    }
}

/// Measures everything; whether all targets were met.
fn run(options: &Options) -> Result<bool> {
    // A picture that cannot be written shows before the work and not after it.
    let picture = options.picture.as_ref().map(|path| {
        File::create(path).with_context(|| format!("cannot write the picture {}", path.display()))
    });
    let picture = picture.transpose()?;
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
    if let Some(mut file) = picture {
        let drawn = picture::draw(&report).context("cannot draw the picture")?;
        file.write_all(drawn.as_bytes()).context("cannot write the picture")?;
    }
    print(&if options.json { report.json() } else { report.text() })?;
    Ok(report.targets().iter().all(Target::met))
}

/// Writes to the standard output. A reader that has gone away is no error.
fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to the standard output")
        }
        _ => Ok(()),
    }
}
