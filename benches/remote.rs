//! Contestants in processes of their own: a process has one global allocator.
//!
//! The program starts each of them once and then asks for one round after the other over the pipes,
//! so that they take turns with all others: a line `round` goes there, the nanoseconds or what went
//! wrong comes back. The process ends when its input does.

use crate::contestants::{AskBlocks, Global, PointerBlocks};
use crate::footprint;
use crate::questions::{churning, raw_blocks};
use crate::rounds::{Contestant, Effort, Entrant};
use anyhow::{Context, Result, bail, ensure};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;

/// What a process with another global allocator can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// [`churning`] with boxes.
    Boxes {
        /// How many are there all the time.
        live: usize,
    },
    /// [`raw_blocks`] of the global allocator.
    Blocks {
        /// How many are there all the time.
        live: usize,
    },
}

const ASK: &str = "round";
const WRONG: &str = "wrong: ";

impl Question {
    /// The contestant `name`, which `program` answers for.
    #[must_use]
    pub fn entrant(self, name: String, program: PathBuf) -> Entrant {
        Entrant::new(name, move |effort| Remote::start(self, &program, effort))
    }

    fn contestant(self, effort: Effort) -> Result<Box<dyn Contestant>> {
        let entrant = match self {
            Self::Boxes { live } => churning::Alone { live }.boxes(),
            Self::Blocks { live } => {
                raw_blocks::RawBlocks { live }.entrant::<PointerBlocks<Global>>()
            }
        };
        entrant.prepare(effort)
    }

    /// As arguments of the process.
    fn arguments(self, effort: Effort) -> [String; 3] {
        let (name, live) = match self {
            Self::Boxes { live } => ("boxes", live),
            Self::Blocks { live } => ("blocks", live),
        };
        [name.to_owned(), live.to_string(), effort.span.as_micros().to_string()]
    }

    fn parse(arguments: &[String]) -> Result<(Self, Effort)> {
        let [name, live, micros] = arguments else { bail!("expected QUESTION LIVE MICROSECONDS") };
        let live = live.parse().context("LIVE is a number")?;
        let span = Duration::from_micros(micros.parse().context("MICROSECONDS is a number")?);
        let question = match name.as_str() {
            "boxes" => Self::Boxes { live },
            "blocks" => Self::Blocks { live },
            _ => bail!("QUESTION is boxes or blocks"),
        };
        Ok((question, Effort { span, cold_reads: 0 }))
    }
}

/// A process that answers, seen from the one that asks.
struct Remote {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Remote {
    fn start(question: Question, program: &Path, effort: Effort) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(question.arguments(effort)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let process = command.spawn();
        let mut process = process.with_context(|| format!("cannot start {}", program.display()))?;
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().context("no pipe from the process")?);
        Ok(Self { process, input, output })
    }
}

impl Contestant for Remote {
    fn round(&mut self) -> Result<f64> {
        let input = self.input.as_mut().context("no pipe to the process")?;
        writeln!(input, "{ASK}").context("the process has ended")?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        let answer = answer.trim_end();
        ensure!(!answer.is_empty(), "the process has ended");
        if let Some(reason) = answer.strip_prefix(WRONG) {
            bail!("{reason}");
        }
        answer.parse().with_context(|| format!("the process answers {answer}"))
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        drop(self.input.take());
        // What it has to say after the last round changes nothing.
        let _ = self.process.wait();
    }
}

/// The whole `main` of a process that answers: it only has to name its global allocator.
#[must_use]
pub fn serve() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let answered = match arguments.split_first() {
        Some((first, others)) if first == footprint::ASK => footprint::answer(others, io::stdout()),
        _ => answer(&arguments, io::stdin().lock(), io::stdout()),
    };
    match answered {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}; `compare` and `memory` start this program");
            ExitCode::FAILURE
        }
    }
}

fn answer(arguments: &[String], input: impl BufRead, mut output: impl Write) -> Result<()> {
    let (question, effort) = Question::parse(arguments)?;
    let mut contestant = None;
    for line in input.lines() {
        ensure!(line? == ASK, "expected lines that say {ASK}");
        let sample = match &mut contestant {
            Some(contestant) => contestant,
            none => none.insert(question.contestant(effort)?),
        }
        .round();
        match sample {
            Ok(nanoseconds) => writeln!(output, "{nanoseconds}")?,
            Err(error) => writeln!(output, "{WRONG}{error:#}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EFFORT: Effort = Effort { span: Duration::from_micros(50), cold_reads: 0 };

    #[test]
    fn arguments_say_what_was_asked() {
        for question in [Question::Boxes { live: 7 }, Question::Blocks { live: 9 }] {
            let (parsed, effort) = Question::parse(&question.arguments(EFFORT)).unwrap();
            assert_eq!((parsed, effort.span), (question, EFFORT.span));
        }
        assert!(Question::parse(&["boxes".to_owned()]).is_err());
    }

    #[test]
    fn each_line_is_answered_with_a_number() {
        for question in [Question::Boxes { live: 10 }, Question::Blocks { live: 10 }] {
            let mut output = Vec::new();
            answer(&question.arguments(EFFORT), &b"round\nround\n"[..], &mut output).unwrap();
            let output = String::from_utf8(output).unwrap();
            let samples: Vec<f64> = output.lines().map(|line| line.parse().unwrap()).collect();
            assert!(samples.len() == 2 && samples.iter().all(|sample| *sample > 0.0));
        }
        let arguments = Question::Boxes { live: 10 }.arguments(EFFORT);
        assert!(answer(&arguments, &b"nonsense\n"[..], Vec::new()).is_err());
    }

    #[test]
    fn a_process_that_is_not_there_or_ends_is_an_error() {
        let start =
            |program| Remote::start(Question::Boxes { live: 1 }, Path::new(program), EFFORT);
        assert!(start("/no/such/program").is_err());
        let mut ends_at_once = start("true").unwrap();
        assert!(ends_at_once.round().is_err());
    }
}
