//! Damage of each kind that `verify` has to see.

use super::*;
use crate::pages::Label;
use crate::policy::Policy;
use crate::raw::Memory;
use crate::slot;
use crate::stripe::Stripe;
use crate::{Handle, HeapBuilder};
use core::alloc::Layout;

const GRANULE: usize = 16;

/// Granules of a page.
const PAGE: u32 = 256;

/// A heap with blocks of each kind.
struct Sound {
    heap: Heap,
    /// In cells of one slab, the first ones of it.
    cells: Vec<Handle>,
    /// With chunks of their own, next to each other; the last one is followed by free memory.
    chunks: Vec<Handle>,
    /// In chunks of a segment, next to each other.
    parts: Vec<Handle>,
}

impl Sound {
    fn new(policy: Policy) -> Self {
        let builder: HeapBuilder =
            Heap::builder().capacity(1 << 20).page_size(PAGE as usize * GRANULE);
        let heap = builder.policy(policy).stripes(2).thread_cache(0).build().unwrap();
        let some = |bytes: usize| {
            let layout = Layout::from_size_align(bytes, 8).unwrap();
            (0..4).map(|_| heap.allocate(layout).unwrap()).collect::<Vec<_>>()
        };
        let (small, chunks) = (some(64), some(5000));
        let (cells, parts) = match policy {
            Policy::SizeClass => (small, Vec::new()),
            Policy::FirstFit => (Vec::new(), small),
        };
        heap.verify().unwrap();
        Self { heap, cells, chunks, parts }
    }

    fn memory(&self) -> &Memory {
        self.heap.inner().store.memory()
    }

    fn offset(&self, block: Handle) -> u32 {
        let word = self.heap.inner().raw.word(block).unwrap();
        // Relaxed: the test is one thread.
        Snapshot(word.load(Ordering::Relaxed)).offset()
    }

    fn page(&self, block: Handle) -> u32 {
        self.heap.inner().store.shared.pages.start(self.offset(block))
    }

    /// Lets the slot of a block name another place.
    fn name(&self, block: Handle, offset: u32) {
        let word = self.heap.inner().raw.word(block).unwrap();
        slot::publish(word, Snapshot::vacant(block.generation(), offset));
    }

    fn set_header(&self, block: Handle, header: u64) {
        let store = &self.heap.inner().store;
        // Relaxed: the test is one thread.
        store.header(self.offset(block)).store(header, Ordering::Relaxed);
    }

    /// Labels the page of a granule as one of a stripe.
    fn relabel(&self, at: u32, policy: Policy) {
        let pages = &self.heap.inner().store.shared.pages;
        let label = match policy {
            Policy::SizeClass => Label::Slab { stripe: 0, class: 7, slab: 0 },
            Policy::FirstFit => Label::Segment { stripe: 0 },
        };
        pages.set(pages.start(at), label);
    }

    fn free_in_central(&self, start: u32, len: u32) {
        self.heap.inner().store.central().release(self.memory(), Run { start, len });
    }

    /// A free run of the centre.
    fn free_run(&self) -> Run {
        let central = self.heap.inner().store.central();
        let (lo, hi) = central.bounds();
        central.space.next_run(self.memory(), lo, hi).unwrap()
    }
}

/// Does `damage` to a sound heap, and demands that the first thing that is found to be wrong is `found`.
#[track_caller]
fn sees(policy: Policy, found: &str, damage: impl FnOnce(&Sound)) {
    let sound = Sound::new(policy);
    damage(&sound);
    let error = sound.heap.verify().expect_err(found).to_string();
    assert!(error.contains(found), "'{error}' does not say '{found}'");
}

/// In a heap of slabs.
#[track_caller]
fn sees_in_slabs(found: &str, damage: impl FnOnce(&Sound)) {
    sees(Policy::SizeClass, found, damage);
}

/// In a heap of segments.
#[track_caller]
fn sees_in_segments(found: &str, damage: impl FnOnce(&Sound)) {
    sees(Policy::FirstFit, found, damage);
}

#[test]
fn free_memory_inside_of_what_is_in_use() {
    // What a move of a block that was planned as another kind left behind.
    sees_in_slabs("is free, inside the Slab", |it| {
        it.free_in_central(it.offset(it.cells[1]), 4);
    });
    sees_in_segments("is free, inside the Segment", |it| {
        it.free_in_central(it.offset(it.parts[1]) - 1, 5);
    });
    for policy in Policy::ALL.iter().copied() {
        sees(policy, "is free, inside the Block", |it| {
            it.free_in_central(it.offset(it.chunks[0]) + 7, 9);
        });
    }
    sees_in_segments("is free, inside the Block", |it| {
        let offset = it.offset(it.parts[1]);
        let stripes = 0..it.heap.inner().store.stripes();
        let label = it.heap.inner().store.shared.pages.label(offset);
        let stripe = stripes.clone().find(|number| label.stripe() == Some(*number)).unwrap();
        let Stripe::Segments(segments) = &mut *it.heap.inner().store.stripe(stripe) else {
            panic!()
        };
        segments.release(it.memory(), Run { start: offset + 1, len: 2 });
    });
}

#[test]
fn free_memory_that_is_not_as_it_is_noted() {
    for policy in Policy::ALL.iter().copied() {
        sees(policy, "ends with the tag", |it| {
            let run = it.free_run();
            it.memory().set_word(run.end() - 1, 3, run.len - 1);
        });
        sees(policy, "free run", |it| {
            let run = it.free_run();
            it.memory().set_word(run.start, 0, u32::MAX);
        });
        sees(policy, "neither a chunk nor a free run", |it| {
            // Taken out, and written over.
            let run = it.free_run();
            it.heap.inner().store.central().space.withdraw(it.memory(), run);
            it.memory().new_extent(run.start, 0);
        });
    }
}

#[test]
fn chunks_that_are_written_over() {
    for policy in Policy::ALL.iter().copied() {
        for extent in [0, u64::MAX, 17, 0x1b << 32, 0x5b << 32 | 17] {
            sees(policy, "neither a chunk nor a free run", |it| {
                it.memory().new_extent(it.offset(it.chunks[1]) - 1, extent);
            });
        }
        sees(policy, "neither a chunk nor a free run", |it| {
            // Shorter than it was.
            it.memory().new_extent(it.offset(it.chunks[1]) - 1, 0x1b << 32 | 20);
        });
        sees(policy, "is not one page", |it| {
            let start = it.offset(it.chunks[1]) - 1;
            let kind = if policy == Policy::SizeClass { 0x2b } else { 0x3b };
            it.memory().new_extent(start, kind << 32 | 20);
            it.relabel(start, policy);
        });
        sees(policy, "belongs to no table", |it| it.set_header(it.chunks[2], 5));
    }
    sees_in_segments("neither a chunk nor a free run", |it| {
        it.memory().new_extent(it.offset(it.parts[1]) - 1, 3);
    });
    sees_in_segments("is in a segment", |it| {
        it.memory().new_extent(it.offset(it.parts[1]) - 1, 0x2b << 32 | 5);
    });
}

#[test]
fn pages_with_the_wrong_label() {
    sees_in_slabs("is labelled Central", |it| {
        it.heap.inner().store.shared.pages.set(it.page(it.cells[0]), Label::Central);
    });
    sees_in_segments("is labelled Central", |it| {
        it.heap.inner().store.shared.pages.set(it.page(it.parts[0]), Label::Central);
    });
    for policy in Policy::ALL.iter().copied() {
        // In the middle of a block.
        sees(policy, "are labelled as those of stripes", |it| {
            let end = it.offset(it.chunks[3]) + 5000 / GRANULE as u32;
            it.relabel(end, policy);
        });
    }
}

#[test]
fn slots_that_name_no_block_of_theirs() {
    for policy in Policy::ALL.iter().copied() {
        sees(policy, "outside of the buffer", |it| it.name(it.chunks[0], u32::MAX));
        sees(policy, "outside of the buffer", |it| it.name(it.chunks[0], 0));
        sees(policy, "no block begins there", |it| {
            it.name(it.chunks[0], it.offset(it.chunks[0]) + 3);
        });
        sees(policy, "belongs to", |it| it.name(it.chunks[0], it.offset(it.chunks[1])));
        sees(policy, "belongs to", |it| {
            let other = it.heap.inner().raw.owner(it.chunks[0].index() + 100).header();
            it.set_header(it.chunks[0], other);
        });
    }
    sees_in_slabs("no block begins there", |it| {
        it.name(it.cells[0], it.offset(it.cells[0]) + 1);
    });
    sees_in_slabs("belongs to None", |it| {
        it.name(it.cells[3], it.offset(it.cells[3]) + 4);
    });
    sees_in_slabs("belongs to", |it| it.name(it.cells[0], it.offset(it.cells[1])));
    sees_in_segments("belongs to", |it| it.name(it.parts[0], it.offset(it.parts[1])));
}

#[test]
fn slabs_whose_cells_do_not_add_up() {
    // A cell that is in use twice, or not at all.
    sees_in_slabs("blocks and", |it| it.set_header(it.cells[1], u64::from(u32::MAX)));
    // The next free cell is one that there is not, or the free list runs in a circle.
    for (found, next) in [("is a free cell of", 1000), ("blocks and", 1)] {
        sees_in_slabs(found, |it| {
            it.heap.deallocate(it.cells[1]).unwrap();
            let offset = it.offset(it.cells[1]);
            it.heap.flush();
            // Relaxed: the test is one thread.
            it.heap.inner().store.header(offset).store(next, Ordering::Relaxed);
        });
    }
}

#[test]
fn a_place_that_is_not_aligned_as_the_object_is() {
    let sound = Sound::new(Policy::SizeClass);
    let (inner, layout) = (sound.heap.inner(), Layout::from_size_align(3000, 64).unwrap());
    let request = inner.request(layout).unwrap();
    let config = inner.table_config(request, layout.size(), None);
    let table = inner.tables.create(crate::heap::next_salt(), config).unwrap();
    let pair = table.place_slowly(inner, &request, layout).unwrap();
    let word = table.word_at(pair.slot).unwrap();
    slot::publish(word, pair.word);
    sound.heap.verify().unwrap();
    // Long enough, and one granule behind an aligned place.
    let run = inner.store.central().space.find(sound.memory(), request.need).unwrap();
    let start = run.start.next_multiple_of(request.need.align);
    let taken = Run { start, len: request.need.len };
    inner.store.central().claim(sound.memory(), run, taken);
    let place = chunk::init_block(sound.memory(), taken, table.owner(pair.slot));
    slot::publish(word, Snapshot::vacant(pair.generation(), place));
    let error = sound.heap.verify().unwrap_err().to_string();
    assert!(error.contains("which is no place for 3000"), "{error}");
}
