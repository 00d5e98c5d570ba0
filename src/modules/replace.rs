//! `replace`: replace every match of a regular expression in a file.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::attributes::{FileMode, Wanted};
use crate::change::destination::{Destination, Manner, edited_text, ignored};
use crate::change::doubt::Names;
use crate::change::{Change, Content, Done, Failure, Plan, Probe};
use crate::value::{Map, bytes, pattern};

/// Replaces every match of a regular expression in a text file. `^` and `$` are the ends of lines, and `.` is no newline.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replace {
    /// The file. A link is followed.
    #[serde(alias = "dest", alias = "destfile", alias = "name")]
    path: String,
    /// The regular expression, in Python's words.
    regexp: String,
    /// What comes in its place; `\1` and `\g<name>` stand for groups. Empty if not given.
    #[serde(default)]
    replace: String,
    /// Only what comes after this regular expression is looked at.
    after: Option<String>,
    /// Only what comes before this regular expression is looked at.
    before: Option<String>,
    /// Keep a copy of the old file beside it, with the time in its name.
    #[serde(default)]
    backup: bool,
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

impl Module for Replace {
    const NAME: &'static str = "replace";
    const PATHS: &'static [&'static str] = &["path", "dest", "destfile", "name"];
    const CHANGES: &'static [Names] = &[Names::Path("path"), Names::Path("dest"), Names::Path("destfile"), Names::Path("name")];
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Rename a host wherever it is named",
            task: "{path: /etc/hosts, regexp: '(\\s+)old\\.example(\\s+.*)?$', replace: '\\1new.example\\2'}",
            given: &[("/etc/hosts", "192.0.2.1 old.example old\n192.0.2.2 b\n")],
            changes: true,
        },
        Example {
            title: "Only within a section",
            task: "{path: /etc/app.ini, after: '\\[db\\]', before: '\\[web\\]', regexp: '^port=.*$', replace: port=5432}",
            given: &[("/etc/app.ini", "port=1\n[db]\nport=2\n[web]\nport=3\n")],
            changes: true,
        },
        Example {
            title: "Nothing that matches",
            task: "{path: /etc/hosts, regexp: old, replace: new}",
            given: &[("/etc/hosts", "127.0.0.1 localhost\n")],
            changes: false,
        },
    ];
    // A replacement may match again: `a` by `aa`.
    const RESTS: bool = false;

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let refused = |message| Failure::argument("replace", format!("Unable to process replace: {message}"));
        pattern::check_replacement(&self.replace).map_err(refused)?;
        let destination = Destination::find(host, Path::new(&self.path), true, "path")?;
        if destination.found.is_none() {
            return Err(destination.missing("Path"));
        }
        let text = destination.text(host, self.encoding.as_deref())?;
        let wrong = |message| Failure::argument("regexp", message);
        let regexp = pattern::compile(&self.regexp, "m").map_err(wrong)?;
        let Some((from, to)) = self.section(&text)? else {
            let message = "Pattern for before/after params did not match the given file.";
            let mut plan = self.settled(host, &destination, text, "")?;
            plan.warnings.push(format!("nothing in `{}` matches `after` and `before`", destination.path.display()));
            return Ok(plan.value("msg", message));
        };
        let part = text.get(from..to).unwrap_or_default();
        let (new, count) = pattern::replace_all(&regexp, part, &self.replace).map_err(refused)?;
        let whole = format!("{}{new}{}", text.get(..from).unwrap_or_default(), text.get(to..).unwrap_or_default());
        let message = if count > 0 && whole != text { format!("{count} replacements made") } else { String::new() };
        Ok(self.settled(host, &destination, whole, &message)?.value("msg", message))
    }

    fn result(&self, plan: &Plan, done: &[Done], _host: &dyn Probe) -> Result<Map, Failure> {
        Ok(edited_text(plan.values.clone(), done))
    }
}

impl Replace {
    /// Returns the part of the text that is looked at.
    fn section(&self, text: &str) -> Result<Option<(usize, usize)>, Failure> {
        let find = |argument: &str, pattern: &str, from: usize| -> Result<Option<(usize, usize)>, Failure> {
            let wrong = |message| Failure::argument(argument, message);
            let pattern = pattern::compile(pattern, "s").map_err(wrong)?;
            let found = pattern.find_from_pos(text, from).map_err(|error| wrong(error.to_string()))?;
            Ok(found.map(|found| (found.start(), found.end())))
        };
        let mut from = 0;
        if let Some(after) = &self.after {
            match find("after", after, 0)? {
                Some((_, end)) => from = end,
                None => return Ok(None),
            }
        }
        match &self.before {
            None => Ok(Some((from, text.len()))),
            Some(before) => Ok(find("before", before, from)?.map(|(start, _)| (from, start))),
        }
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
        Ok(Plan { warnings, ..Plan::all(because, changes) }.value("rc", 0))
    }
}
