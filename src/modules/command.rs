//! `command`: run a program, without a shell. Also what `shell`, `raw` and `script` have in common with it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::glob::glob;
use crate::change::probe::FileKind;
use crate::change::{Change, Done, Effect, Failure, Output, Plan, Probe, Program};
use crate::value::{Map, Value};

/// Runs a program on the host. There is no shell: `|`, `>`, `&&` and `*` are plain text. Use `shell` for those.
///
/// What a program does cannot be foreseen: in a check the task is "would run", and its results are unknown. `creates`
/// or `removes` tell when there is nothing to do, and what will be there afterwards.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The command line, split as a shell splits words.
    #[serde(alias = "_raw_params")]
    cmd: Option<String>,
    /// The program and its arguments as a list, instead of `cmd`: nothing is split.
    #[serde(default)]
    argv: Vec<String>,
    /// The directory to run it in.
    chdir: Option<String>,
    /// A file or pattern: where it exists already, nothing is run. The command is taken to create it.
    creates: Option<String>,
    /// A file or pattern: where it does not exist, nothing is run. The command is taken to remove it.
    removes: Option<String>,
    /// Text for the program's standard input.
    stdin: Option<String>,
    /// Whether `stdin` gets a newline at its end when it has none.
    #[serde(default = "yes")]
    stdin_add_newline: bool,
    /// Whether empty lines at the end of the output are removed.
    #[serde(default = "yes")]
    strip_empty_ends: bool,
    /// Whether `$NAME` and `~` in the arguments are replaced.
    #[serde(default = "yes")]
    expand_argument_vars: bool,
    /// Has no effect, as no shell is used.
    executable: Option<String>,
    /// Accepted for old playbooks; has no effect.
    #[serde(rename = "warn")]
    _warn: Option<bool>,
}

pub(super) fn yes() -> bool {
    true
}

impl Module for Command {
    const NAME: &'static str = "command";
    const RESTS: bool = false;
    const FREE_FORM: Option<&'static str> = Some("cmd");
    const EXAMPLES: &'static [Example] = &[
        Example { title: "Run a program", task: "cmd: uptime --pretty", given: &[], changes: true },
        Example {
            title: "Make a keystore unless there is one",
            task: "{argv: [/usr/share/elasticsearch/bin/elasticsearch-keystore, create], creates: /etc/elasticsearch/elasticsearch.keystore}",
            given: &[("/etc/elasticsearch/elasticsearch.keystore", "")],
            changes: false,
        },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let mut argv = match (&self.cmd, self.argv.is_empty()) {
            (Some(_), false) => {
                return Err(Failure::argument("argv", "`cmd` and `argv` say the same thing: these parameters are mutually exclusive"));
            }
            (None, true) => {
                return Err(Failure::argument(
                    "cmd",
                    "no command is given: one of the following is required: `cmd`, `argv` or the free form",
                )
                .hint("write it as `command: ls -l` or in `cmd` or `argv`"));
            }
            (None, false) => self.argv.clone(),
            (Some(line), true) => split(line)?,
        };
        if argv.is_empty() {
            return Err(Failure::argument("cmd", "the command is empty"));
        }
        if self.expand_argument_vars {
            for word in &mut argv {
                *word = expand(host, word)?;
            }
        }
        let call = Call {
            shown: Value::list(argv.iter().map(Value::str)),
            line: self.cmd.clone().unwrap_or_else(|| join(&argv)),
            argv,
            chdir: self.chdir.as_deref(),
            creates: self.creates.as_deref(),
            removes: self.removes.as_deref(),
            stdin: stdin(self.stdin.as_deref(), self.stdin_add_newline),
        };
        let mut plan = call.plan(host)?;
        if self.executable.is_some() {
            plan.warnings
                .push("`executable` is no longer supported by `command`, and has no effect; use `shell` for another shell".to_owned());
        }
        Ok(plan)
    }

    fn result(&self, plan: &Plan, done: &[Done], _host: &dyn Probe) -> Result<Map, Failure> {
        outcome(plan, done, self.strip_empty_ends)
    }
}

/// Returns the words of a command line.
pub(super) fn split(line: &str) -> Result<Vec<String>, Failure> {
    shlex::split(line).ok_or_else(|| {
        Failure::argument("cmd", "the command has a quote that is not closed").hint("`argv` takes the words as a list, without quotes")
    })
}

/// Returns words as one line that a shell would split again.
pub(super) fn join(argv: &[String]) -> String {
    shlex::try_join(argv.iter().map(String::as_str)).unwrap_or_else(|_| argv.join(" "))
}

/// Returns the text of standard input.
pub(super) fn stdin(text: Option<&str>, add_newline: bool) -> Option<Vec<u8>> {
    let mut bytes = text?.as_bytes().to_vec();
    if add_newline && !bytes.ends_with(b"\n") {
        bytes.push(b'\n');
    }
    Some(bytes)
}

/// What `command`, `shell`, `raw` and `script` boil down to.
#[derive(Debug, Default)]
pub(super) struct Call<'a> {
    /// What `register` has as `cmd`.
    pub shown: Value,
    /// The command for a person.
    pub line: String,
    /// What is run.
    pub argv: Vec<String>,
    pub chdir: Option<&'a str>,
    pub creates: Option<&'a str>,
    pub removes: Option<&'a str>,
    pub stdin: Option<Vec<u8>>,
}

impl Call<'_> {
    /// Plans to run it, unless `creates` or `removes` says that there is nothing to do.
    pub(super) fn plan(self, host: &dyn Probe) -> Result<Plan, Failure> {
        let chdir = self.chdir.map(|path| expand(host, path)).transpose()?.map(PathBuf::from);
        if let Some(path) = &chdir {
            match host.stat(path, true)? {
                Some(stat) if stat.kind == FileKind::Directory => {}
                Some(_) => return Err(Failure::argument("chdir", format!("Unable to change directory: `{}` is not one", path.display()))),
                None => return Err(Failure::argument("chdir", format!("Unable to change directory: `{}` does not exist", path.display()))),
            }
        }
        let place = |path: &str| -> Result<PathBuf, Failure> {
            let path = PathBuf::from(expand(host, path)?);
            Ok(chdir.as_ref().map_or_else(|| path.clone(), |folder| folder.join(&path)))
        };
        let mut effects = Vec::new();
        if let Some(creates) = self.creates {
            let path = place(creates)?;
            if !glob(host, &path.to_string_lossy())?.is_empty() {
                return Ok(self.not_run(&format!("`{creates}` exists"), "exists", creates));
            }
            if !crate::change::glob::is_pattern(creates) {
                effects.push(Effect::Creates(path));
            }
        }
        if let Some(removes) = self.removes {
            let there = glob(host, &place(removes)?.to_string_lossy())?;
            if there.is_empty() {
                return Ok(self.not_run(&format!("`{removes}` does not exist"), "does not exist", removes));
            }
            effects.extend(there.into_iter().map(Effect::Removes));
        }
        let why = format!("`{}` was not run", first_line(&self.line));
        let unknown = || Value::unknown(why.clone());
        let values = ["rc", "stdout", "stderr", "stdout_lines", "stderr_lines", "start", "end", "delta", "msg"];
        let summary = format!("run `{}`", first_line(&self.line));
        let program = Program { argv: self.argv, chdir, stdin: self.stdin, ..Program::default() };
        let plan = Plan::one("a command is run each time", Change::Run { program, effects, summary });
        Ok(plan.value("cmd", self.shown).values(values.map(|name| (name, unknown()))))
    }

    fn not_run(self, because: &str, state: &str, path: &str) -> Plan {
        let stdout = format!("skipped, since {path} {state}");
        Plan::nothing(because)
            .value("msg", format!("the command was not run, since `{path}` {state}"))
            .value("cmd", self.shown)
            .value("rc", 0)
            .value("stdout_lines", vec![stdout.as_str()])
            .value("stdout", stdout)
            .value("stderr", "")
            .value("stderr_lines", Vec::<Value>::new())
            .value("start", Value::Null)
            .value("end", Value::Null)
            .value("delta", Value::Null)
    }
}

/// Returns the first line of a text, with dots where there are more.
pub(super) fn first_line(text: &str) -> String {
    let mut lines = text.trim().lines();
    let first = lines.next().unwrap_or_default();
    if lines.next().is_some() { format!("{first} ...") } else { first.to_owned() }
}

/// Returns what `register` gets of a command that was run, or the failure where its return code is not 0.
pub(super) fn outcome(plan: &Plan, done: &[Done], strip: bool) -> Result<Map, Failure> {
    let mut values = plan.values.clone();
    let Some(output) = done.iter().find_map(|done| if let Done::Ran(output) = done { Some(output) } else { None }) else {
        return Ok(values);
    };
    describe(&mut values, output, strip);
    if output.rc == 0 {
        return Ok(values);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty());
    let message = last.map_or_else(
        || format!("non-zero return code {}", output.rc),
        |last| format!("non-zero return code {}: {}", output.rc, last.trim()),
    );
    values.insert("msg".into(), "non-zero return code".into());
    Err(Failure::Failed { message, hint: None, values })
}

fn describe(values: &mut Map, output: &Output, strip: bool) {
    values.insert("rc".into(), output.rc.into());
    values.insert("msg".into(), "".into());
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        let text = String::from_utf8_lossy(bytes);
        let text = if strip { text.trim_end_matches(['\r', '\n']) } else { &text };
        values.insert(format!("{name}_lines").into(), text.lines().collect::<Vec<_>>().into());
        values.insert(name.into(), text.into());
    }
    values.insert("start".into(), clock(output.start).into());
    values.insert("end".into(), clock(output.end).into());
    values.insert("delta".into(), span(output.end - output.start).into());
}

/// Returns a moment as `2026-01-31 09:30:00.000000`, in the host's time zone.
fn clock(seconds: f64) -> String {
    #[allow(clippy::cast_possible_truncation)]
    let micros = (seconds * 1e6) as i64;
    let moment = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
    moment.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

/// Returns a duration as `0:01:02.345678`.
fn span(seconds: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let micros = (seconds.max(0.0) * 1e6).round() as u64;
    let whole = micros / 1_000_000;
    format!("{}:{:02}:{:02}.{:06}", whole / 3600, whole / 60 % 60, whole % 60, micros % 1_000_000)
}

/// Replaces `~`, `~user`, `$NAME` and `${NAME}`. What is not known stays as it is.
pub(super) fn expand(host: &dyn Probe, text: &str) -> Result<String, Failure> {
    let text = expand_variables(host, text);
    let Some(rest) = text.strip_prefix('~') else { return Ok(text) };
    let (name, tail) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let home = if name.is_empty() {
        match host.environment("HOME") {
            Some(home) => Some(home),
            None => Some(host.me()?.home),
        }
    } else if name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c)) {
        host.user(name)?.map(|user| user.home)
    } else {
        None
    };
    Ok(home.map_or_else(|| text.clone(), |home| format!("{}{tail}", home.trim_end_matches('/'))))
}

fn expand_variables(host: &dyn Probe, text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let after = after.strip_prefix('$').unwrap_or(after);
        let (name, next) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, next)) => (name, next),
            None => after.split_at(after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len())),
        };
        let value = if name.is_empty() { None } else { host.environment(name) };
        if let Some(value) = value {
            out.push_str(&value);
            rest = next;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_a_clock() {
        assert_eq!(span(3_723.000_45), "1:02:03.000450");
    }

    #[test]
    fn a_return_code_other_than_zero_fails_with_all_values() {
        let output = Output { rc: 2, stdout: b"a\nb\n\n".to_vec(), stderr: b"no such\n".to_vec(), ..Output::default() };
        let failure = outcome(&Plan::default(), &[Done::Ran(output)], true).expect_err("fails");
        assert_eq!(failure.to_string(), "non-zero return code 2: no such");
        let Failure::Failed { values, .. } = failure else { panic!("another failure") };
        assert_eq!(values.get("stdout_lines"), Some(&Value::list([Value::str("a"), Value::str("b")])));
        assert_eq!(values.get("rc"), Some(&Value::Int(2)));
    }
}
