//! The command line.

use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;

use bytesize::ByteSize;
use clap::Parser;
use clap::builder::RangedU64ValueParser;
use clap::error::ErrorKind;
use typed_pool::Policy;

/// Replays recorded allocation traces through typed pools and raw blocks of one heap, while
/// reader threads check the contents of live objects and the heap is compacted under them.
///
/// In every mode but `--defragment off`, one defragmentation of each trace is measured: at the
/// point where most memory is free compared with the peak before it, while at least a tenth of the
/// peak of the trace is live. There the workers pause, the readers keep reading.
///
/// The exit status is 0 when every check was right and every allocation succeeded, 1 when not, and
/// 2 when an argument or a file is unusable.
#[derive(Clone, Debug, Parser)]
#[command(name = "replay", max_term_width = 100)]
pub(crate) struct Options {
    /// Traces to replay one after the other, each on a new heap; two that come with the project
    /// when none is named
    #[arg(value_name = "TRACE")]
    pub(crate) traces: Vec<PathBuf>,

    /// Worker threads; the records of a recorded thread stay on one worker, and those of a trace
    /// of one thread are dealt out by object
    #[arg(long, value_name = "N", default_value_t = default_threads(), allow_negative_numbers = true)]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(1..=256))]
    pub(crate) threads: usize,

    /// Threads that check random live objects all the time
    #[arg(long, value_name = "N", default_value_t = 2, allow_negative_numbers = true)]
    #[arg(value_parser = RangedU64ValueParser::<usize>::new().range(0..=256))]
    pub(crate) readers: usize,

    #[arg(long, value_name = "NAME", default_value_t, help = policy_help())]
    pub(crate) policy: Policy,

    /// Size of the heap, for example 64MiB
    ///
    /// Without it: 1.5 times the largest sum of live block sizes (requests rounded up as the pools
    /// and blocks need, 16 bytes more each), plus twice the largest request, plus what the workers
    /// may allocate ahead of the slowest one, plus 8 MiB; rounded up to a MiB.
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true, value_parser = parse_size)]
    pub(crate) capacity: Option<ByteSize>,

    /// When to compact: off, background (a thread with a time budget), or every:N (a worker
    /// compacts fully after each N records)
    #[arg(long, value_name = "MODE", default_value_t = Mode::Background)]
    pub(crate) defragment: Mode,

    /// Print one JSON object instead of the summary
    ///
    /// Its counts, times and resident sizes are sums over the traces, peak_live_bytes is the largest
    /// of all, the fragmentations are means weighted by the capacities of the heaps, and the array
    /// `traces` has the same and more per trace.
    #[arg(long)]
    pub(crate) json: bool,

    /// Write a picture of the heap before and after the measured defragmentation, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) picture: Option<PathBuf>,
}

/// When the heap is compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Off,
    Background,
    Every(NonZeroU64),
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::Off => f.write_str("off"),
            Mode::Background => f.write_str("background"),
            Mode::Every(records) => write!(f, "every:{records}"),
        }
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Mode::Off),
            "background" => Ok(Mode::Background),
            _ => text
                .strip_prefix("every:")
                .and_then(|count| count.parse().ok())
                .map(Mode::Every)
                .ok_or_else(|| "expected off, background or every:N with N above 0".to_owned()),
        }
    }
}

/// What the command line asks for.
pub(crate) enum Parsed {
    Run(Options),
    /// The text that `--help` asks for.
    Help(String),
    /// One line that says which argument is wrong.
    Wrong(String),
}

/// Reads the arguments, the program's name first.
pub(crate) fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Parsed {
    match Options::try_parse_from(arguments) {
        Ok(options) => Parsed::Run(options),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            Parsed::Help(error.render().to_string())
        }
        Err(error) => {
            let text = error.render().to_string();
            let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            Parsed::Wrong(line.to_owned())
        }
    }
}

fn parse_size(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|_| "expected a size such as 64MiB or 1.5GB".to_owned())
}

fn default_threads() -> usize {
    thread::available_parallelism().map_or(2, usize::from).min(4)
}

fn policy_help() -> String {
    let names: Vec<_> = Policy::ALL.iter().map(Policy::to_string).collect();
    format!("Placement policy of the heap: {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn options(arguments: &[&str]) -> Result<Options, String> {
        match parse(std::iter::once("replay").chain(arguments.iter().copied()).map(Into::into)) {
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
        let line = ["a", "--threads", "3", "b", "--capacity", "3MiB", "--defragment", "every:9"];
        let options = options(&line).expect("valid");
        assert_eq!(options.traces, ["a", "b"].map(PathBuf::from));
        assert_eq!((options.threads, options.readers), (3, 2));
        assert_eq!(options.capacity, Some(ByteSize::mib(3)));
        assert_eq!(options.defragment, Mode::Every(NonZeroU64::new(9).expect("not zero")));
    }

    #[test]
    fn nonsense_gives_one_line_that_names_the_argument() {
        let lines = [
            ["--threads", "0"],
            ["--threads", "many"],
            ["--readers", "-1"],
            ["--policy", "magic"],
            ["--capacity", "3 bananas"],
            ["--capacity", "-5"],
            ["--defragment", "every:0"],
            ["--defragment", "sometimes"],
            ["--unknown", "1"],
        ];
        for line in lines {
            let text = options(&line).expect_err("nonsense");
            assert!(text.contains(line[0]) && text.lines().count() == 1, "{text}");
        }
    }

    #[test]
    fn help_names_the_policies() {
        let help = options(&["--help"]).expect_err("help");
        assert!(Policy::ALL.iter().all(|policy| help.contains(&policy.to_string())), "{help}");
    }
}
