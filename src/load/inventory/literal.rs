//! Values of INI inventories: Python literals are what they say, everything else is text.

use crate::source::Span;
use crate::value::{Key, Map, Value};

/// How deep lists and dictionaries may nest.
const DEEPEST: usize = 50;

/// Returns the value that `text` stands for: `5` a number, `[1, 2]` a list, `True` a boolean, `yes` a text.
pub(super) fn value(text: &str, span: Span) -> Value {
    let mut reader = Reader { rest: text.trim_start(), span };
    let read = reader.value(0);
    let rest = reader.rest.trim_start();
    match read {
        Some(value) if rest.is_empty() || rest.starts_with('#') => value,
        _ => Value::text(text, span),
    }
}

struct Reader<'a> {
    rest: &'a str,
    span: Span,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        self.rest = self.rest.trim_start();
        if depth > DEEPEST {
            return None;
        }
        match self.rest.chars().next()? {
            '[' => self.items(']', depth).map(|(items, _)| Value::list(items)),
            '(' => {
                let (mut items, comma) = self.items(')', depth)?;
                if items.len() == 1 && !comma { items.pop() } else { Some(Value::list(items)) }
            }
            '{' => self.braces(depth),
            'b' if self.rest.starts_with("b'") || self.rest.starts_with("b\"") => {
                self.rest = self.rest.get(1..)?;
                Some(Value::text(&self.quoted()?, self.span))
            }
            's' if self.rest.starts_with("set()") => {
                self.rest = self.rest.get(5..)?;
                Some(Value::list([]))
            }
            '\'' | '"' => {
                let mut text = self.quoted()?;
                // Texts side by side are one text.
                while self.rest.trim_start().starts_with(['\'', '"']) {
                    self.rest = self.rest.trim_start();
                    text.push_str(&self.quoted()?);
                }
                Some(Value::text(&text, self.span))
            }
            _ => self.word(),
        }
    }

    /// Takes `wanted` if it is next.
    fn eat(&mut self, wanted: char) -> bool {
        self.rest = self.rest.trim_start();
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// Returns the items up to `close`, and whether a comma follows the last.
    fn items(&mut self, close: char, depth: usize) -> Option<(Vec<Value>, bool)> {
        self.rest = self.rest.get(1..)?;
        let (mut items, mut comma) = (Vec::new(), true);
        loop {
            if self.eat(close) {
                return Some((items, comma));
            }
            if !comma {
                return None;
            }
            items.push(self.value(depth + 1)?);
            comma = self.eat(',');
        }
    }

    /// Returns a dictionary, or a set as a list of its items.
    fn braces(&mut self, depth: usize) -> Option<Value> {
        self.rest = self.rest.get(1..)?;
        let (mut map, mut items, mut comma) = (Map::new(), Vec::new(), true);
        loop {
            if self.eat('}') {
                return Some(if items.is_empty() { Value::from(map) } else { Value::list(items) });
            }
            if !comma {
                return None;
            }
            let first = self.value(depth + 1)?;
            if self.eat(':') {
                let value = self.value(depth + 1)?;
                map.insert(Key::from_value(&first)?, value);
            } else {
                items.push(first);
            }
            if !map.is_empty() && !items.is_empty() {
                return None;
            }
            comma = self.eat(',');
        }
    }

    fn quoted(&mut self) -> Option<String> {
        let quote = self.rest.chars().next()?;
        let triple = quote.to_string().repeat(3);
        let close = if self.rest.starts_with(&triple) { triple } else { quote.to_string() };
        let mut rest = self.rest.get(close.len()..)?;
        let mut text = String::new();
        loop {
            if let Some(after) = rest.strip_prefix(close.as_str()) {
                self.rest = after;
                return Some(text);
            }
            let c = rest.chars().next()?;
            rest = rest.get(c.len_utf8()..)?;
            if c != '\\' {
                text.push(c);
                continue;
            }
            let escaped = rest.chars().next()?;
            rest = rest.get(escaped.len_utf8()..)?;
            match escaped {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                '\\' | '\'' | '"' => text.push(escaped),
                'x' | 'u' => {
                    let length = if escaped == 'x' { 2 } else { 4 };
                    let code = u32::from_str_radix(rest.get(..length)?, 16).ok()?;
                    text.push(char::from_u32(code)?);
                    rest = rest.get(length..)?;
                }
                '\n' => {}
                other => {
                    text.push('\\');
                    text.push(other);
                }
            }
        }
    }

    fn word(&mut self) -> Option<Value> {
        let length = self.rest.find(|c: char| c.is_whitespace() || ",:]})#".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        match word {
            "None" => Some(Value::Null),
            "True" => Some(Value::Bool(true)),
            "False" => Some(Value::Bool(false)),
            // What has no form of its own in YAML is its text: `...`, complex numbers.
            "..." => Some(Value::str(word)),
            _ => match word.strip_suffix('j').and_then(number) {
                Some(_) => Some(Value::str(word)),
                None => number(word),
            },
        }
    }
}

/// Returns a number in Python's spelling.
fn number(word: &str) -> Option<Value> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word.strip_prefix('+').unwrap_or(word)),
    };
    // Underscores stand between digits only; a number does not begin with 0.
    let bytes = digits.as_bytes();
    if !bytes.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.') || digits.ends_with('_') || digits.contains("__") {
        return None;
    }
    let lower = digits.to_ascii_lowercase().replace('_', "");
    let radix = [("0x", 16), ("0o", 8), ("0b", 2)].into_iter().find_map(|(prefix, radix)| Some((lower.strip_prefix(prefix)?, radix)));
    if let Some((digits, radix)) = radix {
        let number = i64::from_str_radix(digits, radix).ok()?;
        return Some(Value::Int(if negative { -number } else { number }));
    }
    if lower.bytes().all(|byte| byte.is_ascii_digit()) {
        if lower.len() > 1 && lower.starts_with('0') && lower.bytes().any(|byte| byte != b'0') {
            return None;
        }
        let number: i128 = lower.parse().ok()?;
        return i64::try_from(if negative { -number } else { number }).ok().map(Value::Int);
    }
    let is_float = lower.bytes().all(|byte| byte.is_ascii_digit() || b".e+-".contains(&byte));
    let number: f64 = is_float.then(|| lower.parse().ok())??;
    Some(Value::Float(if negative { -number } else { number }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_literals_are_values_and_the_rest_is_text() {
        for (text, printed, kind) in [
            ("5", "5", "int"),
            ("5 # comment", "5", "int"),
            ("-3", "-3", "int"),
            ("1_000", "1000", "int"),
            ("0x1f", "31", "int"),
            ("0644", "0644", "str"),
            ("000", "0", "int"),
            ("1e3", "1000.0", "float"),
            ("1.5", "1.5", "float"),
            ("True", "True", "bool"),
            ("true", "true", "str"),
            ("None", "None", "NoneType"),
            ("[1, 'x', ]", "[1, 'x']", "list"),
            ("(1, 2)", "[1, 2]", "list"),
            ("('x')", "x", "str"),
            ("{'a': [1], \"b\": None}", "{'a': [1], 'b': None}", "dict"),
            ("'quo' 'ted'", "quoted", "str"),
            ("\"0644\"", "0644", "str"),
            ("foo # bar", "foo # bar", "str"),
            ("[1,", "[1,", "str"),
            ("10.0.0.1", "10.0.0.1", "str"),
            ("", "", "str"),
            ("99999999999999999999", "99999999999999999999", "str"),
            ("{1, 2}", "[1, 2]", "list"),
            ("set()", "[]", "list"),
            ("b'x'", "x", "str"),
            ("[..., 1j, set(), {1}]", "['...', '1j', [], [1]]", "list"),
            ("host-01.internal", "host-01.internal", "str"),
            ("1,2", "1,2", "str"),
        ] {
            let value = value(text, Span::default());
            assert_eq!((value.to_string().as_str(), value.type_name()), (printed, kind), "{text}");
        }
        assert!(matches!(value("[\"{{ x }}\"]", Span::default()), Value::List(items) if matches!(items[0], Value::Lazy(_))));
        assert_eq!(value(&"[".repeat(100_000), Span::default()).type_name(), "str");
    }
}
