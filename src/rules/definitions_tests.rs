//! Definition files are what the language server reads, and say what is there.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;

fn environment() -> RuleEnvironment {
    RuleEnvironment {
        lists: [("all_users".to_owned(), 35), ("churn risk".to_owned(), 37)].into(),
        settings: json!({"vip_score": 5, "secret": "hush", "share": 0.5, "odd name": [1]})
            .as_object()
            .unwrap()
            .clone(),
        ..RuleEnvironment::default()
    }
}

fn account() -> AccountNames {
    let attribute = |name: &str, kind: &str| (name.to_owned(), kind.to_owned());
    AccountNames {
        attributes: vec![
            attribute("BIRTHDAY", "date"),
            attribute("INTERESTS", "multiple-choice"),
            attribute("ODD NAME", "text"),
        ],
        lists: vec![(41, "a\nb".to_owned())],
    }
}

fn written(module: &str) -> Vec<DefinitionFile> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("lib")).unwrap();
    std::fs::write(folder.path().join("lib/names.rhai"), module).unwrap();
    definitions(folder.path(), &environment(), Some(&account())).unwrap()
}

fn text_of(name: &str) -> String {
    let module = "const MIN = 2;\n\n/// The first letters.\nfn initials(name, upper) { name }\nfn tidy(name) { name }\nprivate fn own(x) { x }\n";
    let files = written(module);
    files.into_iter().find(|file| file.name == name).unwrap().text
}

/// Reads what the server's grammar allows in a definition file, and gives the names it defines.
struct Reader<'a> {
    tokens: Vec<&'a str>,
    at: usize,
}

impl<'a> Reader<'a> {
    fn names(text: &'a str) -> Result<Vec<&'a str>, String> {
        let mut reader = Self { tokens: tokens(text), at: 0 };
        reader.expect("module")?;
        reader.name()?;
        reader.expect(";")?;
        let mut names = Vec::new();
        while reader.peek().is_some() {
            names.push(reader.item()?);
            reader.expect(";")?;
        }
        Ok(names)
    }

    fn item(&mut self) -> Result<&'a str, String> {
        match self.next()? {
            "fn" => {
                let name = self.name()?;
                self.expect("(")?;
                while self.peek() != Some(")") {
                    self.name()?;
                    self.expect(":")?;
                    self.kind()?;
                    if self.peek() != Some(")") {
                        self.expect(",")?;
                    }
                }
                self.expect(")")?;
                self.expect("->")?;
                self.kind()?;
                Ok(name)
            }
            "const" => {
                let name = self.name()?;
                self.expect(":")?;
                self.kind()?;
                Ok(name)
            }
            "type" => {
                let name = self.name()?;
                self.expect("=")?;
                self.kind()?;
                Ok(name)
            }
            other => Err(format!("`{other}` begins no definition")),
        }
    }

    fn kind(&mut self) -> Result<(), String> {
        match self.peek() {
            Some("?") => {
                self.next()?;
            }
            Some("#{") => {
                self.next()?;
                while self.peek() != Some("}") {
                    match self.peek() {
                        Some(text) if text.starts_with('"') => self.next()?,
                        _ => self.name()?,
                    };
                    self.expect(":")?;
                    self.kind()?;
                    if self.peek() != Some("}") {
                        self.expect(",")?;
                    }
                }
                self.expect("}")?;
            }
            _ => {
                self.name()?;
            }
        }
        if self.peek() == Some("|") {
            self.next()?;
            self.kind()?;
        }
        Ok(())
    }

    /// A name that is no word of the language; `static` and `void` stand where names do.
    fn name(&mut self) -> Result<&'a str, String> {
        let word = self.next()?;
        let reserved = [
            "fn", "const", "type", "let", "if", "else", "for", "in", "while", "loop", "return",
            "true", "false", "switch", "module", "import", "export", "as", "private", "this",
            "throw", "try",
        ];
        let begins_well = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        match begins_well && !reserved.contains(&word) {
            true => Ok(word),
            false => Err(format!("`{word}` is no name")),
        }
    }

    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> Result<&'a str, String> {
        let token = self.peek().ok_or("the file ends too early")?;
        self.at += 1;
        Ok(token)
    }

    fn expect(&mut self, wanted: &str) -> Result<(), String> {
        let before: Vec<_> = self.tokens[self.at.saturating_sub(5)..self.at].to_vec();
        match self.next()? {
            token if token == wanted => Ok(()),
            token => Err(format!("`{token}` instead of `{wanted}` after {before:?}")),
        }
    }
}

fn tokens(text: &str) -> Vec<&str> {
    let pattern =
        regex::Regex::new(r#"//[^\n]*|"(?:\\.|[^"\\])*"|#\{|->|[A-Za-z_][A-Za-z0-9_]*|\S"#)
            .unwrap();
    pattern.find_iter(text).map(|found| found.as_str()).filter(|t| !t.starts_with("//")).collect()
}

#[test]
fn the_files_are_in_the_language_of_definitions() {
    for file in written("fn tidy(name) { name }") {
        assert!(is_definition_file(&file.text), "{}", file.name);
        let names = Reader::names(&file.text);
        names.unwrap_or_else(|problem| panic!("{}: {problem}", file.name));
    }
}

#[test]
fn every_function_that_rules_can_call_is_defined() {
    let texts: Vec<_> = written("").into_iter().map(|file| file.text).collect();
    let defined: BTreeSet<&str> =
        texts.iter().flat_map(|text| Reader::names(text).unwrap()).collect();
    for group in host::FUNCTIONS.iter().chain(&METHODS) {
        for function in group.sorted() {
            assert!(defined.contains(function.name), "{}", function.name);
        }
    }
    let phone = "fn phone(value: String | void, region: String) -> String | void;";
    assert!(texts.iter().any(|text| text.contains(phone)));
    let skip = "fn skip(brevo: Decision, reason: String) -> void;";
    assert!(texts.iter().any(|text| text.contains(skip)));
}

#[test]
fn no_type_is_defined_twice() {
    let text = text_of("records.d.rhai");
    let names = Reader::names(&text).unwrap();
    assert!(names.contains(&"ContactFields") && names.contains(&"MergeContactExistingFields"));
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
}

#[test]
fn constants_of_the_configuration_have_their_keys_and_no_values() {
    let text = text_of("configuration.d.rhai");
    assert!(text.contains("const lists: #{ all_users: int, \"churn risk\": int };"), "{text}");
    assert!(text.contains("/// - `lists.all_users`: 35\n"), "{text}");
    let settings =
        "const settings: #{ \"odd name\": Array, secret: String, share: float, vip_score: int };";
    assert!(text.contains(settings), "{text}");
    assert!(!text.contains("hush"), "{text}");
}

#[test]
fn modules_have_their_functions_with_their_words() {
    let text = text_of("lib-names.d.rhai");
    let expected = "module names;\n\n/// The first letters.\nfn initials(name: ?, upper: ?) -> ?;\n\n\
                    fn tidy(name: ?) -> ?;\n\nconst MIN: ?;\n";
    assert!(text.ends_with(expected), "{text}");
    assert!(written("fn broken( {").iter().all(|file| file.name != "lib-names.d.rhai"));
}

#[test]
fn the_account_has_attributes_by_name_and_lists_by_number() {
    let text = text_of("account.d.rhai");
    assert!(text.contains("const BIRTHDAY: String;") && text.contains("const INTERESTS: Array;"));
    assert!(!text.contains("ODD NAME"), "not a name in Rhai: {text}");
    assert!(text.contains("/// - 41: \"a\\nb\"\n"), "{text}");
}

#[test]
fn what_is_switched_off_is_not_offered() {
    let text = text_of("rhai.d.rhai");
    assert!(text.contains("fn starts_with("), "{text}");
    for name in ["sleep", "timestamp", "eval"] {
        assert!(!text.contains(&format!("fn {name}(")), "{name}");
    }
}
