//! Objects that can be removed when room is needed: in which order, and which are passed over.
//!
//! The table keeps their handles in a queue, oldest first. Handles of objects that are gone by now, and those that are in it
//! twice, stay in it until they come up, or until the queue is twice as long as when it was last cleaned, so keeping it costs
//! O(1) a call, and memory for twice the objects. The lock of the queue is held while it is cleaned, which waits for nobody, and
//! never while an object is located, removed or told.
//!
//! Removing is what `retire` does: who has the object in a section or pinned keeps it. Only calls on their own table
//! remove objects, as only these may drop them.

use super::Table;
use crate::handle::Handle;
use crate::slot;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use std::collections::{HashSet, VecDeque};

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
    /// Length at which handles of objects that are gone, and second ones of the same object, are thrown out.
    clean_at: usize,
}

/// Tells of a purged object, also when the removal of another one panics in between.
struct Told<'f, F: FnMut(Handle<[u8]>)>(&'f mut F, Handle<[u8]>);

impl<F: FnMut(Handle<[u8]>)> Drop for Told<'_, F> {
    fn drop(&mut self) {
        (self.0)(self.1);
    }
}

/// Counts a purged object.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        // Relaxed: a count.
        self.0.fetch_add(1, Ordering::Relaxed);
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
    /// Lets [`purge`](Self::purge) remove the object, after those that it may remove already. O(1) on
    /// average, one lock. No effect where the handle is stale. An object that is named twice is removed once, when the first of its
    /// turns comes.
    pub fn allow_purge<T: ?Sized>(&self, handle: Handle<T>) {
        let mut queue = self.parts().1.purgeable.queue.lock();
        if queue.handles.len() >= queue.clean_at {
            let mut kept = HashSet::new();
            queue.handles.retain(|handle| self.contains(*handle) && kept.insert(*handle));
            queue.clean_at = (2 * queue.handles.len()).max(KEPT_MIN);
        }
        queue.handles.push_back(handle.cast());
    }

    /// How many objects [`purge`](Self::purge) may remove at most: their handles, with those of objects that are gone
    /// or pinned by now. One lock. O(1).
    pub fn purgeable(&self) -> usize {
        self.parts().1.purgeable.queue.lock().handles.len()
    }

    /// Objects of this table that the calling thread retired and that nobody has reclaimed yet: where that number does not
    /// fall after a call that reclaims, guards keep them. O(tables that the thread works with).
    pub fn retired_here(&self) -> usize {
        self.parts().1.caches.own().any().cache().retired()
    }

    /// How many objects were [purged](Self::purge) so far, by whatever thread.
    pub fn purged(&self) -> usize {
        self.parts().1.purged()
    }

    /// Removes up to `count` of the objects that may be, oldest first, as [`retire`](Self::retire) does, and tells `told`
    /// the handle of each; their number. Objects that are pinned at the moment are passed over and count as new from then on.
    /// Looks at no more handles than there are when it begins, so it ends also where `told` puts in others.
    ///
    /// `told` runs without a lock, when the handle is stale; also where the `Drop` of an object that was retired earlier
    /// panics. It may use the table; a purge in it tells whoever that was given. What `retire` costs for each, and a look at each handle that is stale or pinned. Waits for no reader but a copy.
    ///
    /// # Panics
    /// When `told` does, or the `Drop` of an object that is reclaimed. The removals so far have happened. When both do, the
    /// process aborts.
    pub fn purge(&self, count: usize, mut told: impl FnMut(Handle<[u8]>)) -> usize {
        let slots = self.parts().1;
        let (mut looks, mut removed) = (self.purgeable(), 0);
        while removed < count
            && let Some(handle) = self.next_purgeable(&mut looks)
        {
            let word = slots.word(handle);
            let Some(word) = word.and_then(|word| slot::unlink(word, handle)) else {
                // Somebody else removed it just then.
                continue;
            };
            removed += 1;
            // When it can be reclaimed, also where the removal of another one panics.
            let _counted = Counted(&slots.purgeable.purged);
            let _told = Told(&mut told, handle);
            self.retire_unlinked(handle.index(), word);
        }
        removed
    }

    /// The oldest handle of an object that is there and not pinned, taken off the queue.
    fn next_purgeable(&self, looks: &mut usize) -> Option<Handle<[u8]>> {
        let queue = &self.parts().1.purgeable.queue;
        let section = self.enter();
        while *looks > 0 {
            *looks -= 1;
            let handle = queue.lock().handles.pop_front()?;
            if !self.contains(handle) {
                continue;
            }
            // Without the lock: this waits for a copy of the object.
            if !section.is_held(handle) {
                return Some(handle);
            }
            queue.lock().handles.push_back(handle);
        }
        None
    }
}
