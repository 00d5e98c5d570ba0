//! Everything that can be told about a run.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::change::Difference;
use crate::source::Place;
use crate::value::{Map, Value};

/// Something that happened. `report` turns it into text; only there are secrets masked.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Event {
    RunStarted {
        playbook: String,
        check: bool,
        hosts: usize,
    },
    /// A playbook begins; `plays` is how many it has.
    PlaybookStarted {
        path: String,
        plays: usize,
    },
    PlayStarted {
        name: String,
        hosts: Vec<Arc<str>>,
        check: bool,
    },
    /// No host matched.
    PlayWithoutHosts {
        pattern: String,
    },
    /// A task begins; `handler` where it is one, `hosts` how many it will run on.
    TaskStarted {
        name: String,
        module: String,
        place: Option<Place>,
        handler: bool,
        hosts: usize,
        check: bool,
    },
    /// One item of a loop is done on one host.
    Item {
        host: Arc<str>,
        task: String,
        label: String,
        result: Box<TaskResult>,
    },
    /// The task is done on one host.
    Result {
        host: Arc<str>,
        task: String,
        result: Box<TaskResult>,
    },
    /// The task will be tried again.
    Retry {
        host: Arc<str>,
        task: String,
        attempt: u32,
        of: u32,
        result: Box<TaskResult>,
    },
    /// Files were included.
    Included {
        file: String,
        hosts: Vec<Arc<str>>,
        /// The item of the loop that it was included for.
        label: Option<String>,
    },
    /// A task that goes on by itself was looked at: `POLL` it goes on, `OK` or `FAILED` it ended.
    Job {
        host: Arc<str>,
        job: String,
        how: &'static str,
    },
    /// What a `meta` task came to.
    MetaDone {
        host: Arc<str>,
        text: String,
    },
    /// Something the user should know.
    Warning {
        message: String,
    },
    /// A diagnostic, already rendered but not masked.
    Diagnostic {
        text: String,
    },
    /// What the debugger answers, or what the run waits for.
    Said {
        text: String,
    },
    /// What `set_stats` counted.
    CustomStats {
        hosts: Vec<(Arc<str>, Map)>,
        run: Map,
    },
    /// All hosts failed, or the budget of failures is used up.
    PlayStopped {
        why: String,
    },
    /// The batch's hosts have all failed.
    RunEnded {
        recap: Vec<(Arc<str>, Counts)>,
        took: Duration,
        predicted: usize,
        unknown: Vec<String>,
        /// The run's id, where a journal is kept of it.
        run: Option<String>,
        code: u8,
    },
}

/// What came of a task on a host; fields say what they are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct TaskResult {
    pub status: Status,
    /// Everything `register` got.
    pub values: Map,
    /// Why: the plan's reason, the failed condition, the failure.
    pub because: String,
    pub diff: Vec<Difference>,
    /// The differences are for the record alone: nobody asked to see them.
    pub records_diff: bool,
    /// One line for each change.
    pub summary: Vec<String>,
    /// Nothing of it may be shown.
    pub no_log: bool,
    /// The host it was delegated to.
    pub delegated_to: Option<String>,
    /// The command line by which another user was become, with `-vvv`.
    pub became: Option<String>,
    /// A failure with place and hint, rendered.
    pub diagnostic: Option<String>,
    /// Failed, but the play goes on.
    pub ignored: bool,
    /// In a check.
    pub check: bool,
    pub warnings: Vec<String>,
    /// Whether the module is one whose result is its purpose (`debug`): shown even when nothing changed.
    pub verbose_always: bool,
    pub took: Duration,
    /// The loop item, if this is one.
    pub item: Option<Value>,
    /// Done in an earlier part of a run that was resumed.
    pub earlier: bool,
}

impl TaskResult {
    /// Returns why it came so, or that this is hidden.
    pub fn reason(&self) -> &str {
        if self.no_log { "output hidden by `no_log`" } else { &self.because }
    }
}

/// How a task ended on a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Status {
    #[default]
    Ok,
    Changed,
    Skipped,
    Failed,
    Unreachable,
    /// In a check: cannot be predicted.
    Unknown,
}

/// The counts of the recap line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Counts {
    pub ok: u32,
    pub changed: u32,
    pub unreachable: u32,
    pub failed: u32,
    pub skipped: u32,
    pub rescued: u32,
    pub ignored: u32,
    /// Tasks that a check could not predict. Not in Ansible's line; shown only where it is not 0.
    pub unknown: u32,
}

/// Listens to a run.
pub trait Listener: Send + Sync {
    /// Takes in one event.
    fn tell(&self, event: &Event);
}
