//! From nodes to values (stand-in).
use crate::source::{Kind, Node};
use crate::value::{Key, Lazy, Text, Value};
use std::sync::Arc;
/// Returns the value of a node.
pub fn to_value(node: &Node) -> Value {
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::Bool(b) => Value::Bool(*b),
        Kind::Int(n) => Value::Int(*n),
        Kind::Float(n) => Value::Float(*n),
        Kind::Str(text) => Value::text(text, node.span),
        Kind::Unsafe(text) => Value::str(text),
        Kind::Vault(text) => Value::Lazy(Arc::new(Lazy::Vault(Text { text: text.to_string(), span: node.span }))),
        Kind::List(items) => Value::list(items.iter().map(to_value)),
        Kind::Map(entries) => Value::map(
            entries.iter().map(|(k, v)| (Key::from_value(&to_value(k)).unwrap_or(Key::Str(to_value(k).to_string().into())), to_value(v))),
        ),
    }
}
