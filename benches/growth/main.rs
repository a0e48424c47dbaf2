//! How costs grow: with the number of live objects, with the bytes that a defragmentation has to move,
//! with threads and stripes.
//!
//! Nothing may grow with the number of live objects but by cache misses. So each figure stands
//! beside references of the same round that can grow by nothing else: `SlotMap`, boxes behind random
//! indices, a bare loop that makes the same copies as the moves. What counts is the growth of the
//! ratio to them.
//!
//! ```text
//! cargo run --release -p benches --bin growth -- --picture growth.svg
//! ```

mod defragment;
mod filled;
mod objects;
mod options;
mod picture;
mod sparse;
mod stores;
mod sweep;
mod table;
mod threads;

use crate::defragment::Case;
use crate::options::{Options, Plan};
use crate::sweep::Sweep;
use crate::threads::Grid;
use anyhow::{Context, Result};
use benches::cli::{self, print};
use benches::picture::PictureFile;
use benches::progress::Progress;
use std::env;
use std::process::ExitCode;
use std::thread;

/// All figures.
#[derive(Debug)]
struct Report {
    /// By the number of live objects.
    objects: Vec<Sweep>,
    defragmentations: Vec<Case>,
    /// By the number of threads.
    threads: [Sweep; 2],
    stripes: Grid,
}

fn main() -> ExitCode {
    let parsed = cli::parse(env::args_os(), |_| Ok(()));
    cli::run(parsed, |options| run(options).map(|()| true))
}

fn run(options: &Options) -> Result<()> {
    let plan = options.plan();
    let picture = options.picture.as_deref().map(PictureFile::open).transpose()?;
    let report = measure(&plan)?;
    if let Some(picture) = picture {
        picture.write(&picture::draw(&report).context("cannot draw the picture")?)?;
    }
    print(&if options.json { json(&report) } else { text(&report, &plan) })
}

fn measure(plan: &Plan) -> Result<Report> {
    let work = objects::work(plan) + defragment::work(plan) + threads::work(plan);
    let progress = Progress::new(work, false);
    let report = Report {
        objects: objects::sweeps(plan, &progress)?,
        defragmentations: defragment::cases(plan, &progress)?,
        threads: threads::sweeps(plan, &progress)?,
        stripes: threads::grid(plan, &progress)?,
    };
    progress.finish();
    Ok(report)
}

fn text(report: &Report, plan: &Plan) -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut text = format!(
        "Objects of 64 bytes; medians of {} rounds ({} of moves), contestants in turn; {cores} cores.\n\
         Growth: the last row against the first.\n",
        plan.rounds, plan.move_rounds,
    );
    let mut section = |title: &str, table: String| {
        text += &format!("\n{title}\n\n{table}");
    };
    for sweep in &report.objects {
        section(&format!("{}, against live objects", sweep.operation), sweep.table());
    }
    section(
        "a full defragmentation, against bytes to move",
        defragment::table(&report.defragmentations),
    );
    for sweep in &report.threads {
        let title = format!("{}, against threads: ns of a core", sweep.operation);
        section(&title, sweep.table());
    }
    section("replace, by stripes and threads: ns of a core", report.stripes.table());
    text
}

/// One figure a line.
fn json(report: &Report) -> String {
    let sweeps = report.objects.iter().chain(&report.threads).flat_map(Sweep::json);
    let values = sweeps.chain(defragment::json(&report.defragmentations));
    values.chain(report.stripes.json()).map(|value| format!("{value}\n")).collect()
}
