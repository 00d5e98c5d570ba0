//! `windlass undo`: takes back what a run changed, as far as its hosts kept what was there before.

use std::collections::{BTreeMap, HashSet};
use std::io::IsTerminal as _;
use std::sync::Arc;

use clap::Args;

use crate::agent::protocol::RunIdentity;
use crate::change::diff::unified;
use crate::change::kept::{MOST_BYTES, MOST_DAYS, OPAQUE, Past as Change};
use crate::cli::hosts::Reach;
use crate::cli::person::Person;
use crate::record::entry::{self, Began, Ended, SCHEMA, Step, Who};
use crate::record::past::{Past, is_part_of};
use crate::record::{Entry, Folder, Journal};
use crate::report::event::{Event, Listener, Status};
use crate::report::fold;
use crate::report::output::{Colour, Output};
use crate::report::terminal::diff_line;
use crate::run::Asker;
use crate::run::hands::{Hands, Seat};
use crate::run::here::Here;
use crate::run::undo::{Machine, Order, Way, foresee, machines, undo_machine};
use crate::source::{Diagnostic, Sources};
use crate::value::secret::Redactor;

/// `windlass undo`.
#[derive(Debug, Args)]
pub struct Undo {
    /// The run: its id, a part of it, or `last` (the default): the last one that is no undo itself
    run: Option<String>,
    /// Undo on these hosts only
    #[arg(short, long, value_delimiter = ',')]
    limit: Vec<String>,
    /// Show the way back and change nothing
    #[arg(short = 'C', long)]
    check: bool,
    /// Show the differences
    #[arg(short = 'D', long)]
    diff: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Take hosts from another run that holds them
    #[arg(long)]
    steal_lease: bool,
}

/// A run that can be undone.
struct Found {
    folder: Folder,
    past: Past,
    order: Order,
    machines: Vec<Machine>,
    redactor: Redactor,
    output: Output,
}

fn wrong(message: String, hint: Option<&str>) -> u8 {
    let mut diagnostic = Diagnostic::error(message);
    if let Some(hint) = hint {
        diagnostic = diagnostic.hint(hint);
    }
    super::complain(&Sources::default(), &[diagnostic]);
    super::ERROR
}

/// Takes back what a run changed.
pub fn run(arguments: &Undo) -> u8 {
    let found = match find(arguments) {
        Ok(found) => found,
        Err(error) => return wrong(error, None),
    };
    let Ok(runtime) = tokio::runtime::Runtime::new() else { return wrong("no threads can be started".to_owned(), None) };
    let code = runtime.block_on(found.undo(arguments));
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    code
}

fn find(arguments: &Undo) -> Result<Found, String> {
    let folder = Folder::of_this_user()?;
    // The last run that is none of an undo, where none is named.
    let is_no_undo = |run: &&String| Past::beginning(&folder, run).is_none_or(|began| began.undoes.is_none());
    let last = || folder.runs().iter().rev().find(is_no_undo).cloned();
    let named = arguments.run.clone().filter(|run| run != "last").or_else(last);
    let run = folder.meant(named.as_deref())?;
    let past = Past::read(&folder, &run)?;
    let key = past.key(&folder)?;
    let (mut seats, redactor) = (Vec::new(), Redactor::default());
    past.teach(&folder, &redactor)?;
    for line in &past.lines {
        if let Entry::Seat { sealed, .. } = &line.entry {
            let seat: Seat = postcard::from_bytes(&key.open(sealed)?).map_err(|_| format!("the journal of run {run} is damaged"))?;
            let passwords = [&seat.target.password, &seat.target.key_passphrase];
            let become_password = seat.r#become.as_ref().and_then(|it| it.password.as_ref());
            passwords.into_iter().flatten().chain(become_password).for_each(|secret| redactor.learn(secret.reveal()));
            seats.push(seat);
        }
    }
    let mut machines = machines(seats);
    let is_wanted = |name: &String| arguments.limit.is_empty() || arguments.limit.contains(name);
    for host in &arguments.limit {
        if !machines.iter().any(|machine| machine.names.contains(host)) {
            return Err(format!("run {run} changed nothing on a host `{host}`"));
        }
    }
    machines.retain(|machine| machine.names.iter().any(is_wanted));
    let output = Output::new(Box::new(std::io::stdout()), redactor.clone(), super::colour(std::io::stdout().is_terminal()));
    Ok(Found { order: Order { run, key: *key.reveal(), diff: arguments.diff }, folder, past, machines, redactor, output })
}

impl Found {
    async fn undo(&self, arguments: &Undo) -> u8 {
        let run = &self.order.run;
        if self.machines.is_empty() {
            super::say(&format!("run {run} changed nothing on any host"));
            return super::OK;
        }
        let mut ways = Vec::new();
        let hands = Here::new(Arc::new(Reach::new(Arc::new(Warnings))), None);
        for machine in self.machines.iter().rev() {
            ways.push((foresee(&hands, &self.order, machine, &|change| is_meant(arguments, machine, change)).await, machine));
        }
        hands.farewell().await;
        // The host that was changed last goes first.
        ways.sort_by(|(a, _), (b, _)| b.newest().total_cmp(&a.newest()));
        let lost: Vec<_> = ways.iter().map(|(way, machine)| self.lost(arguments, way, machine, &ways)).collect();
        self.show(&ways, &lost);
        let refused: Vec<_> = ways.iter().filter(|(way, _)| way.refused.is_some()).map(|(way, _)| way.host.clone()).collect();
        ways.retain(|(way, _)| way.is_needed());
        let is_all = refused.is_empty() && lost.iter().flatten().all(|step| is_program(step));
        let code = if is_all { super::OK } else { super::FAILED_HOSTS };
        if !refused.is_empty() {
            self.output
                .line(&format!("{}: nothing is taken back there; see to what is refused, then undo the run again", fold::hosts(&refused)));
        }
        if ways.is_empty() {
            super::say("nothing is to be undone");
            return code;
        }
        if arguments.check {
            return code;
        }
        if !arguments.yes {
            match Person.ask(&format!("Undo this on {} host(s)? Type yes: ", ways.len()), true).as_deref() {
                Some("yes" | "y") => {}
                Some(_) => {
                    super::say("nothing was changed");
                    return super::ERROR;
                }
                None => {
                    return wrong(
                        "nobody can be asked: this is no terminal".to_owned(),
                        Some("--yes undoes without asking, --check only shows"),
                    );
                }
            }
        }
        match self.journal() {
            Ok(journal) => self.go(arguments, &ways, &journal, code).await,
            Err(error) => wrong(format!("no journal can be kept of the undo: {error}"), None),
        }
    }

    /// Goes the ways that were foreseen.
    async fn go(&self, arguments: &Undo, ways: &[(Way, &Machine)], journal: &Journal, code: u8) -> u8 {
        let reach = Reach::new(Arc::new(Warnings));
        let identity = self.identity(journal, arguments);
        if let Some(identity) = &identity {
            reach.work_for(identity.clone());
        }
        let hands = Here::new(Arc::new(reach), identity.as_ref());
        let mut worst = code;
        for (way, machine) in ways {
            let mut heard = |change: &Change, outcome: &crate::change::Outcome| {
                journal.write(&Entry::Step(Box::new(self.noted(&way.host, change, outcome))));
            };
            match undo_machine(&hands, &self.order, way, machine, &mut heard).await {
                Ok(()) => self.output.line(&format!("{}: undone", way.host)),
                Err(why) => {
                    self.output.line(&format!("{}: stopped: {why}", way.host));
                    worst = super::FAILED_HOSTS;
                }
            }
            let _ = journal.settle().await;
        }
        hands.farewell().await;
        journal.write(&Entry::Ended(Box::new(Ended { code: worst, ..Ended::default() })));
        let _ = journal.settle().await;
        worst
    }

    /// Begins a journal of the undo itself.
    fn journal(&self) -> Result<Journal, String> {
        let began = Began {
            schema: SCHEMA,
            windlass: env!("CARGO_PKG_VERSION").to_owned(),
            who: Who::me(),
            folder: std::env::current_dir().unwrap_or_default().display().to_string(),
            playbooks: self.past.began.playbooks.clone(),
            undoes: Some(self.order.run.clone()),
            ..Began::default()
        };
        Journal::begin(&self.folder, began, &serde_json::Value::Null, self.redactor.clone())
    }

    fn identity(&self, journal: &Journal, arguments: &Undo) -> Option<RunIdentity> {
        let who = Who::me();
        Some(RunIdentity {
            id: journal.run()?.to_owned(),
            owner: format!("{}@{}", who.user, who.machine),
            since: jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            what: format!("undo of {}", self.order.run),
            steal: arguments.steal_lease,
            part: (0, rand::random()),
            key: *journal.key()?.reveal(),
        })
    }

    fn noted(&self, host: &str, change: &Change, outcome: &crate::change::Outcome) -> Step {
        Step {
            host: host.to_owned(),
            key: format!("undo {} {}", self.order.run, change.id),
            task: format!("Undo: {}", self.told(change)),
            module: "undo".to_owned(),
            status: match (&outcome.failure, outcome.changed) {
                (Some(_), _) => Status::Failed,
                (None, true) => Status::Changed,
                (None, false) => Status::Ok,
            },
            because: outcome.because.clone(),
            diff: if self.is_open(change) { outcome.diff.iter().map(entry::kept).collect() } else { Vec::new() },
            diagnostic: outcome.failure.as_ref().map(ToString::to_string),
            warnings: outcome.warnings.clone(),
            ..Step::default()
        }
    }

    /// Returns the step of the run that made a change, as it stands in the record in the end: what is done again replaces it.
    fn step(&self, change: &Change) -> Option<&Step> {
        let steps = self.past.lines.iter().rev().filter_map(|line| match &line.entry {
            Entry::Step(step) => Some(&**step),
            _ => None,
        });
        steps.into_iter().find(|step| is_part_of(&change.step, &step.host, &step.key))
    }

    /// Whether a change may be shown: the run told of its step, and did not hide it.
    fn is_open(&self, change: &Change) -> bool {
        self.step(change).is_some_and(|step| !step.no_log)
    }

    /// Returns a change in words. What the run's own report hid stays hidden: its lines are shown as the journal has them.
    fn told(&self, change: &Change) -> String {
        match self.step(change) {
            None => format!("a change of the step {}", change.step),
            Some(step) if step.changes.contains(&self.redactor.mask(&change.summary)) => format!("{}  ({})", change.summary, step.task),
            Some(step) => format!("a change of the task {}", step.task),
        }
    }

    /// Returns the steps that changed something on a machine and of which it, and every other, has no notes: they were kept too
    /// long ago, or there was no room for them.
    fn lost(&self, arguments: &Undo, way: &Way, machine: &Machine, all: &[(Way, &Machine)]) -> Vec<&Step> {
        if way.noted.is_none() {
            return Vec::new();
        }
        let is_noted = |step: &Step| {
            let notes = all.iter().filter_map(|(way, _)| way.noted.as_ref()).flatten();
            notes.into_iter().any(|name| is_part_of(name, &step.host, &step.key))
        };
        let is_here = |step: &Step| machine.names.contains(step.delegated_to.as_ref().unwrap_or(&step.host));
        let is_wanted = |step: &Step| arguments.limit.is_empty() || arguments.limit.contains(&step.host);
        let steps = self.past.steps().into_iter();
        steps
            .filter(|step| step.status == Status::Changed && !step.changes.is_empty() && is_here(step) && is_wanted(step))
            .filter(|step| !is_noted(step))
            .collect()
    }

    /// Shows the ways back, hosts with the same one together.
    fn show(&self, ways: &[(Way, &Machine)], lost: &[Vec<&Step>]) {
        let mut told: Vec<(Vec<String>, Vec<&str>)> = Vec::new();
        for ((way, _), lost) in ways.iter().zip(lost) {
            let lines = self.lines(way, lost);
            match told.iter_mut().find(|(known, _)| *known == lines) {
                Some((_, hosts)) => hosts.push(&way.host),
                None => told.push((lines, vec![&way.host])),
            }
        }
        for (lines, hosts) in told {
            self.output.line("");
            self.output.line(&self.output.paint(Colour::Bold, &fold::hosts(&hosts)));
            lines.iter().for_each(|line| self.output.line(line));
        }
    }

    fn lines(&self, way: &Way, lost: &[&Step]) -> Vec<String> {
        let mut lines = Vec::new();
        let word = |word: &str, colour| format!("  {} ", self.output.paint(colour, &format!("{word:<12}")));
        for (_, change, outcome) in way.steps.iter().filter(|(_, _, outcome)| outcome.changed) {
            lines.push(word("take back", Colour::Yellow) + &self.told(change));
            lines.extend(outcome.warnings.iter().map(|warning| format!("               {warning}")));
            if self.order.diff && self.is_open(change) {
                let text: String = outcome.diff.iter().map(unified).collect();
                lines.extend(text.lines().map(|line| format!("      {}", diff_line(&self.output, line))));
            }
        }
        for (_, _, outcome) in way.steps.iter().filter(|(_, _, outcome)| !outcome.changed) {
            lines.extend(outcome.warnings.iter().map(|warning| word("stays", Colour::Magenta) + warning));
        }
        let mut stays = BTreeMap::<String, usize>::new();
        for (change, why) in way.stays.iter().filter(|(change, _)| !self.changed_nothing(change)) {
            *stays.entry(format!("{}{}: {why}", word("stays", Colour::Magenta), self.told(change))).or_default() += 1;
        }
        let is_stuck = !stays.is_empty() || !lost.is_empty();
        lines.extend(stays.into_iter().map(|(line, count)| if count > 1 { format!("{line} ({count} times)") } else { line }));
        for step in lost {
            let what = if step.no_log {
                format!("a change of the task {}", step.task)
            } else {
                format!("{}  ({})", step.changes.join(", "), step.task)
            };
            let why = if is_program(step) { "what a program did is not known" } else { "the host has no note of how it was before" };
            lines.push(format!("{}{what}: {why}", word("stays", Colour::Magenta)));
        }
        if let Some(why) = &way.refused {
            lines.push(word("refused", Colour::Red) + why);
        }
        if way.noted.as_ref().is_some_and(HashSet::is_empty) && !lost.iter().all(|step| is_program(step)) {
            lines.push(format!(
                "  {:<12} notes are kept for {MOST_DAYS} days and up to {} MiB, in the folder of the agent, and this run's are gone",
                "",
                MOST_BYTES >> 20
            ));
        }
        if way.refused.is_none() && !way.is_needed() && lost.iter().all(|step| is_program(step)) {
            let what = if is_stuck { "all else is as it was before the run" } else { "all is as it was before the run" };
            lines.push(word("nothing", Colour::Green) + what);
        }
        lines
    }

    /// Whether the author of a step that ran a program said that it changes nothing (`reads`, `changed_when`).
    fn changed_nothing(&self, change: &Change) -> bool {
        self.step(change).is_some_and(|step| step.status == Status::Ok && is_program(step))
    }
}

/// Whether a step ran a program of the user's, which has no way back in any case.
fn is_program(step: &Step) -> bool {
    OPAQUE.contains(&step.module.as_str())
}

/// Whether a change is to be undone: with `--limit`, of a machine that had several names only what was done under these.
fn is_meant(arguments: &Undo, machine: &Machine, change: &Change) -> bool {
    let host = change.step.split(' ').next().unwrap_or_default();
    arguments.limit.is_empty() || arguments.limit.iter().any(|name| name == host) || !machine.names.iter().any(|name| name == host)
}

/// Says warnings of connections.
struct Warnings;

impl Listener for Warnings {
    fn tell(&self, event: &Event) {
        if let Event::Warning { message } = event {
            super::complain(&Sources::default(), &[Diagnostic::warning(message.clone())]);
        }
    }
}
