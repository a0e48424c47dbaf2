//! [`HeapMap`]: how full each part of the buffer is, for pictures.

use crate::chunk::{self, Kind};
use crate::heap::{Heap, Inner};
use crate::pages::Label;
use crate::placement::Run;
use crate::raw::GRANULE;
use crate::stripe::Stripe;

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
    /// Divides the buffer into `cells` equal parts (at least one) and says how full each is, headers of
    /// chunks and slabs included. Waits for a running defragmentation. O(blocks), under the locks of the
    /// centre and one stripe at a time.
    pub fn map(&self, cells: usize) -> HeapMap {
        let inner = self.inner();
        let _mover = inner.mover.lock();
        let (lo, hi) = inner.store.memory().bounds();
        let granules = u64::from(hi - lo);
        let cell = granules.div_ceil(cells.max(1) as u64).max(1);
        let count = granules.div_ceil(cell) as usize;
        let mut painter = Painter { cell, lo, free: vec![0; count] };
        paint_centre(inner, &mut painter);
        for stripe in 0..inner.store.stripes() {
            paint_stripe(inner, stripe, &mut painter);
        }
        let share = |(index, free): (usize, u64)| {
            let len = cell.min(granules - index as u64 * cell);
            1.0 - free as f32 / len as f32
        };
        let cells = painter.free.into_iter().enumerate().map(share).collect();
        HeapMap { cell_bytes: cell as usize * GRANULE, cells }
    }
}

fn paint_centre(inner: &Inner, painter: &mut Painter) {
    let memory = inner.store.memory();
    let central = inner.store.central();
    let (lo, hi) = central.bounds();
    for run in central.space.runs(memory, lo, hi) {
        painter.free(run);
    }
}

fn paint_stripe(inner: &Inner, number: usize, painter: &mut Painter) {
    let shared = &inner.store.shared;
    let mut stripe = inner.store.stripe(number);
    match &mut *stripe {
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

/// A chunk of the centre, as `verify` walks it.
pub(crate) fn chunks(inner: &Inner) -> Result<Vec<(Run, Kind)>, String> {
    let memory = inner.store.memory();
    let central = inner.store.central();
    let (lo, hi) = central.bounds();
    let mut free = central.space.check(memory, lo, hi)?.into_iter().peekable();
    let mut chunks = Vec::new();
    let mut at = lo;
    while at < hi {
        if let Some(run) = free.next_if(|run| run.start == at) {
            at = run.end();
            continue;
        }
        let (chunk, kind) = chunk::at(memory, at)
            .filter(|(chunk, _)| {
                chunk.len > 0 && u64::from(at) + u64::from(chunk.len) <= u64::from(hi)
            })
            .ok_or_else(|| format!("neither a chunk nor a free run is at granule {at}"))?;
        let label = inner.store.shared.pages.label(at);
        let fits = match kind {
            Kind::Block => label == Label::Central,
            Kind::Slab => matches!(label, Label::Slab { .. }),
            Kind::Segment => matches!(label, Label::Segment { .. }),
        };
        if !fits {
            return Err(format!("the page of the {kind:?} at granule {at} is labelled {label:?}"));
        }
        chunks.push((chunk, kind));
        at = chunk.end();
    }
    Ok(chunks)
}
