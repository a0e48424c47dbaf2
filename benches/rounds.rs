//! Contestants take turns: each round asks each of them once, in an order that changes, so that
//! whatever disturbs the machine disturbs them alike.

use anyhow::{Context, Result};
use std::fmt;
use std::time::Duration;

/// How much is done for one sample.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// The least time that a timed part takes: short operations are repeated until it is filled.
    pub span: Duration,
    /// Objects that are read for one sample where they do not fit a cache.
    pub cold_reads: usize,
}

/// Somebody who has what it takes to answer a question again and again.
pub trait Contestant {
    /// Does the work once, with caches warmed by the same work, and checks the result. Nanoseconds
    /// an operation.
    ///
    /// # Errors
    /// A wrong result.
    fn round(&mut self) -> Result<f64>;
}

type Make = dyn Fn(Effort) -> Result<Box<dyn Contestant>>;

/// A contestant who has not prepared anything yet.
pub struct Entrant {
    /// The name, one of its own in each question.
    pub name: String,
    make: Box<Make>,
}

impl fmt::Debug for Entrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entrant").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Entrant {
    /// `make` prepares what the rounds need.
    pub fn new<C: Contestant + 'static>(
        name: impl Into<String>,
        make: impl Fn(Effort) -> Result<C> + 'static,
    ) -> Self {
        let make = move |effort| Ok(Box::new(make(effort)?) as Box<dyn Contestant>);
        Self { name: name.into(), make: Box::new(make) }
    }

    /// Prepares the contestant.
    ///
    /// # Errors
    /// A wrong result, or what cannot be prepared.
    pub fn prepare(&self, effort: Effort) -> Result<Box<dyn Contestant>> {
        (self.make)(effort).with_context(|| self.name.clone())
    }
}

/// Asks every entrant in each of `rounds` rounds; gives each one's nanoseconds an operation, round
/// by round. `progress` is called after each sample.
///
/// # Errors
/// A wrong result of any entrant.
pub fn take_turns(
    entrants: &[Entrant],
    rounds: usize,
    effort: Effort,
    mut progress: impl FnMut(),
) -> Result<Vec<Vec<f64>>> {
    let prepared = entrants.iter().map(|entrant| entrant.prepare(effort));
    let mut contestants = prepared.collect::<Result<Vec<_>>>()?;
    let mut samples = vec![Vec::with_capacity(rounds); contestants.len()];
    for round in 0..rounds {
        for turn in order(round, contestants.len()) {
            let sample = contestants[turn].round();
            samples[turn].push(sample.with_context(|| entrants[turn].name.clone())?);
            progress();
        }
    }
    Ok(samples)
}

/// Who is asked when: everybody once; another one first in each round, and every other round
/// backwards, so that nobody always comes after the same neighbour.
fn order(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| {
        let place = (turn + round) % count;
        if round.is_multiple_of(2) { place } else { count - 1 - place }
    })
}

/// How often work is to be repeated to take `span`. `run` does it so many times and gives the time.
///
/// # Errors
/// Those of `run`.
pub fn repetitions(span: Duration, mut run: impl FnMut(u32) -> Result<Duration>) -> Result<u32> {
    let mut count = 1;
    loop {
        // The fastest of some: a machine that freezes for a moment must not shorten every round.
        let mut fastest = run(count)?;
        for _ in 0..2 {
            if fastest >= span {
                fastest = fastest.min(run(count)?);
            }
        }
        if fastest >= span {
            return Ok(count);
        }
        let missing = span.as_secs_f64() / fastest.as_secs_f64().max(1e-9);
        count = (f64::from(count) * (missing * 1.2).clamp(1.5, 16.0)).ceil() as u32;
    }
}

/// Nanoseconds for one of `operations` that took `time` together.
#[must_use]
pub fn nanoseconds(time: Duration, operations: usize) -> f64 {
    time.as_secs_f64() * 1e9 / operations as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;
    use std::cell::RefCell;
    use std::rc::Rc;

    const EFFORT: Effort = Effort { span: Duration::ZERO, cold_reads: 1 };

    /// Writes down when it was asked.
    struct Scribe(usize, Rc<RefCell<Vec<usize>>>);

    impl Contestant for Scribe {
        fn round(&mut self) -> Result<f64> {
            self.1.borrow_mut().push(self.0);
            Ok(self.0 as f64)
        }
    }

    #[test]
    fn each_round_asks_everybody_in_another_order() {
        let log = Rc::new(RefCell::new(Vec::new()));
        let scribe = |number: usize| {
            let log = log.clone();
            Entrant::new(number.to_string(), move |_| Ok(Scribe(number, log.clone())))
        };
        let samples = take_turns(&[scribe(0), scribe(1), scribe(2)], 4, EFFORT, || {}).unwrap();
        assert_eq!(samples, [[0.0; 4], [1.0; 4], [2.0; 4]]);
        let log = log.borrow();
        let rounds: Vec<_> = log.chunks(3).collect();
        assert_eq!(rounds, [[0, 1, 2], [1, 0, 2], [2, 0, 1], [2, 1, 0]]);
    }

    #[test]
    fn a_wrong_result_ends_it_and_names_who_it_was() {
        struct Wrong;
        impl Contestant for Wrong {
            fn round(&mut self) -> Result<f64> {
                bail!("the sum is off by one")
            }
        }
        let wrong = Entrant::new("wrong", |_| Ok(Wrong));
        let error = take_turns(&[wrong], 1, EFFORT, || {}).unwrap_err();
        assert_eq!(format!("{error:#}"), "wrong: the sum is off by one");
    }

    #[test]
    fn repetitions_fill_the_span_even_when_one_run_was_slow() {
        let mut frozen = false;
        let count = repetitions(Duration::from_millis(10), |count| {
            let freeze = if count > 8 && !std::mem::replace(&mut frozen, true) { 100 } else { 0 };
            Ok(Duration::from_millis(freeze) + Duration::from_micros(10) * count)
        });
        assert!((1000..2000).contains(&count.unwrap()));
        assert!(frozen);
    }

    #[test]
    fn nanoseconds_are_for_one_operation() {
        assert_eq!(nanoseconds(Duration::from_micros(3), 1000), 3.0);
    }
}
