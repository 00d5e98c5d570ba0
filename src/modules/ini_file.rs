//! `ini_file`: settings in INI files.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::group::Presence;
use super::{Example, Module};
use crate::change::attributes::{FileMode, Wanted};
use crate::change::destination::{Destination, Manner, finished};
use crate::change::{Content, Done, Failure, Plan, Probe};
use crate::value::Map;

/// Sets and removes settings in an INI file. Comments, order and everything else stay as they are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IniFile {
    /// The file.
    #[serde(alias = "dest")]
    path: String,
    /// The section; without it, what stands above the first.
    section: Option<String>,
    /// The setting. `absent` without it removes the whole section.
    option: Option<String>,
    /// Its value.
    value: Option<String>,
    /// Its values, where a setting may stand there more than once.
    #[serde(default)]
    values: Vec<String>,
    /// Whether it shall be there.
    #[serde(default)]
    state: Presence,
    /// Whether other lines of the same setting go.
    #[serde(default = "super::command::yes")]
    exclusive: bool,
    /// Whether a missing file is made.
    #[serde(default = "super::command::yes")]
    create: bool,
    /// Whether a copy of the old file is kept beside it.
    #[serde(default)]
    backup: bool,
    /// Whether no blanks are put around the `=`.
    #[serde(default)]
    no_extra_spaces: bool,
    /// Whether a line that differs in blanks only stays as it is.
    #[serde(default)]
    ignore_spaces: bool,
    /// Whether a setting may stand there without a value.
    #[serde(default)]
    allow_no_value: bool,
    /// Whether a line that is commented out makes place for the setting.
    #[serde(default = "super::command::yes")]
    modify_inactive_option: bool,
    /// Accepted for old playbooks: a link is always followed to the file it means.
    #[serde(default, rename = "follow")]
    _follow: bool,
    /// Name or number of the owner.
    owner: Option<String>,
    /// Name or number of the group.
    group: Option<String>,
    /// Permissions: octal in quotes (`"0644"`) or clauses.
    mode: Option<FileMode>,
    /// Whether a file that cannot be replaced as a whole is overwritten in place.
    unsafe_writes: Option<bool>,
}

impl Module for IniFile {
    const NAME: &'static str = "ini_file";
    const COLLECTION: &'static str = "community.general";
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Set a value, in place of the line that is commented out",
            task: "{path: /etc/app.ini, section: server, option: port, value: '9200'}",
            given: &[("/etc/app.ini", "[server]\n# port = 80\nhost = a\n\n[other]\nport = 1\n")],
            changes: true,
        },
        Example {
            title: "A new section",
            task: "{path: /etc/app.ini, section: db, option: name, value: x, no_extra_spaces: true}",
            given: &[("/etc/app.ini", "[server]\nhost = a\n")],
            changes: true,
        },
        Example {
            title: "Remove a section",
            task: "{path: /etc/app.ini, section: old, state: absent}",
            given: &[("/etc/app.ini", "[old]\na = 1\n[new]\nb = 2\n")],
            changes: true,
        },
        Example {
            title: "A value that is there",
            task: "{path: /etc/app.ini, option: a, value: '1'}",
            given: &[("/etc/app.ini", "a = 1\n")],
            changes: false,
        },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        if self.value.is_some() && !self.values.is_empty() {
            return Err(Failure::argument("values", "`value` and `values` exclude each other"));
        }
        let mut values = self.values.clone();
        values.extend(self.value.clone());
        let destination = Destination::find(host, Path::new(&self.path), true, "path")?;
        if destination.found.is_none() {
            if self.state == Presence::Absent {
                return Ok(Plan::nothing("there is no such file").value("msg", "file does not exist"));
            }
            if !self.create {
                return Err(destination.missing("Destination"));
            }
        }
        if self.state == Presence::Present && self.option.is_some() && values.is_empty() && !self.allow_no_value {
            return Err(Failure::argument("value", "`value` is needed, or `allow_no_value: true`"));
        }
        let bytes = host.read(&destination.path)?.unwrap_or_default();
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::argument("path", format!("`{}` is not UTF-8 text", destination.path.display())))?;
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let message = self.edit(&mut lines, &values);
        let mut new = lines.join("\n");
        if !new.is_empty() {
            new.push('\n');
        }
        let is_same = message.is_empty() || new.trim_end_matches('\n') == text.trim_end_matches('\n');
        let content = if is_same { text } else { new };
        let mut changes = destination.folders(host, "path")?;
        let wanted = Wanted { owner: self.owner.as_deref(), group: self.group.as_deref(), mode: self.mode.as_ref() };
        let manner = Manner { wanted, backup: self.backup, validate: None, secret: false, in_place: self.unsafe_writes };
        changes.extend(destination.changes(host, &Content::Bytes(content.into_bytes()), &manner)?);
        let because = match (changes.is_empty(), is_same) {
            (true, _) => "the file is as asked",
            (_, true) => "owner, group or mode differ",
            _ => message,
        };
        Ok(Plan::all(because, changes).value("msg", if is_same { "OK" } else { message }).value("path", self.path.as_str()))
    }

    fn result(&self, plan: &Plan, done: &[Done], host: &dyn Probe) -> Result<Map, Failure> {
        finished(plan.values.clone(), done, host, Path::new(&self.path))
    }
}

/// Returns the name of the section that a line begins.
fn section_of(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix('[')?;
    rest.split_once(']').map(|(name, _)| name)
}

/// A line that sets something.
struct Setting<'a> {
    /// Whether it counts: not commented out.
    active: bool,
    value: &'a str,
}

/// Returns what a line says of `option`.
fn setting<'a>(line: &'a str, option: &str) -> Option<Setting<'a>> {
    let text = line.trim_start();
    let (active, text) = match text.strip_prefix(['#', ';']) {
        Some(rest) => (false, rest.trim_start()),
        None => (true, text),
    };
    let rest = text.strip_prefix(option)?.trim_start();
    match rest.strip_prefix('=') {
        Some(value) => Some(Setting { active, value: value.trim() }),
        None if rest.is_empty() => Some(Setting { active, value: "" }),
        None => None,
    }
}

impl IniFile {
    fn line(&self, option: &str, value: Option<&str>) -> String {
        match value {
            None => option.to_owned(),
            Some(value) if self.no_extra_spaces => format!("{option}={value}"),
            Some(value) => format!("{option} = {value}"),
        }
    }

    /// Edits the lines, and says what was done.
    fn edit(&self, lines: &mut Vec<String>, values: &[String]) -> &'static str {
        let Some((from, to)) = self.range(lines) else { return self.new_section(lines, values) };
        let Some(option) = &self.option else {
            if self.state == Presence::Present {
                return "";
            }
            let start = if self.section.is_some() { from - 1 } else { from };
            lines.drain(start..to);
            return "section removed";
        };
        let mut part: Vec<String> = lines.get(from..to).unwrap_or_default().to_vec();
        let message =
            if self.state == Presence::Absent { self.without(&mut part, option, values) } else { self.with(&mut part, option, values) };
        lines.splice(from..to, part);
        message
    }

    /// Returns where the lines of the section begin and end.
    fn range(&self, lines: &[String]) -> Option<(usize, usize)> {
        let from = match &self.section {
            None => 0,
            Some(section) => lines.iter().position(|line| section_of(line) == Some(section))? + 1,
        };
        let length = lines.iter().skip(from).position(|line| section_of(line).is_some());
        Some((from, length.map_or(lines.len(), |length| from + length)))
    }

    fn new_section(&self, lines: &mut Vec<String>, values: &[String]) -> &'static str {
        if self.state == Presence::Absent {
            return "";
        }
        lines.push(format!("[{}]", self.section.as_deref().unwrap_or_default()));
        if let Some(option) = &self.option {
            if values.is_empty() {
                lines.push(self.line(option, None));
            }
            lines.extend(values.iter().map(|value| self.line(option, Some(value))));
        }
        "section and option added"
    }

    fn without(&self, part: &mut Vec<String>, option: &str, values: &[String]) -> &'static str {
        let before = part.len();
        part.retain(|line| match setting(line, option) {
            Some(Setting { active: true, value }) => !(values.is_empty() || self.exclusive || values.iter().any(|wanted| wanted == value)),
            _ => true,
        });
        if part.len() == before { "" } else { "option changed" }
    }

    fn with(&self, part: &mut Vec<String>, option: &str, values: &[String]) -> &'static str {
        let mut wanted: Vec<(Option<&str>, String)> =
            values.iter().map(|value| (Some(value.as_str()), self.line(option, Some(value)))).collect();
        if wanted.is_empty() {
            wanted.push((None, self.line(option, None)));
        }
        let before = part.clone();
        // Lines that say it already.
        let mut kept = vec![false; part.len()];
        wanted.retain(|(value, line)| {
            let fits = |known: &String| match setting(known, option) {
                Some(Setting { active: true, value: found }) => known == line || (self.ignore_spaces && found == value.unwrap_or_default()),
                _ => false,
            };
            let at = part.iter().enumerate().position(|(at, known)| !kept.get(at).copied().unwrap_or(true) && fits(known));
            if let Some(kept) = at.and_then(|at| kept.get_mut(at)) {
                *kept = true;
            }
            at.is_none()
        });
        // Then those that can take another value: lines that count first, then those that are commented out.
        for active in [true, false] {
            if (active && !self.exclusive) || (!active && !self.modify_inactive_option) {
                continue;
            }
            for (line, kept) in part.iter_mut().zip(&mut kept) {
                let is_free = !*kept && setting(line, option).is_some_and(|found| found.active == active);
                if is_free && !wanted.is_empty() {
                    *line = wanted.remove(0).1;
                    *kept = true;
                }
            }
        }
        if self.exclusive {
            let mut kept = kept.iter();
            part.retain(|line| kept.next().copied().unwrap_or(true) || !setting(line, option).is_some_and(|found| found.active));
        }
        let last = part.iter().rposition(|line| !line.trim().is_empty() && !line.trim_start().starts_with(['#', ';']));
        let at = last.map_or(0, |last| last + 1);
        let added = !wanted.is_empty();
        part.splice(at..at, wanted.into_iter().map(|(_, line)| line));
        match (*part == before, added) {
            (true, _) => "",
            (_, true) => "option added",
            _ => "option changed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    fn edited(arguments: &[(&str, Value)], text: &str) -> String {
        let path = ("path".into(), Value::str("/x"));
        let map: Map = arguments.iter().map(|(name, value)| ((*name).into(), value.clone())).chain([path]).collect();
        let module = crate::value::arguments::from_map::<IniFile>(&map).expect("fits");
        let mut values = module.values.clone();
        values.extend(module.value.clone());
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        module.edit(&mut lines, &values);
        lines.join("\n")
    }

    #[test]
    fn a_new_setting_goes_to_the_end_of_its_section() {
        let set = [("section", Value::str("a")), ("option", Value::str("y")), ("value", Value::str("2"))];
        assert_eq!(edited(&set, "[a]\nx = 1\n\n[b]\ny = 0"), "[a]\nx = 1\ny = 2\n\n[b]\ny = 0");
        assert_eq!(edited(&set, "[a]\n;y = 1\ny = 0\ny = 3\n[b]"), "[a]\n;y = 1\ny = 2\n[b]");
        assert_eq!(edited(&set, "[b]"), "[b]\n[a]\ny = 2");
    }

    #[test]
    fn several_values_of_one_setting_are_kept_apart() {
        let values = Value::list([Value::str("1"), Value::str("2")]);
        let set = [("section", Value::str("a")), ("option", Value::str("y")), ("values", values), ("exclusive", Value::Bool(false))];
        assert_eq!(edited(&set, "[a]\ny = 2\ny = 3"), "[a]\ny = 2\ny = 3\ny = 1");
    }

    #[test]
    fn removing_leaves_comments_and_other_sections() {
        let gone = [("section", Value::str("a")), ("option", Value::str("y")), ("state", Value::str("absent"))];
        assert_eq!(edited(&gone, "[a]\n# y = 1\ny = 2\n[b]\ny = 3"), "[a]\n# y = 1\n[b]\ny = 3");
        assert_eq!(edited(&[("section", Value::str("a")), ("state", Value::str("absent"))], "[a]\ny = 2\n[b]"), "[b]");
    }
}
