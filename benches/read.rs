//! Reading: 1,000 objects of 64 bytes, hot, through handles in random order.
//!
//! One iteration reads all objects once; criterion's elements are reads. Each contestant's sum is checked
//! before it is timed. For ratios take one run of this bench: `cargo bench -p benches --bench read`.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use benches::{Object, shuffle, sum};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sharded_slab::Slab;
use slotmap::SlotMap;
use std::hint::black_box;
use typed_pool::{Heap, Pool};

const OBJECTS: u64 = 1000;

fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("read/1000");
    group.throughput(Throughput::Elements(OBJECTS));

    let mut map = SlotMap::new();
    let mut keys: Vec<_> = (0..OBJECTS).map(|i| map.insert(Object::new(i))).collect();
    shuffle(&mut keys);
    let read_map = || keys.iter().map(|key| map.get(*key).unwrap().value).sum::<u64>();
    assert_eq!(read_map(), sum(OBJECTS));
    group.bench_function("slotmap", |b| b.iter(|| black_box(&read_map)()));

    let heap = Heap::builder().capacity(16 << 20).build().unwrap();
    let pool = Pool::new(&heap).unwrap();
    let mut handles: Vec<_> = (0..OBJECTS).map(|i| pool.insert(Object::new(i)).unwrap()).collect();
    shuffle(&mut handles);
    let read_guarded = || {
        let guard = pool.enter();
        handles.iter().map(|handle| guard.get(*handle).unwrap().value).sum::<u64>()
    };
    assert_eq!(read_guarded(), sum(OBJECTS));
    group.bench_function("pool, one guard", |b| b.iter(|| black_box(&read_guarded)()));

    let read_each = || handles.iter().map(|handle| pool.get(*handle).unwrap().value).sum::<u64>();
    assert_eq!(read_each(), sum(OBJECTS));
    group.bench_function("pool, a guard each", |b| b.iter(|| black_box(&read_each)()));

    let slab = Slab::new();
    let mut keys: Vec<_> = (0..OBJECTS).map(|i| slab.insert(Object::new(i)).unwrap()).collect();
    shuffle(&mut keys);
    let read_slab = || keys.iter().map(|key| slab.get(*key).unwrap().value).sum::<u64>();
    assert_eq!(read_slab(), sum(OBJECTS));
    group.bench_function("sharded-slab", |b| b.iter(|| black_box(&read_slab)()));

    group.finish();
}

criterion_group!(benches, read);
criterion_main!(benches);
