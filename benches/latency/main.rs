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

use crate::options::{Options, Parsed, Part};
use crate::readers::Pace;
use crate::report::Report;
use crate::targets::Target;
use anyhow::{Context, Result};
use benches::picture::PictureFile;
use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

/// A target was missed, and `--strict` was given.
const MISSED: u8 = 1;
/// A result was wrong, or nothing could be measured.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    let options = match options::parse(env::args_os()) {
        Parsed::Run(options) => options,
        Parsed::Help(text) => return exit(print(&text).map(|()| true)),
        Parsed::Wrong(line) => return refuse(&line),
    };
    exit(run(&options).map(|met| met || !options.strict))
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

fn exit(result: Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(MISSED),
        Err(error) => refuse(&format!("{error:#}")),
    }
}

/// Says in one line what is wrong.
fn refuse(reason: &str) -> ExitCode {
    eprintln!("error: {}", reason.split_whitespace().collect::<Vec<_>>().join(" "));
    ExitCode::from(UNUSABLE)
}
