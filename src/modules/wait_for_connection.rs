//! `wait_for_connection`: wait until tasks can run on a host.
//!
//! The run knows this module by its name: before it sends the task it drops the connection, waits `delay` seconds and
//! connects anew, each try at most `connect_timeout` seconds, `sleep` seconds apart, until `timeout` seconds are over.
//! When the plan below runs, the host therefore answers.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::{Failure, Plan, Probe};
use crate::value::Map;

/// Waits until the host can be reached and tasks run on it, as after a restart.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitForConnection {
    /// Seconds for one try.
    #[serde(default = "five", rename = "connect_timeout")]
    _connect_timeout: u64,
    /// Seconds before the first try.
    #[serde(default, rename = "delay")]
    _delay: u64,
    /// Seconds between tries.
    #[serde(default = "one", rename = "sleep")]
    _sleep: u64,
    /// Seconds after which the task fails.
    #[serde(default = "ten_minutes", rename = "timeout")]
    _timeout: u64,
}

fn five() -> u64 {
    5
}
fn one() -> u64 {
    1
}
fn ten_minutes() -> u64 {
    600
}

impl Module for WaitForConnection {
    const NAME: &'static str = "wait_for_connection";
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Wait up to two minutes for a host that restarts",
        task: "{delay: 5, timeout: 120}",
        given: &[],
        changes: false,
    }];

    fn asks(_: &Map) -> bool {
        true
    }

    fn plan(&self, _host: &dyn Probe) -> Result<Plan, Failure> {
        Ok(Plan::nothing("the host answers"))
    }
}
