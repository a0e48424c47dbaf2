//! Threads that start at the same moment.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Lets `threads` threads work, the calling one among them. Each one calls `prepare` with its
/// number, waits until all the others are prepared, and calls `work` with what `prepare` gave it.
/// The time from the first start of `work` to its last end, and what each one gave.
///
/// # Panics
/// When one of the threads does.
pub fn together<S, R: Send>(
    threads: usize,
    prepare: impl Fn(usize) -> S + Sync,
    work: impl Fn(&mut S) -> R + Sync,
) -> (Duration, Vec<R>) {
    let missing = AtomicUsize::new(threads);
    let one = |number| {
        let arrival = Arrival(&missing);
        let mut state = prepare(number);
        arrival.wait_for_all();
        let start = Instant::now();
        let result = work(&mut state);
        (start, Instant::now(), result)
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

/// A thread on its way to the start, and the number of those that are missing there.
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
    /// Also when preparing panics: nobody waits for a thread that never comes.
    fn drop(&mut self) {
        // Release: what was prepared happens before anybody's work. Partner: the Acquire above.
        self.0.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_starts_when_all_are_prepared() {
        let prepared = AtomicUsize::new(0);
        let (time, results) = together(
            3,
            |number| {
                thread::sleep(Duration::from_millis(5 * number as u64));
                prepared.fetch_add(1, Ordering::Relaxed);
                number
            },
            |number| (*number, prepared.load(Ordering::Relaxed)),
        );
        assert_eq!(results, [(0, 3), (1, 3), (2, 3)]);
        assert!(time < Duration::from_secs(5));
    }

    #[test]
    #[should_panic(expected = "no panic")]
    fn a_thread_that_panics_before_the_start_ends_it() {
        together(2, |number| assert!(number == 0, "number 1 panics"), |()| ());
    }
}
