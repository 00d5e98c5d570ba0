//! The fact cache: facts of hosts that stay for later runs, in a JSON file for each host, as Ansible's `jsonfile` keeps them.

use std::path::PathBuf;
use std::time::Duration;

use crate::change::{Attributes, Before, Change, Content, Host, Mode, Plan, carry_out};
use crate::value::secret::Redactor;
use crate::value::{Map, Value, json};

/// Set where facts were gathered, and not only set.
const GATHERED: &str = "_ansible_facts_gathered";

/// Where facts stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactCache {
    /// The folder; it is made where it is missing.
    pub folder: PathBuf,
    /// What the files' names begin with, before the host.
    pub prefix: String,
    /// Older facts do not count; `None`: all do.
    pub timeout: Option<Duration>,
}

/// What is kept of a host.
pub(super) struct Cached {
    /// The facts, as variables.
    pub(super) facts: Map,
    /// Whether they were gathered.
    pub(super) gathered: bool,
}

impl FactCache {
    fn file(&self, host: &str) -> Option<PathBuf> {
        let is_name = !host.is_empty() && !host.contains('/') && host != "..";
        is_name.then(|| self.folder.join(format!("{}{host}", self.prefix)))
    }

    /// Returns what is kept of a host. A file that is too old, or not ours to read, counts for nothing.
    pub(super) fn read(&self, host: &str) -> Option<Cached> {
        let path = self.file(host)?;
        if let Some(timeout) = self.timeout {
            let age = std::fs::metadata(&path).ok()?.modified().ok()?.elapsed().unwrap_or_default();
            if age > timeout {
                return None;
            }
        }
        let text = std::fs::read(&path).ok()?;
        let kept = json::from_json(&serde_json::from_slice(&text).ok()?);
        let mut facts = kept.as_map()?.clone();
        let gathered = facts.shift_remove(GATHERED) == Some(Value::Bool(true));
        Some(Cached { facts, gathered })
    }

    /// Keeps the facts of a host; those in which the redactor finds a secret are left out, and returned by name.
    ///
    /// # Errors
    /// Says why they cannot be kept.
    pub(super) fn write(&self, host: &str, facts: &Map, gathered: bool, redactor: &Redactor) -> Result<Vec<String>, String> {
        let Some(path) = self.file(host) else { return Err(format!("`{host}` cannot be the name of a file")) };
        let (open, secret): (Vec<_>, Vec<_>) = facts.iter().partition(|(_, value)| redactor.mask_value(value) == **value);
        let mut kept: Map = open.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        if gathered {
            kept.insert(GATHERED.into(), Value::Bool(true));
        }
        let private = |mode| Attributes { mode: Some(mode), ..Attributes::default() };
        let missing = path.ancestors().skip(1).take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        let mut changes: Vec<_> = missing.map(|folder| Change::Directory { path: folder.to_owned(), attributes: private(0o700) }).collect();
        changes.reverse();
        changes.push(Change::Write {
            path,
            before: Before::Any,
            after: Content::Bytes(json::to_json(&kept.into()).to_string().into_bytes()),
            attributes: private(0o600),
            backup: false,
            validate: None,
            secret: true,
            in_place: false,
        });
        applied(changes)?;
        Ok(secret.into_iter().map(|(name, _)| name.to_string()).collect())
    }

    /// Forgets a host.
    ///
    /// # Errors
    /// Says why its file cannot be removed.
    pub(super) fn forget(&self, host: &str) -> Result<(), String> {
        match self.file(host).filter(|path| path.is_file()) {
            Some(path) => applied(vec![Change::Remove { path, before: Before::Any }]),
            None => Ok(()),
        }
    }
}

fn applied(changes: Vec<Change>) -> Result<(), String> {
    let (_, outcome) = carry_out(&mut Host::new(), &Plan::all("facts are kept", changes), Mode::Apply, false);
    outcome.failure.map_or(Ok(()), |failure| Err(failure.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(folder: &tempfile::TempDir, timeout: Option<u64>) -> FactCache {
        FactCache { folder: folder.path().join("facts"), prefix: "p_".to_owned(), timeout: timeout.map(Duration::from_secs) }
    }

    #[test]
    fn facts_stay_until_they_are_too_old_or_forgotten_and_secrets_do_not() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("folder");
        let redactor = Redactor::default();
        redactor.learn("hunter2secret");
        let facts = Map::from_iter([("a".into(), Value::from(1)), ("b".into(), Value::str("x hunter2secret"))]);
        assert_eq!(cache(&folder, None).write("h", &facts, true, &redactor), Ok(vec!["b".to_owned()]));
        let kept = cache(&folder, Some(60)).read("h").expect("kept");
        assert_eq!((kept.facts, kept.gathered), (Map::from_iter([("a".into(), Value::from(1))]), true));
        let file = folder.path().join("facts/p_h");
        assert_eq!(std::fs::metadata(&file).expect("file").permissions().mode() & 0o777, 0o600);
        std::thread::sleep(Duration::from_millis(5));
        let strict = FactCache { timeout: Some(Duration::from_millis(1)), ..cache(&folder, None) };
        assert!(strict.read("h").is_none());
        assert_eq!(cache(&folder, None).forget("h"), Ok(()));
        assert!(!file.exists() && cache(&folder, None).read("h").is_none());
        assert!(cache(&folder, None).read("../h").is_none());
    }
}
