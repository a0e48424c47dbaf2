//! Objects that can be removed when room is needed: in which order, and which are passed over.
//!
//! The table keeps their handles in a queue, oldest first. Handles of objects that are gone by now stay in it until they come
//! up, or until the queue is twice as long as when it was last cleaned, so keeping it costs O(1) an object. The
//! lock of the queue is held while words are looked at and never while anything is removed or told.
//!
//! Removing is what `retire` does: who has the object in a section or pinned keeps it. Only calls on their own table
//! remove objects, as only these may drop them.

use super::Table;
use crate::handle::Handle;
use crate::slot;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use std::collections::VecDeque;

/// Handles up to this number are kept without a look at whether their objects are there.
const KEPT_MIN: usize = if cfg!(any(loom, miri)) { 2 } else { 64 };

/// The objects of a table that can be purged.
#[derive(Debug)]
pub(super) struct Purgeable {
    queue: Mutex<Queue>,
    /// Objects that were purged.
    purged: AtomicUsize,
}

#[derive(Debug)]
struct Queue {
    /// Oldest first.
    handles: VecDeque<Handle<[u8]>>,
    /// Length at which handles of objects that are gone are thrown out.
    clean_at: usize,
}

/// Tells of a purged object, also when the removal of another one panics in between.
struct Told<F: FnOnce(Handle<[u8]>)>(Option<F>, Handle<[u8]>);

impl<F: FnOnce(Handle<[u8]>)> Drop for Told<F> {
    fn drop(&mut self) {
        if let Some(told) = self.0.take() {
            told(self.1);
        }
    }
}

impl Purgeable {
    pub(super) fn new() -> Self {
        let queue = Queue { handles: VecDeque::new(), clean_at: KEPT_MIN };
        Self { queue: Mutex::new(queue), purged: AtomicUsize::new(0) }
    }

    /// Objects that were purged so far.
    pub(super) fn purged(&self) -> usize {
        // Relaxed: a count.
        self.purged.load(Ordering::Relaxed)
    }
}

impl Table {
    /// Lets [`purge_one`](Self::purge_one) remove the object, after those that it may remove already. O(1) on
    /// average, one lock. No effect where the handle is stale. An object that is named twice is removed once, when the first of its
    /// turns comes; until it is gone each naming takes its place in the queue.
    pub fn allow_purge<T: ?Sized>(&self, handle: Handle<T>) {
        let mut queue = self.parts().1.purgeable.queue.lock();
        if queue.handles.len() >= queue.clean_at {
            queue.handles.retain(|handle| self.contains(*handle));
            queue.clean_at = (2 * queue.handles.len()).max(KEPT_MIN);
        }
        queue.handles.push_back(handle.cast());
    }

    /// Removes the oldest object that may be, as [`retire`](Self::retire) does, and tells `told` its handle; false where
    /// there is none. Objects that are pinned at the moment are passed over and count as new from then on.
    ///
    /// `told` runs without a lock, when the handle is stale; also where the `Drop` of an object that was retired earlier
    /// panics. O(1) and what `retire` costs, and a look at each handle that is stale or pinned.
    ///
    /// # Panics
    /// When `told` does, or the `Drop` of an object that is reclaimed. The removal has happened. When both do, the
    /// process aborts.
    pub fn purge_one(&self, told: impl FnOnce(Handle<[u8]>)) -> bool {
        // Those that are passed over come up once.
        let slots = self.parts().1;
        let mut looks = slots.purgeable.queue.lock().handles.len();
        while let Some(handle) = self.next_purgeable(&mut looks) {
            let word = slots.word(handle);
            let Some(word) = word.and_then(|word| slot::unlink(word, handle)) else {
                // Somebody else removed it just then.
                continue;
            };
            // Relaxed: a count.
            slots.purgeable.purged.fetch_add(1, Ordering::Relaxed);
            let _told = Told(Some(told), handle);
            self.retire_unlinked(handle.index(), word);
            return true;
        }
        false
    }

    /// The oldest handle of an object that is there and not pinned, taken off the queue.
    fn next_purgeable(&self, looks: &mut usize) -> Option<Handle<[u8]>> {
        // Before the lock: it is no matter of this lock how a section ends.
        let section = self.enter();
        let mut queue = self.parts().1.purgeable.queue.lock();
        while *looks > 0 {
            *looks -= 1;
            let handle = queue.handles.pop_front()?;
            if !self.contains(handle) {
                continue;
            }
            if !section.is_held(handle) {
                return Some(handle);
            }
            queue.handles.push_back(handle);
        }
        None
    }
}
