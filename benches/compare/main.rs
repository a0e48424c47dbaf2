//! Measures ours beside its peers, in one run: every contestant of a question is asked once in each
//! round, in an order that changes, and what counts is the median of the ratios of the rounds.
//!
//! ```text
//! cargo run --release -p benches --bin compare
//! cargo run --release -p benches --bin compare -- --quick --only "one guard"
//! cargo run --release -p benches --bin compare -- --json --picture figures.svg
//! cargo run --release -p benches --bin compare -- --help
//! ```
//!
//! Every figure has targets, and the run says which are met. The targets are ratios; the times
//! beside them promise nothing beyond the machine of the run. Every result is checked in every
//! round; a wrong one, of any contestant, ends the run.

mod figures;
mod json;
mod machine;
mod options;
mod outcome;
mod picture;
mod progress;
mod question;
mod table;

use crate::options::Options;
use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::question::Question;
use anyhow::{Context, Result};
use benches::cli::{self, print};
use benches::picture::PictureFile;
use benches::programs;
use benches::rounds::take_turns;
use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    let parsed = options::parse(env::args_os());
    cli::run(parsed, |options| Ok(run(options)? || !options.strict))
}

/// Measures what the options ask for; whether every target was met.
fn run(options: &Options) -> Result<bool> {
    let questions = figures::chosen(&options.only)?;
    if options.list {
        print(&figures::list(&questions))?;
        return Ok(true);
    }
    let picture = options.picture.as_deref().map(PictureFile::open).transpose()?;
    if questions.iter().any(|question| question.has_programs) {
        programs::provide()?;
    }
    let progress = Progress::new(&questions, options);
    let mut outcomes: Vec<Outcome> = Vec::new();
    for question in &questions {
        if let Some(reason) = machine::lacks(question.bytes) {
            progress.note(&format!("skipped: {}: {reason}", question.name));
            continue;
        }
        for outcome in ask(question, options, &progress)? {
            let shown = if options.json { json::lines(&outcome)? } else { table::text(&outcome) };
            progress.hidden_while(|| print(&shown))?;
            outcomes.push(outcome);
        }
    }
    progress.finish();
    if let Some(picture) = picture {
        picture.write(&picture::draw(&outcomes).to_string())?;
    }
    if !options.json {
        print(&table::verdict(&outcomes))?;
    }
    Ok(outcomes.iter().all(Outcome::met))
}

/// Measures the contestants of one question; the figures that are drawn from it.
fn ask(question: &Question, options: &Options, progress: &Progress) -> Result<Vec<Outcome>> {
    progress.start(&question.name);
    let rounds = options.rounds(question.is_slow);
    let samples = take_turns(&question.entrants, rounds, options.effort(), || progress.step());
    let samples = samples.with_context(|| question.name.clone())?;
    Ok(question.figures.iter().map(|figure| Outcome::new(question, figure, &samples)).collect())
}
