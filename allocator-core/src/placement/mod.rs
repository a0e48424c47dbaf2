//! Placement policies: rules that find room for a block among free runs.
//!
//! A policy is an index and nothing more. It sees offsets in granules, never addresses; what it
//! has to store per free run lives inside that run and is reached through [`FreeMemory`]. So the
//! policies are plain safe code that can be tested against a model, and the unsafe part of
//! writing into free memory is elsewhere.
//!
//! Two rules are provided: [`Tlsf`], a good fit in constant time, and [`FirstFit`], the lowest
//! address that fits. Both keep one promise that the heap builds on: [`Placement::find`] fails
//! only if no free run has room at all.

mod first_fit;
#[cfg(all(test, not(loom)))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;
mod tlsf;

pub(crate) use first_fit::FirstFit;
pub(crate) use tlsf::Tlsf;

/// A run of granules (16 bytes each): `[start, start + len)`.
///
/// Invariant: `len` is not 0, and `start + len` is at most `u32::MAX`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Run {
    /// The first granule behind the run.
    pub(crate) fn end(self) -> u32 {
        self.start + self.len
    }
}

/// What a block asks of a run: `len` granules from an `s` on with `(s + skew) % align == 0`.
///
/// `align` is a power of two, in granules. `skew` is the distance from the start of the block to
/// the granule that has to be aligned: 1 for blocks with a header granule, 0 for whole pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    pub(crate) len: u32,
    pub(crate) align: u32,
    pub(crate) skew: u32,
}

impl Need {
    /// The lowest start in `run` that satisfies this need. O(1).
    pub(crate) fn place_low(self, run: Run) -> Option<u32> {
        // In 64 bits nothing here can overflow, wherever the run lies.
        let (align, skew) = (u64::from(self.align), u64::from(self.skew));
        let start = (u64::from(run.start) + skew).next_multiple_of(align) - skew;
        let fits = start + u64::from(self.len) <= u64::from(run.end());
        // A start at or below the run's end is a `u32`.
        fits.then_some(start as u32)
    }

    /// The highest start in `run` that satisfies this need. O(1).
    pub(crate) fn place_high(self, run: Run) -> Option<u32> {
        let last = u64::from(run.end().checked_sub(self.len)?);
        let (align, skew) = (u64::from(self.align), u64::from(self.skew));
        let aligned = (last + skew) & !(align - 1);
        let start = aligned.checked_sub(skew)?;
        // A start at or below `last` is a `u32`.
        (start >= u64::from(run.start)).then_some(start as u32)
    }

    /// The length from which on any run satisfies this need, wherever it starts: the block and
    /// the widest gap that alignment can ask for in front of it.
    fn sure_len(self) -> u64 {
        u64::from(self.len) + u64::from(self.align) - 1
    }
}

/// One of the two link words of a free run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Link {
    Next,
    Prev,
}

/// The memory of the free runs, as far as policies may see it: link words that live inside the
/// free run itself, and the map of where free runs start.
pub(crate) trait FreeMemory {
    /// The length of the free run that starts at `start`.
    fn len_of(&self, start: u32) -> u32;
    /// A link word of the free run that starts at `start`. Granule 0 is never free, so 0 is
    /// "none".
    fn link(&self, start: u32, link: Link) -> u32;
    /// Writes a link word of the free run that starts at `start`.
    fn set_link(&mut self, start: u32, link: Link, to: u32);
    /// The first free run that starts in `[from, to)`.
    fn next_start(&self, from: u32, to: u32) -> Option<u32>;
}

/// The rule that finds room for a block: an index over the free runs of one stripe.
pub(crate) trait Placement {
    /// Takes `run` into the index. The run is free and visible in `mem` already.
    fn insert<M: FreeMemory>(&mut self, mem: &mut M, run: Run);

    /// Takes `run` out of the index. The run is still visible in `mem`.
    fn remove<M: FreeMemory>(&mut self, mem: &mut M, run: Run);

    /// A free run in which `need.place_low` succeeds; `None` only if there is none at all.
    fn find<M: FreeMemory>(&self, mem: &M, need: Need) -> Option<Run>;

    /// The length of the largest free run, 0 if there is none. Where the index does not tell several that are nearly
    /// as long from each other, no more than `looks` of them are looked at.
    fn largest<M: FreeMemory>(&self, mem: &M, looks: usize) -> u32;

    /// Checks that the index holds exactly `runs`, which are in address order, and that its own
    /// invariants hold. Visits everything; meant for tests and for verification.
    ///
    /// # Errors
    ///
    /// Says in words what was found to be wrong first.
    fn check<M: FreeMemory>(&self, mem: &M, runs: &[Run]) -> Result<(), String>;
}

/// A policy that was chosen when the heap was built. Calls are dispatched by a branch.
// Boxing the larger variant would put a cache miss in front of every search to save a stripe of
// the smaller kind 2 KiB.
#[expect(clippy::large_enum_variant)]
pub(crate) enum AnyPlacement {
    Tlsf(Tlsf),
    FirstFit(FirstFit),
}

impl Placement for AnyPlacement {
    fn insert<M: FreeMemory>(&mut self, mem: &mut M, run: Run) {
        match self {
            Self::Tlsf(policy) => policy.insert(mem, run),
            Self::FirstFit(policy) => policy.insert(mem, run),
        }
    }

    fn remove<M: FreeMemory>(&mut self, mem: &mut M, run: Run) {
        match self {
            Self::Tlsf(policy) => policy.remove(mem, run),
            Self::FirstFit(policy) => policy.remove(mem, run),
        }
    }

    fn find<M: FreeMemory>(&self, mem: &M, need: Need) -> Option<Run> {
        match self {
            Self::Tlsf(policy) => policy.find(mem, need),
            Self::FirstFit(policy) => policy.find(mem, need),
        }
    }

    fn largest<M: FreeMemory>(&self, mem: &M, looks: usize) -> u32 {
        match self {
            Self::Tlsf(policy) => policy.largest(mem, looks),
            Self::FirstFit(policy) => policy.largest(mem, looks),
        }
    }

    fn check<M: FreeMemory>(&self, mem: &M, runs: &[Run]) -> Result<(), String> {
        match self {
            Self::Tlsf(policy) => policy.check(mem, runs),
            Self::FirstFit(policy) => policy.check(mem, runs),
        }
    }
}
