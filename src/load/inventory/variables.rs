//! `group_vars/` and `host_vars/`: files, and folders of files, named after groups and hosts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::load::nodes::to_value;
use crate::load::vault::Vault;
use crate::load::vault::format::Sealed;
use crate::source::{Diagnostic, Severity, Sources, yaml};
use crate::value::{Lazy, Value};

use super::{Defined, GroupName, HostName};

/// What a variable file's name may end in; the first that exists counts.
const SUFFIXES: &[&str] = &["", ".yml", ".yaml", ".json"];

/// A folder that may have `group_vars` and `host_vars` in it, and what was read of them.
#[derive(Clone, Debug)]
pub(super) struct VariableFolder {
    path: PathBuf,
    /// Whether it is the playbook's, not an inventory's.
    pub(super) of_playbook: bool,
    pub(super) groups: HashMap<GroupName, Defined>,
    pub(super) hosts: HashMap<HostName, Defined>,
    group_files: Option<Listing>,
    host_files: Option<Listing>,
}

/// The names in a folder, each with its path.
type Listing = HashMap<String, PathBuf>;

/// How files are read.
pub(super) struct Reader<'a> {
    pub(super) sources: &'a Sources,
    pub(super) vault: &'a Arc<Vault>,
}

/// What came up while reading.
#[derive(Default)]
pub(super) struct Found {
    pub(super) errors: Vec<Diagnostic>,
    pub(super) warnings: Vec<Diagnostic>,
}

impl VariableFolder {
    pub(super) fn new(path: &Path, of_playbook: bool) -> Self {
        let (groups, hosts) = (HashMap::new(), HashMap::new());
        Self { path: path.to_owned(), of_playbook, groups, hosts, group_files: None, host_files: None }
    }

    pub(super) fn is_at(&self, path: &Path) -> bool {
        self.path == path
    }

    /// Reads the files of these groups and hosts, except those read before.
    pub(super) fn read<'a>(
        &mut self,
        reader: &Reader<'_>,
        groups: impl Iterator<Item = &'a GroupName>,
        hosts: impl Iterator<Item = &'a HostName>,
    ) -> Found {
        let mut found = Found::default();
        let group_files = self.group_files.get_or_insert_with(|| list(&self.path.join("group_vars")));
        read_new(reader, group_files, groups, &mut self.groups, &mut found);
        let host_files = self.host_files.get_or_insert_with(|| list(&self.path.join("host_vars")));
        read_new(reader, host_files, hosts, &mut self.hosts, &mut found);
        // Where something is wrong anyway, all that is damaged is told.
        if !found.errors.is_empty() {
            let all = self.groups.values().chain(self.hosts.values());
            all.flat_map(|defined| defined.variables.values()).for_each(|value| damaged(value, &mut found.errors));
        }
        found
    }
}

/// Tells which vaulted texts in a value are none.
fn damaged(value: &Value, errors: &mut Vec<Diagnostic>) {
    match value {
        Value::Lazy(lazy) => {
            if let Lazy::Vault(text) = &**lazy
                && let Err(why) = Sealed::parse(text.text.as_bytes())
            {
                errors.push(Diagnostic::error(format!("this cannot be decrypted: {why}")).at(text.span));
            }
        }
        Value::List(items) => items.iter().for_each(|item| damaged(item, errors)),
        Value::Map(map) => map.values().for_each(|item| damaged(item, errors)),
        _ => {}
    }
}

fn read_new<'a>(
    reader: &Reader<'_>,
    files: &Listing,
    names: impl Iterator<Item = &'a Arc<str>>,
    known: &mut HashMap<Arc<str>, Defined>,
    found: &mut Found,
) {
    if files.is_empty() {
        return;
    }
    for name in names {
        if known.contains_key(name) {
            continue;
        }
        let Some(path) = SUFFIXES.iter().find_map(|suffix| files.get(&format!("{name}{suffix}"))) else { continue };
        let mut defined = Defined::default();
        for file in files_of(path) {
            if let Some(read) = read_file(reader, &file, found) {
                defined.extend(&read);
            }
        }
        known.insert(name.clone(), defined);
    }
}

fn list(folder: &Path) -> Listing {
    let Ok(entries) = std::fs::read_dir(folder) else { return Listing::new() };
    entries.filter_map(Result::ok).map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect()
}

/// Returns the files that a path stands for: itself, or what is in the folder, in order of names.
fn files_of(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let mut names: Vec<_> = list(path).into_iter().collect();
    names.sort_unstable();
    let mut files = Vec::new();
    for (name, path) in names {
        let suffix = Path::new(&name).extension().and_then(|suffix| suffix.to_str()).unwrap_or_default();
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        if path.is_dir() {
            files.extend(files_of(&path));
        } else if matches!(suffix, "" | "yml" | "yaml" | "json") {
            files.push(path);
        }
    }
    files
}

/// Reads a file of variables.
pub(super) fn read_file(reader: &Reader<'_>, path: &Path, found: &mut Found) -> Option<Defined> {
    if reader.vault.is_vaulted(path) {
        reader.sources.hide(path);
    }
    let bytes = reader.vault.read_file(path).map_err(|error| found.errors.push(error)).ok()?;
    let Ok(text) = String::from_utf8(bytes) else {
        found.errors.push(Diagnostic::error(format!("`{}` is not UTF-8 text", path.display())).hint("save it as UTF-8"));
        return None;
    };
    let parsed = yaml::parse(reader.sources, path, text);
    let failed = parsed.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    for diagnostic in parsed.diagnostics {
        match diagnostic.severity {
            Severity::Error => found.errors.push(diagnostic),
            Severity::Warning => found.warnings.push(diagnostic),
        }
    }
    let node = parsed.documents.first().filter(|node| !failed && !node.is_null())?;
    let Some(entries) = node.as_map() else {
        let message = format!("a file of variables has to be a dictionary, this is {}", node.kind_name());
        found.errors.push(Diagnostic::error(message).at(node.span).hint("write `name: value` lines"));
        return None;
    };
    let mut defined = Defined::default();
    for (name, value) in entries {
        match name.as_str() {
            Some(text) => defined.set(text, to_value(value), name.span),
            None => {
                let message = format!("the name of a variable has to be a text, this is {}", name.kind_name());
                found.errors.push(Diagnostic::error(message).at(name.span).hint("quote it"));
            }
        }
    }
    Some(defined)
}
