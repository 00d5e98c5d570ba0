//! `hostname`: the name of a host.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::target::{Manner, Target};
use crate::change::{Attributes, Change, Effect, Failure, Plan, Probe, Program, Then};
use crate::value::{Key, Map, Value};

/// Sets the name of a Linux host, now and for the next start, in `/etc/hostname`. `/etc/hosts` stays as it is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hostname {
    /// The name.
    name: String,
    /// Accepted for old playbooks; how a Linux host keeps its name is the same on all of them.
    #[serde(rename = "use")]
    _strategy: Option<String>,
}

impl Module for Hostname {
    const NAME: &'static str = "hostname";
    const CHANGES: &'static [Names] = &[Names::Always("/etc/hostname"), Names::Program("hostname")];
    const EXAMPLES: &'static [Example] = &[Example { title: "Name a host", task: "name: web1.example.net", given: &[], changes: true }];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let name = self.name.trim();
        let is_sound =
            |part: &str| !part.is_empty() && part.len() < 64 && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if name.is_empty() || name.len() > 64 || !name.split('.').all(is_sound) {
            return Err(Failure::argument(
                "name",
                format!("`{name}` cannot be the name of a host: at most 64 letters, digits and `-`, and dots"),
            ));
        }
        let output = host.query(&["hostname"])?;
        let current = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let target = Target::find(host, Path::new("/etc/hostname"), "name")?;
        let text = String::from_utf8_lossy(target.content.as_deref().unwrap_or_default()).into_owned();
        let kept = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
        let mut changes = Vec::new();
        if kept != name {
            let for_new = Attributes { mode: Some(0o644), ..Attributes::default() };
            changes.extend(target.changes(Some(format!("{name}\n").into_bytes()), &Manner { for_new, ..Manner::default() }));
        }
        if current != name {
            let stdout = format!("{name}\n").into_bytes();
            changes.push(Change::Run {
                program: Program { argv: vec!["hostname".to_owned(), name.to_owned()], accept: vec![0], ..Program::default() },
                effects: vec![Effect::QueryPrints { argv: vec!["hostname".to_owned()], stdout }],
                summary: format!("name the host {name}"),
            });
        }
        let short = name.split('.').next().unwrap_or(name);
        let domain = name.split_once('.').map_or("", |(_, domain)| domain);
        let facts = [("ansible_hostname", short), ("ansible_nodename", name), ("ansible_fqdn", name), ("ansible_domain", domain)];
        let facts = Map::from_iter(facts.map(|(key, text)| (Key::from(key), Value::str(text))));
        let because = if changes.is_empty() { "the host has this name" } else { "the host has another name" };
        let mut plan = Plan::all(because, changes).value("name", name).value("ansible_facts", facts.clone());
        plan.then.push(Then::Facts { facts, cacheable: false });
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::fake::FakeHost;

    fn changes(host: &FakeHost, name: &str) -> Result<usize, Failure> {
        Hostname { name: name.to_owned(), _strategy: None }.plan(host).map(|plan| plan.changes.len())
    }

    #[test]
    fn what_is_kept_and_what_is_now_are_both_seen() {
        let host = FakeHost::with(&[("/etc/hostname", "# mine\na\n")]).prints(&["hostname"], 0, "b\n");
        assert_eq!((changes(&host, "a"), changes(&host, "b"), changes(&host, "c")), (Ok(1), Ok(1), Ok(2)));
        assert!(changes(&host, "a b").is_err() && changes(&host, "").is_err());
    }
}
