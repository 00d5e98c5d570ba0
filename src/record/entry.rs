//! What a journal's lines say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::change::{Difference, Then};
use crate::report::event::{Counts, Status, TaskResult};
use crate::value::Value;

/// The version of the entries' form; it goes up when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// What happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// The run began: always the first entry.
    Began(Box<Began>),
    /// The run was taken up again.
    Resumed {
        /// By whom.
        who: Who,
    },
    /// A play, or its next batch, began.
    Play {
        /// Its name.
        name: String,
        /// The hosts of the batch.
        hosts: Vec<String>,
    },
    /// A task began.
    Task {
        /// Its name.
        name: String,
        /// Its module.
        module: String,
        /// Where it stands: file, line, column.
        place: String,
        /// Whether it is a handler.
        handler: bool,
    },
    /// A step that leaves no trace on a host began: a program on the controller itself.
    StepBegan {
        /// The host.
        host: String,
        /// The step's key.
        key: String,
    },
    /// A task is done on a host.
    Step(Box<Step>),
    /// What a block did on a host is to be done again when the run is resumed: it was broken off, and its `rescue` or
    /// `always` took back what it had begun.
    Again {
        /// The host.
        host: String,
        /// From the host's step of this number on.
        from: u64,
        /// Commands that were done too.
        whole: bool,
    },
    /// Something the user was warned of.
    Warning {
        /// The warning.
        message: String,
    },
    /// Something was wrong apart from any host, or a play was broken off.
    Stopped {
        /// Why.
        why: String,
    },
    /// The run ended, in whatever way it did not crash.
    Ended(Box<Ended>),
}

/// How a run began.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Began {
    /// See [`SCHEMA`].
    pub schema: u32,
    /// The run's id.
    pub run: String,
    /// The version of windlass.
    pub windlass: String,
    /// Who ran it.
    pub who: Who,
    /// The folder it was started in.
    pub folder: String,
    /// The command line's flags, but for those that may hold secrets.
    pub arguments: serde_json::Value,
    /// The playbooks' absolute paths.
    pub playbooks: Vec<String>,
    /// The files read before anything ran, with their SHA-256 (hex).
    pub files: BTreeMap<String, String>,
    /// What the change is for: a ticket's number or text.
    pub ticket: Option<String>,
    /// The digest of the plan that is applied.
    pub plan: Option<String>,
    /// The run that this one undoes.
    pub undoes: Option<String>,
    /// The key of the run, sealed with that of the state folder.
    pub key: String,
    /// Flags that may hold secrets, as JSON, sealed with the key of the run.
    pub sealed: String,
}

/// Who ran windlass, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The login name.
    pub user: String,
    /// The name of the machine.
    pub machine: String,
    /// The process.
    pub pid: u32,
}

impl Who {
    /// Returns who runs this process.
    pub fn me() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let user = variable("SUDO_USER").or_else(|| variable("USER")).or_else(|| variable("LOGNAME"));
        let machine = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        Self {
            user: user.unwrap_or_else(|| format!("uid {}", nix::unistd::getuid())),
            machine: machine.unwrap_or_default(),
            pid: std::process::id(),
        }
    }
}

/// A task that is done on a host.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Step {
    /// The host.
    pub host: String,
    /// The step's key: the place of its task, and how often the host had met it.
    pub key: String,
    /// The number of the step among those of the host, from 0.
    pub ordinal: u64,
    /// The task's name.
    pub task: String,
    /// Its module.
    pub module: String,
    /// Whether it is a handler.
    pub handler: bool,
    /// How it ended.
    pub status: Status,
    /// Why.
    pub because: String,
    /// One line for each change.
    pub changes: Vec<String>,
    /// The differences, masked.
    pub diff: Vec<Difference>,
    /// A failure, with place and hint.
    pub diagnostic: Option<String>,
    /// The host it was delegated to.
    pub delegated_to: Option<String>,
    /// Failed, but the play went on.
    pub ignored: bool,
    /// Failed, in a block that rescues.
    pub rescued: bool,
    /// Failed only as nobody knows whether an earlier part of the run had done it.
    pub unsure: bool,
    /// Nothing of it may be shown.
    pub no_log: bool,
    /// Warnings.
    pub warnings: Vec<String>,
    /// How long it took, seconds.
    pub seconds: f64,
    /// The handlers it notified, by name.
    pub notified: Vec<String>,
    /// What a resumed run needs of it ([`Replay`], postcard), sealed. None: it is done again.
    pub sealed: Option<String>,
}

/// What a resumed run needs of a step that was done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Replay {
    /// What was reported.
    pub result: TaskResult,
    /// What `register` got.
    pub register: Value,
    /// What the run had to do then.
    pub then: Vec<(Option<String>, Then)>,
    /// Whether it notified its handlers.
    pub notifies: bool,
}

/// How a run ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ended {
    /// The exit code.
    pub code: u8,
    /// The counts of each host.
    pub recap: BTreeMap<String, Counts>,
    /// Handlers that were notified and not run, by host.
    pub owed: BTreeMap<String, Vec<String>>,
}
