//! What is wrong with a script, said so that its writer can go to the place and mend it.

use std::fmt;

use serde::Serialize;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::code::Code;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The rule set cannot be used.
    Error,
    /// The rule set works, though perhaps not as meant.
    Warning,
    /// Nothing is known to be wrong: a question that only the accounts can answer.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// One finding in the scripts, with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// What kind of finding it is.
    pub code: Code,
    /// What is wrong, in one line.
    pub message: String,
    /// The file as it is shown to people, such as `scripts/mapping.rhai`; the folder, where it is
    /// about no single file.
    pub file: String,
    /// The line, from 1; 0 where it is about the whole file.
    pub line: u32,
    /// The column in characters, from 1; 0 where it is not known.
    pub column: u32,
    /// How many characters it is about, where that is known.
    pub span_length: Option<u32>,
    /// What to do about it.
    pub help: Option<String>,
    /// The line it is about.
    pub source_line: Option<String>,
}

impl Diagnostic {
    /// An error about a whole file or folder.
    pub fn error(message: impl Into<String>, file: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code: Code::Other,
            message: message.into(),
            file: file.into(),
            line: 0,
            column: 0,
            span_length: None,
            help: None,
            source_line: None,
        }
    }

    /// A warning about a whole file or folder.
    pub fn warning(message: impl Into<String>, file: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(message, file) }
    }

    /// The same, as a finding of a kind.
    #[must_use]
    pub fn coded(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// The same, mattering as much as said.
    #[must_use]
    pub fn graded(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// The same, at a place in the text of its file.
    #[must_use]
    pub fn at(mut self, text: &str, line: u32, column: u32) -> Self {
        self.line = line;
        self.column = column;
        self.source_line = (line as usize)
            .checked_sub(1)
            .and_then(|index| text.lines().nth(index))
            .map(str::to_owned);
        if self.span_length.is_none() {
            self.span_length = self.source_line.as_deref().and_then(|l| word_length(l, column));
        }
        self
    }

    /// The same, with advice.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// True if it keeps a rule set from being used.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Message, place, excerpt with a caret, help: several lines, without a newline at the end.
    pub fn render(&self) -> String {
        let mut text = format!("{}: {}\n --> {}", self.severity, self.message, self.file);
        if self.line > 0 {
            text.push_str(&format!(":{}:{}", self.line, self.column.max(1)));
        }
        if let Some(line) = &self.source_line {
            let number = self.line.to_string();
            let margin = " ".repeat(number.len());
            let before = self.column.saturating_sub(1) as usize;
            let length = self.span_length.unwrap_or(1).max(1) as usize;
            let indent: String = line.chars().take(before).map(blank).collect();
            let marked: String = line.chars().skip(before).take(length).collect();
            let caret = "^".repeat(marked.width().max(1));
            text.push_str(&format!(
                "\n {margin} |\n {number} | {}\n {margin} | {indent}{caret}",
                line.trim_end()
            ));
        }
        if let Some(help) = &self.help {
            text.push_str("\n help: ");
            text.push_str(help);
        }
        text
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render())
    }
}

/// What is as wide as a character on a terminal, and invisible.
fn blank(letter: char) -> String {
    if letter == '\t' { "\t".to_owned() } else { " ".repeat(letter.width().unwrap_or(0)) }
}

/// The length of the word, text or operator that begins at a column; `None` where none does.
fn word_length(line: &str, column: u32) -> Option<u32> {
    let start = column.checked_sub(1)? as usize;
    let mut rest = line.chars().skip(start);
    let first = rest.clone().next()?;
    let length = match first {
        '"' | '`' | '\'' => 1 + quoted_length(rest.skip(1), first)?,
        _ if is_word(first) => rest.take_while(|c| is_word(*c)).count(),
        _ if is_operator(first) => rest.take_while(|c| is_operator(*c)).count(),
        '(' if rest.nth(1) == Some(')') => 2,
        _ => 0,
    };
    u32::try_from(length).ok().filter(|length| *length > 0)
}

/// The length of a text on one line with its closing quote.
fn quoted_length(text: impl Iterator<Item = char>, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    for (before, letter) in text.enumerate() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if letter == quote => return Some(before + 1),
            _ => {}
        }
    }
    None
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn is_operator(letter: char) -> bool {
    "=!<>&|+-*/%?:.^~".contains(letter)
}

/// The nearest of some names, if one is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = match name.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        6..=9 => 2,
        _ => 3,
    };
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_shows_its_place_and_what_to_do() {
        let text =
            "fn map_contact(contact, brevo) {\n    brevo.FIRSTNAME = split_nam(contact.name);\n}";
        let found = Diagnostic::error("there is no function `split_nam`", "scripts/mapping.rhai")
            .at(text, 2, 23)
            .with_help("did you mean `split_name`?");
        let expected = "\
error: there is no function `split_nam`
 --> scripts/mapping.rhai:2:23
   |
 2 |     brevo.FIRSTNAME = split_nam(contact.name);
   |                       ^^^^^^^^^
 help: did you mean `split_name`?";
        assert_eq!(found.render(), expected);
    }

    #[test]
    fn carets_stand_under_wide_letters_tabs_and_texts() {
        fn case(line: &str, column: u32, expected: &str) {
            let shown = Diagnostic::error("x", "a.rhai").at(line, 1, column).render();
            assert_eq!(shown.lines().last(), Some(expected), "{shown}");
        }
        case("\tlet x = 1;", 6, "   | \t    ^");
        case("f(\"東京\", nme)", 9, "   |           ^^^".trim_end());
        case("f(\"東京\", 1)", 3, "   |   ^^^^^^");
        case("e\u{301}(x)", 4, "   |   ^");
        case("a === b", 3, "   |   ^^^");
    }

    #[test]
    fn only_near_names_are_offered() {
        assert_eq!(nearest("map_contacts", ["map_contact", "map_company"]), Some("map_contact"));
        assert_eq!(nearest("hello", ["map_contact"]), None);
        assert_eq!(nearest("ab", ["ac"]), None);
    }
}
