//! What threads keep for their next inserts: it is bounded, it is counted, and nobody is refused for it.

mod common;

use common::remove_under_guard;
use std::sync::Barrier;
use std::thread;
use typed_pool::{Handle, Heap, Pool};

/// Bytes of each object below.
const OBJECT: usize = 64;

/// What the builder says that a thread keeps of a pool.
const KEPT: usize = 64 << 10;

#[test]
fn what_is_kept_is_bounded_however_much_is_removed_at_a_time() {
    let heap = Heap::builder().capacity(64 << 20).thread_cache(KEPT).build().unwrap();
    let pool = Pool::new(&heap).unwrap();
    let handles: Vec<_> = (0..200_000).map(|i| pool.insert([i; 8]).unwrap()).collect();
    let (last, most) = handles.split_last_chunk::<5_000>().map(|(a, b)| (b, a)).unwrap();
    remove_under_guard(&pool, most);
    assert!(heap.stats().pending_blocks >= most.len() - 5_000, "they wait for the guard");
    // Full batches of these reclaim the others.
    assert_eq!(pool.remove_many(last), last.len());
    let stats = heap.stats();
    assert!(stats.pending_blocks < 5_000, "{stats:?}");
    // A thread's magazine holds three times what it keeps, the depot eight times as much.
    assert!(stats.cached_bytes <= 11 * KEPT, "{stats:?}");
    assert_eq!(stats.cached_bytes, stats.cached_blocks * OBJECT);

    let more: Vec<_> = (0..10_000).map(|i| pool.insert([i; 8]).unwrap()).collect();
    assert!(heap.stats().cached_bytes <= 11 * KEPT);
    heap.flush();
    assert_eq!(heap.stats().cached_blocks, 0);
    assert!(more.iter().enumerate().all(|(i, handle)| pool.get(*handle).unwrap()[0] == i as u64));
    heap.verify().unwrap();
}

#[test]
fn nobody_is_refused_while_another_thread_gives_back_what_was_removed() {
    let heap = Heap::builder().capacity(32 << 20).build().unwrap();
    let pool: Pool<[u64; 8]> = Pool::new(&heap).unwrap();
    for _ in 0..5 {
        let mut handles = Vec::new();
        while let Ok(handle) = pool.insert([7; 8]) {
            handles.push(handle);
        }
        let places = handles.len();
        remove_under_guard(&pool, &handles);
        let start = Barrier::new(2);
        thread::scope(|s| {
            s.spawn(|| {
                start.wait();
                heap.flush();
            });
            start.wait();
            for i in 0..places / 2 {
                pool.insert([1; 8]).unwrap_or_else(|refused| panic!("{i} of {places}: {refused}"));
            }
        });
        assert_eq!(pool.len(), places / 2);
        pool.remove_where(|_, _| true);
        pool.flush();
        assert_eq!((pool.len(), heap.stats().live_bytes), (0, 0));
    }
}

#[test]
fn a_thread_leaves_what_it_keeps_to_the_next_one() {
    let heap = Heap::builder().capacity(64 << 20).build().unwrap();
    let pool = Pool::new(&heap).unwrap();
    let kept = |_| {
        thread::scope(|s| {
            let insert = || pool.insert([1_u64; 8]).unwrap();
            s.spawn(insert).join().unwrap();
        });
        heap.stats().cached_blocks
    };
    // Each thread uses one pair of what the first one was given.
    let counts: Vec<_> = (0..10).map(kept).collect();
    assert!(counts.windows(2).all(|pair| pair[1] + 1 == pair[0]), "{counts:?}");
}

#[test]
fn nothing_is_kept_where_the_builder_says_so() {
    let heap = Heap::builder().capacity(64 << 20).thread_cache(0).build().unwrap();
    let pool = Pool::new(&heap).unwrap();
    let handles: Vec<_> = (0..10_000).map(|i| pool.insert([i; 8]).unwrap()).collect();
    let raw = heap.allocate_bytes(&[1; 100]).unwrap();
    assert_eq!(pool.remove_many(&handles), handles.len());
    heap.deallocate(raw).unwrap();
    assert_eq!(heap.stats().cached_blocks, 0);
}

/// An object that removes the next one when it is dropped.
struct Link(Option<Handle<Link>>);

static CHAIN: std::sync::OnceLock<Pool<Link>> = std::sync::OnceLock::new();

impl Drop for Link {
    fn drop(&mut self) {
        if let (Some(pool), Some(next)) = (CHAIN.get(), self.0) {
            pool.remove(next);
        }
    }
}

#[test]
fn a_chain_of_removals_ends_whichever_thread_reclaims() {
    let pool = CHAIN.get_or_init(|| Pool::with_capacity(1_000).unwrap());
    let chain = || {
        let mut head = None;
        for _ in 0..100 {
            head = Some(pool.insert(Link(head)).unwrap());
        }
        head.unwrap()
    };
    pool.remove(chain());
    assert_eq!((pool.flush(), pool.len()), (100, 0));

    // Removed by another thread, which is still there.
    let (removed, flushed) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|s| {
        s.spawn(|| {
            pool.remove(chain());
            removed.wait();
            flushed.wait();
        });
        removed.wait();
        assert_eq!((pool.flush(), pool.len()), (100, 0));
        flushed.wait();
    });

    // Reclaimed by a thread that came later.
    pool.remove(chain());
    thread::scope(|s| {
        s.spawn(|| assert_eq!((pool.flush(), pool.len()), (100, 0)));
    });
}
