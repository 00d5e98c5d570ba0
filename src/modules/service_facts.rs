//! `service_facts`: the services of a host.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::{Failure, Plan, Probe, Then};
use crate::value::{Key, Map, Value};

/// Makes a fact of the services that a host knows: `services['ssh.service']` has `name`, `state` (`running`, `stopped`, `inactive`),
/// `status` (`enabled`, `disabled`, `static`, ...) and `source` (`systemd`, `sysv`).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceFacts {}

/// What a unit is said to be that is not simply there.
const TROUBLES: &[&str] = &["not-found", "masked", "failed"];

impl Module for ServiceFacts {
    const NAME: &'static str = "service_facts";
    const LOOKS: bool = true;
    const EXAMPLES: &'static [Example] = &[Example { title: "Learn what services there are", task: "{}", given: &[], changes: false }];

    fn facts(_: &Map) -> Option<String> {
        Some("services".to_owned())
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let mut services = Map::new();
        if host.find_program("service")?.is_some() && host.find_program("chkconfig")?.is_none() {
            let output = host.query(&["service", "--status-all"])?;
            scripts(&String::from_utf8_lossy(&output.stdout), &mut services);
        }
        if host.find_program("systemctl")?.is_some() {
            let units = host.query(&["systemctl", "list-units", "--no-pager", "--type", "service", "--all", "--plain", "--no-legend"])?;
            let files = host.query(&["systemctl", "list-unit-files", "--no-pager", "--type", "service", "--all", "--no-legend"])?;
            loaded(&String::from_utf8_lossy(&units.stdout), &mut services);
            installed(&String::from_utf8_lossy(&files.stdout), &mut services);
        }
        if services.is_empty() {
            return Ok(Plan::nothing("the host has no service manager that is known"));
        }
        let because = format!("{} services are known", services.len());
        let facts = Map::from_iter([(Key::from("services"), Value::from(services))]);
        let mut plan = Plan::nothing(because).value("ansible_facts", facts.clone());
        plan.then.push(Then::Facts { facts, cacheable: false });
        Ok(plan)
    }
}

fn add(services: &mut Map, name: &str, state: &str, status: Option<&str>, source: &str) {
    let mut entry = Map::from_iter([("name".into(), Value::str(name)), ("state".into(), state.into()), ("source".into(), source.into())]);
    if let Some(status) = status {
        entry.insert("status".into(), status.into());
    }
    services.insert(name.into(), entry.into());
}

/// Lines such as ` [ + ]  cron`.
fn scripts(text: &str, services: &mut Map) {
    for line in text.lines() {
        let Some((mark, name)) = line.trim().strip_prefix("[ ").and_then(|rest| rest.split_once(" ]")) else { continue };
        let state = match mark {
            "+" => "running",
            "-" => "stopped",
            _ => continue,
        };
        add(services, name.trim(), state, None, "sysv");
    }
}

/// Lines such as `ssh.service loaded active running OpenBSD Secure Shell server`.
fn loaded(text: &str, services: &mut Map) {
    for line in text.lines() {
        let words: Vec<_> = line.trim_start_matches(['●', '*', '×', ' ']).split_whitespace().collect();
        let [name, load, active, sub, ..] = words.as_slice() else { continue };
        let trouble = TROUBLES.iter().find(|trouble| [load, active, sub].contains(trouble));
        let state = if *sub == "running" { "running" } else { "stopped" };
        add(services, name, state, Some(trouble.copied().unwrap_or("unknown")), "systemd");
    }
}

/// Lines such as `ssh.service enabled enabled`. What is not loaded does not run.
fn installed(text: &str, services: &mut Map) {
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(status)) = (words.next(), words.next()) else { continue };
        match services.get_mut(name) {
            Some(Value::Map(entry)) => {
                let known = entry.get("status").and_then(Value::as_str).unwrap_or_default();
                if !TROUBLES.contains(&known) {
                    std::sync::Arc::make_mut(entry).insert("status".into(), status.into());
                }
            }
            _ => add(services, name, if name.contains("@.") { "unknown" } else { "inactive" }, Some(status), "systemd"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::fake::FakeHost;

    #[test]
    fn what_is_loaded_and_what_is_installed_come_together() {
        let units =
            "ssh.service loaded active running OpenBSD\n● gone.service not-found inactive dead gone\nonce.service loaded active exited x\n";
        let files = "ssh.service enabled enabled\nidle.service disabled enabled\ngetty@.service enabled enabled\n";
        let host = FakeHost::with(&[("/usr/bin/systemctl", "")]).prints(&["systemctl", "list-units"], 0, units).prints(
            &["systemctl", "list-unit-files"],
            0,
            files,
        );
        let plan = ServiceFacts {}.plan(&host).expect("plan");
        let services = plan.values.get("ansible_facts").and_then(|facts| facts.get("services")).cloned().expect("services");
        let told =
            |name: &str, what: &str| services.get(name).and_then(|entry| entry.get(what)).map(ToString::to_string).unwrap_or_default();
        assert_eq!((told("ssh.service", "state"), told("ssh.service", "status")), ("running".into(), "enabled".into()));
        assert_eq!((told("gone.service", "state"), told("gone.service", "status")), ("stopped".into(), "not-found".into()));
        assert_eq!((told("idle.service", "state"), told("idle.service", "status")), ("inactive".into(), "disabled".into()));
        assert_eq!(told("getty@.service", "state"), "unknown");
    }
}
