//! Calls: macros, methods, functions, and what `loop`, `self` and imported templates answer to.

use std::rc::Rc;
use std::sync::Arc;

use crate::value::{Key, Value};

use super::ast::{Argument, Expr, Kind};
use super::live::{Function, Live, LoopState, MacroFunction, Outcome, fail, or_undefined};
use super::{Evaluator, Frame, globals, methods};

/// The name under which a `{% call %}` block hands itself to the macro.
pub(super) const CALLER: &str = "{caller}";

/// Arguments of a call, evaluated.
#[derive(Default)]
pub(in crate::vars) struct Arguments {
    pub positional: Vec<Live>,
    pub named: Vec<(Arc<str>, Live)>,
}

impl Arguments {
    /// Takes the argument at `index` or named `name`.
    pub(in crate::vars) fn take(&mut self, index: usize, name: &str) -> Option<Live> {
        if let Some(at) = self.named.iter().position(|(known, _)| **known == *name) {
            return Some(self.named.remove(at).1);
        }
        self.positional.get(index).cloned()
    }
}

impl Evaluator<'_> {
    pub(super) fn arguments(&self, arguments: &[Argument], frame: &mut Frame) -> Outcome<Arguments> {
        let mut out = Arguments::default();
        for argument in arguments {
            match argument {
                Argument::Position(value) => out.positional.push(self.eval(value, frame)?),
                Argument::Name(name, value) => out.named.push((name.clone(), self.eval(value, frame)?)),
                Argument::Splat(value) => {
                    let value = self.eval(value, frame)?;
                    out.positional.extend(self.iterate(&value)?);
                }
                Argument::NamedSplat(value) => {
                    let value = self.eval(value, frame)?;
                    let Value::Map(map) = self.freeze(&value)? else { return fail("`**` takes a dictionary") };
                    out.named.extend(map.iter().map(|(key, value)| (key.to_string().into(), Live::Value(value.clone()))));
                }
            }
        }
        Ok(out)
    }

    pub(super) fn call_expression(&self, callee: &Expr, arguments: &[Argument], frame: &mut Frame) -> Outcome<Live> {
        if let Kind::Attribute(of, name) = &*callee.kind {
            let mut receiver = self.eval(of, frame)?;
            if methods::changes(name) && matches!(receiver, Live::Value(Value::List(_) | Value::Map(_))) {
                // A variable that is changed in place is changed for the rest of this template.
                receiver = receiver.thaw();
                if let Kind::Var(variable) = &*of.kind {
                    if frame.get(variable).is_some() {
                        frame.set(variable.clone(), receiver.clone());
                    } else {
                        self.remember(variable, receiver.clone());
                    }
                }
            }
            if let Live::Undefined(_) | Live::Value(Value::Unknown(_)) = receiver {
                return Ok(receiver);
            }
            if self.function_attribute(&receiver, name)?.is_none() && methods::has(&receiver, name) {
                let arguments = self.arguments(arguments, frame)?;
                return or_undefined(methods::call(self, &receiver, name, arguments));
            }
            let function = match self.attribute(&receiver, name)? {
                Some(function) => function,
                None => {
                    let message = format!("{} has no method `{name}`", receiver.type_name());
                    let known = methods::names(&receiver);
                    let diagnostic = crate::source::Diagnostic::error(message).did_you_mean(name, known.iter().copied());
                    return Ok(self.missing(diagnostic, frame, callee.at));
                }
            };
            let arguments = self.arguments(arguments, frame)?;
            return or_undefined(self.call(&function, arguments, frame));
        }
        let function = self.eval(callee, frame)?;
        if let Live::Undefined(undefined) = &function {
            let mut diagnostic = undefined.diagnostic.clone();
            if let Kind::Var(name) = &*callee.kind {
                diagnostic.message = format!("there is no function `{name}`");
                if crate::vars::filters::find(name).is_some() {
                    diagnostic = diagnostic.hint(format!("`{name}` is a filter: write `value | {name}`"));
                }
            }
            return Ok(self.missing(diagnostic, frame, callee.at));
        }
        let arguments = self.arguments(arguments, frame)?;
        or_undefined(self.call(&function, arguments, frame))
    }

    pub(in crate::vars) fn call(&self, function: &Live, mut arguments: Arguments, frame: &mut Frame) -> Outcome<Live> {
        let Live::Function(function) = function else {
            if let Live::Value(Value::Unknown(_)) = function {
                return Ok(function.clone());
            }
            return fail(format!("a {} cannot be called", function.type_name()));
        };
        match &**function {
            Function::Global(name) => globals::call(self, name, arguments, frame),
            Function::Bound(receiver, name) => methods::call(self, receiver, name, arguments),
            Function::Macro(function) => self.call_macro(function, arguments, frame.get(CALLER)),
            Function::Loop(state) => match arguments.take(0, "iterable") {
                Some(items) => self.recurse(state, &items),
                None => fail("`loop()` takes what to loop over"),
            },
            Function::Cycler(items, at) => {
                let index = *at.borrow();
                *at.borrow_mut() = (index + 1) % items.len().max(1);
                items.get(index).map_or_else(|| fail("a cycler needs items"), |item| Ok(item.clone()))
            }
            Function::Joiner(separator, used) => Ok(Live::str(if used.replace(true) { separator } else { "" })),
            Function::Super(name, above) => self.block_text(name, *above, frame),
            Function::SelfBlocks | Function::Namespace(_) | Function::Module(_) => fail("this cannot be called"),
        }
    }

    fn call_macro(&self, function: &MacroFunction, mut arguments: Arguments, caller: Option<Live>) -> Outcome<Live> {
        let decl = &function.decl;
        let mut frame = function.frame.clone();
        frame.open();
        let caller = match arguments.named.iter().position(|(name, _)| &**name == "caller") {
            Some(at) if !decl.parameters.iter().any(|(name, _)| &**name == "caller") => Some(arguments.named.remove(at).1),
            _ => caller,
        };
        // What a macro calls itself must not find this call's block.
        frame.locals.retain(|(name, _)| &**name != CALLER);
        let mut positional = std::mem::take(&mut arguments.positional).into_iter();
        for (name, default) in &decl.parameters {
            let given = match positional.next() {
                Some(value) => Some(value),
                None => arguments.named.iter().position(|(known, _)| known == name).map(|at| arguments.named.remove(at).1),
            };
            let value = match (given, default) {
                (Some(value), _) => value.thaw(),
                (None, Some(default)) => self.eval(default, &mut frame)?,
                (None, None) => Live::undefined(crate::source::Diagnostic::error(format!(
                    "`{name}` is undefined: the macro `{}` was called without it",
                    decl.name
                ))),
            };
            frame.locals.push((name.clone(), value));
        }
        let rest: Vec<Live> = positional.collect();
        if !rest.is_empty() && !decl.uses_varargs {
            return fail(format!("the macro `{}` takes at most {} arguments", decl.name, decl.parameters.len()));
        }
        if let (Some((name, _)), false) = (arguments.named.first(), decl.uses_kwargs) {
            let known = decl.parameters.iter().map(|(name, _)| &**name);
            return Err(crate::source::Diagnostic::error(format!("the macro `{}` takes no argument `{name}`", decl.name))
                .did_you_mean(name, known)
                .into());
        }
        frame.locals.push(("varargs".into(), Live::Tuple(Rc::new(rest))));
        let named = arguments.named.into_iter().map(|(name, value)| (Key::from(&*name), value)).collect();
        frame.locals.push(("kwargs".into(), Live::Dict(Rc::new(std::cell::RefCell::new(named)))));
        if let Some(caller) = caller {
            frame.locals.push(("caller".into(), caller));
        }
        self.deeper("a macro", || self.body_value(&decl.body, &mut frame))
    }

    /// Returns what `loop`, `self`, a namespace, a macro or an imported template has under `name`.
    pub(super) fn function_attribute(&self, value: &Live, name: &str) -> Outcome<Option<Live>> {
        let Live::Function(function) = value else { return Ok(None) };
        Ok(match &**function {
            Function::Loop(state) => self.loop_attribute(function, state, name)?,
            Function::Namespace(names) => names.borrow().get(name).cloned(),
            Function::Module(module) => module.names.borrow().get(name).cloned(),
            Function::SelfBlocks => Some(Live::function(Function::Super(name.into(), 0))),
            Function::Macro(function) => match name {
                "name" => Some(Live::str(&function.decl.name)),
                "arguments" => Some(Live::Tuple(Rc::new(function.decl.parameters.iter().map(|(name, _)| Live::str(name)).collect()))),
                "catch_varargs" => Some(Live::Value(Value::Bool(function.decl.uses_varargs))),
                "catch_kwargs" => Some(Live::Value(Value::Bool(function.decl.uses_kwargs))),
                "caller" => Some(Live::Value(Value::Bool(function.decl.uses_caller))),
                _ => None,
            },
            Function::Cycler(items, at) => match name {
                "current" => items.get(*at.borrow()).cloned(),
                "next" | "reset" => Some(Live::function(Function::Bound(value.clone(), name.into()))),
                _ => None,
            },
            _ => None,
        })
    }

    fn loop_attribute(&self, function: &Rc<Function>, state: &LoopState, name: &str) -> Outcome<Option<Live>> {
        let index = *state.index.borrow();
        let length = state.items.len();
        let edge = |at: Option<usize>, which: &str| {
            let item = at.and_then(|at| state.items.get(at)).cloned();
            item.unwrap_or_else(|| {
                Live::undefined(crate::source::Diagnostic::error(format!("there is no {which} item here: `loop.{name}` is undefined")))
            })
        };
        Ok(Some(match name {
            "index" => Value::from(index + 1).into(),
            "index0" => Value::from(index).into(),
            "revindex" => Value::from(length - index).into(),
            "revindex0" => Value::from(length - index - 1).into(),
            "first" => Value::Bool(index == 0).into(),
            "last" => Value::Bool(index + 1 == length).into(),
            "length" => Value::from(length).into(),
            "depth" => Value::from(state.depth).into(),
            "depth0" => Value::from(state.depth - 1).into(),
            "previtem" => edge(index.checked_sub(1), "previous"),
            "nextitem" => edge(Some(index + 1), "next"),
            "cycle" | "changed" => Live::function(Function::Bound(Live::Function(function.clone()), name.into())),
            _ => return Ok(None),
        }))
    }

    /// Calls `loop.cycle`, `loop.changed`, `cycler.next` and `cycler.reset`.
    pub(super) fn call_function_method(&self, function: &Function, name: &str, arguments: &Arguments) -> Outcome<Live> {
        match (function, name) {
            (Function::Loop(state), "cycle") => {
                let index = *state.index.borrow();
                arguments
                    .positional
                    .get(index % arguments.positional.len().max(1))
                    .map_or_else(|| fail("`loop.cycle` takes at least one value"), |item| Ok(item.clone()))
            }
            (Function::Loop(state), "changed") => {
                let seen = arguments.positional.iter().map(|value| self.freeze(value)).collect::<Outcome<Vec<_>>>()?;
                let seen = Value::list(seen);
                let before = state.changed.replace(Some(seen.clone()));
                Ok(Live::Value(Value::Bool(before != Some(seen))))
            }
            (Function::Cycler(items, at), "next") => {
                let index = *at.borrow();
                *at.borrow_mut() = (index + 1) % items.len().max(1);
                items.get(index).map_or_else(|| fail("a cycler needs items"), |item| Ok(item.clone()))
            }
            (Function::Cycler(_, at), _) => {
                *at.borrow_mut() = 0;
                Ok(Live::Value(Value::Null))
            }
            _ => fail(format!("there is no method `{name}` here")),
        }
    }

    /// Returns what a function prints as: an imported template prints its text.
    pub(super) fn function_text(&self, function: &Function) -> Outcome<String> {
        match function {
            Function::Module(module) => Ok(module.text.borrow().clone()),
            Function::Namespace(_) => Ok("<Namespace>".to_owned()),
            Function::Macro(function) => Ok(format!("<Macro '{}'>", function.decl.name)),
            _ => fail("a function is no value; call it with `()`"),
        }
    }
}
