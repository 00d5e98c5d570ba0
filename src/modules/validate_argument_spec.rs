//! `validate_argument_spec`: see whether variables fit a specification.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Controller, Example, Module, Runs};
use crate::change::{Failure, Plan, Probe};
use crate::value::arguments::Anything;
use crate::value::{Map, Value, specification};

/// Fails unless the variables that a specification names, and the arguments given, fit it. Roles with `meta/argument_specs.yml`
/// have this done before their first task.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidateArgumentSpec {
    /// The options, each with its `type`, `required`, `choices` and so on.
    #[serde(rename = "argument_spec")]
    _argument_spec: Anything,
    /// Values that count more than the variables of the same names.
    #[serde(default, rename = "provided_arguments")]
    _provided_arguments: Option<Anything>,
    #[schemars(skip)]
    #[serde(default)]
    validate_args_context: Option<Anything>,
}

impl Module for ValidateArgumentSpec {
    const NAME: &'static str = "validate_argument_spec";
    const RUNS: Runs = Runs::WithoutHost;
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Insist on a whole number",
        task: "{argument_spec: {retries: {type: int, required: true}}, provided_arguments: {retries: 3}}",
        given: &[],
        changes: false,
    }];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        let dictionary = |name: &str| match arguments.get(name) {
            Some(Value::Map(map)) => Ok(Some((**map).clone())),
            None | Some(Value::Null) => Ok(None),
            Some(other) => Err(Failure::argument(name, format!("Incorrect type for {name}, expected dict and got {}", other.type_name()))),
        };
        let options =
            dictionary("argument_spec")?.ok_or_else(|| Failure::argument("argument_spec", "\"argument_spec\" arg is required in args"))?;
        let mut given = Map::new();
        for name in options.keys().filter_map(|name| name.as_str()) {
            if controller.expression(&format!("vars['{name}'] is defined")).is_ok_and(|defined| defined == Value::Bool(true)) {
                given.insert(name.into(), controller.expression(&format!("vars['{name}']"))?);
            }
        }
        given.extend(dictionary("provided_arguments")?.unwrap_or_default());
        let errors = specification::errors(&options, &given);
        if errors.is_empty() {
            return Ok(());
        }
        let mut failure = Failure::failed(format!("Validation of arguments failed:\n{}", errors.join("\n")))
            .with("argument_errors", Value::list(errors.iter().map(Value::str)))
            .with("argument_spec_data", Value::from(options));
        if let Some(context) = arguments.get("validate_args_context") {
            failure = failure.with("validate_args_context", context.clone());
        }
        Err(failure)
    }

    fn plan(&self, _host: &dyn Probe) -> Result<Plan, Failure> {
        let plan = Plan::nothing("the arguments fit").value("msg", "The arg spec validation passed");
        Ok(match &self.validate_args_context {
            Some(context) => plan.value("validate_args_context", context.0.clone()),
            None => plan,
        })
    }
}
