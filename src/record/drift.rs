//! What has changed on hosts since a run left them: the steps of its record, held against those of a check made now.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use super::entry::Step;
use super::{Folder, Past};
use crate::change::Difference;
use crate::report::event::Status;

/// A record held against a check made now.
#[derive(Debug, Default, Serialize)]
pub struct Compared {
    /// Steps that would change something again.
    pub drifted: Vec<Drifted>,
    /// Steps that cannot be compared, and why.
    pub unknown: Vec<Incomparable>,
    /// Handlers that a run might now notify: host and name.
    pub handlers: Vec<(String, String)>,
    /// How many steps are as they were left.
    pub same: usize,
}

/// A step that would change something again.
#[derive(Debug, Serialize)]
pub struct Drifted {
    /// The host.
    pub host: String,
    /// The task.
    pub task: String,
    /// The step's key, which begins with its place.
    pub key: String,
    /// How it ended in the run.
    pub was: Status,
    /// What it would change.
    pub changes: Vec<String>,
    /// The differences, from how the host is to how the run left it.
    pub diff: Vec<Difference>,
    /// The later run that changed it, where one did.
    pub by: Option<String>,
    /// Nothing of it may be shown.
    pub no_log: bool,
}

/// A step that cannot be compared.
#[derive(Debug, Serialize)]
pub struct Incomparable {
    /// The host.
    pub host: String,
    /// The task.
    pub task: String,
    /// Why.
    pub why: String,
}

/// Holds the steps of a record against those of a check made now. Handlers, with what goes before and after them, count only as
/// what would follow.
pub fn compare(then: &[&Step], now: &[Step]) -> Compared {
    let mut compared = Compared::default();
    let hosts: BTreeSet<&str> = then.iter().map(|step| step.host.as_str()).collect();
    let known: HashMap<(&str, &str), &Step> = then.iter().map(|step| ((step.host.as_str(), step.key.as_str()), *step)).collect();
    let mut met = BTreeSet::new();
    for step in now.iter().filter(|step| hosts.contains(step.host.as_str())) {
        met.insert((step.host.as_str(), step.key.as_str()));
        if step.handler || step.around_handler {
            if step.handler && matches!(step.status, Status::Changed | Status::Unknown) {
                compared.handlers.push((step.host.clone(), step.task.clone()));
            }
            continue;
        }
        let was = known.get(&(step.host.as_str(), step.key.as_str())).map(|step| step.status);
        let mut unknown = |why: String| compared.unknown.push(Incomparable { host: step.host.clone(), task: step.task.clone(), why });
        match (step.status, was) {
            (Status::Changed, None) => unknown("it would change something, and the run did not come to it".to_owned()),
            (Status::Changed, Some(Status::Failed | Status::Unreachable | Status::Unknown)) => {
                unknown("it would change something, and failed in the run".to_owned());
            }
            (Status::Changed, Some(was)) => compared.drifted.push(drifted(step, was)),
            (Status::Unknown, _) => unknown(step.because.clone()),
            (Status::Failed | Status::Unreachable, _) if !step.ignored && !step.rescued => {
                unknown(format!("the check of it fails: {}", step.because));
            }
            _ => compared.same += 1,
        }
    }
    let stands_alone = |step: &Step| !step.handler && !step.around_handler;
    for step in then.iter().filter(|step| stands_alone(step) && matches!(step.status, Status::Ok | Status::Changed)) {
        if !met.contains(&(step.host.as_str(), step.key.as_str())) {
            let why = "the check does not come to it".to_owned();
            compared.unknown.push(Incomparable { host: step.host.clone(), task: step.task.clone(), why });
        }
    }
    there_and_back(&mut compared);
    compared
}

fn drifted(step: &Step, was: Status) -> Drifted {
    Drifted {
        host: step.host.clone(),
        task: step.task.clone(),
        key: step.key.clone(),
        was,
        changes: step.changes.clone(),
        diff: step.diff.clone(),
        by: None,
        no_log: step.no_log,
    }
}

/// Takes out what one step changes and a later one changes back: a run of it would leave the host as it is.
fn there_and_back(compared: &mut Compared) {
    let mut ends: HashMap<(String, String), (String, String, bool)> = HashMap::new();
    for step in &compared.drifted {
        for diff in &step.diff {
            let name = (step.host.clone(), diff.before_header.clone());
            let end = ends.entry(name).or_insert_with(|| (diff.before.clone(), String::new(), true));
            end.1.clone_from(&diff.after);
            end.2 &= diff.note.is_none();
        }
    }
    let is_back = |host: &str, diff: &Difference| {
        let name = (host.to_owned(), diff.before_header.clone());
        ends.get(&name).is_some_and(|(before, after, whole)| *whole && before == after)
    };
    let before = compared.drifted.len();
    compared.drifted.retain_mut(|step| {
        let had = step.diff.len();
        step.diff.retain(|diff| !is_back(&step.host, diff));
        had == 0 || step.diff.len() == had || !step.diff.is_empty() || step.changes.len() > had
    });
    compared.same += before - compared.drifted.len();
}

/// Finds the later runs of the state folder that changed what has drifted.
pub fn blame(compared: &mut Compared, folder: &Folder, past: &Past) {
    let end = past.lines.last().map(|line| line.time).unwrap_or_default();
    for run in folder.runs() {
        if run == past.began.run {
            continue;
        }
        let Ok(other) = Past::read(folder, &run) else { continue };
        if other.lines.last().is_none_or(|line| line.time <= end) {
            continue;
        }
        for changed in other.steps().into_iter().filter(|step| step.status == Status::Changed) {
            for drifted in compared.drifted.iter_mut().filter(|drifted| drifted.host == changed.host) {
                let same = |diff: &Difference| changed.diff.iter().any(|other| other.before_header == diff.before_header);
                let is_it = drifted.diff.iter().any(same) || drifted.changes.iter().any(|change| changed.changes.contains(change));
                if is_it {
                    drifted.by = Some(format!("run {run} by {}", other.began.who.user));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(key: &str, status: Status, change: Option<(&str, &str)>) -> Step {
        let diff = change.map(|(before, after)| Difference {
            before_header: "/etc/motd".into(),
            after_header: "/etc/motd".into(),
            before: before.into(),
            after: after.into(),
            note: None,
        });
        let changes = change.map(|_| "write /etc/motd".to_owned());
        Step {
            host: "h1".into(),
            key: key.into(),
            status,
            changes: changes.into_iter().collect(),
            diff: diff.into_iter().collect(),
            ..Step::default()
        }
    }

    #[test]
    fn what_would_change_again_has_drifted() {
        let then = [step("a", Status::Changed, None), step("b", Status::Ok, None)];
        let now = [step("a", Status::Changed, Some(("by hand", "ours"))), step("b", Status::Ok, None)];
        let compared = compare(&then.iter().collect::<Vec<_>>(), &now);
        assert_eq!(compared.drifted.iter().map(|step| step.key.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!((compared.same, compared.unknown.len()), (1, 0));
    }

    #[test]
    fn what_goes_there_and_back_has_not() {
        let then = [step("off", Status::Changed, None), step("on", Status::Changed, None)];
        let now = [step("off", Status::Changed, Some(("on", "off"))), step("on", Status::Changed, Some(("off", "on")))];
        let compared = compare(&then.iter().collect::<Vec<_>>(), &now);
        assert_eq!((compared.drifted.len(), compared.same), (0, 2));
    }

    #[test]
    fn what_goes_around_a_handler_is_not_missed_where_the_handler_does_not_run() {
        let around = |status| Step { around_handler: true, ..step("hold", status, None) };
        let handler = Step { handler: true, ..step("restart", Status::Changed, None) };
        let then = [around(Status::Changed), handler];
        let compared = compare(&then.iter().collect::<Vec<_>>(), &[]);
        assert_eq!((compared.drifted.len(), compared.unknown.len()), (0, 0));
        let compared = compare(&then.iter().collect::<Vec<_>>(), &[around(Status::Changed)]);
        assert_eq!((compared.drifted.len(), compared.unknown.len()), (0, 0), "it would only follow");
    }

    #[test]
    fn what_is_unknown_or_not_met_is_never_the_same() {
        let then = [step("a", Status::Changed, None), step("b", Status::Ok, None)];
        let now = [step("a", Status::Unknown, None)];
        let compared = compare(&then.iter().collect::<Vec<_>>(), &now);
        assert_eq!((compared.drifted.len(), compared.unknown.len(), compared.same), (0, 2, 0));
    }
}
