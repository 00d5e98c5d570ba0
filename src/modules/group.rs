//! `group`: groups of a host.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::{Change, Done, Effect, Failure, GroupEntry, Plan, Probe, Program};
use crate::value::{Map, Value};

/// Makes, changes and removes groups.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The group.
    name: String,
    /// Its number.
    gid: Option<u32>,
    /// Whether it shall be there.
    #[serde(default)]
    state: Presence,
    /// Whether a new group gets a number of the system's range.
    #[serde(default)]
    system: bool,
    /// Whether the number may be another group's too.
    #[serde(default)]
    non_unique: bool,
    /// Whether it is removed even though it is a user's primary group.
    #[serde(default)]
    force: bool,
    /// Whether the group is made on the host itself; it always is.
    #[serde(default)]
    local: bool,
    /// The lowest number for a new group.
    gid_min: Option<u32>,
    /// The highest number for a new group.
    gid_max: Option<u32>,
}

/// Whether something shall be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Presence {
    /// It shall.
    #[default]
    Present,
    /// It shall not.
    Absent,
}

impl Module for Group {
    const NAME: &'static str = "group";
    const CHANGES: &'static [Names] = &[Names::Group("name")];
    const EXAMPLES: &'static [Example] = &[
        Example { title: "Make a group", task: "{name: elasticsearch, system: true}", given: &[], changes: true },
        Example { title: "See that a group is gone", task: "{name: old, state: absent}", given: &[], changes: false },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        check_name(&self.name, "group")?;
        if self.local && (self.gid_min.is_some() || self.gid_max.is_some()) {
            return Err(Failure::argument("local", "'gid_min' and 'gid_max' are mutually exclusive with 'local'"));
        }
        if self.non_unique && self.gid.is_none() {
            return Err(Failure::argument("non_unique", "`non_unique` needs `gid`, the number that another group may have too"));
        }
        let found = host.group(&self.name)?.filter(|group| group.name == self.name);
        let plan = match (self.state, &found) {
            (Presence::Absent, None) => Plan::nothing("there is no such group"),
            (Presence::Absent, Some(_)) => {
                let mut argv = vec!["groupdel"];
                argv.extend(self.force.then_some("-f"));
                run("the group is there", &argv, &self.name, Effect::GroupGone(self.name.clone()))
            }
            (Presence::Present, None) => self.add(),
            (Presence::Present, Some(group)) if self.gid.is_none() || self.gid == group.gid => Plan::nothing("the group is as asked"),
            (Presence::Present, Some(group)) => {
                let gid = self.gid.map(|gid| gid.to_string()).unwrap_or_default();
                let mut argv = vec!["groupmod", "-g", &gid];
                argv.extend(self.non_unique.then_some("-o"));
                let after = GroupEntry { gid: self.gid, ..group.clone() };
                run("its number differs", &argv, &self.name, Effect::Group(after))
            }
        };
        let gid = self.gid.or(found.and_then(|group| group.gid)).map(i64::from);
        let state = if self.state == Presence::Present { "present" } else { "absent" };
        let plan = plan.value("name", self.name.as_str()).value("state", state).value("system", self.system);
        Ok(if self.state == Presence::Absent {
            plan
        } else {
            plan.value("gid", gid.map_or_else(|| Value::unknown("the group was not made"), Value::Int))
        })
    }

    fn result(&self, plan: &Plan, _done: &[Done], host: &dyn Probe) -> Result<Map, Failure> {
        let mut values = plan.values.clone();
        if let (Presence::Present, Some(gid)) = (self.state, host.group(&self.name)?.and_then(|group| group.gid)) {
            values.insert("gid".into(), i64::from(gid).into());
        }
        Ok(values)
    }
}

impl Group {
    fn add(&self) -> Plan {
        let mut argv: Vec<String> = vec!["groupadd".to_owned()];
        if let Some(gid) = self.gid {
            argv.extend(["-g".to_owned(), gid.to_string()]);
            argv.extend(self.non_unique.then(|| "-o".to_owned()));
        }
        argv.extend(self.system.then(|| "-r".to_owned()));
        for (name, bound) in [("GID_MIN", self.gid_min), ("GID_MAX", self.gid_max)] {
            argv.extend(bound.into_iter().flat_map(|bound| ["-K".to_owned(), format!("{name}={bound}")]));
        }
        let argv: Vec<_> = argv.iter().map(String::as_str).collect();
        let after = GroupEntry { name: self.name.clone(), gid: self.gid, members: Vec::new() };
        run("there is no such group", &argv, &self.name, Effect::Group(after))
    }
}

/// Returns the plan to run a program of the account tools on `name`.
fn run(because: &str, argv: &[&str], name: &str, effect: Effect) -> Plan {
    let argv: Vec<String> = argv.iter().chain([&name]).map(|word| (*word).to_owned()).collect();
    let summary = format!("run `{}`", argv.join(" "));
    let program = Program { argv, accept: vec![0], ..Program::default() };
    Plan::one(because, Change::Run { program, effects: vec![effect, Effect::NothingElse], summary })
}

/// Refuses names that the account tools would take for options, or that break their files.
pub(super) fn check_name(name: &str, what: &str) -> Result<(), Failure> {
    let wrong = name.is_empty() || name.starts_with('-') || name.contains([':', '/', ',', '\n', ' ']);
    if wrong { Err(Failure::argument("name", format!("`{name}` cannot be the name of a {what}"))) } else { Ok(()) }
}
