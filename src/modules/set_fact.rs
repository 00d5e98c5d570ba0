//! `set_fact`: give a host variables that last for the rest of the run.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::{Example, Module, Runs};
use crate::change::{Failure, Plan, Probe, Then};
use crate::value::arguments::Anything;
use crate::value::{Map, Value};

/// Gives the host variables that last for the rest of the run: each argument is a variable. With `cacheable: true` they
/// are facts as well.
#[derive(Debug)]
pub struct SetFact {
    cacheable: bool,
    facts: Map,
}

/// Reads arguments of any name. `known` is asked first; what it does not take is collected.
pub(super) fn any_arguments<'de, D: Deserializer<'de>>(
    deserializer: D,
    known: &mut dyn FnMut(&str, &Value) -> Result<bool, String>,
) -> Result<Map, D::Error> {
    struct Arguments<'a>(&'a mut dyn FnMut(&str, &Value) -> Result<bool, String>);
    impl<'de> Visitor<'de> for Arguments<'_> {
        type Value = Map;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("arguments")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Map, A::Error> {
            let mut rest = Map::new();
            while let Some(name) = access.next_key::<String>()? {
                let Anything(value) = access.next_value()?;
                if !(self.0)(&name, &value).map_err(A::Error::custom)? {
                    rest.insert(name.into(), value);
                }
            }
            Ok(rest)
        }
    }
    deserializer.deserialize_map(Arguments(known))
}

impl<'de> Deserialize<'de> for SetFact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut cacheable = false;
        let facts = any_arguments(deserializer, &mut |name, value| {
            if name == "cacheable" {
                cacheable = crate::value::arguments::to_bool(value).ok_or_else(|| format!("`cacheable` is yes or no, not `{value}`"))?;
            }
            Ok(name == "cacheable")
        })?;
        Ok(Self { cacheable, facts })
    }
}

impl JsonSchema for SetFact {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SetFact".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "Gives the host variables that last for the rest of the run: each argument is a variable. With `cacheable: true` they are facts as well.",
            "properties": { "cacheable": { "type": "boolean", "default": false, "description": "Whether they are facts as well, and stay in the fact cache." } },
            "additionalProperties": true
        })
    }
}

impl Module for SetFact {
    const NAME: &'static str = "set_fact";
    const RUNS: Runs = Runs::WithoutHost;
    const ANY_ARGUMENT: bool = true;
    const EXAMPLES: &'static [Example] =
        &[Example { title: "Remember two things", task: "{site: dr, ports: [9300, 9443]}", given: &[], changes: false }];

    fn plan(&self, _host: &dyn Probe) -> Result<Plan, Failure> {
        if self.facts.is_empty() {
            return Err(Failure::argument("", "no variable is given").hint("each argument is a variable: `set_fact: {port: 9200}`"));
        }
        for name in self.facts.keys() {
            let name = name.to_string();
            if !is_identifier(&name) {
                return Err(Failure::argument(&name, format!("`{name}` cannot be the name of a variable"))
                    .hint("a name has letters, digits and underscores, and begins with no digit"));
            }
        }
        let mut plan = Plan::nothing("only variables are set").value("ansible_facts", self.facts.clone());
        plan.then.push(Then::Facts { facts: self.facts.clone(), cacheable: self.cacheable });
        Ok(plan)
    }
}

/// Whether a text can be the name of a variable.
pub(super) fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_') && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::arguments::from_map;

    #[test]
    fn any_argument_is_a_fact_and_unknown_stays_unknown() {
        let map: Map = [("a".into(), Value::unknown("not run")), ("cacheable".into(), Value::str("yes"))].into_iter().collect();
        let module: SetFact = from_map(&map).expect("fits");
        assert!(module.cacheable);
        assert_eq!(module.facts.get("a"), Some(&Value::unknown("not run")));
        assert_eq!(module.facts.len(), 1);
    }

    #[test]
    fn a_variable_has_a_proper_name() {
        assert!(is_identifier("_a1") && !is_identifier("1a") && !is_identifier("a-b") && !is_identifier(""));
    }
}
