//! Any JSON is a record that the default rules decide on, twice alike, or fail on with a reason.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../targets.rs"]
mod targets;

fuzz_target!(|data: &[u8]| targets::decide(data));
