//! A defragmentation after three of four objects, or raw blocks, were removed at random: do moves
//! stay as fast as they were?
//!
//! One iteration compacts the heap fully; criterion's elements are moves, its bytes are moved ones.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use allocator_core::{DefragReport, Heap};
use benches::object::{Object, shuffle};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use typed_pool::Pool;

const OBJECTS: u64 = 100_000;
const BLOCKS: u64 = 4096;
const BLOCK_BYTES: usize = 4096;

fn heap() -> Heap {
    Heap::builder().capacity(64 << 20).build().expect("a heap")
}

/// A pool whose heap is full of holes.
fn pool() -> Pool<Object> {
    let pool = Pool::new(&heap()).expect("a pool");
    let mut handles: Vec<_> =
        (0..OBJECTS).map(|number| pool.insert(Object::new(number)).expect("room")).collect();
    shuffle(&mut handles);
    handles.iter().skip(handles.len() / 4).for_each(|handle| assert!(pool.remove(*handle)));
    pool.flush();
    pool
}

/// Blocks with holes between them.
fn blocks() -> Heap {
    let heap = heap();
    let block = || heap.allocate_bytes(&[7; BLOCK_BYTES]).expect("room");
    let mut handles: Vec<_> = (0..BLOCKS).map(|_| block()).collect();
    shuffle(&mut handles);
    let gone = handles.iter().skip(handles.len() / 4);
    gone.for_each(|handle| heap.deallocate(*handle).expect("live"));
    heap.flush();
    heap
}

fn done(report: &DefragReport) {
    assert!(report.complete && report.moves > 0, "{report}");
}

fn defragment(c: &mut Criterion) {
    let mut group = c.benchmark_group("defragment");
    group.sample_size(20);
    group.throughput(Throughput::Elements(pool().defragment().moves));
    group.bench_function("objects of 64 bytes", |b| {
        b.iter_batched_ref(pool, |pool| done(&pool.defragment()), BatchSize::PerIteration);
    });
    group.throughput(Throughput::Bytes(blocks().defragment().moved_bytes));
    group.bench_function("raw blocks of 4 KiB", |b| {
        b.iter_batched_ref(blocks, |heap| done(&heap.defragment()), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, defragment);
criterion_main!(benches);
