//! `script`: run a script of the controller on a host.

use base64::Engine as _;
use schemars::JsonSchema;
use serde::Deserialize;

use super::command::{Call, outcome, split};
use super::{Controller, Example, Module};
use crate::change::{Done, Failure, Plan, Probe};
use crate::value::{Map, Value};

/// Runs a script that lies on the controller, in the role's `files` or beside the playbook. Nothing of it stays on the host.
///
/// The first line (`#!`) names the interpreter, unless `executable` does; without either it is `/bin/sh`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The script, with its arguments after it.
    #[serde(alias = "_raw_params")]
    cmd: String,
    /// The directory to run it in.
    chdir: Option<String>,
    /// A file or pattern: where it exists already, nothing is run. The script is taken to create it.
    creates: Option<String>,
    /// A file or pattern: where it does not exist, nothing is run. The script is taken to remove it.
    removes: Option<String>,
    /// The interpreter and its options, instead of the script's first line.
    executable: Option<String>,
    /// Whether a vaulted script is decrypted. It always is; this is for old playbooks.
    #[serde(default, rename = "decrypt")]
    _decrypt: Option<bool>,
    /// The script, base64.
    #[schemars(skip)]
    _script: Option<String>,
}

/// Puts standard input into a private file that has no name any more when the script starts: whatever ends the script,
/// nothing is left behind. Reads: the interpreter, then the script's arguments; `-` is for a program that needs none.
const WRAPPER: &str = r#"umask 077; f=$(mktemp "${TMPDIR:-/tmp}/.windlass.XXXXXXXXXX") || exit 126
trap 'rm -f "$f"' EXIT; trap 'exit 143' HUP INT TERM
chmod 700 "$f" && exec 8>"$f" 9<"$f" && rm -f "$f" && cat >&8 && exec 8>&- || exit 126
i=$1; shift; if [ "$i" = - ]; then exec /proc/self/fd/9 "$@" </dev/null; fi
exec $i /proc/self/fd/9 "$@" </dev/null"#;

impl Module for Script {
    const NAME: &'static str = "script";
    const RESTS: bool = false;
    const FREE_FORM: Option<&'static str> = Some("cmd");
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Run a script that was not run yet",
        task: "{cmd: 'setup.sh --quick', creates: /var/lib/setup.done}",
        given: &[("/var/lib/setup.done", "")],
        changes: false,
    }];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        let line = ["cmd", "_raw_params"].iter().find_map(|name| arguments.get(*name)).and_then(Value::as_str).unwrap_or_default();
        let words = split(line)?;
        let Some(name) = words.first() else {
            return Err(Failure::argument("cmd", "no script is given: one of the following is required: `cmd` or the free form"));
        };
        let path = controller.find("files", name)?;
        let bytes = controller.read(&path)?;
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        arguments.insert("_script".into(), text.into());
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let script = self._script.as_deref().unwrap_or_default();
        let script =
            base64::engine::general_purpose::STANDARD.decode(script).map_err(|_| Failure::failed("the script did not arrive whole"))?;
        let interpreter = self.executable.clone().unwrap_or_else(|| interpreter(&script));
        let arguments = split(&self.cmd)?.into_iter().skip(1);
        let argv = ["/bin/sh", "-c", WRAPPER, "script", &interpreter].map(str::to_owned).into_iter().chain(arguments).collect();
        let mut plan = Call {
            shown: Value::str(&self.cmd),
            line: self.cmd.clone(),
            argv,
            chdir: self.chdir.as_deref(),
            creates: self.creates.as_deref(),
            removes: self.removes.as_deref(),
            stdin: Some(script),
        }
        .plan(host)?;
        if plan.changes.is_empty() {
            let reason = match (&self.creates, &self.removes) {
                (Some(path), _) if plan.because.ends_with(" exists") => format!("{path} exists, matching creates option"),
                (_, path) => format!("{} does not exist, matching removes option", path.as_deref().unwrap_or_default()),
            };
            plan = plan.value("skipped", true).value("msg", reason);
        }
        Ok(plan)
    }

    fn result(&self, plan: &Plan, done: &[Done], _host: &dyn Probe) -> Result<Map, Failure> {
        outcome(plan, done, false)
    }
}

/// Returns the interpreter that a script's first line names, `-` for a program that needs none.
fn interpreter(script: &[u8]) -> String {
    if script.starts_with(b"\x7fELF") {
        return "-".to_owned();
    }
    let first = script.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let first = String::from_utf8_lossy(first);
    match first.strip_prefix("#!").map(str::trim) {
        Some(named) if !named.is_empty() => named.to_owned(),
        _ => "/bin/sh".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_first_line_names_the_interpreter() {
        assert_eq!(interpreter(b"#!/usr/bin/env python3\nprint(1)\n"), "/usr/bin/env python3");
        assert_eq!(interpreter(b"echo\n"), "/bin/sh");
        assert_eq!(interpreter(b"\x7fELF..."), "-");
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the test runs the wrapper as apply would")]
    fn the_wrapper_runs_a_script_with_its_arguments_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        let mut child = Command::new("/bin/sh")
            .args(["-c", WRAPPER, "script", "/bin/sh", "a b", "c"])
            .env("TMPDIR", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let script = b"echo \"$1|$2\"; ls -A \"$TMPDIR\"; read x; echo \"end$x\"; exit 3\n";
        child.stdin.take().expect("stdin").write_all(script).expect("script");
        let output = child.wait_with_output().expect("ends");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "a b|c\nend\n");
        assert_eq!(output.status.code(), Some(3));
    }
}
