//! What templates see of the controller while files are read, before any host is known: files by their path, the vault.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::load::config::Config;
use crate::load::vault::Vault;
use crate::source::{Diagnostic, Span};
use crate::value::{Map, Value};
use crate::vars::{Variables, World};

/// Runs a command line in a folder and returns what it printed.
pub type Pipe = fn(&str, &Path) -> Result<Vec<u8>, String>;

/// What can be read while files are read.
pub struct AtLoad {
    vault: Arc<Vault>,
    pipe: Option<Pipe>,
    settings: Option<Config>,
}

impl AtLoad {
    /// Only reads files.
    pub fn new(vault: Arc<Vault>) -> Self {
        Self { vault, pipe: None, settings: None }
    }

    /// Runs commands too, and knows the settings.
    pub fn of_person(vault: Arc<Vault>, pipe: Pipe, settings: Config) -> Self {
        Self { vault, pipe: Some(pipe), settings: Some(settings) }
    }
}

impl World for AtLoad {
    fn unvault(&self, armoured: &str, span: Span) -> Result<Arc<str>, Diagnostic> {
        self.vault.decrypt_text(armoured, span)
    }

    fn find(&self, _folder: &str, name: &str) -> Option<PathBuf> {
        Some(PathBuf::from(name)).filter(|path| path.exists())
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        self.vault.read_file(path).map_err(|diagnostic| diagnostic.message)
    }

    fn secret(&self, _text: &str) {}

    fn warn(&self, _message: &str) {}

    fn seal(&self, text: &str, password: &str, salt: Option<&str>, label: &str) -> Result<String, String> {
        crate::load::vault::seal_with(text, password, salt, label)
    }

    fn open(&self, armoured: &str, password: &str) -> Result<String, String> {
        crate::load::vault::open_with(armoured, password)
    }

    fn pipe(&self, command: &str) -> Result<Vec<u8>, String> {
        let pipe = self.pipe.ok_or("no command can be run here")?;
        pipe(command, &self.folder())
    }

    fn setting(&self, name: &str) -> Option<Value> {
        self.settings.as_ref()?.value(name)
    }

    fn folder(&self) -> PathBuf {
        std::env::current_dir().unwrap_or_default()
    }
}

/// A dictionary as variables.
pub struct Known(pub Map);

impl Variables for Known {
    fn get(&self, name: &str) -> Option<Value> {
        self.0.get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().filter_map(|name| name.as_str()).map(str::to_owned).collect()
    }
}
