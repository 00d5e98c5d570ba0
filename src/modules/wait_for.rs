//! `wait_for`: wait until a port, a file or a text is there, or is gone.

use std::path::Path;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Example, Module};
use crate::change::doubt::Names;
use crate::change::{Failure, Plan, Probe};
use crate::value::{Map, Value};

/// Waits until a port answers, a file is there or has a text, or until one of them is gone. Nothing is changed.
///
/// In a check the host does not move: what is not so now is "unknown" rather than waited for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitFor {
    /// The host to connect to, as seen from the host that the task runs on.
    #[serde(default = "localhost")]
    host: String,
    /// The port to connect to.
    port: Option<u16>,
    /// The file to look at.
    #[serde(alias = "dest")]
    path: Option<String>,
    /// What to wait for.
    #[serde(default)]
    state: State,
    /// A regular expression that the file must have (or, with `absent`, must not have), or that what the port says must have.
    search_regex: Option<String>,
    /// Hosts whose connections do not count, for `drained`.
    #[serde(default)]
    exclude_hosts: Vec<String>,
    /// States of connections that count, for `drained`.
    #[serde(default = "active_states")]
    active_connection_states: Vec<String>,
    /// Seconds before the first look.
    #[serde(default)]
    delay: u64,
    /// Seconds after which the task fails. Without a port and a path: how long to wait.
    #[serde(default = "five_minutes")]
    timeout: u64,
    /// Seconds between looks.
    #[serde(default = "one")]
    sleep: u64,
    /// Seconds for one try to connect.
    #[serde(default = "five")]
    connect_timeout: u64,
    /// What to say when it fails.
    msg: Option<String>,
}

fn localhost() -> String {
    "127.0.0.1".to_owned()
}
fn five_minutes() -> u64 {
    300
}
fn one() -> u64 {
    1
}
fn five() -> u64 {
    5
}
fn active_states() -> Vec<String> {
    ["ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "SYN_RECV", "SYN_SENT", "TIME_WAIT"].map(str::to_owned).to_vec()
}

/// What to wait for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    /// The port answers or the file is there.
    #[default]
    Started,
    /// The same.
    Present,
    /// The port does not answer or the file is gone.
    Stopped,
    /// The same.
    Absent,
    /// Nobody is connected to the port.
    Drained,
}

impl Module for WaitFor {
    const NAME: &'static str = "wait_for";
    const CHANGES: &'static [Names] = &[];
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Wait until a file is gone",
            task: "{path: /var/lock/apply.lock, state: absent, timeout: 5}",
            given: &[],
            changes: false,
        },
        Example {
            title: "Wait until a log says that the node is ready",
            task: "{path: /var/log/node.log, search_regex: 'started \\d+', timeout: 5}",
            given: &[("/var/log/node.log", "node started 12\n")],
            changes: false,
        },
    ];

    fn asks(_: &Map) -> bool {
        true
    }

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        self.check()?;
        let regex = self.search_regex.as_deref().map(|text| regex::bytes::RegexBuilder::new(text).multi_line(true).build());
        let regex = regex.transpose().map_err(|error| Failure::argument("search_regex", format!("not a regular expression: {error}")))?;
        let begin = host.now();
        host.wait(Duration::from_secs(self.delay));
        if self.port.is_none() && self.path.is_none() {
            host.wait(Duration::from_secs(self.timeout));
            return Ok(self.reached(host.now() - begin, Value::Null));
        }
        loop {
            let missing = match self.look(host, regex.as_ref())? {
                Ok(groups) => return Ok(self.reached(host.now() - begin, groups)),
                Err(missing) => missing,
            };
            if !host.moves() {
                return Err(Failure::unknown(format!("{missing}, and what comes later is not known")));
            }
            let elapsed = host.now() - begin;
            #[allow(clippy::cast_precision_loss)]
            if elapsed >= self.timeout as f64 {
                let message = self.msg.clone().unwrap_or_else(|| self.late());
                return Err(Failure::failed(message).with("elapsed", whole(elapsed)).hint(format!("at the end, {missing}")));
            }
            host.wait(Duration::from_secs(self.sleep));
        }
    }
}

#[allow(clippy::cast_possible_truncation)]
fn whole(seconds: f64) -> i64 {
    seconds as i64
}

impl WaitFor {
    fn check(&self) -> Result<(), Failure> {
        if self.port.is_some() && self.path.is_some() {
            return Err(Failure::argument("path", "`port` and `path` exclude each other"));
        }
        if self.path.is_some() && self.state == State::Drained {
            return Err(Failure::argument("state", "`drained` is about a `port`, not a `path`"));
        }
        if self.port.is_none() && self.state == State::Drained {
            return Err(Failure::argument("port", "`state: drained` needs a `port`"));
        }
        if !self.exclude_hosts.is_empty() && self.state != State::Drained {
            return Err(Failure::argument("exclude_hosts", "`exclude_hosts` is only for `state: drained`"));
        }
        if self.search_regex.is_some() && self.path.is_none() && self.port.is_none() {
            return Err(Failure::argument("search_regex", "`search_regex` needs a `path` or a `port`"));
        }
        Ok(())
    }

    /// Says what did not come in time.
    fn late(&self) -> String {
        let what = match (&self.path, self.port) {
            (Some(path), _) => path.clone(),
            (None, port) => format!("{}:{}", self.host, port.unwrap_or_default()),
        };
        match (self.state, &self.search_regex) {
            (State::Drained, _) => format!("Timeout when waiting for {what} to drain"),
            (State::Stopped | State::Absent, _) if self.path.is_some() => format!("Timeout when waiting for {what} to be absent."),
            (State::Stopped | State::Absent, _) => format!("Timeout when waiting for {what} to stop."),
            (_, Some(regex)) => format!("Timeout when waiting for search string {regex} in {what}"),
            (_, None) if self.path.is_some() => format!("Timeout when waiting for file {what}"),
            (_, None) => format!("Timeout when waiting for {what}"),
        }
    }

    /// Looks once. The inner error says what is not so yet.
    fn look(&self, host: &dyn Probe, regex: Option<&regex::bytes::Regex>) -> Result<Result<Value, String>, Failure> {
        let gone = matches!(self.state, State::Stopped | State::Absent);
        if let Some(path) = &self.path {
            return look_at_file(host, Path::new(path), regex, gone);
        }
        let port = self.port.unwrap_or_default();
        let place = format!("`{}:{port}`", self.host);
        if self.state == State::Drained {
            let open = self.connections(host, port)?;
            return Ok(if open == 0 { Ok(Value::Null) } else { Err(format!("{open} connections to {place} are open")) });
        }
        let patience = Duration::from_secs(self.connect_timeout.max(1));
        if let Some(regex) = regex.filter(|_| !gone) {
            return Ok(match host.hear(&self.host, port, patience, &|said| regex.is_match(said))? {
                Ok(said) => groups_in(regex, &said).ok_or_else(|| format!("{place} does not say the text")),
                Err(why) => Err(format!("{place} does not answer: {why}")),
            });
        }
        let answer = host.connect(&self.host, port, patience)?;
        Ok(match (answer, gone) {
            (Ok(()), false) | (Err(_), true) => Ok(Value::Null),
            (Ok(()), true) => Err(format!("{place} still answers")),
            (Err(why), false) => Err(format!("{place} does not answer: {why}")),
        })
    }

    /// Returns how many connections to the port are open, other than from `exclude_hosts`.
    fn connections(&self, host: &dyn Probe, port: u16) -> Result<usize, Failure> {
        let states: Vec<u8> = self.active_connection_states.iter().filter_map(|name| tcp_state(name)).collect();
        let mut open = 0;
        for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let text = host.read(Path::new(file))?.unwrap_or_default();
            for (local, peer, state) in String::from_utf8_lossy(&text).lines().filter_map(connection) {
                let excluded = peer.is_some_and(|peer| self.exclude_hosts.iter().any(|host| host.parse() == Ok(peer)));
                open += usize::from(local == port && states.contains(&state) && !excluded);
            }
        }
        Ok(open)
    }

    fn reached(&self, elapsed: f64, groups: Value) -> Plan {
        let what = match (&self.port, &self.path) {
            (Some(port), _) => format!("`{}:{port}` is as asked", self.host),
            (None, Some(path)) => format!("`{path}` is as asked"),
            (None, None) => "the time is over".to_owned(),
        };
        let plan = Plan::nothing(what).value("elapsed", whole(elapsed)).value("path", self.path.clone());
        let plan = plan.value("port", self.port.map(i64::from)).value("search_regex", self.search_regex.clone());
        let state = serde_json::to_value(self.state).ok().and_then(|state| state.as_str().map(str::to_owned));
        let plan = plan.value("state", state);
        let group = |name: &str, none: Value| groups.get(name).cloned().unwrap_or(none);
        let named = group("named", Map::new().into());
        plan.value("match_groups", group("all", Value::list([]))).value("match_groupdict", named)
    }
}

fn look_at_file(host: &dyn Probe, path: &Path, regex: Option<&regex::bytes::Regex>, gone: bool) -> Result<Result<Value, String>, Failure> {
    let shown = path.display();
    let there = host.stat(path, true)?.is_some();
    let Some(regex) = regex else {
        return Ok(match (there, gone) {
            (true, true) => Err(format!("`{shown}` is still there")),
            (false, false) => Err(format!("`{shown}` is not there")),
            _ => Ok(Value::Null),
        });
    };
    let bytes = host.read(path)?.unwrap_or_default();
    Ok(match (groups_in(regex, &bytes), gone) {
        (Some(groups), false) => Ok(groups),
        (None, true) => Ok(Value::Null),
        (Some(_), true) => Err(format!("`{shown}` still has the text")),
        (None, false) => Err(format!("`{shown}` does not have the text")),
    })
}

/// Returns the groups of a match: `all` in their order, and those that are `named`.
fn groups_in(regex: &regex::bytes::Regex, bytes: &[u8]) -> Option<Value> {
    let groups = regex.captures(bytes)?;
    let text = |group: Option<regex::bytes::Match>| Value::from(group.map(|found| String::from_utf8_lossy(found.as_bytes()).into_owned()));
    let all = Value::list(groups.iter().skip(1).map(text));
    let named = Value::map(regex.capture_names().flatten().map(|name| (name, text(groups.name(name)))));
    Some(Value::map([("all", all), ("named", named)]))
}

/// Returns the number that the kernel has for a state of a TCP connection.
fn tcp_state(name: &str) -> Option<u8> {
    let names = [
        "ESTABLISHED",
        "SYN_SENT",
        "SYN_RECV",
        "FIN_WAIT1",
        "FIN_WAIT2",
        "TIME_WAIT",
        "CLOSE",
        "CLOSE_WAIT",
        "LAST_ACK",
        "LISTEN",
        "CLOSING",
    ];
    names.iter().position(|known| *known == name).and_then(|at| u8::try_from(at + 1).ok())
}

/// Reads a line of `/proc/net/tcp`: local port, peer and state.
fn connection(line: &str) -> Option<(u16, Option<std::net::IpAddr>, u8)> {
    let mut words = line.split_whitespace().skip(1);
    let (local, peer, state) = (words.next()?, words.next()?, words.next()?);
    let port = u16::from_str_radix(local.split_once(':')?.1, 16).ok()?;
    let state = u8::from_str_radix(state, 16).ok()?;
    let hex = peer.split_once(':')?.0;
    let words: Vec<u32> =
        (0..hex.len() / 8).filter_map(|at| u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::swap_bytes)).collect();
    let peer = match words[..] {
        [v4] => Some(std::net::IpAddr::from(v4.to_be_bytes())),
        [a, b, c, d] => {
            let v6 = std::net::Ipv6Addr::from((u128::from(a) << 96) | (u128::from(b) << 64) | (u128::from(c) << 32) | u128::from(d));
            Some(v6.to_ipv4_mapped().map_or(std::net::IpAddr::V6(v6), std::net::IpAddr::V4))
        }
        _ => None,
    };
    Some((port, peer, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_read_from_the_kernel() {
        let v4 = "   1: 0100007F:2394 0202A8C0:D2F0 01 00000000:00000000 00:00000000 00000000 0 0 1";
        assert_eq!(connection(v4), Some((9108, Some("192.168.2.2".parse().expect("address")), 1)));
        let v6 = "   0: 0000000000000000FFFF00000100007F:0050 0000000000000000FFFF00000202A8C0:D2F0 06 0";
        assert_eq!(connection(v6), Some((80, Some("192.168.2.2".parse().expect("address")), 6)));
        assert_eq!(tcp_state("TIME_WAIT"), Some(6));
    }
}
