//! Read-side sections: [`Guard`], the records behind it, and the set of records of a heap.
//!
//! # The protocol
//! Each thread owns one padded [`Record`] per heap (`record.rs`), a word that says how many guards it has open and
//! which section it is in:
//!
//! * *enter*: store one guard more (Release), then, where it is the first, the **light barrier**; a guard inside a section
//!   needs none, as the section is announced and what is read in it comes after its barrier;
//! * *leave*: store one guard less (Release); the section after the last one is another;
//! * *a grace period* (`grace.rs`): the **heavy barrier**, then one Acquire load of every record; it is over
//!   when each record that showed a section shows another one, or none.
//!
//! Light and heavy pair up in one of two ways. *Fenced*: both are `fence(SeqCst)`. *Light*: the light one is a
//! compiler fence, the heavy one `membarrier`, which runs a full barrier on every running thread, so it acts
//! as if each light barrier had been a full one. In a plain heap all records are fenced, for ever. In an asymmetric
//! one a record is light while its thread reads often, and fenced while it does not (`Mode`): where all
//! others are fenced, a heavy barrier is a fence and disturbs nobody.
//!
//! **Theorem.** Let W be a write before a heavy barrier H and R a read after a light barrier L in a
//! section. If L comes before H, the grace period that H starts sees the section, and waits for it. If
//! H comes before L, R sees W. A mover that marks before H, and a remover that unlinks before H, hence know
//! of every reader that did not see their write.
//!
//! Where H was a system call that is what it is for. Where it was the fence alone, no other record that H's
//! thread found was light when it looked, after that fence:
//!
//! * *The section is fenced.* Two fences: they have an order, and the later one's thread sees what came before the
//!   earlier. A record that was not found yet was pushed before its first section, which is fenced, and so are
//!   the sections in which it is new.
//! * *The section is light, and the record was found fenced before that,* or not found. The record became light by a
//!   store with a fence behind it. Had that fence come before H, H's thread would have seen the record light, or
//!   fenced again. So H came before that fence, which comes before R.
//! * *The section is light, and the record was found fenced after that.* Whoever made it fenced stored
//!   *settling*, passed a system call H', and stored *fenced* (Release), which H's thread read (Acquire). Had H' come
//!   before L, the section would have found the record settling, and not be light. So L came before H', and
//!   whoever reads what was stored after H' sees the section.

use crate::raw::os::membarrier;
use crate::record::Record;
use crate::sync::atomic::{AtomicBool, Ordering, fence};
use crate::sync::{Arc, Mutex, local};
use crate::threads::{self, AllMine, ID_STEP, Latest, Mine, Node, PerThread, Roster, Tenure};
use core::marker::PhantomData;

/// All records of one heap.
#[derive(Debug)]
pub(crate) struct Readers {
    id: u64,
    asymmetric: bool,
    records: Roster<Record>,
    /// Held by who makes light records fenced.
    settling: Mutex<()>,
    /// The heap is gone; threads may forget their records.
    closed: AtomicBool,
}

// SAFETY: the records are shared by design: all in them is atomics but `plain`, which never changes after publication,
// and `fenced_left`, which is touched by the owning thread only (the title of the node is the lock).
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
        Record::new(!self.asymmetric)
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

    fn is_free(record: &Record) -> bool {
        record.section().is_none()
    }

    fn mine(all: &AllMine) -> &Mine<Self> {
        &all.records
    }

    fn with_latest<R>(f: impl FnOnce(&Latest<Record>) -> R) -> Option<R> {
        LATEST.try_with(f).ok()
    }
}

impl Readers {
    /// A set without records. `asymmetric` needs a process registered with `membarrier`.
    pub(crate) fn new(asymmetric: bool) -> Self {
        // One counter for all heaps of the process, on `std` even in a model: it orders nothing.
        static NEXT_ID: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(ID_STEP);
        // Relaxed: only uniqueness matters.
        let id = NEXT_ID.fetch_add(ID_STEP, std::sync::atomic::Ordering::Relaxed);
        Self {
            id,
            asymmetric,
            records: Roster::new(),
            settling: Mutex::new(()),
            closed: AtomicBool::new(false),
        }
    }

    /// The heap is gone, so nobody enters a section of it again.
    pub(crate) fn close(&self) {
        // Relaxed: see `is_closed`.
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Whether entering a section is free of a hardware fence where it is done often.
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

    /// The heavy barrier, as cheap as it can be: afterwards the theorem holds for what this thread wrote before.
    /// Gives whether it was a fence and disturbed nobody. O(records).
    pub(crate) fn order_readers(&self) -> bool {
        // SeqCst: the heavy half of the fenced records. Partners: the fences of `Record::enter` and `count_fenced`. And an
        // acquire of what a mover marked (`slot::lock`).
        fence(Ordering::SeqCst);
        let is_fence = !self.asymmetric || self.are_others_fenced();
        if !is_fence {
            // Who does not get the lock passes a barrier of its own, and relies on nobody.
            let settling = self.settling.try_lock();
            if settling.is_some() {
                self.iter().for_each(Record::begin_to_settle);
            }
            membarrier::barrier();
            if settling.is_some() {
                self.iter().for_each(Record::settle);
            }
        }
        is_fence
    }

    /// Whether all records but this thread's are fenced. What this thread wrote, it sees.
    fn are_others_fenced(&self) -> bool {
        let own = LATEST.with(|latest| latest.get(self.id)).unwrap_or(core::ptr::null());
        self.records.iter().all(|node| core::ptr::eq(node, own) || node.value.is_fenced())
    }

    /// The record of this thread, if it has one and the thread is inside a section.
    pub(crate) fn own_open(&self) -> Option<*const Record> {
        let mine = threads::own(self)?;
        // SAFETY: `self` keeps its records alive, and this one is ours.
        let record = unsafe { &(*mine).value };
        (record.nesting() > 0).then_some(record)
    }

    /// Enters by the slow way to this thread's record.
    #[cold]
    fn enter_slowly(self: &Arc<Self>) -> *const Node<Record> {
        let (node, tenure) = threads::find(self);
        // SAFETY: alive by `self`, and ours since it was found.
        let record = unsafe { &*node };
        record.value.enter();
        if tenure == Tenure::Once {
            // Others may have it as soon as the section is over.
            record.lend();
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
/// Cheap (two plain stores where the heap's fence is asymmetric and the thread reads often), may be nested, and meant
/// to be short: an open guard delays moves and reclamation, never a reader, an insert that has room, or a remove. It
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
        let node = match LATEST.with(|latest| latest.get(id)) {
            Some(node) => {
                // SAFETY: the record is alive, as its readers are, for `'h`; and ours, so no other thread touches
                // its cells.
                unsafe { &(*node).value }.enter();
                node
            }
            None => readers().enter_slowly(),
        };
        Self { node, heap: PhantomData }
    }
}

impl Drop for Guard<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the heap, borrowed for the life of the guard, keeps the record alive; a guard is not
        // `Send`, so we are on the thread that owns the record.
        unsafe { &(*self.node).value }.leave();
    }
}
