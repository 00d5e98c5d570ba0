//! `blockinfile`: keep a block of lines in a file, between marker lines.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::attributes::{FileMode, Wanted};
use crate::change::destination::{Destination, Manner, edited_text, ignored};
use crate::change::doubt::Names;
use crate::change::{Change, Content, Done, Failure, Plan, Probe};
use crate::value::{Map, bytes, pattern};

/// Keeps a block of lines in a text file, between two marker lines by which it is found again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockInFile {
    /// The file. A link is followed.
    #[serde(alias = "dest", alias = "destfile", alias = "name")]
    path: String,
    /// The lines. An empty block is removed, with its markers.
    #[serde(default, alias = "content")]
    block: String,
    /// `absent` removes the block, with its markers.
    #[serde(default)]
    state: State,
    /// The marker lines; `{mark}` becomes `marker_begin` and `marker_end`.
    #[serde(default = "marker")]
    marker: String,
    /// What the first marker has for `{mark}`.
    #[serde(default = "begin")]
    marker_begin: String,
    /// What the last marker has for `{mark}`.
    #[serde(default = "end")]
    marker_end: String,
    /// A new block goes after the last line that matches this regular expression, or to the end (`EOF`).
    insertafter: Option<String>,
    /// A new block goes before the last line that matches this regular expression, or to the beginning (`BOF`).
    insertbefore: Option<String>,
    /// Whether a missing file is made.
    #[serde(default)]
    create: bool,
    /// Keep a copy of the old file beside it, with the time in its name.
    #[serde(default)]
    backup: bool,
    /// Whether an empty line follows the block.
    #[serde(default)]
    append_newline: bool,
    /// Whether an empty line goes before the block.
    #[serde(default)]
    prepend_newline: bool,
    /// Command that must accept the new file first; `%s` stands for it.
    validate: Option<String>,
    /// The encoding of the file: `utf-8` if not given. Bytes that are none of it stay as they are where it is UTF-8.
    encoding: Option<String>,
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
}

/// Whether the block shall be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Present,
    Absent,
}

fn marker() -> String {
    "# {mark} ANSIBLE MANAGED BLOCK".to_owned()
}

fn begin() -> String {
    "BEGIN".to_owned()
}

fn end() -> String {
    "END".to_owned()
}

impl Module for BlockInFile {
    const NAME: &'static str = "blockinfile";
    const PATHS: &'static [&'static str] = &["path", "dest", "destfile", "name"];
    const CHANGES: &'static [Names] = &[Names::Path("path"), Names::Path("dest"), Names::Path("destfile"), Names::Path("name")];
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Add a block at the end",
            task: "{path: /etc/hosts, block: \"192.0.2.1 a\\n192.0.2.2 b\", marker: \"# {mark} cluster\"}",
            given: &[("/etc/hosts", "127.0.0.1 localhost\n")],
            changes: true,
        },
        Example {
            title: "Change a block where it is",
            task: "{path: /etc/app.conf, block: b=2}",
            given: &[("/etc/app.conf", "a\n# BEGIN ANSIBLE MANAGED BLOCK\nb=1\n# END ANSIBLE MANAGED BLOCK\nc\n")],
            changes: true,
        },
        Example {
            title: "Put a block before a line, apart from it",
            task: "{path: /etc/app.conf, block: b=2, insertbefore: '^c', append_newline: true, prepend_newline: true}",
            given: &[("/etc/app.conf", "a\nc\n")],
            changes: true,
        },
        Example {
            title: "Remove a block",
            task: "{path: /etc/app.conf, state: absent}",
            given: &[("/etc/app.conf", "a\n# BEGIN ANSIBLE MANAGED BLOCK\nb=1\n# END ANSIBLE MANAGED BLOCK\n")],
            changes: true,
        },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        if self.insertafter.is_some() && self.insertbefore.is_some() {
            return Err(Failure::argument("insertbefore", "`insertafter` and `insertbefore` exclude each other"));
        }
        let destination = Destination::find(host, Path::new(&self.path), true, "path")?;
        let wanted = self.state == State::Present && !self.block.is_empty();
        if destination.found.is_none() {
            if !wanted && !self.create {
                return Ok(Plan::nothing("the file does not exist").value("msg", "file not present"));
            }
            if !self.create {
                return Err(destination.missing("Path"));
            }
        }
        let folders = destination.folders(host, "path")?;
        let text = destination.text(host, self.encoding.as_deref())?;
        let (new, message) = self.edited(&text, wanted)?;
        let message = if destination.found.is_none() && wanted { "File created" } else { message };
        let because = if message.is_empty() { "the block is as asked" } else { message };
        let mut plan = self.settled(host, &destination, new, because)?.value("msg", message);
        plan.changes.splice(0..0, folders);
        Ok(plan)
    }

    fn result(&self, plan: &Plan, done: &[Done], _host: &dyn Probe) -> Result<Map, Failure> {
        Ok(edited_text(plan.values.clone(), done))
    }
}

impl BlockInFile {
    fn edited(&self, text: &str, wanted: bool) -> Result<(String, &'static str), Failure> {
        let first = self.marker.replace("{mark}", &self.marker_begin);
        let last = self.marker.replace("{mark}", &self.marker_end);
        let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        let is = |line: &String, mark: &str| line.trim_end_matches(['\r', '\n']) == mark;
        let begin = lines.iter().rposition(|line| is(line, &first));
        let end = lines.iter().rposition(|line| is(line, &last));
        let mut new: Vec<String> = Vec::new();
        if wanted {
            new.push(format!("{first}\n"));
            new.extend(self.block.split_inclusive('\n').map(|line| format!("{}\n", line.trim_end_matches('\n'))));
            new.push(format!("{last}\n"));
        }
        let known = match (begin, end) {
            // Markers out of order enclose something that is not ours, and what is between them goes, as it always did.
            (Some(begin), Some(end)) => Some((begin.min(end), begin.max(end))),
            (Some(one), None) | (None, Some(one)) => Some((one, one)),
            (None, None) => None,
        };
        let at = match known {
            Some((from, to)) => {
                lines.drain(from..=to);
                from
            }
            None if !wanted => return Ok((text.to_owned(), "")),
            None => self.place(&lines)?.unwrap_or(lines.len()),
        };
        if at > 0
            && let Some(before) = lines.get_mut(at - 1)
            && !before.ends_with('\n')
            && wanted
        {
            before.push('\n');
        }
        if wanted && self.prepend_newline && at > 0 && lines.get(at - 1).is_some_and(|line| !line.trim().is_empty()) {
            new.insert(0, "\n".to_owned());
        }
        if wanted && self.append_newline && lines.get(at).is_some_and(|line| !line.trim().is_empty()) {
            new.push("\n".to_owned());
        }
        lines.splice(at..at, new);
        let result = lines.concat();
        let message = match (known, wanted) {
            _ if result == text => "",
            (_, false) => "Block removed",
            (_, true) => "Block inserted",
        };
        Ok((result, message))
    }

    /// Returns where a new block goes: before this line; `None` at the end.
    fn place(&self, lines: &[String]) -> Result<Option<usize>, Failure> {
        let (argument, text, offset) = match (self.insertafter.as_deref(), self.insertbefore.as_deref()) {
            (Some("BOF"), _) | (_, Some("BOF")) => return Ok(Some(0)),
            (None | Some("EOF"), None) => return Ok(None),
            (Some(text), _) => ("insertafter", text, 1),
            (None, Some(text)) => ("insertbefore", text, 0),
        };
        let pattern = pattern::compile(text, "").map_err(|message| Failure::argument(argument, message))?;
        if text.contains("(?m)") {
            // Such a pattern may reach over several lines.
            let whole = lines.concat();
            let last = pattern.find_iter(&whole).filter_map(Result::ok).last();
            return Ok(last.map(|found| {
                let until = if offset == 1 { found.end() } else { found.start() };
                let before = whole.get(..until).unwrap_or_default();
                before.matches('\n').count() + usize::from(offset == 1 && !before.ends_with('\n'))
            }));
        }
        Ok(lines.iter().rposition(|line| pattern.is_match(line).unwrap_or(false)).map(|at| at + offset))
    }

    /// Plans the new text of the file.
    fn settled(&self, host: &dyn Probe, destination: &Destination, text: String, because: &str) -> Result<Plan, Failure> {
        let wanted = Wanted { owner: self.owner.as_deref(), group: self.group.as_deref(), mode: self.mode.as_ref() };
        let manner =
            Manner { wanted, backup: self.backup, validate: self.validate.as_deref(), secret: false, in_place: self.unsafe_writes };
        let text = bytes::encode(&text, self.encoding.as_deref().unwrap_or_default());
        let text = text.map_err(|why| Failure::argument("encoding", why))?;
        let changes = destination.changes(host, &Content::Bytes(text), &manner)?;
        let because = match changes.first() {
            None => "the file is as asked",
            Some(Change::Attributes { .. }) => "owner, group or mode differ",
            Some(_) => because,
        };
        let warnings = ignored(&[
            ("seuser", self.seuser.is_some()),
            ("serole", self.serole.is_some()),
            ("setype", self.setype.is_some()),
            ("selevel", self.selevel.is_some()),
            ("attributes", self.attributes.is_some()),
        ]);
        Ok(Plan { warnings, ..Plan::all(because, changes) })
    }
}
