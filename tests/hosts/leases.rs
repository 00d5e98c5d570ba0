//! One run at a time on a host: who comes second is told who has it, and may take it.

use nix::sys::signal::Signal;

use crate::breaking::{finish, no_agent, send, signal_agents, start};
use crate::harness::{Hosts, Site};
use crate::{has, inventory, play, wait_until};

const LONG: &str = "- hosts: all\n  gather_facts: false\n  tasks:\n    - name: As oneself\n      command: \"true\"\n    - name: Long\n      become: true\n      command: sleep {{ seconds }}\n    - name: After\n      become: true\n      file: {path: /srv/after, state: touch}\n";
const SHORT: &str = "- hosts: all\n  gather_facts: false\n  tasks:\n    - name: Short\n      file: {path: /tmp/short, state: touch}\n";

#[test]
fn a_second_run_is_told_who_has_the_host_and_may_take_it() {
    let Some(hosts) = Hosts::up(1) else { return };
    let site = Site::new().file("site.yml", LONG).file("short.yml", SHORT);
    inventory(&site, &hosts, &["h1"], &hosts.path().join("known_hosts"), "windlass_linger=3");
    let short = |words: &str| site.playbook(&format!("-i hosts.ini short.yml {words}"));
    let sleeps = |seconds: u32| hosts.try_exec("h1", &format!("pgrep -fx 'sleep {seconds}'")).0;

    // It is told, and changes nothing; a check needs no lease.
    let child = start(&site, "-e seconds=4243");
    wait_until("the command", || sleeps(4243));
    let run = short("");
    assert_ne!(run.code, 0);
    has(&run.all(), &["h1 is held by run ", "tester@", "site.yml, since 20", "--steal-lease"]);
    assert!(!hosts.try_exec("h1", "test -e /tmp/short").0);
    let _ = short("--check").success();

    // A controller that is gone leaves the host to the next as soon as its agents are.
    send(&child, Signal::SIGKILL);
    let _ = finish(&site, child).code(-1);
    let _ = short("").success();
    no_agent(&hosts);
    hosts.exec("h1", "rm /tmp/short");

    // Who takes the host waits for the running step; the other run stops there.
    let child = start(&site, "-e seconds=25");
    wait_until("the command", || sleeps(25));
    let _ = short("--steal-lease").success();
    assert!(!sleeps(25) && hosts.try_exec("h1", "test -e /tmp/short").0);
    let run = finish(&site, child);
    assert_ne!(run.code, 0);
    has(&run.all(), &["h1 was taken over with --steal-lease by run ", "short.yml"]);
    assert!(!hosts.try_exec("h1", "test -e /srv/after").0);

    // An agent that does not answer is ended.
    let child = start(&site, "-e seconds=4244");
    wait_until("the command", || sleeps(4244));
    signal_agents(&hosts, "STOP");
    let run = short("");
    has(&run.all(), &["h1 is held by an agent that does not answer: process ", "--steal-lease"]);
    let _ = short("--steal-lease -b").success();
    send(&child, Signal::SIGKILL);
    let _ = finish(&site, child).code(-1);

    // Something else that has the name is told apart.
    let squat = "import socket,time; s=socket.socket(socket.AF_UNIX); s.bind('\\0windlass-lease'); s.listen(1); time.sleep(60)";
    if hosts.try_exec("h1", "command -v python3").0 {
        signal_agents(&hosts, "KILL");
        wait_until("a free name", || !hosts.try_exec("h1", "grep -q windlass-lease /proc/net/unix").0);
        hosts.exec("h1", &format!("su ops -c \"python3 -c \\\"{squat}\\\"\" >/dev/null 2>&1 </dev/null &"));
        wait_until("the squatter", || hosts.try_exec("h1", "grep -q windlass-lease /proc/net/unix").0);
        let run = play(&site, "-e seconds=0 --steal-lease");
        assert_ne!(run.code, 0);
        has(&run.all(), &["h1 has its lease held by process ", "of ops, which is not windlass"]);
    }
}
