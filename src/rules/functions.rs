//! What calls found out about functions, kept for the calls that follow.
//!
//! Rhai finds a function by its name and the types of its arguments, in one module after the other,
//! and forgets it when a call from outside ends. In a mapping most functions are called once, so
//! finding them costs more than running them. What was found stays true as long as the engine and
//! the scripts do, with one exception: see [`is_one_for_all`].

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rhai::{
    AST, ASTNode, Caches, Dynamic, Engine, EvalAltResult, EvalContext, Expr, ImmutableString, Scope,
};

/// How many functions are remembered; a script that makes up names would have no end of them.
const MAX_FUNCTIONS: usize = 4_096;

/// The functions that calls of one script found. Each call takes what an earlier one left, so that
/// threads share nothing while scripts run.
#[derive(Debug, Default)]
pub(crate) struct KnownFunctions {
    is_kept: bool,
    /// The script's file, as errors and origins name it.
    source: Option<ImmutableString>,
    free: Mutex<Vec<Caches>>,
}

impl KnownFunctions {
    /// Nothing found yet; what will be is forgotten after each call unless it `is_kept`.
    pub(crate) fn new(script: &AST, is_kept: bool) -> Self {
        Self { is_kept, source: script.source().map(Into::into), free: Mutex::default() }
    }

    /// Calls a function of a script, without running its top level.
    ///
    /// # Errors
    /// The script's, as `Engine::call_fn` has them.
    pub(crate) fn call(
        &self,
        engine: &Engine,
        script: &AST,
        name: &str,
        tag: Dynamic,
        arguments: &mut [Dynamic],
    ) -> Result<Dynamic, Box<EvalAltResult>> {
        let mut caches = self.free().pop().unwrap_or_default();
        let source = self.source.clone();
        let result = call(engine, script, source, name, tag, arguments, &mut caches);
        // After an error, or a panic that passes here, nothing is known about the state of this.
        if self.is_kept && result.is_ok() {
            if caches.fn_resolution_cache_mut().dict.len() > MAX_FUNCTIONS {
                caches = Caches::new();
            }
            self.free().push(caches);
        }
        result
    }

    fn free(&self) -> MutexGuard<'_, Vec<Caches>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `Engine::call_fn_with_options`, but for the caches that it makes anew each time.
fn call(
    engine: &Engine,
    script: &AST,
    source: Option<ImmutableString>,
    name: &str,
    tag: Dynamic,
    arguments: &mut [Dynamic],
    caches: &mut Caches,
) -> Result<Dynamic, Box<EvalAltResult>> {
    let mut global = engine.new_global_runtime_state();
    global.source = source;
    global.lib.push(script.shared_lib().clone());
    global.tag = tag;
    let mut scope = Scope::new();
    let mut arguments: Vec<&mut Dynamic> = arguments.iter_mut().collect();
    EvalContext::new(engine, &mut global, caches, &mut scope, None)
        .call_fn_raw(name, false, false, &mut arguments)
        .or_else(|error| match *error {
            EvalAltResult::Exit(value, ..) => Ok(value),
            EvalAltResult::ErrorInFunctionCall(function, _, inner, _) if function == name => {
                Err(inner)
            }
            other => Err(other.into()),
        })
}

/// True if a function found by one part of the scripts is what every other part would find.
///
/// Rhai keeps functions by name and arguments, whatever script they were found from. So no two
/// scripts may have one of the same name, and none may ask for functions by a name that only it
/// works out.
pub(crate) fn is_one_for_all<'a>(scripts: impl IntoIterator<Item = &'a AST>) -> bool {
    let mut names = BTreeSet::new();
    scripts.into_iter().all(|script| {
        let mut functions = script.iter_functions();
        functions.all(|function| names.insert((function.name.to_owned(), function.params.len())))
            && !asks_by_name(script)
    })
}

fn asks_by_name(script: &AST) -> bool {
    // A walk that is ended early says so by `false`.
    !script.walk(&mut |path| {
        let name = match path.last() {
            Some(ASTNode::Expr(Expr::FnCall(call, _) | Expr::MethodCall(call, _))) => &*call.name,
            Some(ASTNode::Stmt(rhai::Stmt::FnCall(call, _))) => &*call.name,
            _ => return true,
        };
        !matches!(name, "Fn" | "is_def_fn")
    })
}

#[cfg(test)]
mod tests {
    use rhai::OptimizationLevel;
    use serde_json::json;

    use super::*;
    use crate::model::{Decision, RecordKey, Timestamp};
    use crate::rules::{ContactInput, RuleEnvironment, RuleSet, SourceFile};

    fn decide(rules: &RuleSet) -> Decision {
        let input = ContactInput {
            key: RecordKey::contact("1".parse().unwrap()),
            contact: json!({"email": "ann@example.com"}).into(),
            existing: None,
            as_of: Timestamp::from_seconds(1_768_019_995),
        };
        rules.decide_contact(&input).unwrap()
    }

    fn load(files: &[(&str, &str)]) -> RuleSet {
        let file = |(path, text): &(&str, &str)| SourceFile {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        };
        let files = files.iter().map(file).collect();
        RuleSet::from_files(files, &RuleEnvironment::default()).unwrap()
    }

    #[test]
    fn what_one_call_found_changes_nothing_for_the_next() {
        let rules = load(&[
            ("scripts/lib/own.rhai", "fn mark(x) { own_mark(x) } fn own_mark(x) { x + \"!\" }"),
            ("scripts/other.rhai", "fn map_tags(tags, contact, brevo) { brevo.C = helper(1); }"),
            (
                "scripts/mapping.rhai",
                "fn helper(x) { if x > 1 { `${x}` } else { own::mark(`${x}`) } }
                 fn map_contact(contact, brevo) {
                     brevo.A = helper(2);
                     brevo . B = own::mark(contact.email);
                     brevo
                         .D = brevo.A.len();
                 }",
            ),
        ]);
        let first = decide(&rules);
        assert_eq!(first.attributes.len(), 4);
        for _ in 0..5 {
            assert_eq!(decide(&rules), first);
        }
    }

    #[test]
    fn functions_are_kept_where_every_script_means_the_same_by_a_name() {
        fn case(scripts: &[&str], expected: bool) {
            let mut engine = Engine::new_raw();
            engine.set_optimization_level(OptimizationLevel::None);
            let scripts: Vec<AST> =
                scripts.iter().map(|text| engine.compile(text).unwrap()).collect();
            assert_eq!(is_one_for_all(&scripts), expected);
        }
        case(&["fn a(x) { x }", "fn b(x) { x } fn a() { 1 }"], true);
        case(&["fn a(x) { x }", "fn a(x) { x }"], false);
        case(&["fn a(x) { Fn(\"b\").call(x) }"], false);
        case(&["fn a(x) { if is_def_fn(\"b\", 1) { x } }"], false);
    }
}
