//! Guards that stay open, are forgotten, or live in the destructors of threads: they delay moves and
//! reclamation, are reported, and hang nobody.
#![cfg(not(loom))]

mod common;

use allocator_core::{Budget, FenceMode, Guard, Handle, Heap, Policy};
use common::live::{Live, assert_all, populate, thin_out};
use common::{Rng, beside_a_guard, builders, bytes, put, within};
use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_millis(30);

/// More than any of these calls may take on a loaded machine.
const LIMIT: Duration = Duration::from_secs(10);

/// A heap for each kind of fence and policy, in pieces.
fn heaps() -> impl Iterator<Item = (String, Heap, Vec<Live>)> {
    builders(1 << 20).into_iter().map(|(name, builder)| {
        let heap = builder.page_size(4 << 10).patience(PATIENCE).build().unwrap();
        let mut rng = Rng::new(1);
        let mut live = populate(&heap, &mut rng, 400, 3000);
        thin_out(&heap, &mut rng, &mut live, 50);
        (name, heap, live)
    })
}

#[test]
fn a_guard_that_stays_open_is_reported_and_nothing_moves() {
    for (name, heap, live) in heaps() {
        beside_a_guard(&heap, || {
            let start = Instant::now();
            let report = heap.defragment();
            let waited = start.elapsed();
            assert_eq!((report.moves, report.blocked_by_guards), (0, 1), "{name}: {report}");
            assert!(!report.complete && !report.own_guard, "{name}: {report}");
            assert!(report.to_string().contains("guards of 1 threads stayed open"), "{report}");
            assert!(PATIENCE <= waited && waited < LIMIT, "{name}: waited {waited:?}");

            // Its budget of time is shorter than the heap's patience.
            let hurried = Budget::unlimited().time(Duration::from_millis(2));
            let report = heap.defragment_with(hurried);
            assert!(report.moves == 0 && !report.complete, "{name}: {report}");
            assert_all(&heap, &live);
        });
        let report = heap.defragment();
        assert!(report.complete && report.moves > 0, "{name}: {report}");
        assert_eq!(report.blocked_by_guards, 0, "{name}");
        assert_all(&heap, &live);
    }
}

#[test]
fn a_guard_keeps_memory_and_the_refusal_says_so() {
    for policy in Policy::ALL {
        let heap = Heap::builder().capacity(1 << 16).policy(*policy).patience(PATIENCE);
        let heap = heap.build().unwrap();
        let whole = heap.allocate(bytes(1 << 16)).unwrap();
        beside_a_guard(&heap, || {
            heap.deallocate(whole).unwrap();
            assert_eq!(heap.flush(), 0, "{policy}: the guard may still see it");
            let error = heap.allocate(bytes(100)).unwrap_err();
            assert_eq!(error.pending, 1 << 16, "{policy}: {error}");
            assert!(error.to_string().contains("65536 bytes wait for guards or pins"), "{error}");
            let stats = heap.stats();
            assert_eq!((stats.pending_blocks, stats.pending_bytes), (1, 1 << 16));
        });
        heap.allocate(bytes(1 << 16)).unwrap();
    }
}

#[test]
fn an_own_guard_is_reported_at_once() {
    for (name, heap, live) in heaps() {
        let outer = heap.enter();
        let inner = heap.enter();
        drop(outer);
        let start = Instant::now();
        let report = heap.defragment();
        assert!(report.own_guard && !report.complete, "{name}: {report}");
        assert_eq!((report.moves, report.blocked_by_guards), (0, 0), "{name}: {report}");
        assert!(start.elapsed() < PATIENCE + LIMIT, "{name}");
        assert!(report.to_string().contains("holds a guard itself"), "{report}");
        drop(inner);
        let report = heap.defragment();
        assert!(!report.own_guard && report.complete, "{name}: {report}");
        assert_all(&heap, &live);
    }
}

#[test]
fn a_guard_of_another_heap_is_none_of_ours() {
    for (name, heap, live) in heaps() {
        let other = common::heap(Policy::default(), 1 << 16);
        let _guard = other.enter();
        let report = heap.defragment();
        assert!(report.complete && report.moves > 0 && !report.own_guard, "{name}: {report}");
        assert_all(&heap, &live);
    }
}

#[test]
fn a_forgotten_guard_hangs_nobody() {
    for (name, heap, mut live) in heaps() {
        let there = heap.clone();
        thread::spawn(move || std::mem::forget(there.enter())).join().unwrap();
        within(LIMIT, move || {
            // All goes on, but for moves and reclamation.
            let handle = put(&heap, bytes(5000), 7).unwrap();
            heap.resize(handle, 9000).unwrap();
            heap.write(handle).unwrap()[8999] = 1;
            heap.deallocate(handle).unwrap();
            heap.flush();
            for _ in 0..3 {
                let report = heap.defragment();
                assert_eq!((report.moves, report.blocked_by_guards), (0, 1), "{name}: {report}");
            }
            assert!(heap.stats().pending_blocks > 0, "{name}: the section never ends");
            assert_all(&heap, &live);
            let (first, ..) = live.swap_remove(0);
            heap.deallocate(first).unwrap();
            drop(heap);
        });
    }
}

/// A heap that outlives every thread, and the block in it.
static LASTING: OnceLock<(Heap, Handle)> = OnceLock::new();

/// Destructors that ran to their end.
static ENDED: AtomicUsize = AtomicUsize::new(0);

fn lasting() -> &'static (Heap, Handle) {
    LASTING.get_or_init(|| {
        let builder = Heap::builder().capacity(1 << 16).fence(FenceMode::Plain);
        let heap = builder.patience(PATIENCE).build().unwrap();
        let handle = put(&heap, bytes(100), 3).unwrap();
        (heap, handle)
    })
}

/// Uses the heap when its thread ends.
struct Late(RefCell<Option<Guard<'static>>>);

impl Drop for Late {
    fn drop(&mut self) {
        let (heap, handle) = lasting();
        let outer = heap.enter();
        let inner = heap.enter();
        common::assert_holds(heap, *handle, 100, 3);
        drop((outer, inner));
        let own = put(heap, bytes(50), 4).expect("there is room");
        heap.deallocate(own).expect("it is live");
        drop(self.0.take());
        ENDED.fetch_add(1, Ordering::Relaxed);
    }
}

std::thread_local! {
    static LATE: Late = const { Late(RefCell::new(None)) };
}

#[test]
fn guards_work_in_the_destructors_of_threads() {
    const THREADS: usize = 40;
    for turn in 0..THREADS {
        let thread = thread::spawn(move || {
            // Destructors run in one order or the other, and the guard may be the thread's last owner.
            if turn % 2 == 0 {
                drop(lasting().0.enter());
            }
            LATE.with(|late| {
                if turn % 4 >= 2 {
                    late.0.replace(Some(lasting().0.enter()));
                }
            });
            drop(lasting().0.enter());
        });
        thread.join().unwrap();
    }
    assert_eq!(ENDED.load(Ordering::Relaxed), THREADS);
    let (heap, handle) = lasting();
    let report = heap.defragment();
    assert!(report.complete && report.blocked_by_guards == 0, "every section has ended: {report}");
    heap.flush();
    assert_eq!(heap.stats().pending_blocks, 0);
    common::assert_holds(heap, *handle, 100, 3);
}

#[test]
fn defragmentations_wait_for_each_other_with_patience() {
    for (name, heap, live) in heaps() {
        let (sender, reports) = mpsc::channel();
        beside_a_guard(&heap, || {
            thread::scope(|scope| {
                for _ in 0..3 {
                    let (sender, heap) = (sender.clone(), &heap);
                    scope.spawn(move || sender.send(heap.defragment()).unwrap());
                }
            });
        });
        drop(sender);
        let all: Vec<_> = reports.iter().collect();
        assert_eq!(all.len(), 3, "{name}");
        assert!(all.iter().all(|report| !report.complete && report.moves == 0), "{name}: {all:?}");
        assert_all(&heap, &live);
        assert!(heap.defragment().complete, "{name}");
    }
}
