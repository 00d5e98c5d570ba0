//! Edits settings in a YAML text and leaves everything else as it is: comments, order, quotes, indentation.
//!
//! A setting is named by its dotted path. `cluster.name: x`, `cluster: {name: x}` and any mixture are the same setting.
//! Each edit changes a few bytes of the text, which is then read anew; the last step checks that the text now says what
//! was asked, so a text that is too odd to be edited is refused instead of damaged.

use crate::value::{Key, Map, Value};

mod scalar;
mod tree;

use scalar::{inline, scalar_text, text_scalar};
use tree::{Content, Node, after_colon, entry, entry_end, is_empty, leaves, map_at, parse};

/// Why a text cannot be edited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum YamlEditError {
    /// It is no YAML, or not the kind that has settings.
    #[error("{0}")]
    Unreadable(String),
    /// It is YAML, but written in a way that cannot be edited safely.
    #[error("`{0}` is written in a way that cannot be edited safely; change it by hand once")]
    TooOdd(String),
    /// A value cannot be written.
    #[error("{0}")]
    Unfit(String),
}

/// What came of an edit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// The new text; the old one, byte by byte, where nothing had to change.
    pub text: String,
    /// Settings that were set, by dotted name.
    pub set: Vec<String>,
    /// Settings that were removed, by dotted name.
    pub removed: Vec<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Sets and removes settings in `text`. `settings` may be nested or dotted; a value of `null` removes, as does `absent`.
///
/// # Errors
/// When the text is no YAML mapping, or cannot be edited safely.
pub fn edit(text: &str, settings: &Map, absent: &[String]) -> Result<Edited, YamlEditError> {
    let mut wanted = Vec::new();
    flatten(settings, "", &mut wanted);
    let mut out = Edited { text: text.to_owned(), ..Edited::default() };
    let gone = absent.iter().map(String::as_str).chain(wanted.iter().filter(|(_, value)| value.is_null()).map(|(name, _)| name.as_str()));
    for name in gone.map(ToOwned::to_owned).collect::<Vec<_>>() {
        remove_all(&mut out, &name)?;
    }
    for (name, value) in wanted.iter().filter(|(_, value)| !value.is_null()) {
        set(&mut out, name, value)?;
    }
    let root = parse(&out.text)?;
    for (name, value) in wanted.iter().filter(|(_, value)| !value.is_null()) {
        let found: Vec<_> = leaves(&root).into_iter().filter(|leaf| &leaf.name == name).collect();
        let [leaf] = found.as_slice() else { return Err(YamlEditError::TooOdd(name.clone())) };
        if !entry(&root, &leaf.at).is_some_and(|(_, node)| says(node, value)) {
            return Err(YamlEditError::TooOdd(name.clone()));
        }
    }
    Ok(out)
}

/// Returns what the text has for each setting, by dotted name; text values only, lists joined by commas. For reports.
///
/// # Errors
/// When the text is no YAML mapping.
pub fn names(text: &str) -> Result<Vec<String>, YamlEditError> {
    Ok(leaves(&parse(text)?).into_iter().map(|leaf| leaf.name).collect())
}

fn flatten(map: &Map, prefix: &str, out: &mut Vec<(String, Value)>) {
    for (key, value) in map {
        let name = dotted(prefix, &key_text(key));
        match value {
            Value::Map(inner) if !inner.is_empty() => flatten(inner, &name, out),
            value => {
                out.retain(|(other, _)| *other != name);
                out.push((name, value.clone()));
            }
        }
    }
}

fn key_text(key: &Key) -> String {
    match key {
        Key::Bool(true) => "true".to_owned(),
        Key::Bool(false) => "false".to_owned(),
        Key::Null => "null".to_owned(),
        other => other.to_string(),
    }
}

fn dotted(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

fn is_below(name: &str, parent: &str) -> bool {
    name.strip_prefix(parent).is_some_and(|rest| rest.starts_with('.'))
}

/// Whether the text has this value there already. A number and its digits as text are the same: Elasticsearch reads both alike.
fn says(node: &Node, value: &Value) -> bool {
    match (&node.content, value) {
        (Content::List(items), Value::List(wanted)) => {
            items.len() == wanted.len() && items.iter().zip(wanted.iter()).all(|(item, value)| says(item, value))
        }
        (Content::Map(entries), Value::Map(wanted)) => {
            entries.len() == wanted.len()
                && entries.iter().zip(wanted.iter()).all(|((key, node), (name, value))| {
                    matches!(&key.content, Content::Scalar { text, .. } if *text == key_text(name)) && says(node, value)
                })
        }
        (Content::Scalar { text, plain: true }, Value::Bool(wanted)) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => *wanted,
            "false" | "no" | "off" => !*wanted,
            _ => false,
        },
        (Content::Scalar { text, plain: true }, Value::Null) => matches!(text.as_str(), "" | "~" | "null"),
        (Content::Scalar { .. }, Value::Null | Value::List(_) | Value::Map(_)) => false,
        (Content::Scalar { text, plain }, value) => {
            let wanted = scalar_text(value);
            *text == wanted && (!wanted.is_empty() || !plain)
        }
        _ => false,
    }
}

fn newline(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}

fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1)
}

/// Returns where the next line begins, or the end.
fn next_line(text: &str, at: usize) -> usize {
    text.get(at..).and_then(|rest| rest.find('\n')).map_or(text.len(), |found| at + found + 1)
}

fn replace(text: &mut String, range: std::ops::Range<usize>, with: &str) {
    if text.is_char_boundary(range.start) && text.is_char_boundary(range.end) && range.start <= range.end && range.end <= text.len() {
        text.replace_range(range, with);
    }
}

fn set(out: &mut Edited, name: &str, value: &Value) -> Result<(), YamlEditError> {
    let before = out.text.clone();
    clear_the_way(out, name)?;
    let root = parse(&out.text)?;
    match leaves(&root).into_iter().find(|leaf| leaf.name == name) {
        Some(leaf) => {
            let Some((key, old)) = entry(&root, &leaf.at) else { return Err(YamlEditError::TooOdd(name.to_owned())) };
            if !says(old, value) {
                let in_flow = map_at(&root, leaf.at.split_last().map_or(&[], |(_, path)| path)).is_some_and(|map| map.style == Some('{'));
                replace_value(&mut out.text, key, old, value, in_flow);
            }
        }
        None => insert(&mut out.text, &root, name, value),
    }
    if out.text != before {
        out.set.push(name.to_owned());
    }
    Ok(())
}

/// Removes what would contradict the setting: itself a second time, settings below it, and a value where it needs a mapping.
fn clear_the_way(out: &mut Edited, name: &str) -> Result<(), YamlEditError> {
    for _ in 0..10_000 {
        let root = parse(&out.text)?;
        let all = leaves(&root);
        let same: Vec<_> = all.iter().filter(|leaf| leaf.name == name).collect();
        if let [_, second, ..] = same.as_slice() {
            out.warnings.push(format!("`{name}` stood there more than once; one is left"));
            remove_entry(&mut out.text, &root, &second.at, name)?;
            continue;
        }
        let Some(other) = all.iter().find(|leaf| is_below(&leaf.name, name) || is_below(name, &leaf.name)) else { return Ok(()) };
        // A key without a value is no contradiction of settings below it, but a mapping cannot go where one stands twice.
        out.warnings.push(format!("`{}` is removed, as it cannot stand beside `{name}`", other.name));
        remove_entry(&mut out.text, &root, &other.at, &other.name)?;
    }
    Err(YamlEditError::TooOdd(name.to_owned()))
}

fn remove_all(out: &mut Edited, name: &str) -> Result<(), YamlEditError> {
    for _ in 0..10_000 {
        let root = parse(&out.text)?;
        let Some(leaf) = leaves(&root).into_iter().find(|leaf| leaf.name == name || is_below(&leaf.name, name)) else { return Ok(()) };
        remove_entry(&mut out.text, &root, &leaf.at, &leaf.name)?;
        if !out.removed.contains(&leaf.name) {
            out.removed.push(leaf.name);
        }
    }
    Err(YamlEditError::TooOdd(name.to_owned()))
}

/// Removes an entry, and the mappings around it that are empty then.
fn remove_entry(text: &mut String, root: &Option<Node>, at: &[usize], name: &str) -> Result<(), YamlEditError> {
    let odd = || YamlEditError::TooOdd(name.to_owned());
    let (last, path) = at.split_last().ok_or_else(odd)?;
    let map = map_at(root, path).ok_or_else(odd)?;
    let Content::Map(entries) = &map.content else { return Err(odd()) };
    if entries.len() == 1 && !path.is_empty() {
        return remove_entry(text, root, path, name);
    }
    let (key, value) = entries.get(*last).ok_or_else(odd)?;
    let end = entry_end(text, key, value);
    if map.style == Some('{') {
        let range = match (entries.get(last + 1), last.checked_sub(1).and_then(|before| entries.get(before))) {
            (Some((next, _)), _) => key.start..next.start,
            (None, Some((before, value))) => entry_end(text, before, value)..end,
            (None, None) => key.start..end,
        };
        replace(text, range, "");
        return Ok(());
    }
    let start = line_start(text, key.start);
    if !text.get(start..key.start).is_some_and(|indent| indent.trim().is_empty()) {
        return Err(odd());
    }
    let end = next_line(text, end);
    replace(text, start..end, "");
    Ok(())
}

fn replace_value(text: &mut String, key: &Node, old: &Node, value: &Value, in_flow: bool) {
    if let (Content::List(items), Value::List(wanted), None) = (&old.content, value, old.style)
        && !wanted.is_empty()
        && let Some(block) = block_list(text, items, wanted)
    {
        replace(text, block.0, &block.1);
        return;
    }
    let quote = if old.style == Some('[') {
        match &old.content {
            Content::List(items) => items.first().and_then(|item| item.style),
            _ => None,
        }
    } else {
        old.style
    };
    let new = inline(value, quote.filter(|quote| "'\"".contains(*quote)), in_flow);
    let colon = after_colon(text, key);
    let block = old.style == Some('|') || line_start(text, old.start) != line_start(text, key.start);
    if is_empty(old) {
        replace(text, colon..colon, &format!(" {new}"));
    } else if block {
        // What stands on the lines below goes; a comment behind the colon stays, a block's `|` does not.
        let below = next_line(text, colon);
        let end = next_line(text, old.end);
        replace(text, below..end.max(below), "");
        let header = text.get(colon..below).and_then(|rest| rest.split('#').next()).map_or(0, |rest| rest.trim_end().len());
        replace(text, colon..colon + header, &format!(" {new}"));
    } else {
        replace(text, old.start..old.end, &new);
    }
}

/// Returns the lines of a block list with the wanted items, those that stay taken over with their comments.
fn block_list(text: &str, items: &[Node], wanted: &[Value]) -> Option<(std::ops::Range<usize>, String)> {
    let start = line_start(text, items.first()?.start);
    let indent = text.get(start..)?.split('-').next().filter(|indent| indent.chars().all(|c| c == ' '))?;
    let mut chunks = Vec::new();
    let mut from = start;
    for item in items {
        let to = next_line(text, item.end);
        chunks.push((item, text.get(from..to)?));
        from = to;
    }
    let quote = items.first()?.style.filter(|quote| "'\"".contains(*quote));
    let eol = newline(text);
    let mut out = String::new();
    for value in wanted {
        match chunks.iter().position(|(item, _)| says(item, value)) {
            Some(at) => {
                out.push_str(chunks.remove(at).1);
                if !out.ends_with('\n') {
                    out.push_str(eol);
                }
            }
            None => out.push_str(&format!("{indent}- {}{eol}", inline(value, quote, false))),
        }
    }
    Some((start..from, out))
}

fn insert(text: &mut String, root: &Option<Node>, name: &str, value: &Value) {
    let (path, prefix) = deepest(root, name);
    let rest = if prefix.is_empty() { name } else { name.get(prefix.len() + 1..).unwrap_or(name) };
    let key = text_scalar(rest, None, false);
    let eol = newline(text);
    let Some(map) = map_at(root, &path) else {
        let line = format!("{key}: {}{eol}", inline(value, None, false));
        end_last_line(text, eol);
        // Before `...`, which ends a document.
        let at =
            text.rfind("\n...").filter(|at| text.get(at + 4..).is_some_and(|rest| rest.trim().is_empty())).map_or(text.len(), |at| at + 1);
        replace(text, at..at, &line);
        return;
    };
    let Content::Map(entries) = &map.content else { return };
    if map.style == Some('{') {
        let line = format!("{}: {}", text_scalar(rest, None, true), inline(value, None, true));
        let at = entries.last().map_or(map.start + 1, |(key, value)| entry_end(text, key, value));
        replace(text, at..at, &if entries.is_empty() { line } else { format!(", {line}") });
        return;
    }
    let line = |indent: &str| format!("{indent}{key}: {}{eol}", inline(value, None, false));
    let kin = entries.iter().rev().max_by_key(|(key, _)| shared_segments(key, rest)).filter(|(key, _)| shared_segments(key, rest) > 0);
    let last = entries.last();
    let (after, sibling) = match (kin.or(last.filter(|_| !path.is_empty())), last) {
        (Some((key, value)), _) => (next_line(text, entry_end(text, key, value)), key),
        (None, Some((key, _))) => (text.len(), key),
        (None, None) => return,
    };
    let begin = line_start(text, sibling.start);
    let indent = text.get(begin..sibling.start).unwrap_or_default().to_owned();
    if after == text.len() {
        end_last_line(text, eol);
        let at = text.len();
        replace(text, at..at, &line(&indent));
    } else {
        replace(text, after..after, &line(&indent));
    }
}

fn end_last_line(text: &mut String, eol: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push_str(eol);
    }
}

/// Returns the mapping that is nearest to the setting, and its dotted name.
fn deepest(root: &Option<Node>, name: &str) -> (Vec<usize>, String) {
    let (mut path, mut prefix) = (Vec::new(), String::new());
    let mut map = root.as_ref();
    while let Some(Node { content: Content::Map(entries), .. }) = map {
        let next = entries.iter().enumerate().find_map(|(number, (key, value))| {
            let Content::Scalar { text, .. } = &key.content else { return None };
            let inner = dotted(&prefix, text);
            (matches!(&value.content, Content::Map(inner) if !inner.is_empty()) && is_below(name, &inner)).then_some((number, inner, value))
        });
        let Some((number, inner, value)) = next else { break };
        path.push(number);
        prefix = inner;
        map = Some(value);
    }
    (path, prefix)
}

fn shared_segments(key: &Node, name: &str) -> usize {
    let Content::Scalar { text, .. } = &key.content else { return 0 };
    text.split('.').zip(name.split('.')).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
#[path = "yaml_edit_tests.rs"]
mod tests;
