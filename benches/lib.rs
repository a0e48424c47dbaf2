//! What the benchmarks share: the object that every contestant stores, and the order of the reads.

/// The object of the reading benchmarks: 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// What a read adds up.
    pub value: u64,
    /// Brings the object to 64 bytes.
    pub padding: [u64; 7],
}

const _: () = assert!(size_of::<Object>() == 64);

impl Object {
    /// The `number`-th object.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self { value: number, padding: [0; 7] }
    }
}

/// The sum of the values of `count` objects, for checking what a contestant read.
#[must_use]
pub const fn sum(count: u64) -> u64 {
    count * (count - 1) / 2
}

/// Puts handles into the random order in which every contestant reads; the same order for all.
pub fn shuffle<H>(handles: &mut [H]) {
    fastrand::Rng::with_seed(0x5eed).shuffle(handles);
}
