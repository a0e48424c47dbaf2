//! Removing a random object of 1,000 and inserting another one, one thread: does a pair stay as
//! fast as it was?
//!
//! One iteration replaces 4,096 objects; criterion's elements are pairs.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use benches::contestants::{Make, Store};
use benches::object::{Object, positions};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use sharded_slab::Slab;
use slotmap::{DefaultKey, SlotMap};
use typed_pool::Pool;

const LIVE: u32 = 1000;
const STEPS: usize = 4096;

fn churn(c: &mut Criterion) {
    let mut group = c.benchmark_group("churn/1000");
    group.throughput(Throughput::Elements(STEPS as u64));
    one::<Pool<Object>>(&mut group);
    one::<SlotMap<DefaultKey, Object>>(&mut group);
    one::<Slab<Object>>(&mut group);
    group.finish();
}

fn one<S: Store + Make>(group: &mut BenchmarkGroup<'_, WallTime>) {
    let mut store = S::with_room(LIVE as usize);
    let mut keys: Vec<_> =
        (0..u64::from(LIVE)).map(|number| store.insert(Object::new(number))).collect();
    let order = positions(STEPS, LIVE);
    let mut next = u64::from(LIVE);
    group.bench_function(S::NAME, |b| {
        b.iter(|| {
            for place in &order {
                let key = &mut keys[*place as usize];
                assert!(store.remove(*key));
                *key = store.insert(Object::new(next));
                next += 1;
            }
        });
    });
    assert_eq!(store.live(), LIVE as usize);
}

criterion_group!(benches, churn);
criterion_main!(benches);
