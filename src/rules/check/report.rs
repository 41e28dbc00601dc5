//! Everything that can be said of a folder of scripts, at once: for `tajo scripts check`.

use std::path::Path;
use std::sync::Arc;

use super::flow::Flow;
use super::live::{self, LiveNames};
use super::survey::Survey;
use crate::rules::diagnostic::{Diagnostic, Severity};
use crate::rules::files::{self, Role};
use crate::rules::load::{self, Parsing};
use crate::rules::ruleset::{RuleEnvironment, RuleSet, SourceFile};
use crate::rules::{harness, sandbox};

/// What was found in a folder of scripts.
#[derive(Debug)]
pub struct Checked {
    /// All findings, sorted by file and line.
    pub problems: Vec<Diagnostic>,
    /// The rule set, where nothing keeps it from being used.
    pub rules: Option<RuleSet>,
}

/// Reads a folder and checks what is in it.
pub fn check_folder(
    dir: &Path,
    environment: &RuleEnvironment,
    live: Option<&LiveNames>,
) -> Checked {
    match files::read_files(dir) {
        Ok(files) => check_files(files, environment, live, dir),
        Err(problems) => Checked { problems, rules: None },
    }
}

/// Checks rules, tests, and where the names of the accounts are known, those that scripts use.
/// `dir` is the folder of the scripts, whose samples tests read.
pub fn check_files(
    files: Vec<SourceFile>,
    environment: &RuleEnvironment,
    live: Option<&LiveNames>,
    dir: &Path,
) -> Checked {
    let (mut problems, rules) = match RuleSet::from_files(files.clone(), environment) {
        Ok(rules) => (rules.warnings().to_vec(), Some(rules)),
        Err(problems) => (problems, None),
    };
    let mut unused = Vec::new();
    let data = Arc::new(load::host_data(&files, environment, &mut unused));
    let mut engine = sandbox::engine(&environment.limits, &data);
    let parsing = Parsing::of(&mut engine, &files);
    let for_tests = RuleSet::from_files(Vec::new(), environment)
        .ok()
        .map(|empty| harness::engine_to_check(&empty, dir));
    let is_test = |path: &str| files.iter().any(|f| f.path == path && f.role() == Role::Test);
    let found = super::check(&engine, for_tests.as_ref(), &parsing, environment, &data);
    let said = found.into_iter().filter(|p| p.severity == Severity::Note || is_test(&p.file));
    problems.extend(said);
    problems.extend(
        parsing.broken.iter().filter(|(f, _)| f.role() == Role::Test).map(|(_, p)| p.clone()),
    );
    if let Some(names) = live {
        let survey = Survey::new(&parsing.parsed, parsing.broken_rules());
        live::check(&survey, &Flow::of(&survey), environment, names, &mut problems);
    }
    load::order(&mut problems);
    Checked { problems, rules }
}
