//! A connection that is lost in the middle of the work is taken up again, as if nothing had happened.

use std::fs;

use crate::breaking::{LARGE, finish, left, no_agent, start, wait_for_part};
use crate::harness::{Hosts, Site};
use crate::{has, inventory, wait_until};

const TASKS: &str = "- hosts: all\n  gather_facts: false\n  tasks:\n    - name: Count\n      become: true\n      shell: echo once >>/srv/count; sleep 3; echo told\n      register: counted\n    - name: Told\n      assert: {that: counted.stdout == 'told'}\n    - name: As oneself\n      command: id -un\n      register: me\n    - name: Copy\n      become: true\n      copy: {src: large.bin, dest: /srv/large.bin}\n    - name: Me\n      assert: {that: me.stdout == 'ops'}\n";

#[test]
fn a_lost_connection_is_taken_up_again_with_nothing_lost_and_nothing_done_twice() {
    let Some(hosts) = Hosts::up(1) else { return };
    let site = Site::new().file("site.yml", TASKS);
    inventory(&site, &hosts, &["h1"], &hosts.path().join("known_hosts"), "");
    let content: Vec<u8> = (0..LARGE).map(|at| (at / 7 % 251) as u8).collect();
    fs::write(site.path().join("large.bin"), &content).expect("write");
    fs::create_dir_all(hosts.path().join("shared")).expect("folder");
    fs::write(hosts.path().join("shared/wanted"), &content).expect("write");

    let child = start(&site, "");
    wait_until("the command", || hosts.try_exec("h1", "test -e /srv/count").0);
    hosts.kill("h1");
    std::thread::sleep(std::time::Duration::from_millis(500));
    hosts.start_sshd("h1");
    wait_for_part(&hosts);
    hosts.kill("h1");
    std::thread::sleep(std::time::Duration::from_millis(500));
    hosts.start_sshd("h1");
    let run = finish(&site, child).success();
    assert_eq!(run.recap("h1"), "ok=5 changed=3 unreachable=0 failed=0 skipped=0 rescued=0 ignored=0", "{}", run.all());
    assert_eq!(hosts.exec("h1", "cat /srv/count"), "once\n");
    hosts.exec("h1", &format!("cmp /srv/large.bin {}/shared/wanted", hosts.path().display()));
    assert_eq!(left(&hosts), "");

    // A run that ends says goodbye: nothing waits the 20 seconds for it that it would wait for a lost one.
    let begun = std::time::Instant::now();
    no_agent(&hosts);
    assert!(begun.elapsed() < std::time::Duration::from_secs(16), "{:?}", begun.elapsed());
}

#[test]
fn a_controller_that_does_not_come_back_is_not_waited_for_long() {
    let Some(hosts) = Hosts::up(1) else { return };
    let site = Site::new().file("site.yml", "- hosts: all\n  gather_facts: false\n  become: true\n  tasks:\n    - command: sleep 4245\n");
    inventory(&site, &hosts, &["h1"], &hosts.path().join("known_hosts"), "");
    let sleeps = || hosts.try_exec("h1", "pgrep -fx 'sleep 4245'").0;
    let child = start(&site, "--linger 6");
    wait_until("the command", sleeps);
    hosts.kill("h1");
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(sleeps(), "it goes on for a while");
    let run = finish(&site, child).code(4);
    has(&run.all(), &["the connection to h1 was lost"]);
    wait_until("the end of the command", || !sleeps());
    no_agent(&hosts);
}
