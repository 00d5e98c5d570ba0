//! What can be rendered while a playbook is read, before any host is known.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::load::loader::Early;
use crate::load::vault::Vault;
use crate::source::{Diagnostic, Sources, Span};
use crate::value::{Map, Value};
use crate::vars::{Engine, Variables, World};

/// Returns what renders names that must be known when the playbook is read: `-e` and what the play itself defines.
pub fn early(sources: &Sources, vault: &Arc<Vault>, extra: Arc<Mutex<Map>>) -> Early {
    let engine = Engine::new(Arc::new(EarlyWorld(vault.clone())), sources.clone());
    Arc::new(move |value: &Value, known: &Map| {
        let mut all: HashMap<String, Value> = known.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
        if let Ok(extra) = extra.lock() {
            all.extend(extra.iter().map(|(name, value)| (name.to_string(), value.clone())));
        }
        engine.render(value, &EarlyVariables(all))
    })
}

struct EarlyVariables(HashMap<String, Value>);

impl Variables for EarlyVariables {
    fn get(&self, name: &str) -> Option<Value> {
        self.0.get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

/// What can be read while the playbook is read: files by their path, the vault.
struct EarlyWorld(Arc<Vault>);

impl World for EarlyWorld {
    fn unvault(&self, armoured: &str, span: Span) -> Result<Arc<str>, Diagnostic> {
        self.0.decrypt_text(armoured, span)
    }

    fn find(&self, _folder: &str, name: &str) -> Option<PathBuf> {
        Some(PathBuf::from(name)).filter(|path| path.exists())
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        self.0.read_file(path).map_err(|diagnostic| diagnostic.message)
    }

    fn secret(&self, _text: &str) {}

    fn warn(&self, _message: &str) {}

    fn folder(&self) -> PathBuf {
        std::env::current_dir().unwrap_or_default()
    }
}
