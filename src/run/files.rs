//! The user's files, as the loader reads them, for what the run reads while it runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::load::action::missing_file;
use crate::load::check;
use crate::load::loader::Loader;
use crate::load::playbook::{Item, Role};
use crate::load::role::RoleFiles;
use crate::run::library::{Entries, From, Library};
use crate::source::{Diagnostic, Span};
use crate::value::Map;

/// The user's files, as the loader reads them.
pub struct Files {
    loader: Arc<Loader>,
}

impl Files {
    /// Returns the files that `loader` reads.
    pub fn new(loader: Arc<Loader>) -> Self {
        Self { loader }
    }
}

impl Library for Files {
    fn tasks(&self, name: &str, from: &From<'_>) -> Result<(PathBuf, Vec<Item>), Vec<Diagnostic>> {
        let role = from.role.map(|role| &**role);
        let path = self
            .loader
            .find_tasks_file(name, role, from.folder, from.playbook_folder, from.handlers)
            .map_err(|places| vec![missing_file(name, from.span, &places)])?;
        let items = self.loader.tasks_file(&path, from.role.cloned(), from.handlers, from.playbook_folder, Some(from.span))?;
        let wrong = check::included(&items, from.playbook_folder, from.collections, &self.loader.collections);
        if wrong.is_empty() { Ok((path, items)) } else { Err(wrong) }
    }

    fn role(&self, name: &str, entries: &Entries, from: &From<'_>) -> Result<Arc<Role>, Vec<Diagnostic>> {
        let files = RoleFiles {
            tasks: entries.tasks.clone(),
            vars: entries.vars.clone(),
            defaults: entries.defaults.clone(),
            handlers: entries.handlers.clone(),
        };
        self.loader.role(name, &files, from.playbook_folder, from.role, from.collections, from.span)
    }

    fn module(&self, name: &str, searched: &[String], playbook_folder: &Path) -> Option<PathBuf> {
        self.loader.collections.module(name, searched, playbook_folder)
    }

    fn variables(&self, path: &Path, span: Option<Span>) -> Result<Map, Vec<Diagnostic>> {
        self.loader.vars_file(path, span)
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        self.loader.vault.read_file(path).map_err(|diagnostic| diagnostic.message)
    }

    fn unvault(&self, armoured: &str, span: Span) -> Result<Arc<str>, Diagnostic> {
        self.loader.vault.decrypt_text(armoured, span)
    }

    fn is_vaulted(&self, text: &str) -> bool {
        self.loader.vault.has_opened(text)
    }
}
