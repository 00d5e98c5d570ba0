//! `windlass runs`: what was run; and `windlass resume`.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::keep::Resumed;
use crate::cli::playbook::Arguments;
use crate::cli::window::WindowFlags;
use crate::record::past::Past;
use crate::record::{Entry, Folder};
use crate::report::{event::Status, fold, json::status_word};
use crate::run::settings::Unsure;
use crate::source::{Diagnostic, Sources};

/// `windlass runs`.
#[derive(Debug, Args)]
pub struct Runs {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the runs, the newest last (the default)
    List,
    /// Show one run: what it did on each host, what it owes, how to go on
    Show {
        /// The run: its id, a part of it, or `last`
        run: Option<String>,
    },
}

/// `windlass resume`.
#[derive(Debug, Args)]
pub struct Resume {
    /// The run: its id, a part of it, or `last` (the default)
    run: Option<String>,
    /// What becomes of a command that broke off in the middle
    #[arg(long, value_enum, default_value = "stop")]
    unsure: Unsure,
    /// Resume although the playbooks or inventories have changed since
    #[arg(long)]
    changed_files: bool,
    /// Take hosts from another run that holds them
    #[arg(long)]
    steal_lease: bool,
    /// Another window than the run had; a daily one stays as it was
    #[command(flatten)]
    window: WindowFlags,
    /// Show more
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// The form of the report
    #[arg(long, value_enum)]
    output: Option<crate::cli::flags::Form>,
}

fn wrong(message: String) -> u8 {
    super::complain(&Sources::default(), &[Diagnostic::error(message)]);
    super::ERROR
}

/// Goes on with a run that broke off.
pub fn resume(command: &Resume) -> u8 {
    let found = Folder::of_this_user().and_then(|folder| {
        let run = folder.meant(command.run.as_deref())?;
        let past = Past::read(&folder, &run)?;
        let arguments = Arguments::restored(&past.began.arguments, &past.secret(&folder)?)?;
        Ok((folder, past, arguments))
    });
    let (folder, past, mut arguments) = match found {
        Ok(found) => found,
        Err(error) => return wrong(error),
    };
    if !past.is_unfinished() {
        super::say(&format!("run {} has ended well: there is nothing to resume", past.began.run));
        return super::OK;
    }
    if let Err(error) = std::env::set_current_dir(&past.began.folder) {
        return wrong(format!("the folder `{}` that the run was started in: {error}", past.began.folder));
    }
    arguments.unsure = command.unsure;
    arguments.steal_lease = command.steal_lease;
    arguments.window.replace_by(&command.window);
    arguments.flags.verbose = arguments.flags.verbose.max(command.verbose);
    if let Some(form) = command.output {
        arguments.flags.output = form;
    }
    let resumed = Resumed { folder, past, changed_files: command.changed_files };
    super::playbook::go_on(&arguments, &resumed)
}

/// Shows what was run.
pub fn run(arguments: &Runs) -> u8 {
    let folder = match Folder::of_this_user() {
        Ok(folder) => folder,
        Err(error) => return wrong(error),
    };
    match &arguments.command {
        None | Some(Command::List) => list(&folder, arguments.json),
        Some(Command::Show { run }) => {
            let past = folder.meant(run.as_deref()).and_then(|run| Past::read(&folder, &run));
            match past {
                Ok(past) if arguments.json => {
                    for line in &past.lines {
                        super::say(&serde_json::to_string(line).unwrap_or_default());
                    }
                    super::OK
                }
                Ok(past) => {
                    super::say(&shown(&past));
                    super::OK
                }
                Err(error) => wrong(error),
            }
        }
    }
}

/// How a run stands, in a word or two.
fn state(past: &Past) -> String {
    match &past.ended {
        None => "broke off".to_owned(),
        Some(ended) => match ended.code {
            0 => "done".to_owned(),
            130 => "interrupted".to_owned(),
            code => format!("ended with code {code}"),
        },
    }
}

fn list(folder: &Folder, json: bool) -> u8 {
    for run in folder.runs() {
        let past = match Past::read(folder, &run) {
            Ok(past) => past,
            Err(error) => {
                super::say(&format!("{run}  {error}"));
                continue;
            }
        };
        let when = past.lines.first().map(|line| line.time.to_string()).unwrap_or_default();
        let playbooks = past.began.playbooks.join(" ");
        if json {
            let line = json!({
                "run": run, "time": when, "user": past.began.who.user, "playbooks": past.began.playbooks, "ticket": past.began.ticket,
                "state": state(&past), "code": past.ended.as_ref().map(|ended| ended.code), "owed": past.owed(),
            });
            super::say(&line.to_string());
        } else {
            let ticket = past.began.ticket.as_ref().map(|ticket| format!("  [{ticket}]")).unwrap_or_default();
            super::say(&format!("{run}  {:<20} {}  {playbooks}{ticket}", state(&past), past.began.who.user));
        }
    }
    super::OK
}

fn shown(past: &Past) -> String {
    let mut lines = vec![
        format!("run {}  {}", past.began.run, state(past)),
        format!("  playbooks  {}", past.began.playbooks.join(" ")),
        format!("  by         {} on {}", past.began.who.user, past.began.who.machine),
    ];
    if let Some(ticket) = &past.began.ticket {
        lines.push(format!("  for        {ticket}"));
    }
    if let (Some(first), Some(last)) = (past.lines.first(), past.lines.last()) {
        lines.push(format!("  from       {} to {}", first.time, last.time));
    }
    lines.push(format!("  record     {} lines, sha256 {}", past.lines.len(), past.hash));
    let mut task = "";
    let steps = past.steps();
    for step in steps.iter().filter(|step| !matches!(step.status, Status::Ok | Status::Skipped)) {
        if step.task != task {
            lines.push(step.task.clone());
            task = &step.task;
        }
        let what = if step.changes.is_empty() { step.because.clone() } else { step.changes.join(", ") };
        lines.push(format!("  {:<12} {}  {what}", status_word(step.status), step.host));
    }
    for line in &past.lines {
        if let Entry::Stopped { why } = &line.entry {
            lines.push(format!("stopped: {why}"));
        }
    }
    let owed = if past.is_unfinished() { past.owed() } else { Default::default() };
    for (host, names) in &owed {
        let host: std::sync::Arc<str> = host.as_str().into();
        lines.push(format!("owed to {}: {}", fold::hosts(&[host]), names.join(", ")));
    }
    if past.is_unfinished() {
        lines.push(format!("`windlass resume {}` goes on from here", past.began.run));
    }
    lines.join("\n")
}
