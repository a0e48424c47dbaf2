//! [`PageMap`]: which stripe holds a page, and as what.
//!
//! A page is the unit in which stripes take and return space. Its label is read without a lock to find the
//! lock that a block's page is under, and is read again under that lock.

use crate::chunk::Kind;
use crate::sync::atomic::{AtomicU64, Ordering};

/// What a page is at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Label {
    /// Part of the centre: free runs, blocks with a chunk of their own.
    Central,
    /// A slab of a stripe: its size class and its number among the stripe's slabs.
    Slab { stripe: u8, class: u8, slab: u32 },
    /// A segment of a stripe.
    Segment { stripe: u8 },
}

impl Label {
    /// `slab:32 | class:8 | kind:8 | stripe:8`, with kind 0 for the centre.
    fn pack(self) -> u64 {
        match self {
            Self::Central => 0,
            Self::Slab { stripe, class, slab } => {
                u64::from(slab) << 24 | u64::from(class) << 16 | 1 << 8 | u64::from(stripe)
            }
            Self::Segment { stripe } => 2 << 8 | u64::from(stripe),
        }
    }

    fn unpack(bits: u64) -> Self {
        let stripe = bits as u8;
        match (bits >> 8) as u8 {
            0 => Self::Central,
            1 => Self::Slab { stripe, class: (bits >> 16) as u8, slab: (bits >> 24) as u32 },
            _ => Self::Segment { stripe },
        }
    }

    /// What the chunks are that begin in the page, or the one that the page is.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Central => Kind::Block,
            Self::Slab { .. } => Kind::Slab,
            Self::Segment { .. } => Kind::Segment,
        }
    }

    /// The stripe that holds the page.
    pub(crate) fn stripe(self) -> Option<usize> {
        match self {
            Self::Central => None,
            Self::Slab { stripe, .. } | Self::Segment { stripe } => Some(usize::from(stripe)),
        }
    }
}

/// The labels of all pages.
#[derive(Debug)]
pub(crate) struct PageMap {
    shift: u32,
    labels: Box<[AtomicU64]>,
}

impl PageMap {
    /// For offsets below `granules` and pages of `1 << shift` granules; all pages in the centre.
    pub(crate) fn new(granules: u32, shift: u32) -> Self {
        let pages = (granules >> shift) as usize + 1;
        Self { shift, labels: (0..pages).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Granules of a page.
    pub(crate) fn page(&self) -> u32 {
        1 << self.shift
    }

    /// The first granule of the page of `offset`.
    pub(crate) fn start(&self, offset: u32) -> u32 {
        offset >> self.shift << self.shift
    }

    /// The label of the page that `offset` is in.
    #[inline]
    pub(crate) fn label(&self, offset: u32) -> Label {
        // Acquire: pairs with the Release in `set`, so that who finds a slab finds its headers made. Who
        // goes on to change anything takes the stripe's lock and looks again.
        Label::unpack(self.labels[(offset >> self.shift) as usize].load(Ordering::Acquire))
    }

    /// The first page in `lo..hi` that a stripe holds. O(pages). The caller holds the lock of the centre; a
    /// page that is just given back may still be shown.
    pub(crate) fn first_held(&self, lo: u32, hi: u32) -> Option<u32> {
        let pages = (lo >> self.shift)..=((hi - 1) >> self.shift);
        pages.map(|page| page << self.shift).find(|start| self.label(*start) != Label::Central)
    }

    /// Pages that stripes hold. O(pages). The caller holds all locks.
    pub(crate) fn held(&self) -> usize {
        let label = |page: usize| self.label((page as u32) << self.shift);
        (0..self.labels.len()).filter(|page| label(*page) != Label::Central).count()
    }

    /// Labels the page that starts at `start`. The caller holds the lock of the stripe that holds the page
    /// before or after.
    pub(crate) fn set(&self, start: u32, label: Label) {
        // Release: see `label`.
        self.labels[(start >> self.shift) as usize].store(label.pack(), Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn labels_survive_packing() {
        for label in [
            Label::Central,
            Label::Slab { stripe: 63, class: 31, slab: u32::MAX },
            Label::Slab { stripe: 0, class: 0, slab: 0 },
            Label::Segment { stripe: 7 },
        ] {
            assert_eq!(Label::unpack(label.pack()), label);
        }
    }
}
