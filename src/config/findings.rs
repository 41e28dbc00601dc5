//! Gathers what is wrong while reading goes on.

use std::cell::RefCell;
use std::path::Path;

use super::error::{ConfigErrors, Problem};
use super::excerpt::Excerpt;
use super::tree::{Span, Tree};

/// What was found wrong so far, and which values may be shown when saying so.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: RefCell<Vec<Finding>>,
    shown: RefCell<Vec<Span>>,
}

#[derive(Debug, PartialEq)]
struct Finding {
    /// None where the file as a whole is meant.
    span: Option<Span>,
    message: String,
    help: Option<String>,
}

impl Findings {
    /// Notes something wrong at `span`, or (none) with the file as a whole. The message must hold
    /// no value that could be secret.
    pub(super) fn add(&self, span: impl Into<Option<Span>>, message: String, help: Option<String>) {
        let finding = Finding { span: span.into(), message, help };
        let mut found = self.found.borrow_mut();
        if !found.contains(&finding) {
            found.push(finding);
        }
    }

    /// Allows the value at `span` in excerpts: it was read as something that is no secret.
    pub(super) fn show(&self, span: Span) {
        self.shown.borrow_mut().push(span);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// The problems of a text that is YAML.
    pub(super) fn into_errors(self, file: &Path, text: &str, tree: &Tree) -> ConfigErrors {
        let shown = self.shown.into_inner();
        // INVARIANT: an excerpt shows a value only if a reader took it for something not secret.
        let hidden: Vec<Span> =
            tree.opaque.iter().copied().filter(|span| !shown.contains(span)).collect();
        problems(self.found.into_inner(), file, |span| Excerpt::of_tree(text, span, &hidden))
    }

    /// The problem of a text that is not YAML.
    pub(super) fn into_syntax_errors(self, file: &Path, text: &str) -> ConfigErrors {
        problems(self.found.into_inner(), file, |span| Excerpt::of_broken_text(text, span))
    }
}

fn problems(
    mut found: Vec<Finding>,
    file: &Path,
    excerpt: impl Fn(Span) -> Option<Excerpt>,
) -> ConfigErrors {
    found.sort_by_key(|finding| finding.span.map(|span| span.start));
    let file = file.display().to_string();
    let problem = |finding: Finding| Problem {
        message: finding.message,
        file: file.clone(),
        line: finding.span.map(|span| span.start.line),
        column: finding.span.map(|span| span.start.column),
        help: finding.help,
        excerpt: finding.span.and_then(&excerpt),
    };
    ConfigErrors::new(found.into_iter().map(problem).collect())
}
