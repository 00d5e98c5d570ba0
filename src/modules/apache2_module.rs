//! `apache2_module`: parts of the web server Apache.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::group::Presence;
use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::{Change, Effect, Failure, Plan, Probe, Program};

/// Switches modules of Apache on and off, on Debian and its relatives. The server is not restarted: notify a handler.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Apache2Module {
    /// The module, as `a2enmod` calls it.
    name: String,
    /// Whether it shall be on.
    #[serde(default)]
    state: Presence,
    /// Whether a module may go that Debian warns of.
    #[serde(default)]
    force: bool,
    /// Accepted for old playbooks.
    #[serde(rename = "identifier")]
    _identifier: Option<String>,
    /// Accepted for old playbooks: the server is not asked.
    #[serde(rename = "ignore_configcheck")]
    _ignore_configcheck: Option<bool>,
    /// Accepted for old playbooks.
    #[serde(rename = "warn_mpm_absent")]
    _warn_mpm_absent: Option<bool>,
}

impl Module for Apache2Module {
    const NAME: &'static str = "apache2_module";
    const COLLECTION: &'static str = "community.general";
    const CHANGES: &'static [Names] = &[Names::Always("/etc/apache2")];
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "A module that is on",
            task: "{name: rewrite}",
            given: &[("/etc/apache2/mods-available/rewrite.load", "x"), ("/etc/apache2/mods-enabled/rewrite.load", "x")],
            changes: false,
        },
        Example {
            title: "See that a module is off",
            task: "{name: status, state: absent}",
            given: &[("/etc/apache2/mods-enabled/", "")],
            changes: false,
        },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let name = self.name.as_str();
        if name.is_empty() || name.starts_with('-') || name.contains('/') {
            return Err(Failure::argument("name", format!("`{name}` cannot be a module of Apache")));
        }
        let file = PathBuf::from(format!("/etc/apache2/mods-enabled/{name}.load"));
        let is_on = host.stat(&file, false)?.is_some();
        let wanted = self.state == Presence::Present;
        let told =
            |plan: Plan| plan.value("result", if wanted { format!("Module {name} enabled") } else { format!("Module {name} disabled") });
        if is_on == wanted {
            return Ok(told(Plan::nothing(if wanted { "the module is on" } else { "the module is off" })));
        }
        let known = Path::new("/etc/apache2/mods-available").join(format!("{name}.load"));
        if wanted && host.stat(&known, true)?.is_none() {
            return Err(Failure::argument("name", format!("the host's Apache has no module `{name}`")).hint("a package may be missing"));
        }
        let mut argv = vec![if wanted { "a2enmod" } else { "a2dismod" }.to_owned()];
        argv.extend(self.force.then(|| "-f".to_owned()));
        argv.push(name.to_owned());
        let effect = if wanted { Effect::Creates(file) } else { Effect::Removes(file) };
        let summary = format!("switch the Apache module {name} {}", if wanted { "on" } else { "off" });
        let change = Change::Run { program: Program { argv, accept: vec![0], ..Program::default() }, effects: vec![effect], summary };
        Ok(told(Plan::one(if wanted { "the module is off" } else { "the module is on" }, change)))
    }
}
