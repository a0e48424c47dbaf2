//! Answers for the system allocator; `compare` and `memory` start it.

use std::alloc::System;
use std::process::ExitCode;

#[global_allocator]
static GLOBAL: System = System;

fn main() -> ExitCode {
    benches::remote::serve()
}
