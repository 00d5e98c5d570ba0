//! The way back of a run, over SSH: all is as it was, newest change first, and what somebody else changed since is left alone.

use crate::harness::{Hosts, Run, Site};
use crate::{has, inventory, play};

/// Makes the host as it is before the run.
const GIVEN: &str = "rm -rf /srv/u; mkdir -p /srv/u/tree/deep; cd /srv/u
printf 'one\\ntwo\\n' >list; printf 'a=1\\n' >conf; printf 'port = 80\\n' >app.ini; echo t >tree/t; echo d >tree/deep/d; chmod 750 tree/deep
echo owned >owned; chown 1:1 owned; chmod 604 owned; ln -s conf link; echo gone >gone; chmod 4755 gone; ln -s nowhere dangling
touch -d '2001-02-03 04:05:06' conf";

/// Shows it: kinds, modes, owners, links, contents, and the times of files.
const LOOK: &str = "cd /srv/u; find . -printf '%p %y %m %U %G %l\\n' | sort; find . -type f -printf '%p %T@\\n' | grep conf
find . -type f | sort | xargs -r tail -n +1";

const CHANGES: &str = r#"
- hosts: all
  become: true
  gather_facts: false
  tasks:
    - name: A line
      lineinfile: {path: /srv/u/list, line: three}
    - name: A block
      blockinfile: {path: /srv/u/list, block: "four\nfive"}
    - name: A template
      template: {src: conf.j2, dest: /srv/u/conf, mode: "0600"}
      notify: Told
    - name: A setting
      ini_file: {path: /srv/u/app.ini, section: web, option: port, value: "81"}
    - name: Whose it is
      file: {path: /srv/u/owned, owner: root, group: root, mode: "0640"}
    - name: Another link
      file: {src: list, dest: /srv/u/link, state: link, force: true}
    - name: No tree any more
      file: {path: /srv/u/tree, state: absent}
    - name: A file where the tree was
      copy: {content: "flat\n", dest: /srv/u/tree}
    - name: Nothing there
      file: {path: "/srv/u/{{ item }}", state: absent}
      loop: [gone, dangling]
    - name: New folders
      file: {path: /srv/u/new/deep/er, state: directory, mode: "0711"}
    - name: New files
      copy: {content: "{{ item }} {{ inventory_hostname }}\n", dest: "/srv/u/new/deep/{{ item }}"}
      loop: [x, y]
    - name: For another host
      copy: {content: "from {{ inventory_hostname }}\n", dest: "/srv/u/by-{{ inventory_hostname }}"}
      delegate_to: h1
    - name: Hidden
      copy: {content: "hidden words\n", dest: /srv/u/hidden}
      no_log: true
    - name: A program
      command: touch /srv/u-touched
  handlers:
    - name: Told
      lineinfile: {path: /srv/u/conf, line: handled=yes}
"#;

fn look(hosts: &Hosts, host: &str) -> String {
    hosts.exec(host, LOOK)
}

fn undo(site: &Site, words: &str) -> Run {
    site.run(["undo"].into_iter().chain(words.split_whitespace()))
}

fn changed(hosts: &Hosts) -> (Site, [String; 2], [String; 2]) {
    let site = Site::new().file("site.yml", CHANGES).file("conf.j2", "a=2\npassword={{ word }}\n").file("secret.yml", "word: hush-hush\n");
    site.write("password", "for the vault\n");
    let _ = site.run(["vault", "encrypt", "--vault-password-file", "password", "secret.yml"]).success();
    inventory(&site, hosts, &["h1", "h2"], &hosts.path().join("known_hosts"), "ansible_become_password=s3cret");
    let both = |line: &str| ["h1", "h2"].map(|host| hosts.exec(host, line));
    let _ = both(GIVEN);
    let before = both(LOOK);
    let _ = play(&site, "-e @secret.yml --vault-password-file password").success();
    (site, before, both(LOOK))
}

#[test]
fn all_is_as_it_was_before_the_run() {
    let Some(hosts) = Hosts::up(2) else { return };
    let (site, before, after) = changed(&hosts);
    assert_ne!(before, after);
    let now = || ["h1", "h2"].map(|host| look(&hosts, host));

    let check = undo(&site, "--check --diff").success();
    assert_eq!(now(), after, "a check undoes nothing");
    has(
        &check.stdout,
        &[
            "take back    create /srv/u/by-h2  (For another host)",
            "take back    remove /srv/u/tree  (No tree any more)",
            "--- before: /srv/u/list\n",
            "-four",
            "-port = 81",
            "stays        run `touch /srv/u-touched`  (A program): what a program did is not known",
        ],
    );
    for hidden in ["hush-hush", "hidden words", "/srv/u/hidden"] {
        assert!(!check.all().contains(hidden), "`{hidden}` in {}", check.all());
    }
    has(&check.stdout, &["-password=***", "take back    a change of the task Hidden"]);
    let order = ["(A program)", "(New files)", "(New folders)", "(Nothing there)", "(A template)", "(A block)", "(A line)"];
    // Whose last change is the newest comes first: either may. A host's name is a line of its own (a diff's names end with it too).
    let text = format!("\n{}", check.stdout);
    let of_h2 = text.split("\nh2\n").nth(1).and_then(|rest| rest.split("\nh1\n").next()).expect("the part of h2");
    let places: Vec<_> = order[1..].iter().map(|part| of_h2.find(part).unwrap_or_else(|| panic!("no {part} in {of_h2}"))).collect();
    assert!(places.is_sorted(), "the newest first: {of_h2}");

    let asked = undo(&site, "").code(1);
    has(&asked.stderr, &["nobody can be asked", "--yes"]);
    assert_eq!(now(), after);

    let undone = undo(&site, "--yes").success();
    has(&undone.stdout, &["h1: undone", "h2: undone"]);
    assert_eq!(now(), before);
    assert!(hosts.try_exec("h2", "test -e /srv/u-touched").0);

    // The undo is a run of its own, on record; there is nothing left to do of the first.
    let runs = site.run(["runs"]).success();
    has(&runs.stdout, &[&format!("undo of {}", first_run(&site))]);
    let report = site.run(["report"]).success();
    has(&report.stdout, &["Undo: "]);
    assert!(!report.all().contains("hush-hush") && !report.all().contains("hidden words"), "{}", report.all());
}

#[test]
fn one_host_is_undone_alone_and_what_changed_since_is_refused() {
    let Some(hosts) = Hosts::up(2) else { return };
    let (site, before, after) = changed(&hosts);
    let unknown = undo(&site, "--limit h9 --yes").code(1);
    has(&unknown.stderr, &["changed nothing on a host `h9`"]);

    let limited = undo(&site, "--limit h2 --yes").success();
    has(&limited.stdout, &["h2: undone"]);
    assert_eq!((look(&hosts, "h1"), look(&hosts, "h2")), (after[0].clone(), before[1].clone()));

    for (theirs, told) in [
        ("echo theirs >>/srv/u/list; rm /srv/u/app.ini", "`/srv/u/app.ini` was changed by somebody else meanwhile"),
        ("ln -sfn gone /srv/u/link; chown 5 /srv/u/owned", "now there is a link to `gone`"),
        ("echo back >/srv/u/gone", "`/srv/u/gone` was changed by somebody else meanwhile: the run left nothing"),
    ] {
        let keep = hosts.exec("h1", &format!("rm -rf /srv/keep; cp -a /srv/u /srv/keep; {theirs}"));
        assert_eq!(keep, "");
        let moved = look(&hosts, "h1");
        let refused = undo(&site, "RUN --yes".replace("RUN", &first_run(&site)).as_str()).code(2);
        has(&refused.stdout, &["h1", "refused", told]);
        assert_eq!(look(&hosts, "h1"), moved, "{theirs}\n{}", refused.all());
        hosts.exec("h1", "rm -rf /srv/u; cp -a /srv/keep /srv/u");
    }
    let undone = undo(&site, &format!("{} --yes", first_run(&site))).success();
    has(&undone.stdout, &["h1: undone", "all else is as it was before the run"]);
    assert_eq!(look(&hosts, "h1"), before[0]);
}

const ACCOUNTS: &str = r#"
- hosts: all
  become: true
  gather_facts: false
  tasks:
    - group: {name: newer, gid: 6001}
    - user: {name: newer, uid: 6002, group: newer, password: "$6$abcdefgh$new"}
    - user: {name: stays, comment: Otherwise, shell: /bin/bash, groups: [newer], append: true, password: "$6$abcdefgh$other"}
    - user: {name: leaves, state: absent, remove: true}
    - group: {name: crew, gid: 6003}
    - group: {name: empty, state: absent}
    - apt: {deb: /srv/wl-test.deb}
"#;

const PEOPLE: &str = "groupadd -g 5001 crew; groupadd -g 5004 empty
useradd -u 5002 -g crew -c 'One who stays' -m stays; echo stays:before | chpasswd -c SHA512; chage -M 90 stays
useradd -u 5003 -m leaves; echo leaves:soon | chpasswd -c SHA512; echo mine >/home/leaves/mine
mkdir -p /srv/deb/DEBIAN /srv/deb/srv; echo packed >/srv/deb/srv/packed
printf 'Package: wl-test\nVersion: 1.0\nArchitecture: all\nMaintainer: t\nDescription: t\n' >/srv/deb/DEBIAN/control
dpkg-deb --build /srv/deb /srv/wl-test.deb >/dev/null";

const WHO: &str = "for name in newer stays leaves; do getent passwd $name; grep ^$name: /etc/shadow; id $name; done 2>&1
getent group newer crew empty leaves; find /home/stays /home/leaves /home/newer /srv/packed -printf '%p %y %m %u %g\n' 2>/dev/null | sort
cat /home/leaves/mine; dpkg-query -W -f '${Package} ${Status}\n' wl-test 2>/dev/null | grep 'ok installed'; true";

#[test]
fn users_groups_and_packages_are_as_they_were() {
    let Some(hosts) = Hosts::up(1) else { return };
    let site = Site::new().file("site.yml", ACCOUNTS);
    inventory(&site, &hosts, &["h1"], &hosts.path().join("known_hosts"), "");
    hosts.exec("h1", PEOPLE);
    let who = || hosts.exec("h1", WHO);
    let before = who();
    has(&before, &["/home/leaves/mine", "One who stays"]);
    let _ = play(&site, "").success();
    let after = who();
    has(&after, &["newer:x:6002:6001", "Otherwise", "crew:x:6003", "wl-test install ok installed", "/srv/packed"]);
    assert!(!after.contains("/home/leaves/mine"));

    let check = undo(&site, "--check").success();
    assert_eq!(who(), after);
    assert!(!check.stdout.contains("stays        "), "{}", check.stdout);
    for (theirs, told, again) in [
        ("usermod -s /bin/false stays", "the user `stays`", "usermod -s /bin/bash stays"),
        ("gpasswd -a stays crew", "the group `crew` (6003, members: stays)", "gpasswd -d stays crew"),
        ("usermod -p x newer", "the user `newer`", "usermod -p '$6$abcdefgh$new' newer"),
        ("groupmod -g 6009 crew", "the group `crew` (6003", "groupmod -g 6003 crew"),
    ] {
        hosts.exec("h1", theirs);
        let refused = undo(&site, &format!("{} --check", first_run(&site))).code(2);
        has(&refused.stdout, &["refused", "changed by somebody else meanwhile: the run left", told]);
        hosts.exec("h1", again);
    }
    assert_eq!(who(), after);
    let undone = undo(&site, "--yes").success();
    has(&undone.stdout, &["h1: undone"]);
    assert_eq!(who(), before, "{}", undone.all());
}

const UNITS: &str = r#"
- hosts: all
  become: true
  gather_facts: false
  tasks:
    - copy: {src: unit, dest: /etc/systemd/system/made.service}
    - systemd: {name: made, state: started, enabled: true, daemon_reload: true}
    - service: {name: idle, state: started, enabled: true}
    - service: {name: busy, state: stopped, enabled: false}
    - copy: {content: "new\n", dest: /etc/steady.conf}
      notify: steady
    - systemd: {name: spare, masked: true}
  handlers:
    - name: steady
      service: {name: steady, state: restarted}
"#;

const UNIT: &str = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=/bin/sleep 100000\n[Install]\nWantedBy=multi-user.target\n";

#[test]
fn units_are_as_they_were() {
    let Some(hosts) = Hosts::boot(1) else { return };
    let site = Site::new().file("site.yml", UNITS).file("unit", UNIT);
    inventory(&site, &hosts, &["h1"], &hosts.path().join("known_hosts"), "");
    hosts.exec(
        "h1",
        &format!(
            "mkdir -p /usr/local/lib/systemd/system; for name in idle busy steady spare; do printf '%s' '{UNIT}' >/usr/local/lib/systemd/system/$name.service; done
            echo old >/etc/steady.conf; systemctl daemon-reload; systemctl enable --now busy steady 2>/dev/null"
        ),
    );
    let state = || {
        let all =
            "for name in made idle busy steady spare; do echo $name $(systemctl is-active $name) $(systemctl is-enabled $name 2>&1); done
            cat /etc/steady.conf; ls /etc/systemd/system; systemctl show -p NeedDaemonReload steady";
        hosts.exec("h1", all)
    };
    let pid = || hosts.exec("h1", "systemctl show -p MainPID steady");
    let before = state();
    has(&before, &["idle inactive disabled", "busy active enabled", "steady active enabled"]);
    let _ = play(&site, "").success();
    let (after, restarted) = (state(), pid());
    has(&after, &["made active enabled", "idle active enabled", "busy inactive disabled", "spare inactive masked", "new\n"]);

    let check = undo(&site, "--check").success();
    has(&check.stdout, &["take back    stop busy", "take back    restart steady", "take back    start idle"]);
    assert_eq!(state(), after);
    let undone = undo(&site, "--yes").success();
    assert_eq!(state(), before, "{}", undone.all());
    assert_ne!(pid(), restarted, "what was read at the start is read again");
}

/// Returns the id of the run that came first.
fn first_run(site: &Site) -> String {
    let folder = site.path().join("home/.local/state/windlass/runs");
    let names = std::fs::read_dir(folder).expect("runs").map(|entry| entry.expect("entry").file_name().into_string().expect("text"));
    names.min().expect("a run")
}
