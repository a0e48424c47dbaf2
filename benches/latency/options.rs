//! The command line.

use benches::cli::{self, Parsed};
use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// Measures readers while nothing runs, while full defragmentations run, and while the background one
/// runs; how fast blocks are moved, against bare copies; and how well budgets of time are kept.
///
/// Every read is checked. Beyond the 99th percentile a figure says more about the machine than about
/// the heap, so reads in spans in which a core ran nobody, and reads whose thread waited for a core,
/// are left out; the raw figures stand beside. Reads at a fixed rate are timed from the moment at which
/// they were due. Passes that found nothing to do count nowhere.
///
/// The exit status is 0 when everything was measured, 1 when a target was missed and --strict is
/// given, and 2 when a result was wrong or nothing could be measured.
#[derive(Clone, Debug, Parser)]
#[command(name = "latency", max_term_width = 100)]
pub(crate) struct Options {
    /// Print one JSON object a line instead of tables
    #[arg(long)]
    pub(crate) json: bool,

    /// Draw the quantiles of the latencies, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) picture: Option<PathBuf>,

    /// Measure only these parts; may be given more than once
    #[arg(long, value_name = "PART", value_enum)]
    pub(crate) only: Vec<Part>,

    /// Measure less: some seconds instead of a minute
    #[arg(long)]
    pub(crate) quick: bool,

    /// Live objects of 64 bytes that are read
    #[arg(long, value_name = "N", default_value_t = 200_000, allow_negative_numbers = true)]
    #[arg(value_parser = RangedU64ValueParser::<u32>::new().range(1000..=10_000_000))]
    pub(crate) objects: u32,

    /// Reads a second where they come at a fixed rate
    #[arg(long, value_name = "N", default_value_t = 200_000, allow_negative_numbers = true)]
    #[arg(value_parser = RangedU64ValueParser::<u32>::new().range(100..=5_000_000))]
    pub(crate) rate: u32,

    /// Passes of 500 µs in the test of budgets [default: 10000, with --quick 1000]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = RangedU64ValueParser::<u32>::new().range(1..=1_000_000))]
    pub(crate) passes: Option<u32>,

    /// Make a missed target an exit status of 1
    #[arg(long)]
    pub(crate) strict: bool,
}

/// What can be measured by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Part {
    Readers,
    Moving,
    Budgets,
}

impl Options {
    /// Whether a part is to be measured.
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// Windows of each scene of readers.
    pub(crate) fn windows(&self) -> u32 {
        if self.quick { 6 } else { 40 }
    }

    /// Rounds of moves.
    pub(crate) fn rounds(&self) -> u64 {
        if self.quick { 3 } else { 9 }
    }

    pub(crate) fn passes(&self) -> u32 {
        self.passes.unwrap_or(if self.quick { 1000 } else { 10_000 })
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

    #[test]
    fn the_definition_is_consistent() {
        Options::command().debug_assert();
        let options = Options::parse_from(["latency", "--quick", "--passes", "7"]);
        assert_eq!((options.passes(), options.objects), (7, 200_000));
    }
}
