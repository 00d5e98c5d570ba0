//! Variables: found, rendered once when used, with the cycle named when there is one; and values made final.

use std::sync::Arc;

use crate::source::Diagnostic;
use crate::value::{Key, Lazy, Map, Text, Value};

use super::ast::{At, Template};
use super::live::{Function, Halt, Live, Origin, Outcome, fail, or_undefined};
use super::output::Output;
use super::place::locate;
use super::{Evaluator, Frame, has_lazy};

/// Returns `printed` with as many line ends at its end as the template has: parsing drops the last, statements those behind them.
pub(in crate::vars) fn with_line_ends(mut printed: String, template: &str) -> String {
    let at_end = |text: &str| text.len() - text.trim_end_matches('\n').len();
    let missing = at_end(template).saturating_sub(at_end(&printed));
    printed.extend(std::iter::repeat_n('\n', missing));
    printed
}

impl Evaluator<'_> {
    /// Returns the variable `name`, rendered; `None` when there is none.
    pub(in crate::vars) fn variable(&self, name: &str) -> Outcome<Option<Live>> {
        if let Some(known) = self.memo.borrow().get(name) {
            return Ok(Some(known.clone()));
        }
        let live = match name {
            "omit" => Live::str(crate::vars::OMIT),
            "vars" => Live::Vars,
            "hostvars" if !self.vars.host_names().is_empty() => Live::HostVars,
            _ => match self.vars.get(name) {
                None => return Ok(None),
                Some(Value::Lazy(lazy)) => self.named(name, || self.lazy(&lazy))?,
                Some(value) => return Ok(Some(Live::Value(value))),
            },
        };
        self.memo.borrow_mut().insert(name.into(), live.clone());
        Ok(Some(live))
    }

    /// Renders a named variable, unless it is being rendered already.
    fn named(&self, name: &str, render: impl FnOnce() -> Outcome<Live>) -> Outcome<Live> {
        let names = self.resolving.borrow();
        if let Some(at) = names.iter().position(|known| **known == *name) {
            let mut cycle: Vec<_> = names[at..].iter().map(|name| format!("`{name}`")).collect();
            cycle.push(format!("`{name}`"));
            return fail(format!("Recursive loop detected in template: {}", cycle.join(" uses ")));
        }
        drop(names);
        self.resolving.borrow_mut().push(name.into());
        let result = self.deeper("a variable", render);
        self.resolving.borrow_mut().pop();
        result
    }

    /// Makes `name` hold a list or dictionary that was changed in place.
    pub(super) fn remember(&self, name: &str, value: Live) {
        self.memo.borrow_mut().insert(name.into(), value);
    }

    /// Renders or decrypts one lazy text.
    pub(in crate::vars) fn lazy(&self, lazy: &Lazy) -> Outcome<Live> {
        match lazy {
            Lazy::Unsafe(Text { text, .. }) => Ok(Live::str(text)),
            Lazy::Vault(Text { text, span }) => {
                let plain = self.engine.world().unvault(text, *span).map_err(|wrong| Halt::Sealed(Box::new(wrong)))?;
                self.engine.world().secret(&plain);
                Ok(Live::Value(Value::Str(plain)))
            }
            Lazy::Template(Text { text, span }) => {
                let template = self.engine.template(text, *span)?;
                let origin = Origin { text: text.as_str().into(), span: *span };
                let live = or_undefined(self.deeper("a template", || self.run(&template, origin)))?;
                Ok(match live {
                    Live::Value(Value::Str(printed)) if text.ends_with('\n') => Live::str(with_line_ends(printed.to_string(), text)),
                    other => other,
                })
            }
        }
    }

    /// Runs a template of a playbook: the value with its own type when it is one expression.
    pub(in crate::vars) fn run(&self, template: &Template, origin: Origin) -> Outcome<Live> {
        let mut frame = Frame::new(origin);
        let mut output = Output::default();
        self.whole(template, &mut frame, &mut output)?;
        let value = output.into_native(self)?;
        match value {
            // Changed no more: the template is over.
            Live::Value(value) => Ok(Live::Value(value)),
            // A variable that is a time can still be computed with.
            Live::Moment(_) => Ok(value),
            other => match self.freeze(&other) {
                // A part is undefined: only who uses that part has to know.
                Err(Halt::Undefined(_)) => Ok(other),
                frozen => frozen.map(Live::Value),
            },
        }
    }

    /// Runs a template file: always text.
    pub(in crate::vars) fn run_text(&self, template: &Template, origin: Origin) -> Outcome<String> {
        let mut frame = Frame::new(origin);
        let mut output = Output::default();
        self.whole(template, &mut frame, &mut output)?;
        output.into_text(self)
    }

    fn all_variables(&self) -> Outcome<Map> {
        let mut map = Map::new();
        for name in self.vars.names() {
            if let Some(value) = self.variable(&name)? {
                map.insert(Key::from(name), self.freeze(&value)?);
            }
        }
        Ok(map)
    }

    /// Returns `live` as a final value: every part rendered, nothing undefined.
    pub(in crate::vars) fn freeze(&self, live: &Live) -> Outcome<Value> {
        match live {
            Live::Value(value) => self.finish(value),
            Live::List(items) => {
                let items = items.borrow().clone();
                self.deeper("a value", || items.iter().map(|item| self.part(item)).collect::<Outcome<Vec<_>>>().map(Value::list))
            }
            Live::Tuple(items) => items.iter().map(|item| self.part(item)).collect::<Outcome<Vec<_>>>().map(Value::list),
            Live::Dict(entries) => {
                let entries = entries.borrow().clone();
                let map = self
                    .deeper("a value", || entries.iter().map(|(key, item)| Ok((key.clone(), self.part(item)?))).collect::<Outcome<Map>>());
                map.map(Value::from)
            }
            Live::Undefined(undefined) => Err(Halt::Undefined(undefined.clone())),
            Live::Vars => {
                let mut map = self.all_variables()?;
                if let Some(hosts) = self.variable("hostvars")?.filter(|hosts| matches!(hosts, Live::HostVars)) {
                    map.insert("hostvars".into(), self.freeze(&hosts)?);
                }
                Ok(map.into())
            }
            Live::HostVars => {
                let mut map = Map::new();
                for host in self.vars.host_names() {
                    if let Some(vars) = self.vars.host(&host) {
                        let value = self.freeze(&Live::Host(vars))?;
                        map.insert(Key::from(host), value);
                    }
                }
                Ok(map.into())
            }
            Live::Host(vars) => Evaluator::new(self.engine, &**vars).all_variables().map(Value::from),
            Live::Moment(moment) => Ok(Value::from(moment.text())),
            Live::Function(function) => match &**function {
                Function::Namespace(names) => names
                    .borrow()
                    .iter()
                    .map(|(name, item)| Ok((Key::from(&**name), self.part(item)?)))
                    .collect::<Outcome<Map>>()
                    .map(Value::from),
                Function::Module(module) => Ok(Value::str(&*module.text.borrow())),
                _ => fail("a function is no value; call it with `()`"),
            },
        }
    }

    /// Freezes a part of a collection: what is unknown stays a part that is unknown.
    fn part(&self, live: &Live) -> Outcome<Value> {
        match self.freeze(live) {
            Err(Halt::Unknown(unknown)) => Ok(Value::Unknown(unknown)),
            other => other,
        }
    }

    /// Renders every lazy part of `value`, keys too.
    pub(in crate::vars) fn finish(&self, value: &Value) -> Outcome<Value> {
        if !has_lazy(value) {
            return Ok(value.clone());
        }
        self.deeper("a value", || match value {
            Value::Lazy(lazy) => {
                let live = self.lazy(lazy)?;
                self.freeze(&live)
            }
            Value::List(items) => {
                items.iter().map(|item| self.part(&Live::Value(item.clone()))).collect::<Outcome<Vec<_>>>().map(Value::list)
            }
            Value::Map(map) => {
                let mut out = Map::with_capacity(map.len());
                for (key, item) in map.iter() {
                    out.insert(key.clone(), self.part(&Live::Value(item.clone()))?);
                }
                Ok(out.into())
            }
            other => Ok(other.clone()),
        })
    }

    /// Returns a part as it is used: rendered when it is a template.
    pub(in crate::vars) fn used(&self, value: &Value) -> Outcome<Live> {
        match value {
            Value::Lazy(lazy) => self.lazy(lazy),
            other => Ok(Live::Value(other.clone())),
        }
    }

    /// Returns the value with nothing unknown in it, or stops.
    pub(in crate::vars) fn known(&self, live: &Live) -> Outcome<Value> {
        let value = self.freeze(live)?;
        match value.unknown_part() {
            None => Ok(value),
            Some(unknown) => Err(Halt::Unknown(Arc::new(unknown.clone()))),
        }
    }

    /// Gives an error its place, if it has none.
    pub(super) fn placed<T>(&self, result: Outcome<T>, frame: &Frame, at: At) -> Outcome<T> {
        result.map_err(|halt| match halt {
            Halt::Error(mut diagnostic) if diagnostic.span.is_none() => {
                diagnostic.span = Some(locate(self.engine.sources(), &frame.origin, at));
                Halt::Error(diagnostic)
            }
            other => other,
        })
    }

    /// Returns an undefined value with its place.
    pub(super) fn missing(&self, diagnostic: Diagnostic, frame: &Frame, at: At) -> Live {
        let span = locate(self.engine.sources(), &frame.origin, at);
        Live::undefined(diagnostic.at(span))
    }
}
