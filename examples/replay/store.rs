//! The heap of a replay: four typed pools and raw blocks, and what is known of each object.

use std::fmt;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use examples::trace::Record;
use typed_pool::{AllocError, Heap, Policy, Pool};

use crate::cell::Cell;
use crate::object::{Expected, Object, Shelf};
use crate::plan::Home;
use crate::raw;
use crate::verdict::{Checks, Verdict};

/// How often removed objects are asked for that readers might still see, a millisecond apart.
const FLUSHES_MAX: u32 = 100;

/// The objects of one replay.
pub(crate) struct Store {
    pub(crate) heap: Heap,
    shelves: [Box<dyn Shelf>; 4],
    homes: Vec<Home>,
    cells: Vec<Cell>,
}

/// The heap refused an allocation.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The heap says why.
    Heap(AllocError),
    /// No address space has room for it.
    Impossible,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Heap(error) => error.fmt(f),
            Refused::Impossible => f.write_str("no address space has room for it"),
        }
    }
}

/// By how much the sum of the live sizes changes.
pub(crate) type Change = i64;

impl Store {
    pub(crate) fn new(capacity: usize, policy: Policy, homes: &[Home]) -> Result<Store> {
        let heap = Heap::builder().capacity(capacity).policy(policy).build();
        let heap = heap.with_context(|| format!("cannot make a heap of {capacity} bytes"))?;
        let no_pool = || format!("a heap of {capacity} bytes has no room for the pools");
        let shelves: [Box<dyn Shelf>; 4] = [
            Box::new(Pool::<Object<24>>::new(&heap).with_context(no_pool)?),
            Box::new(Pool::<Object<56>>::new(&heap).with_context(no_pool)?),
            Box::new(Pool::<Object<120>>::new(&heap).with_context(no_pool)?),
            Box::new(Pool::<Object<248>>::new(&heap).with_context(no_pool)?),
        ];
        let cells = homes.iter().map(|_| Cell::default()).collect();
        Ok(Store { heap, shelves, homes: homes.to_vec(), cells })
    }

    pub(crate) fn cell(&self, id: u32) -> &Cell {
        &self.cells[id as usize]
    }

    fn shelf(&self, pool: u8) -> &dyn Shelf {
        &*self.shelves[usize::from(pool)]
    }

    /// Makes the object and writes its contents.
    pub(crate) fn allocate(&self, record: &Record, checks: &mut Checks) -> Result<Change, Refused> {
        let id = record.object;
        let handle = match self.homes[id as usize] {
            Home::Pool(pool) => {
                self.shelf(pool).insert(id, record.size as u32).map_err(Refused::Heap)?
            }
            Home::Raw { align_log2 } => raw::allocate(&self.heap, record, align_log2, checks)?,
        };
        self.cell(id).open(handle, record.size);
        Ok(record.size as Change)
    }

    /// Checks and removes the object; afterwards its handle must be refused. Every 16th object is
    /// removed once more, which must be refused too.
    pub(crate) fn free(&self, id: u32, checks: &mut Checks) -> Change {
        let cell = self.cell(id);
        let Some(handle) = cell.handle() else {
            return 0; // its allocation was refused
        };
        checks.settle(id, self.check(id, handle));
        cell.close();
        checks.expect(self.remove(id, handle), || format!("object {id} cannot be removed"));
        let gone = !self.contains(id, handle) && self.check(id, handle) == Verdict::Stale;
        checks.expect(gone, || format!("object {id}: the handle works after the removal"));
        if id.is_multiple_of(16) {
            let twice = self.remove(id, handle);
            checks.expect(!twice, || format!("object {id} can be removed twice"));
        }
        -(cell.size() as Change)
    }

    /// Gives the object another size and new contents.
    pub(crate) fn reallocate(
        &self,
        record: &Record,
        checks: &mut Checks,
    ) -> Result<Change, Refused> {
        let id = record.object;
        let cell = self.cell(id);
        let Some(handle) = cell.handle() else {
            return Ok(0); // its allocation was refused
        };
        checks.settle(id, self.check(id, handle));
        let old = cell.size();
        let resized = raw::resize(&self.heap, handle, record, cell, checks)?;
        Ok(if resized { record.size as Change - old as Change } else { 0 })
    }

    /// Reads the whole object.
    fn check(&self, id: u32, handle: u64) -> Verdict {
        match self.homes[id as usize] {
            Home::Pool(pool) => self.shelf(pool).check(self.expected(id, handle)),
            Home::Raw { align_log2 } => {
                raw::check(&self.heap, handle, id, self.cell(id), align_log2)
            }
        }
    }

    fn expected(&self, id: u32, handle: u64) -> Expected {
        Expected { handle, id, length: self.cell(id).size() as u32 }
    }

    fn contains(&self, id: u32, handle: u64) -> bool {
        match self.homes[id as usize] {
            Home::Pool(pool) => self.shelf(pool).contains(handle),
            Home::Raw { .. } => raw::contains(&self.heap, handle),
        }
    }

    fn remove(&self, id: u32, handle: u64) -> bool {
        match self.homes[id as usize] {
            Home::Pool(pool) => self.shelf(pool).remove(handle),
            Home::Raw { .. } => raw::remove(&self.heap, handle),
        }
    }

    /// Checks objects that workers may change or remove meanwhile, those of one pool under one
    /// guard. Objects that do not live are passed over.
    pub(crate) fn check_shared(&self, ids: &[u32], checks: &mut Checks) {
        let mut pooled: [Vec<Expected>; 4] = Default::default();
        for &id in ids {
            let Some(handle) = self.cell(id).handle() else { continue };
            match self.homes[id as usize] {
                Home::Pool(pool) => pooled[usize::from(pool)].push(self.expected(id, handle)),
                Home::Raw { .. } => {
                    self.settle_shared(id, handle, self.check(id, handle), checks);
                }
            }
        }
        for (shelf, expected) in self.shelves.iter().zip(&pooled) {
            shelf.check_all(expected, &mut |entry, verdict| {
                self.settle_shared(entry.id, entry.handle, verdict, checks);
            });
        }
    }

    /// A refused handle is right when the object has gone meanwhile, and then no check.
    fn settle_shared(&self, id: u32, handle: u64, verdict: Verdict, checks: &mut Checks) {
        match verdict {
            Verdict::Stale if self.cell(id).handle() != Some(handle) => {}
            Verdict::Changing => {}
            verdict => checks.settle(id, verdict),
        }
    }

    /// Makes the memory of removed objects free. Readers that see some of them are waited for,
    /// though not for ever.
    pub(crate) fn flush(&self) {
        for _ in 0..FLUSHES_MAX {
            for shelf in &self.shelves {
                shelf.flush();
            }
            self.heap.flush();
            if self.heap.stats().pending_blocks == 0 {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Checks every live object while no worker runs, the number of objects in each pool, and the
    /// structure of the heap.
    pub(crate) fn check_everything(&self, checks: &mut Checks) {
        let mut counts = [0; 4];
        for id in 0..self.cells.len() as u32 {
            let Some(handle) = self.cell(id).handle() else { continue };
            checks.settle(id, self.check(id, handle));
            if let Home::Pool(pool) = self.homes[id as usize] {
                counts[usize::from(pool)] += 1;
            }
        }
        for (shelf, count) in self.shelves.iter().zip(counts) {
            let held = shelf.len();
            checks.expect(held == count, || format!("a pool counts {held} of {count} objects"));
        }
        let structure = self.heap.verify();
        let text = || structure.as_ref().err().map_or_else(String::new, ToString::to_string);
        checks.expect(structure.is_ok(), || format!("the heap is damaged: {}", text()));
    }
}
