//! How what a run would do now differs from the plan that was approved, host by host.

use std::collections::{BTreeMap, HashMap};

use crate::change::Difference;
use crate::change::diff::unified;
use crate::record::plan::{Keys, Part, Plan, Step};
use crate::report::event::Status;
use crate::report::fold;
use crate::report::json::status_word;
use crate::value::Map;
use crate::value::secret::Redactor;

/// What differs: for each host, or for the files, a line or more for each difference.
pub(super) type Moved = BTreeMap<String, Vec<String>>;

/// Under this name files come, before all hosts.
const FILES: &str = "";

/// Compares what was approved with how it is now.
pub(super) fn compare(plan: &Plan, files: &BTreeMap<String, String>, now: &[Step], keys: &Keys, redactor: &Redactor) -> Moved {
    let mut moved = Moved::new();
    let mut note = |host: &str, line: String| moved.entry(host.to_owned()).or_default().push(line);
    for (path, hash) in &plan.head.files {
        match files.get(path) {
            None => note(FILES, format!("{path} is not read any more")),
            Some(now) if now != hash => note(FILES, format!("{path} has changed")),
            Some(_) => {}
        }
    }
    for path in files.keys().filter(|path| !plan.head.files.contains_key(*path)) {
        note(FILES, format!("{path} is new"));
    }
    let of_now: HashMap<_, _> = now.iter().map(|step| ((&step.host, &step.key), step)).collect();
    let of_plan: HashMap<_, _> = plan.steps.iter().map(|step| ((&step.host, &step.key), step)).collect();
    for step in &plan.steps {
        match of_now.get(&(&step.host, &step.key)) {
            None => note(&step.host, told(step, Some(step), None, &[])),
            Some(other) => {
                let why = differences(step, other, keys);
                if !why.is_empty() {
                    note(&step.host, told(step, Some(step), Some(other), &why) + &state(step, other, redactor));
                }
            }
        }
    }
    for step in now.iter().filter(|step| !of_plan.contains_key(&(&step.host, &step.key))) {
        note(&step.host, told(step, None, Some(step), &[]));
    }
    moved
}

/// Returns what is told of all differences.
pub(super) fn text(moved: &Moved) -> String {
    let hosts = moved.keys().filter(|host| *host != FILES).count();
    let files = if moved.contains_key(FILES) { "its files have" } else { "something has" };
    let on = if hosts == 0 { String::new() } else { format!(", on {hosts} {}", if hosts == 1 { "host" } else { "hosts" }) };
    let mut lines = vec![format!("the plan is refused: {files} moved since it was made{on}; nothing was changed")];
    for (hosts, differences) in together(moved) {
        lines.push(format!("DRIFT  {}", if hosts == [FILES] { "files".to_owned() } else { fold::hosts(&hosts) }));
        lines.extend(differences.iter().flat_map(|text| text.lines().map(|line| format!("  {line}"))));
    }
    lines.push("make a new plan with `windlass plan`, and have it approved".to_owned());
    lines.join("\n")
}

/// Returns what is told where nothing is known to have moved, but hosts cannot be reached.
pub(super) fn unreachable(moved: &Moved, now: &[Step]) -> Option<String> {
    let lost = |step: &&Step| step.status == Status::Unreachable;
    let why: BTreeMap<_, _> = now.iter().filter(lost).map(|step| (step.host.as_str(), step.because.as_str())).collect();
    if moved.is_empty() || !moved.keys().all(|host| why.contains_key(host.as_str())) {
        return None;
    }
    let hosts: Vec<_> = why.keys().collect();
    let mut lines = vec![format!("the plan is not begun, as {} cannot be reached; nothing was changed", fold::hosts(&hosts))];
    lines.extend(why.values().map(|why| format!("  {why}")));
    lines.push("apply it again when they can be; a plan for the others alone is made with `--limit`".to_owned());
    Some(lines.join("\n"))
}

/// Returns the hosts with the same differences, and these.
fn together(moved: &Moved) -> Vec<(Vec<&str>, &Vec<String>)> {
    let mut all: Vec<(Vec<&str>, &Vec<String>)> = Vec::new();
    for (host, differences) in moved {
        match all.iter_mut().find(|(hosts, known)| *known == differences && *hosts != [FILES]) {
            Some((hosts, _)) => hosts.push(host),
            None => all.push((vec![host], differences)),
        }
    }
    all
}

fn told(step: &Step, approved: Option<&Step>, now: Option<&Step>, why: &[String]) -> String {
    let state = |step: Option<&Step>| match step {
        None => "not done at all".to_owned(),
        Some(step) => {
            let what = if step.changes.is_empty() { step.because.clone() } else { step.changes.join(", ") };
            format!("{}  {what}", status_word(step.status))
        }
    };
    let why = if why.is_empty() { String::new() } else { format!("\n  {}", why.join("; ")) };
    format!("{} ({}){why}\n  approved: {}\n  now:      {}", step.task, step.place, state(approved).trim_end(), state(now).trim_end())
}

/// Returns how what a step would change differs from what it was when the plan was approved.
fn state(approved: &Step, now: &Step, redactor: &Redactor) -> String {
    let mut text = String::new();
    for found in &now.diff {
        let was = approved.diff.iter().find(|was| was.before_header == found.before_header);
        let difference = match was {
            // What it would do was not approved at all.
            None => found.clone(),
            // The plan has its texts masked.
            Some(was) if found.note.is_none() && was.note.is_none() => Difference {
                before_header: format!("{} when the plan was approved", was.before_header),
                after_header: format!("{} now", was.before_header),
                before: was.before.clone(),
                after: redactor.mask(&found.before),
                note: None,
            },
            Some(_) => continue,
        };
        text.push_str(&unified(&difference));
    }
    text.lines().map(|line| format!("\n    {line}")).collect()
}

fn differences(approved: &Step, now: &Step, keys: &Keys) -> Vec<String> {
    let mut why = Vec::new();
    if approved.status != now.status {
        why.push("it comes to something else".to_owned());
    }
    if approved.unknown.is_some() != now.unknown.is_some() {
        why.push("what is known of it is something else".to_owned());
    }
    let of_now: HashMap<_, _> = now.parts.iter().map(|part| (&part.part, part)).collect();
    for part in &approved.parts {
        match of_now.get(&part.part) {
            None => why.push(format!("{} is gone", item(part))),
            Some(other) if part.arguments != other.arguments => {
                why.push(format!("{} is given other {}", item(part), names(part, other, keys)))
            }
            Some(other) if part.changes != other.changes => {
                why.push(format!("{} would make other changes, or from another state", item(part)))
            }
            Some(other) if part.found != other.found => why.push(format!("what {} would change is another", item(part))),
            Some(other) if part.skipped != other.skipped => why.push(format!("the condition of {} comes to something else", item(part))),
            Some(_) => {}
        }
    }
    let is_new = |part: &&Part| !approved.parts.iter().any(|known| known.part == part.part);
    why.extend(now.parts.iter().filter(is_new).map(|part| format!("{} is new", item(part))));
    why
}

fn item(part: &Part) -> String {
    match part.part.strip_prefix("/item") {
        None => "it".to_owned(),
        Some(number) => format!("item {number} of its loop"),
    }
}

/// What a part is given, as it was sealed: module, arguments, environment, timeout.
type Described = (String, Map, Vec<(String, String)>, Option<u64>);

/// Names the arguments that differ; never their values, which may be secret.
fn names(approved: &Part, now: &Part, keys: &Keys) -> String {
    let open = |part: &Part| -> Option<Described> {
        let plain = keys.seal.open(part.sealed.as_deref()?).ok()?;
        postcard::take_from_bytes::<Described>(&plain).ok().map(|(described, _)| described)
    };
    let (Some(before), Some(after)) = (open(approved), open(now)) else { return "arguments: they are not known in both".to_owned() };
    let mut names: Vec<String> = before
        .1
        .keys()
        .chain(after.1.keys())
        .filter(|name| before.1.get(*name) != after.1.get(*name))
        .map(|name| format!("`{name}`"))
        .collect();
    names.sort();
    names.dedup();
    if before.2 != after.2 {
        names.push("environment".to_owned());
    }
    if names.is_empty() { "circumstances: user, host or timeout".to_owned() } else { format!("arguments: {}", names.join(", ")) }
}
