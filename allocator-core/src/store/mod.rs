//! [`Store`]: where blocks are. Stripes in front, the centre behind; no handles yet.

mod freeing;

use crate::block::Owner;
use crate::central::Central;
use crate::chunk::{self, Kind};
use crate::pages::{Label, PageMap};
use crate::placement::{AnyPlacement, FirstFit, Need, Run, Tlsf};
use crate::policy::Policy;
use crate::raw::{GRANULE, Memory, Wipe};
use crate::segment::Segments;
use crate::size_class::{CLASSES, Classes};
use crate::slab::Slabs;
use crate::space::End;
use crate::stripe::{Request, Shared, Stripe, home};
use crate::sync::{Mutex, MutexGuard, lock_soon};
use core::alloc::Layout;
use core::num::NonZeroUsize;
use core::sync::atomic::{AtomicU32, Ordering};
use crossbeam_utils::CachePadded;

/// A class has slabs once as many blocks were asked for as fill this part of one.
const RARE: u32 = 2;

/// Where the blocks of a heap are.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) shared: Shared,
    stripes: Box<[CachePadded<Mutex<Stripe>>]>,
    central: CachePadded<Mutex<Central>>,
    /// Raw blocks of each class that were placed outside of slabs.
    outside: Box<[AtomicU32]>,
}

impl Store {
    /// A store over `memory`. With no stripes every block comes from the centre.
    pub(crate) fn new(memory: Memory, policy: Policy, stripes: usize, page_shift: u32) -> Self {
        let (_, granules) = memory.bounds();
        let pages = PageMap::new(granules, page_shift);
        let classes = Classes::of(pages.page());
        let placement = || match policy {
            Policy::SizeClass => AnyPlacement::Tlsf(Tlsf::new()),
            Policy::FirstFit => AnyPlacement::FirstFit(FirstFit::new(granules, pages.page())),
        };
        let stripe = |number: usize| match policy {
            Policy::SizeClass => Stripe::Slabs(Slabs::new(number as u8)),
            Policy::FirstFit => {
                Stripe::Segments(Segments::new(number as u8, granules, placement()))
            }
        };
        let stripes =
            (0..stripes).map(|number| CachePadded::new(Mutex::new(stripe(number)))).collect();
        let central = CachePadded::new(Mutex::new(Central::new(&memory, placement())));
        let outside = (0..CLASSES).map(|_| AtomicU32::new(0)).collect();
        Self { shared: Shared { memory, pages, classes }, stripes, central, outside }
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.shared.memory
    }

    /// What a layout asks of the store; `None` when no heap could hold it.
    pub(crate) fn request(&self, layout: Layout) -> Option<Request> {
        let needed = layout.size().div_ceil(GRANULE).max(1);
        let align = layout.align().div_ceil(GRANULE) as u32;
        let needed = u32::try_from(needed).ok()?;
        let len = needed.checked_add(chunk::HEADER)?;
        let class = self.shared.classes.class_for(layout.size(), align);
        let need = Need { len, align, skew: chunk::HEADER };
        Some(Request { bytes: layout.size(), need, class })
    }

    /// The request as it is made for a raw block: without its class as long as few blocks of it were asked for, where
    /// there are many classes. A slab of each would cost a small heap more than it saves, which those of typed pools,
    /// whose objects are many, do not.
    pub(crate) fn without_rare_class(&self, request: &Request) -> Request {
        let is_rare = |class: usize| {
            let cells = self.shared.classes.geometry(class).cells;
            // Relaxed: a count that orders nothing.
            self.shared.classes.are_fine()
                && self.outside[class].load(Ordering::Relaxed) < cells / RARE
                && self.outside[class].fetch_add(1, Ordering::Relaxed) < cells / RARE
        };
        Request { class: request.class.filter(|class| !is_rare(*class)), ..*request }
    }

    /// Finds room without waiting for anything but locks: in the home stripe, in a new page for it, in the
    /// other stripes, in the centre. Gives the block's offset; its header names `owner`.
    pub(crate) fn allocate(&self, request: &Request, owner: Owner) -> Option<u32> {
        if let Some(count) = NonZeroUsize::new(self.stripes.len()) {
            let home = home(count);
            let mut stripe = self.stripes[home].lock();
            if stripe.holds(&self.shared, request) {
                if let found @ Some(_) = stripe.allocate(&self.shared, request, owner) {
                    return found;
                }
                let mut central = self.central.lock();
                if stripe.fills_holes() {
                    // Address-ordered first fit means the centre's holes too.
                    let page = self.shared.pages.page();
                    if let Some(taken) = central.allocate_hole(self.memory(), request.need, page) {
                        return Some(chunk::init_block(self.memory(), taken, owner));
                    }
                }
                if stripe.add_page(&self.shared, &mut central, request) {
                    return stripe.allocate(&self.shared, request, owner);
                }
                drop((central, stripe));
                for turn in 1..self.stripes.len() {
                    let mut stripe = self.stripes[(home + turn) % count].lock();
                    if let found @ Some(_) = stripe.allocate(&self.shared, request, owner) {
                        return found;
                    }
                }
            }
        }
        self.allocate_central(request, owner)
    }

    /// Takes cells of the home stripe for blocks of a class, as many as there are `owners` if they can be had
    /// without more than one new page; tells `put` of each. One lock for all of them.
    pub(crate) fn allocate_cells(
        &self,
        request: &Request,
        owners: impl Iterator<Item = Owner>,
        mut put: impl FnMut(Owner, u32),
    ) {
        let Some(count) = NonZeroUsize::new(self.stripes.len()) else { return };
        let mut stripe = self.stripes[home(count)].lock();
        let mut may_add_page = true;
        for owner in owners {
            let offset = stripe.allocate(&self.shared, request, owner).or_else(|| {
                let add = core::mem::take(&mut may_add_page)
                    && stripe.add_page(&self.shared, &mut self.central.lock(), request);
                add.then(|| stripe.allocate(&self.shared, request, owner)).flatten()
            });
            let Some(offset) = offset else { return };
            put(owner, offset);
        }
    }

    /// Finds room in the centre, for a block with a chunk of its own.
    pub(crate) fn allocate_central(&self, request: &Request, owner: Owner) -> Option<u32> {
        let mut central = self.central.lock();
        let taken = central.allocate(self.memory(), request.need, End::Low)?;
        Some(chunk::init_block(self.memory(), taken, owner))
    }

    /// Finds room in any page of any stripe, however much of it is wasted: the last resort.
    pub(crate) fn allocate_anywhere(&self, request: &Request, owner: Owner) -> Option<u32> {
        self.stripes
            .iter()
            .find_map(|stripe| stripe.lock().allocate_anywhere(&self.shared, request, owner))
    }

    /// Runs `f` with the label of the page of a block in use, and the stripe that holds the page, locked.
    fn with_block<R>(&self, offset: u32, f: impl Fn(Label, Option<&mut Stripe>) -> R) -> R {
        loop {
            let label = self.shared.pages.label(offset);
            // A block of the centre keeps its page in the centre while it is there.
            let Some(number) = label.stripe() else { return f(label, None) };
            let mut stripe = self.stripes[number].lock();
            // The page may have changed hands before we had the lock, though not twice to the same
            // label: a block that is in use stays in its slab, and segments only go to the centre.
            if self.shared.pages.label(offset) == label {
                return f(label, Some(&mut stripe));
            }
        }
    }

    /// Overwrites the bytes of the block at `offset` with zeroes, where the heap does so after what `what` says. The caller has
    /// the block alone, and nobody needs its bytes.
    #[inline]
    pub(crate) fn wipe(&self, what: Wipe, offset: u32) {
        if self.memory().wipes(what) {
            self.wipe_now(offset);
        }
    }

    #[cold]
    fn wipe_now(&self, offset: u32) {
        let head = self.head(offset);
        // Bytes that nobody wrote yet may not even have memory.
        if !head.size().is_some_and(|size| size.zeroes_due) {
            self.memory().wipe(offset, head.room());
        }
    }

    /// Whether a block begins at `offset`. The caller holds the lock under which it would be freed.
    pub(crate) fn is_block(&self, offset: u32) -> bool {
        match self.shared.pages.label(offset) {
            Label::Slab { class, .. } => {
                let page = self.shared.pages.start(offset);
                self.shared.classes.geometry(usize::from(class)).is_cell(page, offset)
            }
            Label::Central | Label::Segment { .. } => {
                let chunk = chunk::at(self.memory(), offset - chunk::HEADER);
                chunk.is_some_and(|(chunk, kind)| kind == Kind::Block && chunk.len > chunk::HEADER)
            }
        }
    }

    /// Runs `f` while the lock is held under which a block at `offset` would be freed; for callers who do
    /// not know that a block is still there, and find out in `f`.
    pub(crate) fn with_lock_of<R>(&self, offset: u32, f: impl Fn() -> R) -> R {
        loop {
            let done = self.with_block(offset, |label, stripe| {
                let _central = stripe.is_none().then(|| self.central.lock());
                // The page may have gone to a stripe before we had the centre's lock.
                (self.shared.pages.label(offset) == label).then(&f)
            });
            if let Some(result) = done {
                return result;
            }
        }
    }

    /// Makes the block at `offset`, which the caller owns alone, fit `request` without moving it; false
    /// where that cannot be done. A block with a chunk of its own gives back what it no longer needs, and has the size that
    /// is asked for from then on.
    pub(crate) fn resize_in_place(&self, offset: u32, request: &Request) -> bool {
        let memory = self.memory();
        self.with_block(offset, |label, stripe| match (label, stripe) {
            (Label::Slab { class, .. }, _) => {
                request.bytes <= self.shared.classes.geometry(usize::from(class)).room
            }
            (_, Some(Stripe::Segments(segments))) => {
                let chunk = chunk::of_block(memory, offset);
                match cut(memory, chunk, request) {
                    Cut::Longer => segments.grow(memory, chunk, request),
                    Cut::Same => true,
                    Cut::Shorter(rest) => {
                        segments.release(memory, rest);
                        true
                    }
                }
            }
            _ => {
                let mut central = self.central.lock();
                let chunk = chunk::of_block(memory, offset);
                match cut(memory, chunk, request) {
                    Cut::Longer => central.grow(memory, chunk, request),
                    Cut::Same => true,
                    Cut::Shorter(rest) => {
                        central.release(memory, rest);
                        true
                    }
                }
            }
        })
    }

    /// Gives the centre all that stripes hold without need: empty slabs, and the free parts of segments. Then
    /// contiguous free memory is contiguous for the centre too, whatever the stripes.
    pub(crate) fn drain(&self) {
        (0..self.stripes()).for_each(|number| self.drain_stripe(number));
    }

    /// The same for one stripe.
    pub(crate) fn drain_stripe(&self, number: usize) {
        let mut stripe = self.stripe(number);
        let mut central = self.central();
        for run in stripe.drain(&self.shared) {
            central.release(self.memory(), run);
        }
    }

    /// Whether stripes hold slabs.
    pub(crate) fn has_slabs(&self) -> bool {
        self.stripes.first().is_some_and(|stripe| matches!(*stripe.lock(), Stripe::Slabs(_)))
    }

    /// Locks the centre for a mover or a report, see [`lock_soon`].
    pub(crate) fn central(&self) -> MutexGuard<'_, Central> {
        lock_soon(&self.central)
    }

    /// The same for a stripe.
    pub(crate) fn stripe(&self, number: usize) -> MutexGuard<'_, Stripe> {
        lock_soon(&self.stripes[number])
    }

    /// Locks every stripe, then the centre: no page is on its way from one to the other.
    pub(crate) fn lock_all(&self) -> (Vec<MutexGuard<'_, Stripe>>, MutexGuard<'_, Central>) {
        let stripes = self.stripes.iter().map(|stripe| stripe.lock()).collect();
        (stripes, self.central.lock())
    }

    /// Number of stripes.
    pub(crate) fn stripes(&self) -> usize {
        self.stripes.len()
    }
}

/// How a chunk compares with the length that is wanted.
enum Cut {
    Longer,
    Same,
    /// Was cut; this run is left over.
    Shorter(Run),
}

fn cut(memory: &Memory, chunk: Run, request: &Request) -> Cut {
    let len = request.need.len;
    if len > chunk.len {
        return Cut::Longer;
    }
    chunk::set_block(memory, Run { start: chunk.start, len }, request.bytes);
    match chunk.len - len {
        0 => Cut::Same,
        rest => Cut::Shorter(Run { start: chunk.start + len, len: rest }),
    }
}
