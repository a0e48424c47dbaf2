//! [`Grace`]: the time until every guard that was open at its start has closed.

use crate::guard::Readers;
use crate::record::Record;
use crate::sync::Arc;
use crate::threads;
use std::time::{Duration, Instant};

/// Spins and yields before a wait starts to sleep.
const PATIENT_STEPS: u32 = 256;

/// How long one sleep of a long wait is.
const NAP: Duration = Duration::from_micros(50);

/// A grace period that was started.
#[derive(Debug)]
pub(crate) struct Grace {
    /// The records that were inside a section, and its number.
    waiting: Vec<(*const Record, u32)>,
    /// It disturbed nobody.
    is_quiet: bool,
    /// Keeps the records alive.
    _readers: Arc<Readers>,
}

// SAFETY: of the records only an atomic is read, and `_readers` keeps them alive.
unsafe impl Send for Grace {}
// SAFETY: as above.
unsafe impl Sync for Grace {}

impl Grace {
    /// Starts a grace period: everything that this thread wrote before is seen by each reader that the
    /// period does not wait for (the theorem in `guard.rs`). O(records), and a system call where other threads
    /// read often.
    pub(crate) fn start(readers: &Arc<Readers>) -> Self {
        let is_quiet = readers.order_readers();
        let waiting = readers
            .iter()
            .filter_map(|record| Some((&raw const *record, record.section()?)))
            .collect();
        Self { waiting, is_quiet, _readers: Arc::clone(readers) }
    }

    /// Whether the beginning disturbed no other thread, and so cost next to nothing.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_quiet
    }

    /// Whether the period is over. Never waits.
    pub(crate) fn poll(&mut self) -> bool {
        self.waiting.retain(|(record, section)| {
            // SAFETY: `_readers` keeps the records alive.
            let record = unsafe { &**record };
            record.section() == Some(*section)
        });
        self.waiting.is_empty()
    }

    /// Waits until the period is over or `deadline` has passed; false in the second case, and at once
    /// where the calling thread is inside a section itself.
    pub(crate) fn wait(&mut self, deadline: Option<Instant>) -> bool {
        let mut steps = 0;
        loop {
            if self.poll() {
                return true;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if self.waits_for_caller() || left == Some(Duration::ZERO) {
                return false;
            }
            steps += 1;
            // A sleep may take some time longer than it should.
            let may_nap = left.is_none_or(|left| left > 3 * NAP);
            pause(if may_nap { steps } else { steps.min(PATIENT_STEPS - 1) });
        }
    }

    /// Guards that the period still waits for, counted as one a thread.
    pub(crate) fn open_guards(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the calling thread is inside a section that the period waits for.
    pub(crate) fn waits_for_caller(&self) -> bool {
        let thread = threads::number();
        // SAFETY: `_readers` keeps the records alive.
        self.waiting.iter().any(|(record, _)| unsafe { &**record }.is_open_of(thread))
    }
}

#[cfg(not(loom))]
fn pause(steps: u32) {
    if steps < PATIENT_STEPS / 4 {
        std::hint::spin_loop();
    } else if steps < PATIENT_STEPS {
        std::thread::yield_now();
    } else {
        std::thread::sleep(NAP);
    }
}

#[cfg(loom)]
fn pause(steps: u32) {
    let _ = (PATIENT_STEPS, NAP);
    if steps > 1 {
        loom::skip_branch();
    }
    loom::thread::yield_now();
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::guard::Guard;

    #[test]
    fn a_section_that_began_later_is_not_waited_for() {
        let readers = Arc::new(Readers::new(false));
        let guard = Guard::enter(&readers);
        let mut grace = Grace::start(&readers);
        assert!(!grace.poll() && grace.open_guards() == 1);
        drop(guard);
        let _next = Guard::enter(&readers);
        assert!(grace.poll(), "the one of its start is over");
    }
}
