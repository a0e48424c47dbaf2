//! Keeps the workers in order: how far each is, who waits for whom, and the stop for measuring.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use crossbeam_utils::{Backoff, CachePadded};

use crate::cell::Cell;
use crate::plan::Step;

/// How far the workers are.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// By worker: the index of the record that it does next. All its earlier ones are done.
    positions: Vec<CachePadded<AtomicU32>>,
    /// By worker: the number of its latest new object.
    newest: Vec<CachePadded<AtomicU32>>,
    window: u32,
    aborted: AtomicBool,
    gate: Mutex<Gate>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Gate {
    waiting: usize,
    open: bool,
}

/// A worker has panicked; the others stop.
#[derive(Debug)]
pub(crate) struct Aborted;

impl Schedule {
    pub(crate) fn new(workers: usize, window: u32) -> Self {
        Schedule {
            positions: (0..workers).map(|_| CachePadded::default()).collect(),
            newest: (0..workers).map(|_| CachePadded::default()).collect(),
            window,
            aborted: AtomicBool::new(false),
            gate: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Index of the earliest record that is not done.
    pub(crate) fn earliest(&self) -> u32 {
        let positions = self.positions.iter().map(|position| position.load(Ordering::Relaxed));
        positions.min().unwrap_or(0)
    }

    /// A number that every new object so far is below or at.
    pub(crate) fn newest(&self) -> u32 {
        let newest = self.newest.iter().map(|object| object.load(Ordering::Relaxed));
        newest.max().unwrap_or(0)
    }

    /// Says that a worker has made an object.
    pub(crate) fn made(&self, worker: usize, object: u32) {
        self.newest[worker].store(object, Ordering::Relaxed);
    }

    /// Says which record a worker does next.
    pub(crate) fn advance(&self, worker: usize, record: u32) {
        self.positions[worker].store(record, Ordering::Relaxed);
    }

    /// Waits until the worker's step may be done: the object's record before it is done, and no
    /// worker is too far behind.
    ///
    /// The earliest record of all waits for nobody: every record before it is done. So there is
    /// always a worker that can go on. The order between the records of an object comes from
    /// [`Cell::done`] alone; the positions are hints and need no ordering of their own.
    pub(crate) fn wait_for_turn(
        &self,
        step: Step,
        cell: &Cell,
        limit: &mut u32,
    ) -> Result<(), Aborted> {
        let backoff = Backoff::new();
        while step.record > *limit {
            *limit = self.earliest().saturating_add(self.window);
            if step.record > *limit {
                self.pause(&backoff)?;
            }
        }
        backoff.reset();
        while cell.done() != step.after {
            self.pause(&backoff)?;
        }
        Ok(())
    }

    fn pause(&self, backoff: &Backoff) -> Result<(), Aborted> {
        if self.aborted.load(Ordering::Relaxed) {
            return Err(Aborted);
        }
        backoff.snooze();
        Ok(())
    }

    /// Makes every waiting thread give up.
    pub(crate) fn abort(&self) {
        self.aborted.store(true, Ordering::Relaxed);
        // The lock orders this with a waiter that has just looked at the flag.
        drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// Waits at the gate until it opens.
    pub(crate) fn wait_at_gate(&self) -> Result<(), Aborted> {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        gate.waiting += 1;
        while !gate.open {
            if self.aborted.load(Ordering::Relaxed) {
                return Err(Aborted);
            }
            gate = self.changed.wait(gate).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Whether all workers wait at the gate.
    pub(crate) fn all_at_gate(&self) -> Result<bool, Aborted> {
        if self.aborted.load(Ordering::Relaxed) {
            return Err(Aborted);
        }
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(gate.waiting == self.positions.len())
    }

    /// Lets the workers go on.
    pub(crate) fn open_gate(&self) {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner).open = true;
        self.changed.notify_all();
    }
}
