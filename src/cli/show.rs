//! `windlass show`: a plan as a person reads it before it is approved, or as a program does.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::change::diff::unified;
use crate::cli::show_html;
use crate::record::plan::{Plan, Step};
use crate::report::event::Status;
use crate::report::json::status_word;
use crate::report::output::{Colour, Output};
use crate::report::{fold, terminal};
use crate::source::{Diagnostic, Sources};
use crate::value::secret::Redactor;

/// Flags of `windlass show`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The plan
    file: PathBuf,
    /// Print JSON
    #[arg(long, conflicts_with = "html")]
    json: bool,
    /// Print one page of HTML that needs nothing else
    #[arg(long)]
    html: bool,
}

/// Shows a plan.
pub fn run(arguments: &Arguments) -> u8 {
    let plan = match Plan::read(&arguments.file) {
        Ok(plan) => plan,
        Err(error) => {
            super::complain(&Sources::default(), &[Diagnostic::error(error)]);
            return super::ERROR;
        }
    };
    if arguments.json {
        super::say(&as_json(&plan).to_string());
    } else if arguments.html {
        super::say(&show_html::page(&plan));
    } else {
        let colour = super::colour(std::io::stdout().is_terminal());
        // Secrets were masked when the plan was written.
        as_text(&plan, &Output::new(Box::new(std::io::stdout()), Redactor::default(), colour));
    }
    super::OK
}

/// A task of the plan.
pub(super) struct Shown<'a> {
    /// Its step on the first host.
    pub(super) first: &'a Step,
    /// What it comes to, each with the hosts on which it does.
    pub(super) rows: Vec<(&'a Step, Vec<&'a str>)>,
}

/// Returns the tasks of a plan in order, hosts folded on which it comes to the same.
pub(super) fn tasks(plan: &Plan) -> Vec<Shown<'_>> {
    let mut tasks: Vec<Shown<'_>> = Vec::new();
    for step in &plan.steps {
        if tasks.last().is_none_or(|task| task.first.key != step.key) {
            tasks.push(Shown { first: step, rows: Vec::new() });
        }
        let Some(task) = tasks.last_mut() else { continue };
        match task.rows.iter_mut().find(|(other, _)| is_alike(other, step)) {
            Some((_, hosts)) => hosts.push(&step.host),
            None => task.rows.push((step, vec![&step.host])),
        }
    }
    tasks
}

fn is_alike(a: &Step, b: &Step) -> bool {
    let seen = |step: &Step| (step.status, step.unknown.clone(), step.changes.clone(), step.delegated_to.clone(), step.reversible);
    let is_quiet = matches!(a.status, Status::Ok | Status::Skipped) && a.changes.is_empty();
    seen(a) == seen(b) && a.diff == b.diff && (is_quiet || a.because == b.because)
}

/// What the plan comes to, in numbers.
pub(super) struct Counts {
    pub(super) changed: usize,
    pub(super) ok: usize,
    pub(super) skipped: usize,
    pub(super) unknown: usize,
    pub(super) hosts: usize,
}

pub(super) fn counts(plan: &Plan) -> Counts {
    let of = |status: Status| plan.steps.iter().filter(|step| step.status == status).count();
    let mut hosts: Vec<_> = plan.steps.iter().map(|step| &step.host).collect();
    hosts.sort();
    hosts.dedup();
    Counts {
        changed: of(Status::Changed),
        ok: of(Status::Ok),
        skipped: of(Status::Skipped),
        unknown: plan.steps.iter().filter(|step| step.unknown.is_some()).count(),
        hosts: hosts.len(),
    }
}

/// Returns the facts about a plan, each with its name.
pub(super) fn facts(plan: &Plan) -> Vec<(&'static str, String)> {
    let head = &plan.head;
    let made =
        format!("{} by {} on {}, windlass {}", head.made.strftime("%Y-%m-%d %H:%M:%S UTC"), head.who.user, head.who.machine, head.windlass);
    let mut facts = vec![("playbooks", head.playbooks.join(" "))];
    // What keeps a plan from being one of all that the playbooks do.
    let said = |name: &str, of: &serde_json::Value| {
        let words = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let items = of.get(name).and_then(serde_json::Value::as_array).filter(|items| !items.is_empty());
        items.map(|items| items.iter().map(words).collect::<Vec<_>>().join(", "))
    };
    let flags = head.arguments.get("flags").unwrap_or(&serde_json::Value::Null);
    for (name, of, told) in [
        ("inventory", flags, "inventory"),
        ("limit", flags, "limit"),
        ("tags", &head.arguments, "tags"),
        ("skip_tags", &head.arguments, "without"),
    ] {
        facts.extend(said(name, of).map(|text| (told, text)));
    }
    facts.push(("made", made));
    facts.extend(head.ticket.clone().map(|ticket| ("for", ticket)));
    facts.push(("sha256", plan.digest.clone()));
    facts.push(("signed by", plan.signed_by.clone().unwrap_or_else(|| "nobody".to_owned())));
    facts
}

/// What is told of a step besides its status.
pub(super) fn what(step: &Step) -> String {
    match (&step.unknown, step.changes.as_slice()) {
        (Some(why), _) => why.clone(),
        (None, []) => step.because.clone(),
        (None, changes) => changes.join(", "),
    }
}

/// The word for what a step comes to; one whose arguments are not known is unknown, whatever it would do.
pub(super) fn word(step: &Step) -> &'static str {
    match step.status {
        _ if step.unknown.is_some() => "unknown",
        Status::Changed => "would change",
        status => status_word(status),
    }
}

/// Returns what would be done and cannot be taken back, a line for each task.
pub(super) fn irreversible(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for task in tasks(plan) {
        let hosts: Vec<&str> = task
            .rows
            .iter()
            .filter(|(step, _)| !step.reversible && (step.status == Status::Changed || step.unknown.is_some()))
            .flat_map(|(_, hosts)| hosts.iter().copied())
            .collect();
        if !hosts.is_empty() {
            lines.push(format!("{} on {}", task.first.task, fold::hosts(&hosts)));
        }
    }
    lines
}

/// Returns what could not be predicted, a line for each task.
pub(super) fn unknown(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for task in tasks(plan) {
        let rows = task.rows.iter().filter(|(step, _)| step.unknown.is_some());
        let hosts: Vec<&str> = rows.flat_map(|(_, hosts)| hosts.iter().copied()).collect();
        if !hosts.is_empty() {
            lines.push(format!("{} on {}", task.first.task, fold::hosts(&hosts)));
        }
    }
    lines
}

pub(super) fn sentence(counts: &Counts) -> String {
    let Counts { changed, ok, skipped, unknown, hosts } = counts;
    let many = |count: &usize, word: &str| format!("{count} {word}{}", if *count == 1 { "" } else { "s" });
    format!("{} of {} would change something; {ok} ok, {skipped} skipped, {unknown} unknown", many(changed, "step"), many(hosts, "host"))
}

fn as_text(plan: &Plan, out: &Output) {
    for (name, value) in facts(plan) {
        out.line(&format!("{name:<10} {value}"));
    }
    for task in tasks(plan) {
        out.line("");
        let kind = if task.first.handler { "HANDLER" } else { "TASK" };
        let place = out.paint(Colour::Dim, &format!("{}  {}", task.first.module, task.first.place));
        out.line(&format!("{}  {place}", out.paint(Colour::Bold, &format!("{kind} {}", task.first.task))));
        for (step, hosts) in &task.rows {
            let colour = match word(step) {
                "would change" => Colour::Yellow,
                "unknown" => Colour::Magenta,
                "ok" => Colour::Green,
                _ => Colour::Cyan,
            };
            let on = step.delegated_to.as_ref().map(|other| format!(" -> {other}")).unwrap_or_default();
            out.line(&format!("  {} {}{on}  {}", out.paint(colour, &format!("{:<12}", word(step))), fold::hosts(hosts), what(step)));
            for line in step.diff.iter().map(unified).collect::<String>().lines() {
                out.line(&format!("    {}", terminal::diff_line(out, line)));
            }
        }
    }
    out.line("");
    out.line(&sentence(&counts(plan)));
    for (what, lines) in [("unknown, to be allowed with --allow-unknown", unknown(plan)), ("cannot be undone", irreversible(plan))] {
        if !lines.is_empty() {
            out.line(&format!("{what}:"));
            lines.iter().for_each(|line| out.line(&format!("  {line}")));
        }
    }
}

fn as_json(plan: &Plan) -> serde_json::Value {
    let mut head = json!(plan.head);
    let mut steps = json!(plan.steps);
    // What is sealed is of no use to whoever reads.
    if let Some(head) = head.as_object_mut() {
        head.remove("key");
        head.remove("sealed");
    }
    let parts = steps.as_array_mut().into_iter().flatten().filter_map(|step| step.get_mut("parts")?.as_array_mut());
    for part in parts.flatten().filter_map(serde_json::Value::as_object_mut) {
        part.remove("sealed");
    }
    json!({ "plan": head, "steps": steps, "sha256": plan.digest, "signed_by": plan.signed_by })
}
