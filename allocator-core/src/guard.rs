//! Read-side sections: [`Guard`], the records behind it, and the set of records of a heap.
//!
//! # The protocol
//! Each thread owns one padded [`Record`] per heap, a word with its open guards and the number of its section:
//!
//! * *enter*: store one guard more (Release), then the **light barrier**;
//! * *leave*: store one guard less, and after the last one the next number (Release);
//! * *a grace period* (`grace.rs`): the **heavy barrier**, then one Acquire load of every record; it is over
//!   when each record that showed a section shows another one, or none.
//!
//! Light and heavy pair up in one of two ways, chosen when the heap is built. *Plain*: both are
//! `fence(SeqCst)`. *Asymmetric*: the light one is a compiler fence, the heavy one `membarrier`, which runs
//! a full barrier on every running thread, so it acts as if each light barrier had been a full one.
//!
//! **Theorem.** Let W be a write before a heavy barrier H and R a read after a light barrier L in a
//! section. If L comes before H, the grace period that H starts sees the section, and waits for it. If
//! H comes before L, R sees W. A mover that marks before H, and a remover that unlinks before H, hence know
//! of every reader that did not see their write.
//!
//! Where no other thread has a record there is no H to pay for: whoever takes a record later does it by a
//! read-modify-write behind one of ours, and so sees W ([`Roster::is_alone`]).

use crate::raw::os::membarrier;
use crate::sync::atomic::{AtomicBool, Ordering, OwnedU64, fence, light_barrier, load_own};
use crate::sync::{Arc, local};
use crate::threads::{self, AllMine, Latest, Mine, Node, PerThread, Roster, Tenure};
use core::cell::Cell;
use core::marker::PhantomData;

/// What one thread tells the reclaiming side of one heap.
#[derive(Debug)]
pub(crate) struct Record {
    /// `section:32 | nesting:32`: the number of the thread's present or next section, and how many guards it has
    /// open. Only the owning thread stores.
    state: OwnedU64,
    /// The record serves one guard of a thread whose thread-locals are gone; only the owner touches it.
    temporary: Cell<bool>,
    /// Whether entering issues a full fence.
    plain: bool,
}

/// One section more in [`Record::state`].
const SECTION: u64 = 1 << 32;

/// All records of one heap.
#[derive(Debug)]
pub(crate) struct Readers {
    id: u64,
    asymmetric: bool,
    records: Roster<Record>,
    /// The heap is gone; threads may forget their records.
    closed: AtomicBool,
}

// SAFETY: the records are shared by design: `state` is an atomic, `plain` never changes after publication, `temporary`
// is touched by the owning thread only (the node's `owned` is the lock).
unsafe impl Send for Readers {}
// SAFETY: as above.
unsafe impl Sync for Readers {}

local! {
    /// The fast way to the thread's record of a heap. No destructor: usable until the thread is gone.
    static LATEST: Latest<Record> = Latest::new()
}

impl PerThread for Readers {
    type Value = Record;

    fn id(&self) -> u64 {
        self.id
    }

    fn roster(&self) -> &Roster<Record> {
        &self.records
    }

    fn make(&self) -> Record {
        Record { state: OwnedU64::new(0), temporary: Cell::new(false), plain: !self.asymmetric }
    }

    fn is_closed(&self) -> bool {
        // Relaxed: a hint. What is kept once too often goes the next time.
        self.closed.load(Ordering::Relaxed)
    }

    /// Not where a guard was forgotten or lives in another thread-local: the record stays the thread's and is
    /// never reused, so that section at worst delays reclamation for ever.
    fn can_leave(record: &Record) -> bool {
        record.nesting() == 0
    }

    fn mine(all: &AllMine) -> &Mine<Self> {
        &all.records
    }

    fn with_latest<R>(f: impl FnOnce(&Latest<Record>) -> R) -> Option<R> {
        LATEST.try_with(f).ok()
    }
}

impl Record {
    #[inline(always)]
    fn enter(&self) {
        let state = load_own(&self.state) + 1;
        // Release, not Relaxed: the reclaiming side may miss our last `leave` and see only this store; it must
        // still see the reads of the section before. Partner: the Acquire in `section`.
        self.state.store(state, Ordering::Release);
        // The light barrier: what is read in the section comes after the announcement. Partner: the heavy
        // barrier in `Readers::heavy_barrier`. Without it a mover could miss a reader that missed its mark.
        if self.plain {
            fence(Ordering::SeqCst);
        } else {
            light_barrier();
        }
        if (state as i32) < 0 {
            too_many_guards();
        }
    }

    /// Ends a section; true where the record is to be left to others now.
    #[inline(always)]
    fn leave(&self) -> bool {
        let state = load_own(&self.state) - 1;
        let is_last = state as u32 == 0;
        // The number may start anew: whoever waits for an old section of the same number asks once more.
        let next = if is_last { state.wrapping_add(SECTION) } else { state };
        // Release: the reads of the section come before. Partner: the Acquire in `section`. Weaker, a mover could
        // copy while the last read of the section is still under way.
        self.state.store(next, Ordering::Release);
        is_last && self.temporary.get()
    }

    /// Open guards of the thread, which is the caller's.
    fn nesting(&self) -> u32 {
        load_own(&self.state) as u32
    }

    /// The number of the section that the thread is inside, if it is. Whoever is told of another one than before,
    /// or of none, sees that what was read in the one before is done.
    pub(crate) fn section(&self) -> Option<u32> {
        // Acquire: pairs with the Release of enter and leave.
        let state = self.state.load(Ordering::Acquire);
        (state as u32 != 0).then_some((state / SECTION) as u32)
    }
}

/// Guards were forgotten by the billion; one more, and the count would say that none is open.
#[cold]
fn too_many_guards() -> ! {
    std::process::abort()
}

impl Readers {
    /// A set without records. `asymmetric` needs a process registered with `membarrier`.
    pub(crate) fn new(asymmetric: bool) -> Self {
        // One counter for all heaps of the process, on `std` even in a model: it orders nothing.
        static NEXT_ID: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        // Relaxed: only uniqueness matters.
        let id = NEXT_ID.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Self { id, asymmetric, records: Roster::new(), closed: AtomicBool::new(false) }
    }

    /// The heap is gone, so nobody enters a section of it again.
    pub(crate) fn close(&self) {
        // Relaxed: see `is_closed`.
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Whether entering a section is free of a hardware fence.
    pub(crate) fn is_asymmetric(&self) -> bool {
        self.asymmetric
    }

    /// The heavy barrier; see the module's theorem. In a plain heap a fence, else a system call.
    pub(crate) fn heavy_barrier(&self) {
        // SeqCst: the heavy half in a plain heap; in an asymmetric one it orders this thread itself.
        fence(Ordering::SeqCst);
        if self.asymmetric {
            membarrier::barrier();
        }
    }

    /// Never reused among the heaps of the process.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The heavy barrier where another thread may be inside a section, or may have been when it last looked:
    /// afterwards the theorem holds for what this thread wrote before. Gives whether there was no other.
    pub(crate) fn order_readers(&self) -> bool {
        // The barrier of a plain heap costs less than the question.
        let alone = self.asymmetric && self.is_alone();
        if !alone {
            self.heavy_barrier();
        }
        alone
    }

    /// Whether no other thread has a record; see [`Roster::is_alone`].
    pub(crate) fn is_alone(&self) -> bool {
        let own = LATEST.with(|latest| latest.get(self.id)).unwrap_or(core::ptr::null());
        self.records.is_alone(own)
    }

    /// The record of this thread, if it has one and the thread is inside a section.
    pub(crate) fn own_open(&self) -> Option<*const Record> {
        let mine = threads::own(self)?;
        // SAFETY: `self` keeps its records alive, and this one is ours.
        let record = unsafe { &(*mine).value };
        (record.nesting() > 0).then_some(record)
    }

    /// The slow way to this thread's record.
    #[cold]
    fn find(self: &Arc<Self>) -> *const Node<Record> {
        let (node, tenure) = threads::find(self);
        if tenure == Tenure::Once {
            // SAFETY: alive by `self`, and ours since it was found.
            unsafe { &(*node).value }.temporary.set(true);
        }
        node
    }

    /// All records, newest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().map(|node| &node.value)
    }
}

/// Proof that this thread is inside a read-side section of a heap.
///
/// Cheap (two plain stores where the heap's fence is asymmetric), may be nested, and meant to be short: an
/// open guard delays moves and reclamation, never a reader, an insert that has room, or a remove. It
/// cannot leave its thread. A forgotten guard delays reclamation for ever and hangs nobody.
///
/// ```
/// # use allocator_core::Heap;
/// let heap = Heap::builder().capacity(64 << 10).build()?;
/// let guard = heap.enter(); // a defragmentation now waits for us, or moves nothing
/// drop(guard);
/// # Ok::<(), allocator_core::BuildError>(())
/// ```
///
/// ```compile_fail,E0277
/// # use allocator_core::Heap;
/// let heap = Heap::builder().capacity(64 << 10).build().unwrap();
/// let guard = heap.enter();
/// std::thread::scope(|s| { s.spawn(move || drop(guard)); }); // a guard stays on its thread
/// ```
#[derive(Debug)]
pub struct Guard<'h> {
    node: *const Node<Record>,
    heap: PhantomData<&'h ()>,
}

impl<'h> Guard<'h> {
    /// Enters.
    #[inline(always)]
    pub(crate) fn enter(readers: &'h Arc<Readers>) -> Self {
        Self::enter_as(readers.id, || readers)
    }

    /// Enters a section of the heap whose readers have this `id`; they are asked for only where the thread
    /// does not have their record at hand.
    #[inline(always)]
    pub(crate) fn enter_as(id: u64, readers: impl FnOnce() -> &'h Arc<Readers>) -> Self {
        let cached = LATEST.with(|latest| latest.get(id));
        let node = cached.unwrap_or_else(|| readers().find());
        // SAFETY: the record is alive, as its readers are, for `'h`; and ours, so no other thread touches its
        // cells.
        unsafe { &(*node).value }.enter();
        Self { node, heap: PhantomData }
    }
}

impl Drop for Guard<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the heap, borrowed for the life of the guard, keeps the record alive; a guard is not
        // `Send`, so we are on the thread that owns the record.
        let node = unsafe { &*self.node };
        if node.value.leave() {
            node.value.temporary.set(false);
            node.disown();
        }
    }
}
