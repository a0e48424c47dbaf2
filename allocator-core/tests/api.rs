//! The public face: messages, handles, statistics, pictures, and which types may cross threads.
#![cfg(not(loom))]

mod common;

use allocator_core::{
    AccessError, AllocErrorKind, Budget, BuildError, FenceMode, Handle, Heap, HeapBuilder, Policy,
    ResizeError, StaleHandle, Stats, TakeError, UnknownPolicy,
};
use common::{Rng, address, aligned, bytes, heap, put};
use std::collections::{BTreeSet, HashSet};
use std::mem::size_of;

#[track_caller]
fn refused(builder: HeapBuilder) -> BuildError {
    builder.build().expect_err("the setting cannot be had")
}

#[test]
fn wrong_settings_are_named_with_their_value_and_range() {
    let new = Heap::builder;
    let cases = [
        (new().capacity(0), "capacity", 0),
        (new().capacity(100), "capacity", 100),
        (new().capacity((64 << 30) + 1), "capacity", (64 << 30) + 1),
        (new().buffer(vec![0_u8; 10]), "buffer", 10),
        (new().stripes(0), "stripes", 0),
        (new().stripes(65), "stripes", 65),
        (new().page_size(512), "page_size", 512),
        (new().page_size(2 << 20), "page_size", 2 << 20),
    ];
    for (builder, name, wrong) in cases {
        let error = refused(builder);
        let BuildError::OutOfRange { setting, value, min, max } = error else {
            panic!("{name}: {error:?}");
        };
        assert_eq!((setting, value), (name, wrong));
        assert!(min <= max && !(min..=max).contains(&wrong), "{error}");
        let text = format!("{name} is {wrong}, which is not in {min}..={max}");
        assert_eq!(error.to_string(), text);
    }
    let error = refused(new().page_size(3000));
    assert_eq!(error, BuildError::NotAPowerOfTwo { setting: "page_size", value: 3000 });
    assert_eq!(error.to_string(), "page_size is 3000, which is not a power of two");
}

#[test]
fn an_asymmetric_fence_is_had_or_refused_but_never_faked() {
    match Heap::builder().capacity(1 << 16).fence(FenceMode::Asymmetric).build() {
        Ok(heap) => assert!(heap.is_asymmetric()),
        Err(error) => {
            assert_eq!(error, BuildError::NoAsymmetricFence);
            assert!(error.to_string().contains("use Automatic"), "{error}");
        }
    }
    let plain = Heap::builder().capacity(1 << 16).fence(FenceMode::Plain).build().unwrap();
    assert!(!plain.is_asymmetric());
    assert_eq!(FenceMode::default(), FenceMode::Automatic);
}

#[test]
fn handles_are_small_ordered_and_survive_a_round_trip() {
    assert_eq!(size_of::<Handle<String>>(), 8);
    assert_eq!(size_of::<Option<Handle>>(), 8);
    let heap = heap(Policy::default(), 1 << 20);
    let handles: Vec<Handle> = (0..300).map(|_| heap.allocate(bytes(8)).unwrap()).collect();
    for handle in &handles {
        assert_eq!(Handle::from_bits(handle.to_bits()), Some(*handle));
        assert_eq!(format!("{handle:?}"), format!("{}v{}", handle.index(), handle.generation()));
        assert_eq!(handle.cast::<u64>().cast::<[u8]>(), *handle);
        for tag in [0b00_u64, 0b10, 0b11] {
            let bits = handle.to_bits() & !(0b11 << 32) | tag << 32;
            assert_eq!(Handle::<[u8]>::from_bits(bits), None, "only live handles are handles");
        }
    }
    assert_eq!(handles.iter().collect::<HashSet<_>>().len(), 300);
    let ordered = handles.iter().copied().collect::<BTreeSet<_>>();
    assert!(ordered.iter().is_sorted_by_key(|handle| (handle.index(), handle.generation())));
    assert_eq!(ordered.len(), 300);
}

#[test]
fn policies_have_names() {
    for policy in Policy::ALL {
        assert_eq!(policy.to_string().parse(), Ok(*policy));
        assert_eq!(heap(*policy, 1 << 16).policy(), *policy);
    }
    let unknown: UnknownPolicy = "bump".parse::<Policy>().unwrap_err();
    let text = unknown.to_string();
    assert!(text.contains("'bump'"), "{text}");
    assert!(Policy::ALL.iter().all(|policy| text.contains(policy.name())), "{text}");
}

#[test]
fn errors_say_what_happened() {
    let heap = heap(Policy::default(), 1 << 16);
    let handle = put(&heap, bytes(100), 1).unwrap();
    let borrow = heap.read(handle).unwrap();
    assert!(heap.try_read(handle).is_ok());
    assert_eq!(heap.try_write(handle).unwrap_err(), AccessError::Busy);
    assert_eq!(heap.try_resize(handle, 5), Err(ResizeError::Access(AccessError::Busy)));
    drop(borrow);
    let borrow = heap.write(handle).unwrap();
    assert_eq!(heap.try_read(handle).unwrap_err(), AccessError::Busy);
    assert_eq!(format!("{borrow:?}"), "BlockMut { len: 100, .. }");
    drop(borrow);

    let Err(ResizeError::Alloc(error)) = heap.resize(handle, 1 << 20) else {
        panic!("no such room");
    };
    assert_eq!((error.kind, error.requested), (AllocErrorKind::OutOfMemory, 1 << 20));
    common::assert_holds(&heap, handle, 100, 1);
    heap.deallocate(handle).unwrap();
    assert_eq!(heap.read(handle).unwrap_err(), AccessError::Stale);
    let stale = StaleHandle.to_string();
    assert_eq!(stale, "the handle names no live object");
    assert_eq!(AccessError::Stale.to_string(), stale);
    assert_eq!(TakeError::Stale.to_string(), stale);
    assert_eq!(ResizeError::from(AccessError::from(StaleHandle)).to_string(), stale);

    let error = heap.allocate(aligned(1, 8192)).unwrap_err();
    assert_eq!((error.kind, error.align), (AllocErrorKind::Unsupported, 8192));
    assert_eq!(error.to_string(), "an alignment of 8192 is above 4096, the largest there is");
}

#[test]
fn readers_are_counted_up_to_the_limit() {
    const READERS_MAX: usize = 32_765;
    let heap = heap(Policy::default(), 1 << 16);
    let handle = put(&heap, bytes(10), 1).unwrap();
    let borrows: Vec<_> = (0..READERS_MAX).map(|_| heap.read(handle).unwrap()).collect();
    assert_eq!(heap.try_read(handle).unwrap_err(), AccessError::Busy);
    heap.verify().unwrap();
    drop(borrows);
    assert!(heap.try_write(handle).is_ok());
}

#[test]
fn a_reader_too_many_is_refused_and_does_not_wait() {
    let refused = common::within(std::time::Duration::from_secs(5), || {
        let heap = heap(Policy::default(), 1 << 16);
        let handle = put(&heap, bytes(10), 1).unwrap();
        let borrows: Vec<_> = (0..32_765).map(|_| heap.read(handle).unwrap()).collect();
        let refused = heap.read(handle).map(|_| ());
        drop(borrows);
        refused
    });
    assert_eq!(refused, Err(AccessError::Busy));
}

/// What adds up in any quiet heap.
#[track_caller]
fn assert_adds_up(heap: &Heap, stats: &Stats) {
    assert_eq!(stats.capacity, heap.capacity());
    assert!(stats.largest_free <= stats.free_bytes, "{stats:?}");
    let total = stats.live_bytes + stats.free_bytes + stats.cached_bytes;
    // Headers of slabs and the granules at both ends are neither live nor free.
    assert!(total <= stats.capacity + 64, "{stats:?}");
    let pages: usize = stats.stripes.iter().map(|stripe| stripe.pages).sum();
    assert!(total + 64 + pages * 4096 >= stats.capacity, "{stats:?}");
    let in_stripes: usize = stats.stripes.iter().map(|s| s.live_bytes + s.free_bytes).sum();
    assert!(in_stripes <= total, "{stats:?}");
    assert!((0.0..=1.0).contains(&stats.fragmentation()), "{stats:?}");
}

#[test]
fn statistics_add_up() {
    for policy in Policy::ALL {
        for stripes in [1, 4] {
            let builder = Heap::builder().capacity(4 << 20).policy(*policy).stripes(stripes);
            let heap = builder.build().unwrap();
            assert_adds_up(&heap, &heap.stats());
            let mut rng = Rng::new(1);
            let sizes: Vec<usize> = (0..500).map(|_| rng.spread(1, 5000)).collect();
            let handles: Vec<_> =
                sizes.iter().map(|size| heap.allocate(bytes(*size)).unwrap()).collect();
            let stats = heap.stats();
            assert_adds_up(&heap, &stats);
            let wanted: usize = sizes.iter().sum();
            assert_eq!((stats.live_blocks, stats.pools, stats.retired_slots), (500, 0, 0));
            assert!(stats.live_bytes >= wanted, "{policy}: {stats:?}");
            assert!(stats.live_bytes < wanted * 9 / 8 + 500 * 32, "{policy}: {stats:?}");

            let guard = heap.enter();
            handles.iter().for_each(|handle| heap.deallocate(*handle).unwrap());
            let stats = heap.stats();
            assert_eq!((stats.live_blocks, stats.pending_blocks), (0, 500), "{policy}");
            let pending = stats.pending_bytes;
            assert!(pending >= wanted, "{policy}: retired ones still have blocks");
            assert!(pending < wanted * 9 / 8 + 500 * 16, "{policy}: {stats:?}");
            assert!(stats.live_bytes >= wanted, "{policy}");
            drop(guard);
            assert_eq!(heap.flush(), 500);
            let stats = heap.stats();
            assert_eq!((stats.pending_blocks, stats.pending_bytes, stats.live_bytes), (0, 0, 0));
            assert_adds_up(&heap, &stats);
        }
    }
}

#[test]
fn pictures_show_what_is_used() {
    for policy in Policy::ALL {
        let heap = heap(*policy, 1 << 20);
        let empty = heap.map(64);
        assert_eq!(empty.cells.len(), 64, "{policy}");
        assert!(empty.cells.iter().all(|cell| *cell == 0.0), "{policy}");
        assert!(empty.cell_bytes * 64 >= 1 << 20 && empty.cell_bytes * 63 <= 1 << 20);
        assert_eq!(heap.map(0).cells, [0.0], "{policy}: at least one cell");

        // The lower half, as one block.
        let half = heap.allocate(bytes(1 << 19)).unwrap();
        let start = address(&heap, half);
        let picture = heap.map(64);
        let used: f32 = picture.cells.iter().sum();
        assert!((31.9..33.1).contains(&used), "{policy}: {picture:?}");
        assert_eq!((picture.cells[5], picture.cells[60]), (1.0, 0.0), "{policy}");
        for _ in 0..1000 {
            heap.allocate(bytes(100)).unwrap();
        }
        let picture = heap.map(16);
        assert!(picture.cells.iter().all(|cell| (0.0..=1.0).contains(cell)), "{picture:?}");
        let more: f32 = picture.cells.iter().sum::<f32>() * picture.cell_bytes as f32;
        assert!(more > (1 << 19) as f32 + 100_000.0, "{policy}: {picture:?}");
        assert_eq!(address(&heap, half), start);
    }
}

#[test]
fn clones_are_the_same_heap_and_reports_read_well() {
    let heap = heap(Policy::FirstFit, 1 << 20);
    let other = heap.clone();
    assert!(heap.same(&other) && !heap.same(&common::heap(Policy::FirstFit, 1 << 20)));
    let handle = put(&heap, bytes(10), 1).unwrap();
    drop(heap);
    common::assert_holds(&other, handle, 10, 1);
    assert_eq!(format!("{other:?}"), "Heap { capacity: 1048576, policy: FirstFit, .. }");
    let report = other.defragment_with(Budget::unlimited().moves(3));
    let text = report.to_string();
    assert!(
        text.starts_with("moved ") && text.contains("gave back") && !text.contains(';'),
        "{text}"
    );
}
