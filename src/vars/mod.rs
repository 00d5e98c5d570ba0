//! From scopes to a value: precedence, templates, filters, tests, lookups, conditions.

use std::sync::Arc;

use crate::source::{Diagnostic, Span};
use crate::value::Value;

pub mod scope;

/// Where a template finds its variables. Values may be [`Value::Lazy`]: the engine renders them when they are used,
/// with these same variables, and names the cycle where there is one.
pub trait Variables: Send + Sync {
    /// Returns the variable as defined, not rendered.
    fn get(&self, name: &str) -> Option<Value>;

    /// Returns every name, for "did you mean" and for `vars`.
    fn names(&self) -> Vec<String>;

    /// Returns the variables of another host: what `hostvars[name]` shows. Its templates are rendered with them, not with ours.
    fn host(&self, name: &str) -> Option<Arc<dyn Variables>> {
        let _ = name;
        None
    }

    /// Returns the names of all hosts: the keys of `hostvars`.
    fn host_names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The answer of a condition.
#[derive(Clone, Debug, PartialEq)]
pub enum Truth {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// It depends on something that a check cannot know.
    Unknown(String),
}

/// What the engine needs of the world outside; everything a lookup or filter reads comes through here.
pub trait World: Send + Sync {
    /// Decrypts the armoured text of a `!vault` value, and makes the secret known to the redactor.
    fn unvault(&self, armoured: &str, span: Span) -> Result<Arc<str>, Diagnostic>;

    /// Returns a file that `lookup('file')`, `{% include %}` and the like name; `folder` is `files`, `templates` or `vars`.
    fn find(&self, folder: &str, name: &str) -> Option<std::path::PathBuf>;

    /// Reads a file of the controller, decrypted where it is a vault.
    fn read(&self, path: &std::path::Path) -> Result<Vec<u8>, String>;

    /// Keeps a text out of every output of this run.
    fn secret(&self, text: &str);

    /// Says something that the user should know, once.
    fn warn(&self, message: &str);

    /// Returns the folder that relative paths of lookups start from: the playbook's.
    fn folder(&self) -> std::path::PathBuf;
}
