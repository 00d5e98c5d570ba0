//! End to end over a real sshd: logins and their mistakes, whole playbooks, hosts that break in the middle, and secrets.
#![allow(clippy::panic, clippy::print_stderr, clippy::disallowed_methods, reason = "tests set up files and start programs of their own")]

#[path = "../harness/mod.rs"]
mod harness;

mod breaking;
mod http;
mod leases;
mod linger;
mod login;
mod plans;
mod secrets;
mod services;
mod system;
mod undo;
mod whole;
mod window;

use std::path::Path;
use std::time::{Duration, Instant};

use harness::{Hosts, Run, Site};

/// Panics unless all of `parts` are in `text`.
#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    assert!(!text.contains("panicked") && !text.contains("windlass itself broke"), "{text}");
}

/// Writes an inventory of these hosts, with `known` as known hosts and `more` as further lines for all of them.
fn inventory(site: &Site, hosts: &Hosts, names: &[&str], known: &Path, more: &str) {
    let lines: String = names.iter().map(|name| format!("{name} ansible_host={}\n", hosts.address(name))).collect();
    let common = format!(
        "ansible_user=ops\nansible_ssh_private_key_file={}/key\nansible_ssh_common_args=-F none -o UserKnownHostsFile={} -o GlobalKnownHostsFile=none",
        hosts.path().display(),
        known.display()
    );
    site.write("hosts.ini", &format!("[all]\n{lines}[all:vars]\n{common}\n{more}\n"));
}

/// Runs `site.yml` on the hosts of `inventory`.
fn play(site: &Site, words: &str) -> Run {
    site.playbook(&format!("-i hosts.ini site.yml {words}"))
}

/// Waits until `there` says yes.
#[track_caller]
fn wait_until(what: &str, mut there: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(90);
    while !there() {
        assert!(Instant::now() < until, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
