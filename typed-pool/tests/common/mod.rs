//! What the tests share: heaps of every kind, and objects that count their drops.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;
use typed_pool::{FenceMode, Handle, Heap, Policy, Pool};

/// A heap whose calls give up on guards of other threads soon.
pub(crate) fn heap(capacity: usize) -> Heap {
    Heap::builder().capacity(capacity).patience(Duration::from_millis(50)).build().unwrap()
}

/// Heaps of every policy, with one stripe and with two, with either fence.
pub(crate) fn heaps(capacity: usize) -> impl Iterator<Item = Heap> {
    Policy::ALL.iter().flat_map(move |policy| {
        [(1, FenceMode::Automatic), (2, FenceMode::Automatic), (2, FenceMode::Plain)].map(
            |(stripes, fence)| {
                let builder = Heap::builder().capacity(capacity).policy(*policy);
                let builder = builder.stripes(stripes).fence(fence);
                builder.patience(Duration::from_millis(50)).build().unwrap()
            },
        )
    })
}

/// A small random number generator (Marsaglia, "Xorshift RNGs").
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % end
    }
}

/// Counts the objects that it made, and their drops.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drops(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    made: AtomicUsize,
    dropped: AtomicUsize,
}

impl Drops {
    pub(crate) fn make(&self, id: u64) -> Counted {
        self.make_with(id, false)
    }

    /// An object whose drop panics, after it was counted.
    pub(crate) fn bomb(&self, id: u64) -> Counted {
        self.make_with(id, true)
    }

    fn make_with(&self, id: u64, bomb: bool) -> Counted {
        self.0.made.fetch_add(1, Ordering::Relaxed);
        Counted { id, check: AtomicU64::new(!id), bomb, drops: self.clone() }
    }

    pub(crate) fn dropped(&self) -> usize {
        self.0.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn live(&self) -> usize {
        self.0.made.load(Ordering::Relaxed) - self.dropped()
    }
}

/// An object that knows whether its bytes are those it was made with, and that notices a second
/// drop.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) id: u64,
    check: AtomicU64,
    bomb: bool,
    drops: Drops,
}

impl Counted {
    /// The id, after a look at the rest.
    pub(crate) fn checked(&self) -> u64 {
        assert_eq!(self.check.load(Ordering::Relaxed), !self.id, "the object is torn or dropped");
        self.id
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.checked();
        self.check.store(0, Ordering::Relaxed);
        self.drops.0.dropped.fetch_add(1, Ordering::Relaxed);
        if self.bomb {
            panic!("the drop of {} panics, as it should", self.id);
        }
    }
}

/// Whether `f` panics.
pub(crate) fn panics(f: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

/// Removes the objects of `handles` while another thread has a guard open, which is closed before this returns.
pub(crate) fn remove_under_guard<T: Send + Sync>(pool: &Pool<T>, handles: &[Handle<T>]) {
    let (opened, removed) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            let _guard = pool.enter();
            opened.wait();
            removed.wait();
        });
        opened.wait();
        assert_eq!(pool.remove_many(handles), handles.len());
        removed.wait();
    });
}
