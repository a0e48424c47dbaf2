//! Heaps that have fallen to pieces, and what must be true after compaction.

use super::{Rng, aligned, assert_holds, bytes, put};
use allocator_core::{Handle, Heap, Policy, Stats};

/// A live block: its handle, size and the seed of its pattern.
pub(crate) type Live = (Handle, usize, u64);

/// Page size of these heaps: small, so that a heap has many pages.
pub(crate) const PAGE: usize = 16 << 10;

/// A free run is so many bytes longer than the block that it holds.
pub(crate) const HEADER: usize = 16;

/// Classes of slabs at most.
const CLASSES: usize = 32;

/// Puts `count` blocks of 1 to `size_max` bytes into the heap, aligned to up to 16.
pub(crate) fn populate(heap: &Heap, rng: &mut Rng, count: usize, size_max: usize) -> Vec<Live> {
    (0..count as u64)
        .map(|seed| {
            let size = rng.spread(1, size_max);
            let layout = aligned(size, 1 << rng.below(5));
            (put(heap, layout, seed).expect("there is room"), size, seed)
        })
        .collect()
}

/// Puts blocks of one size into the heap until it is full.
pub(crate) fn fill_up(heap: &Heap, size: usize) -> Vec<Live> {
    (0..).map_while(|seed| Some((put(heap, bytes(size), seed).ok()?, size, seed))).collect()
}

/// Frees a random share of the blocks.
pub(crate) fn thin_out(heap: &Heap, rng: &mut Rng, live: &mut Vec<Live>, percent: usize) {
    for (handle, ..) in live.extract_if(.., |_| rng.below(100) < percent) {
        heap.deallocate(handle).expect("the handle is live");
    }
    heap.flush();
}

/// A heap of 8 MiB in pieces: small and large blocks, half of them freed.
pub(crate) fn fragmented(policy: Policy, seed: u64) -> (Heap, Vec<Live>) {
    let builder = Heap::builder().capacity(8 << 20).policy(policy).page_size(PAGE).stripes(2);
    let heap = builder.build().expect("the settings are valid");
    let mut rng = Rng::new(seed);
    let mut live = populate(&heap, &mut rng, 3000, 20_000);
    thin_out(&heap, &mut rng, &mut live, 50);
    (heap, live)
}

/// Asserts that the heap is consistent and every block has its bytes.
#[track_caller]
pub(crate) fn assert_all(heap: &Heap, live: &[Live]) {
    heap.verify().expect("the heap is consistent");
    for (handle, size, seed) in live {
        assert_holds(heap, *handle, *size, *seed);
    }
}

/// Asserts the promise of a full defragmentation: one free run, but for the documented slack. With slabs
/// that is the free cells of at most one slab of each class, and less than a page behind the last page
/// boundary of the buffer, where no slab fits.
#[track_caller]
pub(crate) fn assert_one_run(name: &str, policy: Policy, stats: &Stats) {
    let in_slabs: usize = stats.stripes.iter().map(|stripe| stripe.free_bytes).sum();
    let slabs: usize = stats.stripes.iter().map(|stripe| stripe.pages).sum();
    let outside = (stats.free_bytes - in_slabs).saturating_sub(stats.largest_free + HEADER);
    match policy {
        Policy::FirstFit => assert_eq!((in_slabs, slabs, outside), (0, 0, 0), "{name}"),
        _ => {
            assert!(outside < PAGE, "{name}: {outside} bytes lie apart: {stats:?}");
            assert!(in_slabs < CLASSES * PAGE, "{name}: {in_slabs} bytes in partial slabs");
        }
    }
}
