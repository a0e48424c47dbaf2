//! Heaps that are full but for what somebody just removed, or may be purged: no request is refused that fits, however many
//! threads ask, as long as nobody reads or pins.

#![cfg(not(any(loom, miri)))]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use typed_pool::{AllocError, Heap, Policy, Pool};

/// Turns of each thread.
const TURNS: usize = if cfg!(debug_assertions) { 3_000 } else { 50_000 };

fn heaps() -> impl Iterator<Item = (String, Heap)> {
    let each = |policy: Policy, cache: usize| {
        let heap = Heap::builder().capacity(256 << 10).policy(policy).thread_cache(cache);
        (format!("{policy}, {cache} bytes a thread"), heap.build().unwrap())
    };
    let slabs = [0, 1 << 10, 64 << 10].map(|cache| each(Policy::SizeClass, cache));
    slabs.into_iter().chain([each(Policy::FirstFit, 0)])
}

/// What each of `threads` threads is refused in its turns.
fn refusals<E: std::fmt::Display>(
    name: &str,
    threads: usize,
    turn: impl Fn(usize) -> Result<(), E> + Sync,
) -> usize {
    let refused = AtomicUsize::new(0);
    let work = || {
        for number in 0..TURNS {
            if let Err(error) = turn(number)
                && refused.fetch_add(1, Ordering::Relaxed) == 0
            {
                println!("{name}, {threads} threads: {error}");
            }
        }
    };
    thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    refused.into_inner()
}

#[test]
fn an_insert_finds_the_place_that_its_thread_has_left() {
    for threads in [2, 3, 5] {
        for (name, heap) in heaps() {
            let pool = Pool::new(&heap).unwrap();
            let mut handles: Vec<_> =
                std::iter::from_fn(|| pool.insert([7_u64; 11]).ok()).collect();
            handles.drain(..threads).for_each(|handle| assert!(pool.remove(handle)));
            let turn = |number| {
                let handle = pool.insert([number as u64; 11]).map_err(AllocError::from)?;
                assert!(pool.remove(handle));
                Ok::<_, AllocError>(())
            };
            let refused = refusals(&name, threads, turn);
            assert_eq!(refused, 0, "{name}, {threads} threads");
            heap.verify().unwrap();
        }
    }
}

#[test]
fn what_may_be_purged_goes_before_anything_is_refused() {
    for threads in [2, 3, 5] {
        for (name, heap) in heaps() {
            let pool = Pool::new(&heap).unwrap();
            let turn = |number| {
                pool.insert_purgeable([number as u64; 11]).map_err(AllocError::from)?;
                Ok::<_, AllocError>(())
            };
            let refused = refusals(&name, threads, turn);
            assert_eq!(refused, 0, "{name}, {threads} threads");
            heap.verify().unwrap();
        }
    }
}
