//! The measured defragmentation: what the heap looks like before and after it.

use typed_pool::{DefragReport, Heap};

use crate::options::Mode;
use crate::replay::Run;
use crate::verdict::Checks;

/// Number of cells of a heap map; the pictures divide it.
pub(crate) const CELLS: usize = 1024;

/// The state of a heap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// Memory that the system has given to the heap; what is committed where the system does not
    /// say.
    pub(crate) resident: u64,
    pub(crate) fragmentation: f64,
    /// Share of each cell in use.
    pub(crate) cells: Vec<f32>,
}

/// The heap before and after.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measurement {
    /// Number of records before it.
    pub(crate) at: u64,
    /// Sum of the requested sizes of the objects that live there.
    pub(crate) live_bytes: u64,
    pub(crate) before: Snapshot,
    pub(crate) after: Snapshot,
    /// What the defragmentation says; none without one.
    pub(crate) report: Option<DefragReport>,
}

impl Snapshot {
    fn take(heap: &Heap) -> Snapshot {
        let stats = heap.stats();
        Snapshot {
            resident: stats.resident.unwrap_or(stats.committed) as u64,
            fragmentation: stats.fragmentation(),
            cells: heap.map(CELLS).cells,
        }
    }
}

/// Compacts the heap between two looks at it, and checks every object afterwards. The workers
/// wait, the readers do not. With `--defragment off` the heap is only looked at.
pub(crate) fn measure(run: &Run<'_>, checks: &mut Checks) -> Measurement {
    let heap = &run.store.heap;
    // Objects that have been removed already are no part of what compaction gains.
    run.store.flush();
    let before = Snapshot::take(heap);
    let report = (run.mode != Mode::Off).then(|| run.compaction.defragment(heap));
    let after = if report.is_some() { Snapshot::take(heap) } else { before.clone() };
    run.store.check_everything(checks);
    Measurement {
        at: u64::from(run.plan.measure_at),
        live_bytes: run.live.bytes(),
        before,
        after,
        report,
    }
}
