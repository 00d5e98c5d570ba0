//! `lineinfile`: see that a line is in a file, or is not.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::attributes::{FileMode, Wanted};
use crate::change::destination::{Destination, Manner, edited_text, ignored};
use crate::change::doubt::Names;
use crate::change::{Change, Content, Done, Failure, Plan, Probe};
use crate::value::{Map, bytes, pattern};

/// Sees that one line is in a text file, is replaced, or is gone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LineInFile {
    /// The file. A link is followed.
    #[serde(alias = "dest", alias = "destfile", alias = "name")]
    path: String,
    /// The line, without the newline. With `backrefs`, `\1` and `\g<name>` stand for groups of `regexp`.
    #[serde(alias = "value")]
    line: Option<String>,
    /// Regular expression of the line to replace (the last one that matches), or of all lines to remove.
    #[serde(alias = "regex")]
    regexp: Option<String>,
    /// Text that the line to replace, or the lines to remove, contain. Instead of `regexp`.
    search_string: Option<String>,
    /// `absent` removes.
    #[serde(default)]
    state: State,
    /// Whether `line` takes groups from `regexp`; then nothing is added where nothing matches.
    #[serde(default)]
    backrefs: bool,
    /// A new line goes after the last line that matches this regular expression, or to the end (`EOF`).
    insertafter: Option<String>,
    /// A new line goes before the last line that matches this regular expression, or to the beginning (`BOF`).
    insertbefore: Option<String>,
    /// Whether a missing file is made.
    #[serde(default)]
    create: bool,
    /// Keep a copy of the old file beside it, with the time in its name.
    #[serde(default)]
    backup: bool,
    /// The first match counts rather than the last.
    #[serde(default)]
    firstmatch: bool,
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

/// Whether the line shall be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Present,
    Absent,
}

impl Module for LineInFile {
    const NAME: &'static str = "lineinfile";
    const PATHS: &'static [&'static str] = &["path", "dest", "destfile", "name"];
    const CHANGES: &'static [Names] = &[Names::Path("path"), Names::Path("dest"), Names::Path("destfile"), Names::Path("name")];
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Set a value, whether its line is there or not",
            task: "{path: /etc/app.conf, regexp: '^port=', line: 'port=9200'}",
            given: &[("/etc/app.conf", "host=a\nport=80\n")],
            changes: true,
        },
        Example {
            title: "Add a line after another",
            task: "{path: /etc/hosts, insertafter: '^127', line: '192.0.2.1 db'}",
            given: &[("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")],
            changes: true,
        },
        Example {
            title: "Keep part of a line",
            task: "{path: /etc/default/app, regexp: '^(OPTS=\"[^\"]*?)( -x)?\"$', line: '\\1 -x\"', backrefs: true}",
            given: &[("/etc/default/app", "OPTS=\"-a\"\n")],
            changes: true,
        },
        Example {
            title: "Remove lines",
            task: "{path: /etc/app.conf, search_string: debug, state: absent}",
            given: &[("/etc/app.conf", "debug=1\na=2\nno-debug\n")],
            changes: true,
        },
        Example {
            title: "A line that is there",
            task: "{path: /etc/app.conf, line: a=1}",
            given: &[("/etc/app.conf", "a=1\nb=2\n")],
            changes: false,
        },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let both = |a: &str, b: &str| Err(Failure::argument(b, format!("`{a}` and `{b}` exclude each other")));
        if self.regexp.is_some() && self.search_string.is_some() {
            return both("regexp", "search_string");
        }
        if self.insertafter.is_some() && self.insertbefore.is_some() {
            return both("insertafter", "insertbefore");
        }
        if self.backrefs && self.regexp.is_none() {
            return Err(Failure::argument("backrefs", "`backrefs: true` needs `regexp`"));
        }
        let destination = Destination::find(host, Path::new(&self.path), true, "path")?;
        if self.state == State::Absent {
            return self.absent(host, &destination);
        }
        let Some(line) = self.line.as_deref() else { return Err(Failure::argument("line", "`line` is required")) };
        if destination.found.is_none() && !self.create {
            return Err(destination.missing("Destination"));
        }
        let folders = destination.folders(host, "path")?;
        let text = destination.text(host, self.encoding.as_deref())?;
        let (text, message) = self.present(&text, line)?;
        let mut plan = self.settled(host, &destination, text, &message)?.value("msg", message);
        if self.regexp.as_deref() == Some("") {
            plan.warnings
                .push("the regular expression is an empty string, which matches every line; `^` says so without this warning".to_owned());
        } else if self.search_string.as_deref() == Some("") {
            plan.warnings.push("the search string is empty, which matches every line".to_owned());
        }
        plan.changes.splice(0..0, folders);
        Ok(plan)
    }

    fn result(&self, plan: &Plan, done: &[Done], _host: &dyn Probe) -> Result<Map, Failure> {
        Ok(edited_text(plan.values.clone(), done))
    }
}

/// Returns the lines of a text, each with what ends it.
fn lines_of(text: &str) -> Vec<String> {
    text.split_inclusive('\n').map(str::to_owned).collect()
}

fn bare(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

impl LineInFile {
    /// Returns the text with the line in it, and what was done.
    fn present(&self, text: &str, line: &str) -> Result<(String, String), Failure> {
        let mut lines = lines_of(text);
        let searched = self.searched(&lines)?;
        if let Some((at, new)) = searched {
            let new = new.unwrap_or_else(|| line.to_owned());
            return Ok(replaced(lines, at, &new));
        }
        if let Some(at) = lines.iter().rposition(|known| bare(known) == line)
            && !self.backrefs
        {
            return Ok(replaced(lines, at, line));
        }
        if self.backrefs {
            return Ok((text.to_owned(), String::new()));
        }
        let at = self.place(&lines)?.unwrap_or(lines.len());
        if self.insertafter.is_some() && lines.get(at).is_some_and(|known| bare(known) == line) {
            return Ok((text.to_owned(), String::new()));
        }
        if let Some(last) = lines.last_mut()
            && at > 0
            && !last.ends_with(['\n', '\r'])
        {
            last.push('\n');
        }
        let ending = if line.ends_with('\n') { "" } else { "\n" };
        lines.insert(at.min(lines.len()), format!("{line}{ending}"));
        Ok((lines.concat(), "line added".to_owned()))
    }

    /// Returns the line that `regexp` or `search_string` mean, and what `backrefs` make of it.
    fn searched(&self, lines: &[String]) -> Result<Option<(usize, Option<String>)>, Failure> {
        let mut found = None;
        if let Some(text) = &self.search_string {
            let matching = |known: &String| known.contains(text.as_str());
            let at = if self.firstmatch { lines.iter().position(matching) } else { lines.iter().rposition(matching) };
            return Ok(at.map(|at| (at, None)));
        }
        let Some(regexp) = &self.regexp else { return Ok(None) };
        let wrong = |message| Failure::argument("regexp", message);
        let pattern = pattern::compile(regexp, "").map_err(wrong)?;
        for (at, known) in lines.iter().enumerate() {
            let captures = pattern.captures(known).map_err(|error| wrong(error.to_string()))?;
            let Some(captures) = captures else { continue };
            let new = match &self.line {
                Some(line) if self.backrefs => {
                    Some(pattern::expand(&captures, line).map_err(|message| Failure::argument("line", message))?)
                }
                _ => None,
            };
            found = Some((at, new));
            if self.firstmatch {
                break;
            }
        }
        Ok(found)
    }

    /// Returns where a new line goes: before this one; `None` at the end.
    fn place(&self, lines: &[String]) -> Result<Option<usize>, Failure> {
        let (argument, text, offset) = match (self.insertafter.as_deref(), self.insertbefore.as_deref()) {
            (Some("BOF"), _) | (_, Some("BOF")) => return Ok(Some(0)),
            (None | Some("EOF"), None) => return Ok(None),
            (Some(text), _) => ("insertafter", text, 1),
            (None, Some(text)) => ("insertbefore", text, 0),
        };
        let pattern = pattern::compile(text, "").map_err(|message| Failure::argument(argument, message))?;
        let matching = |known: &String| pattern.is_match(known).unwrap_or(false);
        let at = if self.firstmatch { lines.iter().position(matching) } else { lines.iter().rposition(matching) };
        Ok(at.map(|at| at + offset))
    }

    fn absent(&self, host: &dyn Probe, destination: &Destination) -> Result<Plan, Failure> {
        if self.regexp.is_none() && self.search_string.is_none() && self.line.is_none() {
            return Err(Failure::argument("line", "one of `line`, `search_string` and `regexp` is required"));
        }
        if destination.found.is_none() {
            return Ok(Plan::nothing("the file does not exist").value("msg", "file not present").value("found", 0));
        }
        let text = destination.text(host, self.encoding.as_deref())?;
        let pattern = self.regexp.as_deref().map(|text| pattern::compile(text, "")).transpose();
        let pattern = pattern.map_err(|message| Failure::argument("regexp", message))?;
        let lines = lines_of(&text);
        let goes = |known: &&String| match (&pattern, &self.search_string) {
            (Some(pattern), _) => pattern.is_match(known).unwrap_or(false),
            (None, Some(text)) => known.contains(text.as_str()),
            (None, None) => Some(bare(known)) == self.line.as_deref(),
        };
        let found = lines.iter().filter(goes).count();
        let kept: String = lines.iter().filter(|known| !goes(known)).map(String::as_str).collect();
        let message = if found == 0 { String::new() } else { format!("{found} line(s) removed") };
        Ok(self.settled(host, destination, kept, &message)?.value("msg", message).value("found", found))
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
        // Where no copy is kept, its name is empty.
        Ok(Plan { warnings, ..Plan::all(because, changes) }.value("backup", ""))
    }
}

fn replaced(mut lines: Vec<String>, at: usize, new: &str) -> (String, String) {
    let new = if new.ends_with('\n') { new.to_owned() } else { format!("{new}\n") };
    match lines.get_mut(at) {
        Some(known) if *known != new => {
            *known = new;
            (lines.concat(), "line replaced".to_owned())
        }
        _ => (lines.concat(), String::new()),
    }
}
