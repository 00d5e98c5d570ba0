//! What a check cannot know: how such a result reads, and what later tasks may tell of it.

use std::sync::Arc;

use crate::change::doubt::HIDDEN;
use crate::change::{Change, Failure, Foreseen, Outcome, Then, Thing};
use crate::load::playbook::Action;
use crate::modules::{self, Entry, Runs};
use crate::report::event::{Status, TaskResult};
use crate::run::controller::SharedEngine;
use crate::run::host::Notice;
use crate::run::result::Came;
use crate::run::scope::TaskVariables;
use crate::run::step::{Ready, Step};
use crate::value::{Map, Value};
use crate::vars::Truth;

impl Step {
    /// Makes unknown what a check did not send to any host, and returns what `register` gets. `told` is `why` as the report has it.
    pub(super) fn unseen(&self, result: &mut TaskResult, told: String, why: String) -> Value {
        result.status = Status::Unknown;
        result.because = told;
        if self.changes_hosts() {
            self.leave_unseen(None);
        }
        Value::unknown(self.shared(&why, result.no_log))
    }

    /// Returns why something is not known as later tasks may tell it, which need not hide what this one hides.
    pub(super) fn shared(&self, why: &str, no_log: bool) -> String {
        if no_log { format!("what came of `{}` is {HIDDEN}", self.name) } else { why.to_owned() }
    }

    /// Notes that a check does not know all that this task changes.
    pub(super) fn leave_unseen(&self, delegate: Option<&Arc<str>>) {
        if self.run.settings.check {
            self.run.hosts.with(delegate.unwrap_or(&self.host), |host| host.unseen = Some(self.name.clone()));
        }
    }

    /// Whether the task may change hosts: it is an include, or its module does more than look.
    pub(super) fn changes_hosts(&self) -> bool {
        let Action::Module { name, .. } = &self.task.action else { return true };
        let looks = |entry: &Entry| entry.looks || matches!(entry.name, "wait_for" | "wait_for_connection");
        modules::find(name).is_none_or(|entry| entry.runs != Runs::WithoutHost && !looks(entry))
    }

    /// Returns the task that a check did not run, and whose program may keep this one from failing.
    pub(super) fn unseen_before(&self, ready: &Ready) -> Option<String> {
        // What fails without a look at anything fails in any case.
        let is_certain = ready.entry.name == "fail" && self.frame.all(&self.task, |keywords| &keywords.when).is_empty();
        let host = ready.delegate.as_ref().unwrap_or(&self.host);
        if is_certain || !self.run.settings.check { None } else { self.run.hosts.with(host, |host| host.unseen.clone()) }
    }

    /// Returns what came of a task that a check cannot foresee. `changed_when` may still tell whether it would change something.
    pub(super) fn unforeseen(
        &self,
        mut result: TaskResult,
        why: String,
        then: Vec<(Option<Arc<str>>, Then)>,
        variables: &TaskVariables,
        engine: &SharedEngine,
    ) -> Came {
        let register = Value::unknown(self.shared(&why, result.no_log));
        let seen = self.with_result(variables, &register);
        let conditions: Vec<_> = self.task.changed_when.iter().collect();
        let changed = if conditions.is_empty() { None } else { self.hold(&conditions, &seen, engine).ok() };
        let notice = match changed {
            Some((Truth::No, _)) => None,
            Some((Truth::Yes, _)) => Some(Notice::Surely),
            _ => Some(Notice::Perhaps),
        };
        result.status = Status::Unknown;
        result.because = why;
        result.diagnostic = None;
        Came { result, register, then, notice }
    }
}

/// Why an outcome is not known.
pub(super) fn unknown(outcome: &Outcome) -> Option<String> {
    match (&outcome.unknown, &outcome.failure) {
        (Some(why), _) | (None, Some(Failure::Unknown { why, .. })) => Some(why.clone()),
        _ => opaque(outcome),
    }
}

/// Why what a program does is not known: in a check one would be run, and nothing is said of what it does.
pub(super) fn opaque(outcome: &Outcome) -> Option<String> {
    let mut told = outcome.changes_foreseen().zip(&outcome.summary);
    let opaque = told.find(|(change, _)| matches!(change, Change::Run { effects, .. } if effects.is_empty()));
    opaque.map(|(_, summary)| format!("would {summary}"))
}

/// Says that a check does not know whether a task is done.
pub(super) fn in_doubt(why: &str) -> String {
    format!("whether it is done is not known: {why}")
}

/// Whether something may be changed that nobody can name.
pub(super) fn is_blind(outcome: &Outcome) -> bool {
    opaque(outcome).is_some() || outcome.foreseen.iter().any(|foreseen| matches!(foreseen, Foreseen::Lost(Thing::Unnamed, _)))
}

/// Returns a value in which `why` is the reason of all that is unknown.
pub(super) fn with_reason(value: &Value, why: &str) -> Value {
    match value {
        Value::Unknown(_) => Value::unknown(why),
        Value::List(items) => Value::list(items.iter().map(|item| with_reason(item, why))),
        Value::Map(map) => Value::from(map.iter().map(|(name, value)| (name.clone(), with_reason(value, why))).collect::<Map>()),
        other => other.clone(),
    }
}

/// As [`with_reason`], in facts and variables.
pub(super) fn with_reason_in(then: Then, why: &str) -> Then {
    let all = |map: Map| map.iter().map(|(name, value)| (name.clone(), with_reason(value, why))).collect();
    match then {
        Then::Facts { facts, cacheable } => Then::Facts { facts: all(facts), cacheable },
        Then::Variables(variables) => Then::Variables(all(variables)),
        other => other,
    }
}

/// Returns what the run has to do after a task that may not run: to forget what it knew of facts and variables.
pub(super) fn not_known(then: Vec<(Option<Arc<str>>, Then)>, why: &str) -> Vec<(Option<Arc<str>>, Then)> {
    let unknown = |map: Map| map.into_keys().map(|name| (name, Value::unknown(why))).collect::<Map>();
    let not_known = |(host, then)| match then {
        Then::Facts { facts, .. } => Some((host, Then::Facts { facts: unknown(facts), cacheable: false })),
        Then::Variables(variables) => Some((host, Then::Variables(unknown(variables)))),
        _ => None,
    };
    then.into_iter().filter_map(not_known).collect()
}
