//! Filters of dictionaries.

use std::sync::Arc;

use crate::value::{Key, Map, Value};
use crate::vars::template::Evaluator;
use crate::vars::template::call::Arguments;
use crate::vars::template::live::{Halt, Live, Outcome, fail, or_undefined};

use super::lists::{caseless, map_of};
use super::{Call, Filter, carries, known, live};

pub(super) const FILTERS: &[Filter] = &[
    carries("combine", combine),
    carries("dict2items", dict2items),
    carries("items2dict", items2dict),
    live("extract", extract_or_undefined),
    live("ternary", ternary),
    known("dictsort", dictsort),
    known("rekey_on_member", rekey),
];

/// How `combine` joins lists.
#[derive(Clone, Copy)]
enum Lists {
    Replace,
    Keep,
    Append,
    Prepend,
    AppendNew,
    PrependNew,
}

fn combine(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let others = call.rest(0);
    let (mut recursive, mut lists) = (false, Lists::Replace);
    for (name, value) in call.named() {
        match &*name {
            "recursive" => recursive = crate::vars::template::operators::plain_truth(&value),
            "list_merge" => {
                lists = match value.to_string().as_str() {
                    "replace" => Lists::Replace,
                    "keep" => Lists::Keep,
                    "append" => Lists::Append,
                    "prepend" => Lists::Prepend,
                    "append_rp" => Lists::AppendNew,
                    "prepend_rp" => Lists::PrependNew,
                    other => {
                        return fail(format!("`list_merge` is replace, keep, append, prepend, append_rp or prepend_rp, not `{other}`"));
                    }
                }
            }
            other => return fail(format!("the filter `combine` has no argument `{other}`")),
        }
    }
    let mut all = Vec::new();
    spread(&call.subject, &mut all)?;
    for other in &others {
        spread(other, &mut all)?;
    }
    let mut merged = Map::new();
    for map in all {
        merged = merge(&merged, &map, recursive, lists);
    }
    Ok(merged.into())
}

/// Takes a dictionary, or a list of them at any depth.
fn spread(value: &Value, out: &mut Vec<Arc<Map>>) -> Outcome<()> {
    match value {
        Value::Map(map) => out.push(map.clone()),
        Value::List(items) => items.iter().try_for_each(|item| spread(item, out))?,
        other => return fail(format!("`combine` takes dictionaries, not {}", other.type_name())),
    }
    Ok(())
}

fn merge(low: &Map, high: &Map, recursive: bool, lists: Lists) -> Map {
    if low == high {
        return high.clone();
    }
    let mut out = low.clone();
    for (key, value) in high {
        let merged = match (out.get(key), value) {
            (Some(Value::Map(a)), Value::Map(b)) if recursive => merge(a, b, recursive, lists).into(),
            (Some(Value::List(a)), Value::List(b)) => {
                let without = |of: &[Value], other: &[Value]| of.iter().filter(|item| !other.contains(item)).cloned().collect::<Vec<_>>();
                match lists {
                    Lists::Replace => value.clone(),
                    Lists::Keep => Value::List(a.clone()),
                    Lists::Append => Value::list(a.iter().chain(b.iter()).cloned()),
                    Lists::Prepend => Value::list(b.iter().chain(a.iter()).cloned()),
                    Lists::AppendNew => Value::list(without(a, b).into_iter().chain(b.iter().cloned())),
                    Lists::PrependNew => Value::list(b.iter().cloned().chain(without(a, b))),
                }
            }
            _ => value.clone(),
        };
        out.insert(key.clone(), merged);
    }
    out
}

fn dict2items(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let key_name = call.text_or(0, "key_name", "key")?;
    let value_name = call.text_or(1, "value_name", "value")?;
    let map = call.subject_map()?;
    Ok(Value::list(map.iter().map(|(key, value)| Value::map([(key_name.as_str(), key.to_value()), (value_name.as_str(), value.clone())]))))
}

fn items2dict(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let key_name = call.argument(0, "key_name").unwrap_or_else(|| Value::str("key"));
    let value_name = call.argument(1, "value_name").unwrap_or_else(|| Value::str("value"));
    let Value::List(items) = &call.subject else {
        return fail(format!("`items2dict` takes a list of dictionaries, not {}", call.subject.type_name()));
    };
    let part = |item: &Value, name: &Value| match item {
        Value::Map(map) => Key::from_value(name).and_then(|name| crate::vars::template::operators::map_get(map, &name).cloned()),
        Value::List(parts) => name.as_int().and_then(|at| parts.get(usize::try_from(at).ok()?).cloned()),
        _ => None,
    };
    let entries = items.iter().map(|item| match (part(item, &key_name), part(item, &value_name)) {
        (Some(key), Some(value)) => Ok((key, value)),
        _ => {
            fail(format!("`items2dict` takes items that have `{key_name}` and `{value_name}`; `key_name` and `value_name` say other names"))
        }
    });
    map_of(entries.collect::<Outcome<Vec<_>>>()?)
}

fn extract(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let container = call.needed(0, "container")?;
    let more = call.argument(1, "morekeys");
    let mut keys = vec![call.subject.clone()];
    match more {
        Some(Value::List(more)) => keys.extend(more.iter().cloned()),
        Some(Value::Null) | None => {}
        Some(more) => keys.push(more),
    }
    let mut current = Live::Value(container);
    for key in keys {
        match call.run.item(&current, &Live::Value(key.clone()))? {
            Some(found) => current = found,
            None => return Err(undefined(format!("`extract`: there is no `{key}`"))),
        }
    }
    call.run.freeze(&current)
}

fn undefined(message: String) -> Halt {
    let diagnostic = crate::source::Diagnostic::error(message);
    Halt::Undefined(std::rc::Rc::new(crate::vars::template::live::Undefined { diagnostic, silent: false }))
}

/// What is not there is undefined, also as one of the items that `map('extract', ...)` gives.
fn extract_or_undefined(run: &Evaluator<'_>, subject: Live, arguments: Arguments) -> Outcome<Live> {
    const EXTRACT: &Filter = &carries("extract", extract);
    or_undefined(super::apply(run, EXTRACT, subject, arguments))
}

/// Only the side that is taken has to be defined.
fn ternary(run: &Evaluator<'_>, subject: Live, mut arguments: Arguments) -> Outcome<Live> {
    let (yes, no, none) = (arguments.take(0, "true_val"), arguments.take(1, "false_val"), arguments.take(2, "none_val"));
    let (Some(yes), Some(no)) = (yes, no) else { return fail("`ternary` takes a value for true and one for false") };
    let none = none.filter(|none| !matches!(none, Live::Value(Value::Null)));
    Ok(match (&subject, none) {
        (Live::Value(Value::Null), Some(none)) => none,
        _ if run.truth(&subject)? => yes,
        _ => no,
    })
}

fn dictsort(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let case = call.flag(0, "case_sensitive", false)?;
    let by = call.text_or(1, "by", "key")?;
    let reverse = call.flag(2, "reverse", false)?;
    let map = call.subject_map()?;
    let mut keyed: Vec<Value> = map
        .iter()
        .map(|(key, value)| {
            let by = if by == "value" { value.clone() } else { key.to_value() };
            Value::list([if case { by } else { caseless(by) }, key.to_value(), value.clone()])
        })
        .collect();
    let mut keys: Vec<Value> =
        keyed.iter().enumerate().filter_map(|(at, row)| Some(Value::list([row.as_list()?.first()?.clone(), Value::from(at)]))).collect();
    if reverse {
        // Equal keys keep their order, as Python's sort does.
        let last = keys.len();
        keys = keys
            .into_iter()
            .enumerate()
            .filter_map(|(at, key)| Some(Value::list([key.as_list()?.first()?.clone(), Value::from(last - at)])))
            .collect();
    }
    super::lists::sort_values(&mut keys, reverse)?;
    let position = |key: &Value| key.as_list().and_then(|key| key.get(1)).and_then(Value::as_int).and_then(|at| usize::try_from(at).ok());
    let last = keyed.len();
    let order: Vec<usize> = keys.iter().filter_map(position).map(|at| if reverse { last - at } else { at }).collect();
    let rows = order.into_iter().filter_map(|at| keyed.get_mut(at).map(std::mem::take));
    Ok(Value::list(rows.filter_map(|row| row.as_list().and_then(|row| row.get(1..)).map(|pair| Value::list(pair.iter().cloned())))))
}

fn rekey(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let key = call.text_or(0, "key", "")?;
    let duplicates = call.text_or(1, "duplicates", "error")?;
    let items: Vec<Value> = match &call.subject {
        Value::Map(map) => map.values().cloned().collect(),
        Value::List(items) => items.to_vec(),
        other => return fail(format!("`rekey_on_member` takes a list of dictionaries, not {}", other.type_name())),
    };
    let mut out = Map::new();
    for item in items {
        let Some(name) = item.get(&key).and_then(Key::from_value) else {
            return fail(format!("`rekey_on_member`: an item has no `{key}`"));
        };
        if out.contains_key(&name) && duplicates == "error" {
            return fail(format!("`rekey_on_member`: two items have the `{key}` `{name}`"));
        }
        out.insert(name, item);
    }
    Ok(out.into())
}
