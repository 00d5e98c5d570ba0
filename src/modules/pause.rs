//! `pause`: wait, or ask.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module, Runs};
use crate::change::{Failure, Plan, Probe, Then};
use crate::value::Value;

/// Waits for some time, or asks on the terminal and goes on at Enter. What was typed is `user_input` of the result.
///
/// It is done once for all hosts. Without a terminal a prompt is answered with nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// How many minutes.
    minutes: Option<f64>,
    /// How many seconds.
    seconds: Option<f64>,
    /// What to show. Without a time, Enter ends the wait.
    prompt: Option<String>,
    /// Whether typed text shows.
    #[serde(default = "super::command::yes")]
    echo: bool,
}

impl Module for Pause {
    const NAME: &'static str = "pause";
    const RUNS: Runs = Runs::WithoutHost;
    const EXAMPLES: &'static [Example] =
        &[Example { title: "Give the load balancer a moment", task: "seconds: 1", given: &[], changes: false }];

    fn plan(&self, _host: &dyn Probe) -> Result<Plan, Failure> {
        let time = match (self.minutes, self.seconds) {
            (Some(_), Some(_)) => return Err(Failure::argument("seconds", "`minutes` and `seconds` exclude each other")),
            (Some(minutes), None) => Some(minutes * 60.0),
            (None, seconds) => seconds,
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let seconds = time.map(|seconds| seconds.max(0.0).ceil() as u64);
        let because = seconds.map_or_else(|| "waits for Enter".to_owned(), |seconds| format!("waits {seconds} seconds"));
        let mut plan = Plan::nothing(because).value("user_input", "").value("echo", self.echo).value("rc", 0);
        plan = plan.value("delta", seconds.map_or(Value::Int(0), Value::from));
        plan.then.push(Then::Pause { seconds, prompt: self.prompt.clone(), echo: self.echo });
        Ok(plan)
    }
}
