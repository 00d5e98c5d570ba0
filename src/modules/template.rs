//! `template`: write a file that is rendered from a template.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Controller, Example, Module};
use crate::change::attributes::{FileMode, Wanted};
use crate::change::destination::{Destination, Manner, carried, content_of, copied, ignored};
use crate::change::doubt::Names;
use crate::change::probe::FileKind;
use crate::change::{Change, Done, Failure, Plan, Probe};
use crate::value::arguments::Anything;
use crate::value::{Map, Value, bytes};

/// Renders a template of the controller with the host's variables and writes what comes of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "`prepare` reads some arguments, and some are accepted without effect")]
pub struct Template {
    /// The template, looked for in the role's `templates` folder first.
    src: String,
    /// Where it goes. A path that ends in `/`, or is a folder already, means a file of the same name in it.
    dest: String,
    /// Keep a copy of the old file beside it, with the time in its name.
    #[serde(default)]
    backup: bool,
    /// Whether a file that differs is replaced. With `false` only a missing file is written.
    #[serde(default = "yes")]
    force: bool,
    /// Whether a link at `dest` leads to the file to write; otherwise the link is replaced when the content differs.
    #[serde(default)]
    follow: bool,
    /// Command that must accept the new file first; `%s` stands for it.
    validate: Option<String>,
    /// What ends a line: `\n`, `\r` or `\r\n`.
    newline_sequence: Option<String>,
    /// What begins a block, `{%` if not given.
    block_start_string: Option<String>,
    /// What ends a block.
    block_end_string: Option<String>,
    /// What begins an expression, `{{` if not given.
    variable_start_string: Option<String>,
    /// What ends an expression.
    variable_end_string: Option<String>,
    /// What begins a comment.
    comment_start_string: Option<String>,
    /// What ends a comment.
    comment_end_string: Option<String>,
    /// Whether the newline after a block goes; yes if not given.
    trim_blocks: Option<bool>,
    /// Whether white space before a block goes; no if not given.
    lstrip_blocks: Option<bool>,
    /// The encoding of the file that is written: `utf-8` if not given, `windows-1252`, `utf-16-le`, ...
    output_encoding: Option<String>,
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
    /// What `prepare` rendered.
    #[schemars(skip)]
    _content: Option<Anything>,
    /// What `prepare` found: the mode of the template file.
    #[schemars(skip)]
    _mode: Option<u32>,
}

fn yes() -> bool {
    true
}

/// The arguments that say how the template is read, and where it goes, which it may tell.
const OPTIONS: &[&str] = &[
    "dest",
    "newline_sequence",
    "block_start_string",
    "block_end_string",
    "variable_start_string",
    "variable_end_string",
    "comment_start_string",
    "comment_end_string",
    "trim_blocks",
    "lstrip_blocks",
];

impl Module for Template {
    const NAME: &'static str = "template";
    const COPES_WITH_UNKNOWN: bool = true;
    const CHANGES: &'static [Names] = &[Names::Placed("src")];
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Write a configuration",
            task: "{src: app.conf.j2, dest: /etc/app.conf, mode: \"0640\", backup: true}",
            given: &[("/etc/app.conf", "old\n"), ("controller:templates/app.conf.j2", "new\n")],
            changes: true,
        },
        Example {
            title: "Write a file only where there is none",
            task: "{src: app.conf.j2, dest: /etc/app.conf, force: false}",
            given: &[("/etc/app.conf", "old\n"), ("controller:templates/app.conf.j2", "new\n")],
            changes: false,
        },
    ];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        for (name, value) in arguments.iter() {
            if let Some(unknown) = value.unknown_part() {
                return Err(Failure::unknown(format!("the argument `{name}` is not known: {}", unknown.why)));
            }
        }
        let Some(src) = arguments.get("src").map(ToString::to_string) else { return Ok(()) };
        let path = controller.find("templates", &src).map_err(|failure| failure.at("src"))?;
        let stat = controller.stat(&path)?;
        if stat.as_ref().is_some_and(|stat| stat.kind == FileKind::Directory) {
            return Err(Failure::argument("src", format!("`{src}` is a directory, not a template")));
        }
        let options: Map = arguments
            .iter()
            .filter(|(name, _)| name.as_str().is_some_and(|name| OPTIONS.contains(&name)))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let content = match controller.render_file(&path, &options)? {
            unknown @ Value::Unknown(_) => unknown,
            text => {
                let encoding = arguments.get("output_encoding").filter(|name| !name.is_null()).map(ToString::to_string).unwrap_or_default();
                carried(&bytes::encode(&text.to_string(), &encoding).map_err(|why| Failure::argument("output_encoding", why))?)
            }
        };
        arguments.insert("_content".into(), content);
        arguments.insert("_mode".into(), stat.map(|stat| stat.mode).into());
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let Some(content) = &self._content else { return Err(Failure::argument("src", "the template was not rendered on the controller")) };
        let content = content_of(&content.0)?;
        let mut path = Path::new(&self.dest).to_owned();
        if self.dest.ends_with('/') || host.stat(&path, true)?.is_some_and(|stat| stat.kind == FileKind::Directory) {
            path.push(Path::new(&self.src).file_name().unwrap_or_default());
        }
        let destination = Destination::find(host, &path, self.follow, "dest")?;
        destination.needs_folder(host, "dest")?;
        let source = self._mode.map(FileMode::Bits);
        let mode = if self.mode == Some(FileMode::Preserve) { source.as_ref() } else { self.mode.as_ref() };
        let wanted = Wanted { owner: self.owner.as_deref(), group: self.group.as_deref(), mode };
        let values = destination.values(host, &content, &wanted)?;
        if !self.force && destination.found.is_some() {
            return Ok(Plan { values, ..Plan::nothing("the file exists, and `force: false` leaves it") });
        }
        let manner =
            Manner { wanted, backup: self.backup, validate: self.validate.as_deref(), secret: false, in_place: self.unsafe_writes };
        let changes = destination.changes(host, &content, &manner)?;
        let because = match (changes.first(), &destination.found) {
            (None, _) => "the file is as asked",
            (Some(Change::Attributes { .. }), _) => "owner, group or mode differ",
            (Some(_), None) => "the file is missing",
            (Some(_), Some(_)) => "the content differs",
        };
        let warnings = ignored(&[
            ("seuser", self.seuser.is_some()),
            ("serole", self.serole.is_some()),
            ("setype", self.setype.is_some()),
            ("selevel", self.selevel.is_some()),
            ("attributes", self.attributes.is_some()),
        ]);
        Ok(Plan { values, warnings, ..Plan::all(because, changes) }.value("src", self.src.as_str()))
    }

    fn result(&self, plan: &Plan, done: &[Done], host: &dyn Probe) -> Result<Map, Failure> {
        copied(plan, done, host)
    }
}
