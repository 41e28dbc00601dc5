//! Literals that the function they are given to would refuse, and names that the configuration or the
//! folder would have to hold.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use rhai::{ASTNode, Expr, FnCallExpr, Position};

use super::access::{self, Step};
use super::flow::call_of;
use super::survey::{Script, Survey};
use crate::rules::calls::Functions;
use crate::rules::code::Code;
use crate::rules::diagnostic::{Diagnostic, nearest};
use crate::rules::host::{HostData, parse_duration, parse_region};
use crate::rules::ruleset::RuleEnvironment;

/// What a literal has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Duration,
    Region,
    Zone,
    Pattern,
    Table,
    Channel,
    Role,
}

/// Functions, and which of their arguments is checked. The value comes first, so a method's count
/// begins one later; those of a decision are only called as methods.
const CHECKED: [(&str, usize, Wanted); 10] = [
    ("older_than", 1, Wanted::Duration),
    ("within", 1, Wanted::Duration),
    ("phone", 1, Wanted::Region),
    ("date", 1, Wanted::Zone),
    ("matches", 1, Wanted::Pattern),
    ("capture", 1, Wanted::Pattern),
    ("replace_all", 1, Wanted::Pattern),
    ("table", 0, Wanted::Table),
    ("unsubscribe", 1, Wanted::Channel),
    ("create", 1, Wanted::Role),
];

/// Checks literals, `lists.name` and `settings.name`.
pub(super) fn check(
    survey: &Survey<'_>,
    environment: &RuleEnvironment,
    data: &HostData,
    host: &Functions,
    found: &mut Vec<Diagnostic>,
) {
    for script in &survey.scripts {
        let asked = asked_for(script);
        script.visit(|path| {
            if let Some((call, _)) = call_of(path) {
                let is_method = matches!(path.last(), Some(ASTNode::Expr(Expr::MethodCall(..))));
                found.extend(literal(script, call, is_method, data, host));
            }
            found.extend(configured(script, path, environment, &asked));
        });
    }
}

fn literal(
    script: &Script<'_>,
    call: &FnCallExpr,
    is_method: bool,
    data: &HostData,
    host: &Functions,
) -> Option<Diagnostic> {
    // A function of the rules may have the name of a built-in one.
    let count = call.args.len() + usize::from(is_method);
    if call.is_qualified() || !host.has(&call.name, count) {
        return None;
    }
    let (_, place, wanted) = CHECKED.iter().find(|(name, ..)| *name == call.name.as_str())?;
    let place = place.checked_sub(usize::from(is_method))?;
    let Expr::StringConstant(text, at) = call.args.get(place)? else { return None };
    let error = |code, message: String, help: String| {
        Some(script.error(code, *at, message).with_help(help))
    };
    let invalid = |what: &str, help: &str| {
        error(Code::InvalidLiteral, format!("`{text}` is not {what}"), help.to_owned())
    };
    match wanted {
        Wanted::Duration if parse_duration(text).is_none() => {
            invalid("a duration", "write one such as \"30d\", \"12h\", \"15m\", \"90s\" or \"2w\"")
        }
        Wanted::Region if parse_region(text).is_none() => {
            invalid("a region", "write the two letters of a country, such as \"TH\"")
        }
        Wanted::Zone if TimeZone::get(text).is_err() => {
            invalid("a time zone", "write one such as \"Asia/Bangkok\" or \"UTC\"")
        }
        Wanted::Pattern => {
            let problem = regex::RegexBuilder::new(text).size_limit(1 << 20).build().err()?;
            let reason = reason(&problem);
            invalid(
                "a regular expression",
                &format!("{reason}; a backslash in a text is written twice, or use backticks"),
            )
        }
        Wanted::Table if !data.tables.contains_key(text.as_str()) => {
            let known = data.tables.keys().map(String::as_str);
            let help = match nearest(text, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "tables are the files of the folder `tables`".to_owned(),
            };
            error(Code::UnknownTable, format!("there is no table `{text}`"), help)
        }
        Wanted::Channel if !matches!(text.as_str(), "email" | "sms") => {
            invalid("a channel", "write \"email\" or \"sms\"")
        }
        Wanted::Role if !matches!(text.as_str(), "lead" | "user") => {
            invalid("a role", "write \"lead\" or \"user\"")
        }
        _ => None,
    }
}

/// The last line of what the `regex` crate says, which is the reason.
fn reason(problem: &regex::Error) -> String {
    let text = problem.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    let reason = last.strip_prefix("error: ").unwrap_or(last);
    reason.trim_end_matches('.').replace("Compiled regex exceeds", "it exceeds the")
}

/// `lists.name`, `settings.name`.
fn configured(
    script: &Script<'_>,
    path: &[ASTNode<'_>],
    environment: &RuleEnvironment,
    asked: &BTreeSet<String>,
) -> Option<Diagnostic> {
    let (Expr::Variable(variable, short, _), steps) = access::chain(path)? else { return None };
    // A variable of the script's own has a place of its own.
    if variable.0.is_some() || short.is_some() || !variable.2.is_empty() {
        return None;
    }
    // What is looked up by a text may be missing.
    let (name, at, may_miss) = match steps.first()? {
        Step::Name(name, at) => (name, at, false),
        Step::Key(name, at) => (name, at, true),
        _ => return None,
    };
    match variable.1.as_str() {
        "lists" if !environment.lists.contains_key(*name) && !asked.contains(*name) => {
            let known = environment.lists.keys().map(String::as_str);
            let problem = script.error(Code::UnknownList, *at, format!("`lists` has no `{name}`"));
            match nearest(name, known) {
                Some(near) => Some(problem.with_help(format!("did you mean `{near}`?"))),
                None if may_miss => None,
                None => {
                    Some(problem.with_help("lists are named in the configuration under `lists`"))
                }
            }
        }
        "settings" if !environment.settings.contains_key(*name) => {
            let problem = unknown_setting(script, name, *at, environment, asked)?;
            (!may_miss || problem.is_error()).then_some(problem)
        }
        _ => None,
    }
}

fn unknown_setting(
    script: &Script<'_>,
    name: &str,
    at: Position,
    environment: &RuleEnvironment,
    asked: &BTreeSet<String>,
) -> Option<Diagnostic> {
    let message = format!("`settings` has no `{name}`");
    if let Some(near) = nearest(name, environment.settings.keys().map(String::as_str)) {
        let problem = script.error(Code::UnknownSetting, at, message);
        return Some(problem.with_help(format!("did you mean `{near}`?")));
    }
    if asked.contains(name) {
        return None;
    }
    let problem = script.warning(Code::UnknownSetting, at, message);
    Some(
        problem.with_help(format!(
            "it is always (): set `scripts.settings.{name}` in the configuration"
        )),
    )
}

/// Settings and lists that a script gives a default to, or asks for, so that they may be missing.
fn asked_for(script: &Script<'_>) -> BTreeSet<String> {
    let mut asked = BTreeSet::new();
    script.visit(|path| {
        match path.last() {
            Some(ASTNode::Expr(Expr::Coalesce(values, _))) => {
                asked.extend(values.first().and_then(configured_name));
            }
            _ => {
                let Some((call, _)) = call_of(path) else { return };
                if matches!(call.name.as_str(), "or" | "==" | "!=") {
                    asked.extend(call.args.iter().filter_map(configured_name));
                } else if let (
                    "contains" | "in",
                    [_, Expr::StringConstant(name, _)] | [Expr::StringConstant(name, _), _],
                ) = (call.name.as_str(), &*call.args)
                {
                    asked.insert(name.to_string());
                }
            }
        };
    });
    asked
}

/// The name in `settings.name` and `lists.name`.
fn configured_name(expression: &Expr) -> Option<String> {
    let (Expr::Variable(variable, ..), steps) = access::steps(expression)? else { return None };
    match steps.as_slice() {
        [Step::Name(name, _) | Step::Key(name, _)]
            if matches!(variable.1.as_str(), "settings" | "lists") =>
        {
            Some((*name).to_owned())
        }
        _ => None,
    }
}
