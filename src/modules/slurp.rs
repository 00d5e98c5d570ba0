//! `slurp`: the content of a file of the host.

use std::path::Path;

use base64::Engine as _;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::probe::FileKind;
use crate::change::{Failure, Plan, Probe};

/// Returns the content of a file of the host as base64, so that any content comes whole: `{{ file.content | b64decode }}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slurp {
    /// The file.
    #[serde(alias = "path")]
    src: String,
}

impl Module for Slurp {
    const NAME: &'static str = "slurp";
    const LOOKS: bool = true;
    const EXAMPLES: &'static [Example] =
        &[Example { title: "Read a file", task: "{src: /etc/motd}", given: &[("/etc/motd", "hi\n")], changes: false }];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let path = Path::new(&self.src);
        let wrong = |what: String| Failure::argument("src", what);
        let file_above = path.ancestors().skip(1).find_map(|above| host.stat(above, true).ok().flatten());
        if file_above.is_some_and(|stat| stat.kind != FileKind::Directory) {
            return Err(wrong(format!("Unable to slurp file: `{}` is below something that is no directory", self.src)));
        }
        let Some(bytes) = host.read(path).map_err(|failure| match failure {
            Failure::Io { message, .. } if matches!(host.stat(path, true), Ok(Some(stat)) if stat.kind == FileKind::Directory && !message.contains("denied")) => {
                wrong(format!("Source is a directory and must be a file: {}", self.src))
            }
            Failure::Io { message, .. } if message.contains("denied") => wrong(format!("File is not readable: {}", self.src)),
            other => other,
        })?
        else {
            return Err(wrong(format!("File not found: {}", self.src)));
        };
        Ok(Plan::nothing("the file was read")
            .value("content", base64::engine::general_purpose::STANDARD.encode(bytes))
            .value("encoding", "base64")
            .value("source", self.src.as_str()))
    }
}
