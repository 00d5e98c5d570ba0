//! `sysvinit`: services of init scripts.

use schemars::JsonSchema;
use serde::Deserialize;

use super::service::Service;
use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::{Failure, Plan, Probe};

/// Starts, stops and enables services of init scripts. The same as `service`, which finds out what manages them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Sysvinit(Service);

impl Module for Sysvinit {
    const NAME: &'static str = "sysvinit";
    const RESTS: bool = false;
    const CHANGES: &'static [Names] = &[Names::Unit("name")];
    const EXAMPLES: &'static [Example] =
        &[Example { title: "Restart a service", task: "{name: app, state: restarted}", given: &[], changes: true }];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        self.0.plan(host)
    }
}
