//! `setup`: what a host is (its facts), under the names that playbooks know.
//!
//! Facts come from `/proc`, `/sys` and `/etc`; a program is started only where no file tells (`ip`, `getent`, the
//! user's own facts). What cannot be read is left out.

use std::path::{Path, PathBuf};

use globset::GlobBuilder;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::probe::Stat;
use crate::change::{Failure, Plan, Probe, Then};
use crate::value::{Map, Value};

mod hardware;
mod local;
mod network;
mod system;
mod virtualization;

/// Gathers facts about the host: its system, hardware, network and users, and the facts that its administrator put
/// into `fact_path`. A play does this by itself unless it says `gather_facts: false`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// Which facts: `all`, `min`, `network`, `hardware`, `virtual` and names of single groups; `!` in front leaves out.
    /// `min` comes by itself; `!hardware` alone is no more than that, `all, !hardware` is the rest.
    #[serde(default = "all")]
    gather_subset: Vec<String>,
    /// Only facts whose names fit one of these patterns, with or without `ansible_`.
    #[serde(default)]
    filter: Vec<String>,
    /// Seconds for slow facts. Remote file systems are never asked, so that there are none.
    #[serde(default = "ten", rename = "gather_timeout")]
    _gather_timeout: u64,
    /// The directory of the host's own facts, files that end in `.fact`: INI, JSON, or a program that prints either.
    #[serde(default = "facts_d")]
    fact_path: String,
    /// Taken for the sake of playbooks that have it: facts are gathered in one go.
    #[serde(default, rename = "parallel")]
    _parallel: Option<bool>,
}

fn all() -> Vec<String> {
    vec!["all".to_owned()]
}
fn ten() -> u64 {
    10
}
fn facts_d() -> String {
    "/etc/ansible/facts.d".to_owned()
}

/// Gathers one group of facts.
type Gather = fn(&mut Facts);

/// The groups of facts, the part of the facts each belongs to, and who gathers it.
const GROUPS: &[(&str, &str, Gather)] = &[
    ("distribution", "min", system::distribution),
    ("platform", "min", system::platform),
    ("fqdn", "min", system::names),
    ("user", "min", system::user),
    ("env", "min", system::environment),
    ("date_time", "min", system::date_time),
    ("cmdline", "min", system::cmdline),
    ("dns", "min", system::dns),
    ("lsb", "min", system::lsb),
    ("selinux", "min", system::selinux),
    ("apparmor", "min", system::apparmor),
    ("fips", "min", system::fips),
    ("caps", "min", system::capabilities),
    ("pkg_mgr", "min", system::pkg_mgr),
    ("service_mgr", "min", system::service_mgr),
    ("python", "min", system::python),
    ("ssh_pub_keys", "min", system::ssh_keys),
    ("is_chroot", "min", system::is_chroot),
    ("systemd", "min", system::systemd),
    ("loadavg", "min", hardware::loadavg),
    ("processor", "hardware", hardware::processor),
    ("memory", "hardware", hardware::memory),
    ("dmi", "hardware", hardware::dmi),
    ("mounts", "hardware", hardware::mounts),
    ("devices", "hardware", hardware::devices),
    ("uptime", "hardware", hardware::uptime),
    ("interfaces", "network", network::gather),
    ("virtual", "virtual", virtualization::gather),
];

/// Names of groups that Ansible has besides, and what they mean here; empty: nothing.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("facter", ""),
    ("ohai", ""),
    ("fibre_channel_wwn", ""),
    ("iscsi", ""),
    ("nvme", ""),
    ("system_capabilities", "caps"),
    ("default_ipv4", "interfaces"),
    ("default_ipv6", "interfaces"),
    ("all_ipv4_addresses", "interfaces"),
    ("all_ipv6_addresses", "interfaces"),
    ("distribution_version", "distribution"),
    ("distribution_release", "distribution"),
    ("distribution_major_version", "distribution"),
    ("os_family", "distribution"),
    ("proc_cmdline", "cmdline"),
    ("machine", "platform"),
    ("machine_id", "platform"),
    ("architecture", "platform"),
    ("kernel", "platform"),
    ("kernel_version", "platform"),
    ("system", "platform"),
    ("hostname", "fqdn"),
    ("nodename", "fqdn"),
    ("domain", "fqdn"),
    ("user_id", "user"),
    ("virtualization_type", "virtual"),
    ("virtualization_role", "virtual"),
    ("processor_vcpus", "processor"),
    ("processor_cores", "processor"),
    ("processor_count", "processor"),
    ("python_version", "python"),
];

impl Module for Setup {
    const NAME: &'static str = "setup";
    const LOOKS: bool = true;
    const EXAMPLES: &'static [Example] = &[
        Example { title: "Gather everything", task: "{}", given: &[], changes: false },
        Example {
            title: "Only what the system is",
            task: "{gather_subset: ['!all', '!min', distribution], filter: 'ansible_distribution*'}",
            given: &[("/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n")],
            changes: false,
        },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let chosen = choose(&self.gather_subset)?;
        let mut facts = Facts { host, map: Map::new() };
        for (name, _, gather) in GROUPS {
            if chosen.contains(name) {
                gather(&mut facts);
            }
        }
        if chosen.contains(&"local") {
            let local = local::gather(host, Path::new(&self.fact_path))?;
            facts.set("local", local);
        }
        let mut map = facts.map;
        if !self.filter.is_empty() {
            let patterns = patterns(&self.filter)?;
            map.retain(|key, _| fits(&patterns, &key.to_string()));
        }
        let mut plan = Plan::nothing(format!("{} facts gathered", map.len())).value("ansible_facts", map.clone());
        map.insert("gather_subset".into(), self.gather_subset.clone().into());
        map.insert("module_setup".into(), true.into());
        plan.then.push(Then::Facts { facts: map, cacheable: true });
        Ok(plan)
    }
}

/// Returns the names of the groups that `gather_subset` asks for.
fn choose(subset: &[String]) -> Result<Vec<&'static str>, Failure> {
    let names = || GROUPS.iter().map(|(name, part, _)| (*name, *part)).chain([("local", "min")]);
    let members = |word: &str| -> Result<Vec<&'static str>, Failure> {
        let word = OTHER_NAMES.iter().find(|(other, _)| *other == word).map_or(word, |(_, known)| known);
        let found: Vec<_> = names().filter(|(name, part)| word == "all" || word == *part || word == *name).map(|(name, _)| name).collect();
        if found.is_empty() && !word.is_empty() {
            let known: Vec<_> = names().map(|(name, _)| name).collect();
            return Err(Failure::argument("gather_subset", format!("`{word}` is no group of facts"))
                .hint(format!("known are all, min, hardware, network, virtual, {}", known.join(", "))));
        }
        Ok(found)
    };
    let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
    for word in subset.iter().map(|word| word.trim()).filter(|word| !word.is_empty()) {
        match word.strip_prefix('!') {
            Some("all") => unwanted.extend(names().filter(|(_, part)| *part != "min").map(|(name, _)| name)),
            Some(word) => unwanted.extend(members(word)?),
            None => wanted.extend(members(word)?),
        }
    }
    // The least there is comes with every choice; the rest has to be named, so `!hardware` alone is no more than `min`.
    let least = names().filter(|(_, part)| *part == "min").map(|(name, _)| name);
    let base = least.filter(|name| !unwanted.contains(name));
    let named: Vec<_> = subset.iter().map(|word| word.trim()).collect();
    let wanted =
        wanted.into_iter().filter(|name| !unwanted.contains(name) || named.iter().any(|word| word == name || part_of(name) == *word));
    let mut all: Vec<_> = base.collect();
    for name in wanted {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    Ok(all)
}

fn part_of(name: &str) -> &'static str {
    GROUPS.iter().find(|(group, ..)| *group == name).map_or("min", |(_, part, _)| part)
}

fn patterns(filter: &[String]) -> Result<Vec<globset::GlobMatcher>, Failure> {
    let compile = |pattern: &String| GlobBuilder::new(pattern).build().map(|glob| glob.compile_matcher());
    filter
        .iter()
        .filter(|pattern| !pattern.is_empty())
        .map(|pattern| {
            compile(pattern).map_err(|error| Failure::argument("filter", format!("`{pattern}` is not a pattern: {}", error.kind())))
        })
        .collect()
}

fn fits(patterns: &[globset::GlobMatcher], name: &str) -> bool {
    let short = name.strip_prefix("ansible_").unwrap_or(name);
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.is_match(name) || pattern.is_match(short))
}

/// Facts as they come together.
struct Facts<'a> {
    host: &'a dyn Probe,
    map: Map,
}

impl Facts<'_> {
    fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.map.insert(format!("ansible_{name}").into(), value.into());
    }

    /// Returns a fact that was gathered before.
    fn known(&self, name: &str) -> Option<&Value> {
        self.map.get(format!("ansible_{name}").as_str())
    }

    /// Returns the text of a file without the white space around it, or `None` where it cannot be read.
    fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let bytes = self.host.read(path.as_ref()).ok()??;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    fn stat(&self, path: impl AsRef<Path>) -> Option<Stat> {
        self.host.stat(path.as_ref(), true).ok()?
    }

    fn exists(&self, path: &str) -> bool {
        self.stat(path).is_some()
    }

    fn list(&self, path: impl AsRef<Path>) -> Vec<String> {
        self.host.list(path.as_ref()).ok().flatten().unwrap_or_default()
    }

    /// Returns where a symbolic link points to, as it is written.
    fn link(&self, path: impl AsRef<Path>) -> Option<PathBuf> {
        self.host.stat(path.as_ref(), false).ok()??.target
    }

    /// Returns the last part of where a symbolic link points to.
    fn link_name(&self, path: impl AsRef<Path>) -> Option<String> {
        Some(self.link(path)?.file_name()?.to_string_lossy().into_owned())
    }

    /// Returns what a program prints; `None` where it fails or is not there.
    fn query(&self, argv: &[&str]) -> Option<String> {
        self.host.find_program(argv.first()?).ok()??;
        let output = self.host.query(argv).ok()?;
        (output.rc == 0).then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Returns the entries of a file of `NAME=value` lines, quotes removed.
fn assignments(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter_map(|line| {
            let (name, value) = line.trim().split_once('=')?;
            (!name.starts_with('#')).then(|| (name.trim().to_owned(), value.trim().trim_matches(['"', '\'']).to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(words: &[&str]) -> Vec<&'static str> {
        choose(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).expect("known words")
    }

    #[test]
    fn subsets_add_up_as_people_write_them() {
        assert!(chosen(&["all"]).contains(&"interfaces") && chosen(&["all"]).contains(&"distribution"));
        assert!(!chosen(&["!all"]).contains(&"interfaces") && chosen(&["!all"]).contains(&"distribution"));
        let network = chosen(&["!all", "network"]);
        assert!(network.contains(&"interfaces") && network.contains(&"distribution") && !network.contains(&"mounts"));
        let network = chosen(&["!all", "!min", "network"]);
        assert_eq!(network, ["interfaces"]);
        assert!(chosen(&["network"]).contains(&"distribution") && !chosen(&["network"]).contains(&"mounts"));
        assert_eq!(chosen(&["!hardware"]), chosen(&["min"]));
        let without = chosen(&["all", "!hardware"]);
        assert!(without.contains(&"interfaces") && !without.contains(&"mounts"));
        assert!(choose(&["!nonsense".to_owned()]).is_err());
    }

    #[test]
    fn a_filter_needs_no_prefix() {
        let patterns = patterns(&["distribution*".to_owned()]).expect("pattern");
        assert!(fits(&patterns, "ansible_distribution_release") && !fits(&patterns, "ansible_os_family"));
    }
}
