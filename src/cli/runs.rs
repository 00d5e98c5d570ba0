//! `windlass runs`: what was run; and `windlass resume`.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::keep::Resumed;
use crate::cli::playbook::Arguments;
use crate::cli::window::WindowFlags;
use crate::record::{Account, Folder, Past, summary};
use crate::run::settings::{Decisions, Unsure};
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
    /// Check that the record of a run was not changed, and say the hash of its last line
    Verify {
        /// The run: its id, a part of it, or `last`
        run: Option<String>,
        /// The hash that the last line has to have
        #[arg(long)]
        hash: Option<String>,
    },
}

/// `windlass resume`.
#[derive(Debug, Args)]
pub struct Resume {
    /// The run: its id, a part of it, or `last` (the default)
    run: Option<String>,
    /// What becomes of a command that broke off in the middle: `stop` (the default), `redo` or `skip`, for one host `web1=redo`;
    /// may be given several times
    #[arg(long, value_name = "[HOST=]WHAT", value_parser = Decisions::one)]
    unsure: Vec<(Option<String>, Unsure)>,
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
    arguments.unsure = Decisions(command.unsure.clone());
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
        Some(Command::Verify { run, hash }) => match verify(&folder, run.as_deref(), hash.as_deref()) {
            Ok(()) => super::OK,
            Err(error) => wrong(error),
        },
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
                    super::report::show(&summary::text(&Account::of(&past), false));
                    super::OK
                }
                Err(error) => wrong(error),
            }
        }
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
                "undoes": past.began.undoes, "state": past.state(), "code": past.ended.as_ref().map(|ended| ended.code), "owed": past.owed(),
            });
            super::say(&line.to_string());
        } else {
            let ticket = past.began.ticket.as_ref().map(|ticket| format!("  [{ticket}]")).unwrap_or_default();
            let what = past.began.undoes.as_ref().map_or(playbooks, |undone| format!("undo of {undone}"));
            super::say(&format!("{run}  {:<20} {}  {what}{ticket}", past.state(), past.began.who.user));
        }
    }
    super::OK
}

/// Says whether a record is whole, and the hash of its last line.
fn verify(folder: &Folder, run: Option<&str>, hash: Option<&str>) -> Result<(), String> {
    let run = folder.meant(run)?;
    let past = Past::read(folder, &run)?;
    let lines = past.lines.len();
    if let Some(hash) = hash.filter(|hash| !hash.eq_ignore_ascii_case(&past.hash)) {
        return match past.lines.iter().position(|line| line.prev.eq_ignore_ascii_case(hash)) {
            Some(at) => {
                Err(format!("the record of run {run} is unbroken, and has gone on since: {hash} is the hash of line {at} of {lines}"))
            }
            None => Err(format!("the record of run {run} is not the one that was meant: its {lines} lines end in {}", past.hash)),
        };
    }
    super::say(&format!("run {run}: {lines} lines, unbroken; the SHA-256 of the last is {}", past.hash));
    if past.ended.is_none() {
        super::say("its end is not recorded: it broke off, or still goes on");
    }
    Ok(())
}
