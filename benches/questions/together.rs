//! Threads that start at the same moment.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Lets `threads` threads work, the calling one among them. Each one calls `prepare` with its
/// number, waits until all the others are prepared, calls `work` with what `prepare` gave it, waits
/// until all the others are done, and calls `finish`. The time from the first start of `work` to
/// its last end, and what `finish` gave.
///
/// # Panics
/// When one of the threads does.
pub fn together<S, R: Send>(
    threads: usize,
    prepare: impl Fn(usize) -> S + Sync,
    work: impl Fn(&mut S) + Sync,
    finish: impl Fn(S) -> R + Sync,
) -> (Duration, Vec<R>) {
    let [unprepared, busy] = [threads, threads].map(AtomicUsize::new);
    let one = |number| {
        let [prepared, done] = [&unprepared, &busy].map(Arrival);
        let mut state = prepare(number);
        prepared.wait_for_all();
        let start = Instant::now();
        work(&mut state);
        let end = Instant::now();
        done.wait_for_all();
        (start, end, finish(state))
    };
    let done: Vec<_> = thread::scope(|scope| {
        let one = &one;
        let others: Vec<_> = (1..threads).map(|number| scope.spawn(move || one(number))).collect();
        let first = one(0);
        let others = others.into_iter().map(|thread| thread.join().expect("no panic"));
        std::iter::once(first).chain(others).collect()
    });
    let start = done.iter().map(|(start, ..)| *start).min().expect("a thread");
    let end = done.iter().map(|(_, end, _)| *end).max().expect("a thread");
    (end - start, done.into_iter().map(|(.., result)| result).collect())
}

/// A thread on its way to where all meet, and the number of those that are missing there.
struct Arrival<'m>(&'m AtomicUsize);

impl Arrival<'_> {
    fn wait_for_all(self) {
        let missing = self.0;
        drop(self);
        // Acquire: partner of the Release in `drop`, of each thread.
        while missing.load(Ordering::Acquire) > 0 {
            // Spins, so that nobody starts late because it had to be woken; yields, because there
            // may be more threads than cores.
            thread::yield_now();
        }
    }
}

impl Drop for Arrival<'_> {
    /// Also when something panics: nobody waits for a thread that never comes.
    fn drop(&mut self) {
        // Release: what this thread did happens before what the others do next. Partner: the
        // Acquire above.
        self.0.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_works_before_all_are_prepared_or_finishes_before_all_are_done() {
        let [prepared, done] = [0, 0].map(AtomicUsize::new);
        let late = |number: usize| thread::sleep(Duration::from_millis(5 * number as u64));
        let (time, results) = together(
            3,
            |number| {
                late(number);
                prepared.fetch_add(1, Ordering::Relaxed);
                (number, 0)
            },
            |(number, seen)| {
                *seen = prepared.load(Ordering::Relaxed);
                late(*number);
                done.fetch_add(1, Ordering::Relaxed);
            },
            |(number, seen)| (number, seen, done.load(Ordering::Relaxed)),
        );
        assert_eq!(results, [(0, 3, 3), (1, 3, 3), (2, 3, 3)]);
        assert!(time >= Duration::from_millis(10));
    }

    #[test]
    #[should_panic(expected = "no panic")]
    fn a_thread_that_panics_before_the_start_ends_it() {
        together(2, |number| assert!(number == 0, "number 1 panics"), |()| (), |()| ());
    }
}
