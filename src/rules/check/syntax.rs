//! Rhai's parse errors in our words, each with what to write instead where that is known.

use rhai::{LexError, ParseError, ParseErrorType};

use super::foreign::{NEVER_OURS, elsewhere};
use super::source::{self, Word};
use crate::rules::code::Code;
use crate::rules::diagnostic::{Diagnostic, nearest};
use crate::rules::error::line_column;
use crate::rules::handlers::handler;
use crate::rules::ruleset::SourceFile;

/// A parse error in our words. `known` are the names that a variable could have been meant to be.
pub(crate) fn syntax_error(file: &SourceFile, error: &ParseError, known: &[String]) -> Diagnostic {
    let place = line_column(error.position());
    let words = source::words(&file.text);
    // Behind the last word there is nothing to see.
    let is_behind = words.last().is_none_or(|last| (last.line, last.column) < place);
    let place = if place.0 == 0 || is_behind { end_of(&words) } else { place };
    let around = Around::new(&words, place);
    let Said { code, message, help, place: moved } = said(error.err_type(), known, &around, &words);
    let (line, column) = moved.unwrap_or(place);
    let problem = Diagnostic::error(message, &file.path).coded(code).at(&file.text, line, column);
    match help {
        Some(help) => problem.with_help(help),
        None => problem,
    }
}

/// The words at a place.
struct Around<'w> {
    /// All words before it.
    earlier: &'w [Word<'w>],
    before: Option<&'w Word<'w>>,
    at: Option<&'w Word<'w>>,
    after: Option<&'w Word<'w>>,
}

impl<'w> Around<'w> {
    fn new(words: &'w [Word<'w>], place: (u32, u32)) -> Self {
        let index = words.partition_point(|word| (word.line, word.column) < place);
        Self {
            earlier: words.get(..index).unwrap_or_default(),
            before: index.checked_sub(1).and_then(|before| words.get(before)),
            at: words.get(index),
            after: words.get(index + 1),
        }
    }

    /// A word of another language at the place, or directly before it.
    fn foreign(&self) -> Option<(&'w Word<'w>, &'static str)> {
        let looks = [(self.at, self.after), (self.before, self.at)];
        let near = looks.into_iter().find_map(|(word, next)| {
            let word = word?;
            // A call is one of a function of that name.
            if next.is_some_and(|next| next.text == "(") && word.text == "or" {
                return None;
            }
            elsewhere(word.text).map(|help| (word, help))
        });
        near.or_else(|| {
            let line = self.at.or(self.before)?.line;
            let on_line = self.earlier.iter().rev().take_while(|word| word.line == line);
            let word = on_line.into_iter().find(|word| NEVER_OURS.contains(&word.text))?;
            elsewhere(word.text).map(|help| (word, help))
        })
    }

    fn is_at(&self, texts: &[&str]) -> bool {
        self.at.is_some_and(|word| texts.contains(&word.text))
    }

    fn is_behind(&self, texts: &[&str]) -> bool {
        self.before.is_some_and(|word| texts.contains(&word.text))
    }

    /// The place right behind the word before, if that ends an earlier line.
    fn end_of_line_before(&self) -> Option<(u32, u32)> {
        let before = self.before?;
        let is_earlier = self.at.is_some_and(|at| at.line > before.line);
        is_earlier.then(|| behind(before))
    }
}

/// What is said of an error.
struct Said {
    code: Code,
    message: String,
    help: Option<String>,
    /// Where it really is.
    place: Option<(u32, u32)>,
}

fn say(message: impl Into<String>) -> Said {
    Said { code: Code::Syntax, message: message.into(), help: None, place: None }
}

impl Said {
    fn of(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn help_if(mut self, help: Option<impl Into<String>>) -> Self {
        self.help = help.map(Into::into);
        self
    }

    fn at(mut self, word: &Word<'_>) -> Self {
        self.place = Some((word.line, word.column));
        self
    }
}

fn said(error: &ParseErrorType, known: &[String], around: &Around<'_>, words: &[Word<'_>]) -> Said {
    use ParseErrorType as E;
    match error {
        E::BadInput(problem) => lexical(problem, around),
        E::VariableUndefined(name) => {
            let near = nearest(name, known.iter().map(String::as_str));
            say(format!("there is no variable `{name}`"))
                .of(Code::UnknownVariable)
                .help_if(near.map(|near| format!("did you mean `{near}`?")))
        }
        E::ModuleUndefined(name) => say(format!("there is no module `{name}`"))
            .of(Code::UnknownModule)
            .help(format!("modules are the files of `lib`: `lib/{name}.rhai`")),
        E::FnDuplicatedDefinition(name, parameters) => duplicate(name, *parameters, words),
        E::Reserved(word) => reserved(word, around),
        E::MissingToken(..)
        | E::MissingSymbol(_)
        | E::ExprExpected(_)
        | E::UnknownOperator(_)
        | E::UnexpectedEOF => missing(error, around),
        E::VariableExpected if around.is_at(&["("]) => say("one name is bound at a time")
            .help("write `let name = …;`, then read its fields, as in `name.first`"),
        other => structural(other),
    }
}

/// What the text is not made of.
fn lexical(problem: &LexError, around: &Around<'_>) -> Said {
    match problem {
        LexError::MalformedChar(text) => say(format!("`'{text}'` is not one letter"))
            .help(format!("a text stands in double quotes: \"{text}\"")),
        LexError::UnterminatedString => say("the text is not closed").help(
            "a text ends with its quote on the same line; one of several lines stands in backticks",
        ),
        LexError::MalformedEscapeSequence(text) => say(format!("`{text}` means nothing in a text"))
            .help("a backslash is written twice, as in \"\\\\d\", or the text stands in backticks"),
        LexError::MalformedNumber(text) => {
            say(format!("`{text}` is not a number")).help("write it as 1200, 1_200, 12.5 or 1.2e3")
        }
        LexError::MalformedIdentifier(text) => say(format!("`{text}` cannot be a name"))
            .help("a name is made of letters, digits and `_`, with a letter in it"),
        LexError::ImproperSymbol(word, _) if word == "eval" => {
            say("`eval` is not available").of(Code::NotAvailable).help(
                "choose with `switch name { \"a\" => f(x), _ => g(x) }`, or keep functions in a map: \
                 `#{ a: Fn(\"f\") }`",
            )
        }
        LexError::ImproperSymbol(word, text) => match elsewhere(word) {
            Some(help) => say(format!("`{word}` is not known here")).help(help),
            None if word == "=" => say("`=` assigns and does not compare").help("write `==`"),
            None if text.is_empty() => say(format!("`{word}` is not expected here")),
            None => say(lower_first(&backticks(text))),
        },
        LexError::UnexpectedInput(text) => unexpected(text, around),
        other => say(lower_first(&backticks(&other.to_string()))),
    }
}

fn unexpected(text: &str, around: &Around<'_>) -> Said {
    let message = format!("`{text}` is not expected here");
    match (elsewhere(text), around.foreign()) {
        (Some(help), _) => say(message).help(help),
        (None, Some((word, help))) => {
            say(format!("`{}` is not known here", word.text)).help(help).at(word)
        }
        (None, None) => match text {
            "“" | "”" | "„" => say(message).help("a text stands in straight quotes: \""),
            "‘" | "’" => say(message).help("a text stands in straight double quotes: \""),
            "}" | ")" | "]" => {
                say(message).help("is something missing before it, or is it one too many?")
            }
            "else" => say(message).help("`else` stands behind the `}` of an `if`"),
            ";" | "," => say(message).help("something is missing before it"),
            _ => say(message),
        },
    }
}

fn reserved(word: &str, around: &Around<'_>) -> Said {
    let is_word = word.chars().all(char::is_alphanumeric);
    let message = match is_word {
        true => format!("`{word}` is a reserved word"),
        false => format!("`{word}` is not known here"),
    };
    // Rhai tells `&&=` as `&&` and `=`; the whole sign is in the text.
    let help = around.at.and_then(|at| elsewhere(at.text)).or_else(|| elsewhere(word));
    if is_word && around.is_behind(&["let", "const", "fn", "for"]) {
        return say(message).help("use another name");
    }
    if is_word && around.is_behind(&[".", "?."]) {
        return say(message).help(format!("write `[\"{word}\"]` for a field of that name"));
    }
    match help {
        Some(help) => say(message).help(help),
        None if is_word => say(message).help("use another name"),
        None => say(message),
    }
}

/// Something is missing: which often means that the word before it is none of Rhai's.
fn missing(error: &ParseErrorType, around: &Around<'_>) -> Said {
    use ParseErrorType as E;
    if let Some((word, help)) = around.foreign() {
        return say(format!("`{}` is not known here", word.text)).help(help).at(word);
    }
    match error {
        _ if around.at.is_none() => ends_too_early(),
        E::MissingToken(token, what) => token_is_missing(token, &backticks(what), around),
        E::MissingSymbol(text) if text.is_empty() => say("a sign is missing"),
        E::MissingSymbol(text) => say(lower_first(&backticks(text))),
        E::UnknownOperator(sign) => say(format!("`{sign}` is no operator")),
        E::ExprExpected(what) if what == "{" || what == "a boolean" => {
            say("a condition is missing").help("write `if condition { … }`")
        }
        E::ExprExpected(what) if what.contains("literal") => {
            say("a case of a `switch` must be a literal")
                .help("write a number or a text, and conditions as `_ if …` or with `if`")
        }
        E::ExprExpected(what) => say(format!("{what} is missing")),
        _ => ends_too_early(),
    }
}

fn ends_too_early() -> Said {
    say("the script ends too early").help("is a `}` or a `)` missing?")
}

fn token_is_missing(token: &str, what: &str, around: &Around<'_>) -> Said {
    let said = say(format!("`{token}` is missing {what}").trim_end());
    let ends = around.is_at(&[";", "}"]);
    match token {
        "," if what.contains("iteration variable") => {
            said.help("write `for item in list { … }`, without parentheses")
        }
        "," if what.contains("parameters") && around.is_at(&[":"]) => {
            say("types are not written here").help("leave out the type and the colon before it")
        }
        "," if ends && what.contains("argument") => say(format!(
            "`)` is missing {}",
            what.replace("separate the arguments to", "close the")
        ))
        .help("close it with `)`"),
        "," if ends && what.contains("array") => {
            say("`]` is missing to close this list").help("close it with `]`")
        }
        "," if ends && what.contains("map") => {
            say("`}` is missing to close this map").help("close it with `}`")
        }
        "," => said.help("put a comma between them"),
        ";" if around.is_at(&[":"]) => said.help("a map is written `#{ name: value }`"),
        ";" => {
            let said = said.help(
                "a statement ends with `;`; texts are joined with `+`, or in backticks: `${a} ${b}`",
            );
            Said { place: around.end_of_line_before(), ..said }
        }
        ":" => said.help("a map is written `#{ name: value }`"),
        "}" | ")" | "]" => said.help(format!("close it with `{token}`")),
        "{" => said.help("what is to be done stands in braces, as in `if condition { … }`"),
        "=>" => said.help("a case is written `value => …,`"),
        "in" => said.help("write `for item in list { … }`"),
        "catch" => said.help("write `try { … } catch (error) { … }`"),
        _ => said,
    }
}

/// Errors of Rhai's own rules.
fn structural(error: &ParseErrorType) -> Said {
    use ParseErrorType as E;
    match error {
        E::DuplicatedProperty(name) => {
            say(format!("`{name}` stands twice in this map")).help("keep one")
        }
        E::DuplicatedVariable(name) => {
            say(format!("`{name}` is bound twice here")).help("give one of them another name")
        }
        E::WrongSwitchIntegerCase => say("a number stands behind a range in this `switch`")
            .help("put numbers before ranges"),
        E::WrongSwitchDefaultCase => {
            say("a case behind `_` is never reached").of(Code::Unreachable).help("put `_ => …` last")
        }
        E::WrongSwitchCaseCondition => {
            say("`_` takes no condition").help("write `if` inside of it: `_ => if … { … }`")
        }
        E::PropertyExpected => say("the name of a field is missing").help(
            "a name is a word, as in `contact.name`; others stand in brackets: `contact[\"odd name\"]`",
        ),
        E::VariableExpected => say("the name of a variable is missing")
            .help("a name is made of letters, digits and `_`, and is no word of the language"),
        E::ForbiddenVariable(name) => {
            say(format!("`{name}` cannot be the name of a variable")).help("use another name")
        }
        E::MismatchedType(wanted, got) => {
            say(format!("{wanted} is needed here, not {}", in_words(got)))
                .help("compare it with something, as in `x == 1`, or `x != ()`")
        }
        E::WrongDocComment => say("a comment with `///` is for the function below it")
            .help("write `//` where no function follows"),
        E::WrongFnDefinition => say("a function cannot be defined inside another")
            .help("move it to the top level, or write a closure: `|x| …`"),
        E::FnMissingName => say("the name of the function is missing").help("write `fn name(…) { … }`"),
        E::FnMissingParams(name) => {
            let parameters = handler(name).map(|handler| handler.parameters.join(", "));
            say(format!("the parameters of `{name}` are missing"))
                .help(format!("write `fn {name}({}) {{ … }}`", parameters.unwrap_or_default()))
        }
        E::FnDuplicatedParam(_, name) => say(format!("the parameter `{name}` stands there twice"))
            .help("give one of them another name"),
        E::FnMissingBody(name) if name.is_empty() => say("the body of the closure is missing"),
        E::FnMissingBody(name) => say(format!("the body of `{name}` is missing"))
            .help("write it in braces, without a type before them"),
        E::WrongExport => say("`export` is not needed")
            .help("constants and functions are seen as they are: leave it out"),
        E::AssignmentToConstant(name) if name.is_empty() => {
            say("a literal cannot be assigned to").help("write `==` to compare")
        }
        E::AssignmentToConstant(name) => say(format!("`{name}` is a constant"))
            .help("bind it with `let` to change it"),
        E::AssignmentToInvalidLHS(_) => say("this cannot be assigned to")
            .help("a variable or a field of one can: `brevo.NAME = …`; to compare, write `==`"),
        E::ExprTooDeep => say("this is nested too deeply").help("split it with `let`"),
        E::TooManyFunctions => say("the script has too many functions").help("split it into files"),
        E::LoopBreak => say("`break` and `continue` stand inside a loop only")
            .help("a function ends with `return`"),
        E::LiteralTooLarge(what, limit) => {
            say(format!("{} is more than {limit}", lower_first(what)))
                .help("see `scripts.limits` in the configuration")
        }
        E::MalformedIndexExpr(_) => say("this cannot stand in brackets")
            .help("a list is indexed by a whole number, a map by a text"),
        other => say(lower_first(&backticks(&other.to_string()))),
    }
}

fn duplicate(name: &str, parameters: usize, words: &[Word<'_>]) -> Said {
    let heads: Vec<&Word<'_>> = words
        .windows(2)
        .filter(|pair| matches!(pair, [a, b] if a.text == "fn" && b.text == name))
        .filter_map(|pair| pair.last())
        .collect();
    let (code, what) = match handler(name) {
        Some(_) => (Code::DuplicateHandler, "handler"),
        None => (Code::DuplicateFunction, "function"),
    };
    let said = say(format!("the {what} `{name}` is defined twice")).of(code);
    match heads.as_slice() {
        [first, .., last] => {
            said.help(format!("it is defined on line {}, too: keep one", first.line)).at(last)
        }
        _ => said.help(format!("keep one with {parameters} parameters")),
    }
}

fn in_words(kind: &str) -> String {
    match kind {
        "string" => "a text".to_owned(),
        "integer" => "a number".to_owned(),
        "()" => "()".to_owned(),
        other => other.to_owned(),
    }
}

/// Rhai's quotes as ours.
fn backticks(text: &str) -> String {
    text.replace('\'', "`").trim_end_matches('.').to_owned()
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// The place behind the last word.
fn end_of(words: &[Word<'_>]) -> (u32, u32) {
    words.last().map_or((1, 1), behind)
}

/// The place right behind a word.
fn behind(word: &Word<'_>) -> (u32, u32) {
    let length = u32::try_from(word.text.chars().count()).unwrap_or(0);
    (word.line, word.column + length)
}
