//! Reads the user's files: each text is taken into [`Sources`], vaulted files are decrypted, and everything wrong in a
//! file is collected before it is reported.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::load::collections::Collections;
use crate::load::nodes::to_value;
use crate::load::playbook::Role;
use crate::load::vault::Vault;
use crate::source::{Diagnostic, Node, Severity, Sources, Span, yaml};
use crate::value::{Map, Value};

/// Renders a name that must be known when the playbook is read (`import_tasks: "{{ x }}.yml"`), with the variables that
/// are known then. The map has what the play itself defines.
pub type Early = Arc<dyn Fn(&Value, &Map) -> Result<Value, Diagnostic> + Send + Sync>;

/// What a key is that is given twice in one dictionary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DuplicateKeys {
    /// A warning.
    #[default]
    Warn,
    /// An error.
    Error,
    /// Nothing.
    Ignore,
}

/// Reads playbooks, task files, roles and variable files.
pub struct Loader {
    /// Every text read so far.
    pub sources: Sources,
    /// Decrypts what is vaulted.
    pub vault: Arc<Vault>,
    /// Folders where roles are looked for, after those beside the playbook.
    pub roles_path: Vec<PathBuf>,
    /// Where collections are looked for.
    pub collections: Collections,
    early: Early,
    duplicate_keys: DuplicateKeys,
    warnings: Mutex<Vec<Diagnostic>>,
    pub(super) roles: Mutex<HashMap<RoleKey, Arc<Role>>>,
}

/// What makes two uses of a role share what was read: folder and entry files, in the order tasks, vars, defaults, handlers.
pub(super) type RoleKey = (PathBuf, [String; 4]);

/// Everything wrong in what was read; never empty.
pub type Errors = Vec<Diagnostic>;

impl Loader {
    /// Returns a loader.
    pub fn new(sources: Sources, vault: Arc<Vault>, roles_path: Vec<PathBuf>, early: Early) -> Self {
        Self {
            sources,
            vault,
            roles_path,
            collections: Collections::default(),
            early,
            duplicate_keys: DuplicateKeys::default(),
            warnings: Mutex::default(),
            roles: Mutex::default(),
        }
    }

    /// Says what a key that is given twice is.
    #[must_use]
    pub fn with_duplicate_keys(mut self, are: DuplicateKeys) -> Self {
        self.duplicate_keys = are;
        self
    }

    /// Says in which folders collections are installed.
    #[must_use]
    pub fn with_collections(mut self, paths: Vec<PathBuf>) -> Self {
        self.collections = Collections::new(paths);
        self
    }

    /// Returns the warnings collected since the last call.
    pub fn take_warnings(&self) -> Vec<Diagnostic> {
        self.warnings.lock().map(|mut warnings| std::mem::take(&mut *warnings)).unwrap_or_default()
    }

    /// Keeps a warning for [`Loader::take_warnings`].
    pub fn warn(&self, warning: Diagnostic) {
        if let Ok(mut warnings) = self.warnings.lock() {
            warnings.push(warning);
        }
    }

    /// Renders a name that must be known now.
    ///
    /// # Errors
    /// It cannot be rendered.
    pub fn early(&self, value: &Value, known: &Map) -> Result<Value, Diagnostic> {
        match value {
            Value::Lazy(_) => (self.early)(value, known),
            plain => Ok(plain.clone()),
        }
    }

    /// Reads a YAML file; `None` for an empty one. `from` is where it is named.
    ///
    /// # Errors
    /// The file cannot be read, cannot be decrypted, or is not one YAML document.
    pub fn document(&self, path: &Path, from: Option<Span>) -> Result<Option<Node>, Errors> {
        let named = |diagnostic: Diagnostic| match from {
            Some(span) => diagnostic.at(span),
            None => diagnostic,
        };
        if self.vault.is_vaulted(path) {
            self.sources.hide(path);
        }
        let bytes = self.vault.read_file(path).map_err(|diagnostic| vec![diagnostic])?;
        let text = String::from_utf8(bytes)
            .map_err(|_| vec![named(Diagnostic::error(format!("`{}` is not UTF-8 text", path.display())).hint("save it as UTF-8"))])?;
        self.document_of_text(path, text)
    }

    /// Reads a text as YAML, under the name of `path`; `None` for an empty one.
    pub(super) fn document_of_text(&self, path: &Path, text: String) -> Result<Option<Node>, Errors> {
        let mut parsed = yaml::parse(&self.sources, path, text);
        let is_duplicate = |diagnostic: &Diagnostic| diagnostic.rule == Some(yaml::DUPLICATE_KEY);
        match self.duplicate_keys {
            DuplicateKeys::Warn => {}
            DuplicateKeys::Ignore => parsed.diagnostics.retain(|diagnostic| !is_duplicate(diagnostic)),
            DuplicateKeys::Error => {
                parsed.diagnostics.iter_mut().filter(|diagnostic| is_duplicate(diagnostic)).for_each(|diagnostic| {
                    diagnostic.severity = Severity::Error;
                });
            }
        }
        let (errors, warnings): (Vec<_>, Vec<_>) =
            parsed.diagnostics.into_iter().partition(|diagnostic| diagnostic.severity == Severity::Error);
        for warning in warnings {
            self.warn(warning);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut documents = parsed.documents.into_iter();
        let first = documents.next().filter(|node| !node.is_null());
        if let Some(second) = documents.next() {
            return Err(vec![
                Diagnostic::error("a second document begins here")
                    .at(second.span)
                    .hint("one file has one document: remove the `---` in the middle"),
            ]);
        }
        Ok(first)
    }

    /// Reads a file of variables: a dictionary, or nothing.
    ///
    /// # Errors
    /// As [`Loader::document`], or it is not a dictionary.
    pub fn vars_file(&self, path: &Path, from: Option<Span>) -> Result<Map, Errors> {
        let Some(node) = self.document(path, from)? else { return Ok(Map::new()) };
        match to_value(&node) {
            Value::Map(map) => Ok(Arc::unwrap_or_clone(map)),
            Value::List(maps) if maps.iter().all(|map| map.as_map().is_some()) => {
                let entries = maps.iter().filter_map(Value::as_map).flatten();
                Ok(entries.map(|(name, value)| (name.clone(), value.clone())).collect())
            }
            _ => Err(vec![
                Diagnostic::error(format!("a file of variables has to be a dictionary, this is {}", node.kind_name()))
                    .at(node.span)
                    .hint("write `name: value` lines"),
            ]),
        }
    }

    /// Reads all files of variables that `folder/name` stands for: `name`, `name.yml`, `name.yaml`, `name.json`, or every file in the folder `name/`.
    pub(super) fn vars_by_name(&self, folder: &Path, name: &str) -> Result<Option<Map>, Errors> {
        let Some(found) = find_yaml(folder, name) else { return Ok(None) };
        if !found.is_dir() {
            return self.vars_file(&found, None).map(Some);
        }
        let mut all = Map::new();
        for file in files_below(&found) {
            all.extend(self.vars_file(&file, None)?);
        }
        Ok(Some(all))
    }
}

/// Returns the file or folder that `name` stands for in `folder`: with one of YAML's suffixes, or as it is.
pub(super) fn find_yaml(folder: &Path, name: &str) -> Option<PathBuf> {
    let with_suffix = ["yml", "yaml", "json"].iter().map(|suffix| folder.join(format!("{name}.{suffix}")));
    with_suffix.chain([folder.join(name)]).find(|path| path.exists())
}

/// Returns the variable files below a folder, in order of their paths.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let files = walkdir::WalkDir::new(folder).sort_by_file_name().follow_links(true).into_iter().filter_map(Result::ok);
    let files = files.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path);
    files
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let suffix = path.extension().and_then(|suffix| suffix.to_str()).unwrap_or_default();
            !name.starts_with('.') && !name.ends_with('~') && matches!(suffix, "" | "yml" | "yaml" | "json")
        })
        .collect()
}
