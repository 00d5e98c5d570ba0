//! What the run needs of the hosts: the one seam between the driver and the connections. Tests put a fake here.

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::agent::protocol::{Recalled, Task, Undo};
pub use crate::agent::session::Control;
use crate::change::kept::Past;
use crate::change::{Host, Mode, Outcome, Output, Plan};
use crate::connect::{Become, Target};

/// Where, and as whom, something is done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seat {
    /// The host.
    pub target: Target,
    /// The user to become.
    pub r#become: Option<Become>,
}

/// A host that cannot be reached, or was lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Lost {
    /// What happened: one sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether the host was reached, and only did not let the task's user be become: then the task failed.
    pub reached: bool,
}

/// Takes in what came of one item, by its index.
pub type OnItem<'a> = &'a mut (dyn FnMut(u32, Outcome) + Send);

/// Does things on hosts. Connections are opened when they are needed and kept.
pub trait Hands: Send + Sync {
    /// Runs a module on the host, for all items of a loop.
    fn task<'a>(&'a self, seat: &'a Seat, task: Task, on_item: OnItem<'a>) -> BoxFuture<'a, Result<(), Lost>>;

    /// Runs a module that plans here and looks at the host from afar.
    fn control<'a>(&'a self, seat: &'a Seat, control: Control) -> BoxFuture<'a, Result<Outcome, Lost>>;

    /// Runs a line in the login shell, without the agent.
    fn raw<'a>(&'a self, seat: &'a Seat, line: &'a str) -> BoxFuture<'a, Result<Output, Lost>>;

    /// Asks what the host knows of steps of this run. Those that it says nothing of never began.
    fn recall<'a>(&'a self, _seat: &'a Seat, _steps: &'a [String]) -> BoxFuture<'a, Result<Vec<Recalled>, Lost>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Asks what was changed for an earlier run.
    fn history<'a>(&'a self, _seat: &'a Seat, _run: &'a str, _key: &'a [u8; 32]) -> BoxFuture<'a, Result<Vec<Past>, Lost>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Takes changes of an earlier run back.
    fn undo<'a>(&'a self, _seat: &'a Seat, _order: Undo, _on_item: OnItem<'a>) -> BoxFuture<'a, Result<(), Lost>> {
        Box::pin(async { Ok(()) })
    }

    /// Carries out a plan on the controller itself (`fetch`).
    fn here(&self, plan: Plan, mode: Mode, diff: bool) -> BoxFuture<'_, Outcome>;

    /// Makes a large file of the controller ready to be streamed to agents that ask for it.
    fn offer(&self, sha256: &str, path: &std::path::Path);

    /// Returns this machine with what a check has foreseen of it, where it has foreseen anything.
    fn foreseen_here(&self) -> Option<Host> {
        None
    }

    /// Closes the connection; the next task opens it anew.
    fn close<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, ()>;

    /// Ends what works on a host as `user`, who is about to be removed.
    fn leave<'a>(&'a self, _target: &'a Target, _user: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    /// Ends what runs on all hosts.
    fn cancel(&self) -> BoxFuture<'_, ()>;

    /// Says goodbye to all hosts, at the end of the run: what works there for it ends.
    fn farewell(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
