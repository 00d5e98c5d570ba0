//! What can be done to a host, as data.
//!
//! A module reads the host through [`Probe`] and answers with a [`Plan`]. It has no way to write. [`carry_out`]
//! takes the plan further: in a run its changes go to the host (`apply`), in a check to the [`Overlay`], an
//! in-memory picture of the host as it would be, which later tasks of the same check see through the same `Probe`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::value::{Map, Value};

pub mod accounts;
pub mod apply;
pub mod attributes;
pub mod bound;
pub mod carry;
pub mod destination;
pub mod dialogue;
pub mod diff;
pub mod digest;
pub mod doubt;
pub mod elasticsearch;
pub mod failure;
pub mod fake;
pub mod foresee;
pub mod glob;
pub mod host;
pub mod http;
pub mod jobs;
pub mod keeper;
pub mod kept;
pub mod outcome;
pub mod overlay;
pub mod packages;
pub mod picture;
pub mod probe;
pub mod programs;
pub mod resolve;
pub mod target;
pub mod temporary;
pub mod tree;
pub mod units;

pub use bound::Bound;
pub use carry::{carry_out, run_module};
pub use doubt::{Doubt, Thing};
pub use failure::Failure;
pub use host::{Blobs, Host};
pub use outcome::{Difference, Foreseen, Outcome};
pub use overlay::Overlay;
pub use probe::Probe;

/// Whether changes are made or only foreseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Changes go to the overlay.
    Check,
    /// Changes go to the host.
    Apply,
}

/// What a task will do, in order. No changes means `ok`; any change means `changed`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[must_use = "a plan does nothing by itself"]
pub struct Plan {
    /// One line for a person: why there is something, or nothing, to do.
    pub because: String,
    /// What is to be done to the host.
    pub changes: Vec<Change>,
    /// What is to be done to the controller's own files (`fetch`).
    pub on_controller: Vec<Change>,
    /// What `register` gets. An entry that only the change itself can tell is [`Value::Unknown`] here; the module's
    /// `result` puts it right after the change was made.
    pub values: Map,
    /// What the run itself has to do then (`set_fact`, `add_host`, ...).
    pub then: Vec<Then>,
    /// Things the user should know.
    pub warnings: Vec<String>,
    /// Names among `values` (and among what `result` returns) whose text is a secret: the redactor learns it before
    /// anything is reported, while `register` gets it as it is.
    pub secrets: Vec<String>,
    /// Whether only the program that is run can tell whether it changed something: `changed` among what the module's
    /// `result` returns says so then, and `ansible_facts` there become facts.
    pub reported: bool,
    /// The digest of the changes, where somebody is to approve them ([`Bound`]); no module sets it.
    pub planned: Option<String>,
    /// The digest of what was found where the changes are made; as `planned`.
    pub found: Option<String>,
    /// Whether the changes are others each time they are planned; no module sets it.
    pub varies: bool,
    /// Whether what it makes has another name each time: only the folder it is in can be approved.
    pub anew: bool,
    /// What a check is told of the task besides; no module sets it.
    pub doubt: Doubt,
    /// What a check loses sight of then, where it could not be planned; no module sets it.
    pub lost: Option<Vec<Thing>>,
}

impl Plan {
    /// Returns a plan that changes nothing, and says why.
    pub fn nothing(because: impl Into<String>) -> Self {
        Self { because: because.into(), ..Self::default() }
    }

    /// Returns a plan of one change.
    pub fn one(because: impl Into<String>, change: Change) -> Self {
        Self::all(because, vec![change])
    }

    /// Returns a plan of several changes.
    pub fn all(because: impl Into<String>, changes: Vec<Change>) -> Self {
        Self { because: because.into(), changes, ..Self::default() }
    }

    /// Adds a value for `register`.
    pub fn value(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.values.insert(name.into(), value.into());
        self
    }

    /// Adds values for `register`.
    pub fn values(mut self, values: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        self.values.extend(values.into_iter().map(|(name, value)| (name.into(), value)));
        self
    }
}

/// What a control module asks of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Then {
    /// Give the host these facts (`set_fact`, `setup`).
    Facts {
        /// Name and value.
        facts: Map,
        /// Whether they stay for later runs and rank as gathered facts do.
        cacheable: bool,
    },
    /// Give the host these variables at the level of `include_vars`.
    Variables(Map),
    /// Add a host to the inventory of this run.
    AddHost {
        /// Its name.
        name: String,
        /// Its groups.
        groups: Vec<String>,
        /// Its variables.
        variables: Map,
    },
    /// Put this host into the group.
    GroupBy {
        /// The group.
        key: String,
        /// Its parents.
        parents: Vec<String>,
    },
    /// Wait, or ask on the terminal.
    Pause {
        /// How many seconds; `None` waits for Enter.
        seconds: Option<f64>,
        /// What to show.
        prompt: Option<String>,
        /// Whether typed text shows.
        echo: bool,
    },
    /// A `meta` action, by name.
    Meta(String),
    /// Close the connection and open it anew at the next task.
    Reconnect,
    /// Count this, to be told when the run ends.
    Stats {
        /// Name and value.
        data: Map,
        /// For each host, not for the run as a whole.
        per_host: bool,
        /// Added to what was counted before.
        aggregate: bool,
    },
}

/// One effect on a host. A closed list: what is not in it cannot be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Change {
    /// Give a file this content. Atomic: temporary file beside it, fsync, owner and mode, rename.
    Write {
        /// The file (links already followed, unless the link itself shall be replaced).
        path: PathBuf,
        /// What it was planned from; applying refuses when the host is no longer that.
        before: Before,
        /// The new content.
        after: Content,
        /// Owner and mode of the result; what is `None` stays (or is the default for a new file).
        attributes: Attributes,
        /// Keep a copy of the old file beside it.
        backup: bool,
        /// Command that must accept the new file first; `%s` is the temporary file.
        validate: Option<String>,
        /// The content is secret: no diff, and not for logs.
        secret: bool,
        /// Whether the file is overwritten in place where it cannot be replaced as a whole.
        in_place: bool,
    },
    /// Make a directory.
    Directory {
        /// The directory; its parent exists or is made by an earlier change.
        path: PathBuf,
        /// Owner and mode.
        attributes: Attributes,
    },
    /// Set owner, group, mode or times of something that exists.
    Attributes {
        /// The file, directory or link.
        path: PathBuf,
        /// As found.
        before: Attributes,
        /// As asked; `None` stays.
        after: Attributes,
        /// Whether a link is followed.
        follow: bool,
    },
    /// Make a link, replacing what is there.
    Link {
        /// The link.
        path: PathBuf,
        /// What it points to.
        target: PathBuf,
        /// A hard link rather than a symbolic one.
        hard: bool,
        /// What it was planned from.
        before: Before,
    },
    /// Remove a file, a link, or a directory with all in it.
    Remove {
        /// What to remove.
        path: PathBuf,
        /// What it was planned from.
        before: Before,
    },
    /// Run a program. What it does cannot be seen beforehand, but for the effects it is known to have.
    Run {
        /// What to run.
        program: Program,
        /// What is known of the host afterwards.
        effects: Vec<Effect>,
        /// One line for a person: "would run ...".
        summary: String,
    },
    /// Ask the service manager for something.
    Unit {
        /// The unit, with suffix where it has one.
        name: String,
        /// What to do with it.
        action: UnitAction,
        /// Whose units: `system`, `user`, `global`.
        scope: String,
        /// As found, for the diff and for undo.
        before: UnitState,
    },
    /// Send an HTTP request that writes.
    Http {
        /// The request.
        request: Request,
        /// One line for a person: "would create the API key `x`".
        summary: String,
        /// What changes, for the diff: before and after.
        diff: Option<(String, String)>,
        /// What is known of the host afterwards.
        effects: Vec<Effect>,
        /// The request that takes this one back, where there is one. `@id@` in it stands for the `id` of the answer.
        undo: Option<Box<Request>>,
    },
}

/// What a file was when the change was planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Before {
    /// There was nothing.
    Absent,
    /// A file with this SHA-256 (hex) and size.
    File {
        /// SHA-256 of the content, hex.
        sha256: String,
    },
    /// A directory.
    Directory,
    /// A link to this.
    Link(PathBuf),
    /// Something else (a socket, a device), or not worth a check.
    Any,
}

/// The content of a file: here, or to be had from the controller by its hash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// The bytes themselves.
    Bytes(Vec<u8>),
    /// A large file of the controller, streamed when it is needed.
    Blob {
        /// SHA-256, hex.
        sha256: String,
        /// Bytes.
        size: u64,
    },
    /// Content that cannot be known in a check.
    Unknown(String),
}

impl std::fmt::Debug for Content {
    /// Content may be secret; only its size is told.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Self::Blob { size, .. } => write!(f, "{size} bytes to stream"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

/// Owner, group, mode and times; `None` is "as it is".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Attributes {
    /// User id.
    pub uid: Option<u32>,
    /// Group id.
    pub gid: Option<u32>,
    /// Permission bits, `0o7777` at most.
    pub mode: Option<u32>,
    /// Last access, seconds since 1970.
    pub atime: Option<f64>,
    /// Last change of content, seconds since 1970.
    pub mtime: Option<f64>,
}

/// A program to run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// Program and arguments. For a shell line: the shell, `-c`, the line.
    pub argv: Vec<String>,
    /// Working directory.
    pub chdir: Option<PathBuf>,
    /// Variables added to the environment.
    pub environment: Vec<(String, String)>,
    /// Text for its standard input.
    pub stdin: Option<Vec<u8>>,
    /// Seconds after which it is ended, with its children.
    pub timeout: Option<u64>,
    /// Permission mask for what it creates.
    pub umask: Option<u32>,
    /// Return codes that are no failure; empty: the module decides by the code it gets.
    pub accept: Vec<i32>,
    /// What it is answered, where it asks on a terminal.
    pub dialogue: Option<dialogue::Dialogue>,
}

/// What is known of a host after a change that cannot be foreseen as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// The path exists then, content unknown.
    Creates(PathBuf),
    /// The path is gone then.
    Removes(PathBuf),
    /// The user exists then, with these data.
    User(UserEntry),
    /// The user is gone then.
    UserGone(String),
    /// The group exists then.
    Group(GroupEntry),
    /// The group is gone then.
    GroupGone(String),
    /// The package is installed then, in this version where it is known.
    Package {
        /// Name.
        name: String,
        /// Version, where it is known.
        version: Option<String>,
    },
    /// The package is gone then.
    PackageGone(String),
    /// A unit of this name may exist then.
    UnitMayExist(String),
    /// Whatever this program would print is no longer known: a later query that starts so is unknown.
    QueryUnknown(Vec<String>),
    /// A query of exactly this command line prints this then.
    QueryPrints {
        /// Program and arguments, as the module will ask.
        argv: Vec<String>,
        /// What it prints; its return code is 0.
        stdout: Vec<u8>,
    },
    /// All that changes is listed here, or belongs to what is: it can be put back as it was.
    NothingElse,
    /// The answer to reads of URLs that start so is no longer known.
    UrlUnknown(String),
    /// A `GET` of exactly this URL answers 200 with this body then.
    UrlAnswers {
        /// The address as a later request has it.
        url: String,
        /// The body of the answer.
        body: Vec<u8>,
    },
}

/// What to do with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum UnitAction {
    Start,
    Stop,
    Restart,
    Reload,
    Enable,
    Disable,
    Mask,
    Unmask,
    DaemonReload,
    DaemonReexec,
}

/// A unit as the service manager knows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnitState {
    /// Whether it is known at all.
    pub exists: bool,
    /// Whether it runs.
    pub active: bool,
    /// Whether it starts at boot.
    pub enabled: bool,
    /// Whether it is masked.
    pub masked: bool,
    /// Everything the manager tells (`systemctl show`).
    pub properties: Vec<(String, String)>,
}

/// A user of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct UserEntry {
    pub name: String,
    /// `None`: created in a check, number not known.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub gecos: String,
    pub home: String,
    pub shell: String,
}

/// A group of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct GroupEntry {
    pub name: String,
    /// `None`: created in a check, number not known.
    pub gid: Option<u32>,
    pub members: Vec<String>,
}

/// An HTTP request.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// The address, with scheme.
    pub url: String,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Vec<u8>>,
    /// User and password for Basic.
    pub basic: Option<(String, String)>,
    /// PEM text of authorities to trust instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// PEM text of a client certificate and its key.
    pub client_pem: Option<Vec<u8>>,
    /// Whether the server's certificate is not verified. Only where the user said so.
    pub insecure: bool,
    /// Seconds to wait; 0 is 30.
    pub timeout: u64,
    /// `all`, `safe` (GET and HEAD), `none`.
    pub follow_redirects: String,
    /// Connect to this socket instead of the host in the address.
    pub unix_socket: Option<PathBuf>,
    /// Whether proxies of the environment are used.
    pub use_proxy: bool,
}

impl std::fmt::Debug for Request {
    /// Headers, body and password may be secret; they are not told.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.url)
    }
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The reason text.
    pub reason: String,
    /// Header names, lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The final address, after redirects.
    pub url: String,
}

/// What a program did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Exit status; 128 + signal where a signal ended it.
    pub rc: i32,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it complained.
    pub stderr: Vec<u8>,
    /// When it began and ended, seconds since 1970.
    pub start: f64,
    /// See `start`.
    pub end: f64,
}

/// What came of one change that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Done {
    /// Nothing to tell.
    Plain,
    /// A file was written; where the old one was kept.
    Wrote {
        /// The copy of the old file.
        backup: Option<PathBuf>,
    },
    /// A program ran.
    Ran(Output),
    /// A request was answered.
    Answered(Response),
}
