//! `service`: services, whatever manages them.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::systemd::{State, Wish, plain_state};
use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::{Change, Failure, Plan, Probe, Program};

/// Starts, stops, restarts and enables services, through systemd or, where that is not, the host's init scripts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// The service.
    name: String,
    /// What it shall be. `restarted` and `reloaded` act each time.
    state: Option<State>,
    /// Whether it starts at boot.
    enabled: Option<bool>,
    /// Words to add to the command line of an init script.
    #[serde(alias = "args")]
    arguments: Option<String>,
    /// A text in the command line of the service's process: for init scripts that cannot tell whether they run.
    pattern: Option<String>,
    /// Seconds between stop and start of a restart.
    sleep: Option<u64>,
    /// Whether systemd, where it is, reads its files again first.
    #[serde(default, alias = "daemon-reload")]
    daemon_reload: bool,
    /// Whether the service is masked, where systemd manages it.
    masked: Option<bool>,
    /// Accepted for old playbooks; init scripts have their own.
    #[serde(rename = "runlevel", alias = "runlevels")]
    _runlevel: Option<String>,
    /// Accepted for old playbooks; the manager is found out.
    #[serde(rename = "use")]
    _manager: Option<String>,
}

impl Module for Service {
    const NAME: &'static str = "service";
    const RESTS: bool = false;
    const CHANGES: &'static [Names] = &[Names::Unit("name")];
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Restart a service, which changes the host each time",
        task: "{name: elasticsearch, state: restarted}",
        given: &[],
        changes: true,
    }];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        if self.state.is_none() && self.enabled.is_none() && !self.daemon_reload && self.masked.is_none() {
            return Err(Failure::argument("state", "neither `state` nor `enabled` is given, so there is nothing to do"));
        }
        let mut unit = host.unit(&self.name, "system")?;
        if let Some(pattern) = &self.pattern
            && unit.properties.is_empty()
        {
            unit.active = runs(host, pattern)?;
        }
        let wish = Wish {
            name: &self.name,
            scope: "system",
            state: self.state,
            enabled: self.enabled,
            masked: self.masked,
            force: false,
            no_block: false,
        };
        let mut plan = wish.plan(host, &unit)?;
        if let Some(arguments) = &self.arguments
            && unit.properties.is_empty()
        {
            let words = super::command::split(arguments)?;
            for change in &mut plan.changes {
                add_arguments(change, &self.name, &words);
            }
        }
        if let (Some(seconds), Some(State::Restarted)) = (self.sleep, self.state)
            && unit.active
        {
            plan.changes = self.slow_restart(&plan.changes, seconds);
        }
        if self.daemon_reload && !unit.properties.is_empty() && super::systemd::needs_reload(host, &self.name, "system", &unit)? {
            let action = crate::change::UnitAction::DaemonReload;
            plan.changes.insert(0, Change::Unit { name: String::new(), action, scope: "system".to_owned(), before: unit.clone() });
        }
        if plan.changes.is_empty() {
            plan = plan.values(plain_state(&self.name, &unit));
        }
        Ok(plan)
    }
}

impl Service {
    fn slow_restart(&self, planned: &[Change], seconds: u64) -> Vec<Change> {
        let step = |wanted| {
            planned.iter().find_map(move |change| match change {
                Change::Unit { name, action: crate::change::UnitAction::Restart, scope, before } => {
                    Some(Change::Unit { name: name.clone(), action: wanted, scope: scope.clone(), before: before.clone() })
                }
                _ => None,
            })
        };
        let argv = vec!["sleep".to_owned(), seconds.to_string()];
        let program = Program { argv, accept: vec![0], ..Program::default() };
        let pause = Change::Run { program, effects: Vec::new(), summary: format!("wait {seconds} seconds before `{}` starts", self.name) };
        let others = planned.iter().filter(|change| !matches!(change, Change::Unit { action: crate::change::UnitAction::Restart, .. }));
        let (stop, start) = (step(crate::change::UnitAction::Stop), step(crate::change::UnitAction::Start));
        others.cloned().chain(stop).chain([pause]).chain(start).collect()
    }
}

/// Makes of an action on an init script one with more words.
fn add_arguments(change: &mut Change, name: &str, words: &[String]) {
    use crate::change::UnitAction::{Reload, Restart, Start, Stop};
    let Change::Unit { action, .. } = change else { return };
    let word = match action {
        Start => "start",
        Stop => "stop",
        Restart => "restart",
        Reload => "reload",
        _ => return,
    };
    let argv = ["service", name, word].map(str::to_owned).into_iter().chain(words.iter().cloned()).collect();
    let program = Program { argv, accept: vec![0], ..Program::default() };
    *change = Change::Run { program, effects: Vec::new(), summary: format!("{word} the service {name}") };
}

/// Whether a process has `pattern` in its command line.
fn runs(host: &dyn Probe, pattern: &str) -> Result<bool, Failure> {
    for pid in host.list(Path::new("/proc"))?.unwrap_or_default() {
        if !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // A process may end while we look.
        let Ok(Some(line)) = host.read(&Path::new("/proc").join(&pid).join("cmdline")) else { continue };
        if String::from_utf8_lossy(&line).replace('\0', " ").contains(pattern) {
            return Ok(true);
        }
    }
    Ok(false)
}
