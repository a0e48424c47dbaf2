//! The operations that are counted.
//!
//! Each is a function that is never inlined and does one operation, so that callgrind can switch its
//! counting on and off at the function's borders: the count includes the return, not the call, and
//! nothing can be hoisted out of the loop around it. The bodies are what a user would write.

use allocator_core::FenceMode;
use clap::ValueEnum;
use std::alloc::Layout;
use std::hint::black_box;
use typed_pool::{DefragReport, Handle, Heap, Pool, PoolGuard};

/// Operations of one kind that are counted.
const COUNT: usize = 10_000;
/// Objects that are alive meanwhile, where that is not the question.
const LIVE: usize = 1000;

/// What the pool holds: 64 bytes.
type Object = [u64; 8];

/// The `number`-th object.
fn object(number: u64) -> Object {
    [number; 8]
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Operation {
    /// `PoolGuard::get`, and a load from the object.
    GetUnderGuard,
    /// `Pool::get`, and a load from the object: enters and leaves a guard.
    GetOwnGuard,
    /// `Pool::insert` into a pool that grows.
    Insert,
    /// `Pool::remove` in random order, reclaiming included, until the pool is empty.
    Remove,
    /// `Pool::remove` of a random object, then `Pool::insert`.
    Replace,
    /// One move of `Pool::defragment`: the whole call, divided by its moves.
    Move,
    /// `Heap::deallocate` of a random raw block, then `Heap::allocate`.
    RawPair,
}

// SAFETY (of the attributes below): no other symbol of the program has one of these names.

#[unsafe(no_mangle)]
#[inline(never)]
fn count_get_under_guard(guard: &PoolGuard<'_, Object>, handle: Handle<Object>) -> Option<u64> {
    guard.get(handle).map(|object| object[0])
}

#[unsafe(no_mangle)]
#[inline(never)]
fn count_get_own_guard(pool: &Pool<Object>, handle: Handle<Object>) -> Option<u64> {
    pool.get(handle).map(|object| object[0])
}

#[unsafe(no_mangle)]
#[inline(never)]
fn count_insert(pool: &Pool<Object>, number: u64) -> Option<Handle<Object>> {
    pool.insert(object(number)).ok()
}

#[unsafe(no_mangle)]
#[inline(never)]
fn count_remove(pool: &Pool<Object>, handle: Handle<Object>) -> bool {
    pool.remove(handle)
}

#[unsafe(no_mangle)]
#[inline(never)]
fn count_replace(
    pool: &Pool<Object>,
    handle: Handle<Object>,
    number: u64,
) -> Option<Handle<Object>> {
    if !pool.remove(handle) {
        return None;
    }
    pool.insert(object(number)).ok()
}

#[unsafe(no_mangle)]
#[inline(never)]
fn count_move(pool: &Pool<Object>) -> DefragReport {
    pool.defragment()
}

#[unsafe(no_mangle)]
#[inline(never)]
fn count_raw_pair(heap: &Heap, handle: Handle, layout: Layout) -> Option<Handle> {
    heap.deallocate(handle).ok()?;
    heap.allocate(layout).ok()
}

impl Operation {
    /// The function that does it.
    pub(crate) fn symbol(self) -> &'static str {
        match self {
            Self::GetUnderGuard => "count_get_under_guard",
            Self::GetOwnGuard => "count_get_own_guard",
            Self::Insert => "count_insert",
            Self::Remove => "count_remove",
            Self::Replace => "count_replace",
            Self::Move => "count_move",
            Self::RawPair => "count_raw_pair",
        }
    }

    /// As the command line has it.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Does it, many times; the number of times, in calls of its function and in operations.
    ///
    /// # Panics
    /// When a result is wrong.
    pub(crate) fn perform(self) -> Performed {
        // Asymmetric, or no figure: with a plain fence each guard has one locked instruction more.
        let heap = Heap::builder().capacity(16 << 20).fence(FenceMode::Asymmetric).build();
        let heap = heap.expect("a heap with an asymmetric fence");
        if self == Self::RawPair {
            return raw_pairs(&heap);
        }
        let pool = Pool::new(&heap).expect("a pool");
        match self {
            Self::GetUnderGuard => gets(&pool, |pool, handles| {
                let guard = pool.enter();
                handles.iter().map(|h| count_get_under_guard(black_box(&guard), *h)).sum()
            }),
            Self::GetOwnGuard => gets(&pool, |pool, handles| {
                handles.iter().map(|h| count_get_own_guard(black_box(pool), *h)).sum()
            }),
            Self::Insert => inserts(&pool),
            Self::Remove => removes(&pool),
            Self::Replace => replaces(&pool),
            Self::Move => moves(&pool),
            Self::RawPair => unreachable!("done above"),
        }
    }
}

/// How often something was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Performed {
    /// Calls of the counted function.
    pub(crate) calls: u64,
    /// Operations in them.
    pub(crate) operations: u64,
}

impl Performed {
    /// One operation a call.
    fn each(count: usize) -> Self {
        Self { calls: count as u64, operations: count as u64 }
    }
}

/// Puts `count` objects in and gives their handles in random order.
fn filled(pool: &Pool<Object>, count: usize) -> Vec<Handle<Object>> {
    let insert = |number| pool.insert(object(number)).expect("room");
    let mut handles: Vec<_> = (0..count as u64).map(insert).collect();
    fastrand::Rng::with_seed(0x5eed).shuffle(&mut handles);
    handles
}

fn gets(
    pool: &Pool<Object>,
    read: impl Fn(&Pool<Object>, &[Handle<Object>]) -> Option<u64>,
) -> Performed {
    let handles = filled(pool, LIVE);
    // The thread's first guard makes its record, which goes without fences after some thousand.
    (0..COUNT).for_each(|_| drop(pool.enter()));
    for _ in 0..COUNT / LIVE {
        assert_eq!(read(pool, &handles), Some((0..LIVE as u64).sum()));
    }
    Performed::each(COUNT)
}

fn inserts(pool: &Pool<Object>) -> Performed {
    for number in 0..COUNT as u64 {
        let handle = count_insert(black_box(pool), number).expect("room");
        assert_eq!(pool.with(handle, |object| object[0]), Some(number));
    }
    assert_eq!(pool.len(), COUNT);
    Performed::each(COUNT)
}

fn removes(pool: &Pool<Object>) -> Performed {
    for handle in filled(pool, COUNT) {
        assert!(count_remove(black_box(pool), handle));
        assert!(!pool.contains(handle));
    }
    assert!(pool.is_empty());
    Performed::each(COUNT)
}

fn replaces(pool: &Pool<Object>) -> Performed {
    let mut handles = filled(pool, LIVE);
    for number in 0..COUNT {
        let handle = &mut handles[number % LIVE];
        let old = *handle;
        *handle = count_replace(black_box(pool), old, number as u64).expect("room");
        assert!(!pool.contains(old));
    }
    assert_eq!(pool.len(), LIVE);
    Performed::each(COUNT)
}

fn moves(pool: &Pool<Object>) -> Performed {
    let mut handles = filled(pool, 4 * COUNT);
    for handle in handles.drain(2 * COUNT..) {
        assert!(pool.remove(handle));
    }
    let values = || handles.iter().map(|handle| pool.with(*handle, |object| object[0])).sum();
    let before: Option<u64> = values();
    pool.flush();
    let report = count_move(black_box(pool));
    assert!(report.complete && report.moves >= COUNT as u64 / 2, "{report}");
    assert_eq!(values(), before);
    assert_eq!(pool.len(), handles.len());
    Performed { calls: 1, operations: report.moves }
}

fn raw_pairs(heap: &Heap) -> Performed {
    let layout = Layout::new::<Object>();
    let allocate = |_| heap.allocate(layout).expect("room");
    let mut handles: Vec<_> = (0..LIVE).map(allocate).collect();
    fastrand::Rng::with_seed(0x5eed).shuffle(&mut handles);
    for number in 0..COUNT {
        let handle = &mut handles[number % LIVE];
        let old = *handle;
        *handle = count_raw_pair(black_box(heap), old, layout).expect("room");
        assert!(heap.read(old).is_err());
        assert_eq!(heap.read(*handle).expect("alive").len(), layout.size());
    }
    assert_eq!(heap.stats().live_blocks, LIVE);
    Performed::each(COUNT)
}
