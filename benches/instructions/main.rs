//! Counts the instructions of single operations with callgrind, and compares them with bounds: a
//! check that the noise of a machine cannot upset. Run by `.ci/instructions`.
//!
//! An instruction count alone does not see what an atomic read-modify-write costs. So each executed
//! instruction is looked up in the machine code, and those that lock, and system calls, are counted
//! on their own. What the kernel does is not counted.

mod bounds;
mod disassembly;
mod operations;
mod trace;

use crate::bounds::BOUNDS;
use crate::disassembly::Kind;
use crate::operations::Operation;
use crate::trace::{Cost, Trace};
use allocator_core::{BuildError, FenceMode, Heap};
use anyhow::{Context, Result, bail};
use clap::Parser;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

/// The exit status that says that nothing can be counted on this system.
const UNABLE: u8 = 3;

/// Counts the instructions of operations and compares them with their bounds.
#[derive(Debug, Parser)]
#[command(name = "instructions", max_term_width = 100)]
struct Options {
    /// What is counted; everything when none is named
    #[arg(value_name = "OPERATION")]
    operations: Vec<Operation>,

    /// Print the counts and bounds that would fit them, and compare nothing
    #[arg(long)]
    list: bool,

    /// Print the instructions that are executed, with their counts per operation
    #[arg(long, conflicts_with = "list")]
    listing: bool,

    /// Only perform the operation: what runs under callgrind
    #[arg(long, value_name = "OPERATION", hide = true, exclusive = true)]
    perform: Option<Operation>,
}

/// A bound of an operation, and what it costs.
type Counted = ((Operation, Cost), Cost);

fn main() -> ExitCode {
    let options = Options::parse();
    // With a plain fence each guard has a locked instruction, so the counts would not compare.
    let heap = Heap::builder().fence(FenceMode::Asymmetric).build();
    if matches!(heap, Err(BuildError::NoAsymmetricFence)) {
        eprintln!("the system offers no asymmetric fence (membarrier)");
        return ExitCode::from(UNABLE);
    }
    let done = match options.perform {
        Some(operation) => print(&trace::performed_line(operation.perform())),
        None => count(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Counts what was asked for.
fn count(options: &Options) -> Result<()> {
    let wanted = |it| options.operations.is_empty() || options.operations.contains(&it);
    let bounds: Vec<_> = BOUNDS.into_iter().filter(|(operation, _)| wanted(*operation)).collect();
    let traces = bounds.iter().map(|(operation, _)| Trace::record(*operation));
    let traces = traces.collect::<Result<Vec<_>>>()?;
    if options.listing {
        let each = bounds.iter().zip(&traces);
        return print(&each.map(|(bound, trace)| listing(bound.0, trace)).collect::<String>());
    }
    let counted: Vec<Counted> = bounds.into_iter().zip(traces.iter().map(Trace::cost)).collect();
    if options.list {
        let lines = counted.iter().map(|((operation, _), cost)| bound_line(*operation, *cost));
        return print(&lines.collect::<String>());
    }
    print(&table(&counted))?;
    let faults: Vec<_> = counted.iter().flat_map(faults).collect();
    if !faults.is_empty() {
        bail!("bound exceeded: {}", faults.join("; "));
    }
    Ok(())
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

/// The counts beside their bounds.
fn table(counted: &[Counted]) -> String {
    let mut text = format!(
        "{:<16} {:>12} {:>9}   {:>6} {:>6}   {:>12} {:>6}\n",
        "per operation", "instructions", "bound", "locked", "bound", "system calls", "bound"
    );
    for ((operation, bound), cost) in counted {
        let _: std::fmt::Result = writeln!(
            text,
            "{:<16} {:>12.2} {:>9.2}   {:>6.3} {:>6.3}   {:>12.4} {:>6.4}",
            operation.name(),
            cost.instructions,
            bound.instructions,
            cost.locked,
            bound.locked,
            cost.system_calls,
            bound.system_calls,
        );
    }
    text
}

/// What is above its bound.
fn faults(((operation, bound), cost): &Counted) -> Vec<String> {
    let figures = [
        ("instructions", cost.instructions, bound.instructions),
        ("locked instructions", cost.locked, bound.locked),
        ("system calls", cost.system_calls, bound.system_calls),
    ];
    let over = figures.into_iter().filter(|(_, cost, bound)| cost > bound);
    let say = |(what, cost, bound)| {
        format!("{} has {cost:.3} {what}, {bound} are allowed", operation.name())
    };
    over.map(say).collect()
}

/// A line for `bounds.rs`: a twentieth more than was counted, of locked instructions a hundredth. What
/// is not there at all stays forbidden.
fn bound_line(operation: Operation, cost: Cost) -> String {
    let up = |value: f64, parts: f64| (value * parts).ceil() / parts;
    format!(
        "    (Operation::{operation:?}, Cost::new({:?}, {:?}, {:?})), // {:.2}, {:.4}, {:.4}\n",
        up(cost.instructions * 1.05, 1.0),
        up(cost.locked * 1.01, 10.0),
        up(cost.system_calls * 1.05, 1000.0),
        cost.instructions,
        cost.locked,
        cost.system_calls,
    )
}

/// The executed instructions in the order of their addresses, with their times per operation; those
/// that lock or call the system are marked.
fn listing(operation: Operation, trace: &Trace) -> String {
    let mut text = format!("{}: {:.2} instructions\n", operation.name(), trace.cost().instructions);
    let mut at: Option<(&Path, &str)> = None;
    for ((object, _), executed) in &trace.executed {
        let place = (object.as_path(), executed.function.as_str());
        if at.replace(place) != Some(place) {
            text += &format!("\n  {}:\n", executed.function);
        }
        let times = executed.times as f64 / trace.performed.operations as f64;
        let mark = if executed.kind == Kind::Plain { ' ' } else { '!' };
        let line = format!("  {times:>9.4} {mark} {:<44} {}", executed.text, executed.source);
        text += line.trim_end();
        text += "\n";
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn each_figure_has_its_bound() {
        let bound = (Operation::Insert, Cost::new(20.0, 0.0, 0.0));
        assert_eq!(faults(&(bound, Cost::new(20.0, 0.0, 0.0))).len(), 0);
        assert_eq!(faults(&(bound, Cost::new(20.1, 0.0, 0.0))).len(), 1);
        assert_eq!(faults(&(bound, Cost::new(20.0, 0.001, 0.0))).len(), 1);
        assert_eq!(faults(&(bound, Cost::new(21.0, 1.0, 1.0))).len(), 3);
    }

    #[test]
    fn a_suggested_bound_fits() {
        let line = bound_line(Operation::Insert, Cost::new(100.2, 2.003, 0.0151));
        assert!(line.contains("(Operation::Insert, Cost::new(106.0, 2.1, 0.016)),"), "{line}");
    }
}
