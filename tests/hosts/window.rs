//! A whole change window over SSH: planned, approved, applied until the window closes, resumed, verified, reported and taken
//! back; and what keeps a run from more hosts than it may touch.

use crate::harness::{Hosts, Site};
use crate::{has, inventory, play};

const CHANGE: &str = r#"
- name: The new version
  hosts: all
  become: true
  gather_facts: false
  stages: [{hosts: h1, soak: 0}, rest]
  gate:
    - name: It answers
      command: grep -q '^on$' /srv/w/allocation
      reads: true
  tasks:
    - name: Settings
      copy: {content: "v2 of {{ inventory_hostname }}\n", dest: /srv/w/conf}
      notify: Restart
    - name: The move
      block:
        - name: Hold
          copy: {content: "off\n", dest: /srv/w/allocation}
        - name: Work
          shell: sleep 8; echo work >>/srv/w/log
      always:
        - name: Give back
          copy: {content: "on\n", dest: /srv/w/allocation}
  handlers:
    - name: Restart
      shell: echo restart >>/srv/w/log
      serial: 1
  verify:
    - name: The version is there
      command: grep -q ^v2 /srv/w/conf
      reads: true
  on_failure: undo
"#;

const GIVEN: &str = "rm -rf /srv/w; mkdir -p /srv/w; echo v1 >/srv/w/conf; echo on >/srv/w/allocation; chmod 640 /srv/w/conf";

/// Returns a time so many seconds from now, as `--until` takes it.
fn in_seconds(seconds: i64) -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds)).to_string()
}

#[test]
fn a_change_window_from_the_plan_to_the_undo() {
    let Some(hosts) = Hosts::up(3) else { return };
    let names = ["h1", "h2", "h3"];
    let site = Site::new().file("site.yml", CHANGE);
    inventory(&site, &hosts, &names, &hosts.path().join("known_hosts"), "ansible_become_password=s3cret");
    let each = |line: &str| names.map(|name| hosts.exec(name, line));
    let look = || each("cat /srv/w/conf /srv/w/allocation; stat -c '%a %U' /srv/w/conf; cat /srv/w/log 2>/dev/null; true");
    each(GIVEN);
    let before = look();
    // A rehearsal teaches how long the steps take, and is taken back.
    let _ = play(&site, "").success();
    each(GIVEN);

    // By day: the plan is made, signed, read and approved. Nothing is touched.
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "approver", "-f"])
        .arg(site.path().join("approver"))
        .status();
    assert!(made.expect("ssh-keygen").success());
    let planned = site.run("plan -i hosts.ini site.yml -o change.plan --sign-key approver --ticket CHG-1".split(' ')).success();
    has(&planned.stdout, &["would change"]);
    let shown = site.run(["show", "change.plan"]).success();
    has(&shown.stdout, &["Settings", "h3", "+v2 of h3", "Work", "unknown", "looks at the host after the changes"]);
    assert_eq!(look(), before);

    // At night: who has not approved applies nothing, and unknown steps have to be allowed.
    let apply = |words: &str| site.run(["apply", "change.plan"].into_iter().chain(words.split_whitespace()));
    let other =
        std::process::Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(site.path().join("other")).status();
    assert!(other.expect("ssh-keygen").success());
    let refused = apply("--require-signature --trusted-key other.pub --allow-unknown Work --allow-unknown Restart").code(1);
    has(&refused.stderr, &["sign"]);
    let refused = apply("--trusted-key approver.pub").code(11);
    has(&refused.all(), &["Work", "--allow-unknown"]);
    assert_eq!(look(), before);

    // Somebody was there meanwhile: the drift is shown, and not even the other hosts are touched.
    hosts.exec("h3", "echo by hand >/srv/w/conf");
    let drifted = apply("--trusted-key approver.pub --allow-unknown Work --allow-unknown Restart").code(12);
    has(&drifted.all(), &["h3", "Settings"]);
    assert_eq!([0, 1].map(|host| look()[host].clone()), [0, 1].map(|host| before[host].clone()));
    hosts.exec("h3", "echo v1 >/srv/w/conf");

    // The block takes eight seconds and is not begun in what is left; every host gives back what it holds.
    let until = in_seconds(7);
    let stopped =
        apply(&format!("--trusted-key approver.pub --allow-unknown Work --allow-unknown Restart --ticket CHG-1 --until {until}")).code(13);
    has(&stopped.stdout, &["the window closes at", "windlass resume"]);
    for state in look() {
        assert!(state.contains("on\n") && !state.contains("work"), "{state}");
    }

    // The next night.
    let resumed = site.run(["resume", "--until", &in_seconds(600)]).success();
    for (name, state) in names.iter().zip(look()) {
        assert_eq!(state, format!("v2 of {name}\non\n640 root\nwork\nrestart\n"), "{}", resumed.all());
    }
    let verified = site.run(["runs", "verify"]).success();
    has(&verified.stdout, &["unbroken"]);
    let report = site.run(["report", "--html", "report.html", "--junit", "report.xml"]).success();
    assert_eq!(report.stderr, "");
    has(&site.read("report.html"), &["CHG-1", "h1", "h2", "h3", "Settings"]);
    has(&site.read("report.xml"), &["<testsuite", "Settings"]);

    // What drifts afterwards is found on the host where it did.
    hosts.exec("h2", "echo by hand >>/srv/w/conf");
    let drift = site.run(["drift"]).code(10);
    has(&drift.stdout, &["drift  h2", "Settings", "-by hand"]);
    assert!(!drift.stdout.contains("drift  h1"), "{}", drift.stdout);
    let refused = site.run(["undo", "--yes"]).code(2);
    has(&refused.stdout, &["h2", "refused", "was changed by somebody else meanwhile"]);
    hosts.exec("h2", "echo v2 of h2 >/srv/w/conf");
    let _ = site.run(["undo", "--yes"]).success();
    for state in look() {
        assert_eq!(state, "v1\non\n640 root\nwork\nrestart\n", "commands are not taken back, all else is");
    }
}

const CAREFUL: &str = r#"
- name: One master at a time
  hosts: all
  become: true
  gather_facts: false
  serial: 2
  quorum: {masters: 2}
  max_hosts: 3
  tasks:
    - name: Mark
      shell: echo {{ ansible_play_batch | join(' ') }} >>/srv/marks
    - name: Not with h2
      command: test {{ inventory_hostname }} != h2
      when: strict | default(false) | bool
- name: Roll
  hosts: all
  become: true
  gather_facts: false
  tasks:
    - name: Everywhere
      copy: {content: "{{ version }}\n", dest: /srv/version}
      notify: Restart
  handlers:
    - name: Restart
      shell: test ! -e /srv/bad && echo restart >>/srv/marks
      serial: 1
      before: [{shell: echo before >>/srv/marks}]
      after: [{shell: echo after >>/srv/marks}]
"#;

#[test]
fn no_more_is_touched_than_may_be() {
    let Some(hosts) = Hosts::up(3) else { return };
    let names = ["h1", "h2", "h3"];
    let site = Site::new().file("site.yml", CAREFUL);
    inventory(&site, &hosts, &names, &hosts.path().join("known_hosts"), "ansible_become_password=s3cret\n[masters]\nh1\nh2\nh3");
    let marks = || names.map(|name| hosts.exec(name, "cat /srv/marks 2>/dev/null; true"));

    let refused = play(&site, "-e version=1 --max-hosts 2").code(1);
    has(&refused.all(), &["this run is for 3 hosts, and `--max-hosts` allows 2"]);
    assert_eq!(marks(), ["", "", ""]);

    // Two of three stay up, so one is worked on at a time; and the first that fails ends it.
    let stopped = play(&site, "-e version=1 -e strict=true").code(2);
    has(&stopped.all(), &["all hosts of the batch have failed"]);
    assert_eq!(marks(), ["h1\n", "h2\n", ""]);

    // A handler rolls over one host after the other, and stops where it fails.
    let _ = names.map(|name| hosts.exec(name, "rm -f /srv/marks"));
    hosts.exec("h2", "touch /srv/bad");
    let stopped = play(&site, "-e version=2").code(2);
    has(&stopped.all(), &["it is not begun on h3"]);
    assert_eq!(marks(), ["h1\nbefore\nrestart\nafter\n", "h2\nbefore\nafter\n", "h3\n"]);
    hosts.exec("h2", "rm /srv/bad");
    let _ = site.run(["resume"]).success();
    assert_eq!(marks(), ["h1\nbefore\nrestart\nafter\n", "h2\nbefore\nafter\nbefore\nrestart\nafter\n", "h3\nbefore\nrestart\nafter\n"]);
}
