//! `set_stats`: numbers and texts about a run.

use std::sync::Arc;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Controller, Example, Module, Runs};
use crate::change::{Failure, Plan, Probe, Then};
use crate::value::arguments::to_bool;
use crate::value::{Map, Value, json};

/// Counts numbers, texts, lists and dictionaries over a run. The report ends with what they came to.
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

/// Whether a text can name a variable.
fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit()) && !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

impl Module for SetStats {
    const NAME: &'static str = "set_stats";
    const RUNS: Runs = Runs::WithoutHost;
    const EXAMPLES: &'static [Example] =
        &[Example { title: "Count something", task: "{data: {restarted: 1}, per_host: true}", given: &[], changes: false }];

    fn prepare(arguments: &mut Map, _controller: &dyn Controller) -> Result<(), Failure> {
        // What is no boolean counts as none, as ever.
        for name in ["per_host", "aggregate"] {
            if let Some(value) = arguments.get_mut(name) {
                *value = Value::Bool(to_bool(value).unwrap_or(false));
            }
        }
        match arguments.get("data") {
            None => Ok(()),
            Some(Value::Map(data)) => match data.keys().map(ToString::to_string).find(|name| !is_name(name)) {
                Some(name) => Err(Failure::argument("data", format!("Invalid variable name '{name}'"))),
                None => Ok(()),
            },
            Some(_) => Err(Failure::argument("data", "The 'data' option needs to be a dictionary/hash")),
        }
    }

    fn plan(&self, _host: &dyn Probe) -> Result<Plan, Failure> {
        let data = json::from_json(&serde_json::json!(self.data));
        let (per_host, aggregate) = (self.per_host, self.aggregate);
        let stats = Value::map([("data", data.clone()), ("per_host", per_host.into()), ("aggregate", aggregate.into())]);
        let mut plan = Plan::nothing("they are counted").value("ansible_stats", stats);
        if let Value::Map(data) = data {
            plan.then.push(Then::Stats { data: Arc::unwrap_or_clone(data), per_host, aggregate });
        }
        Ok(plan)
    }
}
