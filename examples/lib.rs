//! What the examples share with the benchmarks: reading recorded allocation traces.
//!
//! The examples themselves are `quickstart` and `replay`; start them with
//! `cargo run --release -p examples --example NAME`.

pub mod trace;
