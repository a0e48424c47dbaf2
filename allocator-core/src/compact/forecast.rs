//! [`Forecast`]: what a full defragmentation would do, before it does it.

use super::seen;
use crate::heap::{Heap, Inner};
use crate::raw::GRANULE;
use crate::size_class::{CLASSES, granules};
use core::fmt;
use core::time::Duration;

/// What a full defragmentation would do, as far as counts tell: an estimate, made without moving anything. What pins and
/// guards would keep in place is not left out.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct Forecast {
    /// Blocks that would be moved, about.
    pub moves: u64,
    /// Their bytes.
    pub moved_bytes: u64,
    /// Pages of slabs that would come free.
    pub freed_pages: u64,
    /// Bytes of pages of the system that could be given back, those of memory that is free already included.
    /// 0 over a buffer of the caller's, which keeps its pages.
    pub freed_bytes: u64,
    /// How long the moves would take at the rate of those so far, before the first at a rate that is assumed; waiting for
    /// readers and giving pages back not included.
    pub duration: Duration,
}

impl fmt::Display for Forecast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "about {} moves ({} bytes) in {:.1?}, which free {} pages; {} bytes could be given back",
            self.moves, self.moved_bytes, self.duration, self.freed_pages, self.freed_bytes,
        )
    }
}

/// The slabs of one class.
#[derive(Clone, Copy, Default)]
struct Sum {
    slabs: u64,
    used: u64,
    /// Cells in use, by tenth of fullness, and the slabs there.
    tenths: [(u64, u64); 10],
}

impl Heap {
    /// What a full defragmentation would do now. Moves nothing. Waits for a running defragmentation, or the pass that
    /// is under way. O(pages of stripes in the buffer, pools), one lock of a stripe a slab.
    ///
    /// ```
    /// # use allocator_core::Heap;
    /// let heap = Heap::builder().capacity(1 << 20).build()?;
    /// let handles: Vec<_> = (0..100).map(|_| heap.allocate_bytes(&[7; 4000])).collect::<Result<_, _>>()?;
    /// for handle in handles.into_iter().step_by(2) {
    ///     heap.deallocate(handle)?;
    /// }
    /// heap.flush();
    /// let forecast = heap.forecast();
    /// assert!(forecast.moves > 0 && forecast.moved_bytes > 0);
    /// println!("{forecast}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn forecast(&self) -> Forecast {
        forecast(self.inner())
    }
}

fn forecast(heap: &Inner) -> Forecast {
    let mut mover = heap.mover.lock();
    let rate = mover.unfinished().rate;
    let mut sums = [Sum::default(); CLASSES];
    let pages = &heap.store.shared.pages;
    let (lo, hi) = heap.store.memory().bounds();
    let page = u64::from(pages.page());
    let mut at = pages.start(lo);
    let (mut held, mut in_slabs) = (0, 0);
    while at < hi {
        held += u64::from(pages.label(at) != crate::pages::Label::Central);
        if let Some(seen) = seen::see(heap, at) {
            let sum = &mut sums[seen.class];
            let (used, cells) = (u64::from(seen.used), cells(heap, seen.class));
            let tenth = &mut sum.tenths[(used * 10 / cells).min(9) as usize];
            *tenth = (tenth.0 + 1, tenth.1 + used);
            sum.slabs += 1;
            sum.used += used;
            in_slabs += used;
        }
        at = at.saturating_add(pages.page());
    }
    let mut forecast = Forecast::default();
    for (class, sum) in sums.iter().enumerate() {
        let needless = sum.slabs - sum.used.div_ceil(cells(heap, class)).min(sum.slabs);
        let moves = sparsest(sum, needless);
        forecast.moves += moves;
        forecast.moved_bytes += moves * u64::from(granules(class)) * GRANULE as u64;
        forecast.freed_pages += needless;
    }
    forecast.duration = rate.cells(forecast.moves);
    add_slides(heap, &mut forecast, rate, held * page, in_slabs);
    forecast.freed_bytes += forecast.freed_pages * page * GRANULE as u64;
    if !heap.store.memory().can_release() {
        forecast.freed_bytes = 0;
    }
    forecast
}

/// Cells of a slab of a class, or 1 where there are no such slabs.
fn cells(heap: &Inner, class: usize) -> u64 {
    u64::from(heap.store.shared.classes.geometry(class).cells).max(1)
}

/// The blocks in the `count` sparsest slabs.
fn sparsest(sum: &Sum, count: u64) -> u64 {
    let (mut left, mut blocks) = (count, 0);
    for (slabs, used) in sum.tenths {
        let some = slabs.min(left);
        if some > 0 {
            blocks += used * some / slabs;
            left -= some;
        }
    }
    blocks
}

/// Adds the blocks with chunks of their own that lie above the first free run, and the pages of free memory.
fn add_slides(
    heap: &Inner,
    forecast: &mut Forecast,
    rate: super::rate::Rate,
    held: u64,
    in_slabs: u64,
) {
    let live: u64 = heap.tables.all().iter().map(|table| table.live() as u64).sum();
    let memory = heap.store.memory();
    let central = heap.store.central();
    let (lo, hi) = central.bounds();
    let free = central.space.free();
    let used = u64::from(hi - lo).saturating_sub(free + held);
    let first = central.space.next_run(memory, lo, hi).map_or(hi, |run| run.start);
    let above = used.saturating_sub(u64::from(first - lo));
    let bytes = above * GRANULE as u64;
    // Of blocks that are as large as the average.
    let moves = (live.saturating_sub(in_slabs) * above).div_ceil(used.max(1));
    forecast.moves += moves;
    forecast.moved_bytes += bytes;
    forecast.duration += rate.copy(bytes as usize);
    let backed = (used + held) * GRANULE as u64;
    forecast.freed_bytes += (central.committed() as u64).saturating_sub(backed);
}
