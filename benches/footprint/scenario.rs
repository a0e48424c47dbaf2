//! What can be measured.

use crate::footprint::cache::Cache;
use crate::footprint::fill::Fill;
use crate::footprint::shift::Shift;
use crate::footprint::thinned::Thinned;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A scenario by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum Scenario {
    /// 100 B all the time.
    W1,
    /// 100 B, then 130 B.
    W2,
    /// 100 B, nine tenths are deleted, then 130 B.
    W3,
    /// 100 to 150 B, then 200 to 250 B.
    W4,
    /// 100 to 150 B, nine tenths are deleted, then 200 to 250 B.
    W5,
    /// 100 to 200 B, half of them are deleted, then 1,000 to 2,000 B.
    W6,
    /// 1,000 to 2,000 B, nine tenths are deleted, then 1,500 to 2,500 B.
    W7,
    /// 50 to 150 B, nine tenths are deleted, then 5,000 to 15,000 B.
    W8,
    /// A cache of objects of 240 B, then of 492 B.
    R1,
    /// A cache of objects of 150 B, then of 300 B.
    R2,
    /// Values of 64 to 1,024 B, three quarters are deleted.
    R3,
    /// 128 B, every other one is deleted, then 512 B.
    R4,
    /// A heap is filled with blocks of 1 B to 100 kB.
    H1,
    /// The same, and it compacts before it gives up.
    H2,
    /// A heap is filled with blocks of 529 B.
    U1,
    /// A heap is filled with blocks of 33,000 B.
    U2,
}

/// What happens in a scenario.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A workload shifts to other sizes.
    Shift(Shift),
    /// A cache is filled with objects of one size, then of another.
    Cache(Cache),
    /// A heap is thinned out.
    Thinned(Thinned),
    /// A heap is filled until it has no room.
    Fill(Fill),
}

impl Scenario {
    /// All of them.
    #[must_use]
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// What happens in it.
    #[must_use]
    pub fn kind(self) -> Kind {
        let shift = |before, deleted, after| Kind::Shift(Shift { before, deleted, after });
        match self {
            Self::W1 => shift(100..=100, 0.0, 100..=100),
            Self::W2 => shift(100..=100, 0.0, 130..=130),
            Self::W3 => shift(100..=100, 0.9, 130..=130),
            Self::W4 => shift(100..=150, 0.0, 200..=250),
            Self::W5 => shift(100..=150, 0.9, 200..=250),
            Self::W6 => shift(100..=200, 0.5, 1000..=2000),
            Self::W7 => shift(1000..=2000, 0.9, 1500..=2500),
            Self::W8 => shift(50..=150, 0.9, 5000..=15_000),
            // The charges are such that the survivors weigh what those of Redis do: 79 and 76 MB.
            Self::R1 => Kind::Cache(Cache { sizes: [240, 492], charge: 150, in_one_go: true }),
            Self::R2 => Kind::Cache(Cache { sizes: [150, 300], charge: 85, in_one_go: false }),
            Self::R3 => Kind::Thinned(Thinned {
                before: (770_000, 64..=1024),
                survivors: 192_500,
                in_turn: false,
                after: None,
            }),
            Self::R4 => Kind::Thinned(Thinned {
                before: (819_200, 128..=128),
                survivors: 409_600,
                in_turn: true,
                after: Some((102_400, 512..=512)),
            }),
            Self::H1 => Kind::Fill(Fill::Mixed { compacts: false }),
            Self::H2 => Kind::Fill(Fill::Mixed { compacts: true }),
            Self::U1 => Kind::Fill(Fill::Uniform { size: 529 }),
            Self::U2 => Kind::Fill(Fill::Uniform { size: 33_000 }),
        }
    }

    /// Whether the global allocator of a process can be measured too.
    #[must_use]
    pub fn fits_any_allocator(self) -> bool {
        !matches!(self.kind(), Kind::Fill(_))
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The variants are the names.
        f.pad(&format!("{self:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line() {
        for scenario in Scenario::all() {
            let name = scenario.to_possible_value().expect("none is hidden");
            assert_eq!(scenario.to_string(), name.get_name());
            assert_eq!(serde_json::to_string(scenario).unwrap(), format!("\"{scenario}\""));
        }
    }
}
