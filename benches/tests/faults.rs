//! The checks find what a faulty contestant does.

use benches::contestants::{
    AskBlocks, AskReader, AskShared, AskStore, BlockSet, Collection, Make, Reader, SharedStore,
};
use benches::object::Object;
use benches::questions::handing_over::HandingOver;
use benches::questions::raw_blocks::RawBlocks;
use benches::questions::{churning, reading};
use benches::rounds::{Effort, Entrant, take_turns};
use std::cell::RefCell;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::Duration;

const EFFORT: Effort = Effort { span: Duration::from_micros(100), cold_reads: 10 };

const NONE: u8 = 0;
const KEEPS_REMOVED: u8 = 1;
const REMOVES_TWICE: u8 = 2;
const MIXES_CONTENT: u8 = 3;
const COUNTS_WRONG: u8 = 4;
const REUSES_KEYS: u8 = 5;

/// A store with one of the faults above.
struct Faulty<const FAULT: u8>(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    objects: HashMap<u64, Object>,
    free: Vec<u64>,
    next: u64,
}

impl<const FAULT: u8> Make for Faulty<FAULT> {
    const NAME: &'static str = "faulty";

    fn with_room(_objects: usize) -> Self {
        Self(Mutex::default())
    }

    fn live(&mut self) -> usize {
        self.0.get_mut().unwrap().objects.len() + usize::from(FAULT == COUNTS_WRONG)
    }
}

impl<const FAULT: u8> SharedStore for Faulty<FAULT> {
    type Key = u64;

    fn insert(&self, object: Object) -> u64 {
        let inner = &mut *self.0.lock().unwrap();
        inner.next += 1;
        let reused = if FAULT == REUSES_KEYS { inner.free.pop() } else { None };
        let key = reused.unwrap_or(inner.next);
        let is_mixed = FAULT == MIXES_CONTENT && inner.next.is_multiple_of(16);
        inner.objects.insert(key, if is_mixed { Object::new(0) } else { object });
        key
    }

    fn remove(&self, key: u64) -> bool {
        let inner = &mut *self.0.lock().unwrap();
        let was_there = inner.objects.remove(&key).is_some();
        inner.free.extend(was_there.then_some(key));
        was_there || FAULT == REMOVES_TWICE
    }

    fn find(&self, key: u64) -> Option<Object> {
        let found = self.0.lock().unwrap().objects.get(&key).copied();
        if FAULT == KEEPS_REMOVED { found.or(Some(Object::new(key))) } else { found }
    }
}

fn is_refused(entrant: Entrant) -> bool {
    take_turns(&[entrant], 1, EFFORT, || {}).is_err()
}

#[test]
fn faults_of_stores_are_found() {
    fn is_found<const FAULT: u8>() -> [bool; 4] {
        let alone = churning::Alone { live: 40 }.entrant::<Faulty<FAULT>>();
        let together =
            |threads| churning::Together { live: 40, threads }.entrant::<Faulty<FAULT>>();
        let handed_over = HandingOver.entrant::<Faulty<FAULT>>();
        [alone, together(1), together(2), handed_over].map(is_refused)
    }
    assert_eq!(is_found::<NONE>(), [false; 4]);
    assert_eq!(is_found::<KEEPS_REMOVED>(), [true; 4]);
    assert_eq!(is_found::<REMOVES_TWICE>(), [true; 4]);
    assert_eq!(is_found::<MIXES_CONTENT>(), [true; 4]);
    assert_eq!(is_found::<COUNTS_WRONG>(), [true; 4]);
    // What is handed over is checked one by one: whether a key is reused before is a matter of timing.
    assert_eq!(is_found::<REUSES_KEYS>()[..3], [true; 3]);
}

/// Adds up what is not there.
struct AddsWrong;

impl Reader for AddsWrong {
    const NAME: &'static str = "adds wrong";
    type From = Faulty<NONE>;

    fn sum(store: &Self::From, keys: &[u64]) -> u64 {
        keys.iter().map(|key| SharedStore::find(store, *key).unwrap().value).sum::<u64>() + 1
    }
}

/// Finds the right values, but not what stands behind them.
struct MixesUp(Vec<Object>);

impl Collection for MixesUp {
    type Key = usize;

    fn fill(count: usize) -> (Self, Vec<usize>) {
        (Self((0..count as u64).map(Object::new).collect()), (0..count).collect())
    }

    fn find(&self, place: usize) -> Option<Object> {
        self.0.get(place ^ 1).copied()
    }
}

struct ReadMixedUp;

impl Reader for ReadMixedUp {
    const NAME: &'static str = "mixes up";
    type From = MixesUp;

    fn sum(objects: &MixesUp, places: &[usize]) -> u64 {
        places.iter().map(|place| objects.0[*place].value).sum()
    }
}

#[test]
fn faults_of_readers_are_found() {
    fn is_found<R: Reader>() -> [bool; 4] {
        let objects = 40;
        [
            reading::Hot { objects }.entrant::<R>(),
            reading::Cold { objects }.entrant::<R>(),
            reading::Fresh { objects }.entrant::<R>(),
            reading::Together { objects, threads: 2 }.entrant::<R>(),
        ]
        .map(is_refused)
    }
    assert_eq!(is_found::<AddsWrong>(), [true; 4]);
    assert_eq!(is_found::<ReadMixedUp>(), [true; 4]);
}

/// Blocks that are there, or not, or not intact.
struct FaultyBlocks<const FREED: bool, const INTACT: bool>(RefCell<usize>);

impl<const FREED: bool, const INTACT: bool> BlockSet for FaultyBlocks<FREED, INTACT> {
    const NAME: &'static str = "faulty blocks";

    fn with_room(_bytes: usize) -> Self {
        Self(RefCell::default())
    }

    fn push(&mut self, _size: NonZeroU32) {
        *self.0.get_mut() += 1;
    }

    fn exchange(&mut self, place: usize, _size: NonZeroU32) -> bool {
        place < *self.0.get_mut() && FREED
    }

    fn is_intact(&mut self) -> bool {
        INTACT
    }
}

#[test]
fn faults_of_blocks_are_found() {
    let question = RawBlocks { live: 40 };
    assert!(!is_refused(question.entrant::<FaultyBlocks<true, true>>()));
    assert!(is_refused(question.entrant::<FaultyBlocks<false, true>>()));
    assert!(is_refused(question.entrant::<FaultyBlocks<true, false>>()));
}
