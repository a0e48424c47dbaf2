//! How much memory contestants take for what they hold: workloads that shift, caches, heaps that are
//! thinned out.
//!
//! One process measures one contestant in one scenario and says what it found, as JSON: a process
//! has one global allocator, and a resident size of its own; only heaps that are filled are compared with
//! peers in one. All contestants are given the same blocks, from the same seeds, in the same order; the bytes of
//! every survivor are verified.
//!
//! * [`scenario`]: what can be measured.
//! * [`blocks`]: who is measured.
//! * [`report`]: what was found.
//! * [`resident`]: the resident size of the process, now and over time.
//! * [`live`], [`run`]: the blocks that are held, and the course of a measurement.
//! * [`shift`], [`cache`], [`thinned`], [`fill`]: the scenarios; [`arena`]: what is filled.

pub mod arena;
pub mod blocks;
pub mod cache;
pub mod fill;
pub mod live;
pub mod report;
pub mod resident;
pub mod run;
pub mod scenario;
pub mod shift;
pub mod thinned;

use crate::footprint::blocks::{HeapBlocks, Pools, SystemBlocks};
use crate::footprint::report::Report;
use crate::footprint::scenario::{Kind, Scenario};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the first argument of a process is that is to measure.
pub const ASK: &str = "footprint";

/// What one process is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// What is measured.
    pub scenario: Scenario,
    /// Whether our heap is measured, and not the global allocator of the process.
    pub ours: bool,
    /// Bytes that are live, for scenarios that shift; the capacity of heaps that are filled.
    pub bytes: u64,
    /// The other scenarios are this much smaller than they should be.
    pub divisor: u32,
    /// Seed of everything that is drawn.
    pub seed: u64,
}

impl Task {
    /// Measures, in this process.
    ///
    /// # Errors
    /// Wrong bytes, no room, or no resident size from the system.
    pub fn measure(&self) -> Result<Report> {
        let (bytes, divisor, seed) = (self.bytes, self.divisor, self.seed);
        match (self.scenario.kind(), self.ours) {
            (Kind::Shift(shift), true) => shift.measure::<HeapBlocks>(bytes, seed),
            (Kind::Shift(shift), false) => shift.measure::<SystemBlocks>(bytes, seed),
            (Kind::Cache(cache), true) => match cache.sizes {
                [240, 492] => cache.measure::<Pools<240, 492>>(divisor, seed),
                [150, 300] => cache.measure::<Pools<150, 300>>(divisor, seed),
                sizes => bail!("there are no pools for {sizes:?}"),
            },
            (Kind::Cache(cache), false) => cache.measure::<SystemBlocks>(divisor, seed),
            (Kind::Thinned(thinned), true) => thinned.measure::<HeapBlocks>(divisor, seed),
            (Kind::Thinned(thinned), false) => thinned.measure::<SystemBlocks>(divisor, seed),
            (Kind::Fill(fill), true) => fill.measure(bytes as usize, seed),
            (Kind::Fill(_), false) => bail!("a global allocator has no capacity to fill"),
        }
    }

    /// Measures in a process of its own.
    ///
    /// # Errors
    /// Those of the process.
    pub fn ask(&self, program: &Path) -> Result<Report> {
        let mut command = Command::new(program);
        command.arg(ASK).arg(serde_json::to_string(self)?).stdin(Stdio::null());
        let output = command.output();
        let output = output.with_context(|| format!("cannot start {}", program.display()))?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {}", output.status, complaint.trim_end());
        serde_json::from_slice(&output.stdout).context("the process does not answer as expected")
    }
}

/// Answers a process that was started by [`Task::ask`]: `arguments` are those behind [`ASK`].
///
/// # Errors
/// Those of [`Task::measure`], and arguments that make no sense.
pub fn answer(arguments: &[String], mut output: impl Write) -> Result<()> {
    let [task] = arguments else { bail!("expected {ASK} TASK") };
    let task: Task = serde_json::from_str(task).context("TASK is a task, as JSON")?;
    let report = task.measure()?;
    Ok(writeln!(output, "{}", serde_json::to_string(&report)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_understood_and_answered() {
        let task = Task { scenario: Scenario::W3, ours: true, bytes: 1 << 18, divisor: 1, seed: 1 };
        let mut output = Vec::new();
        answer(&[serde_json::to_string(&task).unwrap()], &mut output).unwrap();
        let report: Report = serde_json::from_slice(&output).unwrap();
        assert!(report.end.unwrap().live_bytes > (1 << 18) - 200);
        assert!(answer(&["W3".to_owned()], Vec::new()).is_err());
        assert!(answer(&[], Vec::new()).is_err());
    }

    #[test]
    fn a_process_that_does_not_answer_is_an_error() {
        let task = Task { scenario: Scenario::W1, ours: false, bytes: 1, divisor: 1, seed: 1 };
        for program in ["/no/such/program", "true", "false"] {
            assert!(task.ask(Path::new(program)).is_err());
        }
    }
}
