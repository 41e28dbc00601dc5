//! The line of a problem, as it may be shown: without values that could be secret.

use std::fmt;

use super::tree::{Position, Span};

/// Longer lines are cut; a configuration has none unless something was pasted.
const MAX_WIDTH: usize = 160;

/// A line with a mark below the place that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Excerpt {
    text: String,
    /// Characters before the mark.
    indent: usize,
    /// Characters below which the mark stands.
    width: usize,
}

impl Excerpt {
    /// The line on which `span` begins, with `…` for each of the `hidden` places.
    pub(super) fn of_tree(source: &str, span: Span, hidden: &[Span]) -> Option<Self> {
        let is_hidden = |at: Position| hidden.iter().any(|place| place.contains(at));
        Self::build(source, span, &is_hidden)
    }

    /// The line of text that is no YAML: of everything but keys only the punctuation is left, for
    /// which words are secrets cannot be told.
    pub(super) fn of_broken_text(source: &str, span: Span) -> Option<Self> {
        let words = words(line_of(source, span)?);
        let is_hidden =
            |at: Position| words.iter().any(|(from, to)| (*from..*to).contains(&at.column));
        Self::build(source, span, &is_hidden)
    }

    fn build(source: &str, span: Span, is_hidden: &dyn Fn(Position) -> bool) -> Option<Self> {
        let (mut text, mut marked) = (String::new(), Vec::new());
        let (mut length, mut was_hidden) = (0, false);
        for (column, character) in (1u32..).zip(line_of(source, span)?.chars()) {
            let at = Position { line: span.start.line, column };
            let hides = is_hidden(at);
            if !(hides && was_hidden) {
                text.push(match character {
                    _ if hides => '…',
                    other if other.is_control() => ' ',
                    other => other,
                });
                length += 1;
            }
            if at == span.start || span.contains(at) {
                marked.push(length - 1);
            }
            if length == MAX_WIDTH {
                break;
            }
            was_hidden = hides;
        }
        let indent = marked.first().copied().unwrap_or(length);
        let width = marked.last().map_or(1, |last| last - indent + 1);
        Some(Self { text: text.trim_end().to_owned(), indent, width })
    }

    /// Writes the lines below ` --> file:line:column`.
    pub(super) fn render(&self, f: &mut fmt::Formatter<'_>, line: u32) -> fmt::Result {
        let number = line.to_string();
        let gutter = " ".repeat(number.len());
        let (indent, mark) = (" ".repeat(self.indent), "^".repeat(self.width));
        write!(f, "\n{gutter} |\n{number} | {}\n{gutter} | {indent}{mark}", self.text)
    }
}

fn line_of(source: &str, span: Span) -> Option<&str> {
    source.lines().nth(usize::try_from(span.start.line.checked_sub(1)?).ok()?)
}

/// The columns of words that are not keys, each from its first to the one after its last.
fn words(line: &str) -> Vec<(u32, u32)> {
    let (mut words, mut begun, mut may_be_key) = (Vec::new(), None, true);
    let mut characters = (1u32..).zip(line.chars().chain([' '])).peekable();
    while let Some((column, character)) = characters.next() {
        let next = characters.peek().map(|(_, next)| *next);
        let ends_key = may_be_key && character == ':' && next.is_none_or(char::is_whitespace);
        let is_word = !(character.is_whitespace() || "{}[],\"'#&*!|>".contains(character));
        match (is_word && !ends_key, begun) {
            (true, None) => begun = Some(column),
            (false, Some(from)) => {
                if !ends_key {
                    words.push((from, column));
                }
                (begun, may_be_key) = (None, false);
            }
            _ => {}
        }
        // A key begins its line or stands in braces.
        may_be_key |= "{,".contains(character);
    }
    words
}
