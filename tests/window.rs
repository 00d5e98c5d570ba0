//! Change windows, stages, quorums, limits, and handlers that roll.
#![allow(clippy::panic, clippy::disallowed_methods, reason = "tests set up files and start programs of their own")]

mod harness;

use harness::Site;

/// An inventory of local hosts, so that several can be had without a server.
const HOSTS: &str = "[web]\nweb[1:6] ansible_connection=local\n[masters]\nweb[1:3]\n";

fn site(playbook: &str) -> Site {
    Site::new().file("hosts.ini", HOSTS).file("site.yml", playbook)
}

/// Returns a time so many seconds from now, as `--until` takes it.
fn in_seconds(seconds: i64) -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds)).to_string()
}

#[test]
fn a_run_stops_before_a_block_that_the_window_leaves_no_time_for_and_goes_on_later() {
    let playbook = r#"
- name: the play {{ number }}
  hosts: web1
  gather_facts: false
  tasks:
    - shell: echo first >> log
      notify: tell
    - name: the long one
      block:
        - shell: sleep 2; echo work >> log
      always:
        - shell: echo whole >> log
  handlers:
    - name: tell
      shell: echo told >> log
"#;
    let site = site(playbook);
    // The first run teaches how long the steps take.
    let _ = site.playbook("-i hosts.ini site.yml -e number=1").success();
    site.write("log", "");
    let run = |number: &str| site.run(["playbook", "-i", "hosts.ini", "site.yml", "-e", number, "--until", &in_seconds(4)]).code(13);
    let not_begun = run("number=1");
    assert!(not_begun.stdout.contains("the next batch of `the play 1`"), "{}", not_begun.stdout);
    assert_eq!(site.read("log"), "");
    // Of a play that is new only its steps are known.
    let stopped = run("number=2");
    assert!(stopped.stdout.contains("the window closes at") && stopped.stdout.contains("the block `the long one`"), "{}", stopped.stdout);
    assert!(stopped.stdout.contains("windlass resume"), "{}", stopped.stdout);
    assert_eq!(site.read("log"), "first\n");

    std::thread::sleep(std::time::Duration::from_secs(4));
    let again = site.run(["resume"]).code(1);
    assert!(again.stderr.contains("the window is closed since"), "{}", again.stderr);
    let _ = site.run(["resume", "--until", &in_seconds(600)]).success();
    assert_eq!(site.read("log"), "first\nwork\nwhole\ntold\n");
}

#[test]
fn a_window_that_is_not_open_is_told_before_anything_is_done() {
    let site = site("- hosts: web1\n  gather_facts: false\n  tasks: [{shell: echo x >> log}]\n");
    let now = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC);
    let hour = |hours: i64| (&now + jiff::SignedDuration::from_hours(hours)).strftime("%H:%M").to_string();
    let later = format!("{}-{} UTC", hour(2), hour(3));
    let refused = site.run(["playbook", "-i", "hosts.ini", "site.yml", "--window", &later]).code(1);
    assert!(refused.stderr.contains("the window is closed: it opens at"), "{}", refused.stderr);
    assert!(!site.exists("log"));
    let open = format!("{}-{} UTC", hour(-1), hour(2));
    let _ = site.run(["playbook", "-i", "hosts.ini", "site.yml", "--window", &open, "--reserve", "5m"]).success();
    assert!(site.exists("log"));
}

#[test]
fn stages_go_one_after_the_other_and_a_gate_stops_the_rest() {
    let playbook = r#"
- hosts: web
  gather_facts: false
  stages: [{hosts: web3, soak: 0}, 2, rest]
  tasks:
    - shell: echo {{ inventory_hostname }} >> log
      throttle: 1
  gate:
    - shell: test ! -e bad-{{ inventory_hostname }}
"#;
    let site = site(playbook);
    let _ = site.playbook("-i hosts.ini site.yml").success();
    let log = site.read("log");
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines[0], "web3");
    let mut second = [lines[1], lines[2]];
    second.sort_unstable();
    assert_eq!(second, ["web1", "web2"]);
    assert_eq!(lines.len(), 6);

    site.write("log", "");
    site.write("bad-web2", "");
    let stopped = site.playbook("-i hosts.ini site.yml").code(2);
    assert!(stopped.stdout.contains("the gate after the stage `2` does not hold on web2"), "{}", stopped.stdout);
    assert_eq!(site.read("log").lines().count(), 3);
}

#[test]
fn a_quorum_of_each_group_stays_up() {
    let playbook = r#"
- hosts: web
  gather_facts: false
  serial: 3
  quorum: {masters: 2}
  tasks:
    - shell: echo {{ ansible_play_batch | join(' ') }} >> log
      run_once: true
- hosts: web
  gather_facts: false
  tasks:
    - shell: test {{ inventory_hostname }} != web2
- hosts: web
  gather_facts: false
  quorum: {masters: 2}
  tasks:
    - shell: echo never >> log
"#;
    let site = site(playbook);
    let stopped = site.playbook("-i hosts.ini site.yml").code(1);
    // One master at a time; after one has failed, no other may be worked on.
    assert_eq!(site.read("log"), "web1\nweb2\nweb3\nweb4 web5 web6\n");
    assert!(stopped.stdout.contains("no host of the group `masters` can be worked on"), "{}", stopped.stdout);
}

#[test]
fn too_many_hosts_are_refused() {
    let site = site("- hosts: web\n  gather_facts: false\n  max_hosts: 4\n  tasks: [{shell: echo x >> log}]\n");
    let refused = site.playbook("-i hosts.ini site.yml").code(1);
    assert!(refused.all().contains("this play is for 6 hosts, and its `max_hosts` allows 4"), "{}", refused.all());
    let _ = site.playbook("-i hosts.ini site.yml -l masters").success();
    let asked = site.playbook("-i hosts.ini site.yml -l masters --max-hosts 2").code(1);
    assert!(asked.all().contains("this run is for 3 hosts, and `--max-hosts` allows 2"), "{}", asked.all());
    assert_eq!(site.read("log").lines().count(), 3);
}

#[test]
fn a_handler_rolls_over_the_changed_hosts_and_stops_where_one_fails() {
    let playbook = r#"
- hosts: web
  gather_facts: false
  tasks:
    - shell: "true"
      changed_when: inventory_hostname in ['web1', 'web2', 'web4']
      notify: restart
  handlers:
    - name: restart
      shell: test ! -e bad-{{ inventory_hostname }} && echo restart {{ inventory_hostname }} >> log
      serial: 1
      before:
        - shell: echo before {{ inventory_hostname }} >> log
      after:
        - shell: echo after {{ inventory_hostname }} >> log
"#;
    let site = site(playbook);
    let _ = site.playbook("-i hosts.ini site.yml").success();
    let one = |host: &str| format!("before {host}\nrestart {host}\nafter {host}\n");
    assert_eq!(site.read("log"), format!("{}{}{}", one("web1"), one("web2"), one("web4")));

    site.write("log", "");
    site.write("bad-web2", "");
    let stopped = site.playbook("-i hosts.ini site.yml").code(2);
    assert_eq!(site.read("log"), format!("{}before web2\nafter web2\n", one("web1")));
    assert!(stopped.stdout.contains("it is not begun on web4"), "{}", stopped.stdout);
    std::fs::remove_file(site.path().join("bad-web2")).expect("file");
    let _ = site.run(["resume"]).success();
    assert_eq!(site.read("log"), format!("{}before web2\nafter web2\nbefore web2\nrestart web2\nafter web2\n{}", one("web1"), one("web4")));
}

#[test]
fn a_batch_that_does_not_verify_stops_the_play() {
    let playbook = r#"
- hosts: web
  gather_facts: false
  serial: 2
  tasks:
    - shell: echo {{ inventory_hostname }} >> log
  verify:
    - shell: test {{ inventory_hostname }} != web3
"#;
    let site = site(playbook);
    let stopped = site.playbook("-i hosts.ini site.yml").code(2);
    assert_eq!(site.read("log").lines().count(), 4);
    assert!(stopped.stdout.contains("`verify` does not hold on web3"), "{}", stopped.stdout);
}
#[test]
fn a_batch_that_does_not_verify_is_taken_back() {
    let Some(hosts) = harness::Hosts::up(2) else { return };
    let playbook = r#"
- hosts: all
  gather_facts: false
  serial: 1
  tasks:
    - copy: {content: "new", dest: /tmp/version}
    - file: {path: /tmp/made, state: directory}
  verify:
    - shell: test {{ inventory_hostname }} != h2
  on_failure: undo
"#;
    let site = Site::new().file("site.yml", playbook);
    let _ = hosts.exec("h2", "printf old >/tmp/version; chown ops:ops /tmp/version");
    let _ = hosts.exec("h1", "printf old >/tmp/version; chown ops:ops /tmp/version");
    let stopped = site.playbook(&format!("-i {} site.yml", hosts.inventory())).code(2);
    assert!(stopped.stdout.contains("h2: taken back: "), "{}", stopped.stdout);
    assert_eq!(hosts.exec("h1", "cat /tmp/version; test -d /tmp/made && echo made"), "newmade\n");
    assert_eq!(hosts.exec("h2", "cat /tmp/version; test -e /tmp/made || echo gone"), "oldgone\n", "{}", stopped.all());
}
