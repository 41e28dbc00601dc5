//! YAML as a tree in which everything knows its place.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{
    self as yaml, Event, Marker, Parser, ScalarStyle, StrInput, Tag,
};

use super::findings::Findings;

/// More nodes than any configuration has: aliases of aliases stop here.
const MAX_COPIED_NODES: usize = 10_000;

/// A place in the text; line and column (in characters) from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) line: u32,
    pub(super) column: u32,
}

/// From a place to the one after its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: Position,
    pub(super) end: Position,
}

impl Span {
    /// The very beginning of a file.
    pub(super) const START: Self =
        Self { start: Position { line: 1, column: 1 }, end: Position { line: 1, column: 1 } };

    pub(super) fn contains(&self, at: Position) -> bool {
        self.start <= at && at < self.end
    }
}

/// A document, and the places in it that are shown only when known not to be secret.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) root: Node,
    /// Scalars that could be secrets, and comments.
    pub(super) opaque: Vec<Span>,
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

/// What stands at a place.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Nothing, or `null`: as if the key were not there.
    Absent,
    /// Something whose problem has been noted already.
    Broken,
    /// Text, a number, true or false.
    Scalar(Scalar),
    /// `[a, b]`.
    List(Vec<Node>),
    /// `{ key: value }`, each key once.
    Map(Vec<Entry>),
}

/// A single value as text.
#[derive(Debug, Clone)]
pub(super) struct Scalar {
    /// The value, after expansion.
    pub(super) text: String,
    /// The value as it was written, where expansion changed it.
    pub(super) unexpanded: Option<String>,
    /// True without quotes and without variables: such a value may be a number, true or false.
    pub(super) is_plain: bool,
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) node: Node,
}

impl Node {
    /// A value that is not there.
    pub(super) fn absent() -> Self {
        Self { span: Span::START, value: Value::Absent }
    }

    /// The entries of a map; none of anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The entry of a map under `key`, unless its value is absent.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        let entry = self.entries().iter().find(|entry| entry.key == key)?;
        (!matches!(entry.node.value, Value::Absent)).then_some(entry)
    }

    fn count(&self) -> usize {
        1 + match &self.value {
            Value::List(items) => items.iter().map(Self::count).sum(),
            Value::Map(entries) => entries.iter().map(|entry| entry.node.count()).sum(),
            _ => 0,
        }
    }
}

/// Parses one document; an empty one is an absent value. A repeated key is noted and skipped. None
/// if the text is no YAML, which is then the last finding.
pub(super) fn parse(text: &str, findings: &Findings) -> Option<Tree> {
    let mut builder = Builder {
        events: Parser::new_from_str(text),
        findings,
        anchors: HashMap::new(),
        copied: 0,
        opaque: Vec::new(),
    };
    match builder.document() {
        Ok(root) => Some(Tree { root, opaque: builder.opaque }),
        Err(Invalid { span, message, help }) => {
            findings.add(span, message, help);
            None
        }
    }
}

/// Why parsing ended early.
struct Invalid {
    span: Span,
    message: String,
    help: Option<String>,
}

impl Invalid {
    fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: None }
    }
}

struct Builder<'t> {
    events: Parser<'t, StrInput<'t>>,
    findings: &'t Findings,
    anchors: HashMap<usize, Node>,
    copied: usize,
    opaque: Vec<Span>,
}

impl<'t> Builder<'t> {
    fn document(&mut self) -> Result<Node, Invalid> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root.unwrap_or_else(Node::absent)),
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    let message = "a second document begins here".to_owned();
                    let help = Some("keep one of them: `---` stands between".to_owned());
                    return Err(Invalid { span, message, help });
                }
                Event::DocumentStart(..) => {
                    let (event, span) = self.next()?;
                    root = Some(self.node(event, span)?);
                }
                _ => return Err(Invalid::new(span, "this is not valid YAML")),
            }
        }
    }

    /// The next event that is no comment.
    fn next(&mut self) -> Result<(Event<'t>, Span), Invalid> {
        loop {
            match self.events.next() {
                Some(Ok((Event::Comment(..), span))) => self.opaque.push(span_of(&span)),
                Some(Ok((event, span))) => return Ok((event, span_of(&span))),
                Some(Err(error)) => {
                    let start = position(error.marker());
                    let message = format!("this is not valid YAML: {}", error.info());
                    let help = "look at the indentation, quotes and brackets here and just above";
                    let span = Span { start, end: start };
                    return Err(Invalid { span, message, help: Some(help.to_owned()) });
                }
                None => return Ok((Event::StreamEnd, Span::START)),
            }
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Node, Invalid> {
        let (anchor, value) = match event {
            Event::Alias(id) => return self.alias(id, span),
            Event::Scalar(text, style, anchor, tag) => {
                refuse_foreign(tag.as_deref(), span)?;
                let is_plain = style == ScalarStyle::Plain && tag.is_none();
                if !is_harmless(&text) {
                    self.opaque.push(span);
                }
                (anchor, scalar(text.into_owned(), is_plain))
            }
            Event::SequenceStart(_, anchor, tag) => {
                refuse_foreign(tag.as_deref(), span)?;
                (anchor, self.list()?)
            }
            Event::MappingStart(_, anchor, tag) => {
                refuse_foreign(tag.as_deref(), span)?;
                (anchor, self.map()?)
            }
            _ => return Err(Invalid::new(span, "this is not valid YAML")),
        };
        let node = Node { span, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self) -> Result<Value, Invalid> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn map(&mut self) -> Result<Value, Invalid> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (key, key_span) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Value::Map(entries)),
                (Event::Scalar(key, ..), span) => (key.into_owned(), span),
                (_, span) => return Err(Invalid::new(span, "a key must be a single word or text")),
            };
            let (event, span) = self.next()?;
            let node = self.node(event, span)?;
            match entries.iter().find(|entry| entry.key == key) {
                None => entries.push(Entry { key, key_span, node }),
                Some(first) => {
                    let line = first.key_span.start.line;
                    let message = format!("duplicate key `{key}`");
                    let help = format!("it stands on line {line} already: remove one of them");
                    self.findings.add(key_span, message, Some(help));
                }
            }
        }
    }

    /// A copy of what the anchor stands at, in the place of the alias.
    fn alias(&mut self, id: usize, span: Span) -> Result<Node, Invalid> {
        let Some(node) = self.anchors.get(&id) else {
            return Err(Invalid::new(span, "an alias stands within what it stands for"));
        };
        self.copied += node.count();
        if self.copied > MAX_COPIED_NODES {
            return Err(Invalid::new(span, "too much is repeated by aliases"));
        }
        Ok(Node { span, value: node.value.clone() })
    }
}

fn scalar(text: String, is_plain: bool) -> Value {
    if is_plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") {
        return Value::Absent;
    }
    Value::Scalar(Scalar { text, unexpanded: None, is_plain })
}

/// Tags of YAML's own (`!!str`) are let pass, others say something that nobody here understands.
fn refuse_foreign(tag: Option<&Tag>, span: Span) -> Result<(), Invalid> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => {
            let help = "write the value without a tag: variables are `${NAME}`".to_owned();
            let message = "a tag that is not understood".to_owned();
            Err(Invalid { span, message, help: Some(help) })
        }
        _ => Ok(()),
    }
}

/// True of values that tell nothing: true, false, and variables without defaults.
fn is_harmless(text: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        match after.split_once('}') {
            Some((name, behind)) if name.chars().all(is_word) && !before.contains(is_word) => {
                rest = behind;
            }
            _ => return false,
        }
    }
    matches!(text, "true" | "false") || !rest.contains(is_word)
}

fn span_of(span: &yaml::Span) -> Span {
    Span { start: position(&span.start), end: position(&span.end) }
}

fn position(marker: &Marker) -> Position {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Position { line: number(marker.line().max(1)), column: number(marker.col() + 1) }
}
