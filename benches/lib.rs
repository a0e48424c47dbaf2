//! What the measurements share: the contestants, the questions that are put to them, and the clock.
//!
//! * [`object`]: what every contestant stores, and the orders in which it is read and replaced.
//! * [`contestants`]: one file for each family of contestants, and the lists of who takes part in
//!   which question. **A new contestant is a file there and a line in its lists.**
//! * [`questions`]: what is done, timed and checked; one file a question.
//! * [`rounds`]: contestants take turns, so that what disturbs the machine disturbs them alike.
//! * [`statistics`]: medians of per-round ratios, and what figures are to be.
//! * [`remote`]: contestants in processes of their own: one process has one global allocator.
//! * [`programs`]: where these processes come from.
//! * [`footprint`]: how much memory contestants take for what they hold.
//! * [`progress`], [`picture`], [`table`]: what the programs show.
//! * [`cli`]: arguments, output and exit status of the programs.

pub mod cli;
pub mod contestants;
pub mod footprint;
pub mod object;
pub mod picture;
pub mod programs;
pub mod progress;
pub mod questions;
pub mod remote;
pub mod rounds;
pub mod statistics;
pub mod table;
