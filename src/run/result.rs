//! What came of a task on a host, or of one item of its loop: from the host's outcome to what is registered and told.

use std::sync::Arc;

use crate::change::{Difference, Mode, Outcome, Then};
use crate::connect::Become;
use crate::report::event::{Status, TaskResult};
use crate::run::bond::is_refusal;
use crate::run::controller::SharedEngine;
use crate::run::failure::values_of_failure;
use crate::run::hands::Lost;
use crate::run::host::{Host, Notice};
use crate::run::replay::{BROKEN_OFF, UNSURE};
use crate::run::scope::TaskVariables;
use crate::run::step::{Ended, Ready, Step, Stop};
use crate::run::unknown::{in_doubt, is_blind, not_known, unknown, with_reason, with_reason_in};
use crate::source::Diagnostic;
use crate::value::{Map, Value};
use crate::vars::Truth;

/// Modules whose result is their purpose.
const SHOWN: &[&str] = &["debug"];

/// Values that hold what a command or a file gave: with `no_log`, they are secrets.
const TELLING: &[&str] = &["stdout", "stderr", "content", "msg", "ansible_facts", "json", "value"];

/// What the module was asked for: shown with `-vvv`, and registered of the items of a loop.
pub(super) const INVOCATION: &str = "invocation";

/// Where playbooks look for what went wrong inside of a module.
const EXCEPTION: &str = "exception";

/// What came of a task, or of one item of its loop.
#[derive(Debug)]
pub(super) struct Came {
    pub(super) result: TaskResult,
    /// What `register` gets.
    pub(super) register: Value,
    pub(super) then: Vec<(Option<Arc<str>>, Then)>,
    /// Whether handlers are notified.
    pub(super) notice: Option<Notice>,
}

impl Came {
    pub(super) fn into_ended(self) -> Ended {
        Ended { register: self.register, then: self.then, notice: self.notice, ..Ended::of(self.result) }
    }

    /// Adds a value to the result.
    pub(super) fn note(&mut self, name: &str, value: Value) {
        self.result.values.insert(name.into(), value.clone());
        if let Value::Map(map) = &mut self.register {
            Arc::make_mut(map).insert(name.into(), value);
        }
    }

    /// Makes a failure of a result, whatever it was.
    pub(super) fn spoil(&mut self, message: String) {
        self.note("failed", Value::Bool(true));
        self.note("msg", Value::str(&message));
        self.result.because = message;
        self.result.diagnostic = None;
        self.result.status = Status::Failed;
        self.notice = None;
        self.then.clear();
    }

    /// Makes a failure of a result that `until` did not accept.
    pub(super) fn give_up(&mut self, attempts: u32) {
        self.note("failed", Value::Bool(true));
        // What `failed_when` says of an attempt has the last word.
        if self.result.values.get("failed_when_result") == Some(&Value::Bool(false)) {
            return;
        }
        if self.result.status != Status::Failed {
            self.result.because = format!("`until` did not hold after {attempts} attempts");
            let because = Value::str(&self.result.because);
            if !self.result.values.contains_key("msg") {
                self.note("msg", because);
            }
        }
        self.result.status = Status::Failed;
        self.notice = None;
        self.then.clear();
    }
}

/// What `exception` of a failed result is where there is no trace of calls.
const NO_TRACEBACK: &str = "(traceback unavailable)";

impl Step {
    /// Returns what came of a task that did not come to its module.
    pub(super) fn came(&self, stop: Stop, variables: &TaskVariables, engine: &SharedEngine) -> Came {
        let no_log = self.is_secret(variables, engine);
        let check = self.mode(variables, engine).map_or(self.run.settings.check, |mode| mode == Mode::Check);
        let mut result = TaskResult { no_log, check: check || self.run.settings.check, ..TaskResult::default() };
        let is_of_module = matches!(stop, Stop::Failed(_));
        let mut register = match stop {
            Stop::Skip(condition) => {
                result.status = Status::Skipped;
                result.because = "its condition does not hold".to_owned();
                let values = [
                    ("changed", Value::Bool(false)),
                    ("skipped", Value::Bool(true)),
                    ("skip_reason", Value::str("Conditional result was False")),
                    ("false_condition", condition),
                ];
                Value::map(values)
            }
            Stop::Unknown(why) => self.unseen(&mut result, why.clone(), why),
            Stop::Doubt(why) => self.unseen(&mut result, in_doubt(&why), why),
            Stop::Wrong(diagnostic) => self.wrong(&mut result, "", &diagnostic),
            Stop::Within(context, diagnostic) => self.wrong(&mut result, &context, &diagnostic),
            Stop::Failed(failure) => {
                let diagnostic = self.diagnostic(&failure);
                self.failed(&mut result, &diagnostic, &diagnostic.message, values_of_failure(&failure))
            }
        };
        if let Value::Map(map) = &register {
            let mut values = (**map).clone();
            if is_of_module && !self.task.failed_when.is_empty() && self.overruled(&mut result, &mut values, variables, engine).is_ok() {
                register = Value::from(values.clone());
            }
            result.values = values;
        }
        if result.status == Status::Failed
            && let Value::Map(map) = &mut register
        {
            Arc::make_mut(map).insert("exception".into(), Value::str(NO_TRACEBACK));
        }
        if result.status == Status::Failed {
            let refused = is_refusal(&result.values);
            if refused {
                self.run.bond.note_refusal();
            }
            result.ignored = !refused && self.is_ignored(variables, engine);
        }
        let notice = (result.status == Status::Unknown).then_some(Notice::Perhaps);
        Came { result, register, then: Vec::new(), notice }
    }

    pub(super) fn is_ignored(&self, variables: &TaskVariables, engine: &SharedEngine) -> bool {
        matches!(self.flag(|keywords| keywords.ignore_errors.as_ref(), variables, engine), Ok(Some(true)))
    }

    /// Returns what a host's outcome means, with `changed_when` and `failed_when`.
    pub(super) async fn judge(
        &self,
        ready: &Ready,
        outcome: Result<Outcome, Lost>,
        variables: &TaskVariables,
        engine: &SharedEngine,
    ) -> Came {
        match outcome {
            Ok(mut outcome) => {
                self.here(ready, &mut outcome).await;
                self.cut_short(ready, &mut outcome);
                outcome.changed |= self.adds(&outcome);
                self.judged(ready, outcome, variables, engine)
            }
            Err(lost) => self.lost(ready, lost, variables, engine),
        }
    }

    /// As [`Step::judge`], for an outcome with nothing left to do on the controller.
    pub(super) fn judged(&self, ready: &Ready, outcome: Outcome, variables: &TaskVariables, engine: &SharedEngine) -> Came {
        let is_hidden = outcome.values.get("_ansible_no_log") == Some(&Value::Bool(true));
        let no_log = is_hidden || ready.doubt.hidden;
        let then = self.addressed(&outcome, ready, variables, engine);
        let mut result = TaskResult {
            status: if outcome.changed { Status::Changed } else { Status::Ok },
            because: outcome.because.clone(),
            diff: outcome.diff.clone(),
            records_diff: !ready.shows_diff,
            summary: outcome.summary.clone(),
            no_log,
            delegated_to: ready.delegate.as_ref().map(ToString::to_string),
            became: ready.seat.r#become.as_ref().filter(|_| self.run.settings.verbosity >= 3).map(Become::line),
            check: ready.mode == Mode::Check || self.run.settings.check,
            warnings: outcome.warnings.clone(),
            verbose_always: SHOWN.contains(&ready.entry.name),
            ..TaskResult::default()
        };
        self.learn(&outcome, no_log);
        self.note_outcome(ready, &outcome);
        if let Some(why) = unknown(&outcome) {
            let shared = self.shared(&why, no_log);
            let mut then = if ready.doubt.why.is_some() { not_known(then, &shared) } else { then };
            then.extend((ready.entry.facts)(&ready.arguments).map(|name| {
                let facts = Map::from_iter([(name.into(), Value::unknown(shared.clone()))]);
                (self.whose_facts(ready, variables, engine), Then::Facts { facts, cacheable: false })
            }));
            let is_idle = ready.doubt.why.is_some() && !outcome.changed && self.task.changed_when.is_empty();
            let told = ready.doubt.why.as_ref().map(|_| in_doubt(&why));
            let mut came = self.unforeseen(result, why, then, variables, engine);
            came.notice = came.notice.filter(|_| !is_idle);
            came.result.because = told.unwrap_or(came.result.because);
            if came.notice.is_some() && !ready.entry.looks && (is_blind(&outcome) || ready.is_opaque()) {
                self.leave_unseen(ready.delegate.as_ref());
            }
            return came;
        }
        let mut values = values_of(&outcome);
        if let Some(attempt) = ready.attempt {
            values.insert("attempts".into(), Value::from(attempt));
        }
        values.shift_remove("_ansible_no_log");
        if let Some(failure) = &outcome.failure {
            let diagnostic = self.diagnostic(failure);
            result.status = Status::Failed;
            result.because.clone_from(&diagnostic.message);
            result.diagnostic = Some(self.failure_text(&diagnostic, true));
            values.insert(EXCEPTION.into(), Value::str("(traceback unavailable)"));
        }
        let unsure = values.contains_key(UNSURE) || values.contains_key(BROKEN_OFF);
        let refused = is_refusal(&values);
        let overruled = if unsure || refused { Ok(()) } else { self.overruled(&mut result, &mut values, variables, engine) };
        match overruled {
            Ok(()) if refused => self.run.bond.note_refusal(),
            Ok(()) => {}
            Err(Stop::Unknown(why)) => return self.unforeseen(result, why, then, variables, engine),
            // What came of the task stays to be seen beside what is wrong with the condition.
            Err(stop) => {
                let mut came = self.came(stop, variables, engine);
                for (name, value) in values {
                    if !matches!(name.as_str(), Some("failed" | "msg")) {
                        came.note(&name.to_string(), value);
                    }
                }
                return came;
            }
        }
        if result.status == Status::Ok && values.get("skipped") == Some(&Value::Bool(true)) {
            result.status = Status::Skipped;
        }
        let failed = result.status == Status::Failed;
        if !failed && let Some(exception) = values.shift_remove(EXCEPTION) {
            values.insert("failed_when_suppressed_exception".into(), exception);
        }
        if failed
            && !unsure
            && !refused
            && let Some(task) = self.unseen_before(ready)
        {
            let why = format!("as the host is, it fails: {}; but `{task}` was not run, and may change that", result.because);
            return self.unforeseen(result, why, then, variables, engine);
        }
        if failed && !unsure && !refused && self.reads_too_early() {
            let why = format!("as the host is, it fails: {}; but a check makes none of the changes before it", result.because);
            return self.unforeseen(result, why, then, variables, engine);
        }
        if failed && !unsure && !refused {
            result.ignored = self.is_ignored(variables, engine);
        }
        let notice = (result.status == Status::Changed).then_some(Notice::Surely);
        let invocation = values.shift_remove(INVOCATION).or_else(|| ready.invocation.clone());
        let told = values.shift_remove("diff");
        let asked = values.shift_remove("_diff").or_else(|| registered_diff(ready.entry.name, &outcome)).filter(|_| ready.shows_diff);
        let mut registered = values.clone();
        if !failed && outcome.failure.is_some() && result.status != Status::Skipped {
            registered.insert("failed_when_suppressed_exception".into(), Value::str(NO_TRACEBACK));
        }
        if failed {
            registered.entry("exception".into()).or_insert_with(|| Value::str(NO_TRACEBACK));
        }
        if let Some(diff) = told.or(asked) {
            registered.insert("diff".into(), diff);
        }
        let mut register = Value::from(registered);
        let mut then = then;
        if no_log && self.run.settings.check {
            let shared = self.shared("", true);
            register = with_reason(&register, &shared);
            then = then.into_iter().map(|(host, then)| (host, with_reason_in(then, &shared))).collect();
        }
        result.values = values;
        result.values.extend(invocation.map(|invocation| (INVOCATION.into(), invocation)));
        Came { result, register, then: if failed { Vec::new() } else { then }, notice }
    }

    /// Whether what only reads looks, in a check, at a host for which changes are foreseen: they may be what it looks for.
    fn reads_too_early(&self) -> bool {
        let foresees = |host: &mut Host| host.counts.changed + host.counts.unknown > 0;
        self.run.settings.check && self.task.reads.is_some() && self.run.hosts.with(&self.host, foresees)
    }

    /// Adds the host or the group that the task adds, so that the result, of each item too, tells whether that was news.
    fn adds(&self, outcome: &Outcome) -> bool {
        outcome.then.iter().fold(false, |news, then| {
            news | match then {
                Then::AddHost { name, groups, variables } => self.run.site.add_host(name, groups, variables),
                Then::GroupBy { key, parents } => self.run.site.add_to_group(&self.host, key, parents),
                _ => false,
            }
        })
    }

    /// Applies `changed_when` and `failed_when`.
    fn overruled(&self, result: &mut TaskResult, values: &mut Map, variables: &TaskVariables, engine: &SharedEngine) -> Result<(), Stop> {
        let seen = self.with_result(variables, &Value::from(values.clone()));
        if !self.task.failed_when.is_empty() {
            let conditions: Vec<_> = self.task.failed_when.iter().collect();
            let held = self.hold(&conditions, &seen, engine);
            let failed = match held.inspect_err(|stop| note_wrong(values, "failed_when_result", stop))? {
                (Truth::Unknown(why), _) => return Err(Stop::Unknown(why)),
                (truth, _) => truth == Truth::Yes,
            };
            values.insert("failed_when_result".into(), Value::Bool(failed));
            values.insert("failed".into(), Value::Bool(failed));
            if failed && result.status != Status::Failed {
                let diagnostic = self.failed_when();
                result.because.clone_from(&diagnostic.message);
                result.diagnostic = Some(self.failed_when_text(&diagnostic, values));
            }
            let is_changed = values.get("changed") == Some(&Value::Bool(true));
            result.status = if failed {
                Status::Failed
            } else if is_changed {
                Status::Changed
            } else {
                Status::Ok
            };
            if !failed {
                result.diagnostic = None;
            }
        }
        if !self.task.changed_when.is_empty() {
            let conditions: Vec<_> = self.task.changed_when.iter().collect();
            let seen = self.with_result(variables, &Value::from(values.clone()));
            let held = self.hold(&conditions, &seen, engine);
            let changed = match held.inspect_err(|stop| note_wrong(values, "changed_when_result", stop))? {
                (Truth::Unknown(why), _) => return Err(Stop::Unknown(why)),
                (truth, _) => truth == Truth::Yes,
            };
            values.insert("changed".into(), Value::Bool(changed));
            if result.status != Status::Failed {
                result.status = if changed { Status::Changed } else { Status::Ok };
            }
        }
        Ok(())
    }

    /// Returns what came of a host that was lost.
    pub(super) fn lost(&self, ready: &Ready, lost: Lost, variables: &TaskVariables, engine: &SharedEngine) -> Came {
        let ignored = matches!(self.flag(|keywords| keywords.ignore_unreachable.as_ref(), variables, engine), Ok(Some(true)));
        let mut diagnostic = Diagnostic::error(lost.message.clone()).at(self.place_of(None));
        if let Some(hint) = lost.hint {
            diagnostic = diagnostic.hint(hint);
        }
        if lost.reached {
            return self.came(diagnostic.into(), variables, engine);
        }
        let values = Map::from_iter([
            ("changed".into(), Value::Bool(false)),
            ("unreachable".into(), Value::Bool(true)),
            ("msg".into(), Value::str(&lost.message)),
        ]);
        let no_log = self.is_secret(variables, engine);
        let result = TaskResult {
            status: Status::Unreachable,
            because: lost.message,
            diagnostic: Some(self.told(&diagnostic, no_log)),
            ignored,
            check: self.run.settings.check,
            no_log,
            delegated_to: ready.delegate.as_ref().map(ToString::to_string),
            values: values.clone(),
            ..TaskResult::default()
        };
        Came { result, register: Value::from(values), then: Vec::new(), notice: None }
    }

    /// Returns what the run has to do, each with the host it is for where that is not this one.
    fn addressed(
        &self,
        outcome: &Outcome,
        ready: &Ready,
        variables: &TaskVariables,
        engine: &SharedEngine,
    ) -> Vec<(Option<Arc<str>>, Then)> {
        if outcome.then.is_empty() {
            return Vec::new();
        }
        let host = self.whose_facts(ready, variables, engine);
        outcome
            .then
            .iter()
            .map(|then| match then {
                Then::Reconnect => (ready.delegate.clone(), then.clone()),
                _ => (host.clone(), then.clone()),
            })
            .collect()
    }

    /// Returns the host that gets the facts, where that is not this one.
    fn whose_facts(&self, ready: &Ready, variables: &TaskVariables, engine: &SharedEngine) -> Option<Arc<str>> {
        let to_delegate = matches!(self.flag(|keywords| keywords.delegate_facts.as_ref(), variables, engine), Ok(Some(true)));
        ready.delegate.clone().filter(|_| to_delegate)
    }

    /// Keeps the outcome's secrets out of every output.
    fn learn(&self, outcome: &Outcome, no_log: bool) {
        let by_name = outcome.secrets.iter().filter_map(|name| outcome.values.get(name.as_str()));
        let all = TELLING.iter().filter(|_| no_log).filter_map(|name| outcome.values.get(*name));
        for value in by_name {
            self.learn_value(value, 0);
        }
        for value in all {
            self.learn_value(value, LONG_ENOUGH);
        }
        if no_log {
            for then in &outcome.then {
                if let Then::Facts { facts, .. } | Then::Variables(facts) = then {
                    facts.values().for_each(|value| self.learn_value(value, LONG_ENOUGH));
                }
            }
        }
    }

    fn learn_value(&self, value: &Value, shortest: usize) {
        match value {
            Value::Str(text) if text.len() >= shortest => self.run.redactor.learn(text),
            Value::List(items) => items.iter().for_each(|item| self.learn_value(item, shortest)),
            Value::Map(map) => map.values().for_each(|item| self.learn_value(item, shortest)),
            _ => {}
        }
    }
}

/// Keeps what is wrong with a condition where its answer would be.
fn note_wrong(values: &mut Map, name: &str, stop: &Stop) {
    if let Stop::Wrong(diagnostic) | Stop::Within(_, diagnostic) = stop {
        values.insert(name.into(), Value::str(&diagnostic.message));
    }
}

/// What `no_log` hides is masked elsewhere too from this length on: shorter words would blot out half of every output.
const LONG_ENOUGH: usize = 8;

/// Modules that register a list of differences; others register one.
const LISTS_OF_DIFFERENCES: &[&str] = &["blockinfile", "copy", "lineinfile", "template"];

/// Returns what `register` gets as `diff`.
fn registered_diff(module: &str, outcome: &Outcome) -> Option<Value> {
    let one = |difference: &Difference| {
        let texts = [
            ("before_header", &difference.before_header),
            ("after_header", &difference.after_header),
            ("before", &difference.before),
            ("after", &difference.after),
        ];
        Value::map(texts.map(|(name, text)| (name, Value::str(text))))
    };
    if LISTS_OF_DIFFERENCES.contains(&module) {
        return Some(Value::list(outcome.diff.iter().map(one)));
    }
    outcome.diff.first().map(one)
}

/// Returns what `register` gets.
fn values_of(outcome: &Outcome) -> Map {
    let mut values = outcome.values.clone();
    values.insert("changed".into(), Value::Bool(outcome.changed));
    values.insert("failed".into(), Value::Bool(outcome.failure.is_some()));
    if let Some(failure) = &outcome.failure {
        let more = values_of_failure(failure);
        let message = more.get("msg").cloned().unwrap_or_else(|| Value::from(failure.to_string()));
        values.extend(more);
        values.insert("msg".into(), message);
    }
    for (name, lines) in [("stdout", "stdout_lines"), ("stderr", "stderr_lines")] {
        if let Some(Value::Str(text)) = values.get(name)
            && !values.contains_key(lines)
        {
            let split = Value::list(text.lines().map(Value::str));
            values.insert(lines.into(), split);
        }
    }
    if !outcome.warnings.is_empty() {
        values.insert("warnings".into(), Value::from(outcome.warnings.clone()));
    }
    values
}
