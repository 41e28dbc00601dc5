//! What the demo prints: steps, and under each a line per claim or fact. Plain text in a pipe,
//! colours on a terminal, at most 100 columns.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// The widest line.
const COLUMNS: usize = 100;

/// The lines so far, and whether all that they claim held.
pub(super) struct Report {
    out: Box<dyn Write + Send>,
    has_colours: bool,
    steps: usize,
    broken: usize,
}

impl Report {
    /// A report on standard output.
    pub(super) fn on_stdout() -> Self {
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let out = std::io::stdout();
        let has_colours = out.is_terminal() && !is_plain;
        Self::new(Box::new(out), has_colours)
    }

    fn new(out: Box<dyn Write + Send>, has_colours: bool) -> Self {
        Self { out, has_colours, steps: 0, broken: 0 }
    }

    /// Begins a step.
    pub(super) fn step(&mut self, title: &str) {
        self.steps += 1;
        let title = format!("{}  {title}", self.steps);
        let title = self.in_colour("1", &title);
        self.line(&format!("\n{title}"));
    }

    /// A claim that was checked. One that does not hold makes the demo fail.
    pub(super) fn claim(&mut self, holds: bool, text: impl Display) {
        let mark = if holds { self.in_colour("32", "✓") } else { self.in_colour("31;1", "✗") };
        if !holds {
            self.broken += 1;
        }
        self.line(&format!("   {mark} {text}"));
    }

    /// A claim, with how long it took at the right margin.
    pub(super) fn timed_claim(&mut self, holds: bool, text: &str, took: Duration) {
        let took = self.in_colour("2", &format!("{:>8}", duration(took)));
        // Mark and indent take five columns, the time eight.
        let width = COLUMNS - 14;
        self.claim(holds, format!("{text:<width$} {took}"));
    }

    /// A line below a claim, or a fact that claims nothing.
    pub(super) fn detail(&mut self, text: impl Display) {
        self.line(&format!("     {text}"));
    }

    /// A line as it is.
    pub(super) fn line(&mut self, text: &str) {
        // Who closed the pipe wants to see no more; that is no failure of what is shown.
        let _ = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }

    /// How many claims did not hold.
    pub(super) fn broken(&self) -> usize {
        self.broken
    }

    fn in_colour(&self, code: &str, text: &str) -> String {
        if self.has_colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Such as `1.2 s` or `85 ms`.
pub(super) fn duration(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

/// Such as `1 call` or `12,345 calls`, for nouns that take an s.
pub(super) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// Such as `12,345`.
pub(super) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn is_plain_text_in_a_pipe_and_counts_what_did_not_hold() {
        let page = Page::default();
        let mut report = Report::new(Box::new(page.clone()), false);
        report.step("Full sync");
        report.timed_claim(true, "contacts were read", Duration::from_millis(1_250));
        report.claim(false, "nothing is dead");
        report.detail("one letter");
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let spaces = " ".repeat(72);
        let expected = format!(
            "\n1  Full sync\n   ✓ contacts were read{spaces}1.2 s\n   ✗ nothing is dead\n     one letter\n"
        );
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS));
        assert_eq!(report.broken(), 1);
    }

    #[test]
    fn numbers_are_grouped_and_nouns_agree() {
        fn case(number: usize, expected: &str) {
            assert_eq!(count(number, "call"), expected);
        }
        case(0, "0 calls");
        case(1, "1 call");
        case(999, "999 calls");
        case(1_000, "1,000 calls");
        case(1_234_567, "1,234,567 calls");
    }
}
