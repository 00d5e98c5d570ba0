//! `reboot`: restart a host, and wait until it is back. The run itself does it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::{Failure, Plan, Probe};

/// Restarts a host, and waits until it answers again after another start.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reboot {
    /// Seconds to wait before; whole minutes count.
    #[serde(default, rename = "pre_reboot_delay")]
    _pre_reboot_delay: f64,
    /// Seconds to wait once the host is back.
    #[serde(default, rename = "post_reboot_delay")]
    _post_reboot_delay: f64,
    /// Seconds after which the task fails.
    #[serde(default = "ten_minutes", rename = "reboot_timeout")]
    _reboot_timeout: f64,
    /// Seconds for one try to connect.
    #[serde(default = "five", rename = "connect_timeout")]
    _connect_timeout: f64,
    /// What users of the host are told.
    #[serde(default = "message", rename = "msg")]
    _msg: String,
    /// A command that has to succeed before the host counts as back.
    #[serde(default = "whoami", rename = "test_command")]
    _test_command: String,
    /// The command that restarts the host, instead of `shutdown -r`.
    #[serde(rename = "reboot_command")]
    _reboot_command: Option<String>,
    /// A command whose output differs after every start, instead of the host's own number for it.
    #[serde(rename = "boot_time_command")]
    _boot_time_command: Option<String>,
    /// Accepted for old playbooks: the system's usual places are searched.
    #[serde(default, rename = "search_paths")]
    _search_paths: Vec<String>,
}

fn ten_minutes() -> f64 {
    600.0
}
fn five() -> f64 {
    5.0
}
fn message() -> String {
    "This host is restarted by windlass".to_owned()
}
fn whoami() -> String {
    "whoami".to_owned()
}

impl Module for Reboot {
    const NAME: &'static str = "reboot";
    const RESTS: bool = false;
    const EXAMPLES: &'static [Example] =
        &[Example { title: "Restart a host, and wait up to five minutes", task: "{reboot_timeout: 300}", given: &[], changes: true }];

    fn plan(&self, _host: &dyn Probe) -> Result<Plan, Failure> {
        Ok(Plan::nothing("a restart is the run's own work"))
    }
}
