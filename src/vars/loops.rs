//! What loops go through: `loop`, and the `with_*` of old, which are lookups.

use crate::source::{Diagnostic, Span};
use crate::value::Value;

use super::engine::settle;
use super::template::Evaluator;
use super::template::live::{Halt, Live, Outcome, fail};
use super::{Engine, Variables, lookups};

impl Engine {
    /// Returns the items of a loop, or unknown. `kind` is `loop`, or the name after `with_`.
    ///
    /// # Errors
    /// Says what is wrong with what is to be looped over.
    pub fn loop_items(&self, kind: &str, items: &Value, span: Span, vars: &dyn Variables) -> Result<Value, Diagnostic> {
        let run = Evaluator::new(self, vars);
        settle(items_of(&run, kind, items), Some(span))
    }
}

fn items_of(run: &Evaluator<'_>, kind: &str, items: &Value) -> Outcome<Value> {
    let kind = kind.strip_prefix("with_").unwrap_or(kind);
    if kind == "first_found" {
        let terms = match without_undefined(run, &Live::Value(items.clone()))? {
            Some(Value::List(terms)) => terms.to_vec(),
            other => other.into_iter().collect(),
        };
        return lookups::for_loop(run, kind, terms).unwrap_or_else(|| Ok(Vec::new())).map(Value::list);
    }
    // A bare name is a variable, as it was when `with_items: packages` was how to write it.
    let items = match items {
        Value::Str(name) if kind != "loop" && is_name(name) => match run.variable(name)? {
            Some(live) => run.freeze(&live)?,
            None => items.clone(),
        },
        // `loop` renders its items one by one as the task does, so one that is undefined fails only then.
        Value::List(list) if kind == "loop" => {
            return list.iter().map(|item| part(run, item)).collect::<Outcome<Vec<_>>>().map(Value::list);
        }
        other => run.finish(other)?,
    };
    if let Value::Unknown(unknown) = &items {
        return Err(Halt::Unknown(unknown.clone()));
    }
    if kind == "loop" {
        return match &items {
            Value::List(_) => Ok(items),
            Value::Map(_) => Err(Diagnostic::error("`loop` takes a list, not a dictionary")
                .hint("turn it into one: `loop: \"{{ it | dict2items }}\"`")
                .into()),
            Value::Str(_) => Err(Diagnostic::error("`loop` takes a list, not a text")
                .hint("write the list, or a template that gives one: `loop: \"{{ names }}\"`")
                .into()),
            other => fail(format!("`loop` takes a list, not {}", other.type_name())),
        };
    }
    let terms = match &items {
        Value::List(list) if kind != "dict" => list.to_vec(),
        other => vec![other.clone()],
    };
    match lookups::for_loop(run, kind, terms) {
        Some(found) => found.map(Value::list),
        None => fail(format!("there is no loop `with_{kind}`")),
    }
}

/// Returns the value without the parts that are undefined: files whose name depends on a fact that is not there are not looked for.
fn without_undefined(run: &Evaluator<'_>, live: &Live) -> Outcome<Option<Value>> {
    let kept = |items: Vec<Live>| -> Outcome<Option<Value>> {
        let kept = items.iter().map(|item| without_undefined(run, item)).collect::<Outcome<Vec<_>>>()?;
        Ok(Some(Value::list(kept.into_iter().flatten())))
    };
    let entries = |entries: Vec<(crate::value::Key, Live)>| -> Outcome<Option<Value>> {
        let mut map = crate::value::Map::new();
        for (key, item) in entries {
            if let Some(value) = without_undefined(run, &item)? {
                map.insert(key, value);
            }
        }
        Ok(Some(map.into()))
    };
    match live {
        Live::Value(Value::Lazy(lazy)) => match run.lazy(lazy) {
            Err(Halt::Undefined(_)) => Ok(None),
            found => without_undefined(run, &found?),
        },
        Live::Value(Value::List(items)) => kept(items.iter().cloned().map(Live::Value).collect()),
        Live::Value(Value::Map(map)) => entries(map.iter().map(|(key, item)| (key.clone(), Live::Value(item.clone()))).collect()),
        Live::List(items) => kept(items.borrow().clone()),
        Live::Tuple(items) => kept(items.to_vec()),
        Live::Dict(map) => entries(map.borrow().iter().map(|(key, item)| (key.clone(), item.clone())).collect()),
        Live::Undefined(_) => Ok(None),
        other => run.freeze(other).map(Some),
    }
}

fn part(run: &Evaluator<'_>, item: &Value) -> Outcome<Value> {
    match run.freeze(&Live::Value(item.clone())) {
        Err(Halt::Unknown(unknown)) => Ok(Value::Unknown(unknown)),
        other => other,
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
