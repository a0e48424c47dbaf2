//! [`Slabs`]: the slabs of one stripe, pages divided into cells of one size class.
//!
//! Where a slab keeps the header words of its cells is a matter of the class (`size_class.rs`). The header of a free cell
//! names the next free cell, so freeing touches no object.
//!
//! * this file: handing cells out and taking them back;
//! * `trim.rs`: giving the end of a slab back to the system, and all the checks.
//!
//! Everything here runs under the stripe's lock.

#[allow(unsafe_code)]
mod trim;

use crate::block::Owner;
use crate::chunk::{self, Kind};
use crate::pages::{Label, PageMap};
use crate::placement::Run;
use crate::raw::Memory;
use crate::size_class::{CLASSES, Classes, Geometry};
use crate::sync::atomic::Ordering;

/// "No cell", and "on no list".
const NONE: u32 = u32::MAX;

/// One slab.
#[derive(Clone, Debug)]
pub(crate) struct Slab {
    /// First granule of its page.
    pub(crate) page: u32,
    pub(crate) class: u8,
    /// Cells in use.
    pub(crate) used: u32,
    /// Cells below this one were handed out at least once; only their headers mean anything.
    pub(crate) fresh: u32,
    /// First cell of the free list.
    free: u32,
    /// Place in the list of its class's partial slabs. Of a number that stands for no slab: the next such number.
    listed: u32,
    mode: Mode,
    /// Granules of the page, from its start, that are not known to be given back to the system; whole pages of the system.
    kept: u32,
}

/// Who puts blocks into a slab.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// Whoever allocates.
    Open,
    /// Nobody: a mover empties it, and its page goes as soon as it is empty.
    Emptying,
    /// The mover alone, which keeps it even while it is empty.
    Filling,
}

/// What freeing a cell left behind.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Freed {
    /// Other cells of the slab are in use, or the slab is kept for the next blocks of its class.
    Kept,
    /// The page is empty: the caller gives it to the centre.
    Page(Run),
}

/// The slabs of one stripe.
#[derive(Debug)]
pub(crate) struct Slabs {
    stripe: u8,
    slabs: Vec<Slab>,
    /// The first number in `slabs` that stands for no slab.
    vacant: u32,
    /// Slabs with a free cell, by class; the last one is filled first.
    partial: Box<[Vec<u32>]>,
    totals: Totals,
}

/// Sums over the slabs of a stripe.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) pages: usize,
    /// Slabs without a block.
    pub(crate) empty: usize,
    /// Granules of all cells, and of those in use.
    pub(crate) granules: u64,
    pub(crate) used: u64,
    /// Granules at the ends of slabs that are given back to the system.
    pub(crate) trimmed: u64,
}

impl Slabs {
    pub(crate) fn new(stripe: u8) -> Self {
        Self {
            stripe,
            slabs: Vec::new(),
            vacant: NONE,
            partial: vec![Vec::new(); CLASSES].into_boxed_slice(),
            totals: Totals::default(),
        }
    }

    /// The slab of a label that was read under the lock.
    pub(crate) fn slab(&self, number: u32) -> &Slab {
        &self.slabs[number as usize]
    }

    /// Sums over the slabs. O(1).
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// The largest class with a free cell that anybody may take. O(classes).
    pub(crate) fn largest_class(&self) -> Option<usize> {
        (0..CLASSES).rev().find(|class| !self.partial[*class].is_empty())
    }

    /// The slabs that hold a page, with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Slab)> {
        (0..).zip(&self.slabs).filter(|(_, slab)| slab.page != 0)
    }

    /// Takes a cell of `class` for a block of `owner`; gives the block's offset. `None` when every slab of
    /// the class is full. O(1).
    pub(crate) fn allocate(
        &mut self,
        memory: &Memory,
        classes: &Classes,
        class: usize,
        owner: Owner,
    ) -> Option<u32> {
        let number = *self.partial[class].last()?;
        Some(self.take_cell(memory, classes.geometry(class), number, owner))
    }

    /// Takes a cell of any class that holds `bytes` aligned to `align` granules, however much is wasted: for a
    /// heap that has nothing else left. O(slabs).
    pub(crate) fn allocate_anywhere(
        &mut self,
        memory: &Memory,
        classes: &Classes,
        bytes: usize,
        align: u32,
        owner: Owner,
    ) -> Option<u32> {
        let holds = |class: usize| {
            let geometry = classes.geometry(class);
            geometry.room >= bytes && geometry.align >= align
        };
        let open = (0..CLASSES)
            .filter(|class| holds(*class))
            .find_map(|class| self.allocate(memory, classes, class, owner));
        open.or_else(|| {
            // A mover has these to itself, but it can do with less.
            let closed = |slab: &Slab| slab.mode != Mode::Open && holds(usize::from(slab.class));
            let (number, geometry) =
                self.iter().filter(|(_, slab)| closed(slab)).find_map(|(number, slab)| {
                    let geometry = classes.geometry(usize::from(slab.class));
                    (slab.used < geometry.cells).then_some((number, *geometry))
                })?;
            Some(self.take_cell(memory, &geometry, number, owner))
        })
    }

    /// Takes a cell of the slab `number`, which has a free one.
    pub(crate) fn take_cell(
        &mut self,
        memory: &Memory,
        geometry: &Geometry,
        number: u32,
        owner: Owner,
    ) -> u32 {
        let slab = &mut self.slabs[number as usize];
        let cell = if slab.free == NONE {
            slab.fresh += 1;
            self.totals.trimmed -= slab.keep(geometry, slab.fresh);
            slab.fresh - 1
        } else {
            slab.free
        };
        debug_assert!(cell < geometry.cells, "slab {number} is full");
        let index = geometry.header_index(slab.page, cell);
        let header = if slab.free == NONE {
            memory.new_header(index)
        } else {
            let header = memory.header(index);
            // Relaxed: headers of free cells are touched under the stripe's lock only.
            slab.free = header.load(Ordering::Relaxed) as u32;
            header
        };
        // Relaxed: published with the block's offset, by the Release of the slot word; the mover reads it
        // under the stripe's lock.
        header.store(owner.header(), Ordering::Relaxed);
        slab.used += 1;
        self.totals.used += u64::from(geometry.cell);
        self.totals.empty -= usize::from(slab.used == 1);
        let offset = geometry.offset(slab.page, cell);
        if slab.used == geometry.cells {
            self.unlist(number);
        }
        offset
    }

    /// Makes the chunk `page` a slab of `class`.
    pub(crate) fn add_page(
        &mut self,
        memory: &Memory,
        pages: &PageMap,
        classes: &Classes,
        class: usize,
        page: Run,
        mode: Mode,
    ) -> u32 {
        chunk::init(memory, page, Kind::Slab);
        let slab = Slab {
            page: page.start,
            class: class as u8,
            used: 0,
            fresh: 0,
            free: NONE,
            listed: NONE,
            mode,
            kept: page.len,
        };
        let number = if self.vacant == NONE {
            self.slabs.push(slab);
            self.slabs.len() as u32 - 1
        } else {
            let before = core::mem::replace(&mut self.slabs[self.vacant as usize], slab);
            core::mem::replace(&mut self.vacant, before.listed)
        };
        if mode == Mode::Open {
            self.list(number);
        }
        self.totals.pages += 1;
        self.totals.empty += 1;
        self.totals.granules += classes.geometry(class).granules();
        let label = Label::Slab { stripe: self.stripe, class: class as u8, slab: number };
        pages.set(page.start, label);
        number
    }

    /// Frees the cell at `offset` of the slab `number`. O(1). An empty slab is kept while it is the only one
    /// of its class with room.
    pub(crate) fn free(
        &mut self,
        memory: &Memory,
        pages: &PageMap,
        classes: &Classes,
        number: u32,
        offset: u32,
    ) -> Freed {
        let class = usize::from(self.slab(number).class);
        let geometry = classes.geometry(class);
        let slab = &mut self.slabs[number as usize];
        let cell = geometry.cell_at(slab.page, offset);
        debug_assert_eq!(geometry.offset(slab.page, cell), offset, "no cell starts at {offset}");
        let header = memory.header(geometry.header_index(slab.page, cell));
        // Relaxed: as in `take_cell`. Table 0, so the cell reads as free.
        header.store(u64::from(slab.free), Ordering::Relaxed);
        slab.free = cell;
        slab.used -= 1;
        self.totals.used -= u64::from(geometry.cell);
        self.totals.empty += usize::from(slab.used == 0);
        let (empty, mode) = (slab.used == 0, slab.mode);
        if slab.listed == NONE && mode == Mode::Open {
            self.list(number);
        }
        let needless = match mode {
            Mode::Open => self.partial[class].len() > 1,
            Mode::Emptying => true,
            Mode::Filling => false,
        };
        if empty && needless {
            Freed::Page(self.remove_page(pages, number, geometry, memory))
        } else {
            Freed::Kept
        }
    }

    /// Gives up an empty slab; its page is the caller's.
    fn remove_page(
        &mut self,
        pages: &PageMap,
        number: u32,
        geometry: &Geometry,
        memory: &Memory,
    ) -> Run {
        debug_assert_ne!(self.slab(number).page, 0, "slab {number} is gone already");
        self.unlist(number);
        let slab = &mut self.slabs[number as usize];
        let page = Run { start: slab.page, len: pages.page() };
        debug_assert_eq!(slab.used, 0);
        debug_assert!(chunk::at(memory, page.start).is_some() && geometry.cells > 0);
        self.totals.pages -= 1;
        self.totals.empty -= 1;
        self.totals.granules -= geometry.granules();
        // For the centre all of the page may be committed.
        self.totals.trimmed -= u64::from(page.len - slab.kept);
        slab.page = 0;
        slab.listed = core::mem::replace(&mut self.vacant, number);
        pages.set(page.start, Label::Central);
        page
    }

    /// Gives up all empty slabs that were kept. O(classes + slabs with room).
    pub(crate) fn drain_empty(
        &mut self,
        memory: &Memory,
        pages: &PageMap,
        classes: &Classes,
    ) -> Vec<Run> {
        let mut drained = Vec::new();
        if self.totals.empty == 0 {
            return drained;
        }
        for class in 0..CLASSES {
            let empty = |number: &u32| self.slab(*number).used == 0;
            let numbers: Vec<u32> = self.partial[class].iter().copied().filter(empty).collect();
            for number in numbers {
                drained.push(self.remove_page(pages, number, classes.geometry(class), memory));
            }
        }
        drained
    }

    /// Gives a mover the slab to itself, to empty or to fill it.
    pub(crate) fn close(&mut self, number: u32, mode: Mode) {
        debug_assert!(mode != Mode::Open && self.slab(number).page != 0);
        self.slabs[number as usize].mode = mode;
        self.unlist(number);
    }

    /// Opens a slab that a mover had to itself; gives its page where it is empty by now. What is not empty is the
    /// last of its class to be filled: the next mover may find it as it is.
    pub(crate) fn reopen(
        &mut self,
        memory: &Memory,
        pages: &PageMap,
        geometry: &Geometry,
        number: u32,
    ) -> Option<Run> {
        let slab = &mut self.slabs[number as usize];
        slab.mode = Mode::Open;
        if slab.used == 0 {
            return Some(self.remove_page(pages, number, geometry, memory));
        }
        if slab.used < geometry.cells && slab.listed == NONE {
            self.list(number);
            self.put_last(number);
        }
        None
    }

    /// Makes a listed slab the last of its class to be filled.
    pub(crate) fn put_last(&mut self, number: u32) {
        let slab = &self.slabs[number as usize];
        let (spot, partial) = (slab.listed, &mut self.partial[usize::from(slab.class)]);
        partial.swap(0, spot as usize);
        let other = partial[spot as usize];
        self.slabs[other as usize].listed = spot;
        self.slabs[number as usize].listed = 0;
    }

    /// Whether a slab has a free cell.
    pub(crate) fn has_room(&self, number: u32, geometry: &Geometry) -> bool {
        self.slab(number).used < geometry.cells
    }

    /// Whether a mover has the slab to itself.
    pub(crate) fn is_closed(&self, number: u32) -> bool {
        self.slab(number).mode != Mode::Open
    }

    fn list(&mut self, number: u32) {
        let slab = &mut self.slabs[number as usize];
        let partial = &mut self.partial[usize::from(slab.class)];
        slab.listed = partial.len() as u32;
        partial.push(number);
    }

    fn unlist(&mut self, number: u32) {
        let slab = &mut self.slabs[number as usize];
        let spot = core::mem::replace(&mut slab.listed, NONE);
        if spot == NONE {
            return;
        }
        let partial = &mut self.partial[usize::from(slab.class)];
        partial.swap_remove(spot as usize);
        if let Some(moved) = partial.get(spot as usize) {
            self.slabs[*moved as usize].listed = spot;
        }
    }

    /// The owners of the blocks in a slab, in address order, with their offsets.
    pub(crate) fn blocks(
        &self,
        memory: &Memory,
        geometry: &Geometry,
        number: u32,
    ) -> impl Iterator<Item = (u32, Owner)> {
        let slab = self.slab(number);
        (0..slab.fresh).filter_map(move |cell| {
            let header = memory.header(geometry.header_index(slab.page, cell));
            // Relaxed: owners of cells change under the stripe's lock only.
            let owner = Owner::of(header.load(Ordering::Relaxed))?;
            Some((geometry.offset(slab.page, cell), owner))
        })
    }
}
