//! Threads that read often for a while, then seldom, so that the fences of their sections come and go, while others
//! remove and reclaim what they read, and objects are moved.

#![cfg(not(loom))]

mod common;

use common::{Drops, Random, heaps};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use typed_pool::{Handle, Pool};

/// How long it runs on each kind of heap.
const TIME: Duration = Duration::from_millis(300);

/// Places for the handles of objects that are there, or were.
const PLACES: usize = 500;

/// Reads in a burst: enough for any record to go without fences.
const BURST: usize = 3000;

#[test]
fn readers_in_bursts_among_removers() {
    for heap in heaps(1 << 20) {
        let drops = Drops::default();
        let pool = Pool::new(&heap).unwrap();
        let insert = |id: usize| pool.insert(drops.make(id as u64)).unwrap().to_bits();
        let board: Vec<_> = (0..PLACES).map(|id| AtomicU64::new(insert(id))).collect();
        let (over, found) = (AtomicBool::new(false), AtomicU64::new(0));
        let is_over = || over.load(Ordering::Relaxed);

        let read = |random: &mut Random| {
            let place = random.below(PLACES);
            let handle = Handle::from_bits(board[place].load(Ordering::Relaxed)).unwrap();
            let Some(object) = pool.get(handle) else { return };
            assert_eq!(object.checked(), place as u64);
            found.fetch_add(1, Ordering::Relaxed);
        };
        let reader = |seed| {
            let mut random = Random(seed);
            while !is_over() {
                (0..BURST).for_each(|_| read(&mut random));
                for _ in 0..20 {
                    read(&mut random);
                    thread::sleep(Duration::from_micros(50));
                }
            }
        };
        let writer = |seed| {
            let mut random = Random(seed);
            while !is_over() {
                let place = random.below(PLACES);
                let old = board[place].swap(insert(place), Ordering::Relaxed);
                assert!(pool.remove(Handle::from_bits(old).unwrap()));
            }
        };
        thread::scope(|s| {
            let threads = [
                s.spawn(|| reader(1)),
                s.spawn(|| reader(2)),
                s.spawn(|| writer(3)),
                s.spawn(|| writer(4)),
            ];
            let start = Instant::now();
            while start.elapsed() < TIME && !threads.iter().any(|thread| thread.is_finished()) {
                heap.defragment();
                thread::sleep(Duration::from_millis(1));
            }
            over.store(true, Ordering::Relaxed);
        });
        assert!(found.load(Ordering::Relaxed) > BURST as u64);
        heap.verify().unwrap();
        pool.iter().for_each(|(_, object)| assert_eq!(object.checked(), object.id));
        assert_eq!(pool.len(), PLACES);
        drop(pool);
        assert_eq!(drops.live(), 0);
    }
}
