//! What controller and agent say to each other. Nothing else is ever sent.
//!
//! Each message is a frame: four bytes of length (big endian), then [`postcard`] of a [`ToAgent`] or a [`FromAgent`].

use serde::{Deserialize, Serialize};

use crate::change::kept::{Past, Recall};
use crate::change::probe::Stat;
use crate::change::{
    Bound, Done, Doubt, Failure, Foreseen, GroupEntry, Mode, Outcome, Output, Plan, Program, Request, Response, UnitState, UserEntry,
};
use crate::modules;
use crate::value::Map;

/// Goes up with every change of a message. Both sides say theirs first and must agree.
pub const VERSION: u32 = 8;

/// A frame is at most this long, bytes. Larger content is streamed in [`ToAgent::Blob`] pieces.
pub const LONGEST_FRAME: u32 = 64 * 1024 * 1024;

/// From the controller.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToAgent {
    /// First message.
    Hello {
        /// See [`VERSION`].
        version: u32,
        /// The run it works for; none in a check, of which nothing is kept.
        run: Option<RunIdentity>,
        /// Whether the run has to have the host for itself.
        lease: bool,
        /// Seconds that the agent lives on when the connection is lost without a [`ToAgent::Goodbye`].
        linger: u64,
    },
    /// First message of a controller that lost the connection and found its agent again. It is not counted.
    Attach {
        /// Frames heard of the agent so far.
        heard: u64,
    },
    /// Run a task: all items of its loop in one message.
    Task(Task),
    /// Answer one question of a module that plans on the controller.
    Ask {
        /// The question.
        question: Question,
        /// In a check the answer shows what is foreseen.
        mode: Mode,
        /// Variables added to the environment.
        environment: Vec<(String, String)>,
        /// As in [`Task::foreseen`].
        foreseen: Vec<Foreseen>,
    },
    /// Carry out a plan that was made on the controller.
    CarryOut {
        /// The plan.
        plan: Plan,
        /// Whether to make the changes.
        mode: Mode,
        /// Whether differences are wanted.
        diff: bool,
        /// Variables added to the environment.
        environment: Vec<(String, String)>,
        /// As in [`Task::foreseen`].
        foreseen: Vec<Foreseen>,
        /// The step's key, one of its kind in the run; none where nothing is kept of it.
        step: Option<String>,
    },
    /// A piece of a large file that the agent asked for.
    Blob {
        /// SHA-256 of the whole, hex.
        sha256: String,
        /// The piece; an empty one ends the file.
        bytes: Vec<u8>,
    },
    /// Say what is known of steps of a run.
    Recall {
        /// The run.
        run: String,
        /// Their keys.
        steps: Vec<String>,
    },
    /// Say what was changed for a run, of which the controller still has the key.
    History {
        /// The run.
        run: String,
        /// Its key.
        key: [u8; 32],
    },
    /// Take changes of a run back.
    Undo(Undo),
    /// End the running task's programs.
    Cancel,
    /// Last message: the agent ends.
    Goodbye,
}

/// A task for the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    /// The module.
    pub module: String,
    /// Arguments of each item of the loop; one where there is no loop.
    pub items: Vec<Map>,
    /// Whether to make the changes.
    pub mode: Mode,
    /// Whether differences are wanted.
    pub diff: bool,
    /// Variables added to the environment.
    pub environment: Vec<(String, String)>,
    /// Seconds after which the task is ended; none: never.
    pub timeout: Option<u64>,
    /// What was foreseen since this agent last heard, by other agents of this host, in a check.
    pub foreseen: Vec<Foreseen>,
    /// The key of each item's step, one of its kind in the run; empty where nothing is kept of them.
    pub steps: Vec<String>,
    /// Whether what is foreseen is forgotten afterwards: a task that only checks, within a run that does not.
    pub alone: bool,
    /// What a check is told of it besides.
    pub doubt: Doubt,
    /// What was approved of each item; empty where nothing is bound.
    pub bound: Vec<Bound>,
    /// Where it goes on by itself (`async`): as which job. Its items are told as begun.
    pub job: Option<Job>,
}

impl Task {
    /// Returns the users of the host whose sessions have to end before the task.
    pub fn ends(&self) -> Vec<String> {
        let Some(entry) = modules::find(&self.module).filter(|_| self.mode == Mode::Apply) else { return Vec::new() };
        self.items.iter().flat_map(entry.ends).collect()
    }
}

/// A task that goes on by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The job's name.
    pub name: String,
    /// The folder of the host where its file lies; `~` is the user's home.
    pub folder: String,
    /// Seconds after which it is ended.
    pub seconds: u64,
}

/// Changes of a run to take back, in this order; after the first that cannot be, nothing more is done.
#[derive(Clone, Serialize, Deserialize)]
pub struct Undo {
    /// The run.
    pub run: String,
    /// Its key.
    pub key: [u8; 32],
    /// The changes, as [`Past::id`] names them.
    pub changes: Vec<String>,
    /// Whether to make the changes.
    pub mode: Mode,
    /// Whether differences are wanted.
    pub diff: bool,
    /// As in [`Task::foreseen`].
    pub foreseen: Vec<Foreseen>,
}

impl std::fmt::Debug for Undo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "undo {} changes of run {}", self.changes.len(), self.run)
    }
}

/// Which run an agent works for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunIdentity {
    /// The run's id.
    pub id: String,
    /// Who runs it: `user@machine`.
    pub owner: String,
    /// When it began, RFC 3339.
    pub since: String,
    /// What it runs: its playbooks.
    pub what: String,
    /// Whether it may take the host from another run.
    pub steal: bool,
    /// Which part of the run this is: how often the run was taken up again, and a number of this controller's own.
    pub part: (u32, u64),
    /// What seals all that the agent keeps of the run on the host, where this key never is.
    pub key: [u8; 32],
}

impl std::fmt::Debug for RunIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "run {} of {}", self.id, self.owner)
    }
}

/// What a host knows of a step of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Recalled {
    /// It never began there.
    #[default]
    Never,
    /// It began and was broken off in the middle: nobody knows how far it came.
    Began,
    /// It is done: what came of it.
    Done(Box<Outcome>),
}

impl From<Recall> for Recalled {
    fn from(recall: Recall) -> Self {
        match recall {
            Recall::Never => Self::Never,
            Recall::Began => Self::Began,
            Recall::Done(outcome) => Self::Done(outcome),
        }
    }
}

/// From the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromAgent {
    /// First message.
    Hello {
        /// See [`VERSION`].
        version: u32,
        /// The user it runs as.
        user: String,
        /// Process id.
        pid: u32,
    },
    /// The answer to [`ToAgent::Attach`]. What was not heard of the agent follows.
    Attached {
        /// Frames heard of the controller so far.
        heard: u64,
    },
    /// The host belongs to another run. Nothing was done.
    Refused {
        /// Who has it; stands behind the name of the host.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// What came of one item.
    Item {
        /// Which, from 0.
        index: u32,
        /// What came of it.
        outcome: Outcome,
    },
    /// All items are done.
    Finished,
    /// What came of [`ToAgent::CarryOut`]: one [`Done`] a change, and the outcome without the module's own values.
    CarriedOut {
        /// One a change that was made.
        done: Vec<Done>,
        /// Changed, diff, foreseen, failure.
        outcome: Outcome,
    },
    /// The answer to [`ToAgent::Ask`].
    Answer(Result<Answer, Failure>),
    /// The answer to [`ToAgent::Recall`], one for each step.
    Recalled(Vec<Recalled>),
    /// The answer to [`ToAgent::History`]: the oldest change first.
    History(Vec<Past>),
    /// A large file is needed.
    NeedBlob {
        /// SHA-256 of the whole, hex.
        sha256: String,
    },
    /// The message could not be understood, or the agent is broken.
    Broken {
        /// What happened.
        message: String,
    },
}

/// A call of `Probe`, from afar.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Question {
    Stat { path: String, follow: bool },
    Read { path: String },
    Digest { path: String, algorithm: String },
    List { path: String },
    User { name: String },
    Group { name: String },
    GroupsOf { user: String },
    Unit { name: String, scope: String },
    Package { name: String },
    Query { argv: Vec<String> },
    Vouched { program: Program },
    Http { request: Request },
    Connect { host: String, port: u16, milliseconds: u64 },
    Environment,
    Me,
    FindProgram { name: String },
    FreeSpace { path: String },
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Answer {
    Stat(Option<Stat>),
    Bytes(Option<Vec<u8>>),
    Text(Option<String>),
    Names(Option<Vec<String>>),
    User(Option<UserEntry>),
    Group(Option<GroupEntry>),
    Unit(UnitState),
    Output(Output),
    Response(Response),
    Connected(Result<(), String>),
    Environment(Vec<(String, String)>),
    Space(Option<(u64, u64)>),
}
