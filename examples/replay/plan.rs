//! What is known before the replay starts: where each object lives, which worker does which
//! record, where to measure, and how much memory the heap needs.

use examples::trace::{Op, Record, Trace};

use crate::object::PAYLOADS;

/// Where an object lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// In the typed pool with this index.
    Pool(u8),
    /// In a raw block: it is large, aligned, or changes its size.
    Raw {
        /// The alignment is two to this power.
        align_log2: u8,
    },
}

/// `malloc` aligns to 16 bytes on common machines.
const MALLOC: Home = Home::Raw { align_log2: 4 };

/// A record that a worker has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Index of the record.
    pub(crate) record: u32,
    /// One more than the index of the object's record before it; 0 for the first.
    pub(crate) after: u32,
}

/// The plan of a replay.
#[derive(Debug)]
pub(crate) struct Plan {
    /// By object.
    pub(crate) homes: Vec<Home>,
    /// By worker, in order.
    pub(crate) steps: Vec<Vec<Step>>,
    /// Number of records before the measured defragmentation.
    pub(crate) measure_at: u32,
    /// How many records a worker may be ahead of the slowest one.
    pub(crate) window: u32,
    /// A capacity in which every allocation should succeed, before rounding up to a MiB.
    capacity: u64,
}

const WINDOW_MAX: u32 = 4096;
const WINDOW_MIN: u32 = 64;
/// The allocations of one window, the largest aside, stay below this share of the peak or below a
/// MiB, where [`WINDOW_MIN`] lets them.
const WINDOW_SHARE: u64 = 8;

const MIB: u64 = 1 << 20;
const SLACK: u64 = 8 * MIB;
/// Header and rounding of one block.
const BLOCK_OVERHEAD: u64 = 16;
const GRANULE: u64 = 16;

impl Plan {
    pub(crate) fn new(trace: &Trace, threads: usize) -> Plan {
        let homes = homes(trace);
        let largest = trace.records().iter().map(|record| record.size).max().unwrap_or(0);
        let (window, ahead) = window(trace, largest);
        let (measure_at, footprint) = footprint(trace, &homes);
        let capacity = footprint
            .saturating_add(footprint / 2)
            .saturating_add(largest.saturating_mul(2))
            .saturating_add(ahead)
            .saturating_add(SLACK);
        Plan { steps: steps(trace, threads), homes, measure_at, window, capacity }
    }

    /// The capacity of the heap in bytes, a multiple of a MiB.
    pub(crate) fn capacity(&self) -> usize {
        let mib = self.capacity.div_ceil(MIB).saturating_mul(MIB);
        usize::try_from(mib).unwrap_or(usize::MAX)
    }
}

fn homes(trace: &Trace) -> Vec<Home> {
    let mut homes = vec![MALLOC; trace.objects() as usize];
    for record in trace.records() {
        let home = &mut homes[record.object as usize];
        *home = match (record.op, *home) {
            (Op::Allocate | Op::AllocateZeroed, _) => smallest_pool(record.size),
            (Op::AllocateAligned, _) => {
                Home::Raw { align_log2: (record.align().ilog2() as u8).max(4) }
            }
            (Op::Reallocate, Home::Pool(_)) => MALLOC,
            (Op::Reallocate | Op::Free, home) => home,
        };
    }
    homes
}

fn smallest_pool(size: u64) -> Home {
    match PAYLOADS.iter().position(|&payload| size <= payload as u64) {
        Some(pool) => Home::Pool(pool as u8),
        None => MALLOC,
    }
}

/// Deals the records out to the workers.
fn steps(trace: &Trace, threads: usize) -> Vec<Vec<Step>> {
    let mut steps = vec![Vec::new(); threads];
    let mut last = vec![0; trace.objects() as usize];
    for (index, record) in trace.records().iter().enumerate() {
        let key = if trace.threads() > 1 { u32::from(record.thread) } else { record.object };
        let after = &mut last[record.object as usize];
        steps[key as usize % threads].push(Step { record: index as u32, after: *after });
        *after = index as u32 + 1;
    }
    steps
}

/// Bytes that an object takes in the heap.
fn block_bytes(home: Home, record: &Record) -> u64 {
    let payload = match home {
        Home::Pool(pool) => PAYLOADS[usize::from(pool)] as u64 + 8,
        Home::Raw { align_log2 } => {
            let align = 1 << align_log2;
            record.size.saturating_add(if align > GRANULE { align } else { 0 })
        }
    };
    payload.max(1).div_ceil(GRANULE).saturating_mul(GRANULE).saturating_add(BLOCK_OVERHEAD)
}

/// The point to measure at, and the largest sum of live block sizes.
fn footprint(trace: &Trace, homes: &[Home]) -> (u32, u64) {
    let mut sizes = vec![(0, 0); trace.objects() as usize]; // requested, in the heap
    let (mut requested, mut blocks) = (0, 0u64);
    let (mut requested_peak, mut blocks_peak) = (0, 0);
    let (mut measure_at, mut most_freed) = (0, 0);
    for (index, record) in trace.records().iter().enumerate() {
        let entry = &mut sizes[record.object as usize];
        requested -= entry.0;
        blocks = blocks.saturating_sub(entry.1);
        *entry = match record.op {
            Op::Free => (0, 0),
            _ => (record.size, block_bytes(homes[record.object as usize], record)),
        };
        requested += entry.0;
        blocks = blocks.saturating_add(entry.1);
        requested_peak = requested_peak.max(requested);
        blocks_peak = blocks_peak.max(blocks);
        let tenth = requested >= trace.peak_bytes() / 10;
        if tenth && requested_peak - requested >= most_freed {
            most_freed = requested_peak - requested;
            measure_at = index as u32 + 1;
        }
    }
    (measure_at, blocks_peak)
}

/// How far the workers may drift apart, and the most that so many records allocate.
fn window(trace: &Trace, largest: u64) -> (u32, u64) {
    let growths = growths(trace);
    let limit = MIB.max(trace.peak_bytes() / WINDOW_SHARE).saturating_add(largest);
    let mut window = WINDOW_MAX;
    loop {
        let most = largest_sum(&growths, window as usize);
        if window == WINDOW_MIN || most <= limit {
            return (window, most);
        }
        window /= 2;
    }
}

/// By how much each record raises the sum of the live sizes; 0 when it lowers it.
fn growths(trace: &Trace) -> Vec<u64> {
    let mut sizes = vec![0; trace.objects() as usize];
    let growth = |record: &Record| {
        let size = if record.op == Op::Free { 0 } else { record.size };
        let old = std::mem::replace(&mut sizes[record.object as usize], size);
        size.saturating_sub(old)
    };
    trace.records().iter().map(growth).collect()
}

/// The largest sum of `window` values in a row.
fn largest_sum(values: &[u64], window: usize) -> u64 {
    let (mut sum, mut largest) = (0u64, 0);
    for (index, value) in values.iter().enumerate() {
        // Saturation can only make the result too large.
        sum = sum.saturating_add(*value);
        largest = largest.max(sum);
        if index + 1 >= window {
            sum = sum.saturating_sub(values[index + 1 - window]);
        }
    }
    largest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_sum_is_found_wherever_it_is() {
        let values = [5, 1, 4, 4, 0, 7];
        assert_eq!([1, 2, 3, 6, 9].map(|window| largest_sum(&values, window)), [7, 8, 11, 21, 21]);
        assert_eq!(largest_sum(&[], 4), 0);
    }
}
