//! A store filled with numbered objects: reads and replaces some of them, timed and checked.

use crate::stores::{Store, object};
use anyhow::{Result, ensure};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Objects that are visited between two looks at the clock, at most: their keys fit a cache. Few
/// enough that the next ones are cold again where there are many.
const WINDOW: usize = 100_000;

/// The numbers of all objects in random order, handed out piece by piece.
#[derive(Debug)]
pub(crate) struct Windows {
    order: Vec<u32>,
    at: usize,
    window: Vec<u32>,
}

impl Windows {
    pub(crate) fn new(objects: u32) -> Self {
        let mut order: Vec<u32> = (0..objects).collect();
        fastrand::Rng::with_seed(0x5eed).shuffle(&mut order);
        Self { order, at: 0, window: Vec::new() }
    }

    /// The next numbers, all different; at most all that there are.
    pub(crate) fn next(&mut self, count: usize) -> &[u32] {
        let count = count.min(self.order.len());
        self.window.clear();
        while self.window.len() < count {
            let rest = &self.order[self.at..];
            let taken = rest.len().min(count - self.window.len());
            self.window.extend_from_slice(&rest[..taken]);
            self.at = (self.at + taken) % self.order.len();
        }
        &self.window
    }
}

/// Nanoseconds of one of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replaced {
    pub(crate) insert: f64,
    pub(crate) remove: f64,
}

/// What takes turns in a round.
pub(crate) trait Contestant {
    /// In how many ways it can be read.
    fn ways(&self) -> usize;

    /// Reads so many random objects; nanoseconds a read.
    fn read(&self, way: usize, windows: &mut Windows, reads: usize) -> Result<f64>;

    /// Removes random objects and inserts them anew, so many in all.
    fn replace(&mut self, windows: &mut Windows, replacements: usize) -> Result<Replaced>;

    /// Looks at every object.
    fn verify(&self) -> Result<()>;
}

/// A store that holds the objects of the numbers from 0 on.
#[derive(Debug)]
pub(crate) struct Filled<S: Store> {
    store: S,
    /// By number.
    keys: Vec<S::Key>,
}

impl<S: Store> Filled<S> {
    pub(crate) fn new(mut store: S, objects: u32) -> Self {
        let keys = (0..objects).map(|number| store.insert(number)).collect();
        Self { store, keys }
    }

    fn pick(&self, numbers: &[u32]) -> Vec<S::Key> {
        numbers.iter().map(|number| self.keys[*number as usize]).collect()
    }

    fn check_live(&self, expected: usize) -> Result<()> {
        let live = self.store.live().unwrap_or(expected);
        ensure!(live == expected, "{live} objects are alive, not {expected}");
        Ok(())
    }
}

impl<S: Store> Contestant for Filled<S> {
    fn ways(&self) -> usize {
        S::WAYS
    }

    fn read(&self, way: usize, windows: &mut Windows, reads: usize) -> Result<f64> {
        // Where all objects fit, they are read again and again: hot.
        let window = self.keys.len().min(WINDOW);
        let passes = WINDOW / window;
        let turns = (reads / (window * passes)).max(1);
        let mut time = Duration::ZERO;
        for _ in 0..turns {
            let numbers = windows.next(window);
            let keys = self.pick(numbers);
            let start = Instant::now();
            let mut sum = Some(0);
            for _ in 0..passes {
                let one = self.store.sum(way, black_box(&keys));
                sum = sum.zip(one).map(|(sum, one)| sum + one);
            }
            time += start.elapsed();
            let expected = numbers.iter().map(|number| u64::from(*number)).sum::<u64>();
            ensure!(
                sum == Some(expected * passes as u64),
                "read {sum:?}, not {expected} each pass"
            );
        }
        Ok(nanoseconds(time, turns * window * passes))
    }

    fn replace(&mut self, windows: &mut Windows, replacements: usize) -> Result<Replaced> {
        let objects = self.keys.len();
        let window = (objects / 2).min(WINDOW / 2);
        let turns = (replacements / window).max(1);
        let (mut removing, mut inserting) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..turns {
            let numbers = windows.next(window);
            let old = self.pick(numbers);
            let start = Instant::now();
            let removed = old.iter().filter(|key| self.store.remove(**key)).count();
            removing += start.elapsed();
            ensure!(removed == window, "removed {removed} of {window}");
            self.check_live(objects - window)?;

            let mut new = old.clone();
            let start = Instant::now();
            for (key, number) in new.iter_mut().zip(numbers) {
                *key = self.store.insert(*number);
            }
            inserting += start.elapsed();
            self.check_live(objects)?;

            for (number, (old, new)) in numbers.iter().zip(old.into_iter().zip(new)) {
                let stale = !S::GOES_STALE || self.store.object(old).is_none();
                ensure!(stale, "object {number} is removed, but its key still finds one");
                let found = self.store.object(new) == Some(object(*number));
                ensure!(found, "object {number} is not what was inserted");
                self.keys[*number as usize] = new;
            }
        }
        let each = |time| nanoseconds(time, turns * window);
        Ok(Replaced { insert: each(inserting), remove: each(removing) })
    }

    fn verify(&self) -> Result<()> {
        self.check_live(self.keys.len())?;
        for (number, key) in (0..).zip(&self.keys) {
            ensure!(self.store.object(*key) == Some(object(number)), "object {number} has changed");
        }
        Ok(())
    }
}

/// Nanoseconds for one of `operations` that took `time` together.
pub(crate) fn nanoseconds(time: Duration, operations: usize) -> f64 {
    time.as_secs_f64() * 1e9 / operations as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::Boxes;
    use slotmap::SlotMap;
    use std::collections::HashSet;
    use typed_pool::Pool;

    #[test]
    fn windows_have_all_numbers_in_turn() {
        let mut windows = Windows::new(10);
        let seen: Vec<u32> = (0..3).flat_map(|_| windows.next(4).to_vec()).collect();
        assert_eq!(seen[..10].iter().collect::<HashSet<_>>().len(), 10);
        assert_eq!(seen[10..], seen[..2]);
        assert_eq!(windows.next(99).iter().collect::<HashSet<_>>().len(), 10);
    }

    #[test]
    fn every_store_keeps_its_objects() {
        let pool = Pool::with_capacity(2000).expect("a pool");
        let contestants: [Box<dyn Contestant + '_>; 3] = [
            Box::new(Filled::new(&pool, 1000)),
            Box::new(Filled::new(SlotMap::new(), 1000)),
            Box::new(Filled::new(Boxes::default(), 1000)),
        ];
        let mut windows = Windows::new(1000);
        for mut contestant in contestants {
            for way in 0..contestant.ways() {
                assert!(contestant.read(way, &mut windows, 3000).expect("right") > 0.0);
            }
            let replaced = contestant.replace(&mut windows, 700).expect("right");
            assert!(replaced.insert > 0.0 && replaced.remove > 0.0);
            contestant.verify().expect("nothing has changed");
        }
    }

    #[test]
    fn a_lost_object_is_noticed() {
        let mut filled = Filled::new(SlotMap::new(), 1000);
        filled.store.remove(filled.keys[17]);
        let mut windows = Windows::new(1000);
        assert!(filled.read(0, &mut windows, 1).is_err());
        assert!(filled.replace(&mut windows, 2000).is_err());
        assert!(filled.verify().is_err());
    }
}
