//! How much fits, how it is aligned, and how many pools a heap serves; which types may cross threads.
#![cfg(not(loom))]

mod common;

use allocator_core::{
    AllocErrorKind, BlockMut, BlockRef, Buffer, Guard, Handle, Heap, HeapBuilder, HeapMap, Hold,
    Policy, Replacement, Reservation, Stats, Table, TableGuard, TableSpec,
};
use common::{address, aligned, assert_holds, bytes, heap, put};
use std::alloc::Layout;

#[test]
fn the_capacity_is_usable_to_the_last_byte() {
    for policy in Policy::ALL {
        for capacity in [1 << 10, 1025, 4095, 5000, 1 << 16, 1 << 20, (3 << 20) + 7, 64 << 20] {
            for page_size in [1 << 10, 1 << 20] {
                let builder = Heap::builder().capacity(capacity).policy(*policy);
                let heap = builder.page_size(page_size).stripes(4).build().unwrap();
                let name = format!("{policy}, {capacity} in pages of {page_size}");
                assert_eq!(heap.capacity(), capacity);
                let whole = put(&heap, bytes(capacity), 1)
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_holds(&heap, whole, capacity, 1);
                assert_eq!(heap.stats().largest_free, 0, "{name}");
                heap.verify().unwrap();
                heap.deallocate(whole).unwrap();
                heap.flush();
                assert!(heap.stats().largest_free >= capacity, "{name}");
            }
        }
    }
}

/// A buffer of `len` bytes whose address is `odd` more than a multiple of 64.
fn odd_buffer(len: usize, odd: usize) -> &'static mut [u8] {
    let bytes = Vec::leak(vec![0xaa_u8; len + 128]);
    let skip = bytes.as_ptr().align_offset(64) + odd;
    &mut bytes[skip..skip + len]
}

#[test]
fn alignments_are_honoured_in_buffers_at_odd_addresses() {
    for policy in Policy::ALL {
        for odd in [0, 1, 15, 16, 17, 33, 63] {
            let buffer = odd_buffer(1 << 16, odd);
            let range = buffer.as_ptr_range();
            let (low, high) = (range.start.addr(), range.end.addr());
            let heap = Heap::builder().policy(*policy).buffer(buffer).build().unwrap();
            assert!((1 << 16) - 48 <= heap.capacity() && heap.capacity() < 1 << 16);
            for shift in (0..=12).rev() {
                let (size, align) = (300 + 7 * shift, 1 << shift);
                let handle = put(&heap, aligned(size, align), shift as u64).unwrap();
                let place = address(&heap, handle);
                assert_eq!(place % align, 0, "{policy}, odd by {odd}: align {align}");
                assert!(low <= place && place + size <= high, "{policy}: outside of the buffer");
                assert_holds(&heap, handle, size, shift as u64);
            }
            // The capacity is what it says, and no more: almost all of a buffer.
            let heap = Heap::builder().policy(*policy).buffer(odd_buffer(1 << 16, odd));
            let heap = heap.build().unwrap();
            let largest = heap.stats().largest_free;
            assert!(largest >= (1 << 16) - 64, "{policy}: {largest}");
            assert_eq!(heap.capacity(), largest);
            assert!(heap.allocate(bytes(largest + 1)).is_err(), "{policy}");
            put(&heap, bytes(largest), 1).unwrap();
            heap.verify().unwrap();
        }
    }
}

#[test]
fn a_buffer_of_some_bytes_is_said_to_hold_what_it_holds() {
    for len in [300, 1000, 1001, 1024, 4095] {
        let heap = Heap::builder().buffer(vec![0; len]).build().unwrap();
        let capacity = heap.capacity();
        assert!(capacity < len && capacity + 64 > len, "{capacity} of {len}");
        assert_eq!(heap.stats().capacity, capacity);
        assert!(heap.allocate(bytes(capacity + 1)).is_err());
        heap.allocate(bytes(capacity)).unwrap();
    }
}

#[test]
fn a_refusal_names_what_no_heap_has() {
    let heap = heap(Policy::default(), 1 << 16);
    let error = heap.allocate(aligned(100, 8192)).unwrap_err();
    assert_eq!(error.kind, AllocErrorKind::Unsupported);
    assert_eq!(error.to_string(), "an alignment of 8192 is above 4096, the largest there is");
    let error = heap.allocate(aligned(1 << 40, 8)).unwrap_err();
    assert_eq!(error.kind, AllocErrorKind::Unsupported);
    assert_eq!(error.to_string(), "1099511627776 bytes aligned to 8 are beyond any heap");
}

#[test]
fn buffers_of_every_kind_are_taken() {
    let boxed: Box<[u8]> = vec![1; 4096].into();
    let raw: Box<[std::mem::MaybeUninit<u8>]> = Box::new_uninit_slice(4096);
    for buffer in [Buffer::from(vec![1_u8; 4096]), boxed.into(), raw.into()] {
        assert_eq!((buffer.len(), buffer.is_empty()), (4096, false));
        let heap = Heap::builder().buffer(buffer).build().unwrap();
        let zeroes = heap.allocate(bytes(2000)).unwrap();
        assert!(heap.read(zeroes).unwrap().iter().all(|byte| *byte == 0), "not what was there");
        assert_eq!(heap.stats().resident, None, "the system cannot tell");
        heap.defragment();
        heap.verify().unwrap();
    }
}

#[test]
fn blocks_read_as_zeroes_however_they_come_about() {
    for policy in Policy::ALL {
        let heap = heap(*policy, 1 << 16);
        for size in [1, 60, 1000, 5000] {
            let dirty = put(&heap, bytes(size), 1).unwrap();
            heap.deallocate(dirty).unwrap();
            heap.flush();
            let lazy = heap.allocate(bytes(size)).unwrap();
            let eager = heap.allocate_zeroed(bytes(size)).unwrap();
            for handle in [lazy, eager] {
                assert!(heap.read(handle).unwrap().iter().all(|byte| *byte == 0), "{policy}");
                heap.write(handle).unwrap().fill(7);
                heap.resize(handle, size / 2).unwrap();
                heap.resize(handle, size * 2).unwrap();
                let block = heap.read(handle).unwrap();
                assert!(block[..size / 2].iter().all(|byte| *byte == 7), "{policy}: kept");
                assert!(block[size / 2..].iter().all(|byte| *byte == 0), "{policy}: grown");
                assert_eq!(heap.size(handle), Ok(size * 2));
            }
            heap.deallocate(lazy).unwrap();
            heap.deallocate(eager).unwrap();
        }
    }
}

#[test]
fn a_heap_serves_so_many_tables_and_no_more() {
    let heap = Heap::builder().capacity(1 << 10).build().unwrap();
    let spec = TableSpec { layout: Layout::new::<u64>(), drop: None };
    let mut tables = Vec::new();
    let error = loop {
        // SAFETY: the objects have no drop.
        match unsafe { Table::new(&heap, spec) } {
            Ok(table) => tables.push(table),
            Err(error) => break error,
        }
        assert!(tables.len() < 1 << 14, "ids go up to 2^14, and one stands for no table");
    };
    assert_eq!(error.kind, AllocErrorKind::TooManyPools);
    assert_eq!(error.to_string(), "the heap serves no more pools");
    assert_eq!(heap.stats().pools, tables.len());
    assert!(tables.len() > 16_000, "{}", tables.len());

    // Each of them is gone when it is dropped, and its number can be had again.
    drop(tables.swap_remove(77));
    // SAFETY: as above.
    tables.push(unsafe { Table::new(&heap, spec) }.unwrap());
    tables.clear();
    assert_eq!(heap.stats().pools, 0);
    heap.verify().unwrap();
}

const fn crosses_threads<T: Send + Sync>() {}

const _: () = {
    crosses_threads::<Heap>();
    crosses_threads::<HeapBuilder>();
    crosses_threads::<HeapMap>();
    crosses_threads::<Stats>();
    crosses_threads::<Table>();
    crosses_threads::<Hold>();
    crosses_threads::<Reservation<'_>>();
    crosses_threads::<Replacement<'_>>();
    crosses_threads::<BlockRef<'_>>();
    crosses_threads::<BlockMut<'_>>();
    crosses_threads::<Handle>();
    // Whatever it names: the table that is asked decides.
    crosses_threads::<Handle<*const std::rc::Rc<str>>>();
};

/// Does not compile where a type has the trait: then two impls apply, and `_` cannot be inferred.
macro_rules! assert_not {
    ($type:ty: $bound:path) => {
        const _: () = {
            trait Ambiguous<A> {
                fn pick() {}
            }
            struct Has;
            impl<T: ?Sized> Ambiguous<()> for T {}
            impl<T: ?Sized + $bound> Ambiguous<Has> for T {}
            let _ = <$type as Ambiguous<_>>::pick;
        };
    };
}

// A section belongs to its thread.
assert_not!(Guard<'static>: Send);
assert_not!(Guard<'static>: Sync);
assert_not!(TableGuard<'static>: Send);
assert_not!(TableGuard<'static>: Sync);
