//! What a host keeps of a run: which steps began there, what came of them, and what was there before each change.
//!
//! It is for a controller that died after the work was done ([`Store::recall`]), and for the way back ([`undo`]). All of it
//! is in a private folder beside the agent, sealed with a key that only the controller keeps (`seal`). What is noted is
//! on disk before the change is made, and before the controller is answered.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Outcome, Request, UnitAction, UnitState};
use crate::value::Map;

pub mod image;
mod seal;
mod seen;
pub mod store;
pub mod undo;

#[cfg(test)]
mod tests;

pub use image::Image;
pub use seen::Seen;
pub use store::{Store, Work};

/// How long a run's notes are kept, days.
pub const MOST_DAYS: u64 = 14;

/// How much is kept on a host, bytes. Older runs go first.
pub const MOST_BYTES: u64 = 256 * 1024 * 1024;

/// The largest file whose content is kept, bytes.
pub const LARGEST_FILE: u64 = 64 * 1024 * 1024;

/// Modules whose effect only their author knows. Where one broke off in the middle, nobody can say whether it is done.
pub const OPAQUE: &[&str] = &["command", "shell", "raw", "script", "expect"];

/// Whether a step that broke off in the middle cannot simply be done again: it runs a program of the user's, or sends what a server
/// may take twice.
pub fn is_opaque(module: &str, arguments: &Map) -> bool {
    let method = || arguments.get("method").map_or_else(String::new, ToString::to_string).to_uppercase();
    OPAQUE.contains(&module) || (module == "uri" && matches!(method().as_str(), "POST" | "PATCH"))
}

/// One change of a step: what was there before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The step.
    pub step: String,
    /// When, seconds since 1970 by the host's clock.
    pub at: f64,
    /// One line for a person.
    pub summary: String,
    /// Whether the content is secret.
    pub secret: bool,
    /// What was there.
    pub was: Was,
    /// SHA-256 (hex) of the content that the change was to leave, where that is known beforehand.
    pub planned: Option<String>,
}

/// What a change replaced.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Was {
    /// What was at a path.
    Path {
        /// The path.
        path: PathBuf,
        /// What was there.
        image: Image,
    },
    /// The state of a unit.
    Unit {
        /// The unit.
        name: String,
        /// Whose units.
        scope: String,
        /// What was done with it.
        action: UnitAction,
        /// How it was.
        state: UnitState,
    },
    /// What a request changed elsewhere.
    Sent {
        /// The request that takes it back, where there is one.
        undo: Option<Request>,
    },
    /// A request had something read anew. It is sent again when all else is as it was.
    Read(Request),
    /// Nobody knows: a program was run.
    Unknown,
    /// A program was run that changes nothing but these.
    Ran(Vec<Seen>),
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Entry {
    /// The step's first change is about to be made, or its job to be started.
    Began { step: String },
    /// A change is about to be made.
    Change(Kept),
    /// What the change with this number left.
    Left { number: u32, image: Image },
    /// What the program left that the change with this number ran, and then the users and groups that others changed before it:
    /// account tools change more than one at a time.
    Saw { number: u32, at: f64, seen: Vec<Seen> },
    /// The change with this number was a request; it is taken back by this one.
    Answered { number: u32, undo: Request },
    /// The step is done.
    Ended { step: String, outcome: Box<Outcome> },
}

/// What is known of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Recall {
    /// Nothing: it changed nothing here.
    #[default]
    Never,
    /// It began, and was broken off.
    Began,
    /// It ended, with what came of it.
    Done(Box<Outcome>),
}

/// A change that was made, for whoever wants it undone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// Names it to this host.
    pub id: String,
    /// Its step.
    pub step: String,
    /// When, seconds since 1970 by the host's clock.
    pub at: f64,
    /// One line for a person: what was done.
    pub summary: String,
    /// Why it cannot be undone, if it cannot.
    pub hindrance: Option<String>,
    /// When it is undone: 0 in its place; 1, 2 and 3 after all else, as a unit that runs must find its files as they were. Of
    /// these, 3 is a state that is to be there again; 1 and 2 are only for the sake of what was undone before them.
    pub turn: u8,
    /// What of the host its way back sets, where it sets the same whatever is there: of several such changes only the oldest has to
    /// be undone.
    pub sets: Option<String>,
}
