//! A plan file: what a run would do, step by step, for somebody to approve, and bound so that nothing else can be applied.
//!
//! It is JSON, a line each: first the [`Head`], then the [`Step`]s, last the `Tail` with the SHA-256 of all bytes before
//! it and, where it is signed, an ed25519 signature of that. The head has the key of the file, sealed with that of the state
//! folder; rendered arguments are sealed with the key of the file, digests are keyed with one that is derived from it, and
//! all else is masked. So anybody can read the file, and only who has the state folder can apply it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Folder;
use super::entry::Who;
use super::seal::Key;
use super::sign::{self, Signer};
use crate::change::{Difference, bound, digest};
use crate::report::event::Status;
use crate::value::secret::Redactor;

/// The version of the form; it goes up with every change of it.
pub const VERSION: u32 = 1;

/// What the plan is of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// See [`VERSION`].
    pub windlass_plan: u32,
    /// The version of windlass that made it. Only the same one can apply it.
    pub windlass: String,
    /// When it was made, RFC 3339, UTC.
    pub made: jiff::Timestamp,
    /// Who made it.
    pub who: Who,
    /// The folder it was made in.
    pub folder: String,
    /// The playbooks' absolute paths.
    pub playbooks: Vec<String>,
    /// The files that were read, with their SHA-256 (hex).
    pub files: BTreeMap<String, String>,
    /// What the change is for.
    pub ticket: Option<String>,
    /// The command line's flags without those that may hold secrets, masked: to read. Those in `sealed` count.
    pub arguments: serde_json::Value,
    /// The key of the file, sealed with that of the state folder.
    pub key: String,
    /// All flags, as JSON, sealed with the key of the file.
    pub sealed: String,
}

/// What one task would do on one host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The host.
    pub host: String,
    /// The step's key, as in the journal.
    pub key: String,
    /// The task's name.
    pub task: String,
    /// Its module.
    pub module: String,
    /// Where it stands: file, line, column.
    pub place: String,
    /// Whether it is a handler.
    pub handler: bool,
    /// What the check came to.
    pub status: Status,
    /// Why.
    pub because: String,
    /// Why the step, or what it is given, cannot be predicted. It has to be allowed by whoever applies the plan.
    pub unknown: Option<String>,
    /// One line for each change.
    pub changes: Vec<String>,
    /// The differences.
    pub diff: Vec<Difference>,
    /// Whether what it does can be taken back.
    pub reversible: bool,
    /// Nothing of it may be shown.
    pub no_log: bool,
    /// The host it is delegated to.
    pub delegated_to: Option<String>,
    /// What it is bound to: one part, or one for each item of its loop.
    pub parts: Vec<Part>,
}

/// What a step, or an item of its loop, is bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Empty for the whole step, `/item2` for an item of its loop.
    pub part: String,
    /// Its condition does not hold.
    pub skipped: bool,
    /// The keyed digest of the rendered arguments and of where they go; none where they are not known.
    pub arguments: Option<String>,
    /// The keyed digest of the changes, as [`bound::Bound`] makes it; none where nothing could be planned.
    pub changes: Option<String>,
    /// The keyed digest of what was found where the changes are made.
    pub found: Option<String>,
    /// The rendered arguments (postcard), sealed.
    pub sealed: Option<String>,
}

/// What holds the file together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tail {
    /// Of all bytes before this line, hex.
    sha256: String,
    /// By whoever stands for the plan.
    signature: Option<sign::Signature>,
}

/// A plan that was read.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it is of.
    pub head: Head,
    /// All steps, those of a task together, in the order of the run.
    pub steps: Vec<Step>,
    /// The digest of the plan: the SHA-256 of the file without its last line.
    pub digest: String,
    /// The key it is signed with, as `ssh-ed25519 AAAA...`.
    pub signed_by: Option<String>,
}

/// What seals and keys the parts of a plan.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Seals.
    pub seal: Key,
    /// Keys the digests; the hosts get this one.
    pub digest: [u8; 32],
}

impl Keys {
    /// Returns the keys of a new plan.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn random() -> Result<Self, String> {
        Key::random().map(Self::of)
    }

    fn of(seal: Key) -> Self {
        use sha2::{Digest as _, Sha256};
        let digest = Sha256::digest(bound::keyed(seal.reveal(), b"windlass plan digests").as_bytes()).into();
        Self { seal, digest }
    }
}

impl Step {
    /// Whether `name` means this step: its task's name, with or without the role's.
    pub fn is_named(&self, name: &str) -> bool {
        self.task == name || self.task.rsplit(" : ").next() == Some(name)
    }
}

/// A plan that is to be written.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What it is of, without the keys.
    pub head: Head,
    /// All flags, as JSON.
    pub flags: serde_json::Value,
    /// All steps, not masked yet.
    pub steps: Vec<Step>,
    /// What it is sealed with.
    pub keys: Keys,
}

impl Draft {
    /// Writes the plan, private to its user and whole or not at all, and returns its digest.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn write(self, path: &Path, folder: &Folder, redactor: &Redactor, signer: Option<&Signer>) -> Result<String, String> {
        let Self { mut head, flags, mut steps, keys } = self;
        head.key = folder.key()?.seal(keys.seal.reveal())?;
        head.sealed = keys.seal.seal(flags.to_string().as_bytes())?;
        mask_json(&mut head.arguments, redactor);
        head.ticket = head.ticket.map(|ticket| redactor.mask(&ticket));
        steps.iter_mut().for_each(|step| step.mask(redactor));
        let wrong = |error: serde_json::Error| format!("the plan cannot be written: {error}");
        let mut text = serde_json::to_string(&head).map_err(wrong)?;
        for step in &steps {
            text.push('\n');
            text.push_str(&serde_json::to_string(step).map_err(wrong)?);
        }
        text.push('\n');
        let sha256 = digest::sha256(text.as_bytes());
        let signature = signer.map(|signer| signer.sign(&sha256));
        text.push_str(&serde_json::to_string(&Tail { sha256: sha256.clone(), signature }).map_err(wrong)?);
        text.push('\n');
        private(path, text.as_bytes()).map_err(|error| format!("the plan `{}` cannot be written: {error}", path.display()))?;
        Ok(sha256)
    }
}

impl Plan {
    /// Reads a plan, and checks that it is whole and, where it is signed, that the signature fits.
    ///
    /// # Errors
    /// Says what is wrong with the file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let bytes = std::fs::read(path).map_err(|error| format!("the plan `{name}` cannot be read: {error}"))?;
        let damaged = |what: &str| format!("the plan `{name}` is damaged or was changed: {what}");
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged("it is no text"))?;
        let body = text.strip_suffix('\n').ok_or_else(|| damaged("its end is missing"))?;
        let (before, last) = body.rsplit_once('\n').ok_or_else(|| damaged("its end is missing"))?;
        let before = text.get(..=before.len()).unwrap_or_default();
        let tail: Tail = serde_json::from_str(last).map_err(|_| damaged("its last line has no checksum"))?;
        // Compared as text too, so that not even a space can be another.
        if tail.sha256 != digest::sha256(before.as_bytes()) || serde_json::to_string(&tail).ok().as_deref() != Some(last) {
            return Err(damaged("its checksum does not fit"));
        }
        let mut lines = before.lines();
        let first = lines.next().unwrap_or_default();
        let version = serde_json::from_str::<serde_json::Value>(first).ok().and_then(|head| head.get("windlass_plan")?.as_u64());
        match version {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => return Err(format!("the plan `{name}` has the form {version}, and this windlass knows {VERSION}")),
            None => return Err(format!("`{name}` is no plan of windlass")),
        }
        let wrong = |error: serde_json::Error| damaged(&error.to_string());
        let head: Head = serde_json::from_str(first).map_err(wrong)?;
        let steps = lines.map(serde_json::from_str).collect::<Result<Vec<Step>, _>>().map_err(wrong)?;
        let signed_by = match &tail.signature {
            None => None,
            Some(signature) => {
                signature.verify(&tail.sha256).map_err(|error| damaged(&error))?;
                Some(signature.key.clone())
            }
        };
        Ok(Self { head, steps, digest: tail.sha256, signed_by })
    }

    /// Returns the keys of the plan.
    ///
    /// # Errors
    /// When it was made with another state folder.
    pub fn keys(&self, folder: &Folder) -> Result<Keys, String> {
        let bytes = folder.key()?.open(&self.head.key).map_err(|error| {
            format!("the key of the plan cannot be opened: {error}; a plan is applied where it was made, or with the same WINDLASS_STATE_KEY_FILE")
        })?;
        Key::from_bytes(&bytes).map(Keys::of).ok_or_else(|| "the key of the plan is damaged".to_owned())
    }

    /// Returns the flags that the plan was made with, as JSON.
    ///
    /// # Errors
    /// When they are not sealed with this key.
    pub fn flags(&self, keys: &Keys) -> Result<serde_json::Value, String> {
        let plain = keys.seal.open(&self.head.sealed)?;
        serde_json::from_slice(&plain).map_err(|error| format!("the flags of the plan are damaged: {error}"))
    }
}

impl Step {
    fn mask(&mut self, redactor: &Redactor) {
        let hide = |text: &mut String| *text = redactor.mask(text);
        for text in [&mut self.task, &mut self.because] {
            hide(text);
        }
        self.unknown.iter_mut().for_each(hide);
        self.changes.iter_mut().for_each(hide);
        for difference in &mut self.diff {
            let Difference { before_header, after_header, before, after, note } = difference;
            for text in [before_header, after_header, before, after].into_iter().chain(note) {
                hide(text);
            }
        }
    }
}

fn mask_json(json: &mut serde_json::Value, redactor: &Redactor) {
    match json {
        serde_json::Value::String(text) => *text = redactor.mask(text),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| mask_json(item, redactor)),
        serde_json::Value::Object(fields) => fields.iter_mut().for_each(|(_, item)| mask_json(item, redactor)),
        _ => {}
    }
}

/// Writes a file that only its user can read: beside it first, on disk, then under its name.
fn private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods, reason = "a test damages its own file")]
    #[test]
    fn a_plan_with_any_bit_flipped_is_not_read() {
        let temporary = tempfile::tempdir().expect("folder");
        let folder = Folder::at(&temporary.path().join("state"));
        let path = temporary.path().join("plan");
        let keys = Keys::random().expect("keys");
        let head = Head { windlass_plan: VERSION, ..Head::default() };
        let step = Step { host: "h1".into(), unknown: Some("a hunter22 b".into()), ..Step::default() };
        let redactor = Redactor::default();
        redactor.learn("hunter22");
        let signer = Signer::of_text(sign::tests::PEM).expect("signer");
        let flags = serde_json::json!({"extra_vars": ["pin=hunter22"]});
        let draft = Draft { head, flags: flags.clone(), steps: vec![step.clone()], keys };
        let digest = draft.write(&path, &folder, &redactor, Some(&signer)).expect("written");

        let plan = Plan::read(&path).expect("read");
        assert_eq!(plan.digest, digest);
        assert_eq!(plan.flags(&plan.keys(&folder).expect("keys")).expect("flags"), flags);
        assert_eq!(plan.steps, [Step { unknown: Some("a *** b".into()), ..step }]);
        assert!(plan.signed_by.is_some_and(|key| key.starts_with("ssh-ed25519 ")));
        assert!(plan_text(&path).iter().filter(|byte| **byte == b'\n').count() == 3);

        let whole = plan_text(&path);
        for at in 0..whole.len() {
            for bit in [0_u8, 1, 3, 5] {
                let mut other = whole.clone();
                other[at] ^= 1 << bit;
                std::fs::write(&path, &other).expect("write");
                assert!(Plan::read(&path).is_err(), "byte {at} bit {bit}");
            }
        }
    }

    fn plan_text(path: &Path) -> Vec<u8> {
        std::fs::read(path).expect("file")
    }
}
