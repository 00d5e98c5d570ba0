//! Tests of templates as a whole, against what Ansible gives.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::source::{Diagnostic, Sources, Span};
use crate::value::{Map, Value, json};

use super::{Engine, Variables, World};

/// A world in memory.
#[derive(Default)]
pub(super) struct Fake {
    pub files: Vec<(PathBuf, String)>,
    pub secrets: Mutex<Vec<String>>,
}

impl World for Fake {
    fn unvault(&self, armoured: &str, _: Span) -> Result<Arc<str>, Diagnostic> {
        Ok(armoured.replace("vault:", "").into())
    }
    fn find(&self, _: &str, name: &str) -> Option<PathBuf> {
        self.files.iter().map(|(path, _)| path).find(|path| path.ends_with(name)).cloned()
    }
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        self.files
            .iter()
            .find(|(known, _)| known == path)
            .map(|(_, text)| text.clone().into_bytes())
            .ok_or_else(|| "no such file".to_owned())
    }
    fn secret(&self, text: &str) {
        self.secrets.lock().expect("lock").push(text.to_owned());
    }
    fn warn(&self, _: &str) {}
    fn folder(&self) -> PathBuf {
        PathBuf::from("/play")
    }
    fn pipe(&self, command: &str) -> Result<Vec<u8>, String> {
        Ok(format!("ran {command}\n").into_bytes())
    }
    fn env(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/home/me".to_owned())
    }
}

pub(super) struct Vars(pub Map);

impl Variables for Vars {
    fn get(&self, name: &str) -> Option<Value> {
        self.0.get(name).cloned()
    }
    fn names(&self) -> Vec<String> {
        self.0.keys().map(ToString::to_string).collect()
    }
}

pub(super) fn engine() -> Engine {
    Engine::new(Arc::new(Fake::default()), Sources::default())
}

/// Makes templates of texts, as the loader does with the user's files.
pub(super) fn lazy(value: &Value) -> Value {
    match value {
        Value::Str(text) => Value::text(text, Span::default()),
        Value::List(items) => Value::list(items.iter().map(lazy)),
        Value::Map(map) => Value::from(map.iter().map(|(key, item)| (key.clone(), lazy(item))).collect::<Map>()),
        other => other.clone(),
    }
}

pub(super) fn vars(text: &str) -> Vars {
    let value = lazy(&json::from_json(&serde_json::from_str(text).expect("json")));
    Vars(value.as_map().expect("a dictionary").clone())
}

/// Renders `template` and returns Python's `repr` of the result, or the message.
pub(super) fn shown(template: &str, variables: &str) -> String {
    match engine().render(&Value::text(template, Span::default()), &vars(variables)) {
        Ok(value) => super::template::format::repr(&value),
        Err(error) => format!("ERR {}", error.message),
    }
}

#[test]
fn one_expression_keeps_its_type_and_text_around_it_makes_a_text() {
    assert_eq!(shown("{{ n }}", r#"{"n": 5}"#), "5");
    assert_eq!(shown("x{{ n }}", r#"{"n": 5}"#), "'x5'");
    assert_eq!(shown("{{ a }}", r#"{"a": "{{ b }}", "b": [1, "{{ c }}"], "c": true}"#), "[1, True]");
}
