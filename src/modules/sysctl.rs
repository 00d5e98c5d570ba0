//! `sysctl`: settings of the kernel.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::group::Presence;
use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::target::{Manner, Target};
use crate::change::{Attributes, Change, Effect, Failure, Plan, Probe, Program};

/// Sets kernel settings in a file that is read at each start, and in the running kernel.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sysctl {
    /// The setting, such as `vm.max_map_count`.
    #[serde(alias = "key")]
    name: String,
    /// Its value.
    #[serde(alias = "val")]
    value: Option<Text>,
    /// Whether the file shall have it.
    #[serde(default)]
    state: Presence,
    /// The file.
    #[serde(default = "usual_file")]
    sysctl_file: String,
    /// Whether the running kernel reads the file again where it changed.
    #[serde(default = "super::command::yes")]
    reload: bool,
    /// Whether the value is set in the running kernel too, where it has another.
    #[serde(default)]
    sysctl_set: bool,
    /// Whether a setting that the kernel does not know is no failure.
    #[serde(default)]
    ignoreerrors: bool,
}

/// A value as playbooks write it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Text {
    /// Yes or no: 1 or 0.
    Flag(bool),
    /// A number.
    Number(i64),
    /// Words.
    Words(String),
}

impl Text {
    fn shown(&self) -> String {
        match self {
            Self::Flag(flag) => u8::from(*flag).to_string(),
            Self::Number(number) => number.to_string(),
            Self::Words(text) => match text.trim().to_lowercase().as_str() {
                "yes" | "true" | "on" => "1".to_owned(),
                "no" | "false" | "off" => "0".to_owned(),
                _ => text.split_whitespace().collect::<Vec<_>>().join(" "),
            },
        }
    }
}

fn usual_file() -> String {
    "/etc/sysctl.conf".to_owned()
}

impl Module for Sysctl {
    const NAME: &'static str = "sysctl";
    const COLLECTION: &'static str = "ansible.posix";
    const PATHS: &'static [&'static str] = &["sysctl_file"];
    const CHANGES: &'static [Names] = &[Names::Path("sysctl_file"), Names::Always("/etc/sysctl.conf")];
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Let Elasticsearch map many files",
            task: "{name: vm.max_map_count, value: '262144', sysctl_file: /etc/sysctl.d/90-es.conf, reload: false}",
            given: &[("/etc/sysctl.d/", "")],
            changes: true,
        },
        Example {
            title: "A value that is there",
            task: "{name: vm.swappiness, value: 1, reload: false}",
            given: &[("/etc/sysctl.conf", "# memory\nvm.swappiness = 1\n")],
            changes: false,
        },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let name = self.name.trim();
        if name.is_empty() || name.contains(char::is_whitespace) || name.contains("..") || name.starts_with('/') {
            return Err(Failure::argument("name", format!("`{name}` is not the name of a setting such as `vm.swappiness`")));
        }
        let wanted = match (self.state, &self.value) {
            (Presence::Absent, _) => None,
            (Presence::Present, Some(value)) if !value.shown().is_empty() => Some(value.shown()),
            (Presence::Present, _) => return Err(Failure::argument("value", "`value` is needed")),
        };
        let target = Target::find(host, Path::new(&self.sysctl_file), "sysctl_file")?;
        let text = String::from_utf8_lossy(target.content.as_deref().unwrap_or_default()).into_owned();
        let mut changes = Vec::new();
        if let Some(new) = edited(&text, name, wanted.as_deref()) {
            let for_new = Attributes { mode: Some(0o644), ..Attributes::default() };
            changes.extend(target.changes(Some(new.into_bytes()), &Manner { for_new, ..Manner::default() }));
        }
        let file_changes = !changes.is_empty();
        // Dots and slashes change places, as in net/ipv4/conf/eth0.1/...
        let swap = |c: char| if c == '.' { '/' } else { '.' };
        let proc = PathBuf::from("/proc/sys").join(if name.contains('/') {
            name.to_owned()
        } else {
            name.chars().map(|c| if matches!(c, '.' | '/') { swap(c) } else { c }).collect()
        });
        if let Some(value) = wanted.as_deref().filter(|_| self.sysctl_set) {
            match host.read(&proc)? {
                Some(bytes) => {
                    let now = String::from_utf8_lossy(&bytes).split_whitespace().collect::<Vec<_>>().join(" ");
                    if now != value {
                        changes.push(self.run(
                            &["-w".to_owned(), format!("{name}={value}")],
                            proc.clone(),
                            format!("set {name} to {value}"),
                        ));
                    }
                }
                None if self.ignoreerrors => {}
                None => {
                    return Err(Failure::argument("name", format!("the running kernel has no setting `{name}`"))
                        .hint("a module may be missing; `ignoreerrors: true` goes on without it"));
                }
            }
        }
        if self.reload && file_changes {
            let summary = format!("let the kernel read {}", self.sysctl_file);
            changes.push(self.run(&["-p".to_owned(), self.sysctl_file.clone()], proc, summary));
        }
        let because = if changes.is_empty() { "the setting is as asked" } else { "the setting differs" };
        Ok(Plan::all(because, changes))
    }
}

impl Sysctl {
    fn run(&self, words: &[String], proc: PathBuf, summary: String) -> Change {
        let mut argv = vec!["sysctl".to_owned()];
        argv.extend(self.ignoreerrors.then(|| "-e".to_owned()));
        argv.extend_from_slice(words);
        let accept = if self.ignoreerrors { Vec::new() } else { vec![0] };
        Change::Run { program: Program { argv, accept, ..Program::default() }, effects: vec![Effect::Creates(proc)], summary }
    }
}

/// Returns the text with the setting as asked (`None`: without it), where that is another text.
fn edited(text: &str, name: &str, wanted: Option<&str>) -> Option<String> {
    let value_of = |line: &str| {
        let line = line.trim();
        let (key, value) = line.split_once('=').filter(|_| !line.starts_with(['#', ';']))?;
        (key.trim().trim_start_matches('-') == name).then(|| value.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let mut lines = Vec::new();
    let (mut written, mut differs) = (false, false);
    for line in text.lines() {
        match (value_of(line), wanted) {
            (None, _) => lines.push(line.to_owned()),
            (Some(found), Some(wanted)) if !written => {
                written = true;
                if found == wanted {
                    lines.push(line.to_owned());
                } else {
                    differs = true;
                    lines.push(format!("{name}={wanted}"));
                }
            }
            _ => differs = true,
        }
    }
    if let Some(wanted) = wanted.filter(|_| !written) {
        differs = true;
        lines.push(format!("{name}={wanted}"));
    }
    let joined: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    differs.then_some(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_replaced_where_it_stands_and_doubles_go() {
        assert_eq!(edited("# x\nvm.a = 1\nb=2\nvm.a=3\n", "vm.a", Some("5")).as_deref(), Some("# x\nvm.a=5\nb=2\n"));
        assert_eq!(edited("net.x = 1  2\n", "net.x", Some("1 2")), None);
        assert_eq!(edited("b=2", "vm.a", Some("1")).as_deref(), Some("b=2\nvm.a=1\n"));
        assert_eq!(edited("vm.a=1\nb=2\n", "vm.a", None).as_deref(), Some("b=2\n"));
        assert_eq!(edited("b=2\n", "vm.a", None), None);
    }

    #[test]
    fn yes_and_no_are_numbers() {
        assert_eq!(Text::Flag(true).shown(), "1");
        assert_eq!(Text::Words("No".into()).shown(), "0");
    }
}
