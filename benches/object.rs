//! The object that every contestant stores, and the orders in which objects are visited.

use fastrand::Rng;
use std::num::NonZeroU32;

/// The seed of every order: each run does the same.
const SEED: u64 = 0x5eed;

/// An object of 64 bytes whose content follows from its number, so that it can be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object {
    /// What a read adds up: the number.
    pub value: u64,
    rest: [u64; 7],
}

const _: () = assert!(size_of::<Object>() == 64);

impl Object {
    /// The object of a number.
    #[inline]
    #[must_use]
    pub const fn new(number: u64) -> Self {
        let n = number;
        Self { value: n, rest: [!n, n + 2, n + 3, n + 5, n + 7, n + 11, n + 13] }
    }
}

/// The numbers below `count` in random order; the same one each time.
///
/// # Panics
/// When `count` does not fit 32 bits.
#[must_use]
pub fn shuffled(count: usize) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..u32::try_from(count).expect("32 bits")).collect();
    shuffle(&mut numbers);
    numbers
}

/// Puts things into a random order: the one of [`shuffled`] for the same count.
pub fn shuffle<H>(things: &mut [H]) {
    Rng::with_seed(SEED).shuffle(things);
}

/// `steps` random positions below `count`, for replacing one object after the other.
#[must_use]
pub fn positions(steps: usize, count: u32) -> Vec<u32> {
    let mut rng = Rng::with_seed(SEED);
    (0..steps).map(|_| rng.u32(0..count)).collect()
}

/// `steps` random sizes of blocks, up to `largest`.
#[must_use]
pub fn sizes(steps: usize, largest: u32) -> Vec<NonZeroU32> {
    let mut rng = Rng::with_seed(!SEED);
    (0..steps).map(|_| NonZeroU32::MIN.saturating_add(rng.u32(0..largest))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_differ_in_every_word() {
        let (a, b) = (Object::new(3), Object::new(4));
        assert!(a.value != b.value && a.rest.iter().zip(b.rest).all(|(a, b)| *a != b));
    }

    #[test]
    fn things_and_numbers_are_shuffled_alike() {
        let mut names: Vec<_> = (0..100).map(|i| i.to_string()).collect();
        shuffle(&mut names);
        let numbers = shuffled(100);
        assert!(names.iter().zip(&numbers).all(|(name, number)| *name == number.to_string()));
        assert!(!numbers.is_sorted());
    }

    #[test]
    fn steps_stay_in_range() {
        assert!(positions(1000, 7).iter().all(|position| *position < 7));
        let sizes: Vec<_> = sizes(10_000, 16).into_iter().map(NonZeroU32::get).collect();
        assert_eq!((sizes.iter().min(), sizes.iter().max()), (Some(&1), Some(&16)));
    }
}
