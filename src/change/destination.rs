//! The file that a task writes: where it is, what has to change, and what `register` gets of it.

use std::path::{Path, PathBuf};

use base64::Engine as _;

use super::attributes::{Wanted, is_foreseen, missing};
use super::probe::{FileKind, Stat};
use super::{Attributes, Before, Change, Content, Failure, Plan, Probe, digest};
use crate::value::arguments::to_bool;
use crate::value::{Map, Value, bytes};

/// Content of the controller up to this size travels within the task; larger files are streamed when they are needed.
pub const INLINE: u64 = 1024 * 1024;

/// Returns the argument that carries `bytes` to the host.
pub fn carried(bytes: &[u8]) -> Value {
    base64::engine::general_purpose::STANDARD.encode(bytes).into()
}

/// Returns the content that an argument carries: base64 text, a large file's `{sha256, size}`, or unknown.
///
/// # Errors
/// When it is none of these.
pub fn content_of(value: &Value) -> Result<Content, Failure> {
    let damaged = || Failure::failed("the content did not come whole from the controller");
    match value {
        Value::Unknown(unknown) => Ok(Content::Unknown(unknown.why.clone())),
        Value::Str(text) => base64::engine::general_purpose::STANDARD.decode(text.as_bytes()).map(Content::Bytes).map_err(|_| damaged()),
        Value::Map(map) => {
            let sha256 = map.get("sha256").and_then(Value::as_str).ok_or_else(damaged)?;
            let size = map.get("size").and_then(Value::as_int).and_then(|size| u64::try_from(size).ok()).ok_or_else(damaged)?;
            Ok(Content::Blob { sha256: sha256.to_owned(), size })
        }
        _ => Err(damaged()),
    }
}

/// The file that a task writes.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The file, or the link that will be replaced by it.
    pub path: PathBuf,
    /// What is there, links followed; `None` where there is nothing.
    pub found: Option<Stat>,
    /// Where a link at `path` points to, when it would be replaced.
    link: Option<PathBuf>,
}

/// How the file is to be written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner<'a> {
    /// Owner, group and mode.
    pub wanted: Wanted<'a>,
    /// Keep a copy of the old file.
    pub backup: bool,
    /// The command that must accept the new file.
    pub validate: Option<&'a str>,
    /// The content is secret.
    pub secret: bool,
    /// Whether the file may be overwritten in place; where nothing is said, as `ANSIBLE_UNSAFE_WRITES` of the task's environment says.
    pub in_place: Option<bool>,
}

/// Says that a file is never put in the place of a device: a machine whose `/dev/null` is a file has lost more than it shows.
pub(super) fn no_plain_file(path: &Path) -> String {
    format!("`{}` is a device, a pipe or a socket, which is never replaced by a file", path.display())
}

impl Destination {
    /// Looks at the file that `argument` names. With `follow`, a link leads to what it points to.
    ///
    /// # Errors
    /// When there is a directory, or links go in a circle.
    pub fn find(host: &dyn Probe, path: &Path, follow: bool, argument: &str) -> Result<Self, Failure> {
        if path.as_os_str().is_empty() {
            return Err(Failure::argument(argument, format!("`{argument}` is empty")));
        }
        let mut path = path.to_owned();
        let mut link = None;
        for _ in 0..40 {
            let target = host.stat(&path, false)?.filter(|stat| stat.kind == FileKind::Link).and_then(|stat| stat.target);
            let Some(target) = target else { break };
            if !follow {
                link = Some(target);
                break;
            }
            path = path.parent().unwrap_or(Path::new("/")).join(target);
        }
        let found = host.stat(&path, true)?;
        if found.as_ref().is_some_and(|stat| stat.kind == FileKind::Directory) {
            return Err(Failure::argument(argument, format!("Path {} is a directory !", path.display())));
        }
        if link.is_none() && found.as_ref().is_some_and(|stat| stat.kind != FileKind::File) {
            return Err(Failure::argument(argument, no_plain_file(&path)));
        }
        Ok(Self { path, found, link })
    }

    /// Returns the text that is in the file; without an encoding, bytes that are no UTF-8 are escaped.
    ///
    /// # Errors
    /// When the file cannot be read, or is not of that encoding.
    pub fn text(&self, host: &dyn Probe, encoding: Option<&str>) -> Result<String, Failure> {
        let bytes = host.read(&self.path)?.unwrap_or_default();
        match encoding {
            None => Ok(bytes::escaped(&bytes)),
            Some(encoding) => {
                bytes::decode(&bytes, encoding).map_err(|why| Failure::argument("encoding", format!("`{}`: {why}", self.path.display())))
            }
        }
    }

    /// Returns the failure that the file is not there; `what` is what the module calls it.
    pub fn missing(&self, what: &str) -> Failure {
        Failure::argument("path", format!("{what} {} does not exist !", self.path.display()))
            .hint("`create: true` makes a new file, where the module has it")
    }

    /// Returns the changes that make the folders of a new file.
    ///
    /// # Errors
    /// When something else is in the way.
    pub fn folders(&self, host: &dyn Probe, argument: &str) -> Result<Vec<Change>, Failure> {
        match self.path.parent() {
            Some(folder) if self.found.is_none() => folders(host, folder, &Attributes::default(), argument),
            _ => Ok(Vec::new()),
        }
    }

    /// Says that the folder of a new file is missing, where it is.
    ///
    /// # Errors
    /// Names the folder.
    pub fn needs_folder(&self, host: &dyn Probe, argument: &str) -> Result<(), Failure> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        match host.kind(folder)? {
            _ if folder.as_os_str().is_empty() => Ok(()),
            Some(FileKind::Directory) => Ok(()),
            Some(_) => Err(Failure::argument(argument, format!("`{}` is not a directory", folder.display()))),
            None => Err(Failure::argument(argument, format!("the directory `{}` does not exist on the host", folder.display()))
                .hint("make it first, with `file: state=directory`")),
        }
    }

    /// Returns the changes that give the file this content and the attributes asked for.
    ///
    /// # Errors
    /// When there is no such user or group, or the file cannot be read.
    pub fn changes(&self, host: &dyn Probe, content: &Content, manner: &Manner<'_>) -> Result<Vec<Change>, Failure> {
        let asked = manner.wanted.attributes(host, self.found.as_ref(), FileKind::File)?;
        let now = if self.found.is_some() { host.digest(&self.path, "sha256")? } else { None };
        let wanted = match content {
            Content::Bytes(bytes) => Some(digest::sha256(bytes)),
            Content::Blob { sha256, .. } => Some(sha256.clone()),
            Content::Unknown(why) => return Err(Failure::unknown(why)),
        };
        if self.found.is_some() && now == wanted {
            return Ok(self.dressed(&asked).into_iter().collect());
        }
        Ok(vec![Change::Write {
            path: self.path.clone(),
            before: match (&self.link, now) {
                (Some(target), _) => Before::Link(target.clone()),
                (None, Some(sha256)) => Before::File { sha256 },
                (None, None) => Before::Absent,
            },
            after: content.clone(),
            attributes: asked,
            backup: manner.backup && self.found.is_some(),
            validate: manner.validate.map(str::to_owned),
            secret: manner.secret,
            in_place: manner.in_place.unwrap_or_else(|| unsafe_by_environment(host)),
        }])
    }

    /// Returns the change of attributes that a file needs whose content is right.
    fn dressed(&self, asked: &Attributes) -> Option<Change> {
        let (before, after) = missing(self.found.as_ref()?, asked)?;
        Some(Change::Attributes { path: self.path.clone(), before, after, follow: true })
    }

    /// Returns what `register` gets of the file as it would be.
    ///
    /// # Errors
    /// As [`Wanted::attributes`].
    pub fn values(&self, host: &dyn Probe, content: &Content, wanted: &Wanted<'_>) -> Result<Map, Failure> {
        let asked = wanted.attributes(host, self.found.as_ref(), FileKind::File)?;
        let me = host.me()?;
        let found = self.found.clone().unwrap_or_else(|| Stat {
            uid: me.uid.unwrap_or_default(),
            gid: me.gid.unwrap_or_default(),
            mode: 0o644,
            ..Stat::default()
        });
        let mut stat = Stat {
            uid: asked.uid.unwrap_or(found.uid),
            gid: asked.gid.unwrap_or(found.gid),
            mode: asked.mode.unwrap_or(found.mode),
            kind: FileKind::File,
            ..found
        };
        let mut values = Map::new();
        match content {
            Content::Bytes(bytes) => {
                stat.size = bytes.len() as u64;
                values.insert("checksum".into(), digest::of_bytes(bytes, "sha1").into());
                values.insert("md5sum".into(), digest::of_bytes(bytes, "md5").into());
            }
            Content::Blob { size, .. } => stat.size = *size,
            Content::Unknown(why) => {
                values.insert("checksum".into(), Value::unknown(why));
                values.insert("size".into(), Value::unknown(why));
            }
        }
        values.insert("dest".into(), self.path.display().to_string().into());
        for (name, value) in described(host, &stat)? {
            if !values.contains_key(name) {
                values.insert(name.into(), value);
            }
        }
        Ok(values)
    }
}

fn unsafe_by_environment(host: &dyn Probe) -> bool {
    host.environment("ANSIBLE_UNSAFE_WRITES").is_some_and(|text| to_bool(&Value::from(text)) == Some(true))
}

/// Returns what `register` gets of a file: owner, group, mode, size, state.
///
/// # Errors
/// When accounts cannot be read.
pub fn described(host: &dyn Probe, stat: &Stat) -> Result<Vec<(&'static str, Value)>, Failure> {
    let later = || Value::unknown("the account does not exist yet");
    let user = |id: u32| -> Result<(Value, Value), Failure> {
        if is_foreseen(id) {
            return Ok((later(), later()));
        }
        Ok((id.into(), host.user(&id.to_string())?.map_or_else(|| id.to_string(), |user| user.name).into()))
    };
    let group = |id: u32| -> Result<(Value, Value), Failure> {
        if is_foreseen(id) {
            return Ok((later(), later()));
        }
        Ok((id.into(), host.group(&id.to_string())?.map_or_else(|| id.to_string(), |group| group.name).into()))
    };
    let (uid, owner) = user(stat.uid)?;
    let (gid, group) = group(stat.gid)?;
    Ok(vec![
        ("uid", uid),
        ("gid", gid),
        ("owner", owner),
        ("group", group),
        ("mode", format!("0{:03o}", stat.mode).into()),
        ("state", state_of(stat).into()),
        ("size", stat.size.into()),
    ])
}

/// Returns the word that the module `file` has for what is there.
pub fn state_of(stat: &Stat) -> &'static str {
    match stat.kind {
        FileKind::Directory => "directory",
        FileKind::Link => "link",
        _ if stat.links > 1 => "hard",
        _ => "file",
    }
}

/// Returns `values` with where the old file was kept.
pub fn edited(mut values: Map, done: &[super::Done]) -> Map {
    for what in done {
        if let super::Done::Wrote { backup: Some(copy) } = what {
            values.insert("backup_file".into(), copy.display().to_string().into());
        }
    }
    values
}

/// As [`edited`], for editors of lines: the kept copy has the name too that these modules always had for it.
pub fn edited_text(values: Map, done: &[super::Done]) -> Map {
    let mut values = edited(values, done);
    if let Some(copy) = values.get("backup_file").cloned() {
        values.insert("backup".into(), copy);
    }
    values
}

/// Returns `values` with what the file at `path` really became, and where the old one was kept.
///
/// # Errors
/// When the host cannot be read.
pub fn finished(values: Map, done: &[super::Done], host: &dyn Probe, path: &Path) -> Result<Map, Failure> {
    let mut values = edited(values, done);
    if let Some(stat) = host.stat(path, false)? {
        for (name, value) in described(host, &stat)? {
            values.insert(name.into(), value);
        }
    }
    Ok(values)
}

/// As [`finished`], for a file that is copied as a whole: one whose content was right is told as `path` too.
///
/// # Errors
/// As [`finished`].
pub fn copied(plan: &Plan, done: &[super::Done], host: &dyn Probe) -> Result<Map, Failure> {
    let dest = plan.values.get("dest").cloned().unwrap_or_default();
    let mut values = finished(plan.values.clone(), done, host, Path::new(&dest.to_string()))?;
    let is_file = values.get("state").and_then(Value::as_str).is_some_and(|state| matches!(state, "file" | "hard"));
    if is_file && !plan.changes.iter().any(|change| matches!(change, Change::Write { .. })) {
        values.insert("path".into(), dest);
    }
    Ok(values)
}

/// Returns the changes that make `path` a directory, with those above it that are missing, and their attributes.
///
/// # Errors
/// When something else is in the way.
pub fn folders(host: &dyn Probe, path: &Path, asked: &Attributes, argument: &str) -> Result<Vec<Change>, Failure> {
    let mut changes = Vec::new();
    // Without the slash at its end, which would ask for what a link leads to.
    let path: PathBuf = path.components().collect();
    for folder in path.ancestors().filter(|folder| !folder.as_os_str().is_empty()).collect::<Vec<_>>().into_iter().rev() {
        match host.kind(folder)? {
            Some(FileKind::Directory) => {}
            Some(_) => return Err(Failure::argument(argument, format!("`{}` is there, but is not a directory", folder.display()))),
            None => changes.push(Change::Directory { path: folder.to_owned(), attributes: asked.clone() }),
        }
    }
    Ok(changes)
}

/// Returns a warning for each argument that was given but has no effect on this host.
pub fn ignored(given: &[(&str, bool)]) -> Vec<String> {
    let names = given.iter().filter(|(_, given)| *given);
    names
        .map(|(name, _)| format!("`{name}` is ignored: windlass keeps the SELinux context and flags that a file has, and sets none"))
        .collect()
}
