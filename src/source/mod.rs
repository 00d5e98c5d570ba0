//! Text with places: which file, which line, and what to say about it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use serde::{Deserialize, Serialize};

pub mod diagnostic;
mod loosen;
mod mistakes;
pub mod node;
pub mod render;
pub mod scalar;
pub mod suggest;
pub mod yaml;

pub use diagnostic::{Diagnostic, Severity};
pub use node::{Kind, Node};

/// A file that was read, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileId(pub u32);

/// A place: bytes `start..end` of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

/// Every text that was read in a run. File 0 is the command line. Cheap to clone: clones share.
#[derive(Clone, Debug)]
pub struct Sources {
    files: Arc<RwLock<Vec<Arc<SourceFile>>>>,
    ansible_form: Arc<AtomicBool>,
    /// Files whose text must not be shown.
    hidden: Arc<RwLock<HashSet<PathBuf>>>,
}

/// One text and its name.
#[derive(Debug)]
pub struct SourceFile {
    /// The path as the user would type it, or a name such as `<command line>`.
    pub path: PathBuf,
    /// The text.
    pub text: String,
    /// Where each line starts.
    lines: Vec<u32>,
    /// It came out of a vault: nothing of it may stand in a message.
    pub hidden: bool,
}

/// A place as a person counts it: from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The file's path.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

impl Default for Sources {
    fn default() -> Self {
        let sources = Self { files: Arc::default(), ansible_form: Arc::default(), hidden: Arc::default() };
        sources.add("<command line>", "");
        sources
    }
}

impl Sources {
    /// Takes in a text and returns its number.
    pub fn add(&self, path: impl AsRef<Path>, text: impl Into<String>) -> FileId {
        let text = text.into();
        #[allow(clippy::cast_possible_truncation)]
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at as u32 + 1)).collect();
        let path = path.as_ref().to_owned();
        let hidden = self.hidden.read().is_ok_and(|hidden| hidden.contains(&path));
        let file = Arc::new(SourceFile { path, text, lines, hidden });
        let Ok(mut files) = self.files.write() else { return FileId(0) };
        files.push(file);
        #[allow(clippy::cast_possible_truncation)]
        FileId(files.len() as u32 - 1)
    }

    /// Has messages written in Ansible's form from now on.
    pub fn use_ansible_form(&self) {
        self.ansible_form.store(true, Ordering::Relaxed);
    }

    /// Whether messages are written in Ansible's form.
    pub fn in_ansible_form(&self) -> bool {
        self.ansible_form.load(Ordering::Relaxed)
    }

    /// Keeps the text of a file out of messages: to be said before it is read.
    pub fn hide(&self, path: &Path) {
        if let Ok(mut hidden) = self.hidden.write() {
            hidden.insert(path.to_owned());
        }
    }

    /// Returns a file by number.
    pub fn get(&self, id: FileId) -> Option<Arc<SourceFile>> {
        self.files.read().ok()?.get(id.0 as usize).cloned()
    }

    /// Returns every file, in the order it was read in.
    pub fn all(&self) -> Vec<Arc<SourceFile>> {
        self.files.read().map(|files| files.clone()).unwrap_or_default()
    }

    /// Whether a text stands in one of the user's files; how it is broken into lines does not matter.
    pub fn tell(&self, text: &str) -> bool {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let wanted = squeezed(text);
        self.all().iter().any(|file| file.text.contains(text) || squeezed(&file.text).contains(&wanted))
    }

    /// Returns where `span` starts, as a person counts it.
    pub fn place(&self, span: Span) -> Option<Place> {
        let file = self.get(span.file)?;
        let (line, column) = file.line_and_column(span.start);
        Some(Place { path: file.path.clone(), line, column })
    }
}

impl SourceFile {
    /// Returns line and column, both from 1, of a byte.
    pub fn line_and_column(&self, at: u32) -> (u32, u32) {
        let line = self.lines.partition_point(|start| *start <= at).saturating_sub(1);
        let start = self.lines.get(line).copied().unwrap_or_default() as usize;
        let before = self.text.get(start..at as usize).unwrap_or_default();
        #[allow(clippy::cast_possible_truncation)]
        (line as u32 + 1, before.chars().count() as u32 + 1)
    }

    /// Returns a line, counted from 1, without its line break.
    pub fn line(&self, number: u32) -> Option<&str> {
        let start = *self.lines.get((number as usize).checked_sub(1)?)? as usize;
        self.text.get(start..)?.lines().next()
    }
}
