//! What the programs do alike on the command line: arguments, output, exit status.
//!
//! The status is 0 when all was measured, [`MISSED`] when a target was missed and the user wants to be told by it, and
//! [`UNUSABLE`] when a result was wrong or nothing could be measured, with one line that says why.

use anyhow::{Context, Result};
use clap::Parser;
use clap::error::ErrorKind;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// A target was missed, and `--strict` was given.
pub const MISSED: u8 = 1;
/// Nothing could be measured, or a result was wrong.
pub const UNUSABLE: u8 = 2;

/// What the command line asks for.
#[derive(Debug)]
pub enum Parsed<O> {
    /// To measure.
    Run(O),
    /// The text that `--help` asks for.
    Help(String),
    /// One line that says what is wrong.
    Wrong(String),
}

/// Reads the command line; `check` says in one line what is wrong with options that are well formed.
pub fn parse<O: Parser>(
    arguments: impl IntoIterator<Item = OsString>,
    check: impl FnOnce(&O) -> Result<(), String>,
) -> Parsed<O> {
    match O::try_parse_from(arguments) {
        Ok(options) => match check(&options) {
            Ok(()) => Parsed::Run(options),
            Err(line) => Parsed::Wrong(line),
        },
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Parsed::Help(error.to_string()),
        Err(error) => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or("unusable arguments");
            Parsed::Wrong(line.trim_start_matches("error: ").to_owned())
        }
    }
}

/// Runs a program: `run` measures what is asked for, and says whether that is a success.
pub fn run<O>(parsed: Parsed<O>, run: impl FnOnce(&O) -> Result<bool>) -> ExitCode {
    let result = match parsed {
        Parsed::Run(options) => run(&options),
        Parsed::Help(text) => print(&text).map(|()| true),
        Parsed::Wrong(line) => return refuse(&line),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(MISSED),
        Err(error) => refuse(&format!("{error:#}")),
    }
}

/// Writes to the standard output. A reader that has gone away is no error.
///
/// # Errors
/// Anything else that the system says.
pub fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to the standard output")
        }
        _ => Ok(()),
    }
}

/// Says in one line what is wrong.
fn refuse(reason: &str) -> ExitCode {
    eprintln!("error: {}", reason.split_whitespace().collect::<Vec<_>>().join(" "));
    ExitCode::from(UNUSABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Options {
        #[arg(long)]
        count: u32,
    }

    fn parsed(arguments: &[&str]) -> Result<u32, String> {
        let arguments = std::iter::once("program").chain(arguments.iter().copied());
        let small =
            |options: &Options| if options.count < 9 { Ok(()) } else { Err("too many".to_owned()) };
        match parse(arguments.map(Into::into), small) {
            Parsed::Run(options) => Ok(options.count),
            Parsed::Help(text) | Parsed::Wrong(text) => Err(text),
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        assert_eq!(parsed(&["--count", "3"]), Ok(3));
        assert_eq!(parsed(&["--count", "9"]).unwrap_err(), "too many");
        assert!(parsed(&["--help"]).unwrap_err().lines().count() > 3);
        for line in [&["--count", "x"][..], &["--unknown"], &["--count", "3", "more"]] {
            let text = parsed(line).unwrap_err();
            assert!(text.lines().count() == 1 && !text.starts_with("error"), "{text}");
        }
    }
}
