//! From files to a compiled rule set, or to everything that is wrong with them.

use std::sync::Arc;

use rhai::{AST, Engine, Module, OptimizationLevel, Shared};
use serde_json::json;

use super::budget::Budget;
use super::check;
use super::code::Code;
use super::diagnostic::{Diagnostic, Severity};
use super::error::ScriptError;
use super::files::Role;
use super::functions::{KnownFunctions, is_one_for_all};
use super::host::{FieldMapping, HostData, Tables, parse_region, parse_table};
use super::limits::Limits;
use super::properties;
use super::ruleset::{RuleEnvironment, SourceFile};
use super::sandbox::{self, Constants};

/// A script as it was parsed, before names in it are resolved.
#[derive(Debug)]
pub(crate) struct Parsed<'a> {
    /// Its file.
    pub(crate) file: &'a SourceFile,
    /// What the file is.
    pub(crate) role: Role<'a>,
    /// The syntax tree, not optimised, so that nothing is missing from it.
    pub(crate) ast: AST,
}

/// All scripts of a set, tests among them, as far as they parse.
#[derive(Debug)]
pub(crate) struct Parsing<'a> {
    /// Those that parse.
    pub(crate) parsed: Vec<Parsed<'a>>,
    /// Those that do not, and why.
    pub(crate) broken: Vec<(&'a SourceFile, Diagnostic)>,
}

impl<'a> Parsing<'a> {
    /// Parses all scripts. One that does not parse hides nothing in the others.
    pub(crate) fn of(engine: &mut Engine, files: &'a [SourceFile]) -> Self {
        engine.set_optimization_level(OptimizationLevel::None);
        let mut parsing = Self { parsed: Vec::new(), broken: Vec::new() };
        for file in files {
            let role = file.role();
            if !matches!(role, Role::Script | Role::Library(_) | Role::Test) {
                continue;
            }
            match engine.compile(&file.text) {
                Ok(mut ast) => {
                    ast.set_source(file.path.as_str());
                    parsing.parsed.push(Parsed { file, role, ast });
                }
                Err(error) => {
                    parsing.broken.push((file, check::syntax_error(file, &error, &[])));
                }
            }
        }
        engine.set_optimization_level(OptimizationLevel::Simple);
        parsing
    }

    /// Rules that do not parse.
    pub(crate) fn broken_rules(&self) -> Vec<&'a SourceFile> {
        let files = self.broken.iter().map(|(file, _)| *file);
        files.filter(|file| file.role() != Role::Test).collect()
    }
}

/// What compiling made of the files.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// The engine with all scripts in it.
    pub(crate) engine: Engine,
    /// The scripts and libraries; the former hold the handlers.
    pub(crate) scripts: Vec<AST>,
    /// What calls found out about functions, for each script.
    pub(crate) functions: Vec<KnownFunctions>,
    /// The same as modules, with the constants and libraries, for another engine.
    pub(crate) parts: Parts,
    /// What is odd, but no reason to refuse the set.
    pub(crate) warnings: Vec<Diagnostic>,
    /// What host functions know.
    pub(crate) data: Arc<HostData>,
}

/// The scripts as modules.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts {
    /// Seen by their names: the libraries.
    pub(crate) libraries: Vec<(String, Shared<Module>)>,
    /// Seen everywhere: constants and top-level scripts.
    pub(crate) globals: Vec<Shared<Module>>,
    /// For compiling more scripts that see the constants.
    pub(crate) constants: Option<Constants>,
}

impl Parts {
    /// Makes the scripts callable in an engine.
    pub(crate) fn register(&self, engine: &mut Engine) {
        for (name, module) in &self.libraries {
            engine.register_static_module(name.as_str(), module.clone());
        }
        for module in &self.globals {
            engine.register_global_module(module.clone());
        }
    }
}

/// Compiles and checks files.
///
/// The top level of each script is run once, here: its constants become variables of a module that
/// all functions see, and calls never run it again.
///
/// # Errors
/// Everything that is wrong, sorted by file and line.
pub(crate) fn compile(
    files: &[SourceFile],
    environment: &RuleEnvironment,
) -> Result<Compiled, Vec<Diagnostic>> {
    let mut problems = Vec::new();
    let data = Arc::new(host_data(files, environment, &mut problems));
    let mut engine = sandbox::engine(&environment.limits, &data);

    let parsing = Parsing::of(&mut engine, files);
    // What is wrong with tests is said when they are run.
    let is_rule = |problem: &Diagnostic| {
        !files.iter().any(|file| file.path == problem.file && file.role() == Role::Test)
    };
    problems.extend(parsing.broken.iter().map(|(_, problem)| problem.clone()).filter(is_rule));
    let found = check::check(&engine, None, &parsing, environment, &data);
    problems.extend(found.into_iter().filter(|p| is_rule(p) && p.severity != Severity::Note));
    let parsed: Vec<Parsed<'_>> =
        parsing.parsed.into_iter().filter(|script| script.role != Role::Test).collect();
    let mut constants = Constants::new(json!(environment.lists), json!(environment.settings));
    if !problems.iter().any(Diagnostic::is_error) {
        run_top_levels(&engine, &parsed, &environment.limits, &mut constants, &mut problems);
    }
    let parts = match problems.iter().any(Diagnostic::is_error) {
        true => None,
        false => resolve(&mut engine, &parsed, constants, &mut problems),
    };
    order(&mut problems);
    match parts {
        Some((scripts, parts)) if !problems.iter().any(Diagnostic::is_error) => {
            let is_kept = is_one_for_all(parsed.iter().map(|script| &script.ast));
            let functions =
                scripts.iter().map(|script| KnownFunctions::new(script, is_kept)).collect();
            properties::register(&mut engine, parsed.iter().map(|script| &script.ast));
            Ok(Compiled { engine, scripts, functions, parts, warnings: problems, data })
        }
        _ => Err(problems),
    }
}

/// What host functions know of folder and configuration; what is wrong with these goes to
/// `problems`.
pub(crate) fn host_data(
    files: &[SourceFile],
    environment: &RuleEnvironment,
    problems: &mut Vec<Diagnostic>,
) -> HostData {
    let mut tables = Tables::new();
    for file in files {
        let Role::Table(name) = file.role() else {
            continue;
        };
        match parse_table(&file.text) {
            Ok(table) => {
                tables.insert(name.to_owned(), Arc::new(table));
            }
            Err((line, message)) => problems.push(
                Diagnostic::error(format!("not a table: {message}"), &file.path)
                    .coded(Code::InvalidTable)
                    .at(&file.text, line, 1),
            ),
        }
    }
    let mut field_mapping = Vec::new();
    for (source, target) in &environment.field_mapping {
        match FieldMapping::new(source, target) {
            Ok(mapping) => field_mapping.push(mapping),
            Err(message) => problems.push(
                Diagnostic::error(format!("field_mapping: `{source}`: {message}"), "configuration")
                    .coded(Code::Configuration),
            ),
        }
    }
    let region = environment.phone_region.as_deref().filter(|region| !region.trim().is_empty());
    let region = region.and_then(|region| {
        let known = parse_region(region);
        if known.is_none() {
            let message = format!("phone_region: `{region}` is not a region");
            problems.push(
                Diagnostic::error(message, "configuration")
                    .coded(Code::Configuration)
                    .with_help("write two letters such as TH"),
            );
        }
        known
    });
    HostData { tables, field_mapping, region }
}

/// Sorts findings by their places, and leaves out what is said twice.
pub(crate) fn order(problems: &mut Vec<Diagnostic>) {
    problems.sort_by(|a, b| {
        let key = |p: &Diagnostic| (p.line, p.column, p.severity, p.code);
        a.file.cmp(&b.file).then(key(a).cmp(&key(b))).then_with(|| a.message.cmp(&b.message))
    });
    problems.dedup();
}

/// Runs top levels until each has run or none can: a constant may use one of a later file. They
/// share one budget, so that a set cannot keep the engine waiting.
fn run_top_levels(
    engine: &Engine,
    parsed: &[Parsed<'_>],
    limits: &Limits,
    constants: &mut Constants,
    problems: &mut Vec<Diagnostic>,
) {
    let mut waiting: Vec<&Parsed<'_>> = parsed.iter().collect();
    let _budget = Budget::start(limits);
    loop {
        let before = waiting.len();
        let mut failed = Vec::new();
        for script in std::mem::take(&mut waiting) {
            let mut attempt = constants.clone();
            match engine.run_ast_with_scope(attempt.scope_mut(), &script.ast) {
                Ok(()) => *constants = attempt,
                Err(error) => failed.push((script, error)),
            }
        }
        if failed.is_empty() {
            return;
        }
        if failed.len() == before {
            for (script, error) in failed {
                let error = ScriptError::new(*error, &script.file.path, &|_, _| None);
                problems.push(at_origin(&error, script.file));
            }
            return;
        }
        waiting = failed.into_iter().map(|(script, _)| script).collect();
    }
}

/// A script's error as a diagnostic in its file.
pub(crate) fn at_origin(error: &ScriptError, file: &SourceFile) -> Diagnostic {
    let (line, column) = error.origin.as_ref().map_or((0, 0), |o| (o.line, o.column));
    Diagnostic::error(error.message.as_str(), &file.path)
        .coded(Code::TopLevelFailed)
        .at(&file.text, line, column)
}

/// Compiles once more, now that the names of all constants and modules are known.
fn resolve(
    engine: &mut Engine,
    parsed: &[Parsed<'_>],
    constants: Constants,
    problems: &mut Vec<Diagnostic>,
) -> Option<(Vec<AST>, Parts)> {
    engine.set_strict_variables(true);
    // Modules may use each other, so all their names must be known before one is compiled.
    for script in parsed {
        if let Role::Library(name) = script.role {
            engine.register_static_module(name, Module::new().into());
        }
    }
    let names: Vec<String> = constants.scope().iter().map(|(name, ..)| name.to_owned()).collect();
    let mut scripts = Vec::new();
    let mut parts = Parts { globals: vec![constants.module()], ..Parts::default() };
    for script in parsed {
        let file = script.file;
        let mut ast = match engine.compile_with_scope(constants.scope(), &file.text) {
            Ok(ast) => ast,
            Err(error) => {
                problems.push(check::syntax_error(file, &error, &names));
                continue;
            }
        };
        ast.set_source(file.path.as_str());
        ast.clear_statements();
        let module = match Module::eval_ast_as_new(rhai::Scope::new(), &ast, engine) {
            Ok(mut module) => {
                if let Role::Library(_) = script.role {
                    export_constants(&mut module, script, &constants);
                }
                Shared::new(module)
            }
            Err(error) => {
                problems.push(at_origin(&ScriptError::new(*error, &file.path, &|_, _| None), file));
                continue;
            }
        };
        match script.role {
            Role::Library(name) => parts.libraries.push((name.to_owned(), module)),
            _ => parts.globals.push(module),
        }
        scripts.push(ast);
    }
    parts.constants = Some(constants);
    parts.register(engine);
    Some((scripts, parts))
}

/// Makes a library's own constants readable as `library::NAME`, too.
fn export_constants(module: &mut Module, script: &Parsed<'_>, constants: &Constants) {
    for name in check::constants(&script.ast) {
        if let Some(value) = constants.scope().get(&name) {
            module.set_var(name, value.clone());
        }
    }
    module.build_index();
}
