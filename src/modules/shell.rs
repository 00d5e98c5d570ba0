//! `shell`: run a line through a shell.

use schemars::JsonSchema;
use serde::Deserialize;

use super::command::{Call, outcome, stdin, yes};
use super::{Controller, Example, Module};
use crate::change::{Done, Failure, Plan, Probe};
use crate::value::{Map, Value};

/// Runs a command line on the host through a shell, so that pipes, redirections and variables work.
///
/// Values put into the line should go through the `quote` filter. Where no shell is needed, `command` is safer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shell {
    /// The command line.
    #[serde(alias = "_raw_params")]
    cmd: Option<String>,
    /// The directory to run it in.
    chdir: Option<String>,
    /// A file or pattern: where it exists already, nothing is run. The command is taken to create it.
    creates: Option<String>,
    /// A file or pattern: where it does not exist, nothing is run. The command is taken to remove it.
    removes: Option<String>,
    /// The shell, as a full path. Without it: `/bin/sh`.
    executable: Option<String>,
    /// Text for the command's standard input.
    stdin: Option<String>,
    /// Whether `stdin` gets a newline at its end when it has none.
    #[serde(default = "yes")]
    stdin_add_newline: bool,
    /// Whether empty lines at the end of the output are removed.
    #[serde(default = "yes")]
    strip_empty_ends: bool,
    /// Accepted for old playbooks; has no effect.
    #[serde(rename = "warn")]
    _warn: Option<bool>,
}

impl Module for Shell {
    const NAME: &'static str = "shell";
    const RESTS: bool = false;
    const FREE_FORM: Option<&'static str> = Some("cmd");
    const EXAMPLES: &'static [Example] = &[
        Example { title: "Count the lines of a log", task: "cmd: wc -l < /var/log/syslog", given: &[], changes: true },
        Example {
            title: "Unpack once, with bash",
            task: "{cmd: 'tar xf /srv/site.tar && touch /srv/site/.unpacked', creates: /srv/site/.unpacked, executable: /bin/bash}",
            given: &[("/srv/site/.unpacked", "")],
            changes: false,
        },
    ];

    fn prepare(arguments: &mut Map, _controller: &dyn Controller) -> Result<(), Failure> {
        if arguments.contains_key("expand_argument_vars") {
            let failure = Failure::failed("Unsupported parameters for (shell) module: expand_argument_vars");
            return Err(failure.hint("a shell always replaces variables; `command` does where it is told to"));
        }
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let line = self.cmd.as_deref().filter(|line| !line.trim().is_empty());
        let line = line.ok_or_else(|| Failure::argument("cmd", "no command is given").hint("write it as `shell: echo a | wc -c`"))?;
        let shell = self.executable.as_deref().unwrap_or("/bin/sh");
        Call {
            shown: Value::str(line),
            line: line.trim_end().to_owned(),
            argv: vec![shell.to_owned(), "-c".to_owned(), line.to_owned()],
            chdir: self.chdir.as_deref(),
            creates: self.creates.as_deref(),
            removes: self.removes.as_deref(),
            stdin: stdin(self.stdin.as_deref(), self.stdin_add_newline),
        }
        .plan(host)
    }

    fn result(&self, plan: &Plan, done: &[Done], _host: &dyn Probe) -> Result<Map, Failure> {
        outcome(plan, done, self.strip_empty_ends)
    }
}
