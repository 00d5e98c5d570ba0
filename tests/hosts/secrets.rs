//! A secret shows up in no output and in no process list.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::harness::{Hosts, Site};
use crate::http::Server;
use crate::{inventory, play};

const SECRETS: [&str; 4] = ["hush-copied", "hush-typed", "hush-told", "hush\\\"quoted'"];

/// Looks at the command lines of all processes of this machine, those of its hosts among them.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
}

impl Watch {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !stopped.load(Ordering::SeqCst) {
                for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
                    let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                    let line = String::from_utf8_lossy(&line).replace('\0', " ");
                    if (line.contains("hush") || line.contains("s3cret")) && !line.contains("chpasswd") && !seen.contains(&line) {
                        seen.push(line);
                    }
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            seen
        });
        Self { stop, thread }
    }

    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("watches")
    }
}

#[test]
fn a_secret_shows_up_nowhere() {
    // h2 asks for the password of sudo.
    let Some(hosts) = Hosts::up(2) else { return };
    let server = Server::start("fine\n");
    let gate = hosts.address("h1").rsplit_once('.').expect("address").0.to_owned() + ".254";
    let site = Site::new()
        .file("password", "for the vault\n")
        .file(
            "vars.yml",
            "copied: hush-copied\ntyped: hush-typed\ntold: hush-told\nquoted: \"hush\\\\\\\"quoted'\"\nansible_become_password: s3cret\n",
        )
        .file("t.j2", "password = {{ copied }}\n")
        .file("site.yml", include_str!("secrets.yml"));
    let _ = site.run(["vault", "encrypt", "--vault-password-file", "password", "vars.yml"]).success();
    inventory(&site, &hosts, &["h1", "h2"], &hosts.path().join("known_hosts"), &format!("web=http://{gate}:{}", server.port));
    let watch = Watch::start();
    for output in ["windlass", "ansible", "json"] {
        hosts.exec("h1", "rm -rf /srv/*");
        hosts.exec("h2", "rm -rf /srv/*");
        for more in ["--check", ""] {
            let run = play(&site, &format!("--vault-password-file password -vvv --diff --output {output} {more}"));
            let all = run.all();
            assert!(run.code == 0, "{output} {more}\n{all}");
            for secret in SECRETS.iter().chain(&["s3cret", "for the vault", "aHVzaC1", "not for eyes"]) {
                if let Some(line) = all.lines().find(|line| line.contains(secret)) {
                    panic!("{output} {more}: `{secret}` in {line}");
                }
            }
        }
    }
    let seen = watch.end();
    assert!(seen.is_empty(), "{seen:#?}");
    // They did get where they were meant to.
    assert_eq!(hosts.exec("h2", "cat /srv/copied /srv/templated"), "hush-copied\npassword = hush-copied\n");
    assert_eq!(hosts.exec("h2", "cat /srv/typed /srv/environment"), "hush-typed\nhush\\\"quoted'\n");
    assert!(server.heard().contains("uthorization: Basic b3BzOmh1c2gtdG9sZA=="), "{}", server.heard());
    // Nobody else can read what was written.
    assert_eq!(
        hosts.exec("h2", "find / -xdev -name '.windlass-*'; ls -A /tmp /var/tmp | grep -v -e : -e windlass-hosts-; true").trim(),
        ""
    );
}
