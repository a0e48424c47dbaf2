//! [`Rate`]: what moves have cost so far, as the measure of what they will cost.

use core::time::Duration;

/// Moves of one kind, and the time they took.
#[derive(Clone, Copy, Debug)]
struct Kind {
    count: u64,
    nanos: u64,
}

impl Kind {
    const fn of(count: u64, nanos: u64) -> Self {
        Self { count, nanos }
    }

    fn add(&mut self, count: u64, nanos: u64, most: u64) {
        self.count += count;
        self.nanos += nanos;
        // Older moves count for less and less.
        if self.count > most {
            self.count /= 2;
            self.nanos /= 2;
        }
    }

    fn nanos(&self, count: u64) -> u64 {
        (u128::from(self.nanos) * u128::from(count) / u128::from(self.count.max(1))) as u64
    }
}

/// What moves have cost in this heap, in a sum in which older ones fade.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Blocks of slabs, by number.
    cells: Kind,
    /// Other blocks, by bytes.
    bytes: Kind,
}

impl Default for Rate {
    /// Before anything was measured: 200 ns a cell, 1 ns a byte; the first moves outweigh that.
    fn default() -> Self {
        Self { cells: Kind::of(16, 16 * 200), bytes: Kind::of(4096, 4096) }
    }
}

impl Rate {
    pub(super) fn note_cells(&mut self, count: u64, time: Duration) {
        self.cells.add(count, time.as_nanos() as u64, 1 << 20);
    }

    pub(super) fn note_bytes(&mut self, bytes: u64, time: Duration) {
        self.bytes.add(bytes, time.as_nanos() as u64, 1 << 30);
    }

    /// For so many blocks of slabs.
    pub(super) fn cells(&self, count: u64) -> Duration {
        Duration::from_nanos(self.cells.nanos(count))
    }

    /// For so many bytes of other blocks.
    pub(super) fn copy(&self, bytes: usize) -> Duration {
        Duration::from_nanos(self.bytes.nanos(bytes as u64))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_outweighs_what_was_assumed() {
        let mut rate = Rate::default();
        assert_eq!(rate.cells(1000), Duration::from_micros(200));
        assert_eq!(rate.copy(1 << 20), Duration::from_nanos(1 << 20));
        for _ in 0..100 {
            rate.note_cells(100_000, Duration::from_millis(5));
            rate.note_bytes(1 << 26, Duration::from_millis(8));
        }
        let near = |time: Duration, nanos: f64| (time.as_nanos() as f64 / nanos - 1.0).abs() < 0.01;
        assert!(near(rate.cells(1000), 50_000.0), "{:?}", rate.cells(1000));
        let second = 8e6 / f64::from(1 << 26) * 1e6;
        assert!(near(rate.copy(1_000_000), second), "{:?}", rate.copy(1_000_000));
    }
}
