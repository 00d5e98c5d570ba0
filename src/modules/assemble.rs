//! `assemble`: one file from the pieces in a folder.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Controller, Example, Module};
use crate::change::attributes::{FileMode, Wanted};
use crate::change::destination::{Destination, Manner, carried, content_of, finished, ignored};
use crate::change::probe::FileKind;
use crate::change::{Change, Content, Done, Failure, Plan, Probe};
use crate::value::arguments::{Anything, to_bool};
use crate::value::{Map, Value, pattern};

/// Joins the files of a folder, in the order of their names, to one file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "`prepare` reads some arguments, and some are accepted without effect")]
pub struct Assemble {
    /// The folder of the pieces, on the host; on the controller with `remote_src: false`.
    src: String,
    /// The file.
    dest: String,
    /// Text between two pieces; `\n` is a newline.
    delimiter: Option<String>,
    /// Only pieces whose names match this regular expression.
    regexp: Option<String>,
    /// Whether pieces whose names begin with a dot are left out.
    #[serde(default)]
    ignore_hidden: bool,
    /// Whether the pieces are on the host.
    #[serde(default = "yes")]
    remote_src: bool,
    /// Keep a copy of the old file beside it, with the time in its name.
    #[serde(default)]
    backup: bool,
    /// Whether vault files are decrypted on their way.
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
    /// What `prepare` found: the pieces of the controller, name and content.
    #[schemars(skip)]
    _pieces: Option<Vec<Piece>>,
}

/// A piece of the controller.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct Piece {
    name: String,
    content: Anything,
}

fn yes() -> bool {
    true
}

impl Module for Assemble {
    const NAME: &'static str = "assemble";
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Join the pieces of a configuration",
        task: "{src: /etc/app.d, dest: /etc/app.conf, regexp: '[.]conf$', delimiter: \"# ----\\n\", mode: \"0644\"}",
        given: &[("/etc/app.d/10-a.conf", "a=1"), ("/etc/app.d/20-b.conf", "b=2\n"), ("/etc/app.d/README", "no")],
        changes: true,
    }];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        if arguments.get("remote_src").and_then(to_bool).unwrap_or(true) {
            return Ok(());
        }
        let folder = controller.find("files", &arguments.get("src").map(ToString::to_string).unwrap_or_default())?;
        let mut pieces = Vec::new();
        let pieces_below = controller.walk(&folder, true)?.into_iter().filter(|below| !below.is_folder() && !below.path.contains('/'));
        for name in pieces_below.map(|below| below.path) {
            let content = carried(&controller.read(&folder.join(&name))?);
            pieces.push(Value::map([("name", Value::from(name)), ("content", content)]));
        }
        arguments.insert("_pieces".into(), pieces.into());
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let content = Content::Bytes(self.joined(host)?);
        let destination = Destination::find(host, Path::new(&self.dest), true, "dest")?;
        destination.needs_folder(host, "dest")?;
        let wanted = Wanted { owner: self.owner.as_deref(), group: self.group.as_deref(), mode: self.mode.as_ref() };
        let manner =
            Manner { wanted, backup: self.backup, validate: self.validate.as_deref(), secret: false, in_place: self.unsafe_writes };
        let changes = destination.changes(host, &content, &manner)?;
        let because = match changes.first() {
            None => "the file is as its pieces",
            Some(Change::Attributes { .. }) => "owner, group or mode differ",
            Some(_) => "the file is missing, or not as its pieces",
        };
        let warnings = ignored(&[
            ("seuser", self.seuser.is_some()),
            ("serole", self.serole.is_some()),
            ("setype", self.setype.is_some()),
            ("selevel", self.selevel.is_some()),
            ("attributes", self.attributes.is_some()),
        ]);
        let values = destination.values(host, &content, &wanted)?;
        Ok(Plan { values, warnings, ..Plan::all(because, changes) }.value("src", self.src.as_str()).value("msg", "OK"))
    }

    fn result(&self, plan: &Plan, done: &[Done], host: &dyn Probe) -> Result<Map, Failure> {
        let dest = plan.values.get("dest").map(ToString::to_string).unwrap_or_default();
        finished(plan.values.clone(), done, host, Path::new(&dest))
    }
}

impl Assemble {
    /// Returns the pieces that count, joined.
    fn joined(&self, host: &dyn Probe) -> Result<Vec<u8>, Failure> {
        let regexp = self.regexp.as_deref().map(|text| pattern::compile(text, "")).transpose();
        let regexp = regexp.map_err(|message| Failure::argument("regexp", message))?;
        let counts = |name: &str| {
            let fits = regexp.as_ref().is_none_or(|regexp| regexp.is_match(name).unwrap_or(false));
            fits && !(self.ignore_hidden && name.starts_with('.'))
        };
        let delimiter = self.delimiter.as_deref().map(|text| text.replace("\\n", "\n").replace("\\t", "\t"));
        let mut joined: Vec<u8> = Vec::new();
        for (at, piece) in self.pieces(host, &counts)?.into_iter().enumerate() {
            // A piece without a newline at its end must not run into what follows.
            if at > 0 && joined.last().is_some_and(|last| *last != b'\n') {
                joined.push(b'\n');
            }
            if at > 0
                && let Some(delimiter) = &delimiter
            {
                joined.extend_from_slice(delimiter.as_bytes());
                if !delimiter.ends_with('\n') {
                    joined.push(b'\n');
                }
            }
            joined.extend_from_slice(&piece);
        }
        Ok(joined)
    }

    fn pieces(&self, host: &dyn Probe, counts: &dyn Fn(&str) -> bool) -> Result<Vec<Vec<u8>>, Failure> {
        if !self.remote_src {
            let pieces = self._pieces.iter().flatten().filter(|piece| counts(&piece.name));
            return pieces
                .map(|piece| match content_of(&piece.content.0)? {
                    Content::Bytes(bytes) => Ok(bytes),
                    Content::Unknown(why) => Err(Failure::unknown(why)),
                    Content::Blob { .. } => Err(Failure::argument("src", format!("`{}` is too large for a piece", piece.name))),
                })
                .collect();
        }
        let folder = Path::new(&self.src);
        match host.stat(folder, true)? {
            Some(stat) if stat.kind == FileKind::Directory => {}
            Some(_) => return Err(Failure::argument("src", format!("`{}` is not a directory", self.src))),
            None => return Err(Failure::Missing { path: folder.to_owned(), argument: "src".to_owned() }),
        }
        let mut pieces = Vec::new();
        for name in host.list(folder)?.unwrap_or_default().iter().filter(|name| counts(name)) {
            let path = folder.join(name);
            if host.stat(&path, true)?.is_some_and(|stat| stat.kind == FileKind::File) {
                pieces.push(host.read(&path)?.unwrap_or_default());
            }
        }
        Ok(pieces)
    }
}
