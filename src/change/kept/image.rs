//! What is at a path, so that it can be put there again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::store::Store;
use crate::change::probe::{FileKind, Stat};
use crate::change::{Attributes, Before, Failure, Probe};

/// The most entries of a folder, with all below it, that are kept when it is removed.
const MOST_ENTRIES: usize = 10_000;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Image {
    /// Nothing.
    Absent,
    /// A file.
    File {
        /// SHA-256, hex.
        sha256: String,
        /// Owner, mode and times.
        dress: Dress,
        /// Why its content is not kept, if it is not.
        lacks: Option<String>,
    },
    /// A symbolic link to this.
    Link(PathBuf),
    /// A directory.
    Directory {
        /// Owner, mode and times.
        dress: Dress,
        /// What is in it, where all of it goes.
        inside: Vec<(String, Self)>,
    },
    /// A socket, a device, or something that cannot be read.
    Other(String),
}

/// Owner, mode and time of last change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Dress {
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
    pub mtime: f64,
}

impl Dress {
    fn of(stat: &Stat) -> Self {
        Self { uid: stat.uid, gid: stat.gid, mode: stat.mode, mtime: stat.mtime }
    }

    /// Returns the attributes to ask for.
    pub(super) fn attributes(&self, with_time: bool) -> Attributes {
        let mtime = with_time.then_some(self.mtime);
        Attributes { uid: Some(self.uid), gid: Some(self.gid), mode: Some(self.mode), atime: None, mtime }
    }

    fn is_like(&self, other: &Self) -> bool {
        (self.uid, self.gid, self.mode) == (other.uid, other.gid, other.mode)
    }
}

impl Image {
    /// Returns what is at a path, with what is in a directory where `deep`. With a store, contents are kept there.
    pub(super) fn take(host: &dyn Probe, path: &Path, deep: bool, store: Option<&Store>) -> Self {
        let mut room = MOST_ENTRIES;
        Self::within(host, path, deep, store, &mut room).unwrap_or_else(|failure| Self::Other(failure.to_string()))
    }

    fn within(host: &dyn Probe, path: &Path, deep: bool, store: Option<&Store>, room: &mut usize) -> Result<Self, Failure> {
        let Some(stat) = host.stat(path, false)? else { return Ok(Self::Absent) };
        let dress = Dress::of(&stat);
        *room = room.checked_sub(1).ok_or_else(|| Failure::failed(format!("it has more than {MOST_ENTRIES} entries")))?;
        Ok(match stat.kind {
            FileKind::Link => Self::Link(stat.target.unwrap_or_default()),
            FileKind::File => {
                let kept = store.map(|store| store.keep(path, stat.size));
                let (sha256, lacks) = match kept {
                    Some(Ok(sha256)) => (sha256, None),
                    Some(Err(why)) => (digest(host, path)?, Some(why)),
                    None => (digest(host, path)?, None),
                };
                Self::File { sha256, dress, lacks }
            }
            FileKind::Directory => {
                let mut inside = Vec::new();
                for name in if deep { host.list(path)?.unwrap_or_default() } else { Vec::new() } {
                    let image = Self::within(host, &path.join(&name), deep, store, room)?;
                    inside.push((name, image));
                }
                Self::Directory { dress, inside }
            }
            _ => Self::Other("it is a socket, a device or a pipe".to_owned()),
        })
    }

    /// Whether both are the same but for times, and for what is in a directory.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => true,
            (Self::File { sha256: a, dress: d, .. }, Self::File { sha256: b, dress: e, .. }) => a == b && d.is_like(e),
            (Self::Link(a), Self::Link(b)) => a == b,
            (Self::Directory { dress: d, .. }, Self::Directory { dress: e, .. }) => d.is_like(e),
            _ => false,
        }
    }

    /// As [`Image::is_like`], with all that is in a directory.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let inside = |image: &Self| match image {
            Self::Directory { inside, .. } => inside.clone(),
            _ => Vec::new(),
        };
        let (a, b) = (inside(self), inside(other));
        self.is_like(other) && a.len() == b.len() && a.iter().zip(&b).all(|((name, a), (other, b))| name == other && a.is_same(b))
    }

    /// Returns why it cannot be put back, if it cannot.
    pub(super) fn hindrance(&self) -> Option<String> {
        match self {
            Self::File { lacks, .. } => lacks.clone(),
            Self::Other(why) => Some(why.clone()),
            Self::Directory { inside, .. } => {
                inside.iter().find_map(|(name, image)| image.hindrance().map(|why| format!("`{name}`: {why}")))
            }
            Self::Absent | Self::Link(_) => None,
        }
    }

    /// Returns what a change has to find there.
    pub(super) fn before(&self) -> Before {
        match self {
            Self::Absent => Before::Absent,
            Self::File { sha256, .. } => Before::File { sha256: sha256.clone() },
            Self::Link(target) => Before::Link(target.clone()),
            Self::Directory { .. } => Before::Directory,
            Self::Other(_) => Before::Any,
        }
    }

    /// Returns it in words.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Absent => "nothing".to_owned(),
            Self::File { sha256, dress, .. } => format!("a file (SHA-256 {:.12}..., {})", sha256, told(dress)),
            Self::Link(target) => format!("a link to `{}`", target.display()),
            Self::Directory { dress, .. } => format!("a directory ({})", told(dress)),
            Self::Other(_) => "something that is neither file, link nor directory".to_owned(),
        }
    }
}

fn told(dress: &Dress) -> String {
    format!("owner {}:{}, mode {:04o}", dress.uid, dress.gid, dress.mode)
}

fn digest(host: &dyn Probe, path: &Path) -> Result<String, Failure> {
    Ok(host.digest(path, "sha256")?.unwrap_or_default())
}
