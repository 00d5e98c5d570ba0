//! `package`: install or remove packages with whatever manager the host has.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::apt::{Apt, State};
use super::{Controller, Example, Module};
use crate::change::doubt::Names;
use crate::change::{Change, Effect, Failure, Plan, Probe, Program};
use crate::value::arguments::Anything;
use crate::value::{Key, Map, arguments};

/// The managers that facts know: a file that tells them, their name, and the families that have them first.
const MANAGERS: &[(&str, &str, &str)] = &[
    ("/usr/bin/apt-get", "apt", "Debian"),
    ("/usr/bin/dnf5", "dnf5", "RedHat"),
    ("/usr/bin/dnf-3", "dnf", "RedHat"),
    ("/usr/bin/dnf", "dnf", "RedHat"),
    ("/usr/bin/microdnf", "dnf", "RedHat"),
    ("/usr/bin/yum", "yum", "RedHat"),
    ("/usr/bin/zypper", "zypper", "Suse"),
    ("/sbin/apk", "apk", "Alpine"),
    ("/usr/bin/apk", "apk", "Alpine"),
    ("/usr/bin/pacman", "pacman", "Archlinux"),
    ("/usr/bin/emerge", "portage", "Gentoo"),
    ("/usr/bin/xbps-install", "xbps", "Void"),
    ("/run/current-system/sw/bin/nix", "nix", "NixOS"),
    ("/usr/bin/rpm-ostree", "atomic_container", "RedHat"),
];

/// Returns the name of the package manager, as the fact `ansible_pkg_mgr` has it: the family's own first.
pub(super) fn manager(exists: &dyn Fn(&str) -> bool, family: &str) -> Option<&'static str> {
    let there = |wanted: &dyn Fn(&str) -> bool| MANAGERS.iter().find(|(path, _, of)| wanted(of) && exists(path)).map(|(_, name, _)| *name);
    there(&|of| of == family).or_else(|| there(&|_| true))
}

/// Installs or removes packages with the host's own manager: apt on Debian and its relatives, dnf or yum on Red Hat's.
/// With apt, all arguments of the module `apt` may be given.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// The packages, as the host's manager calls them.
    #[serde(alias = "pkg")]
    name: Vec<String>,
    /// What they shall be.
    #[serde(default)]
    state: State,
    /// Whether the lists of packages are fetched first, where the manager has such lists.
    #[serde(default)]
    update_cache: bool,
    /// Accepted for old playbooks: for managers of other systems.
    #[serde(rename = "exclude")]
    _exclude: Option<serde_json::Value>,
    /// The manager, instead of the one that is found.
    #[serde(rename = "use")]
    manager: Option<String>,
    /// What `prepare` found: arguments for the manager's own module.
    #[schemars(skip)]
    _more: Option<Anything>,
}

/// The arguments that are the same for every manager.
const COMMON: &[&str] = &["name", "pkg", "state", "update_cache", "exclude", "use"];

impl Module for Package {
    const NAME: &'static str = "package";
    const RESTS: bool = false;
    const ANY_ARGUMENT: bool = true;
    const CHANGES: &'static [Names] = &[Names::Packages("name"), Names::Packages("pkg"), Names::Program("apt-get")];
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Install a package with the manager that the host has",
        task: "{name: openssl, state: present}",
        given: &[],
        changes: true,
    }];

    fn prepare(arguments: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        if !arguments.contains_key("use") {
            let named = controller.expression("ansible_package_use | default('')")?;
            if let Some(named) =
                named.as_str().filter(|named| !named.is_empty() && named.chars().all(|c| c.is_alphanumeric() || "._-".contains(c)))
            {
                arguments.insert("use".into(), crate::modules::short_name(named).into());
            }
        }
        let is_common = |name: &Key| name.as_str().is_none_or(|name| COMMON.contains(&name) || name.starts_with('_'));
        let (common, more): (Map, Map) = std::mem::take(arguments).into_iter().partition(|(name, _)| is_common(name));
        *arguments = common;
        if !more.is_empty() {
            arguments.insert("_more".into(), more.into());
        }
        Ok(())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let mut there = Vec::new();
        for (path, ..) in MANAGERS {
            if host.stat(Path::new(path), true)?.is_some() {
                there.push(*path);
            }
        }
        let named = self.manager.as_deref().filter(|name| *name != "auto");
        let name = named.or_else(|| manager(&|path| there.contains(&path), "")).unwrap_or_default();
        match name {
            "apt" => {
                let state = match self.state {
                    State::Present => "present",
                    State::Absent => "absent",
                    State::Latest => "latest",
                    _ => {
                        return Err(
                            Failure::argument("state", "`package` knows present, absent and latest").hint("use `apt` for the others")
                        );
                    }
                };
                let mut map: Map = [
                    ("name".into(), self.name.clone().into()),
                    ("state".into(), state.into()),
                    ("update_cache".into(), self.update_cache.into()),
                ]
                .into_iter()
                .collect();
                map.extend(self.more());
                arguments::from_map::<Apt>(&map)?.plan(host)
            }
            "dnf" | "dnf5" | "yum" => match self.more().keys().next() {
                None => self.with_rpm(host, name),
                Some(more) => {
                    Err(Failure::argument(more.to_string(), format!("`package` has no argument `{more}` where `{name}` is the manager")))
                }
            },
            "" => Err(Failure::failed("the host has no package manager that is known")),
            other => Err(Failure::failed(format!("Could not find a matching action for the package manager `{other}`"))
                .hint("use `command` with `creates`")),
        }
    }
}

impl Package {
    fn more(&self) -> Map {
        self._more.as_ref().and_then(|more| more.0.as_map()).cloned().unwrap_or_default()
    }

    fn with_rpm(&self, host: &dyn Probe, manager: &str) -> Result<Plan, Failure> {
        let mut names = Vec::new();
        for name in self.name.iter().map(|name| name.trim()).filter(|name| !name.is_empty()) {
            if name.starts_with('-') {
                return Err(Failure::argument("name", format!("`{name}` is not the name of a package")));
            }
            let installed = host.package(name)?.is_some();
            let acts = match self.state {
                State::Absent => installed,
                State::Latest => true,
                _ => !installed,
            };
            names.extend(acts.then(|| name.to_owned()));
        }
        if names.is_empty() {
            return Ok(Plan::nothing("the packages are as asked"));
        }
        let program = if manager == "yum" { "yum" } else { "dnf" };
        let (verb, because) = match self.state {
            State::Absent => ("remove", "the package is installed"),
            // Whether a newer one is there is known to the manager alone; it does nothing where there is none.
            State::Latest => ("install", "a newer version may be there"),
            _ => ("install", "the package is not installed"),
        };
        let argv: Vec<String> = [program, "-y", verb].map(str::to_owned).into_iter().chain(names.iter().cloned()).collect();
        let effect = |name: String| match self.state {
            State::Absent => Effect::PackageGone(name),
            _ => Effect::Package { name, version: None },
        };
        let summary = format!("run `{}`", argv.join(" "));
        let effects = names.into_iter().map(effect).collect();
        Ok(Plan::one(because, Change::Run { program: Program { argv, accept: vec![0], ..Program::default() }, effects, summary }))
    }
}
