//! `modprobe`: parts of the kernel.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::target::{Manner, Target};
use crate::change::{Attributes, Before, Change, Effect, Failure, Plan, Probe, Program};

/// Loads and unloads modules of the kernel, now and at the next start.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Modprobe {
    /// The module.
    name: String,
    /// Whether it shall be loaded.
    #[serde(default)]
    state: super::group::Presence,
    /// Parameters for it.
    #[serde(default)]
    params: String,
    /// `present`: it is loaded at each start. `absent`: it is not. `disabled`: that is left as it is.
    #[serde(default)]
    persistent: Persistent,
}

/// Whether a module is loaded at each start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Persistent {
    /// As it is.
    #[default]
    Disabled,
    /// It is.
    Present,
    /// It is not.
    Absent,
}

impl Module for Modprobe {
    const NAME: &'static str = "modprobe";
    const COLLECTION: &'static str = "community.general";
    const CHANGES: &'static [Names] = &[Names::Always("/proc/modules"), Names::Always("/etc/modules-load.d")];
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Load a module",
            task: "{name: br_netfilter, persistent: present}",
            given: &[("/proc/modules", "nf_tables 1 0 - Live 0x0\n"), ("/etc/modules-load.d/", "")],
            changes: true,
        },
        Example {
            title: "A module that is loaded",
            task: "{name: br-netfilter}",
            given: &[("/proc/modules", "br_netfilter 1 0 - Live 0x0\n")],
            changes: false,
        },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let plain = self.name.replace('-', "_");
        if plain.is_empty() || !plain.chars().all(|c| c.is_alphanumeric() || c == '_') {
            return Err(Failure::argument("name", format!("`{}` cannot be a module of the kernel", self.name)));
        }
        let wanted = self.state == super::group::Presence::Present;
        let loaded = self.is_loaded(host, &plain)?;
        let mut changes = Vec::new();
        if loaded != wanted {
            let mut argv = vec!["modprobe".to_owned()];
            argv.extend((!wanted).then(|| "-r".to_owned()));
            argv.push(self.name.clone());
            argv.extend(self.params.split_whitespace().map(str::to_owned));
            let verb = if wanted { "load" } else { "unload" };
            // Which modules come or go with it is not known.
            let effects = vec![Effect::Creates(PathBuf::from("/proc/modules"))];
            let program = Program { argv, accept: vec![0], ..Program::default() };
            changes.push(Change::Run { program, effects, summary: format!("{verb} the kernel module {}", self.name) });
        }
        self.persist(host, &plain, &mut changes)?;
        let because = if changes.is_empty() { "the module is as asked" } else { "the module is not as asked" };
        let state = if wanted { "present" } else { "absent" };
        Ok(Plan::all(because, changes).value("name", self.name.as_str()).value("state", state).value("params", self.params.as_str()))
    }
}

impl Modprobe {
    fn is_loaded(&self, host: &dyn Probe, plain: &str) -> Result<bool, Failure> {
        let modules = host.read(Path::new("/proc/modules"))?.unwrap_or_default();
        if String::from_utf8_lossy(&modules).lines().any(|line| line.split_whitespace().next() == Some(plain)) {
            return Ok(true);
        }
        // Some are part of the kernel itself.
        let release = host.read(Path::new("/proc/sys/kernel/osrelease"))?.unwrap_or_default();
        let release = String::from_utf8_lossy(&release).trim().to_owned();
        let builtin = host.read(&Path::new("/lib/modules").join(release).join("modules.builtin"))?.unwrap_or_default();
        let file = |line: &str| Path::new(line).file_name().map(|name| name.to_string_lossy().replace('-', "_")).unwrap_or_default();
        Ok(String::from_utf8_lossy(&builtin).lines().any(|line| file(line).split('.').next() == Some(plain)))
    }

    /// Plans the files that load it at each start.
    fn persist(&self, host: &dyn Probe, plain: &str, changes: &mut Vec<Change>) -> Result<(), Failure> {
        let files = [
            (PathBuf::from(format!("/etc/modules-load.d/{}.conf", self.name)), format!("{}\n", self.name)),
            (PathBuf::from(format!("/etc/modprobe.d/{}.conf", self.name)), format!("options {plain} {}\n", self.params)),
        ];
        for (at, (path, text)) in files.into_iter().enumerate() {
            match self.persistent {
                Persistent::Disabled => {}
                Persistent::Present if at == 1 && self.params.is_empty() => {}
                Persistent::Present => {
                    let for_new = Attributes { mode: Some(0o644), ..Attributes::default() };
                    let target = Target::find(host, &path, "persistent")?;
                    changes.extend(target.changes(Some(text.into_bytes()), &Manner { for_new, ..Manner::default() }));
                }
                Persistent::Absent => {
                    if host.stat(&path, false)?.is_some() {
                        changes.push(Change::Remove { path, before: Before::Any });
                    }
                }
            }
        }
        Ok(())
    }
}
