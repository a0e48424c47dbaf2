//! [`Record`]: what a thread tells of its sections, and whether its light barriers are full fences.
//!
//! The protocol, and why it is sound: `guard.rs`. That a record is shared at all is said there, too.

use crate::sync::atomic::{AtomicU32, Ordering, OwnedU64, fence, light_barrier, load_own};
use core::cell::Cell;

/// Sections that a record begins with a full fence before it becomes light: together they cost about what a
/// system call costs the thread that it interrupts.
const FENCED_MAX: u32 = if cfg!(loom) { 1 } else { 1024 };

/// A light record that began fewer sections between two system calls becomes fenced.
const LIGHT_MIN: u32 = if cfg!(loom) { u32::MAX } else { 1024 };

/// What one thread tells the reclaiming side of one heap.
#[derive(Debug)]
pub(crate) struct Record {
    /// `ended:32 | nesting:32`: sections that ended, and guards that are open. Closing a guard is one addition, whichever
    /// guard it is: one more ended, one open less. A guard that is opened inside a section takes that back beforehand,
    /// and `ended` may wrap below zero meanwhile: so the sum of the halves stays the same all over a section, and is
    /// another in the next. Only the owning thread stores.
    state: OwnedU64,
    /// A [`Mode`].
    mode: AtomicU32,
    /// Sections to begin with a full fence before the record becomes light; only the owner touches it.
    fenced_left: Cell<u32>,
    /// The number of the section at the last system call; used under the lock of who lets records settle.
    section_then: AtomicU32,
    /// The heap is plain: the record is fenced for ever.
    plain: bool,
    /// The number of the thread that took the record last. Stored before its first section; on `std` even in a model, which it
    /// orders nothing in.
    owner: std::sync::atomic::AtomicUsize,
}

/// What the light barrier of a record is. In each mode one thread may go on to the next:
///
/// ```text
///         the owner             whoever has the lock       the same, after a system call
/// FENCED ------------> LIGHT -----------------> SETTLING -----------------> FENCED
/// ```
struct Mode;

impl Mode {
    /// A compiler fence.
    const LIGHT: u32 = 0;
    /// A full fence.
    const FENCED: u32 = 1;
    /// The owner issues full fences as soon as it sees this; others may not rely on it yet.
    const SETTLING: u32 = 2;
}

/// What closing a guard adds to [`Record::state`].
const LEAVE: u64 = (1 << 32) - 1;

/// Most guards that a thread may have open.
const NESTING_MAX: u32 = u32::MAX;

/// The number of the present section, or of the last one, in a state.
fn section_number(state: u64) -> u32 {
    // It may start anew: whoever waits for an old section of the same number asks once more.
    ((state >> 32) as u32).wrapping_add(state as u32)
}

impl Record {
    /// A record without a section. `plain`: that of a plain heap.
    pub(crate) fn new(plain: bool) -> Self {
        Self {
            state: OwnedU64::new(0),
            mode: AtomicU32::new(Mode::FENCED),
            fenced_left: Cell::new(FENCED_MAX),
            section_then: AtomicU32::new(0),
            plain,
            owner: std::sync::atomic::AtomicUsize::new(0),
        }
    }

    #[inline(always)]
    pub(crate) fn enter(&self) {
        let state = load_own(&self.state);
        if state as u32 != 0 {
            return self.enter_nested(state);
        }
        // Release, not Relaxed: the reclaiming side may miss our last `leave` and see only this store; it must
        // still see the reads of the section before. Partner: the Acquire in `section`.
        self.state.store(state + 1, Ordering::Release);
        // The light barrier: what is read in the section comes after the announcement. Partner: the heavy
        // barrier in `Readers::heavy_barrier`. Without it a mover could miss a reader that missed its mark.
        light_barrier(self.plain);
        // Relaxed: ordered by the light barrier; a record that seems to be light was not settling before it.
        if self.mode.load(Ordering::Relaxed) != Mode::LIGHT {
            // SeqCst: the light barrier of a fenced record.
            fence(Ordering::SeqCst);
            if !self.plain {
                self.count_fenced();
            }
        }
    }

    /// One guard more in a section that is announced already, and begun with its barrier: it needs no other.
    #[inline(always)]
    fn enter_nested(&self, state: u64) {
        if state as u32 == NESTING_MAX {
            too_many_guards();
        }
        // Release: as in `enter`.
        self.state.store(state.wrapping_sub(LEAVE), Ordering::Release);
    }

    /// Another section began with a full fence; after many the record becomes light.
    #[cold]
    fn count_fenced(&self) {
        // Relaxed: out of this mode only we go.
        if self.mode.load(Ordering::Relaxed) != Mode::FENCED {
            return;
        }
        let left = self.fenced_left.get() - 1;
        if left > 0 {
            return self.fenced_left.set(left);
        }
        self.fenced_left.set(FENCED_MAX);
        // Relaxed: ordered by the fence.
        self.mode.store(Mode::LIGHT, Ordering::Relaxed);
        // SeqCst: who finds the record fenced after its own fence comes before this one, so that we see what it
        // wrote. Partner: the fence in `order_readers`. Without it a light section could be missed.
        fence(Ordering::SeqCst);
    }

    /// Closes a guard, and ends the section if it was the last.
    #[inline(always)]
    pub(crate) fn leave(&self) {
        // Release: the reads of the section come before. Partner: the Acquire in `section`. Weaker, a mover could
        // copy while the last read of the section is still under way.
        self.state.store(load_own(&self.state).wrapping_add(LEAVE), Ordering::Release);
    }

    /// Whether the owner's light barriers are full fences, and others may rely on it.
    pub(crate) fn is_fenced(&self) -> bool {
        // Acquire: pairs with the Release in `settle`: who finds the record fenced sees what its owner stored while it
        // was light. Weaker, a section could be missed.
        self.mode.load(Ordering::Acquire) == Mode::FENCED
    }

    /// Lets a record settle that began few sections since it was asked last; under the lock.
    pub(crate) fn begin_to_settle(&self) {
        // Relaxed: a number to compare with, and a mode out of which only we go.
        let section = section_number(self.state.load(Ordering::Relaxed));
        let before = self.section_then.load(Ordering::Relaxed);
        self.section_then.store(section, Ordering::Relaxed);
        let is_seldom = section.wrapping_sub(before) < LIGHT_MIN;
        if is_seldom && self.mode.load(Ordering::Relaxed) == Mode::LIGHT {
            // Relaxed: ordered by the system call.
            self.mode.store(Mode::SETTLING, Ordering::Relaxed);
        }
    }

    /// After the system call; under the lock.
    pub(crate) fn settle(&self) {
        // Relaxed: who has the lock stored it.
        if self.mode.load(Ordering::Relaxed) == Mode::SETTLING {
            // Release: who reads it sees what the owner stored before the system call. Partner: `is_fenced`.
            self.mode.store(Mode::FENCED, Ordering::Release);
        }
    }

    /// Open guards of the thread, which is the caller's.
    pub(crate) fn nesting(&self) -> u32 {
        load_own(&self.state) as u32
    }

    /// The thread with this number has taken the record.
    pub(crate) fn set_owner(&self, thread: usize) {
        // Relaxed: published by the Release of the first section.
        self.owner.store(thread, Ordering::Relaxed);
    }

    /// Whether the thread with this number, the caller's, is inside a section that it opened here. It may have left the record
    /// to the next thread, which cannot have it before that section is over.
    pub(crate) fn is_open_of(&self, thread: usize) -> bool {
        // Relaxed: who sees another thread's section (Acquire, in `section`) sees that thread's number too.
        self.section().is_some() && self.owner.load(Ordering::Relaxed) == thread
    }

    /// The number of the section that the thread is inside, if it is. Whoever is told of another one than before,
    /// or of none, sees that what was read in the one before is done.
    pub(crate) fn section(&self) -> Option<u32> {
        // Acquire: pairs with the Release of enter and leave.
        let state = self.state.load(Ordering::Acquire);
        (state as u32 != 0).then(|| section_number(state))
    }
}

/// Guards were forgotten by the billion; one more, and the count would say that none is open.
#[cold]
fn too_many_guards() -> ! {
    std::process::abort()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn reads(record: &Record, count: u32) {
        for _ in 0..count {
            record.enter();
            record.leave();
        }
    }

    fn mode(record: &Record) -> u32 {
        // Relaxed: the test is one thread.
        record.mode.load(Ordering::Relaxed)
    }

    #[test]
    fn a_record_becomes_light_after_many_sections() {
        let record = Record::new(false);
        reads(&record, FENCED_MAX - 1);
        assert!(record.is_fenced());
        reads(&record, 1);
        assert_eq!(mode(&record), Mode::LIGHT);
        reads(&record, 3 * FENCED_MAX);
        assert_eq!(mode(&record), Mode::LIGHT);
    }

    #[test]
    fn a_light_record_settles_when_it_is_seldom_used() {
        let record = Record::new(false);
        reads(&record, FENCED_MAX.max(LIGHT_MIN));
        record.begin_to_settle();
        record.settle();
        assert_eq!(mode(&record), Mode::LIGHT, "it was used often");
        reads(&record, LIGHT_MIN - 1);
        record.begin_to_settle();
        assert!(!record.is_fenced() && mode(&record) == Mode::SETTLING);
        reads(&record, 2 * FENCED_MAX);
        assert_eq!(mode(&record), Mode::SETTLING, "the owner leaves it to who began");
        record.settle();
        assert!(record.is_fenced());
        reads(&record, FENCED_MAX);
        assert_eq!(mode(&record), Mode::LIGHT);
    }

    #[test]
    fn a_record_of_a_plain_heap_stays_fenced() {
        let record = Record::new(true);
        reads(&record, 3 * FENCED_MAX);
        assert!(record.is_fenced());
    }

    #[test]
    fn a_section_is_told_from_the_next_one() {
        // Also where the number of sections starts anew.
        for ended in [0_u64, 1, u64::from(u32::MAX) - 1, u64::from(u32::MAX)] {
            tell_sections_apart(&Record {
                state: OwnedU64::new(ended << 32),
                ..Record::new(false)
            });
        }
    }

    fn tell_sections_apart(record: &Record) {
        assert_eq!(record.section(), None);
        record.enter();
        let first = record.section();
        for _ in 0..3 {
            record.enter();
            assert!(first.is_some() && record.section() == first, "it goes on");
        }
        (0..3).for_each(|_| record.leave());
        assert_eq!((record.section(), record.nesting()), (first, 1));
        record.leave();
        assert_eq!(record.section(), None);
        record.enter();
        assert!(record.section().is_some() && record.section() != first);
    }
}
