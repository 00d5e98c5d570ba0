//! `add_host`: add a host to the inventory of this run.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};

use super::set_fact::any_arguments;
use super::{Example, Module, Runs};
use crate::change::{Failure, Plan, Probe, Then};
use crate::value::{Map, Value};

/// Adds a host to the inventory of this run, for later plays. Arguments other than `name` and `groups` are variables of that host.
#[derive(Debug)]
pub struct AddHost {
    name: String,
    groups: Vec<String>,
    variables: Map,
}

const DESCRIPTION: &str =
    "Adds a host to the inventory of this run, for later plays. Arguments other than `name` and `groups` are variables of that host.";

impl<'de> Deserialize<'de> for AddHost {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (mut name, mut groups) = (None, Vec::new());
        let variables = any_arguments(deserializer, &mut |argument, value| {
            match argument {
                "name" | "hostname" | "host" => name = Some(value.to_string()),
                "groups" | "group" | "groupname" => groups = names(value),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let name = name.filter(|name| !name.is_empty()).ok_or_else(|| D::Error::missing_field("name"))?;
        Ok(Self { name, groups, variables })
    }
}

/// Returns the names in a list, or in a text with commas.
pub(super) fn names(value: &Value) -> Vec<String> {
    let texts = match value {
        Value::List(items) => items.iter().map(ToString::to_string).collect(),
        Value::Null => Vec::new(),
        other => other.to_string().split(',').map(str::to_owned).collect::<Vec<_>>(),
    };
    texts.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

impl JsonSchema for AddHost {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AddHost".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": DESCRIPTION,
            "properties": {
                "name": { "type": "string", "description": "The host; `name:port` sets its port too. Also written `hostname` or `host`." },
                "groups": { "type": "array", "items": { "type": "string" }, "description": "Its groups. Also written `group` or `groupname`." }
            },
            "required": ["name"],
            "additionalProperties": true
        })
    }
}

impl Module for AddHost {
    const NAME: &'static str = "add_host";
    const RUNS: Runs = Runs::WithoutHost;
    const ANY_ARGUMENT: bool = true;
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Add a new node with a variable",
        task: "{name: es4.example.net, groups: [elasticsearch, new], node_role: data}",
        given: &[],
        changes: false,
    }];

    fn plan(&self, _host: &dyn Probe) -> Result<Plan, Failure> {
        let (mut name, mut variables) = (self.name.clone(), self.variables.clone());
        let port = self.name.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
        if let Some((host, port)) = port
            && let Ok(port) = port.parse::<u16>()
        {
            name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            for name in ["ansible_port", "ansible_ssh_port"] {
                variables.entry(name.into()).or_insert_with(|| i64::from(port).into());
            }
        }
        let shown = [("host_name", Value::str(&name)), ("groups", self.groups.clone().into()), ("host_vars", variables.clone().into())];
        let mut plan = Plan::nothing(format!("`{name}` is known from now on")).value("add_host", Value::map(shown));
        plan.then.push(Then::AddHost { name, groups: self.groups.clone(), variables });
        Ok(plan)
    }
}
