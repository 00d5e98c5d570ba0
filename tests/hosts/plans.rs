//! Plans over SSH: whatever moves on a host, or beside it, is refused before anything is changed anywhere.

use crate::harness::{Hosts, Site};
use crate::inventory;

const NAMES: [&str; 3] = ["h1", "h2", "h3"];

const SITE: &str = r#"
- hosts: all
  become: true
  gather_facts: true
  vars_files: [vars.yml]
  tasks:
    - name: An account
      user: {name: app, system: true, create_home: false}
    - name: Configuration
      copy: {content: "port={{ port }} on {{ ansible_facts.hostname }}\n", dest: /srv/app/conf, owner: app, mode: "0640"}
      notify: Again
    - name: One more line
      lineinfile: {path: /srv/app/list, line: "{{ inventory_hostname }}"}
    - name: Many
      copy: {content: "{{ item }} {{ word }}\n", dest: "/srv/app/many-{{ item }}", mode: "0600"}
      loop: [x, y]
    - name: A link
      file: {src: conf, dest: /srv/app/link, state: link}
    - name: Private
      file: {path: /srv/app/private, owner: root, mode: "0600"}
    - name: Gone
      file: {path: /srv/app/old, state: absent}
    - name: Looked at
      command: cat /srv/app/looked
      reads: true
      register: looked
      changed_when: false
    - name: As looked at
      copy: {content: "{{ looked.stdout }}\n", dest: /srv/app/copied}
    - name: Service
      systemd: {name: napper, state: started, enabled: true}
      when: units | bool
  handlers:
    - name: Again
      copy: {content: "again\n", dest: /srv/app/again}
"#;

const BACK: &str = "userdel app 2>/dev/null; rm -rf /srv/app; mkdir -p /srv/app; cd /srv/app
echo port=80 >conf; echo a >list; echo '?' >many-x; echo p >private; chmod 644 private; echo o >old; ln -s old link; echo l >looked
if [ -d /run/systemd/system ]; then
  printf '[Unit]\\nDefaultDependencies=no\\n[Service]\\nExecStart=/bin/sleep 100000\\n[Install]\\nWantedBy=multi-user.target\\n' >/etc/systemd/system/napper.service
  systemctl daemon-reload; systemctl disable --now napper 2>/dev/null; systemctl reset-failed napper 2>/dev/null
fi; true";

const LOOK: &str = "cd /srv; find app -printf '%p %y %m %u %g %l\\n' | sort; find app -type f | sort | xargs -r tail -n +1; id app 2>&1
systemctl is-active napper; systemctl is-enabled napper; true";

/// What moves on a host, as shell commands.
const ON_HOST: [&str; 22] = [
    "echo port=81 >conf",
    "rm conf",
    "rm list",
    "echo b >>list",
    "rm many-x",
    "echo y >many-y",
    "printf '%s' moved >many-x",
    "rm private",
    "chmod 600 private",
    "chmod 4755 private",
    "chown 12345 private",
    "chgrp 12345 private",
    "ln -sfn list link",
    "rm link",
    "rm -r old",
    "rm old; mkdir old",
    "echo other >old",
    "echo m >looked",
    "rm looked",
    "echo l >copied",
    "useradd -r app",
    "cd /; rm -rf /srv/app",
];

const OF_UNITS: [&str; 4] = [
    "systemctl start napper",
    "systemctl enable napper 2>/dev/null",
    "systemctl enable --now napper 2>/dev/null",
    "rm /etc/systemd/system/napper.service; systemctl daemon-reload",
];

/// Moves something on the hosts so often, and sees that the plan is refused each time; then applies it where nothing moved.
fn drift(rounds: usize) {
    let (units, hosts) = match Hosts::boot(NAMES.len()) {
        Some(hosts) => (true, hosts),
        None => match Hosts::up(NAMES.len()) {
            Some(hosts) => (false, hosts),
            None => return,
        },
    };
    let site = Site::new().file("site.yml", SITE).file("vars.yml", "port: 8080\nword: w\n");
    let more = format!("ansible_become_password=s3cret\nunits={units}");
    inventory(&site, &hosts, &NAMES, &hosts.path().join("known_hosts"), &more);
    let each = |line: &str| NAMES.map(|name| hosts.exec(name, line));
    let _ = each(BACK);
    let _ = site.run("plan -i hosts.ini site.yml -o the.plan --detailed-exitcode".split(' ')).code(10);
    let apply = || site.run(["apply", "the.plan"]);
    let moves: Vec<&str> = ON_HOST.iter().chain(OF_UNITS.iter().filter(|_| units)).copied().collect();
    let mut dice = 20_u64;
    let mut below = |most: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(dice >> 33).expect("fits") % most
    };
    let (mut at, mut drifts) = (below(moves.len()), 0);
    for _ in 0..rounds {
        let _ = each(BACK);
        // One host stays as it was; on the others each move comes to its turn.
        let quiet = NAMES[below(NAMES.len())];
        let mut moved = Vec::new();
        for host in NAMES.into_iter().filter(|host| *host != quiet) {
            at = (at + 1) % moves.len();
            hosts.exec(host, &format!("cd /srv/app; {}", moves[at]));
            moved.push(format!("{host}: {}", moves[at]));
        }
        drifts += moved.len();
        let before = each(LOOK);
        let refused = apply();
        assert_eq!(refused.code, 12, "{moved:?}\n{}", refused.all());
        assert_eq!(each(LOOK), before, "{moved:?}\n{}", refused.all());
        for host in NAMES {
            let is_told = refused.stdout.contains(&format!("DRIFT  {host}\n"));
            assert_eq!(is_told, host != quiet, "{host} of {moved:?}\n{}", refused.all());
        }
    }
    let _ = each(BACK);
    let _ = apply().success();
    eprintln!("{drifts} drifts were refused");
}

#[test]
fn whatever_moves_on_a_host_is_refused_there_before_anything_is_changed() {
    drift(4);
}

/// The long form: `cargo test --test hosts -- --ignored a_hundred`.
#[test]
#[ignore = "takes minutes"]
fn a_hundred_drifts_on_three_hosts_are_refused() {
    drift(50);
}

#[test]
fn a_host_that_moves_after_the_comparison_is_refused_by_its_agent() {
    let Some(hosts) = Hosts::up(2) else { return };
    let playbook = r#"
- hosts: all
  become: true
  gather_facts: false
  tasks:
    - name: Moves
      shell: echo moved >/srv/other
      when: inventory_hostname == 'h2'
    - name: Bound
      copy: {content: "good\n", dest: /srv/other}
      ignore_errors: true
    - name: After
      copy: {content: "after\n", dest: /srv/after}
"#;
    let site = Site::new().file("site.yml", playbook);
    inventory(&site, &hosts, &["h1", "h2"], &hosts.path().join("known_hosts"), "ansible_become_password=s3cret");
    let _ = site.run("plan -i hosts.ini site.yml -o the.plan".split(' ')).success();
    let refused = site.run("apply the.plan --allow-unknown Moves".split(' ')).code(12);
    assert!(refused.stdout.contains("no longer as it was when the plan was approved"), "{}", refused.all());
    assert_eq!(hosts.exec("h1", "cat /srv/other /srv/after"), "good\nafter\n");
    assert_eq!(hosts.exec("h2", "cat /srv/other; ls /srv"), "moved\nother\n");
}
