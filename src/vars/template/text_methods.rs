//! Python's methods of texts.

use std::rc::Rc;

use crate::value::Value;

use super::Evaluator;
use super::call::Arguments;
use super::live::{Live, Outcome, fail};

pub(super) const NAMES: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
];

/// Arguments of a text's method, taken in turn.
struct Given<'a, 'e> {
    run: &'a Evaluator<'e>,
    arguments: Arguments,
    method: &'a str,
}

impl Given<'_, '_> {
    fn value(&mut self, index: usize, name: &str) -> Outcome<Option<Value>> {
        self.arguments.take(index, name).map(|value| self.run.known(&value)).transpose()
    }

    fn text(&mut self, index: usize, name: &str) -> Outcome<Option<String>> {
        match self.value(index, name)? {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Str(text)) => Ok(Some(text.to_string())),
            Some(other) => fail(format!("`{}` takes a text, not {}", self.method, other.type_name())),
        }
    }

    fn needed(&mut self, index: usize, name: &str) -> Outcome<String> {
        match self.text(index, name)? {
            Some(text) => Ok(text),
            None => fail(format!("`{}` takes a text", self.method)),
        }
    }

    fn int(&mut self, index: usize, name: &str) -> Outcome<Option<i64>> {
        match self.value(index, name)? {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Int(number)) => Ok(Some(number)),
            Some(Value::Bool(flag)) => Ok(Some(i64::from(flag))),
            Some(other) => fail(format!("`{}` takes a whole number, not {}", self.method, other.type_name())),
        }
    }

    /// Returns one text, or the texts of a tuple.
    fn texts(&mut self, index: usize) -> Outcome<Vec<String>> {
        match self.value(index, "prefix")? {
            Some(Value::Str(text)) => Ok(vec![text.to_string()]),
            Some(Value::List(items)) => Ok(items.iter().map(ToString::to_string).collect()),
            _ => fail(format!("`{}` takes a text or a tuple of texts", self.method)),
        }
    }
}

fn texts(items: impl IntoIterator<Item = impl AsRef<str>>) -> Outcome<Live> {
    Ok(Live::Value(Value::list(items.into_iter().map(Value::str))))
}

fn text(text: impl Into<String>) -> Outcome<Live> {
    Ok(Live::Value(Value::from(text.into())))
}

fn flag(flag: bool) -> Outcome<Live> {
    Ok(Live::Value(Value::Bool(flag)))
}

/// Calls a method of `subject`.
pub(super) fn call(run: &Evaluator<'_>, subject: &str, method: &str, arguments: Arguments) -> Outcome<Live> {
    if method == "format" {
        return super::format::braces(run, subject, &arguments.positional, &arguments.named).map(Live::str);
    }
    let mut given = Given { run, arguments, method };
    match method {
        "upper" => text(subject.to_uppercase()),
        "lower" | "casefold" => text(subject.to_lowercase()),
        "capitalize" => text(capitalized(subject)),
        "title" => text(titled(subject)),
        "swapcase" => text(
            subject
                .chars()
                .map(|c| if c.is_uppercase() { c.to_lowercase().to_string() } else { c.to_uppercase().to_string() })
                .collect::<String>(),
        ),
        "strip" | "lstrip" | "rstrip" => {
            let chars = given.text(0, "chars")?;
            text(stripped(subject, chars.as_deref(), method != "rstrip", method != "lstrip"))
        }
        "split" | "rsplit" => {
            let separator = given.text(0, "sep")?;
            let most = given.int(1, "maxsplit")?.and_then(|most| usize::try_from(most).ok());
            texts(split(subject, separator.as_deref(), most, method == "rsplit")?)
        }
        "splitlines" => {
            let keep = matches!(given.value(0, "keepends")?, Some(Value::Bool(true) | Value::Int(1)));
            texts(lines(subject, keep))
        }
        "partition" | "rpartition" => {
            let separator = given.needed(0, "sep")?;
            if separator.is_empty() {
                return fail(format!("`{method}` takes a separator that is not empty"));
            }
            let found = if method == "partition" { subject.split_once(&separator) } else { subject.rsplit_once(&separator) };
            let parts = match found {
                Some((a, b)) => [a, &separator, b],
                None if method == "partition" => [subject, "", ""],
                None => ["", "", subject],
            };
            Ok(Live::Tuple(Rc::new(parts.into_iter().map(Live::str).collect())))
        }
        "join" => {
            let Some(items) = given.arguments.take(0, "iterable") else { return fail("`join` takes a list of texts") };
            let mut parts = Vec::new();
            for (at, item) in run.iterate(&items)?.iter().enumerate() {
                match run.known(item)? {
                    Value::Str(part) => parts.push(part),
                    other => return fail(format!("`join` takes texts; item {at} is {}", other.type_name())),
                }
            }
            text(parts.join(subject))
        }
        "replace" => {
            let (old, new) = (given.needed(0, "old")?, given.text(1, "new")?.unwrap_or_default());
            match given.int(2, "count")?.and_then(|count| usize::try_from(count).ok()) {
                Some(count) => text(subject.replacen(&old, &new, count)),
                None => text(subject.replace(&old, &new)),
            }
        }
        "startswith" => flag(given.texts(0)?.iter().any(|prefix| subject.starts_with(prefix.as_str()))),
        "endswith" => flag(given.texts(0)?.iter().any(|suffix| subject.ends_with(suffix.as_str()))),
        "removeprefix" => {
            let prefix = given.needed(0, "prefix")?;
            text(subject.strip_prefix(prefix.as_str()).unwrap_or(subject))
        }
        "removesuffix" => {
            let suffix = given.needed(0, "suffix")?;
            text(subject.strip_suffix(suffix.as_str()).unwrap_or(subject))
        }
        "find" | "rfind" | "index" | "rindex" | "count" => search(subject, &mut given),
        "ljust" | "rjust" | "center" | "zfill" => pad(subject, &mut given),
        "expandtabs" => text(subject.replace('\t', &" ".repeat(usize::try_from(given.int(0, "tabsize")?.unwrap_or(8)).unwrap_or(0)))),
        "encode" => text(subject),
        "format_map" => {
            let Some(map) = given.arguments.take(0, "mapping") else { return fail("`format_map` takes a dictionary") };
            let Value::Map(map) = run.known(&map)? else { return fail("`format_map` takes a dictionary") };
            let named: Vec<_> = map.iter().map(|(key, value)| (key.to_string().into(), Live::Value(value.clone()))).collect();
            super::format::braces(run, subject, &[], &named).map(Live::str)
        }
        "translate" => fail("the method `translate` is not supported; use `replace` or `regex_replace`"),
        _ => is(subject, method),
    }
}

fn is(subject: &str, method: &str) -> Outcome<Live> {
    let all = |test: fn(char) -> bool| flag(!subject.is_empty() && subject.chars().all(test));
    let cased = |upper: bool| {
        let mut any = false;
        let right = subject.chars().all(|c| {
            any |= c.is_uppercase() || c.is_lowercase();
            if upper { !c.is_lowercase() } else { !c.is_uppercase() }
        });
        flag(any && right)
    };
    match method {
        "isdigit" | "isdecimal" | "isnumeric" => all(char::is_numeric),
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(char::is_alphanumeric),
        "isspace" => all(char::is_whitespace),
        "isascii" => flag(subject.is_ascii()),
        "isprintable" => flag(!subject.chars().any(char::is_control)),
        "islower" => cased(false),
        "isupper" => cased(true),
        "istitle" => flag(subject.chars().any(char::is_alphabetic) && titled(subject) == subject),
        "isidentifier" => {
            let first = subject.chars().next().is_some_and(|c| c == '_' || c.is_alphabetic());
            flag(first && subject.chars().all(|c| c == '_' || c.is_alphanumeric()))
        }
        _ => fail(format!("str has no method `{method}`")),
    }
}

fn search(subject: &str, given: &mut Given<'_, '_>) -> Outcome<Live> {
    let part = given.needed(0, "sub")?;
    let chars: Vec<char> = subject.chars().collect();
    let length = i64::try_from(chars.len()).unwrap_or(0);
    let clamp = |at: i64| usize::try_from((if at < 0 { at + length } else { at }).clamp(0, length)).unwrap_or(0);
    let start = given.int(1, "start")?.map_or(0, clamp);
    let end = given.int(2, "end")?.map_or(chars.len(), clamp);
    let within: String = chars.get(start..end).unwrap_or_default().iter().collect();
    if given.method == "count" {
        let count = if part.is_empty() { within.chars().count() + 1 } else { within.matches(part.as_str()).count() };
        return Ok(Value::from(count).into());
    }
    let found = if given.method.starts_with('r') { within.rfind(part.as_str()) } else { within.find(part.as_str()) };
    match found {
        Some(at) => Ok(Value::from(start + within.get(..at).unwrap_or_default().chars().count()).into()),
        None if given.method.ends_with("find") => Ok(Value::Int(-1).into()),
        None => fail(format!("`{}` takes a text that is in the other", given.method)),
    }
}

fn pad(subject: &str, given: &mut Given<'_, '_>) -> Outcome<Live> {
    let width = usize::try_from(given.int(0, "width")?.unwrap_or(0)).unwrap_or(0).min(1_000_000);
    let length = subject.chars().count();
    let missing = width.saturating_sub(length);
    if given.method == "zfill" {
        let (sign, digits) = match subject.strip_prefix(['-', '+']) {
            Some(digits) => (&subject[..1], digits),
            None => ("", subject),
        };
        return text(format!("{sign}{}{digits}", "0".repeat(missing)));
    }
    let fill = given.text(1, "fillchar")?.unwrap_or_else(|| " ".to_owned());
    let left = match given.method {
        "ljust" => 0,
        "rjust" => missing,
        _ => missing / 2 + (missing & width & 1),
    };
    text(format!("{}{subject}{}", fill.repeat(left), fill.repeat(missing - left)))
}

/// Returns `text` with its first letter large and the others small.
pub(in crate::vars) fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + &chars.as_str().to_lowercase())
}

fn titled(text: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase())
        } else {
            out.extend(c.to_uppercase())
        }
        inside = c.is_alphabetic();
    }
    out
}

/// Strips white space, or any of `chars`.
pub(in crate::vars) fn stripped<'t>(text: &'t str, chars: Option<&str>, left: bool, right: bool) -> &'t str {
    let drop = |c: char| chars.map_or_else(|| c.is_whitespace(), |chars| chars.contains(c));
    let text = if left { text.trim_start_matches(drop) } else { text };
    if right { text.trim_end_matches(drop) } else { text }
}

/// Splits as Python's `split` and `rsplit`.
pub(in crate::vars) fn split(text: &str, separator: Option<&str>, most: Option<usize>, from_right: bool) -> Outcome<Vec<String>> {
    if separator == Some("") {
        return fail("`split` takes a separator that is not empty");
    }
    let owned = |parts: Vec<&str>| parts.into_iter().map(str::to_owned).collect();
    let Some(most) = most else {
        return Ok(match separator {
            Some(separator) => owned(text.split(separator).collect()),
            None => owned(text.split_whitespace().collect()),
        });
    };
    Ok(match (separator, from_right) {
        (Some(separator), false) => owned(text.splitn(most + 1, separator).collect()),
        (Some(separator), true) => {
            let mut parts: Vec<_> = text.rsplitn(most + 1, separator).collect();
            parts.reverse();
            owned(parts)
        }
        (None, false) => {
            let mut parts = Vec::new();
            let mut rest = text.trim_start();
            while !rest.is_empty() && parts.len() < most {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                parts.push(rest[..end].to_owned());
                rest = rest[end..].trim_start();
            }
            if !rest.is_empty() {
                parts.push(rest.to_owned());
            }
            parts
        }
        (None, true) => {
            let mut parts = Vec::new();
            let mut rest = text.trim_end();
            while !rest.is_empty() && parts.len() < most {
                let start = rest.rfind(char::is_whitespace).map_or(0, |at| at + rest[at..].chars().next().map_or(1, char::len_utf8));
                parts.push(rest[start..].to_owned());
                rest = rest[..start].trim_end();
            }
            if !rest.is_empty() {
                parts.push(rest.to_owned());
            }
            parts.reverse();
            parts
        }
    })
}

/// Splits into lines as Python's `splitlines`.
pub(in crate::vars) fn lines(text: &str, keep: bool) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let at = rest.find(['\n', '\r', '\x0b', '\x0c', '\u{85}', '\u{2028}', '\u{2029}']);
        let Some(at) = at else {
            out.push(rest.to_owned());
            break;
        };
        let end = if rest[at..].starts_with("\r\n") { at + 2 } else { at + rest[at..].chars().next().map_or(1, char::len_utf8) };
        out.push(rest[..if keep { end } else { at }].to_owned());
        rest = &rest[end..];
    }
    out
}
