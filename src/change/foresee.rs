//! What a change would come to, without making it: taken into the picture of the host, or refused as the host would refuse it.

use std::io::{Error, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::Path;

use super::apply::accepted;
use super::probe::FileKind;
use super::{Change, Content, Failure, Foreseen, Host, Probe as _};

/// The system's numbers: "Operation not permitted", "No such file or directory", "File exists", "Not a directory".
const NOT_PERMITTED: i32 = 1;
const MISSING: i32 = 2;
const EXISTS: i32 = 17;
const NO_FOLDER: i32 = 20;

impl Host {
    /// Takes a change into the picture of what the host would be.
    ///
    /// # Errors
    /// When the host would refuse it, or cannot be read where the change is; [`Failure::Unknown`] where nobody can tell.
    pub fn foresee(&mut self, change: &Change) -> Result<(), Failure> {
        self.require_place(change)?;
        if let Change::Write { path, after, validate: Some(line), .. } = change {
            self.require_accepted(line, path, after)?;
        }
        self.take_in(&Foreseen::Change(Box::new(change.clone())))
    }

    /// Refuses what has no folder to be in, or something else in its place.
    fn require_place(&self, change: &Change) -> Result<(), Failure> {
        let refused = |doing: &str, path: &Path, number: i32| Err(Failure::io(doing, path, &Error::from_raw_os_error(number)));
        let (path, doing) = match change {
            Change::Write { path, .. } => (path, "find the folder"),
            Change::Directory { path, .. } => (path, "make the directory"),
            Change::Link { path, .. } => (path, "make the link"),
            _ => return Ok(()),
        };
        // A relative path has an empty parent: the folder that the agent works in.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let told = if matches!(change, Change::Write { .. }) { folder.unwrap_or(path) } else { path };
        match folder.map(|folder| self.kind(folder)).transpose()? {
            Some(None) => return refused(doing, told, MISSING),
            Some(Some(kind)) if kind != FileKind::Directory => return refused(doing, told, NO_FOLDER),
            _ => {}
        }
        match change {
            Change::Directory { .. } if self.stat(path, false)?.is_some() => match self.stat(path, true)? {
                Some(stat) if stat.kind == FileKind::Directory => Ok(()),
                _ => refused(doing, path, EXISTS),
            },
            Change::Link { target, hard: true, .. } => match self.stat(target, false)?.map(|stat| stat.kind) {
                None => refused(doing, path, MISSING),
                Some(FileKind::Directory) => refused(doing, path, NOT_PERMITTED),
                Some(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Has the user's own check of a new file look at it, in memory, as a run does before the file is put in place. What it refuses
    /// there it may still accept in the file's own folder, beside the files that this one names.
    fn require_accepted(&self, line: &str, path: &Path, content: &Content) -> Result<(), Failure> {
        let Content::Bytes(bytes) = content else {
            return Err(Failure::unknown(format!("`{line}` was not asked about the new content of `{}`", path.display())));
        };
        let io = |error: &Error| Failure::io("show the new content of", path, error);
        let memory = rustix::fs::memfd_create("windlass", rustix::fs::MemfdFlags::CLOEXEC).map_err(|error| io(&error.into()))?;
        let mut file = std::fs::File::from(memory);
        file.write_all(bytes).map_err(|error| io(&error))?;
        let shown = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        match accepted(self, line, Path::new(&shown), path) {
            Err(Failure::Failed { message, values, .. }) => {
                let said = ["stderr", "stdout"].iter().filter_map(|name| values.get(*name)).map(ToString::to_string);
                let said = said.flat_map(|text| text.lines().find(|line| !line.trim().is_empty()).map(str::to_owned)).next();
                Err(Failure::unknown(format!("{message}, or not in a check: {}", said.unwrap_or_else(|| "it says nothing".to_owned()))))
            }
            // An argument that cannot be right is wrong in a run too; a program that is missing may come with a package before it.
            Err(failure) if !matches!(failure, Failure::Argument { .. }) => {
                Err(Failure::unknown(format!("`{line}` cannot be asked in a check: {failure}")))
            }
            other => other,
        }
    }
}
