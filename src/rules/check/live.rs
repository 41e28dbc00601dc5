//! Names that only the two accounts know: fields of records, attributes, lists.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{ASTNode, Expr, Position};

use super::flow::{Field, Flow, Reached, Variables};
use super::kind::{Decision, Kind, Record};
use super::lists::{self, List};
use super::survey::{Script, Survey};
use crate::rules::code::Code;
use crate::rules::diagnostic::{Diagnostic, Severity, nearest};
use crate::rules::files::Role;
use crate::rules::ruleset::RuleEnvironment;

/// What the accounts have, as far as they could be asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveNames {
    /// Intercom's side.
    pub intercom: Option<IntercomNames>,
    /// Brevo's side.
    pub brevo: Option<BrevoNames>,
}

/// What Intercom's records have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IntercomNames {
    /// A contact.
    pub contact: RecordNames,
    /// A company.
    pub company: RecordNames,
}

/// What records of one kind have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordNames {
    /// Fields, such as `email`.
    pub fields: BTreeSet<String>,
    /// Names below `custom_attributes`.
    pub custom_attributes: BTreeSet<String>,
}

/// What Brevo's account has, and what the engine may add to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrevoNames {
    /// Attributes in upper case, and their types.
    pub attributes: BTreeMap<String, String>,
    /// Names of attributes that rules use for others of the account.
    pub aliases: BTreeMap<String, String>,
    /// Whether the engine makes attributes that the account lacks.
    pub creates_attributes: bool,
    /// Lists by number.
    pub lists: BTreeMap<i64, String>,
    /// Whether the engine makes lists that the account lacks.
    pub creates_lists: bool,
}

/// Attributes that every account has, under whatever name.
const ALWAYS: [&str; 5] = ["EMAIL", "EXT_ID", "SMS", "WHATSAPP", "LANDLINE_NUMBER"];

/// Where findings about the configuration are placed.
const CONFIGURATION: &str = "configuration";

/// Checks all names that rules and configuration use against the accounts.
pub(super) fn check(
    survey: &Survey<'_>,
    flow: &Flow,
    environment: &RuleEnvironment,
    names: &LiveNames,
    found: &mut Vec<Diagnostic>,
) {
    // What the accounts say makes the guess without them needless.
    if names.brevo.is_some() {
        found.retain(|p| p.code != Code::UnknownList || p.severity == Severity::Error);
    }
    let check = Check { survey, environment, names };
    for (index, script) in survey.scripts.iter().enumerate() {
        if script.role == Role::Test {
            continue;
        }
        for (at, function) in script.functions.iter().enumerate() {
            let variables = flow.variables(survey, (index, at));
            function.visit(|path| {
                found.extend(check.record(script, &variables, path));
                found.extend(check.attribute(script, &variables, path));
                check.named(script, &variables, path, found);
            });
        }
        for (script, named) in lists::named(survey, script) {
            found.extend(check.list(&named.list).map(|(severity, message, help)| {
                script.finding(severity, Code::UnknownList, named.at, message).with_help(help)
            }));
        }
    }
    check.configuration(found);
    let certain: BTreeSet<(String, u32, u32)> = found
        .iter()
        .filter(|p| p.code == Code::UnknownRecordField && p.is_error())
        .map(|p| (p.file.clone(), p.line, p.column))
        .collect();
    found.retain(|p| {
        p.code != Code::UnknownRecordField
            || p.is_error()
            || !certain.contains(&(p.file.clone(), p.line, p.column))
    });
}

struct Check<'s> {
    survey: &'s Survey<'s>,
    environment: &'s RuleEnvironment,
    names: &'s LiveNames,
}

impl Check<'_> {
    /// Fields of records that the account does not have.
    fn record(
        &self,
        script: &Script<'_>,
        variables: &Variables,
        path: &[ASTNode<'_>],
    ) -> Option<Diagnostic> {
        let reached = variables.reach(path)?;
        let Kind::Record(record) = reached.place.kind else { return None };
        let (field, problem) = self.field(record, &reached.place.path)?;
        let finding = script.finding(problem.0, Code::UnknownRecordField, field.at, problem.1);
        Some(finding.with_help(problem.2))
    }

    fn field<'f>(&self, record: Record, path: &'f [Field]) -> Option<(&'f Field, Found)> {
        let account = self.names.intercom.as_ref()?;
        let names = match record {
            Record::Contact => &account.contact,
            Record::Company => &account.company,
            _ => return None,
        };
        match path {
            [first, second, ..] if first.name == "custom_attributes" => {
                Some((second, custom(record, &second.name, names)?))
            }
            [first, ..] => Some((first, plain(record, &first.name, names)?)),
            [] => None,
        }
    }

    /// `brevo.NAME`.
    fn attribute(
        &self,
        script: &Script<'_>,
        variables: &Variables,
        path: &[ASTNode<'_>],
    ) -> Option<Diagnostic> {
        let Reached { place, .. } = variables.reach(path)?;
        if !matches!(place.kind, Kind::Decision(Decision::Contact)) {
            return None;
        }
        let field = place.path.first()?;
        self.attribute_at(script, &field.name, field.at)
    }

    fn attribute_at(&self, script: &Script<'_>, name: &str, at: Position) -> Option<Diagnostic> {
        if name.chars().any(char::is_lowercase) {
            return None;
        }
        let (severity, message, help) = self.unknown_attribute(name)?;
        Some(script.finding(severity, Code::UnknownAttribute, at, message).with_help(help))
    }

    /// Names in texts: `clear("NAME")`, the tables of `set_all`.
    fn named(
        &self,
        script: &Script<'_>,
        variables: &Variables,
        path: &[ASTNode<'_>],
        found: &mut Vec<Diagnostic>,
    ) {
        let Some(Reached { place, call: Some((call, _)) }) = variables.reach(path) else { return };
        if place.kind != Kind::Decision(Decision::Contact) || !place.path.is_empty() {
            return;
        }
        match (call.name.as_str(), &*call.args) {
            ("clear" | "keep", [Expr::StringConstant(name, at)]) => {
                found.extend(self.attribute_at(script, name, *at));
            }
            ("set_all", [source, table]) => {
                let (script, table) = match table {
                    Expr::Variable(variable, ..) => match self.survey.constant(&variable.1) {
                        Some((script, constant)) => (script, &constant.value),
                        None => return,
                    },
                    table => (script, table),
                };
                let Expr::Map(map, _) = table else { return };
                let source = variables.reach_expression(source);
                for (field, value) in &map.0 {
                    if let Expr::StringConstant(name, at) = value {
                        found.extend(self.attribute_at(script, name, *at));
                    }
                    found.extend(source.as_ref().and_then(|source| {
                        let Kind::Record(record) = source.place.kind else { return None };
                        let mut path = source.place.path.clone();
                        path.push(Field { name: field.name.to_string(), at: field.pos });
                        let (field, (severity, message, help)) = self.field(record, &path)?;
                        let code = Code::UnknownRecordField;
                        Some(script.finding(severity, code, field.at, message).with_help(help))
                    }));
                }
            }
            _ => {}
        }
    }

    /// `field_mapping` and `lists`.
    fn configuration(&self, found: &mut Vec<Diagnostic>) {
        let finding = |code, key: &str, (severity, message, help): Found| {
            Diagnostic::error(format!("{key}: {message}"), CONFIGURATION)
                .graded(severity)
                .coded(code)
                .with_help(help)
        };
        for (source, target) in &self.environment.field_mapping {
            let key = format!("connectors.intercom.field_mapping.{source}");
            let target = target.to_uppercase();
            found.extend(
                self.unknown_attribute(&target)
                    .map(|problem| finding(Code::UnknownAttribute, &key, problem)),
            );
            let path: Vec<Field> = source
                .split('.')
                .map(|name| Field { name: name.to_owned(), at: Position::NONE })
                .collect();
            // Names of custom attributes may hold dots themselves.
            let path = match path.as_slice() {
                [first, ..] if first.name == "custom_attributes" => {
                    let name = source.split_once('.').map_or("", |(_, rest)| rest).to_owned();
                    vec![first.clone(), Field { name, at: Position::NONE }]
                }
                _ => path,
            };
            let (record, path) = match path.as_slice() {
                [first, rest @ ..] if first.name == "company" => (Record::Company, rest),
                path => (Record::Contact, path),
            };
            // A source that nobody fills writes nothing, which harms nobody.
            found.extend(self.field(record, path).map(|(_, (_, message, help))| {
                let problem = (Severity::Warning, message, help);
                finding(Code::UnknownRecordField, &key, problem)
            }));
        }
        let Some(account) = &self.names.brevo else { return };
        for (name, number) in &self.environment.lists {
            if !account.lists.contains_key(number) {
                let problem = unknown_number(*number);
                found.push(finding(
                    Code::UnknownList,
                    &format!("connectors.intercom.lists.{name}"),
                    problem,
                ));
            }
        }
    }

    fn unknown_attribute(&self, name: &str) -> Option<Found> {
        let account = self.names.brevo.as_ref()?;
        let name = name.trim().to_uppercase();
        let meant = account.aliases.get(&name).unwrap_or(&name);
        if ALWAYS.contains(&meant.as_str()) || account.attributes.contains_key(meant) {
            return None;
        }
        let message = format!("unknown Brevo attribute `{meant}`");
        let near = nearest(meant, account.attributes.keys().map(String::as_str));
        Some(match (near, account.creates_attributes) {
            (Some(near), true) => (
                Severity::Warning,
                message,
                format!(
                    "did you mean `{near}`? otherwise the engine makes it, as `create_attributes` says"
                ),
            ),
            (None, true) => (
                Severity::Warning,
                message,
                "the engine would make it, as `create_attributes` says".to_owned(),
            ),
            (Some(near), false) => (Severity::Error, message, format!("did you mean `{near}`?")),
            (None, false) => (
                Severity::Error,
                message,
                "make it in Brevo, or set `connectors.brevo.create_attributes: true`".to_owned(),
            ),
        })
    }

    fn list(&self, list: &List) -> Option<Found> {
        let account = self.names.brevo.as_ref()?;
        match list {
            List::Number(number) if account.lists.contains_key(number) => None,
            List::Number(number) => Some(unknown_number(*number)),
            List::Name(name) if self.environment.lists.contains_key(name) => None,
            List::Name(name) => {
                let of_account = account.lists.values().filter(|known| *known == name).count();
                let known = self.environment.lists.keys().chain(account.lists.values());
                let message = format!("unknown list `{name}`");
                match (of_account, nearest(name, known.map(String::as_str))) {
                    (1, _) => None,
                    (0, Some(near)) if !account.creates_lists => {
                        Some((Severity::Error, message, format!("did you mean `{near}`?")))
                    }
                    (0, Some(near)) => Some((
                        Severity::Warning,
                        message,
                        format!(
                            "did you mean `{near}`? otherwise the engine makes it, as `create_lists` says"
                        ),
                    )),
                    (0, None) if !account.creates_lists => Some((
                        Severity::Error,
                        message,
                        "name it in the configuration under `lists`, or make it in Brevo"
                            .to_owned(),
                    )),
                    (0, None) => Some((
                        Severity::Warning,
                        message,
                        "the engine would make it, as `create_lists` says".to_owned(),
                    )),
                    (count, _) => Some((
                        Severity::Error,
                        format!("the account has {count} lists named `{name}`"),
                        "name one by its number in the configuration under `lists`".to_owned(),
                    )),
                }
            }
        }
    }
}

/// How much a finding matters, what it says, and what to do.
type Found = (Severity, String, String);

fn unknown_number(number: i64) -> Found {
    (
        Severity::Error,
        format!("the account has no list {number}"),
        "see Contacts, Lists in Brevo for the numbers".to_owned(),
    )
}

fn custom(record: Record, name: &str, names: &RecordNames) -> Option<Found> {
    let attributes = &names.custom_attributes;
    if attributes.contains(name) {
        return None;
    }
    let message = format!("{} has no custom attribute `{name}`", record.in_words());
    let help = match nearest(name, attributes.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "Intercom lists them under Settings, Data".to_owned(),
    };
    Some((Severity::Error, message, help))
}

/// A field that is no custom attribute. What an account lists is not all that the API answers, so
/// only what is near a known one is certainly wrong.
fn plain(record: Record, name: &str, names: &RecordNames) -> Option<Found> {
    let known = record.fields();
    if names.fields.contains(name) || known.contains(&name) || matches!(name, "len" | "type") {
        return None;
    }
    let message = format!("{} has no `{name}`", record.in_words());
    if names.custom_attributes.contains(name) {
        return Some((Severity::Error, message, format!("write `custom_attributes.{name}`")));
    }
    let all = names.fields.iter().map(String::as_str).chain(known.iter().copied());
    Some(match nearest(name, all) {
        Some(near) => (Severity::Error, message, format!("did you mean `{near}`?")),
        None => (
            Severity::Warning,
            message,
            "Intercom lists the fields under Settings, Data".to_owned(),
        ),
    })
}
