//! `script_module`: run a module that the user brings along, a program that speaks Ansible's protocol for modules.

use base64::Engine as _;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Controller, Example, Module};
use crate::change::{Change, Done, Failure, Plan, Probe, Program};
use crate::value::{Map, Value, json};

/// Runs a module of your own: a program in `library/` of a role, or beside the playbook.
///
/// A task names it as it names any module (`my_module: {name: x}`); this is what such a task becomes. The program gets the path of a
/// file with its arguments: JSON where the text `WANT_JSON` stands in it or where it is a binary, else `name='text'` words. It answers
/// with a JSON object on standard output, of which `changed`, `failed`, `msg` and `ansible_facts` have a meaning. What it does cannot be
/// foreseen: in a check it is not run, and its results are unknown. Modules that use Ansible's own Python library cannot run.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScriptModule {
    /// The program: a path, or a name that is looked for in `library/`.
    path: String,
    /// The arguments for it.
    #[serde(default)]
    arguments: IndexMap<String, serde_json::Value>,
    /// The interpreter, instead of the one that the program's first line names.
    interpreter: Option<String>,
    /// The program, base64.
    #[schemars(skip)]
    _program: Option<String>,
}

/// Gets program and arguments on standard input, the program's length first. Both go to private files without a name, so that nothing
/// stays behind, whatever ends the program.
const WRAPPER: &str = r#"umask 077; d=$(mktemp -d "${TMPDIR:-/tmp}/.windlass-XXXXXX") || exit 126
trap 'rm -rf "$d"' EXIT; trap 'exit 143' HUP INT TERM
cat >"$d/all" && head -c "$1" "$d/all" >"$d/p" && tail -c +$(($1 + 1)) "$d/all" >"$d/a" && chmod 700 "$d/p" && exec 8<"$d/p" 9<"$d/a" || exit 126
rm -rf "$d"; if [ "$2" = - ]; then exec /proc/self/fd/8 /proc/self/fd/9 </dev/null; fi
exec $2 /proc/self/fd/8 /proc/self/fd/9 </dev/null"#;

impl Module for ScriptModule {
    const NAME: &'static str = "script_module";
    const COLLECTION: &'static str = "windlass";
    const RESTS: bool = false;
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Run `library/greet.sh`, as `greet: {name: World}` would",
        task: "{path: greet.sh, arguments: {name: World}}",
        given: &[],
        changes: true,
    }];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        let name = arguments.get("path").and_then(Value::as_str).unwrap_or_default().to_owned();
        let path = controller.find("library", &name)?;
        let bytes = controller.read(&path)?;
        if let Some(refused) = refused(&name, &bytes) {
            return Err(refused);
        }
        if !arguments.contains_key("interpreter")
            && let Some(kind) = named_interpreter(&bytes)
        {
            let own = format!("ansible_{kind}_interpreter | default('')");
            let of_delegate = format!("(ansible_delegated_vars.values() | list | first).{own}");
            let wanted = controller.expression(&format!("({of_delegate}) if ansible_delegated_vars is defined else ({own})"))?;
            if let Some(wanted) = wanted.as_str().filter(|wanted| !wanted.is_empty() && !wanted.starts_with("auto")) {
                arguments.insert("interpreter".into(), wanted.into());
            }
        }
        arguments.insert("_program".into(), base64::engine::general_purpose::STANDARD.encode(bytes).into());
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let program = self._program.as_deref().unwrap_or_default();
        let program =
            base64::engine::general_purpose::STANDARD.decode(program).map_err(|_| Failure::failed("the module did not arrive whole"))?;
        let interpreter = match &self.interpreter {
            Some(named) => named.clone(),
            None => self.interpreter(&program, host)?,
        };
        let length = program.len();
        let mut stdin = program;
        let arguments = if is_binary(&stdin) || contains(&stdin, "WANT_JSON") {
            serde_json::json!(self.arguments).to_string()
        } else {
            words(&self.arguments)
        };
        stdin.extend(arguments.into_bytes());
        let argv = ["/bin/sh", "-c", WRAPPER, "module", &length.to_string(), &interpreter].map(str::to_owned).to_vec();
        let summary = format!("run the module `{}`", self.name());
        let program = Program { argv, stdin: Some(stdin), ..Program::default() };
        let plan = Plan::one("the module itself finds out what there is to do", Change::Run { program, effects: Vec::new(), summary });
        Ok(Plan { reported: true, ..plan })
    }

    fn result(&self, plan: &Plan, done: &[Done], _host: &dyn Probe) -> Result<Map, Failure> {
        let Some(Done::Ran(output)) = done.first() else { return Ok(plan.values.clone()) };
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let Some((mut values, rest)) = answer(&stdout) else {
            let last = stderr.lines().rev().find(|line| !line.trim().is_empty()).map(|line| format!(": {}", line.trim()));
            let message = format!("the module `{}` did not answer with JSON{}", self.name(), last.unwrap_or_default());
            return Err(Failure::failed(message)
                .with("module_stdout", stdout.as_ref())
                .with("module_stderr", stderr.as_ref())
                .with("rc", output.rc));
        };
        if !rest.is_empty() {
            let mut warnings = values.get("warnings").and_then(Value::as_list).map(<[Value]>::to_vec).unwrap_or_default();
            warnings.push(format!("the module `{}` printed junk after the JSON data: {rest}", self.name()).into());
            values.insert("warnings".into(), warnings.into());
        }
        if !stderr.is_empty() && !values.contains_key("stderr") {
            values.insert("stderr".into(), stderr.as_ref().into());
        }
        let told = values.get("failed").and_then(crate::value::arguments::to_bool);
        let rc = values.get("rc").and_then(Value::as_int).unwrap_or_default();
        if !told.unwrap_or(rc != 0) {
            return Ok(values);
        }
        let message = values.get("msg").map_or_else(|| format!("the module `{}` failed", self.name()), ToString::to_string);
        values.shift_remove("failed");
        Err(Failure::Failed { message, hint: None, values })
    }
}

impl ScriptModule {
    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Returns the interpreter of the first line, `-` for a program that needs none. Where it is Python under a name that the host does
    /// not have, the host's Python.
    fn interpreter(&self, program: &[u8], host: &dyn Probe) -> Result<String, Failure> {
        if is_binary(program) {
            return Ok("-".to_owned());
        }
        let Some(line) = first_line(program) else { return Ok("/bin/sh".to_owned()) };
        let file = line.split_whitespace().next().unwrap_or_default();
        if named_interpreter(program).is_some_and(|kind| kind.starts_with("python")) && host.stat(file.as_ref(), true)?.is_none() {
            return match host.find_program("python3")? {
                Some(python) => Ok(python.display().to_string()),
                None => Err(Failure::failed(format!("the module `{}` needs Python, which the host does not have", self.name()))),
            };
        }
        Ok(line)
    }
}

/// Whether a module uses Ansible's own Python library, which is not here.
pub fn needs_ansible(program: &[u8]) -> bool {
    ["ansible.module_utils", "ansible_collections.", "from ansible "].iter().any(|text| contains(program, text)) && !is_binary(program)
}

/// Returns why a module cannot run, if it cannot.
fn refused(name: &str, program: &[u8]) -> Option<Failure> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let failure = if needs_ansible(program) {
        Failure::failed(format!("the module `{name}` is written with Ansible's own Python library, which windlass does not have"))
    } else if contains(program, "#!powershell") || contains(program, "ANSIBLE_POWERSHELL") {
        Failure::failed(format!("the module `{name}` is written in PowerShell, for Windows hosts, which windlass does not reach"))
    } else {
        return None;
    };
    Some(failure.hint(super::instead::of(name).unwrap_or(
        "a module that reads its arguments as JSON from the file it is given (with `WANT_JSON` in its text) runs; so do `script` and `command`",
    )))
}

fn contains(program: &[u8], text: &str) -> bool {
    program.windows(text.len()).any(|part| part == text.as_bytes())
}

fn is_binary(program: &[u8]) -> bool {
    program.iter().take(1024).any(|byte| *byte == 0)
}

fn first_line(program: &[u8]) -> Option<String> {
    let first = program.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let first = String::from_utf8_lossy(first);
    first.strip_prefix("#!").map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
}

/// Returns the interpreter's name, as the variable `ansible_NAME_interpreter` has it: `python` for every Python.
fn named_interpreter(program: &[u8]) -> Option<String> {
    let line = first_line(program)?;
    let mut words = line.split_whitespace();
    let mut name = words.next()?.rsplit('/').next()?;
    if name == "env" {
        name = words.find(|word| !word.starts_with('-'))?;
    }
    Some(if name.starts_with("python") { "python".to_owned() } else { name.replace(|c: char| !c.is_alphanumeric(), "_") })
}

/// Returns arguments as the words that a shell reads as assignments.
fn words(arguments: &IndexMap<String, serde_json::Value>) -> String {
    let word = |(name, value): (&String, &serde_json::Value)| {
        let value = json::from_json(value).to_string();
        let quoted = shlex::try_quote(&value).map_or_else(|_| "''".to_owned(), std::borrow::Cow::into_owned);
        format!("{name}={quoted}")
    };
    arguments.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Returns the object that a module answered with, whatever it printed before it, and what it printed after.
fn answer(stdout: &str) -> Option<(Map, &str)> {
    let mut rest = stdout;
    loop {
        let start = rest.find('{')?;
        rest = rest.get(start..)?;
        let mut objects = serde_json::Deserializer::from_str(rest).into_iter::<serde_json::Value>();
        if let Some(Ok(value @ serde_json::Value::Object(_))) = objects.next()
            && let Value::Map(map) = json::from_json(&value)
        {
            let behind = rest.get(objects.byte_offset()..).unwrap_or_default();
            return Some(((*map).clone(), behind.trim()));
        }
        rest = rest.get(1..)?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn an_answer_is_found_among_other_text() {
        let (map, rest) = answer("warming up {\n{\"changed\": true, \"msg\": \"a}b\"}\ndone\n").expect("an answer");
        assert_eq!((map.get("msg"), rest), (Some(&Value::str("a}b")), "done"));
        assert_eq!(answer("no json { here"), None);
    }

    #[test]
    fn modules_that_need_ansible_are_told_apart() {
        assert!(needs_ansible(b"#!/usr/bin/python\nfrom ansible.module_utils.basic import AnsibleModule\n"));
        assert!(!needs_ansible(b"#!/usr/bin/python\n# WANT_JSON\nimport json\n"));
        assert_eq!(named_interpreter(b"#!/usr/bin/env -S python3 -u\n").as_deref(), Some("python"));
        assert_eq!(named_interpreter(b"#!/bin/sh\n").as_deref(), Some("sh"));
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the test runs the wrapper as apply would")]
    fn the_wrapper_hands_over_arguments_and_leaves_nothing() {
        let folder = tempfile::tempdir().expect("folder");
        let program = b"#!/bin/sh\n. \"$1\"; ls -A \"$TMPDIR\"; echo \"$name\"\n";
        let mut child = Command::new("/bin/sh")
            .args(["-c", WRAPPER, "module", &program.len().to_string(), "/bin/sh"])
            .env("TMPDIR", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let arguments = words(&IndexMap::from_iter([("name".to_owned(), "it's me".into())]));
        child.stdin.take().expect("stdin").write_all(&[&program[..], arguments.as_bytes()].concat()).expect("written");
        let output = child.wait_with_output().expect("ends");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "it's me\n");
    }
}
