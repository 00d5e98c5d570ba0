//! `getent`: look something up in the databases of a host.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::{Failure, Plan, Probe, Then};
use crate::value::{Key, Map, Value};

/// Looks up users, groups, hosts and the like in the databases of a host, and makes a fact of what it finds: `getent_passwd` has the
/// fields after the first, by the first.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Getent {
    /// The database: `passwd`, `group`, `hosts`, ...
    database: String,
    /// The entry; without it all of them.
    key: Option<String>,
    /// The service to ask (`files`, `ldap`), instead of what the host is set to.
    service: Option<String>,
    /// What stands between fields: a colon for accounts, else blanks.
    split: Option<String>,
    /// Whether an entry that is not there is a failure.
    #[serde(default = "super::command::yes")]
    fail_key: bool,
}

/// Databases whose fields have colons between them.
const WITH_COLONS: &[&str] = &["passwd", "shadow", "group", "gshadow"];

impl Module for Getent {
    const NAME: &'static str = "getent";
    const LOOKS: bool = true;
    const EXAMPLES: &'static [Example] =
        &[Example { title: "Look up a user", task: "{database: passwd, key: root}", given: &[], changes: false }];

    fn facts(arguments: &Map) -> Option<String> {
        arguments.get("database").map(|database| format!("getent_{database}"))
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        for (argument, word) in [("database", Some(&self.database)), ("key", self.key.as_ref())] {
            if word.is_some_and(|word| word.starts_with('-')) {
                return Err(Failure::argument(argument, format!("`{argument}` cannot begin with `-`")));
            }
        }
        let mut argv = vec!["getent"];
        if let Some(service) = &self.service {
            argv.extend(["-s", service]);
        }
        argv.push(&self.database);
        argv.extend(self.key.as_deref());
        let output = host.query(&argv)?;
        let split = self.split.as_deref().or(WITH_COLONS.contains(&self.database.as_str()).then_some(":"));
        let found = match output.rc {
            0 => entries(&String::from_utf8_lossy(&output.stdout), split),
            2 if !self.fail_key => self.key.iter().map(|key| (Key::from(key), Value::Null)).collect(),
            2 => {
                let key = self.key.as_deref().unwrap_or_default();
                let failure = Failure::argument("key", format!("the database `{}` has no entry `{key}`", self.database));
                return Err(failure.hint("`fail_key: false` goes on without it"));
            }
            1 => return Err(Failure::argument("database", format!("the host has no database `{}`", self.database))),
            _ => return Err(Failure::failed(format!("the database `{}` cannot be listed as a whole; name a `key`", self.database))),
        };
        let facts = Map::from_iter([(Key::from(format!("getent_{}", self.database)), Value::from(found))]);
        let mut plan = Plan::nothing("the database was read").value("ansible_facts", facts.clone());
        plan.then.push(Then::Facts { facts, cacheable: false });
        Ok(plan)
    }
}

/// Returns the fields of each entry by its first; where a first field comes again, a list of all.
fn entries(text: &str, split: Option<&str>) -> Map {
    let mut found = Map::new();
    let mut often = std::collections::BTreeSet::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let fields: Vec<&str> = match split {
            Some(split) => line.split(split).collect(),
            None => line.split_whitespace().collect(),
        };
        let Some((first, rest)) = fields.split_first() else { continue };
        let rest = Value::list(rest.iter().map(Value::str));
        match found.get_mut(*first) {
            None => {
                found.insert(Key::from(*first), rest);
            }
            Some(Value::List(all)) if often.contains(*first) => {
                let mut all_of_them = all.to_vec();
                all_of_them.push(rest);
                *all = all_of_them.into();
            }
            Some(other) => {
                *other = Value::list([other.clone(), rest]);
                often.insert((*first).to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_split_and_double_entries_kept() {
        let users = entries("root:x:0:0:root:/root:/bin/sh\n", Some(":"));
        assert_eq!(users.get("root").and_then(Value::as_list).map(<[Value]>::len), Some(6));
        let hosts = entries("127.0.0.1  localhost\n127.0.0.1 me\n127.0.0.1 you\n", None);
        assert_eq!(Value::from(hosts).to_string(), "{'127.0.0.1': [['localhost'], ['me'], ['you']]}");
    }
}
