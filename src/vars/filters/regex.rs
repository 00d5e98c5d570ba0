//! Regular expressions as Python has them.

use std::cell::RefCell;
use std::collections::HashMap;

use fancy_regex::{Captures, Regex, RegexBuilder};

use crate::value::Value;
use crate::vars::template::live::{Outcome, fail};

use super::{Call, Filter, known};

pub(super) const FILTERS: &[Filter] =
    &[known("regex_replace", replace), known("regex_search", search), known("regex_findall", find_all), known("regex_escape", escape)];

thread_local! {
    static COMPILED: RefCell<HashMap<(String, [bool; 3]), Regex>> = RefCell::default();
}

/// Returns a compiled pattern; each is compiled once a thread.
pub(in crate::vars) fn compiled(pattern: &str, ignorecase: bool, multiline: bool, dotall: bool) -> Outcome<Regex> {
    let key = (pattern.to_owned(), [ignorecase, multiline, dotall]);
    if let Some(known) = COMPILED.with_borrow(|known| known.get(&key).cloned()) {
        return Ok(known);
    }
    let flags: String = [(ignorecase, 'i'), (multiline, 'm'), (dotall, 's')].iter().filter(|(on, _)| *on).map(|(_, flag)| *flag).collect();
    let mut text = translated(pattern);
    if !flags.is_empty() {
        text = format!("(?{flags}){text}");
    }
    match RegexBuilder::new(&text).backtrack_limit(5_000_000).build() {
        Ok(regex) => {
            COMPILED.with_borrow_mut(|known| {
                if known.len() > 1000 {
                    known.clear();
                }
                known.insert(key, regex.clone());
            });
            Ok(regex)
        }
        Err(error) => fail(format!("`{pattern}` is no regular expression: {error}")),
    }
}

/// Writes what Python's patterns say in another way than ours: `\Z`, a `$` before a last newline, a bare `{` or `[` in a set.
fn translated(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars().peekable();
    let mut set = false;
    let mut set_start = false;
    while let Some(c) = chars.next() {
        let at_start = std::mem::take(&mut set_start);
        match c {
            '\\' => match chars.next() {
                Some('Z') if !set => out.push_str("\\z"),
                // Escapes that mean the character itself in Python.
                Some(next) if !next.is_ascii_alphanumeric() && !is_special(next) => {
                    if next == ' ' || next.is_ascii_control() || !next.is_ascii() || "\"'`,;:=!@%<>/_".contains(next) {
                        out.push(next);
                    } else {
                        out.push('\\');
                        out.push(next);
                    }
                }
                Some(next) => {
                    out.push('\\');
                    out.push(next);
                }
                None => out.push('\\'),
            },
            '[' if !set => {
                set = true;
                set_start = true;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    chars.next();
                    out.push('^');
                }
                if chars.peek() == Some(&']') {
                    chars.next();
                    out.push_str("\\]");
                }
            }
            '[' => out.push_str("\\["),
            ']' if set && !at_start => {
                set = false;
                out.push(']');
            }
            '&' | '~' if set => {
                out.push('\\');
                out.push(c);
            }
            '{' if !set && !is_count(chars.clone()) => out.push_str("\\{"),
            '}' if !set && !out_has_open_count(&out) => out.push_str("\\}"),
            other => out.push(other),
        }
    }
    out
}

fn is_special(c: char) -> bool {
    ".^$*+?()[]{}|\\-#&~".contains(c)
}

/// Whether what follows a `{` makes it a count, such as `2,3}`.
fn is_count(mut rest: std::iter::Peekable<std::str::Chars<'_>>) -> bool {
    let mut any = false;
    loop {
        match rest.next() {
            Some(c) if c.is_ascii_digit() => any = true,
            Some(',') => {}
            Some('}') => return any,
            _ => return false,
        }
    }
}

fn out_has_open_count(out: &str) -> bool {
    out.rfind('{').is_some_and(|at| !out[..at].ends_with('\\') && !out[at..].contains('}'))
        || out.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && {
            // A name such as `\p{L` or `\x{41`.
            out.rfind("{").is_some_and(|at| {
                out[..at].ends_with(|c: char| c.is_ascii_alphabetic())
                    && out[..at].rfind('\\').is_some_and(|slash| slash + 2 == at)
                    && !out[at..].contains('}')
            })
        }
}

fn failed<T>(call: &Call<'_, '_>, error: &fancy_regex::Error) -> Outcome<T> {
    fail(format!("`{}`: the pattern took too long or cannot be used: {error}", call.name))
}

/// Writes a replacement as Python's `expand` does: `\1`, `\g<name>`, `\n`.
fn expand(template: &str, captures: &Captures<'_>) -> Outcome<String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(c) = rest.chars().next() else {
            out.push('\\');
            break;
        };
        if c == '0' {
            // Octal, as in Python: `\\0` is no group.
            let digits: String = rest.chars().take(3).take_while(|c| ('0'..='7').contains(c)).collect();
            out.extend(u32::from_str_radix(&digits, 8).ok().and_then(char::from_u32));
            rest = &rest[digits.len()..];
        } else if c.is_ascii_digit() {
            let digits: String = rest.chars().take(2).take_while(char::is_ascii_digit).collect();
            let number: usize = digits.parse().unwrap_or(0);
            if number >= captures.len() {
                return fail(format!("the replacement names group {number}, which the pattern does not have"));
            }
            out.push_str(captures.get(number).map_or("", |group| group.as_str()));
            rest = &rest[digits.len()..];
        } else if let Some((name, after)) = rest.strip_prefix("g<").and_then(|rest| rest.split_once('>')) {
            let group = match name.parse::<usize>() {
                Ok(number) if number < captures.len() => captures.get(number),
                Ok(number) => return fail(format!("the replacement names group {number}, which the pattern does not have")),
                Err(_) => captures.name(name),
            };
            out.push_str(group.map_or("", |group| group.as_str()));
            rest = after;
        } else {
            match c {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                '\\' => out.push('\\'),
                other => {
                    out.push('\\');
                    out.push(other);
                }
            }
            rest = &rest[c.len_utf8()..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn replace(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let text = call.printed();
    let pattern = call.text_or(0, "pattern", "")?;
    let replacement = call.text_or(1, "replacement", "")?;
    let (ignorecase, multiline) = (call.flag(2, "ignorecase", false)?, call.flag(3, "multiline", false)?);
    let count = call.size(4, "count", 0)?;
    let mandatory = call.size(5, "mandatory_count", 0)?;
    let regex = compiled(&pattern, ignorecase, multiline, false)?;
    let mut out = String::new();
    let (mut last, mut done) = (0, 0);
    for found in regex.captures_iter(&text) {
        let captures = match found {
            Ok(captures) => captures,
            Err(error) => return failed(call, &error),
        };
        let Some(whole) = captures.get(0) else { continue };
        out.push_str(&text[last..whole.start()]);
        out.push_str(&expand(&replacement, &captures)?);
        last = whole.end();
        done += 1;
        if count > 0 && done == count {
            break;
        }
    }
    if done < mandatory {
        return fail(format!("`regex_replace` was to replace {mandatory} times, and `{pattern}` matches {done} times"));
    }
    out.push_str(&text[last..]);
    Ok(Value::from(out))
}

fn search(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let text = call.printed();
    let pattern = call.text_or(0, "regex", "")?;
    let (mut ignorecase, mut multiline) = (false, false);
    for (name, value) in call.named() {
        let on = crate::vars::template::operators::plain_truth(&value);
        match &*name {
            "ignorecase" => ignorecase = on,
            "multiline" => multiline = on,
            other => return fail(format!("the filter `regex_search` has no argument `{other}`")),
        }
    }
    let groups = call.rest(1);
    let regex = compiled(&pattern, ignorecase, multiline, false)?;
    let groups = groups.iter().map(|group| group_named(&group.to_string())).collect::<Outcome<Vec<_>>>()?;
    let captures = match regex.captures(&text) {
        Ok(Some(captures)) => captures,
        Ok(None) => return Ok(Value::Null),
        Err(error) => return failed(call, &error),
    };
    if groups.is_empty() {
        return Ok(captures.get(0).map_or(Value::Null, |whole| Value::str(whole.as_str())));
    }
    let mut out = Vec::new();
    for group in groups {
        let (known, found) = match &group {
            Ok(number) => (*number < captures.len(), captures.get(*number)),
            Err(name) => (regex.capture_names().any(|known| known == Some(name)), captures.name(name)),
        };
        if !known {
            let name = group.map_or_else(|name| name, |number| number.to_string());
            return fail(format!("`regex_search`: the pattern has no group `{name}`"));
        }
        out.push(found.map_or(Value::Null, |group| Value::str(group.as_str())));
    }
    Ok(Value::list(out))
}

/// Reads `\\1` or `\\g<name>`.
fn group_named(group: &str) -> Outcome<Result<usize, String>> {
    if let Some(name) = group.strip_prefix("\\g<").and_then(|name| name.strip_suffix('>')) {
        return Ok(name.parse().map_err(|_| name.to_owned()));
    }
    match group.strip_prefix('\\').and_then(|number| number.parse().ok()) {
        Some(number) => Ok(Ok(number)),
        None => fail(format!("`regex_search` names groups as `\\1` or `\\g<name>`, not `{group}`")),
    }
}

fn find_all(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let text = call.printed();
    let pattern = call.text_or(0, "regex", "")?;
    let multiline = call.flag(1, "multiline", false)?;
    let ignorecase = call.flag(2, "ignorecase", false)?;
    let regex = compiled(&pattern, ignorecase, multiline, false)?;
    let mut out = Vec::new();
    for found in regex.captures_iter(&text) {
        let captures = match found {
            Ok(captures) => captures,
            Err(error) => return failed(call, &error),
        };
        let group = |at: usize| Value::str(captures.get(at).map_or("", |group| group.as_str()));
        out.push(match captures.len() {
            1 => group(0),
            2 => group(1),
            count => Value::list((1..count).map(group)),
        });
    }
    Ok(Value::list(out))
}

fn escape(call: &mut Call<'_, '_>) -> Outcome<Value> {
    let kind = call.text_or(0, "re_type", "python")?;
    let special = match kind.as_str() {
        "python" => "()[]{}?*+-|^$\\.&~# \t\n\r\u{b}\u{c}",
        "posix_basic" => "[]\\.*^$",
        other => return fail(format!("`re_type` is python or posix_basic, not `{other}`")),
    };
    let mut out = String::new();
    for c in call.printed().chars() {
        if special.contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    Ok(Value::from(out))
}
