//! `windlass drift`: what has changed on hosts since a run left them.

use std::sync::Arc;

use clap::Args;

use crate::cli::keep::{self, Kept};
use crate::cli::playbook::{self, Arguments as Playbooks};
use crate::cli::{ground, report};
use crate::record::account::{place, plural};
use crate::record::drift::{self, Compared, Incomparable};
use crate::record::entry::Step;
use crate::record::{Entry, Folder, Journal, Past};
use crate::report::event::{Event, Listener};
use crate::report::json::status_word;
use crate::report::{Output, Status, fold};
use crate::run::replay;
use crate::source::{Diagnostic, Sources};

/// Flags of `windlass drift`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The run: its id, a part of it, or `last` (the default)
    run: Option<String>,
    /// Compare these hosts only
    #[arg(short, long)]
    limit: Vec<String>,
    /// Compare although the playbooks or inventories have changed since
    #[arg(long)]
    changed_files: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Something has drifted.
const DRIFT: u8 = 10;
/// Nothing has, as far as it can be known, and something cannot be known.
const UNKNOWN: u8 = 11;

/// Tells only what stands in the way of the check: the rest is told as drift.
struct Quiet(Output);

impl Listener for Quiet {
    fn tell(&self, event: &Event) {
        if let Event::Diagnostic { text } = event {
            self.0.line(text);
        }
    }
}

/// Compares hosts with what a run left.
pub fn run(arguments: &Arguments) -> u8 {
    let sources = Sources::default();
    match compared(arguments, &sources) {
        Ok((past, compared)) => {
            let text = if arguments.json { serde_json::to_string_pretty(&compared).unwrap_or_default() } else { told(&past, &compared) };
            report::show(&text);
            match (compared.drifted.is_empty(), compared.unknown.is_empty()) {
                (false, _) => DRIFT,
                (true, false) => UNKNOWN,
                (true, true) => super::OK,
            }
        }
        Err(errors) => {
            super::complain(&sources, &errors);
            super::ERROR
        }
    }
}

fn compared(arguments: &Arguments, sources: &Sources) -> Result<(Past, Compared), Vec<Diagnostic>> {
    let wrong = |error: String| vec![Diagnostic::error(error)];
    let folder = Folder::of_this_user().map_err(wrong)?;
    let past = folder.meant(arguments.run.as_deref()).and_then(|run| Past::read(&folder, &run)).map_err(wrong)?;
    let secret = past.secret(&folder).map_err(wrong)?;
    let mut playbooks = Playbooks::restored(&past.began.arguments, &secret).map_err(wrong)?;
    let home = &past.began.folder;
    std::env::set_current_dir(home).map_err(|error| wrong(format!("the folder `{home}` that the run was started in: {error}")))?;
    playbooks.flags.check = true;
    playbooks.flags.diff = true;
    if !arguments.limit.is_empty() {
        playbooks.flags.limit.clone_from(&arguments.limit);
    }
    let Some(ready) = playbook::read(&playbooks, sources)? else { return Ok((past, Compared::default())) };
    if !arguments.changed_files {
        replay::same_files(&past.began.files, &keep::files(sources)).map_err(|error| vec![error])?;
    }
    let redactor = ready.ground.redactor.clone();
    let (journal, entries) = Journal::told(redactor.clone()).map_err(wrong)?;
    let listener = Arc::new(Quiet(Output::new(Box::new(std::io::stderr()), redactor, false)));
    let prepared = ready.ground.prepared(ready.playbooks, ready.settings, listener, Kept { journal, ..Kept::default() });
    ground::finish(sources, Ok(Some(prepared)));
    let now: Vec<Step> = entries.try_iter().filter_map(|entry| if let Entry::Step(step) = entry { Some(*step) } else { None }).collect();
    let reached: Vec<_> = now.iter().map(|step| step.host.as_str()).collect();
    let is_meant = |step: &&Step| arguments.limit.is_empty() || reached.contains(&step.host.as_str());
    let mut compared = drift::compare(&past.steps().into_iter().filter(is_meant).collect::<Vec<_>>(), &now);
    drift::blame(&mut compared, &folder, &past);
    Ok((past, compared))
}

fn told(past: &Past, compared: &Compared) -> String {
    let mut lines = vec![format!("run {} of {}, held against the hosts as they are", past.began.run, past.began.playbooks.join(" "))];
    if past.is_unfinished() {
        lines.push(format!("that run did not end well ({}): only what it did is compared", past.state()));
    }
    for step in &compared.drifted {
        lines.push(format!("\ndrift  {}  {}  ({})", step.host, step.task, place(&step.key)));
        if step.no_log {
            lines.push("  hidden by no_log".to_owned());
        } else {
            lines.extend(step.changes.iter().map(|change| format!("  a run would {change}")));
        }
        if step.was == Status::Skipped {
            lines.push("  the run skipped it".to_owned());
        }
        let by = step.by.as_deref().unwrap_or("not this windlass: no later run in its state folder touched it");
        lines.push(format!("  who changed it: {by}"));
        for diff in &step.diff {
            lines.extend(crate::change::diff::unified(diff).lines().map(|line| format!("    {line}")));
        }
    }
    if !compared.drifted.is_empty() && !compared.handlers.is_empty() {
        let named: Vec<_> = compared.handlers.iter().map(|(host, name)| format!("{name} on {host}")).collect();
        lines.push(format!("\na run might then notify: {}", named.join(", ")));
    }
    if !compared.unknown.is_empty() {
        lines.push("\nthese steps cannot be compared:".to_owned());
        let mut same: Vec<(&str, &str, Vec<&str>)> = Vec::new();
        for Incomparable { host, task, why } in &compared.unknown {
            match same.iter_mut().find(|(known, because, _)| known == task && because == why) {
                Some((_, _, hosts)) => hosts.push(host),
                None => same.push((task, why, vec![host])),
            }
        }
        lines.extend(same.iter().map(|(task, why, hosts)| format!("  {}  {task}  {why}", fold::hosts(hosts))));
    }
    let verdict = if compared.drifted.is_empty() { "no drift".to_owned() } else { plural(compared.drifted.len(), "step") + " drifted" };
    lines.push(format!("\n{verdict}, {} as left, {} {}", compared.same, compared.unknown.len(), status_word(Status::Unknown)));
    lines.join("\n")
}
