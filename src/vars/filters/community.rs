//! Filters of `community.general` that playbooks ask for.

use crate::value::{Key, Map, Value};
use crate::vars::template::live::{Outcome, fail};
use crate::vars::tests::version;

use super::dice::Dice;
use super::{Call, Filter, carries, items_of, known};

pub(super) const FILTERS: &[Filter] = &[
    carries("dict_kv", |call| {
        let key = call.needed(0, "key")?;
        super::lists::map_of(vec![(key, call.subject.clone())])
    }),
    carries("dict", dict),
    carries("groupby_as_dict", groupby_as_dict),
    carries("keep_keys", |call| by_keys(call, true)),
    carries("remove_keys", |call| by_keys(call, false)),
    known("counter", counter),
    known("crc32", |call| Ok(Value::from(format!("{:x}", crc32fast::hash(call.subject_text()?.as_bytes()))))),
    known("version_sort", version_sort),
    known("random_mac", random_mac),
    known("to_milliseconds", |call| in_units(call, 1.0)),
    known("to_seconds", |call| in_units(call, 1e3)),
    known("to_minutes", |call| in_units(call, 6e4)),
    known("to_hours", |call| in_units(call, 3.6e6)),
    known("to_days", |call| in_units(call, 8.64e7)),
    known("to_weeks", |call| in_units(call, 6.048e8)),
];

fn dict(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let pairs = call.items()?.into_iter().map(|pair| match items_of(&pair).as_deref() {
        Some([key, value]) => Ok((key.clone(), value.clone())),
        _ => fail("`dict` takes pairs of a key and a value"),
    });
    super::lists::map_of(pairs.collect::<Outcome<Vec<_>>>()?)
}

fn groupby_as_dict(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let attribute = call.text_or(0, "attribute", "")?;
    let mut out = Map::new();
    for item in call.items()? {
        let Some(key) = item.get(&attribute).and_then(Key::from_value) else {
            return fail(format!("`groupby_as_dict`: an item has no `{attribute}`"));
        };
        if out.insert(key.clone(), item).is_some() {
            return fail(format!("`groupby_as_dict`: two items have the `{attribute}` `{key}`"));
        }
    }
    Ok(out.into())
}

fn by_keys(call: &mut Call<'_, '_>, keep: bool) -> Outcome<Value> {
    let target = call.needed(0, "target")?;
    let how = call.text_or(1, "matching_parameter", "equal")?;
    let targets: Vec<String> = match &target {
        Value::List(items) => items.iter().map(ToString::to_string).collect(),
        other => vec![other.to_string()],
    };
    let fits = |key: &Key| -> Outcome<bool> {
        let key = key.to_string();
        Ok(match how.as_str() {
            "equal" => targets.contains(&key),
            "starts_with" => targets.iter().any(|target| key.starts_with(target)),
            "ends_with" => targets.iter().any(|target| key.ends_with(target)),
            "regex" => {
                let mut any = false;
                for target in &targets {
                    any |= super::regex::compiled(&format!("\\A(?:{target})"), false, false, false)?.is_match(&key).unwrap_or(false);
                }
                any
            }
            other => return fail(format!("`matching_parameter` is equal, starts_with, ends_with or regex, not `{other}`")),
        })
    };
    let mut out = Vec::new();
    for item in call.items()? {
        let Value::Map(map) = item else { return fail(format!("`{}` takes a list of dictionaries", call.name)) };
        let mut kept = Map::new();
        for (key, value) in map.iter() {
            if fits(key)? == keep {
                kept.insert(key.clone(), value.clone());
            }
        }
        out.push(Value::from(kept));
    }
    Ok(Value::list(out))
}

fn counter(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let mut out = Map::new();
    if matches!(call.subject, Value::Map(_)) {
        return fail("`counter` takes a list or a text");
    }
    for item in call.items()? {
        let Some(key) = Key::from_value(&item) else { return fail(format!("`counter` cannot count a {}", item.type_name())) };
        let count = out.get(&key).and_then(Value::as_int).unwrap_or(0);
        out.insert(key, Value::Int(count + 1));
    }
    Ok(out.into())
}

fn version_sort(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let reverse = call.flag(0, "reverse", false)?;
    let mut wrong = None;
    let mut versions = call.items()?;
    versions.sort_by(|a, b| match version::loose(&a.to_string(), &b.to_string()) {
        Ok(order) if reverse => order.reverse(),
        Ok(order) => order,
        Err(halt) => {
            wrong.get_or_insert(halt);
            std::cmp::Ordering::Equal
        }
    });
    wrong.map_or_else(|| Ok(Value::list(versions)), Err)
}

/// Completes the start of a hardware address with random bytes.
fn random_mac(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let seed = call.argument(0, "seed");
    let text = call.subject_text()?.to_lowercase();
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() > 5 || !parts.iter().all(|part| part.len() == 2 && part.chars().all(|c| c.is_ascii_hexdigit())) {
        return fail(format!("`random_mac` takes the start of a hardware address, such as `52:54:00`, not `{text}`"));
    }
    // Ten digits, the first of which is not 0: Ansible's way, so that a seed gives the same address.
    let (least, most) = (0x10_0000_0000_u64, 0xff_ffff_ffff_u64);
    let digits = format!("{:x}", least + Dice::new(seed.as_ref()).below(most - least + 1));
    let bytes = (0..6 - parts.len()).filter_map(|at| digits.get(2 * at..2 * at + 2)).map(|byte| format!(":{byte}"));
    Ok(Value::from(format!("{text}{}", bytes.collect::<String>())))
}

/// Reads `1h 30m` and the like, and returns it in another unit of so many milliseconds.
fn in_units(call: &mut Call<'_, '_>, unit: f64) -> Outcome<Value> {
    let text = call.subject_text()?;
    if text == "0" {
        return Ok(Value::Int(0));
    }
    let mut total = 0.0;
    for word in text.split_whitespace() {
        let digits = word.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(word.len());
        let (number, name) = word.split_at(digits);
        let size = match name.trim_end_matches('s') {
            "m" if name == "ms" => Some(1.0),
            "" if name == "s" => Some(1e3),
            "msec" | "millisec" | "millisecond" => Some(1.0),
            "sec" | "second" => Some(1e3),
            "m" | "min" | "minute" => Some(6e4),
            "h" | "hour" => Some(3.6e6),
            "d" | "day" => Some(8.64e7),
            "w" | "week" => Some(6.048e8),
            "mo" | "month" => Some(2.592e9),
            "y" | "year" => Some(3.1536e10),
            _ => None,
        };
        let (Ok(number), Some(size)) = (number.parse::<f64>(), size) else {
            return fail(format!("`{}` reads times such as `1h 30m`, not `{text}`", call.name));
        };
        total += number * size;
    }
    Ok(Value::Float(total / unit))
}

#[cfg(test)]
mod tests {
    use crate::vars::suite::shown;

    #[test]
    fn the_filters_give_what_those_of_the_collection_give() {
        let cases = [
            ("{{ 5 | community.general.dict_kv('w') }}", "{'w': 5}"),
            ("{{ [['a', 1], ['b', 2]] | community.general.dict }}", "{'a': 1, 'b': 2}"),
            ("{{ ['1', '2', '1'] | community.general.counter }}", "{'1': 2, '2': 1}"),
            ("{{ 'Hello World' | community.general.crc32 }}", "'4a17b156'"),
            ("{{ ['1.2', '1.10', '1.1'] | community.general.version_sort }}", "['1.1', '1.2', '1.10']"),
            ("{{ '3h 5m' | community.general.to_seconds }}", "11100.0"),
            ("{{ '45s' | community.general.to_minutes }}", "0.75"),
            ("{{ '52:54:00' | community.general.random_mac | length }}", "17"),
            ("{{ [{'a': 1, 'n': 2}] | community.general.keep_keys(target=['n']) }}", "[{'n': 2}]"),
            ("{{ [{'a': 1, 'n': 2}] | community.general.remove_keys(target=['n']) }}", "[{'a': 1}]"),
            ("{{ [{'n': 'x'}] | community.general.groupby_as_dict('n') }}", "{'x': {'n': 'x'}}"),
        ];
        for (template, wanted) in cases {
            assert_eq!(shown(template, "{}"), wanted, "{template}");
        }
        for wrong in ["'q' | random_mac", "'1x' | to_seconds", "{} | counter"] {
            assert!(shown(&format!("{{{{ {wrong} }}}}"), "{}").starts_with("ERR"), "{wrong}");
        }
    }
}
