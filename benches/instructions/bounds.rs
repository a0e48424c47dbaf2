//! The bounds that `.ci/instructions` checks: what one operation may cost at most.
//!
//! Set a little above the counts of the day: `.ci/instructions --list` prints them in the form of
//! this table. A change that needs more raises its bound here, where a reviewer sees it.

use crate::operations::Operation;
use crate::trace::Cost;

/// One line an operation: instructions, locked instructions (atomic read-modify-writes and full
/// fences) and system calls, per operation.
pub(crate) const BOUNDS: [(Operation, Cost); 7] = [
    (Operation::GetUnderGuard, Cost::new(18.0, 0.0, 0.0)),
    (Operation::GetOwnGuard, Cost::new(44.0, 0.0, 0.0)),
    (Operation::Insert, Cost::new(287.0, 0.24, 0.001)),
    (Operation::Remove, Cost::new(253.0, 1.2, 0.001)),
    (Operation::Replace, Cost::new(120.0, 1.2, 0.0)),
    (Operation::Move, Cost::new(910.0, 2.3, 0.010)),
    (Operation::RawPair, Cost::new(519.0, 1.2, 0.0)),
];
