//! Modules that the user brings along: where `library/` is looked for.

use std::path::{Path, PathBuf};

use crate::modules;

/// Endings of files in `library/` that are no modules.
const NO_MODULES: &[&str] = &["pyc", "pyo", "swp", "bak", "md", "rst", "txt", "yml", "yaml", "toml", "ini", "json", "orig", "rpm"];

/// Returns the program of the module `name` in the `library/` of one of `folders`, or in a folder of `ANSIBLE_LIBRARY`.
/// A full name (`ansible.builtin.copy`) means what windlass has; a module that needs Ansible's Python library does not come
/// before one of windlass.
pub fn find<'a>(name: &str, folders: impl IntoIterator<Item = &'a Path>) -> Option<PathBuf> {
    let name = name.strip_prefix("ansible.legacy.").unwrap_or(name);
    if name.contains(['.', '/']) {
        return None;
    }
    let libraries = folders.into_iter().map(|folder| folder.join("library")).chain(from_environment());
    let found = libraries.filter(|folder| folder.is_dir()).find_map(|folder| inside(&folder, name, 0))?;
    let is_ours = modules::find(name).is_some();
    let is_theirs = || std::fs::read(&found).is_ok_and(|program| modules::script_module::needs_ansible(&program));
    if is_ours && is_theirs() { None } else { Some(found) }
}

/// The folders of `ANSIBLE_LIBRARY`, as Ansible takes them: separated by colons.
fn from_environment() -> Vec<PathBuf> {
    std::env::var_os("ANSIBLE_LIBRARY").map(|paths| std::env::split_paths(&paths).collect()).unwrap_or_default()
}

/// Looks for the module in a folder and those in it.
fn inside(folder: &Path, name: &str, depth: u8) -> Option<PathBuf> {
    let mut entries: Vec<_> = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    let is_module = |path: &&PathBuf| {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
        path.file_stem().is_some_and(|stem| stem == name) && !NO_MODULES.contains(&ending.as_str()) && path.is_file()
    };
    let below = || {
        let folders = entries.iter().filter(|path| depth < 3 && path.is_dir());
        folders.into_iter().find_map(|folder| inside(folder, name, depth + 1))
    };
    entries.iter().find(is_module).cloned().or_else(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test makes its own files")]
    fn a_library_is_searched_with_the_folders_in_it() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::create_dir_all(folder.path().join("library/more")).expect("made");
        for (name, text) in [
            ("library/greet.sh", "#!/bin/sh\n"),
            ("library/greet.md", "about"),
            ("library/more/copy.py", "from ansible.module_utils.basic import AnsibleModule\n"),
            ("library/more/ping.py", "# WANT_JSON\n"),
        ] {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        let found = |name: &str| find(name, [folder.path()]).map(|path| path.strip_prefix(folder.path()).expect("below").to_owned());
        assert_eq!(found("greet"), Some("library/greet.sh".into()));
        assert_eq!(found("ping"), Some("library/more/ping.py".into()));
        assert_eq!((found("copy"), found("ansible.builtin.ping"), found("other")), (None, None, None));
    }
}
