//! `set_stats`: numbers and texts about a run.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module, Runs};
use crate::change::{Failure, Plan, Probe};
use crate::value::{Value, json};

/// Tells numbers and texts about a run: `register` and the JSON output have them as `ansible_stats`. They are not summed up at the end.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetStats {
    /// Names and what they are.
    data: IndexMap<String, serde_json::Value>,
    /// Whether each host has its own, or the run as a whole.
    #[serde(default)]
    per_host: bool,
    /// Whether numbers are added to, and lists and texts joined with, what was there before.
    #[serde(default = "super::command::yes")]
    aggregate: bool,
}

impl Module for SetStats {
    const NAME: &'static str = "set_stats";
    const RUNS: Runs = Runs::WithoutHost;
    const EXAMPLES: &'static [Example] =
        &[Example { title: "Count something", task: "{data: {restarted: 1}, per_host: true}", given: &[], changes: false }];

    fn plan(&self, _host: &dyn Probe) -> Result<Plan, Failure> {
        let data = json::from_json(&serde_json::json!(self.data));
        let stats = Value::map([("data", data), ("per_host", self.per_host.into()), ("aggregate", self.aggregate.into())]);
        Ok(Plan::nothing("they are part of the result").value("ansible_stats", stats))
    }
}
