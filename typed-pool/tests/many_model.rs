//! Random programs of batches against a plain map: after each step the pool is what the map says, and no
//! object is lost or dropped twice.

#![cfg(not(loom))]

mod common;

use common::{Counted, Drops, Random, heap, heaps, panics};
use std::collections::{HashMap, HashSet};
use typed_pool::{Handle, Heap, Pool};

/// Programs for each kind of heap, and their steps.
const PROGRAMS: u64 = 6;
const STEPS: usize = 60;

/// What an iterator of values does after a while.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Ends,
    Panics,
}

/// A pool, what it must hold, and handles that it must not know.
struct World<'d> {
    pool: Pool<Counted>,
    live: HashMap<Handle<Counted>, u64>,
    stale: Vec<Handle<Counted>>,
    foreign: Vec<Handle<Counted>>,
    drops: &'d Drops,
    next_id: u64,
    random: Random,
    /// How often a batch was refused in the middle, and an iterator panicked.
    refused: usize,
    panicked: usize,
}

impl<'d> World<'d> {
    fn new(heap: &Heap, foreign: &[Handle<Counted>], drops: &'d Drops, seed: u64) -> Self {
        Self {
            pool: Pool::new(heap).unwrap(),
            live: HashMap::new(),
            stale: Vec::new(),
            foreign: foreign.to_vec(),
            drops,
            next_id: 0,
            random: Random(seed),
            refused: 0,
            panicked: 0,
        }
    }

    fn step(&mut self) {
        match self.random.below(8) {
            0..=1 => self.insert_many(),
            2 => self.extend(),
            3 => self.remove_many(),
            4 => self.retain(),
            5 => self.remove_where(),
            6 => {
                self.pool.defragment();
            }
            _ => self.read(),
        }
        self.check();
    }

    /// Values with new ids, which may end in a panic.
    fn values(&mut self, count: usize, end: End) -> impl Iterator<Item = Counted> + use<'d> {
        let (drops, first) = (self.drops, self.next_id);
        self.next_id += count as u64;
        let values = (0..count as u64).map(move |i| drops.make(first + i));
        values.chain(std::iter::from_fn(move || {
            assert!(end == End::Ends, "as it should");
            None
        }))
    }

    fn insert_many(&mut self) {
        let count = self.random.below(300);
        let end = if self.random.below(5) == 0 { End::Panics } else { End::Ends };
        let first = self.next_id;
        let values = self.values(count, end);
        let mut inserted = None;
        if panics(|| inserted = Some(self.pool.insert_many(values))) {
            assert!(end == End::Panics, "only the iterator may panic");
            self.panicked += 1;
            return; // nothing is in
        }
        let handles = inserted.unwrap().unwrap_or_else(|mut refused| {
            self.refused += 1;
            let id = first + refused.handles.len() as u64;
            assert_eq!(refused.value.checked(), id);
            let rest = refused.rest.by_ref().take(count - refused.handles.len() - 1);
            assert!(rest.map(|value| value.checked()).eq(id + 1..first + count as u64));
            refused.handles
        });
        for (handle, id) in handles.into_iter().zip(first..) {
            assert!(self.live.insert(handle, id).is_none(), "the handle is in use");
        }
    }

    fn extend(&mut self) {
        let count = self.random.below(40);
        let values = self.values(count, End::Ends);
        let full = panics(|| self.pool.extend(values));
        let new = self.pool.iter().filter(|(handle, _)| !self.live.contains_key(handle));
        let new: Vec<_> = new.map(|(handle, object)| (handle, object.checked())).collect();
        assert!(new.len() <= count && full == (new.len() < count));
        self.live.extend(new);
    }

    /// Handles of every kind, in any order, some of them twice.
    fn handles(&mut self) -> Vec<Handle<Counted>> {
        let live: Vec<_> = self.live.keys().copied().collect();
        let kinds = [&live, &live, &self.stale, &self.foreign];
        let count = self.random.below(120);
        let mut pick = |_| {
            let kind = kinds[self.random.below(kinds.len())];
            (!kind.is_empty()).then(|| kind[self.random.below(kind.len())])
        };
        (0..count).filter_map(&mut pick).collect()
    }

    fn gone(&mut self, handles: impl IntoIterator<Item = Handle<Counted>>) {
        for handle in handles {
            if self.live.remove(&handle).is_some() {
                self.stale.push(handle);
            }
        }
    }

    fn remove_many(&mut self) {
        let handles = self.handles();
        let unique: HashSet<_> = handles.iter().filter(|h| self.live.contains_key(*h)).collect();
        assert_eq!(self.pool.remove_many(&handles), unique.len());
        self.gone(handles);
    }

    fn retain(&mut self) {
        let (divisor, rest) = (2 + self.random.below(4) as u64, self.random.below(2) as u64);
        let stop = if self.random.below(3) == 0 { self.random.below(200) } else { usize::MAX };
        let (mut asked, mut refused) = (0, Vec::new());
        let stopped = panics(|| {
            self.pool.retain(|handle, object| {
                assert!(asked < stop, "as it should");
                asked += 1;
                assert_eq!(self.live.get(&handle), Some(&object.checked()));
                let keeps = object.id % divisor > rest;
                refused.extend((!keeps).then_some(handle));
                keeps
            });
        });
        assert_eq!(stopped, asked == stop && asked < self.live.len());
        self.gone(refused);
    }

    fn remove_where(&mut self) {
        let divisor = 2 + self.random.below(4) as u64;
        let mut which = Vec::new();
        let removed = self.pool.remove_where(|handle, object| {
            let wanted = object.checked() % divisor == 0;
            which.extend(wanted.then_some(handle));
            wanted
        });
        assert_eq!(removed, which.len());
        self.gone(which);
        assert!(self.live.values().all(|id| id % divisor != 0));
    }

    fn read(&mut self) {
        let handles = self.handles();
        let expected: Vec<_> = handles.iter().map(|handle| self.live.get(handle)).collect();
        let guard = self.pool.enter();
        let found = guard.get_many(&handles);
        assert_eq!(found.len(), handles.len());
        let found: Vec<_> = found.map(|object| object.map(Counted::checked)).collect();
        assert!(found.iter().map(Option::as_ref).eq(expected.iter().copied()));
        drop(guard);
        let mut again = Vec::new();
        self.pool.with_many(&handles, |handle, object| {
            again.push((handle, object.map(Counted::checked)));
        });
        assert!(again.into_iter().eq(handles.into_iter().zip(found)));
    }

    fn check(&self) {
        while self.pool.flush() > 0 {}
        assert_eq!((self.pool.len(), self.drops.live()), (self.live.len(), self.live.len()));
        let guard = self.pool.enter();
        for walk in [guard.iter().collect::<Vec<_>>(), guard.iter_by_address().collect()] {
            let seen: HashMap<_, _> = walk.into_iter().map(|(h, o)| (h, o.checked())).collect();
            assert_eq!(seen, self.live);
        }
        self.pool.heap().verify().unwrap();
    }
}

#[test]
fn batches_do_what_single_calls_do() {
    let other_drops = Drops::default();
    let other = Pool::new(&heap(1 << 20)).unwrap();
    let foreign = other.insert_many((0..200).map(|id| other_drops.make(id))).unwrap();
    let (mut refused, mut panicked) = (0, 0);
    for heap in heaps(32 << 10) {
        for seed in 1..=PROGRAMS {
            let drops = Drops::default();
            let mut world = World::new(&heap, &foreign, &drops, seed * 0x9e37_79b9);
            (0..STEPS).for_each(|_| world.step());
            refused += world.refused;
            panicked += world.panicked;
            drop(world);
            assert_eq!(drops.live(), 0);
        }
        assert_eq!(heap.stats().live_blocks, 0);
    }
    assert!(refused > 10 && panicked > 10, "{refused} refused, {panicked} panicked");
    assert_eq!((other.len(), other_drops.dropped()), (200, 0));
}
