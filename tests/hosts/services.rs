//! Services, on a host whose first process is a real systemd.

use crate::harness::{Hosts, Site};
use crate::{has, inventory, play};

const UNIT: &str =
    "[Unit]\nDescription=Naps\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep 100000\n[Install]\nWantedBy=multi-user.target\n";

const SERVE: &str = "- hosts: all
  gather_facts: false
  become: true
  tasks:
    - copy: {src: napper.service, dest: /etc/systemd/system/napper.service}
      notify: again
    - systemd: {name: napper, state: started, enabled: true, daemon_reload: true}
    - service: {name: napper, state: started, enabled: true}
  handlers:
    - name: again
      service: {name: napper, state: restarted}
";

#[test]
fn units_are_started_enabled_restarted_and_masked() {
    let Some(hosts) = Hosts::boot(1) else { return };
    let site = Site::new().file("napper.service", UNIT).file("site.yml", SERVE);
    inventory(&site, &hosts, &["h1"], &hosts.path().join("known_hosts"), "");
    let state = || hosts.try_exec("h1", "systemctl is-active napper; systemctl is-enabled napper").1;
    let pid = || hosts.exec("h1", "systemctl show -p MainPID napper");

    let check = play(&site, "--check").success();
    has(&check.stdout, &["enable napper, start napper", "restart napper"]);
    assert!(!state().contains("active\nenabled"), "a check starts nothing");
    let run = play(&site, "").success();
    assert_eq!(run.recap("h1"), check.recap("h1"), "{}{}", check.all(), run.all());
    assert_eq!(state(), "active\nenabled\n");
    let before = pid();
    let again = play(&site, "").success();
    assert_eq!((again.count("h1", "changed"), pid()), (0, before.clone()), "{}", again.all());

    // A new unit file: read anew, and the service restarted once.
    site.write("napper.service", &UNIT.replace("Naps", "Naps longer"));
    let run = play(&site, "").success();
    assert_eq!(run.count("h1", "changed"), 3, "{}", run.all());
    assert_ne!(pid(), before);
    has(&hosts.exec("h1", "systemctl show -p Description napper"), &["Naps longer"]);

    site.write("site.yml", "- hosts: all\n  gather_facts: false\n  become: true\n  tasks:\n    - systemd: {name: napper, state: stopped, enabled: false, masked: true}\n");
    // The unit file stands where the mask would have to be.
    let run = play(&site, "").code(2);
    has(&run.all(), &["napper", "site.yml:5:"]);
    hosts.exec("h1", "mkdir -p /usr/local/lib/systemd/system; mv /etc/systemd/system/napper.service /usr/local/lib/systemd/system/; systemctl daemon-reload");
    let run = play(&site, "").success();
    assert!(run.count("h1", "changed") <= 1, "{}", run.all());
    assert_eq!(state(), "inactive\nmasked\n");
    assert_eq!(play(&site, "").success().count("h1", "changed"), 0);
}

#[test]
fn a_service_that_is_not_there_or_does_not_start_is_told() {
    let Some(hosts) = Hosts::boot(1) else { return };
    let task = |name: &str| {
        format!("- hosts: all\n  gather_facts: false\n  become: true\n  tasks:\n    - service: {{name: {name}, state: started}}\n")
    };
    let site = Site::new().file("site.yml", &task("nappper"));
    inventory(&site, &hosts, &["h1"], &hosts.path().join("known_hosts"), "");
    hosts.exec("h1", &format!("printf '%s' '{UNIT}' | sed 's|^ExecStart=.*|Type=exec\\nExecStart=/bin/no-such-program|' >/etc/systemd/system/napper.service; systemctl daemon-reload"));
    let run = play(&site, "").code(2);
    has(&run.all(), &["Could not find the requested service nappper", "hint: there is napper.service", "site.yml:5:"]);
    site.write("site.yml", &task("napper"));
    let run = play(&site, "").code(2);
    has(&run.all(), &["systemctl start", "napper", "site.yml:5:"]);
}
