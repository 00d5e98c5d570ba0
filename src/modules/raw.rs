//! `raw`: a line for the login shell of a host, without the agent.
//!
//! The run sends `cmd` (through `executable -c`, where given) over the connection itself, since the host may have no place
//! for the agent, and makes the same values of the answer. Where a host has an agent anyway, `plan` below does.

use schemars::JsonSchema;
use serde::Deserialize;

use super::command::{Call, outcome};
use super::{Example, Module};
use crate::change::{Done, Failure, Plan, Probe};
use crate::value::{Map, Value};

/// Runs a line as the login shell of the host understands it, without the agent: for devices and for machines where
/// nothing else works yet. In a check it is not run, and its results are unknown.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// The line.
    #[serde(alias = "_raw_params")]
    cmd: String,
    /// A shell to run it with, as a full path, instead of the login shell.
    executable: Option<String>,
}

impl Module for Raw {
    const NAME: &'static str = "raw";
    const RESTS: bool = false;
    const FREE_FORM: Option<&'static str> = Some("cmd");
    const EXAMPLES: &'static [Example] =
        &[Example { title: "Look at a bare machine", task: "cmd: cat /etc/os-release", given: &[], changes: true }];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        if self.cmd.trim().is_empty() {
            return Err(Failure::argument("cmd", "no command is given"));
        }
        let shell = self.executable.as_deref().unwrap_or("/bin/sh");
        let argv = vec![shell.to_owned(), "-c".to_owned(), self.cmd.clone()];
        Call { shown: Value::str(&self.cmd), line: self.cmd.clone(), argv, ..Call::default() }.plan(host)
    }

    fn result(&self, plan: &Plan, done: &[Done], _host: &dyn Probe) -> Result<Map, Failure> {
        outcome(plan, done, false)
    }
}
