//! Takes a plan further: its changes go to the host, or in a check to the overlay. This is the one `if` of check mode.

use super::doubt::{Doubt, HIDDEN, doubted};
use super::kept::Work;
use super::{Change, Done, Failure, Foreseen, Host, Mode, Outcome, Plan, Probe, Then, Thing, apply, diff};
use crate::value::{Map, Value, arguments};
use std::borrow::Cow;

/// Carries a plan out, and says what came of it. `values` are the plan's own; a module's `result` may know better.
pub fn carry_out(host: &mut Host, plan: &Plan, mode: Mode, diff: bool) -> (Vec<Done>, Outcome) {
    host.set_mode(mode);
    let mut outcome = Outcome {
        because: plan.because.clone(),
        values: plan.values.clone(),
        then: plan.then.clone(),
        on_controller: plan.on_controller.clone(),
        warnings: plan.warnings.clone(),
        secrets: plan.secrets.clone(),
        planned: plan.planned.clone(),
        found: plan.found.clone(),
        changed: !plan.on_controller.is_empty(),
        ..Outcome::default()
    };
    if let (Some(doubt), Mode::Check) = (&plan.doubt.why, mode) {
        lose_sight(host, plan, doubt, diff, &mut outcome);
        return (Vec::new(), outcome);
    }
    let mut done = Vec::new();
    for (at, change) in plan.changes.iter().enumerate() {
        let difference = if diff { diff::difference(change, host) } else { None };
        // What is told of it goes on to later tasks, which may not hide it.
        let told = if plan.doubt.hidden { Cow::Owned(change.clone().muted()) } else { Cow::Borrowed(change) };
        let made = if mode == Mode::Check { host.foresee(&told).map(|()| None) } else { noted(host, change).map(Some) };
        match made {
            Ok(None) => outcome.foreseen.push(Foreseen::Change(Box::new(told.into_owned()))),
            Ok(Some(what)) => {
                host.forget(change);
                done.push(what);
            }
            Err(Failure::Unknown { why, .. }) => {
                // Whether it would be made, and so those after it.
                let things = plan.changes.iter().skip(at).flat_map(Change::things);
                things.for_each(|thing| lose(host, thing, shared(plan, &why), &mut outcome));
                outcome.unknown = Some(why);
                return (done, outcome);
            }
            Err(failure) => {
                outcome.failure = Some(failure);
                return (done, outcome);
            }
        }
        outcome.warnings.extend(host.work().and_then(Work::complaint));
        outcome.changed = true;
        outcome.diff.extend(difference);
        outcome.summary.push(diff::summary(change));
    }
    (done, outcome)
}

/// How it begins why something of a host is not known that a task may change.
const MAYBE: &str = "an earlier task may change it: ";

/// Loses sight of all that a plan would change which may not be carried out at all, and says what that would be.
fn lose_sight(host: &mut Host, plan: &Plan, doubt: &str, diff: bool, outcome: &mut Outcome) {
    for change in &plan.changes {
        let difference = if diff { diff::difference(change, host) } else { None };
        change.things().into_iter().for_each(|thing| lose(host, thing, shared(plan, doubt), outcome));
        outcome.changed = true;
        outcome.diff.extend(difference);
        outcome.summary.push(diff::summary(change));
    }
    outcome.changed |= plan.lost.is_some();
    plan.lost.iter().flatten().cloned().for_each(|thing| lose(host, thing, shared(plan, doubt), outcome));
    // Nothing of it can be held to what was approved.
    (outcome.planned, outcome.found) = (None, None);
    outcome.unknown = Some(doubt.to_owned());
}

/// Returns why something is not known, as later tasks may tell it.
fn shared<'a>(plan: &Plan, why: &'a str) -> &'a str {
    if plan.doubt.hidden { HIDDEN } else { why }
}

fn lose(host: &mut Host, thing: Thing, why: &str, outcome: &mut Outcome) {
    // What it would be told by may be lost itself: once is enough.
    let why = if why.starts_with(MAYBE) { why.to_owned() } else { format!("{MAYBE}{why}") };
    let lost = Foreseen::Lost(thing, why);
    // It cannot fail: what cannot be read is not known anyway.
    let _ = host.take_in(&lost);
    outcome.foreseen.push(lost);
}

/// Makes a change. Where the step is worked on for a run, what was there before is noted first.
fn noted(host: &Host, change: &Change) -> Result<Done, Failure> {
    let Some(work) = host.work() else { return apply::apply(host, change) };
    let number = work.before(host, change)?;
    let done = apply::apply(host, change)?;
    work.after(host, change, &done, number);
    Ok(done)
}

/// Runs a module: plans, carries the plan out, and asks the module for its result. `doubt` counts in a check.
pub fn run_module(
    plan: impl Fn(&dyn Probe) -> Result<Plan, Failure>,
    result: impl Fn(&Plan, &[Done], &dyn Probe) -> Result<Map, Failure>,
    host: &mut Host,
    mode: Mode,
    diff: bool,
    doubt: &Doubt,
) -> Outcome {
    host.set_mode(mode);
    let planned = match doubted(plan(host), mode, doubt) {
        Ok(planned) => planned,
        Err(failure) => return Outcome { failure: Some(failure), ..Outcome::default() },
    };
    let (done, mut outcome) = carry_out(host, &planned, mode, diff);
    // In a check with changes there is nothing yet that a result could be read from.
    let finished = mode == Mode::Apply || planned.changes.is_empty();
    if finished && outcome.failure.is_none() && outcome.unknown.is_none() {
        match result(&planned, &done, host) {
            Ok(values) => {
                if planned.reported && mode == Mode::Apply {
                    heed(&values, &mut outcome);
                }
                outcome.values = values;
            }
            Err(Failure::Unknown { why, .. }) if mode == Mode::Check => outcome.unknown = Some(why),
            Err(failure) => {
                if let (true, Failure::Failed { values, .. }) = (planned.reported, &failure) {
                    outcome.changed = values.get("changed").and_then(arguments::to_bool) == Some(true);
                }
                outcome.failure = Some(failure);
            }
        }
    }
    outcome
}

/// Takes from a program's own report whether it changed something, and what facts it found.
fn heed(values: &Map, outcome: &mut Outcome) {
    outcome.changed = values.get("changed").and_then(arguments::to_bool) == Some(true);
    if let Some(Value::Map(facts)) = values.get("ansible_facts") {
        outcome.then.push(Then::Facts { facts: (**facts).clone(), cacheable: false });
    }
    if let Some(Value::List(warnings)) = values.get("warnings") {
        outcome.warnings.extend(warnings.iter().map(ToString::to_string));
    }
}

/// Returns the change's path, for those that are about one.
pub fn path_of(change: &Change) -> Option<&std::path::Path> {
    match change {
        Change::Write { path, .. }
        | Change::Directory { path, .. }
        | Change::Attributes { path, .. }
        | Change::Link { path, .. }
        | Change::Remove { path, .. } => Some(path),
        Change::Run { .. } | Change::Unit { .. } | Change::Http { .. } => None,
    }
}
