//! Looking at the hosts: what a person decides of a command that nobody is sure of, and how the hosts are in the end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::harness::{Hosts, Site};

/// What the hosts and this machine have in the end: by host, the text of each file without what differs from run to run.
pub type State = BTreeMap<String, String>;

/// Ends the agents of a host, by their ids.
pub const KILL_AGENTS: &str = "for p in /proc/[0-9]*; do case $(readlink $p/exe) in */windlass/agent-*) \
     tr '\\0' ' ' <$p/cmdline | grep -q ' agent-serve ' && kill -9 ${p#/proc/};; esac; done; true";

/// Counts the processes of agents.
const AGENTS: &str = "for p in /proc/[0-9]*; do readlink $p/exe; done 2>/dev/null | grep -c windlass/agent; true";

/// Everything below `/srv/site`: kind, mode, owner, link and text; of large files their hash.
const DUMP: &str = "cd /srv/site && find . | sort | while read -r f; do stat -c '@ %n %F %a %U:%G' \"$f\"; \
     if [ -L \"$f\" ]; then readlink \"$f\"; elif [ -f \"$f\" ]; then case $f in */large) sha256sum <\"$f\";; *) cat \"$f\";; esac; fi; done";

/// A command that a run stopped at, as nobody knows whether it was done.
#[derive(Clone, Debug)]
pub struct Unsure {
    /// The host.
    pub host: String,
    /// The task's name.
    pub task: String,
    /// The item of its loop.
    pub item: String,
    /// Which attempt of `until` it is, from 1.
    pub attempt: u64,
}

/// Looks whether the command left its line, and says `skip`, or `redo` where it did not. Where what it printed is needed later, its
/// line is taken back and it is done again.
pub fn decide(hosts: &Hosts, site: &Site, unsure: &Unsure) -> &'static str {
    let Unsure { host, task, item, attempt } = unsure;
    // What the broken run left behind may still be at work.
    let until = Instant::now() + Duration::from_secs(30);
    while concerned(host).iter().any(|host| hosts.exec(host, AGENTS).trim() != "0") && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(50));
    }
    let line = |name: &str| if hosts.try_exec(host, &format!("test -s /srv/site/count/{name}")).0 { "skip" } else { "redo" };
    let here = |name: &str| if site.exists(name) { "skip" } else { "redo" };
    match task.as_str() {
        "First" => line("first"),
        "In a block" => line("in-block"),
        "Rescue" => line("rescue"),
        "Always" => line("always"),
        "Within" => line("within"),
        "After it" => line("after"),
        "In turn" => line("turn"),
        "reload" | "restart" | "tell" => line(task),
        "Included x" => line("included-x"),
        "Included y" => line("included-y"),
        task if task.starts_with("Several commands") => line(&format!("each-{item}")),
        "On the first host, for each" => {
            if hosts.try_exec("h1", &format!("test -s /srv/site/count/for-{host}")).0 {
                "skip"
            } else {
                "redo"
            }
        }
        "Here, not there" => here(&format!("here-{host}")),
        "Several here, not there" => here(&format!("here-{host}-{item}")),
        "A script" => line("script"),
        "Without an agent" => {
            // No agent can be waited for.
            std::thread::sleep(Duration::from_millis(500));
            line("raw")
        }
        "A job" => {
            // It goes on by itself, and may only just have begun.
            std::thread::sleep(Duration::from_millis(500));
            line("job")
        }
        "Commands in one message" => line(&format!("group-{item}")),
        "Once for all" => {
            hosts.exec(host, "rm -f /srv/site/count/once");
            "redo"
        }
        "Until it is so" => {
            let tries = "/srv/site/count/tries";
            hosts.exec(
                host,
                &format!("touch {tries}; head -n {} {tries} >{tries}.new; cat {tries}.new >{tries}; rm {tries}.new", attempt - 1),
            );
            "redo"
        }
        // These may be done again.
        "A word that only this step knows" | "Fails" => "redo",
        other => panic!("nobody can be unsure of {other}"),
    }
}

/// Returns the hosts on which a command of this host may be: it may have been delegated to the first.
fn concerned(host: &str) -> Vec<&str> {
    if host == "h1" { vec!["h1"] } else { vec!["h1", host] }
}

/// Returns how the hosts are, and what is wrong whatever they should be like.
pub fn at(hosts: &Hosts, site: &Site, names: &[&str]) -> (State, Vec<String>) {
    let (mut state, mut faults) = (State::new(), Vec::new());
    let read = |host: &str, file: &str| hosts.try_exec(host, &format!("cat /srv/site/{file} 2>/dev/null")).1;
    let mut done_once = Vec::new();
    for host in names {
        let token = read(host, "token/made");
        if token.len() != 13 {
            faults.push(format!("{host}: the token is `{token}`"));
        }
        for line in read(host, "count/once").lines() {
            done_once.push((*host, line.to_owned()));
        }
        // Which host does what is done once for all depends on who could be reached then.
        let dump = hosts.exec(host, DUMP).replace(&token, "TOKEN").replace(&token.to_uppercase(), "MARK");
        for entry in dump.split("@ ").filter(|entry| !entry.is_empty()) {
            let name = entry.split(' ').next().unwrap_or_default();
            if !["./count/once", "./token/once"].contains(&name) {
                state.insert(format!("{host} {name}"), entry.to_owned());
            }
        }
        for name in ["", "-one", "-two", "-three"].map(|item| format!("here-{host}{item}")) {
            let here = if site.exists(&name) { site.read(&name) } else { String::new() };
            state.insert(name, here);
        }
        let left = hosts.exec(host, "find / -xdev -name '.windlass-*'; ls -A /tmp | grep -v windlass-hosts-; true");
        if !left.is_empty() {
            faults.push(format!("{host}: left behind: {left}"));
        }
    }
    match done_once.as_slice() {
        [(doer, _)] => {
            let wanted = read(doer, "token/made") + "\n";
            for host in names.iter().filter(|host| read(host, "token/once") != wanted) {
                faults.push(format!("{host}: what was done once on {doer} came to `{}`, not `{wanted}`", read(host, "token/once")));
            }
        }
        others => faults.push(format!("what is done once for all was done {} times: {others:?}", others.len())),
    }
    (state, faults)
}

/// Returns where two states differ, a line each.
pub fn differences(wanted: &State, found: &State) -> Vec<String> {
    let names: std::collections::BTreeSet<_> = wanted.keys().chain(found.keys()).collect();
    let differ = names.into_iter().filter(|name| wanted.get(*name) != found.get(*name));
    differ.map(|name| format!("{name}: wanted {:?}, found {:?}", wanted.get(name), found.get(name))).collect()
}
