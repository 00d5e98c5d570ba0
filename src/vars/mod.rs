//! From scopes to a value: precedence, templates, filters, tests, lookups, conditions.

use std::sync::Arc;

use crate::source::{Diagnostic, Span};
use crate::value::Value;

pub mod engine;
mod filters;
mod lookups;
mod loops;
pub mod needs;
pub mod scope;
#[cfg(test)]
mod suite;
mod template;
mod tests;

pub use filters::yaml::{Style as YamlStyle, write as write_yaml};

pub use engine::Engine;

/// What the variable `omit` is: an argument with this value is left out.
pub const OMIT: &str = "__omit_place_holder__windlass__";

/// Whether `value` is the placeholder of `omit`.
pub fn is_omit(value: &Value) -> bool {
    matches!(value, Value::Str(text) if &**text == OMIT)
}

/// Returns `value` without entries and items that are `omit`, at any depth; `None` when it is `omit` itself.
pub fn without_omitted(value: &Value) -> Option<Value> {
    match value {
        value if is_omit(value) => None,
        Value::List(items) => Some(Value::list(items.iter().filter_map(without_omitted))),
        Value::Map(map) => {
            let kept: crate::value::Map = map.iter().filter_map(|(key, item)| Some((key.clone(), without_omitted(item)?))).collect();
            Some(kept.into())
        }
        other => Some(other.clone()),
    }
}

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

    /// Takes note that what is worked out for these variables uses something that will go.
    fn deprecated(&self, message: &str) {
        let _ = message;
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

/// What `lookup('url')` asks for.
pub struct Fetch {
    /// The address, with scheme.
    pub url: String,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// User and password for Basic.
    pub basic: Option<(String, String)>,
    /// PEM file of authorities to trust instead of the system's.
    pub ca_file: Option<String>,
    /// Whether the server's certificate is not verified. Only where the user said so.
    pub insecure: bool,
    /// Seconds to wait.
    pub timeout: u64,
    /// `all`, `safe`, `none`.
    pub follow_redirects: String,
    /// Whether proxies of the environment are used.
    pub use_proxy: bool,
}

/// What the engine needs of the world outside; everything a lookup or filter reads comes through here.
pub trait World: Send + Sync {
    /// Decrypts the armoured text of a `!vault` value, and makes the secret known to the redactor.
    fn unvault(&self, armoured: &str, span: Span) -> Result<Arc<str>, Diagnostic>;

    /// Returns what an address answers to a GET, whose status says that it went well.
    ///
    /// # Errors
    /// Says why there is no such answer.
    fn fetch(&self, _wanted: &Fetch) -> Result<Vec<u8>, String> {
        Err("nothing is fetched here".to_owned())
    }

    /// Returns the hosts of a pattern, in the order of the inventory.
    ///
    /// # Errors
    /// Says what is wrong with the pattern.
    fn select(&self, _pattern: &str) -> Result<Vec<String>, String> {
        Err("there is no inventory here".to_owned())
    }

    /// Returns the places where a file is looked for, the nearest first; `folder` as in [`Self::find`].
    fn places(&self, folder: &str, name: &str) -> Vec<std::path::PathBuf> {
        vec![self.folder().join(folder).join(name), self.folder().join(name)]
    }

    /// Whether a text came out of a vault.
    fn is_vaulted(&self, _text: &str) -> bool {
        false
    }

    /// Whether a file of the controller is a vault.
    ///
    /// # Errors
    /// Says why it cannot be read.
    fn is_vaulted_file(&self, _path: &std::path::Path) -> Result<bool, String> {
        Ok(false)
    }

    /// Returns a file that `lookup('file')`, `{% include %}` and the like name; `folder` is `files`, `templates`, `vars`, or `*` for
    /// the one that the task at hand takes its files from.
    fn find(&self, folder: &str, name: &str) -> Option<std::path::PathBuf>;

    /// Reads a file of the controller, decrypted where it is a vault.
    fn read(&self, path: &std::path::Path) -> Result<Vec<u8>, String>;

    /// Keeps a text out of every output of this run.
    fn secret(&self, text: &str);

    /// Says something that the user should know, once.
    fn warn(&self, message: &str);

    /// Returns the folder that relative paths of lookups start from: the playbook's.
    fn folder(&self) -> std::path::PathBuf;

    /// Runs a command line on the controller, for `lookup('pipe')`, and returns what it printed.
    ///
    /// # Errors
    /// Says why it did not run, or how it failed.
    fn pipe(&self, _command: &str) -> Result<Vec<u8>, String> {
        Err("no command can be run here".to_owned())
    }

    /// Writes a file of the controller that only its owner may read, for `lookup('password')`; makes its folder.
    ///
    /// # Errors
    /// Says why it could not be written.
    fn keep(&self, _path: &std::path::Path, _text: &str) -> Result<(), String> {
        Err("no file can be written here".to_owned())
    }

    /// Encrypts a text as a vault does, with a password of the template's own.
    ///
    /// # Errors
    /// Says why it cannot be encrypted.
    fn seal(&self, _text: &str, _password: &str, _salt: Option<&str>, _label: &str) -> Result<String, String> {
        Err("there is no vault here".to_owned())
    }

    /// Decrypts a vaulted text with a password of the template's own.
    ///
    /// # Errors
    /// Says why it cannot be decrypted.
    fn open(&self, _armoured: &str, _password: &str) -> Result<String, String> {
        Err("there is no vault here".to_owned())
    }

    /// Returns a variable of the controller's environment.
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    /// Returns what a setting is, by the name that `ansible-config` lists; `None` where there is no such setting.
    fn setting(&self, _name: &str) -> Option<Value> {
        None
    }

    /// Returns what a path of the controller is; with `follow`, what a link leads to.
    fn stat(&self, path: &std::path::Path, follow: bool) -> Option<std::fs::Metadata> {
        if follow { std::fs::metadata(path).ok() } else { std::fs::symlink_metadata(path).ok() }
    }

    /// Returns the names in a folder of the controller, sorted.
    fn list(&self, folder: &std::path::Path) -> Vec<std::path::PathBuf> {
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths
    }
}

/// Returns a filter's, test's or lookup's own name: without the collection where that is one whose names are ours too.
fn short_name(name: &str) -> Option<&str> {
    match name.rsplit_once('.') {
        None => Some(name),
        Some(("ansible.builtin" | "ansible.legacy" | "community.general" | "ansible.utils" | "ansible.netcommon", short)) => Some(short),
        Some(_) => None,
    }
}
