//! A node: it starts by its files, listens, and can be stopped and started again.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::{ClientConfig, ServerConfig};
use serde_json::Value as Json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::answer::Refusal;
use super::files::{self, Secrets, Settings};
use super::site;
use super::state::{Cluster, Member, Store, identifier};
use super::tls::{Files, Watched};
use super::{control, http, remote};

/// The nodes of a process, running.
#[derive(Debug)]
pub struct Simulator {
    nodes: Vec<Arc<Node>>,
    controls: JoinSet<()>,
}

impl Simulator {
    /// Makes nodes ready to be controlled; those named by `only`, or all. They do not run yet.
    ///
    /// # Errors
    /// When the shared folder cannot be used.
    pub fn prepare(description: &site::Description, only: &[String]) -> io::Result<Self> {
        fs::create_dir_all(&description.state)?;
        let mut controls = JoinSet::new();
        let mut nodes = Vec::new();
        for (name, place) in description.nodes.iter().filter(|(name, _)| only.is_empty() || only.contains(name)) {
            let Some(cluster) = description.clusters.get(&place.cluster) else {
                return Err(io::Error::other(format!("node `{name}` is of cluster `{}`, which is not described", place.cluster)));
            };
            let node = Arc::new(Node {
                name: name.clone(),
                version: cluster.version.clone(),
                place: place.clone(),
                state: description.state.clone(),
                store: Store::new(&description.state, &place.cluster, cluster),
                pace: Duration::from_millis(description.pace),
                running: Mutex::new(None),
            });
            controls.spawn(control::serve(node.clone())?);
            nodes.push(node);
        }
        Ok(Self { nodes, controls })
    }

    /// Starts every node.
    ///
    /// # Errors
    /// When one does not start, with the words of its log.
    pub async fn start(&self) -> Result<(), String> {
        for node in &self.nodes {
            node.start().await.map_err(|why| format!("node `{}` does not start: {why}", node.name))?;
        }
        Ok(())
    }

    /// Serves until the task is dropped.
    pub async fn serve(mut self) {
        while self.controls.join_next().await.is_some() {}
    }
}

/// A node, running or not.
#[derive(Debug)]
pub struct Node {
    /// `node.name`.
    pub name: String,
    /// The version of Elasticsearch.
    pub version: String,
    /// Where its files are.
    pub place: site::Node,
    /// The shared folder.
    pub state: std::path::PathBuf,
    store: Store,
    pace: Duration,
    running: Mutex<Option<Running>>,
}

/// What a node holds while it runs.
#[derive(Debug)]
pub struct Running {
    /// Its settings, as read at the start.
    pub settings: Settings,
    /// Its keystore, as loaded last.
    pub secrets: Secrets,
    /// Trust for connections to remote clusters, where it is set up.
    pub client: Option<Arc<Watched<ClientConfig>>>,
    /// Locked while it runs; see `Member::sign`.
    _sign: File,
    /// The listeners and their connections; dropping it ends them all.
    _listeners: JoinSet<()>,
}

impl Node {
    /// Returns the cluster as it is.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn cluster(&self) -> Result<Cluster, Refusal> {
        self.store.read().map_err(|error| Refusal::broken(&error))
    }

    /// Changes the cluster.
    ///
    /// # Errors
    /// What `change` refuses, or when the state cannot be written.
    pub fn update(&self, change: impl FnOnce(&mut Cluster) -> Result<(), Refusal>) -> Result<(), Refusal> {
        self.store.update(change).map_err(|error| Refusal::broken(&error))?
    }

    /// Whether its version is `major.minor` or later.
    pub fn is_at_least(&self, major: u32, minor: u32) -> bool {
        files::is_at_least(&self.version, major, minor)
    }

    /// Returns what `look` sees of the running node, or `None` while it is down.
    pub fn with_running<T>(&self, look: impl FnOnce(&mut Running) -> T) -> Option<T> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(look)
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        self.with_running(|_| ()).is_some()
    }

    /// Writes a line into its log.
    pub fn log(&self, level: &str, class: &str, message: &str) {
        let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S,%L").to_string();
        let line = format!("[{time}][{level:<5}][{class}] [{}] {message}\n", self.name);
        if let Some(folder) = self.place.log.parent() {
            let _ = fs::create_dir_all(folder);
        }
        let file = OpenOptions::new().create(true).append(true).open(&self.place.log);
        // A log that cannot be written must not stop the node.
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }

    /// Starts it by its files.
    ///
    /// # Errors
    /// With the words of its log.
    pub async fn start(self: &Arc<Self>) -> Result<(), String> {
        if self.is_running() {
            return Ok(());
        }
        tokio::time::sleep(self.pace).await;
        match self.try_start().await {
            Ok(()) => {
                self.log("INFO", "o.e.n.Node", "started");
                Ok(())
            }
            Err(why) => {
                self.log("ERROR", "o.e.b.Elasticsearch", &format!("fatal exception while booting Elasticsearch: {why}"));
                Err(why)
            }
        }
    }

    async fn try_start(self: &Arc<Self>) -> Result<(), String> {
        let conf = &self.place.conf;
        let started = super::state::now();
        let settings = files::settings(conf)?;
        let secrets = files::secrets(conf, &self.place.keystore_password, &self.version)?;
        check_names(&settings, &self.name, &self.place.cluster)?;
        let address = |kind: &str, default: u16| address(&settings, kind, default);
        let mut listeners = JoinSet::new();

        let http = address("http", 9200)?;
        let tls = listener_tls("http", conf, &settings, &secrets, false)?;
        listeners.spawn(http::serve(self.clone(), bind(http, "http").await?, tls));

        let transport = address("transport", 9300)?;
        listener_tls("transport", conf, &settings, &secrets, false)?;
        let socket = bind(transport, "transport").await?;
        // The transport port belongs to the nodes of the cluster: whoever else comes is turned away.
        listeners.spawn(async move { while socket.accept().await.is_ok() {} });

        let mut published = None;
        if files::switch(&settings, "remote_cluster_server.enabled", false)? {
            let server = address("remote_cluster", 9443)?;
            let tls = listener_tls("remote_cluster_server", conf, &settings, &secrets, true)?;
            listeners.spawn(remote::serve(self.clone(), bind(server, "remote_cluster").await?, tls));
            published = Some(publish(&settings, server));
        }
        let client = client_tls(conf, &settings, &secrets)?;
        let sign = self.state.join(format!("{}.running", self.name));
        let lock = File::create(&sign).and_then(|file| file.lock().map(|()| file)).map_err(|error| error.to_string())?;
        let member = |before: Option<&Member>| Member {
            id: before.map_or_else(identifier, |before| before.id.clone()),
            process: Some(std::process::id()),
            sign: sign.clone(),
            starts: before.map_or(0, |before| before.starts) + 1,
            started,
            http: http.to_string(),
            transport: transport.to_string(),
            remote: published.as_ref().map(ToString::to_string),
            roles: roles(&settings),
            settings: settings.clone(),
        };
        self.store
            .change(|cluster| {
                let member = member(cluster.members.get(&self.name));
                cluster.note(format!("{} joined", self.name));
                cluster.members.insert(self.name.clone(), member);
            })
            .map_err(|error| error.to_string())?;
        let running = Running { settings, secrets, client, _sign: lock, _listeners: listeners };
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        Ok(())
    }

    /// Stops it.
    pub async fn stop(&self) {
        let was = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(was) = was else { return };
        drop(was);
        let left = self.store.change(|cluster| {
            cluster.note(format!("{} left", self.name));
            let others = cluster.members.len() > 1;
            if let Some(member) = cluster.members.get_mut(&self.name) {
                member.process = None;
                cluster.degraded |= others && member.has_data();
            }
            cluster.recovering = None;
        });
        if let Err(error) = left {
            self.log("ERROR", "o.e.n.Node", &format!("cannot leave: {error}"));
        }
        self.log("INFO", "o.e.n.Node", "stopped");
        tokio::time::sleep(self.pace).await;
    }

    /// Loads the reloadable part of the keystore anew.
    ///
    /// # Errors
    /// With type and reason, as the API tells it.
    pub fn reload(&self, password: Option<&str>) -> Result<Secrets, (String, String)> {
        let own = password.unwrap_or_default();
        if self.place.keystore_password != own {
            return Err(("security_exception".to_owned(), "Provided keystore password was incorrect".to_owned()));
        }
        let fresh = files::secrets(&self.place.conf, own, &self.version).map_err(|why| ("illegal_argument_exception".to_owned(), why))?;
        let loaded = self.with_running(|running| {
            let kept = running.secrets.entries.iter().filter(|(name, _)| !super::settings::is_reloadable(name));
            let mut entries: BTreeMap<_, _> = kept.map(|(name, value)| (name.clone(), value.clone())).collect();
            entries.extend(fresh.entries.clone().into_iter().filter(|(name, _)| super::settings::is_reloadable(name)));
            running.secrets = Secrets { entries, ..fresh.clone() };
        });
        loaded.map(|()| fresh).ok_or_else(|| ("node_closed_exception".to_owned(), "node closed".to_owned()))
    }
}

fn check_names(settings: &Settings, node: &str, cluster: &str) -> Result<(), String> {
    let named = |key: &str, expected: &str| match files::text(settings, key) {
        Some(found) if found != expected => Err(format!("`{key}` is [{found}], but this node is [{expected}] of the site")),
        _ => Ok(()),
    };
    named("node.name", node)?;
    named("cluster.name", cluster)
}

/// Returns where a listener binds: its own host and port, else those of the node.
fn address(settings: &Settings, kind: &str, default: u16) -> Result<SocketAddr, String> {
    let mut hosts = vec![format!("{kind}.bind_host"), format!("{kind}.host")];
    if kind == "remote_cluster" {
        hosts.extend(["transport.bind_host".to_owned(), "transport.host".to_owned()]);
    }
    hosts.extend(["network.bind_host".to_owned(), "network.host".to_owned()]);
    let host = hosts.iter().find_map(|name| files::text(settings, name)).unwrap_or("127.0.0.1");
    let host = match host {
        "_local_" | "localhost" => "127.0.0.1",
        "_site_" | "_global_" => "0.0.0.0",
        other => other,
    };
    let port = files::text(settings, &format!("{kind}.port")).map(|text| text.split('-').next().unwrap_or(text).to_owned());
    let port = match &port {
        None => default,
        Some(text) => text.parse().map_err(|_| format!("Failed to parse value [{text}] for setting [{kind}.port]"))?,
    };
    let ip = host.parse().map_err(|_| format!("BindHttpException: Failed to resolve host [{host}]"))?;
    Ok(SocketAddr::new(ip, port))
}

/// Returns where others reach the remote-cluster server.
fn publish(settings: &Settings, bound: SocketAddr) -> SocketAddr {
    let names = ["remote_cluster.publish_host", "transport.publish_host", "network.publish_host"];
    let ip = names.iter().find_map(|name| files::text(settings, name)?.parse().ok()).unwrap_or_else(|| bound.ip());
    let port = files::text(settings, "remote_cluster.publish_port").and_then(|text| text.parse().ok()).unwrap_or_else(|| bound.port());
    SocketAddr::new(ip, port)
}

async fn bind(address: SocketAddr, kind: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("BindTransportException: Failed to bind {kind} to [{address}]: {error}"))
}

/// Returns the TLS of a listener, or `None` where it is off. `default` says whether it is on when nothing is said.
fn listener_tls(
    name: &str,
    conf: &std::path::Path,
    settings: &Settings,
    secrets: &Secrets,
    default: bool,
) -> Result<Option<Arc<Watched<ServerConfig>>>, String> {
    let files = files::context(name, conf, settings, secrets)?;
    if !files::switch(settings, &format!("{}.enabled", files.context), default)? {
        return Ok(None);
    }
    Watched::new(files, Files::server).map(|watched| Some(Arc::new(watched)))
}

fn client_tls(conf: &std::path::Path, settings: &Settings, secrets: &Secrets) -> Result<Option<Arc<Watched<ClientConfig>>>, String> {
    let files = files::context("remote_cluster_client", conf, settings, secrets)?;
    if !files::switch(settings, &format!("{}.enabled", files.context), true)? {
        return Ok(None);
    }
    Watched::new(files, Files::client).map(|watched| Some(Arc::new(watched)))
}

fn roles(settings: &Settings) -> Vec<String> {
    let all = ["data", "data_content", "data_hot", "ingest", "master", "ml", "remote_cluster_client", "transform"];
    match settings.get("node.roles") {
        Some(Json::Null) | None => all.iter().map(|role| (*role).to_owned()).collect(),
        Some(_) => files::list(settings, "node.roles").unwrap_or_default(),
    }
}
