//! Specifications of arguments, as roles and `validate_argument_spec` have them: what is wrong with values that are to fit one.
//!
//! The words are those that playbooks compare with: they tell which argument is meant, and what it should be.

use super::{Map, Value, arguments};

/// Returns what is wrong with `given`, by the `options` of a specification; nothing where all is well.
pub fn errors(options: &Map, given: &Map) -> Vec<String> {
    let mut wrong = Wrong::default();
    let mut given = given.clone();
    check(options, None, &mut given, &[], &mut wrong);
    wrong.errors.extend(wrong.unknown);
    wrong.errors
}

#[derive(Default)]
struct Wrong {
    errors: Vec<String>,
    /// Names that no specification knows: told last.
    unknown: Vec<String>,
}

/// Checks a dictionary against the options that it may have. `rules` is what names those that belong together.
fn check(options: &Map, rules: Option<&Map>, given: &mut Map, path: &[String], wrong: &mut Wrong) {
    rename_aliases(options, given);
    if !path.is_empty() {
        unknown(options, given, path, wrong);
    }
    if let Some(rules) = rules {
        exclusive(rules, given, path, wrong);
    }
    for (name, option) in options {
        let default = option.get("default").filter(|default| !default.is_null());
        if let Some(default) = default.filter(|_| !given.contains_key(name)) {
            given.insert(name.clone(), default.clone());
        }
    }
    let is_missing = |name: &super::Key, option: &Value| flag(option, "required") && !given.contains_key(name);
    let mut missing: Vec<_> = options.iter().filter(|(name, option)| is_missing(name, option)).map(|(name, _)| name.to_string()).collect();
    if !missing.is_empty() {
        missing.sort();
        wrong.errors.push(format!("missing required arguments: {}{}", missing.join(", "), found_in(path)));
    }
    types(options, given, path, wrong);
    choices(options, given, path, wrong);
    if let Some(rules) = rules {
        together(rules, given, path, wrong);
    }
    inner(options, given, path, wrong);
}

fn rename_aliases(options: &Map, given: &mut Map) {
    for (name, option) in options {
        for alias in option.get("aliases").map(texts).unwrap_or_default() {
            if let Some(value) = given.shift_remove(alias.as_str()) {
                given.insert(name.clone(), value);
            }
        }
    }
}

fn unknown(options: &Map, given: &Map, path: &[String], wrong: &mut Wrong) {
    let mut names: Vec<_> = given.keys().filter(|name| !options.contains_key(*name)).map(ToString::to_string).collect();
    if names.is_empty() {
        return;
    }
    names.sort();
    let mut known: Vec<_> = options.keys().map(ToString::to_string).collect();
    known.sort();
    let full: Vec<_> = names.iter().map(|name| format!("{}.{name}", path.join("."))).collect();
    wrong.unknown.push(format!("{}. Supported parameters include: {}.", full.join(", "), known.join(", ")));
}

fn types(options: &Map, given: &mut Map, path: &[String], wrong: &mut Wrong) {
    for (name, option) in options {
        let Some(value) = given.get(name).cloned() else { continue };
        let is_free = !flag(option, "required") && option.get("default").is_none_or(Value::is_null);
        if value.unknown_part().is_some() || (value.is_null() && is_free) {
            continue;
        }
        let kind = option.get("type").and_then(Value::as_str).unwrap_or("str");
        let value = match converted(kind, &value) {
            Ok(value) => value,
            Err(why) => {
                wrong.errors.push(not_converted(&name.to_string(), &value, path, kind, &why));
                continue;
            }
        };
        let value = match (option.get("elements").and_then(Value::as_str), &value) {
            (Some(kind), Value::List(items)) => elements(kind, &name.to_string(), items, path, wrong),
            (Some(_), _) => {
                wrong.errors.push(format!(
                    "Invalid type {kind} for option '{value}'{}, elements value check is supported only with 'list' type",
                    found_in_quoted(path)
                ));
                value
            }
            (None, _) => value,
        };
        given.insert(name.clone(), value);
    }
}

fn elements(kind: &str, name: &str, items: &[Value], path: &[String], wrong: &mut Wrong) -> Value {
    let mut out = Vec::with_capacity(items.len());
    for item in items {
        match converted(kind, item) {
            Ok(item) => out.push(item),
            Err(why) => {
                let kind_of = format!("Elements value for option '{name}'{} is of type {}", found_in_quoted(path), item.type_name());
                wrong.errors.push(format!("{kind_of} and we were unable to convert to {kind}: {why}"));
                out.push(item.clone());
            }
        }
    }
    Value::list(out)
}

fn not_converted(name: &str, value: &Value, path: &[String], kind: &str, why: &str) -> String {
    let place = found_in_quoted(path);
    let place = if place.is_empty() { place } else { format!("{place}.") };
    format!("argument '{name}' is of type {}{place} and we were unable to convert to {kind}: {why}", value.type_name())
}

/// Returns a value as one of a kind, or why it cannot be that.
fn converted(kind: &str, value: &Value) -> Result<Value, String> {
    let class = || format!("<class '{}'>", value.type_name());
    match (kind, value) {
        ("raw" | "any", value) => Ok(value.clone()),
        ("str" | "path", Value::Null) => Err("'None' is not a string and conversion is not allowed".to_owned()),
        ("str" | "path", value) => Ok(Value::from(value.to_string())),
        ("bool", Value::Str(_) | Value::Int(_) | Value::Float(_) | Value::Bool(_)) => match arguments::to_bool(value) {
            Some(flag) => Ok(Value::Bool(flag)),
            None => Err(format!("The value '{value}' is not a valid boolean.")),
        },
        ("int", Value::Int(_)) => Ok(value.clone()),
        ("int", Value::Bool(flag)) => Ok(Value::Int(i64::from(*flag))),
        ("int", Value::Str(_) | Value::Float(_)) => match value.to_string().trim().parse::<f64>() {
            #[allow(clippy::cast_possible_truncation)]
            Ok(number) if number.fract() == 0.0 && number.abs() < 9e15 => Ok(Value::Int(number as i64)),
            _ => Err(format!("\"{}\" cannot be converted to an int", repr(value))),
        },
        ("int", _) => Err(format!("\"{}\" cannot be converted to an int", repr(value))),
        ("float", Value::Float(_)) => Ok(value.clone()),
        ("float", Value::Int(_) | Value::Str(_)) => match value.to_string().trim().parse() {
            Ok(number) => Ok(Value::Float(number)),
            Err(_) => Err(format!("{} cannot be converted to a float", class())),
        },
        ("list", Value::List(_)) => Ok(value.clone()),
        ("list", Value::Str(text)) => Ok(Value::list(text.split(',').map(|part| Value::str(part.trim())))),
        ("list", Value::Int(_) | Value::Float(_)) => Ok(Value::list([Value::from(value.to_string())])),
        ("list", _) => Err(format!("{} cannot be converted to a list", class())),
        ("dict", Value::Map(_)) => Ok(value.clone()),
        ("dict", Value::Str(text)) => dictionary(text).ok_or_else(|| "dictionary requested, could not parse JSON or key=value".to_owned()),
        ("dict", _) => Err(format!("{} cannot be converted to a dict", class())),
        ("json" | "jsonarg", Value::Str(_)) => Ok(value.clone()),
        ("json" | "jsonarg", Value::List(_) | Value::Map(_)) => Ok(Value::from(super::json::to_json(value).to_string())),
        ("json" | "jsonarg", _) => Err(format!("{} cannot be converted to a json string", class())),
        ("bytes" | "bits", value) => match size(&value.to_string()) {
            Some(size) => Ok(Value::Float(size)),
            None => Err(format!("{} cannot be converted to a {} value", class(), if kind == "bits" { "Bit" } else { "Byte" })),
        },
        ("bool", _) => Err(format!("{} cannot be converted to a bool", class())),
        ("float", _) => Err(format!("{} cannot be converted to a float", class())),
        _ => Err(format!("there is no type `{kind}`")),
    }
}

fn repr(value: &Value) -> String {
    let mut out = String::new();
    match super::write_python_repr(&mut out, value) {
        Ok(()) => out,
        Err(_) => value.to_string(),
    }
}

/// Returns the dictionary of `{...}` in JSON, or of `name=value` words.
fn dictionary(text: &str) -> Option<Value> {
    if text.trim_start().starts_with('{') {
        let parsed: serde_json::Value = serde_json::from_str(text).ok()?;
        return Some(super::json::from_json(&parsed)).filter(|value| value.as_map().is_some());
    }
    let words = shlex::split(&text.replace(',', " "))?;
    let pairs = words.iter().map(|word| word.split_once('=').map(|(name, value)| (name.trim().into(), Value::str(value.trim()))));
    Some(Value::from(pairs.collect::<Option<Map>>()?)).filter(|_| text.contains('='))
}

/// Returns the number of bytes that `10K` and the like mean.
fn size(text: &str) -> Option<f64> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let power = match unit.trim().chars().next().map(|unit| unit.to_ascii_uppercase()) {
        None | Some('B') => 0,
        Some(unit) => "KMGTPEZY".find(unit)? + 1,
    };
    Some(number.parse::<f64>().ok()? * 1024_f64.powi(i32::try_from(power).ok()?))
}

fn choices(options: &Map, given: &Map, path: &[String], wrong: &mut Wrong) {
    for (name, option) in options {
        let (Some(choices), Some(value)) = (option.get("choices").and_then(Value::as_list), given.get(name)) else { continue };
        let all = || choices.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let is_one = |value: &Value| choices.iter().any(|choice| choice == value || choice.to_string() == value.to_string());
        match value {
            Value::List(items) => {
                let others: Vec<_> = items.iter().filter(|item| !is_one(item)).map(ToString::to_string).collect();
                if !others.is_empty() {
                    let message = format!("value of {name} must be one or more of: {}. Got no match for: {}", all(), others.join(", "));
                    wrong.errors.push(format!("{message}{}", found_in(path)));
                }
            }
            Value::Null | Value::Unknown(_) => {}
            value if is_one(value) => {}
            value => wrong.errors.push(format!("value of {name} must be one of: {}, got: {value}{}", all(), found_in(path))),
        }
    }
}

fn exclusive(rules: &Map, given: &Map, path: &[String], wrong: &mut Wrong) {
    for group in groups(rules, "mutually_exclusive") {
        if group.iter().filter(|name| is_given(given, name)).count() > 1 {
            wrong.errors.push(format!("parameters are mutually exclusive: {}{}", group.join("|"), found_in(path)));
        }
    }
}

/// Checks which arguments belong together.
fn together(rules: &Map, given: &Map, path: &[String], wrong: &mut Wrong) {
    let place = found_in(path);
    for group in groups(rules, "required_together") {
        let count = group.iter().filter(|name| is_given(given, name)).count();
        if count > 0 && count < group.len() {
            wrong.errors.push(format!("parameters are required together: {}{place}", group.join(", ")));
        }
    }
    for group in groups(rules, "required_one_of") {
        if !group.iter().any(|name| is_given(given, name)) {
            wrong.errors.push(format!("one of the following is required: {}{place}", group.join(", ")));
        }
    }
    for rule in rules.get("required_if").and_then(Value::as_list).unwrap_or_default() {
        let Some([name, value, needed, rest @ ..]) = rule.as_list() else { continue };
        let needed = texts(needed);
        let one_is_enough = rest.first().and_then(Value::as_bool) == Some(true);
        let missing: Vec<_> = needed.iter().filter(|name| !is_given(given, name)).cloned().collect();
        let is_met = if one_is_enough { missing.len() < needed.len() } else { missing.is_empty() };
        if given.get(name.to_string().as_str()) == Some(value) && !is_met {
            let how_many = if one_is_enough { "any" } else { "all" };
            wrong.errors.push(format!("{name} is {value} but {how_many} of the following are missing: {}{place}", missing.join(", ")));
        }
    }
    for (name, needed) in rules.get("required_by").and_then(Value::as_map).into_iter().flatten() {
        let missing: Vec<_> = texts(needed).into_iter().filter(|needed| !is_given(given, needed)).collect();
        if is_given(given, &name.to_string()) && !missing.is_empty() {
            wrong.errors.push(format!("missing parameter(s) required by '{name}': {}{place}", missing.join(", ")));
        }
    }
}

/// Checks the dictionaries whose own options are told.
fn inner(options: &Map, given: &Map, path: &[String], wrong: &mut Wrong) {
    for (name, option) in options {
        let (Some(suboptions), Some(rules)) = (option.get("options").and_then(Value::as_map), option.as_map()) else { continue };
        let is_of_dictionaries = matches!(option.get("type").and_then(Value::as_str), Some("dict"))
            || option.get("elements").and_then(Value::as_str) == Some("dict");
        let Some(value) = given.get(name).filter(|value| is_of_dictionaries && !value.is_null() && value.unknown_part().is_none()) else {
            continue;
        };
        let path: Vec<_> = path.iter().cloned().chain([name.to_string()]).collect();
        let all = match value {
            Value::List(items) => items.to_vec(),
            single => vec![single.clone()],
        };
        for value in all {
            match value.as_map().cloned().or_else(|| value.as_str().and_then(dictionary).and_then(|value| value.as_map().cloned())) {
                Some(mut map) => check(suboptions, Some(rules), &mut map, &path, wrong),
                None => wrong.errors.push(format!("value of '{name}' must be of type dict or list of dicts")),
            }
        }
    }
}

fn found_in(path: &[String]) -> String {
    if path.is_empty() { String::new() } else { format!(" found in {}", path.join(" -> ")) }
}

fn found_in_quoted(path: &[String]) -> String {
    if path.is_empty() { String::new() } else { format!(" found in '{}'", path.join(" -> ")) }
}

fn is_given(given: &Map, name: &str) -> bool {
    given.get(name).is_some_and(|value| !value.is_null())
}

fn flag(option: &Value, name: &str) -> bool {
    option.get(name).and_then(arguments::to_bool) == Some(true)
}

/// Returns the texts of a list, or the one text.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::List(items) => items.iter().map(ToString::to_string).collect(),
        Value::Null => Vec::new(),
        single => vec![single.to_string()],
    }
}

/// Returns groups of names: a list of lists, or one list.
fn groups(rules: &Map, name: &str) -> Vec<Vec<String>> {
    match rules.get(name).and_then(Value::as_list) {
        Some(items) if items.iter().all(|item| item.as_list().is_some()) => items.iter().map(texts).collect(),
        Some(items) => vec![items.iter().map(ToString::to_string).collect()],
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(options: &str, given: &str) -> Vec<String> {
        let map = |text: &str| {
            let json: serde_json::Value = serde_json::from_str(text).expect("JSON");
            crate::value::json::from_json(&json).as_map().cloned().expect("a dictionary")
        };
        errors(&map(options), &map(given))
    }

    #[test]
    fn what_is_missing_or_of_another_kind_is_told() {
        let options = r#"{"a": {"type": "int", "required": true}, "b": {"required": true}, "c": {"type": "list", "elements": "int"},
            "d": {"choices": ["x", "y"], "default": "x"}, "e": {"type": "bool"}, "f": {"type": "dict"}}"#;
        assert_eq!(wrong(options, r#"{"e": null}"#), ["missing required arguments: a, b"]);
        assert!(wrong(options, r#"{"a": "5", "b": 1, "c": "1,2", "d": "y", "e": "yes", "f": "k=v"}"#).is_empty());
        assert_eq!(
            wrong(options, r#"{"a": null, "b": "", "c": {"k": 1}, "d": "z", "e": "maybe", "f": "k"}"#),
            [
                "argument 'a' is of type NoneType and we were unable to convert to int: \"None\" cannot be converted to an int",
                "argument 'c' is of type dict and we were unable to convert to list: <class 'dict'> cannot be converted to a list",
                "argument 'e' is of type str and we were unable to convert to bool: The value 'maybe' is not a valid boolean.",
                "argument 'f' is of type str and we were unable to convert to dict: dictionary requested, could not parse JSON or key=value",
                "value of d must be one of: x, y, got: z",
            ]
        );
        assert_eq!(wrong(options, r#"{"a": 1, "b": 1, "c": ["x"]}"#).len(), 1);
    }

    #[test]
    fn dictionaries_have_options_and_rules_of_their_own() {
        let options = r#"{"o": {"type": "dict", "required_together": [["p", "q"]], "mutually_exclusive": [["p", "r"]],
            "options": {"p": {}, "q": {"type": "int"}, "r": {}, "s": {"type": "list", "elements": "dict", "options": {"t": {"required": true}}}}}}"#;
        assert_eq!(wrong(options, r#"{"o": {"p": 1}}"#), ["parameters are required together: p, q found in o"]);
        assert_eq!(wrong(options, r#"{"o": {"p": 1, "q": 2, "r": 3}}"#), ["parameters are mutually exclusive: p|r found in o"]);
        assert_eq!(
            wrong(options, r#"{"o": {"q": "x", "s": [{"u": 1}]}}"#),
            [
                "argument 'q' is of type str found in 'o'. and we were unable to convert to int: \"'x'\" cannot be converted to an int",
                "parameters are required together: p, q found in o",
                "missing required arguments: t found in o -> s",
                "o.s.u. Supported parameters include: t.",
            ]
        );
    }
}
