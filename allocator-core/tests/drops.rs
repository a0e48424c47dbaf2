//! Objects of a table whose `Drop` panics, or comes back to the table.
#![cfg(not(loom))]

mod common;

use allocator_core::{Handle, Policy};
use common::typed::{Tally, Typed, must_panic};
use common::{heap, within};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[test]
fn a_drop_that_panics_costs_nobody_else_theirs() {
    for panicking in [0, 7, 19] {
        let heap = heap(Policy::default(), 1 << 16);
        let (pool, drops_of) = (Typed::new(&heap), Arc::<AtomicUsize>::default());
        let insert = |number| {
            let mut tally = Tally::new(number, &drops_of);
            tally.panics = number == panicking;
            pool.insert(tally).unwrap()
        };
        let handles: Vec<_> = (0..20).map(insert).collect();
        handles.iter().for_each(|handle| assert!(pool.table.retire(*handle)));
        must_panic(|| {
            pool.table.reclaim();
        });
        pool.table.reclaim();
        assert_eq!(drops_of.load(Ordering::Relaxed), 20, "object {panicking} panicked");
        assert_eq!((heap.stats().pending_blocks, heap.stats().live_bytes), (0, 0));

        let _handles: Vec<_> = (0..20).map(insert).collect();
        must_panic(|| drop(pool));
        assert_eq!(
            drops_of.load(Ordering::Relaxed),
            40,
            "object {panicking} panicked with the table"
        );
        let stats = heap.stats();
        assert_eq!((stats.live_blocks, stats.pending_blocks, stats.live_bytes), (0, 0, 0));
        assert_eq!(stats.pools, 0, "the table is gone all the same");
        heap.verify().unwrap();
    }
}

/// Retires the next one when it is dropped, in the same table.
struct Link {
    table: Arc<Typed<Link>>,
    next: Option<Handle<Link>>,
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(next) = self.next {
            assert!(self.table.table.retire(next));
            self.table.table.reclaim();
        }
    }
}

#[test]
fn objects_that_retire_each_other_do_not_recurse() {
    within(Duration::from_secs(20), || {
        let pool: Arc<Typed<Link>> = Arc::new(Typed::new(&heap(Policy::default(), 8 << 20)));
        let mut next = None;
        for _ in 0..50_000 {
            next = Some(pool.insert(Link { table: Arc::clone(&pool), next }).unwrap());
        }
        assert!(pool.table.retire(next.unwrap()));
        assert_eq!(pool.table.reclaim(), 50_000, "one call, and no recursion");
        assert_eq!((Arc::strong_count(&pool), pool.table.heap().stats().pending_blocks), (1, 0));
    });
}
