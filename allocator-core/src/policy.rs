//! [`Policy`]: the placement policies that a heap can be built with.

use core::fmt;
use core::str::FromStr;

/// The rule that finds room for a block.
///
/// ```
/// use allocator_core::Policy;
/// assert_eq!("first-fit".parse(), Ok(Policy::FirstFit));
/// assert_eq!(Policy::SizeClass.to_string(), "size-class");
/// assert!("best".parse::<Policy>().unwrap_err().to_string().contains("size-class"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Policy {
    /// Slabs of size classes for blocks up to 1 KiB (Bonwick, "The Slab Allocator", USENIX Summer 1994), eight bytes apart in
    /// heaps with pages of 64 KiB and at most an eighth in smaller ones; two-level segregated fit with a floor probe for the rest (Masmano et al.,
    /// ECRTS 2004). O(1). The default.
    #[default]
    SizeClass,
    /// Address-ordered first fit (Knuth, TAOCP vol. 1, 2.5), over an index of pages: O(log pages + free runs of a
    /// page). Keeps the top of the heap free; wastes least on sizes of few kinds.
    FirstFit,
}

impl Policy {
    /// Every policy.
    pub const ALL: &'static [Self] = &[Self::SizeClass, Self::FirstFit];

    /// The name that [`FromStr`] takes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SizeClass => "size-class",
            Self::FirstFit => "first-fit",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that no policy has; displays the names that exist.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownPolicy(String);

impl fmt::Display for UnknownPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown placement policy '{}'; known are", self.0)?;
        for (i, policy) in Policy::ALL.iter().enumerate() {
            write!(f, "{} {policy}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownPolicy {}

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        Self::ALL
            .iter()
            .copied()
            .find(|policy| policy.name() == name)
            .ok_or_else(|| UnknownPolicy(name.to_owned()))
    }
}
