//! `mount`: file systems, now and at the next start.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::probe::FileKind;
use crate::change::target::{Manner, Target};
use crate::change::{Attributes, Change, Effect, Failure, Plan, Probe, Program};

/// Mounts and unmounts file systems, and keeps their lines in `/etc/fstab`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Where it is mounted.
    #[serde(alias = "name")]
    path: String,
    /// What is mounted.
    src: Option<String>,
    /// The kind of file system.
    fstype: Option<String>,
    /// Options, separated by commas.
    opts: Option<String>,
    /// Whether `dump` saves it.
    dump: Option<String>,
    /// When it is checked at a start: 0 never, 1 first, 2 later.
    passno: Option<String>,
    /// What it shall be.
    state: State,
    /// The file with the lines.
    #[serde(default = "usual_file")]
    fstab: String,
    /// Whether it is mounted at a start.
    #[serde(default = "super::command::yes")]
    boot: bool,
    /// Whether a copy of the old file is kept.
    #[serde(default)]
    backup: bool,
    /// Whether the options are kept out of outputs.
    #[serde(default)]
    opts_no_log: bool,
}

fn usual_file() -> String {
    "/etc/fstab".to_owned()
}

/// What a file system shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It has a line, and is mounted.
    Mounted,
    /// It has a line.
    Present,
    /// It is not mounted; its line stays.
    Unmounted,
    /// It has no line, is not mounted, and its folder is gone.
    Absent,
    /// It is mounted anew.
    Remounted,
    /// It is mounted, and has no line.
    Ephemeral,
    /// It has no line.
    AbsentFromFstab,
}

impl Module for Mount {
    const NAME: &'static str = "mount";
    const COLLECTION: &'static str = "ansible.posix";
    const PATHS: &'static [&'static str] = &["path", "name", "fstab"];
    const CHANGES: &'static [Names] = &[Names::Path("path"), Names::Path("name"), Names::Path("fstab"), Names::Always("/etc/fstab")];
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "A line for the next start",
            task: "{path: /srv/data, src: /dev/vdb1, fstype: ext4, opts: noatime, state: present}",
            given: &[("/etc/fstab", "# file systems\n/dev/vda1 / ext4 defaults 0 1\n")],
            changes: true,
        },
        Example {
            title: "A line that is there",
            task: "{path: /srv/data, src: /dev/vdb1, fstype: ext4, state: present}",
            given: &[("/etc/fstab", "/dev/vdb1  /srv/data  ext4  defaults  0 0\n")],
            changes: false,
        },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        if matches!(self.state, State::Mounted | State::Present | State::Ephemeral) {
            for (argument, given) in [("src", &self.src), ("fstype", &self.fstype)] {
                if given.is_none() {
                    return Err(Failure::argument(argument, format!("`{argument}` is needed to mount something")));
                }
            }
        }
        let target = Target::find(host, Path::new(&self.fstab), "fstab")?;
        let text = String::from_utf8_lossy(target.content.as_deref().unwrap_or_default()).into_owned();
        let wanted = match self.state {
            State::Mounted | State::Present => Some(Some(self.line())),
            State::Absent | State::AbsentFromFstab => Some(None),
            _ => None,
        };
        let mut changes = Vec::new();
        if let Some(new) = wanted.and_then(|line| edited(&text, &self.path, line.as_deref())) {
            let for_new = Attributes { mode: Some(0o644), ..Attributes::default() };
            let manner = Manner { for_new, backup: self.backup, secret: self.opts_no_log, ..Manner::default() };
            changes.extend(target.changes(Some(new.into_bytes()), &manner));
        }
        let line_changes = !changes.is_empty();
        let is_mounted = self.is_mounted(host)?;
        let is_swap = self.fstype.as_deref() == Some("swap") || matches!(self.path.as_str(), "none" | "swap");
        match self.state {
            State::Present | State::AbsentFromFstab => {}
            _ if is_swap => {}
            State::Mounted | State::Ephemeral if !is_mounted => {
                if host.stat(Path::new(&self.path), true)?.is_none() {
                    let folders = crate::change::destination::folders(host, Path::new(&self.path), &Attributes::default(), "path")?;
                    changes.splice(0..0, folders);
                }
                let words = if self.state == State::Ephemeral { self.all_words() } else { vec![self.path.clone()] };
                changes.push(self.run("mount", words, "mount"));
            }
            State::Mounted if line_changes => {
                changes.push(self.run("mount", vec!["-o".to_owned(), "remount".to_owned(), self.path.clone()], "remount"))
            }
            State::Remounted if is_mounted => {
                let mut words = vec!["-o".to_owned(), "remount".to_owned()];
                if let Some(opts) = &self.opts {
                    words = vec!["-o".to_owned(), format!("remount,{opts}")];
                }
                words.push(self.path.clone());
                changes.push(self.run("mount", words, "remount"));
            }
            State::Remounted => return Err(Failure::argument("path", format!("`{}` is not mounted", self.path))),
            State::Unmounted | State::Absent => {
                if is_mounted {
                    changes.push(self.run("umount", vec![self.path.clone()], "unmount"));
                }
                let is_folder = host.stat(Path::new(&self.path), false)?.is_some_and(|stat| stat.kind == FileKind::Directory);
                if self.state == State::Absent && is_folder {
                    // Only an empty folder goes: nothing that was hidden under the file system is lost.
                    let argv = vec!["rmdir".to_owned(), self.path.clone()];
                    changes.push(Change::Run {
                        program: Program { argv, accept: vec![0], ..Program::default() },
                        effects: vec![Effect::Removes(PathBuf::from(&self.path))],
                        summary: format!("remove the folder {}", self.path),
                    });
                }
            }
            _ => {}
        }
        let because = if changes.is_empty() { "the file system is as asked" } else { "the file system is not as asked" };
        Ok(Plan::all(because, changes).value("name", self.path.as_str()).value("fstab", self.fstab.as_str()))
    }
}

/// Returns a field as the file has it: without blanks.
fn field(text: &str) -> String {
    text.replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011")
}

/// Returns the words of a line that is no comment.
fn fields(line: &str) -> Option<Vec<&str>> {
    let words: Vec<_> = line.split_whitespace().collect();
    (words.len() >= 4 && !line.trim_start().starts_with('#')).then_some(words)
}

/// Returns the text with the line for `path` (`None`: without it), where that is another text.
fn edited(text: &str, path: &str, wanted: Option<&str>) -> Option<String> {
    let path = field(path);
    let mut lines = Vec::new();
    let (mut written, mut differs) = (false, false);
    for line in text.lines() {
        let is_it = fields(line).is_some_and(|words| words.get(1) == Some(&path.as_str()));
        match wanted {
            _ if !is_it => lines.push(line),
            Some(wanted) if !written => {
                written = true;
                let same = fields(line).map(|mut words| {
                    words.extend(["0", "0"].iter().skip(words.len().saturating_sub(4)));
                    words
                });
                if same.as_deref() == Some(&wanted.split_whitespace().collect::<Vec<_>>()) {
                    lines.push(line);
                } else {
                    differs = true;
                    lines.push(wanted);
                }
            }
            _ => differs = true,
        }
    }
    if let Some(wanted) = wanted.filter(|_| !written) {
        differs = true;
        lines.push(wanted);
    }
    differs.then(|| lines.iter().flat_map(|line| [*line, "\n"]).collect())
}

impl Mount {
    fn options(&self) -> String {
        let mut opts = self.opts.clone().filter(|opts| !opts.is_empty()).unwrap_or_else(|| "defaults".to_owned());
        if !self.boot && !opts.split(',').any(|word| word == "noauto") {
            opts.push_str(",noauto");
        }
        opts
    }

    fn line(&self) -> String {
        let or =
            |text: &Option<String>, otherwise: &str| text.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| otherwise.to_owned());
        let parts = [
            field(&or(&self.src, "none")),
            field(&self.path),
            or(&self.fstype, "auto"),
            field(&self.options()),
            or(&self.dump, "0"),
            or(&self.passno, "0"),
        ];
        parts.join(" ")
    }

    /// Returns the words that mount it without a line.
    fn all_words(&self) -> Vec<String> {
        let mut words = vec!["-o".to_owned(), self.options()];
        words.extend(self.fstype.iter().flat_map(|kind| ["-t".to_owned(), kind.clone()]));
        words.extend(self.src.clone());
        words.push(self.path.clone());
        words
    }

    fn is_mounted(&self, host: &dyn Probe) -> Result<bool, Failure> {
        let table = host.read(Path::new("/proc/self/mounts"))?.unwrap_or_default();
        let path = field(if self.path.len() > 1 { self.path.trim_end_matches('/') } else { &self.path });
        Ok(String::from_utf8_lossy(&table).lines().any(|line| line.split_whitespace().nth(1) == Some(&path)))
    }

    fn run(&self, program: &str, words: Vec<String>, verb: &str) -> Change {
        let argv = [program.to_owned()].into_iter().chain(words).collect();
        let program = Program { argv, accept: vec![0], ..Program::default() };
        // Which file systems are mounted then is not known any more.
        let effects = vec![Effect::Creates(PathBuf::from("/proc/self/mounts"))];
        Change::Run { program, effects, summary: format!("{verb} {}", self.path) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_by_its_path_and_blanks_do_not_count() {
        let text = "# x\n/dev/a  /srv ext4 defaults\n/dev/b /b ext4 ro 0 2\n";
        assert_eq!(edited(text, "/srv", Some("/dev/a /srv ext4 defaults 0 0")), None);
        assert_eq!(edited(text, "/b", None).as_deref(), Some("# x\n/dev/a  /srv ext4 defaults\n"));
        assert_eq!(edited("", "/a b", Some("x /a\\040b")).as_deref(), Some("x /a\\040b\n"));
    }
}
