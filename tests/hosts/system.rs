//! Modules that need more than files, on real hosts: what a check foresees is what a run does, and a second run changes nothing.

use std::collections::BTreeSet;

use crate::harness::{Hosts, Site};
use crate::whole::came;
use crate::{inventory, play};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

const GIVEN: &str = "mkdir -p /srv/deb/DEBIAN /srv/mounted; cd /srv
printf 'Package: wl-test\\nVersion: 1.0\\nArchitecture: all\\nMaintainer: t\\nDescription: t\\n' >deb/DEBIAN/control
dpkg-deb --build deb wl-test.deb >/dev/null
git init -q -b main origin && cd origin && echo one >file && git add . && git -c user.name=t -c user.email=t@example.net commit -qm one";

const MAY_BE_UNKNOWN: &[&str] =
    &["unarchive: app", "getent: of it", "copy: what getent found", "package_facts: read", "assert: it is installed and held"];

/// What the run is to have come to.
const LOOK: &str = "cat /srv/app/inside /srv/clone/file /srv/shell; readlink /etc/alternatives/wl-editor
dpkg-query -W -f '${Status}\\n' wl-test; debconf-show wl-test; cat /etc/apt/sources.list.d/wl-classic.list /etc/cron.d/wl
grep -c example.net /etc/ssh/ssh_known_hosts; hostname; cat /proc/sys/net/ipv4/ip_default_ttl; grep /srv/mounted /proc/mounts | cut -d' ' -f1-3
openssl req -in /srv/tls.csr -noout -subject | tr -d ' '; id -nG wluser";

#[test]
fn what_needs_a_system_is_foreseen_done_and_left_alone_then() {
    let (units, hosts) = match Hosts::boot(1) {
        Some(hosts) => (true, hosts),
        None => match Hosts::up(1) {
            Some(hosts) => (false, hosts),
            None => return,
        },
    };
    let site = Site::new().file("site.yml", include_str!("system.yml")).file("app/inside", "in the archive\n");
    let packed = std::process::Command::new("tar").args(["czf", "app.tar.gz", "app"]).current_dir(site.path()).status().expect("tar");
    assert!(packed.success());
    inventory(
        &site,
        &hosts,
        &["h1"],
        &hosts.path().join("known_hosts"),
        &format!("ansible_become_password=s3cret\nunits={units}\nkey={KEY}"),
    );
    hosts.exec("h1", GIVEN);

    let check = play(&site, "--check --output json");
    let failed = came(&check, &["failed", "unreachable"]);
    assert!(failed.is_empty(), "{failed:#?}");
    let run = play(&site, "--output json").success();
    let (changed, foreseen, doubtful) = (came(&run, &["changed"]), came(&check, &["changed"]), came(&check, &["unknown"]));
    let missed: Vec<_> = changed.difference(&foreseen).filter(|what| !doubtful.contains(*what)).collect();
    let invented: Vec<_> = foreseen.difference(&changed).collect();
    assert!(missed.is_empty() && invented.is_empty(), "not foreseen: {missed:#?}\nforeseen in vain: {invented:#?}");
    // What is unpacked, and what is asked of what was changed before, only the run can tell.
    let may_be: BTreeSet<String> = MAY_BE_UNKNOWN.iter().map(|task| format!("{task} @ h1")).collect();
    let too_many: Vec<_> = doubtful.difference(&may_be).collect();
    assert!(too_many.is_empty(), "{too_many:#?}");
    insta::assert_snapshot!(hosts.exec("h1", LOOK));

    let again = play(&site, "--output json").success();
    assert_eq!(came(&again, &["changed"]), BTreeSet::new());
    let check = play(&site, "--check --output json").success();
    assert_eq!(came(&check, &["changed", "failed"]), BTreeSet::new());
    assert_eq!(came(&check, &["unknown"]), BTreeSet::from(["unarchive: app @ h1".to_owned()]));
}
