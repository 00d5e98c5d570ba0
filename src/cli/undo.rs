//! `windlass undo`: takes back what a run changed, as far as its hosts kept what was there before.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use indexmap::IndexMap;

use crate::agent::protocol::RunIdentity;
use crate::change::kept::Past as Change;
use crate::cli::hosts::Reach;
use crate::cli::person::Person;
use crate::record::entry::{Began, Ended, SCHEMA, Step, Who};
use crate::record::past::Past;
use crate::record::{Entry, Folder, Journal};
use crate::report::event::{Event, Listener, Status};
use crate::run::Asker;
use crate::run::hands::{Hands, Seat};
use crate::run::undo::{Order, Way, foresee, undo_host};
use crate::source::{Diagnostic, Sources};
use crate::value::secret::Redactor;

/// `windlass undo`.
#[derive(Debug, Args)]
pub struct Undo {
    /// The run: its id, a part of it, or `last` (the default)
    run: Option<String>,
    /// Undo on these hosts only
    #[arg(short, long, value_delimiter = ',')]
    limit: Vec<String>,
    /// Show the way back and change nothing
    #[arg(short = 'C', long)]
    check: bool,
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
    seats: IndexMap<String, Vec<Seat>>,
    redactor: Redactor,
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
    let run = folder.meant(arguments.run.as_deref())?;
    let past = Past::read(&folder, &run)?;
    let key = past.key(&folder)?;
    let (mut seats, redactor) = (IndexMap::<String, Vec<Seat>>::new(), Redactor::default());
    for line in &past.lines {
        if let Entry::Seat { host, sealed } = &line.entry {
            let seat: Seat = postcard::from_bytes(&key.open(sealed)?).map_err(|_| format!("the journal of run {run} is damaged"))?;
            let passwords = [&seat.target.password, &seat.target.key_passphrase];
            let become_password = seat.r#become.as_ref().and_then(|it| it.password.as_ref());
            passwords.into_iter().flatten().chain(become_password).for_each(|secret| redactor.learn(secret.reveal()));
            let of_host = seats.entry(host.clone()).or_default();
            if !of_host.contains(&seat) {
                of_host.push(seat);
            }
        }
    }
    for host in &arguments.limit {
        if !seats.contains_key(host) {
            return Err(format!("run {run} changed nothing on a host `{host}`"));
        }
    }
    seats.retain(|host, _| arguments.limit.is_empty() || arguments.limit.contains(host));
    Ok(Found { order: Order { run, key: *key.reveal() }, folder, past, seats, redactor })
}

impl Found {
    async fn undo(&self, arguments: &Undo) -> u8 {
        let run = &self.order.run;
        if self.seats.is_empty() {
            super::say(&format!("run {run} changed nothing on any host"));
            return super::OK;
        }
        let reach = Reach::new(Arc::new(Warnings));
        let journal = match self.journal(arguments) {
            Ok(journal) => journal,
            Err(error) => return wrong(format!("no journal can be kept of the undo: {error}"), None),
        };
        if let Some(identity) = self.identity(&journal, arguments) {
            reach.work_for(identity);
        }
        let code = self.go(arguments, &reach, &journal).await;
        reach.farewell().await;
        journal.write(&Entry::Ended(Box::new(Ended { code, ..Ended::default() })));
        let _ = journal.settle().await;
        code
    }

    async fn go(&self, arguments: &Undo, reach: &Reach, journal: &Journal) -> u8 {
        let mut ways = Vec::new();
        for (host, seats) in self.seats.iter().rev() {
            let way = foresee(reach, &self.order, host, seats, &|_| true).await;
            self.show(&way);
            ways.push((way, seats));
        }
        let refused = ways.iter().filter(|(way, _)| way.refused.is_some()).count();
        ways.retain(|(way, _)| way.is_needed());
        let code = if refused > 0 { super::FAILED_HOSTS } else { super::OK };
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
        let mut worst = code;
        for (way, seats) in &ways {
            let mut heard = |change: &Change, outcome: &crate::change::Outcome| {
                journal.write(&Entry::Step(Box::new(self.noted(&way.host, change, outcome))));
            };
            match undo_host(reach, &self.order, way, seats, &mut heard).await {
                Ok(()) => super::say(&format!("{}: undone", way.host)),
                Err(why) => {
                    super::say(&self.redactor.mask(&format!("{}: stopped: {why}", way.host)));
                    worst = super::FAILED_HOSTS;
                }
            }
            let _ = journal.settle().await;
        }
        worst
    }

    /// Begins a journal of its own; in a check there is none.
    fn journal(&self, arguments: &Undo) -> Result<Journal, String> {
        if arguments.check {
            return Ok(Journal::default());
        }
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
            key: *journal.key()?.reveal(),
        })
    }

    fn noted(&self, host: &str, change: &Change, outcome: &crate::change::Outcome) -> Step {
        Step {
            host: host.to_owned(),
            key: format!("undo {} {}", self.order.run, change.id),
            task: format!("Undo: {}", self.told(host, change)),
            module: "undo".to_owned(),
            status: match (&outcome.failure, outcome.changed) {
                (Some(_), _) => Status::Failed,
                (None, true) => Status::Changed,
                (None, false) => Status::Ok,
            },
            because: outcome.because.clone(),
            diagnostic: outcome.failure.as_ref().map(ToString::to_string),
            warnings: outcome.warnings.clone(),
            ..Step::default()
        }
    }

    /// Returns a change in words. What the run's own report hid stays hidden: its lines are shown as the journal has them.
    fn told(&self, host: &str, change: &Change) -> String {
        let of_step =
            |step: &&&Step| change.step.starts_with(&step.key) && (step.host == host || step.delegated_to.as_deref() == Some(host));
        let steps = self.past.steps();
        match steps.iter().find(of_step) {
            None => format!("a change of the step {}", change.step),
            Some(step) if step.changes.contains(&change.summary) => format!("{}  ({})", change.summary, step.task),
            Some(step) => format!("a change of the task {}", step.task),
        }
    }

    fn show(&self, way: &Way) {
        let mut lines = vec![format!("\n{}", way.host)];
        for (_, change, outcome) in way.steps.iter().filter(|(_, _, outcome)| outcome.changed) {
            lines.push(format!("  take back    {}", self.told(&way.host, change)));
            lines.extend(outcome.warnings.iter().map(|warning| format!("               {warning}")));
        }
        for (_, _, outcome) in way.steps.iter().filter(|(_, _, outcome)| !outcome.changed) {
            lines.extend(outcome.warnings.iter().map(|warning| format!("  stays        {warning}")));
        }
        let mut stays = BTreeMap::<String, usize>::new();
        for (change, why) in &way.stays {
            *stays.entry(format!("  stays        {}: {why}", self.told(&way.host, change))).or_default() += 1;
        }
        lines.extend(stays.into_iter().map(|(line, count)| if count > 1 { format!("{line} ({count} times)") } else { line }));
        if let Some(why) = &way.refused {
            lines.push(format!("  refused      {why}"));
        }
        if lines.len() == 1 {
            lines.push("  nothing      all is as it was before the run".to_owned());
        }
        super::say(&self.redactor.mask(&lines.join("\n")));
    }
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
