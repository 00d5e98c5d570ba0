//! Tests of what a task registered: `is failed`, `is changed`, ...

use crate::value::Value;
use crate::vars::template::live::{Outcome, fail};
use crate::vars::template::operators::plain_truth;

use super::{Given, Test, known};

pub(super) const TESTS: &[Test] = &[
    known("failed", |given| field(given, "failed")),
    known("failure", |given| field(given, "failed")),
    known("success", succeeded),
    known("succeeded", succeeded),
    known("successful", succeeded),
    known("changed", changed),
    known("change", changed),
    known("skipped", |given| field(given, "skipped")),
    known("skip", |given| field(given, "skipped")),
    known("unreachable", |given| field(given, "unreachable")),
    known("reachable", |given| field(given, "unreachable").map(|unreachable| !unreachable)),
    known("timedout", timed_out),
    known("started", |given| field(given, "started")),
    known("finished", |given| {
        result(given)?;
        Ok(given.subject.get("finished").is_none_or(plain_truth))
    }),
];

fn result<'g>(given: &'g Given<'_, '_>) -> Outcome<&'g crate::value::Map> {
    match &given.subject {
        Value::Map(map) => Ok(map),
        other => fail(format!("the test `{}` takes the registered result of a task, not {}", given.name, other.type_name())),
    }
}

fn field(given: &Given<'_, '_>, name: &str) -> Outcome<bool> {
    Ok(result(given)?.get(name).is_some_and(plain_truth))
}

fn succeeded(given: &Given<'_, '_>) -> Outcome<bool> {
    field(given, "failed").map(|failed| !failed)
}

fn changed(given: &Given<'_, '_>) -> Outcome<bool> {
    let result = result(given)?;
    if let Some(changed) = result.get("changed") {
        return Ok(plain_truth(changed));
    }
    let results = result.get("results").and_then(Value::as_list).unwrap_or_default();
    Ok(results.iter().any(|result| result.get("changed").is_some_and(plain_truth)))
}

fn timed_out(given: &Given<'_, '_>) -> Outcome<bool> {
    Ok(match result(given)?.get("timedout") {
        Some(Value::Map(map)) => map.get("period").is_some_and(plain_truth),
        Some(other) => plain_truth(other),
        None => false,
    })
}
