//! Replays recorded allocation traces of real programs: typed pools and raw blocks share one heap,
//! reader threads check the contents of live objects all the time, and the heap is compacted under
//! them. At the end stands what was checked, what was moved, and how much memory went back to the
//! operating system.
//!
//! ```text
//! cargo run --release -p examples --example replay
//! cargo run --release -p examples --example replay -- --help
//! ```

mod cell;
mod compaction;
mod content;
mod heap_map;
mod measure;
mod object;
mod options;
mod outcome;
mod picture;
mod plan;
mod progress;
mod raw;
mod reader;
mod replay;
mod schedule;
mod store;
mod summary;
#[cfg(test)]
mod tests;
mod verdict;
mod worker;

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use examples::trace::Trace;

use crate::options::{Options, Parsed};
use crate::outcome::Report;
use crate::picture::PictureFile;
use crate::progress::Progress;

/// A check was wrong or an allocation failed.
const WRONG: u8 = 1;
/// An argument or a file is unusable.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    let options = match options::parse(env::args_os()) {
        Parsed::Run(options) => options,
        Parsed::Help(text) => return finish(print(&text), true),
        Parsed::Wrong(line) => return refuse(&line),
    };
    match replay_all(&options) {
        Ok(report) => {
            let shown = show(&report, &options);
            finish(shown, report.all_right())
        }
        Err(error) => refuse(&format!("{error:#}")),
    }
}

/// Replays every trace that the options name.
fn replay_all(options: &Options) -> Result<Report> {
    let paths = if options.traces.is_empty() { bundled() } else { options.traces.clone() };
    // A picture that cannot be written, or a broken file, shows before the work and not after it.
    let picture = options.picture.as_deref().map(PictureFile::open).transpose()?;
    if let [_, others @ ..] = &paths[..] {
        for path in others {
            Trace::read(path)?;
        }
    }
    let progress = Progress::new(options.json);
    let mut outcomes = Vec::new();
    for path in &paths {
        let trace = Trace::read(path)?;
        let outcome = replay::replay(&trace, options, &progress);
        outcomes.push(outcome.with_context(|| format!("cannot replay {}", path.display()))?);
    }
    let report = Report::new(outcomes);
    if let Some(picture) = picture {
        picture.write(&picture::draw(&report))?;
    }
    Ok(report)
}

/// The recordings that come with the project.
fn bundled() -> Vec<PathBuf> {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data");
    ["redis-shift.atrace.zst", "jq-group.atrace.zst"].map(|name| data.join(name)).to_vec()
}

/// Prints the report in the form that was asked for.
fn show(report: &Report, options: &Options) -> Result<()> {
    if options.json {
        return print(&(serde_json::to_string_pretty(report)? + "\n"));
    }
    let colours = console::colors_enabled() && env::var_os("NO_COLOR").is_none();
    console::set_colors_enabled(colours);
    print(&summary::text(report))
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

fn finish(printed: Result<()>, right: bool) -> ExitCode {
    match printed {
        Ok(()) if right => ExitCode::SUCCESS,
        Ok(()) => ExitCode::from(WRONG),
        Err(error) => refuse(&format!("{error:#}")),
    }
}

/// Says in one line what is unusable.
fn refuse(reason: &str) -> ExitCode {
    eprintln!("error: {}", reason.split_whitespace().collect::<Vec<_>>().join(" "));
    ExitCode::from(UNUSABLE)
}
