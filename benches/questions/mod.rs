//! What is asked of the contestants, timed, and checked each round.
//!
//! What is timed is the operation alone, in a loop that is the same for all. What is checked after
//! it, untimed, is the content of the objects and that keys of removed objects find nothing.

pub mod churning;
pub mod handing_over;
pub mod raw_blocks;
pub mod reading;
mod together;

pub use together::together;
