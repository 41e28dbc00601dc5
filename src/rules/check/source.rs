//! The words of a script's text, for what Rhai's syntax tree does not keep: where the name of a
//! function stands, and what a text holds that does not parse.

/// A word, a sign or a text, without comments and white space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word<'a> {
    /// As it is written.
    pub(crate) text: &'a str,
    /// The line, from 1.
    pub(crate) line: u32,
    /// The column in characters, from 1.
    pub(crate) column: u32,
}

/// The head of a function's definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    /// The function's name.
    pub(crate) name: &'a str,
    /// How many parameters it takes.
    pub(crate) parameters: usize,
    /// The line of the name.
    pub(crate) line: u32,
    /// The column of the name.
    pub(crate) column: u32,
}

/// The words of a text. Never fails: what is left open ends with the text.
pub(crate) fn words(text: &str) -> Vec<Word<'_>> {
    let mut cursor = Cursor { text, at: 0, line: 1, column: 1 };
    let mut words = Vec::new();
    while let Some(letter) = cursor.peek() {
        if letter.is_whitespace() {
            cursor.next();
            continue;
        }
        let (from, line, column) = (cursor.at, cursor.line, cursor.column);
        if cursor.skip_comment() {
            continue;
        }
        match letter {
            '"' | '\'' => cursor.skip_quoted(letter),
            '`' => cursor.skip_template(),
            _ if is_word(letter) => cursor.skip_while(is_word),
            _ if OPERATORS.contains(letter) => cursor.skip_while(|c| OPERATORS.contains(c)),
            _ => {
                cursor.next();
            }
        }
        words.push(Word { text: text.get(from..cursor.at).unwrap_or_default(), line, column });
    }
    words
}

/// The definitions of functions in a text.
pub(crate) fn heads(text: &str) -> Vec<Head<'_>> {
    let words = words(text);
    let word = |index: usize| words.get(index).map_or("", |word| word.text);
    let mut heads = Vec::new();
    for index in (0..words.len()).filter(|index| word(*index) == "fn") {
        // `fn "type".name(…)` is a method of a type.
        let name = if word(index + 2) == "." { index + 3 } else { index + 1 };
        let opens = word(name + 1);
        let Some(at) = words.get(name).filter(|_| opens == "(") else { continue };
        let inside: Vec<&str> =
            (name + 2..).map(word).take_while(|w| !matches!(*w, ")" | "")).collect();
        let parameters = inside.iter().filter(|word| **word != ",").count();
        heads.push(Head { name: at.text, parameters, line: at.line, column: at.column });
    }
    heads
}

/// Signs that make up operators.
const OPERATORS: &str = "=!<>&|+-*/%?:.^~";

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    column: u32,
}

impl Cursor<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += letter.len_utf8();
        if letter == '\n' {
            (self.line, self.column) = (self.line + 1, 1);
        } else {
            self.column += 1;
        }
        Some(letter)
    }

    fn skip_while(&mut self, wanted: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&wanted) {
            // An operator ends where a comment begins.
            if self.rest().starts_with("//") || self.rest().starts_with("/*") {
                return;
            }
            self.next();
        }
    }

    /// Comments nest, as they do in Rhai.
    fn skip_comment(&mut self) -> bool {
        if self.rest().starts_with("//") {
            while self.peek().is_some_and(|letter| letter != '\n') {
                self.next();
            }
            return true;
        }
        if !self.rest().starts_with("/*") {
            return false;
        }
        let mut depth = 0_u32;
        loop {
            if self.rest().starts_with("/*") {
                depth += 1;
                self.next();
            } else if self.rest().starts_with("*/") {
                depth -= 1;
                self.next();
            }
            if self.next().is_none() || depth == 0 {
                return true;
            }
        }
    }

    /// A text on one line; a backslash at its end continues it.
    fn skip_quoted(&mut self, quote: char) {
        self.next();
        while let Some(letter) = self.next() {
            match letter {
                '\\' => {
                    self.next();
                }
                _ if letter == quote || letter == '\n' => return,
                _ => {}
            }
        }
    }

    /// A text with `${…}` in it, which may hold further texts.
    fn skip_template(&mut self) {
        self.next();
        let mut depth = 0_u32;
        while let Some(letter) = self.peek() {
            match letter {
                '`' if depth == 0 => {
                    self.next();
                    return;
                }
                '`' => self.skip_template(),
                '"' if depth > 0 => self.skip_quoted('"'),
                _ => {
                    let opens = self.rest().starts_with("${") || (depth > 0 && letter == '{');
                    if self.rest().starts_with("${") {
                        self.next();
                    }
                    self.next();
                    depth += u32::from(opens);
                    depth -= u32::from(depth > 0 && letter == '}');
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_leave_out_comments_and_keep_texts_whole() {
        let text =
            "a /* fn x() /* deep */ */ == \"fn y(\\\"\" // fn z()\n\t`t ${f(\"}\")} fn w()` ก.b";
        let found: Vec<_> = words(text).iter().map(|w| (w.text, w.line, w.column)).collect();
        let expected = [
            ("a", 1, 1),
            ("==", 1, 27),
            ("\"fn y(\\\"\"", 1, 30),
            ("`t ${f(\"}\")} fn w()`", 2, 2),
            ("ก", 2, 23),
            (".", 2, 24),
            ("b", 2, 25),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn heads_are_found_wherever_they_are_written() {
        let text = "private fn\n  a ( x, y ) { } // fn no()\nfn \"text\".b() {} fn broken fn c(x";
        let found: Vec<_> =
            heads(text).iter().map(|h| (h.name, h.parameters, h.line, h.column)).collect();
        assert_eq!(found, [("a", 2, 2, 3), ("b", 0, 3, 11), ("c", 1, 3, 31)]);
    }

    proptest! {
        #[test]
        fn any_text_has_words(text in "[\\PC\\n\"'`${}/*\\\\]{0,80}") {
            let _ = heads(&text);
            let length: usize = words(&text).iter().map(|word| word.text.len()).sum();
            prop_assert!(length <= text.len());
        }
    }
}
