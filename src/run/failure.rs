//! Tasks that failed: what is told of them, where in the user's files it is, and what is registered.

use crate::change::Failure;
use crate::load::playbook::Action;
use crate::modules;
use crate::report::event::{Status, TaskResult};
use crate::run::step::Step;
use crate::source::Diagnostic;
use crate::value::{Map, Value};

/// Modules that Ansible carries out on the controller: it words their unknown arguments otherwise.
const ACTIONS: &[&str] = &["assert", "debug", "fail", "group_by", "include_vars", "set_stats", "wait_for_connection"];

/// Says that a module does not know an argument.
fn unsupported(module: &str, argument: &str, known: &[String]) -> String {
    if ACTIONS.contains(&module) {
        return format!("Invalid options for {module}: {argument}");
    }
    let mut known: Vec<_> = known.iter().filter(|name| !name.starts_with('_')).map(String::as_str).collect();
    known.sort_unstable();
    format!("Unsupported parameters for ({module}) module: {argument}. Supported parameters include: {}.", known.join(", "))
}

/// Modules that Ansible has done on the controller.
const ON_CONTROLLER: &[&str] = &[
    "add_host",
    "assemble",
    "assert",
    "copy",
    "debug",
    "fail",
    "fetch",
    "group_by",
    "include_vars",
    "pause",
    "raw",
    "reboot",
    "script",
    "set_fact",
    "set_stats",
    "template",
    "unarchive",
    "uri",
    "validate_argument_spec",
    "wait_for_connection",
];

impl Step {
    /// A task that did not come to its module, as something in the user's files is wrong.
    pub(super) fn wrong(&self, result: &mut TaskResult, context: &str, diagnostic: &Diagnostic) -> Value {
        let told = format!("Task failed: {context}{}", diagnostic.message);
        self.failed(result, diagnostic, &told, Map::new())
    }

    pub(super) fn failed(&self, result: &mut TaskResult, diagnostic: &Diagnostic, told: &str, values: Map) -> Value {
        result.status = Status::Failed;
        result.because.clone_from(&diagnostic.message);
        result.diagnostic = Some(match result.no_log {
            true => self.told(diagnostic, true),
            false => self.failure_text(diagnostic, false),
        });
        let mut all = Map::from_iter([("changed".into(), Value::Bool(false)), ("failed".into(), Value::Bool(true))]);
        all.extend(values);
        all.insert("msg".into(), Value::str(told));
        if matches!(&self.task.action, Action::Module { name, .. } if modules::short_name(name) == "include_vars") {
            // This is where Ansible's module has it.
            all.insert("message".into(), Value::str(&diagnostic.message));
        }
        Value::from(all)
    }

    /// Returns a diagnostic as text; with `no_log` without the lines of the file, as what they say may be a secret.
    pub(super) fn told(&self, diagnostic: &Diagnostic, no_log: bool) -> String {
        if !no_log {
            return self.run.rendered(diagnostic);
        }
        let place = diagnostic.span.and_then(|span| self.run.sources.place(span)).map(|place| format!(" ({place})")).unwrap_or_default();
        let message = format!("{}{place}", diagnostic.message);
        self.run.rendered(&Diagnostic { span: None, also: Vec::new(), message, ..diagnostic.clone() })
    }

    /// Returns what is told of a failure. Ansible's form says whose it was, and where the task begins.
    pub(super) fn failure_text(&self, diagnostic: &Diagnostic, of_module: bool) -> String {
        if !self.run.sources.in_ansible_form() {
            return self.run.rendered(diagnostic);
        }
        let is_action = matches!(&self.task.action, Action::Module { name, .. } if ON_CONTROLLER.contains(&modules::short_name(name)));
        let whose = match (of_module, is_action) {
            (false, _) => "Task failed: ",
            (true, true) => "Task failed: Action failed: ",
            (true, false) => "Task failed: Module failed: ",
        };
        let mut told = Diagnostic { message: format!("{whose}{}", diagnostic.message), ..diagnostic.clone() };
        if of_module {
            told = Diagnostic { hints: Vec::new(), ..told.at(self.task.span) };
        }
        self.run.rendered(&told)
    }

    /// Returns a failure with the place of the argument that it is about.
    pub(super) fn diagnostic(&self, failure: &Failure) -> Diagnostic {
        let mut diagnostic = Diagnostic::error(failure.to_string()).at(self.place_of(failure.about()));
        if let Some(hint) = failure.advice() {
            diagnostic = diagnostic.hint(hint);
        }
        if let (Failure::Argument { argument, .. }, Some(entry)) = (failure, self.entry()) {
            let names = entry.argument_names();
            if !argument.contains('.') && !argument.is_empty() && !names.contains(argument) {
                diagnostic.message = unsupported(entry.name, argument, &names);
                diagnostic = diagnostic.did_you_mean(argument, names.iter().map(String::as_str));
            }
        }
        diagnostic
    }

    fn entry(&self) -> Option<&'static modules::Entry> {
        match &self.task.action {
            Action::Module { name, .. } => modules::find(name),
            _ => None,
        }
    }

    /// Returns what is told of a task that failed by its own condition. Ansible's form has only the result's message.
    pub(super) fn failed_when_text(&self, diagnostic: &Diagnostic, values: &mut Map) -> String {
        if !self.run.sources.in_ansible_form() {
            return self.failure_text(diagnostic, true);
        }
        let message = match values.get("msg").map(ToString::to_string) {
            Some(text) if text.is_empty() => "Task failed: Action failed.".to_owned(),
            Some(text) => format!("Task failed: Action failed: {text}"),
            None => {
                let text = "Task failed: Action failed: Unknown error.";
                values.insert("msg".into(), Value::str(text));
                text.to_owned()
            }
        };
        self.run.rendered(&Diagnostic::error(message).at(self.task.span))
    }

    pub(super) fn failed_when(&self) -> Diagnostic {
        let conditions: Vec<_> = self.task.failed_when.iter().map(|located| located.value.to_string()).collect();
        let diagnostic = Diagnostic::error(format!("`failed_when` holds: {}", conditions.join(" and ")));
        match self.task.failed_when.first() {
            Some(first) => diagnostic.at(first.span),
            None => diagnostic,
        }
    }
}

/// Returns what a failure adds to the result.
pub(super) fn values_of_failure(failure: &Failure) -> Map {
    match failure {
        Failure::Program { rc, stdout, stderr, .. } => {
            Map::from_iter([("rc".into(), Value::from(*rc)), ("stdout".into(), Value::str(stdout)), ("stderr".into(), Value::str(stderr))])
        }
        Failure::Failed { values, .. } => values.clone(),
        _ => Map::new(),
    }
}
