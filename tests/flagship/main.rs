//! The flagship playbooks against the demonstration site, over real SSH: what a check says is what a run does, a second run
//! rests, and what was lost or broken is mended.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "tests write files, start programs and tell how long they took"
)]

mod window;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};
use windlass::demo::site::Site;
use windlass::formats::keystore::Keystore;

const WINDLASS: &str = env!("CARGO_BIN_EXE_windlass");

struct Stage {
    /// Serves the site; dropping it ends everything.
    _runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
    site: Site,
}

/// What a run came to.
struct Run {
    code: Option<i32>,
    output: String,
    /// `changed=` of each host.
    changed: BTreeMap<String, u32>,
}

impl Stage {
    fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::Builder::new().prefix("windlass-flagship-").tempdir().expect("folder");
        let runtime = tokio::runtime::Runtime::new().expect("runtime");
        let path = folder.path().canonicalize().expect("folder");
        let site = runtime.block_on(Site::start(&path, Path::new(WINDLASS))).expect("the site starts");
        Self { _runtime: runtime, _folder: folder, site }
    }

    /// Runs a playbook; it has to end well.
    fn play(&self, playbook: &str, flags: &[&str]) -> Run {
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

    fn secrets(&self) -> Vec<String> {
        let text = fs::read_to_string(self.site.project().join("inventory/demo/group_vars/all/secrets.yml")).expect("secrets");
        text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    }

    fn conf(&self, node: &str) -> PathBuf {
        self.site.folder.join("hosts").join(node).join("etc/elasticsearch")
    }

    fn keystore(&self, node: &str) -> Keystore {
        Keystore::read(&fs::read(self.conf(node).join("elasticsearch.keystore")).expect("keystore"), "").expect("keystore")
    }

    fn get(&self, node: &str, path: &str) -> Json {
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

    fn connected(&self) -> Vec<bool> {
        let nodes = ["es-frankfurt-1", "es-frankfurt-2", "es-frankfurt-3"];
        nodes.iter().map(|node| self.get(node, "/_remote/info")["berlin"]["connected"] == true).collect()
    }

    /// Returns the ids of the keys that can be used.
    fn keys(&self) -> Vec<String> {
        let found = self.get("es-berlin-1", "/_security/api_key?active_only=true");
        found["api_keys"].as_array().expect("keys").iter().map(|key| key["id"].as_str().expect("id").to_owned()).collect()
    }

    fn restarts(&self) -> usize {
        ["berlin", "frankfurt"]
            .iter()
            .map(|cluster| self.site.history(cluster).expect("history").iter().filter(|line| line.ends_with(" left")).count())
            .sum()
    }
}

fn total(run: &Run) -> u32 {
    run.changed.values().sum()
}

/// Returns each task with the hosts that it changed, or would.
fn changes(run: &Run) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut task = String::new();
    for line in run.output.lines() {
        if let Some(rest) = line.strip_prefix("TASK [") {
            task = rest.split(']').next().unwrap_or_default().to_owned();
        } else if let Some(rest) = line.strip_prefix("changed: [") {
            let host = rest.split(']').next().unwrap_or_default().split(" -> ").next().unwrap_or_default().to_owned();
            let hosts = found.entry(task.clone()).or_default();
            if !hosts.contains(&host) {
                hosts.push(host);
            }
        }
    }
    found.values_mut().for_each(|hosts| hosts.sort());
    found
}

#[test]
fn two_clusters_are_connected_kept_so_and_taken_apart() {
    let stage = Stage::new();

    let check = stage.play("remote-cluster", &["--check"]);
    assert_eq!((stage.restarts(), stage.keys().len()), (0, 0), "a check touches nothing");
    let run = stage.play("remote-cluster", &[]);
    assert_eq!(stage.connected(), [true; 3]);
    assert_eq!(changes(&check), changes(&run), "the check says what the run does");
    assert_eq!(stage.restarts(), 6, "each node once");
    assert_eq!(stage.get("es-berlin-1", "/_cluster/settings?flat_settings=true")["persistent"], json!({}), "allocation is as it was");
    let again = stage.play("remote-cluster", &[]);
    assert_eq!(total(&again), 0, "{}", again.output);
    assert_eq!(total(&stage.play("verify", &[])), 0);
    assert!(
        stage.keystore("es-frankfurt-2").entries.contains_key("xpack.security.http.ssl.keystore.secure_password"),
        "what was there stays"
    );

    // A node lost its credential: the key is rotated, not doubled.
    let before = stage.keys();
    let mut store = stage.keystore("es-frankfurt-2");
    store.entries.remove("cluster.remote.berlin.credentials");
    fs::write(stage.conf("es-frankfurt-2").join("elasticsearch.keystore"), store.write("").expect("keystore")).expect("keystore");
    stage.play("remote-cluster", &[]);
    let after = stage.keys();
    assert_eq!((stage.connected(), after.len()), (vec![true; 3], 1), "{after:?}");
    assert_ne!(before, after);
    assert_eq!(total(&stage.play("remote-cluster", &[])), 0);

    // New keys without a gap.
    stage.play("rotate-api-key", &[]);
    let rotated = stage.keys();
    assert_eq!((stage.connected(), rotated.len()), (vec![true; 3], 1));
    assert_ne!(after, rotated);
    assert_eq!(stage.restarts(), 6, "a credential needs no restart");

    // Certificates are renewed only when it is time.
    let certificate = || fs::read(stage.conf("es-berlin-1").join("certs/remote-cluster.p12")).expect("p12");
    let old = certificate();
    assert_eq!(total(&stage.play("renew-certificates", &[])), 0);
    stage.play(
        "renew-certificates",
        &["-e", "elasticsearch_remote_certificate_renew_before=2000 elasticsearch_remote_certificate_days=3000"],
    );
    assert_ne!(old, certificate());
    assert_eq!(stage.connected(), [true; 3]);

    // And apart.
    stage.play("disconnect", &[]);
    assert_eq!((stage.connected(), stage.keys().len()), (vec![false; 3], 0));
    assert!(!stage.keystore("es-frankfurt-1").entries.contains_key("cluster.remote.berlin.credentials"));
    assert_eq!(total(&stage.play("disconnect", &[])), 0);
}

#[test]
fn several_sites_and_aliases_come_from_the_inventory_alone() {
    let stage = Stage::new();
    let inventory = stage.site.project().join("inventory/demo");
    let hosts = fs::read_to_string(inventory.join("hosts.yml")).expect("hosts");
    // Both sites are server and client now.
    let (head, _) = hosts.split_once("remote_cluster_servers:").expect("groups");
    let both = "  children:\n    berlin:\n    frankfurt:\n";
    fs::write(inventory.join("hosts.yml"), format!("{head}remote_cluster_servers:\n{both}remote_cluster_clients:\n{both}")).expect("hosts");
    let (_, first) = &stage.site.nodes[0];
    let frankfurt = format!(
        "---\nelasticsearch_site: frankfurt\nelasticsearch_remote_clusters:\n  berlin:\n    {{site: berlin, mode: proxy, proxy_address: '{first}:9443', \
         proxy_socket_connections: 2, skip_unavailable: true}}\n  berlin-logs:\n    {{site: berlin, mode: sniff, node_connections: 2, access: {{search: [{{names: [logs-*]}}]}}}}\n"
    );
    fs::write(inventory.join("group_vars/frankfurt/main.yml"), frankfurt).expect("variables");
    let berlin = "---\nelasticsearch_site: berlin\nelasticsearch_remote_clusters:\n  frankfurt: {site: frankfurt, access: {replication: [{names: [orders-*]}]}}\n";
    fs::write(inventory.join("group_vars/berlin/main.yml"), berlin).expect("variables");

    let check = stage.play("remote-cluster", &["--check"]);
    let run = stage.play("remote-cluster", &[]);
    assert_eq!(changes(&check), changes(&run));
    assert_eq!(total(&stage.play("remote-cluster", &[])), 0);
    let info = stage.get("es-frankfurt-3", "/_remote/info");
    assert_eq!((&info["berlin"]["mode"], &info["berlin"]["num_proxy_sockets_connected"]), (&json!("proxy"), &json!(2)), "{info}");
    assert_eq!((&info["berlin"]["skip_unavailable"], &info["berlin-logs"]["skip_unavailable"]), (&json!(true), &json!(false)));
    assert_eq!(info["berlin-logs"]["num_nodes_connected"], 2);
    assert_eq!(stage.get("es-berlin-2", "/_remote/info")["frankfurt"]["connected"], true);

    // From proxy to sniff: one request, one alias, nothing else.
    let path = inventory.join("group_vars/frankfurt/main.yml");
    let text = fs::read_to_string(&path).expect("variables");
    let start = text.find("{site: berlin, mode: proxy").expect("the alias");
    let end = start + text[start..].find('}').expect("its end") + 1;
    fs::write(&path, format!("{}{{site: berlin, mode: sniff, skip_unavailable: true}}{}", &text[..start], &text[end..]))
        .expect("variables");
    let restarts = stage.restarts();
    let switch = stage.play("remote-cluster", &[]);
    assert_eq!(total(&switch), 1, "{}", switch.output);
    assert_eq!(stage.get("es-frankfurt-1", "/_remote/info")["berlin"]["mode"], "sniff");
    assert_eq!(stage.restarts(), restarts);
}

/// OpenSSH's own servers in front of the same six hosts. As those are one machine, they can be held by one run only: one test at a time.
struct OpenSsh(Vec<std::process::Child>, #[allow(dead_code, reason = "held until the servers end")] std::sync::MutexGuard<'static, ()>);

static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());

impl Drop for OpenSsh {
    fn drop(&mut self) {
        for server in &mut self.0 {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

impl OpenSsh {
    const PORT: u16 = 2200;

    /// Starts a server for each node, and returns the flags that make a playbook use them.
    fn start(stage: &Stage) -> Option<(Self, Vec<String>)> {
        if !Path::new("/usr/sbin/sshd").exists() {
            eprintln!("SKIPPED: openssh-server is not installed (tests/run installs it)");
            assert!(std::env::var_os("CI").is_none(), "in CI there is sshd");
            return None;
        }
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let folder = stage.site.folder.join("sshd");
        fs::create_dir(&folder).expect("folder");
        let _ = fs::create_dir_all("/run/sshd");
        let public =
            Command::new("ssh-keygen").arg("-y").arg("-f").arg(stage.site.folder.join("ssh/id_ed25519")).output().expect("ssh-keygen");
        fs::write(folder.join("authorized_keys"), public.stdout).expect("write");
        let mut known = String::new();
        let mut servers = Vec::new();
        for (node, address) in &stage.site.nodes {
            let key = folder.join(node);
            let made =
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&key).status().expect("ssh-keygen");
            assert!(made.success());
            let line = fs::read_to_string(folder.join(format!("{node}.pub"))).expect("key");
            known += &format!("[{address}]:{} {line}", Self::PORT);
            let host = stage.site.folder.join("hosts").join(node);
            let config = format!(
                "ListenAddress {address}:{}\nHostKey {}\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\n\
                 AuthorizedKeysFile {}\nMaxStartups 100\nSetEnv HOME={} PATH={}:/usr/local/bin:/usr/bin:/bin\n",
                Self::PORT,
                key.display(),
                folder.join("authorized_keys").display(),
                host.join("home").display(),
                host.join("bin").display(),
            );
            let path = folder.join(format!("{node}.conf"));
            fs::write(&path, config).expect("write");
            servers.push(Command::new("/usr/sbin/sshd").arg("-D").arg("-f").arg(path).stderr(Stdio::null()).spawn().expect("sshd"));
        }
        fs::write(folder.join("known_hosts"), known).expect("write");
        let (_, last) = stage.site.nodes.last().expect("a node");
        for _ in 0..100 {
            if std::net::TcpStream::connect((*last, Self::PORT)).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let me = Command::new("id").arg("-un").output().expect("id");
        let me = String::from_utf8_lossy(&me.stdout).trim().to_owned();
        let arguments = format!(
            "-o UserKnownHostsFile={} -o GlobalKnownHostsFile=none -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes",
            folder.join("known_hosts").display()
        );
        let variables = json!({"ansible_port": Self::PORT, "ansible_user": me, "ansible_ssh_common_args": arguments});
        Some((Self(servers, turn), vec!["-e".to_owned(), variables.to_string()]))
    }
}

#[test]
fn the_job_is_done_over_openssh_on_three_and_three_hosts() {
    let stage = Stage::new();
    let Some((_servers, flags)) = OpenSsh::start(&stage) else { return };
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let timed = |name: &str, more: &[&str]| {
        let began = std::time::Instant::now();
        let run = stage.play("remote-cluster", &[&flags[..], more].concat());
        println!("{name}: {:.1} s", began.elapsed().as_secs_f64());
        run
    };
    let check = timed("check", &["--check"]);
    let run = timed("first run", &[]);
    assert_eq!(changes(&check), changes(&run), "the check says what the run does");
    assert_eq!(stage.connected(), [true; 3]);
    let again = timed("second run", &[]);
    assert_eq!(total(&again), 0, "{}", again.output);
    for node in ["es-berlin-1", "es-berlin-2", "es-berlin-3"] {
        let store = stage.conf(node).join("certs/remote-cluster.p12");
        let password = fs::read_to_string(stage.site.project().join("inventory/demo/group_vars/all/secrets.yml")).expect("secrets");
        let password = password
            .lines()
            .find_map(|line| line.strip_prefix("demo_certificate_password: "))
            .expect("password")
            .trim_matches('"')
            .to_owned();
        let Ok(listed) = Command::new("keytool")
            .args(["-list", "-storetype", "PKCS12", "-keystore"])
            .arg(&store)
            .arg("-storepass")
            .arg(password)
            .output()
        else {
            eprintln!("SKIPPED: keytool is not installed (tests/run installs it)");
            return;
        };
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(listed.contains("PrivateKeyEntry") && listed.contains("trustedCertEntry"), "{listed}");
    }
}
