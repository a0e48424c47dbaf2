//! The end of a slab, and its checks.
//!
//! Cells that were never handed out, or were trimmed off, need no memory: whole pages of the system behind the last used
//! cell are given back. They are committed again when cells come to lie in them.

use super::{Mode, NONE, Slab, Slabs, Totals};
use crate::block::Owner;
use crate::pages::{Label, PageMap};
use crate::raw::os::OS_PAGE;
use crate::raw::{Memory, PAGE};
use crate::size_class::{Classes, Geometry};
use crate::sync::atomic::Ordering;

impl Slab {
    /// Granules from the start of the page to the end of its first `cells` cells.
    fn end_of(&self, geometry: &Geometry, cells: u32) -> u32 {
        geometry.first + cells * geometry.cell
    }

    /// The same up to the last cell that was handed out.
    fn end(&self, geometry: &Geometry) -> u32 {
        self.end_of(geometry, self.fresh)
    }

    /// Cells up to this number are handed out; gives the granules that are no longer given back.
    #[inline]
    pub(super) fn keep(&mut self, geometry: &Geometry, cells: u32) -> u64 {
        let end = self.end_of(geometry, cells);
        if end <= self.kept {
            return 0;
        }
        let before = core::mem::replace(&mut self.kept, end.next_multiple_of(PAGE));
        u64::from(self.kept - before)
    }

    /// Granules of pages of the system that would be given back if the slab's blocks lay in its first cells.
    fn spare(&self, geometry: &Geometry) -> u32 {
        self.kept.saturating_sub(self.end_of(geometry, self.used).next_multiple_of(PAGE))
    }
}

impl Slabs {
    /// The slabs with free cells of which at least `granules` of pages of the system would be given back if their blocks lay
    /// in the first cells. O(classes + slabs with room).
    pub(crate) fn loose(&self, classes: &Classes, granules: u32) -> Vec<u32> {
        let is_loose = |number: &u32| {
            let slab = self.slab(*number);
            slab.used > 0 && slab.spare(classes.geometry(usize::from(slab.class))) >= granules
        };
        self.partial.iter().flatten().copied().filter(is_loose).collect()
    }

    /// Takes the first free cell of the slab `number` for a block of `owner`, if it lies below granule `below`; the first one
    /// after [`trim`](Self::trim), as long as nothing is freed.
    pub(crate) fn take_cell_below(
        &mut self,
        memory: &Memory,
        geometry: &Geometry,
        number: u32,
        below: u32,
        owner: Owner,
    ) -> Option<u32> {
        let slab = self.slab(number);
        let cell = if slab.free == NONE { slab.fresh } else { slab.free };
        let is_below = cell < geometry.cells && geometry.offset(slab.page, cell) < below;
        is_below.then(|| self.take_cell(memory, geometry, number, owner))
    }

    /// Takes the free cells behind the last used one off the slab, lets the lowest of the others be used first, and gives
    /// the pages of the system at the end back; their bytes. O(cells).
    pub(crate) fn trim(&mut self, memory: &Memory, geometry: &Geometry, number: u32) -> u64 {
        let slab = &mut self.slabs[number as usize];
        let header = |cell| memory.header(geometry.header_index(slab.page, cell));
        let (mut fresh, mut free) = (0, NONE);
        for cell in (0..slab.fresh).rev() {
            // Relaxed: headers of cells change their owners under the stripe's lock only.
            if Owner::of(header(cell).load(Ordering::Relaxed)).is_some() {
                fresh = fresh.max(cell + 1);
            } else if fresh > 0 {
                // Relaxed: as above.
                header(cell).store(u64::from(free), Ordering::Relaxed);
                free = cell;
            }
        }
        (slab.fresh, slab.free) = (fresh, free);
        let kept = slab.end(geometry).next_multiple_of(PAGE);
        if !memory.can_release() || kept >= slab.kept || !slab.page.is_multiple_of(PAGE) {
            return 0;
        }
        let page = |granules| ((slab.page + granules) / PAGE) as usize;
        let pages = page(kept)..page(slab.kept);
        let bytes = (pages.len() * OS_PAGE) as u64;
        // SAFETY: behind the last cell that was handed out there is nothing, and the stripe's lock is held.
        if !unsafe { memory.release(&[pages]) } {
            return 0;
        }
        self.totals.trimmed += u64::from(slab.kept - kept);
        slab.kept = kept;
        bytes
    }

    /// Checks counts, free lists and labels of every slab, and the list of numbers that stand for none.
    pub(crate) fn check(
        &self,
        memory: &Memory,
        pages: &PageMap,
        classes: &Classes,
    ) -> Result<(), String> {
        let mut totals = Totals::default();
        for (number, slab) in self.iter() {
            let geometry = classes.geometry(usize::from(slab.class));
            totals.pages += 1;
            totals.empty += usize::from(slab.used == 0);
            totals.granules += geometry.granules();
            totals.used += u64::from(slab.used) * u64::from(geometry.cell);
            totals.trimmed += u64::from(pages.page() - slab.kept);
            if slab.end(geometry) > slab.kept {
                return Err(format!("cells of {slab:?} were given back to the system"));
            }
            let blocks = self.blocks(memory, geometry, number).count() as u32;
            let mut free = 0;
            let mut cell = slab.free;
            while cell != NONE && free <= geometry.cells {
                if cell >= slab.fresh {
                    return Err(format!("{cell} is a free cell of {slab:?}"));
                }
                let header = memory.header(geometry.header_index(slab.page, cell));
                // Relaxed: as in `take_cell`.
                cell = header.load(Ordering::Relaxed) as u32;
                free += 1;
            }
            if blocks != slab.used || free != slab.fresh - slab.used || slab.fresh > geometry.cells
            {
                return Err(format!("{slab:?} holds {blocks} blocks and {free} free cells"));
            }
            let label = Label::Slab { stripe: self.stripe, class: slab.class, slab: number };
            if pages.label(slab.page) != label {
                return Err(format!(
                    "the page of {slab:?} is labelled {:?}",
                    pages.label(slab.page)
                ));
            }
            let listed = slab.listed != NONE;
            if listed != (slab.used < geometry.cells && slab.mode == Mode::Open) {
                return Err(format!("{slab:?} is on the wrong list"));
            }
        }
        let (mut number, mut vacant) = (self.vacant, 0);
        while number != NONE && vacant <= self.slabs.len() {
            let slab = self.slabs.get(number as usize).filter(|slab| slab.page == 0);
            let Some(slab) = slab else {
                return Err(format!("{number} is on the list of vacant numbers"));
            };
            (number, vacant) = (slab.listed, vacant + 1);
        }
        if vacant + totals.pages != self.slabs.len() {
            return Err(format!("{vacant} of {} numbers are vacant", self.slabs.len()));
        }
        if totals != self.totals {
            return Err(format!("slabs sum up to {totals:?}, not {:?}", self.totals));
        }
        Ok(())
    }
}
