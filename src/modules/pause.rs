//! `pause`: wait, or ask.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module, Runs};
use crate::change::{Failure, Plan, Probe, Then};

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
            (Some(_), Some(_)) => return Err(Failure::failed("parameters are mutually exclusive: minutes|seconds")),
            (Some(minutes), None) => Some(minutes * 60.0),
            (None, seconds) => seconds,
        };
        let seconds = time.map(|seconds| seconds.clamp(0.0, 1e9));
        let because = seconds.map_or_else(|| "waits for Enter".to_owned(), |seconds| format!("waits {seconds} seconds"));
        let mut plan = Plan::nothing(because).value("user_input", "").value("echo", self.echo).value("rc", 0).value("stderr", "");
        let told = match (self.minutes, seconds) {
            (Some(minutes), _) => format!("Paused for {minutes:.1} minutes"),
            (None, seconds) => format!("Paused for {:.1} seconds", seconds.unwrap_or(0.0)),
        };
        #[allow(clippy::cast_possible_truncation)]
        let whole = seconds.unwrap_or(0.0) as i64;
        plan = plan.value("delta", whole).value("stdout", told);
        plan.then.push(Then::Pause { seconds, prompt: self.prompt.clone(), echo: self.echo });
        Ok(plan)
    }
}
