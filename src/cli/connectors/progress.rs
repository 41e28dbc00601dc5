//! How far a long command has come: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::output;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows progress on stderr.
#[derive(Debug)]
pub(super) enum Progress {
    /// On a terminal.
    Bar(ProgressBar),
    /// Elsewhere: what was said last, and when.
    Lines { last: Option<(Instant, String)> },
}

impl Progress {
    /// Begins, as stderr allows.
    pub(super) fn start() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines { last: None };
        }
        let bar = ProgressBar::no_length();
        bar.enable_steady_tick(Duration::from_millis(120));
        Self::Bar(bar)
    }

    /// Shows how it stands: `done` of `total`, where a total is known.
    pub(super) fn show(&mut self, text: &str, done: u64, total: Option<u64>) {
        match self {
            Self::Bar(bar) => {
                let template = match total {
                    Some(_) => "{spinner} {elapsed_precise} [{wide_bar}] {pos}/{len} {msg}",
                    None => "{spinner} {elapsed_precise} {msg}",
                };
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style.progress_chars("=> "));
                }
                if let Some(total) = total {
                    bar.set_length(total.max(done));
                }
                bar.set_position(done);
                bar.set_message(text.to_owned());
            }
            Self::Lines { last } => {
                let text = match total {
                    Some(total) => format!("{text} ({done} of {total})"),
                    None => text.to_owned(),
                };
                let is_due = match last {
                    None => true,
                    Some((at, before)) => *before != text && at.elapsed() >= LINE_EVERY,
                };
                if is_due {
                    output::say(&text);
                    *last = Some((Instant::now(), text));
                }
            }
        }
    }

    /// Says something that is not progress.
    pub(super) fn say(&self, text: &str) {
        match self {
            Self::Bar(bar) => bar.suspend(|| output::say(text)),
            Self::Lines { .. } => output::say(text),
        }
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
