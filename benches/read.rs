//! Reading 1,000 objects of 64 bytes, hot, through handles in random order: does a look-up stay as
//! fast as it was?
//!
//! One iteration reads all objects once; criterion's elements are reads. Ratios to the peers are a
//! matter of the binary `compare`.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use benches::contestants::{Collection, OneGuard, OwnGuard, ReadSlab, ReadSlotMap, Reader};
use benches::object::shuffle;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const OBJECTS: u64 = 1000;

fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("read/1000");
    group.throughput(Throughput::Elements(OBJECTS));
    one::<OneGuard>(&mut group);
    one::<OwnGuard>(&mut group);
    one::<ReadSlotMap>(&mut group);
    one::<ReadSlab>(&mut group);
    group.finish();
}

fn one<R: Reader>(group: &mut BenchmarkGroup<'_, WallTime>) {
    let (objects, mut keys) = R::From::fill(OBJECTS as usize);
    shuffle(&mut keys);
    assert_eq!(R::sum(&objects, &keys), OBJECTS * (OBJECTS - 1) / 2);
    group.bench_function(R::NAME, |b| b.iter(|| R::sum(black_box(&objects), black_box(&keys))));
}

criterion_group!(benches, read);
criterion_main!(benches);
