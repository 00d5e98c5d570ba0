//! `copy`: put a file, a folder or a text on a host.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Controller, Example, Module};
use crate::change::attributes::{FileMode, Wanted};
use crate::change::destination::{Destination, INLINE, Manner, carried, content_of, copied, folders, ignored};
use crate::change::doubt::Names;
use crate::change::probe::FileKind;
use crate::change::tree::{self, Below};
use crate::change::{Attributes, Before, Change, Content, Done, Failure, Plan, Probe, digest};
use crate::value::arguments::{Anything, to_bool};
use crate::value::{Map, Value, bytes, json};

/// Puts a file or a folder of the controller, or a text, on the host. Nothing is sent that the host has already, and a
/// file is replaced in one step, so that nobody ever sees half of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "`prepare` reads some arguments, and some are accepted without effect")]
pub struct Copy {
    /// File or folder of the controller, looked for in the role's `files` folder first. A folder that ends in `/` means
    /// what is in it, without the folder itself. With `remote_src`, a path of the host.
    src: Option<String>,
    /// The content itself, instead of `src`. A dictionary or list is written as JSON.
    content: Option<Anything>,
    /// Where it goes. A path that ends in `/`, or is a folder already, means a file of the same name in it.
    dest: String,
    /// Keep a copy of the old file beside it, with the time in its name.
    #[serde(default)]
    backup: bool,
    /// Whether a file that differs is replaced. With `false` only a missing file is written.
    #[serde(default = "yes", alias = "thirsty")]
    force: bool,
    /// Permissions of the folders that are made on the way.
    directory_mode: Option<FileMode>,
    /// `src` is on the host already.
    #[serde(default)]
    remote_src: bool,
    /// Whether a link at `dest` leads to the file to write; otherwise the link is replaced when the content differs.
    #[serde(default)]
    follow: bool,
    /// Whether links in a folder of the controller are followed.
    #[serde(default = "yes")]
    local_follow: bool,
    /// SHA-1 that the content must have.
    checksum: Option<String>,
    /// Whether a vault file is decrypted on its way.
    #[serde(default = "yes")]
    decrypt: bool,
    /// Command that must accept the new file first; `%s` stands for it.
    validate: Option<String>,
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
    /// Whether a file that cannot be replaced as a whole (in a folder that may not change, or mounted) is overwritten in place.
    unsafe_writes: Option<bool>,
    /// What `prepare` found: the content of the file.
    #[schemars(skip)]
    _content: Option<Anything>,
    /// What `prepare` found: the files of the folder.
    #[schemars(skip)]
    _tree: Option<Vec<Piece>>,
    /// What `prepare` found: the mode of the source file.
    #[schemars(skip)]
    _mode: Option<u32>,
}

/// A file or folder below a folder that is copied.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct Piece {
    path: String,
    /// Of a file.
    content: Option<Anything>,
    /// Where a link leads that stays one.
    link: Option<String>,
    mode: u32,
}

fn yes() -> bool {
    true
}

impl Module for Copy {
    const NAME: &'static str = "copy";
    const COPES_WITH_UNKNOWN: bool = true;
    const CHANGES: &'static [Names] = &[Names::Placed("src")];
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Write a text",
            task: "{content: \"Welcome\\n\", dest: /etc/motd, mode: \"0644\"}",
            given: &[("/etc/", "")],
            changes: true,
        },
        Example {
            title: "Write a dictionary as JSON, keeping the old file",
            task: "{content: {port: 9200}, dest: /etc/app.json, backup: true}",
            given: &[("/etc/app.json", "{}")],
            changes: true,
        },
        Example {
            title: "Copy a file of the host into a folder",
            task: "{src: /etc/app.conf, dest: /srv/backup/, remote_src: true, mode: \"u=rw,g=r,o=\"}",
            given: &[("/etc/app.conf", "a=1\n"), ("/srv/", "")],
            changes: true,
        },
        Example {
            title: "Leave a file alone that is there",
            task: "{content: new, dest: /etc/app.conf, force: false}",
            given: &[("/etc/app.conf", "old")],
            changes: false,
        },
    ];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        for (name, value) in arguments.iter().filter(|(name, _)| name.as_str() != Some("content")) {
            if let Some(unknown) = value.unknown_part() {
                return Err(Failure::unknown(format!("the argument `{name}` is not known: {}", unknown.why)));
            }
        }
        // Either of them may be missing: this is how Ansible says so.
        if !arguments.contains_key("dest") {
            return Err(Failure::argument("dest", "dest is required"));
        }
        let flag = |name: &str, default| arguments.get(name).and_then(to_bool).unwrap_or(default);
        let Some(src) = arguments.get("src").map(ToString::to_string) else { return Ok(()) };
        if arguments.get("src").is_none_or(|src| src.is_null() || src.as_str() == Some("")) {
            arguments.shift_remove("src");
            return Ok(());
        }
        if flag("remote_src", false) {
            return Ok(());
        }
        let (decrypt, follow) = (flag("decrypt", true), flag("local_follow", true));
        let path = controller.find("files", &src).map_err(|failure| failure.at("src"))?;
        let Some(stat) = controller.stat(&path)? else { return Err(Failure::Missing { path, argument: "src".to_owned() }) };
        if stat.kind != FileKind::Directory {
            let content = fetched(controller, &path, stat.size, decrypt)?;
            arguments.insert("_content".into(), content);
            arguments.insert("_mode".into(), stat.mode.into());
            return Ok(());
        }
        let mut pieces = Vec::new();
        for Below { path: name, stat } in controller.walk(&path, follow)? {
            let file = path.join(&name);
            let content = if stat.kind == FileKind::File { fetched(controller, &file, stat.size, decrypt)? } else { Value::Null };
            let link = stat.target.map(|target| target.to_string_lossy().into_owned());
            pieces.push(Value::map([("path", Value::from(name)), ("content", content), ("link", link.into()), ("mode", stat.mode.into())]));
        }
        arguments.insert("_tree".into(), pieces.into());
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let mut plan = if let Some(pieces) = &self._tree { self.folder(host, pieces)? } else { self.source(host)? };
        plan.warnings.extend(ignored(&[
            ("seuser", self.seuser.is_some()),
            ("serole", self.serole.is_some()),
            ("setype", self.setype.is_some()),
            ("selevel", self.selevel.is_some()),
            ("attributes", self.attributes.is_some()),
        ]));
        Ok(plan)
    }

    fn result(&self, plan: &Plan, done: &[Done], host: &dyn Probe) -> Result<Map, Failure> {
        let dest = plan.values.get("dest").map(ToString::to_string).unwrap_or_default();
        let mut values = copied(plan, done, host)?;
        // Of a file that was streamed, only the file itself tells.
        if !values.contains_key("checksum") && values.get("state").and_then(Value::as_str) == Some("file") {
            values.insert("checksum".into(), host.digest(Path::new(&dest), "sha1")?.into());
        }
        Ok(values)
    }
}

/// Returns the argument that carries a file of the controller.
fn fetched(controller: &dyn Controller, path: &Path, size: u64, decrypt: bool) -> Result<Value, Failure> {
    if !decrypt || size > INLINE && !controller.is_vaulted(path) {
        return controller.blob(path);
    }
    let bytes = controller.read(path).map_err(|failure| match failure.to_string().contains("no vault secret") {
        true => Failure::failed(format!("A vault password or secret must be specified to decrypt {}", path.display()))
            .hint("give it with `--vault-password-file` or `-J`, or say `decrypt: false`"),
        false => failure,
    })?;
    Ok(carried(&bytes))
}

impl Copy {
    fn wanted<'a>(&'a self, source: Option<&'a FileMode>) -> Wanted<'a> {
        let mode = if self.mode == Some(FileMode::Preserve) { source } else { self.mode.as_ref() };
        Wanted { owner: self.owner.as_deref(), group: self.group.as_deref(), mode }
    }

    /// Plans what is not a folder of the controller: a text, a file of the controller, or something of the host.
    fn source(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let (content, mode) = match (&self.content, &self.src) {
            (Some(_), Some(_)) => return Err(Failure::argument("content", "`content` and `src` are mutually exclusive")),
            (None, None) => return Err(Failure::argument("src", "src (or content) is required")),
            (Some(content), None) => (given(&content.0), None),
            (None, Some(src)) if self.remote_src => {
                let path = Path::new(src);
                let Some(stat) = host.stat(path, true)? else {
                    return Err(Failure::Missing { path: path.to_owned(), argument: "src".to_owned() });
                };
                if stat.kind == FileKind::Directory {
                    let pieces = pieces_of(host, path, self.local_follow)?;
                    return self.folder(host, &pieces);
                }
                if stat.kind != FileKind::File {
                    return Err(Failure::argument("src", format!("`{src}` is not a file: only files and folders can be copied")));
                }
                (Content::Bytes(host.read(path)?.unwrap_or_default()), Some(FileMode::Bits(stat.mode)))
            }
            (None, Some(_)) => match &self._content {
                Some(content) => (content_of(&content.0)?, self._mode.map(FileMode::Bits)),
                None => return Err(Failure::argument("src", "the file was not read on the controller")),
            },
        };
        let (path, mut changes) = self.destination(host)?;
        let mut plan = self.file(host, &path, &content, mode.as_ref(), changes.is_empty())?;
        changes.append(&mut plan.changes);
        plan.changes = changes;
        if let Some(src) = &self.src {
            plan = plan.value("src", src.as_str());
        }
        Ok(plan)
    }

    /// Returns the file to write, and the changes that make its folder where `dest` asks for one.
    fn destination(&self, host: &dyn Probe) -> Result<(PathBuf, Vec<Change>), Failure> {
        let dest = Path::new(&self.dest);
        let is_folder = host.stat(dest, true)?.is_some_and(|stat| stat.kind == FileKind::Directory);
        if !is_folder && !self.dest.ends_with('/') {
            return Ok((dest.to_owned(), Vec::new()));
        }
        let Some(name) = self.src.as_deref().and_then(|src| Path::new(src).file_name()) else {
            return Err(Failure::argument("dest", format!("can not use content with a dir as dest: `{}`", self.dest)));
        };
        Ok((dest.join(name), folders(host, dest, &self.folder_attributes(host)?, "dest")?))
    }

    fn folder_attributes(&self, host: &dyn Probe) -> Result<Attributes, Failure> {
        Wanted { mode: self.directory_mode.as_ref(), ..self.wanted(None) }.attributes(host, None, FileKind::Directory)
    }

    fn file(&self, host: &dyn Probe, path: &Path, content: &Content, source: Option<&FileMode>, has_folder: bool) -> Result<Plan, Failure> {
        let destination = Destination::find(host, path, self.follow, "dest")?;
        if has_folder {
            destination.needs_folder(host, "dest")?;
        }
        if let (Some(wanted), Content::Bytes(bytes)) = (&self.checksum, content) {
            let now = digest::of_bytes(bytes, "sha1").unwrap_or_default();
            if !now.eq_ignore_ascii_case(wanted) {
                return Err(Failure::argument("checksum", format!("the content has the SHA-1 {now}, not {wanted}")));
            }
        }
        let wanted = self.wanted(source);
        if !self.force && destination.found.is_some() {
            let bytes = host.read(&destination.path)?.unwrap_or_default();
            let values = destination.values(host, &Content::Bytes(bytes), &Wanted::default())?;
            return Ok(Plan { values, ..Plan::nothing("the file exists, and `force: false` leaves it") });
        }
        let manner =
            Manner { wanted, backup: self.backup, validate: self.validate.as_deref(), secret: false, in_place: self.unsafe_writes };
        let changes = destination.changes(host, content, &manner)?;
        let because = match (changes.first(), &destination.found) {
            (None, _) => "the file is as asked",
            (Some(Change::Attributes { .. }), _) => "owner, group or mode differ",
            (Some(_), None) => "the file is missing",
            (Some(_), Some(_)) => "the content differs",
        };
        Ok(Plan { values: destination.values(host, content, &wanted)?, ..Plan::all(because, changes) })
    }

    /// Plans a folder with all in it.
    fn folder(&self, host: &dyn Probe, pieces: &[Piece]) -> Result<Plan, Failure> {
        let src = self.src.as_deref().unwrap_or_default();
        let mut base = PathBuf::from(&self.dest);
        if !src.ends_with('/') {
            base.push(Path::new(src).file_name().unwrap_or_default());
        }
        let attributes = self.folder_attributes(host)?;
        let mut changes = folders(host, &base, &attributes, "dest")?;
        for piece in pieces {
            let path = base.join(&piece.path);
            if let Some(target) = &piece.link {
                changes.extend(link(host, path, Path::new(target))?);
                continue;
            }
            match &piece.content {
                None => match host.stat(&path, true)? {
                    None => changes.push(Change::Directory { path, attributes: attributes.clone() }),
                    Some(stat) if stat.kind == FileKind::Directory => {}
                    Some(_) => return Err(Failure::argument("dest", format!("`{}` is there, but is not a directory", path.display()))),
                },
                Some(content) => {
                    let mode = FileMode::Bits(piece.mode);
                    changes.extend(self.file(host, &path, &content_of(&content.0)?, Some(&mode), false)?.changes);
                }
            }
        }
        // Of a folder of the controller, the place is told as it was given.
        let dest = if self.remote_src { base.display().to_string() } else { self.dest.clone() };
        let because = if changes.is_empty() { "everything in the folder is as asked".to_owned() } else { "the folder differs".to_owned() };
        Ok(Plan::all(because, changes).value("dest", dest).value("src", src))
    }
}

/// Returns the content of the argument `content`.
fn given(value: &Value) -> Content {
    if let Some(unknown) = value.unknown_part() {
        return Content::Unknown(unknown.why.clone());
    }
    match value {
        Value::List(_) | Value::Map(_) => {
            let text = python_json(&json::to_json(value));
            Content::Bytes(text.into_bytes())
        }
        Value::Null => Content::Bytes(Vec::new()),
        other => Content::Bytes(bytes::raw(&other.to_string())),
    }
}

/// Writes JSON with a space after `,` and `:`, as files written by Ansible have it, so that they stay as they are.
fn python_json(json: &serde_json::Value) -> String {
    match json {
        serde_json::Value::Array(items) => format!("[{}]", items.iter().map(python_json).collect::<Vec<_>>().join(", ")),
        serde_json::Value::Object(map) => {
            let entries = map.iter().map(|(key, item)| format!("{}: {}", serde_json::Value::from(key.as_str()), python_json(item)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Returns what is in a folder of the host.
fn pieces_of(host: &dyn Probe, folder: &Path, follow: bool) -> Result<Vec<Piece>, Failure> {
    let piece = |Below { path, stat }| {
        let is_file = stat.kind == FileKind::File;
        let content = if is_file { Some(Anything(carried(&host.read(&folder.join(&path))?.unwrap_or_default()))) } else { None };
        let link = stat.target.map(|target| target.to_string_lossy().into_owned());
        Ok(Piece { path, content, link, mode: stat.mode })
    };
    tree::below(host, folder, follow)?.into_iter().map(piece).collect()
}

/// Returns the change that makes a link, where there is not the very same.
fn link(host: &dyn Probe, path: PathBuf, target: &Path) -> Result<Option<Change>, Failure> {
    let before = match host.stat(&path, false)? {
        None => Before::Absent,
        Some(stat) if stat.target.as_deref() == Some(target) => return Ok(None),
        Some(stat) if stat.kind == FileKind::Directory => {
            return Err(Failure::argument("dest", format!("`{}` is a directory, where a link has to go", path.display())));
        }
        Some(stat) => stat.target.map_or(Before::Any, Before::Link),
    };
    Ok(Some(Change::Link { path, target: target.to_owned(), hard: false, before }))
}
