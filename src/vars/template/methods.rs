//! Python's methods of lists and dictionaries; those of texts are in `text_methods`.

use std::rc::Rc;

use crate::value::{Key, Value};

use super::Evaluator;
use super::call::Arguments;
use super::live::{Function, Live, Outcome, SharedDict, SharedList, fail};
use super::{operators, text_methods};

const OF_LIST: &[&str] = &["append", "extend", "insert", "pop", "remove", "index", "count", "copy", "clear", "reverse", "sort"];
const OF_TUPLE: &[&str] = &["index", "count"];
const OF_DICT: &[&str] =
    &["keys", "values", "items", "get", "update", "pop", "popitem", "setdefault", "copy", "clear", "fromkeys", "has_key"];
const OF_NUMBER: &[&str] = &["bit_length", "is_integer"];

/// Returns the methods that `value` has.
pub(super) fn names(value: &Live) -> &'static [&'static str] {
    match value {
        Live::Value(Value::Str(_)) => text_methods::NAMES,
        Live::Value(Value::List(_)) | Live::List(_) => OF_LIST,
        Live::Tuple(_) => OF_TUPLE,
        Live::Moment(_) => super::moment::OF_TIME,
        Live::Value(Value::Map(_)) | Live::Dict(_) | Live::Vars | Live::HostVars | Live::Host(_) => OF_DICT,
        Live::Value(Value::Int(_) | Value::Float(_)) => OF_NUMBER,
        _ => &[],
    }
}

/// Whether `value` has the method `name`.
pub(in crate::vars) fn has(value: &Live, name: &str) -> bool {
    if name == "has_key" {
        return false;
    }
    match value {
        Live::Moment(moment) => moment.has_method(name),
        _ => names(value).contains(&name),
    }
}

/// Whether a method changes what it is called on.
pub(super) fn changes(name: &str) -> bool {
    matches!(name, "append" | "extend" | "insert" | "pop" | "remove" | "clear" | "reverse" | "sort" | "update" | "popitem" | "setdefault")
}

/// Returns the keys of a dictionary, for "did you mean".
pub(super) fn key_names(run: &Evaluator<'_>, value: &Live) -> Vec<String> {
    match value {
        Live::Value(Value::Map(map)) => map.keys().map(ToString::to_string).collect(),
        Live::Dict(entries) => entries.borrow().keys().map(ToString::to_string).collect(),
        Live::HostVars => run.vars.host_names(),
        Live::Vars => run.vars.names(),
        Live::Host(vars) => vars.names(),
        other => names(other).iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// Calls a method.
pub(super) fn call(run: &Evaluator<'_>, receiver: &Live, name: &str, arguments: Arguments) -> Outcome<Live> {
    match receiver {
        Live::Value(Value::Str(text)) => text_methods::call(run, text, name, arguments),
        Live::Value(Value::List(_)) => match receiver.clone().thaw() {
            Live::List(items) => list(run, &items, name, &arguments),
            other => call(run, &other, name, arguments),
        },
        Live::Value(Value::Map(_)) => match receiver.clone().thaw() {
            Live::Dict(entries) => dict(run, &entries, name, arguments),
            other => call(run, &other, name, arguments),
        },
        Live::List(items) => list(run, items, name, &arguments),
        Live::Dict(entries) => dict(run, entries, name, arguments),
        Live::Tuple(items) => {
            let items = Rc::new(std::cell::RefCell::new(items.to_vec()));
            list(run, &items, name, &arguments)
        }
        Live::Vars | Live::HostVars | Live::Host(_) => scope(run, receiver, name, &arguments),
        Live::Function(function) => run.call_function_method(function, name, &arguments),
        Live::Moment(moment) => moment.call(run, name, arguments),
        Live::Value(Value::Int(number)) if name == "bit_length" => Ok(Value::from(64 - number.unsigned_abs().leading_zeros()).into()),
        Live::Value(Value::Float(number)) if name == "is_integer" => Ok(Value::Bool(number.fract() == 0.0).into()),
        other => fail(format!("{} has no method `{name}`", other.type_name())),
    }
}

/// Calls a method of `vars` or `hostvars`: nothing is rendered that is not asked for.
fn scope(run: &Evaluator<'_>, receiver: &Live, name: &str, arguments: &Arguments) -> Outcome<Live> {
    let keys = run.iterate(receiver)?;
    let value_of = |key: &Live| Ok(run.item(receiver, key)?.unwrap_or(Live::Value(Value::Null)));
    match name {
        "keys" => Ok(Live::list(keys)),
        "values" => keys.iter().map(value_of).collect::<Outcome<Vec<_>>>().map(Live::list),
        "items" => {
            keys.iter().map(|key| Ok(Live::Tuple(Rc::new(vec![key.clone(), value_of(key)?])))).collect::<Outcome<Vec<_>>>().map(Live::list)
        }
        "get" => {
            let Some(key) = arguments.positional.first() else { return fail("`get` takes a key") };
            let default = arguments.positional.get(1).cloned().unwrap_or(Live::Value(Value::Null));
            Ok(run.item(receiver, key)?.unwrap_or(default))
        }
        _ => fail(format!("`{name}` cannot be called on variables: they are not changed by templates")),
    }
}

fn none() -> Outcome<Live> {
    Ok(Live::Value(Value::Null))
}

fn position(length: usize, at: i64) -> Option<usize> {
    let at = if at < 0 { at + i64::try_from(length).ok()? } else { at };
    usize::try_from(at).ok().filter(|at| *at < length)
}

fn whole(run: &Evaluator<'_>, value: Option<&Live>, or: i64) -> Outcome<i64> {
    match value {
        None => Ok(or),
        Some(value) => match run.known(value)? {
            Value::Int(number) => Ok(number),
            Value::Bool(flag) => Ok(i64::from(flag)),
            other => fail(format!("a position is a whole number, not {}", other.type_name())),
        },
    }
}

fn list(run: &Evaluator<'_>, items: &SharedList, name: &str, arguments: &Arguments) -> Outcome<Live> {
    let first = arguments.positional.first();
    let needed = || first.map_or_else(|| fail(format!("`{name}` takes an argument")), |value| Ok(value.clone()));
    let find = |wanted: &Live| -> Outcome<Vec<usize>> {
        let wanted = run.known(wanted)?;
        let items = items.borrow().clone();
        let mut found = Vec::new();
        for (at, item) in items.iter().enumerate() {
            if run.freeze(item)? == wanted {
                found.push(at);
            }
        }
        Ok(found)
    };
    match name {
        "append" => {
            let value = needed()?;
            items.borrow_mut().push(value);
            none()
        }
        "extend" => {
            let more = run.iterate(&needed()?)?;
            items.borrow_mut().extend(more);
            none()
        }
        "insert" => {
            let length = items.borrow().len();
            let at = whole(run, first, 0)?;
            let at = if at < 0 { at + i64::try_from(length).unwrap_or(0) } else { at }.max(0);
            let at = usize::try_from(at).unwrap_or(0).min(length);
            let Some(value) = arguments.positional.get(1) else { return fail("`insert` takes a position and a value") };
            items.borrow_mut().insert(at, value.clone());
            none()
        }
        "pop" => {
            let length = items.borrow().len();
            match position(length, whole(run, first, -1)?) {
                Some(at) => Ok(items.borrow_mut().remove(at)),
                None => fail(if length == 0 { "`pop` from an empty list" } else { "`pop` takes a position within the list" }),
            }
        }
        "remove" => match find(&needed()?)?.first() {
            Some(at) => {
                items.borrow_mut().remove(*at);
                none()
            }
            None => fail("`remove` takes a value that is in the list"),
        },
        "index" => match find(&needed()?)?.first() {
            Some(at) => Ok(Value::from(*at).into()),
            None => fail("`index` takes a value that is in the list"),
        },
        "count" => Ok(Value::from(find(&needed()?)?.len()).into()),
        "copy" => Ok(Live::list(items.borrow().clone())),
        "clear" => {
            items.borrow_mut().clear();
            none()
        }
        "reverse" => {
            items.borrow_mut().reverse();
            none()
        }
        "sort" => {
            let reverse = match arguments.named.iter().find(|(name, _)| &**name == "reverse") {
                Some((_, flag)) => run.truth(flag)?,
                None => false,
            };
            let current = items.borrow().clone();
            let mut values = current.iter().map(|item| run.known(item)).collect::<Outcome<Vec<_>>>()?;
            crate::vars::filters::lists::sort_values(&mut values, reverse)?;
            *items.borrow_mut() = values.into_iter().map(Live::Value).collect();
            none()
        }
        _ => fail(format!("list has no method `{name}`")),
    }
}

fn dict(run: &Evaluator<'_>, entries: &SharedDict, name: &str, mut arguments: Arguments) -> Outcome<Live> {
    let receiver = Live::Dict(entries.clone());
    let key_of = |value: Option<&Live>| -> Outcome<Key> {
        let Some(value) = value else { return fail(format!("`{name}` takes a key")) };
        let value = run.known(value)?;
        Key::from_value(&value).map_or_else(|| fail(format!("a {} cannot be a key of a dictionary", value.type_name())), Ok)
    };
    let keys = || -> Vec<Live> { entries.borrow().keys().map(|key| Live::Value(key.to_value())).collect() };
    let value_of = |key: &Live| Ok(run.item(&receiver, key)?.unwrap_or(Live::Value(Value::Null)));
    match name {
        "keys" => Ok(Live::list(keys())),
        "values" => keys().iter().map(value_of).collect::<Outcome<Vec<_>>>().map(Live::list),
        "items" => keys()
            .iter()
            .map(|key| Ok(Live::Tuple(Rc::new(vec![key.clone(), value_of(key)?]))))
            .collect::<Outcome<Vec<_>>>()
            .map(Live::list),
        "get" => {
            let key = Live::Value(key_of(arguments.positional.first())?.to_value());
            let default = arguments.take(1, "default").unwrap_or(Live::Value(Value::Null));
            if entries.borrow().contains_key(&key_of(Some(&key))?) { value_of(&key) } else { Ok(default) }
        }
        "update" => {
            if let Some(other) = arguments.positional.first() {
                let more = super::globals::call(
                    run,
                    "dict",
                    Arguments { positional: vec![other.clone()], named: Vec::new() },
                    &mut super::Frame::new(empty()),
                )?;
                if let Live::Dict(more) = more {
                    let more = more.borrow().clone();
                    entries.borrow_mut().extend(more);
                }
            }
            entries.borrow_mut().extend(arguments.named.drain(..).map(|(name, value)| (Key::from(&*name), value)));
            none()
        }
        "setdefault" => {
            let key = key_of(arguments.positional.first())?;
            let default = arguments.take(1, "default").unwrap_or(Live::Value(Value::Null));
            entries.borrow_mut().entry(key.clone()).or_insert(default);
            value_of(&Live::Value(key.to_value()))
        }
        "pop" => {
            let key = key_of(arguments.positional.first())?;
            let removed = entries.borrow_mut().shift_remove(&key);
            match removed.or_else(|| arguments.take(1, "default")) {
                Some(Live::Value(value)) => run.used(&value),
                Some(value) => Ok(value),
                None => fail(format!("`pop` takes a key of the dictionary; `{key}` is none")),
            }
        }
        "popitem" => match entries.borrow_mut().pop() {
            Some((key, value)) => Ok(Live::Tuple(Rc::new(vec![Live::Value(key.to_value()), value]))),
            None => fail("`popitem` from an empty dictionary"),
        },
        "copy" => Ok(Live::Dict(Rc::new(std::cell::RefCell::new(entries.borrow().clone())))),
        "clear" => {
            entries.borrow_mut().clear();
            none()
        }
        "fromkeys" => {
            let value = arguments.take(1, "value").unwrap_or(Live::Value(Value::Null));
            let Some(keys) = arguments.positional.first() else { return fail("`fromkeys` takes a list of keys") };
            let keys = run.iterate(keys)?.iter().map(|key| Ok((key_of(Some(key))?, value.clone()))).collect::<Outcome<_>>()?;
            Ok(Live::Dict(Rc::new(std::cell::RefCell::new(keys))))
        }
        _ => fail(format!("dict has no method `{name}`")),
    }
}

fn empty() -> super::live::Origin {
    super::live::Origin { text: "".into(), span: crate::source::Span::default() }
}

/// Whether something can be called.
pub(in crate::vars) fn is_callable(value: &Live) -> bool {
    match value {
        Live::Function(function) => {
            matches!(&**function, Function::Global(_) | Function::Bound(..) | Function::Macro(_) | Function::Super(..))
        }
        _ => false,
    }
}

/// Sorts as `operators::order` orders, or says what cannot be compared.
pub(in crate::vars) fn ordered(a: &Value, b: &Value) -> Outcome<std::cmp::Ordering> {
    match operators::order(a, b) {
        Some(order) => Ok(order.unwrap_or(std::cmp::Ordering::Equal)),
        None => fail(format!("{} and {} cannot be put in order", a.type_name(), b.type_name())),
    }
}
