//! Temporary files beside their targets: recognisable, known while they exist, gone whatever happens.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::Failure;
use super::keeper::{self, Note};

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
    /// Keeps the lock on the file by which others see that it is in use.
    lock: Option<File>,
}

impl Temporary {
    /// Returns a new name beside `target`. Nothing is made yet.
    pub fn beside(target: &Path) -> Self {
        let path = target.with_file_name(format!("{PREFIX}{:012x}{}", rand::random::<u64>() >> 16, ending(target)));
        KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
        keeper::note(&Note::Made(&path));
        Self { path, lock: None }
    }

    /// Makes the file, readable by its owner alone, and removes what a killed predecessor left of it.
    ///
    /// # Errors
    /// Names the folder that cannot be written to.
    pub fn create(&mut self, target: &Path) -> Result<File, Failure> {
        sweep(target);
        loop {
            let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path);
            let file = opened.map_err(|error| {
                let folder = self.path.parent().unwrap_or(&self.path);
                Failure::io(if folder.is_dir() { "make a file in" } else { "find the folder" }, folder, &error)
            })?;
            // Not every file system has locks. There nobody sweeps either.
            let _ = file.try_lock();
            if file.metadata().map_or(1, |stat| stat.nlink()) > 0 {
                self.lock = file.try_clone().ok();
                return Ok(file);
            }
            // Somebody swept between the two: once more.
        }
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
        keeper::note(&Note::Gone(&self.path));
        sync_folder(target);
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if KNOWN.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path) {
            remove(&self.path);
            keeper::note(&Note::Gone(&self.path));
        }
    }
}

/// Returns how the names of temporary files for `target` end.
fn ending(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    format!("-{}", name.chars().take(40).collect::<String>())
}

/// Removes temporary files for `target` that nobody has locked: whoever made them was killed.
fn sweep(target: &Path) {
    let (Some(folder), ending) = (target.parent(), ending(target)) else { return };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.strip_suffix(&ending));
        if random.is_none_or(|random| random.len() != 12) || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        if File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            remove(&entry.path());
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "removes only what this file made")]
pub(super) fn remove(path: &Path) {
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
#[allow(clippy::disallowed_methods, reason = "tests make files of their own")]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_file_goes_when_it_is_dropped() {
        let folder = tempfile::tempdir().expect("folder");
        let target = folder.path().join("a");
        let mut temporary = Temporary::beside(&target);
        drop(temporary.create(&target).expect("made"));
        let path = temporary.path().to_owned();
        assert!(path.exists() && is_temporary(&path.file_name().expect("name").to_string_lossy()));
        drop(temporary);
        assert!(!path.exists());
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the test lays out its own files")]
    fn what_a_killed_process_left_is_swept_and_what_another_uses_is_not() {
        let folder = tempfile::tempdir().expect("folder");
        let path = |name: &str| folder.path().join(name);
        for name in [".windlass-0123456789ab-a", ".windlass-0123456789ab-b", ".windlass-mine-a", "other"] {
            fs::write(path(name), "x").expect("write");
        }
        let mut used = Temporary::beside(&path("a"));
        drop(used.create(&path("a")).expect("made"));
        let mut next = Temporary::beside(&path("a"));
        drop(next.create(&path("a")).expect("made"));
        assert!(!path(".windlass-0123456789ab-a").exists());
        assert!(used.path().exists() && next.path().exists());
        assert!(path(".windlass-0123456789ab-b").exists() && path(".windlass-mine-a").exists() && path("other").exists());
    }
}
