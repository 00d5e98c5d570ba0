//! `group_by`: put hosts into groups by what is known of them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module, Runs};
use crate::change::{Failure, Plan, Probe, Then};

/// Puts each host into a group whose name is made of its variables, for later plays.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupBy {
    /// The group, usually with a template in it.
    key: String,
    /// The groups above that group.
    #[serde(default)]
    parents: Vec<String>,
}

impl Module for GroupBy {
    const NAME: &'static str = "group_by";
    const RUNS: Runs = Runs::WithoutHost;
    const EXAMPLES: &'static [Example] =
        &[Example { title: "Group by system", task: "{key: os_debian, parents: [linux]}", given: &[], changes: false }];

    fn plan(&self, _host: &dyn Probe) -> Result<Plan, Failure> {
        let tidy = |name: &String| name.trim().replace(' ', "-");
        let key = tidy(&self.key);
        if key.is_empty() {
            return Err(Failure::argument("key", "the name of the group is empty"));
        }
        let parents: Vec<_> = if self.parents.is_empty() { vec!["all".to_owned()] } else { self.parents.iter().map(tidy).collect() };
        let plan = Plan::nothing(format!("the host is in `{key}` from now on"));
        let mut plan = plan.value("add_group", key.as_str()).value("parent_groups", parents.clone());
        plan.then.push(Then::GroupBy { key, parents });
        Ok(plan)
    }
}
