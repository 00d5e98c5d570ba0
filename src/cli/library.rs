//! What a run reads while it runs, and whom it asks: the loader and the terminal.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::load::action::missing_file;
use crate::load::loader::Loader;
use crate::load::playbook::{Item, Role, RoleHead};
use crate::load::role::RoleFiles;
use crate::run::library::{Asker, Entries, From, Library};
use crate::source::{Diagnostic, Span};
use crate::value::Map;

/// The loader, as a run sees it.
pub struct Shelf(pub Arc<Loader>);

impl Library for Shelf {
    fn tasks(&self, name: &str, from: &From<'_>) -> Result<(PathBuf, Vec<Item>), Vec<Diagnostic>> {
        let role: Option<&RoleHead> = from.role.map(|role| &**role);
        let found = self.0.find_tasks_file(name, role, from.folder, from.playbook_folder, from.handlers);
        let path = found.map_err(|places| vec![missing_file(name, from.span, &places)])?;
        let items = self.0.tasks_file(&path, from.role.cloned(), from.handlers, from.playbook_folder, Some(from.span))?;
        Ok((path, items))
    }

    fn role(&self, name: &str, entries: &Entries, from: &From<'_>) -> Result<Arc<Role>, Vec<Diagnostic>> {
        let files = RoleFiles {
            tasks: entries.tasks.clone(),
            vars: entries.vars.clone(),
            defaults: entries.defaults.clone(),
            handlers: entries.handlers.clone(),
        };
        self.0.role(name, &files, from.playbook_folder, from.role, from.span)
    }

    fn variables(&self, path: &Path, span: Option<Span>) -> Result<Map, Vec<Diagnostic>> {
        self.0.vars_file(path, span)
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        self.0.vault.read_file(path).map_err(|diagnostic| diagnostic.message)
    }

    fn unvault(&self, armoured: &str, span: Span) -> Result<Arc<str>, Diagnostic> {
        self.0.vault.decrypt_text(armoured, span)
    }
}

/// The person at the terminal.
pub struct Person;

impl Asker for Person {
    fn ask(&self, prompt: &str, echo: bool) -> Option<String> {
        use std::io::{BufRead, IsTerminal, Write};
        if !std::io::stdin().is_terminal() {
            return None;
        }
        if !echo {
            return rpassword::prompt_password(prompt).ok();
        }
        let mut err = std::io::stderr().lock();
        let _ = write!(err, "{prompt}").and_then(|()| err.flush());
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).ok()?;
        Some(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}
