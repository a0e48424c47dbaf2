//! What the integration tests share: random numbers, patterns that prove contents, heaps to try.

// Every test file is a crate of its own and uses its own share.
#![allow(dead_code)]

pub(crate) mod live;
pub(crate) mod typed;

use allocator_core::{AllocError, FenceMode, Handle, Heap, HeapBuilder, Policy};
use std::alloc::Layout;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// splitmix64 (Steele, Lea, Flood 2014): small, and good enough to choose what to do next.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A number of `low..=high` whose logarithm is spread evenly, so that every scale occurs.
    pub(crate) fn spread(&mut self, low: usize, high: usize) -> usize {
        let (from, to) = ((low as f64).ln(), (high as f64).ln());
        let share = self.next() as f64 / u64::MAX as f64;
        ((from + (to - from) * share).exp() as usize).clamp(low, high)
    }
}

/// The layout of raw bytes.
pub(crate) fn bytes(size: usize) -> Layout {
    aligned(size, 1)
}

/// The layout of aligned bytes.
pub(crate) fn aligned(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("a valid layout")
}

/// Bytes after which a pattern repeats: prime, so that a copy that is off by some granules does not fit.
const PERIOD: usize = 67;

/// The byte at `index` of the pattern of `seed`, for an index below [`PERIOD`].
fn pattern_at(seed: u64, index: usize) -> u8 {
    let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index as u64;
    (mixed.wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) as u8
}

/// Fills `bytes` with the pattern of `seed`.
pub(crate) fn fill(bytes: &mut [u8], seed: u64) {
    let mut done = bytes.len().min(PERIOD);
    for (index, byte) in bytes[..done].iter_mut().enumerate() {
        *byte = pattern_at(seed, index);
    }
    // Doubling what is there: fast in a debug build too.
    while done < bytes.len() {
        let more = done.min(bytes.len() - done);
        bytes.copy_within(..more, done);
        done += more;
    }
}

/// Whether `bytes` are the pattern of `seed`.
pub(crate) fn holds(bytes: &[u8], seed: u64) -> bool {
    let first = &bytes[..bytes.len().min(PERIOD)];
    let repeats = bytes.len() <= PERIOD || bytes[PERIOD..] == bytes[..bytes.len() - PERIOD];
    repeats && first.iter().enumerate().all(|(index, byte)| *byte == pattern_at(seed, index))
}

/// Allocates a block that is filled with the pattern of `seed`.
pub(crate) fn put(heap: &Heap, layout: Layout, seed: u64) -> Result<Handle, AllocError> {
    let handle = heap.allocate(layout)?;
    fill(&mut heap.write(handle).expect("a new block can be written"), seed);
    Ok(handle)
}

/// Asserts that a block has this size and the pattern of `seed`.
#[track_caller]
pub(crate) fn assert_holds(heap: &Heap, handle: Handle, size: usize, seed: u64) {
    let block = heap.read(handle).expect("the block is alive");
    assert_eq!(block.len(), size, "size of {handle:?}");
    assert!(holds(&block, seed), "{handle:?} lost its bytes");
}

/// The address of a block at this moment.
pub(crate) fn address(heap: &Heap, handle: Handle) -> usize {
    heap.read(handle).expect("the block is alive").as_ptr().addr()
}

/// A heap of `capacity` bytes.
pub(crate) fn heap(policy: Policy, capacity: usize) -> Heap {
    let builder = Heap::builder().policy(policy).capacity(capacity);
    builder.build().expect("the settings are valid")
}

/// A builder for each policy, stripe count and fence, with room for `capacity` bytes.
pub(crate) fn builders(capacity: usize) -> Vec<(String, HeapBuilder)> {
    let mut all = Vec::new();
    for policy in Policy::ALL {
        for stripes in [1, 4] {
            for fence in [FenceMode::Automatic, FenceMode::Plain] {
                let name = format!("{policy}, {stripes} stripes, fence {fence:?}");
                let builder = Heap::builder().capacity(capacity).policy(*policy);
                all.push((name, builder.stripes(stripes).fence(fence)));
            }
        }
    }
    all
}

/// Runs `f` on a thread of its own; panics where it has not returned after `limit`. The thread is
/// left behind then, so a hang is a failure and not a hanging test.
#[track_caller]
pub(crate) fn within<R: Send + 'static>(
    limit: Duration,
    f: impl FnOnce() -> R + Send + 'static,
) -> R {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        let result = f();
        // The receiver is gone where we are too late.
        let _ = sender.send(());
        result
    });
    match receiver.recv_timeout(limit) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("still running after {limit:?}"),
        // A disconnected channel is a panic of the thread, which `join` passes on.
        _ => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

/// Runs `f` while another thread is inside a section of the heap.
pub(crate) fn beside_a_guard<R>(heap: &Heap, f: impl FnOnce() -> R) -> R {
    thread::scope(|scope| {
        let (open, is_open) = mpsc::channel();
        // Dropping `close` ends the section, also when `f` panics.
        let (close, is_closed) = mpsc::channel::<()>();
        scope.spawn(move || {
            let _guard = heap.enter();
            open.send(()).expect("the other side waits");
            is_closed.recv().expect_err("nothing is ever sent");
        });
        is_open.recv().expect("the section is entered");
        let _close = close;
        f()
    })
}

/// Tells other threads to stop when it is dropped, so that a panic here leaves none of them running.
pub(crate) struct StopOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sleeps for `time`, and longer until `enough` says yes; panics where it never does.
#[track_caller]
pub(crate) fn sleep_until(time: Duration, enough: impl Fn() -> bool) {
    thread::sleep(time);
    let limit = Instant::now() + Duration::from_secs(20);
    while !enough() {
        assert!(Instant::now() < limit, "what the test waits for never happens");
        thread::sleep(Duration::from_millis(10));
    }
}
