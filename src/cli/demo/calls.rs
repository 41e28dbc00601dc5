//! Calls that were made, and how many a client that takes every change by itself would have made.

use std::fmt::Write as _;

use super::report::{Report, grouped};
use super::stage::Stage;

/// What one step cost.
#[derive(Debug)]
struct Row {
    step: &'static str,
    writes: usize,
    naive: usize,
}

/// Counts Brevo's writes, step by step, where they arrive.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    rows: Vec<Row>,
    counted: usize,
}

impl Ledger {
    /// Ends a step; how many writes it took. `naive`: one call for each changed contact, one more for
    /// each membership.
    pub(super) fn end_step(&mut self, stage: &Stage, step: &'static str, naive: usize) -> usize {
        let all = stage.sandbox.brevo.changes();
        let writes = all - self.counted;
        self.counted = all;
        self.rows.push(Row { step, writes, naive });
        writes
    }

    /// All writes so far.
    fn writes(&self) -> usize {
        self.rows.iter().map(|row| row.writes).sum()
    }

    fn naive(&self) -> usize {
        self.rows.iter().map(|row| row.naive).sum()
    }

    /// Prints the table, and the calls by kind.
    pub(super) fn print(&self, stage: &Stage, report: &mut Report) {
        report.detail(format!(
            "{:<40}{:>12}{:>16}",
            "calls that write to Brevo", "made", "naive client"
        ));
        let sum = Row { step: "in all", writes: self.writes(), naive: self.naive() };
        for Row { step, writes, naive } in self.rows.iter().chain([&sum]) {
            report.detail(format!("  {step:<38}{:>12}{:>16}", grouped(*writes), grouped(*naive)));
        }
        report.detail(
            "naive: one call for each changed contact, and one for each list it joins or leaves",
        );

        let calls = stage.engine.brevo_calls();
        let mut kinds = String::new();
        for (kind, count) in calls.iter() {
            let name = serde_json::to_value(kind).ok();
            let name =
                name.as_ref().and_then(|name| name.as_str()).unwrap_or_default().replace('_', " ");
            let _ = write!(kinds, "{}{name} {count}", if kinds.is_empty() { "" } else { " · " });
        }
        for line in wrapped(&kinds, 92) {
            report.detail(line);
        }
        report.claim(
            calls.writes() == self.writes() as u64,
            format!(
                "the engine and Brevo count the same writes; {} more calls only read",
                calls.reads()
            ),
        );
    }
}

/// Breaks text at ` · `.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in text.split(" · ") {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 3 + part.chars().count() <= width => {
                line.push_str(" · ");
                line.push_str(part);
            }
            _ => lines.push(part.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_kinds() {
        fn case(text: &str, width: usize, expected: &[&str]) {
            assert_eq!(wrapped(text, width), expected);
        }
        case("update 4 · import 2", 30, &["update 4 · import 2"]);
        case("update 4 · import 2 · lists 1", 20, &["update 4 · import 2", "lists 1"]);
        case("update 4", 2, &["update 4"]);
    }
}
