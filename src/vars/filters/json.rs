//! Filters from and to JSON and YAML, as Python writes them.

use std::fmt::Write as _;

use crate::value::{Key, Value, json, python_float};
use crate::vars::template::live::{Outcome, fail};

use super::{Call, Filter, known};

pub(super) const FILTERS: &[Filter] = &[
    known("to_json", to_json),
    known("to_nice_json", to_nice_json),
    known("tojson", tojson),
    known("from_json", from_json),
    known("to_yaml", |call| to_yaml(call, false)),
    known("to_nice_yaml", |call| to_yaml(call, true)),
    known("from_yaml", from_yaml),
    known("from_yaml_all", from_yaml_all),
    known("from_toml", from_toml),
];

/// How to write JSON.
struct Style {
    indent: Option<String>,
    sort: bool,
    ascii: bool,
    item_separator: String,
    key_separator: String,
}

fn style(call: &mut Call<'_, '_>, indent: Option<usize>, sort: bool) -> Outcome<Style> {
    let mut style = Style {
        indent: indent.map(|indent| " ".repeat(indent)),
        sort,
        ascii: true,
        item_separator: String::new(),
        key_separator: ": ".to_owned(),
    };
    let mut separators = None;
    if let Some(indent) = call.argument(0, "indent") {
        style.indent = indent_of(&indent);
    }
    if let Some(sort) = call.argument(1, "sort_keys") {
        style.sort = crate::vars::template::operators::plain_truth(&sort);
    }
    for (name, value) in call.named() {
        match &*name {
            "ensure_ascii" => style.ascii = crate::vars::template::operators::plain_truth(&value),
            "separators" => separators = value.as_list().map(<[Value]>::to_vec),
            "vault_to_text" | "preprocess_unsafe" | "default" | "cls" | "skipkeys" | "check_circular" | "allow_nan" => {}
            other => return fail(format!("the filter `{}` has no argument `{other}`", call.name)),
        }
    }
    style.item_separator = if style.indent.is_some() { "," } else { ", " }.to_owned();
    if let Some([item, key]) = separators.as_deref() {
        style.item_separator = item.to_string();
        style.key_separator = key.to_string();
    }
    Ok(style)
}

fn indent_of(value: &Value) -> Option<String> {
    match value {
        Value::Int(count) => Some(" ".repeat(usize::try_from(*count).unwrap_or(0))),
        Value::Str(text) => Some(text.to_string()),
        _ => None,
    }
}

fn to_json(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let style = style(call, None, false)?;
    Ok(Value::from(dumps(&call.subject, &style)))
}

fn to_nice_json(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let style = style(call, Some(4), true)?;
    Ok(Value::from(dumps(&call.subject, &style)))
}

fn tojson(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let style = style(call, None, true)?;
    let text = dumps(&call.subject, &style);
    Ok(Value::from(text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026").replace('\'', "\\u0027")))
}

fn dumps(value: &Value, style: &Style) -> String {
    let mut out = String::new();
    write(&mut out, value, style, 0);
    out
}

fn write(out: &mut String, value: &Value, style: &Style, depth: usize) {
    let line = |out: &mut String, depth: usize| {
        if let Some(indent) = &style.indent {
            out.push('\n');
            out.push_str(&indent.repeat(depth));
        }
    };
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Int(number) => drop(write!(out, "{number}")),
        Value::Float(number) if number.is_nan() => out.push_str("NaN"),
        Value::Float(number) if number.is_infinite() => out.push_str(if *number > 0.0 { "Infinity" } else { "-Infinity" }),
        Value::Float(number) => out.push_str(&python_float(*number)),
        Value::List(items) if items.is_empty() => out.push_str("[]"),
        Value::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push_str(&style.item_separator);
                }
                line(out, depth + 1);
                write(out, item, style, depth + 1);
            }
            line(out, depth);
            out.push(']');
        }
        Value::Map(map) if map.is_empty() => out.push_str("{}"),
        Value::Map(map) => {
            let mut entries: Vec<(&Key, &Value)> = map.iter().collect();
            if style.sort {
                entries.sort_by_key(|(a, _)| *a);
            }
            out.push('{');
            for (at, (key, item)) in entries.into_iter().enumerate() {
                if at > 0 {
                    out.push_str(&style.item_separator);
                }
                line(out, depth + 1);
                quote(out, &json::key_text(key), style.ascii);
                out.push_str(&style.key_separator);
                write(out, item, style, depth + 1);
            }
            line(out, depth);
            out.push('}');
        }
        other => quote(out, &other.to_string(), style.ascii),
    }
}

fn quote(out: &mut String, text: &str, ascii: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 => drop(write!(out, "\\u{:04x}", c as u32)),
            c if ascii && !c.is_ascii() => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn from_json(call: &mut Call<'_, '_>) -> Outcome<Value> {
    call.named();
    let text = match &call.subject {
        Value::Str(text) => text.to_string(),
        other => return fail(format!("`from_json` takes a text, not {}", other.type_name())),
    };
    match serde_json::from_str(&text) {
        Ok(parsed) => Ok(json::from_json(&parsed)),
        Err(error) => {
            let whole = without_lone_surrogates(&text);
            match serde_json::from_str(&whole) {
                // Python would keep halves of characters; they cannot be written anywhere, though.
                Ok(_) if call.run.engine.world().env("ANSIBLE_MODULE_STRICT_UTF8_RESPONSE").is_none_or(|strict| is_on(&strict)) => {
                    fail("half of a character is in this JSON.\nRefusing to deserialize an invalid UTF8 string value")
                }
                Ok(parsed) => Ok(json::from_json(&parsed)),
                Err(_) => fail(format!("this is not JSON: {error}")),
            }
        }
    }
}

fn is_on(text: &str) -> bool {
    crate::value::arguments::to_bool(&Value::str(text)) != Some(false)
}

/// Returns JSON with `?` for each escape that is half of a character alone.
fn without_lone_surrogates(text: &str) -> String {
    static PAIR_OR_HALF: std::sync::LazyLock<Option<regex::Regex>> = std::sync::LazyLock::new(|| {
        regex::Regex::new(r"(?i)\\\\|(\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2})|(\\ud[89a-f][0-9a-f]{2})").ok()
    });
    let Some(pattern) = &*PAIR_OR_HALF else { return text.to_owned() };
    let replaced = pattern.replace_all(text, |found: &regex::Captures<'_>| match found.get(2) {
        Some(_) => "?".to_owned(),
        None => found[0].to_owned(),
    });
    replaced.into_owned()
}

fn to_yaml(call: &mut Call<'_, '_>, nice: bool) -> Outcome<Value> {
    let mut style =
        crate::vars::filters::yaml::Style { indent: if nice { 4 } else { 2 }, block: nice.then_some(true), ..Default::default() };
    if let Some(indent) = call.int(0, "indent")? {
        style.indent = usize::try_from(indent).unwrap_or(2);
    }
    for (name, value) in call.named() {
        match &*name {
            "sort_keys" => style.sort_keys = crate::vars::template::operators::plain_truth(&value),
            "width" => {
                style.width = match value {
                    Value::Int(width) => usize::try_from(width).unwrap_or(80),
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                    Value::Float(width) => width.min(1e9) as usize,
                    other => return fail(format!("`width` is a number, not {}", other.type_name())),
                }
            }
            "default_flow_style" => style.block = value.as_bool().map(|flow| !flow),
            "allow_unicode" | "explicit_start" | "explicit_end" | "default_style" | "canonical" | "line_break" | "encoding" | "version"
            | "tags" => {}
            other => return fail(format!("the filter `{}` has no argument `{other}`", call.name)),
        }
    }
    Ok(Value::from(crate::vars::filters::yaml::write(&call.subject, &style)))
}

fn from_toml(call: &mut Call<'_, '_>) -> Outcome<Value> {
    fn plain(value: toml::Value) -> Value {
        match value {
            toml::Value::String(text) => Value::from(text),
            toml::Value::Integer(number) => Value::Int(number),
            toml::Value::Float(number) => Value::Float(number),
            toml::Value::Boolean(flag) => Value::Bool(flag),
            toml::Value::Datetime(moment) => Value::from(moment.to_string()),
            toml::Value::Array(items) => Value::list(items.into_iter().map(plain)),
            toml::Value::Table(table) => Value::map(table.into_iter().map(|(key, item)| (key, plain(item)))),
        }
    }
    match toml::from_str::<toml::Table>(&call.subject_text()?) {
        Ok(table) => Ok(plain(toml::Value::Table(table))),
        Err(error) => fail(format!("`from_toml`: this is no TOML: {}", error.message())),
    }
}

fn from_yaml(call: &mut Call<'_, '_>) -> Outcome<Value> {
    match &call.subject {
        Value::Str(text) => super::yaml::read(text).map(|documents| documents.into_iter().next().unwrap_or(Value::Null)),
        other => Ok(other.clone()),
    }
}

fn from_yaml_all(call: &mut Call<'_, '_>) -> Outcome<Value> {
    match &call.subject {
        Value::Str(text) => super::yaml::read(text).map(Value::list),
        Value::Null => Ok(Value::list([])),
        other => Ok(other.clone()),
    }
}
