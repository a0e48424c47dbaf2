//! The lock of a thread's cache, and what a newcomer sees of those who found nobody there before.

use super::modelling::{UNBOUNDED, explore};
use crate::cache::Biased;
use crate::sync::Arc;
use crate::sync::atomic::{AtomicU64, Ordering, fence};
use crate::threads::Roster;
use loom::thread;

/// Adds to the value for the owner; whether it came in by the short way.
fn add_as_owner(biased: &Biased<u64>) -> bool {
    // SAFETY: each model has one owner at a time, which is not inside yet.
    let entered = unsafe { biased.enter() };
    let is_short = entered.is_some();
    match entered {
        Some(mut entered) => *entered.value() += 1,
        None => biased.with_mutex(|value| *value += 1),
    }
    is_short
}

/// The heavy barrier of a plain heap.
fn heavy_barrier() {
    fence(Ordering::SeqCst);
}

/// The owner and another thread are never inside together, and see what the other did.
#[test]
fn owner_against_other() {
    let paths = ["by the short way", "revoked", "the other was first", "the owner was first"];
    explore(UNBOUNDED, paths, |[short, revoked, other_first, owner_first]| {
        let biased = Arc::new(Biased::new(0, true));
        let owner = thread::spawn({
            let biased = Arc::clone(&biased);
            move || [add_as_owner(&biased), add_as_owner(&biased)]
        });
        let before = biased.with_other(heavy_barrier, |value| {
            *value += 10;
            *value - 10
        });
        let ways = owner.join().unwrap();
        short.reached_if(ways.contains(&true));
        revoked.reached_if(ways.contains(&false));
        other_first.reached_if(before == 0);
        owner_first.reached_if(before == 2);
        assert_eq!(biased.with_other(heavy_barrier, |value| *value), 12);
    });
}

/// Two others at a time, and the owner. Three threads: bounded.
#[test]
fn owner_against_two_others() {
    explore(Some(3), ["by the short way", "revoked"], |[short, revoked]| {
        let biased = Arc::new(Biased::new(0, true));
        let spawn_other = || {
            let biased = Arc::clone(&biased);
            thread::spawn(move || biased.with_other(heavy_barrier, |value| *value += 10))
        };
        let others = [spawn_other(), spawn_other()];
        let is_short = add_as_owner(&biased);
        short.reached_if(is_short);
        revoked.reached_if(!is_short);
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(biased.with_mutex(|value| *value), 21);
    });
}

/// Whoever finds a node vacant needs no heavy barrier: a thread that takes it over later finds it revoked.
#[test]
fn newcomer_against_other() {
    let paths = ["vacant", "taken", "the newcomer came by the short way", "revoked"];
    explore(UNBOUNDED, paths, |[vacant, taken, short, revoked]| {
        let roster = Arc::new(Roster::<Biased<u64>>::new());
        // SAFETY: the roster keeps the node alive.
        unsafe { &*roster.acquire(|_| false, || Biased::new(0, true)) }.disown();
        let newcomer = thread::spawn({
            let roster = Arc::clone(&roster);
            move || {
                // SAFETY: as above.
                let node = unsafe { &*roster.acquire(|_| false, || unreachable!("one is vacant")) };
                let is_short = add_as_owner(&node.value);
                node.disown();
                is_short
            }
        });
        let node = roster.iter().next().expect("there is one node");
        let order = || {
            let is_vacant = node.is_vacant();
            if !is_vacant {
                heavy_barrier();
            }
            vacant.reached_if(is_vacant);
            taken.reached_if(!is_vacant);
        };
        node.value.with_other(order, |value| *value += 10);
        let is_short = newcomer.join().unwrap();
        short.reached_if(is_short);
        revoked.reached_if(!is_short);
        assert_eq!(node.value.with_mutex(|value| *value), 11);
    });
}

/// Who takes a node over that was lent finds its value free, and continues from there.
#[test]
fn newcomer_against_lender() {
    explore(UNBOUNDED, ["taken over", "not yet free"], |[taken, not_free]| {
        let roster = Arc::new(Roster::<AtomicU64>::new());
        // Acquire: as the section of a record.
        let is_free = |value: &AtomicU64| value.load(Ordering::Acquire) == 0;
        let make = || AtomicU64::new(1);
        let lender = thread::spawn({
            let roster = Arc::clone(&roster);
            move || {
                // SAFETY: the roster keeps the node alive.
                let node = unsafe { &*roster.acquire(is_free, make) };
                node.lend();
                // Release: as the end of a section.
                node.value.store(0, Ordering::Release);
            }
        });
        // SAFETY: as above.
        let node = unsafe { &*roster.acquire(is_free, || AtomicU64::new(2)) };
        // Relaxed: the last value that its owner wrote, if this is the lender's.
        let value = node.value.load(Ordering::Relaxed);
        taken.reached_if(value == 0);
        not_free.reached_if(value == 2 && roster.iter().count() == 2);
        assert_ne!(value, 1, "a node whose value is not free");
        lender.join().unwrap();
    });
}
