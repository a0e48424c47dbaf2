//! [`Budget`]: how much one defragmentation may do.

use std::time::Duration;

/// How much one defragmentation may do. Whichever limit is reached first ends it, between two moves; the
/// clock is read after every move, and after every step of planning.
///
/// ```
/// use allocator_core::{Budget, Heap};
/// use std::time::Duration;
///
/// let heap = Heap::builder().capacity(1 << 20).build()?;
/// let slice = Budget::unlimited().bytes(1 << 20).time(Duration::from_micros(500));
/// loop {
///     let report = heap.defragment_with(slice);
///     if report.complete || report.own_guard || report.blocked_by_guards > 0 {
///         break;
///     }
///     std::thread::yield_now(); // or work of one's own
/// }
/// # Ok::<(), allocator_core::BuildError>(())
/// ```
/// A loop that asks for [`complete`](crate::DefragReport::complete) only has no end while somebody keeps a guard open, or with
/// a budget that allows nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Budget {
    pub(super) bytes: u64,
    pub(super) moves: u64,
    pub(super) time: Option<Duration>,
}

impl Budget {
    /// No limit.
    pub const fn unlimited() -> Self {
        Self { bytes: u64::MAX, moves: u64::MAX, time: None }
    }

    /// Stops once so many bytes were moved; the last block may exceed it.
    pub const fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Stops after so many moves.
    pub const fn moves(mut self, moves: u64) -> Self {
        self.moves = moves;
        self
    }

    /// Stops after this time: planning, waiting and giving pages back included, and continued by the next
    /// call where it ended. However short the time, a call makes one move or one step of planning (unless
    /// it is zero, and unless guards stay open), so repeated calls get to the end.
    ///
    /// What may exceed it is one step: some dozens of microseconds, or the copy of one block, which is begun
    /// only while there is time for it, or where it is the first of its call. So as to exceed it seldom, a pass ends as much
    /// earlier as its longest step of late has taken, an eighth of the time at most. And the first batch of moves waits 100 µs for
    /// readers, however short the time is.
    pub const fn time(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// Whether nothing ends the pass before its work is done.
    pub(super) fn is_unlimited(&self) -> bool {
        *self == Self::unlimited()
    }
}
