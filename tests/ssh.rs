//! SSH connections and the agent, against a real sshd on a loopback port.

#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::panic, reason = "a test sets up servers and files of its own")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use windlass::agent::protocol::{Answer, Question, Task};
use windlass::agent::session::{Control, Session, Sessions};
use windlass::change::{Mode, Outcome};
use windlass::connect::settings::Warnings;
use windlass::connect::{Kind, Settings, Target, Trouble};
use windlass::modules;
use windlass::value::secret::Secret;
use windlass::value::{Map, Value};

const SSHD: &str = "/usr/sbin/sshd";

/// A folder with keys and a running sshd.
struct Server {
    folder: tempfile::TempDir,
    port: u16,
    child: Child,
    heard: Arc<Mutex<Vec<String>>>,
}

fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).stdin(Stdio::null()).output().expect(program);
    assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

impl Server {
    /// Starts an sshd, or says that there is none on this machine.
    fn start() -> Option<Self> {
        Self::certified(&["-n", "127.0.0.1"])
    }

    /// Starts an sshd whose host certificate is made with these arguments for `ssh-keygen`.
    fn certified(certificate: &[&str]) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            eprintln!("SKIPPED: {SSHD} is not installed");
            return None;
        }
        let folder = tempfile::tempdir().expect("folder");
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        for name in ["host_key", "key", "stranger"] {
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &path(name)]);
        }
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "open sesame", "-f", &path("locked")]);
        run("ssh-keygen", &["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", &path("rsa")]);
        run("ssh-keygen", &["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f", &path("old-rsa")]);
        run("ssh-keygen", &["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "open sesame", "-f", &path("old-locked")]);
        run("ssh-keygen", &["-q", "-t", "ecdsa", "-m", "PEM", "-N", "", "-f", &path("old-ecdsa")]);
        for name in ["ca", "member"] {
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &path(name)]);
        }
        let (ca, host, user) = (path("ca"), path("host_key.pub"), std::env::var("USER").unwrap_or_else(|_| "root".to_owned()));
        let arguments = [&["-q", "-s", &ca, "-I", "the host", "-h"], certificate, &[host.as_str()]].concat();
        run("ssh-keygen", &arguments);
        run("ssh-keygen", &["-q", "-s", &ca, "-I", "a member", "-n", &user, &path("member.pub")]);
        let allowed: String = ["key", "locked", "rsa", "old-rsa", "old-locked", "old-ecdsa"]
            .iter()
            .map(|name| fs::read_to_string(path(&format!("{name}.pub"))).expect("key"))
            .collect();
        fs::write(path("authorized_keys"), allowed).expect("write");
        let port = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("address").port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\nMaxStartups 100\nMaxSessions 50\nHostCertificate {}\nTrustedUserCAKeys {}\n",
            path("host_key"),
            path("authorized_keys"),
            path("host_key-cert.pub"),
            path("ca.pub"),
        );
        fs::write(path("sshd_config"), config).expect("write");
        // Where it separates privileges as root.
        let _ = fs::create_dir_all("/run/sshd");
        let child = Command::new(SSHD).args(["-D", "-e", "-f", &path("sshd_config")]).stderr(Stdio::null()).spawn().expect("sshd");
        let server = Self { port, child, heard: Arc::default(), folder };
        let since = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(since.elapsed() < Duration::from_secs(20), "sshd does not answer");
            std::thread::sleep(Duration::from_millis(30));
        }
        server.know(&server.host_key());
        Some(server)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn host_key(&self) -> String {
        fs::read_to_string(self.path("host_key.pub")).expect("key")
    }

    fn know(&self, key: &str) {
        let mut words = key.split_whitespace();
        let line = format!("[127.0.0.1]:{} {} {} a comment\n", self.port, words.next().expect("kind"), words.next().expect("key"));
        fs::write(self.path("known_hosts"), line).expect("write");
    }

    fn target(&self, arguments: &str) -> Target {
        let known = self.path("known_hosts");
        Target {
            name: "web1".to_owned(),
            connection: "ssh".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: Some(self.port),
            key_file: Some(self.path("key")),
            arguments: vec![(
                "ansible_ssh_common_args".to_owned(),
                format!("-F none -o UserKnownHostsFile={} -o GlobalKnownHostsFile=none {arguments}", known.display()),
            )],
            agent_folder: Some(self.path("cache").to_string_lossy().into_owned()),
            ..Target::default()
        }
    }

    fn sessions(&self) -> Sessions {
        let heard = Arc::clone(&self.heard);
        let mut settings = Settings::of_this_user(Warnings::to(move |text| heard.lock().expect("lock").push(text.to_owned())));
        settings.agent_socket = None;
        Sessions::new(settings)
    }

    /// Has hosts known by these lines; `NAME` stands for this server, `CA` for the key of its authority, `KEY` for its own.
    fn know_lines(&self, lines: &str) {
        let key = |name: &str| {
            let text = fs::read_to_string(self.path(name)).expect("key");
            text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
        };
        let name = format!("[127.0.0.1]:{}", self.port);
        let lines = lines.replace("NAME", &name).replace("CA", &key("ca.pub")).replace("KEY", &key("host_key.pub"));
        fs::write(self.path("known_hosts"), lines).expect("write");
    }

    async fn open(&self, target: &Target) -> Result<Session, Trouble> {
        self.sessions().open(target).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn arguments(pairs: &[(&str, &str)]) -> Map {
    pairs.iter().map(|(name, value)| ((*name).into(), Value::str(*value))).collect()
}

fn task(module: &str, items: Vec<Map>, mode: Mode) -> Task {
    Task {
        module: module.to_owned(),
        items,
        mode,
        diff: false,
        environment: Vec::new(),
        timeout: None,
        foreseen: Vec::new(),
        steps: Vec::new(),
        alone: false,
        doubt: Default::default(),
        bound: Vec::new(),
        job: None,
    }
}

async fn outcomes(session: &Session, task: Task) -> Result<Vec<Outcome>, Trouble> {
    let mut outcomes = Vec::new();
    session.task(None, task, &mut |_, outcome| outcomes.push(outcome)).await?;
    Ok(outcomes)
}

async fn shell(session: &Session, line: &str) -> Result<Outcome, Trouble> {
    Ok(outcomes(session, task("shell", vec![arguments(&[("cmd", line)])], Mode::Apply)).await?.remove(0))
}

fn text(outcome: &Outcome, name: &str) -> String {
    outcome.values.get(name).map(ToString::to_string).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_is_one_message_and_the_agent_is_sent_once() {
    let Some(server) = Server::start() else { return };
    let session = server.open(&server.target("")).await.expect("connects");
    let items = (0..20).map(|_| Map::new()).collect();
    let answers = outcomes(&session, task("ping", items, Mode::Apply)).await.expect("runs");
    assert_eq!(answers.len(), 20);
    assert_eq!(text(&answers[19], "ping"), "pong");
    session.close().await;
    let kept = |path: &Path| fs::read_dir(path).expect("folder").map(|entry| entry.expect("entry").path()).collect::<Vec<_>>();
    let cached = kept(&server.path("cache"));
    assert_eq!(cached.len(), 1, "{cached:?}");
    assert_eq!(fs::metadata(server.path("cache")).expect("folder").permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(&cached[0]).expect("agent").permissions().mode() & 0o777, 0o700);
    let made = fs::metadata(&cached[0]).expect("agent").modified().expect("time");

    // An old one goes when a new one comes; a spoilt one is replaced; a good one is used as it is.
    let session = server.open(&server.target("")).await.expect("connects");
    assert_eq!(text(&outcomes(&session, task("ping", vec![Map::new()], Mode::Apply)).await.expect("runs")[0], "ping"), "pong");
    assert_eq!(fs::metadata(&cached[0]).expect("agent").modified().expect("time"), made);
    session.close().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    fs::remove_file(&cached[0]).expect("removes");
    fs::write(&cached[0], "#!/bin/sh\nexit 0\n").expect("spoils");
    fs::set_permissions(&cached[0], fs::Permissions::from_mode(0o700)).expect("mode");
    fs::write(server.path("cache/agent-old"), "old").expect("write");
    let session = server.open(&server.target("")).await.expect("connects");
    assert_eq!(text(&outcomes(&session, task("ping", vec![Map::new()], Mode::Apply)).await.expect("runs")[0], "ping"), "pong");
    assert_eq!(kept(&server.path("cache")), cached);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_open_the_door_and_a_refusal_tells_what_was_tried() {
    let Some(server) = Server::start() else { return };
    let with = |key: &str, passphrase: Option<&str>| Target {
        key_file: Some(server.path(key)),
        key_passphrase: passphrase.map(|text| Secret::new(text.to_owned())),
        ..server.target("")
    };
    server.open(&with("rsa", None)).await.expect("an RSA key");
    server.open(&with("locked", Some("open sesame"))).await.expect("an encrypted key");
    for (target, wanted) in [
        (with("locked", None), "is encrypted and no passphrase was given"),
        (with("locked", Some("wrong")), "does not open with the passphrase that was given"),
        (with("stranger", None), "the server would take publickey"),
        (with("missing", None), "does not exist"),
    ] {
        let trouble = server.open(&target).await.expect_err(wanted);
        assert_eq!(trouble.kind, Kind::Login);
        assert!(trouble.message.contains(wanted) && trouble.message.starts_with("web1 refused the login of `"), "{trouble}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_host_that_is_known_by_its_key_is_talked_to() {
    let Some(server) = Server::start() else { return };
    let file = server.path("known_hosts");

    server.know(&fs::read_to_string(server.path("stranger.pub")).expect("key"));
    for arguments in ["", "-o StrictHostKeyChecking=no", "-o StrictHostKeyChecking=accept-new"] {
        let trouble = server.open(&server.target(arguments)).await.expect_err("a changed key");
        assert_eq!(trouble.kind, Kind::HostKey);
        assert!(trouble.message.contains(&format!("line 1 of {}", file.display())), "{trouble}");
        assert!(trouble.hint.expect("hint").contains("ssh-keygen -R"));
    }

    server.know(&fs::read_to_string(server.path("rsa.pub")).expect("key"));
    let trouble = server.open(&server.target("-o StrictHostKeyChecking=accept-new")).await.expect_err("another kind");
    assert!(trouble.message.contains("is known by another kind: line 1 of"), "{trouble}");

    fs::write(&file, "# nobody\n").expect("write");
    let trouble = server.open(&server.target("")).await.expect_err("an unknown host");
    let wanted = format!("web1 is not known: no line for `[127.0.0.1]:{}` in {}", server.port, file.display());
    assert!(trouble.message.starts_with(&wanted), "{trouble}");

    server.open(&server.target("-o StrictHostKeyChecking=accept-new")).await.expect("a new host");
    let learned = fs::read_to_string(&file).expect("file");
    assert!(learned.contains(&format!("[127.0.0.1]:{} ssh-ed25519 ", server.port)), "{learned}");
    server.open(&server.target("")).await.expect("known by now");

    run("ssh-keygen", &["-q", "-H", "-f", &file.to_string_lossy()]);
    assert!(fs::read_to_string(&file).expect("file").contains("|1|"));
    server.open(&server.target("")).await.expect("known by a hashed name");

    fs::write(&file, "").expect("write");
    let off = Target { host_key_checking: Some(false), ..server.target("") };
    server.open(&off).await.expect("not checked");
    assert!(server.heard.lock().expect("lock").iter().any(|text| text.contains("host key checking is off")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_may_lead_through_other_hosts() {
    let Some(server) = Server::start() else { return };
    let jump = format!("-J 127.0.0.1:{0},127.0.0.1:{0}", server.port);
    let session = server.open(&server.target(&jump)).await.expect("connects");
    assert_eq!(text(&shell(&session, "echo $((6 * 7))").await.expect("runs"), "stdout"), "42");
    let trouble = server.open(&server.target("-J 127.0.0.1:1")).await.expect_err("nobody there");
    assert!(trouble.message.starts_with("the way to web1 is closed: 127.0.0.1 cannot be reached at 127.0.0.1:1"), "{trouble}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_may_lead_to_the_host() {
    let Some(server) = Server::start() else { return };
    let target = server.target("");
    let line = format!(
        "ssh -F none -o BatchMode=yes -o UserKnownHostsFile={} -i {} -p {} -W %h:%p 127.0.0.1",
        server.path("known_hosts").display(),
        server.path("key").display(),
        server.port
    );
    let through = |line: &str| server.target(&format!("-o 'ProxyCommand={line}' -J nobody.invalid"));
    let session = server.open(&through(&line)).await.expect("connects");
    assert_eq!(text(&shell(&session, "echo $((6 * 7))").await.expect("runs"), "stdout"), "42");
    let trouble = server.open(&through("echo nobody is home >&2")).await.expect_err("leads nowhere");
    assert_eq!(trouble.message, "the ProxyCommand of web1 led to no SSH server: nobody is home");
    assert_eq!(trouble.hint.as_deref(), Some("try it by hand: echo nobody is home >&2"));
    assert_eq!(target.host, "127.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_may_be_known_by_an_authority() {
    let Some(server) = Server::start() else { return };
    server.know_lines("@cert-authority NAME CA\n");
    server.open(&server.target("")).await.expect("its certificate counts");
    server.know_lines("@cert-authority *.example.net CA\nNAME KEY\n");
    server.open(&server.target("")).await.expect("its key counts");

    for (lines, wanted) in [
        ("@cert-authority NAME KEY\n", "web1 shows the plain key"),
        ("@cert-authority NAME CA\n@revoked NAME CA\n", "the authority of its certificate is revoked by line 2 of"),
        ("@cert-authority NAME CA\n@revoked NAME KEY\n", "its key is revoked by line 2 of"),
        ("@cert-authority *.example.net CA\n", "web1 is not known"),
    ] {
        server.know_lines(lines);
        let trouble = server.open(&server.target("")).await.expect_err(wanted);
        assert_eq!(trouble.kind, Kind::HostKey);
        assert!(trouble.message.contains(wanted), "{trouble}");
    }
    for (arguments, wanted) in [
        (&["-n", "other.example.net"][..], "`the host` does not count: it is for other.example.net, not for `127.0.0.1`"),
        (&["-n", "127.0.0.1", "-V", "20200101:20210101"], "it ended on 2021-01-01"),
        (&["-n", "127.0.0.1", "-V", "+52w:+60w"], "it holds from "),
    ] {
        let Some(server) = Server::certified(arguments) else { return };
        server.know_lines("@cert-authority NAME CA\n");
        let trouble = server.open(&server.target("")).await.expect_err(wanted);
        assert!(trouble.message.contains(wanted) && trouble.hint.is_some(), "{trouble}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_beside_the_key_opens_the_door() {
    let Some(server) = Server::start() else { return };
    let with = |key: &str, arguments: &str| Target { key_file: Some(server.path(key)), ..server.target(arguments) };
    server.open(&with("member", "")).await.expect("the certificate counts");
    fs::rename(server.path("member-cert.pub"), server.path("elsewhere.pub")).expect("moves");
    let trouble = server.open(&with("member", "")).await.expect_err("the key alone does not");
    assert_eq!(trouble.kind, Kind::Login);
    let named = format!("-o CertificateFile={}", server.path("elsewhere.pub").display());
    server.open(&with("member", &named)).await.expect("the certificate that is named counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_older_forms_open_the_door() {
    let Some(server) = Server::start() else { return };
    for (key, passphrase) in [("old-rsa", None), ("old-ecdsa", None), ("old-locked", Some("open sesame"))] {
        let head = fs::read_to_string(server.path(key)).expect("key");
        assert!(head.starts_with("-----BEGIN RSA") || head.starts_with("-----BEGIN EC"), "{head}");
        let passphrase = passphrase.map(|text: &str| Secret::new(text.to_owned()));
        let target = Target { key_file: Some(server.path(key)), key_passphrase: passphrase, ..server.target("") };
        server.open(&target).await.unwrap_or_else(|trouble| panic!("{key}: {trouble}"));
    }
    let target = Target { key_file: Some(server.path("old-locked")), ..server.target("") };
    assert!(server.open(&target).await.expect_err("locked").message.contains("is encrypted and no passphrase was given"));
}

/// An ssh-agent that holds a key.
struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    fn with(server: &Server, key: &str) -> Self {
        let socket = server.path("agent.sock");
        let child = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().expect("ssh-agent");
        let agent = Self { child, socket };
        for _ in 0..200 {
            let added =
                Command::new("ssh-add").arg("-q").arg(server.path(key)).env("SSH_AUTH_SOCK", &agent.socket).stderr(Stdio::null()).status();
            if added.expect("ssh-add").success() {
                return agent;
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        panic!("the ssh-agent takes no key");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ssh_agent_opens_the_door_and_may_be_taken_along() {
    let Some(server) = Server::start() else { return };
    let agent = Agent::with(&server, "key");
    let asking = |arguments: &str| {
        let arguments = format!("-o IdentityAgent={} {arguments}", agent.socket.display());
        Target { key_file: None, ..server.target(&arguments) }
    };
    let session = server.open(&asking("")).await.expect("a key of the agent");
    assert_eq!(text(&shell(&session, "echo ${SSH_AUTH_SOCK:-none}").await.expect("runs"), "stdout"), "none");

    let session = server.open(&asking("-o ForwardAgent=yes")).await.expect("connects");
    let held = shell(&session, "ssh-add -L").await.expect("runs");
    assert!(fs::read_to_string(server.path("key.pub")).expect("key").starts_with(&text(&held, "stdout")), "{held:?}");

    // Of several keys only the one that is named.
    let only = format!("-o IdentitiesOnly=yes -i {}", server.path("stranger").display());
    let trouble = server.open(&asking(&only)).await.expect_err("another key");
    assert!(!trouble.message.contains("ssh-agent"), "{trouble}");
    let none = asking("-o IdentityAgent=none");
    drop(agent);
    let trouble = server.open(&none).await.expect_err("no agent");
    assert!(trouble.message.contains("the ssh-agent, as it does not answer"), "{trouble}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_option_that_is_not_understood_stops_before_connecting() {
    let Some(server) = Server::start() else { return };
    let trouble = server.open(&server.target("-o ProxyCommand=none -o Ciphers=/x")).await.expect_err("unsupported");
    assert_eq!(trouble.message, "`Ciphers` in ansible_ssh_common_args cannot be followed: windlass does not do it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_task_started_ends_with_the_connection() {
    let Some(server) = Server::start() else { return };
    let session = Arc::new(server.open(&server.target("")).await.expect("connects"));
    let mark = server.path("pid");
    let line = format!("sleep 300 & echo $! > {}; wait", mark.display());
    let other = Arc::clone(&session);
    let running = tokio::spawn(async move { shell(&other, &line).await });
    let pid = wait_for_text(&mark).await;
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    session.close().await;
    let trouble = running.await.expect("task").expect_err("lost");
    assert_eq!(trouble.kind, Kind::Lost, "{trouble}");
    wait_for_end(&pid).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_can_be_cancelled_and_the_agent_lives_on() {
    let Some(server) = Server::start() else { return };
    let session = Arc::new(server.open(&server.target("")).await.expect("connects"));
    let mark = server.path("pid");
    let line = format!("echo $$ > {}; sleep 300", mark.display());
    let other = Arc::clone(&session);
    let running = tokio::spawn(async move { shell(&other, &line).await });
    let pid = wait_for_text(&mark).await;
    session.cancel().await;
    let outcome = running.await.expect("task").expect("the agent answers");
    assert!(outcome.failure.is_some() || text(&outcome, "rc") == "137", "{outcome:?}");
    wait_for_end(&pid).await;
    assert_eq!(text(&shell(&session, "echo still here").await.expect("runs"), "stdout"), "still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_takes_too_long_is_ended() {
    let Some(server) = Server::start() else { return };
    let session = server.open(&server.target("")).await.expect("connects");
    let slow = Task { timeout: Some(1), ..task("shell", vec![arguments(&[("cmd", "sleep 60")])], Mode::Apply) };
    let since = Instant::now();
    let outcome = outcomes(&session, slow).await.expect("answers").remove(0);
    assert!(since.elapsed() < Duration::from_secs(20));
    // The module sees a program that a signal ended; the agent knows why.
    let failure = outcome.failure.map(|failure| failure.to_string());
    assert_eq!(failure.as_deref(), Some("Timed out after 1 second(s)."));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_on_the_controller_sees_the_host_and_a_check_shows_what_was_foreseen() {
    let Some(server) = Server::start() else { return };
    let session = server.open(&server.target("")).await.expect("connects");
    let path = server.path("made").to_string_lossy().into_owned();
    let file = |state: &str| arguments(&[("path", &path), ("state", state)]);
    let foreseen = outcomes(&session, task("file", vec![file("directory")], Mode::Check)).await.expect("runs").remove(0);
    assert!(foreseen.changed, "{foreseen:?}");
    assert!(!Path::new(&path).exists());
    let ask = |mode| session.ask(None, Question::Stat { path: path.clone(), follow: true }, mode);
    assert!(matches!(ask(Mode::Check).await.expect("asks").expect("answers"), Answer::Stat(Some(_))));
    assert!(matches!(ask(Mode::Apply).await.expect("asks").expect("answers"), Answer::Stat(None)));
    let control = Control {
        entry: modules::find("file").expect("module"),
        arguments: file("directory"),
        mode: Mode::Apply,
        diff: false,
        environment: Vec::new(),
        step: None,
        bound: Default::default(),
        doubt: Default::default(),
    };
    let outcome = session.control(None, control.clone()).await.expect("runs");
    assert!(outcome.changed && outcome.failure.is_none(), "{outcome:?}");
    assert!(Path::new(&path).is_dir());
    assert!(!session.control(None, control).await.expect("runs").changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_streamed_whole_and_only_once() {
    use windlass::change::{Attributes, Before, Change, Content, Plan, digest};
    let Some(server) = Server::start() else { return };
    let sessions = server.sessions();
    let session = sessions.open(&server.target("")).await.expect("connects");
    let content: Vec<u8> = (0_u32..6_000_000).flat_map(u32::to_le_bytes).collect();
    let source = server.path("large");
    fs::write(&source, &content).expect("write");
    let sha256 = digest::sha256(&content);
    sessions.offer(&sha256, &source);
    let write = |path: PathBuf, sha256: &str| {
        let after = Content::Blob { sha256: sha256.to_owned(), size: content.len() as u64 };
        let attributes = Attributes { mode: Some(0o600), ..Attributes::default() };
        Plan::one(
            "a test",
            Change::Write {
                path,
                before: Before::Absent,
                after,
                attributes,
                backup: false,
                validate: None,
                secret: false,
                in_place: false,
            },
        )
    };
    let copy = server.path("copy");
    let (done, outcome) = session.carry_out(None, write(copy.clone(), &sha256), Mode::Apply, false).await.expect("runs");
    assert!(outcome.failure.is_none() && done.len() == 1, "{outcome:?}");
    assert!(fs::read(&copy).expect("copy") == content, "the copy differs");

    // A file that is not what it was offered as is not put in place, and nothing of it stays.
    fs::write(&source, b"something else").expect("write");
    let (_, outcome) = session.carry_out(None, write(server.path("other"), &sha256), Mode::Apply, false).await.expect("runs");
    assert!(outcome.failure.is_some(), "{outcome:?}");
    assert!(!server.path("other").exists());
    let left = fs::read_dir(server.folder.path())
        .expect("folder")
        .filter(|entry| entry.as_ref().expect("entry").file_name().to_string_lossy().starts_with(".windlass-"));
    assert_eq!(left.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_line_needs_no_agent() {
    let Some(server) = Server::start() else { return };
    let session = server.open(&server.target("")).await.expect("connects");
    let output = session.raw(None, "echo out; echo err >&2; exit 3").await.expect("runs");
    assert_eq!((output.rc, output.stdout.as_slice(), output.stderr.as_slice()), (3, &b"out\n"[..], &b"err\n"[..]));
    assert!(!server.path("cache").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_answer_is_unreachable_with_its_address() {
    let Some(server) = Server::start() else { return };
    let nobody = Target { port: Some(1), ..server.target("") };
    let trouble = server.open(&nobody).await.expect_err("nobody there");
    assert_eq!((trouble.kind, trouble.message.as_str()), (Kind::Unreachable, "web1 cannot be reached at 127.0.0.1:1: connection refused"));
    let nowhere = Target { host: "no-such-host.invalid".to_owned(), ..server.target("") };
    let trouble = server.open(&nowhere).await.expect_err("nowhere");
    assert!(trouble.message.starts_with("the address of web1 is not known: looking up `no-such-host.invalid` failed"), "{trouble}");
}

async fn wait_for_text(path: &Path) -> String {
    for _ in 0..400 {
        if let Ok(text) = fs::read_to_string(path)
            && text.ends_with('\n')
        {
            return text.trim().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} does not come", path.display());
}

async fn wait_for_end(pid: &str) {
    for _ in 0..200 {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("process {pid} lives on");
}
