//! Answers for mimalloc; `compare` and `memory` start it.

use mimalloc::MiMalloc;
use std::process::ExitCode;

#[global_allocator]
static GLOBAL: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    benches::remote::serve()
}
