//! `fail`: end with a message of one's own.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module, Runs};
use crate::change::{Failure, Plan, Probe};

/// Fails, with a message of your own. Useful with `when`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fail {
    /// What to say.
    #[serde(default = "default_message")]
    msg: String,
}

fn default_message() -> String {
    "Failed as requested from task".to_owned()
}

impl Module for Fail {
    const NAME: &'static str = "fail";
    const RUNS: Runs = Runs::WithoutHost;
    // It always fails, which is no example of a host in the state that was asked for.
    const EXAMPLES: &'static [Example] = &[];

    fn plan(&self, _host: &dyn Probe) -> Result<Plan, Failure> {
        Err(Failure::failed(self.msg.as_str()))
    }
}
