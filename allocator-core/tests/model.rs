//! Random programs against a plain map: whatever the heap does, it must look like
//! `HashMap<Handle, Vec<u8>>`, and its invariants must hold after each step.
#![cfg(not(loom))]

mod common;
mod oracle;

use allocator_core::{FenceMode, Heap, HeapBuilder, Policy};
use oracle::{Op, World, program};
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// Programs for each kind of heap, unless the environment says `PROPTEST_CASES`.
const CASES: u32 = 32;

/// Runs random programs on heaps of one kind.
fn check(builder: impl Fn() -> HeapBuilder) {
    let default = Config::default();
    let longer = std::env::var_os("PROPTEST_CASES").is_some();
    let cases = if longer { default.cases } else { CASES };
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 4000, ..default };
    let outcome = TestRunner::new(config).run(&program(), |ops: Vec<Op>| {
        let heap = builder().build().expect("the settings are valid");
        let other = common::heap(Policy::default(), 1 << 16);
        let mut world = World::new(&heap, &other);
        for op in ops {
            world.step(op);
            heap.verify().map_err(|error| TestCaseError::fail(error.to_string()))?;
        }
        world.end();
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

fn slabs() -> HeapBuilder {
    Heap::builder().policy(Policy::SizeClass)
}

fn first_fit() -> HeapBuilder {
    Heap::builder().policy(Policy::FirstFit)
}

/// A buffer of the caller's, at an odd address.
fn own_buffer(builder: HeapBuilder, len: usize) -> HeapBuilder {
    builder.buffer(&mut Vec::leak(vec![0x55_u8; len + 21])[21..])
}

#[test]
fn slabs_in_the_smallest_heap() {
    check(|| slabs().capacity(1 << 10));
}

#[test]
fn first_fit_in_the_smallest_heap() {
    check(|| first_fit().capacity(1 << 10));
}

#[test]
fn slabs_in_64_kilobytes_with_small_pages() {
    check(|| slabs().capacity(1 << 16).page_size(1 << 10).fence(FenceMode::Plain));
}

#[test]
fn first_fit_in_64_kilobytes() {
    check(|| first_fit().capacity(1 << 16).fence(FenceMode::Plain));
}

#[test]
fn slabs_in_an_own_buffer() {
    check(|| own_buffer(slabs().page_size(4 << 10), 1 << 17));
}

#[test]
fn first_fit_in_an_own_buffer() {
    check(|| own_buffer(first_fit().page_size(4 << 10), 1 << 17));
}

#[test]
fn slabs_on_one_stripe() {
    check(|| slabs().capacity(1 << 20).stripes(1).page_size(8 << 10));
}

#[test]
fn slabs_on_four_stripes() {
    check(|| slabs().capacity(1 << 20).stripes(4).page_size(16 << 10));
}

#[test]
fn first_fit_on_four_stripes() {
    check(|| first_fit().capacity(1 << 20).stripes(4).page_size(8 << 10));
}

#[test]
fn slabs_in_large_pages_that_compact_when_full() {
    check(|| slabs().capacity(4 << 20).stripes(2).page_size(256 << 10).compact_when_full(true));
}

#[test]
fn first_fit_in_large_pages_that_compacts_when_full() {
    check(|| first_fit().capacity(4 << 20).stripes(2).page_size(64 << 10).compact_when_full(true));
}
