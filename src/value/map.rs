//! Dictionaries: ordered, with keys that need not be texts.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use indexmap::{Equivalent, IndexMap};
use serde::{Deserialize, Serialize};

use super::Value;

/// A key of a dictionary. Most are texts; YAML and Jinja allow numbers, booleans and null too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Key {
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A text.
    Str(Arc<str>),
}

impl Hash for Key {
    /// A text key hashes as its text, so that a `&str` finds it.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Null => 0_u8.hash(state),
            Self::Bool(value) => value.hash(state),
            Self::Int(value) => value.hash(state),
            Self::Str(text) => text.hash(state),
        }
    }
}

impl Equivalent<Key> for str {
    fn equivalent(&self, key: &Key) -> bool {
        matches!(key, Key::Str(text) if **text == *self)
    }
}

impl Key {
    /// Returns the key that `value` makes, if it can be one. A float is kept as its text.
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Int(value) => Some(Self::Int(*value)),
            Value::Float(value) => Some(Self::Str(super::python_float(*value).into())),
            Value::Str(text) => Some(Self::Str(text.clone())),
            _ => None,
        }
    }

    /// Returns the key as a value.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Str(text) => Value::Str(text.clone()),
        }
    }

    /// Returns the text of a text key.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.to_value().fmt(f)
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self::Str(text.into())
    }
}
impl From<String> for Key {
    fn from(text: String) -> Self {
        Self::Str(text.into())
    }
}
impl From<&String> for Key {
    fn from(text: &String) -> Self {
        Self::Str(text.as_str().into())
    }
}

/// A dictionary that keeps the order of its entries. Looks and works like an `IndexMap`; `get("name")` finds text keys.
pub type Map = IndexMap<Key, Value>;
