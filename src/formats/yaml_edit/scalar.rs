//! Values as YAML text on one line.

use super::key_text;
use crate::value::{Key, Value};

pub(super) fn scalar_text(value: &Value) -> String {
    match value {
        Value::Bool(true) => "true".to_owned(),
        Value::Bool(false) => "false".to_owned(),
        Value::Null => "null".to_owned(),
        other => other.to_string(),
    }
}

/// Returns the value on one line. `quote` is how the old one was quoted.
pub(super) fn inline(value: &Value, quote: Option<char>, in_flow: bool) -> String {
    match value {
        Value::List(items) => format!(
            "[{}]",
            items.iter().map(|item| inline(item, quote.filter(|c| "'\"".contains(*c)), true)).collect::<Vec<_>>().join(", ")
        ),
        Value::Map(map) => {
            let entry =
                |(key, value): (&Key, &Value)| format!("{}: {}", text_scalar(&key_text(key), None, true), inline(value, None, true));
            format!("{{{}}}", map.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Str(text) => text_scalar(text, quote, in_flow),
        other => match quote {
            Some(quote @ ('\'' | '"')) if !matches!(other, Value::Null) => format!("{quote}{}{quote}", scalar_text(other)),
            _ => scalar_text(other),
        },
    }
}

pub(super) fn text_scalar(text: &str, quote: Option<char>, in_flow: bool) -> String {
    let simple = !text.chars().any(char::is_control);
    match quote {
        Some('\'') if simple => format!("'{}'", text.replace('\'', "''")),
        None if simple && is_plain(text, in_flow) => text.to_owned(),
        _ => double_quoted(text),
    }
}

fn double_quoted(text: &str) -> String {
    let mut out = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            letter if letter.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(letter))),
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// Whether a text can stand without quotes and is still read as that text.
fn is_plain(text: &str, in_flow: bool) -> bool {
    let words = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "~", ".nan", ".inf"];
    let number_like = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text.chars().all(|c| c.is_ascii_hexdigit() || "+-._:xoXO".contains(c) || c == 'T' || c == 'Z')
        && (text.parse::<f64>().is_ok() || !text.contains('.') || text.contains(':'));
    !text.is_empty()
        && text.trim() == text
        && !text.starts_with(|c: char| "-?:,[]{}#&*!|>'\"%@`=<".contains(c))
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with(':')
        && !(in_flow && text.contains([',', '[', ']', '{', '}', ':']))
        && !words.contains(&text.to_ascii_lowercase().as_str())
        && !number_like
}
