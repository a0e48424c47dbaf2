//! Models of raw blocks: bytes that are written, resized, moved and freed while others ask for them.
//!
//! The bounds are the largest that finish in seconds.

#![cfg(loom)]

mod modelling;
#[path = "modelling/objects.rs"]
mod objects;

use allocator_core::{AccessError, Handle, Heap, ResizeError};
use loom::thread;
use modelling::{UNBOUNDED, explore};
use objects::{heap, moved};
use std::alloc::Layout;

const SEVENS: [u8; 16] = [7; 16];
const EIGHTS: [u8; 16] = [8; 16];

/// A block of [`SEVENS`] behind a hole, where a defragmentation moves it to.
fn block_behind_a_hole(heap: &Heap) -> Handle {
    let hole = heap.allocate_bytes(&[0; 16]).unwrap();
    let block = heap.allocate_bytes(&SEVENS).unwrap();
    heap.deallocate(hole).unwrap();
    assert_eq!(heap.flush(), 1);
    block
}

/// What is written is moved before or after, never in between.
#[test]
fn write_against_move() {
    let paths = ["moved", "borrowed", "cancelled"];
    explore(Some(4), paths, |[did_move, borrowed, cancelled]| {
        let heap = heap();
        let block = block_behind_a_hole(&heap);
        let writer = thread::spawn({
            let heap = heap.clone();
            move || heap.write(block).unwrap().copy_from_slice(&EIGHTS)
        });
        let report = heap.defragment();
        writer.join().unwrap();
        did_move.reached_if(moved(&report));
        borrowed.reached_if(report.blocked_by_pins == 1);
        cancelled.reached_if(report.cancelled == 1);
        assert_eq!(*heap.read(block).unwrap(), EIGHTS);
        heap.verify().unwrap();
    });
}

/// A reader sees what a writer left, all of it or nothing.
#[test]
fn write_against_read() {
    let paths = ["read the old bytes", "read the new bytes", "busy"];
    explore(Some(5), paths, |[old, new, busy]| {
        let heap = heap();
        let block = heap.allocate_bytes(&SEVENS).unwrap();
        let writer = thread::spawn({
            let heap = heap.clone();
            move || heap.write(block).unwrap().copy_from_slice(&EIGHTS)
        });
        match heap.try_read(block) {
            Ok(bytes) => {
                old.reached_if(*bytes == SEVENS);
                new.reached_if(*bytes == EIGHTS);
                assert!(*bytes == SEVENS || *bytes == EIGHTS);
            }
            Err(error) => {
                assert_eq!(error, AccessError::Busy);
                busy.reached();
            }
        }
        writer.join().unwrap();
        assert_eq!(*heap.read(block).unwrap(), EIGHTS);
    });
}

/// Two writers, one after the other.
#[test]
fn write_against_write() {
    explore(Some(5), ["ours was last", "theirs was last"], |[ours, theirs]| {
        let heap = heap();
        let block = heap.allocate_bytes(&[0; 1]).unwrap();
        let writer = thread::spawn({
            let heap = heap.clone();
            move || heap.write(block).unwrap()[0] += 1
        });
        {
            let mut bytes = heap.write(block).unwrap();
            ours.reached_if(bytes[0] == 1);
            theirs.reached_if(bytes[0] == 0);
            bytes[0] += 1;
        }
        writer.join().unwrap();
        assert_eq!(*heap.read(block).unwrap(), [2]);
    });
}

/// The zeroes of a new block are written once, by the first of two readers.
#[test]
fn first_read_against_first_read() {
    explore(Some(2), ["read"], |[read]| {
        let heap = heap();
        let block = heap.allocate(Layout::new::<[u8; 16]>()).unwrap();
        let reader = thread::spawn({
            let heap = heap.clone();
            move || assert_eq!(*heap.read(block).unwrap(), [0; 16])
        });
        assert_eq!(*heap.read(block).unwrap(), [0; 16]);
        reader.join().unwrap();
        read.reached();
    });
}

/// A block that has to go elsewhere to grow: a reader sees it before or after, whole.
#[test]
fn resize_against_read() {
    let paths = ["read the old size", "read the new size", "busy"];
    explore(Some(5), paths, |[old, new, busy]| {
        let heap = heap();
        let block = heap.allocate_bytes(&SEVENS).unwrap();
        let _behind = heap.allocate_bytes(&[0; 16]).unwrap();
        let resizer = thread::spawn({
            let heap = heap.clone();
            move || heap.resize(block, 40).unwrap()
        });
        match heap.try_read(block) {
            Ok(bytes) => {
                old.reached_if(bytes.len() == 16);
                new.reached_if(bytes.len() == 40);
                assert_eq!(bytes[..16], SEVENS);
                assert!(bytes[16..].iter().all(|byte| *byte == 0));
            }
            Err(error) => {
                assert_eq!(error, AccessError::Busy);
                busy.reached();
            }
        }
        resizer.join().unwrap();
        assert_eq!(heap.read(block).unwrap()[..16], SEVENS);
        assert_eq!(heap.size(block), Ok(40));
        heap.flush();
        heap.verify().unwrap();
        assert_eq!(heap.stats().pending_blocks, 0);
    });
}

/// A block that has to go elsewhere to grow, while it is written: what was written is in the new place, or the writer comes
/// after it.
#[test]
fn resize_against_write() {
    let paths = ["wrote the old place", "wrote the new place", "busy"];
    explore(Some(4), paths, |[old, new, busy]| {
        let heap = heap();
        let block = heap.allocate_bytes(&SEVENS).unwrap();
        let _behind = heap.allocate_bytes(&[0; 16]).unwrap();
        let resizer = thread::spawn({
            let heap = heap.clone();
            move || heap.resize(block, 40).unwrap()
        });
        let written = match heap.try_write(block) {
            Ok(mut bytes) => {
                old.reached_if(bytes.len() == 16);
                new.reached_if(bytes.len() == 40);
                bytes[..16].copy_from_slice(&EIGHTS);
                EIGHTS
            }
            Err(error) => {
                assert_eq!(error, AccessError::Busy);
                busy.reached();
                SEVENS
            }
        };
        resizer.join().unwrap();
        assert_eq!(heap.read(block).unwrap()[..16], written);
        heap.verify().unwrap();
    });
}

/// A block that grows, in place or elsewhere, while it is to be moved.
#[test]
fn resize_against_move() {
    let paths = ["moved", "cancelled", "borrowed"];
    explore(Some(3), paths, |[did_move, cancelled, borrowed]| {
        let heap = heap();
        let block = block_behind_a_hole(&heap);
        let resizer = thread::spawn({
            let heap = heap.clone();
            move || heap.resize(block, 40).unwrap()
        });
        let report = heap.defragment();
        resizer.join().unwrap();
        did_move.reached_if(moved(&report));
        cancelled.reached_if(report.cancelled == 1);
        borrowed.reached_if(report.blocked_by_pins == 1);
        let bytes = heap.read(block).unwrap();
        assert_eq!(bytes[..16], SEVENS);
        assert_eq!(bytes.len(), 40);
        assert_eq!(bytes[16..], [0; 24]);
        drop(bytes);
        heap.verify().unwrap();
    });
}

/// A block that grows within its place while it is to be moved.
#[test]
fn resize_in_place_against_move() {
    let paths = ["moved", "cancelled", "borrowed"];
    explore(Some(3), paths, |[did_move, cancelled, borrowed]| {
        let heap = heap();
        let hole = heap.allocate_bytes(&[0; 16]).unwrap();
        let block = heap.allocate_bytes(&SEVENS[..8]).unwrap();
        heap.deallocate(hole).unwrap();
        assert_eq!(heap.flush(), 1);
        let resizer = thread::spawn({
            let heap = heap.clone();
            move || heap.resize(block, 16).unwrap()
        });
        let report = heap.defragment();
        resizer.join().unwrap();
        did_move.reached_if(moved(&report));
        cancelled.reached_if(report.cancelled == 1);
        borrowed.reached_if(report.blocked_by_pins == 1);
        let bytes = heap.read(block).unwrap();
        assert_eq!((&bytes[..8], &bytes[8..]), (&SEVENS[..8], &[0; 8][..]));
    });
}

/// A freed block stays for who has borrowed it.
#[test]
fn deallocate_against_write() {
    let paths = ["written", "stale", "freed at once", "left for later"];
    explore(Some(6), paths, |[written, stale, at_once, later]| {
        let heap = heap();
        let block = heap.allocate_bytes(&SEVENS).unwrap();
        let writer = thread::spawn({
            let heap = heap.clone();
            move || heap.write(block).map(|mut bytes| bytes.copy_from_slice(&EIGHTS))
        });
        heap.deallocate(block).unwrap();
        let freed = heap.flush();
        at_once.reached_if(freed == 1);
        later.reached_if(freed == 0);
        match writer.join().unwrap() {
            Ok(()) => written.reached(),
            Err(error) => {
                assert_eq!(error, AccessError::Stale);
                stale.reached();
            }
        }
        assert_eq!(heap.flush(), 1 - freed);
        assert!(heap.deallocate(block).is_err());
        assert_eq!(heap.stats().live_blocks, 0);
        heap.verify().unwrap();
    });
}

/// A block that is freed while it grows elsewhere: both places are free in the end.
#[test]
fn deallocate_against_resize() {
    let paths = ["resized", "stale"];
    explore(UNBOUNDED, paths, |[resized, stale]| {
        let heap = heap();
        let free = heap.stats().free_bytes;
        let block = heap.allocate_bytes(&SEVENS).unwrap();
        let behind = heap.allocate_bytes(&[0; 16]).unwrap();
        let resizer = thread::spawn({
            let heap = heap.clone();
            move || heap.resize(block, 40)
        });
        heap.deallocate(block).unwrap();
        match resizer.join().unwrap() {
            Ok(()) => resized.reached(),
            Err(error) => {
                assert_eq!(error, ResizeError::from(AccessError::Stale));
                stale.reached();
            }
        }
        heap.deallocate(behind).unwrap();
        heap.flush();
        heap.verify().unwrap();
        assert_eq!(heap.stats().free_bytes, free);
    });
}
