//! Filters that see undefined values, or apply other filters and tests: `default`, `map`, `select`, ...

use std::rc::Rc;
use std::sync::Arc;

use crate::source::Diagnostic;
use crate::value::{Key, Value};
use crate::vars::template::Evaluator;
use crate::vars::template::call::Arguments;
use crate::vars::template::live::{Halt, Live, Outcome, fail};
use crate::vars::tests;

use super::{Filter, apply, find, live, unknown};

pub(super) const FILTERS: &[Filter] = &[
    live("default", default),
    live("d", default),
    live("mandatory", mandatory),
    live("map", map),
    live("select", |run, subject, arguments| select(run, &subject, arguments, true, false)),
    live("reject", |run, subject, arguments| select(run, &subject, arguments, false, false)),
    live("selectattr", |run, subject, arguments| select(run, &subject, arguments, true, true)),
    live("rejectattr", |run, subject, arguments| select(run, &subject, arguments, false, true)),
    live("attr", attr),
    live("type_debug", type_debug),
    live("list", list),
    live("string", |run, subject, _| run.text(&subject).map(Live::str)),
    live("items", items),
];

fn default(run: &Evaluator<'_>, subject: Live, mut arguments: Arguments) -> Outcome<Live> {
    let value = arguments.take(0, "default_value").unwrap_or_else(|| Live::str(""));
    let empty_too = match arguments.take(1, "boolean") {
        Some(flag) => run.truth(&flag)?,
        None => false,
    };
    let missing = match &subject {
        Live::Undefined(_) => true,
        Live::Value(Value::Unknown(_)) => false,
        other => empty_too && !run.truth(other)?,
    };
    Ok(if missing { value } else { subject })
}

fn mandatory(run: &Evaluator<'_>, subject: Live, mut arguments: Arguments) -> Outcome<Live> {
    let Live::Undefined(undefined) = &subject else { return Ok(subject) };
    let mut diagnostic = undefined.diagnostic.clone();
    if let Some(message) = arguments.take(0, "msg") {
        let message = run.text(&message)?;
        if !message.is_empty() {
            diagnostic.message = message;
        }
    }
    Err(diagnostic.into())
}

/// Returns the part that a dotted name such as `a.0.b` leads to.
pub(super) fn path(run: &Evaluator<'_>, value: &Live, name: &Value) -> Outcome<Live> {
    path_or(run, value, name, None)
}

/// As [`path`], with a default for what is missing.
fn path_or(run: &Evaluator<'_>, value: &Live, name: &Value, default: Option<&Live>) -> Outcome<Live> {
    let Value::Str(name) = name else {
        return Ok(run.item(value, &Live::Value(name.clone()))?.unwrap_or_else(|| none_such(&name.to_string())));
    };
    let mut current = value.clone();
    for step in name.split('.') {
        let key = step.parse().map_or_else(|_| Value::str(step), Value::Int);
        let found = match run.item(&current, &Live::Value(key))? {
            Some(found) => Some(found),
            None => run.item(&current, &Live::str(step))?,
        };
        // The names of a pair that `groupby` made are no entries of it.
        let found = match found {
            None if matches!(step, "grouper" | "list") => run.attribute(&current, step)?,
            found => found,
        };
        current = match (found, default) {
            (Some(found), _) => found,
            // What a step lacks is the default, and the next step looks into that.
            (None, Some(default)) => default.clone(),
            (None, None) => return Ok(none_such(step)),
        };
    }
    Ok(current)
}

fn none_such(name: &str) -> Live {
    Live::undefined(Diagnostic::error(format!("an item has no attribute '{name}'")))
}

fn map(run: &Evaluator<'_>, subject: Live, mut arguments: Arguments) -> Outcome<Live> {
    if let Some(Live::Undefined(undefined)) = undefined_argument(&arguments) {
        return Err(Halt::Undefined(undefined.clone()));
    }
    let items = if run.truth(&subject)? { run.iterate(&subject)? } else { Vec::new() };
    // With a filter named first, `attribute=` is that filter's own: `map('map', attribute='x')`.
    let own = arguments.positional.is_empty();
    let attribute = arguments.named.iter().position(|(name, _)| own && &**name == "attribute").map(|at| arguments.named.remove(at).1);
    if let Some(attribute) = attribute {
        let attribute = run.known(&attribute)?;
        let default = arguments.take(usize::MAX, "default");
        let found = items.iter().map(|item| match (path_or(run, item, &attribute, default.as_ref())?, &default) {
            (Live::Undefined(_), Some(default)) => Ok(default.clone()),
            (found, _) => Ok(found),
        });
        return found.collect::<Outcome<Vec<_>>>().map(Live::list);
    }
    if arguments.positional.is_empty() {
        return fail("`map` takes `attribute=` or the name of a filter");
    }
    let name = run.text(&arguments.positional.remove(0))?;
    let Some(filter) = find(&name) else { return Err(unknown(&name).into()) };
    let mapped = items.into_iter().map(|item| {
        let arguments = Arguments { positional: arguments.positional.clone(), named: arguments.named.clone() };
        apply(run, filter, item, arguments)
    });
    mapped.collect::<Outcome<Vec<_>>>().map(Live::list)
}

fn undefined_argument(arguments: &Arguments) -> Option<&Live> {
    let all = arguments.positional.iter().chain(arguments.named.iter().map(|(_, value)| value));
    all.into_iter().find(|value| matches!(value, Live::Undefined(_)))
}

fn select(run: &Evaluator<'_>, subject: &Live, mut arguments: Arguments, keep: bool, by_attribute: bool) -> Outcome<Live> {
    let attribute = if by_attribute {
        if arguments.positional.is_empty() {
            return fail("`selectattr` and `rejectattr` take the name of an attribute");
        }
        Some(run.known(&arguments.positional.remove(0))?)
    } else {
        None
    };
    let test = if arguments.positional.is_empty() {
        None
    } else {
        let name = run.text(&arguments.positional.remove(0))?;
        let Some(test) = tests::find(&name) else { return Err(tests::unknown(&name).into()) };
        Some(test)
    };
    if let Some(Live::Undefined(undefined)) = undefined_argument(&arguments) {
        return Err(Halt::Undefined(undefined.clone()));
    }
    let mut kept = Vec::new();
    let items = if run.truth(subject)? { run.iterate(subject)? } else { Vec::new() };
    for item in items {
        let looked_at = match &attribute {
            Some(attribute) => path(run, &item, attribute)?,
            None => item.clone(),
        };
        let holds = match test {
            None => run.truth(&looked_at)?,
            Some(test) => {
                let arguments = Arguments { positional: arguments.positional.clone(), named: arguments.named.clone() };
                tests::apply(run, test, &looked_at, arguments)?
            }
        };
        if holds == keep {
            kept.push(item);
        }
    }
    Ok(Live::list(kept))
}

fn attr(run: &Evaluator<'_>, subject: Live, mut arguments: Arguments) -> Outcome<Live> {
    let Some(name) = arguments.take(0, "name") else { return fail("`attr` takes a name") };
    let name = run.text(&name)?;
    // Entries of a dictionary are no attributes of it; its methods are.
    let entry = matches!(&subject, Live::Value(Value::Map(_)) | Live::Dict(_)) && !crate::vars::template::methods::has(&subject, &name);
    let found = if entry { None } else { run.attribute(&subject, &name)? };
    Ok(found.unwrap_or_else(|| none_such(&name)))
}

fn type_debug(_: &Evaluator<'_>, subject: Live, _: Arguments) -> Outcome<Live> {
    Ok(Live::str(subject.type_name()))
}

fn list(run: &Evaluator<'_>, subject: Live, _: Arguments) -> Outcome<Live> {
    let items = run.iterate(&subject)?;
    match items.iter().find_map(|item| if let Live::Undefined(undefined) = item { Some(undefined.clone()) } else { None }) {
        Some(undefined) => Err(Halt::Undefined(undefined)),
        None => Ok(Live::list(items)),
    }
}

fn items(run: &Evaluator<'_>, subject: Live, _: Arguments) -> Outcome<Live> {
    if let Live::Undefined(_) = subject {
        return Ok(Live::list(Vec::new()));
    }
    match run.freeze(&subject)? {
        Value::Map(map) => Ok(Live::list(map.iter().map(|(key, value)| pair(key, value)).collect())),
        other => fail(format!("`items` takes a dictionary, not {}", other.type_name())),
    }
}

fn pair(key: &Key, value: &Value) -> Live {
    Live::Tuple(Rc::new(vec![Live::Value(key.to_value()), Live::Value(value.clone())]))
}

/// Returns the named arguments as plain values.
pub(in crate::vars) fn plain_named(run: &Evaluator<'_>, arguments: &Arguments) -> Outcome<Vec<(Arc<str>, Value)>> {
    arguments.named.iter().map(|(name, value)| Ok((name.clone(), run.known(value)?))).collect()
}
