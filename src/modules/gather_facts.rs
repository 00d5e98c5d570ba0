//! `gather_facts`: what plays do first, as a task.

use schemars::JsonSchema;
use serde::Deserialize;

use super::setup::Setup;
use super::{Example, Module};
use crate::change::{Failure, Plan, Probe};

/// Learns the facts of a host, as a play does before its tasks. The same as `setup`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct GatherFacts(Setup);

impl Module for GatherFacts {
    const NAME: &'static str = "gather_facts";
    const LOOKS: bool = true;
    const EXAMPLES: &'static [Example] = &[Example { title: "Learn the facts of a host", task: "{}", given: &[], changes: false }];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        self.0.plan(host)
    }
}
