//! [`Stripe`]: one lock's worth of free space, and which stripe a thread calls home.

use crate::block::Owner;
use crate::central::Central;
use crate::pages::{Label, PageMap};
use crate::placement::{Need, Run};
use crate::raw::Memory;
use crate::segment::Segments;
use crate::size_class::Classes;
use crate::slab::{Freed, Mode, Slabs};
use crate::space::End;
use crate::threads;
use core::num::NonZeroUsize;

/// A request for a block, in the terms of the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// Bytes of the payload.
    pub(crate) bytes: usize,
    /// The payload and a header granule before it, for a block with a chunk of its own.
    pub(crate) need: Need,
    /// The size class, where slabs hold such blocks.
    pub(crate) class: Option<usize>,
}

/// What every stripe of a heap shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) memory: Memory,
    pub(crate) pages: PageMap,
    pub(crate) classes: &'static Classes,
}

/// The free space of one stripe, behind the stripe's lock.
// A heap has a few stripes, all of one kind: a box would only add a cache miss under the lock.
#[expect(clippy::large_enum_variant)]
#[derive(Debug)]
pub(crate) enum Stripe {
    /// Pages divided into cells of a size class.
    Slabs(Slabs),
    /// Pages divided by a placement policy.
    Segments(Segments),
}

impl Stripe {
    /// Whether blocks of this kind come from stripes at all.
    pub(crate) fn holds(&self, shared: &Shared, request: &Request) -> bool {
        match self {
            Self::Slabs(_) => request.class.is_some(),
            Self::Segments(_) => Segments::holds(request.need, shared.pages.page()),
        }
    }

    /// Whether blocks that the stripe has no room for go into holes of the centre before it takes a page.
    pub(crate) fn fills_holes(&self) -> bool {
        matches!(self, Self::Segments(_))
    }

    /// Finds room in the pages that the stripe has; the block's offset.
    pub(crate) fn allocate(
        &mut self,
        shared: &Shared,
        request: &Request,
        owner: Owner,
    ) -> Option<u32> {
        match self {
            Self::Slabs(slabs) => {
                slabs.allocate(&shared.memory, shared.classes, request.class?, owner)
            }
            Self::Segments(segments) => segments.allocate(&shared.memory, request.need, owner),
        }
    }

    /// Finds room in the pages that the stripe has, however much of it is wasted.
    pub(crate) fn allocate_anywhere(
        &mut self,
        shared: &Shared,
        request: &Request,
        owner: Owner,
    ) -> Option<u32> {
        let Shared { memory, classes, .. } = shared;
        let need = request.need;
        match self {
            Self::Slabs(slabs) => {
                slabs.allocate_anywhere(memory, classes, request.bytes, need.align, owner)
            }
            Self::Segments(segments) => segments.allocate(memory, need, owner),
        }
    }

    /// Takes one more page from the centre, for blocks like this one; false when there is none.
    pub(crate) fn add_page(
        &mut self,
        shared: &Shared,
        central: &mut Central,
        request: &Request,
    ) -> bool {
        let page = shared.pages.page();
        let need = Need { len: page, align: page, skew: 0 };
        let Some(page) = central.allocate(&shared.memory, need, End::High) else { return false };
        match self {
            Self::Slabs(slabs) => {
                let class = request.class.expect("stripes of slabs hold blocks of classes only");
                let Shared { memory, pages, classes } = shared;
                slabs.add_page(memory, pages, classes, class, page, Mode::Open);
            }
            Self::Segments(segments) => segments.add_page(&shared.memory, &shared.pages, page),
        }
        true
    }

    /// Frees the block at `offset`, whose page has this `label`; gives the page where it is empty now.
    pub(crate) fn free(&mut self, shared: &Shared, label: Label, offset: u32) -> Option<Run> {
        match (self, label) {
            (Self::Slabs(slabs), Label::Slab { slab, .. }) => {
                let Shared { memory, pages, classes } = shared;
                match slabs.free(memory, pages, classes, slab, offset) {
                    Freed::Kept => None,
                    Freed::Page(page) => Some(page),
                }
            }
            (Self::Segments(segments), Label::Segment { .. }) => {
                segments.free_block(&shared.memory, &shared.pages, offset)
            }
            (stripe, label) => unreachable!("a page labelled {label:?} in {stripe:?}"),
        }
    }

    /// Gives up what can be given up without moving a block: runs that become free in the centre.
    pub(crate) fn drain(&mut self, shared: &Shared) -> Vec<Run> {
        match self {
            Self::Slabs(slabs) => slabs.drain_empty(&shared.memory, &shared.pages, shared.classes),
            Self::Segments(segments) => segments.dissolve(&shared.memory, &shared.pages),
        }
    }

    /// Pages that the stripe holds.
    pub(crate) fn pages(&self) -> usize {
        match self {
            Self::Slabs(slabs) => slabs.totals().pages,
            Self::Segments(segments) => segments.pages().count(),
        }
    }

    /// Checks every page of the stripe.
    pub(crate) fn check(&self, shared: &Shared) -> Result<(), String> {
        let Shared { memory, pages, classes } = shared;
        match self {
            Self::Slabs(slabs) => slabs.check(memory, pages, classes),
            Self::Segments(segments) => segments.check(memory, pages),
        }
    }
}

/// Which of `stripes` the calling thread calls home: threads take turns. In a model the main thread is at home in stripe 0 and
/// every other thread in stripe 1.
#[inline]
pub(crate) fn home(stripes: NonZeroUsize) -> usize {
    let turn = threads::number() - 1;
    (if cfg!(loom) { turn.min(1) } else { turn }) % stripes
}
