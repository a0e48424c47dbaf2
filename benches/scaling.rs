//! One and two threads that read the same 1,000 objects, or replace 1,000 objects of their own in
//! one pool: do they stay out of each other's way?
//!
//! Criterion's elements are the operations of all threads, so two threads should show twice the
//! rate of one.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use benches::contestants::{Collection, Make, OneGuard, OwnGuard, ReadSlab, Reader, SharedStore};
use benches::object::{Object, positions, shuffle};
use benches::questions::together;
use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use sharded_slab::Slab;
use std::hint::black_box;
use typed_pool::Pool;

const OBJECTS: usize = 1000;
const STEPS: usize = 4096;
const THREADS: [usize; 2] = [1, 2];

fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("scaling/read");
    readers::<OneGuard>(&mut group);
    readers::<OwnGuard>(&mut group);
    readers::<ReadSlab>(&mut group);
    group.finish();
}

fn readers<R: Reader>(group: &mut BenchmarkGroup<'_, WallTime>) {
    let (objects, mut keys) = R::From::fill(OBJECTS);
    shuffle(&mut keys);
    for threads in THREADS {
        group.throughput(Throughput::Elements((OBJECTS * threads) as u64));
        let read = |passes| {
            (0..passes).fold(0_u64, |total, _| {
                total.wrapping_add(R::sum(black_box(&objects), black_box(&keys)))
            })
        };
        group.bench_function(BenchmarkId::new(R::NAME, threads), |b| {
            b.iter_custom(|passes| {
                let work = |total: &mut u64| *total = read(passes);
                let (time, sums) = together(threads, |_| read(1), work, |total| total);
                assert!(sums.iter().all(|sum| *sum == read(1).wrapping_mul(passes)));
                time
            });
        });
    }
}

fn churn(c: &mut Criterion) {
    let mut group = c.benchmark_group("scaling/churn");
    churners::<Pool<Object>>(&mut group);
    churners::<Slab<Object>>(&mut group);
    group.finish();
}

fn churners<S: SharedStore + Make>(group: &mut BenchmarkGroup<'_, WallTime>) {
    let mut store = S::with_room(OBJECTS * 2);
    let order = positions(STEPS, OBJECTS as u32);
    for threads in THREADS {
        group.throughput(Throughput::Elements((STEPS * threads) as u64));
        group.bench_function(BenchmarkId::new(S::NAME, threads), |b| {
            b.iter_custom(|passes| {
                let fill = |_| {
                    let insert = |number| store.insert(Object::new(number));
                    (0..OBJECTS as u64).map(insert).collect::<Vec<_>>()
                };
                let work = |keys: &mut Vec<S::Key>| {
                    for place in (0..passes).flat_map(|_| &order) {
                        let key = &mut keys[*place as usize];
                        assert!(store.remove(*key));
                        *key = store.insert(Object::new(u64::from(*place)));
                    }
                };
                let clear = |keys: Vec<S::Key>| assert!(keys.iter().all(|key| store.remove(*key)));
                together(threads, fill, work, clear).0
            });
        });
        assert_eq!(store.live(), 0);
    }
}

criterion_group!(benches, read, churn);
criterion_main!(benches);
