//! Collections: where they are, and the roles, playbooks and modules in them.

use std::path::{Path, PathBuf};

/// The folder that collections stand in, below each folder of `ANSIBLE_COLLECTIONS_PATH`.
const TOP: &str = "ansible_collections";

/// Where collections are looked for.
#[derive(Clone, Debug, Default)]
pub struct Collections {
    paths: Vec<PathBuf>,
}

impl Collections {
    /// Returns the collections of these folders; those beside a playbook come before.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths }
    }

    /// Returns the folder of the collection `namespace.name`; `beside` is the folder of the playbook.
    pub fn folder(&self, collection: &str, beside: &Path) -> Option<PathBuf> {
        let (namespace, name) = collection.split_once('.').filter(|(namespace, name)| is_word(namespace) && is_word(name))?;
        let own = beside.join("collections");
        let tops = std::iter::once(&own).chain(&self.paths).map(|path| match path.ends_with(TOP) {
            true => path.clone(),
            false => path.join(TOP),
        });
        tops.map(|top| top.join(namespace).join(name)).find(|folder| folder.is_dir())
    }

    /// Returns the collection and the folder of a role, by its full name or by its own in one of the `searched` collections.
    pub fn role(&self, name: &str, searched: &[String], beside: &Path) -> Option<(String, PathBuf)> {
        self.find(name, searched, beside, |folder, own| Some(folder.join("roles").join(own.replace('.', "/"))).filter(|path| path.is_dir()))
    }

    /// Returns the file of a playbook, by its full name: `namespace.name.playbook`.
    pub fn playbook(&self, name: &str, beside: &Path) -> Option<PathBuf> {
        let found = self.find(name, &[], beside, |folder, own| {
            let path = folder.join("playbooks").join(own.replace('.', "/"));
            ["yml", "yaml", "json"].iter().map(|suffix| path.with_extension(suffix)).find(|path| path.is_file())
        });
        found.map(|(_, path)| path)
    }

    /// Returns the program of a module, by its full name or by its own in one of the `searched` collections.
    pub fn module(&self, name: &str, searched: &[String], beside: &Path) -> Option<PathBuf> {
        let found = self.find(name, searched, beside, |folder, own| {
            let path = folder.join("plugins/modules").join(own.replace('.', "/"));
            let (parent, stem) = (path.parent()?, path.file_name()?);
            let mut files: Vec<_> = std::fs::read_dir(parent).ok()?.flatten().map(|entry| entry.path()).collect();
            files.sort();
            let is_program =
                |path: &PathBuf| path.is_file() && !matches!(path.extension().and_then(|end| end.to_str()), Some("yml" | "md"));
            files.into_iter().find(|file| file.file_stem() == Some(stem) && is_program(file))
        });
        found.map(|(_, path)| path)
    }

    fn find(
        &self,
        name: &str,
        searched: &[String],
        beside: &Path,
        inside: impl Fn(&Path, &str) -> Option<PathBuf>,
    ) -> Option<(String, PathBuf)> {
        if name.contains('/') {
            return None;
        }
        let full = name.match_indices('.').nth(1).map(|(at, _)| (name[..at].to_owned(), &name[at + 1..]));
        let plain = searched.iter().filter(|_| !name.contains('.')).map(|collection| (collection.clone(), name));
        full.into_iter().chain(plain).find_map(|(collection, own)| {
            let path = inside(&self.folder(&collection, beside)?, own)?;
            Some((collection, path))
        })
    }
}

/// Returns the collection that a path is in.
pub fn of_path(path: &Path) -> Option<String> {
    let mut parts = path.iter().skip_while(|part| *part != TOP).skip(1).map(|part| part.to_string_lossy());
    Some(format!("{}.{}", parts.next()?, parts.next()?))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test makes its own files")]
    fn roles_playbooks_and_modules_are_found_by_full_name_or_in_collections_that_are_searched() {
        let root = tempfile::tempdir().expect("folder");
        let col = root.path().join("collections/ansible_collections/ns/col");
        for file in ["roles/web/tasks/main.yml", "roles/deep/db/tasks/main.yml", "playbooks/site.yml", "plugins/modules/greet.py"] {
            std::fs::create_dir_all(col.join(file).parent().expect("parent")).expect("made");
            std::fs::write(col.join(file), "").expect("written");
        }
        let collections = Collections::new(vec![root.path().join("collections")]);
        let elsewhere = Path::new("/nowhere");
        let searched = ["other.one".to_owned(), "ns.col".to_owned()];
        assert_eq!(collections.role("ns.col.web", &[], elsewhere), Some(("ns.col".to_owned(), col.join("roles/web"))));
        assert_eq!(collections.role("ns.col.deep.db", &[], elsewhere).map(|found| found.1), Some(col.join("roles/deep/db")));
        assert_eq!(collections.role("web", &searched, elsewhere).map(|found| found.0), Some("ns.col".to_owned()));
        assert_eq!(collections.role("web", &[], elsewhere), None);
        assert_eq!(Collections::default().playbook("ns.col.site", root.path()), Some(col.join("playbooks/site.yml")));
        assert_eq!(collections.module("greet", &searched, elsewhere), Some(col.join("plugins/modules/greet.py")));
        assert_eq!(collections.module("../web", &searched, elsewhere), None);
        assert_eq!(of_path(&col.join("roles/web")).as_deref(), Some("ns.col"));
        assert_eq!(of_path(elsewhere), None);
    }
}
