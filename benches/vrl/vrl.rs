//! The default mapping in hand-written Rust, in the rules and in VRL, in one run.
//!
//! `cd benches/vrl && cargo bench`

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark that fails panics, and prints its figures"
)]

mod host;

#[path = "../support/figures.rs"]
mod figures;
#[path = "../support/mapping.rs"]
mod mapping;
#[path = "../support/notification.rs"]
mod notification;
#[path = "../support/rounds.rs"]
mod rounds;

use std::hint::black_box;

use mapping::{Mapping, RULES};
use rounds::Contest;
use vrl::compiler::runtime::Runtime;
use vrl::compiler::state::RuntimeState;
use vrl::compiler::{Program, SecretTarget, Target, TimeZone};
use vrl::path::OwnedTargetPath;
use vrl::value::Value;

const PROGRAM: &str = include_str!("mapping.vrl");
const VRL: &str = "record to decision, VRL";
const CONVERTED: &str = "record to decision, VRL with conversion";

fn main() {
    let mapping = Mapping::new();
    let program = compile();
    for (input, expected) in mapping.cases() {
        let decision = decide(&program, &Value::from(serde_json::Value::clone(&input.contact)));
        assert_eq!(sorted(serde_json::to_value(decision).unwrap()), expected);
    }
    // A test run only asks whether all programs decide the same.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let contact = Value::from(mapping.contact().clone());
    let mut contest = Contest::new();
    mapping.enter(&mut contest);
    contest.add(VRL, || {
        black_box(decide(&program, black_box(&contact)));
    });
    contest.add(CONVERTED, || {
        black_box(decide(&program, &Value::from(black_box(mapping.contact()).clone())));
    });
    let contest = mapping.report(contest);
    let line = |what: &str, name| {
        println!("{what:<44} {:>9.2}   at least 1.4", contest.ratio(name, RULES));
    };
    line("VRL to rules", VRL);
    // A record is JSON, which the rules read as it is and VRL does not.
    line("VRL with conversion to rules", CONVERTED);
}

fn compile() -> Program {
    let mut functions = vrl::stdlib::all();
    functions.extend(host::functions());
    vrl::compiler::compile(PROGRAM, &functions)
        .unwrap_or_else(|problems| panic!("{:?}", problems.errors()))
        .program
}

fn decide(program: &Program, contact: &Value) -> Value {
    let mut runtime = Runtime::new(RuntimeState::default());
    runtime.resolve(&mut Record(contact), program, &TimeZone::default()).unwrap()
}

/// Lists in ascending order: a decision holds a set of them, and VRL has none.
fn sorted(mut decision: serde_json::Value) -> serde_json::Value {
    if let Some(lists) = decision.get_mut("lists").and_then(serde_json::Value::as_array_mut) {
        lists.sort_by_key(serde_json::Value::as_i64);
    }
    decision
}

/// What the program reads and does not change, so that nothing is copied for it.
#[derive(Debug)]
struct Record<'a>(&'a Value);

impl Target for Record<'_> {
    fn target_get(&self, path: &OwnedTargetPath) -> Result<Option<&Value>, String> {
        Ok(self.0.get(&path.path))
    }

    fn target_get_mut(&mut self, _: &OwnedTargetPath) -> Result<Option<&mut Value>, String> {
        Err("a record is read-only".to_owned())
    }

    fn target_insert(&mut self, _: &OwnedTargetPath, _: Value) -> Result<(), String> {
        Err("a record is read-only".to_owned())
    }

    fn target_remove(&mut self, _: &OwnedTargetPath, _: bool) -> Result<Option<Value>, String> {
        Err("a record is read-only".to_owned())
    }
}

impl SecretTarget for Record<'_> {
    fn get_secret(&self, _: &str) -> Option<&str> {
        None
    }

    fn insert_secret(&mut self, _: &str, _: &str) {}

    fn remove_secret(&mut self, _: &str) {}
}
