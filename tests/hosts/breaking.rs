//! Hosts, agents and controllers that break in the middle of the work: no half-written file, and the next run completes the job.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Hosts, Run, Site};
use crate::{has, inventory, play, wait_until};

const COPY: &str =
    "- hosts: all\n  gather_facts: false\n  become: true\n  tasks:\n    - name: Copy\n      copy: {src: large.bin, dest: /srv/large.bin}\n";
const SLEEP: &str = "- hosts: all\n  gather_facts: false\n  become: true\n  tasks:\n    - name: Sleep\n      command: sleep {{ seconds | default(4242) }}\n    - name: After\n      file: {path: /srv/after, state: touch}\n";

/// Size of the file that is on its way when something breaks.
pub(crate) const LARGE: usize = 48 * 1024 * 1024;

pub(crate) fn start(site: &Site, words: &str) -> Child {
    let words = format!("playbook -i hosts.ini site.yml {words}");
    site.command(words.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("windlass starts")
}

pub(crate) fn finish(site: &Site, child: Child) -> Run {
    let begun = Instant::now();
    let output = child.wait_with_output().expect("ends");
    assert!(begun.elapsed() < Duration::from_secs(90), "it took {:?} to end", begun.elapsed());
    let signal = output.status.signal();
    let run = site.finish(output);
    assert!(!run.all().contains("panicked"), "{}", run.all());
    if signal.is_some() { Run { code: -1, ..run } } else { run }
}

pub(crate) fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).expect("id")), signal).expect("signal");
}

/// The file is on its way: there is a part of it under another name.
pub(crate) fn wait_for_part(hosts: &Hosts) {
    wait_until("a part of the large file", || hosts.try_exec("h1", "find /srv -name '.windlass-*' -size +1000k | grep -q .").0);
}

fn wait_for_sleep(hosts: &Hosts) {
    wait_until("the command", || sleeps(hosts));
}

fn sleeps(hosts: &Hosts) -> bool {
    hosts.try_exec("h1", "pgrep -fx 'sleep 4242'").0
}

/// Ends the agents of a host, by their ids. Their keepers stay.
fn kill_agents(hosts: &Hosts) {
    signal_agents(hosts, "KILL");
}

pub(crate) fn signal_agents(hosts: &Hosts, signal: &str) {
    let is_agent = "case $(readlink $p/exe) in */windlass/agent-*) tr '\\0' ' ' <$p/cmdline | grep -q ' agent-serve ';; *) false;; esac";
    hosts.exec("h1", &format!("for p in /proc/[0-9]*; do if {is_agent}; then kill -{signal} ${{p#/proc/}}; fi; done; true"));
}

pub(crate) fn no_agent(hosts: &Hosts) {
    let running = || hosts.exec("h1", "for p in /proc/[0-9]*; do readlink $p/exe; done | grep -c windlass/agent; true");
    wait_until("the end of the agent", || running().trim() == "0");
}

pub(crate) fn left(hosts: &Hosts) -> String {
    hosts.exec("h1", "find / -xdev -name '.windlass-*'; find /tmp /var/tmp -name '*windlass*' | grep -v windlass-hosts-; true")
}

/// The old file is there, whole.
#[track_caller]
fn old(hosts: &Hosts) {
    assert_eq!(hosts.exec("h1", "head -c 20 /srv/large.bin"), "old\n");
}

#[track_caller]
fn completes(hosts: &Hosts, site: &Site) {
    let run = play(site, "").success();
    assert_eq!(run.count("h1", "changed"), 1, "{}", run.all());
    let mine = fs::read(site.path().join("large.bin")).expect("file");
    assert_eq!(
        hosts.exec("h1", "cmp /srv/large.bin /srv/wanted && echo same; stat -c %s /srv/large.bin"),
        format!("same\n{}\n", mine.len())
    );
    assert_eq!(left(hosts), "");
    hosts.exec("h1", "echo old >/srv/large.bin");
}

#[test]
fn what_is_killed_in_the_middle_of_a_large_file_leaves_the_old_one() {
    let Some(hosts) = Hosts::up(1) else { return };
    let site = Site::new().file("site.yml", COPY);
    inventory(&site, &hosts, &["h1"], &hosts.path().join("known_hosts"), "windlass_linger=1");
    let content: Vec<u8> = (0..LARGE).map(|at| (at / 7 % 251) as u8).collect();
    fs::write(site.path().join("large.bin"), &content).expect("write");
    fs::create_dir_all(hosts.path().join("shared")).expect("folder");
    fs::write(hosts.path().join("shared/wanted"), &content).expect("write");
    hosts.exec("h1", &format!("echo old >/srv/large.bin; ln -s {}/shared/wanted /srv/wanted", hosts.path().display()));
    let _ = site.run(["playbook", "-i", "hosts.ini", "site.yml", "--check"]).success();

    // The agent.
    let child = start(&site, "");
    wait_for_part(&hosts);
    kill_agents(&hosts);
    let run = finish(&site, child).code(4);
    has(&run.all(), &["the agent on h1 was ended by signal", "site.yml:"]);
    no_agent(&hosts);
    old(&hosts);
    assert_eq!(left(&hosts), "");
    completes(&hosts, &site);

    // The controller.
    let child = start(&site, "");
    wait_for_part(&hosts);
    send(&child, Signal::SIGKILL);
    let _ = finish(&site, child).code(-1);
    no_agent(&hosts);
    old(&hosts);
    assert_eq!(left(&hosts), "");
    completes(&hosts, &site);

    // The network and everything that came by it.
    let child = start(&site, "");
    wait_for_part(&hosts);
    hosts.kill("h1");
    let run = finish(&site, child).code(4);
    has(&run.all(), &["the connection to h1 was lost", "site.yml:"]);
    no_agent(&hosts);
    old(&hosts);
    assert_eq!(left(&hosts), "");
    hosts.start_sshd("h1");
    completes(&hosts, &site);
}

#[test]
fn what_a_task_runs_ends_with_agent_connection_and_controller() {
    let Some(hosts) = Hosts::up(1) else { return };
    let site = Site::new().file("site.yml", SLEEP);
    inventory(&site, &hosts, &["h1"], &hosts.path().join("known_hosts"), "windlass_linger=1");

    let child = start(&site, "");
    wait_for_sleep(&hosts);
    kill_agents(&hosts);
    let run = finish(&site, child).code(4);
    has(&run.all(), &["the agent on h1 was ended by signal"]);
    wait_until("the end of the command", || !sleeps(&hosts));
    no_agent(&hosts);

    let child = start(&site, "");
    wait_for_sleep(&hosts);
    send(&child, Signal::SIGKILL);
    let _ = finish(&site, child).code(-1);
    no_agent(&hosts);
    wait_until("the end of the command", || !sleeps(&hosts));

    let child = start(&site, "");
    wait_for_sleep(&hosts);
    hosts.kill("h1");
    let run = finish(&site, child).code(4);
    has(&run.all(), &["the connection to h1 was lost"]);
    wait_until("the end of the command", || !sleeps(&hosts));
    hosts.start_sshd("h1");

    assert!(!hosts.try_exec("h1", "test -e /srv/after").0);
    assert_eq!(left(&hosts), "");
    let _ = play(&site, "-e seconds=0").success();
    hosts.exec("h1", "rm /srv/after");

    ctrl_c(&hosts, &site);
}

fn ctrl_c(hosts: &Hosts, site: &Site) {
    // The first lets what runs end, and starts nothing else.
    let child = start(site, "-e seconds=2");
    wait_until("the command", || hosts.try_exec("h1", "pgrep -fx 'sleep 2'").0);
    send(&child, Signal::SIGINT);
    let run = finish(site, child).code(130);
    has(&run.all(), &["interrupted", "again"]);
    assert_eq!(run.count("h1", "changed"), 1, "{}", run.all());
    assert!(!hosts.try_exec("h1", "test -e /srv/after").0);

    // The second ends it.
    let child = start(site, "");
    wait_for_sleep(hosts);
    send(&child, Signal::SIGINT);
    std::thread::sleep(Duration::from_millis(300));
    assert!(sleeps(hosts));
    send(&child, Signal::SIGINT);
    let begun = Instant::now();
    let run = finish(site, child).code(130);
    assert!(begun.elapsed() < Duration::from_secs(5), "{}", run.all());
    wait_until("the end of the command", || !sleeps(hosts));
    no_agent(hosts);
    assert!(!hosts.try_exec("h1", "test -e /srv/after").0);
}

#[test]
fn a_full_or_locked_disk_is_told_and_nothing_is_half_written() {
    let Some(hosts) = Hosts::up(1) else { return };
    let site = Site::new();
    inventory(&site, &hosts, &["h1"], &hosts.path().join("known_hosts"), "");
    fs::write(site.path().join("large.bin"), vec![b'x'; 3 << 20]).expect("write");
    hosts.exec("h1", "mkdir /srv/full && mount -t tmpfs -o size=1m t /srv/full && echo old >/srv/full/a && { head -c 2M /dev/zero >/srv/full/.full; true; }");
    hosts.exec("h1", "mkdir /srv/locked && mount -t tmpfs t /srv/locked && echo old >/srv/locked/a && mount -o remount,ro /srv/locked");
    for (task, wanted) in [
        ("copy: {content: \"{{ 'x' * 300000 }}\", dest: /srv/full/a}", &["cannot write `/srv/full/a`", "the disk is full"][..]),
        ("copy: {src: large.bin, dest: /srv/full/a}", &["cannot write `/srv/full/a`", "the disk is full"]),
        ("lineinfile: {path: /srv/locked/a, line: new}", &["/srv/locked", "ead-only file system"]),
        ("file: {path: /srv/locked/new, state: directory}", &["/srv/locked", "ead-only file system"]),
    ] {
        site.write("site.yml", &format!("- hosts: all\n  gather_facts: false\n  become: true\n  tasks:\n    - {task}\n"));
        let run = play(&site, "").code(2);
        has(&run.all(), wanted);
        has(&run.all(), &["site.yml:5:", "h1"]);
        assert_eq!(hosts.exec("h1", "cat /srv/full/a /srv/locked/a; find /srv -name '.windlass-*'; ls /srv/locked"), "old\nold\na\n");
    }
}

#[test]
fn what_the_host_cannot_note_is_begun_only_where_it_may_be_done_twice() {
    let Some(hosts) = Hosts::up(1) else { return };
    let tasks = "    - copy: {content: x, dest: /srv/x}\n    - shell: echo once >>/srv/once\n";
    let site = Site::new().file("site.yml", &format!("- hosts: all\n  gather_facts: false\n  become: true\n  tasks:\n{tasks}"));
    inventory(&site, &hosts, &["h1"], &hosts.path().join("known_hosts"), "");
    let _ = site.run(["playbook", "-i", "hosts.ini", "site.yml", "--check"]).success();
    let runs = "/root/.cache/windlass/runs";
    hosts.exec("h1", &format!("mkdir -p -m 700 {runs}"));
    hosts.fill("h1", runs, 256);
    let run = play(&site, "").code(2);
    let wanted =
        ["what is changed cannot be noted in /root/", "this was not begun, as the host cannot note in /root/", "No space left on device"];
    has(&run.all(), &wanted);
    has(&run.all(), &["make room there", "site.yml:6"]);
    assert!(hosts.try_exec("h1", "test -e /srv/x && ! test -e /srv/once").0);

    hosts.exec("h1", &format!("umount {runs}"));
    let _ = site.run(["resume"]).success();
    assert_eq!(hosts.exec("h1", "cat /srv/once"), "once\n");
}
