//! The demonstration site: two clusters of three nodes, six SSH hosts, and a project folder, all in one private folder.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::task::JoinSet;

use super::content;
use super::elasticsearch::{Simulator, site};
use super::host::{Host, install_systemctl, new_key};
use crate::formats::certificates::{Authority, Wish, new_authority};
use crate::formats::keystore::{Entry, Keystore};
use crate::formats::pkcs12;
use crate::formats::private_key::{KeyKind, PrivateKey};

/// What a node of the demonstration runs.
const VERSION: &str = "8.15.0";
/// The keystore format of that version.
const KEYSTORE: u32 = 6;
/// The addresses of the inventory begin so.
const NETWORK: &str = "127.77.";
/// The port that hosts have for SSH.
const SSH: u16 = 2222;
/// Clusters, with the number of their addresses.
const CLUSTERS: &[(&str, u8)] = &[("berlin", 1), ("frankfurt", 2)];
/// Nodes of a cluster.
const NODES: u8 = 3;

/// A site that is being served.
#[derive(Debug)]
pub struct Site {
    /// The private folder.
    pub folder: PathBuf,
    /// The password of the user `elastic`.
    pub password: String,
    /// Names and addresses of the nodes.
    pub nodes: Vec<(String, IpAddr)>,
    tasks: JoinSet<()>,
    /// Held as long as the addresses are ours, so that a second site takes others.
    _claim: TcpListener,
}

impl Site {
    /// Makes everything in `folder`, and starts hosts and nodes. `program` is this program, which `systemctl` calls.
    ///
    /// # Errors
    /// With a sentence for the user.
    pub async fn start(folder: &Path, program: &Path) -> Result<Self, String> {
        let told = |what: &str| {
            let what = what.to_owned();
            move |error: io::Error| format!("cannot {what}: {error}")
        };
        let (network, claim) = free_network()
            .ok_or("no addresses are free for the demonstration: it needs ports 2222, 9200, 9300 and 9443 on some 127.x.y.z")?;
        let secrets = Secrets { elastic: word(), certificate: word(), authority: word(), http: word() };
        write_project(&folder.join("project"), &network, &secrets).map_err(told("write the project"))?;

        let login = new_key();
        let ssh = folder.join("ssh");
        fs::create_dir_all(&ssh).map_err(told("make the folder for keys"))?;
        let pem = login.to_openssh(russh::keys::ssh_key::LineEnding::LF).map_err(|error| format!("cannot write the login key: {error}"))?;
        write_private(&ssh.join("id_ed25519"), pem.as_bytes()).map_err(told("write the login key"))?;

        let description = describe(folder, &secrets);
        let authority = authority().map_err(|error| format!("cannot make the clusters' authority: {error}"))?;
        let mut known_hosts = String::new();
        let mut tasks = JoinSet::new();
        let mut nodes = Vec::new();
        for (cluster, number) in CLUSTERS {
            for at in 1..=NODES {
                let name = format!("es-{cluster}-{at}");
                let ip: IpAddr = format!("{network}{number}.{at}").parse().map_err(|error| format!("{error}"))?;
                let host = Host {
                    address: SocketAddr::new(ip, SSH),
                    folder: folder.join("hosts").join(&name),
                    host_key: new_key(),
                    login: login.public_key().clone(),
                    name: name.clone(),
                };
                furnish(&host, cluster, &network, *number, &authority, &secrets)
                    .map_err(|error| format!("cannot furnish the host `{name}`: {error}"))?;
                install_systemctl(&host.folder, program, &description.state, &name).map_err(told("write systemctl"))?;
                known_hosts.push_str(&host.known_hosts_line().map_err(told("write known_hosts"))?);
                tasks.spawn(host.listen().await.map_err(told("listen for SSH"))?);
                nodes.push((name, ip));
            }
        }
        fs::write(ssh.join("known_hosts"), known_hosts).map_err(told("write known_hosts"))?;
        let simulator = Simulator::prepare(&description, &[]).map_err(told("start the clusters"))?;
        simulator.start().await?;
        tasks.spawn(simulator.serve());
        Ok(Self { folder: folder.to_owned(), password: secrets.elastic, nodes, tasks, _claim: claim })
    }

    /// Returns the folder with playbooks, roles and the inventory.
    pub fn project(&self) -> PathBuf {
        self.folder.join("project")
    }

    /// Returns the authority of the nodes' HTTP certificates.
    pub fn http_authority(&self) -> Option<PathBuf> {
        let (name, _) = self.nodes.first()?;
        Some(self.folder.join("hosts").join(name).join("etc/elasticsearch/certs/http_ca.crt"))
    }

    /// Returns what happened to a cluster, oldest first.
    ///
    /// # Errors
    /// When its state cannot be read.
    pub fn history(&self, cluster: &str) -> io::Result<Vec<String>> {
        let text = fs::read(self.folder.join("state").join(format!("{cluster}.json")))?;
        let state: serde_json::Value = serde_json::from_slice(&text)?;
        let lines = state["history"].as_array().into_iter().flatten().filter_map(|line| line.as_str().map(str::to_owned));
        Ok(lines.collect())
    }

    /// Serves until it is dropped.
    pub async fn serve(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Passwords, made anew for each demonstration.
struct Secrets {
    elastic: String,
    certificate: String,
    authority: String,
    http: String,
}

fn word() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 15]>())
}

/// Returns the beginning of addresses on which every port that is needed is free, and what claims them: sites that
/// start at the same time must not choose the same.
fn free_network() -> Option<(String, TcpListener)> {
    let networks = std::iter::once(NETWORK.to_owned()).chain((78..120).map(|number| format!("127.{number}.")));
    let listener = |network: &str, number: u8, at: u8, port: u16| {
        let ip: IpAddr = format!("{network}{number}.{at}").parse().ok()?;
        TcpListener::bind(SocketAddr::new(ip, port)).ok()
    };
    networks.into_iter().find_map(|network| {
        let claim = listener(&network, 0, 1, SSH)?;
        let mut addresses = CLUSTERS.iter().flat_map(|(_, number)| (1..=NODES).map(move |at| (*number, at)));
        let free = addresses.all(|(number, at)| [SSH, 9200, 9300, 9443].iter().all(|port| listener(&network, number, at, *port).is_some()));
        free.then_some((network, claim))
    })
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

/// Writes playbooks, roles and the inventory, and the secrets beside it.
fn write_project(project: &Path, network: &str, secrets: &Secrets) -> io::Result<()> {
    for (path, text) in content::FILES {
        let path = project.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let text = if path.ends_with("inventory/demo/hosts.yml") { text.replace(NETWORK, network) } else { (*text).to_owned() };
        fs::write(path, text)?;
    }
    let text = format!(
        "---\n# Made for this demonstration only. On real sites such a file is vaulted.\n\
         demo_elasticsearch_password: {}\ndemo_certificate_password: {}\ndemo_ca_passphrase: {}\n",
        yaml(&secrets.elastic),
        yaml(&secrets.certificate),
        yaml(&secrets.authority)
    );
    write_private(&project.join("inventory/demo/group_vars/all/secrets.yml"), text.as_bytes())
}

fn yaml(text: &str) -> String {
    format!("\"{text}\"")
}

fn describe(folder: &Path, secrets: &Secrets) -> site::Description {
    let mut clusters = BTreeMap::new();
    let mut nodes = BTreeMap::new();
    for (cluster, _) in CLUSTERS {
        let elastic = site::User { password: secrets.elastic.clone(), roles: vec!["superuser".to_owned()] };
        clusters.insert(
            (*cluster).to_owned(),
            site::Cluster {
                version: VERSION.to_owned(),
                license: "trial".to_owned(),
                users: BTreeMap::from([("elastic".to_owned(), elastic)]),
                roles: BTreeMap::new(),
            },
        );
        for at in 1..=NODES {
            let name = format!("es-{cluster}-{at}");
            let host = folder.join("hosts").join(&name);
            let node = site::Node {
                cluster: (*cluster).to_owned(),
                conf: host.join("etc/elasticsearch"),
                log: host.join("var/log/elasticsearch").join(format!("{cluster}.log")),
                keystore_password: String::new(),
                names: BTreeMap::new(),
            };
            nodes.insert(name, node);
        }
    }
    site::Description { state: folder.join("state"), clusters, nodes, pace: 150 }
}

fn authority() -> Result<Authority, String> {
    let now = jiff::Timestamp::now().as_second();
    let wish = Wish {
        subject: "CN=HTTP authority of the demonstration".to_owned(),
        not_before: now - 60,
        not_after: now + 86_400 * 30,
        ..Wish::default()
    };
    let key = PrivateKey::generate(KeyKind::EcP256).map_err(|error| error.to_string())?;
    let certificate = new_authority(&wish, &key).map_err(|error| error.to_string())?;
    Authority::new(vec![certificate], key).map_err(|error| error.to_string())
}

/// Puts a running node's files on a host: settings with comments, a keystore with secrets, certificates for HTTP.
fn furnish(host: &Host, cluster: &str, network: &str, number: u8, authority: &Authority, secrets: &Secrets) -> Result<(), String> {
    let told = |error: io::Error| error.to_string();
    let conf = host.folder.join("etc/elasticsearch");
    fs::create_dir_all(conf.join("certs")).map_err(told)?;
    fs::create_dir_all(host.home()).map_err(told)?;
    fs::set_permissions(&conf, fs::Permissions::from_mode(0o2750)).map_err(told)?;

    let key = PrivateKey::generate(KeyKind::EcP256).map_err(|error| error.to_string())?;
    let now = jiff::Timestamp::now().as_second();
    let wish = Wish {
        subject: host.name.clone(),
        dns: vec![host.name.clone()],
        ip: vec![host.address.ip()],
        not_before: now - 60,
        not_after: now + 86_400 * 20,
    };
    let certificate = authority.issue(&wish, &key).map_err(|error| error.to_string())?;
    let trusted = vec![("ca".to_owned(), authority.certificate.clone())];
    let store = pkcs12::Store { alias: "http".to_owned(), key, chain: vec![certificate], trusted };
    let bytes = store.write(&secrets.http).map_err(|error| error.to_string())?;
    write_private(&conf.join("certs/http.p12"), &bytes).map_err(told)?;
    fs::write(conf.join("certs/http_ca.crt"), authority.certificate.to_pem()).map_err(told)?;

    let mut keystore = Keystore::new(KEYSTORE).map_err(|error| error.to_string())?;
    keystore.ensure_seed().map_err(|error| error.to_string())?;
    for context in ["http", "transport"] {
        keystore.entries.insert(format!("xpack.security.{context}.ssl.keystore.secure_password"), Entry::text(&secrets.http));
    }
    keystore.entries.insert("xpack.security.transport.ssl.truststore.secure_password".to_owned(), Entry::text(&secrets.http));
    let bytes = keystore.write("").map_err(|error| error.to_string())?;
    write_private(&conf.join("elasticsearch.keystore"), &bytes).map_err(told)?;
    fs::set_permissions(conf.join("elasticsearch.keystore"), fs::Permissions::from_mode(0o660)).map_err(told)?;

    let seeds: Vec<_> = (1..=NODES).map(|at| format!("  - {network}{number}.{at}:9300\n")).collect();
    let text = SETTINGS
        .replace("CLUSTER", cluster)
        .replace("NODE", &host.name)
        .replace("ADDRESS", &host.address.ip().to_string())
        .replace("DATA", &host.folder.join("var/lib/elasticsearch").display().to_string())
        .replace("SEEDS\n", &seeds.concat());
    fs::write(conf.join("elasticsearch.yml"), text).map_err(told)
}

/// `elasticsearch.yml` as an operator left it: comments, dotted and nested names side by side.
const SETTINGS: &str = r#"# ---------------------------------- Cluster -----------------------------------
cluster.name: CLUSTER
node.name: NODE        # as in the inventory

# ----------------------------------- Paths ------------------------------------
path:
  data: DATA

# ---------------------------------- Network -----------------------------------
network.host: ADDRESS
http.port: 9200

discovery.seed_hosts:
SEEDS
# ---------------------------------- Security ----------------------------------
xpack.security.enabled: true
xpack.security.http.ssl:
  enabled: true
  keystore.path: certs/http.p12
xpack.security.transport.ssl:
  enabled: true
  verification_mode: certificate
  keystore.path: certs/http.p12
  truststore.path: certs/http.p12
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_site_starts_and_answers_over_https() {
        let folder = tempfile::tempdir().expect("folder");
        let site = Site::start(folder.path(), Path::new("windlass")).await.expect("starts");
        let (_, ip) = site.nodes[0];
        let pem = fs::read(site.http_authority().expect("authority")).expect("pem");
        let password = site.password.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let _ = rustls::crypto::ring::default_provider().install_default();
            let authority = reqwest::Certificate::from_pem(&pem).expect("certificate");
            let client = reqwest::blocking::Client::builder().tls_certs_only([authority]).build().expect("client");
            let get = |path: &str, password: &str| {
                let url = format!("https://{ip}:9200{path}");
                client.get(url).basic_auth("elastic", Some(password)).send().expect("answers")
            };
            assert_eq!(get("/", "wrong").status(), 401);
            get("/_cluster/health?wait_for_status=green&timeout=10s", &password).text().expect("text")
        });
        let answer: serde_json::Value = serde_json::from_str(&answer.await.expect("runs")).expect("json");
        assert_eq!((answer["status"].as_str(), answer["number_of_nodes"].as_u64()), (Some("green"), Some(3)), "{answer}");
    }
}
