//! What the rules cost: a contact's JSON of 2.5 KB with fifteen custom attributes becomes a record,
//! and the default rules decide on it; the same decision written by hand in Rust stands beside it.
//!
//! `cargo bench --bench rules`. In `benches/vrl`, `cargo bench` measures the same and VRL with it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark that fails panics, and prints its figures"
)]

#[path = "support/figures.rs"]
mod figures;
#[path = "support/mapping.rs"]
mod mapping;
#[path = "support/notification.rs"]
mod notification;
#[path = "support/rounds.rs"]
mod rounds;

use mapping::Mapping;
use rounds::Contest;

fn main() {
    let mapping = Mapping::new();
    // A test run only asks whether all programs decide the same.
    if std::env::args().any(|argument| argument == "--bench") {
        let mut contest = Contest::new();
        mapping.enter(&mut contest);
        let _ = mapping.report(contest);
    }
}
