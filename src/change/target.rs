//! A file that a module wants to have: what is there now, and the changes that make it what was asked.

use std::path::{Path, PathBuf};

use super::attributes::{Wanted, missing};
use super::digest;
use super::probe::{FileKind, Stat};
use super::{Attributes, Before, Change, Content, Failure, Probe};

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

    /// Returns what a task says of owner, group and mode, in numbers.
    ///
    /// # Errors
    /// When the host has no such user or group.
    pub fn wanted(&self, host: &dyn Probe, wanted: &Wanted<'_>) -> Result<Attributes, Failure> {
        wanted.attributes(host, self.stat.as_ref(), FileKind::File)
    }

    /// Returns the changes that give the file this content (`None`: the one it has) and the attributes.
    pub fn changes(&self, content: Option<Vec<u8>>, manner: &Manner) -> Vec<Change> {
        if let Some(bytes) = content.filter(|bytes| self.content.as_ref() != Some(bytes)) {
            return vec![self.write(Content::Bytes(bytes), manner)];
        }
        let differing = self.stat.as_ref().and_then(|stat| missing(stat, &manner.wanted));
        let attributes = |(before, after)| Change::Attributes { path: self.path.clone(), before, after, follow: true };
        differing.map(attributes).into_iter().collect()
    }

    /// Returns the change that writes the content, whatever there is now.
    pub fn write(&self, after: Content, manner: &Manner) -> Change {
        let attributes = if self.stat.is_some() { manner.wanted.clone() } else { or(&manner.wanted, &manner.for_new) };
        let before = self.content.as_deref().map_or(Before::Absent, |old| Before::File { sha256: digest::sha256(old) });
        let (backup, validate, secret) = (manner.backup && self.stat.is_some(), manner.validate.clone(), manner.secret);
        Change::Write { path: self.path.clone(), before, after, attributes, backup, validate, secret, in_place: false }
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
