//! Removing and inserting: a random object of a thousand goes, another one comes, again and again.
//! How long does such a pair take?
//!
//! The timed loop counts that each removed object was there. After it, untimed, every object is
//! compared with what it should be and replaced once more, while the keys of those that are gone
//! must find nothing; and the objects are counted.

use crate::contestants::{AskShared, AskStore, Boxes, By, Make, SharedStore, Store};
use crate::object::{Object, positions};
use crate::questions::together;
use crate::rounds::{Contestant, Effort, Entrant, nanoseconds, repetitions};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

/// Positions of the objects that are replaced, in this order, again and again.
const STEPS: usize = 4096;

/// One thread has the store for itself.
#[derive(Clone, Copy, Debug)]
pub struct Alone {
    /// Objects that are there all the time.
    pub live: usize,
}

/// Each of several threads replaces objects of its own in one store; the entrant's name ends with
/// their number.
#[derive(Clone, Copy, Debug)]
pub struct Together {
    /// Objects of each thread that are there all the time.
    pub live: usize,
    /// How many threads.
    pub threads: usize,
}

impl AskStore for Alone {
    fn entrant<S: Store + Make>(&self) -> Entrant {
        let Self { live } = *self;
        let count = |set: &mut Keys<S>| set.store.live();
        Entrant::new(S::NAME, move |effort| {
            Churning::new(Keys::new(S::with_room(live)), live, count, effort)
        })
    }
}

impl Alone {
    /// The same with a box for each object.
    #[must_use]
    pub fn boxes(&self) -> Entrant {
        let Self { live } = *self;
        let make =
            move |effort| Churning::new(Boxes::default(), live, |boxes| boxes.live(), effort);
        Entrant::new("Box", make)
    }
}

impl AskShared for Together {
    fn entrant<S: SharedStore + Make>(&self) -> Entrant {
        let Self { live, threads } = *self;
        let name = format!("{}, threads: {threads}", S::NAME);
        Entrant::new(name, move |effort| ChurningTogether::<S>::new(live, threads, effort))
    }
}

/// Objects in numbered places.
pub trait WorkingSet {
    /// Puts an object into one more place.
    fn push(&mut self, object: Object);

    /// Removes the object of a place, then puts another one there: what is timed. Whether there was
    /// one.
    fn exchange(&mut self, place: usize, object: Object) -> bool;

    /// A copy of the object of a place.
    fn find(&self, place: usize) -> Option<Object>;

    /// Does the same as [`exchange`](Self::exchange) for all places, and checks that nothing of
    /// what was removed can still be found.
    ///
    /// # Errors
    /// A removed object was found.
    fn exchange_all(&mut self, objects: impl Iterator<Item = Object>) -> Result<()>;

    /// Removes the objects of all places; how many there were.
    fn clear(&mut self) -> usize;
}

/// A store, and the key of each place.
struct Keys<S: Store> {
    store: S,
    keys: Vec<S::Key>,
}

impl<S: Store> Keys<S> {
    fn new(store: S) -> Self {
        Self { store, keys: Vec::new() }
    }
}

impl<S: Store> WorkingSet for Keys<S> {
    fn push(&mut self, object: Object) {
        self.keys.push(self.store.insert(object));
    }

    #[inline]
    fn exchange(&mut self, place: usize, object: Object) -> bool {
        let was_there = self.store.remove(self.keys[place]);
        self.keys[place] = self.store.insert(object);
        was_there
    }

    fn find(&self, place: usize) -> Option<Object> {
        self.store.find(self.keys[place])
    }

    fn exchange_all(&mut self, objects: impl Iterator<Item = Object>) -> Result<()> {
        let old = self.keys.clone();
        for (place, object) in objects.enumerate() {
            ensure!(self.store.remove(old[place]), "an object was not there to be removed");
            ensure!(self.store.find(old[place]).is_none(), "a removed object was found");
            self.keys[place] = self.store.insert(object);
        }
        // Once more when others have taken the room.
        for key in old {
            ensure!(self.store.find(key).is_none(), "a key of a removed object found another one");
            ensure!(!self.store.remove(key), "an object was removed twice");
        }
        Ok(())
    }

    fn clear(&mut self) -> usize {
        self.keys.drain(..).filter(|key| self.store.remove(*key)).count()
    }
}

/// A working set, and what should be in it.
struct Churn<W> {
    set: W,
    /// The number of the object of each place.
    numbers: Vec<u64>,
    order: Vec<u32>,
    /// The number of the next object.
    next: u64,
}

impl<W: WorkingSet> Churn<W> {
    /// With `live` objects, whose numbers no other `thread` uses.
    fn new(mut set: W, live: usize, thread: usize) -> Self {
        let first = (thread as u64) << 48;
        let numbers: Vec<_> = (first..first + live as u64).collect();
        numbers.iter().for_each(|number| set.push(Object::new(*number)));
        Self { set, next: first + live as u64, numbers, order: positions(STEPS, live as u32) }
    }

    /// Replaces objects in the order of the places; how many of the removed ones were there.
    fn run(&mut self, passes: u32) -> usize {
        let mut removed = 0;
        for _ in 0..passes {
            for place in &self.order {
                removed += usize::from(self.set.exchange(*place as usize, Object::new(self.next)));
                self.next += 1;
            }
        }
        removed
    }

    /// Checks that `removed` objects were there in `passes` runs, that the places hold what those
    /// left there, and that what is removed is gone.
    fn check(&mut self, passes: u32, removed: usize) -> Result<()> {
        ensure!(removed == passes as usize * STEPS, "{removed} removed in {passes} passes");
        let last_pass = self.next - STEPS as u64;
        for (number, place) in (last_pass..).zip(&self.order) {
            self.numbers[*place as usize] = number;
        }
        for (place, number) in self.numbers.iter_mut().enumerate() {
            let (found, expected) = (self.set.find(place), Object::new(*number));
            ensure!(found == Some(expected), "{found:?} instead of {expected:?}");
            *number = self.next + place as u64;
        }
        self.next += self.numbers.len() as u64;
        self.set.exchange_all(self.numbers.iter().map(|number| Object::new(*number)))
    }

    /// Runs with warm caches; the time, and how many of the removed objects were there.
    fn run_warm(&mut self, passes: u32) -> (Duration, usize) {
        self.run(passes / 8 + 1);
        let start = Instant::now();
        let removed = self.run(passes);
        (start.elapsed(), removed)
    }
}

/// One thread's churn.
struct Churning<W> {
    churn: Churn<W>,
    passes: u32,
    /// Counts the objects.
    live: fn(&mut W) -> usize,
}

impl<W: WorkingSet> Churning<W> {
    fn new(set: W, live: usize, count: fn(&mut W) -> usize, effort: Effort) -> Result<Self> {
        let mut churn = Churn::new(set, live, 0);
        let passes = repetitions(effort.span, |passes| Ok(churn.run_warm(passes).0))?;
        Ok(Self { churn, passes, live: count })
    }
}

impl<W: WorkingSet> Contestant for Churning<W> {
    fn round(&mut self) -> Result<f64> {
        let (time, removed) = self.churn.run_warm(self.passes);
        self.churn.check(self.passes, removed)?;
        let (live, expected) = ((self.live)(&mut self.churn.set), self.churn.numbers.len());
        ensure!(live == expected, "{live} objects instead of {expected}");
        Ok(nanoseconds(time, self.passes as usize * STEPS))
    }
}

/// The churn of several threads, whose objects come and go with the round.
struct ChurningTogether<S> {
    store: S,
    live: usize,
    threads: usize,
    passes: u32,
}

impl<S: SharedStore + Make> ChurningTogether<S> {
    fn new(live: usize, threads: usize, effort: Effort) -> Result<Self> {
        let mut churning =
            Self { store: S::with_room(live * threads), live, threads: 1, passes: 1 };
        churning.passes = repetitions(effort.span, |passes| {
            churning.passes = passes;
            churning.run()
        })?;
        churning.threads = threads;
        Ok(churning)
    }

    fn run(&mut self) -> Result<Duration> {
        let Self { store, live, threads, passes } = &*self;
        let (time, results) = together(
            *threads,
            |thread| {
                let mut churn = Churn::new(Keys::new(By(store)), *live, thread);
                churn.run(passes / 8 + 1);
                (churn, 0)
            },
            |(churn, removed)| *removed = churn.run(*passes),
            |(mut churn, removed)| {
                churn.check(*passes, removed)?;
                let removed = churn.set.clear();
                ensure!(removed == *live, "{removed} objects instead of {live}");
                Ok(())
            },
        );
        results.into_iter().collect::<Result<()>>()?;
        let live = self.store.live();
        ensure!(live == 0, "{live} objects are left");
        Ok(time)
    }
}

impl<S: SharedStore + Make> Contestant for ChurningTogether<S> {
    fn round(&mut self) -> Result<f64> {
        let time = self.run()?;
        Ok(nanoseconds(time, self.passes as usize * STEPS * self.threads))
    }
}
