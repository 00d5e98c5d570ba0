//! The forms in which `ansible` reports a task without a playbook: a few lines a host, or one.

use std::path::PathBuf;
use std::sync::Mutex;

use super::ansible::{INTERNAL, indented, one_line, sort_keys};
use super::event::{Event, Listener, Status, TaskResult};
use super::output::{Colour, Output};
use crate::value::json::to_json;
use crate::value::{Map, Value};

/// Modules whose result is what a program printed.
const COMMANDS: &[&str] = &["command", "raw", "script", "shell", "win_command", "win_shell"];

/// How much is written of a host's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A line, and the values below it.
    Minimal,
    /// One line.
    OneLine,
}

/// Writes a line or a few for each host, and nothing about plays and tasks.
pub struct Minimal {
    output: Output,
    errors: Output,
    verbosity: u8,
    style: Style,
    /// The folder to write each host's result to.
    tree: Option<PathBuf>,
    module: Mutex<String>,
}

impl Minimal {
    /// Returns a listener that writes to `output`; `verbosity` is the number of `-v`, `tree` a folder that gets a file a host.
    pub fn new(output: Output, errors: Output, verbosity: u8, style: Style, tree: Option<PathBuf>) -> Self {
        Self { output, errors, verbosity, style, tree, module: Mutex::default() }
    }

    fn warn(&self, message: &str) {
        self.errors.line(&self.errors.paint(Colour::Magenta, &format!("[WARNING]: {message}")));
    }

    fn result(&self, host: &str, result: &TaskResult) {
        for warning in &result.warnings {
            self.warn(warning);
        }
        if let Some(diagnostic) = result.diagnostic.as_ref().filter(|_| matches!(result.status, Status::Failed | Status::Unreachable)) {
            self.output.line(diagnostic);
        }
        for difference in &result.diff {
            self.output.line(&crate::change::diff::unified(difference));
        }
        let (state, colour) = match result.status {
            Status::Ok => ("SUCCESS", Colour::Green),
            Status::Changed => ("CHANGED", Colour::Yellow),
            Status::Skipped => ("SKIPPED", Colour::Cyan),
            Status::Failed => ("FAILED", Colour::Red),
            Status::Unreachable => ("UNREACHABLE!", Colour::Red),
            Status::Unknown => ("UNKNOWN", Colour::Magenta),
        };
        let is_command = self.module.lock().is_ok_and(|module| COMMANDS.contains(&module.as_str()));
        let text = match result.status {
            Status::Skipped => format!("{host} | {state}"),
            Status::Unknown => format!("{host} | {state}: {}", result.reason()),
            Status::Ok | Status::Changed | Status::Failed if is_command && !result.no_log => self.command(host, state, result),
            Status::Failed => format!("{host} | FAILED! => {}", self.values(result)),
            _ => format!("{host} | {state} => {}", self.values(result)),
        };
        self.output.line(&self.output.paint(colour, &text));
        if let Some(folder) = &self.tree {
            self.keep(folder, host, result);
        }
    }

    /// Returns what a program printed, as it printed it.
    fn command(&self, host: &str, state: &str, result: &TaskResult) -> String {
        let part = |name: &str| result.values.get(name).map(ToString::to_string).unwrap_or_default();
        let rc = result.values.get("rc").map_or_else(|| "-1".to_owned(), ToString::to_string);
        if self.style == Style::OneLine {
            let stderr = part("stderr");
            let stderr = if stderr.is_empty() { stderr } else { format!(" (stderr) {}", stderr.replace('\n', "\\n")) };
            return format!("{host} | {state} | rc={rc} | (stdout) {}{stderr}", part("stdout").replace('\n', "\\n"));
        }
        let parts = [part("stdout"), part("stderr"), part("msg")];
        let text: String = parts.iter().filter(|text| !text.is_empty()).map(|text| format!("{}\n", text.trim_end_matches('\n'))).collect();
        format!("{host} | {state} | rc={rc} >>\n{}", text.trim_end_matches('\n'))
    }

    fn values(&self, result: &TaskResult) -> String {
        if result.no_log {
            let changed = result.status == Status::Changed;
            return format!(
                "{{\n    \"censored\": \"the output has been hidden due to the fact that 'no_log: true' was specified for this result\",\n    \"changed\": {changed}\n}}"
            );
        }
        let mut values: Map = result.values.clone();
        if self.verbosity < 3 {
            // Facts are what `setup` is asked for.
            values.retain(|name, _| !name.as_str().is_some_and(|name| INTERNAL.contains(&name) && name != "ansible_facts"));
        }
        values.retain(|name, _| !matches!(name.as_str(), Some("exception" | "failed" | "skipped")));
        if result.verbose_always {
            values.shift_remove("changed");
        } else {
            values.entry("changed".into()).or_insert(Value::Bool(result.status == Status::Changed));
        }
        let mut values = Value::from(values);
        sort_keys(&mut values);
        let json = to_json(&self.output.redactor().mask_value(&values));
        if self.style == Style::OneLine { one_line(&json) } else { indented(&json) }
    }

    #[allow(clippy::disallowed_methods, reason = "the user's own folder for results, on the controller")]
    fn keep(&self, folder: &std::path::Path, host: &str, result: &TaskResult) {
        let name: String = host.chars().map(|c| if c == '/' { '_' } else { c }).collect();
        let text = self.values(result);
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(folder.join(name), text));
        if let Err(error) = written {
            self.output.line(&format!("[WARNING]: cannot write the result of {host} to `{}`: {error}", folder.display()));
        }
    }
}

impl Listener for Minimal {
    fn tell(&self, event: &Event) {
        match event {
            Event::TaskStarted { module, .. } => {
                if let Ok(mut known) = self.module.lock() {
                    known.clone_from(module);
                }
            }
            Event::Result { host, result, .. } => self.result(host, result),
            Event::Warning { message } => self.warn(message),
            Event::Diagnostic { text } => self.output.line(text),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;
    use crate::value::secret::Redactor;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("lock").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn told(module: &str, style: Style, result: TaskResult) -> String {
        let written = Written::default();
        let output = Output::new(Box::new(written.clone()), Redactor::default(), false);
        let minimal = Minimal::new(output.clone(), output, 0, style, None);
        minimal.tell(&Event::TaskStarted {
            name: String::new(),
            module: module.to_owned(),
            place: None,
            handler: false,
            hosts: 1,
            check: false,
        });
        minimal.tell(&Event::Result { host: Arc::from("web"), task: String::new(), result: Box::new(result) });
        let bytes = written.0.lock().expect("lock").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_program_shows_what_it_printed_and_other_modules_their_values() {
        let values = |entries: &[(&str, Value)]| entries.iter().map(|(name, value)| ((*name).into(), value.clone())).collect::<Map>();
        let printed = values(&[("rc", Value::Int(1)), ("stdout", Value::str("a\nb")), ("stderr", Value::str("no"))]);
        let failed = TaskResult { status: Status::Failed, values: printed, ..TaskResult::default() };
        assert_eq!(told("command", Style::Minimal, failed.clone()), "web | FAILED | rc=1 >>\na\nb\nno\n");
        assert_eq!(told("command", Style::OneLine, failed), "web | FAILED | rc=1 | (stdout) a\\nb (stderr) no\n");
        let said = TaskResult { values: values(&[("msg", Value::str("hi"))]), verbose_always: true, ..TaskResult::default() };
        assert_eq!(told("debug", Style::Minimal, said.clone()), "web | SUCCESS => {\n    \"msg\": \"hi\"\n}\n");
        assert_eq!(told("debug", Style::OneLine, said), "web | SUCCESS => {\"msg\": \"hi\"}\n");
    }
}
