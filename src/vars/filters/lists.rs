//! Filters of lists.

use std::cmp::Ordering;

use crate::source::Diagnostic;
use crate::value::{Key, Map, Value};
use crate::vars::template::Evaluator;
use crate::vars::template::ast::Binary;
use crate::vars::template::call::Arguments;
use crate::vars::template::live::{Live, Outcome, fail};
use crate::vars::template::operators;

use super::dice::Dice;
use super::{Call, Filter, carries, items_of, known, live, select};

pub(super) const FILTERS: &[Filter] = &[
    live("length", length),
    live("count", length),
    live("first", |run, subject, _| edge(run, &subject, true)),
    live("last", |run, subject, _| edge(run, &subject, false)),
    carries("reverse", reverse),
    carries("flatten", flatten),
    carries("batch", batch),
    carries("slice", slice),
    live("zip", |run, subject, arguments| zip(run, &subject, arguments, false)),
    live("zip_longest", |run, subject, arguments| zip(run, &subject, arguments, true)),
    known("join", join),
    known("sort", sort),
    known("unique", unique),
    live("min", |run, subject, arguments| extreme_or_undefined(run, subject, arguments, "min")),
    live("max", |run, subject, arguments| extreme_or_undefined(run, subject, arguments, "max")),
    known("sum", sum),
    known("groupby", groupby),
    known("random", random),
    known("shuffle", shuffle),
    known("product", product),
    known("combinations", combinations),
    known("permutations", permutations),
    known("subelements", subelements_filter),
];

/// Counts parts without looking at them.
fn length(run: &Evaluator<'_>, subject: Live, _: Arguments) -> Outcome<Live> {
    let count = match &subject {
        Live::List(items) => items.borrow().len(),
        Live::Dict(entries) => entries.borrow().len(),
        Live::Tuple(items) => items.len(),
        Live::Value(Value::List(items)) => items.len(),
        Live::Value(Value::Map(map)) => map.len(),
        Live::Vars | Live::HostVars | Live::Host(_) => run.iterate(&subject)?.len(),
        other => match run.known(other)? {
            Value::Str(text) => text.chars().count(),
            Value::List(items) => items.len(),
            Value::Map(map) => map.len(),
            other => return fail(format!("a {} has no length", other.type_name())),
        },
    };
    Ok(Live::Value(Value::from(count)))
}

/// An empty list has no first item: that is undefined, which `default` may mend.
fn edge(run: &Evaluator<'_>, subject: &Live, first: bool) -> Outcome<Live> {
    let items = run.iterate(subject)?;
    let item = if first { items.into_iter().next() } else { items.into_iter().next_back() };
    let which = if first { "first" } else { "last" };
    Ok(item.unwrap_or_else(|| Live::undefined(Diagnostic::error(format!("there is no {which} item: the list is empty")))))
}

fn reverse(call: &mut Call<'_, '_>) -> Outcome<Value> {
    if let Value::Str(text) = &call.subject {
        return Ok(Value::from(text.chars().rev().collect::<String>()));
    }
    let mut items = call.items()?;
    items.reverse();
    Ok(Value::list(items))
}

fn flatten(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let levels = call.int(0, "levels")?;
    let skip_nulls = call.flag(1, "skip_nulls", true)?;
    let mut out = Vec::new();
    flatten_into(&mut out, &call.items()?, levels, skip_nulls);
    Ok(Value::list(out))
}

fn flatten_into(out: &mut Vec<Value>, items: &[Value], levels: Option<i64>, skip_nulls: bool) {
    for item in items {
        match item {
            Value::Null if skip_nulls => {}
            Value::Str(text) if skip_nulls && (&**text == "None" || &**text == "null") => {}
            Value::List(inner) if levels.is_none_or(|levels| levels >= 1) => {
                flatten_into(out, inner, levels.map(|levels| levels - 1), skip_nulls)
            }
            other => out.push(other.clone()),
        }
    }
}

fn batch(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let size = call.size(0, "linecount", 0)?;
    let fill = call.argument(1, "fill_with").filter(|fill| !fill.is_null());
    if size == 0 {
        return fail("`batch` takes how many items a batch has, at least 1");
    }
    let items = call.items()?;
    Ok(Value::list(items.chunks(size).map(|chunk| {
        let mut chunk = chunk.to_vec();
        if let Some(fill) = &fill {
            chunk.resize(size, fill.clone());
        }
        Value::list(chunk)
    })))
}

fn slice(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let slices = call.size(0, "slices", 0)?;
    let fill = call.argument(1, "fill_with").filter(|fill| !fill.is_null());
    if slices == 0 {
        return fail("`slice` takes how many slices to make, at least 1");
    }
    let items = call.items()?;
    let (per, extra) = (items.len() / slices, items.len() % slices);
    let mut rest = items.into_iter();
    Ok(Value::list((0..slices).map(|at| {
        let mut slice: Vec<_> = rest.by_ref().take(per + usize::from(at < extra)).collect();
        if let Some(fill) = fill.as_ref().filter(|_| at >= extra) {
            slice.push(fill.clone());
        }
        Value::list(slice)
    })))
}

fn lists(call: &Call<'_, '_>, others: Vec<Value>) -> Outcome<Vec<Vec<Value>>> {
    let mut lists = vec![call.items()?];
    for other in others {
        match items_of(&other) {
            Some(items) => lists.push(items),
            None => return fail(format!("the filter `{}` takes lists, not {}", call.name, other.type_name())),
        }
    }
    Ok(lists)
}

/// Rows of the lists' items; what is undefined in one matters only to whoever uses it.
fn zip(run: &Evaluator<'_>, subject: &Live, arguments: Arguments, longest: bool) -> Outcome<Live> {
    let fill = arguments.named.into_iter().find(|(name, _)| &**name == "fillvalue").map_or(Live::Value(Value::Null), |(_, fill)| fill);
    let lists = std::iter::once(subject).chain(&arguments.positional).map(|list| run.iterate(list)).collect::<Outcome<Vec<_>>>()?;
    let lengths = lists.iter().map(Vec::len);
    let count = if longest { lengths.max() } else { lengths.min() }.unwrap_or(0);
    let row = |at: usize| Live::list(lists.iter().map(|list| list.get(at).cloned().unwrap_or_else(|| fill.clone())).collect());
    Ok(Live::list((0..count).map(row).collect()))
}

fn attribute_of(call: &Call<'_, '_>, item: &Value, attribute: &Value) -> Outcome<Value> {
    let found = select::path(call.run, &Live::Value(item.clone()), attribute)?;
    call.run.known(&found)
}

fn join(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let separator = call.text_or(0, "d", "")?;
    let attribute = call.argument(1, "attribute").filter(|attribute| !attribute.is_null());
    let mut out = String::new();
    for (at, item) in call.items()?.iter().enumerate() {
        if at > 0 {
            out.push_str(&separator);
        }
        match &attribute {
            None => out.push_str(&item.to_string()),
            Some(attribute) => out.push_str(&attribute_of(call, item, attribute)?.to_string()),
        }
    }
    Ok(Value::from(out))
}

/// Sorts as Python does, or says what cannot be put in order.
pub(in crate::vars) fn sort_values(values: &mut [Value], reverse: bool) -> Outcome<()> {
    sort_by_key(values, reverse, |value| Ok(value.clone()))
}

fn sort_by_key(values: &mut [Value], reverse: bool, key: impl Fn(&Value) -> Outcome<Value>) -> Outcome<()> {
    let mut keyed = values.iter().map(|value| Ok((key(value)?, value.clone()))).collect::<Outcome<Vec<_>>>()?;
    let mut wrong = None;
    keyed.sort_by(|(a, _), (b, _)| {
        let order = match operators::order(a, b) {
            Some(order) => order.unwrap_or(Ordering::Equal),
            None => {
                wrong.get_or_insert_with(|| format!("{} and {} cannot be put in order", a.type_name(), b.type_name()));
                Ordering::Equal
            }
        };
        if reverse { order.reverse() } else { order }
    });
    if let Some(message) = wrong {
        return fail(message);
    }
    for (slot, (_, value)) in values.iter_mut().zip(keyed) {
        *slot = value;
    }
    Ok(())
}

/// Makes texts small, at any depth of lists, for comparing without case.
pub(super) fn caseless(value: Value) -> Value {
    match value {
        Value::Str(text) => Value::from(text.to_lowercase()),
        other => other,
    }
}

fn sort(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let reverse = call.flag(0, "reverse", false)?;
    let case = call.flag(1, "case_sensitive", false)?;
    let attribute = call.text(2, "attribute")?;
    let mut items = call.items()?;
    sort_by_key(&mut items, reverse, |item| {
        let fold = |value| if case { value } else { caseless(value) };
        match &attribute {
            None => Ok(fold(item.clone())),
            Some(names) => {
                let keys = names
                    .split(',')
                    .map(|name| Ok(fold(attribute_of(call, item, &Value::str(name.trim()))?)))
                    .collect::<Outcome<Vec<_>>>()?;
                Ok(Value::list(keys))
            }
        }
    })?;
    Ok(Value::list(items))
}

fn unique(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let asked = call.argument(0, "case_sensitive").is_some_and(|asked| !asked.is_null());
    let case = call.flag(0, "case_sensitive", false)?;
    let attribute = call.argument(1, "attribute").filter(|attribute| !attribute.is_null());
    if matches!(call.subject, Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Null) {
        return fail(format!("the filter `unique` failed: '{}' object is not iterable", call.subject.type_name()));
    }
    let mut seen = Vec::new();
    let mut out = Vec::new();
    for item in call.items()? {
        let mut key = match &attribute {
            Some(attribute) => attribute_of(call, &item, attribute)?,
            None => item.clone(),
        };
        if matches!(key, Value::List(_) | Value::Map(_)) && (attribute.is_some() || (asked && !case)) {
            return fail(
                "the filter `unique` compares lists and dictionaries as they are: it cannot fall back to that with these arguments",
            );
        }
        if !case {
            key = caseless(key);
        }
        if !seen.contains(&key) {
            seen.push(key);
            out.push(item);
        }
    }
    Ok(Value::list(out))
}

fn extreme(call: &mut Call<'_, '_>, wanted: Ordering) -> Outcome<Value> {
    let case = call.flag(0, "case_sensitive", false)?;
    let attribute = call.argument(1, "attribute").filter(|attribute| !attribute.is_null());
    let mut best: Option<(Value, Value)> = None;
    for item in call.items()? {
        let key = match &attribute {
            Some(attribute) => attribute_of(call, &item, attribute)?,
            None => item.clone(),
        };
        let key = if case { key } else { caseless(key) };
        let better = match &best {
            None => true,
            Some((known, _)) => crate::vars::template::methods::ordered(&key, known)? == wanted,
        };
        if better {
            best = Some((key, item));
        }
    }
    best.map_or_else(|| fail(format!("there is no {} of an empty list", call.name)), |(_, item)| Ok(item))
}

/// The extreme of an empty list is undefined, which `default` may mend.
fn extreme_or_undefined(run: &Evaluator<'_>, subject: Live, arguments: Arguments, name: &'static str) -> Outcome<Live> {
    const LEAST: &Filter = &known("min", |call| extreme(call, Ordering::Less));
    const MOST: &Filter = &known("max", |call| extreme(call, Ordering::Greater));
    let value = run.freeze(&subject)?;
    if items_of(&value).is_some_and(|items| items.is_empty()) {
        return Ok(Live::undefined(Diagnostic::error(format!("there is no {name}: the list is empty"))));
    }
    super::apply(run, if name == "min" { LEAST } else { MOST }, Live::Value(value), arguments)
}

fn sum(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let attribute = call.argument(0, "attribute").filter(|attribute| !attribute.is_null());
    let mut total = call.argument(1, "start").unwrap_or(Value::Int(0));
    for item in call.items()? {
        let item = match &attribute {
            Some(attribute) => attribute_of(call, &item, attribute)?,
            None => item,
        };
        total = operators::plain(Binary::Add, &total, &item)?;
    }
    Ok(total)
}

fn groupby(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let attribute = call.needed(0, "attribute")?;
    let default = call.argument(1, "default");
    let case = call.flag(2, "case_sensitive", false)?;
    let key_of = |item: &Value| -> Outcome<Value> {
        let found = select::path(call.run, &Live::Value(item.clone()), &attribute)?;
        match (found, &default) {
            (Live::Undefined(_), Some(default)) => Ok(default.clone()),
            (found, _) => call.run.known(&found),
        }
    };
    let mut items = call.items()?;
    sort_by_key(&mut items, false, |item| key_of(item).map(|key| if case { key } else { caseless(key) }))?;
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for item in items {
        let key = key_of(&item)?;
        let folded = |value: &Value| if case { value.clone() } else { caseless(value.clone()) };
        match groups.last_mut() {
            Some((known, group)) if folded(known) == folded(&key) => group.push(item),
            _ => groups.push((key, vec![item])),
        }
    }
    // A group answers to `grouper` and `list` too; a list of two is what its text and its unpacking need.
    Ok(Value::list(groups.into_iter().map(|(key, group)| Value::list([key, Value::list(group)]))))
}

fn random(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let first = call.argument(0, "start");
    let step = call.int(1, "step")?.unwrap_or(1).max(1);
    let mut dice = Dice::new(call.argument(2, "seed").as_ref());
    if let Value::Int(end) = call.subject {
        let start = first.and_then(|start| start.as_int()).unwrap_or(0);
        let count = (i128::from(end) - i128::from(start) + i128::from(step) - 1) / i128::from(step);
        let Some(count) = u64::try_from(count).ok().filter(|count| *count > 0) else { return fail("`random` of an empty range") };
        return Ok(Value::Int(start.wrapping_add(step.wrapping_mul(i64::try_from(dice.below(count)).unwrap_or(0)))));
    }
    let items = call.items()?;
    dice.pick(&items).map_or_else(|| fail("`random` of an empty list"), |item| Ok(item.clone()))
}

fn shuffle(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let mut dice = Dice::new(call.argument(0, "seed").as_ref());
    let mut items = call.items()?;
    for at in (1..items.len()).rev() {
        items.swap(at, dice.index(at + 1));
    }
    Ok(Value::list(items))
}

/// The most combinations that a template may ask for.
const MOST: usize = 1_000_000;

fn product(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let others = call.rest(0);
    let repeat = call.named().into_iter().find(|(name, _)| &**name == "repeat").and_then(|(_, count)| count.as_int()).unwrap_or(1);
    let lists = lists(call, others)?;
    let repeat = usize::try_from(repeat).unwrap_or(0);
    nested(&lists.iter().cloned().cycle().take(lists.len() * repeat).collect::<Vec<_>>()).map(Value::list)
}

/// Returns every way to take one item of each list.
pub(in crate::vars) fn nested(lists: &[Vec<Value>]) -> Outcome<Vec<Value>> {
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for list in lists {
        if rows.len().saturating_mul(list.len()) > MOST {
            return fail("this makes more than a million combinations");
        }
        rows = rows.iter().flat_map(|row| list.iter().map(move |item| row.iter().cloned().chain([item.clone()]).collect())).collect();
    }
    Ok(rows.into_iter().map(Value::list).collect())
}

fn combinations(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let size = call.size(0, "set_size", 0)?;
    let items = call.items()?;
    let mut out = Vec::new();
    let mut picked = Vec::new();
    choose(&items, size, 0, &mut picked, &mut out)?;
    Ok(Value::list(out))
}

fn choose(items: &[Value], size: usize, from: usize, picked: &mut Vec<Value>, out: &mut Vec<Value>) -> Outcome<()> {
    if picked.len() == size {
        if out.len() >= MOST {
            return fail("this makes more than a million combinations");
        }
        out.push(Value::list(picked.clone()));
        return Ok(());
    }
    for (at, item) in items.iter().enumerate().skip(from) {
        picked.push(item.clone());
        choose(items, size, at + 1, picked, out)?;
        picked.pop();
    }
    Ok(())
}

fn permutations(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let items = call.items()?;
    let size = call.size(0, "set_size", items.len())?;
    let mut out = Vec::new();
    arrange(&items, size, &mut Vec::new(), &mut out)?;
    Ok(Value::list(out))
}

fn arrange(items: &[Value], size: usize, picked: &mut Vec<usize>, out: &mut Vec<Value>) -> Outcome<()> {
    if picked.len() == size {
        if out.len() >= MOST {
            return fail("this makes more than a million permutations");
        }
        out.push(Value::list(picked.iter().filter_map(|at| items.get(*at).cloned())));
        return Ok(());
    }
    for at in 0..items.len() {
        if !picked.contains(&at) {
            picked.push(at);
            arrange(items, size, picked, out)?;
            picked.pop();
        }
    }
    Ok(())
}

fn subelements_filter(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let path = call.needed(0, "subelements")?;
    let skip = call.flag(1, "skip_missing", false)?;
    subelements(&call.subject, &path, skip).map(Value::list)
}

/// Returns each item paired with each of its sub-items.
pub(in crate::vars) fn subelements(of: &Value, path: &Value, skip_missing: bool) -> Outcome<Vec<Value>> {
    let items: Vec<Value> = match of {
        Value::List(items) => items.to_vec(),
        Value::Map(map) => map.values().cloned().collect(),
        other => return fail(format!("`subelements` takes first a dict or a list, second a string; the first is {}", other.type_name())),
    };
    let steps: Vec<String> = match path {
        Value::Str(path) => path.split('.').map(str::to_owned).collect(),
        Value::List(steps) => steps.iter().map(ToString::to_string).collect(),
        other => return fail(format!("`subelements` takes first a dict or a list, second a string; the second is {}", other.type_name())),
    };
    let mut out = Vec::new();
    'items: for item in items {
        if !matches!(item, Value::Map(_)) {
            return fail(format!("`subelements` takes a list of dictionaries; one item is {}", item.type_name()));
        }
        let mut inner = &item;
        for (at, step) in steps.iter().enumerate() {
            let Some(found) = inner.get(step) else {
                if skip_missing {
                    continue 'items;
                }
                return fail(format!("could not find '{step}' key in iterated item; `skip_missing=true` leaves such items out"));
            };
            let is_last = at + 1 == steps.len();
            match found {
                Value::List(_) if is_last => {}
                Value::Map(_) if !is_last => {}
                _ if !is_last && skip_missing => continue 'items,
                other if is_last => return fail(format!("the key '{step}' should point to a list, not to {}", other.type_name())),
                other => return fail(format!("the key '{step}' should point to a dictionary, not to {}", other.type_name())),
            }
            inner = found;
        }
        if let Value::List(inner) = inner {
            out.extend(inner.iter().map(|inner| Value::list([item.clone(), inner.clone()])));
        }
    }
    Ok(out)
}

/// Returns a dictionary of `entries`, each key turned into one.
pub(super) fn map_of(entries: impl IntoIterator<Item = (Value, Value)>) -> Outcome<Value> {
    let mut map = Map::new();
    for (key, value) in entries {
        let Some(key) = Key::from_value(&key) else { return fail(format!("a {} cannot be a key of a dictionary", key.type_name())) };
        map.insert(key, value);
    }
    Ok(map.into())
}
