//! Who looks for a pair while another thread brings it from one place to another finds it.
//!
//! The places and the hands are those of a table; the store is a mutex, and a search takes the steps of `Inner::retry`. That the
//! calls of the library take these steps is modelled in `tests/loom_full.rs`, with fewer schedules.

use super::modelling::{UNBOUNDED, explore};
use crate::cache::{Caches, Hands, Limits, Pair};
use crate::guard::Readers;
use crate::sync::{Arc, Mutex, yield_now};
use loom::thread;
use std::hash::{DefaultHasher, Hasher};

/// The only size class.
const CLASS: usize = 0;

/// Where the pair may be, and the hands between.
struct Places {
    caches: Arc<Caches>,
    hands: Hands,
    store: Mutex<Option<Pair>>,
    readers: Readers,
}

impl Places {
    fn new() -> Self {
        let limits = Limits::new(64, Some(8), core::iter::once(CLASS));
        Self {
            caches: Arc::new(Caches::new(limits, true)),
            hands: Hands::default(),
            store: Mutex::new(None),
            readers: Readers::new(false),
        }
    }

    fn version(&self) -> u64 {
        let mut version = DefaultHasher::new();
        self.caches.tell_version(&mut version);
        self.hands.tell_version(&mut version);
        version.finish()
    }

    /// Takes the pair out of the place where it is.
    fn attempt(&self) -> Option<Pair> {
        let retired = self.caches.all().filter(|any| any.cache().retired() > 0);
        let retired = retired.flat_map(|any| {
            any.with(&self.readers, |cache| cache.all_retired(&self.hands.take()).pairs)
        });
        let kept = self.caches.all().filter(|any| any.cache().cached() > 0);
        let kept =
            kept.flat_map(|any| any.with(&self.readers, |cache| cache.empty(&self.hands.take())));
        let spilled = || self.caches.withdraw(1, &self.hands.take())?.pop();
        let found = retired.chain(kept).next();
        found
            .or_else(|| if self.caches.has_depot() { spilled() } else { None })
            .or_else(|| self.store.lock().take())
    }

    /// Whether the pair is found.
    fn is_found(&self) -> bool {
        let mut version = self.version();
        loop {
            if self.attempt().is_some() {
                return true;
            }
            let is_in_hand = self.hands.is_any();
            let before = core::mem::replace(&mut version, self.version());
            if !is_in_hand && version == before {
                return false;
            }
            yield_now();
        }
    }
}

/// Puts the pair somewhere, then brings it to somewhere else while another thread looks for it.
fn search_against(
    preemptions: Option<usize>,
    put: fn(&Places, Pair),
    bring: fn(&Places) -> Option<Pair>,
) {
    explore(preemptions, ["on its way", "found before"], move |[on_its_way, before]| {
        let places = Arc::new(Places::new());
        put(&places, Pair::new(0, 1, 0));
        let searcher = thread::spawn({
            let places = Arc::clone(&places);
            move || places.is_found()
        });
        let brought = bring(&places);
        on_its_way.reached_if(brought.is_some());
        before.reached_if(brought.is_none());
        assert!(searcher.join().unwrap(), "the pair was there all the time");
    });
}

/// As `empty_caches` does.
#[test]
fn search_against_emptying() {
    search_against(
        UNBOUNDED,
        |places, pair| {
            let spilled = places.caches.own().with(|cache| cache.keep(CLASS, &[pair]));
            assert!(spilled.is_empty());
        },
        |places| {
            let in_hand = places.hands.take();
            let pair = places.caches.own().with(|cache| cache.empty(&in_hand)).pop()?;
            *places.store.lock() = Some(pair);
            Some(pair)
        },
    );
}

/// As `reclaim` does.
#[test]
fn search_against_reclaiming() {
    search_against(
        UNBOUNDED,
        |places, pair| {
            let is_batch = places.caches.own().with(|cache| cache.retire(pair, 8));
            assert!(!is_batch, "a batch is two");
        },
        |places| {
            let in_hand = places.hands.take();
            let retired = places.caches.own().with(|cache| cache.all_retired(&in_hand));
            let pair = retired.pairs.last().copied()?;
            *places.store.lock() = Some(pair);
            Some(pair)
        },
    );
}

/// As `refill` does where the depot is empty.
#[test]
fn search_against_refill() {
    search_against(
        Some(4),
        |places, pair| *places.store.lock() = Some(pair),
        |places| {
            let _in_hand = places.hands.take();
            let pair = places.store.lock().take()?;
            places.caches.own().with(|cache| cache.keep(CLASS, &[pair]));
            Some(pair)
        },
    );
}

/// As `empty_caches` does with the depot, which no counter of a cache tells of.
#[test]
fn search_against_withdrawal() {
    search_against(
        UNBOUNDED,
        |places, pair| assert!(places.caches.deposit(&[pair])),
        |places| {
            let in_hand = places.hands.take();
            let pair = places.caches.withdraw(1, &in_hand)?.pop()?;
            *places.store.lock() = Some(pair);
            Some(pair)
        },
    );
}
