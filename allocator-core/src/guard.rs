//! Read-side sections: [`Guard`], the records behind it, and the set of records of a heap.
//!
//! # The protocol
//! Each thread owns one padded [`Record`] per heap. `active` is odd while the thread is inside a section:
//!
//! * *enter*: store odd (Release), then the **light barrier**;
//! * *leave*: store the next even number (Release);
//! * *a grace period* (`grace.rs`): the **heavy barrier**, then one Acquire load of every record; it is over
//!   when each record that was odd shows another number.
//!
//! Light and heavy pair up in one of two ways, chosen when the heap is built. *Plain*: both are
//! `fence(SeqCst)`. *Asymmetric*: the light one is a compiler fence, the heavy one `membarrier`, which runs
//! a full barrier on every running thread, so it acts as if each light barrier had been a full one.
//!
//! **Theorem.** Let W be a write before a heavy barrier H and R a read after a light barrier L in a
//! section. If L comes before H, the grace period that H starts sees the section, and waits for it. If
//! H comes before L, R sees W. A mover that marks before H, and a remover that unlinks before H, hence know
//! of every reader that did not see their write.

use crate::raw::os::membarrier;
use crate::sync::atomic::{
    AtomicBool, AtomicPtr, Ordering, OwnedU64, fence, light_barrier, load_own,
};
use crate::sync::{Arc, local};
use core::cell::{Cell, RefCell};
use core::marker::PhantomData;
use core::ptr;

/// What one thread tells the reclaiming side of one heap. Padded to two cache lines, so that a thread's
/// stores never take a line that another thread stores to.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Record {
    /// Odd while its thread is inside a section; grows by one at each enter and leave.
    pub(crate) active: OwnedU64,
    /// Open guards of the thread. Only the owning thread touches it.
    // 64 bits: however many guards are forgotten, it does not wrap.
    nesting: Cell<u64>,
    /// The record serves one guard of a thread whose thread-locals are gone; only the owner touches it.
    temporary: Cell<bool>,
    /// Whether entering issues a full fence.
    plain: bool,
    /// Taken by a thread. A thread that ends leaves its record to the next newcomer.
    owned: AtomicBool,
    /// The record that was pushed before this one; never changes once published.
    next: *const Record,
}

/// All records of one heap: a list that only grows, so a look at it needs no lock.
#[derive(Debug)]
pub(crate) struct Readers {
    /// Never reused, so a thread's cache of a dead heap's records is never mistaken for ours.
    id: u64,
    asymmetric: bool,
    head: AtomicPtr<Record>,
    /// The heap is gone; threads may forget their records.
    closed: AtomicBool,
}

// SAFETY: the records are shared by design: `active`, `owned` are atomics, `next` and `plain` never change after
// publication, `nesting` and `temporary` are touched by the owning thread only (`owned` is the lock).
unsafe impl Send for Readers {}
// SAFETY: as above.
unsafe impl Sync for Readers {}

/// The thread's latest records, by the low bits of the heap's id.
const CACHED: usize = 4;

type Latest = [Cell<(u64, *const Record)>; CACHED];

local! {
    /// The fast way to the thread's record of a heap. No destructor: usable until the thread is gone.
    static LATEST: Latest = [const { Cell::new((0, ptr::null())) }; CACHED]
}

#[cfg(not(loom))]
std::thread_local! {
    /// All records of the thread; gives them back when the thread ends.
    static MINE: Mine = const { Mine(RefCell::new(Vec::new())) };
}
#[cfg(loom)]
loom::thread_local! {
    static MINE: Mine = Mine(RefCell::new(Vec::new()));
}

/// The records that a thread owns, one per heap that it has read.
struct Mine(RefCell<Vec<(Arc<Readers>, *const Record)>>);

impl Drop for Mine {
    fn drop(&mut self) {
        for (_readers, record) in self.0.get_mut().drain(..) {
            // In a model the cache may be gone already; it is never asked again then.
            let _ = LATEST.try_with(|latest| {
                for entry in latest.iter().filter(|entry| entry.get().1 == record) {
                    entry.set((0, ptr::null()));
                }
            });
            // SAFETY: `_readers` keeps the record alive, and this thread owns it.
            let record = unsafe { &*record };
            if record.nesting.get() == 0 {
                record.disown();
            }
            // Otherwise a guard was forgotten or lives in another thread-local: the record stays ours
            // and is never reused, so that section at worst delays reclamation for ever.
        }
    }
}

impl Record {
    fn disown(&self) {
        // Release: the next owner must see our last `active` and `nesting`. Partner: the Acquire in `claim`.
        self.owned.store(false, Ordering::Release);
    }

    /// Takes the record over; false when somebody owns it.
    fn claim(&self) -> bool {
        // Acquire: pairs with the Release in `disown`; weaker, we could continue from an old `active`.
        // Relaxed on failure: nothing is read then.
        self.owned.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    #[inline(always)]
    fn enter(&self) {
        let nesting = self.nesting.get();
        self.nesting.set(nesting + 1);
        if nesting == 0 {
            let next = load_own(&self.active) + 1;
            // Release, not Relaxed: the reclaiming side may miss our last `leave` and see only this store;
            // it must still see the reads of the section before. Partner: the Acquire in `Grace`.
            self.active.store(next, Ordering::Release);
            // The light barrier: what is read in the section comes after the announcement. Partner: the
            // heavy barrier in `Readers::heavy_barrier`. Without it a mover could miss a reader that
            // missed its mark.
            if self.plain {
                fence(Ordering::SeqCst);
            } else {
                light_barrier();
            }
        }
    }

    #[inline(always)]
    fn leave(&self) {
        let nesting = self.nesting.get() - 1;
        self.nesting.set(nesting);
        if nesting == 0 {
            let next = load_own(&self.active) + 1;
            // Release: the reads of the section come before. Partner: the Acquire in `Grace`. Weaker, a mover
            // could copy while the last read of the section is still under way.
            self.active.store(next, Ordering::Release);
            if self.temporary.get() {
                self.temporary.set(false);
                self.disown();
            }
        }
    }
}

impl Readers {
    /// A set without records. `asymmetric` needs a process registered with `membarrier`.
    pub(crate) fn new(asymmetric: bool) -> Self {
        // One counter for all heaps of the process, on `std` even in a model: it orders nothing.
        static NEXT_ID: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        // Relaxed: only uniqueness matters.
        let id = NEXT_ID.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Self {
            id,
            asymmetric,
            head: AtomicPtr::new(ptr::null_mut()),
            closed: AtomicBool::new(false),
        }
    }

    /// The heap is gone, so nobody enters a section of it again.
    pub(crate) fn close(&self) {
        // Relaxed: see `find`.
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

    /// The record of this thread, if it has one and the thread is inside a section.
    pub(crate) fn own_open(self: &Arc<Self>) -> Option<*const Record> {
        let mine = MINE.try_with(|mine| self.mine(&mine.0.borrow())).ok().flatten()?;
        // SAFETY: `self` keeps its records alive, and this one is ours.
        (unsafe { &*mine }.nesting.get() > 0).then_some(mine)
    }

    fn mine(&self, records: &[(Arc<Readers>, *const Record)]) -> Option<*const Record> {
        records.iter().find(|(readers, _)| readers.id == self.id).map(|(_, record)| *record)
    }

    /// The slow way to this thread's record: its list, then a record that nobody owns, then a new one.
    #[cold]
    fn find(self: &Arc<Self>) -> *const Record {
        let found = MINE.try_with(|mine| {
            let mut mine = mine.0.borrow_mut();
            let record = self.mine(&mine).unwrap_or_else(|| {
                // Relaxed: a hint. What is kept once too often goes the next time.
                mine.retain(|(readers, _)| !readers.closed.load(Ordering::Relaxed));
                let record = self.acquire();
                mine.push((Arc::clone(self), record));
                record
            });
            LATEST.with(|latest| latest[self.id as usize % CACHED].set((self.id, record)));
            record
        });
        // The thread is being torn down and its list is gone: a record for one guard.
        found.unwrap_or_else(|_| {
            let record = self.acquire();
            // SAFETY: alive by `self`, and ours since `acquire`.
            unsafe { &*record }.temporary.set(true);
            record
        })
    }

    /// Takes a record that nobody owns, or adds one. O(records).
    fn acquire(&self) -> *const Record {
        if let Some(free) = self.iter().find(|record| record.claim()) {
            return free;
        }
        let record = Box::into_raw(Box::new(Record {
            active: OwnedU64::new(0),
            nesting: Cell::new(0),
            temporary: Cell::new(false),
            plain: !self.asymmetric,
            owned: AtomicBool::new(true),
            next: ptr::null(),
        }));
        // Relaxed: a hint for the compare-and-swap.
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: not published yet, so nobody else sees the record.
            unsafe { (*record).next = head };
            // Release: publishes the record's fields. Partner: the Acquire in `iter`. AcqRel keeps the
            // older records visible through ours. Relaxed on failure: retried with a new hint.
            match self.head.compare_exchange(head, record, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return record,
                Err(now) => head = now,
            }
        }
    }

    /// All records, newest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Record> {
        // Acquire: pairs with the Release in `acquire`. A record that is pushed later belongs to a reader
        // whose light barrier comes after our heavy one, which therefore sees our writes.
        let mut at: *const Record = self.head.load(Ordering::Acquire);
        core::iter::from_fn(move || {
            // SAFETY: records are freed only when the set is dropped.
            let record = unsafe { at.as_ref() }?;
            at = record.next;
            Some(record)
        })
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        // Relaxed: `&mut self` says that nobody else is here.
        let mut at = self.head.load(Ordering::Relaxed);
        while !at.is_null() {
            // SAFETY: made by `Box::into_raw` in `acquire`, and nobody holds the set any more.
            let record = unsafe { Box::from_raw(at) };
            at = record.next.cast_mut();
        }
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
    record: *const Record,
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
        let (cached, record) = LATEST.with(|latest| latest[id as usize % CACHED].get());
        let record = if cached == id { record } else { readers().find() };
        // SAFETY: the record is alive, as its readers are, for `'h`; and ours, so no other thread touches its
        // cells.
        unsafe { &*record }.enter();
        Self { record, heap: PhantomData }
    }
}

impl Drop for Guard<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the heap, borrowed for the life of the guard, keeps the record alive; a guard is not
        // `Send`, so we are on the thread that owns the record.
        unsafe { &*self.record }.leave();
    }
}
