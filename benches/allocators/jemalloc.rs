//! Answers for jemalloc; `compare` starts it.

use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static GLOBAL: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    benches::remote::serve()
}
