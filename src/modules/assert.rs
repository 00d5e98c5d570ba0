//! `assert`: see whether conditions hold.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Controller, Example, Module, Runs};
use crate::change::{Failure, Plan, Probe};
use crate::value::arguments::Anything;
use crate::value::{Map, Value};

/// Fails unless every condition holds. The message tells which one did not.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assert {
    /// A condition or several, as in `when`: without braces.
    #[serde(rename = "that")]
    _that: Anything,
    /// What to say when one does not hold.
    #[serde(alias = "msg", rename = "fail_msg")]
    _fail_msg: Option<Anything>,
    /// What to say when all hold.
    success_msg: Option<Anything>,
    /// Whether to say little.
    #[serde(default, rename = "quiet")]
    _quiet: bool,
}

impl Module for Assert {
    const NAME: &'static str = "assert";
    const RUNS: Runs = Runs::WithoutHost;
    const UNRENDERED: &'static [&'static str] = &["that"];
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Insist on an odd number",
        task: "{that: ['3 is odd'], fail_msg: an odd number of masters is needed}",
        given: &[],
        changes: false,
    }];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        let that = arguments.get("that").cloned().ok_or_else(|| Failure::argument("that", "missing required arguments: that"))?;
        let conditions = that.as_list().map_or_else(|| vec![that.clone()], <[Value]>::to_vec);
        for condition in &conditions {
            if condition.is_null() || condition.as_str().is_some_and(|text| text.trim().is_empty()) {
                return Err(Failure::argument("that", "Empty conditional expression: write what has to hold"));
            }
            if controller.condition(condition)? {
                continue;
            }
            let message = arguments.get("fail_msg").or_else(|| arguments.get("msg"));
            let message = match message {
                Some(Value::List(lines)) => lines.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
                Some(message) => message.to_string(),
                None => "Assertion failed".to_owned(),
            };
            return Err(Failure::failed(message)
                .hint(format!("it does not hold that {condition}"))
                .with("assertion", condition.to_string())
                .with("evaluated_to", false));
        }
        Ok(())
    }

    fn plan(&self, _host: &dyn Probe) -> Result<Plan, Failure> {
        let message = self.success_msg.as_ref().map_or_else(|| Value::str("All assertions passed"), |message| message.0.clone());
        Ok(Plan::nothing("all assertions hold").value("msg", message))
    }
}
