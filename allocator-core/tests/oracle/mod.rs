//! The operations of random programs, and the plain map that says what each must do.

mod steps;

use crate::common::{fill, holds};
use allocator_core::{
    AccessError, AllocError, AllocErrorKind, BlockMut, BlockRef, Budget, Guard, Handle, Heap,
    ResizeError, StaleHandle,
};
use proptest::prelude::*;
use std::alloc::Layout;
use std::collections::HashMap;
use steps::check_borrow;

/// A size, relative to what matters to a heap.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Size {
    /// Bytes; up to 1 KiB is for slabs.
    Bytes(usize),
    /// So many thousandths of the capacity.
    Share(usize),
}

/// How a block comes about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Make {
    Lazy,
    Zeroed,
    Copied,
}

/// One step of a program. Numbers pick among what is there, whatever their value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Allocate { make: Make, size: Size, align_log2: u32 },
    AllocateLargest,
    Deallocate(usize),
    Resize(usize, Size),
    Read(usize),
    Write(usize),
    Borrow(usize),
    BorrowMut(usize),
    LetGo(usize),
    Enter,
    Leave,
    Defragment,
    DefragmentWith { moves: u64, bytes: u64 },
    Flush,
    UseStale(usize),
    UseForged(u64),
    UseForeign,
    CheckAll,
}

fn size() -> impl Strategy<Value = Size> {
    prop_oneof![
        1 => Just(Size::Bytes(0)),
        6 => (1..=1024_usize).prop_map(Size::Bytes),
        3 => (1025..40_000_usize).prop_map(Size::Bytes),
        3 => (1..400_usize).prop_map(Size::Share),
        1 => (400..1100_usize).prop_map(Size::Share),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let pick = any::<usize>;
    let make = prop_oneof![Just(Make::Lazy), Just(Make::Zeroed), Just(Make::Copied)];
    let align_log2 = prop_oneof![4 => 0..5_u32, 1 => 5..=13_u32];
    prop_oneof![
        16 => (make, size(), align_log2)
            .prop_map(|(make, size, align_log2)| Op::Allocate { make, size, align_log2 }),
        1 => Just(Op::AllocateLargest),
        8 => pick().prop_map(Op::Deallocate),
        5 => (pick(), size()).prop_map(|(pick, size)| Op::Resize(pick, size)),
        2 => pick().prop_map(Op::Read),
        4 => pick().prop_map(Op::Write),
        2 => pick().prop_map(Op::Borrow),
        2 => pick().prop_map(Op::BorrowMut),
        4 => pick().prop_map(Op::LetGo),
        1 => Just(Op::Enter),
        2 => Just(Op::Leave),
        1 => Just(Op::Defragment),
        2 => (0..20_u64, 0..20_000_u64)
            .prop_map(|(moves, bytes)| Op::DefragmentWith { moves, bytes }),
        2 => Just(Op::Flush),
        1 => pick().prop_map(Op::UseStale),
        1 => any::<u64>().prop_map(Op::UseForged),
        1 => Just(Op::UseForeign),
        1 => Just(Op::CheckAll),
    ]
}

/// Programs of up to 120 steps.
pub(crate) fn program() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..120)
}

/// What the map knows about a block.
struct Object {
    bytes: Vec<u8>,
    align: usize,
}

enum Borrow<'h> {
    Shared(BlockRef<'h>),
    Exclusive(BlockMut<'h>),
}

/// A heap, what must be in it, and the borrows and guards that are open.
pub(crate) struct World<'h> {
    heap: &'h Heap,
    foreign: Handle,
    live: HashMap<Handle, Object>,
    /// The keys of `live`, to pick from.
    handles: Vec<Handle>,
    stale: Vec<Handle>,
    borrows: Vec<(Handle, Borrow<'h>, Vec<u8>)>,
    guards: Vec<Guard<'h>>,
    seed: u64,
}

impl<'h> World<'h> {
    pub(crate) fn new(heap: &'h Heap, other: &Heap) -> Self {
        let foreign = other.allocate(Layout::new::<u64>()).expect("the other heap is empty");
        Self {
            heap,
            foreign,
            live: HashMap::new(),
            handles: Vec::new(),
            stale: Vec::new(),
            borrows: Vec::new(),
            guards: Vec::new(),
            seed: 0,
        }
    }

    pub(crate) fn step(&mut self, op: Op) {
        self.seed += 1;
        match op {
            Op::Allocate { make, size, align_log2 } => self.allocate(make, size, 1 << align_log2),
            Op::AllocateLargest => self.allocate_largest(),
            Op::Flush => drop(self.heap.flush()),
            Op::Enter => self.guards.push(self.heap.enter()),
            Op::Leave => drop(self.guards.pop()),
            Op::Defragment => self.defragment(Budget::unlimited(), u64::MAX),
            Op::DefragmentWith { moves, bytes } => {
                self.defragment(Budget::unlimited().moves(moves).bytes(bytes), moves);
            }
            Op::LetGo(pick) if !self.borrows.is_empty() => {
                let borrow = self.borrows.swap_remove(pick % self.borrows.len());
                check_borrow(&borrow);
            }
            Op::UseStale(pick) if !self.stale.is_empty() => {
                self.refused(self.stale[pick % self.stale.len()]);
            }
            Op::UseForged(bits) => {
                // A slot that exists, with any generation.
                let handle = Handle::from_bits(bits & (!0b11 << 32 | 0x3f) | 1 << 32);
                let handle = handle.expect("it has the tag of a live slot");
                if !self.live.contains_key(&handle) {
                    self.refused(handle);
                }
            }
            Op::UseForeign => self.refused(self.foreign),
            Op::CheckAll => self.check_all(),
            Op::Deallocate(pick)
            | Op::Resize(pick, _)
            | Op::Read(pick)
            | Op::Write(pick)
            | Op::Borrow(pick)
            | Op::BorrowMut(pick)
                if !self.handles.is_empty() =>
            {
                let index = pick % self.handles.len();
                self.step_on(op, index, self.handles[index]);
            }
            _ => {}
        }
        let stats = self.heap.stats();
        assert_eq!(stats.live_blocks, self.live.len());
    }

    /// A step that needs a live block.
    fn step_on(&mut self, op: Op, index: usize, handle: Handle) {
        match op {
            Op::Deallocate(_) => self.deallocate(index),
            Op::Resize(_, size) => self.resize(handle, size),
            Op::Read(_) => self.read(handle),
            Op::Write(_) => self.write(handle),
            Op::Borrow(_) => match self.heap.try_read(handle) {
                Ok(block) => {
                    assert!(!self.is_written(handle));
                    let bytes = self.live[&handle].bytes.clone();
                    self.borrows.push((handle, Borrow::Shared(block), bytes));
                }
                Err(error) => {
                    assert_eq!((error, self.is_written(handle)), (AccessError::Busy, true));
                }
            },
            Op::BorrowMut(_) => match self.heap.try_write(handle) {
                Ok(mut block) => {
                    assert!(!self.is_borrowed(handle));
                    fill(&mut block, self.seed);
                    let bytes = block.to_vec();
                    self.live.get_mut(&handle).expect("it is live").bytes.clone_from(&bytes);
                    self.borrows.push((handle, Borrow::Exclusive(block), bytes));
                }
                Err(error) => {
                    assert_eq!((error, self.is_borrowed(handle)), (AccessError::Busy, true));
                }
            },
            _ => unreachable!("{op:?} needs no block"),
        }
    }
}
