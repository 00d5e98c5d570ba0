//! Becoming another user, and hosts on which the agent has a hard time: against real hosts with users of their own.
#![allow(clippy::panic, reason = "a test may")]

mod harness;

use std::sync::{Arc, Mutex};

use harness::Hosts;
use windlass::agent::protocol::Task;
use windlass::agent::session::{Session, Sessions};
use windlass::change::{Mode, Outcome};
use windlass::connect::settings::Warnings;
use windlass::connect::{Become, Kind, Settings, Target, Trouble};
use windlass::value::secret::Secret;
use windlass::value::{Map, Value};

fn target(hosts: &Hosts, host: &str) -> Target {
    let known = hosts.path().join("known_hosts");
    let arguments = format!("-F none -o UserKnownHostsFile={} -o GlobalKnownHostsFile=none", known.display());
    Target {
        name: host.to_owned(),
        connection: "ssh".to_owned(),
        host: hosts.address(host),
        user: Some("ops".to_owned()),
        key_file: Some(hosts.path().join("key")),
        arguments: vec![("ansible_ssh_common_args".to_owned(), arguments)],
        ..Target::default()
    }
}

async fn session(target: &Target) -> Session {
    let warnings = Arc::new(Mutex::new(Vec::<String>::new()));
    let mut settings = Settings::of_this_user(Warnings::to(move |text| warnings.lock().expect("lock").push(text.to_owned())));
    settings.agent_socket = None;
    Sessions::new(settings).open(target).await.expect("connects")
}

fn user(method: &str, user: &str, password: Option<&str>) -> Become {
    Become {
        method: method.to_owned(),
        user: user.to_owned(),
        password: password.map(|text| Secret::new(text.to_owned())),
        ..Become::default()
    }
}

async fn shell(session: &Session, r#become: Option<&Become>, line: &str) -> Result<String, Trouble> {
    let arguments: Map = [("cmd".into(), Value::str(line))].into_iter().collect();
    let task = Task {
        module: "shell".to_owned(),
        items: vec![arguments],
        mode: Mode::Apply,
        diff: false,
        environment: Vec::new(),
        timeout: None,
        foreseen: Vec::new(),
        steps: Vec::new(),
        alone: false,
        doubt: Default::default(),
        bound: Vec::new(),
        job: None,
    };
    let mut outcomes: Vec<Outcome> = Vec::new();
    session.task(r#become, task, &mut |_, outcome| outcomes.push(outcome)).await?;
    let outcome = outcomes.remove(0);
    assert_eq!(outcome.failure, None);
    Ok(outcome.values.get("stdout").map(ToString::to_string).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn sudo_and_su_become_other_users() {
    let Some(hosts) = Hosts::up(2) else { return };
    // Odd hosts let ops become root without a password, even ones ask for it.
    let (free, asking) = (session(&target(&hosts, "h1")).await, session(&target(&hosts, "h2")).await);
    assert_eq!(shell(&free, None, "id -un").await.expect("runs"), "ops");
    for (session, password) in [(&free, None), (&free, Some("s3cret")), (&asking, Some("s3cret"))] {
        let root = user("sudo", "root", password);
        assert_eq!(shell(session, Some(&root), "id -un; echo $HOME; umask").await.expect("runs"), "root\n/root\n0022");
    }
    // One that may not read the login user's home.
    let nobody = user("sudo", "nobody", None);
    hosts.exec("h1", "chmod 700 /home/ops");
    assert_eq!(shell(&free, Some(&nobody), "id -un").await.expect("runs"), "nobody");
    let su = user("su", "ops", Some("s3cret"));
    hosts.exec("h1", "useradd -m -s /bin/bash other; echo other:pass:word | chpasswd -c SHA512");
    let other = user("su", "other", Some("pass:word"));
    assert_eq!(shell(&free, Some(&other), "id -un; echo $HOME").await.expect("runs"), "other\n/home/other");
    assert_eq!(shell(&asking, Some(&su), "id -un").await.expect("runs"), "ops");
    let output = free.raw(Some(&user("sudo", "root", None)), "id -un; echo 'it''s'").await.expect("runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "root\nits\n");
    // The password is in no process list.
    assert!(!hosts.exec("h2", "ps axww -o args").contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn doas_lets_become_with_a_password_and_without() {
    if !std::path::Path::new("/usr/bin/doas").exists() {
        return;
    }
    let Some(hosts) = Hosts::up(2) else { return };
    let (free, asking) = (session(&target(&hosts, "h1")).await, session(&target(&hosts, "h2")).await);
    let allow = |host: &str, rule: &str| hosts.exec(host, &format!("echo '{rule}' > /etc/doas.conf; chmod 600 /etc/doas.conf"));
    allow("h1", "permit nopass ops");
    allow("h2", "permit ops");
    assert_eq!(shell(&free, Some(&user("doas", "root", None)), "id -un; echo $HOME").await.expect("runs"), "root\n/root");
    assert_eq!(shell(&free, Some(&user("doas", "nobody", None)), "id -un").await.expect("runs"), "nobody");
    let trouble = shell(&asking, Some(&user("doas", "root", Some("wrong"))), "id").await.expect_err("a wrong password");
    assert_eq!(trouble.message, "Incorrect doas password: h2 did not let ops become root with it");
    let trouble = shell(&asking, Some(&user("doas", "root", None)), "id").await.expect_err("no password");
    assert!(trouble.message.starts_with("doas on h2 wants a password to become root, and none was given"), "{trouble}");
    assert_eq!(shell(&asking, Some(&user("doas", "root", Some("s3cret"))), "id -un").await.expect("runs"), "root");
    assert!(!hosts.exec("h2", "ps axww -o args").contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_wrong_or_missing_is_told() {
    let Some(hosts) = Hosts::up(2) else { return };
    let asking = session(&target(&hosts, "h2")).await;
    let trouble = shell(&asking, Some(&user("sudo", "root", Some("wrong"))), "id").await.expect_err("a wrong password");
    assert_eq!((trouble.kind, trouble.message.as_str()), (Kind::Become, "Incorrect sudo password: h2 did not let ops become root with it"));
    let trouble = shell(&asking, Some(&user("sudo", "root", None)), "id").await.expect_err("no password");
    assert!(trouble.message.starts_with("sudo on h2 wants a password to become root, and none was given"), "{trouble}");
    assert_eq!(trouble.hint.as_deref(), Some("give it with -K, or keep ansible_become_password in a vault"));
    let trouble = shell(&asking, Some(&user("su", "root", Some("wrong"))), "id").await.expect_err("a wrong password");
    assert_eq!(trouble.message, "Incorrect su password: h2 did not let ops become root with it");
    let trouble = shell(&asking, Some(&user("sudo", "no-such-user", Some("s3cret"))), "id").await.expect_err("nobody of that name");
    assert!(trouble.message.starts_with("sudo on h2 did not let ops become no-such-user: "), "{trouble}");
    // The session goes on.
    assert_eq!(shell(&asking, Some(&user("sudo", "root", Some("s3cret"))), "id -un").await.expect("runs"), "root");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_finds_a_place_or_says_why_there_is_none() {
    let Some(hosts) = Hosts::up(1) else { return };
    let to = target(&hosts, "h1");
    // Home full: the next place is taken.
    hosts.exec("h1", "mkdir -p /home/ops/.cache/windlass; mount -t tmpfs -o noexec,mode=700,uid=2000 t /home/ops/.cache/windlass");
    assert_eq!(shell(&session(&to).await, None, "echo ok").await.expect("runs"), "ok");
    assert!(hosts.exec("h1", "ls /var/tmp/windlass-2000").starts_with("agent-"));
    hosts.exec("h1", "mount -t tmpfs -o ro t /var/tmp; mount -t tmpfs -o noexec,mode=1777 t /tmp");
    let trouble = shell(&session(&to).await, None, "echo ok").await.expect_err("no place");
    assert_eq!(trouble.kind, Kind::Agent);
    for wanted in [
        "there is no folder on h1 where the agent can be kept and run: /home/ops/.cache/windlass: programs must not run there (noexec)",
        "/var/tmp/windlass-2000: mkdir: cannot create directory",
        "Read-only file system",
        "/tmp/windlass-2000: programs must not run there (noexec)",
    ] {
        assert!(trouble.message.contains(wanted), "{trouble}");
    }
    // A folder of the user's choice, and then a full one.
    let named = Target { agent_folder: Some("~/tools/wind lass".to_owned()), ..to.clone() };
    assert_eq!(shell(&session(&named).await, None, "echo ok").await.expect("runs"), "ok");
    assert!(hosts.exec("h1", "ls '/home/ops/tools/wind lass'").starts_with("agent-"));
    hosts.exec("h1", "mkdir /home/ops/full; mount -t tmpfs -o size=1m,mode=700,uid=2000 t /home/ops/full");
    let full = Target { agent_folder: Some("/home/ops/full".to_owned()), ..to };
    let trouble = shell(&session(&full).await, None, "echo ok").await.expect_err("full");
    assert!(
        trouble.message.starts_with("the agent cannot be written on h1: ") && trouble.message.contains("No space left on device"),
        "{trouble}"
    );
    assert_eq!(hosts.exec("h1", "ls -A /home/ops/full"), "");
}
