//! `file`: files, folders and links: make, remove, and set owner, group, mode and times.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::attributes::{FileMode, Wanted, missing};
use crate::change::destination::{Destination, described, finished, ignored};
use crate::change::doubt::Names;
use crate::change::probe::{FileKind, Stat};
use crate::change::{Attributes, Before, Change, Content, Done, Effect, Failure, Output, Plan, Probe, Program};
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
    /// Flags of the file system, as `chattr` has them: `+i`, `-i`, `=ai`.
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
    /// Whether a file that cannot be replaced as a whole (in a folder that may not change, or mounted) is overwritten in place.
    unsafe_writes: Option<bool>,
    /// Accepted, as tasks of Ansible's own tests have it: whether the file is only looked at.
    #[serde(rename = "_diff_peek")]
    #[schemars(skip)]
    _diff_peek: Option<bool>,
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
    const PATHS: &'static [&'static str] = &["path", "dest", "name", "src"];
    const CHANGES: &'static [Names] = &[Names::Path("path"), Names::Path("dest"), Names::Path("destfile"), Names::Path("name")];
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
            return Err(Failure::argument("src", "src option requires state to be 'link' or 'hard'"));
        }
        let planned = match state {
            State::Absent => removed(&path, now.as_ref()),
            State::Directory => self.directory(host, &path),
            State::File => self.existing(host, &path),
            State::Touch => self.touched(host, &path),
            State::Link => self.link(host, &path, now.as_ref()),
            State::Hard => self.hard(host, &path, now.as_ref()),
        };
        let mut plan = match planned {
            Ok(plan) => plan,
            Err(failure) => return Err(self.with_unknown_accounts(host, failure)),
        };
        plan.warnings.extend(ignored(&[
            ("seuser", self.seuser.is_some()),
            ("serole", self.serole.is_some()),
            ("setype", self.setype.is_some()),
            ("selevel", self.selevel.is_some()),
        ]));
        self.flags(host, &path, &mut plan)?;
        plan.values.insert("_diff".into(), told_diff(host, &path, now.as_ref(), &plan.changes)?);
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

/// Returns what changes at the path itself, as `register` gets it.
fn told_diff(host: &dyn Probe, path: &Path, now: Option<&Stat>, changes: &[Change]) -> Result<Value, Failure> {
    let shown = Value::from(path.display().to_string());
    let (mut before, mut after) = (Map::from_iter([("path".into(), shown.clone())]), Map::from_iter([("path".into(), shown)]));
    let state_now = now.map_or("absent", crate::change::destination::state_of);
    let states = |from: &mut Map, to: &mut Map, state: &str| {
        if state != state_now {
            from.insert("state".into(), state_now.into());
            to.insert("state".into(), state.into());
        }
    };
    for change in changes {
        match change {
            Change::Directory { path: made, .. } if made == path => states(&mut before, &mut after, "directory"),
            Change::Write { path: written, .. } if written == path => states(&mut before, &mut after, "touch"),
            Change::Link { path: made, target, hard, .. } if made == path => {
                states(&mut before, &mut after, if *hard { "hard" } else { "link" });
                let current = now.and_then(|stat| stat.target.as_ref()).map(|target| target.display().to_string());
                before.insert("src".into(), current.into());
                after.insert("src".into(), target.display().to_string().into());
            }
            Change::Remove { path: removed, .. } if removed == path => {
                states(&mut before, &mut after, "absent");
                if now.is_some_and(|stat| stat.kind == FileKind::Directory) {
                    before.insert("path_content".into(), content(host, path)?);
                }
            }
            Change::Attributes { path: of, before: was, after: will, .. } if of == path => {
                let number = |number: Option<u32>| number.map(Value::from);
                let mode = |mode: Option<u32>| mode.map(|mode| Value::from(format!("{mode:04o}")));
                let time = |time: Option<f64>| time.map(Value::from);
                for (name, was, will) in [
                    ("owner", number(was.uid), number(will.uid)),
                    ("group", number(was.gid), number(will.gid)),
                    ("mode", mode(was.mode), mode(will.mode)),
                    ("mtime", time(was.mtime), time(will.mtime)),
                    ("atime", time(was.atime), time(will.atime)),
                ] {
                    if let Some(will) = will {
                        before.insert(name.into(), was.unwrap_or_default());
                        after.insert(name.into(), will);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(Value::map([("before", Value::from(before)), ("after", Value::from(after))]))
}

/// Returns everything in a folder: its `directories` and its `files`.
fn content(host: &dyn Probe, folder: &Path) -> Result<Value, Failure> {
    let (mut directories, mut files, mut open) = (Vec::new(), Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = open.pop() {
        for name in host.list(&folder)?.unwrap_or_default() {
            let path = folder.join(name);
            let shown = path.display().to_string();
            if host.stat(&path, false)?.is_some_and(|stat| stat.kind == FileKind::Directory) {
                directories.push(shown);
                open.push(path);
            } else {
                files.push(shown);
            }
        }
    }
    Ok(Value::map([("directories", Value::from(directories)), ("files", Value::from(files))]))
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
            Some(FileKind::Directory) => State::Directory,
            Some(FileKind::Link) if !self.follow => State::Link,
            _ => State::File,
        }
    }

    /// Adds what gives the path the flags asked for: those that protect it come last, and go first.
    fn flags(&self, host: &dyn Probe, path: &Path, plan: &mut Plan) -> Result<(), Failure> {
        let Some(asked) = self.attributes.as_deref().filter(|asked| !asked.is_empty()) else { return Ok(()) };
        let (operator, letters) = match asked.chars().next() {
            Some(sign @ ('+' | '-' | '=')) => (sign, asked.get(1..).unwrap_or_default()),
            _ => ('=', asked),
        };
        if !letters.chars().all(|c| c.is_ascii_alphabetic()) {
            return Err(Failure::argument("attributes", format!("`{asked}` is not a list of flags such as `+i`")));
        }
        let shown = path.display().to_string();
        let ask = ["lsattr", "-d", &shown];
        let now = if host.stat(path, false)?.is_some() { host.query(&ask)? } else { Output::default() };
        let text = String::from_utf8_lossy(&now.stdout).into_owned();
        if now.rc != 0 {
            return Err(
                Failure::argument("attributes", format!("the flags of `{shown}` cannot be read")).hint("not every file system has them")
            );
        }
        // `e` is the file system's own business.
        let has: Vec<char> = text.split_whitespace().next().unwrap_or_default().chars().filter(|c| !"-e".contains(*c)).collect();
        let will: Vec<char> = match operator {
            '+' => has.iter().copied().chain(letters.chars().filter(|c| !has.contains(c))).collect(),
            '-' => has.iter().copied().filter(|c| !letters.contains(*c)).collect(),
            _ => letters.chars().collect(),
        };
        if has.iter().all(|c| will.contains(c)) && will.iter().all(|c| has.contains(c)) {
            return Ok(());
        }
        let argv = ["chattr", &format!("{operator}{letters}"), &shown].map(str::to_owned).to_vec();
        let stdout = format!("{} {shown}\n", will.iter().collect::<String>()).into_bytes();
        let change = Change::Run {
            program: Program { argv, accept: vec![0], ..Program::default() },
            effects: vec![Effect::QueryPrints { argv: ask.map(str::to_owned).to_vec(), stdout }],
            summary: format!("set the flags {operator}{letters} of {shown}"),
        };
        if plan.changes.is_empty() {
            plan.because = "the flags of the file system differ".to_owned();
        }
        let at = if operator == '-' { 0 } else { plan.changes.len() };
        plan.changes.insert(at, change);
        Ok(())
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

    /// Adds to a failure which of the accounts named are not there (yet).
    fn with_unknown_accounts(&self, host: &dyn Probe, failure: Failure) -> Failure {
        let told = |kind: &str, number: &str, name: &str| {
            let by = if name.parse::<u32>().is_ok() { number } else { "" };
            format!("failed to look up {kind} {by}{name}: a task before this one has to make it")
        };
        let mut unknown = Vec::new();
        if let Some(owner) = self.owner.as_ref().filter(|owner| matches!(host.user(owner), Ok(None))) {
            unknown.push(told("user", "with uid ", owner));
        }
        if let Some(group) = self.group.as_ref().filter(|group| matches!(host.group(group), Ok(None))) {
            unknown.push(told("group", "with gid ", group));
        }
        match failure {
            failure if unknown.is_empty() => failure,
            Failure::Argument { argument, message, .. } if argument == "owner" || argument == "group" => {
                Failure::failed(message).with("warnings", unknown)
            }
            failure => failure.with("warnings", unknown),
        }
    }

    fn existing(&self, host: &dyn Probe, path: &Path) -> Result<Plan, Failure> {
        let Some(stat) = host.stat(path, self.follow)? else {
            let shown = path.display().to_string();
            let failure = Failure::failed(format!("`{shown}` is absent, cannot continue"));
            return Err(failure.with("path", shown.as_str()).with("state", "absent").hint("`state: touch` makes it"));
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
        // Links may lead back up.
        let mut seen = Vec::new();
        while let Some(folder) = open.pop() {
            for name in host.list(&folder)?.unwrap_or_default() {
                let path = folder.join(name);
                let Some(mut stat) = host.stat(&path, false)? else { continue };
                let target = if self.follow && stat.kind == FileKind::Link { host.stat(&path, true)? } else { None };
                let follow = target.is_some();
                if let Some(target) = target {
                    let place = (target.device, target.inode);
                    if seen.contains(&place) {
                        continue;
                    }
                    seen.push(place);
                    stat = target;
                }
                changes.extend(self.dressed(host, &path, &stat, follow)?);
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
            // A link that leads nowhere is followed too: what it names is made.
            let change = Change::Write {
                path: Destination::find(host, path, self.follow, "path")?.path,
                before: Before::Absent,
                after: Content::Bytes(Vec::new()),
                attributes,
                backup: false,
                validate: None,
                secret: false,
                in_place: false,
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
            return Err(Failure::argument("src", "src is required for a link that does not exist yet"));
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
            return Err(Failure::argument("src", "src is required for creating new hardlinks"));
        };
        let Some(source) = host.stat(&src, false)? else {
            let shown = path.display().to_string();
            return Err(Failure::failed("src does not exist").with("dest", shown).with("src", src.display().to_string()));
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
