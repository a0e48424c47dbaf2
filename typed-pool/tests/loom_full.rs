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

/// Whatever one of two threads has purged, and is in the hands of the other by now, each finds room.
#[test]
fn insert_purgeable_against_the_same() {
    let paths = ["each purged one", "one was purged for both"];
    explore(Some(1), paths, |[each, both]| {
        let pool =
            Pool::<Object>::new(&Heap::builder().stripes(1).capacity(1 << 10).build().unwrap());
        let pool = Arc::new(pool.unwrap());
        let old = [1, 2].map(|value| pool.insert_purgeable([value; 60]).unwrap());
        let insert = |pool: &Pool<Object>| {
            let inserted = pool.insert_purgeable([8; 60]);
            inserted.expect("objects can be purged, and nobody reads").to_bits()
        };
        let other = thread::spawn({
            let pool = Arc::clone(&pool);
            move || insert(&pool)
        });
        insert(&pool);
        other.join().unwrap();
        let gone = old.iter().filter(|handle| !pool.contains(**handle)).count();
        each.reached_if(gone == 2);
        both.reached_if(gone < 2);
    });
}
