//! Templates: text to tree (`parse`), tree to value (`eval`, `statements`, `call`, `operators`).

pub(in crate::vars) mod ast;
pub(in crate::vars) mod call;
mod eval;
pub(in crate::vars) mod format;
mod globals;
pub(in crate::vars) mod live;
pub(in crate::vars) mod methods;
pub(in crate::vars) mod moment;
pub(in crate::vars) mod operators;
mod output;
pub(in crate::vars) mod parse;
pub(in crate::vars) mod place;
mod prepare;
pub(in crate::vars) mod resolve;
mod statements;
pub(in crate::vars) mod text_methods;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::value::Value;

use super::Variables;
use super::engine::Engine;
use ast::Block;
use live::{Live, Origin};

/// Evaluates the templates of one call of the engine, against one set of variables.
pub(in crate::vars) struct Evaluator<'e> {
    pub engine: &'e Engine,
    pub vars: &'e dyn Variables,
    /// Variables already rendered.
    memo: RefCell<HashMap<Arc<str>, Live>>,
    /// Variables being rendered, to name a cycle.
    resolving: RefCell<Vec<Arc<str>>>,
}

/// How deep variables, macros and includes may nest.
const DEEPEST: usize = 60;

thread_local! {
    /// How deep this thread is: lookups and `hostvars` start evaluators within evaluators.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

impl<'e> Evaluator<'e> {
    pub(in crate::vars) fn new(engine: &'e Engine, vars: &'e dyn Variables) -> Self {
        Self { engine, vars, memo: RefCell::default(), resolving: RefCell::default() }
    }

    /// As [`Self::deeper`], for what calls back into the engine.
    pub(in crate::vars) fn deep<T>(&self, what: &str, inside: impl FnOnce() -> live::Outcome<T>) -> live::Outcome<T> {
        self.deeper(what, inside)
    }

    /// Runs `inside` one level deeper, or says that it is too deep.
    fn deeper<T>(&self, what: &str, inside: impl FnOnce() -> live::Outcome<T>) -> live::Outcome<T> {
        let depth = DEPTH.get();
        if depth >= DEEPEST {
            return live::fail(format!("{what} nests more than {DEEPEST} deep"));
        }
        DEPTH.set(depth + 1);
        let result = inside();
        DEPTH.set(depth);
        result
    }
}

/// The names that a template file itself sets: what an import of it gives.
#[derive(Default)]
pub(in crate::vars) struct Module {
    pub names: RefCell<IndexMap<Arc<str>, Live>>,
    /// The text that an imported template printed.
    pub text: RefCell<String>,
}

/// The blocks of a line of templates by name, the child's first.
type Blocks = HashMap<Arc<str>, Vec<Arc<Block>>>;

/// Where an expression is evaluated: its template and the names in reach.
#[derive(Clone)]
pub(in crate::vars) struct Frame {
    pub origin: Rc<Origin>,
    pub module: Rc<Module>,
    /// Names of loops, macros and `with`, innermost last.
    pub locals: Vec<(Arc<str>, Live)>,
    /// How many scopes are open: at 0 `set` writes to the module.
    pub scopes: usize,
    pub blocks: Rc<RefCell<Blocks>>,
    /// Whether variables are in reach: not in a template imported without context.
    pub context: bool,
}

impl Frame {
    pub(in crate::vars) fn new(origin: Origin) -> Self {
        Self { origin: Rc::new(origin), module: Rc::default(), locals: Vec::new(), scopes: 0, blocks: Rc::default(), context: true }
    }

    fn get(&self, name: &str) -> Option<Live> {
        if let Some((_, value)) = self.locals.iter().rev().find(|(local, _)| **local == *name) {
            return Some(value.clone());
        }
        let names = self.module.names.borrow();
        if names.is_empty() { None } else { names.get(name).cloned() }
    }

    fn set(&mut self, name: Arc<str>, value: Live) {
        if self.scopes == 0 {
            self.module.names.borrow_mut().insert(name, value);
        } else {
            self.locals.push((name, value));
        }
    }

    /// Opens a scope; [`Self::close`] with what this returns ends it.
    fn open(&mut self) -> usize {
        self.scopes += 1;
        self.locals.len()
    }

    fn close(&mut self, mark: usize) {
        self.scopes -= 1;
        self.locals.truncate(mark);
    }
}

/// Whether any part of `value` is still to be rendered.
pub(in crate::vars) fn has_lazy(value: &Value) -> bool {
    match value {
        Value::Lazy(_) => true,
        Value::List(items) => items.iter().any(has_lazy),
        Value::Map(map) => map.values().any(has_lazy),
        _ => false,
    }
}
