//! `meta`: actions on the run itself.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module, Runs};
use crate::change::{Failure, Plan, Probe, Then};

/// Acts on the run itself: runs handlers now, ends the play or the host, forgets facts, opens the connection anew.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Meta {
    /// What to do: `flush_handlers`, `end_host`, `end_play`, `end_batch`, `end_role`, `clear_facts`,
    /// `clear_host_errors`, `refresh_inventory`, `reset_connection` or `noop`.
    #[serde(alias = "_raw_params", alias = "free_form")]
    action: String,
}

/// What the run understands.
const ACTIONS: &[&str] = &[
    "flush_handlers",
    "end_host",
    "end_play",
    "end_batch",
    "end_role",
    "clear_facts",
    "clear_host_errors",
    "refresh_inventory",
    "reset_connection",
    "noop",
];

impl Module for Meta {
    const NAME: &'static str = "meta";
    const RUNS: Runs = Runs::WithoutHost;
    const FREE_FORM: Option<&'static str> = Some("action");
    const EXAMPLES: &'static [Example] =
        &[Example { title: "Run the notified handlers now", task: "action: flush_handlers", given: &[], changes: false }];

    fn plan(&self, _host: &dyn Probe) -> Result<Plan, Failure> {
        let action = self.action.trim();
        if !ACTIONS.contains(&action) {
            return Err(
                Failure::argument("action", format!("`{action}` is no action of `meta`")).hint(format!("known are {}", ACTIONS.join(", ")))
            );
        }
        let mut plan = Plan::nothing("an action of the run, not of the host");
        plan.then.push(Then::Meta(action.to_owned()));
        Ok(plan)
    }
}
