//! The account of a run as JUnit XML: a test suite for each play, a test case for each of its steps.

use std::fmt::Write as _;

use super::account::{Account, Done, is_failure, place};
use crate::report::escape::escape;
use crate::report::event::Status;

/// Returns the account as JUnit XML.
pub fn xml(account: &Account) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let all: Vec<_> = account.steps().collect();
    let _ = writeln!(out, "<testsuites name=\"{}\" {}>", escape(&format!("windlass run {}", account.run)), counts(&all));
    for play in &account.plays {
        let steps: Vec<_> = play.steps.iter().collect();
        let began = steps.iter().map(|done| done.from).min().unwrap_or(account.from);
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" timestamp=\"{}\" hostname=\"{}\" {}>",
            escape(&play.name),
            began.strftime("%Y-%m-%dT%H:%M:%S"),
            escape(&account.who.machine),
            counts(&steps)
        );
        properties(&mut out, account);
        steps.iter().for_each(|done| case(&mut out, done));
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn counts(steps: &[&Done]) -> String {
    let failed = steps.iter().filter(|done| is_failure(done) && done.step.status == Status::Failed).count();
    let lost = steps.iter().filter(|done| is_failure(done) && done.step.status == Status::Unreachable).count();
    let skipped = steps.iter().filter(|done| matches!(done.step.status, Status::Skipped | Status::Unknown)).count();
    let seconds: f64 = steps.iter().map(|done| done.step.seconds).sum();
    format!("tests=\"{}\" failures=\"{failed}\" errors=\"{lost}\" skipped=\"{skipped}\" time=\"{seconds:.3}\"", steps.len())
}

fn properties(out: &mut String, account: &Account) {
    let owed: Vec<_> = account.owed.iter().map(|(host, names)| format!("{host}: {}", names.join(", "))).collect();
    let all = [
        ("run", account.run.clone()),
        ("state", account.state.clone()),
        ("user", account.who.user.clone()),
        ("ticket", account.ticket.clone().unwrap_or_default()),
        ("plan", account.plan.clone().unwrap_or_default()),
        ("handlers owed", owed.join("; ")),
        ("sha256 of the last line of the record", account.hash.clone()),
    ];
    out.push_str("    <properties>\n");
    for (name, value) in all.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(out, "      <property name=\"{name}\" value=\"{}\"/>", escape(value));
    }
    out.push_str("    </properties>\n");
}

fn case(out: &mut String, done: &Done) {
    let step = &done.step;
    let _ = write!(
        out,
        "    <testcase classname=\"{}\" name=\"{}\" file=\"{}\" time=\"{:.3}\">",
        escape(&step.host),
        escape(&step.task),
        escape(place(&step.key)),
        step.seconds
    );
    let because = escape(&step.because);
    let details = escape(step.diagnostic.as_deref().unwrap_or(&step.because));
    match step.status {
        Status::Failed if is_failure(done) => drop(write!(out, "<failure type=\"failed\" message=\"{because}\">{details}</failure>")),
        Status::Unreachable if is_failure(done) => drop(write!(out, "<error type=\"unreachable\" message=\"{because}\">{details}</error>")),
        Status::Skipped => drop(write!(out, "<skipped message=\"{because}\"/>")),
        Status::Unknown => drop(write!(out, "<skipped message=\"unknown: {because}\"/>")),
        _ => {}
    }
    let mut told = Vec::new();
    if matches!(step.status, Status::Failed | Status::Unreachable) && !is_failure(done) {
        told.push(format!("failed, but {}: {}", if step.rescued { "rescued" } else { "ignored" }, step.because));
    }
    told.extend(step.changes.iter().map(|change| format!("changed: {change}")));
    told.extend(step.diff.iter().map(crate::change::diff::unified));
    told.extend(step.warnings.iter().map(|warning| format!("warning: {warning}")));
    told.extend(done.earlier.iter().map(|earlier| format!("earlier, at {}: {:?} {}", earlier.time, earlier.status, earlier.because)));
    if !told.is_empty() {
        let _ = write!(out, "<system-out>{}</system-out>", escape(&told.join("\n")));
    }
    out.push_str("</testcase>\n");
}
