//! [`HeapMap`]: how full each part of the buffer is, for pictures.

use crate::heap::Heap;
use crate::placement::Run;
use crate::raw::GRANULE;
use crate::stripe::{Shared, Stripe};

/// How full each part of the buffer is.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct HeapMap {
    /// Bytes that one cell stands for; the last one may stand for less.
    pub cell_bytes: usize,
    /// The share of each cell that is in use, 0 to 1, in address order.
    pub cells: Vec<f32>,
}

/// Sums up free granules by cell.
struct Painter {
    cell: u64,
    lo: u32,
    free: Vec<u64>,
}

impl Painter {
    fn free(&mut self, run: Run) {
        let mut at = u64::from(run.start - self.lo);
        let end = u64::from(run.end() - self.lo);
        while at < end {
            let cell = at / self.cell;
            let next = ((cell + 1) * self.cell).min(end);
            self.free[cell as usize] += next - at;
            at = next;
        }
    }
}

impl Heap {
    /// Divides the buffer into at most `cells` equal parts (at least one) and says how full each is, headers of
    /// chunks and slabs included. Waits for a running defragmentation. O(blocks) under all locks of the stripes and the centre,
    /// and O(cells); there are at most as many cells as granules of 16 bytes, and each takes 12 bytes meanwhile.
    pub fn map(&self, cells: usize) -> HeapMap {
        let inner = self.inner();
        let _mover = inner.mover.lock();
        let (lo, hi) = inner.store.memory().bounds();
        let granules = u64::from(hi - lo);
        let cell = granules.div_ceil(cells.max(1) as u64).max(1);
        let count = granules.div_ceil(cell) as usize;
        let mut painter = Painter { cell, lo, free: vec![0; count] };
        {
            let (stripes, central) = inner.store.lock_all();
            for run in central.space.runs(inner.store.memory(), lo, hi) {
                painter.free(run);
            }
            for stripe in &stripes {
                paint_stripe(&inner.store.shared, stripe, &mut painter);
            }
        }
        let share = |(index, free): (usize, u64)| {
            let len = cell.min(granules - index as u64 * cell);
            1.0 - free as f32 / len as f32
        };
        let cells = painter.free.into_iter().enumerate().map(share).collect();
        HeapMap { cell_bytes: cell as usize * GRANULE, cells }
    }
}

fn paint_stripe(shared: &Shared, stripe: &Stripe, painter: &mut Painter) {
    match stripe {
        Stripe::Slabs(slabs) => {
            for (number, slab) in slabs.iter() {
                let geometry = shared.classes.geometry(usize::from(slab.class));
                let mut free = geometry.offset(slab.page, 0);
                for (offset, _) in slabs.blocks(&shared.memory, geometry, number) {
                    if offset > free {
                        painter.free(Run { start: free, len: offset - free });
                    }
                    free = offset + geometry.cell;
                }
                let end = slab.page + shared.pages.page();
                if end > free {
                    painter.free(Run { start: free, len: end - free });
                }
            }
        }
        Stripe::Segments(segments) => {
            let page = shared.pages.page();
            for start in segments.pages() {
                for run in segments.runs(&shared.memory, start, page) {
                    painter.free(run);
                }
            }
        }
    }
}
