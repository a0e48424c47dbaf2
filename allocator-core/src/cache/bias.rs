//! [`Biased`]: a lock that one thread, its owner, takes with two plain stores and a load.
//!
//! The owner announces itself (`inside`), passes the light barrier, and looks whether somebody has revoked
//! the lock. Whoever else wants it takes the mutex, revokes, passes the heavy barrier, and waits until the
//! owner is not inside. The owner that finds the lock revoked takes the mutex like everybody else.
//!
//! By the theorem of `guard.rs` one of the two sees the other: if the owner's light barrier comes before the
//! heavy one, its `inside` is seen and waited for; else it sees `revoked`. (Kawachiya, Koseki, Onodera: "Lock
//! Reservation", OOPSLA 2002; with the heavy half moved to the revoking side.)

use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence, light_barrier};
use crate::sync::{Backoff, Mutex, UnsafeCell};

/// A value behind a lock that is biased to one thread.
#[derive(Debug)]
pub(crate) struct Biased<T> {
    /// The owner has the value, by the short way. Only the owner stores.
    inside: AtomicBool,
    /// What keeps the owner from the short way at once: bits of [`Gate`]. Stored under the mutex only.
    gate: AtomicU32,
    /// The owner has the value by way of the mutex. Only the owner stores.
    long_way: AtomicBool,
    /// [`Gate::PLAIN`], or nothing.
    open: u32,
    mutex: Mutex<()>,
    value: UnsafeCell<T>,
}

/// One word, so that the owner asks once.
struct Gate;

impl Gate {
    /// The short way is closed: somebody has the value by way of the mutex, or wants it.
    const REVOKED: u32 = 1;
    /// The light barrier is a full fence. Never changes.
    const PLAIN: u32 = 2;
}

// SAFETY: the value is handed from thread to thread, one at a time.
unsafe impl<T: Send> Sync for Biased<T> {}

/// The owner inside; dropping it is the way out, also when a panic comes through.
pub(crate) struct Entered<'b, T> {
    biased: &'b Biased<T>,
}

impl<T> Entered<'_, T> {
    #[inline(always)]
    pub(crate) fn value(&mut self) -> &mut T {
        // SAFETY: nobody who has the mutex gets past its heavy barrier while we are inside, by the theorem; and we
        // are borrowed mutably.
        self.biased.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T> Drop for Entered<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        // Release: what was done inside comes before. Partner: the Acquire in `with_other`. Weaker, the next
        // holder could work on a value that is half changed.
        self.biased.inside.store(false, Ordering::Release);
    }
}

/// Says that the owner is not on the long way, also when a panic comes through.
struct LongWay<'b>(&'b AtomicBool);

impl Drop for LongWay<'_> {
    fn drop(&mut self) {
        // Relaxed: only the owner looks.
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The short way is closed until this is dropped, also when a panic comes through.
struct Closed<'b, T>(&'b Biased<T>);

impl<T> Drop for Closed<'_, T> {
    fn drop(&mut self) {
        // Release: what we did comes before the owner's next look. Partner: the Acquire in `enter`.
        self.0.gate.store(self.0.open, Ordering::Release);
    }
}

impl<T> Biased<T> {
    /// `plain`: the light barrier is a full fence.
    pub(crate) fn new(value: T, plain: bool) -> Self {
        let open = if plain { Gate::PLAIN } else { 0 };
        Self {
            inside: AtomicBool::new(false),
            gate: AtomicU32::new(open),
            long_way: AtomicBool::new(false),
            open,
            mutex: Mutex::new(()),
            value: UnsafeCell::new(value),
        }
    }

    /// Takes the lock for the owner; `None` where somebody else has it or wants it.
    ///
    /// # Safety
    /// The calling thread is the owner, and is not inside already.
    #[inline(always)]
    pub(crate) unsafe fn enter(&self) -> Option<Entered<'_, T>> {
        // Relaxed: ordered by the light barrier. What was done before is told by the stores of `Entered`: whoever
        // waits for us reads one of those.
        self.inside.store(true, Ordering::Relaxed);
        light_barrier(self.open == Gate::PLAIN);
        let entered = Entered { biased: self };
        // Acquire: pairs with the Release that ends a revocation; weaker, we could work on the value as it was
        // before.
        match self.gate.load(Ordering::Acquire) {
            0 => Some(entered),
            gate if gate & Gate::PLAIN == 0 => None,
            _ => {
                // SeqCst: the light barrier of a plain heap.
                fence(Ordering::SeqCst);
                // Acquire: as above; what was seen before the fence does not count.
                (self.gate.load(Ordering::Acquire) == Gate::PLAIN).then_some(entered)
            }
        }
    }

    /// Runs `f` with the value, for the owner. Waits where somebody else has it.
    ///
    /// Aborts where the owner is inside already: `f` allocates, and the global allocator came back here. It must
    /// not unwind, so there is no panic.
    #[cold]
    pub(crate) fn with_mutex<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // Relaxed: only the owner stores.
        if self.long_way.load(Ordering::Relaxed) {
            eprintln!("the global allocator uses the pool or heap that asks it for memory");
            std::process::abort();
        }
        let _mutex = self.mutex.lock();
        self.long_way.store(true, Ordering::Relaxed);
        let _leave = LongWay(&self.long_way);
        // Keeps ourselves from the short way. Relaxed: we are ordered with ourselves.
        self.gate.store(self.open | Gate::REVOKED, Ordering::Relaxed);
        let _restore = Closed(self);
        // SAFETY: we have the mutex, and the owner is not inside by the short way: it is us.
        self.value.with_mut(|value| f(unsafe { &mut *value }))
    }

    /// Runs `f` with the value, for another thread than the owner. `order` is the heavy barrier, or whatever
    /// does its work. Waits for whoever has the value.
    pub(crate) fn with_other<R>(&self, order: impl FnOnce(), f: impl FnOnce(&mut T) -> R) -> R {
        let _mutex = self.mutex.lock();
        // Relaxed: ordered by the heavy barrier.
        self.gate.store(self.open | Gate::REVOKED, Ordering::Relaxed);
        let _restore = Closed(self);
        order();
        let mut backoff = Backoff::default();
        // Acquire: pairs with the Release of `Entered`.
        while self.inside.load(Ordering::Acquire) {
            backoff.step();
        }
        // SAFETY: the owner is outside, and by the theorem finds the lock revoked when it comes back; the
        // others wait for the mutex.
        self.value.with_mut(|value| f(unsafe { &mut *value }))
    }
}
