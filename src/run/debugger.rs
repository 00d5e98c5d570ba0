//! The debugger: stops at what a task came to, where `debugger:` or the settings say so, and asks what to do.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::load::playbook::{Action, Task};
use crate::report::event::{Event, Status};
use crate::run::Run;
use crate::run::controller::SharedEngine;
use crate::run::scope::TaskVariables;
use crate::run::step::{Ended, Step};
use crate::source::Diagnostic;
use crate::value::{Key, Map, Value, write_python_repr};
use crate::vars::Variables as _;

/// What can be typed.
const HELP: &str = "p EXPRESSION      show task, task.args, task_vars, host or result, or what is in them: p task_vars['x']
task.args['x'] = EXPRESSION    change an argument; task_vars['x'] = ... a variable; del takes one away
u, update_task    take the arguments from the playbook again, with the variables as they are now
r, redo           run the task again
c, continue       go on
q, quit           end the run";

/// The most columns of a value on one line.
const WIDTH: usize = 80;

/// What the person wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Continue,
    Redo,
    Quit,
}

impl Run {
    /// Stops at what a task came to, where that is wanted, as often as it is done again. Returns what counts in the end.
    pub(super) async fn debugged(self: &Arc<Self>, mut step: Step, mut ended: Ended) -> Ended {
        let original = step.task.clone();
        while step.is_debugged(&ended) {
            let _one_at_a_time = self.debugging.lock().await;
            self.tell(Event::Result { host: step.host.clone(), task: step.name.clone(), result: Box::new(ended.result.clone()) });
            ended.told = true;
            let mut session = Session::new(&step, &original, &ended);
            let choice = loop {
                let (asker, prompt) = (self.asker.clone(), format!("[{}] TASK: {} (debug)> ", step.host, step.name));
                let line = tokio::task::spawn_blocking(move || asker.command(&prompt)).await.ok().flatten();
                match session.command(line.as_deref()) {
                    Ok(Some(choice)) => break choice,
                    Ok(None) => {}
                    Err(message) => self.tell(Event::Said { text: format!("*** {message}") }),
                }
                for text in session.said.drain(..) {
                    self.tell(Event::Said { text });
                }
            };
            match choice {
                Choice::Continue => break,
                Choice::Quit => {
                    self.tell(Event::Said { text: "User interrupted execution".to_owned() });
                    self.quit.store(true, Ordering::SeqCst);
                    self.interrupted.store(true, Ordering::SeqCst);
                    break;
                }
                Choice::Redo => {
                    let (task, own) = (session.task, session.own);
                    step.task = Arc::new(task);
                    step.own = own;
                    step.redone += 1;
                    ended = step.perform().await;
                }
            }
        }
        ended
    }
}

impl Step {
    /// Whether the debugger stops at what the task came to.
    fn is_debugged(&self, ended: &Ended) -> bool {
        let result = &ended.result;
        if result.earlier || self.run.is_interrupted() {
            return false;
        }
        let execution = &self.run.settings.execution;
        let is_excused = result.ignored && execution.debugger_ignore_errors.unwrap_or(true);
        let has_failed = result.status == Status::Failed && !is_excused;
        let keyword = self.frame.nearest(&self.task, |keywords| keywords.debugger.as_ref());
        match keyword.and_then(|located| located.value.as_str()) {
            Some("always") => true,
            Some("never") => false,
            Some("on_failed") if has_failed => true,
            Some("on_unreachable") if result.status == Status::Unreachable => true,
            Some("on_skipped") if result.status == Status::Skipped => true,
            _ => {
                let is_on = execution.task_debugger == Some(true) || self.stage.strategy.debugs();
                is_on && (has_failed || result.status == Status::Unreachable)
            }
        }
    }
}

/// One stop.
struct Session {
    task: Task,
    original: Arc<Task>,
    name: String,
    /// Variables that were set here.
    own: Map,
    variables: TaskVariables,
    engine: SharedEngine,
    host: Value,
    result: Value,
    /// What was typed last: an empty line repeats it.
    last: String,
    /// What is to be shown.
    said: Vec<String>,
}

impl Session {
    fn new(step: &Step, original: &Arc<Task>, ended: &Ended) -> Self {
        let run = &step.run;
        let mut session = Self {
            task: (*step.task).clone(),
            original: original.clone(),
            name: step.name.clone(),
            own: step.own.clone(),
            variables: run.variables(&step.stage, &step.frame, Some(original), &step.host),
            engine: run.engine(&run.search(&step.stage, &step.frame, original)),
            host: Value::str(&step.host),
            result: ended.register.clone(),
            last: String::new(),
            said: Vec::new(),
        };
        session.settle_arguments();
        session
    }

    /// Renders the task's arguments, as far as that can be.
    fn settle_arguments(&mut self) {
        let variables = self.variables.with(self.own.clone());
        let Action::Module { arguments, .. } = &mut self.task.action else { return };
        if let Ok(Value::Map(rendered)) = self.engine.render(&Value::Map(arguments.clone()), &variables) {
            *arguments = rendered;
        }
    }

    /// Does what a line says; a choice ends the stop. No line: there is nobody who types.
    fn command(&mut self, line: Option<&str>) -> Result<Option<Choice>, String> {
        let Some(line) = line else { return Ok(Some(Choice::Quit)) };
        if !line.trim().is_empty() {
            line.trim().clone_into(&mut self.last);
        }
        let line = self.last.clone();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
        match word {
            "" => {}
            "c" | "continue" => return Ok(Some(Choice::Continue)),
            "r" | "redo" => return Ok(Some(Choice::Redo)),
            "q" | "quit" | "EOF" => return Ok(Some(Choice::Quit)),
            "h" | "help" | "?" => self.said.push(HELP.to_owned()),
            "u" | "update_task" => {
                self.task = (*self.original).clone();
                self.settle_arguments();
            }
            "p" | "pprint" => {
                let shown = match rest.trim() {
                    "task" => format!("TASK: {}", self.name),
                    "host" => self.host.to_string(),
                    expression => pretty(&self.value(expression)?, 0),
                };
                self.said.push(shown);
            }
            "del" => self.change(rest, None)?,
            _ => match assignment(&line) {
                Some((target, expression)) => {
                    let value = self.value(expression)?;
                    self.change(target, Some(value))?;
                }
                None => {
                    let shown = pretty(&self.value(&line)?, 0);
                    self.said.push(shown);
                }
            },
        }
        Ok(None)
    }

    /// Works out an expression.
    fn value(&self, expression: &str) -> Result<Value, String> {
        let bare = expression.strip_suffix("._result").unwrap_or(expression);
        let variables = self.variables.with(self.own.clone());
        let all =
            variables.names().into_iter().filter_map(|name| variables.get(&name).map(|value| (Key::from(name), value))).collect::<Map>();
        let action = match &self.task.action {
            Action::Module { name, .. } => name.as_str(),
            Action::IncludeTasks { .. } => "include_tasks",
            Action::IncludeRole { .. } => "include_role",
        };
        let task = Value::map([
            ("args", Value::Map(self.arguments())),
            ("name", Value::str(&self.name)),
            ("action", Value::str(action)),
            ("vars", Value::Map(self.task.keywords.vars.clone())),
        ]);
        let known =
            variables.with([("task", task), ("task_vars", Value::from(all)), ("host", self.host.clone()), ("result", self.result.clone())]);
        let text = Value::text(&format!("{{{{ ({bare}) }}}}"), self.task.span);
        let value = match bare {
            // A variable's own value may be a template that cannot be rendered; the others are shown all the same.
            "task_vars" => return Ok(known.get("task_vars").unwrap_or_default()),
            _ => self.engine.render(&text, &known).map_err(|error: Diagnostic| error.message)?,
        };
        Ok(value)
    }

    fn arguments(&self) -> Arc<Map> {
        match &self.task.action {
            Action::Module { arguments, .. } => arguments.clone(),
            _ => Arc::default(),
        }
    }

    /// Sets what `task.args[...]`, `task_vars[...]` or `task.args` names, or takes it away.
    fn change(&mut self, target: &str, value: Option<Value>) -> Result<(), String> {
        let target = target.trim();
        let (name, key) = match target.strip_suffix(']').and_then(|target| target.split_once('[')) {
            Some((name, key)) => (name.trim(), Some(self.value(key)?.to_string())),
            None => (target, None),
        };
        let Action::Module { arguments, .. } = &mut self.task.action else {
            return Err("an include has no arguments to change".to_owned());
        };
        let map = match name {
            "task.args" => Arc::make_mut(arguments),
            "task_vars" => &mut self.own,
            _ => return Err(format!("`{target}` cannot be changed; `task.args['name']` and `task_vars['name']` can")),
        };
        match (key, value) {
            (Some(key), Some(value)) => {
                map.insert(Key::from(key), value);
            }
            (Some(key), None) => {
                map.shift_remove(key.as_str());
            }
            (None, Some(Value::Map(whole))) => *map = Arc::unwrap_or_clone(whole),
            (None, _) => return Err(format!("`{name}` has to be a dictionary")),
        }
        Ok(())
    }
}

/// Splits `target = expression`; `None` where the line is an expression.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (mut quote, mut depth) = (None, 0_usize);
    let bytes = line.as_bytes();
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[' | '(' | '{') => depth += 1,
            (None, ']' | ')' | '}') => depth = depth.saturating_sub(1),
            (None, '=') if depth == 0 => {
                let is_comparison = bytes.get(at + 1) == Some(&b'=') || at.checked_sub(1).is_some_and(|at| b"=!<>".contains(&bytes[at]));
                return (!is_comparison).then(|| (line[..at].trim(), line[at + 1..].trim()));
            }
            _ => {}
        }
    }
    None
}

/// Returns a value as Python's `pprint` writes it: on one line where it fits, else an entry a line, keys sorted.
fn pretty(value: &Value, indent: usize) -> String {
    let mut line = String::new();
    let _ = write_python_repr(&mut line, value);
    let entries: Vec<String> = match value {
        _ if line.chars().count() + indent <= WIDTH => return line,
        Value::Map(map) => {
            let mut sorted: Vec<_> = map.iter().map(|(key, value)| (key.to_value(), value)).collect();
            sorted.sort_by_key(|(key, _)| key.to_string());
            let one = |(key, value): (Value, &Value)| {
                let mut name = String::new();
                let _ = write_python_repr(&mut name, &key);
                format!("{name}: {}", pretty(value, indent + name.chars().count() + 3))
            };
            sorted.into_iter().map(one).collect()
        }
        Value::List(items) => items.iter().map(|item| pretty(item, indent + 1)).collect(),
        _ => return line,
    };
    let (open, close) = if matches!(value, Value::Map(_)) { ('{', '}') } else { ('[', ']') };
    format!("{open}{}{close}", entries.join(&format!(",\n{}", " ".repeat(indent + 1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_told_from_an_expression() {
        assert_eq!(assignment("task.args['a=b'] = 'x=y'"), Some(("task.args['a=b']", "'x=y'")));
        assert_eq!(assignment("task.args = {'a': 1}"), Some(("task.args", "{'a': 1}")));
        assert_eq!(assignment("task_vars['x'] == 1"), None);
        assert_eq!(assignment("task_vars['x'] >= 1"), None);
        assert_eq!(assignment("f(a=1)"), None);
    }

    #[test]
    fn a_long_value_has_an_entry_a_line() {
        let long = "x".repeat(60);
        let value = Value::map([("b", Value::str(&long)), ("a", Value::list([Value::from(1), Value::from(2)]))]);
        assert_eq!(pretty(&value, 0), format!("{{'a': [1, 2],\n 'b': '{long}'}}"));
        assert_eq!(pretty(&Value::list([Value::from(1)]), 0), "[1]");
    }
}
