//! What callgrind saw: each executed instruction with its count, and what kind of instruction it is.

use crate::disassembly::{self, Kind};
use crate::operations::{Operation, Performed};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What one operation costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cost {
    pub(crate) instructions: f64,
    /// Atomic read-modify-writes and full fences: a locked instruction stalls for as long as dozens
    /// of others take, so it is counted on its own.
    pub(crate) locked: f64,
    pub(crate) system_calls: f64,
}

impl Cost {
    pub(crate) const fn new(instructions: f64, locked: f64, system_calls: f64) -> Self {
        Self { instructions, locked, system_calls }
    }
}

/// An instruction that was executed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Executed {
    pub(crate) times: u64,
    /// The function that it is in, as callgrind names it.
    pub(crate) function: String,
    /// The line that it was made from.
    pub(crate) source: String,
    pub(crate) text: String,
    pub(crate) kind: Kind,
}

/// By object file and address in it.
type Places = BTreeMap<(PathBuf, u64), Executed>;

/// An operation's instructions.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) performed: Performed,
    pub(crate) executed: Places,
}

impl Trace {
    /// Performs the operation in a process of its own, under callgrind.
    pub(crate) fn record(operation: Operation) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let file = directory.path().join("callgrind.out");
        let output = Command::new("valgrind")
            .args(["-q", "--tool=callgrind", "--collect-atstart=no"])
            .args(["--dump-instr=yes", "--compress-pos=no", "--compress-strings=no"])
            .arg(format!("--toggle-collect={}", operation.symbol()))
            .arg(format!("--callgrind-out-file={}", file.display()))
            .arg(env::current_exe().context("cannot find this program")?)
            .args(["--perform", &operation.name()])
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run valgrind")?;
        ensure!(output.status.success(), "performing {} failed", operation.name());
        let performed = performed(&String::from_utf8_lossy(&output.stdout))?;
        let text = std::fs::read_to_string(&file).context("cannot read what callgrind wrote")?;
        let mut executed = parse(&text)?;
        disassembly::fill_in(&mut executed)?;
        let trace = Self { performed, executed };
        trace.check_calls(operation)?;
        Ok(trace)
    }

    /// Makes sure that callgrind counted what was performed, all of it.
    fn check_calls(&self, operation: Operation) -> Result<()> {
        // The first instruction of a function is executed once a call; nothing jumps back to it.
        let mut own = self.executed.values().filter(|it| it.function == operation.symbol());
        let counted = own.next().map_or(0, |first| first.times);
        let calls = self.performed.calls;
        ensure!(counted == calls, "{} has {counted} calls, not {calls}", operation.symbol());
        Ok(())
    }

    /// Divided by the number of operations.
    pub(crate) fn cost(&self) -> Cost {
        let sum = |wanted: fn(Kind) -> bool| {
            let times = self.executed.values().filter(|it| wanted(it.kind)).map(|it| it.times);
            times.sum::<u64>() as f64 / self.performed.operations as f64
        };
        Cost::new(sum(|_| true), sum(|it| it == Kind::Locked), sum(|it| it == Kind::SystemCall))
    }
}

/// What the performing process prints.
pub(crate) fn performed_line(performed: Performed) -> String {
    format!("{} {}", performed.calls, performed.operations)
}

fn performed(line: &str) -> Result<Performed> {
    let numbers = line.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    match numbers[..] {
        [calls, operations] if operations > 0 => Ok(Performed { calls, operations }),
        _ => bail!("not what performing an operation prints: {line:?}"),
    }
}

/// Reads callgrind's format, positions and names not compressed. Sums over calls are left out.
fn parse(text: &str) -> Result<Places> {
    let mut places = Places::new();
    let (mut object, mut function, mut file) = (PathBuf::new(), "", "");
    let mut total = 0;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some((key, value)) = line.split_once('=') {
            match key {
                "ob" => object = PathBuf::from(value),
                "fn" => function = value,
                "fl" | "fi" | "fe" => file = value,
                // The line that follows has the cost of the whole call.
                "calls" => drop(lines.next()),
                _ => {}
            }
        } else if let Some(rest) = line.strip_prefix("0x") {
            let words: Vec<_> = rest.split_whitespace().collect();
            let [address, source_line, times] = words[..] else {
                bail!("not a line of callgrind's: {line}");
            };
            let address = u64::from_str_radix(address, 16)?;
            let place = places.entry((object.clone(), address)).or_default();
            place.times += times.parse::<u64>()?;
            place.function = function.to_owned();
            place.source = source(file, source_line);
        } else if let Some(sum) = line.strip_prefix("totals:") {
            total = sum.trim().parse()?;
        }
    }
    let sum: u64 = places.values().map(|it| it.times).sum();
    ensure!(sum == total && sum > 0, "callgrind counted {total} instructions, not {sum}");
    Ok(places)
}

/// The last two parts of a path, and the line.
fn source(file: &str, line: &str) -> String {
    let parts: Vec<_> = Path::new(file).iter().map(|part| part.to_string_lossy()).collect();
    let tail = &parts[parts.len().saturating_sub(2)..];
    if line == "0" { String::new() } else { format!("{}:{line}", tail.join("/")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
positions: instr line
events: Ir
summary: 70

ob=/bin/program
fl=/a/b/c/guard.rs
fn=count_get
0x10 7 20
fi=/a/slot.rs
0x14 0 20
cfn=other
calls=20 0x99
0x14 0 30
ob=/lib/libc.so
fn=other
0x10 8 30

totals: 70
";

    #[test]
    fn what_is_executed_is_summed_and_calls_are_not() {
        let places = parse(TEXT).expect("valid");
        let at = |object: &str, address| &places[&(PathBuf::from(object), address)];
        assert_eq!(places.len(), 3);
        assert_eq!(at("/bin/program", 0x10).times, 20);
        assert_eq!(at("/bin/program", 0x10).source, "c/guard.rs:7");
        assert_eq!(at("/bin/program", 0x14).source, "");
        assert_eq!(at("/lib/libc.so", 0x10).function, "other");
    }

    #[test]
    fn a_sum_that_is_wrong_is_noticed() {
        assert!(parse(&TEXT.replace("totals: 70", "totals: 71")).is_err());
        assert!(parse("totals: 0").is_err());
    }

    #[test]
    fn what_was_performed_survives_the_pipe() {
        let it = Performed { calls: 3, operations: 17 };
        assert_eq!(performed(&performed_line(it)).expect("valid"), it);
        assert!(performed("3 0").is_err() && performed("3").is_err());
    }
}
