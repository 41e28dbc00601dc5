//! The program `tajo`; everything it does is in the library's [`tajo::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    tajo::telemetry::log_panics_by_place();
    tajo::cli::run(std::env::args_os())
}
