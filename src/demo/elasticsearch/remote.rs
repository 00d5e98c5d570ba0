//! Remote clusters: the server that other clusters reach, and the connections to them. Both really speak TLS.
//!
//! Inside TLS the two sides exchange one frame each: a length, then JSON. It stands for the transport protocol's handshake:
//! the client shows its credential, the server takes or refuses it, and names the nodes that can be reached.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::access::identify_remote;
use super::answer::{Refusal, Reply, texts};
use super::node::Node;
use super::settings;
use super::state::Cluster;
use super::tls::{Files, Watched};
use super::{answer, files};

/// Longer frames are refused.
const LONGEST_FRAME: u32 = 64 * 1024;
/// How long a connection may take to come about.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    action: String,
    credential: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Welcome {
    error: Option<String>,
    cluster: String,
    version: String,
    /// Publish addresses of the nodes that can be reached.
    gateways: Vec<String>,
}

/// Serves the remote-cluster port until the task ends.
pub async fn serve(node: Arc<Node>, listener: TcpListener, tls: Option<Arc<Watched<ServerConfig>>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, from)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let node = node.clone();
        let config = tls.as_ref().map(|watched| watched.get());
        connections.spawn(async move {
            let done = match config {
                None => greet(&node, stream).await,
                Some(config) => match tokio::time::timeout(PATIENCE, TlsAcceptor::from(config).accept(stream)).await {
                    Ok(Ok(stream)) => greet(&node, stream).await,
                    Ok(Err(error)) => Err(format!(
                        "client did not trust this server's certificate, closing connection Netty4TcpChannel{{remoteAddress={from}, profile=_remote_cluster}}: {error}"
                    )),
                    Err(_) => Err(format!("handshake with [{from}] timed out")),
                },
            };
            if let Err(why) = done {
                node.log("WARN", "o.e.x.c.s.t.n.SecurityNetty4Transport", &why);
            }
        });
    }
}

async fn greet(node: &Node, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), String> {
    let hello: Hello = receive(&mut stream).await?;
    let cluster = node.cluster().map_err(|refusal| refusal.reason)?;
    let error = identify_remote(&cluster, hello.credential.as_deref()).err();
    if let Some(error) = &error {
        let shown =
            if error.starts_with("unable to authenticate") { "Authentication using apikey failed - invalid credentials" } else { error };
        node.log("WARN", "o.e.x.s.a.ApiKeyAuthenticator", shown);
    }
    // Nodes that only manage the cluster are no gateways.
    let gateways =
        cluster.up().filter(|(_, member)| member.roles.iter().any(|role| role != "master")).filter_map(|(_, member)| member.remote.clone());
    let gateways = if error.is_some() { Vec::new() } else { gateways.collect() };
    send(&mut stream, &Welcome { error, cluster: cluster.name.clone(), version: cluster.start.version.clone(), gateways }).await
}

async fn send<T: Serialize>(stream: &mut (impl AsyncWrite + Unpin), message: &T) -> Result<(), String> {
    let bytes = serde_json::to_vec(message).map_err(|error| error.to_string())?;
    let length = u32::try_from(bytes.len()).map_err(|error| error.to_string())?;
    let closed = |error: std::io::Error| format!("transport connection closed by remote: {error}");
    stream.write_all(&length.to_be_bytes()).await.map_err(closed)?;
    stream.write_all(&bytes).await.map_err(closed)?;
    stream.flush().await.map_err(closed)
}

async fn receive<T: for<'de> Deserialize<'de>>(stream: &mut (impl AsyncRead + Unpin)) -> Result<T, String> {
    let closed = |error: std::io::Error| format!("transport connection closed by remote: {error}");
    let length = stream.read_u32().await.map_err(closed)?;
    if length > LONGEST_FRAME {
        return Err(format!("invalid internal transport message format, got length {length}"));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    stream.read_exact(&mut bytes).await.map_err(closed)?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

/// How a node reaches a remote cluster.
struct Way {
    alias: String,
    credential: Option<String>,
    /// The TLS context whose trust is used, for messages.
    context: &'static str,
    tls: Option<Arc<ClientConfig>>,
    /// `server_name`, in proxy mode.
    server_name: Option<String>,
    names: std::collections::BTreeMap<String, String>,
}

impl Way {
    /// Connects, and shows the credential.
    async fn connect(&self, address: &str) -> Result<Welcome, String> {
        let attempt = self.attempt(address, self.server_name.as_deref());
        let first =
            tokio::time::timeout(PATIENCE, attempt).await.map_err(|_| format!("[{address}] connect_timeout[{}s]", PATIENCE.as_secs()))?;
        match first {
            // Java accepts the address too where the name that was asked for is not in the certificate.
            Err(why) if self.server_name.is_some() && why.contains("NotValidForName") => {
                tokio::time::timeout(PATIENCE, self.attempt(address, None)).await.map_err(|_| format!("[{address}] connect_timeout"))?
            }
            other => other,
        }
    }

    async fn attempt(&self, address: &str, server_name: Option<&str>) -> Result<Welcome, String> {
        let (host, port) = address.rsplit_once(':').ok_or_else(|| format!("bad address [{address}]"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let ip = self.names.get(host).map_or(host, String::as_str);
        let connected = TcpStream::connect(format!("{}:{port}", if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() })).await;
        let stream = connected.map_err(|error| format!("connect_exception: [{address}] connect failed: {error}"))?;
        let hello = Hello { action: "cluster:internal/remote_cluster/handshake".to_owned(), credential: self.credential.clone() };
        let Some(tls) = &self.tls else {
            return exchange(stream, &hello).await;
        };
        let name = ServerName::try_from(server_name.unwrap_or(host).to_owned()).map_err(|error| format!("bad server name: {error}"))?;
        let stream = TlsConnector::from(tls.clone()).connect(name, stream).await.map_err(|error| {
            format!("failed to establish trust with server at [{address}]; the trust configuration is that of [xpack.security.{}.ssl]: {error:?}", self.context)
        })?;
        exchange(stream, &hello).await
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, hello: &Hello) -> Result<Welcome, String> {
    send(&mut stream, hello).await?;
    let welcome: Welcome = receive(&mut stream).await?;
    match welcome.error {
        Some(error) => Err(error),
        None => Ok(welcome),
    }
}

/// `GET /_remote/info`, as this node sees it now: every connection is really made.
pub async fn info(node: &Arc<Node>, cluster: &Cluster) -> Result<Reply, Refusal> {
    let seen = node.with_running(|running| {
        let mut all = running.settings.clone();
        all.extend(cluster.settings());
        (all, running.secrets.clone(), running.client.clone(), running.settings.clone())
    });
    let Some((all, secrets, client, own)) = seen else {
        return Err(Refusal::new(503, "node_closed_exception", "node closed"));
    };
    let member = cluster.members.get(&node.name);
    if !member.is_some_and(|member| member.roles.iter().any(|role| role == "remote_cluster_client")) {
        return Err(Refusal::illegal(format!("node [{}] does not have the [remote_cluster_client] role", node.name)));
    }
    let mut answer = Map::new();
    for alias in settings::aliases(&all) {
        let credential = secrets.entries.get(&format!("cluster.remote.{alias}.credentials")).cloned();
        // Without a credential this is the older kind of connection, which trusts by the transport's own TLS.
        let (context, tls) = if credential.is_some() {
            ("remote_cluster_client", client.as_ref().map(|watched| watched.get()))
        } else {
            let transport = files::context("transport", &node.place.conf, &own, &secrets);
            ("transport", transport.ok().filter(|files| !files.paths().is_empty()).and_then(|files| Files::client(&files).ok()))
        };
        let value = |key: &str| all.get(&format!("cluster.remote.{alias}.{key}"));
        let server_name = value("server_name").and_then(Json::as_str).map(str::to_owned);
        let way = Way { alias: alias.clone(), credential, context, tls, server_name, names: node.place.names.clone() };
        let entry = if settings::mode(&all, &alias) == "proxy" {
            proxy(node, &way, value("proxy_address"), value("proxy_socket_connections")).await
        } else {
            sniff(node, &way, value("seeds"), value("node_connections")).await
        };
        let Some(mut entry) = entry else { continue };
        let skip = value("skip_unavailable").and_then(Json::as_str).map_or_else(|| node.is_at_least(8, 15), |text| text == "true");
        entry.insert("skip_unavailable".to_owned(), json!(skip));
        entry.insert(
            "initial_connect_timeout".to_owned(),
            json!(files::text(&own, "cluster.remote.initial_connect_timeout").unwrap_or("30s")),
        );
        if way.credential.is_some() {
            entry.insert("cluster_credentials".to_owned(), json!("::es_redacted::"));
        }
        answer.insert(alias, Json::Object(entry));
    }
    Ok(Json::Object(answer).into())
}

fn number(value: Option<&Json>, default: u64) -> u64 {
    value.and_then(Json::as_str).and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// `None`: the alias has no seeds, so it is not there.
async fn sniff(node: &Node, way: &Way, seeds: Option<&Json>, connections: Option<&Json>) -> Option<Map<String, Json>> {
    let seeds = seeds.and_then(answer::texts).filter(|seeds| !seeds.is_empty())?;
    let most = number(connections, 3);
    let mut gateways = Vec::new();
    for seed in &seeds {
        match way.connect(seed).await {
            Ok(welcome) => {
                gateways = welcome.gateways;
                break;
            }
            Err(why) => node.log(
                "WARN",
                "o.e.t.SniffConnectionStrategy",
                &format!("fetching nodes from external cluster [{}] failed: {why}", way.alias),
            ),
        }
    }
    let mut connected = 0;
    for gateway in &gateways {
        if connected == most {
            break;
        }
        match way.connect(gateway).await {
            Ok(_) => connected += 1,
            Err(why) => node.log(
                "WARN",
                "o.e.t.SniffConnectionStrategy",
                &format!("failed to connect to node [{gateway}] of cluster [{}]: {why}", way.alias),
            ),
        }
    }
    let mut entry = Map::new();
    entry.insert("connected".to_owned(), json!(connected > 0));
    entry.insert("mode".to_owned(), json!("sniff"));
    entry.insert("seeds".to_owned(), json!(seeds));
    entry.insert("num_nodes_connected".to_owned(), json!(connected));
    entry.insert("max_connections_per_cluster".to_owned(), json!(most));
    Some(entry)
}

async fn proxy(node: &Node, way: &Way, address: Option<&Json>, sockets: Option<&Json>) -> Option<Map<String, Json>> {
    let address = address.and_then(texts)?.first().filter(|text| !text.is_empty())?.clone();
    let most = number(sockets, 18);
    let mut connected = 0;
    while connected < most {
        match way.connect(&address).await {
            Ok(_) => connected += 1,
            Err(why) => {
                node.log(
                    "WARN",
                    "o.e.t.ProxyConnectionStrategy",
                    &format!("failed to open any proxy connections to cluster [{}]: {why}", way.alias),
                );
                break;
            }
        }
    }
    let mut entry = Map::new();
    entry.insert("connected".to_owned(), json!(connected > 0));
    entry.insert("mode".to_owned(), json!("proxy"));
    entry.insert("proxy_address".to_owned(), json!(address));
    entry.insert("server_name".to_owned(), json!(way.server_name.clone().unwrap_or_default()));
    entry.insert("num_proxy_sockets_connected".to_owned(), json!(connected));
    entry.insert("max_proxy_socket_connections".to_owned(), json!(most));
    Some(entry)
}
