//! What a journal's lines say.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
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
    /// A part of such a step ended: an item of its loop, or an attempt.
    PartEnded {
        /// The host.
        host: String,
        /// The part's key.
        key: String,
        /// What came of it (postcard), sealed.
        sealed: String,
    },
    /// Something is about to be changed on a host, reached in this way for the first time.
    Seat {
        /// The host.
        host: String,
        /// How it is reached, and as whom (postcard), sealed.
        sealed: String,
    },
    /// Secrets that the run learned: what is told of it later must not have them either.
    Secrets {
        /// The secrets, as a JSON list, sealed.
        sealed: String,
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
        let user = variable("SUDO_USER").or_else(|| variable("USER")).or_else(|| variable("LOGNAME")).or_else(|| {
            // A run that cron or a build server starts has none of these.
            nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten().map(|user| user.name)
        });
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
    /// Whether it stands in `before` or `after` of a handler: it is only done where the handler is.
    #[serde(default)]
    pub around_handler: bool,
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
    /// Its program was ended in the middle, by the user.
    #[serde(default)]
    pub broken_off: bool,
    /// Nothing of it may be shown.
    pub no_log: bool,
    /// Warnings.
    pub warnings: Vec<String>,
    /// How long it took, seconds.
    pub seconds: f64,
    /// The handlers it notified, by name.
    pub notified: Vec<String>,
    /// What a resumed run needs of it ([`Replay::packed`]), sealed. None: it is done again.
    pub sealed: Option<String>,
}

/// Differences longer than this, both texts together, are kept in part only. Bytes.
const LONGEST: usize = 64 * 1024;

/// Lines around a change that are kept of a long difference.
const AROUND: usize = 3;

/// Returns a difference as a journal keeps it: of long texts only the part that differs, with a few lines around it.
pub fn kept(difference: &Difference) -> Difference {
    if difference.before.len() + difference.after.len() <= LONGEST {
        return difference.clone();
    }
    let lines = |text: &str| -> Vec<String> { text.split_inclusive('\n').map(str::to_owned).collect() };
    let (before, after) = (lines(&difference.before), lines(&difference.after));
    let same = before.iter().zip(&after).take_while(|(before, after)| before == after).count();
    let shorter = before.len().min(after.len()) - same;
    let same_end = before.iter().rev().zip(after.iter().rev()).take(shorter).take_while(|(before, after)| before == after).count();
    let part = |lines: &[String]| -> String {
        let end = (lines.len() - same_end + AROUND).min(lines.len());
        lines.get(same.saturating_sub(AROUND)..end).unwrap_or_default().concat()
    };
    let (before, after) = (part(&before), part(&after));
    let told = if before.len() + after.len() <= LONGEST {
        Difference {
            before,
            after,
            note: Some(format!("of long texts, only what differs is kept: from line {}", same + 1)),
            ..Difference::default()
        }
    } else {
        let note = format!("too long to be kept: {} bytes before, {} after", difference.before.len(), difference.after.len());
        Difference { note: Some(note), ..Difference::default() }
    };
    Difference { before_header: difference.before_header.clone(), after_header: difference.after_header.clone(), ..told }
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

impl Replay {
    /// Returns it as bytes, compressed: facts are long and much alike.
    pub fn packed(&self) -> Option<Vec<u8>> {
        let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(&postcard::to_stdvec(self).ok()?).ok()?;
        packer.finish().ok()
    }

    /// Returns it from such bytes.
    pub fn unpacked(bytes: &[u8]) -> Option<Self> {
        let mut plain = Vec::new();
        ZlibDecoder::new(bytes).read_to_end(&mut plain).ok()?;
        postcard::from_bytes(&plain).ok()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_long_differences_the_changed_part_is_kept() {
        let line = |at: usize| format!("line {at}\n");
        let before: String = (0..20_000).map(line).collect();
        let after = before.replace("line 9000\n", "changed\n");
        let long = Difference { before: before.clone(), after, before_header: "/x".into(), after_header: "/x".into(), note: None };
        let kept = super::kept(&long);
        assert_eq!(kept.before, "line 8997\nline 8998\nline 8999\nline 9000\nline 9001\nline 9002\nline 9003\n");
        assert_eq!(kept.after, "line 8997\nline 8998\nline 8999\nchanged\nline 9001\nline 9002\nline 9003\n");
        let other: String = (30_000..50_000).map(line).collect();
        let none = super::kept(&Difference { after: other, ..long });
        assert!(none.before.is_empty() && none.note.is_some_and(|note| note.contains("too long")));
    }
}
