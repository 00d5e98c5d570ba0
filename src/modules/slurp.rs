//! `slurp`: the content of a file of the host.

use std::path::Path;

use base64::Engine as _;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
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
    const EXAMPLES: &'static [Example] =
        &[Example { title: "Read a file", task: "{src: /etc/motd}", given: &[("/etc/motd", "hi\n")], changes: false }];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let Some(bytes) = host.read(Path::new(&self.src))? else {
            return Err(Failure::Missing { path: self.src.as_str().into(), argument: "src".to_owned() });
        };
        Ok(Plan::nothing("the file was read")
            .value("content", base64::engine::general_purpose::STANDARD.encode(bytes))
            .value("encoding", "base64")
            .value("source", self.src.as_str()))
    }
}
