//! Temporary files beside their targets: recognisable, known while they exist, gone whatever happens.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::Failure;

/// How the name of every temporary file begins: one that a crash of the machine left behind is recognised by it.
pub const PREFIX: &str = ".windlass-";

/// The temporary files that exist now.
static KNOWN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Removes every temporary file that exists now: for an agent that has to end in the middle of a change.
pub fn cleanup() {
    let known = std::mem::take(&mut *KNOWN.lock().unwrap_or_else(PoisonError::into_inner));
    for path in known {
        remove(&path);
    }
}

/// Whether a file of this name is one of ours that was left behind.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// A temporary file. It is removed when dropped, unless it was put in place.
#[derive(Debug)]
pub struct Temporary {
    path: PathBuf,
}

impl Temporary {
    /// Returns a new name beside `target`. Nothing is made yet.
    pub fn beside(target: &Path) -> Self {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let short: String = name.chars().take(40).collect();
        let path = target.with_file_name(format!("{PREFIX}{:012x}-{short}", rand::random::<u64>() >> 16));
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
        Self { path }
    }

    /// Makes the file, readable by its owner alone.
    ///
    /// # Errors
    /// Names the folder that cannot be written to.
    pub fn create(&self) -> Result<File, Failure> {
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path);
        opened.map_err(|error| {
            let folder = self.path.parent().unwrap_or(&self.path);
            Failure::io(if folder.is_dir() { "make a file in" } else { "find the folder" }, folder, &error)
        })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in place of `target`, atomically.
    ///
    /// # Errors
    /// As the system says.
    #[allow(clippy::disallowed_methods, reason = "part of applying a change")]
    pub fn put(self, target: &Path) -> Result<(), Failure> {
        fs::rename(&self.path, target).map_err(|error| match error.raw_os_error() {
            Some(errno @ 16) => Failure::Io {
                doing: "replace".to_owned(),
                path: target.to_owned(),
                message: "it is a mount point, such as a file that a container got from outside, so it cannot be replaced in one step"
                    .to_owned(),
                errno,
            },
            _ => Failure::io("replace", target, &error),
        })?;
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path);
        sync_folder(target);
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if KNOWN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path) {
            remove(&self.path);
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "removes only what this file made")]
fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

/// Makes the change of a name last through a crash. Not every file system can; that is no failure.
pub fn sync_folder(path: &Path) {
    if let Some(folder) = path.parent()
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_file_goes_when_it_is_dropped() {
        let folder = tempfile::tempdir().expect("folder");
        let temporary = Temporary::beside(&folder.path().join("a"));
        drop(temporary.create().expect("made"));
        let path = temporary.path().to_owned();
        assert!(path.exists() && is_temporary(&path.file_name().expect("name").to_string_lossy()));
        drop(temporary);
        assert!(!path.exists());
    }
}
