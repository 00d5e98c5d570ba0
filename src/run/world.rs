//! What templates see of the controller: the vault, files around the task, the redactor.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::report::event::{Event, Listener};
use crate::run::hands::Hands;
use crate::run::library::Library;
use crate::run::search::{Search, Seen};
use crate::source::{Diagnostic, Span};
use crate::value::secret::Redactor;
use crate::vars::World;

/// What templates see of the controller.
pub(super) struct Outside {
    pub(super) library: Arc<dyn Library>,
    pub(super) listener: Arc<dyn Listener>,
    pub(super) redactor: Redactor,
    pub(super) search: Search,
    pub(super) hands: Arc<dyn Hands>,
}

impl World for Outside {
    fn unvault(&self, armoured: &str, span: Span) -> Result<Arc<str>, Diagnostic> {
        let plain = self.library.unvault(armoured, span)?;
        self.redactor.learn(&plain);
        Ok(plain)
    }

    fn find(&self, folder: &str, name: &str) -> Option<PathBuf> {
        self.search.find(folder, name, &Seen::of(&*self.hands)).ok()
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        match Seen::of(&*self.hands).foreseen(path) {
            Some(bytes) => bytes.map_err(|failure| failure.to_string()),
            None => self.library.read(path),
        }
    }

    fn secret(&self, text: &str) {
        self.redactor.learn(text);
    }

    fn warn(&self, message: &str) {
        self.listener.tell(&Event::Warning { message: message.to_owned() });
    }

    fn folder(&self) -> PathBuf {
        self.search.playbook_folder.clone()
    }
}
