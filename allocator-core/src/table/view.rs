//! [`Table`]: what a typed pool builds on. It knows layouts and places, not types.

use super::{DropFn, Effort, Replacement, Slots};
use crate::block::{self, Access, HoldOutcome};
use crate::cache::Pair;
use crate::error::{AccessError, AllocError, AllocErrorKind};
use crate::guard::Guard;
use crate::handle::Handle;
use crate::heap::{Heap, Inner, next_salt};
use crate::raw::GRANULE;
use crate::slot::{self, Snapshot};
use crate::stripe::Request;
use crate::sync::Arc;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::threads::PerThread;
use core::alloc::Layout;
use core::fmt;
use core::ptr::NonNull;

/// What the objects of a table are.
#[derive(Clone, Copy, Debug)]
pub struct TableSpec {
    /// Size and alignment of each object; any size, alignments up to 4096.
    pub layout: Layout,
    /// Drops an object in place; `None` for objects without `Drop`. Who runs it, and when: see [`Table::new`].
    pub drop: Option<unsafe fn(*mut u8)>,
}

/// The objects of one typed pool: slots that name blocks of a shared heap.
///
/// This is the layer below `typed_pool::Pool`, for those who build a container of their own: it places,
/// finds, moves and reclaims objects of one layout and leaves their type, and every rule about borrowing
/// them, to its user.
///
/// Dropping the table drops its objects, but for those that are held. Where the `Drop` of one panics, so does that of the table,
/// after the others were dropped; where a second one panics meanwhile, the process aborts, as with a `Vec`.
pub struct Table {
    pub(super) heap: Heap,
    pub(super) slots: Arc<Slots>,
    pub(super) view: View,
    /// Of the heap's readers.
    readers: u64,
    /// Of the table's caches.
    pub(super) caches: u64,
    /// What each object asks of the store.
    pub(super) request: Request,
    pub(super) layout: Layout,
}

/// What a look-up needs, by value: the copy of a guard stays in registers over many reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// `slots.words`; unused in a model.
    pub(super) words: *const AtomicU64,
    /// Number of words.
    pub(super) limit: u32,
    /// Granule 0 of the buffer.
    pub(super) base: *mut u8,
}

// SAFETY: the pointers lead to memory that `slots` and `heap` own and share between threads; whether the objects
// themselves may cross threads is the duty that `Table::new` puts on its caller.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Table {
    /// An empty table in `heap`.
    ///
    /// # Safety
    /// Where there is a `spec.drop`:
    ///
    /// 1. It must be safe to call once on each object that is put in, with
    ///    [`Reservation::publish`](crate::Reservation::publish) or [`TableGuard::swing`], at a place of `spec.layout`, wherever
    ///    its bytes were moved to.
    /// 2. It is run on objects that were retired or replaced, whoever put them in, by every method of the table and of its
    ///    guards; on all objects when the table is dropped; and after that, on those that are held, by
    ///    [holds](TableGuard::hold) that are dropped, which have a duty of their own. So methods are called, and the table is dropped,
    ///    only on threads that may drop the objects, and while these may be dropped. A table that is forgotten drops nothing.
    ///
    /// The methods of the [`Heap`] never run it, and neither does its background thread. They move the bytes of objects on
    /// whatever thread, while nobody has located, held or taken them; and they forget retired objects of tables without a
    /// `spec.drop`.
    ///
    /// # Errors
    /// [`AllocErrorKind::TooManyPools`] after 16,382 tables of a heap, or where the system has no address
    /// space for the slots; [`AllocErrorKind::Unsupported`] for an alignment above 4096 or a size that
    /// no heap holds.
    pub unsafe fn new(heap: &Heap, spec: TableSpec) -> Result<Self, AllocError> {
        let inner = heap.inner();
        let refused = |kind| inner.refusal(kind, spec.layout.size(), spec.layout.align());
        let request =
            inner.request(spec.layout).ok_or_else(|| refused(AllocErrorKind::Unsupported))?;
        let drop = spec.drop.map(|drop| drop as DropFn);
        let config = inner.table_config(request, spec.layout.size(), drop);
        let slots = inner
            .tables
            .create(next_salt(), config)
            .ok_or_else(|| refused(AllocErrorKind::TooManyPools))?;
        #[cfg(not(loom))]
        let words = slots.words.as_ptr();
        #[cfg(loom)]
        let words = core::ptr::null();
        let view = View { words, limit: slots.limit, base: inner.store.memory().base() };
        let (readers, caches) = (inner.readers.id(), slots.caches.id());
        let layout = spec.layout;
        Ok(Self { heap: heap.clone(), slots, view, readers, caches, request, layout })
    }

    /// The heap that the objects live in.
    pub fn heap(&self) -> &Heap {
        &self.heap
    }

    /// Objects in the table: exact while nobody inserts or removes. O(threads).
    pub fn len(&self) -> usize {
        self.slots.live()
    }

    /// Whether [`len`](Self::len) is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every slot that was ever used is below this number.
    pub fn slots_used(&self) -> u32 {
        self.slots.used()
    }

    /// Enters a read-side section of the heap, through this table.
    #[inline(always)]
    pub fn enter(&self) -> TableGuard<'_> {
        TableGuard {
            #[cfg(loom)]
            borrows: Default::default(),
            _guard: Guard::enter_as(self.readers, || &self.heap.inner().readers),
            view: self.view,
            table: self,
        }
    }

    #[inline(always)]
    pub(super) fn load(&self, view: View, index: u32) -> Option<u64> {
        if index >= view.limit {
            return None;
        }
        // SAFETY: in bounds.
        let word = unsafe { self.word(view, index) };
        // Acquire: pairs with the Release in `slot::publish`, `unlock` and `change`; weaker, the offset could
        // be followed to bytes that are not written yet.
        Some(word.load(Ordering::Acquire))
    }

    /// The word of a slot.
    ///
    /// # Safety
    /// `index` is below `view.limit`.
    #[inline(always)]
    pub(super) unsafe fn word(&self, view: View, index: u32) -> &AtomicU64 {
        debug_assert!(index < view.limit);
        #[cfg(not(loom))]
        {
            // SAFETY: in bounds of the array that `slots` owns.
            let word = unsafe { view.words.add(index as usize) };
            // SAFETY: an aligned `AtomicU64`, alive as long as `slots`.
            unsafe { &*word }
        }
        #[cfg(loom)]
        {
            let _ = view.words;
            self.slots.words.get(index)
        }
    }

    /// The slow half of `TableGuard::locate`; not its method, so that guards need no address.
    #[cold]
    fn resolve<T: ?Sized>(&self, handle: Handle<T>, seen: u64) -> Option<u32> {
        slot::resolve(self.slots.word(handle)?, handle, seen)
    }

    /// Whether `handle` names an object now. Never waits, and needs no section. O(1).
    #[inline]
    pub fn contains<T: ?Sized>(&self, handle: Handle<T>) -> bool {
        self.load(self.view, handle.index()).is_some_and(|seen| slot::names_object(seen, handle))
    }

    /// Ends the life of the object: from now on nobody finds it, and it is dropped when no guard or pin can
    /// still see it, at the latest with the table. False when the handle is stale.
    ///
    /// One compare-and-swap, no lock; each full batch pays for a grace period's start, and may run the `Drop` of objects that were
    /// retired earlier. Waits only for a copy of this very object.
    ///
    /// # Panics
    /// When the `Drop` of an object that was retired earlier does. The object is retired, and the others are dropped by later calls.
    #[inline(always)]
    pub fn retire<T: ?Sized>(&self, handle: Handle<T>) -> bool {
        if handle.index() >= self.view.limit {
            return false;
        }
        // SAFETY: in bounds.
        let word = unsafe { self.word(self.view, handle.index()) };
        let Some(ended) = slot::unlink_live(word, handle) else {
            return self.retire_if_named(handle);
        };
        self.retire_unlinked(handle.index(), ended);
        true
    }

    /// The slow half of [`retire`](Self::retire), for a word that was not live, or is not any more.
    #[cold]
    fn retire_if_named<T: ?Sized>(&self, handle: Handle<T>) -> bool {
        let unlinked = self.slots.word(handle).and_then(|word| slot::unlink(word, handle));
        if let Some(ended) = unlinked {
            self.retire_unlinked(handle.index(), ended);
        }
        unlinked.is_some()
    }

    /// Puts an object that is unlinked into the thread's cache, and reclaims where a batch is full. `ended` is the
    /// word of its slot now.
    #[inline(always)]
    pub(super) fn retire_unlinked(&self, slot: u32, ended: Snapshot) {
        let object = Pair { word: ended, slot };
        match self.slots.caches.try_retire(self.caches, object) {
            Some(false) => {}
            full => self.slots.retire_slowly(self.heap.inner(), object, full.is_none()),
        }
    }

    /// Drops retired objects whose grace period is over; their number. Their room, and what threads keep of the
    /// table for their next inserts, goes back to the heap. Never waits for readers. What objects retire as they are dropped is
    /// dropped too, as far as it was there when the call began.
    ///
    /// # Panics
    /// When the `Drop` of one of them does; the others are dropped by later calls.
    pub fn reclaim(&self) -> usize {
        let reclaimed = self.slots.reclaim(self.heap.inner(), Effort::All);
        self.slots.empty_caches(self.heap.inner());
        reclaimed
    }

    pub(super) fn parts(&self) -> (&Inner, &Arc<Slots>) {
        (self.heap.inner(), &self.slots)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // `&mut self`: no `TableGuard` of this table is left, so nobody reads its objects except by pins.
        self.slots.close(self.heap.inner());
    }
}

/// A read-side section, entered through a table.
#[derive(Debug)]
pub struct TableGuard<'t> {
    /// What was located, for the model checker. Before the guard: it ends while the section is open.
    #[cfg(loom)]
    borrows: core::cell::RefCell<Vec<crate::raw::Borrowed>>,
    _guard: Guard<'t>,
    pub(super) view: View,
    pub(super) table: &'t Table,
}

impl<'t> TableGuard<'t> {
    /// Where the object of `handle` is. It stays there, alive, until the guard is dropped.
    ///
    /// One load, one compare, one add; a move that is only planned is cancelled, and one that is running is
    /// waited for (the copy of this one object).
    #[inline(always)]
    pub fn locate<T: ?Sized>(&self, handle: Handle<T>) -> Option<NonNull<u8>> {
        let seen = self.table.load(self.view, handle.index())?;
        let offset = if slot::is_live_for(seen, handle) {
            seen as u32
        } else {
            self.table.resolve(handle, seen)?
        };
        #[cfg(loom)]
        {
            let borrow = self.table.heap.inner().store.memory().track_borrow(offset);
            self.borrows.borrow_mut().push(borrow);
        }
        let block = self.view.base.wrapping_add(offset as usize * GRANULE);
        debug_assert!(!block.is_null());
        // SAFETY: a place inside the buffer.
        Some(unsafe { NonNull::new_unchecked(block) })
    }

    /// The handle of the object that slot `index` holds now. O(1).
    pub fn handle_at(&self, index: u32) -> Option<Handle<[u8]>> {
        let seen = Snapshot(self.table.load(self.view, index)?);
        (!seen.is_vacant()).then(|| Handle::new(index, seen.generation()))
    }

    /// The table.
    pub fn table(&self) -> &'t Table {
        self.table
    }

    /// Whether the object of `handle` is pinned; false for a stale handle.
    pub fn is_held<T: ?Sized>(&self, handle: Handle<T>) -> bool {
        self.locate(handle).is_some_and(|block| block::is_held(self.header(block)))
    }

    /// Pins the object: it stays where it is, alive, until the hold is dropped.
    ///
    /// # Errors
    /// The handle is stale, or the object already has 32,765 holds.
    ///
    /// # Safety
    /// Once the table is gone, a hold that is dropped may run the table's [`drop`](TableSpec::drop), for whatever object of the
    /// table nobody holds any more. Where there is one, the hold and all its [clones](Hold::try_clone) are dropped only on
    /// threads that may drop the objects, and while these may be dropped, that is before anything is gone that they borrow; or
    /// they are forgotten. A hold is `Send`, `Sync` and `'static` whatever the objects are, so whoever gives
    /// holds away wraps them in a type that is not.
    pub unsafe fn hold<T: ?Sized>(&self, handle: Handle<T>) -> Result<Hold, AccessError> {
        let block = self.locate(handle).ok_or(AccessError::Stale)?;
        self.table.slots.note_hold();
        let header = self.header(block);
        match block::try_hold(header, Access::Shared) {
            HoldOutcome::Busy | HoldOutcome::Full => Err(AccessError::Busy),
            HoldOutcome::Held => Ok(Hold {
                #[cfg(loom)]
                borrow: track(&self.table.heap, block),
                header: NonNull::from(header),
                block,
                slots: Arc::clone(&self.table.slots),
                heap: self.table.heap.clone(),
            }),
        }
    }

    /// Lets `handle` name the replacement in place of the object at `old`, which [`locate`](Self::locate) of this guard
    /// has found. The old object is retired, with what [`Table::retire`] costs; so this may run the `Drop` of objects that were
    /// retired earlier. Where one of these panics, the replacement is in.
    ///
    /// # Errors
    /// Gives the replacement back when the handle is stale, names another object than `old` by now, or is not the one that the
    /// replacement was made for, with [`Table::reserve_replacement`] of this table.
    ///
    /// # Safety
    /// The replacement holds an object, as [`Reservation::publish`](crate::Reservation::publish) asks for it.
    pub unsafe fn swing<T: ?Sized>(
        &self,
        handle: Handle<T>,
        old: NonNull<u8>,
        new: Replacement<'t>,
    ) -> Result<(), Replacement<'t>> {
        let (inner, slots) = self.table.parts();
        let (Some(old), true) = (self.place(old), new.is_for(self.table, handle)) else {
            return Err(new);
        };
        inner.store.memory().track_write(new.offset);
        let swung = slots.word(handle).is_some_and(|w| slot::swing(w, handle, old, new.offset));
        if !swung {
            return Err(new);
        }
        core::mem::forget(new);
        slots.retire_bare(inner, old, slots.bytes);
        Ok(())
    }

    /// The offset of a place, where that is a granule which offsets can name.
    fn place(&self, place: NonNull<u8>) -> Option<u32> {
        let bytes = place.addr().get().checked_sub(self.view.base.addr())?;
        u32::try_from(bytes / GRANULE).ok().filter(|_| bytes.is_multiple_of(GRANULE))
    }

    /// The offset of an object that was located.
    fn offset(&self, block: NonNull<u8>) -> u32 {
        ((block.as_ptr().addr() - self.view.base.addr()) / GRANULE) as u32
    }

    fn header(&self, block: NonNull<u8>) -> &'t AtomicU64 {
        self.table.heap.inner().store.header(self.offset(block))
    }
}

/// A counted hold on one object: it is neither moved nor reclaimed before the last hold is dropped.
///
/// It keeps the heap's memory alive and may outlive the table; the last hold then drops the object. On which threads and until
/// when it may be dropped is the duty of who [made](TableGuard::hold) it.
pub struct Hold {
    #[cfg(loom)]
    borrow: Option<crate::raw::Borrowed>,
    header: NonNull<AtomicU64>,
    block: NonNull<u8>,
    slots: Arc<Slots>,
    heap: Heap,
}

// SAFETY: a hold is a count in an atomic, kept alive by `heap`. It gives no access to the object but by its address; where it
// may be dropped is the duty that `TableGuard::hold` puts on its caller.
unsafe impl Send for Hold {}
// SAFETY: as above.
unsafe impl Sync for Hold {}

impl Hold {
    /// Where the object is, until the last hold of it is dropped. Whoever reads it there shares it with all that have the table
    /// or a hold.
    #[inline]
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.block
    }

    /// One more hold on the same object.
    ///
    /// # Errors
    /// [`AccessError::Busy`] when the object has as many holds as can be counted.
    pub fn try_clone(&self) -> Result<Self, AccessError> {
        match block::try_hold(self.header(), Access::Shared) {
            HoldOutcome::Busy | HoldOutcome::Full => Err(AccessError::Busy),
            HoldOutcome::Held => Ok(Self {
                #[cfg(loom)]
                borrow: track(&self.heap, self.block),
                header: self.header,
                block: self.block,
                slots: Arc::clone(&self.slots),
                heap: self.heap.clone(),
            }),
        }
    }

    fn header(&self) -> &AtomicU64 {
        // SAFETY: the block is held, so its header stays, in memory that `heap` keeps alive.
        unsafe { self.header.as_ref() }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("block", &self.block).finish_non_exhaustive()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let inner = self.heap.inner();
        #[cfg(loom)]
        drop(self.borrow.take());
        if block::let_go(self.header(), Access::Shared) == 0 {
            self.slots.last_hold_gone(inner, offset_of(&self.heap, self.block));
        }
    }
}

/// The offset of a block of the heap.
fn offset_of(heap: &Heap, block: NonNull<u8>) -> u32 {
    let bytes = block.addr().get() - heap.inner().store.memory().base().addr();
    (bytes / GRANULE) as u32
}

/// A read of the block that lasts as long as its hold, for the model checker.
#[cfg(loom)]
fn track(heap: &Heap, block: NonNull<u8>) -> Option<crate::raw::Borrowed> {
    Some(heap.inner().store.memory().track_borrow(offset_of(heap, block)))
}
