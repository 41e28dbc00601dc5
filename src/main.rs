//! The program `tajo`; everything it does is in the library's [`tajo::cli`].

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Mapping and parsing allocate much and briefly, which is what this allocator is good at.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    tajo::cli::run(std::env::args_os())
}
