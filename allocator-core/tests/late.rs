//! Threads that are being torn down: destructors of thread-locals that come after the heap's own, and what they leave.
#![cfg(not(any(loom, miri)))]

mod common;

use allocator_core::{Guard, Handle, Heap, TakeError};
use common::typed::Typed;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// What nobody may wait for.
const PATIENCE: Duration = Duration::from_secs(20);

/// More than any of these calls may take on a loaded machine.
const LIMIT: Duration = Duration::from_secs(5);

type Work = Box<dyn FnOnce()>;

/// Runs what it was given when the thread ends.
struct Late(RefCell<Option<Work>>);

impl Drop for Late {
    fn drop(&mut self) {
        if let Some(work) = self.0.take() {
            work();
        }
    }
}

std::thread_local! {
    static LATE: Late = const { Late(RefCell::new(None)) };
}

/// In a thread of its own: `begin`, whose result `end` gets in the destructor of a thread-local that was used before the heap was,
/// and goes after what the heap keeps for the thread; in every other turn the other way round.
fn around_a_life<T: 'static>(turn: usize, begin: fn() -> T, end: fn(T)) {
    let (sender, ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        if turn.is_multiple_of(2) {
            LATE.with(|_| ());
        }
        let begun = begin();
        // A panic out of such a destructor would abort.
        let end = move || sender.send(catch_unwind(AssertUnwindSafe(|| end(begun)))).unwrap();
        LATE.with(|late| late.0.replace(Some(Box::new(end))));
    });
    thread.join().unwrap();
    if let Err(panic) = ended.recv().unwrap() {
        resume_unwind(panic);
    }
}

/// A heap that lasts, and a table in it.
struct Lasting {
    heap: Heap,
    table: Typed<u64>,
    object: Handle<u64>,
}

fn lasting() -> &'static Lasting {
    static LASTING: OnceLock<Lasting> = OnceLock::new();
    LASTING.get_or_init(|| {
        let heap = Heap::builder().capacity(1 << 20).patience(PATIENCE).build().unwrap();
        let table = Typed::new(&heap);
        let object = table.insert(7).unwrap();
        Lasting { heap, table, object }
    })
}

fn quickly<R>(what: &str, f: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = f();
    let waited = start.elapsed();
    assert!(waited < LIMIT, "{what} took {waited:?}");
    result
}

#[test]
fn an_own_guard_is_known_to_the_end_of_its_thread() {
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    fn end(guard: Guard<'static>) {
        let Lasting { heap, table, object } = lasting();
        assert!(heap.is_entered());
        let refused = quickly("a take", || table.take(*object));
        assert_eq!(refused, Err(TakeError::OwnGuard));
        let report = quickly("a defragmentation", || heap.defragment());
        assert!(report.own_guard && !report.complete, "{report}");
        let room = quickly("making room", || heap.make_room(heap.capacity(), 1));
        assert!(!room.fits);
        // Another one, in a record of its own.
        let inner = heap.enter();
        drop(guard);
        assert!(heap.is_entered());
        assert_eq!(quickly("a take", || table.take(*object)), Err(TakeError::OwnGuard));
        drop(inner);
        assert!(!heap.is_entered());
        ENDED.fetch_add(1, Ordering::Relaxed);
    }
    for turn in 0..4 {
        around_a_life(turn, || lasting().heap.enter(), end);
        assert_eq!(ENDED.load(Ordering::Relaxed), turn + 1);
    }
}

/// A drop that comes back to its full table, in a thread that has nothing any more, does not take what is in its own hands for
/// that of somebody else, and wait for it.
#[test]
fn a_drop_in_a_torn_down_thread_waits_for_nobody() {
    struct Comes;
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    static IS_COMING: AtomicBool = AtomicBool::new(false);
    static TABLE: OnceLock<Typed<Comes>> = OnceLock::new();
    static HANDLES: Mutex<Vec<Handle<Comes>>> = Mutex::new(Vec::new());
    impl Drop for Comes {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::Relaxed);
            if IS_COMING.swap(false, Ordering::Relaxed) {
                let table = TABLE.get().unwrap();
                let refill = || while table.insert(Comes).is_ok() {};
                quickly("an insert", refill);
            }
        }
    }
    let heap = Heap::builder().capacity(16 << 10).patience(PATIENCE).build().unwrap();
    let table = TABLE.get_or_init(|| Typed::new(&heap));
    while let Ok(handle) = table.insert(Comes) {
        HANDLES.lock().unwrap().push(handle);
    }
    around_a_life(
        0,
        || drop(lasting().heap.enter()),
        |()| {
            let table = &TABLE.get().unwrap().table;
            let gone: Vec<_> = HANDLES.lock().unwrap().drain(..50).collect();
            gone.iter().for_each(|handle| assert!(table.retire(*handle)));
            IS_COMING.store(true, Ordering::Relaxed);
            assert!(table.reclaim() >= 50);
        },
    );
    assert!(DROPS.load(Ordering::Relaxed) >= 50 && !IS_COMING.load(Ordering::Relaxed));
}
