//! Begins the journal of a run, or goes on with that of one that broke off.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::agent::protocol::RunIdentity;
use crate::cli::playbook::Arguments;
use crate::record::entry::{Began, SCHEMA, Who};
use crate::record::past::{Known, Past};
use crate::record::{Entry, Folder, Journal, Plan};
use crate::run::Bond;
use crate::run::replay;
use crate::source::{Diagnostic, Sources};
use crate::value::secret::Redactor;

/// What is kept of a run, and what is known of its earlier parts.
#[derive(Default)]
pub struct Kept {
    pub(super) journal: Journal,
    pub(super) known: Arc<Known>,
    /// The plan that is made, or applied.
    pub(super) bond: Arc<Bond>,
    /// What the agents are told.
    pub(super) identity: Option<RunIdentity>,
    /// What the user should know before anything is run.
    pub(super) notices: Vec<String>,
}

/// Begins the journal of a run. Where none can be kept, the run goes on without, and the user is told.
pub(super) fn begin(arguments: &Arguments, sources: &Sources, redactor: &Redactor) -> Kept {
    let begun = Folder::of_this_user().and_then(|folder| {
        let notices = owed_by_others(&folder, &absolute(arguments));
        let journal = Journal::begin(&folder, began(arguments, sources), &arguments.secret(), redactor.clone())?;
        if let (Some(approved), Some(run)) = (&arguments.approved, journal.run()) {
            keep_plan(&approved.file, &plan_of(&folder, run))?;
        }
        Ok((journal, notices))
    });
    match begun {
        Ok((journal, notices)) => {
            let identity = identity(&journal, &absolute(arguments), arguments.steal_lease, 0);
            Kept { identity, journal, notices, ..Kept::default() }
        }
        Err(error) => Kept {
            notices: vec![format!("no journal can be kept, so this run can be neither resumed nor undone: {error}")],
            ..Kept::default()
        },
    }
}

/// Goes on with the journal of a run.
///
/// # Errors
/// Says why that cannot be: it still goes on, its journal or its files were changed.
pub(super) fn resume(resumed: &Resumed, arguments: &Arguments, sources: &Sources, redactor: &Redactor) -> Result<Kept, Diagnostic> {
    if !resumed.changed_files {
        replay::same_files(&resumed.past.began.files, &files(sources))?;
    }
    let wrong = |error: String| Diagnostic::error(format!("run {} cannot be resumed: {error}", resumed.past.began.run));
    let known = resumed.past.known(&resumed.folder).map_err(wrong)?;
    let key = resumed.past.key(&resumed.folder).map_err(wrong)?;
    let journal = Journal::resume(&resumed.folder, &resumed.past, key, redactor.clone()).map_err(wrong)?;
    journal.write(&Entry::Resumed { who: Who::me() });
    let earlier = resumed.past.lines.iter().filter(|line| matches!(line.entry, Entry::Resumed { .. })).count();
    let part = u32::try_from(earlier + 1).unwrap_or(u32::MAX);
    let identity = identity(&journal, &absolute(arguments), arguments.steal_lease, part);
    let bond = match &arguments.approved {
        None => Arc::default(),
        Some(approved) => {
            let plan = Plan::read(&plan_of(&resumed.folder, &resumed.past.began.run)).map_err(wrong)?;
            if plan.digest != approved.digest {
                return Err(wrong("the plan that is kept with it is another".to_owned()));
            }
            Arc::new(Bond::approved(plan.keys(&resumed.folder).map_err(wrong)?, &plan.steps))
        }
    };
    Ok(Kept { identity, journal, known: Arc::new(known), bond, notices: Vec::new() })
}

/// A run to go on with.
pub(super) struct Resumed {
    pub(super) folder: Folder,
    pub(super) past: Past,
    /// Whether its files may have changed.
    pub(super) changed_files: bool,
}

fn began(arguments: &Arguments, sources: &Sources) -> Began {
    Began {
        schema: SCHEMA,
        windlass: env!("CARGO_PKG_VERSION").to_owned(),
        who: Who::me(),
        folder: std::env::current_dir().unwrap_or_default().display().to_string(),
        arguments: arguments.open(),
        playbooks: absolute(arguments),
        files: files(sources),
        ticket: arguments.ticket.clone(),
        plan: arguments.approved.as_ref().map(|approved| approved.digest.clone()),
        ..Began::default()
    }
}

/// Where the plan is kept that a run applies.
fn plan_of(folder: &Folder, run: &str) -> PathBuf {
    folder.journal(run).with_file_name("plan")
}

#[allow(clippy::disallowed_methods, reason = "the controller's own state")]
fn keep_plan(plan: &Path, kept: &Path) -> Result<(), String> {
    std::fs::copy(plan, kept).map(|_| ()).map_err(|error| format!("the plan cannot be kept with the run: {error}"))
}

fn identity(journal: &Journal, playbooks: &[String], steal: bool, part: u32) -> Option<RunIdentity> {
    let (id, key) = (journal.run()?.to_owned(), *journal.key()?.reveal());
    let who = Who::me();
    Some(RunIdentity {
        id,
        owner: format!("{}@{}", who.user, who.machine),
        since: jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        what: playbooks.join(" "),
        steal,
        part: (part, rand::random()),
        key,
    })
}

/// Returns the absolute paths of the playbooks.
pub(super) fn absolute(arguments: &Arguments) -> Vec<String> {
    arguments.playbooks.iter().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string()).collect()
}

/// Returns the files that were read, with their SHA-256.
pub(super) fn files(sources: &Sources) -> BTreeMap<String, String> {
    let read = sources.all().into_iter().filter(|file| file.path.is_file());
    read.map(|file| (file.path.display().to_string(), crate::change::digest::sha256(file.text.as_bytes()))).collect()
}

/// How many runs back handlers of the same playbooks are looked for.
const LOOK_BACK: usize = 40;

/// Says which handlers the last run of the same playbooks still owes.
fn owed_by_others(folder: &Folder, playbooks: &[String]) -> Vec<String> {
    let is_same = |run: &&String| Past::beginning(folder, run).is_some_and(|began| began.playbooks == playbooks && began.undoes.is_none());
    let runs = folder.runs();
    if let Some(run) = runs.iter().rev().take(LOOK_BACK).find(is_same)
        && let Ok(past) = Past::read(folder, run)
    {
        let owed = if past.is_unfinished() { past.owed() } else { BTreeMap::new() };
        if owed.is_empty() {
            return Vec::new();
        }
        let told: Vec<_> = owed.iter().map(|(host, names)| format!("{host}: {}", names.join(", "))).collect();
        return vec![format!(
            "the last run of this playbook ({run}) broke off and still owes handlers to {}; `windlass resume {run}` runs them",
            told.join("; ")
        )];
    }
    Vec::new()
}
