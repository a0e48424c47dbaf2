//! What each thread owns one of: nodes on a list that only grows, so that others can look at all of them without
//! a lock, and the thread-local short cut to the thread's own node.
//!
//! A thread takes a node for every set (the readers of a heap, the caches of a table) that it works with, and
//! leaves it to the next newcomer when it ends. The number of nodes is that of the threads that were
//! alive at a time.

use crate::cache::Caches;
use crate::guard::Readers;
use crate::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use crate::sync::{Arc, local};
use core::cell::{Cell, RefCell};
use core::ptr;

/// One thread's node. Padded to two cache lines, so that a thread's stores never take a line that another
/// thread stores to.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Node<V> {
    pub(crate) value: V,
    /// A [`Title`].
    title: AtomicU32,
    /// The node that was pushed before this one; never changes once published.
    next: *const Node<V>,
}

/// Who may take a node.
struct Title;

impl Title {
    /// Everybody.
    const VACANT: u32 = 0;
    /// Nobody: a thread has it.
    const OWNED: u32 = 1;
    /// Everybody once its value is free: a thread that is being torn down has it until then.
    const LENT: u32 = 2;
}

impl<V> Node<V> {
    /// Leaves the node to the next newcomer.
    pub(crate) fn disown(&self) {
        // Release: the next owner must see what we did with the node. Partner: the Acquire in `claim`.
        self.title.store(Title::VACANT, Ordering::Release);
    }

    /// Leaves the node, which is ours, to the next newcomer that finds its value free.
    pub(crate) fn lend(&self) {
        // Release: whoever finds the node lent sees that its value is not free yet. Partner: the Acquire in `claim`.
        self.title.store(Title::LENT, Ordering::Release);
    }

    /// Takes the node over; false when somebody owns it.
    fn claim(&self, is_free: impl FnOnce(&V) -> bool) -> bool {
        // Acquire: pairs with the Release in `disown`; weaker, we could continue from an old value. And with
        // those in `is_vacant` and `lend`. Relaxed on failure: nothing is read then.
        let take = |from| {
            self.title.compare_exchange(from, Title::OWNED, Ordering::Acquire, Ordering::Relaxed)
        };
        if take(Title::VACANT).is_ok() {
            return true;
        }
        // First taken, then looked at: it may have been taken and lent again before.
        let lent = take(Title::LENT).is_ok();
        if lent && !is_free(&self.value) {
            self.lend();
            return false;
        }
        lent
    }

    /// Whether nobody owns the node. If so, whoever claims it later sees what the caller wrote before, as if it
    /// had come after a heavy barrier of the caller's.
    pub(crate) fn is_vacant(&self) -> bool {
        // A read-modify-write, though it changes nothing: a later `claim` reads from it. Release: what we
        // wrote before. Acquire: what the last owner did. Partners: `claim`, `disown`. As a plain load it
        // would not order the newcomer behind us.
        let vacant = Title::VACANT;
        self.title.compare_exchange(vacant, vacant, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// All nodes of one set.
#[derive(Debug)]
pub(crate) struct Roster<V> {
    head: AtomicPtr<Node<V>>,
}

impl<V> Roster<V> {
    pub(crate) fn new() -> Self {
        Self { head: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Takes a node that nobody owns, or adds one. O(nodes).
    pub(crate) fn acquire(
        &self,
        is_free: impl Fn(&V) -> bool,
        make: impl FnOnce() -> V,
    ) -> *const Node<V> {
        if let Some(free) = self.iter().find(|node| node.claim(&is_free)) {
            return free;
        }
        let node = Node { value: make(), title: AtomicU32::new(Title::OWNED), next: ptr::null() };
        let node = Box::into_raw(Box::new(node));
        // Relaxed: a hint for the compare-and-swap.
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: not published yet, so nobody else sees the node.
            unsafe { (*node).next = head };
            // Release: publishes the node's fields. Partner: the Acquire in `iter`. AcqRel keeps the older nodes
            // visible through ours. Relaxed on failure: retried with a new hint.
            match self.head.compare_exchange(head, node, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return node,
                Err(now) => head = now,
            }
        }
    }

    /// All nodes, newest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Node<V>> {
        // Acquire: pairs with the Release in `acquire`. A node that is pushed later belongs to a thread whose
        // light barriers come after our heavy one, which therefore sees our writes.
        let mut at: *const Node<V> = self.head.load(Ordering::Acquire);
        core::iter::from_fn(move || {
            // SAFETY: nodes are freed only when the roster is dropped.
            let node = unsafe { at.as_ref() }?;
            at = node.next;
            Some(node)
        })
    }
}

impl<V> Drop for Roster<V> {
    fn drop(&mut self) {
        // Relaxed: `&mut self` says that nobody else is here.
        let mut at = self.head.load(Ordering::Relaxed);
        while !at.is_null() {
            // SAFETY: made by `Box::into_raw` in `acquire`, and nobody holds the roster any more.
            let node = unsafe { Box::from_raw(at) };
            at = node.next.cast_mut();
        }
    }
}

/// A set with a node for each thread that works with it.
pub(crate) trait PerThread: Sized + 'static {
    /// What a node holds.
    type Value;

    /// A multiple of [`ID_STEP`], never 0, and never reused among the sets of this kind, so that a thread's memory
    /// of a dead set's node is never mistaken for this one's.
    fn id(&self) -> u64;

    fn roster(&self) -> &Roster<Self::Value>;

    /// What a new node holds.
    fn make(&self) -> Self::Value;

    /// Nobody will ask for nodes of this set again; threads may forget theirs.
    fn is_closed(&self) -> bool;

    /// The calling thread has taken a node.
    fn taken(value: &Self::Value);

    /// The calling thread has left a node, for good.
    fn left(&self, value: &Self::Value);

    /// Whether others can have the value of a node that was lent: its last owner does not come back to it.
    fn is_free(value: &Self::Value) -> bool;

    /// The thread's own nodes of this kind.
    fn mine(all: &AllMine) -> &Mine<Self>;

    /// Runs `f` with the short cut, which is there until the thread is gone; `None` in a model that ends.
    fn with_latest<R>(f: impl FnOnce(&Latest<Self::Value>) -> R) -> Option<R>;
}

/// Entries of a short cut.
const LATEST: usize = 8;

/// From one id of a set to the next: the bytes of an entry, so that its place is cut out of the id as it is.
pub(crate) const ID_STEP: u64 = 16;

/// The short cut to the thread's nodes that it used last, by the low bits of their sets' numbers.
// (Two arrays instead of one of pairs save two instructions, and were 5 % slower when measured.)
pub(crate) struct Latest<V>([Cell<(u64, *const Node<V>)>; LATEST]);

impl<V> Latest<V> {
    pub(crate) const fn new() -> Self {
        Self([const { Cell::new((0, ptr::null())) }; LATEST])
    }

    /// The node of the set `id`; never null.
    #[inline(always)]
    pub(crate) fn get(&self, id: u64) -> Option<*const Node<V>> {
        let (cached, node) = self.entry(id).get();
        (cached == id).then_some(node)
    }

    fn set(&self, id: u64, node: *const Node<V>) {
        self.entry(id).set((id, node));
    }

    #[inline(always)]
    fn entry(&self, id: u64) -> &Cell<(u64, *const Node<V>)> {
        &self.0[(id / ID_STEP) as usize % LATEST]
    }

    fn forget(&self, node: *const Node<V>) {
        self.0.iter().filter(|entry| entry.get().1 == node).for_each(|e| e.set((0, ptr::null())));
    }
}

/// All nodes of one kind that a thread owns, with what keeps them alive; leaves them when the thread ends.
pub(crate) struct Mine<S: PerThread>(RefCell<Vec<Entry<S>>>);

/// A set, and the thread's node of it.
type Entry<S> = (Arc<S>, *const Node<<S as PerThread>::Value>);

impl<S: PerThread> Mine<S> {
    const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    fn node_of(&self, set: &S) -> Option<*const Node<S::Value>> {
        let mine = self.0.borrow();
        mine.iter().find(|(there, _)| there.id() == set.id()).map(|(_, node)| *node)
    }
}

impl<S: PerThread> Drop for Mine<S> {
    fn drop(&mut self) {
        for (set, node) in self.0.get_mut().drain(..) {
            S::with_latest(|latest| latest.forget(node));
            // SAFETY: `set` keeps the node alive, and this thread owns it.
            let node = unsafe { &*node };
            if S::is_free(&node.value) {
                node.disown();
            } else {
                node.lend();
            }
            set.left(&node.value);
        }
    }
}

/// All nodes that a thread owns.
// One thread-local for all kinds: in which order a model drops several is left to chance.
pub(crate) struct AllMine {
    pub(crate) records: Mine<Readers>,
    pub(crate) caches: Mine<Caches>,
}

#[cfg(not(loom))]
std::thread_local! {
    /// Leaves the nodes to others when the thread ends.
    static MINE: AllMine = const { AllMine { records: Mine::new(), caches: Mine::new() } };
}
#[cfg(loom)]
loom::thread_local! {
    static MINE: AllMine = AllMine { records: Mine::new(), caches: Mine::new() };
}

local! {
    /// The thread's number; 0 before it was asked for. No destructor: there until the thread is gone.
    static NUMBER: Cell<usize> = Cell::new(0)
}

/// A number that no other thread of the process has or had; from 1 on.
#[inline]
pub(crate) fn number() -> usize {
    NUMBER.with(|number| {
        if number.get() == 0 {
            number.set(next_number());
        }
        number.get()
    })
}

#[cfg(not(loom))]
fn next_number() -> usize {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(1);
    // Relaxed: only uniqueness matters.
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// In a model that of the thread's turn to be spawned, so that each execution sees the same.
#[cfg(loom)]
fn next_number() -> usize {
    let id = format!("{:?}", loom::thread::current().id());
    let digits: String = id.chars().filter(char::is_ascii_digit).collect();
    digits.parse::<usize>().expect("a thread has a number") + 1
}

/// Leaves all nodes of the calling thread, which goes on without: what it does in destructors that come after that of
/// [`MINE`]. A model leaves the order of several to chance.
#[cfg(all(loom, test))]
pub(crate) fn leave_all() {
    fn leave<S: PerThread>(mine: &Mine<S>) {
        drop(Mine(RefCell::new(mine.0.take())));
    }
    MINE.with(|all| {
        leave(&all.records);
        leave(&all.caches);
    });
}

/// Runs `f` with the thread's own nodes of a kind; `None` while the thread is being torn down.
fn with_mine<S: PerThread, R>(f: impl FnOnce(&Mine<S>) -> R) -> Option<R> {
    MINE.try_with(|all| f(S::mine(all))).ok()
}

/// The thread is being torn down, and has no list of its nodes any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TornDown;

/// The node that this thread has of the set, if any.
pub(crate) fn own<S: PerThread>(set: &S) -> Result<Option<*const Node<S::Value>>, TornDown> {
    with_mine(|mine: &Mine<S>| mine.node_of(set)).ok_or(TornDown)
}

/// Takes a node of the set for the calling thread.
fn acquire<S: PerThread>(set: &S) -> *const Node<S::Value> {
    let node = set.roster().acquire(S::is_free, || set.make());
    // SAFETY: the set keeps the node alive.
    S::taken(unsafe { &(*node).value });
    node
}

/// How long the node that [`find`] gives is the caller's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tenure {
    /// Until the thread ends.
    Thread,
    /// Until the caller disowns or lends it: the thread is being torn down and has no list any more.
    Once,
}

/// The slow way to this thread's node: its list, then a node that nobody owns, then a new one.
#[cold]
pub(crate) fn find<S: PerThread>(set: &Arc<S>) -> (*const Node<S::Value>, Tenure) {
    let found = with_mine(|mine: &Mine<S>| {
        let node = mine.node_of(set).unwrap_or_else(|| {
            mine.0.borrow_mut().retain(|(there, _)| !there.is_closed());
            let node = acquire(&**set);
            mine.0.borrow_mut().push((Arc::clone(set), node));
            node
        });
        S::with_latest(|latest| latest.set(set.id(), node));
        node
    });
    match found {
        Some(node) => (node, Tenure::Thread),
        None => (acquire(&**set), Tenure::Once),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_lent_stays_so_until_its_value_is_free() {
        let roster = Roster::new();
        let acquire = |is_free: bool, value| {
            // SAFETY: the roster keeps its nodes alive.
            unsafe { &*roster.acquire(|_| is_free, || value) }
        };
        let lent = acquire(true, 1);
        lent.lend();
        for value in 2..5 {
            assert_eq!(acquire(false, value).value, value, "a new one");
        }
        assert_eq!(acquire(true, 5).value, 1);
        assert_eq!(acquire(true, 6).value, 6, "it has an owner again");
    }
}
