//! A playbook with a good part of the modules, on two hosts: a check predicts what a run changes, and a second run changes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::{Hosts, Run, Site};
use crate::http::Server;
use crate::{inventory, play};

const PLAYBOOK: &str = include_str!("whole.yml");

/// Returns what came of each task on each host, as `task @ host`, where the status is one of `wanted`.
pub(crate) fn came(run: &Run, wanted: &[&str]) -> BTreeSet<String> {
    let events = run.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let results = events.filter(|event| event["event"] == "result" && wanted.contains(&event["status"].as_str().unwrap_or_default()));
    results
        .map(|event| format!("{} @ {}", event["task"].as_str().unwrap_or_default(), event["host"].as_str().unwrap_or_default()))
        .collect()
}

#[test]
fn a_check_predicts_the_run_and_a_second_run_changes_nothing() {
    let Some(hosts) = Hosts::up(2) else { return };
    let server = Server::start("from the web\n");
    let site = Site::new().file("site.yml", PLAYBOOK);
    let gate = hosts.address("h1").rsplit_once('.').expect("address").0.to_owned() + ".254";
    let more = format!("ansible_become_password=s3cret\nweb=http://{gate}:{}", server.port);
    inventory(&site, &hosts, &["h1", "h2"], &hosts.path().join("known_hosts"), &more);
    let large: Vec<u8> = (0_u32..900_000).flat_map(u32::to_le_bytes).collect();
    fs::write(site.path().join("large.bin"), &large).expect("write");
    for (name, text) in [
        ("tree/a.txt", "a\n"),
        ("tree/deep/b.txt", "b\n"),
        ("app.ini.j2", "[app]\nhost = {{ inventory_hostname }}\npeers = {{ groups.all | join(',') }}\n"),
        ("make.sh", "#!/bin/sh\necho \"made by $0 $1\" >/srv/app/scripted\n"),
    ] {
        site.write(name, text);
    }
    fs::set_permissions(site.path().join("tree/a.txt"), fs::Permissions::from_mode(0o755)).expect("mode");

    let check = play(&site, "--check --diff --output json").success();
    assert!(!hosts.try_exec("h1", "test -e /srv/app").0 && !hosts.try_exec("h2", "id app").0, "a check changed something");
    assert!(!site.exists("fetched"), "a check changed something here");
    let run = play(&site, "--output json").success();
    let (changed, foreseen) = (came(&run, &["changed"]), came(&check, &["changed"]));
    let (doubtful, failed) = (came(&check, &["unknown"]), came(&check, &["failed", "unreachable"]));
    assert!(failed.is_empty(), "{failed:#?}");
    let missed: Vec<_> = changed.difference(&foreseen).filter(|what| !doubtful.contains(*what)).collect();
    let invented: Vec<_> = foreseen.difference(&changed).collect();
    assert!(missed.is_empty() && invented.is_empty(), "not foreseen: {missed:#?}\nforeseen in vain: {invented:#?}");
    // What no check can know: what a program would do, and what a temporary file will be called.
    let unknown = ["after a command: reload", "file: gone again"];
    assert_eq!(doubtful, unknown.iter().flat_map(|task| ["h1", "h2"].map(|host| format!("{task} @ {host}"))).collect());

    for host in ["h1", "h2"] {
        assert_eq!(hosts.exec(host, "sha256sum </srv/app/data/large.bin"), sha256(&site));
        assert_eq!(hosts.exec(host, "stat -c '%U %G %a' /srv/app/data/large.bin"), "app app 640\n");
        assert_eq!(hosts.exec(host, "cat /srv/app/tree/a.txt /srv/app/tree/deep/b.txt; stat -c %a /srv/app/tree/a.txt"), "a\nb\n755\n");
        assert_eq!(hosts.exec(host, "cat /srv/app/conf/app.ini"), format!("[app]\nhost = {host}\npeers = h1,h2\n"));
        assert_eq!(hosts.exec(host, "cat /srv/app/conf/all.conf"), "one\ntwo\n");
        assert_eq!(
            hosts.exec(host, "cat /srv/app/conf/main.conf"),
            "port=8080\n# BEGIN ANSIBLE MANAGED BLOCK\nlog=on\nlevel=3\n# END ANSIBLE MANAGED BLOCK\nmode=fast\n"
        );
        assert_eq!(hosts.exec(host, "cat /srv/app/page"), "from the web\n");
        assert_eq!(hosts.exec(host, "cat /srv/app/handled"), "handled\n", "the handler ran once");
        assert!(hosts.exec(host, "cat /srv/app/scripted").ends_with(" now\n"));
        assert_eq!(site.read(&format!("fetched/{host}/srv/app/conf/app.ini")), format!("[app]\nhost = {host}\npeers = h1,h2\n"));
        assert_eq!(
            hosts.exec(host, "find / -xdev -name '.windlass-*'; ls -A /tmp | grep -v windlass-hosts-; true"),
            "",
            "something was left on {host}"
        );
    }
    assert_eq!(hosts.exec("h1", "cat /srv/app/register"), "h1\nh2\n");
    assert!(!hosts.try_exec("h2", "test -e /srv/app/register").0);

    let again = play(&site, "--output json").success();
    assert_eq!(came(&again, &["changed"]), BTreeSet::new());
    let check = play(&site, "--check --output json").success();
    assert_eq!(came(&check, &["changed", "failed"]), BTreeSet::new());
}

fn sha256(site: &Site) -> String {
    let output = std::process::Command::new("sha256sum").stdin(fs::File::open(site.path().join("large.bin")).expect("file")).output();
    String::from_utf8(output.expect("sha256sum").stdout).expect("text")
}
