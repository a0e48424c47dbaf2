//! The lock of a thread's cache, and what a newcomer sees of those who found nobody there before.

use super::modelling::{UNBOUNDED, explore};
use crate::cache::Biased;
use crate::sync::atomic::{AtomicU64, Ordering, fence};
use crate::sync::{Arc, UnsafeCell};
use crate::threads::{Node, Roster};
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

/// What a thread lends: the number of a section, 0 where none is open, and what is its own meanwhile.
struct Lent {
    section: AtomicU64,
    inside: UnsafeCell<u64>,
}

impl Lent {
    /// A node for the calling thread.
    fn acquire(roster: &Roster<Self>) -> &Node<Self> {
        // Acquire: as the section of a record.
        let is_free = |lent: &Self| lent.section.load(Ordering::Acquire) == 0;
        let make = || Self { section: AtomicU64::new(0), inside: UnsafeCell::new(0) };
        // SAFETY: the roster keeps the node alive.
        unsafe { &*roster.acquire(is_free, make) }
    }

    /// Begins section `number`. No fence: a light record has none.
    fn begin(&self, number: u64) {
        // Release: as the beginning of a section.
        self.section.store(number, Ordering::Release);
    }

    /// Ends the section. Gives 0 if it was the first one in the node, and else 1.
    fn end(&self) -> u64 {
        // SAFETY: loom reports who else is inside.
        let before = self.inside.with_mut(|inside| unsafe { core::mem::replace(&mut *inside, 1) });
        // Release: as the end of a section.
        self.section.store(0, Ordering::Release);
        before
    }
}

/// Who takes a node over that was lent finds its value free, and continues from there; also where the value was free
/// before, as somebody had the node already.
#[test]
fn newcomer_against_lender() {
    let paths = ["taken over", "not yet free", "the newcomer was first"];
    explore(UNBOUNDED, paths, |[taken, not_free, first]| {
        let roster = Arc::new(Roster::<Lent>::new());
        let used = Lent::acquire(&roster);
        used.value.begin(1);
        assert_eq!(used.value.end(), 0);
        used.disown();
        let lender = thread::spawn({
            let roster = Arc::clone(&roster);
            move || {
                let node = Lent::acquire(&roster);
                node.value.begin(2);
                node.lend();
                node.value.end()
            }
        });
        let node = Lent::acquire(&roster);
        node.value.begin(3);
        let is_new = node.value.end() == 0;
        lender.join().unwrap();
        let nodes = roster.iter().count();
        taken.reached_if(nodes == 1);
        not_free.reached_if(is_new);
        first.reached_if(nodes == 2 && !is_new);
    });
}
