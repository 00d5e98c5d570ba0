//! The account of a run as plain text.

use super::account::{self, Account, Done, clock, folded, is_failure, seconds};
use crate::report::event::Status;
use crate::report::json::status_word;
use crate::report::{fold, recap};

/// Returns the account as text; `whole` with the differences, the recap and all that was said.
pub fn text(account: &Account, whole: bool) -> String {
    let mut lines = head(account);
    let mut task = "";
    for same in folded(account.steps().filter(|done| worth_it(done))) {
        let step = &same.done.step;
        if step.task != task {
            lines.push(format!("{}{}", if step.handler { "handler " } else { "" }, step.task));
            task = &step.task;
        }
        let told: Vec<_> = same.told.lines().collect();
        let (first, rest) = told.split_first().map_or(("", &[][..]), |(first, rest)| (*first, rest));
        lines.push(format!("  {:<12} {}  {first}", status_word(step.status), fold::hosts(&same.hosts)));
        for earlier in &same.done.earlier {
            lines.push(format!("      earlier: {} at {}  {}", status_word(earlier.status), clock(earlier.time), earlier.because));
        }
        if same.done.again {
            lines.push("      its block was broken off: it is done again when the run is resumed".to_owned());
        }
        if whole {
            lines.extend(rest.iter().map(|line| format!("      {line}")));
            lines.extend(step.diagnostic.iter().flat_map(|text| text.lines()).map(|line| format!("      {line}")));
        }
    }
    for unsure in &account.unsure {
        lines.push(format!("  unknown      {}  {} began at {}, and did not end", unsure.host, unsure.key, clock(unsure.time)));
    }
    for said in &account.stopped {
        lines.push(format!("stopped: {}", said.text));
    }
    if whole {
        lines.extend(account.warnings.iter().map(|said| format!("warning: {}", said.text)));
        lines.extend(account.hosts.iter().map(|(host, counts)| format!("{host} : {}", recap::counts(counts))));
    }
    for (host, names) in &account.owed {
        lines.push(format!("owed to {host}: {}", names.join(", ")));
    }
    if account.code != Some(0) {
        lines.push(format!("`windlass resume {}` goes on from here", account.run));
    }
    lines.join("\n")
}

fn worth_it(done: &Done) -> bool {
    !matches!(done.step.status, Status::Ok | Status::Skipped) || is_failure(done) || !done.earlier.is_empty()
}

fn head(account: &Account) -> Vec<String> {
    let mut lines = vec![format!("run {}  {}", account.run, account.state)];
    for (name, text) in facts(account) {
        lines.push(format!("  {name:<10} {text}"));
    }
    lines.push(format!("  {:<10} {}", "did", account.sentence()));
    if account.parts.len() > 1 {
        for part in &account.parts {
            lines.push(format!(
                "  {:<10} {} to {} by {} on {}: {}",
                "part",
                clock(part.from),
                clock(part.to),
                part.who.user,
                part.who.machine,
                part.end
            ));
        }
    }
    lines.push(format!("  {:<10} {} lines, unbroken, sha256 {}", "record", account.lines, account.hash));
    lines
}

/// Returns what is known of the run as a whole: name and text.
pub fn facts(account: &Account) -> Vec<(&'static str, String)> {
    let mut facts = vec![("playbooks", account.playbooks.join(" "))];
    let mut add = |name, text: Option<String>| facts.extend(text.filter(|text| !text.is_empty()).map(|text| (name, text)));
    add("for", account.ticket.clone());
    add("by", Some(format!("{} on {}", account.who.user, account.who.machine)));
    let took = account::seconds(account.to.duration_since(account.from).as_secs_f64());
    add("when", Some(format!("{} to {} ({took})", clock(account.from), clock(account.to))));
    let worked: f64 = account.parts.iter().map(|part| part.to.duration_since(part.from).as_secs_f64()).sum();
    add("at work", (account.parts.len() > 1).then(|| seconds(worked)));
    add("inventory", Some(account.inventories.join(" ")));
    add("limit", Some(account.limit.join(" ")));
    add("plan", account.plan.clone());
    add("undoes", account.undoes.clone());
    add("windlass", Some(account.windlass.clone()));
    facts
}
