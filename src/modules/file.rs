//! `file`: files, folders and links: make, remove, and set owner, group, mode and times.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::attributes::{FileMode, Wanted, missing};
use crate::change::destination::{described, finished, ignored};
use crate::change::probe::{FileKind, Stat};
use crate::change::{Attributes, Before, Change, Content, Done, Failure, Plan, Probe};
use crate::value::{Map, Value};

/// Makes sure that a path is a file, a folder or a link, or is not there, with the owner, group and mode asked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "`prepare` reads some arguments, and some are accepted without effect")]
pub struct File {
    /// The path.
    #[serde(alias = "dest", alias = "name")]
    path: String,
    /// What it shall be. `file` changes what exists and makes nothing; `directory` makes folders above it too;
    /// `touch` makes an empty file, or sets its times to now; `absent` removes a folder with all in it.
    /// Not given: what is there, or `directory` with `recurse`.
    state: Option<State>,
    /// What a link points to.
    src: Option<String>,
    /// Whether owner, group and mode go to everything in the folder too.
    #[serde(default)]
    recurse: bool,
    /// Whether a link replaces something else that is at `path`, and may point to what does not exist.
    #[serde(default)]
    force: bool,
    /// Whether a link at `path` is followed.
    #[serde(default = "yes")]
    follow: bool,
    /// `preserve`, `now`, or a time in `modification_time_format`.
    modification_time: Option<String>,
    /// How `modification_time` is written, in the words of strftime.
    #[serde(default = "time_format")]
    modification_time_format: String,
    /// `preserve`, `now`, or a time in `access_time_format`.
    access_time: Option<String>,
    /// How `access_time` is written, in the words of strftime.
    #[serde(default = "time_format")]
    access_time_format: String,
    /// Name or number of the owner.
    owner: Option<String>,
    /// Name or number of the group.
    group: Option<String>,
    /// Permissions: octal in quotes (`"0644"`) or clauses (`u=rw,g=r,o=`, `u+rwX`).
    mode: Option<FileMode>,
    /// Accepted so that tasks need no change; flags of the file system are left as they are.
    #[serde(alias = "attr")]
    attributes: Option<String>,
    /// Accepted, with a warning: the SELinux context is kept as it is.
    seuser: Option<String>,
    /// See `seuser`.
    serole: Option<String>,
    /// See `seuser`.
    setype: Option<String>,
    /// See `seuser`.
    selevel: Option<String>,
    /// Accepted so that tasks need no change; every write is atomic.
    #[serde(default)]
    unsafe_writes: bool,
}

/// What a path shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    File,
    Directory,
    Link,
    Hard,
    Touch,
    Absent,
}

fn yes() -> bool {
    true
}

fn time_format() -> String {
    "%Y%m%d%H%M.%S".to_owned()
}

impl Module for File {
    const NAME: &'static str = "file";
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Make a folder, with those above it",
            task: "{path: /srv/app/conf, state: directory, mode: \"0750\"}",
            given: &[("/srv/", "")],
            changes: true,
        },
        Example {
            title: "A folder that is there",
            task: "{path: /srv/app, state: directory}",
            given: &[("/srv/app/", "")],
            changes: false,
        },
        Example {
            title: "Set the mode of everything in a folder; folders stay open, files do not become programs",
            task: "{path: /srv/app, state: directory, recurse: true, mode: \"u=rwX,g=rX,o=\"}",
            given: &[("/srv/app/a/b", "x"), ("/srv/app/c", "y")],
            changes: true,
        },
        Example {
            title: "Link to a file",
            task: "{src: /srv/app-2, dest: /srv/app, state: link}",
            given: &[("/srv/app-2", "x")],
            changes: true,
        },
        Example {
            title: "A second name for a file",
            task: "{src: /srv/a, dest: /srv/b, state: hard}",
            given: &[("/srv/a", "x")],
            changes: true,
        },
        Example {
            title: "Make an empty file if there is none",
            task: "{path: /etc/app.flag, state: touch, modification_time: preserve, access_time: preserve}",
            given: &[("/etc/", "")],
            changes: true,
        },
        Example { title: "Remove a folder", task: "{path: /srv/old, state: absent}", given: &[("/srv/old/a", "x")], changes: true },
        Example { title: "Nothing to remove", task: "{path: /srv/old, state: absent}", given: &[("/srv/", "")], changes: false },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        if self.path.is_empty() {
            return Err(Failure::argument("path", "`path` is empty"));
        }
        let path = PathBuf::from(if self.path.len() > 1 { self.path.trim_end_matches('/') } else { &self.path });
        let now = host.stat(&path, false)?;
        let state = self.state.unwrap_or_else(|| self.state_by_default(now.as_ref()));
        if self.recurse && state != State::Directory {
            return Err(Failure::argument("recurse", "`recurse` goes with `state: directory` only"));
        }
        if self.src.is_some() && !matches!(state, State::Link | State::Hard) {
            return Err(Failure::argument("src", "`src` goes with `state: link` and `state: hard` only"));
        }
        let mut plan = match state {
            State::Absent => removed(&path, now.as_ref())?,
            State::Directory => self.directory(host, &path)?,
            State::File => self.existing(host, &path)?,
            State::Touch => self.touched(host, &path)?,
            State::Link => self.link(host, &path, now.as_ref())?,
            State::Hard => self.hard(host, &path, now.as_ref())?,
        };
        plan.warnings.extend(ignored(&[
            ("seuser", self.seuser.is_some()),
            ("serole", self.serole.is_some()),
            ("setype", self.setype.is_some()),
            ("selevel", self.selevel.is_some()),
            ("attributes", self.attributes.is_some()),
        ]));
        let name = if matches!(state, State::Link | State::Hard | State::Touch) { "dest" } else { "path" };
        plan = plan.value(name, path.display().to_string());
        if let (Some(stat), false) = (&now, state == State::Absent) {
            for (name, value) in described(host, stat)? {
                plan.values.entry(name.into()).or_insert(value);
            }
        }
        plan.values.insert("state".into(), Value::str(word(state)));
        Ok(plan)
    }

    fn result(&self, plan: &Plan, done: &[Done], host: &dyn Probe) -> Result<Map, Failure> {
        let path = PathBuf::from(if self.path.len() > 1 { self.path.trim_end_matches('/') } else { &self.path });
        let absent = plan.values.get("state").and_then(Value::as_str) == Some("absent");
        if absent { Ok(plan.values.clone()) } else { finished(plan.values.clone(), done, host, &path) }
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::File | State::Touch => "file",
        State::Directory => "directory",
        State::Link => "link",
        State::Hard => "hard",
        State::Absent => "absent",
    }
}

fn removed(path: &Path, now: Option<&Stat>) -> Result<Plan, Failure> {
    if path == Path::new("/") {
        return Err(Failure::argument("path", "refusing to remove `/`"));
    }
    Ok(match now {
        None => Plan::nothing("it is not there"),
        Some(stat) => Plan::one("it is there", Change::Remove { path: path.to_owned(), before: before(stat) }),
    })
}

/// Returns what a change of something that is no regular file is planned from.
fn before(stat: &Stat) -> Before {
    match (stat.kind, &stat.target) {
        (FileKind::Directory, _) => Before::Directory,
        (FileKind::Link, Some(target)) => Before::Link(target.clone()),
        _ => Before::Any,
    }
}

impl File {
    fn state_by_default(&self, now: Option<&Stat>) -> State {
        match now.map(|stat| stat.kind) {
            _ if self.recurse => State::Directory,
            _ if self.src.is_some() => State::Link,
            Some(FileKind::Directory) => State::Directory,
            Some(FileKind::Link) if !self.follow => State::Link,
            _ => State::File,
        }
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted { owner: self.owner.as_deref(), group: self.group.as_deref(), mode: self.mode.as_ref() }
    }

    /// Returns what is asked of something that is (or will be) `found`, times included.
    fn asked(&self, host: &dyn Probe, found: Option<&Stat>, kind: FileKind) -> Result<Attributes, Failure> {
        let mut asked = self.wanted().attributes(host, found, kind)?;
        asked.mtime = time("modification_time", self.modification_time.as_deref(), &self.modification_time_format, host)?;
        asked.atime = time("access_time", self.access_time.as_deref(), &self.access_time_format, host)?;
        Ok(asked)
    }

    /// Plans the attributes of something that exists.
    fn dressed(&self, host: &dyn Probe, path: &Path, found: &Stat, follow: bool) -> Result<Option<Change>, Failure> {
        let asked = self.asked(host, Some(found), found.kind)?;
        Ok(missing(found, &asked).map(|(before, after)| Change::Attributes { path: path.to_owned(), before, after, follow }))
    }

    fn existing(&self, host: &dyn Probe, path: &Path) -> Result<Plan, Failure> {
        let Some(stat) = host.stat(path, self.follow)? else {
            return Err(Failure::Missing { path: path.to_owned(), argument: "path".to_owned() });
        };
        if stat.kind == FileKind::Directory && self.state == Some(State::File) {
            return Err(Failure::argument("path", format!("`{}` is a directory, not a file", path.display())));
        }
        Ok(attributes_plan(self.dressed(host, path, &stat, self.follow)?))
    }

    fn directory(&self, host: &dyn Probe, path: &Path) -> Result<Plan, Failure> {
        let found = host.stat(path, self.follow)?;
        let Some(stat) = found else {
            let mut changes = Vec::new();
            for folder in path.ancestors().filter(|folder| !folder.as_os_str().is_empty()).collect::<Vec<_>>().into_iter().rev() {
                match host.stat(folder, true)? {
                    None => {
                        let attributes = self.asked(host, None, FileKind::Directory)?;
                        changes.push(Change::Directory { path: folder.to_owned(), attributes });
                    }
                    Some(stat) if stat.kind != FileKind::Directory => {
                        return Err(Failure::argument("path", format!("`{}` is there, but is not a directory", folder.display())));
                    }
                    Some(_) => {}
                }
            }
            return Ok(Plan::all("the directory is missing", changes).value("mode", self.mode_to_come()));
        };
        if stat.kind != FileKind::Directory {
            return Err(Failure::argument("path", format!("`{}` is there, but is not a directory", path.display()))
                .hint("remove it first, with `state: absent`"));
        }
        let mut changes: Vec<_> = self.dressed(host, path, &stat, self.follow)?.into_iter().collect();
        if self.recurse {
            self.below(host, path, &mut changes)?;
        }
        let because = if changes.is_empty() { "the directory is as asked" } else { "owner, group, mode or times differ" };
        Ok(Plan::all(because, changes))
    }

    fn mode_to_come(&self) -> Value {
        match self.mode.as_ref().and_then(|mode| mode.bits(None, FileKind::Directory)) {
            Some(bits) => format!("{bits:04o}").into(),
            None => "0755".into(),
        }
    }

    /// Plans the attributes of everything below a folder. Links are not followed: they may lead anywhere.
    fn below(&self, host: &dyn Probe, folder: &Path, changes: &mut Vec<Change>) -> Result<(), Failure> {
        let mut open = vec![folder.to_owned()];
        while let Some(folder) = open.pop() {
            for name in host.list(&folder)?.unwrap_or_default() {
                let path = folder.join(name);
                let Some(stat) = host.stat(&path, false)? else { continue };
                changes.extend(self.dressed(host, &path, &stat, false)?);
                if stat.kind == FileKind::Directory {
                    open.push(path);
                }
            }
        }
        Ok(())
    }

    fn touched(&self, host: &dyn Probe, path: &Path) -> Result<Plan, Failure> {
        let Some(stat) = host.stat(path, self.follow)? else {
            let mut attributes = self.asked(host, None, FileKind::File)?;
            attributes.mtime = attributes.mtime.filter(|_| self.modification_time.as_deref() != Some("now"));
            attributes.atime = attributes.atime.filter(|_| self.access_time.as_deref() != Some("now"));
            let change = Change::Write {
                path: path.to_owned(),
                before: Before::Absent,
                after: Content::Bytes(Vec::new()),
                attributes,
                backup: false,
                validate: None,
                secret: false,
            };
            return Ok(Plan::one("the file is missing", change));
        };
        let mut asked = self.asked(host, Some(&stat), stat.kind)?;
        let now = host.now();
        if self.modification_time.is_none() {
            asked.mtime = Some(now);
        }
        if self.access_time.is_none() {
            asked.atime = Some(now);
        }
        Ok(match missing(&stat, &asked) {
            None => Plan::nothing("the file is there, and its times are to stay"),
            Some((before, after)) => Plan::one(
                "its times or attributes are to be set",
                Change::Attributes { path: path.to_owned(), before, after, follow: self.follow },
            ),
        })
    }

    fn link(&self, host: &dyn Probe, path: &Path, now: Option<&Stat>) -> Result<Plan, Failure> {
        let current = now.and_then(|stat| stat.target.clone());
        let Some(src) = self.src.clone().map(PathBuf::from).or_else(|| current.clone()) else {
            return Err(Failure::argument("src", "`src` is required for a link that does not exist yet"));
        };
        let mut path = path.to_owned();
        let mut now = now.cloned();
        if let (Some(stat), Some(name)) = (&now, src.file_name())
            && stat.kind == FileKind::Directory
            && self.path.ends_with('/')
        {
            path.push(name);
            now = host.stat(&path, false)?;
        }
        let meant = path.parent().unwrap_or(Path::new("/")).join(&src);
        let there = host.stat(&meant, true)?;
        if there.is_none() && !self.force {
            return Err(Failure::argument("src", format!("`{}` does not exist, so the link would lead nowhere", meant.display()))
                .hint("make it first, or say `force: true`"));
        }
        let mut changes = Vec::new();
        if now.as_ref().and_then(|stat| stat.target.as_ref()) != Some(&src) {
            changes.extend(self.make_way(host, &path, now.as_ref())?);
            let before = if changes.is_empty() { now.as_ref().map_or(Before::Absent, before) } else { Before::Absent };
            changes.push(Change::Link { path: path.clone(), target: src.clone(), hard: false, before });
        }
        if self.follow
            && let Some(stat) = &there
        {
            changes.extend(self.dressed(host, &meant, stat, true)?);
        }
        let because =
            if changes.is_empty() { "the link is as asked" } else { "the link is missing, points elsewhere, or its target differs" };
        Ok(Plan::all(because, changes).value("src", src.display().to_string()))
    }

    /// Plans the removal of what is in the way of a link, where that is allowed.
    fn make_way(&self, host: &dyn Probe, path: &Path, now: Option<&Stat>) -> Result<Option<Change>, Failure> {
        let refuse = |what: &str| {
            Err(Failure::argument("path", format!("`{}` is {what}, not a link", path.display())).hint("say `force: true` to replace it"))
        };
        match now.map(|stat| stat.kind) {
            None | Some(FileKind::Link) => Ok(None),
            Some(FileKind::Directory) => {
                if host.list(path)?.is_some_and(|names| !names.is_empty()) {
                    return Err(Failure::argument("path", format!("the directory `{}` is not empty, so it stays", path.display())));
                }
                if self.force {
                    Ok(Some(Change::Remove { path: path.to_owned(), before: Before::Directory }))
                } else {
                    refuse("a directory")
                }
            }
            Some(_) if !self.force => refuse("a file"),
            Some(_) => Ok(Some(Change::Remove { path: path.to_owned(), before: Before::Any })),
        }
    }

    fn hard(&self, host: &dyn Probe, path: &Path, now: Option<&Stat>) -> Result<Plan, Failure> {
        let Some(src) = self.src.clone().map(PathBuf::from) else {
            return Err(Failure::argument("src", "`src` is required for a hard link"));
        };
        let Some(source) = host.stat(&src, false)? else {
            return Err(Failure::Missing { path: src, argument: "src".to_owned() });
        };
        let mut changes = Vec::new();
        let same = now.is_some_and(|stat| stat.inode == source.inode && stat.device == source.device && stat.kind == source.kind);
        if !same {
            if now.is_some() && !self.force {
                return Err(Failure::argument("path", format!("`{}` is there, and is another file", path.display()))
                    .hint("say `force: true` to replace it"));
            }
            changes.extend(self.make_way(host, path, now)?);
            let before = if changes.is_empty() { now.map_or(Before::Absent, before) } else { Before::Absent };
            changes.push(Change::Link { path: path.to_owned(), target: src.clone(), hard: true, before });
        }
        changes.extend(self.dressed(host, &src, &source, false)?);
        let because = if changes.is_empty() { "the link is as asked" } else { "the link is missing or another file" };
        Ok(Plan::all(because, changes).value("src", src.display().to_string()))
    }
}

fn attributes_plan(change: Option<Change>) -> Plan {
    match change {
        None => Plan::nothing("owner, group and mode are as asked"),
        Some(change) => Plan::one("owner, group, mode or times differ", change),
    }
}

/// Returns the time that an argument asks for, in seconds since 1970; `None`: as it is.
fn time(argument: &str, text: Option<&str>, format: &str, host: &dyn Probe) -> Result<Option<f64>, Failure> {
    match text {
        None | Some("preserve" | "") => Ok(None),
        Some("now") => Ok(Some(host.now())),
        Some(text) => {
            let wrong = |_| Failure::argument(argument, format!("`{text}` is not a time of the form `{format}`"));
            let parsed = jiff::fmt::strtime::parse(format, text).and_then(|parts| parts.to_datetime()).map_err(wrong)?;
            let zoned = parsed.to_zoned(jiff::tz::TimeZone::system()).map_err(wrong)?;
            #[allow(clippy::cast_precision_loss, reason = "seconds fit")]
            let seconds = zoned.timestamp().as_second() as f64;
            Ok(Some(seconds))
        }
    }
}
