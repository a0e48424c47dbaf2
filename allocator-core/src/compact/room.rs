//! [`Heap::make_room`]: contiguous room for one block, and its report.

use super::{DefragReport, make_room};
use crate::block::Owner;
use crate::central::Central;
use crate::chunk;
use crate::heap::{Heap, Inner};
use crate::placement::{Need, Run};
use crate::policy::Policy;
use crate::stats::{self, SpaceStats};
use crate::stripe::Request;
use core::alloc::Layout;
use core::fmt;

/// What [`Heap::make_room`] found or made.
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct RoomReport {
    /// Such a block could be placed at the end of the call. Others may have taken the room since.
    pub fits: bool,
    /// No heap of this size holds such a block, so nothing was moved.
    pub never_fits: bool,
    /// Bytes of the largest block that could be placed without moving anything, at the end of the call.
    pub largest_free: usize,
    /// Free bytes of the heap at the end of the call, in whatever pieces.
    pub free_bytes: usize,
    /// Objects that were removed because moving did not help; by a pool's call only.
    pub purged: usize,
    /// What was moved, and what was in the way. `complete` only where everything had to be moved. All zero where such a block
    /// never fits.
    pub defrag: DefragReport,
}

impl fmt::Display for RoomReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = match (self.fits, self.never_fits) {
            (true, _) => "there is room",
            (false, false) => "there is no room",
            (false, true) => "there can be no room",
        };
        let Self { largest_free, free_bytes, .. } = self;
        write!(f, "{fits}, the largest block is {largest_free} of {free_bytes} free bytes")?;
        if self.purged > 0 {
            write!(f, ", {} objects were purged", self.purged)?;
        }
        write!(f, ": {}", self.defrag)
    }
}

impl Heap {
    /// Makes contiguous room for a block of `bytes` aligned to `align`, and stops as soon as it is there: moves away what
    /// is in the stretch of the buffer that costs least to empty, and does what [`defragment`](Self::defragment) does only if
    /// no such stretch can be emptied. Pages of the stretch stay committed: the room is about to be used.
    ///
    /// Nothing holds the room for the caller: another thread may allocate first. An allocation that must not fail for
    /// want of contiguity is what [`compact_when_full`](crate::HeapBuilder::compact_when_full) is for. Waits as `defragment`
    /// does. O(blocks with a chunk of their own, and slabs), and the bytes moved.
    ///
    /// An alignment that is no power of two or above 4096, or more bytes than the heap has, never fits. Where another
    /// defragmentation takes longer than the heap's patience, nothing is moved; the room may be there all the same.
    ///
    /// ```
    /// use allocator_core::{Heap, Policy};
    /// use std::alloc::Layout;
    ///
    /// let heap = Heap::builder().capacity(1 << 20).policy(Policy::FirstFit).stripes(1).build()?;
    /// let mut handles = Vec::new();
    /// while let Ok(handle) = heap.allocate_bytes(&[1; 1000]) {
    ///     handles.push(handle);
    /// }
    /// for handle in handles.iter().step_by(2) {
    ///     heap.deallocate(*handle)?; // half of the heap, in holes of 1000 bytes
    /// }
    /// let report = heap.make_room(100_000, 64);
    /// assert!(report.fits && report.defrag.moved_bytes < 60_000); // about half of the room
    /// heap.allocate(Layout::from_size_align(100_000, 64)?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn make_room(&self, bytes: usize, align: usize) -> RoomReport {
        let inner = self.inner();
        let layout = Layout::from_size_align(bytes, align).ok();
        let request = layout.and_then(|layout| inner.request(layout));
        let (lo, hi) = inner.store.central().bounds();
        let empty = Run { start: lo, len: hi - lo };
        let request = request.filter(|request| request.need.place_low(empty).is_some());
        let never_fits = request.is_none();
        let (room, defrag) = match request {
            Some(request) => make_room(inner, request.need, |_, _| ()),
            None => (None, DefragReport::default()),
        };
        let SpaceStats { largest_free, free_bytes, .. } = stats::space(&inner.store);
        RoomReport { fits: room.is_some(), never_fits, largest_free, free_bytes, purged: 0, defrag }
    }
}

impl Inner {
    /// Finds room for a block by moving others away, after everything else failed.
    pub(crate) fn compact_and_place(&self, request: &Request, owner: Owner) -> Option<u32> {
        let memory = self.store.memory();
        let in_slabs = self.policy == Policy::SizeClass && self.store.stripes() > 0;
        if request.class.is_some() && in_slabs {
            // A whole page, so that the next blocks of the class have cells too.
            let page = self.store.shared.pages.page();
            let need = Need { len: page, align: page, skew: 0 };
            make_room(self, need, |_, _| ());
            return self.store.allocate(request, owner);
        }
        let take = |central: &mut Central, run| {
            let start = request.need.place_low(run).expect("the run was found for this need");
            let taken = Run { start, len: request.need.len };
            central.claim(memory, run, taken);
            chunk::init_block(memory, taken, owner)
        };
        make_room(self, request.need, take).0
    }
}
