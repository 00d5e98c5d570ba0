//! Expressions.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::source::Diagnostic;
use crate::value::{Key, Lazy, Text, Value};

use super::ast::{Expr, Kind};
use super::live::{Function, Halt, Live, Outcome, fail, or_undefined};
use super::methods;
use super::moment::Moment;
use super::operators;
use super::{Evaluator, Frame, globals};

impl Evaluator<'_> {
    /// Evaluates an expression. What is undefined is a value until it is used.
    pub(super) fn eval(&self, expr: &Expr, frame: &mut Frame) -> Outcome<Live> {
        let result = self.eval_kind(expr, frame);
        if result.is_err() { self.placed(result, frame, expr.at) } else { result }
    }

    fn eval_kind(&self, expr: &Expr, frame: &mut Frame) -> Outcome<Live> {
        match &*expr.kind {
            Kind::Const(Value::Lazy(lazy)) => match &**lazy {
                Lazy::Template(text) => self.lazy(&Lazy::Template(Text { text: text.text.clone(), span: frame.origin.span })),
                Lazy::Vault(_) | Lazy::Unsafe(_) => self.lazy(lazy),
            },
            Kind::Const(value) => Ok(Live::Value(value.clone())),
            Kind::Var(name) => self.name(name, expr, frame),
            Kind::List(items) => self.eval_parts(items, frame).map(Live::list),
            Kind::Tuple(items) => self.eval_parts(items, frame).map(|items| Live::Tuple(Rc::new(items))),
            Kind::Dict(entries) => self.dict(entries, frame),
            Kind::Attribute(of, name) => {
                let value = self.eval(of, frame)?;
                let found = self.attribute(&value, name)?;
                found.map_or_else(|| Ok(self.no_part(&value, name, of, expr, frame)), Ok)
            }
            Kind::Item(of, key) => {
                let value = self.eval(of, frame)?;
                if let Live::Undefined(_) = value {
                    return Ok(value);
                }
                let key = self.eval(key, frame)?;
                if let Live::Undefined(undefined) = key {
                    return Err(Halt::Undefined(undefined));
                }
                let found = self.item(&value, &key)?;
                match found {
                    Some(found) => Ok(found),
                    None => {
                        let mut name = String::new();
                        self.print(&key, &mut name)?;
                        Ok(self.no_part(&value, &name, of, expr, frame))
                    }
                }
            }
            Kind::Slice(of, parts) => {
                let value = self.eval(of, frame)?;
                let mut bounds = [None; 3];
                for (bound, part) in bounds.iter_mut().zip(parts) {
                    let Some(part) = part else { continue };
                    let live = self.eval(part, frame)?;
                    *bound = match self.known(&live)? {
                        Value::Int(number) => Some(number),
                        Value::Bool(flag) => Some(i64::from(flag)),
                        Value::Null => None,
                        other => return fail(format!("a slice takes whole numbers, not {}", other.type_name())),
                    };
                }
                operators::slice(self, &value, bounds)
            }
            Kind::Not(of) => {
                let value = self.eval(of, frame)?;
                Ok(Live::Value(Value::Bool(!self.truth(&value)?)))
            }
            Kind::Negative(of) => {
                let value = self.eval(of, frame)?;
                operators::negative(&self.known(&value)?).map(Live::Value)
            }
            Kind::And(left, right) => self.logic(left, right, false, frame),
            Kind::Or(left, right) => self.logic(left, right, true, frame),
            Kind::Binary(op, left, right) => {
                let left = self.eval(left, frame)?;
                let right = self.eval(right, frame)?;
                operators::binary(self, *op, &left, &right)
            }
            Kind::Compare(first, rest) => {
                let mut left = self.eval(first, frame)?;
                for (op, right) in rest {
                    let right = self.eval(right, frame)?;
                    if !operators::compare(self, *op, &left, &right)? {
                        return Ok(Live::Value(Value::Bool(false)));
                    }
                    left = right;
                }
                Ok(Live::Value(Value::Bool(true)))
            }
            Kind::If { test, yes, no } => {
                let test_value = self.eval(test, frame)?;
                match (self.truth(&test_value)?, no) {
                    (true, _) => self.eval(yes, frame),
                    (false, Some(no)) => self.eval(no, frame),
                    (false, None) => {
                        let diagnostic = Diagnostic::error("the `if` has no `else`, and its condition is not true, so there is no value");
                        let span = super::place::locate(self.engine.sources(), &frame.origin, expr.at);
                        Ok(Live::Undefined(Rc::new(super::live::Undefined { diagnostic: diagnostic.at(span), silent: true })))
                    }
                }
            }
            Kind::Filter { filter, subject, arguments } => {
                let subject = match subject {
                    Some(subject) => match self.sealed(filter.name, subject, frame) {
                        Some(armoured) => armoured,
                        None => match self.eval(subject, frame) {
                            Err(Halt::Sealed(_)) if filter.name == "type_debug" => return Ok(Live::str("VaultExceptionMarker")),
                            other => other?,
                        },
                    },
                    None => frame.get(super::statements::BLOCK_TEXT).unwrap_or_else(|| Live::str("")),
                };
                let arguments = self.arguments(arguments, frame)?;
                or_undefined(crate::vars::filters::apply(self, filter, subject, arguments))
            }
            Kind::Test { test, subject, arguments } => {
                let subject = self.eval(subject, frame)?;
                let arguments = self.arguments(arguments, frame)?;
                or_undefined(crate::vars::tests::apply(self, test, &subject, arguments).map(|holds| Live::Value(Value::Bool(holds))))
            }
            Kind::Call { callee, arguments } => self.call_expression(callee, arguments, frame),
        }
    }

    /// Returns the armoured text of a vaulted variable, for the filter `unvault`, which opens it with a secret of its own.
    fn sealed(&self, filter: &str, subject: &Expr, frame: &Frame) -> Option<Live> {
        let (true, Kind::Var(name)) = (filter == "unvault", &*subject.kind) else { return None };
        match self.vars.get(name).filter(|_| frame.get(name).is_none())? {
            Value::Lazy(lazy) => match &*lazy {
                Lazy::Vault(text) => Some(Live::str(&text.text)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Evaluates the parts of a list: what is unknown stays a part.
    fn eval_parts(&self, items: &[Expr], frame: &mut Frame) -> Outcome<Vec<Live>> {
        items.iter().map(|item| self.eval_part(item, frame)).collect()
    }

    fn eval_part(&self, item: &Expr, frame: &mut Frame) -> Outcome<Live> {
        match self.eval(item, frame) {
            Err(Halt::Unknown(unknown)) => Ok(Live::Value(Value::Unknown(unknown))),
            other => other,
        }
    }

    fn dict(&self, entries: &[(Expr, Expr)], frame: &mut Frame) -> Outcome<Live> {
        let mut map = IndexMap::with_capacity(entries.len());
        for (key, value) in entries {
            let key_live = self.eval(key, frame)?;
            let key_value = self.known(&key_live)?;
            let Some(key_value) = Key::from_value(&key_value) else {
                return fail(format!("a {} cannot be a key of a dictionary", key_value.type_name()));
            };
            let value = self.eval_part(value, frame)?;
            map.insert(key_value, value);
        }
        Ok(Live::Dict(Rc::new(RefCell::new(map))))
    }

    /// Evaluates `and` and `or`: what decides the answer also decides it when the other side is unknown.
    fn logic(&self, left: &Expr, right: &Expr, decides: bool, frame: &mut Frame) -> Outcome<Live> {
        let unknown = match self.eval(left, frame).and_then(|value| Ok((self.truth(&value)?, value))) {
            Ok((truth, value)) if truth == decides => return Ok(value),
            Ok(_) => return self.eval(right, frame),
            Err(Halt::Unknown(unknown)) => unknown,
            Err(other) => return Err(other),
        };
        // The right side may count on the left one, so its errors do not count.
        match self.eval(right, frame).and_then(|value| Ok((self.truth(&value)?, value))) {
            Ok((truth, value)) if truth == decides => Ok(value),
            _ => Err(Halt::Unknown(unknown)),
        }
    }

    /// Looks a name up: the template's own, then variables, then functions.
    fn name(&self, name: &Arc<str>, expr: &Expr, frame: &mut Frame) -> Outcome<Live> {
        if let Some(value) = frame.get(name) {
            return Ok(value);
        }
        if frame.context
            && let Some(value) = self.variable(name)?
        {
            return Ok(value);
        }
        if let Some(function) = globals::find(name) {
            return Ok(Live::function(Function::Global(function)));
        }
        if &**name == "self" {
            return Ok(Live::function(Function::SelfBlocks));
        }
        let mut diagnostic = Diagnostic::error(format!("'{name}' is undefined"));
        let names = self.vars.names();
        let own: Vec<String> = frame
            .locals
            .iter()
            .map(|(name, _)| name.to_string())
            .chain(frame.module.names.borrow().keys().map(|name| name.to_string()))
            .collect();
        diagnostic = diagnostic.did_you_mean(name, names.iter().chain(&own).map(String::as_str));
        if crate::vars::lookups::is_known(name) {
            diagnostic = diagnostic.hint(format!("a lookup is written `lookup('{name}', ...)`"));
        }
        if diagnostic.hints.is_empty() {
            let hint = format!("give it a value (`vars`, the inventory, `-e`), or a fallback: `{name} | default(...)`");
            diagnostic = diagnostic.hint(hint);
        }
        Ok(self.missing(diagnostic, frame, expr.at))
    }

    /// Returns the undefined value for a missing part, naming what of the path is missing.
    fn no_part(&self, of: &Live, name: &str, of_expr: &Expr, expr: &Expr, frame: &Frame) -> Live {
        if let Live::Undefined(_) = of {
            return of.clone();
        }
        if let Live::Value(Value::Unknown(_)) = of {
            return of.clone();
        }
        let path = describe(of_expr);
        let message = match of {
            _ if self.engine.sources().in_ansible_form() => {
                let kind = of.type_name();
                match name.parse::<i64>() {
                    Ok(index) => format!("{kind} object has no element {index}"),
                    Err(_) => format!("object of type '{kind}' has no attribute '{name}'"),
                }
            }
            Live::Value(Value::List(items)) => format!("{path} has no item {name}: it has {}", items.len()),
            Live::List(items) => format!("{path} has no item {name}: it has {}", items.borrow().len()),
            Live::Value(Value::Null) => format!("{path} is null, so it has no attribute '{name}'"),
            Live::Value(value @ (Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_))) => {
                format!("{path} is a {}, so it has no attribute '{name}'", value.type_name())
            }
            _ => format!("{path} has no attribute '{name}'"),
        };
        let keys = methods::key_names(self, of);
        let diagnostic = Diagnostic::error(message).did_you_mean(name, keys.iter().map(String::as_str));
        self.missing(diagnostic, frame, expr.at)
    }

    /// Returns the attribute `name`: a method of the type, else an entry.
    pub(in crate::vars) fn attribute(&self, value: &Live, name: &str) -> Outcome<Option<Live>> {
        if let Live::Undefined(_) | Live::Value(Value::Unknown(_)) = value {
            return Ok(Some(value.clone()));
        }
        // A group that `groupby` made is a pair with names.
        if let Live::Value(Value::List(pair)) = value
            && let [key, group @ Value::List(_)] = pair.as_slice()
            && let Some(part) = [("grouper", key), ("list", group)].into_iter().find_map(|(own, part)| (own == name).then_some(part))
        {
            return Ok(Some(Live::Value(part.clone())));
        }
        if let Live::List(pair) = value
            && let [key, group @ (Live::Value(Value::List(_)) | Live::List(_))] = pair.borrow().as_slice()
            && let Some(part) = [("grouper", key), ("list", group)].into_iter().find_map(|(own, part)| (own == name).then_some(part))
        {
            return Ok(Some(part.clone()));
        }
        if let Some(found) = self.function_attribute(value, name)? {
            return Ok(Some(found));
        }
        if let Live::Moment(moment) = value
            && let Some(found) = moment.attribute(name)
        {
            return Ok(Some(found.into()));
        }
        if methods::has(value, name) {
            return Ok(Some(Live::function(Function::Bound(value.clone(), name.into()))));
        }
        // A timestamp of YAML or TOML is kept as its text; what only times have makes a time of it.
        if let Live::Value(Value::Str(text)) = value
            && let Some(moment) = Moment::written_as(text, name)
        {
            return match moment.attribute(name) {
                Some(found) => Ok(Some(found.into())),
                None => Ok(Some(Live::function(Function::Bound(Live::Moment(moment), name.into())))),
            };
        }
        self.entry(value, &Key::from(name))
    }

    /// Returns `value[key]`: an entry, else an attribute.
    pub(in crate::vars) fn item(&self, value: &Live, key: &Live) -> Outcome<Option<Live>> {
        if let Live::Undefined(_) | Live::Value(Value::Unknown(_)) = value {
            return Ok(Some(value.clone()));
        }
        let key_value = self.known(key)?;
        if let Value::Int(index) = key_value
            && let Some(found) = self.indexed(value, index)?
        {
            return Ok(Some(found));
        }
        if let Some(key) = Key::from_value(&key_value)
            && let Some(found) = self.entry(value, &key)?
        {
            return Ok(Some(found));
        }
        match &key_value {
            Value::Str(name) => {
                if let Some(found) = self.function_attribute(value, name)? {
                    return Ok(Some(found));
                }
                Ok(methods::has(value, name).then(|| Live::function(Function::Bound(value.clone(), name.clone()))))
            }
            _ => Ok(None),
        }
    }

    fn indexed(&self, value: &Live, index: i64) -> Outcome<Option<Live>> {
        let at = |length: usize| {
            let length = i64::try_from(length).unwrap_or(i64::MAX);
            usize::try_from(if index < 0 { index + length } else { index }).ok()
        };
        match value {
            Live::Value(Value::List(items)) => at(items.len()).and_then(|at| items.get(at)).map(|item| self.used(item)).transpose(),
            Live::List(items) => {
                let Some(at) = at(items.borrow().len()) else { return Ok(None) };
                let Some(item) = items.borrow().get(at).cloned() else { return Ok(None) };
                let item = self.opened(item)?;
                if let Some(slot) = items.borrow_mut().get_mut(at) {
                    *slot = item.clone();
                }
                Ok(Some(item))
            }
            Live::Tuple(items) => Ok(at(items.len()).and_then(|at| items.get(at)).cloned()),
            Live::Value(Value::Str(text)) => {
                let count = text.chars().count();
                Ok(at(count).and_then(|at| text.chars().nth(at)).map(|c| Live::str(c.to_string())))
            }
            _ => Ok(None),
        }
    }

    /// Returns a part of a changeable collection as it is used: rendered, and changeable itself.
    fn opened(&self, part: Live) -> Outcome<Live> {
        match part {
            Live::Value(Value::Lazy(lazy)) => Ok(self.lazy(&lazy)?.thaw()),
            other => Ok(other.thaw()),
        }
    }

    fn entry(&self, value: &Live, key: &Key) -> Outcome<Option<Live>> {
        match value {
            Live::Value(Value::Map(map)) => operators::map_get(map, key).map(|item| self.used(item)).transpose(),
            Live::Dict(entries) => {
                let Some(item) = entries.borrow().get(key).cloned() else { return Ok(None) };
                let item = self.opened(item)?;
                entries.borrow_mut().insert(key.clone(), item.clone());
                Ok(Some(item))
            }
            Live::Vars => key.as_str().map_or(Ok(None), |name| self.variable(name)),
            Live::HostVars => {
                let Some(name) = key.as_str() else { return Ok(None) };
                Ok(self.vars.host(name).map(Live::Host))
            }
            Live::Host(vars) => {
                let Some(name) = key.as_str() else { return Ok(None) };
                let other = Evaluator::new(self.engine, &**vars);
                // Its templates see its own variables, so it is final before it leaves.
                match other.variable(name)? {
                    None => Ok(None),
                    Some(undefined @ Live::Undefined(_)) => Ok(Some(undefined)),
                    // That a part is undefined does not make the whole so.
                    Some(live) => match other.freeze(&live) {
                        Err(Halt::Undefined(undefined)) => Err(Halt::Error(Box::new(undefined.diagnostic.clone()))),
                        frozen => frozen.map(|value| Some(Live::Value(value))),
                    },
                }
            }
            _ => Ok(None),
        }
    }

    /// Whether `value` counts as true.
    pub(in crate::vars) fn truth(&self, value: &Live) -> Outcome<bool> {
        Ok(match value {
            Live::Value(Value::Unknown(unknown)) => return Err(Halt::Unknown(unknown.clone())),
            Live::Value(Value::Lazy(lazy)) => {
                let live = self.lazy(lazy)?;
                return self.truth(&live);
            }
            Live::Value(value) => operators::plain_truth(value),
            Live::List(items) => !items.borrow().is_empty(),
            Live::Dict(entries) => !entries.borrow().is_empty(),
            Live::Tuple(items) => !items.is_empty(),
            Live::Undefined(undefined) if undefined.silent => false,
            Live::Undefined(undefined) => return Err(Halt::Undefined(undefined.clone())),
            Live::Moment(moment) => *moment != super::moment::Moment::Span(jiff::SignedDuration::ZERO),
            Live::Function(_) | Live::Vars | Live::HostVars | Live::Host(_) => true,
        })
    }

    /// Writes what `{{ value }}` prints.
    pub(in crate::vars) fn print(&self, value: &Live, out: &mut String) -> Outcome<()> {
        match value {
            Live::Value(Value::Null) => {}
            Live::Value(Value::Str(text)) => out.push_str(text),
            Live::Undefined(undefined) if undefined.silent => {}
            other => {
                let text = self.text(other)?;
                out.push_str(&text);
            }
        }
        Ok(())
    }

    /// Returns Python's `str(value)`.
    pub(in crate::vars) fn text(&self, value: &Live) -> Outcome<String> {
        match value {
            Live::Value(Value::Str(text)) => Ok(text.to_string()),
            Live::Function(function) => self.function_text(function),
            other => {
                let mut out = String::new();
                self.write_repr_or_text(other, &mut out, true)?;
                Ok(out)
            }
        }
    }

    /// Writes as Python's `repr`; a tuple reads as a list, as it is one once it leaves the template.
    fn write_repr_or_text(&self, value: &Live, out: &mut String, outer: bool) -> Outcome<()> {
        match value {
            Live::List(items) => {
                out.push('[');
                for (at, item) in items.borrow().iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    self.write_repr_or_text(item, out, false)?;
                }
                out.push(']');
            }
            other => {
                let value = self.known(other)?;
                if outer {
                    let _ = write!(out, "{value}");
                } else {
                    let _ = crate::value::write_python_repr(out, &value);
                }
            }
        }
        Ok(())
    }
}

/// Returns how a message names the value of an expression.
pub(super) fn describe(expr: &Expr) -> String {
    fn path(expr: &Expr) -> Option<String> {
        match &*expr.kind {
            Kind::Var(name) => Some(name.to_string()),
            Kind::Attribute(of, name) => Some(format!("{}.{name}", path(of)?)),
            Kind::Item(of, key) => match &*key.kind {
                Kind::Const(Value::Str(text)) => Some(format!("{}['{text}']", path(of)?)),
                Kind::Const(value) => Some(format!("{}[{value}]", path(of)?)),
                Kind::Var(name) => Some(format!("{}[{name}]", path(of)?)),
                _ => None,
            },
            _ => None,
        }
    }
    path(expr).map_or_else(|| "this value".to_owned(), |path| format!("`{path}`"))
}
