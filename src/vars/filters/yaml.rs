//! YAML for filters: reading it as plain values, and writing it as PyYAML does.

use std::path::Path;

use crate::source::{Kind, Node, Sources, yaml};
use crate::value::{Key, Map, Value, python_float};
use crate::vars::template::live::{Outcome, fail};

/// Reads every document of `text`. Nothing in it is a template.
pub(in crate::vars) fn read(text: &str) -> Outcome<Vec<Value>> {
    let sources = Sources::default();
    let parsed = yaml::parse(&sources, Path::new("<from_yaml>"), text.to_owned());
    if let Some(error) = parsed.diagnostics.iter().find(|diagnostic| diagnostic.severity == crate::source::Severity::Error) {
        return fail(error.message.clone());
    }
    Ok(parsed.documents.iter().map(plain).collect())
}

fn plain(node: &Node) -> Value {
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::Bool(flag) => Value::Bool(*flag),
        Kind::Int(number) => Value::Int(*number),
        Kind::Float(number) => Value::Float(*number),
        Kind::Str(text) | Kind::Unsafe(text) | Kind::Vault(text) => Value::Str(text.clone()),
        Kind::List(items) => Value::list(items.iter().map(plain)),
        Kind::Map(entries) => {
            entries.iter().map(|(key, value)| (Key::from_value(&plain(key)).unwrap_or(Key::Null), plain(value))).collect::<Map>().into()
        }
    }
}

/// How to write.
pub struct Style {
    /// Spaces for each level.
    pub indent: usize,
    /// Keys in order of their names, not as they are.
    pub sort_keys: bool,
    /// Where long texts are folded.
    pub width: usize,
    /// Collections as blocks (`Some(true)`), in brackets, or in brackets where they hold no collections (`None`).
    pub block: Option<bool>,
    /// The dictionaries that mark texts as vaulted or as no templates in JSON become tags.
    pub tags: bool,
    /// Texts of several lines are written line by line (`|`); with `true` blanks that cannot be seen are lost for it.
    pub lines: Option<bool>,
}

impl Default for Style {
    fn default() -> Self {
        Self { indent: 2, sort_keys: true, width: 80, block: None, tags: false, lines: None }
    }
}

/// Writes `value` as PyYAML's `dump`.
pub fn write(value: &Value, style: &Style) -> String {
    let mut out = Writer { text: String::new(), column: 0, style };
    match value {
        Value::List(_) | Value::Map(_) => out.node(value, 0, false, false),
        scalar => {
            out.scalar(scalar, style.indent, false, false);
        }
    }
    // An empty line at the end of a text of lines still has to end.
    if !out.text.ends_with('\n') || style.lines.is_some() {
        out.text.push('\n');
    }
    out.text
}

struct Writer<'s> {
    text: String,
    column: usize,
    style: &'s Style,
}

impl Writer<'_> {
    fn put(&mut self, text: &str) {
        self.text.push_str(text);
        self.column += text.chars().count();
    }

    fn line(&mut self, indent: usize) {
        self.text.push('\n');
        self.text.push_str(&" ".repeat(indent));
        self.column = indent;
    }

    fn entries<'m>(&self, map: &'m Map) -> Vec<(&'m Key, &'m Value)> {
        let mut entries: Vec<_> = map.iter().collect();
        if self.style.sort_keys {
            entries.sort_by_key(|(a, _)| *a);
        }
        entries
    }

    /// Returns tag and text where a dictionary marks a text.
    fn marked<'m>(&self, value: &'m Value) -> Option<(&'static str, &'m Value)> {
        let map = value.as_map().filter(|map| self.style.tags && map.len() == 1)?;
        let (key, text) = map.first().filter(|(_, text)| text.as_str().is_some())?;
        match key.as_str()? {
            "__ansible_vault" => Some(("!vault", text)),
            "__ansible_unsafe" => Some(("!unsafe", text)),
            _ => None,
        }
    }

    /// Writes a text line by line.
    fn literal(&mut self, text: &str, indent: usize) {
        self.put("|");
        if text.starts_with([' ', '\n']) {
            self.put(&self.style.indent.to_string());
        }
        self.put(match text.strip_suffix('\n') {
            None => "-",
            Some(rest) if rest.is_empty() || rest.ends_with('\n') => "+",
            Some(_) => "",
        });
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            self.line(if line.is_empty() { 0 } else { indent });
            self.put(line);
        }
    }

    /// Whether a collection goes in brackets.
    fn in_brackets(&self, value: &Value) -> bool {
        let inner: Vec<&Value> = match value {
            Value::List(items) => items.iter().collect(),
            Value::Map(map) => map.values().collect(),
            _ => return false,
        };
        inner.is_empty()
            || match self.style.block {
                Some(block) => !block,
                None => !inner.iter().any(|item| matches!(item, Value::List(_) | Value::Map(_))),
            }
    }

    /// Whether a value has lines of its own below its key.
    fn is_block(&self, value: &Value) -> bool {
        matches!(value, Value::List(_) | Value::Map(_)) && !self.in_brackets(value) && self.marked(value).is_none()
    }

    /// Writes a node whose first line starts here; `indent` is where its own lines start.
    fn node(&mut self, value: &Value, indent: usize, in_map: bool, in_list: bool) {
        if let Some((tag, text)) = self.marked(value) {
            self.put(tag);
            if tag == "!vault" {
                self.put(" ");
                self.literal(&text.to_string(), indent);
            } else {
                self.put(" ");
                self.node(text, indent, in_map, in_list);
            }
            return;
        }
        match value {
            Value::List(_) | Value::Map(_) if self.in_brackets(value) => {
                self.flow(value, if in_map || in_list { indent } else { indent + self.style.indent });
            }
            Value::List(items) => {
                // A list below a key starts at the key's column.
                let indent = if in_map { indent.saturating_sub(self.style.indent) } else { indent };
                for (at, item) in items.iter().enumerate() {
                    if at > 0 || in_map {
                        self.line(indent);
                    }
                    self.put("-");
                    let compact = self.is_block(item);
                    let pad = if compact { self.style.indent.saturating_sub(1).max(1) } else { 1 };
                    self.put(&" ".repeat(pad));
                    self.node(item, indent + self.style.indent, false, true);
                }
            }
            Value::Map(map) => {
                for (at, (key, item)) in self.entries(map).into_iter().enumerate() {
                    if at > 0 || in_map {
                        self.line(indent);
                    }
                    self.scalar(&key.to_value(), indent, false, true);
                    self.put(":");
                    if !self.is_block(item) {
                        self.put(" ");
                    }
                    self.node(item, indent + self.style.indent, true, false);
                }
            }
            scalar => {
                let own = if in_map || in_list { indent } else { indent + self.style.indent };
                self.scalar(scalar, own, false, false);
            }
        }
    }

    fn flow(&mut self, value: &Value, indent: usize) {
        let (open, close) = if matches!(value, Value::List(_)) { ("[", "]") } else { ("{", "}") };
        self.put(open);
        let entries: Vec<(Option<&Key>, &Value)> = match value {
            Value::List(items) => items.iter().map(|item| (None, item)).collect(),
            Value::Map(map) => self.entries(map).into_iter().map(|(key, item)| (Some(key), item)).collect(),
            _ => Vec::new(),
        };
        for (at, (key, item)) in entries.into_iter().enumerate() {
            if at > 0 {
                self.put(",");
                if self.column > self.style.width { self.line(indent) } else { self.put(" ") }
            }
            if let Some(key) = key {
                self.scalar(&key.to_value(), indent, true, true);
                self.put(": ");
            }
            match item {
                Value::List(_) | Value::Map(_) => self.flow(item, indent + self.style.indent),
                scalar => self.scalar(scalar, indent + self.style.indent, true, false),
            }
        }
        self.put(close);
    }

    fn scalar(&mut self, value: &Value, indent: usize, flow: bool, key: bool) {
        match value {
            Value::Null => self.put("null"),
            Value::Bool(flag) => self.put(if *flag { "true" } else { "false" }),
            Value::Int(number) => self.put(&number.to_string()),
            Value::Float(number) => self.put(&float(*number)),
            other => {
                let mut text = other.to_string();
                if let Some(tidy) = self.style.lines.filter(|_| text.contains('\n') && !flow && !key) {
                    if tidy {
                        text = tidied(&text);
                    }
                    if !text.is_empty() && !needs_escapes(&text) && !text.ends_with(' ') {
                        return self.literal(&text, indent);
                    }
                }
                if needs_escapes(&text) {
                    self.put(&escaped(&text));
                } else if is_plain(&text, flow) && !(key && text.contains('\n')) {
                    self.folded(&text, indent, key, "");
                } else {
                    self.folded(&text.replace('\'', "''"), indent, key, "'");
                }
            }
        }
    }

    /// Writes a text, broken at single spaces once the line is too long; line ends are doubled, as YAML folds them.
    fn folded(&mut self, text: &str, indent: usize, key: bool, quote: &str) {
        self.put(quote);
        for (at, line) in text.split('\n').enumerate() {
            if at > 0 {
                if at == 1 || !self.text.ends_with('\n') {
                    self.text.push('\n');
                }
                self.line(if line.is_empty() { 0 } else { indent });
                if line.is_empty() && at + 1 == text.split('\n').count() {
                    self.put(&" ".repeat(indent));
                }
            }
            let mut rest = line;
            while let Some(space) = rest.find(' ') {
                self.put(&rest[..space]);
                let after = &rest[space + 1..];
                let single = !after.starts_with(' ') && !after.is_empty() && space > 0;
                if single && !key && self.column > self.style.width {
                    self.line(indent)
                } else {
                    self.put(" ")
                }
                rest = after;
            }
            self.put(rest);
        }
        self.put(quote);
    }
}

/// Returns a text without what cannot be seen of it: blanks at the ends of its lines, control characters, tabs.
fn tidied(text: &str) -> String {
    let line = |line: &str| {
        let mut out = String::new();
        for c in line.chars() {
            match c {
                '\t' => out.push_str(&" ".repeat(8 - out.chars().count() % 8)),
                c if c.is_control() => {}
                c => out.push(c),
            }
        }
        out.trim_end_matches(' ').to_owned()
    };
    text.trim_end().split('\n').map(line).collect::<Vec<_>>().join("\n")
}

fn float(number: f64) -> String {
    if number.is_nan() {
        return ".nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let text = python_float(number);
    match text.split_once('e') {
        Some((mantissa, power)) if !mantissa.contains('.') => format!("{mantissa}.0e{power}"),
        _ => text,
    }
}

fn needs_escapes(text: &str) -> bool {
    let odd = |c: char| (c.is_control() && c != '\n') || c == '\u{feff}' || c == '\u{2028}' || c == '\u{2029}';
    text.chars().any(odd) || text.contains(" \n") || (text.starts_with('\n') && text.trim().is_empty())
}

fn escaped(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            '\x1b' => out.push_str("\\e"),
            c if c.is_control() && (c as u32) < 0x100 => out.push_str(&format!("\\x{:02X}", c as u32)),
            c if c.is_control() || "\u{feff}\u{2028}\u{2029}".contains(c) => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether YAML 1.1 reads `text` back as the same text without quotes.
fn is_plain(text: &str, flow: bool) -> bool {
    let Some(first) = text.chars().next() else { return false };
    let second_blank = text.chars().nth(1).is_none_or(char::is_whitespace);
    if "#,[]{}&*!|>'\"%@`".contains(first) || ("?:-".contains(first) && (second_blank || (flow && first != '-'))) {
        return false;
    }
    if text.starts_with(' ') || text.ends_with(' ') || text.contains('\n') || text.starts_with("---") || text.starts_with("...") {
        return false;
    }
    if text.contains(": ") || text.ends_with(':') || text.contains(" #") {
        return false;
    }
    if flow && text.contains([',', '?', '[', ']', '{', '}', ':']) {
        return false;
    }
    !is_other_type(text)
}

/// Whether YAML 1.1 reads a plain `text` as something else than a text.
fn is_other_type(text: &str) -> bool {
    let word = matches!(text, "~" | "null" | "Null" | "NULL" | "=" | "<<")
        || matches!(text.to_ascii_lowercase().as_str(), "yes" | "no" | "true" | "false" | "on" | "off");
    if word {
        return true;
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let Some(first) = unsigned.chars().next() else { return false };
    if !first.is_ascii_digit() && first != '.' {
        return false;
    }
    let all = |text: &str, allowed: &str| !text.is_empty() && text.chars().all(|c| allowed.contains(c));
    if unsigned.strip_prefix("0x").is_some_and(|rest| rest.chars().all(|c| c.is_ascii_hexdigit() || c == '_') && !rest.is_empty())
        || unsigned.strip_prefix("0b").is_some_and(|rest| all(rest, "01_"))
    {
        return true;
    }
    if first.is_ascii_digit() && all(unsigned, "0123456789_") {
        // A number with a leading 0 is octal, and 08 is none.
        return unsigned == "0" || first != '0' || all(unsigned, "01234567_");
    }
    let (clock, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let sexagesimal = clock.contains(':')
        && (fraction.is_empty() || all(fraction, "0123456789_"))
        && clock.split(':').skip(1).all(|part| !part.is_empty() && part.len() <= 2 && all(part, "0123456789"));
    if sexagesimal && first.is_ascii_digit() {
        return true;
    }
    if text.len() >= 10 && is_date(text) {
        return true;
    }
    // A float needs its dot; a power needs its sign.
    let (mantissa, power) = unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(mantissa, power)| (mantissa, Some(power)));
    mantissa.contains('.')
        && mantissa.matches('.').count() == 1
        && mantissa != "."
        && all(mantissa, "0123456789_.")
        && power.is_none_or(|power| power.strip_prefix(['-', '+']).is_some_and(|digits| all(digits, "0123456789")))
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let date =
        (0..4).all(digit) && bytes.get(4) == Some(&b'-') && digit(5) && digit(6) && bytes.get(7) == Some(&b'-') && digit(8) && digit(9);
    date && (text.len() == 10 || matches!(bytes.get(10), Some(b'T' | b't' | b' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_texts_get_tags_and_lines_are_kept_where_that_is_wanted() {
        let vault = Value::map([("__ansible_vault", Value::str("$X\n12\n"))]);
        let value = Value::map([("v", vault.clone()), ("u", Value::map([("__ansible_unsafe", Value::str("{{ x }}"))]))]);
        let style = Style { block: Some(true), tags: true, ..Style::default() };
        assert_eq!(write(&value, &style), "u: !unsafe '{{ x }}'\nv: !vault |\n  $X\n  12\n");
        assert_eq!(write(&Value::list([vault]), &style), "- !vault |\n  $X\n  12\n");

        let value = Value::map([("a", Value::str("one \n\n  two\tx\n\n")), ("b", Value::str(" c\nd"))]);
        let lines = |tidy| Style { indent: 4, block: Some(true), lines: Some(tidy), ..Style::default() };
        assert_eq!(write(&value, &lines(true)), "a: |-\n    one\n\n      two   x\nb: |4-\n     c\n    d\n");
        let kept = write(&Value::map([("a", Value::str("x\n\n"))]), &lines(false));
        assert_eq!(kept, "a: |+\n    x\n\n");
    }
}
