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
    const EXAMPLES: &'static [Example] =
        &[Example { title: "End here, and say why", task: "msg: this playbook needs three nodes", given: &[], changes: false }];

    fn plan(&self, _host: &dyn Probe) -> Result<Plan, Failure> {
        Err(Failure::failed(self.msg.as_str()))
    }
}
