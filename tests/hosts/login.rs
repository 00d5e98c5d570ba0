//! Logging in, becoming root, and every way in which that goes wrong.

use std::fs;

use crate::harness::{Hosts, Site};
use crate::{has, inventory, play};

const PING: &str =
    "- hosts: all\n  gather_facts: false\n  tasks:\n    - command: id -un\n      register: r\n    - debug: msg=\"I am {{ r.stdout }}\"\n";
const ROOT: &str = "- hosts: all\n  gather_facts: false\n  become: true\n  tasks:\n    - command: id -un\n      register: r\n    - debug: msg=\"I am {{ r.stdout }}\"\n    - file: {path: /srv/by-root, state: touch}\n";

#[test]
fn who_may_log_in_does_and_who_may_not_is_told_why() {
    let Some(hosts) = Hosts::up(2) else { return };
    let known = hosts.path().join("known_hosts");
    let site = Site::new().file("site.yml", PING);

    inventory(&site, &hosts, &["h1", "h2"], &known, "");
    let run = play(&site, "").success();
    assert_eq!((run.count("h1", "ok"), run.count("h2", "ok")), (2, 2), "{}", run.all());
    has(&run.all(), &["I am ops"]);

    // The key would do, but is not wanted.
    let run = play(&site, "--ssh-extra-args=-oPubkeyAuthentication=no").code(4);
    has(&run.all(), &["h1 refused the login of `ops`", "(the SSH options leave only password, keyboard-interactive)"]);
    site.write("right", "s3cret\n");
    for option in ["PubkeyAuthentication=no", "PreferredAuthentications=password"] {
        let run = play(&site, &format!("--ssh-extra-args=-o{option} --connection-password-file right")).success();
        has(&run.all(), &["I am ops"]);
    }

    a_password_opens_too(&hosts, &site);
    questions_are_answered(&hosts, &site);
    the_way_leads_through_another_host(&hosts, &site);
    the_host_key_must_be_known(&hosts, &site);

    // Refused: another user, for whom the key is nothing.
    inventory(&site, &hosts, &["h1"], &known, "");
    let run = play(&site, "-e ansible_user=nobody").code(4);
    has(&run.all(), &["h1 refused the login of `nobody`", "site.yml:", "hint"]);
    assert_eq!(run.all().matches("refused the login").count(), 1, "{}", run.all());

    // Unreachable: one host is lost, the other goes on.
    inventory(&site, &hosts, &["h1", "h2"], &known, "");
    hosts.kill("h1");
    let run = play(&site, "").code(4);
    has(&run.all(), &["h1 cannot be reached at", "connection refused"]);
    assert_eq!((run.count("h1", "unreachable"), run.count("h2", "ok")), (1, 2), "{}", run.all());
    hosts.start_sshd("h1");
    let _ = play(&site, "").success();
}

fn a_password_opens_too(hosts: &Hosts, site: &Site) {
    let known = hosts.path().join("known_hosts");
    inventory(site, hosts, &["h2"], &known, "ansible_ssh_private_key_file=none-such");
    let text = site.read("hosts.ini");
    let without_key: String = text.lines().filter(|line| !line.contains("private_key")).map(|line| format!("{line}\n")).collect();
    site.write("hosts.ini", &without_key);
    site.write("wrong", "sesame\n");
    let run = play(site, "--connection-password-file right").success();
    has(&run.all(), &["I am ops"]);
    let run = play(site, "--connection-password-file wrong").code(4);
    has(&run.all(), &["h2 refused the login of `ops`", "hint"]);
    assert!(!run.all().contains("sesame"), "{}", run.all());
}

/// A server that takes no plain password but asks for it (keyboard-interactive).
fn questions_are_answered(hosts: &Hosts, site: &Site) {
    let plain = "PasswordAuthentication yes\\nKbdInteractiveAuthentication no\\nUsePAM no";
    let asking = "PasswordAuthentication no\\nKbdInteractiveAuthentication yes\\nUsePAM yes\\nAuthenticationMethods keyboard-interactive";
    let lines = "sed -i '/^PasswordAuth/d;/^KbdInter/d;/^UsePAM/d;/^AuthenticationMethods/d' /etc/ssh/sshd_config";
    // Nothing of PAM but the password itself: sessions are of no matter here.
    let pam = "printf 'auth required pam_unix.so\\naccount required pam_permit.so\\nsession required pam_permit.so\\n' >/etc/pam.d/sshd";
    hosts.exec("h2", &format!("{lines}; printf '{asking}\\n' >>/etc/ssh/sshd_config; {pam}"));
    hosts.kill("h2");
    hosts.start_sshd("h2");
    let run = play(site, "--connection-password-file right").success();
    has(&run.all(), &["I am ops"]);
    let run = play(site, "--connection-password-file wrong").code(4);
    has(&run.all(), &["h2 refused the login of `ops`", "the password in answer to the server's question", "hint"]);
    assert!(!run.all().contains("sesame"), "{}", run.all());
    hosts.exec("h2", &format!("{lines}; printf '{plain}\\n' >>/etc/ssh/sshd_config"));
    hosts.kill("h2");
    hosts.start_sshd("h2");
}

fn the_way_leads_through_another_host(hosts: &Hosts, site: &Site) {
    let known = hosts.path().join("known_hosts");
    let jump = hosts.address("h1");
    inventory(site, hosts, &["h2"], &known, &format!("ansible_ssh_extra_args=-J ops@{jump}"));
    // Nobody but h1 reaches h2 now.
    hosts.exec("h1", "true");
    let (there, _) = hosts.try_exec("h2", "command -v iptables");
    if there {
        let _ = hosts.try_exec("h2", &format!("iptables -A INPUT -p tcp --dport 22 ! -s {jump} -j DROP"));
    }
    let run = play(site, "").success();
    has(&run.all(), &["I am ops"]);
    assert!(hosts.exec("h2", "ls /home/ops/.cache/windlass").starts_with("agent-"));
    if there {
        let _ = hosts.try_exec("h2", "iptables -F INPUT");
    }
}

fn the_host_key_must_be_known(hosts: &Hosts, site: &Site) {
    let address = hosts.address("h1");
    let known = site.path().join("known");
    inventory(site, hosts, &["h1"], &known, "");
    let agents = "ls -A /home/ops/.cache/windlass 2>/dev/null; true";
    hosts.exec("h1", "rm -rf /home/ops/.cache");

    let run = play(site, "").code(4);
    has(&run.all(), &[&format!("h1 is not known: no line for `{address}` in $SITE/known"), "hint"]);
    assert!(!known.exists() && hosts.exec("h1", agents).is_empty());

    // The key of another host, in line 2.
    let other = fs::read_to_string(hosts.path().join("known_hosts")).expect("known hosts");
    let other = other.lines().find(|line| !line.starts_with(&format!("{address} "))).expect("h2");
    let other = other.split_once(' ').expect("key").1;
    site.write("known", &format!("# who is who\n{address} {other}\n"));
    for words in ["", "--ssh-extra-args=-oStrictHostKeyChecking=accept-new"] {
        let run = play(site, words).code(4);
        has(&run.all(), &["h1 shows another key than it is known by: line 2 of $SITE/known", "ssh-keygen -R"]);
    }
    assert!(hosts.exec("h1", agents).is_empty());

    site.write("known", "");
    let _ = play(site, "--ssh-extra-args=-oStrictHostKeyChecking=accept-new").success();
    has(&site.read("known"), &[&format!("{address} ssh-ed25519 ")]);
    let _ = play(site, "").success();
}

#[test]
fn root_is_become_with_and_without_a_password() {
    let Some(hosts) = Hosts::up(2) else { return };
    let known = hosts.path().join("known_hosts");
    let site = Site::new().file("site.yml", ROOT).file("right", "s3cret\n").file("wrong", "sesame\n");
    inventory(&site, &hosts, &["h1", "h2"], &known, "");

    // h1 asks for no password, h2 does.
    let run = play(&site, "").code(2);
    has(&run.all(), &["I am root", "sudo on h2 wants a password to become root, and none was given", "-K"]);
    assert_eq!(run.all().matches("wants a password").count(), 1, "{}", run.all());
    assert_eq!((run.count("h1", "changed"), run.count("h2", "failed")), (2, 1), "{}", run.all());
    assert!(!hosts.try_exec("h2", "test -e /srv/by-root").0);

    let run = play(&site, "--limit h2 --become-password-file wrong -vvv").code(2);
    has(&run.all(), &["Incorrect sudo password: h2 did not let ops become root with it", "hint", "site.yml:"]);
    assert!(!run.all().contains("sesame"), "{}", run.all());
    assert!(!hosts.try_exec("h2", "test -e /srv/by-root").0);

    for words in ["--become-password-file right", "-e ansible_become_password=s3cret", "-e ansible_become_pass=s3cret"] {
        let run = play(&site, words).success();
        assert_eq!((run.count("h1", "ok"), run.count("h2", "ok")), (3, 3), "{}", run.all());
        assert!(!run.all().contains("s3cret"), "{}", run.all());
    }

    // Asked for where nobody can answer.
    let run = play(&site, "-K").code(1);
    has(&run.all(), &["nobody can be asked for a password", "--become-password-file"]);

    only_the_agent_is_left(&hosts);
}

/// Login user and root have their own agent each, in a folder that is theirs alone, and nothing else is left.
fn only_the_agent_is_left(hosts: &Hosts) {
    for host in ["h1", "h2"] {
        for (home, user) in [("/home/ops", "ops"), ("/root", "root")] {
            let cache = format!("{home}/.cache/windlass");
            if user == "ops" && host == "h1" && !hosts.try_exec(host, &format!("test -d {cache}")).0 {
                continue; // Everything there was done as root.
            }
            if user == "ops" && !hosts.try_exec(host, &format!("test -d {cache}")).0 {
                continue;
            }
            assert_eq!(hosts.exec(host, &format!("stat -c '%U %a' {cache}")), format!("{user} 700\n"));
            let kept = hosts.exec(host, &format!("ls -A {cache}"));
            let others: Vec<_> = kept.lines().filter(|name| *name != "runs").collect();
            assert!(others.len() == 1 && others[0].starts_with("agent-"), "{kept}");
            // What a run changed, for its undo: nobody else may look.
            let modes = hosts.exec(host, &format!("if [ -d {cache}/runs ]; then stat -c '%U %a' {cache}/runs; fi"));
            assert!(modes.is_empty() || modes == format!("{user} 700\n"), "{modes}");
        }
        let left = hosts
            .exec(host, "ls -A /tmp /var/tmp; find / -xdev -name '.windlass-*'; find /home /root/.cache /root/.ansible /srv -xdev -newer /run/sshd.pid -type f 2>/dev/null; true");
        let odd: Vec<_> = left
            .lines()
            .filter(|line| {
                !(line.is_empty()
                    || line.ends_with(':')
                    || line.contains(".cache/windlass/agent-")
                    || line.contains(".cache/windlass/runs/")
                    || line.starts_with("windlass-hosts-")
                    || *line == "/srv/by-root")
            })
            .collect();
        assert!(odd.is_empty(), "{host}: {odd:?}");
        // The agents went with their connections.
        let running = hosts.exec(host, "for p in /proc/[0-9]*; do readlink $p/exe; done | grep -c windlass/agent; true");
        assert_eq!(running.trim(), "0");
    }
}
