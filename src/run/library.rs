//! What the run reads while it runs: included files, roles, files of variables, vaulted texts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::load::playbook::{Item, Role, RoleHead};
use crate::source::{Diagnostic, Span};
use crate::value::Map;

/// Where a file of tasks is looked for.
#[derive(Clone, Debug)]
pub struct From<'a> {
    /// The role of the task that includes it.
    pub role: Option<&'a Arc<RoleHead>>,
    /// The folder of the file that the task stands in.
    pub folder: &'a Path,
    /// The folder of the playbook.
    pub playbook_folder: &'a Path,
    /// Collections in which roles are looked for, besides those of the role.
    pub collections: &'a [String],
    /// Whether handlers are meant.
    pub handlers: bool,
    /// Where the file is named.
    pub span: Span,
}

/// Names of a role's entry files, without suffix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries {
    /// `tasks_from`.
    pub tasks: String,
    /// `vars_from`.
    pub vars: String,
    /// `defaults_from`.
    pub defaults: String,
    /// `handlers_from`.
    pub handlers: String,
}

/// Reads files for a run.
pub trait Library: Send + Sync {
    /// Reads a file of tasks, and says which file that was.
    fn tasks(&self, name: &str, from: &From<'_>) -> Result<(PathBuf, Vec<Item>), Vec<Diagnostic>>;

    /// Reads a role.
    fn role(&self, name: &str, entries: &Entries, from: &From<'_>) -> Result<Arc<Role>, Vec<Diagnostic>>;

    /// Returns the program of a module of a collection, by its full name or by its own in one of the `searched` collections.
    fn module(&self, _name: &str, _searched: &[String], _playbook_folder: &Path) -> Option<PathBuf> {
        None
    }

    /// Reads a file of variables.
    fn variables(&self, path: &Path, span: Option<Span>) -> Result<Map, Vec<Diagnostic>>;

    /// Reads any file, decrypted where it is vaulted.
    fn read(&self, path: &Path) -> Result<Vec<u8>, String>;

    /// Decrypts a `!vault` text.
    fn unvault(&self, armoured: &str, span: Span) -> Result<Arc<str>, Diagnostic>;

    /// Whether a text is one that was decrypted.
    fn is_vaulted(&self, text: &str) -> bool;
}

/// How a wait at the terminal ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The time was over, Enter was pressed, or the person went on early; with what was typed.
    On(String),
    /// The person breaks the run off.
    Abort,
}

/// Asks the person at the terminal.
pub trait Asker: Send + Sync {
    /// Shows `prompt` and returns the line that was typed; `None` where nobody can answer.
    fn ask(&self, prompt: &str, echo: bool) -> Option<String>;

    /// Shows `prompt` and waits for Enter, or for `seconds`, if given. Ctrl+C lets the person go on at once or break off.
    /// `None` at once where nobody is there.
    fn wait(&self, prompt: &str, seconds: Option<f64>, echo: bool) -> Option<Waited> {
        if seconds.is_some() { None } else { self.ask(prompt, echo).map(Waited::On) }
    }

    /// Shows `prompt` and returns the next line of standard input, whoever writes it; `None` at its end.
    fn command(&self, _prompt: &str) -> Option<String> {
        None
    }
}
