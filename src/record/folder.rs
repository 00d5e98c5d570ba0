//! The state folder: `$WINDLASS_STATE`, or `windlass` in `$XDG_STATE_HOME` (`~/.local/state`). Private to its user.
//!
//! `key` seals what may hold secrets; `runs/ID/journal` is the journal of a run. Ids begin with the time in UTC, so that
//! their order is that of the runs.

use std::path::{Path, PathBuf};

use super::seal::{KEY_FILE, Key};

/// Names the state folder.
pub const VARIABLE: &str = "WINDLASS_STATE";

/// How many runs are kept. The oldest go first, when a new one begins.
pub const KEPT_RUNS: usize = 500;

/// How many runs are named of which it is not clear which is meant, the last ones first.
const NAMED: usize = 5;

/// The state folder.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Returns the state folder of this user. It may not be there yet.
    ///
    /// # Errors
    /// When nothing says where it is.
    pub fn of_this_user() -> Result<Self, String> {
        let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let path = named(VARIABLE)
            .or_else(|| named("XDG_STATE_HOME").map(|state| state.join("windlass")))
            .or_else(|| named("HOME").map(|home| home.join(".local/state/windlass")))
            .ok_or_else(|| format!("neither {VARIABLE} nor HOME says where the state folder is"))?;
        Ok(Self { path })
    }

    /// Returns the state folder at this path.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the key that seals the keys of runs: of the file that `WINDLASS_STATE_KEY_FILE` names, else of `key` in the folder.
    ///
    /// # Errors
    /// Names the file that cannot be read or made.
    pub fn key(&self) -> Result<Key, String> {
        if let Some(named) = std::env::var_os(KEY_FILE).filter(|value| !value.is_empty()) {
            return Key::of_file(Path::new(&named));
        }
        private(&self.path)?;
        Key::of_file(&self.path.join("key"))
    }

    /// Returns where the journal of a run is.
    pub fn journal(&self, run: &str) -> PathBuf {
        self.path.join("runs").join(run).join("journal")
    }

    /// Makes the folder of a new run and returns the run's id.
    ///
    /// # Errors
    /// Names the folder that cannot be made.
    pub fn new_run(&self) -> Result<String, String> {
        let runs = self.path.join("runs");
        private(&runs)?;
        loop {
            // To the millisecond, so that runs of one second sort as they began.
            let time = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S-%3f");
            let id = format!("{time}{:02x}", rand::random::<u8>());
            match make(&runs.join(&id), false) {
                Ok(()) => return Ok(id),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(format!("the folder `{}` cannot be made: {error}", runs.join(&id).display())),
            }
        }
    }

    /// Returns the ids of all runs, the newest last.
    pub fn runs(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path.join("runs")).into_iter().flatten().flatten();
        let mut ids: Vec<_> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|id| self.journal(id).is_file()).collect();
        ids.sort();
        ids
    }

    /// Returns the id that a user means: a whole id, the beginning or the end of just one, or `last`.
    ///
    /// # Errors
    /// Says that there is none, or that several are meant.
    pub fn meant(&self, name: Option<&str>) -> Result<String, String> {
        let runs = self.runs();
        let Some(name) = name.filter(|name| *name != "last") else {
            return runs.into_iter().next_back().ok_or_else(|| format!("no run is recorded in `{}`", self.path.display()));
        };
        let fitting: Vec<_> = runs.iter().filter(|id| id.starts_with(name) || id.ends_with(name)).collect();
        match fitting.as_slice() {
            [] => Err(format!("there is no run `{name}`; `windlass runs` lists them")),
            [one] => Ok((*one).clone()),
            many => {
                let last: Vec<_> = many.iter().rev().take(NAMED).map(|id| id.as_str()).collect();
                let more = if many.len() > NAMED { ", ..." } else { "" };
                Err(format!("`{name}` means {} runs: {}{more}", many.len(), last.join(", ")))
            }
        }
    }

    /// Removes the oldest runs, so that no more than [`KEPT_RUNS`] are left.
    pub fn prune(&self) {
        let runs = self.runs();
        for id in runs.iter().take(runs.len().saturating_sub(KEPT_RUNS)) {
            remove(&self.path.join("runs").join(id));
        }
    }
}

fn private(path: &Path) -> Result<(), String> {
    make(path, true).map_err(|error| format!("the folder `{}` cannot be made: {error}", path.display()))
}

fn make(path: &Path, with_parents: bool) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(with_parents).mode(0o700).create(path)
}

#[allow(clippy::disallowed_methods, reason = "the controller's own state")]
fn remove(path: &Path) {
    let _ = std::fs::remove_dir_all(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_found_by_a_part_of_its_id() {
        let temporary = tempfile::tempdir().expect("folder");
        let folder = Folder::at(&temporary.path().join("state"));
        assert!(folder.meant(None).is_err());
        let id = folder.new_run().expect("run");
        #[allow(clippy::disallowed_methods, reason = "a test")]
        std::fs::write(folder.journal(&id), "").expect("journal");
        assert_eq!(folder.meant(None), Ok(id.clone()));
        assert_eq!(folder.meant(Some(&id[..12])), Ok(id.clone()));
        assert_eq!(folder.meant(Some(&id[id.len() - 4..])), Ok(id));
        assert!(folder.meant(Some("no")).is_err());
    }
}
