//! Handing over: one thread inserts objects, another one removes them. How long does a pair of the
//! two take?
//!
//! Keys travel in batches through a bounded channel, emptied batches travel back, so that about a
//! thousand objects are there at a time. The removing thread counts that each object was there.
//! After it, untimed, some objects are handed over whose content is checked, too.

use crate::contestants::{AskShared, Make, SharedStore};
use crate::object::Object;
use crate::questions::together;
use crate::rounds::{Contestant, Effort, Entrant, nanoseconds, repetitions};
use anyhow::{Result, ensure};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Objects of a batch, and batches in the channel.
const BATCH: usize = 100;
const CHANNEL: usize = 8;

/// Batches of the check.
const CHECKED: usize = 10;

/// The question; the entrant's name ends with "handed over".
#[derive(Clone, Copy, Debug)]
pub struct HandingOver;

impl AskShared for HandingOver {
    fn entrant<S: SharedStore + Make>(&self) -> Entrant {
        let name = format!("{}, handed over", S::NAME);
        Entrant::new(name, HandedOver::<S>::new)
    }
}

struct HandedOver<S> {
    store: S,
    batches: usize,
    /// The number of the next object.
    next: AtomicU64,
}

/// What one of the threads has in hand.
enum Role<K> {
    Inserts { full: Sender<Vec<K>>, empty: Receiver<Vec<K>> },
    Removes { full: Receiver<Vec<K>>, empty: Sender<Vec<K>>, removed: usize },
}

impl<S: SharedStore + Make> HandedOver<S> {
    fn new(effort: Effort) -> Result<Self> {
        let store = S::with_room((CHANNEL + 2) * BATCH);
        let mut handed_over = Self { store, batches: 1, next: AtomicU64::new(0) };
        let count = repetitions(effort.span, |count| {
            handed_over.batches = count as usize;
            handed_over.run(count as usize, |store, key, _| store.remove(key))
        })?;
        handed_over.batches = count as usize;
        Ok(handed_over)
    }

    /// Hands over so many batches; `remove` is told the number of the object, too, and whether it
    /// says that all is well is counted.
    fn run(
        &self,
        batches: usize,
        remove: impl Fn(&S, S::Key, u64) -> bool + Sync,
    ) -> Result<Duration> {
        let objects = batches * BATCH;
        // Relaxed: a counter of this thread; the others get their numbers from it.
        let first = self.next.fetch_add(objects as u64, Ordering::Relaxed);
        let (full, to_remove) = bounded(CHANNEL);
        let (empty, to_fill) = bounded(CHANNEL + 2);
        let prepare = |thread| match thread {
            0 => Role::Inserts { full: full.clone(), empty: to_fill.clone() },
            _ => {
                for _ in 0..CHANNEL + 2 {
                    let _ = empty.try_send(Vec::with_capacity(BATCH));
                }
                Role::Removes { full: to_remove.clone(), empty: empty.clone(), removed: 0 }
            }
        };
        let work = |role: &mut Role<S::Key>| match role {
            Role::Inserts { full, empty } => self.insert(first, batches, full, empty),
            Role::Removes { full, empty, removed } => {
                let mut number = first;
                for mut batch in full.iter().take(batches) {
                    for key in batch.drain(..) {
                        *removed += usize::from(remove(&self.store, key, number));
                        number += 1;
                    }
                    // The other thread may need it no more.
                    let _ = empty.try_send(batch);
                }
            }
        };
        let (time, removed) = together(2, prepare, work, |role| match role {
            Role::Inserts { .. } => 0,
            Role::Removes { removed, .. } => removed,
        });
        ensure!(removed[1] == objects, "{} of {objects} objects were there", removed[1]);
        Ok(time)
    }

    fn insert(
        &self,
        first: u64,
        batches: usize,
        full: &Sender<Vec<S::Key>>,
        empty: &Receiver<Vec<S::Key>>,
    ) {
        let mut number = first;
        for _ in 0..batches {
            let mut batch = empty.recv().expect("the other thread is there");
            for _ in 0..BATCH {
                batch.push(self.store.insert(Object::new(number)));
                number += 1;
            }
            full.send(batch).expect("the other thread is there");
        }
    }
}

impl<S: SharedStore + Make> Contestant for HandedOver<S> {
    fn round(&mut self) -> Result<f64> {
        let remove = |store: &S, key, _| store.remove(key);
        self.run(self.batches / 8 + 1, remove)?;
        let time = self.run(self.batches, remove)?;
        // One by one right: the content, the removal, and that it is gone.
        self.run(CHECKED, |store, key, number| {
            store.find(key) == Some(Object::new(number))
                && store.remove(key)
                && store.find(key).is_none()
                && !store.remove(key)
        })?;
        let live = self.store.live();
        ensure!(live == 0, "{live} objects are left");
        Ok(nanoseconds(time, self.batches * BATCH))
    }
}
