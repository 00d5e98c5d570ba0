//! `timezone`: the time zone of a host.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::target::{Manner, Target};
use crate::change::{Before, Change, Failure, Plan, Probe};

/// Sets the time zone of a Linux host: `/etc/localtime`, and `/etc/timezone` where the host has it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timezone {
    /// The zone, such as `Europe/Berlin` or `Etc/UTC`.
    name: Option<String>,
    /// Accepted for old playbooks: the clock of the hardware is left as it is.
    #[serde(rename = "hwclock", alias = "rtc")]
    _hwclock: Option<String>,
}

impl Module for Timezone {
    const NAME: &'static str = "timezone";
    const COLLECTION: &'static str = "community.general";
    const CHANGES: &'static [Names] = &[Names::Always("/etc/timezone"), Names::Always("/etc/localtime")];
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Set the zone",
            task: "name: Europe/Berlin",
            given: &[("/usr/share/zoneinfo/Europe/Berlin", "TZif"), ("/etc/timezone", "Etc/UTC\n")],
            changes: true,
        },
        Example { title: "Nothing is asked", task: "{}", given: &[], changes: false },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let Some(name) = &self.name else { return Ok(Plan::nothing("no zone is named")) };
        let zone = Path::new("/usr/share/zoneinfo").join(name);
        if name.contains("..") || name.starts_with('/') || host.stat(&zone, true)?.is_none() {
            return Err(Failure::argument("name", format!("the host has no time zone `{name}`")).hint("the package `tzdata` has them"));
        }
        let link = PathBuf::from("/etc/localtime");
        let now = host.stat(&link, false)?;
        let mut changes = Vec::new();
        let target = now.as_ref().and_then(|stat| stat.target.clone());
        let ends_so = |target: &PathBuf| target.ends_with(Path::new("zoneinfo").join(name));
        if !target.as_ref().is_some_and(ends_so) {
            let before = match (&now, target) {
                (None, _) => Before::Absent,
                (_, Some(target)) => Before::Link(target),
                _ => Before::Any,
            };
            changes.push(Change::Link { path: link, target: zone, hard: false, before });
        }
        let text = Path::new("/etc/timezone");
        if host.stat(text, true)?.is_some() {
            let target = Target::find(host, text, "name")?;
            let is_same = target.content.as_deref().is_some_and(|bytes| String::from_utf8_lossy(bytes).trim() == name);
            if !is_same {
                changes.extend(target.changes(Some(format!("{name}\n").into_bytes()), &Manner::default()));
            }
        }
        let because = if changes.is_empty() { "the zone is as asked" } else { "the host has another zone" };
        Ok(Plan::all(because, changes))
    }
}
