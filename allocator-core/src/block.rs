//! The header word of a block: who owns it, how many hold it in place, and the size of raw bytes.
//!
//! ```text
//!  63        49  48  47          32 31               0
//! +------------+----+--------------+------------------+
//! | holds: 15  | 0  | table: 16    | slot: 32         |   an object of a typed table
//! +------------+----+--------------+------------------+
//! | holds: 15  | 1  | shape: 16    | slot: 32         |   raw bytes
//! +------------+----+--------------+------------------+
//! ```
//!
//! *Table* and *slot* say which slot word names the block, so the mover goes from a block to its owner
//! without a search. Table 0 stands for "no block": a free cell of a slab keeps the next free cell in the
//! slot half. Raw bytes all belong to one table, so theirs have room for their [`Shape`].
//!
//! *Holds* counts pins and shared borrows. [`WRITER`] is an exclusive borrow, [`DEAD`] a block that
//! was replaced and waits for its grace period. A block with holds is neither moved nor reclaimed.

use crate::sync::atomic::{AtomicU64, Ordering};

const TABLE_SHIFT: u32 = 32;
const RAW: u64 = 1 << 48;
const HOLDS_SHIFT: u32 = 49;
const ONE_HOLD: u64 = 1 << HOLDS_SHIFT;
const HOLDS: u64 = !(ONE_HOLD - 1);

/// Largest table id: each table takes a mapping of its own, of which systems give a process some ten thousand.
pub(crate) const TABLE_MAX: u16 = (1 << 14) - 1;

/// The id of the table of raw blocks, which a heap makes first.
pub(crate) const RAW_TABLE: u16 = 1;

/// The count that stands for one exclusive borrow.
const WRITER: u64 = HOLDS >> HOLDS_SHIFT;

/// The count that stands for a replaced block.
const DEAD: u64 = WRITER - 1;

/// Largest number of holds of one block at a time.
pub(crate) const HOLDS_MAX: u64 = DEAD - 1;

/// Which slot of which table names a block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Owner {
    pub(crate) table: u16,
    pub(crate) slot: u32,
}

impl Owner {
    /// The header of a new block: held by nobody. Raw bytes have no shape yet.
    pub(crate) const fn header(self) -> u64 {
        let table = match self.table {
            RAW_TABLE => RAW,
            table => (table as u64) << TABLE_SHIFT,
        };
        table | self.slot as u64
    }

    /// The owner in a header; `None` in that of a free cell.
    pub(crate) const fn of(header: u64) -> Option<Self> {
        let slot = header as u32;
        if header & RAW != 0 {
            return Some(Self { table: RAW_TABLE, slot });
        }
        match (header >> TABLE_SHIFT) as u16 {
            0 => None,
            table => Some(Self { table, slot }),
        }
    }
}

/// What the header of raw bytes says of them: `zeroes due:1 | log2(align):4 | slack:11`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape(u16);

const SLACK_BITS: u32 = 11;
const ALIGN_BITS: u32 = 4;
const ZEROES_DUE: u16 = 1 << (SLACK_BITS + ALIGN_BITS);

impl Shape {
    /// Of bytes aligned to `align`, a power of two up to 4096. `slack` is what the cell of a slab has more than
    /// they need, 0 in a chunk, which says so itself (`chunk.rs`).
    pub(crate) fn new(align: usize, slack: usize, zeroes_due: bool) -> Self {
        debug_assert!(slack < 1 << SLACK_BITS && align.ilog2() < 1 << ALIGN_BITS);
        let due = if zeroes_due { ZEROES_DUE } else { 0 };
        Self(due | (align.ilog2() as u16) << SLACK_BITS | slack as u16)
    }

    /// That of the raw bytes behind a header; `None` of an object of a typed table, and of a free cell.
    pub(crate) fn of(header: u64) -> Option<Self> {
        (header & RAW != 0).then_some(Self((header >> TABLE_SHIFT) as u16))
    }

    /// Alignment in bytes.
    pub(crate) fn align(self) -> usize {
        1 << (self.0 >> SLACK_BITS & ((1 << ALIGN_BITS) - 1))
    }

    /// Bytes of the cell beyond those that are asked for.
    pub(crate) fn slack(self) -> usize {
        usize::from(self.0 & ((1 << SLACK_BITS) - 1))
    }

    /// The bytes are to be read as zeroes, but were not written yet.
    pub(crate) fn are_zeroes_due(self) -> bool {
        self.0 & ZEROES_DUE != 0
    }
}

/// Changes the shape of raw bytes. Nobody else changes the header meanwhile: the block is not published yet, or
/// held exclusively, or locked by the mover and not held.
pub(crate) fn set_shape(header: &AtomicU64, shape: Shape) {
    // Relaxed: nobody else stores.
    let seen = header.load(Ordering::Relaxed);
    debug_assert!(seen & RAW != 0);
    let others = seen & !(u64::from(u16::MAX) << TABLE_SHIFT);
    // Release: who is told of the size finds the bytes that go with it. Partner: the Acquire in `Store::size_of`;
    // as a rule the end of the hold or the slot word does the same.
    header.store(others | u64::from(shape.0) << TABLE_SHIFT, Ordering::Release);
}

/// How a block is to be held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// Together with other shared holds: a pin, or a reader of a raw block.
    Shared,
    /// Alone: the writer of a raw block.
    Exclusive,
}

/// What became of an attempt to hold a block.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HoldOutcome {
    /// The block stays where it is until it is let go.
    Held,
    /// Somebody holds it in a way that excludes ours.
    Busy,
    /// It has as many shared holds as can be counted.
    Full,
}

/// Number of holds in a header; 0 for a replaced block, which nobody can hold any more.
pub(crate) const fn holds(header: u64) -> u64 {
    match header >> HOLDS_SHIFT {
        DEAD => 0,
        holds => holds,
    }
}

/// Holds a block once more, never waiting.
///
/// The caller found the block through its slot inside a read-side section that is still open, or holds it
/// already.
pub(crate) fn try_hold(header: &AtomicU64, access: Access) -> HoldOutcome {
    // Relaxed: a hint for the compare-and-swap.
    let mut seen = header.load(Ordering::Relaxed);
    loop {
        let count = seen >> HOLDS_SHIFT;
        let next = match access {
            Access::Shared if count < HOLDS_MAX => seen + ONE_HOLD,
            Access::Exclusive if count == 0 => seen | HOLDS,
            Access::Shared if count == HOLDS_MAX => return HoldOutcome::Full,
            _ => return HoldOutcome::Busy,
        };
        // Acquire: the bytes that the last holder wrote. Partner: the Release in `let_go`. Weaker, a reader
        // of a raw block could miss what the writer before it wrote. Relaxed on failure: retried.
        match header.compare_exchange(seen, next, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return HoldOutcome::Held,
            Err(now) => seen = now,
        }
    }
}

/// Ends one hold; gives the number that is left.
pub(crate) fn let_go(header: &AtomicU64, access: Access) -> u64 {
    // Release: what was read or written under the hold comes before. Partners: the Acquire in `try_hold`, and
    // in `is_held`, by which the mover and the reclaimer see that the block is free to be taken. Weaker,
    // a mover could copy the block while the last access to it is still under way.
    let before = match access {
        Access::Shared => header.fetch_sub(ONE_HOLD, Ordering::Release),
        Access::Exclusive => header.fetch_and(!HOLDS, Ordering::Release),
    };
    match access {
        Access::Shared => (before >> HOLDS_SHIFT) - 1,
        Access::Exclusive => 0,
    }
}

/// Turns an exclusive hold into a shared one without letting go in between.
pub(crate) fn downgrade(header: &AtomicU64) {
    // Release: readers that join must see what was written. Partner: the Acquire in `try_hold`. Nobody else
    // changes a header that is held exclusively, so this is no lost update.
    header.fetch_and(!HOLDS | ONE_HOLD, Ordering::Release);
}

/// Marks a block that is held exclusively as replaced: nobody can hold it from now on.
pub(crate) fn bury(header: &AtomicU64) {
    // Release: our last access comes before. Partner: the Acquire in `is_held`. `WRITER` is all ones, so
    // `DEAD` is reached by clearing one bit.
    header.fetch_and(!(WRITER ^ DEAD).wrapping_shl(HOLDS_SHIFT), Ordering::Release);
}

/// Whether anybody holds the block now.
pub(crate) fn is_held(header: &AtomicU64) -> bool {
    // Acquire: pairs with the Release in `let_go` and `bury`, so that the caller may copy or reclaim.
    holds(header.load(Ordering::Acquire)) > 0
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const OWNER: Owner = Owner { table: u16::MAX, slot: u32::MAX };

    fn now(header: &AtomicU64) -> u64 {
        // Relaxed: the tests are one thread each.
        header.load(Ordering::Relaxed)
    }

    #[test]
    fn owners_survive_every_hold() {
        let header = AtomicU64::new(OWNER.header());
        assert_eq!(try_hold(&header, Access::Shared), HoldOutcome::Held);
        assert_eq!(try_hold(&header, Access::Shared), HoldOutcome::Held);
        assert_eq!(try_hold(&header, Access::Exclusive), HoldOutcome::Busy);
        assert_eq!(let_go(&header, Access::Shared), 1);
        assert!(is_held(&header));
        assert_eq!(let_go(&header, Access::Shared), 0);
        assert!(!is_held(&header));
        assert_eq!(try_hold(&header, Access::Exclusive), HoldOutcome::Held);
        assert_eq!(try_hold(&header, Access::Shared), HoldOutcome::Busy);
        downgrade(&header);
        assert_eq!(holds(now(&header)), 1);
        assert_eq!(Owner::of(now(&header)), Some(OWNER));
    }

    #[test]
    fn a_replaced_block_can_be_reclaimed_but_not_held() {
        let header = AtomicU64::new(OWNER.header());
        assert_eq!(try_hold(&header, Access::Exclusive), HoldOutcome::Held);
        bury(&header);
        assert!(!is_held(&header));
        assert_eq!(try_hold(&header, Access::Shared), HoldOutcome::Busy);
        assert_eq!(try_hold(&header, Access::Exclusive), HoldOutcome::Busy);
    }

    #[test]
    fn a_full_count_is_full() {
        let header = AtomicU64::new(OWNER.header() | HOLDS_MAX << HOLDS_SHIFT);
        assert_eq!(try_hold(&header, Access::Shared), HoldOutcome::Full);
        assert_eq!(holds(now(&header)), HOLDS_MAX);
    }

    #[test]
    fn a_free_cell_has_neither_owner_nor_shape() {
        assert_eq!(Owner::of(17), None);
        assert_eq!(Shape::of(17), None);
    }

    #[test]
    fn the_shape_of_raw_bytes_changes_under_a_hold() {
        let owner = Owner { table: RAW_TABLE, slot: 7 };
        let header = AtomicU64::new(owner.header());
        assert_eq!(try_hold(&header, Access::Exclusive), HoldOutcome::Held);
        let shape = Shape::new(4096, 1024, true);
        set_shape(&header, shape);
        assert_eq!(let_go(&header, Access::Exclusive), 0);
        let seen = now(&header);
        assert_eq!((Owner::of(seen), Shape::of(seen), holds(seen)), (Some(owner), Some(shape), 0));
        assert_eq!((shape.align(), shape.slack(), shape.are_zeroes_due()), (4096, 1024, true));
        assert_eq!(Shape::of(OWNER.header()), None);
    }
}
