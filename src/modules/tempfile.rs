//! `tempfile`: a new temporary file or folder.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::carry::path_of;
use crate::change::doubt::Names;
use crate::change::probe::FileKind;
use crate::change::{Attributes, Before, Change, Content, Done, Failure, Plan, Probe};
use crate::value::{Map, Value};

/// Makes a temporary file or folder of a new name, for its owner alone. Nothing removes it: that is a task of its own.
/// In a check the name is one that would be chosen; a run chooses another.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tempfile {
    /// A file or a folder.
    #[serde(default)]
    state: State,
    /// The folder it is made in; if not given, `TMPDIR`, else `/tmp`.
    path: Option<String>,
    /// How its name begins.
    #[serde(default = "prefix")]
    prefix: String,
    /// How its name ends.
    #[serde(default)]
    suffix: String,
}

/// What to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    File,
    Directory,
}

fn prefix() -> String {
    "ansible.".to_owned()
}

/// Letters of a random name.
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789_";

impl Module for Tempfile {
    const NAME: &'static str = "tempfile";
    const RESTS: bool = false;
    const CHANGES: &'static [Names] = &[];
    const EXAMPLES: &'static [Example] = &[
        Example { title: "A temporary file", task: "{suffix: .pem}", given: &[("/tmp/", "")], changes: true },
        Example {
            title: "A temporary folder",
            task: "{state: directory, prefix: build., path: /tmp}",
            given: &[("/tmp/", "")],
            changes: true,
        },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let folder = self.path.clone().or_else(|| host.environment("TMPDIR")).unwrap_or_else(|| "/tmp".to_owned());
        match host.stat(Path::new(&folder), true)? {
            Some(stat) if stat.kind == FileKind::Directory => {}
            Some(_) => return Err(Failure::argument("path", format!("`{folder}` is not a directory"))),
            None => return Err(Failure::Missing { path: folder.into(), argument: "path".to_owned() }),
        }
        for (argument, part) in [("prefix", &self.prefix), ("suffix", &self.suffix)] {
            if part.contains('/') {
                let message = format!("{argument} must be a valid file name component, without `/`, which `{part}` is not");
                return Err(Failure::argument(argument, message));
            }
        }
        let path = self.new_name(host, Path::new(&folder))?;
        let change = match self.state {
            State::Directory => {
                Change::Directory { path: path.clone(), attributes: Attributes { mode: Some(0o700), ..Attributes::default() } }
            }
            State::File => Change::Write {
                path: path.clone(),
                before: Before::Absent,
                after: Content::Bytes(Vec::new()),
                attributes: Attributes { mode: Some(0o600), ..Attributes::default() },
                backup: false,
                validate: None,
                secret: false,
                in_place: false,
            },
        };
        let (state, mode) = if self.state == State::File { ("file", "0600") } else { ("directory", "0700") };
        let because = "a new name is made each time";
        Ok(Plan { anew: true, ..Plan::one(because, change) }
            .value("path", Value::unknown(because))
            .value("state", state)
            .value("mode", mode)
            .value("size", 0))
    }

    fn result(&self, plan: &Plan, done: &[Done], host: &dyn Probe) -> Result<Map, Failure> {
        let Some(path) = plan.changes.first().and_then(path_of) else { return Ok(plan.values.clone()) };
        let mut values = plan.values.clone();
        values.insert("path".into(), path.display().to_string().into());
        crate::change::destination::finished(values, done, host, path)
    }
}

impl Tempfile {
    fn new_name(&self, host: &dyn Probe, folder: &Path) -> Result<PathBuf, Failure> {
        loop {
            let random: String = (0..8)
                .filter_map(|_| LETTERS.get(usize::from(rand::random::<u8>()) % LETTERS.len()))
                .map(|letter| char::from(*letter))
                .collect();
            let path = folder.join(format!("{}{random}{}", self.prefix, self.suffix));
            if host.stat(&path, false)?.is_none() {
                return Ok(path);
            }
        }
    }
}
