//! What came of a task on the host's side: what changed, what a check foresees, what there is to show.

use serde::{Deserialize, Serialize};

use super::{Change, Failure, Then, Thing};
use crate::value::Map;

/// What came of one task (or one item of its loop) on the host's side.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Whether something changed, or would.
    pub changed: bool,
    /// Why there was something, or nothing, to do.
    pub because: String,
    /// What `register` gets.
    pub values: Map,
    /// What changed, for `--diff`.
    pub diff: Vec<Difference>,
    /// What the run has to do then.
    pub then: Vec<Then>,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
    /// Why it cannot be predicted, if it cannot: only in a check.
    pub unknown: Option<String>,
    /// In a check: what went to the overlay, so that other agents of the same host see it too.
    pub foreseen: Vec<Foreseen>,
    /// Changes to make on the controller.
    pub on_controller: Vec<Change>,
    /// One line for each change, for a person ("write /etc/motd").
    pub summary: Vec<String>,
    /// Things the user should know.
    pub warnings: Vec<String>,
    /// Names among `values` whose text is a secret, as [`super::Plan::secrets`] has them.
    pub secrets: Vec<String>,
    /// As [`super::Plan::planned`].
    pub planned: Option<String>,
    /// As [`super::Plan::found`].
    pub found: Option<String>,
}

impl Outcome {
    /// Returns the changes that a check foresees.
    pub fn changes_foreseen(&self) -> impl Iterator<Item = &Change> {
        self.foreseen.iter().filter_map(|foreseen| match foreseen {
            Foreseen::Change(change) => Some(&**change),
            Foreseen::Lost(..) => None,
        })
    }
}

/// What a check takes in of a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Foreseen {
    /// This would be changed.
    Change(Box<Change>),
    /// This is no longer known, and why.
    Lost(Thing, String),
}

/// A difference to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What it is about: a path, a setting.
    pub before_header: String,
    /// See `before_header`.
    pub after_header: String,
    /// The text before; empty where there was nothing.
    pub before: String,
    /// The text after.
    pub after: String,
    /// Something to say instead of a text difference ("binary", "secret, not shown").
    pub note: Option<String>,
}
