//! `cron`: what a host does at certain times.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::group::Presence;
use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::target::{Manner, Target};
use crate::change::{Attributes, Before, Change, Effect, Failure, Plan, Probe, Program};

/// Sets and removes jobs, and variables, in the crontab of a user or in a file of `/etc/cron.d`.
///
/// Each job has a comment with its name above it, by which it is found again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cron {
    /// The name of the job, or of the variable with `env`.
    name: String,
    /// The command, or the variable's value.
    #[serde(alias = "value")]
    job: Option<String>,
    /// Whether it shall be there.
    #[serde(default)]
    state: Presence,
    /// Whose crontab, or as whom a job of a `cron_file` runs.
    user: Option<String>,
    /// A file instead of a crontab: a name in `/etc/cron.d`, or a path.
    cron_file: Option<String>,
    /// Whether a copy of what was there is kept, in `/var/tmp`.
    #[serde(default)]
    backup: bool,
    /// Minute: 0 to 59, `*`, `*/2`, ...
    #[serde(default = "any")]
    minute: String,
    /// Hour: 0 to 23.
    #[serde(default = "any")]
    hour: String,
    /// Day of the month: 1 to 31.
    #[serde(default = "any", alias = "dom")]
    day: String,
    /// Month: 1 to 12, or a name.
    #[serde(default = "any")]
    month: String,
    /// Day of the week: 0 to 6, Sunday first, or a name.
    #[serde(default = "any", alias = "dow")]
    weekday: String,
    /// A time by name, instead of the others.
    special_time: Option<Special>,
    /// Whether the job stays in the file but does not run.
    #[serde(default)]
    disabled: bool,
    /// Whether a variable is meant, not a job.
    #[serde(default)]
    env: bool,
    /// The variable after which a new one goes.
    insertafter: Option<String>,
    /// The variable before which a new one goes.
    insertbefore: Option<String>,
}

/// A time by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Special {
    Annually,
    Daily,
    Hourly,
    Monthly,
    Reboot,
    Weekly,
    Yearly,
}

impl Special {
    fn word(self) -> &'static str {
        match self {
            Self::Annually => "annually",
            Self::Daily => "daily",
            Self::Hourly => "hourly",
            Self::Monthly => "monthly",
            Self::Reboot => "reboot",
            Self::Weekly => "weekly",
            Self::Yearly => "yearly",
        }
    }
}

fn any() -> String {
    "*".to_owned()
}

/// What stands before the name of a job. Crontabs that Ansible wrote have it too.
const MARK: &str = "#Ansible: ";

impl Module for Cron {
    const NAME: &'static str = "cron";
    const CHANGES: &'static [Names] = &[Names::Always("/etc/cron.d"), Names::Program("crontab")];
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Do something every night, from a file of /etc/cron.d",
            task: "{cron_file: cleanup, name: clean up, user: root, hour: '3', minute: '15', job: /usr/local/bin/cleanup}",
            given: &[("/etc/cron.d/", "")],
            changes: true,
        },
        Example {
            title: "Set a variable for the jobs of a file",
            task: "{cron_file: cleanup, env: true, name: MAILTO, value: ops@example.net, user: root}",
            given: &[("/etc/cron.d/cleanup", "#Ansible: clean up\n15 3 * * * root /usr/local/bin/cleanup\n")],
            changes: true,
        },
        Example {
            title: "Remove a job, and its file with the last",
            task: "{cron_file: cleanup, name: clean up, state: absent}",
            given: &[("/etc/cron.d/cleanup", "#Ansible: clean up\n15 3 * * * root /usr/local/bin/cleanup\n")],
            changes: true,
        },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        self.consistent()?;
        let file = self.cron_file.as_ref().map(|name| Path::new("/etc/cron.d").join(name));
        if file.as_deref() == Some(Path::new("/etc/crontab")) {
            return Err(Failure::argument("cron_file", "Will not manage /etc/crontab via cron_file, see documentation.")
                .hint("jobs go to files of /etc/cron.d; the host's own table is better left alone"));
        }
        let before = match &file {
            Some(path) => String::from_utf8_lossy(&host.read(path)?.unwrap_or_default()).into_owned(),
            None => self.crontab(host)?,
        };
        let mut lines: Vec<String> = before.lines().map(str::to_owned).collect();
        match (self.env, self.state) {
            (true, Presence::Present) => self.set_variable(&mut lines)?,
            (true, Presence::Absent) => lines.retain(|line| variable_name(line) != Some(&self.name)),
            (false, Presence::Present) => self.set_job(&mut lines),
            (false, Presence::Absent) => self.remove_job(&mut lines),
        }
        let mut after = lines.join("\n");
        if !after.is_empty() {
            after.push('\n');
        }
        let names: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix(MARK)).collect();
        let variables: Vec<_> = lines.iter().filter_map(|line| variable_name(line)).collect();
        let told = |plan: Plan| plan.value("jobs", names.clone()).value("envs", variables.clone());
        if after == before || (before.lines().eq(after.lines())) {
            return Ok(told(Plan::nothing("the table is as asked")));
        }
        let because = if self.state == Presence::Absent { "it is in the table" } else { "it is missing, or differs" };
        let plan = match file {
            Some(path) => self.file_changes(host, &path, &after)?,
            None => self.crontab_changes(host, &before, &after)?,
        };
        Ok(told(Plan::all(because, plan)).value("state", if self.state == Presence::Absent { "absent" } else { "present" }))
    }
}

impl Cron {
    fn consistent(&self) -> Result<(), Failure> {
        if self.name.is_empty() || self.name.contains('\n') {
            return Err(Failure::argument("name", "`name` has to be one line of text"));
        }
        if self.state == Presence::Present {
            if self.job.is_none() {
                return Err(Failure::argument("job", "`job` is needed: the command, or the value with `env`"));
            }
            if self.cron_file.is_some() && self.user.is_none() {
                return Err(Failure::argument("user", "`user` is needed with `cron_file`: a job there says as whom it runs"));
            }
        }
        let has_times = [&self.minute, &self.hour, &self.day, &self.month, &self.weekday].iter().any(|time| *time != "*");
        if self.special_time.is_some() && has_times {
            return Err(Failure::argument("special_time", "`special_time` goes instead of minute, hour, day, month and weekday"));
        }
        if self.disabled && self.env {
            return Err(Failure::argument("disabled", "a variable cannot be disabled; remove it with `state: absent`"));
        }
        if self.insertafter.is_some() && self.insertbefore.is_some() {
            return Err(Failure::argument("insertbefore", "`insertafter` and `insertbefore` exclude each other"));
        }
        Ok(())
    }

    fn listing(&self) -> Vec<String> {
        let mut argv = vec!["crontab".to_owned(), "-l".to_owned()];
        argv.extend(self.user.iter().flat_map(|user| ["-u".to_owned(), user.clone()]));
        argv
    }

    /// Returns the user's table, without what `crontab` itself puts above it.
    fn crontab(&self, host: &dyn Probe) -> Result<String, Failure> {
        let argv = self.listing();
        let output = host.query(&argv.iter().map(String::as_str).collect::<Vec<_>>())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let heads = ["# DO NOT EDIT THIS FILE - edit the master and reinstall.", "# (", "# (Cron version "];
        let mut lines = text.lines().peekable();
        for head in heads {
            lines.next_if(|line| line.starts_with(head) && (head.len() > 3 || line.contains(" installed on ")));
        }
        Ok(lines.flat_map(|line| [line, "\n"]).collect())
    }

    fn crontab_changes(&self, host: &dyn Probe, before: &str, after: &str) -> Result<Vec<Change>, Failure> {
        let mut changes = Vec::new();
        if self.backup && !before.is_empty() {
            let path = PathBuf::from(format!("/var/tmp/crontab.{:.0}", host.now()));
            let target = Target::find(host, &path, "backup")?;
            let manner = Manner { for_new: Attributes { mode: Some(0o600), ..Attributes::default() }, ..Manner::default() };
            changes.extend(target.changes(Some(before.as_bytes().to_vec()), &manner));
        }
        let mut argv = vec!["crontab".to_owned()];
        argv.extend(self.user.iter().flat_map(|user| ["-u".to_owned(), user.clone()]));
        argv.push("-".to_owned());
        let whose = self.user.as_ref().map_or_else(String::new, |user| format!(" of {user}"));
        let verb = if self.state == Presence::Absent { "remove" } else { "set" };
        changes.push(Change::Run {
            program: Program { argv, stdin: Some(after.as_bytes().to_vec()), accept: vec![0], ..Program::default() },
            effects: vec![Effect::QueryPrints { argv: self.listing(), stdout: after.as_bytes().to_vec() }],
            summary: format!("{verb} `{}` in the crontab{whose}", self.name),
        });
        Ok(changes)
    }

    fn file_changes(&self, host: &dyn Probe, path: &Path, after: &str) -> Result<Vec<Change>, Failure> {
        if self.state == Presence::Absent && after.trim().is_empty() {
            return Ok(vec![Change::Remove { path: path.to_owned(), before: Before::Any }]);
        }
        let target = Target::find(host, path, "cron_file")?;
        let for_new = Attributes { mode: Some(0o644), ..Attributes::default() };
        Ok(target.changes(Some(after.as_bytes().to_vec()), &Manner { for_new, backup: self.backup, ..Manner::default() }))
    }

    fn job_line(&self) -> String {
        let off = if self.disabled { "#" } else { "" };
        let when = match self.special_time {
            Some(special) => format!("@{}", special.word()),
            None => format!("{} {} {} {} {}", self.minute, self.hour, self.day, self.month, self.weekday),
        };
        let user = self.user.as_ref().filter(|_| self.cron_file.is_some()).map_or_else(String::new, |user| format!("{user} "));
        format!("{off}{when} {user}{}", self.job.as_deref().unwrap_or_default().trim_matches(['\n', '\r']))
    }

    fn set_job(&self, lines: &mut Vec<String>) {
        let (mark, job) = (format!("{MARK}{}", self.name), self.job_line());
        match lines.iter().position(|line| *line == mark) {
            Some(at) if lines.get(at + 1).is_some_and(|next| !next.starts_with(MARK)) => {
                if let Some(line) = lines.get_mut(at + 1) {
                    *line = job;
                }
            }
            Some(at) => lines.insert(at + 1, job),
            None => match lines.iter().position(|line| *line == job) {
                // The job is there, without a name.
                Some(at) if at == 0 || !lines.get(at - 1).is_some_and(|line| line.starts_with(MARK)) => lines.insert(at, mark),
                _ => lines.extend([mark, job]),
            },
        }
    }

    fn remove_job(&self, lines: &mut Vec<String>) {
        let mark = format!("{MARK}{}", self.name);
        while let Some(at) = lines.iter().position(|line| *line == mark) {
            lines.remove(at);
            if at < lines.len() {
                lines.remove(at);
            }
        }
    }

    fn set_variable(&self, lines: &mut Vec<String>) -> Result<(), Failure> {
        let line = format!("{}=\"{}\"", self.name, self.job.as_deref().unwrap_or_default());
        if let Some(found) = lines.iter_mut().find(|found| variable_name(found) == Some(&self.name)) {
            if *found != line {
                *found = line;
            }
            return Ok(());
        }
        let place = |argument: &str, name: &str| {
            let at = lines.iter().position(|line| variable_name(line) == Some(name));
            at.ok_or_else(|| Failure::argument(argument, format!("the table has no variable `{name}`")))
        };
        let at = match (&self.insertafter, &self.insertbefore) {
            (Some(name), _) => place("insertafter", name)? + 1,
            (_, Some(name)) => place("insertbefore", name)?,
            _ => 0,
        };
        lines.insert(at, line);
        Ok(())
    }
}

/// Returns the name of the variable that a line sets.
fn variable_name(line: &str) -> Option<&str> {
    let (name, _) = line.split_once('=')?;
    let name = name.trim();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::fake::FakeHost;
    use crate::value::{Map, Value};

    fn module(arguments: &[(&str, Value)]) -> Cron {
        let map: Map = arguments.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
        crate::value::arguments::from_map::<Cron>(&map).expect("fits")
    }

    fn written(plan: &Plan) -> String {
        match plan.changes.as_slice() {
            [Change::Run { program, .. }] => String::from_utf8(program.stdin.clone().expect("a table")).expect("text"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_job_is_added_replaced_and_found_again() {
        let host = FakeHost::with(&[]).prints(&["crontab", "-l"], 0, "MAILTO=me\n#Ansible: a\n1 * * * * old\n");
        let plan = module(&[("name", Value::str("a")), ("job", Value::str("new")), ("minute", Value::str("5"))]).plan(&host).expect("plan");
        assert_eq!(written(&plan), "MAILTO=me\n#Ansible: a\n5 * * * * new\n");
        let same = module(&[("name", Value::str("a")), ("job", Value::str("old")), ("minute", Value::str("1"))]).plan(&host).expect("plan");
        assert!(same.changes.is_empty());
        let more = module(&[("name", Value::str("b")), ("job", Value::str("x")), ("special_time", Value::str("daily"))]).plan(&host);
        assert_eq!(written(&more.expect("plan")), "MAILTO=me\n#Ansible: a\n1 * * * * old\n#Ansible: b\n@daily x\n");
        let gone = module(&[("name", Value::str("a")), ("state", Value::str("absent"))]).plan(&host).expect("plan");
        assert_eq!(written(&gone), "MAILTO=me\n");
    }

    #[test]
    fn a_check_of_two_jobs_sees_the_first() {
        let host = FakeHost::with(&[]).prints(&["crontab", "-l"], 0, "");
        let plan = module(&[("name", Value::str("a")), ("job", Value::str("x"))]).plan(&host).expect("plan");
        let Some(Change::Run { effects, .. }) = plan.changes.first() else { panic!("{plan:?}") };
        let prints = Effect::QueryPrints { argv: vec!["crontab".into(), "-l".into()], stdout: b"#Ansible: a\n* * * * * x\n".to_vec() };
        assert_eq!(effects, &[prints]);
    }
}
