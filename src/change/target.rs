//! A file that a module wants to have: what is there now, and the changes that make it what was asked.

use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use sha2::{Digest, Sha256};

use super::probe::{FileKind, Stat};
use super::{Attributes, Before, Change, Content, Failure, Probe};

/// Permission bits as tasks write them: `"0640"`, or the number that YAML makes of a plain `0640`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = FileMode;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a mode such as \"0640\"")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<FileMode, E> {
                let bits = u32::from_str_radix(text.trim().trim_start_matches("0o"), 8).ok().filter(|bits| *bits <= 0o7777);
                bits.map(FileMode).ok_or_else(|| E::custom(format!("`{text}` is no mode such as \"0640\"")))
            }
            fn visit_i64<E: serde::de::Error>(self, bits: i64) -> Result<FileMode, E> {
                let bits = u32::try_from(bits).ok().filter(|bits| *bits <= 0o7777);
                bits.map(FileMode).ok_or_else(|| E::custom("this number is no mode; write it in quotes, as in \"0640\""))
            }
        }
        deserializer.deserialize_any(Reader).map_err(D::Error::custom)
    }
}

impl JsonSchema for FileMode {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FileMode".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"] })
    }
}

/// Returns the SHA-256 of `bytes`, hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Turns what a task says of owner, group and mode into numbers.
///
/// # Errors
/// When the host has no such user or group.
pub fn ownership(host: &dyn Probe, owner: Option<&str>, group: Option<&str>, mode: Option<FileMode>) -> Result<Attributes, Failure> {
    let uid = owner.map(|name| user_number(host, name)).transpose()?;
    let gid = group.map(|name| group_number(host, name)).transpose()?;
    Ok(Attributes { uid, gid, mode: mode.map(|mode| mode.0), ..Attributes::default() })
}

fn user_number(host: &dyn Probe, name: &str) -> Result<u32, Failure> {
    match (host.user(name)?, name.parse()) {
        (Some(user), _) => user.uid.ok_or_else(|| Failure::unknown(format!("the user `{name}` does not exist yet"))),
        (None, Ok(number)) => Ok(number),
        (None, Err(_)) => Err(Failure::argument("owner", format!("the host has no user `{name}`"))),
    }
}

fn group_number(host: &dyn Probe, name: &str) -> Result<u32, Failure> {
    match (host.group(name)?, name.parse()) {
        (Some(group), _) => group.gid.ok_or_else(|| Failure::unknown(format!("the group `{name}` does not exist yet"))),
        (None, Ok(number)) => Ok(number),
        (None, Err(_)) => Err(Failure::argument("group", format!("the host has no group `{name}`"))),
    }
}

/// A file as it is, links followed.
#[derive(Clone, Debug)]
pub struct Target {
    /// The file itself.
    pub path: PathBuf,
    /// What it is, if anything.
    pub stat: Option<Stat>,
    /// Its content, if it is there.
    pub content: Option<Vec<u8>>,
}

/// How a new content gets there.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// Owner, group and mode that were asked for; `None` stays.
    pub wanted: Attributes,
    /// What a new file has where nothing was asked for.
    pub for_new: Attributes,
    /// Keep a copy of the old file.
    pub backup: bool,
    /// Command that must accept the new file.
    pub validate: Option<String>,
    /// The content is secret.
    pub secret: bool,
}

impl Target {
    /// Looks at the file that `argument` names.
    ///
    /// # Errors
    /// When it is something else than a file, its folder is missing, or it cannot be read.
    pub fn find(host: &dyn Probe, path: &Path, argument: &str) -> Result<Self, Failure> {
        if !path.is_absolute() {
            return Err(Failure::argument(argument, format!("`{}` is no absolute path", path.display())));
        }
        let path = without_links(host, path, argument)?;
        let stat = host.stat(&path, true)?;
        match &stat {
            Some(stat) if stat.kind != FileKind::File => {
                return Err(Failure::argument(argument, format!("`{}` is no file", path.display())));
            }
            Some(_) => {}
            None => {
                let folder = path.parent().unwrap_or(Path::new("/"));
                if host.stat(folder, true)?.is_none() {
                    return Err(Failure::argument(argument, format!("the folder `{}` does not exist", folder.display()))
                        .hint("make it first, with the module `file`"));
                }
            }
        }
        let content = if stat.is_some() { host.read(&path)? } else { None };
        Ok(Self { path, stat, content })
    }

    /// Returns the changes that give the file this content (`None`: the one it has) and the attributes.
    pub fn changes(&self, content: Option<Vec<u8>>, manner: &Manner) -> Vec<Change> {
        let wanted = &manner.wanted;
        if let Some(bytes) = content.filter(|bytes| self.content.as_ref() != Some(bytes)) {
            return vec![self.write(Content::Bytes(bytes), manner)];
        }
        let Some(stat) = &self.stat else { return Vec::new() };
        let found = Attributes { uid: Some(stat.uid), gid: Some(stat.gid), mode: Some(stat.mode), ..Attributes::default() };
        let differs = |asked: Option<u32>, found: Option<u32>| asked.is_some() && asked != found;
        if differs(wanted.uid, found.uid) || differs(wanted.gid, found.gid) || differs(wanted.mode, found.mode) {
            return vec![Change::Attributes { path: self.path.clone(), before: found, after: wanted.clone(), follow: true }];
        }
        Vec::new()
    }

    /// Returns the change that writes the content, whatever there is now.
    pub fn write(&self, after: Content, manner: &Manner) -> Change {
        let attributes = if self.stat.is_some() { manner.wanted.clone() } else { or(&manner.wanted, &manner.for_new) };
        let before = self.content.as_deref().map_or(Before::Absent, |old| Before::File { sha256: sha256(old) });
        let (backup, validate, secret) = (manner.backup && self.stat.is_some(), manner.validate.clone(), manner.secret);
        Change::Write { path: self.path.clone(), before, after, attributes, backup, validate, secret }
    }
}

fn or(wanted: &Attributes, other: &Attributes) -> Attributes {
    Attributes { uid: wanted.uid.or(other.uid), gid: wanted.gid.or(other.gid), mode: wanted.mode.or(other.mode), ..Attributes::default() }
}

/// Follows links to the file that they mean, which need not exist.
fn without_links(host: &dyn Probe, path: &Path, argument: &str) -> Result<PathBuf, Failure> {
    let mut path = path.to_owned();
    for _ in 0..40 {
        let Some(target) = host.stat(&path, false)?.filter(|stat| stat.kind == FileKind::Link).and_then(|stat| stat.target) else {
            return Ok(path);
        };
        path = path.parent().unwrap_or(Path::new("/")).join(target);
    }
    Err(Failure::argument(argument, format!("`{}` is a circle of links", path.display())))
}
