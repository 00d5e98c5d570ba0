//! Lookups that only rearrange what they are given: what the `with_*` loops are made of.

use crate::value::{Key, Map, Value};
use crate::vars::filters::items_of;
use crate::vars::filters::lists::{nested, subelements};
use crate::vars::template::live::{Outcome, fail};

use super::{Lookup, Request, lookup};

pub(super) const LOOKUPS: &[Lookup] = &[
    lookup("items", |request| Ok(one_level(&request.terms))),
    lookup("list", |request| Ok(request.terms.clone())),
    lookup("flattened", |request| {
        let mut out = Vec::new();
        all_levels(&request.terms, &mut out);
        Ok(out)
    }),
    lookup("dict", dict),
    lookup("indexed_items", |request| {
        Ok(one_level(&request.terms).into_iter().enumerate().map(|(at, item)| Value::list([Value::from(at), item])).collect())
    }),
    lookup("nested", nested_rows),
    lookup("cartesian", |request| nested(&lists(request)?)),
    lookup("together", together),
    lookup("subelements", with_subelements),
    lookup("sequence", sequence),
    lookup("random_choice", |request| {
        let items = &request.terms;
        let at = if items.is_empty() { 0 } else { rand::random_range(0..items.len()) };
        Ok(items.get(at).cloned().into_iter().collect())
    }),
];

/// Pairs of an item and one of its sub-items. What was skipped, as a registered result says, has none.
fn with_subelements(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let (of, path, flags) = match request.terms.as_slice() {
        [of, path] => (of, path, None),
        [of, path, flags] => (of, path, Some(flags)),
        _ => return fail("`subelements` expects a list of two or three items: a list, the name of a key, and flags"),
    };
    let skip = match flags {
        None => false,
        Some(Value::Map(flags)) => flags.get("skip_missing").and_then(crate::value::arguments::to_bool).unwrap_or(false),
        Some(_) => return fail("the optional third item must be a dict with flags, such as `skip_missing: true`"),
    };
    let was_skipped = |item: &Value| item.get("skipped").is_some_and(|skipped| *skipped != Value::Bool(false));
    let of = match of {
        skipped if was_skipped(skipped) => return Ok(Vec::new()),
        Value::List(items) => Value::list(items.iter().filter(|item| !was_skipped(item)).cloned()),
        Value::Map(map) => Value::list(map.values().filter(|item| !was_skipped(item)).cloned()),
        other => other.clone(),
    };
    Ok(subelements(&of, path, skip)?.into_iter().map(|pair| without_key(pair, path)).collect())
}

/// The lookup takes the sub-items out of their item; the filter of the same name leaves them in.
fn without_key(pair: Value, path: &Value) -> Value {
    match (&pair, path.as_str()) {
        (Value::List(parts), Some(name)) => match parts.as_slice() {
            [Value::Map(item), inner] => {
                let mut item = (**item).clone();
                item.shift_remove(name);
                Value::list([Value::from(item), inner.clone()])
            }
            _ => pair,
        },
        _ => pair,
    }
}

/// Flattens one level, as `with_items` does.
pub(in crate::vars) fn one_level(terms: &[Value]) -> Vec<Value> {
    terms
        .iter()
        .flat_map(|term| match term {
            Value::List(items) => items.to_vec(),
            other => vec![other.clone()],
        })
        .collect()
}

fn all_levels(terms: &[Value], out: &mut Vec<Value>) {
    for term in terms {
        match term {
            Value::List(items) => all_levels(items, out),
            other => out.push(other.clone()),
        }
    }
}

fn dict(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let mut out = Vec::new();
    for term in &request.terms {
        match term {
            Value::Map(map) => out.extend(pairs(map)),
            other => return fail(format!("the `dict` lookup plugin expects a dictionary, not {}", other.type_name())),
        }
    }
    Ok(out)
}

fn pairs(map: &Map) -> Vec<Value> {
    map.iter().map(|(key, value): (&Key, &Value)| Value::map([("key", key.to_value()), ("value", value.clone())])).collect()
}

fn lists(request: &Request<'_, '_>) -> Outcome<Vec<Vec<Value>>> {
    let terms = request.terms.iter().map(|term| match term {
        Value::List(items) => Ok(items.to_vec()),
        other => items_of(other).filter(|_| !matches!(other, Value::Str(_))).map_or_else(|| Ok(vec![other.clone()]), Ok),
    });
    terms.collect()
}

fn together(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    if request.terms.is_empty() {
        return fail("with_together requires at least one element in each list");
    }
    let lists = lists(request)?;
    let count = lists.iter().map(Vec::len).max().unwrap_or(0);
    let row = |at: usize| lists.iter().map(|list| list.get(at).cloned().unwrap_or(Value::Null)).collect::<Vec<_>>();
    Ok((0..count).map(|at| Value::list(one_level(&row(at)))).collect())
}

/// Every way to take one item of each list. Items that are lists themselves are opened, as far as Ansible opens them.
fn nested_rows(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    if let Some(wrong) = request.terms.iter().find(|term| items_of(term).is_none()) {
        return fail(format!("`nested` takes lists, not {}", wrong.type_name()));
    }
    let mut lists = lists(request)?.into_iter();
    let mut rows = lists.next().unwrap_or_default();
    for list in lists {
        let pairs = nested(&[rows, list])?;
        rows = pairs.iter().map(|pair| Value::list(one_level(pair.as_list().unwrap_or_default()))).collect();
    }
    let opened = rows.iter().map(|row| match items_of(row) {
        Some(parts) => Ok(Value::list(one_level(&parts))),
        None => fail("`nested` takes at least two lists"),
    });
    opened.collect()
}

/// The numbers of one `sequence`, as text.
fn sequence(request: &mut Request<'_, '_>) -> Outcome<Vec<Value>> {
    let general = request.rest();
    let mut out = Vec::new();
    if request.terms.is_empty() {
        return if general.is_empty() { Ok(out) } else { numbers(&general) };
    }
    for term in request.terms.clone() {
        let mut settings = general.clone();
        match term {
            Value::Map(map) => settings.extend(map.iter().map(|(key, value)| (key.clone(), value.clone()))),
            other => settings.extend(parsed(&other.to_string())?),
        }
        out.extend(numbers(&settings)?);
    }
    Ok(out)
}

/// Reads `start=1 end=5 stride=2 format=web%02d`, or `1-5/2:web%02d`.
fn parsed(text: &str) -> Outcome<Map> {
    let mut map = Map::new();
    if text.contains('=') {
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some((key, value)) => map.insert(key.into(), Value::str(value)),
                None => return fail(format!("`sequence` cannot read `{word}`")),
            };
        }
        return Ok(map);
    }
    let (range, format) = text.split_once(':').map_or((text, None), |(range, format)| (range, Some(format)));
    let (range, stride) = range.split_once('/').map_or((range, None), |(range, stride)| (range, Some(stride)));
    let (start, end) = range.split_once('-').unwrap_or(("1", range));
    map.insert("start".into(), Value::str(start));
    map.insert("end".into(), Value::str(end));
    map.extend(stride.map(|stride| ("stride".into(), Value::str(stride))));
    map.extend(format.map(|format| ("format".into(), Value::str(format))));
    Ok(map)
}

fn numbers(settings: &Map) -> Outcome<Vec<Value>> {
    let number = |name: &str| -> Outcome<Option<i64>> {
        let Some(value) = settings.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
        let text = value.to_string();
        let text = text.trim();
        let parsed = match text.strip_prefix("0x") {
            Some(digits) => i64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        parsed.map_or_else(
            |_| fail(format!("the option `{name}` of `sequence` has an invalid value: `{text}` is no whole number")),
            |number| Ok(Some(number)),
        )
    };
    for name in settings.keys() {
        if !matches!(name.as_str(), Some("start" | "end" | "count" | "stride" | "format")) {
            return fail(format!("unrecognized arguments to with_sequence: {name}; there are start, end, count, stride and format"));
        }
    }
    let start = number("start")?.unwrap_or(1);
    let stride = number("stride")?.unwrap_or(1);
    let end = match (number("end")?, number("count")?) {
        (Some(end), None) => end,
        (None, Some(0)) => return Ok(Vec::new()),
        // As Ansible counts, which with a negative stride makes two more than were asked for.
        (None, Some(count)) => start + count * stride - 1,
        (None, None) => return fail("must specify count or end in with_sequence"),
        (Some(_), Some(_)) => return fail("can't specify both count and end in with_sequence"),
    };
    if stride == 0 {
        return Ok(Vec::new());
    }
    if stride > 0 && end < start {
        return fail("to count backwards make stride negative");
    }
    if stride < 0 && end > start {
        return fail("to count forward don't make stride negative");
    }
    if (end - start) / stride > 1_000_000 {
        return fail("`sequence` would have more than a million items");
    }
    let format = settings.get("format").map_or_else(|| "%d".to_owned(), ToString::to_string);
    if !format.contains('%') {
        return fail(format!("bad formatting string: {format}"));
    }
    let mut out = Vec::new();
    let mut at = start;
    while (stride > 0 && at <= end) || (stride < 0 && at >= end) {
        out.push(Value::from(crate::vars::template::format::one_number(&format, at)?));
        at += stride;
    }
    Ok(out)
}
