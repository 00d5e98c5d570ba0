//! `ufw`: the uncomplicated firewall of Debian and Ubuntu.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::{Change, Effect, Failure, Plan, Probe, Program};

/// Sets rules and states of `ufw`. What a rule would do is asked of `ufw --dry-run` first, so a rule that is there is left.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ufw {
    /// `enabled`, `disabled`, `reloaded` or `reset`.
    state: Option<String>,
    /// What becomes of packets by default: `allow`, `deny`, `reject`.
    #[serde(alias = "policy")]
    default: Option<String>,
    /// `in`, `incoming`, `out`, `outgoing`, `routed`: which packets.
    direction: Option<String>,
    /// How much goes to the log: `on`, `off`, `low`, `medium`, `high`, `full`.
    logging: Option<String>,
    /// The place of a new rule.
    insert: Option<i64>,
    /// Accepted for old playbooks: the place counts from the first rule.
    #[serde(rename = "insert_relative_to")]
    _insert_relative_to: Option<String>,
    /// `allow`, `deny`, `limit` or `reject`: what becomes of a packet that the rule means.
    rule: Option<String>,
    /// Whether a packet that the rule means goes to the log.
    #[serde(default)]
    log: bool,
    /// Where packets come from.
    #[serde(default = "any", alias = "from", alias = "src")]
    from_ip: String,
    /// The port that they come from.
    from_port: Option<String>,
    /// Where packets go.
    #[serde(default = "any", alias = "to", alias = "dest")]
    to_ip: String,
    /// The port that they go to.
    #[serde(alias = "port")]
    to_port: Option<String>,
    /// `any`, `tcp`, `udp`, `ah`, `esp`, ...
    #[serde(alias = "protocol")]
    proto: Option<String>,
    /// A profile of an application.
    #[serde(alias = "app")]
    name: Option<String>,
    /// Whether the rule goes.
    #[serde(default)]
    delete: bool,
    /// The interface.
    #[serde(alias = "if")]
    interface: Option<String>,
    /// The interface where packets come in, with `route`.
    #[serde(alias = "if_in")]
    interface_in: Option<String>,
    /// The interface where packets go out, with `route`.
    #[serde(alias = "if_out")]
    interface_out: Option<String>,
    /// Whether packets that are passed on are meant.
    #[serde(default)]
    route: bool,
    /// A comment.
    comment: Option<String>,
}

fn any() -> String {
    "any".to_owned()
}

impl Module for Ufw {
    const NAME: &'static str = "ufw";
    const COLLECTION: &'static str = "community.general";
    const RESTS: bool = false;
    const PATHS: &'static [&'static str] = &[];
    const CHANGES: &'static [Names] = &[Names::Program("ufw")];
    const EXAMPLES: &'static [Example] =
        &[Example { title: "Let a port in", task: "{rule: allow, port: '443', proto: tcp}", given: &[], changes: true }];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        if host.find_program("ufw")?.is_none() {
            return Err(Failure::failed("the host has no ufw").hint("install the package `ufw` first"));
        }
        let mut changes = Vec::new();
        let status = host.query(&["ufw", "status", "verbose"])?;
        let status = String::from_utf8_lossy(&status.stdout).into_owned();
        let is_active = status.lines().any(|line| line.trim() == "Status: active");
        if let Some(rule) = &self.rule {
            self.rule_change(host, rule, &mut changes)?;
        }
        if let Some(level) = &self.logging {
            let now = status.lines().find_map(|line| line.strip_prefix("Logging: ")).unwrap_or_default();
            let wanted = if level == "on" { "low" } else { level };
            if !is_active || !now.contains(wanted) {
                changes.push(run(&["logging", level], &format!("set the log of the firewall to {level}")));
            }
        }
        if let Some(policy) = &self.default {
            let direction = match self.direction.as_deref() {
                Some("out" | "outgoing") => "outgoing",
                Some("routed") => "routed",
                _ => "incoming",
            };
            let now = status.lines().find_map(|line| line.strip_prefix("Default: ")).unwrap_or_default();
            if !now.split(", ").any(|word| word == format!("{policy} ({direction})")) {
                changes.push(run(&["default", policy, direction], &format!("{policy} what is {direction} by default")));
            }
        }
        match self.state.as_deref() {
            Some("enabled") if !is_active => changes.push(run(&["--force", "enable"], "switch the firewall on")),
            Some("disabled") if is_active => changes.push(run(&["disable"], "switch the firewall off")),
            Some("reloaded") if is_active => changes.push(run(&["reload"], "let the firewall read its rules")),
            Some("reset") => changes.push(run(&["--force", "reset"], "take all rules of the firewall away")),
            None | Some("enabled" | "disabled" | "reloaded") => {}
            Some(other) => {
                return Err(Failure::argument("state", format!("`{other}` is none of enabled, disabled, reloaded and reset")));
            }
        }
        let because = if changes.is_empty() { "the firewall is as asked" } else { "the firewall is not as asked" };
        Ok(Plan::all(because, changes).value("msg", status))
    }
}

impl Ufw {
    fn rule_change(&self, host: &dyn Probe, rule: &str, changes: &mut Vec<Change>) -> Result<(), Failure> {
        let mut words: Vec<String> = Vec::new();
        let mut add = |parts: &[&str]| words.extend(parts.iter().map(|part| (*part).to_owned()));
        if self.route {
            add(&["route"]);
        }
        if self.delete {
            add(&["delete"]);
        }
        let place = self.insert.map(|place| place.to_string());
        if let Some(place) = &place {
            add(&["insert", place]);
        }
        add(&[rule]);
        match self.direction.as_deref() {
            Some("in" | "incoming") => add(&["in"]),
            Some("out" | "outgoing") => add(&["out"]),
            _ => {}
        }
        for (word, interface) in [("on", &self.interface), ("in on", &self.interface_in), ("out on", &self.interface_out)] {
            if let Some(interface) = interface {
                add(&word.split(' ').collect::<Vec<_>>());
                add(&[interface]);
            }
        }
        if self.log {
            add(&["log"]);
        }
        for (word, value) in [
            ("from", Some(&self.from_ip)),
            ("port", self.from_port.as_ref()),
            ("to", Some(&self.to_ip)),
            ("port", self.to_port.as_ref()),
            ("proto", self.proto.as_ref()),
            ("app", self.name.as_ref()),
            ("comment", self.comment.as_ref()),
        ] {
            if let Some(value) = value {
                add(&[word, value]);
            }
        }
        let trial: Vec<&str> = ["ufw", "--dry-run"].into_iter().chain(words.iter().map(String::as_str)).collect();
        let output = host.query(&trial)?;
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if output.rc != 0 {
            let last = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no reason was given").to_owned();
            return Err(Failure::argument("rule", format!("ufw refuses the rule: {last}")));
        }
        // One line for each of the two protocols; what is skipped is as asked already.
        let skipped = |line: &str| ["Skipping", "Could not delete non-existent"].iter().any(|mark| line.starts_with(mark));
        let told: Vec<&str> = stdout.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if !told.is_empty() && told.iter().all(|line| skipped(line)) {
            return Ok(());
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        changes.push(run(&words, &format!("set the rule `{}`", words.join(" "))));
        Ok(())
    }
}

fn run(words: &[&str], summary: &str) -> Change {
    let argv = ["ufw"].iter().chain(words).map(|word| (*word).to_owned()).collect();
    Change::Run {
        program: Program { argv, accept: vec![0], ..Program::default() },
        effects: vec![Effect::QueryUnknown(vec!["ufw".to_owned()])],
        summary: summary.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::fake::FakeHost;

    fn summaries(trial: &str, arguments: &[(&str, &str)]) -> Vec<String> {
        let status = "Status: active\nLogging: on (low)\nDefault: deny (incoming), allow (outgoing), disabled (routed)\n";
        let host = FakeHost::with(&[("/usr/sbin/ufw", "")]).prints(&["ufw", "status"], 0, status).prints(&["ufw", "--dry-run"], 0, trial);
        let map = arguments.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let plan = crate::value::arguments::from_map::<Ufw>(&map).expect("fits").plan(&host).expect("plan");
        plan.changes.iter().map(crate::change::diff::summary).collect()
    }

    #[test]
    fn what_is_so_already_is_left() {
        let rule = [("rule", "allow"), ("port", "22"), ("proto", "tcp")];
        assert_eq!(summaries("Skipping adding existing rule\nSkipping adding existing rule (v6)\n", &rule), Vec::<String>::new());
        assert_eq!(summaries("*filter\n### RULES ###\n", &rule), ["set the rule `allow from any to any port 22 proto tcp`"]);
        assert_eq!(summaries("", &[("state", "enabled"), ("policy", "deny"), ("logging", "on")]), Vec::<String>::new());
        assert_eq!(summaries("", &[("default", "allow")]), ["allow what is incoming by default"]);
    }
}
