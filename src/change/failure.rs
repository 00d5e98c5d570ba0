//! Why a task could not be planned or applied.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Thing;
use crate::value::Map;
use crate::value::arguments::Misfit;

/// Numbers of the system (`errno`).
pub(super) const NOT_PERMITTED: i32 = 1;
const NO_ACCESS: i32 = 13;
pub(super) const NO_SPACE: i32 = 28;
const READ_ONLY: i32 = 30;
pub(super) const NO_QUOTA: i32 = 122;

/// Why a task could not be planned or applied. It knows no places: `run` turns [`Failure::argument`] into the place of that key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// An argument does not fit.
    #[error("{message}")]
    Argument {
        /// Which; dotted where nested, empty when the whole is meant.
        argument: String,
        /// What is wrong with it.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// A file that is needed is not there.
    #[error("`{}` does not exist", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The argument that names it.
        argument: String,
    },
    /// The operating system refused.
    #[error("cannot {doing} `{}`: {message}", path.display())]
    Io {
        /// "read", "write", ...
        doing: String,
        /// The file.
        path: PathBuf,
        /// The system's words.
        message: String,
        /// The system's error number (`errno`), 0 where there is none.
        errno: i32,
    },
    /// The host is no longer what the change was planned from.
    #[error("`{}` was changed by somebody else meanwhile: {what}", path.display())]
    Moved {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// A program failed.
    #[error("`{program}` failed with return code {rc}{}", last_line(stderr))]
    Program {
        /// The program, as a person would type it.
        program: String,
        /// Its return code.
        rc: i32,
        /// What it printed.
        stdout: String,
        /// What it complained.
        stderr: String,
    },
    /// A check cannot know. Not an error: it makes the task's outcome unknown.
    #[error("cannot be predicted: {why}")]
    Unknown {
        /// A short clause.
        why: String,
        /// What the task may change, as far as its arguments tell.
        lost: Vec<Thing>,
    },
    /// The module itself says that the task failed.
    #[error("{message}")]
    Failed {
        /// What happened.
        message: String,
        /// What to do.
        hint: Option<String>,
        /// What `register` gets besides `msg` and `failed`.
        values: Map,
    },
}

fn last_line(stderr: &str) -> String {
    stderr.lines().rev().find(|line| !line.trim().is_empty()).map_or_else(String::new, |line| format!(": {}", line.trim()))
}

impl Failure {
    /// Returns a failure about an argument.
    pub fn argument(argument: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Argument { argument: argument.into(), message: message.into(), hint: None }
    }

    /// Returns a plain failure.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), hint: None, values: Map::new() }
    }

    /// Returns "cannot be predicted".
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into(), lost: Vec::new() }
    }

    /// Returns a failure of the operating system.
    pub fn io(doing: &str, path: impl Into<PathBuf>, error: &std::io::Error) -> Self {
        Self::Io { doing: doing.to_owned(), path: path.into(), message: plain(error), errno: error.raw_os_error().unwrap_or_default() }
    }

    /// Returns that a task took longer than its `timeout`, in seconds.
    pub fn timed_out(seconds: u64) -> Self {
        let period = crate::value::Value::map([("period", crate::value::Value::from(seconds))]);
        Self::failed(format!("Timed out after {seconds} second(s).")).with("timedout", period)
    }

    /// Adds what to do about it.
    pub fn hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Argument { hint, .. } | Self::Failed { hint, .. } = &mut self {
            *hint = Some(text.into());
        }
        self
    }

    /// Adds values for `register`.
    pub fn with(mut self, name: &str, value: impl Into<crate::value::Value>) -> Self {
        if let Self::Failed { values, .. } = &mut self {
            values.insert(name.into(), value.into());
        }
        self
    }

    /// Makes a plain failure one about an argument, which has a place.
    pub fn at(self, argument: &str) -> Self {
        match self {
            Self::Failed { message, hint, .. } => Self::Argument { argument: argument.to_owned(), message, hint },
            other => other,
        }
    }

    /// Returns what to do about it, where that is known.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Argument { hint, .. } | Self::Failed { hint, .. } => hint.clone(),
            Self::Io { errno: NO_SPACE, .. } => {
                Some("the file is as it was; make room (see `df -h` on the host), then run it again".to_owned())
            }
            Self::Io { errno: NO_QUOTA, .. } => Some("the file is as it was; see `quota` on the host".to_owned()),
            Self::Io { errno: NOT_PERMITTED | NO_ACCESS, .. } => {
                Some("the user that the task runs as may not do this; `become: true` makes that root".to_owned())
            }
            Self::Io { errno: READ_ONLY, .. } => Some("the file system is mounted read-only; see `mount` on the host".to_owned()),
            Self::Moved { .. } => Some("nothing was done to it; run it again to plan from what is there now".to_owned()),
            _ => None,
        }
    }

    /// Returns the argument that the failure is about.
    pub fn about(&self) -> Option<&str> {
        match self {
            Self::Argument { argument, .. } | Self::Missing { argument, .. } if !argument.is_empty() => Some(argument),
            _ => None,
        }
    }
}

/// Returns the system's words without Rust's "(os error 2)".
pub(super) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

impl From<Misfit> for Failure {
    fn from(misfit: Misfit) -> Self {
        Self::Argument { argument: misfit.argument, message: misfit.message, hint: None }
    }
}
