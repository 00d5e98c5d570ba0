//! The demonstration site for the tests of the flagship playbooks: six hosts and two simulated clusters, and OpenSSH's own
//! servers in front of them.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test starts programs, lays out its own files and says why it is skipped"
)]

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value as Json, json};
use windlass::demo::site::Site;
use windlass::formats::keystore::Keystore;

/// The built program.
pub const WINDLASS: &str = env!("CARGO_BIN_EXE_windlass");

/// The demonstration site, served by this process.
pub struct Stage {
    /// Serves the site; dropping it ends everything.
    _runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
    /// The site.
    pub site: Site,
}

/// What a run came to.
pub struct Run {
    /// Its exit code.
    pub code: Option<i32>,
    /// All that it printed.
    pub output: String,
    /// `changed=` of each host.
    pub changed: BTreeMap<String, u32>,
}

impl Stage {
    /// Starts a site.
    pub fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::Builder::new().prefix("windlass-flagship-").tempdir().expect("folder");
        let runtime = tokio::runtime::Runtime::new().expect("runtime");
        let path = folder.path().canonicalize().expect("folder");
        let site = runtime.block_on(Site::start(&path, Path::new(WINDLASS))).expect("the site starts");
        Self { _runtime: runtime, _folder: folder, site }
    }

    /// Runs a playbook; it has to end well.
    pub fn play(&self, playbook: &str, flags: &[&str]) -> Run {
        let run = self.try_play(playbook, flags);
        assert_eq!(run.code, Some(0), "{playbook} {flags:?}\n{}", run.output);
        run
    }

    fn try_play(&self, playbook: &str, flags: &[&str]) -> Run {
        let mut command = Command::new(WINDLASS);
        command.args(["playbook", "-i", "inventory/demo", "--output", "ansible"]).arg(format!("playbooks/{playbook}.yml")).args(flags);
        command.current_dir(self.site.project()).stdin(Stdio::null()).env_remove("SSH_AUTH_SOCK").env("NO_COLOR", "1");
        let done = command.output().expect("runs");
        let output = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
        let mut changed = BTreeMap::new();
        for line in output.lines().filter(|line| line.contains("ok=") && line.contains("unreachable=")) {
            let host = line.split(':').next().unwrap_or_default().trim().to_owned();
            let count = line.split("changed=").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
            changed.insert(host, count.expect("a count"));
        }
        for secret in self.secrets() {
            assert!(!output.contains(&secret), "a secret is in the output of {playbook}");
        }
        Run { code: done.status.code(), output, changed }
    }

    /// Returns the site's passwords.
    pub fn secrets(&self) -> Vec<String> {
        let text = fs::read_to_string(self.site.project().join("inventory/demo/group_vars/all/secrets.yml")).expect("secrets");
        text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// Returns the folder of a node's settings.
    pub fn conf(&self, node: &str) -> PathBuf {
        self.site.folder.join("hosts").join(node).join("etc/elasticsearch")
    }

    /// Returns a node's keystore.
    pub fn keystore(&self, node: &str) -> Keystore {
        Keystore::read(&fs::read(self.conf(node).join("elasticsearch.keystore")).expect("keystore"), "").expect("keystore")
    }

    /// Returns what a node answers.
    pub fn get(&self, node: &str, path: &str) -> Json {
        let (_, address) = self.site.nodes.iter().find(|(name, _)| name == node).expect("a node");
        let pem = fs::read(self.site.http_authority().expect("authority")).expect("authority");
        let authority = reqwest::Certificate::from_pem(&pem).expect("certificate");
        let client = reqwest::blocking::Client::builder().tls_certs_only([authority]).no_proxy().build().expect("client");
        let url = format!("https://{address}:9200{path}");
        client
            .get(url)
            .basic_auth("elastic", Some(&self.site.password))
            .send()
            .and_then(reqwest::blocking::Response::json)
            .expect("an answer")
    }

    /// Whether each node of the client site is connected.
    pub fn connected(&self) -> Vec<bool> {
        let nodes = ["es-frankfurt-1", "es-frankfurt-2", "es-frankfurt-3"];
        nodes.iter().map(|node| self.get(node, "/_remote/info")["berlin"]["connected"] == true).collect()
    }

    /// Returns the ids of the keys that can be used.
    pub fn keys(&self) -> Vec<String> {
        let found = self.get("es-berlin-1", "/_security/api_key?active_only=true");
        found["api_keys"].as_array().expect("keys").iter().map(|key| key["id"].as_str().expect("id").to_owned()).collect()
    }

    /// Returns how often nodes were restarted.
    pub fn restarts(&self) -> usize {
        self.restarted().values().sum()
    }

    /// Returns how often each node was restarted, of those that were.
    pub fn restarted(&self) -> BTreeMap<String, usize> {
        let mut nodes = BTreeMap::new();
        for line in ["berlin", "frankfurt"].iter().flat_map(|cluster| self.site.history(cluster).expect("history")) {
            if let Some(node) = line.strip_suffix(" left") {
                *nodes.entry(node.to_owned()).or_default() += 1;
            }
        }
        nodes
    }
}

/// OpenSSH's own servers in front of the same six hosts.
pub struct OpenSsh {
    servers: Vec<Server>,
    folder: PathBuf,
}

struct Server {
    node: String,
    address: IpAddr,
    child: Child,
}

impl Drop for OpenSsh {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.child.kill();
            let _ = server.child.wait();
        }
    }
}

impl OpenSsh {
    /// Where the servers listen.
    pub const PORT: u16 = 2200;

    /// Where something between client and server may listen: the clients know this port too.
    pub const BETWEEN: u16 = 2201;

    /// Starts a server for each node, and returns the flags that make a playbook use them.
    pub fn start(stage: &Stage) -> Option<(Self, Vec<String>)> {
        if !Path::new("/usr/sbin/sshd").exists() {
            eprintln!("SKIPPED: openssh-server is not installed (tests/run installs it)");
            assert!(std::env::var_os("CI").is_none(), "in CI there is sshd");
            return None;
        }
        let folder = stage.site.folder.join("sshd");
        fs::create_dir(&folder).expect("folder");
        let _ = fs::create_dir_all("/run/sshd");
        let public =
            Command::new("ssh-keygen").arg("-y").arg("-f").arg(stage.site.folder.join("ssh/id_ed25519")).output().expect("ssh-keygen");
        fs::write(folder.join("authorized_keys"), public.stdout).expect("write");
        let mut known = String::new();
        let mut all = Self { servers: Vec::new(), folder: folder.clone() };
        for (node, address) in &stage.site.nodes {
            let key = folder.join(node);
            let made =
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&key).status().expect("ssh-keygen");
            assert!(made.success());
            let line = fs::read_to_string(folder.join(format!("{node}.pub"))).expect("key");
            known += &format!("[{address}]:{},[{address}]:{} {line}", Self::PORT, Self::BETWEEN);
            let host = stage.site.folder.join("hosts").join(node);
            // All hosts share one network name space: each has a lease of its own.
            let config = format!(
                "ListenAddress {address}:{}\nHostKey {}\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\n\
                 AuthorizedKeysFile {}\nMaxStartups 100\nSetEnv HOME={} WINDLASS_LEASE_SCOPE={} PATH={}:/usr/local/bin:/usr/bin:/bin\n",
                Self::PORT,
                key.display(),
                folder.join("authorized_keys").display(),
                host.join("home").display(),
                host.display(),
                host.join("bin").display(),
            );
            fs::write(folder.join(format!("{node}.conf")), config).expect("write");
            all.servers.push(Server { node: node.clone(), address: *address, child: listen(&folder, node, *address) });
        }
        fs::write(folder.join("known_hosts"), known).expect("write");
        let me = Command::new("id").arg("-un").output().expect("id");
        let me = String::from_utf8_lossy(&me.stdout).trim().to_owned();
        let arguments = format!(
            "-o UserKnownHostsFile={} -o GlobalKnownHostsFile=none -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes",
            folder.join("known_hosts").display()
        );
        let variables = json!({"ansible_port": Self::PORT, "ansible_user": me, "ansible_ssh_common_args": arguments});
        Some((all, vec!["-e".to_owned(), variables.to_string()]))
    }

    /// Kills a node's server with all its sessions, and starts it again. What the sessions had started lives on.
    pub fn kill(&mut self, node: &str) {
        let Some(server) = self.servers.iter_mut().find(|server| server.node == node) else { return };
        let sessions = descendants(server.child.id()).into_iter().filter(|process| name_of(*process).starts_with("sshd"));
        let sessions: Vec<u32> = sessions.collect();
        let _ = server.child.kill();
        sessions.into_iter().for_each(end);
        let _ = server.child.wait();
        server.child = listen(&self.folder, node, server.address);
    }
}

/// Starts the server of a node, and waits until it answers.
fn listen(folder: &Path, node: &str, address: IpAddr) -> Child {
    let config = folder.join(format!("{node}.conf"));
    let child = Command::new("/usr/sbin/sshd").arg("-D").arg("-f").arg(config).stderr(Stdio::null()).spawn().expect("sshd");
    for _ in 0..100 {
        if TcpStream::connect((address, OpenSsh::PORT)).is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child
}

/// Ends the agents whose programs are below a folder, but not what looks after their leavings; returns how many there were.
pub fn kill_agents(home: &Path) -> usize {
    let agents = processes().into_iter().filter(|process| {
        let is_own = fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|program| program.starts_with(home));
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        is_own && line.split(|byte| *byte == 0).nth(1) == Some(b"agent-serve")
    });
    let agents: Vec<u32> = agents.collect();
    agents.iter().copied().for_each(end);
    agents.len()
}

/// Whether a process of windlass is left on any node.
pub fn has_agents(stage: &Stage) -> bool {
    let hosts = stage.site.folder.join("hosts");
    let is_ours = |process: &u32| fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|program| program.starts_with(&hosts));
    processes().iter().any(is_ours)
}

fn end(process: u32) {
    let process = nix::unistd::Pid::from_raw(i32::try_from(process).expect("a process"));
    let _ = nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL);
}

fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn name_of(process: u32) -> String {
    fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default()
}

/// Returns what a process started, and what that started.
fn descendants(process: u32) -> Vec<u32> {
    let parent = |child: u32| {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let all: Vec<(u32, u32)> = processes().into_iter().filter_map(|child| Some((child, parent(child)?))).collect();
    let mut found = vec![process];
    let mut at = 0;
    while let Some(one) = found.get(at).copied() {
        found.extend(all.iter().filter(|(_, parent)| *parent == one).map(|(child, _)| *child));
        at += 1;
    }
    found.split_off(1)
}
