//! [`DefragReport`]: what a defragmentation did, and what was in its way.

use core::fmt;
use std::time::Duration;

/// What a defragmentation did, and what was in its way.
#[derive(Clone, PartialEq, Debug, Default)]
#[non_exhaustive]
pub struct DefragReport {
    /// Blocks that were moved.
    pub moves: u64,
    /// Their bytes.
    pub moved_bytes: u64,
    /// Moves that led to something: a page came free, or a block closed a gap. Moves out of a page count once
    /// it is free, also those that an earlier call with a budget made; so in one such call there may be
    /// more of these than moves.
    pub useful_moves: u64,
    /// Bytes of pages that were given back to the system.
    pub freed_bytes: u64,
    /// Bytes of pages of slots without an object that were given back as well.
    pub freed_slot_bytes: u64,
    /// How long the system took for that.
    pub releasing: Duration,
    /// Time from the call to its end.
    pub elapsed: Duration,
    /// [`Stats::fragmentation`](crate::Stats::fragmentation) before the first move. With a budget of time
    /// it is an estimate where free runs of nearly the same length are many.
    pub fragmentation_before: f64,
    /// The same after the last one.
    pub fragmentation_after: f64,
    /// Nothing is left to do but what pins and readers are in the way of. False where a budget or open guards ended it, or
    /// another defragmentation took longer than this one could wait.
    pub complete: bool,
    /// Moves that a reader cancelled because it came first, or that a remove overtook.
    pub cancelled: u64,
    /// Threads whose open guards ended a batch of moves.
    pub blocked_by_guards: u64,
    /// How long the batch waited for them: at least so long the oldest of these guards is open.
    pub blocked_for: Duration,
    /// Time that was spent waiting for guards to close, all batches together.
    pub waited: Duration,
    /// Blocks that were left in place because they are pinned or borrowed.
    pub blocked_by_pins: u64,
    /// Bytes of these.
    pub pinned_bytes: u64,
    /// The calling thread holds a guard of the heap itself, so nothing was moved.
    pub own_guard: bool,
    /// Another defragmentation took longer than this one could wait for it, so nothing was moved.
    pub mover_busy: bool,
}

impl DefragReport {
    /// Moves a second, planning and waiting included, giving back pages not; 0 where nothing was moved.
    pub fn moves_per_second(&self) -> f64 {
        self.per_second(self.moves)
    }

    /// Bytes moved a second, planning and waiting included, giving back pages not; 0 where nothing was moved.
    pub fn bytes_per_second(&self) -> f64 {
        self.per_second(self.moved_bytes)
    }

    fn per_second(&self, count: u64) -> f64 {
        let time = self.elapsed.saturating_sub(self.releasing);
        if count == 0 { 0.0 } else { count as f64 / time.as_secs_f64().max(1e-9) }
    }
}

impl fmt::Display for DefragReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "moved {} blocks ({} bytes), {} usefully, in {:.1?} ({:.2} million and {:.0} MB a second), \
             gave back {} bytes in {:.1?}, fragmentation {:.1} % -> {:.1} %",
            self.moves,
            self.moved_bytes,
            self.useful_moves,
            self.elapsed,
            self.moves_per_second() / 1e6,
            self.bytes_per_second() / 1e6,
            self.freed_bytes,
            self.releasing,
            self.fragmentation_before * 100.0,
            self.fragmentation_after * 100.0,
        )?;
        if self.freed_slot_bytes > 0 {
            write!(f, "; gave back {} bytes of slots as well", self.freed_slot_bytes)?;
        }
        if !self.waited.is_zero() {
            write!(f, "; waited {:.1?} for guards", self.waited)?;
        }
        if self.mover_busy {
            f.write_str("; another defragmentation was under way")?;
        }
        if self.own_guard {
            f.write_str("; the calling thread holds a guard itself")?;
        }
        if self.blocked_by_guards > 0 {
            write!(
                f,
                "; guards of {} threads stayed open for {:.1?} or longer",
                self.blocked_by_guards, self.blocked_for
            )?;
        }
        if self.blocked_by_pins > 0 {
            write!(
                f,
                "; {} blocks ({} bytes) are pinned",
                self.blocked_by_pins, self.pinned_bytes
            )?;
        }
        if self.cancelled > 0 {
            write!(f, "; {} moves were cancelled by readers", self.cancelled)?;
        }
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_happen_is_not_mentioned() {
        let quiet = DefragReport::default();
        let told = DefragReport {
            freed_slot_bytes: 4096,
            waited: Duration::from_millis(3),
            mover_busy: true,
            ..DefragReport::default()
        };
        for part in ["4096 bytes of slots", "waited 3.0ms", "another defragmentation"] {
            assert!(told.to_string().contains(part) && !quiet.to_string().contains(part), "{told}");
        }
    }
}
