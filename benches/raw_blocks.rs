//! Freeing a random raw block of 10,000 and allocating another one of random size up to 1 KiB: does
//! a pair stay as fast as it was?
//!
//! One iteration replaces 16,384 blocks; criterion's elements are pairs.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use benches::contestants::{BlockSet, HeapBlocks, MutexRlsf, PointerBlocks};
use benches::object::{positions, sizes};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use std::iter::zip;

const LIVE: u32 = 10_000;
const STEPS: usize = 16_384;

fn raw_blocks(c: &mut Criterion) {
    let mut group = c.benchmark_group("raw_blocks/10000");
    group.throughput(Throughput::Elements(STEPS as u64));
    one::<HeapBlocks>(&mut group);
    one::<PointerBlocks<MutexRlsf>>(&mut group);
    group.finish();
}

fn one<B: BlockSet>(group: &mut BenchmarkGroup<'_, WallTime>) {
    let mut blocks = B::with_room(32 << 20);
    let (order, sizes) = (positions(STEPS, LIVE), sizes(STEPS, 1024));
    sizes.iter().cycle().take(LIVE as usize).for_each(|size| blocks.push(*size));
    group.bench_function(B::NAME, |b| {
        b.iter(|| zip(&order, &sizes).all(|(place, size)| blocks.exchange(*place as usize, *size)));
    });
    assert!(blocks.is_intact());
}

criterion_group!(benches, raw_blocks);
criterion_main!(benches);
