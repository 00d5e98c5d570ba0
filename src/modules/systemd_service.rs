//! `systemd_service`: the newer name of `systemd`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::systemd::Systemd;
use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::{Failure, Plan, Probe};

/// Starts, stops, restarts, enables and masks units of systemd. The same as `systemd`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SystemdService(Systemd);

impl Module for SystemdService {
    const NAME: &'static str = "systemd_service";
    const RESTS: bool = Systemd::RESTS;
    const CHANGES: &'static [Names] = Systemd::CHANGES;
    const EXAMPLES: &'static [Example] = Systemd::EXAMPLES;

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        self.0.plan(host)
    }
}
