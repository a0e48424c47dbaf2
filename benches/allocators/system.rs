//! Answers for the system allocator; `compare` starts it.

use std::alloc::System;
use std::process::ExitCode;

#[global_allocator]
static GLOBAL: System = System;

fn main() -> ExitCode {
    benches::remote::serve()
}
