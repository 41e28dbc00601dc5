//! Which variables hold which records and decisions.
//!
//! Handlers say what their parameters are; a helper's parameter is what all of its calls pass.
//! Where a name is bound again, assigned to, or passed in different kinds, nothing is known.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{ASTNode, Expr, FnCallExpr, Position, Stmt};

use super::access::{self, Step};
use super::kind::{Decision, Kind, Record, parameters_of};
use super::survey::{Function, Script, Survey};
use crate::rules::files::Role;

/// A function of a survey: its script and its place in it.
type Id = (usize, usize);

/// What is known of all functions' parameters.
#[derive(Debug, Default)]
pub(super) struct Flow(BTreeMap<Id, Vec<BTreeSet<Kind>>>);

/// What is known of the variables in one function.
#[derive(Debug, Default)]
pub(super) struct Variables(BTreeMap<String, Place>);

/// A record or decision, or a place below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// What it is, or lies in.
    pub(super) kind: Kind,
    /// The names that lead to it.
    pub(super) path: Vec<Field>,
}

/// A name on the way to a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    /// The name.
    pub(super) name: String,
    /// Where it is written.
    pub(super) at: Position,
}

/// What a chain leads to, and how it ends.
#[derive(Debug)]
pub(super) struct Reached<'e> {
    /// The place as far as names lead.
    pub(super) place: Place,
    /// The call that ends it.
    pub(super) call: Option<(&'e FnCallExpr, Position)>,
}

impl Flow {
    /// Follows records and decisions from the handlers into the functions that they call.
    pub(super) fn of(survey: &Survey<'_>) -> Self {
        let mut flow = Self::default();
        let mut handed_on = BTreeSet::new();
        for (index, script) in survey.scripts.iter().enumerate() {
            script.visit(|path| handed_on.extend(named_by(path)));
            for (at, function) in script.functions.iter().enumerate() {
                let kinds =
                    if script.role == Role::Script { parameters_of(&function.name) } else { &[] };
                let known = function.params.iter().enumerate().map(|(at, _)| {
                    kinds.get(at).filter(|_| kinds.len() == function.params.len()).copied()
                });
                let known = known.map(|kind| kind.into_iter().collect()).collect();
                flow.0.insert((index, at), known);
            }
        }
        while flow.spread(survey) {}
        for (index, script) in survey.scripts.iter().enumerate() {
            for (at, function) in script.functions.iter().enumerate() {
                if handed_on.contains(&function.name) {
                    flow.forget((index, at));
                }
            }
        }
        flow
    }

    /// What is known of the variables in a function.
    pub(super) fn variables(&self, survey: &Survey<'_>, id: Id) -> Variables {
        let Some(function) = survey.scripts.get(id.0).and_then(|s| s.functions.get(id.1)) else {
            return Variables::default();
        };
        let (Some(known), false) = (self.0.get(&id), function.is_closure) else {
            return Variables::default();
        };
        let mut variables = Variables::default();
        for (name, kinds) in function.params.iter().zip(known) {
            if let (Some(kind), 1) = (kinds.first(), kinds.len()) {
                let place = Place { kind: *kind, path: Vec::new() };
                variables.0.insert(name.clone(), place);
            }
        }
        variables.bind(function);
        variables
    }

    /// Passes on what calls pass on; answers whether anything new came to be known.
    fn spread(&mut self, survey: &Survey<'_>) -> bool {
        let mut news = Vec::new();
        for (index, script) in survey.scripts.iter().enumerate() {
            if script.role == Role::Test {
                continue;
            }
            for (at, function) in script.functions.iter().enumerate() {
                let variables = self.variables(survey, (index, at));
                function.visit(|path| {
                    let Some((call, _)) = call_of(path) else { return };
                    let Some(callee) = callee(survey, script, call) else { return };
                    let kinds = call.args.iter().map(|argument| variables.kind_of(argument));
                    news.extend(kinds.enumerate().map(|(at, kind)| (callee, at, kind)));
                });
            }
        }
        let mut is_news = false;
        for (callee, at, kind) in news {
            let known = self.0.get_mut(&callee).and_then(|known| known.get_mut(at));
            is_news |= known.is_some_and(|known| known.insert(kind));
        }
        is_news
    }

    fn forget(&mut self, id: Id) {
        for kinds in self.0.get_mut(&id).into_iter().flatten() {
            kinds.insert(Kind::Other);
        }
    }
}

impl Variables {
    /// Where a chain leads, if it begins with something known.
    pub(super) fn reach<'e>(&self, path: &[ASTNode<'e>]) -> Option<Reached<'e>> {
        let (root, steps) = access::chain(path)?;
        self.follow(root, steps)
    }

    /// The same for an expression of its own.
    pub(super) fn reach_expression<'e>(&self, expression: &'e Expr) -> Option<Reached<'e>> {
        match expression {
            Expr::Variable(..) => self.follow(expression, Vec::new()),
            Expr::Dot(..) | Expr::Index(..) => {
                let (root, steps) = access::steps(expression)?;
                self.follow(root, steps)
            }
            _ => None,
        }
    }

    fn follow<'e>(&self, root: &Expr, steps: Vec<Step<'e>>) -> Option<Reached<'e>> {
        let Expr::Variable(variable, ..) = root else { return None };
        let mut place = self.0.get(variable.1.as_str()).filter(|_| variable.2.is_empty())?.clone();
        let mut steps = steps.into_iter().peekable();
        while let Some(step) = steps.next() {
            match step {
                Step::Name(name, at) | Step::Key(name, at) => {
                    place.path.push(Field { name: name.to_owned(), at });
                    place.enter(matches!(steps.peek(), Some(Step::Index)));
                }
                Step::Index if place.path.is_empty() => {}
                Step::Index => return None,
                Step::Call(call, at) => {
                    let is_contact = place.path.is_empty()
                        && place.kind == Kind::Decision(Decision::Emission)
                        && call.name == "contact"
                        && steps.peek().is_some();
                    if !is_contact {
                        return Some(Reached { place, call: Some((call, at)) });
                    }
                    place.kind = Kind::Decision(Decision::Contact);
                }
            }
        }
        Some(Reached { place, call: None })
    }

    /// What an argument of a call is.
    fn kind_of(&self, argument: &Expr) -> Kind {
        match self.reach_expression(argument) {
            Some(Reached { place, call: None }) if place.path.is_empty() => place.kind,
            Some(Reached { place, call: Some((call, _)) }) if place.is_new_decision(call) => {
                Kind::Decision(Decision::Contact)
            }
            _ => Kind::Other,
        }
    }

    /// Takes in what a function's own variables are, and forgets what it binds twice or assigns to.
    fn bind(&mut self, function: &Function) {
        let mut bound: BTreeMap<String, usize> = BTreeMap::new();
        let mut aliases = Vec::new();
        for name in &function.params {
            *bound.entry(name.clone()).or_default() += 1;
        }
        function.visit(|path| {
            for name in names_bound(path) {
                *bound.entry(name).or_default() += 1;
            }
            if let Some(ASTNode::Stmt(Stmt::Var(variable, ..))) = path.last() {
                aliases.push((variable.0.name.to_string(), variable.1.clone()));
            }
        });
        self.0.retain(|name, _| bound.get(name) == Some(&1));
        for (name, value) in aliases {
            if bound.get(&name) != Some(&1) {
                continue;
            }
            let place = match self.reach_expression(&value) {
                Some(Reached { place, call: None }) => place,
                Some(Reached { place, call: Some((call, _)) }) if place.is_new_decision(call) => {
                    Place { kind: Kind::Decision(Decision::Contact), path: Vec::new() }
                }
                _ => continue,
            };
            if place.kind != Kind::Other {
                self.0.insert(name, place);
            }
        }
    }
}

impl Place {
    /// A record inside a record is one of its own kind from there on.
    fn enter(&mut self, is_indexed: bool) {
        let [field] = self.path.as_slice() else { return };
        let inner = match (self.kind, field.name.as_str()) {
            (Kind::Record(Record::Contact), "company") => Record::Company,
            (Kind::Record(Record::Contact | Record::Conversation), "companies") if is_indexed => {
                Record::Company
            }
            (Kind::Record(Record::Event | Record::Conversation), "contact") => Record::Contact,
            (Kind::Record(Record::Conversation), "contacts") if is_indexed => Record::Contact,
            _ => return,
        };
        *self = Self { kind: Kind::Record(inner), path: Vec::new() };
    }

    /// `brevo.contact(event.contact)`.
    fn is_new_decision(&self, call: &FnCallExpr) -> bool {
        let is_emission = self.kind == Kind::Decision(Decision::Emission);
        is_emission && self.path.is_empty() && call.name == "contact"
    }
}

/// The names that a statement binds or assigns to.
fn names_bound(path: &[ASTNode<'_>]) -> Vec<String> {
    match path.last() {
        Some(ASTNode::Stmt(Stmt::Var(variable, ..))) => vec![variable.0.name.to_string()],
        Some(ASTNode::Stmt(Stmt::For(each, _))) => {
            let counter = each.1.as_ref().map(|counter| counter.name.to_string());
            [Some(each.0.name.to_string()), counter].into_iter().flatten().collect()
        }
        Some(ASTNode::Stmt(Stmt::TryCatch(block, _))) => match &block.expr {
            Expr::Variable(variable, ..) => vec![variable.1.to_string()],
            _ => Vec::new(),
        },
        Some(ASTNode::Stmt(Stmt::Assignment(assignment))) => match &assignment.1.lhs {
            Expr::Variable(variable, ..) => vec![variable.1.to_string()],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The call that a node is, and its place.
pub(super) fn call_of<'e>(path: &[ASTNode<'e>]) -> Option<(&'e FnCallExpr, Position)> {
    match path.last()? {
        ASTNode::Stmt(Stmt::FnCall(call, at))
        | ASTNode::Expr(Expr::FnCall(call, at) | Expr::MethodCall(call, at)) => Some((call, *at)),
        _ => None,
    }
}

/// Names by which functions are handed on: `Fn("name")`, a bare `name`, any text.
pub(super) fn named_by(path: &[ASTNode<'_>]) -> Option<String> {
    match path.last()? {
        ASTNode::Expr(Expr::Variable(variable, ..)) => Some(variable.1.to_string()),
        ASTNode::Expr(Expr::StringConstant(text, _)) => Some(text.to_string()),
        _ => None,
    }
}

/// The function of the rules that a call reaches.
fn callee(survey: &Survey<'_>, caller: &Script<'_>, call: &FnCallExpr) -> Option<Id> {
    let (name, count) = (call.name.as_str(), call.args.len());
    let module = call.is_qualified().then(|| call.namespace.root());
    let is_reached = |script: &Script<'_>| match (module, script.role) {
        (Some(module), Role::Library(name)) => module == name,
        (None, Role::Script) => true,
        (None, role) => role == caller.role,
        _ => false,
    };
    survey.scripts.iter().enumerate().filter(|(_, script)| is_reached(script)).find_map(
        |(index, script)| {
            let at = script
                .functions
                .iter()
                .position(|known| known.name == name && known.params.len() == count)?;
            Some((index, at))
        },
    )
}
