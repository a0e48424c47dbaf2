//! Reading objects through random handles: how long does one look-up take?
//!
//! The timed loop adds up one word of each object, and the sum is checked each time. All words of
//! some objects are checked after it.

use crate::contestants::{AskReader, Collection, Reader};
use crate::object::{Object, shuffle, shuffled};
use crate::questions::together;
use crate::rounds::{Contestant, Effort, Entrant, nanoseconds, repetitions};
use anyhow::{Result, ensure};
use std::hint::black_box;
use std::ops::Range;
use std::time::Duration;

/// Objects whose whole content is checked after a round.
const CHECKED: usize = 1000;

type Key<R> = <<R as Reader>::From as Collection>::Key;

/// One thread reads so few objects that all of them stay in its caches.
#[derive(Clone, Copy, Debug)]
pub struct Hot {
    /// How many.
    pub objects: usize,
}

/// One thread reads other objects of many in each round.
#[derive(Clone, Copy, Debug)]
pub struct Cold {
    /// How many.
    pub objects: usize,
}

/// The same, but only one contestant at a time has its objects in memory: it makes them anew in
/// each round.
#[derive(Clone, Copy, Debug)]
pub struct Fresh {
    /// How many.
    pub objects: usize,
}

/// Several threads read the same few objects; the entrant's name ends with their number.
#[derive(Clone, Copy, Debug)]
pub struct Together {
    /// How many.
    pub objects: usize,
    /// How many threads.
    pub threads: usize,
}

impl AskReader for Hot {
    fn entrant<R: Reader>(&self) -> Entrant {
        let Self { objects } = *self;
        Entrant::new(R::NAME, move |effort| Reading::<R>::hot(objects, 1, effort))
    }
}

impl AskReader for Cold {
    fn entrant<R: Reader>(&self) -> Entrant {
        let Self { objects } = *self;
        Entrant::new(R::NAME, move |effort| Ok(Reading::<R>::cold(objects, effort)))
    }
}

impl AskReader for Fresh {
    fn entrant<R: Reader>(&self) -> Entrant {
        let Self { objects } = *self;
        let make =
            move |effort| Box::new(Reading::<R>::cold(objects, effort)) as Box<dyn Contestant>;
        Entrant::new(R::NAME, move |effort| Ok(Anew(Box::new(move || make(effort)))))
    }
}

impl AskReader for Together {
    fn entrant<R: Reader>(&self) -> Entrant {
        let Self { objects, threads } = *self;
        let name = format!("{}, threads: {threads}", R::NAME);
        Entrant::new(name, move |effort| Reading::<R>::hot(objects, threads, effort))
    }
}

/// A collection, the keys of its objects in random order, and how much of that is read in a round.
struct Reading<R: Reader> {
    objects: R::From,
    keys: Vec<Key<R>>,
    /// The number of the object of each key.
    numbers: Vec<u32>,
    threads: usize,
    /// Objects of one pass; the next round goes on behind them.
    slice: usize,
    passes: u32,
    next: usize,
}

impl<R: Reader> Reading<R> {
    fn new(count: usize, slice: usize) -> Self {
        let (objects, mut keys) = R::From::fill(count);
        shuffle(&mut keys);
        let numbers = shuffled(count);
        Self { objects, keys, numbers, threads: 1, slice, passes: 1, next: 0 }
    }

    /// Reads all objects, as often as fills the time.
    fn hot(count: usize, threads: usize, effort: Effort) -> Result<Self> {
        let mut reading = Self::new(count, count);
        reading.passes = repetitions(effort.span, |passes| {
            reading.passes = passes;
            reading.read(0..count)
        })?;
        reading.threads = threads;
        Ok(reading)
    }

    /// Reads a part of the objects once.
    fn cold(count: usize, effort: Effort) -> Self {
        Self::new(count, effort.cold_reads.min(count))
    }

    /// The next objects to be read.
    fn advance(&mut self) -> Range<usize> {
        if self.next + self.slice > self.keys.len() {
            self.next = 0;
        }
        let range = self.next..self.next + self.slice;
        self.next = range.end;
        range
    }

    /// Lets every thread read the objects; the time from the first start to the last end.
    fn read(&self, range: Range<usize>) -> Result<Duration> {
        let keys = &self.keys[range.clone()];
        let read = |passes| {
            let pass = || R::sum(black_box(&self.objects), black_box(keys));
            (0..passes).fold(0_u64, |total, _| total.wrapping_add(pass()))
        };
        let warm_up = if self.slice == self.keys.len() { self.passes / 8 + 1 } else { 0 };
        let (time, sums) = together(
            self.threads,
            |_| read(warm_up),
            |total| *total = read(self.passes),
            |total| total,
        );
        let once: u64 = self.numbers[range].iter().map(|number| u64::from(*number)).sum();
        let expected = once.wrapping_mul(u64::from(self.passes));
        for sum in sums {
            ensure!(sum == expected, "the objects add up to {sum}, not to {expected}");
        }
        Ok(time)
    }

    /// Looks at every word of some of the objects.
    fn check(&self, range: Range<usize>) -> Result<()> {
        for place in range.take(CHECKED) {
            let found = self.objects.find(self.keys[place]);
            let expected = Object::new(u64::from(self.numbers[place]));
            ensure!(found == Some(expected), "{found:?} instead of {expected:?}");
        }
        Ok(())
    }
}

impl<R: Reader> Contestant for Reading<R> {
    fn round(&mut self) -> Result<f64> {
        let range = self.advance();
        let time = self.read(range.clone())?;
        self.check(range)?;
        Ok(nanoseconds(time, self.slice * self.passes as usize * self.threads))
    }
}

/// A contestant that is there for the time of its round only.
struct Anew(Box<dyn Fn() -> Box<dyn Contestant>>);

impl Contestant for Anew {
    fn round(&mut self) -> Result<f64> {
        (self.0)().round()
    }
}
