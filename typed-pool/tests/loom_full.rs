//! A model of a pool without room but for what may be purged: as nobody reads or pins, no insert is refused.

#![cfg(loom)]

#[path = "../../allocator-core/tests/modelling/mod.rs"]
mod modelling;

use loom::thread;
use modelling::explore;
use std::sync::Arc;
use typed_pool::{Heap, Pool};

/// Two fill the heap.
type Object = [u64; 60];

/// Who purges for room finds it, though another thread purges as well, and what that has retired is not reclaimed yet.
#[test]
fn insert_purgeable_against_purge() {
    let paths = ["the first one went for room", "the second one did"];
    explore(Some(1), paths, |[first, second]| {
        let pool =
            Pool::<Object>::new(&Heap::builder().stripes(1).capacity(1 << 10).build().unwrap());
        let pool = Arc::new(pool.unwrap());
        let old = [1, 2].map(|value| pool.insert_purgeable([value; 60]).unwrap());
        let other = thread::spawn({
            let pool = Arc::clone(&pool);
            move || pool.purge(1)
        });
        let inserted = pool.insert_purgeable([8; 60]);
        inserted.expect("objects can be purged, and nobody reads").to_bits();
        assert_eq!(other.join().unwrap(), 1);
        first.reached_if(pool.contains(old[1]));
        second.reached_if(!pool.contains(old[1]));
    });
}
