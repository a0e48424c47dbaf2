//! The background defragmenter: a thread that moves blocks in short slices while too much of the committed
//! memory is waste.
//!
//! * this file: [`Defragmenter`], the thread and its end;
//! * `settings.rs`: [`DefragmenterBuilder`];
//! * `pace.rs`: when a pass is due, and how long to pause after it.
//!
//! The thread has a weak claim on the heap. It makes it a strong one for the time of one slice, so a heap that its
//! user has dropped is gone one slice later at the latest, and the thread when its pause after that is over. Objects
//! with `Drop` keep their pool, which keeps the heap, so nothing of the user's is ever dropped on this thread.

mod pace;
mod settings;

pub use settings::DefragmenterBuilder;

use crate::compact::{Budget, DefragReport, run};
use crate::heap::{Heap, Inner};
use crate::stats::usage;
use crate::sync::{Arc, Condvar, Mutex, Weak};
use core::fmt;
use pace::{Pace, Verdict};
use settings::Settings;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The name of the thread; Linux shows 15 characters of it.
const THREAD_NAME: &str = "defragmenter";

/// A thread that defragments a heap while too much of its committed memory is waste; made by
/// [`Heap::defragmenter`]. Dropping it ends the thread, and waits for it: for the slice that is under way, not for a
/// pause. So bind it to a name: `let _ = ...` drops it at once. One that is forgotten (`mem::forget`) works on until the
/// heap is gone.
///
/// It keeps no heap alive: when the last clone, pool and pin of the heap is gone, so is its memory, after the slice that is
/// under way at that moment, and the thread ends by itself.
///
/// A guard that somebody keeps open lets it rest ever longer. It drops no objects: what a pool with `Drop` has removed is waste
/// that it cannot mend, and [rests](DefragmenterState::Resting) beside, until a call on that pool reclaims it. Over a [buffer](crate::HeapBuilder::buffer) of the caller's no page can be
/// given back, so moving would not lower the waste: there it only looks, and stays [idle](DefragmenterState::Idle).
///
/// ```
/// use allocator_core::Heap;
/// use std::time::Duration;
///
/// let heap = Heap::builder().capacity(16 << 20).build()?;
/// let background = heap.defragmenter().interval(Duration::from_millis(1)).start()?;
/// let handles: Vec<_> = (0..4000).map(|_| heap.allocate_bytes(&[7; 2000])).collect::<Result<_, _>>()?;
/// for handle in &handles[1..] {
///     heap.deallocate(*handle)?;
/// }
/// heap.flush();
/// while background.stats().freed_bytes < 6 << 20 {
///     std::thread::sleep(Duration::from_millis(1)); // they are on their way back to the system
/// }
/// let stats = background.stop();
/// assert!(stats.passes > 0 && stats.busy < stats.elapsed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a defragmenter ends it"]
pub struct Defragmenter {
    shared: Arc<Shared>,
    /// `None` once it was joined.
    thread: Option<JoinHandle<()>>,
}

/// What the thread and its owner share.
#[derive(Debug)]
struct Shared {
    control: Mutex<Control>,
    /// Told when `stop` becomes true.
    woken: Condvar,
}

#[derive(Debug, Default)]
struct Control {
    stop: bool,
    stats: DefragmenterStats,
}

/// What a background defragmenter is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum DefragmenterState {
    /// Little enough is wasted, or none of it can be given back; it looks again every interval.
    #[default]
    Idle,
    /// It moves blocks, slice by slice.
    Active,
    /// Much is wasted, but the last passes could not mend it: guards and pins are in the way, removed objects wait for a call
    /// on their own pool, or nothing is left to move.
    /// It tries again later, each time twice as late, or as soon as clearly more is wasted.
    Resting,
    /// It was told to stop.
    Stopped,
    /// The heap is gone.
    HeapGone,
    /// A pass panicked, which is a defect of this crate; the thread has ended.
    Failed,
}

/// What a background defragmenter did since it was started, as of its last look at the heap: at most a slice and a pause
/// ago. Sizes are in bytes.
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct DefragmenterStats {
    /// What it is doing, as it was after the last look.
    pub state: DefragmenterState,
    /// Slices that were run.
    pub passes: u64,
    /// Slices that gained nothing, and after which more would not: no block was moved and no page given back, as nothing is
    /// left or guards are open; or as much was moved as is committed without any gain.
    pub futile_passes: u64,
    /// Blocks that were moved.
    pub moves: u64,
    /// Moves that led to something; see [`DefragReport::useful_moves`].
    pub useful_moves: u64,
    /// Bytes of all that were moved.
    pub moved_bytes: u64,
    /// Bytes of pages that were given back to the system, those of slots included.
    pub freed_bytes: u64,
    /// Time spent in slices, waiting for guards included.
    pub busy: Duration,
    /// The longest slice.
    pub longest_pass: Duration,
    /// Time from the start to the last look, or to the end.
    pub elapsed: Duration,
    /// [`Heap::waste`] when it looked last.
    pub waste: f64,
    /// The report of the last slice.
    pub last: Option<DefragReport>,
}

impl DefragmenterStats {
    fn note_pass(&mut self, report: DefragReport, busy: Duration, futile: bool) {
        self.passes += 1;
        self.futile_passes += u64::from(futile);
        self.moves += report.moves;
        self.useful_moves += report.useful_moves;
        self.moved_bytes += report.moved_bytes;
        self.freed_bytes += report.freed_bytes + report.freed_slot_bytes;
        self.busy += busy;
        self.longest_pass = self.longest_pass.max(busy);
        self.last = Some(report);
    }
}

impl Heap {
    /// Starts the settings of a background defragmenter; see [`Defragmenter`]. Nothing runs in the background of a heap
    /// unless it is asked for. Several of one heap are safe, and of no use: one pass runs at a time.
    ///
    /// ```
    /// # use allocator_core::{DefragmenterState, Heap};
    /// let heap = Heap::builder().capacity(1 << 20).build()?;
    /// let background = heap.defragmenter().start()?;
    /// // ... the life of the program ...
    /// let stats = background.stop();
    /// assert_eq!((stats.state, stats.moves), (DefragmenterState::Stopped, 0)); // there was nothing to do
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn defragmenter(&self) -> DefragmenterBuilder {
        DefragmenterBuilder::new(self.clone())
    }
}

impl Defragmenter {
    fn start(heap: Heap, settings: Settings) -> io::Result<Self> {
        let shared =
            Arc::new(Shared { control: Mutex::new(Control::default()), woken: Condvar::new() });
        let worker =
            Worker { heap: heap.downgrade(), shared: Arc::clone(&shared), start: Instant::now() };
        let thread = thread::Builder::new()
            .name(THREAD_NAME.to_owned())
            .spawn(move || worker.run(settings))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Ends the thread and gives what it did. Waits for the slice that is under way, not for a pause.
    pub fn stop(mut self) -> DefragmenterStats {
        self.end();
        self.stats()
    }

    /// What it did up to now. One lock, held for some instructions.
    pub fn stats(&self) -> DefragmenterStats {
        self.shared.control.lock().stats.clone()
    }

    fn end(&mut self) {
        self.shared.control.lock().stop = true;
        self.shared.woken.notify_all();
        let Some(thread) = self.thread.take() else { return };
        // Whatever comes to drop it there: a thread cannot wait for itself.
        if thread.thread().id() != thread::current().id() {
            // What a pass panics with is caught on the thread, and is in the statistics.
            let _ = thread.join();
        }
    }
}

impl Drop for Defragmenter {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Defragmenter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Defragmenter").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// The thread's half.
struct Worker {
    heap: Weak<Inner>,
    shared: Arc<Shared>,
    start: Instant,
}

impl Worker {
    fn run(self, settings: Settings) {
        // Nothing of a pass is used after a panic but the statistics, which are whole under their lock.
        let end = catch_unwind(AssertUnwindSafe(|| self.work(Pace::new(settings))));
        let mut control = self.shared.control.lock();
        control.stats.state = end.unwrap_or(DefragmenterState::Failed);
        control.stats.elapsed = self.start.elapsed();
    }

    /// Works until it is told to stop, or the heap is gone.
    fn work(&self, mut pace: Pace) -> DefragmenterState {
        loop {
            let Some(heap) = self.heap.upgrade() else { return DefragmenterState::HeapGone };
            let pause = self.turn(&heap, &mut pace);
            // Before the pause: the heap may be waiting to be gone.
            drop(heap);
            let wake = Instant::now() + pause;
            let mut control = self.shared.control.lock();
            while !control.stop {
                if self.shared.woken.wait_until(&mut control, wake).timed_out() {
                    break;
                }
            }
            if control.stop {
                return DefragmenterState::Stopped;
            }
        }
    }

    /// Looks at the heap, and runs a slice where one is due; how long to pause then.
    fn turn(&self, heap: &Inner, pace: &mut Pace) -> Duration {
        let start = Instant::now();
        let before = usage(heap);
        let mut pause = pace.interval();
        if !heap.store.memory().can_release() {
            // Whatever it moves, no less is committed.
            let stats = &mut self.shared.control.lock().stats;
            (stats.waste, stats.elapsed) = (before.waste(), self.start.elapsed());
            return pause;
        }
        if pace.is_due(before, start) {
            let report = run(heap, Budget::unlimited().time(pace.slice()));
            let busy = start.elapsed();
            let after = usage(heap);
            let Verdict { futile, pause: next } = pace.after(after, &report, busy, Instant::now());
            pause = next;
            self.shared.control.lock().stats.note_pass(report, busy, futile);
        }
        let stats = &mut self.shared.control.lock().stats;
        stats.state = pace.state();
        stats.waste = pace.waste();
        stats.elapsed = self.start.elapsed();
        pause
    }
}
