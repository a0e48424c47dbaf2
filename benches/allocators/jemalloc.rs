//! Answers for jemalloc; `compare` and `memory` start it.

use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static GLOBAL: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    benches::remote::serve()
}
