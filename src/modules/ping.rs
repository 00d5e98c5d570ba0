//! `ping`: see whether tasks can run on a host.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::{Failure, Plan, Probe};

/// Answers `pong`. It shows that the connection, the login and privilege escalation work; nothing is sent to the network.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ping {
    /// What to answer. `crash` makes the task fail.
    #[serde(default = "pong")]
    data: String,
}

fn pong() -> String {
    "pong".to_owned()
}

impl Module for Ping {
    const NAME: &'static str = "ping";
    const LOOKS: bool = true;
    const EXAMPLES: &'static [Example] = &[Example { title: "See whether the host answers", task: "{}", given: &[], changes: false }];

    fn plan(&self, _host: &dyn Probe) -> Result<Plan, Failure> {
        if self.data == "crash" {
            return Err(Failure::failed("Task failed: Module failed: boom, as `data: crash` asks"));
        }
        Ok(Plan::nothing("the host answers").value("ping", self.data.as_str()))
    }
}
