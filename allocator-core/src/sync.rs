//! The only door to atomics, locks, cells and thread-locals: `std` and `parking_lot` in a real build,
//! loom in a model build (`--cfg loom`).
//!
//! The loom half closes two blind spots of the checker. Both add a *Relaxed* read-modify-write on an
//! atomic that nothing else writes, which adds scheduling points but no happens-before edge:
//! * after a thread loads an atomic, loom does not explore what others do between that load and the
//!   thread's next read-modify-write of it; so every access of an atomic that is loaded and then swapped
//!   first touches a `Shadowed` one;
//! * loom's fences are no scheduling points; so each fence first touches one global atomic.

#[cfg(not(loom))]
mod imp {
    pub(crate) use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
    pub(crate) use std::sync::{Arc, Weak};

    /// Unlocks, and where another thread waits, lets it have the lock next: who locks again and again would otherwise keep
    /// it waiting for up to a millisecond.
    #[inline(always)]
    pub(crate) fn hand_over<T>(guard: MutexGuard<'_, T>) {
        MutexGuard::unlock_fair(guard);
    }

    /// Locks what others lock for moments only, but again and again: stays awake for some 200 µs before it
    /// sleeps, as a thread that sleeps is overtaken, and woken late, where a processor went idle. It yields meanwhile, to who
    /// has the lock and waits for a processor. For a mover, which has a budget of time, and reports.
    pub(crate) fn lock_soon<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        const AWAKE: std::time::Duration = std::time::Duration::from_micros(200);
        let (mut backoff, mut start) = (Backoff::default(), None);
        loop {
            if let Some(guard) = mutex.try_lock() {
                return guard;
            }
            if start.get_or_insert_with(std::time::Instant::now).elapsed() >= AWAKE {
                return mutex.lock();
            }
            backoff.step();
        }
    }

    pub(crate) mod atomic {
        pub(crate) use std::sync::atomic::{
            AtomicBool, AtomicIsize, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
        };

        /// An atomic that one thread at a time owns: only the owner stores.
        pub(crate) type OwnedU64 = AtomicU64;

        /// What the owner of the atomic stored last.
        #[inline(always)]
        pub(crate) fn load_own(owned: &OwnedU64) -> u64 {
            // Relaxed: nobody else stores.
            owned.load(Ordering::Relaxed)
        }

        /// The light half of an asymmetric fence: keeps the compiler from reordering. `plain` where a full fence
        /// follows in any case, for the model.
        #[inline(always)]
        pub(crate) fn light_barrier(_plain: bool) {
            std::sync::atomic::compiler_fence(Ordering::SeqCst);
        }
    }

    /// A cell whose accesses the model checker sees.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// Runs `f` with the address of the value, which `f` may write through as far as it is entitled to.
        #[inline(always)]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }

    pub(crate) use std::thread::yield_now;

    /// Back-off for a wait that ends soon: spin a little, then yield the processor.
    #[derive(Debug, Default)]
    pub(crate) struct Backoff(u32);

    impl Backoff {
        /// Waits one step.
        #[inline]
        pub(crate) fn step(&mut self) {
            self.0 = self.0.saturating_add(1);
            if self.0 < 64 { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }

    /// A thread-local with a constant start value; without a destructor, where its value has none.
    macro_rules! local {
        ($(#[$doc:meta])* static $name:ident: $t:ty = $init:expr) => {
            std::thread_local! { $(#[$doc])* static $name: $t = const { $init } }
        };
    }
    pub(crate) use local;
}

#[cfg(loom)]
mod imp {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use std::sync::Arc;
    pub(crate) mod atomic {
        use loom::sync::atomic as model;
        pub(crate) use loom::sync::atomic::{
            AtomicBool, AtomicIsize, AtomicU32, AtomicUsize, Ordering,
        };

        loom::lazy_static! {
            static ref FENCES: model::AtomicUsize = model::AtomicUsize::new(0);
            static ref BARRIERS: model::AtomicUsize = model::AtomicUsize::new(0);
        }

        /// A fence that is a scheduling point of its own.
        pub(crate) fn fence(order: Ordering) {
            // Relaxed: see the module documentation; it must not order anything.
            FENCES.fetch_add(0, Ordering::Relaxed);
            model::fence(order);
        }

        /// Needs no shadow: the owner does not load it the way others do.
        pub(crate) type OwnedU64 = model::AtomicU64;

        /// No step of the model, but a race if somebody else stored.
        #[allow(unsafe_code)]
        pub(crate) fn load_own(owned: &OwnedU64) -> u64 {
            // SAFETY: only the owner, this thread, stores; loom reports who gets that wrong.
            unsafe { owned.unsync_load() }
        }

        /// The light half of an asymmetric fence. In a model light and heavy barriers are read-modify-writes of one
        /// atomic: they have an order, and what came before the earlier is seen after the later. That is
        /// what the theorem of `guard.rs` says of them, and nothing more for one light and one heavy.
        pub(crate) fn light_barrier(plain: bool) {
            if !plain {
                heavy_barrier();
            }
        }

        /// The heavy half.
        pub(crate) fn heavy_barrier() {
            // AcqRel: see `light_barrier`.
            BARRIERS.fetch_add(0, Ordering::AcqRel);
        }

        /// An atomic whose every access is a scheduling point for all others.
        #[derive(Debug)]
        pub(crate) struct Shadowed<A> {
            shadow: model::AtomicUsize,
            value: A,
        }

        pub(crate) type AtomicU64 = Shadowed<model::AtomicU64>;
        pub(crate) type AtomicPtr<T> = Shadowed<model::AtomicPtr<T>>;

        impl<A> Shadowed<A> {
            fn touched(&self) -> &A {
                // Relaxed: see the module documentation; it must not order anything.
                self.shadow.fetch_add(0, Ordering::Relaxed);
                &self.value
            }

            /// A store or read-modify-write. Whoever may come before it may come before the touch, so there
            /// is nothing to explore between the two.
            fn change<R>(&self, change: impl FnOnce(&A) -> R) -> R {
                let value = self.touched();
                loom::stop_exploring();
                let result = change(value);
                loom::explore();
                result
            }
        }

        /// The operations that all of them have.
        macro_rules! shadowed {
            ([$($generics:tt)*] $atomic:ty, $value:ty) => {
                impl<$($generics)*> Shadowed<$atomic> {
                    pub(crate) fn new(value: $value) -> Self {
                        Self { shadow: model::AtomicUsize::new(0), value: <$atomic>::new(value) }
                    }
                    pub(crate) fn load(&self, order: Ordering) -> $value {
                        self.touched().load(order)
                    }
                    pub(crate) fn compare_exchange(
                        &self,
                        current: $value,
                        new: $value,
                        success: Ordering,
                        failure: Ordering,
                    ) -> Result<$value, $value> {
                        self.change(|value| value.compare_exchange(current, new, success, failure))
                    }
                }
            };
        }
        shadowed!([] model::AtomicU64, u64);
        shadowed!([T] model::AtomicPtr<T>, *mut T);

        impl AtomicU64 {
            pub(crate) fn store(&self, value: u64, order: Ordering) {
                self.change(|atomic| atomic.store(value, order));
            }
            pub(crate) fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
                self.change(|atomic| atomic.fetch_sub(value, order))
            }
            pub(crate) fn fetch_and(&self, value: u64, order: Ordering) -> u64 {
                self.change(|atomic| atomic.fetch_and(value, order))
            }
        }
    }

    pub(crate) use loom::thread::yield_now;

    /// Back-off for a wait that ends soon. In a model it gives the others a turn and cuts branches
    /// in which two threads only wait for each other's turn.
    #[derive(Debug, Default)]
    pub(crate) struct Backoff(u32);

    impl Backoff {
        pub(crate) fn step(&mut self) {
            self.0 += 1;
            if self.0 > 1 {
                loom::skip_branch();
            }
            loom::thread::yield_now();
        }
    }

    /// parking_lot's `Mutex` in loom's terms: no poisoning.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);
    pub(crate) use loom::sync::MutexGuard;

    pub(crate) fn hand_over<T>(guard: MutexGuard<'_, T>) {
        drop(guard);
    }

    pub(crate) fn lock_soon<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock()
    }

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }
        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("loom locks are not poisoned")
        }
        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
        /// A model has no clock: waits for the lock.
        pub(crate) fn try_lock_until(&self, _: std::time::Instant) -> Option<MutexGuard<'_, T>> {
            Some(self.lock())
        }
    }

    /// parking_lot's `RwLock` in loom's terms: no poisoning.
    #[derive(Debug)]
    pub(crate) struct RwLock<T>(loom::sync::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::RwLock::new(value))
        }
        pub(crate) fn read(&self) -> loom::sync::RwLockReadGuard<'_, T> {
            self.0.read().expect("loom locks are not poisoned")
        }
        pub(crate) fn write(&self) -> loom::sync::RwLockWriteGuard<'_, T> {
            self.0.write().expect("loom locks are not poisoned")
        }
    }

    macro_rules! local {
        ($(#[$doc:meta])* static $name:ident: $t:ty = $init:expr) => {
            loom::thread_local! { $(#[$doc])* static $name: $t = $init }
        };
    }
    pub(crate) use local;
}

pub(crate) use imp::*;
