//! Statements: loops, conditions, assignments, inheritance, includes and imports.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::source::Diagnostic;
use crate::value::Value;

use super::ast::{At, Block, Expr, For, Stmt, StmtKind, Target, Template};
use super::live::{Function, Halt, Live, LoopState, MacroFunction, Origin, Outcome, fail, or_undefined};
use super::output::Output;
use super::{Evaluator, Frame, Module};

/// The name under which a filter chain without subject finds the text of its block.
pub(super) const BLOCK_TEXT: &str = "{block}";

/// What `{% extends %}` asks for: the parent, to run once the child is through.
type Parent = Option<(Arc<Template>, Origin)>;

impl Evaluator<'_> {
    /// Runs a whole template, and its parents where it extends them.
    pub(super) fn whole(&self, template: &Template, frame: &mut Frame, out: &mut Output) -> Outcome<()> {
        for (name, block) in &template.blocks {
            frame.blocks.borrow_mut().entry(name.clone()).or_default().push(block.clone());
        }
        let Some(parent) = self.until_extends(&template.body, frame, out)? else { return Ok(()) };
        let (parent, origin) = parent;
        let mut above = Frame { origin: Rc::new(origin), ..frame.clone() };
        self.deeper("`extends`", || self.whole(&parent, &mut above, out))
    }

    /// Runs statements; after `extends` nothing prints, and the parent is returned.
    fn until_extends(&self, body: &[Stmt], frame: &mut Frame, out: &mut Output) -> Outcome<Parent> {
        let mut parent = None;
        let mut nowhere = Output::default();
        for statement in body {
            if let StmtKind::Extends(name) = &statement.kind {
                if parent.is_some() {
                    return self.placed(fail("a template extends only one other"), frame, statement.at);
                }
                let name = self.eval(name, frame)?;
                parent = Some(self.placed(self.load(&name), frame, statement.at)?);
            } else if parent.is_some() {
                if !matches!(statement.kind, StmtKind::Block(_)) {
                    self.statement(statement, frame, &mut nowhere)?;
                }
            } else {
                self.statement(statement, frame, out)?;
            }
        }
        Ok(parent)
    }

    pub(super) fn statements(&self, body: &[Stmt], frame: &mut Frame, out: &mut Output) -> Outcome<()> {
        body.iter().try_for_each(|statement| self.statement(statement, frame, out))
    }

    fn statement(&self, statement: &Stmt, frame: &mut Frame, out: &mut Output) -> Outcome<()> {
        let at = statement.at;
        match &statement.kind {
            StmtKind::Raw(text) => out.raw(text, self),
            StmtKind::Emit(expr) => {
                let value = self.eval(expr, frame)?;
                let result = out.value(value, self);
                self.placed(result, frame, at)
            }
            StmtKind::For(node) => {
                let items = self.eval(&node.items, frame)?;
                let items = self.placed(self.iterate(&items), frame, node.items.at)?;
                self.for_loop(node, items, 1, frame, out)
            }
            StmtKind::If { test, yes, no } => {
                let value = self.eval(test, frame)?;
                let holds = self.placed(self.truth(&value), frame, test.at)?;
                self.statements(if holds { yes } else { no }, frame, out)
            }
            StmtKind::With { bindings, body } => {
                let mut values = Vec::new();
                for (target, value) in bindings {
                    values.push((target, self.eval(value, frame)?));
                }
                let mark = frame.open();
                let result = values.into_iter().try_for_each(|(target, value)| self.assign(target, value, frame));
                let result = result.and_then(|()| self.statements(body, frame, out));
                frame.close(mark);
                result
            }
            StmtKind::Set(target, expr) => {
                let value = match self.eval(expr, frame) {
                    Err(Halt::Unknown(unknown)) => Live::Value(Value::Unknown(unknown)),
                    other => other?,
                };
                let result = self.assign(target, value.thaw(), frame);
                self.placed(result, frame, at)
            }
            StmtKind::SetBlock { target, filter, body } => {
                let printed = or_undefined(self.captured(body, frame))?;
                let value = match filter {
                    Some(filter) => self.filtered(filter, printed, frame)?,
                    None => printed,
                };
                let result = self.assign(target, value, frame);
                self.placed(result, frame, at)
            }
            StmtKind::FilterBlock { filter, body } => {
                let printed = or_undefined(self.captured(body, frame))?;
                let value = self.filtered(filter, printed, frame)?;
                out.value(value, self)
            }
            StmtKind::Body(body) => {
                let mark = frame.open();
                let result = self.statements(body, frame, out);
                frame.close(mark);
                result
            }
            StmtKind::Block(block) => self.block(&block.name, 0, frame, out),
            StmtKind::Extends(_) => self.placed(fail("`extends` has to stand outside of other tags"), frame, at),
            StmtKind::Include { name, ignore_missing, with_context } => {
                let name = self.eval(name, frame)?;
                let result = self.include(&name, *ignore_missing, *with_context, frame, out);
                self.placed(result, frame, at)
            }
            StmtKind::Import { name, target, with_context } => {
                let name = self.eval(name, frame)?;
                let module = self.placed(self.import(&name, *with_context, frame), frame, at)?;
                frame.set(target.clone(), Live::function(Function::Module(module)));
                Ok(())
            }
            StmtKind::FromImport { name, names, with_context } => {
                let file = self.eval(name, frame)?;
                let module = self.placed(self.import(&file, *with_context, frame), frame, at)?;
                for (name, alias) in names {
                    let found = module.names.borrow().get(name).cloned();
                    let value = match found {
                        Some(value) => value,
                        None => {
                            let known: Vec<String> = module.names.borrow().keys().map(|name| name.to_string()).collect();
                            let diagnostic = Diagnostic::error(format!("the imported template has no `{name}`"));
                            self.missing(diagnostic.did_you_mean(name, known.iter().map(String::as_str)), frame, at)
                        }
                    };
                    frame.set(alias.clone(), value);
                }
                Ok(())
            }
            StmtKind::Macro(decl) => {
                let function = MacroFunction { decl: decl.clone(), frame: frame.clone() };
                frame.set(decl.name.clone(), Live::function(Function::Macro(function)));
                Ok(())
            }
            StmtKind::CallBlock { call, caller } => {
                let function = Live::function(Function::Macro(MacroFunction { decl: caller.clone(), frame: frame.clone() }));
                let mark = frame.open();
                frame.locals.push((super::call::CALLER.into(), function));
                let result = self.eval(call, frame);
                frame.close(mark);
                let result = result.and_then(|value| out.value(value, self));
                self.placed(result, frame, at)
            }
            StmtKind::Do(expr) => self.eval(expr, frame).map(|_| ()),
            StmtKind::Break => Err(Halt::Break),
            StmtKind::Continue => Err(Halt::Continue),
        }
    }

    /// Returns what `body` prints: a value of its own type where that is all.
    fn captured(&self, body: &[Stmt], frame: &mut Frame) -> Outcome<Live> {
        let mut inner = Output::default();
        let mark = frame.open();
        let result = self.statements(body, frame, &mut inner);
        frame.close(mark);
        result?;
        inner.into_native(self)
    }

    fn filtered(&self, filter: &Expr, printed: Live, frame: &mut Frame) -> Outcome<Live> {
        let mark = frame.open();
        frame.locals.push((BLOCK_TEXT.into(), printed));
        let result = self.eval(filter, frame);
        frame.close(mark);
        result
    }

    pub(in crate::vars) fn assign(&self, target: &Target, value: Live, frame: &mut Frame) -> Outcome<()> {
        match target {
            Target::Name(name) => {
                frame.set(name.clone(), value);
                Ok(())
            }
            Target::Attribute(of, name) => {
                let holder = frame.get(of);
                if let Some(Live::Function(function)) = &holder
                    && let Function::Namespace(names) = &**function
                {
                    names.borrow_mut().insert(name.clone(), value);
                    return Ok(());
                }
                fail(format!("`{of}.{name}` cannot be set: `{of}` is no `namespace()`"))
            }
            Target::Many(targets) => {
                let parts = self.iterate(&value)?;
                if parts.len() != targets.len() {
                    return fail(format!("{} names are to be set from {} values", targets.len(), parts.len()));
                }
                targets.iter().zip(parts).try_for_each(|(target, part)| self.assign(target, part, frame))
            }
        }
    }

    /// Runs a `for` over `items`.
    pub(super) fn for_loop(&self, node: &Arc<For>, items: Vec<Live>, depth: usize, frame: &mut Frame, out: &mut Output) -> Outcome<()> {
        let items = match &node.filter {
            None => items,
            Some(filter) => {
                let mut kept = Vec::new();
                for item in items {
                    let mark = frame.open();
                    let result = self
                        .assign(&node.target, item.clone(), frame)
                        .and_then(|()| self.eval(filter, frame))
                        .and_then(|value| self.truth(&value));
                    frame.close(mark);
                    if self.placed(result, frame, filter.at)? {
                        kept.push(item);
                    }
                }
                kept
            }
        };
        if items.is_empty() {
            return self.statements(&node.otherwise, frame, out);
        }
        let items = Rc::new(items);
        let state = Rc::new(Function::Loop(LoopState {
            index: RefCell::new(0),
            items: items.clone(),
            depth,
            changed: RefCell::default(),
            recurse: node.recursive.then(|| node.clone()),
            frame: RefCell::new(node.recursive.then(|| frame.clone())),
        }));
        for (index, item) in items.iter().enumerate() {
            if let Function::Loop(state) = &*state {
                *state.index.borrow_mut() = index;
            }
            let mark = frame.open();
            frame.locals.push(("loop".into(), Live::Function(state.clone())));
            let result = self.placed(self.assign(&node.target, item.clone(), frame), frame, node.items.at);
            let result = result.and_then(|()| self.statements(&node.body, frame, out));
            frame.close(mark);
            match result {
                Err(Halt::Break) => break,
                Err(Halt::Continue) | Ok(()) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    /// Returns the items that a loop goes through: of a list, the keys of a dictionary, the characters of a text.
    pub(in crate::vars) fn iterate(&self, value: &Live) -> Outcome<Vec<Live>> {
        Ok(match value {
            Live::List(items) => {
                let length = items.borrow().len();
                let mut out = Vec::with_capacity(length);
                for index in 0..length {
                    let index = Live::Value(Value::from(index));
                    out.extend(self.item(value, &index)?);
                }
                out
            }
            Live::Tuple(items) => items.to_vec(),
            Live::Dict(entries) => entries.borrow().keys().map(|key| Live::Value(key.to_value())).collect(),
            Live::Value(Value::List(items)) => items.iter().map(|item| self.used(item)).collect::<Outcome<_>>()?,
            Live::Value(Value::Map(map)) => map.keys().map(|key| Live::Value(key.to_value())).collect(),
            Live::Value(Value::Str(text)) => text.chars().map(|c| Live::str(c.encode_utf8(&mut [0; 4]))).collect(),
            Live::Value(Value::Lazy(lazy)) => {
                let live = self.lazy(lazy)?;
                return self.iterate(&live);
            }
            Live::Value(Value::Unknown(unknown)) => return Err(Halt::Unknown(unknown.clone())),
            Live::Undefined(undefined) if undefined.silent => Vec::new(),
            Live::Undefined(undefined) => return Err(Halt::Undefined(undefined.clone())),
            Live::Vars => self.vars.names().into_iter().map(Live::str).collect(),
            Live::Host(vars) => vars.names().into_iter().map(Live::str).collect(),
            Live::HostVars => self.vars.host_names().into_iter().map(Live::str).collect(),
            Live::Function(function) => match &**function {
                Function::Loop(state) => state.items.to_vec(),
                _ => return fail("a function cannot be looped over"),
            },
            Live::Moment(moment) => return fail(format!("a {} cannot be looped over", moment.type_name())),
            Live::Value(other) => return fail(format!("a {} cannot be looped over", other.type_name())),
        })
    }

    /// Runs block `name`, the one `above` levels up the line of templates.
    pub(super) fn block(&self, name: &Arc<str>, above: usize, frame: &mut Frame, out: &mut Output) -> Outcome<()> {
        let block: Option<Arc<Block>> = frame.blocks.borrow().get(name).and_then(|line| line.get(above)).cloned();
        let Some(block) = block else { return fail(format!("there is no block `{name}` above this one")) };
        if block.required && above == 0 {
            return fail(format!("the block `{name}` is required, and no template fills it"));
        }
        let mark = frame.open();
        frame.locals.push(("super".into(), Live::function(Function::Super(name.clone(), above + 1))));
        let result = self.deeper("a block", || self.statements(&block.body, frame, out));
        frame.close(mark);
        result
    }

    /// Reads the template that `name` names; of a list, the first that exists.
    fn load(&self, name: &Live) -> Outcome<(Arc<Template>, Origin)> {
        let names = match self.known(name)? {
            Value::Str(name) => vec![name.to_string()],
            Value::List(names) => names.iter().map(ToString::to_string).collect(),
            other => return fail(format!("a template's name is a text, not {}", other.type_name())),
        };
        for name in &names {
            if let Some(path) = self.engine.world().find("templates", name) {
                return self.engine.template_of(&path).map_err(Halt::from);
            }
        }
        fail(format!("there is no template `{}`", names.join("` or `")))
    }

    fn include(&self, name: &Live, ignore_missing: bool, with_context: bool, frame: &mut Frame, out: &mut Output) -> Outcome<()> {
        let (template, origin) = match self.load(name) {
            Err(Halt::Error(_) | Halt::Sealed(_)) if ignore_missing => return Ok(()),
            other => other?,
        };
        let mut inner = Frame::new(origin);
        inner.context = with_context;
        if with_context {
            inner.locals = context_of(frame);
        }
        let mut printed = Output::default();
        self.deeper("`include`", || self.whole(&template, &mut inner, &mut printed))?;
        out.raw(&printed.into_text(self)?, self)
    }

    fn import(&self, name: &Live, with_context: bool, frame: &Frame) -> Outcome<Rc<Module>> {
        let (template, origin) = self.load(name)?;
        let mut inner = Frame::new(origin);
        inner.context = with_context;
        if with_context {
            inner.locals = context_of(frame);
        }
        let mut printed = Output::default();
        self.deeper("`import`", || self.whole(&template, &mut inner, &mut printed))?;
        *inner.module.text.borrow_mut() = printed.into_text(self)?;
        Ok(inner.module)
    }

    /// Returns what a block prints, for `super()` and `self.name()`.
    pub(super) fn block_text(&self, name: &Arc<str>, above: usize, frame: &mut Frame) -> Outcome<Live> {
        let mut inner = Output::default();
        self.block(name, above, frame, &mut inner)?;
        inner.into_text(self).map(Live::str)
    }

    /// Runs a macro's body in its own frame and returns what it prints.
    pub(super) fn body_value(&self, body: &[Stmt], frame: &mut Frame) -> Outcome<Live> {
        let mut inner = Output::default();
        self.statements(body, frame, &mut inner)?;
        inner.into_native(self)
    }

    /// Runs `loop(items)` of a recursive loop.
    pub(super) fn recurse(&self, state: &LoopState, items: &Live) -> Outcome<Live> {
        let (Some(node), Some(mut frame)) = (state.recurse.clone(), state.frame.borrow().clone()) else {
            return fail("`loop()` needs `recursive` in its `for`");
        };
        let items = self.iterate(items)?;
        let mut inner = Output::default();
        self.deeper("a recursive loop", || self.for_loop(&node, items, state.depth + 1, &mut frame, &mut inner))?;
        inner.into_text(self).map(Live::str)
    }

    /// Gives an error of a whole template a place: its start.
    pub(in crate::vars) fn at_start<T>(&self, result: Outcome<T>, origin: Origin) -> Outcome<T> {
        self.placed(result, &Frame::new(origin), At::default())
    }
}

/// Returns the names that an included or imported template sees with its context: what the template around it has set, and
/// what is local there.
fn context_of(frame: &Frame) -> Vec<(Arc<str>, Live)> {
    let names = frame.module.names.borrow();
    names.iter().map(|(name, value)| (name.clone(), value.clone())).chain(frame.locals.iter().cloned()).collect()
}
