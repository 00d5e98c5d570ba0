//! Values from and to JSON.

use super::{Key, Value};

/// Returns the JSON of `value`. Unknown becomes the text `<unknown>`, keys become texts.
pub fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Float(value) => serde_json::Number::from_f64(*value).map_or(serde_json::Value::Null, Into::into),
        Value::Str(text) => (**text).into(),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(map) => map.iter().map(|(key, item)| (key_text(key), to_json(item))).collect(),
        Value::Lazy(_) => value.to_string().into(),
        Value::Unknown(_) => "<unknown>".into(),
    }
}

/// Returns the text that JSON has for a key: as Python's `json.dumps`.
pub fn key_text(key: &Key) -> String {
    match key {
        Key::Null => "null".to_owned(),
        Key::Bool(value) => value.to_string(),
        Key::Int(value) => value.to_string(),
        Key::Str(text) => text.to_string(),
    }
}

/// Returns the value of a JSON document. Nothing in it is a template.
pub fn from_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(value) => Value::Int(value),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::str(text),
        serde_json::Value::Array(items) => Value::list(items.iter().map(from_json)),
        serde_json::Value::Object(map) => Value::map(map.iter().map(|(key, item)| (key.as_str(), from_json(item)))),
    }
}
