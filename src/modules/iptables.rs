//! `iptables`: rules of the packet filter, as they are now.

use schemars::JsonSchema;
use serde::Deserialize;

use super::group::Presence;
use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::{Change, Effect, Failure, Plan, Probe, Program};

/// Adds and removes rules of `iptables` and `ip6tables`. They hold until the next start; keeping them is another tool's business.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Iptables {
    /// The table.
    #[serde(default = "filter")]
    table: String,
    /// The chain.
    chain: Option<String>,
    /// Whether the rule, or with `chain_management` the chain, shall be there.
    #[serde(default)]
    state: Presence,
    /// `append` or `insert`: where a new rule goes.
    #[serde(default)]
    action: Action,
    /// The number before which it is inserted.
    rule_num: Option<String>,
    /// `ipv4`, `ipv6` or `both`.
    #[serde(default)]
    ip_version: Version,
    /// The protocol; `!` before it: any other.
    protocol: Option<String>,
    /// Where packets come from.
    source: Option<String>,
    /// Where packets go.
    destination: Option<String>,
    /// Flags of TCP.
    tcp_flags: Option<Flags>,
    /// Extensions to match with.
    #[serde(default, rename = "match")]
    matches: Vec<String>,
    /// What becomes of a packet.
    jump: Option<String>,
    /// The gateway, with `jump: TEE`.
    gateway: Option<String>,
    /// What stands before a line in the log.
    log_prefix: Option<String>,
    /// How loud a line in the log is.
    log_level: Option<String>,
    /// The chain where to go on.
    goto: Option<String>,
    /// Where packets come in.
    in_interface: Option<String>,
    /// Where packets go out.
    out_interface: Option<String>,
    /// Whether later fragments are meant.
    fragment: Option<String>,
    /// Counters of packets and bytes.
    set_counters: Option<String>,
    /// The port that packets come from.
    source_port: Option<String>,
    /// The port that packets go to.
    destination_port: Option<String>,
    /// Ports that packets go to.
    #[serde(default)]
    destination_ports: Vec<String>,
    /// The port that takes them instead.
    to_ports: Option<String>,
    /// The address that takes them instead.
    to_destination: Option<String>,
    /// The address that they seem to come from.
    to_source: Option<String>,
    /// `match` or `negate`: whether a packet opens a connection.
    #[serde(default)]
    syn: Syn,
    /// The mark that packets get.
    set_dscp_mark: Option<String>,
    /// The class that packets get.
    set_dscp_mark_class: Option<String>,
    /// A comment.
    comment: Option<String>,
    /// States of connections.
    #[serde(default)]
    ctstate: Vec<String>,
    /// Addresses from and to, with `match: iprange`.
    src_range: Option<String>,
    /// Addresses from and to, with `match: iprange`.
    dst_range: Option<String>,
    /// The set to match with.
    match_set: Option<String>,
    /// What of a packet the set is matched with.
    match_set_flags: Option<String>,
    /// How often at most.
    limit: Option<String>,
    /// How many at once before the limit counts.
    limit_burst: Option<String>,
    /// Whose packets.
    uid_owner: Option<String>,
    /// Whose packets.
    gid_owner: Option<String>,
    /// What a refusal says.
    reject_with: Option<String>,
    /// The kind of ICMP.
    icmp_type: Option<String>,
    /// Whether all rules of the chain, or of the table, go.
    #[serde(default)]
    flush: bool,
    /// What becomes of packets that no rule of the chain takes.
    policy: Option<String>,
    /// Seconds to wait for another program.
    wait: Option<String>,
    /// Whether the chain itself is made and removed.
    #[serde(default)]
    chain_management: bool,
    /// Whether addresses are shown as numbers; here they always are.
    #[serde(default, rename = "numeric")]
    _numeric: bool,
}

fn filter() -> String {
    "filter".to_owned()
}

/// Where a new rule goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Action {
    /// To the end.
    #[default]
    Append,
    /// To the beginning, or before `rule_num`.
    Insert,
}

/// Which protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Version {
    /// Version 4.
    #[default]
    Ipv4,
    /// Version 6.
    Ipv6,
    /// Both.
    Both,
}

/// Whether a packet opens a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Syn {
    /// Either.
    #[default]
    Ignore,
    /// It does.
    Match,
    /// It does not.
    Negate,
}

/// Flags of TCP.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Flags {
    /// Those that are looked at.
    #[serde(default)]
    flags: Vec<String>,
    /// Those that are set.
    #[serde(default)]
    flags_set: Vec<String>,
}

impl Module for Iptables {
    const NAME: &'static str = "iptables";
    const PATHS: &'static [&'static str] = &[];
    const CHANGES: &'static [Names] = &[Names::Program("iptables"), Names::Program("ip6tables")];
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Let requests to a web server in",
        task: "{chain: INPUT, protocol: tcp, destination_port: '443', jump: ACCEPT, comment: web}",
        given: &[],
        changes: true,
    }];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        if self.chain.is_none() && !self.flush {
            return Err(Failure::argument("chain", "`chain` is needed"));
        }
        if self.flush && self.policy.is_some() {
            return Err(Failure::argument("policy", "`flush` and `policy` are mutually exclusive"));
        }
        let programs: &[&str] = match self.ip_version {
            Version::Ipv4 => &["iptables"],
            Version::Ipv6 => &["ip6tables"],
            Version::Both => &["iptables", "ip6tables"],
        };
        let rule = self.rule();
        let mut changes = Vec::new();
        for program in programs {
            self.with(host, program, &rule, &mut changes)?;
        }
        let because = if changes.is_empty() { "the rules are as asked" } else { "the rules differ" };
        Ok(Plan::all(because, changes)
            .value("rule", rule.join(" "))
            .value("chain", self.chain.clone())
            .value("table", self.table.as_str())
            .value("flush", self.flush)
            .value("state", if self.state == Presence::Present { "present" } else { "absent" }))
    }
}

impl Iptables {
    fn command(&self, program: &str, words: &[&str]) -> Vec<String> {
        let mut argv = vec![program.to_owned()];
        if let Some(wait) = &self.wait {
            argv.extend(["-w".to_owned(), wait.clone()]);
        }
        argv.extend(["-t".to_owned(), self.table.clone()]);
        argv.extend(words.iter().map(|word| (*word).to_owned()));
        argv
    }

    fn ask(&self, host: &dyn Probe, program: &str, words: &[&str]) -> Result<(bool, String), Failure> {
        let argv = self.command(program, words);
        let output = host.query(&argv.iter().map(String::as_str).collect::<Vec<_>>())?;
        Ok((output.rc == 0, String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    fn run(&self, program: &str, words: &[&str]) -> Change {
        let argv = self.command(program, words);
        let summary = format!("run `{}`", argv.join(" "));
        let effects = vec![Effect::QueryUnknown(vec![program.to_owned()])];
        Change::Run { program: Program { argv, accept: vec![0], ..Program::default() }, effects, summary }
    }

    /// Plans what one of the two programs has to do.
    fn with(&self, host: &dyn Probe, program: &str, rule: &[String], changes: &mut Vec<Change>) -> Result<(), Failure> {
        let chain = self.chain.as_deref().unwrap_or_default();
        let words: Vec<&str> = rule.iter().map(String::as_str).collect();
        let line = |first: &[&'static str]| -> Vec<String> {
            first.iter().map(|word| (*word).to_owned()).chain([chain.to_owned()]).chain(rule.iter().cloned()).collect()
        };
        if self.flush {
            changes.push(if chain.is_empty() { self.run(program, &["-F"]) } else { self.run(program, &["-F", chain]) });
            return Ok(());
        }
        if let Some(policy) = &self.policy {
            let (_, told) = self.ask(host, program, &["-n", "-L", chain])?;
            if !told.contains(&format!("(policy {policy}")) {
                changes.push(self.run(program, &["-P", chain, policy]));
            }
            return Ok(());
        }
        if self.chain_management && words.is_empty() {
            let (is_there, _) = self.ask(host, program, &["-n", "-L", chain])?;
            match (is_there, self.state) {
                (false, Presence::Present) => changes.push(self.run(program, &["-N", chain])),
                (true, Presence::Absent) => changes.push(self.run(program, &["-X", chain])),
                _ => {}
            }
            return Ok(());
        }
        if self.chain_management && self.state == Presence::Present && !self.ask(host, program, &["-n", "-L", chain])?.0 {
            changes.push(self.run(program, &["-N", chain]));
        }
        let check = line(&["-C"]);
        let (is_there, _) = self.ask(host, program, &check.iter().map(String::as_str).collect::<Vec<_>>())?;
        match (is_there, self.state) {
            (true, Presence::Absent) => {
                let delete = line(&["-D"]);
                changes.push(self.run(program, &delete.iter().map(String::as_str).collect::<Vec<_>>()));
            }
            (false, Presence::Present) => {
                let mut add = vec![if self.action == Action::Insert { "-I" } else { "-A" }, chain];
                add.extend(self.rule_num.as_deref().filter(|_| self.action == Action::Insert));
                add.extend(words);
                changes.push(self.run(program, &add));
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds a flag that an extension brings, and the extension itself where it was not named.
    fn with_extension(&self, rule: &mut Rule, extension: &str, flag: &str, value: Option<&str>) {
        let is_named = rule.0.windows(2).any(|pair| pair == ["-m", extension]);
        if value.is_some_and(|value| !value.is_empty()) && !is_named {
            rule.part("-m", Some(extension));
        }
        rule.part(flag, value);
    }

    /// Returns the words of the rule.
    fn rule(&self) -> Vec<String> {
        let mut rule = Rule(Vec::new());
        rule.part("-p", self.protocol.as_deref());
        rule.part("-s", self.source.as_deref());
        rule.part("-d", self.destination.as_deref());
        for extension in &self.matches {
            rule.part("-m", Some(extension));
        }
        if let Some(flags) = &self.tcp_flags {
            rule.0.extend(["--tcp-flags".to_owned(), flags.flags.join(","), flags.flags_set.join(",")]);
        }
        rule.part("-j", self.jump.as_deref());
        let is_tee = self.jump.as_deref().is_some_and(|jump| jump.eq_ignore_ascii_case("tee"));
        rule.part("--gateway", self.gateway.as_deref().filter(|_| is_tee));
        rule.part("--log-prefix", self.log_prefix.as_deref());
        rule.part("--log-level", self.log_level.as_deref());
        rule.part("--to-destination", self.to_destination.as_deref());
        let joined = |words: &[String]| Some(words.join(",")).filter(|text| !text.is_empty());
        self.with_extension(&mut rule, "multiport", "--dports", joined(&self.destination_ports).as_deref());
        rule.part("--to-source", self.to_source.as_deref());
        rule.part("-g", self.goto.as_deref());
        rule.part("-i", self.in_interface.as_deref());
        rule.part("-o", self.out_interface.as_deref());
        rule.part("-f", self.fragment.as_deref());
        rule.part("-c", self.set_counters.as_deref());
        rule.part("--source-port", self.source_port.as_deref());
        rule.part("--destination-port", self.destination_port.as_deref());
        rule.part("--to-ports", self.to_ports.as_deref());
        rule.part("--set-dscp", self.set_dscp_mark.as_deref());
        rule.part("--set-dscp-class", self.set_dscp_mark_class.as_deref());
        // The old extension has another word for the same.
        if self.matches.iter().any(|known| known == "state") {
            rule.part("--state", joined(&self.ctstate).as_deref());
        } else {
            self.with_extension(&mut rule, "conntrack", "--ctstate", joined(&self.ctstate).as_deref());
        }
        self.with_extension(&mut rule, "iprange", "--src-range", self.src_range.as_deref());
        self.with_extension(&mut rule, "iprange", "--dst-range", self.dst_range.as_deref());
        self.with_extension(&mut rule, "limit", "--limit", self.limit.as_deref());
        rule.part("--limit-burst", self.limit_burst.as_deref());
        self.with_extension(&mut rule, "owner", "--uid-owner", self.uid_owner.as_deref());
        self.with_extension(&mut rule, "owner", "--gid-owner", self.gid_owner.as_deref());
        let Rule(mut rule) = rule;
        if let (Some(set), Some(flags)) = (&self.match_set, &self.match_set_flags) {
            rule.extend(["-m", "set", "--match-set", set, flags].map(str::to_owned));
        }
        match self.syn {
            Syn::Ignore => {}
            Syn::Match => rule.push("--syn".to_owned()),
            Syn::Negate => rule.extend(["!", "--syn"].map(str::to_owned)),
        }
        for (flag, value) in [("--reject-with", &self.reject_with), ("--icmp-type", &self.icmp_type)] {
            if let Some(value) = value {
                if flag == "--reject-with" && self.jump.is_none() {
                    rule.extend(["-j", "REJECT"].map(str::to_owned));
                }
                rule.extend([flag.to_owned(), value.clone()]);
            }
        }
        if let Some(comment) = &self.comment {
            rule.extend(["-m", "comment", "--comment", comment].map(str::to_owned));
        }
        rule
    }
}

/// The words of a rule.
struct Rule(Vec<String>);

impl Rule {
    /// Adds a flag with its value, where there is one; `!` before the value goes before the flag.
    fn part(&mut self, flag: &str, value: Option<&str>) {
        let Some(value) = value.filter(|value| !value.is_empty()) else { return };
        let bare = value.strip_prefix('!');
        self.0.extend(bare.map(|_| "!".to_owned()));
        self.0.extend([flag.to_owned(), bare.unwrap_or(value).trim().to_owned()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::fake::FakeHost;

    fn summaries(host: &FakeHost, arguments: &[(&str, &str)]) -> Vec<String> {
        let map = arguments.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let plan = crate::value::arguments::from_map::<Iptables>(&map).expect("fits").plan(host).expect("plan");
        plan.changes.iter().map(crate::change::diff::summary).collect()
    }

    #[test]
    fn a_rule_is_added_only_where_it_is_not() {
        let rule = [("chain", "INPUT"), ("protocol", "tcp"), ("source", "!10.0.0.0/8"), ("destination_port", "80"), ("jump", "ACCEPT")];
        let none = FakeHost::with(&[]).prints(&["iptables"], 1, "");
        let words = "-p tcp ! -s 10.0.0.0/8 -j ACCEPT --destination-port 80";
        assert_eq!(summaries(&none, &rule), [format!("run `iptables -t filter -A INPUT {words}`")]);
        let there = FakeHost::with(&[]).prints(&["iptables"], 0, "");
        assert_eq!(summaries(&there, &rule), Vec::<String>::new());
        let gone: Vec<_> = rule.iter().copied().chain([("state", "absent")]).collect();
        assert_eq!(summaries(&there, &gone), [format!("run `iptables -t filter -D INPUT {words}`")]);
    }

    #[test]
    fn a_policy_is_read_first() {
        let host = FakeHost::with(&[]).prints(&["iptables"], 0, "Chain INPUT (policy ACCEPT)\n");
        assert_eq!(summaries(&host, &[("chain", "INPUT"), ("policy", "ACCEPT")]), Vec::<String>::new());
        assert_eq!(summaries(&host, &[("chain", "INPUT"), ("policy", "DROP")]), ["run `iptables -t filter -P INPUT DROP`"]);
    }
}
