//! What variables are made of.
//!
//! A [`Value`] is plain data, but for two kinds: [`Value::Lazy`], a text of the user's own files that is
//! still to be rendered or decrypted, and [`Value::Unknown`], what a check cannot predict. A value that came
//! from a host is never `Lazy`, so it is never rendered: that is how injection is ruled out.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::source::Span;

pub mod arguments;
pub mod bytes;
pub mod json;
pub mod map;
pub mod pattern;
pub mod secret;
pub mod specification;

pub use map::{Key, Map};

/// A variable's value.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub enum Value {
    /// `null`, Python's `None`.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// A text. It is final: braces in it mean nothing.
    Str(Arc<str>),
    /// A list.
    List(Arc<Vec<Value>>),
    /// A dictionary that keeps its order.
    Map(Arc<Map>),
    /// A text of the user's files that is rendered, or decrypted, when it is used.
    Lazy(Arc<Lazy>),
    /// What cannot be predicted in a check. Whatever is computed from it is unknown too.
    Unknown(Arc<Unknown>),
}

/// A text whose value is worked out when it is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Lazy {
    /// A text with `{{ }}`, `{% %}` or `{# #}` in it.
    Template(Text),
    /// The armoured text of a `!vault` scalar.
    Vault(Text),
    /// An `!unsafe` text: its value is the text as it is, and it is never taken for an expression.
    Unsafe(Text),
}

/// A text and where it stands in the user's files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Text {
    /// The text itself.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// Why something is not known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unknown {
    /// A short clause for a person: "`make install` was not run".
    pub why: String,
}

impl Value {
    /// Returns a final text.
    pub fn str(text: impl AsRef<str>) -> Self {
        Self::Str(Arc::from(text.as_ref()))
    }

    /// Returns a list of `items`.
    pub fn list(items: impl IntoIterator<Item = Value>) -> Self {
        Self::List(Arc::new(items.into_iter().collect()))
    }

    /// Returns a dictionary of `entries`.
    pub fn map<K: Into<Key>>(entries: impl IntoIterator<Item = (K, Value)>) -> Self {
        Self::Map(Arc::new(entries.into_iter().map(|(key, value)| (key.into(), value)).collect()))
    }

    /// Returns the value that cannot be predicted, with the reason.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown(Arc::new(Unknown { why: why.into() }))
    }

    /// Returns a text of the user's files: a template where it has template marks, else final.
    pub fn text(text: &str, span: Span) -> Self {
        if has_template_marks(text) { Self::Lazy(Arc::new(Lazy::Template(Text { text: text.to_owned(), span }))) } else { Self::str(text) }
    }

    /// Returns the text of a final text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the boolean of a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns the number of a whole number.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns the items of a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the entries of a dictionary.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Returns the entry `key` of a dictionary.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map()?.get(key)
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Returns why this value, or any part of it, is not known.
    pub fn unknown_part(&self) -> Option<&Unknown> {
        match self {
            Self::Unknown(unknown) => Some(unknown),
            Self::List(items) => items.iter().find_map(Self::unknown_part),
            Self::Map(map) => map.values().find_map(Self::unknown_part),
            _ => None,
        }
    }

    /// Whether this value, or any part of it, is still to be rendered.
    pub fn has_template(&self) -> bool {
        match self {
            Self::Lazy(_) => true,
            Self::List(items) => items.iter().any(Self::has_template),
            Self::Map(map) => map.values().any(Self::has_template),
            _ => false,
        }
    }

    /// Returns the name that Jinja's `type_debug` and messages use: `str`, `int`, `dict`, ...
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) | Self::Lazy(_) => "str",
            Self::List(_) => "list",
            Self::Map(_) => "dict",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// Whether `text` has marks that make it a template.
pub fn has_template_marks(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// Python's equality: numbers compare across types, `True == 1`.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            (Self::Lazy(a), Self::Lazy(b)) => a == b,
            (Self::Unknown(a), Self::Unknown(b)) => a == b,
            _ => match (self.number(), other.number()) {
                (Some(Number::Int(a)), Some(Number::Int(b))) => a == b,
                (Some(a), Some(b)) => a.float() == b.float(),
                _ => false,
            },
        }
    }
}

/// A number as arithmetic sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A whole number.
    Int(i64),
    /// One with a fraction.
    Float(f64),
}

impl Number {
    /// Returns it as a float.
    pub fn float(self) -> f64 {
        match self {
            #[allow(clippy::cast_precision_loss)]
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

impl Value {
    /// Returns the number that arithmetic sees: booleans count as 0 and 1, texts do not count.
    pub fn number(&self) -> Option<Number> {
        match self {
            Self::Bool(value) => Some(Number::Int(i64::from(*value))),
            Self::Int(value) => Some(Number::Int(*value)),
            Self::Float(value) => Some(Number::Float(*value)),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    /// Writes the value as Python's `str()` does: what a template prints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Str(text) => f.write_str(text),
            Self::Lazy(lazy) => match &**lazy {
                Lazy::Template(text) | Lazy::Unsafe(text) => f.write_str(&text.text),
                Lazy::Vault(_) => f.write_str("<vault>"),
            },
            other => write_python_repr(f, other),
        }
    }
}

/// Writes `value` as Python's `repr()` does.
pub fn write_python_repr(out: &mut dyn fmt::Write, value: &Value) -> fmt::Result {
    match value {
        Value::Null => out.write_str("None"),
        Value::Bool(true) => out.write_str("True"),
        Value::Bool(false) => out.write_str("False"),
        Value::Int(number) => write!(out, "{number}"),
        Value::Float(number) => out.write_str(&python_float(*number)),
        Value::Str(text) => write_quoted(out, text),
        Value::Lazy(_) => write_quoted(out, &value.to_string()),
        Value::Unknown(_) => out.write_str("<unknown>"),
        Value::List(items) => {
            out.write_char('[')?;
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.write_str(", ")?;
                }
                write_python_repr(out, item)?;
            }
            out.write_char(']')
        }
        Value::Map(map) => {
            out.write_char('{')?;
            for (at, (key, item)) in map.iter().enumerate() {
                if at > 0 {
                    out.write_str(", ")?;
                }
                write_python_repr(out, &key.to_value())?;
                out.write_str(": ")?;
                write_python_repr(out, item)?;
            }
            out.write_char('}')
        }
    }
}

/// Writes `text` in the quotes that Python's `repr()` picks.
fn write_quoted(out: &mut dyn fmt::Write, text: &str) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if c == quote => {
                out.write_char('\\')?;
                out.write_char(c)?;
            }
            c if (c as u32) < 0x20 || c as u32 == 0x7f => write!(out, "\\x{:02x}", c as u32)?,
            c => out.write_char(c)?,
        }
    }
    out.write_char(quote)
}

/// Returns `number` as Python prints a float: `1.0`, `1e+20`, `1.5e-07`.
pub fn python_float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    let text = format!("{number}");
    if text.contains('.') { text } else { format!("{text}.0") }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}
impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}
impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int(i64::from(value))
    }
}
impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(i64::from(value))
    }
}
impl From<u64> for Value {
    /// Numbers above `i64::MAX` become floats, as no fact or setting of ours is that large.
    fn from(value: u64) -> Self {
        #[allow(clippy::cast_precision_loss)]
        i64::try_from(value).map_or(Self::Float(value as f64), Self::Int)
    }
}
impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::from(value as u64)
    }
}
impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}
impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::str(value)
    }
}
impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Str(value.into())
    }
}
impl From<Map> for Value {
    fn from(value: Map) -> Self {
        Self::Map(Arc::new(value))
    }
}
impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(value: Vec<T>) -> Self {
        Self::list(value.into_iter().map(Into::into))
    }
}
impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_as_python_prints_them() {
        let value = Value::map([("a", Value::list([Value::Null, Value::Bool(true), Value::Float(1.0)])), ("it's", Value::str("x\n"))]);
        assert_eq!(value.to_string(), r#"{'a': [None, True, 1.0], "it's": 'x\n'}"#);
        assert_eq!(python_float(1e20), "1e+20");
        assert_eq!(python_float(1.5e-7), "1.5e-07");
    }

    #[test]
    fn numbers_are_equal_across_types() {
        assert_eq!(Value::Int(1), Value::Float(1.0));
        assert_eq!(Value::Bool(true), Value::Int(1));
        assert_ne!(Value::str("1"), Value::Int(1));
    }
}
