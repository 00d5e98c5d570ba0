//! Tests of what a task registered: `is failed`, `is changed`, ...

use crate::value::Value;
use crate::vars::template::live::{Halt, Outcome, fail};
use crate::vars::template::operators;

use super::{Given, Test, carries};

pub(super) const TESTS: &[Test] = &[
    carries("failed", |given| field(given, "failed")),
    carries("failure", |given| field(given, "failed")),
    carries("success", succeeded),
    carries("succeeded", succeeded),
    carries("successful", succeeded),
    carries("changed", changed),
    carries("change", changed),
    carries("skipped", |given| field(given, "skipped")),
    carries("skip", |given| field(given, "skipped")),
    carries("unreachable", |given| field(given, "unreachable")),
    carries("reachable", |given| field(given, "unreachable").map(|unreachable| !unreachable)),
    carries("timedout", timed_out),
    carries("started", |given| asynchronous(given, "started")),
    carries("finished", |given| asynchronous(given, "finished")),
];

fn result<'g>(given: &'g Given<'_, '_>) -> Outcome<&'g crate::value::Map> {
    match &given.subject {
        Value::Map(map) => Ok(map),
        other => fail(format!("the test `{}` takes the registered result of a task, not {}", given.name, other.type_name())),
    }
}

/// Whether a field counts as true; one that is unknown leaves the answer unknown.
fn truth(value: &Value) -> Outcome<bool> {
    match value {
        Value::Unknown(unknown) => Err(Halt::Unknown(unknown.clone())),
        known => Ok(operators::plain_truth(known)),
    }
}

fn field(given: &Given<'_, '_>, name: &str) -> Outcome<bool> {
    result(given)?.get(name).map_or(Ok(false), truth)
}

/// What did not run in the background has both started and finished.
fn asynchronous(given: &Given<'_, '_>, name: &str) -> Outcome<bool> {
    result(given)?.get(name).map_or(Ok(true), truth)
}

fn succeeded(given: &Given<'_, '_>) -> Outcome<bool> {
    field(given, "failed").map(|failed| !failed)
}

fn changed(given: &Given<'_, '_>) -> Outcome<bool> {
    let result = result(given)?;
    if let Some(changed) = result.get("changed") {
        return truth(changed);
    }
    let results = result.get("results").and_then(Value::as_list).unwrap_or_default();
    for result in results {
        if result.get("changed").map_or(Ok(false), truth)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn timed_out(given: &Given<'_, '_>) -> Outcome<bool> {
    match result(given)?.get("timedout") {
        Some(Value::Map(map)) => map.get("period").map_or(Ok(false), truth),
        Some(other) => truth(other),
        None => Ok(false),
    }
}
