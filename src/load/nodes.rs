//! From nodes of the user's files to values: texts with template marks become templates that know their place.

use std::sync::Arc;

use crate::source::{Kind, Node};
use crate::value::{Key, Lazy, Text, Value};

/// Returns the value of a node. `!unsafe` texts are final; `!vault` texts are decrypted when they are used.
pub fn to_value(node: &Node) -> Value {
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::Bool(flag) => Value::Bool(*flag),
        Kind::Int(number) => Value::Int(*number),
        Kind::Float(number) => Value::Float(*number),
        Kind::Str(text) => Value::text(text, node.span),
        Kind::Unsafe(text) => Value::Lazy(Arc::new(Lazy::Unsafe(Text { text: text.to_string(), span: node.span }))),
        Kind::Vault(text) => Value::Lazy(Arc::new(Lazy::Vault(Text { text: text.to_string(), span: node.span }))),
        Kind::List(items) => Value::list(items.iter().map(to_value)),
        Kind::Map(entries) => {
            marked(entries, node).unwrap_or_else(|| Value::map(entries.iter().map(|(key, value)| (to_key(key), to_value(value)))))
        }
    }
}

/// Returns the text that JSON marks as `!unsafe` or `!vault` by a dictionary around it.
fn marked(entries: &[(Node, Node)], node: &Node) -> Option<Value> {
    let [(key, Node { kind: Kind::Str(text), .. })] = entries else { return None };
    match key.as_str()? {
        "__ansible_unsafe" => Some(Value::Lazy(Arc::new(Lazy::Unsafe(Text { text: text.to_string(), span: node.span })))),
        "__ansible_vault" => Some(Value::Lazy(Arc::new(Lazy::Vault(Text { text: text.to_string(), span: node.span })))),
        _ => None,
    }
}

/// Returns the key that a node makes. A key is never a template: its text counts as written.
pub fn to_key(node: &Node) -> Key {
    match &node.kind {
        Kind::Str(text) | Kind::Unsafe(text) => Key::Str(text.clone()),
        _ => {
            let value = to_value(node);
            Key::from_value(&value).unwrap_or_else(|| Key::from(value.to_string()))
        }
    }
}
