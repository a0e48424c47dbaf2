//! Everything at once, for long: pools that come and go, threads, pins, passes that are cut short, room that is made,
//! objects that are purged, the background defragmenter. Every object is verified, the committed memory stays bounded,
//! and nothing is left in the end.
//!
//! A second by default; `SOAK_SECONDS=600` makes it a soak, which also looks at the resident size of the process: flat from the
//! second heap of each policy on. `--nocapture` shows it.

#![cfg(not(any(loom, miri)))]

mod common;

use common::{Counted, Drops, Random};
use std::alloc::Layout;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use typed_pool::{Budget, Handle, Heap, Pinned, Policy, Pool};

const CAPACITY: usize = 16 << 20;

/// What the process may grow by, after each policy had a heap: the arenas of the system's allocator change sides.
const GROWTH_MAX: usize = 4 << 20;

/// Objects of three sizes: small ones with a `Drop`, ones in slabs, ones with chunks of their own.
struct Pools {
    counted: Pool<Counted>,
    middle: Pool<[u64; 60]>,
    large: Pool<[u64; 1000]>,
}

fn time() -> Duration {
    let seconds = std::env::var("SOAK_SECONDS").ok();
    Duration::from_secs(seconds.map_or(1, |seconds| seconds.parse().expect("a number of seconds")))
}

/// Resident bytes of the process, where the system tells: pages, in `proc_pid_statm(5)`.
fn resident() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split(' ').nth(1)?.parse::<usize>().ok()? * 4096)
}

/// What one thread has put in, and how it finds it again.
#[derive(Default)]
struct Mine {
    counted: Vec<(Handle<Counted>, u64)>,
    middle: Vec<(Handle<[u64; 60]>, u64)>,
    large: Vec<(Handle<[u64; 1000]>, u64)>,
    raw: Vec<(Handle, u8, usize)>,
    pins: Vec<(Pinned<[u64; 60]>, u64)>,
}

/// Takes a random entry out.
fn pick<E>(random: &mut Random, entries: &mut Vec<E>) -> Option<E> {
    (!entries.is_empty()).then(|| entries.swap_remove(random.below(entries.len())))
}

/// One random step. What may be purged may be gone; everything else must be there.
fn step(random: &mut Random, heap: &Heap, pools: &Pools, drops: &Drops, mine: &mut Mine, id: u64) {
    match random.below(20) {
        0..=3 => {
            // Every second one may be purged.
            let new = match id % 2 {
                0 => pools.counted.insert_purgeable(drops.make(id)),
                _ => pools.counted.insert(drops.make(id)),
            };
            mine.counted.extend(new.ok().map(|handle| (handle, id)));
        }
        4..=6 => mine.middle.extend(pools.middle.insert([id; 60]).ok().map(|handle| (handle, id))),
        7 => {
            let new = pools.large.insert_purgeable([id; 1000]).ok();
            mine.large.extend(new.map(|handle| (handle, id)));
        }
        8 => {
            let (byte, len) = (id as u8, 1 + random.below(20_000));
            let Ok(handle) = heap.allocate(Layout::array::<u8>(len).unwrap()) else { return };
            heap.write(handle).unwrap().fill(byte);
            mine.raw.push((handle, byte, len));
        }
        9..=11 => {
            if let Some((handle, id)) = pick(random, &mut mine.counted) {
                let seen = pools.counted.get(handle).map(|object| object.checked());
                assert!(seen == Some(id) || seen.is_none() && id % 2 == 0, "{id}: {seen:?}");
                assert!(pools.counted.remove(handle) || id % 2 == 0, "{id} was not to be purged");
            }
        }
        12..=13 => {
            if let Some((handle, id)) = pick(random, &mut mine.middle) {
                assert_eq!(*pools.middle.get(handle).expect("it is there"), [id; 60]);
                assert!(pools.middle.remove(handle));
            }
        }
        14 => {
            if let Some((handle, id)) = pick(random, &mut mine.large) {
                assert!(pools.large.get(handle).is_none_or(|object| *object == [id; 1000]));
                pools.large.remove(handle);
            }
        }
        15 => {
            if let Some((handle, byte, len)) = pick(random, &mut mine.raw) {
                assert_eq!(*heap.read(handle).unwrap(), *vec![byte; len]);
                heap.deallocate(handle).unwrap();
            }
        }
        16 => {
            if let Some((handle, id)) = mine.middle.last() {
                mine.pins.push((pools.middle.pin(*handle).unwrap(), *id));
            }
        }
        17 => {
            if mine.pins.len() > 20 {
                mine.pins.drain(..15).for_each(|(pin, id)| assert_eq!(*pin, [id; 60]));
            }
        }
        18 => {
            if let Some((handle, old)) = mine.middle.last_mut()
                && pools.middle.replace(*handle, [id; 60]).is_ok()
            {
                *old = id;
            }
        }
        _ => {
            let Some((handle, id)) = pick(random, &mut mine.middle) else { return };
            match pools.middle.try_take(handle) {
                Ok(value) => assert_eq!(value, [id; 60]),
                Err(_) => mine.middle.push((handle, id)),
            }
        }
    }
}

/// Keeps the number of objects about the same; in waves, so that memory becomes free in pieces.
fn thin_out(random: &mut Random, heap: &Heap, pools: &Pools, mine: &mut Mine) {
    if mine.counted.len() + mine.middle.len() + mine.large.len() < 6000 {
        return;
    }
    let mut stays = |remove: &dyn Fn()| {
        let stays = random.below(4) == 0;
        if !stays {
            remove();
        }
        stays
    };
    mine.counted.retain(|(handle, id)| {
        stays(&|| {
            assert!(pools.counted.remove(*handle) || id % 2 == 0, "{id} was not to be purged")
        })
    });
    mine.middle.retain(|(handle, _)| stays(&|| assert!(pools.middle.remove(*handle))));
    mine.large.retain(|(handle, _)| {
        stays(&|| {
            pools.large.remove(*handle);
        })
    });
    mine.raw.retain(|(handle, ..)| stays(&|| heap.deallocate(*handle).unwrap()));
}

/// Looks at every object; gives the pins, which may outlive the pools.
fn verify(heap: &Heap, pools: &Pools, mine: Mine) -> Vec<(Pinned<[u64; 60]>, u64)> {
    for (handle, id) in mine.counted {
        let seen = pools.counted.get(handle).map(|object| object.checked());
        assert!(seen == Some(id) || seen.is_none() && id % 2 == 0, "{id}: {seen:?}");
    }
    for (handle, id) in mine.middle {
        assert_eq!(*pools.middle.get(handle).expect("it is there"), [id; 60]);
    }
    for (handle, id) in mine.large {
        assert!(pools.large.get(handle).is_none_or(|object| *object == [id; 1000]));
    }
    for (handle, byte, len) in mine.raw {
        assert_eq!(*heap.read(handle).unwrap(), *vec![byte; len]);
        heap.deallocate(handle).unwrap();
    }
    mine.pins
}

/// Compacts in every way that there is.
fn meddle(random: &mut Random, heap: &Heap, pools: &Pools) {
    let some = random.below(1000) as u64;
    match random.below(9) {
        0 => drop(heap.defragment()),
        1 => drop(heap.defragment_with(Budget::unlimited().moves(some))),
        2 => drop(heap.defragment_with(Budget::unlimited().bytes(some * 1000))),
        3..=4 => drop(heap.defragment_with(Budget::unlimited().time(Duration::from_micros(some)))),
        5 => drop(heap.make_room(random.below(CAPACITY / 8), 1 << random.below(13))),
        6 => drop(pools.large.make_room(random.below(CAPACITY / 8), 1)),
        7 => {
            pools.counted.purge(random.below(10));
            pools.counted.flush();
        }
        _ => heap.verify().unwrap(),
    }
}

/// One set of pools, from their beginning to their end.
fn era(heap: &Heap, drops: &Drops, seed: u64, until: Instant) {
    let pools = Pools {
        counted: Pool::new(heap).unwrap(),
        middle: Pool::new(heap).unwrap(),
        large: Pool::new(heap).unwrap(),
    };
    let (done, ids) = (AtomicBool::new(false), AtomicU64::new(0));
    let pins = thread::scope(|scope| {
        let (pools, done, ids) = (&pools, &done, &ids);
        let meddler = scope.spawn(move || {
            let mut random = Random(seed + 77);
            while !done.load(Ordering::Relaxed) {
                meddle(&mut random, heap, pools);
            }
        });
        let workers: Vec<_> = (0..3)
            .map(|number| {
                scope.spawn(move || {
                    let (mut random, mut mine) = (Random(seed * 3 + number + 1), Mine::default());
                    while Instant::now() < until {
                        for _ in 0..100 {
                            let id = ids.fetch_add(1, Ordering::Relaxed);
                            step(&mut random, heap, pools, drops, &mut mine, id);
                        }
                        thin_out(&mut random, heap, pools, &mut mine);
                    }
                    verify(heap, pools, mine)
                })
            })
            .collect();
        let results: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        done.store(true, Ordering::Relaxed);
        meddler.join().unwrap();
        results.into_iter().flat_map(|result| result.unwrap()).collect::<Vec<_>>()
    });
    assert!(ids.into_inner() > 0);
    drop(pools);
    pins.iter().for_each(|(pin, id)| assert_eq!(**pin, [*id; 60], "it outlives its pool"));
}

/// A heap with a background defragmenter, from its beginning to its end.
fn life(policy: Policy, seed: u64) {
    let builder = Heap::builder().capacity(CAPACITY).policy(policy);
    let heap = builder.compact_when_full(seed.is_multiple_of(2)).build().unwrap();
    let background = heap.defragmenter().interval(Duration::from_millis(1)).ignore_below(0);
    let background = background.cpu_share(0.05, 0.5).start().unwrap();
    let drops = Arc::new(Drops::default());
    for turn in 0..3 {
        let until = Instant::now() + (time() / 6).min(Duration::from_secs(5));
        era(&heap, &drops, seed * 10 + turn, until);
        assert_eq!(drops.live(), 0, "objects of a pool that is gone");
        heap.flush();
        let report = heap.defragment();
        let stats = heap.stats();
        assert_eq!((stats.live_blocks, stats.pending_blocks, stats.pools), (0, 0, 0), "{stats:?}");
        assert!(stats.committed < 256 << 10, "{policy}: it grows: {report}, {stats:?}");
        assert!(stats.slot_bytes < 64 << 10, "{policy}: slots of raw blocks: {stats:?}");
        heap.verify().unwrap();
    }
    let stats = background.stop();
    assert!(stats.passes > 0, "{policy}: {stats:?}");
}

#[test]
fn everything_at_once_leaves_nothing_behind() {
    let end = Instant::now() + time();
    let mut largest = 0;
    for (seed, policy) in (1..).zip(Policy::ALL.iter().cycle()) {
        life(*policy, seed);
        let resident = resident().unwrap_or(0);
        println!("heap {seed}, {policy}: {} KiB are resident after it", resident >> 10);
        if seed <= Policy::ALL.len() as u64 {
            largest = largest.max(resident);
        }
        assert!(resident <= largest + GROWTH_MAX, "it grew from {largest} to {resident} bytes");
        if Instant::now() >= end && seed >= 2 {
            return;
        }
    }
}
