//! The command line.

use benches::cli::{self, Parsed};
use benches::rounds::Effort;
use clap::Parser;
use clap::builder::RangedU64ValueParser;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Measures ours beside its peers: reading, inserting and removing, threads, raw blocks.
///
/// All contestants of a question take turns, round by round, in an order that changes. A ratio is
/// the median of the ratios of the rounds; its quartiles stand beside it. Results are checked in
/// every round.
///
/// The exit status is 0 when everything was measured, whether targets were met or not, 1 when one
/// was missed and --strict is given, and 2 when a result was wrong or nothing could be measured.
#[derive(Clone, Debug, Parser)]
#[command(name = "compare", max_term_width = 100)]
pub(crate) struct Options {
    /// Measure only the figures whose name contains this text; may be given more than once
    #[arg(long, value_name = "TEXT")]
    pub(crate) only: Vec<String>,

    /// Print the figures and their targets, and measure nothing
    #[arg(long)]
    pub(crate) list: bool,

    /// Take fewer and shorter samples: half a minute instead of some minutes
    #[arg(long)]
    pub(crate) quick: bool,

    /// Ask each contestant this often [default: 21, slow questions 11; with --quick 5 and 2]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    pub(crate) rounds: Option<usize>,

    /// Print one JSON object a line instead of tables
    ///
    /// Each is one comparison: figure, ours, peer, ratio (the median), target and met (null where
    /// there is no target), bound (how the ratio is to stand to the target), kind (time: our time
    /// over the peer's; speed: our speed over the peer's), quartiles and range of the ratio, the
    /// median times ours_ns and peer_ns, unit (what one of them is for), and rounds.
    #[arg(long)]
    pub(crate) json: bool,

    /// Draw the figures, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) picture: Option<PathBuf>,

    /// Make a missed target an exit status of 1
    #[arg(long)]
    pub(crate) strict: bool,
}

impl Options {
    /// How often each contestant is asked.
    pub(crate) fn rounds(&self, is_slow: bool) -> usize {
        self.rounds.unwrap_or(match (self.quick, is_slow) {
            (false, false) => 21,
            (false, true) => 11,
            (true, false) => 5,
            (true, true) => 2,
        })
    }

    /// What is done for one sample.
    pub(crate) fn effort(&self) -> Effort {
        if self.quick {
            Effort { span: Duration::from_millis(2), cold_reads: 100_000 }
        } else {
            Effort { span: Duration::from_millis(10), cold_reads: 500_000 }
        }
    }
}

/// Reads the command line.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Parsed<Options> {
    cli::parse(arguments, |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn options(arguments: &[&str]) -> Result<Options, String> {
        match parse(std::iter::once("compare").chain(arguments.iter().copied()).map(Into::into)) {
            Parsed::Run(options) => Ok(options),
            Parsed::Help(text) | Parsed::Wrong(text) => Err(text),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn arguments_are_understood() {
        let options = options(&["--only", "a", "--only", "b", "--rounds", "3", "--json"]).unwrap();
        assert_eq!(
            (options.only, options.rounds, options.json),
            (["a", "b"].map(String::from).to_vec(), Some(3), true)
        );
    }

    #[test]
    fn rounds_and_effort() {
        let rounds = |arguments: &[&str]| {
            let options = options(arguments).unwrap();
            (options.rounds(false), options.rounds(true))
        };
        assert_eq!(rounds(&[]), (21, 11));
        assert_eq!(rounds(&["--quick"]), (5, 2));
        assert_eq!(rounds(&["--quick", "--rounds", "4"]), (4, 4));
        let [full, quick] = [&[][..], &["--quick"]].map(|arguments| options(arguments).unwrap());
        assert!(full.effort().span > quick.effort().span);
    }

    #[test]
    fn nonsense_gives_one_line_that_names_the_argument() {
        for line in [["--rounds", "0"], ["--rounds", "many"], ["--unknown", "1"]] {
            let text = options(&line).unwrap_err();
            assert!(text.contains(line[0]) && text.lines().count() == 1, "{text}");
        }
    }
}
