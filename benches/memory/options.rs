//! The command line.

use benches::cli::{self, Parsed};
use benches::footprint::scenario::{Kind, Scenario};
use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;

/// What `--workload` and `--allocator` may come to.
const NOTHING_LEFT: &str = "nothing is left to measure: only ours takes part in what --workload names, and --allocator \
                            names others";

/// Measures how much memory ours and its peers take for what they hold: workloads whose sizes shift
/// (W1 to W8), caches and heaps that are thinned out (R1 to R4), heaps that are filled until they
/// have no room (H1, H2, U1, U2; ours only).
///
/// Each allocator runs in a process of its own, with the same seeds and the same operations in the
/// same order; its blocks are verified. A factor is the growth of the resident size since before the
/// first block, over live payload: tables and headers count, the caller's own handles or pointers do
/// not.
///
/// In W1 to W8 a background defragmenter of ours works from the end of the full one on. Its settings are no
/// defaults: cpu_share(1, 1), one look a millisecond, thresholds of 2.5 % and 1 % of waste.
///
/// The exit status is 0 when everything was measured, whether targets were met or not, 1 when one
/// was missed and --strict is given, and 2 when a result was wrong or nothing could be measured.
#[derive(Clone, Debug, Parser)]
#[command(name = "memory", max_term_width = 100)]
pub(crate) struct Options {
    /// What is measured; several are separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "all")]
    #[arg(value_parser = workloads)]
    workload: Vec<Workloads>,

    /// MiB of live payload in W1 to W8 [default: 256; with --quick 16]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = RangedU64ValueParser::<u32>::new().range(1..=4096))]
    live_mib: Option<u32>,

    /// Who is measured; several are separated by commas
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "all")]
    allocator: Vec<AllocatorName>,

    /// Measure each this often, and take medians [default: W 1, all others 5; with --quick 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[arg(value_parser = RangedU64ValueParser::<u32>::new().range(1..=1000))]
    rounds: Option<u32>,

    /// Measure less: smaller workloads, each once
    #[arg(long)]
    quick: bool,

    /// Print one JSON object a line instead of tables
    ///
    /// Each is one allocator in one workload: the factors, seconds, and for ours the targets, what
    /// the defragmentation cost, and where the bytes are. What does not apply is null.
    #[arg(long)]
    pub(crate) json: bool,

    /// Draw resident size over time, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) picture: Option<PathBuf>,

    /// Make a missed target an exit status of 1
    #[arg(long)]
    pub(crate) strict: bool,
}

/// What a value of `--workload` names.
#[derive(Clone, Copy, Debug)]
enum Workloads {
    All,
    One(Scenario),
}

fn workloads(text: &str) -> Result<Workloads, String> {
    if text.eq_ignore_ascii_case("all") {
        return Ok(Workloads::All);
    }
    let names = Scenario::all().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let scenario = Scenario::from_str(text, true);
    scenario.map(Workloads::One).map_err(|_| format!("there are all, {names}"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AllocatorName {
    All,
    Ours,
    Glibc,
    Jemalloc,
    Mimalloc,
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocator {
    Ours,
    Glibc,
    Jemalloc,
    Mimalloc,
}

impl Allocator {
    pub(crate) const ALL: [Self; 4] = [Self::Ours, Self::Glibc, Self::Jemalloc, Self::Mimalloc];

    /// The name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Glibc => "glibc",
            Self::Jemalloc => "jemalloc",
            Self::Mimalloc => "mimalloc",
        }
    }

    /// The program in which it is measured. Ours asks the system for memory, as does glibc.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Ours | Self::Glibc => "allocator-system",
            Self::Jemalloc => "allocator-jemalloc",
            Self::Mimalloc => "allocator-mimalloc",
        }
    }
}

impl Options {
    /// What is measured, in order, each once, where somebody who is named takes part.
    pub(crate) fn scenarios(&self) -> Vec<Scenario> {
        let is_named = |scenario: &Scenario| {
            self.workload.iter().any(|named| match named {
                Workloads::All => true,
                Workloads::One(named) => named == scenario,
            })
        };
        let has_some = |scenario: &Scenario| !self.allocators(*scenario).is_empty();
        Scenario::all().iter().copied().filter(is_named).filter(has_some).collect()
    }

    /// Who is measured in a scenario.
    pub(crate) fn allocators(&self, scenario: Scenario) -> Vec<Allocator> {
        let is_named = |allocator: &Allocator| {
            self.allocator.iter().any(|named| {
                let named = match named {
                    AllocatorName::All => return true,
                    AllocatorName::Ours => Allocator::Ours,
                    AllocatorName::Glibc => Allocator::Glibc,
                    AllocatorName::Jemalloc => Allocator::Jemalloc,
                    AllocatorName::Mimalloc => Allocator::Mimalloc,
                };
                named == *allocator
            })
        };
        let takes_part =
            |allocator: &Allocator| *allocator == Allocator::Ours || scenario.fits_any_allocator();
        Allocator::ALL.into_iter().filter(is_named).filter(takes_part).collect()
    }

    /// How often each of them is.
    pub(crate) fn rounds(&self, scenario: Scenario) -> u32 {
        self.rounds.unwrap_or(match scenario.kind() {
            _ if self.quick => 1,
            Kind::Shift(_) => 1,
            _ => 5,
        })
    }

    /// Bytes of live payload, or of the heap that is filled.
    pub(crate) fn bytes(&self, scenario: Scenario) -> u64 {
        let mib = match (scenario.kind(), self.quick) {
            (Kind::Fill(_), false) => 128,
            (Kind::Fill(_), true) => 16,
            (_, false) => self.live_mib.unwrap_or(256),
            (_, true) => self.live_mib.unwrap_or(16),
        };
        u64::from(mib) << 20
    }

    /// How many times smaller the workloads of fixed size are.
    pub(crate) fn divisor(&self) -> u32 {
        if self.quick { 16 } else { 1 }
    }
}

/// Reads the command line.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Parsed<Options> {
    cli::parse(arguments, |options: &Options| {
        if options.scenarios().is_empty() {
            return Err(NOTHING_LEFT.to_owned());
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn options(arguments: &[&str]) -> Result<Options, String> {
        match parse(std::iter::once("memory").chain(arguments.iter().copied()).map(Into::into)) {
            Parsed::Run(options) => Ok(options),
            Parsed::Help(text) | Parsed::Wrong(text) => Err(text),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn names_are_understood() {
        let all = options(&[]).unwrap();
        assert_eq!(all.scenarios(), Scenario::all());
        assert_eq!(all.allocators(Scenario::W1), Allocator::ALL);
        assert_eq!(all.allocators(Scenario::H1), [Allocator::Ours]);
        let some = options(&["--workload", "r2,W8", "--allocator", "glibc,ours"]).unwrap();
        assert_eq!(some.scenarios(), [Scenario::W8, Scenario::R2]);
        assert_eq!(some.allocators(Scenario::R2), [Allocator::Ours, Allocator::Glibc]);
        let peers = options(&["--workload", "H1,W1", "--allocator", "glibc"]).unwrap();
        assert_eq!(peers.scenarios(), [Scenario::W1]);
        let text = options(&["--workload", "H1,U2", "--allocator", "glibc"]).unwrap_err();
        assert!(text.starts_with("nothing is left") && text.lines().count() == 1, "{text}");
    }

    #[test]
    fn sizes_and_rounds() {
        let [full, quick] = [&[][..], &["--quick"]].map(|arguments| options(arguments).unwrap());
        let sizes = |options: &Options| {
            [Scenario::W1, Scenario::H1].map(|scenario| options.bytes(scenario) >> 20)
        };
        let rounds = |options: &Options| {
            [Scenario::W1, Scenario::R1].map(|scenario| options.rounds(scenario))
        };
        assert_eq!((sizes(&full), rounds(&full), full.divisor()), ([256, 128], [1, 5], 1));
        assert_eq!((sizes(&quick), rounds(&quick), quick.divisor()), ([16, 16], [1, 1], 16));
        let given = options(&["--quick", "--live-mib", "2", "--rounds", "3"]).unwrap();
        assert_eq!((sizes(&given), rounds(&given)), ([2, 16], [3, 3]));
    }

    #[test]
    fn nonsense_gives_one_line_that_names_the_argument() {
        for line in [
            ["--workload", "W9"],
            ["--allocator", "tcmalloc"],
            ["--live-mib", "0"],
            ["--rounds", "-1"],
            ["--unknown", "1"],
        ] {
            let text = options(&line).unwrap_err();
            assert!(text.contains(line[0]) && text.lines().count() == 1, "{text}");
        }
    }
}
