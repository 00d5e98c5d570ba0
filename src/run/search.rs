//! Where the files that a task names are looked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::change::{Failure, Host, Probe};
use crate::load::playbook::RoleHead;
use crate::run::hands::Hands;

/// The folders around a task, nearest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Search {
    /// The role of the task, and the roles that brought it in.
    pub(super) roles: Vec<PathBuf>,
    /// The folder of the file that the task stands in.
    pub(super) folder: PathBuf,
    /// The folder of the playbook.
    pub(super) playbook_folder: PathBuf,
    /// The subfolder that files of the task's kind are in: `tasks`, `vars`, `templates`, else `files`.
    pub(super) kind: &'static str,
}

impl Search {
    pub(super) fn new(role: Option<&Arc<RoleHead>>, parents: &[PathBuf], folder: &Path, playbook_folder: &Path) -> Self {
        let mut roles: Vec<_> = role.map(|role| role.path.clone()).into_iter().collect();
        roles.extend(parents.iter().filter(|path| role.is_none_or(|role| role.path != **path)).cloned());
        roles.dedup();
        Self { roles, folder: folder.to_owned(), playbook_folder: playbook_folder.to_owned(), kind: "files" }
    }

    /// Returns the folders that are searched, nearest first.
    pub(super) fn folders(&self) -> Vec<&Path> {
        let mut folders: Vec<&Path> = self.roles.iter().map(PathBuf::as_path).collect();
        for folder in [&self.folder, &self.playbook_folder] {
            if !folders.contains(&folder.as_path()) {
                folders.push(folder);
            }
        }
        folders
    }

    /// Returns the places where `name` is looked for: in each folder's `kind` (`files`, `templates`, `vars`), then in the folder itself.
    pub(super) fn places(&self, kind: &str, name: &str) -> Vec<PathBuf> {
        let path = Path::new(name);
        if path.is_absolute() {
            return vec![path.to_owned()];
        }
        if let Some(rest) = name.strip_prefix("~/") {
            return std::env::var_os("HOME").map(|home| Path::new(&home).join(rest)).into_iter().collect();
        }
        let both = |folder: &Path| {
            let below = if kind.is_empty() { None } else { Some(folder.join(kind).join(path)) };
            below.into_iter().chain([folder.join(path)])
        };
        self.folders().into_iter().flat_map(both).collect()
    }

    /// Returns the file that `name` means, or the places where it is not.
    pub(super) fn find(&self, kind: &str, name: &str, seen: &Seen) -> Result<PathBuf, Vec<PathBuf>> {
        let places = self.places(kind, name);
        match places.iter().find(|path| seen.exists(path)) {
            Some(path) => Ok(path.clone()),
            None => Err(places),
        }
    }
}

/// The controller's files, in a check with what is foreseen of them: a task may use what one before it would create.
pub(super) struct Seen {
    host: Option<Host>,
}

impl Seen {
    pub(super) fn of(hands: &dyn Hands) -> Self {
        Self { host: hands.foreseen_here() }
    }

    /// Returns the machine, where something is foreseen of it.
    pub(super) fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    fn exists(&self, path: &Path) -> bool {
        match &self.host {
            Some(host) => matches!(host.stat(&absolute(path), true), Ok(Some(_))),
            None => path.exists(),
        }
    }

    /// Returns the content that is foreseen for a file, where it differs from what there is.
    pub(super) fn foreseen(&self, path: &Path) -> Option<Result<Vec<u8>, Failure>> {
        let host = self.host.as_ref()?;
        let path = absolute(path);
        if !host.overlay().paths().iter().any(|known| path.starts_with(known)) {
            return None;
        }
        Some(host.read(&path).and_then(|bytes| bytes.ok_or_else(|| Failure::failed(format!("`{}` does not exist", path.display())))))
    }
}

/// Returns a path as the machine itself knows it.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_is_searched_before_the_playbook() {
        let search = Search { roles: vec!["/r/web".into()], folder: "/r/web/tasks".into(), playbook_folder: "/p".into(), kind: "files" };
        let places: Vec<_> = search.places("files", "a.conf").iter().map(|path| path.display().to_string()).collect();
        assert_eq!(
            places,
            ["/r/web/files/a.conf", "/r/web/a.conf", "/r/web/tasks/files/a.conf", "/r/web/tasks/a.conf", "/p/files/a.conf", "/p/a.conf"]
        );
        assert_eq!(search.places("files", "/etc/motd"), [PathBuf::from("/etc/motd")]);
    }
}
