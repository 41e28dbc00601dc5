//! Reads sections of the file over the defaults, noting problems instead of stopping.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use secrecy::SecretString;
use serde_json::Value as Json;

use super::findings::Findings;
use super::setting::Setting;
use super::tree::{Entry, Node, Scalar, Span, Value};
use super::{json, secret, suggestion};

/// One section. Each read makes its key a known one; [`Section::finish`] notes all others.
///
/// A value of the file that is wrong is noted, and the default is read in its stead, so that
/// reading goes on. A read is None only where the built-in defaults have no such setting.
pub(super) struct Section<'a> {
    /// The keys that lead here.
    path: String,
    file: Option<&'a Node>,
    defaults: Option<&'a Node>,
    all_defaults: &'a Node,
    findings: &'a Findings,
    known: Vec<&'static str>,
}

/// A map with keys of the user's own choice.
#[derive(Debug)]
pub(super) struct FreeMap<K, V> {
    /// Whether the file has it; else it is the default.
    pub(super) is_from_file: bool,
    /// The values, and where their keys stand.
    pub(super) entries: BTreeMap<K, (V, Span)>,
}

impl<K: Ord, V> FreeMap<K, V> {
    /// The values alone.
    pub(super) fn into_values(self) -> BTreeMap<K, V> {
        self.entries.into_iter().map(|(key, (value, _))| (key, value)).collect()
    }
}

impl<'a> Section<'a> {
    /// The file as a whole.
    pub(super) fn top(file: &'a Node, defaults: &'a Node, findings: &'a Findings) -> Self {
        let section = Self {
            path: String::new(),
            file: None,
            defaults: Some(defaults),
            all_defaults: defaults,
            findings,
            known: Vec::new(),
        };
        Self { file: section.checked_map(file, "the configuration"), ..section }
    }

    /// A section within this one.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'a> {
        let path = self.path_of(key);
        let file = self.in_file(key).map(|entry| &entry.node);
        Section {
            file: file.and_then(|node| self.checked_map(node, &format!("`{path}`"))),
            defaults: self.in_defaults(key),
            all_defaults: self.all_defaults,
            findings: self.findings,
            known: Vec::new(),
            path,
        }
    }

    /// A value that must be there: the file's, else the default.
    pub(super) fn get<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        let given = self.in_file(key).and_then(|entry| self.parse(entry, &self.path_of(key)));
        given.or_else(|| {
            let default = self.in_defaults(key).and_then(text_of).map(|text| T::parse(&text));
            if !matches!(default, Some(Ok(_))) {
                let message = format!("the built-in default of `{}` is broken", self.path_of(key));
                self.findings.add(None, message, None);
            }
            default?.ok()
        })
    }

    /// A value that may be left empty.
    pub(super) fn find<T: Setting>(&mut self, key: &'static str) -> Option<T> {
        match self.in_file(key) {
            Some(entry) if is_empty(&entry.node) => {
                self.findings.show(entry.node.span);
                None
            }
            Some(entry) => self.parse(entry, &self.path_of(key)),
            None => {
                let text = self.in_defaults(key).and_then(text_of)?;
                if text.is_empty() { None } else { T::parse(&text).ok() }
            }
        }
    }

    /// A whole number within bounds.
    pub(super) fn number(&mut self, key: &'static str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let number: u64 = self.get(key)?;
        if bounds.contains(&number) {
            return Some(number);
        }
        if let Some(entry) = self.in_file(key) {
            let message = format!("`{}` cannot be `{number}`", self.path_of(key));
            let help = format!("it may be from {} to {}", bounds.start(), bounds.end());
            self.findings.add(entry.node.span, message, Some(help));
        }
        self.in_defaults(key).and_then(text_of)?.parse().ok()
    }

    /// True if the file itself says that there is nothing, not a variable in it.
    pub(super) fn is_left_empty(&mut self, key: &'static str) -> bool {
        let Some(entry) = self.in_file(key) else { return false };
        let is_literal = match &entry.node.value {
            Value::Scalar(scalar) => scalar.unexpanded.is_none(),
            _ => true,
        };
        is_empty(&entry.node) && is_literal
    }

    /// A secret. One that the file leaves empty is left out: the variable of the defaults counts.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<SecretString> {
        let path = self.path_of(key);
        if let Some(entry) = self.in_file(key).filter(|entry| !is_empty(&entry.node)) {
            let scalar = self.checked_scalar(entry, &path, "write it in quotes")?;
            return secret::parse(&scalar.text).unwrap_or_else(|help| {
                let message = format!("`{path}` has characters that no secret has");
                self.findings.add(entry.node.span, message, Some(help));
                None
            });
        }
        let Value::Scalar(default) = &self.in_defaults(key)?.value else {
            return None;
        };
        secret::parse(&default.text).unwrap_or_else(|help| {
            let variable = default.unexpanded.as_deref().unwrap_or(key);
            let message = format!("the value of `{variable}` has characters that no secret has");
            self.findings.add(None, message, Some(help));
            None
        })
    }

    /// A map with free keys. The file's replaces the default as a whole.
    pub(super) fn free_map<K, V>(&mut self, key: &'static str) -> FreeMap<K, V>
    where
        K: Setting + Ord,
        V: Setting,
    {
        let path = self.path_of(key);
        let given = self.in_file(key).map(|entry| &entry.node);
        let is_from_file = given.is_some();
        let node = match given {
            Some(node) => self.checked_map(node, &format!("`{path}`")),
            None => self.in_defaults(key),
        };
        let mut entries = BTreeMap::new();
        for entry in node.map(Node::entries).unwrap_or_default() {
            let path = format!("{path}.{}", entry.key);
            match (K::parse(&entry.key), self.parse(entry, &path)) {
                (Ok(name), Some(value)) => {
                    if entries.insert(name, (value, entry.key_span)).is_some() {
                        let message = format!("duplicate key `{}`", entry.key);
                        let help = "capital and small letters are the same here".to_owned();
                        self.findings.add(entry.key_span, message, Some(help));
                    }
                }
                (Err(help), _) => {
                    let message = format!("`{}` cannot be a key here", entry.key);
                    self.findings.add(entry.key_span, message, Some(help));
                }
                (Ok(_), None) => {}
            }
        }
        FreeMap { is_from_file, entries }
    }

    /// A map of anything, as JSON.
    pub(super) fn json(&mut self, key: &'static str) -> serde_json::Map<String, Json> {
        let what = format!("`{}`", self.path_of(key));
        let node = match self.in_file(key) {
            Some(entry) => self.checked_map(&entry.node, &what),
            None => self.in_defaults(key),
        };
        let entries = node.map(Node::entries).unwrap_or_default();
        entries.iter().map(|entry| (entry.key.clone(), json::json_of(&entry.node))).collect()
    }

    /// Notes something that no single read can tell.
    pub(super) fn note(&self, span: Span, message: String, help: &str) {
        self.findings.add(span, message, Some(help.to_owned()));
    }

    /// Notes every key of the file that was not read.
    pub(super) fn finish(self) {
        for entry in self.file.map(Node::entries).unwrap_or_default() {
            if !self.known.contains(&entry.key.as_str()) {
                let message = format!("unknown key `{}`", entry.key);
                self.findings.add(entry.key_span, message, Some(self.help_for(&entry.key)));
            }
        }
    }

    fn help_for(&self, key: &str) -> String {
        if let Some(home) = home_of(self.all_defaults, key) {
            return match home.as_str() {
                "" => "it belongs to the top level of the file".to_owned(),
                home => format!("it belongs to `{home}`"),
            };
        }
        match suggestion::nearest(key, &self.known) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => {
                format!("the keys here are {}", suggestion::enumerate(self.known.iter().copied()))
            }
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The entry of the file, unless it is absent or its problem was noted already.
    fn in_file(&mut self, key: &'static str) -> Option<&'a Entry> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let entry = self.file?.entry(key)?;
        (!matches!(entry.node.value, Value::Broken)).then_some(entry)
    }

    fn in_defaults(&self, key: &str) -> Option<&'a Node> {
        Some(&self.defaults?.entry(key)?.node)
    }

    fn parse<T: Setting>(&self, entry: &Entry, path: &str) -> Option<T> {
        let result = T::parse(match &entry.node.value {
            Value::Scalar(scalar) => &scalar.text,
            _ => "",
        });
        let help = result.as_ref().err().map_or("write a single value", String::as_str);
        let scalar = self.checked_scalar(entry, path, help)?;
        let may_be_shown = T::may_be_shown(&scalar.text);
        if may_be_shown {
            self.findings.show(entry.node.span);
        }
        if let Err(help) = &result {
            let message = match (&scalar.unexpanded, may_be_shown) {
                _ if scalar.text.is_empty() => format!("`{path}` cannot be empty"),
                (_, false) => format!("`{path}` cannot have this value"),
                (Some(written), true) => format!("`{path}` cannot have the value of `{written}`"),
                (None, true) => format!("`{path}` cannot be `{}`", shortened(&scalar.text)),
            };
            self.findings.add(entry.node.span, message, Some(help.clone()));
        }
        result.ok()
    }

    fn checked_scalar<'e>(&self, entry: &'e Entry, path: &str, help: &str) -> Option<&'e Scalar> {
        let kind = match &entry.node.value {
            Value::Scalar(scalar) => return Some(scalar),
            Value::Absent => "must have a value",
            Value::Broken => return None,
            Value::List(_) => "must be a single value, not a list",
            Value::Map(_) => "must be a single value, not a section",
        };
        self.findings.add(entry.key_span, format!("`{path}` {kind}"), Some(help.to_owned()));
        None
    }

    fn checked_map<'n>(&self, node: &'n Node, what: &str) -> Option<&'n Node> {
        let kind = match &node.value {
            Value::Map(_) => return Some(node),
            Value::Absent | Value::Broken => return None,
            Value::Scalar(_) => "a single value",
            Value::List(_) => "a list",
        };
        let message = format!("{what} must be a section of keys and values, not {kind}");
        let help = "write one `key: value` a line, each line further in than the section's name";
        self.findings.add(node.span, message, Some(help.to_owned()));
        None
    }
}

fn text_of(node: &Node) -> Option<String> {
    match &node.value {
        Value::Scalar(scalar) => Some(scalar.text.clone()),
        _ => None,
    }
}

fn is_empty(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(scalar) if scalar.text.trim().is_empty())
}

/// The section of the defaults that has `key`, if exactly one does.
fn home_of(defaults: &Node, key: &str) -> Option<String> {
    fn search(node: &Node, path: &str, key: &str, homes: &mut Vec<String>) {
        for entry in node.entries() {
            if entry.key == key {
                homes.push(path.to_owned());
            }
            let separator = if path.is_empty() { "" } else { "." };
            search(&entry.node, &format!("{path}{separator}{}", entry.key), key, homes);
        }
    }
    let mut homes = Vec::new();
    search(defaults, "", key, &mut homes);
    match homes.len() {
        1 => homes.pop(),
        _ => None,
    }
}

fn shortened(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match clean.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", clean.get(..end).unwrap_or_default()),
        None => clean,
    }
}
