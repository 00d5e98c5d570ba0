//! The simulator is only worth something when it is as strict as the real thing: these are the ways in which two clusters
//! do not get connected, and the one in which they do.

#![allow(clippy::disallowed_methods, reason = "tests write their own files")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use windlass::change::{Mode, Outcome, host::Host, run_module};
use windlass::demo::elasticsearch::site::{Cluster, Description, Node, User};
use windlass::demo::elasticsearch::{Simulator, systemctl};
use windlass::formats::certificates::{Authority, Wish, new_authority};
use windlass::formats::keystore::{Entry, Keystore};
use windlass::formats::pkcs12::Store;
use windlass::formats::private_key::{KeyKind, PrivateKey};
use windlass::modules;
use windlass::value::{Map, Value};

/// The remote cluster `east` has two nodes, the local one `west` has one.
const NODES: &[(&str, &str, u8)] = &[("e1", "east", 1), ("e2", "east", 2), ("w1", "west", 3)];

struct World {
    folder: tempfile::TempDir,
    description: Description,
    network: String,
    client: reqwest::Client,
}

impl World {
    async fn start(license: &str) -> Self {
        let world = Self::prepare(license);
        let simulator = Simulator::prepare(&world.description, &[]).expect("prepares");
        simulator.start().await.expect("starts");
        tokio::spawn(simulator.serve());
        world
    }

    /// Writes everything, and starts nothing.
    fn prepare(license: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().expect("folder");
        let network = format!("127.{}.{}.", rand::random_range(120..250), rand::random_range(1..250));
        let users = BTreeMap::from([
            ("elastic".to_owned(), User { password: "secret".into(), roles: vec!["superuser".into()] }),
            ("watcher".to_owned(), User { password: "secret".into(), roles: vec!["monitoring_user".into()] }),
            ("keymaker".to_owned(), User { password: "secret".into(), roles: vec!["keys".into()] }),
        ]);
        let cluster = Cluster {
            version: "8.15.0".into(),
            license: license.into(),
            users,
            roles: BTreeMap::from([("keys".to_owned(), vec!["manage_api_key".to_owned()])]),
        };
        let mut nodes = BTreeMap::new();
        for (name, cluster, at) in NODES {
            let conf = folder.path().join(name);
            fs::create_dir(&conf).expect("folder");
            let text = format!(
                "cluster.name: {cluster}\nnode.name: {name}\nnetwork.host: {network}{at}\nhttp.port: 19200\ntransport.port: 19300\n"
            );
            fs::write(conf.join("elasticsearch.yml"), text).expect("settings");
            fs::write(conf.join("elasticsearch.keystore"), Keystore::new(5).and_then(|store| store.write("")).expect("keystore"))
                .expect("keystore");
            let node = Node {
                cluster: (*cluster).into(),
                log: folder.path().join(format!("{name}.log")),
                conf,
                keystore_password: String::new(),
                names: BTreeMap::new(),
            };
            nodes.insert((*name).to_owned(), node);
        }
        let description = Description {
            state: folder.path().join("state"),
            clusters: BTreeMap::from([("east".to_owned(), cluster.clone()), ("west".to_owned(), cluster)]),
            nodes,
            pace: 10,
        };
        let client = reqwest::Client::builder().no_proxy().build().expect("client");
        Self { folder, description, network, client }
    }

    fn conf(&self, node: &str) -> PathBuf {
        self.folder.path().join(node)
    }

    fn address(&self, node: &str) -> String {
        NODES.iter().find(|(name, ..)| *name == node).map(|(.., at)| format!("{}{at}", self.network)).expect("a node")
    }

    async fn send_as(&self, user: &str, node: &str, method: &str, path: &str, body: Option<Json>) -> (u16, Json) {
        let url = format!("http://{}:19200{path}", self.address(node));
        let mut request = self.client.request(method.parse().expect("method"), url);
        request = match user.strip_prefix("ApiKey ") {
            Some(_) => request.header("authorization", user),
            None => request.basic_auth(user, Some("secret")),
        };
        if let Some(body) = &body {
            request = request.json(body);
        }
        let response = request.send().await.expect("answers");
        let status = response.status().as_u16();
        let answer: Json = response.json().await.expect("json");
        schema::check(method, path, status, &answer);
        (status, answer)
    }

    async fn send(&self, node: &str, method: &str, path: &str, body: Option<Json>) -> (u16, Json) {
        self.send_as("elastic", node, method, path, body).await
    }

    async fn reason(&self, node: &str, method: &str, path: &str, body: Json) -> (u16, String) {
        let (status, answer) = self.send(node, method, path, Some(body)).await;
        (status, answer["error"]["reason"].as_str().unwrap_or_default().to_owned())
    }

    async fn restart(&self, node: &str) -> u8 {
        systemctl(&self.description.state, node, &["restart".into(), "elasticsearch".into()]).await.code
    }

    fn log(&self, node: &str) -> String {
        fs::read_to_string(self.folder.path().join(format!("{node}.log"))).unwrap_or_default()
    }

    fn append(&self, node: &str, text: &str) {
        let path = self.conf(node).join("elasticsearch.yml");
        fs::write(&path, fs::read_to_string(&path).expect("settings") + text).expect("settings");
    }

    fn set_secret(&self, node: &str, name: &str, value: &str) {
        let path = self.conf(node).join("elasticsearch.keystore");
        let mut store = Keystore::read(&fs::read(&path).expect("keystore"), "").expect("keystore");
        store.entries.insert(name.into(), Entry::text(value));
        fs::write(path, store.write("").expect("keystore")).expect("keystore");
    }

    /// Switches the remote cluster server of a node on, with a certificate for its own address.
    async fn serve_remotely(&self, node: &str, authority: &Authority) -> u8 {
        let key = PrivateKey::generate(KeyKind::EcP256).expect("key");
        let wish = Wish { subject: node.into(), ip: vec![self.address(node).parse().expect("address")], ..lifetime() };
        let chain = vec![authority.issue(&wish, &key).expect("certificate")];
        let store = Store { alias: node.into(), key, chain, trusted: vec![("ca".into(), authority.certificate.clone())] };
        fs::write(self.conf(node).join("remote.p12"), store.write("p12-password").expect("p12")).expect("p12");
        self.set_secret(node, "xpack.security.remote_cluster_server.ssl.keystore.secure_password", "p12-password");
        self.append(node, "remote_cluster_server.enabled: true\nremote_cluster.port: 19443\nxpack.security.remote_cluster_server.ssl:\n  enabled: true\n  keystore.path: remote.p12\n");
        self.restart(node).await
    }

    async fn new_key(&self) -> (String, String) {
        let body = json!({"name": "west", "access": {"search": [{"names": ["logs-*"]}]}});
        let (status, key) = self.send("e1", "POST", "/_security/cross_cluster/api_key", Some(body)).await;
        assert_eq!(status, 200, "{key}");
        (key["id"].as_str().expect("id").to_owned(), key["encoded"].as_str().expect("encoded").to_owned())
    }

    async fn reload(&self) {
        let (status, answer) = self.send("w1", "POST", "/_nodes/reload_secure_settings", Some(json!({}))).await;
        let node = answer["nodes"].as_object().and_then(|nodes| nodes.values().next()).expect("a node");
        assert_eq!((status, node.get("reload_exception")), (200, None), "{answer}");
    }

    async fn connection(&self) -> Json {
        self.send("w1", "GET", "/_remote/info", None).await.1["east"].clone()
    }

    async fn is_connected(&self) -> bool {
        self.connection().await["connected"] == true
    }

    async fn set(&self, settings: Json) -> (u16, String) {
        self.reason("w1", "PUT", "/_cluster/settings", json!({"persistent": settings})).await
    }
}

fn lifetime() -> Wish {
    let now = jiff::Timestamp::now().as_second();
    Wish { not_before: now - 60, not_after: now + 86_400, ..Wish::default() }
}

fn authority(name: &str) -> Authority {
    let key = PrivateKey::generate(KeyKind::EcP256).expect("key");
    let certificate = new_authority(&Wish { subject: name.into(), ..lifetime() }, &key).expect("certificate");
    Authority::new(vec![certificate], key).expect("authority")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_needs_server_trust_credential_and_settings() {
    let world = World::start("trial").await;
    let ours = authority("ours");
    for node in ["e1", "e2"] {
        assert_eq!(world.serve_remotely(node, &ours).await, 0, "{}", world.log(node));
    }
    let seed = format!("{}:19443", world.address("e1"));
    assert_eq!(world.set(json!({"cluster.remote.east": {"seeds": [seed], "skip_unavailable": false}})).await.0, 200);

    // Without a credential.
    assert!(!world.is_connected().await);

    // With one, but trusting somebody else.
    let (id, encoded) = world.new_key().await;
    world.set_secret("w1", "cluster.remote.east.credentials", &encoded);
    fs::write(world.conf("w1").join("ca.crt"), authority("somebody else").certificate.to_pem()).expect("ca");
    world.append("w1", "xpack.security.remote_cluster_client.ssl.certificate_authorities: [ca.crt]\n");
    assert_eq!(world.restart("w1").await, 0, "{}", world.log("w1"));
    assert!(!world.is_connected().await);
    assert!(world.log("w1").contains("failed to establish trust with server at"), "{}", world.log("w1"));
    assert!(world.log("e1").contains("client did not trust this server's certificate"), "{}", world.log("e1"));

    // With the right authority, both nodes are reached.
    fs::write(world.conf("w1").join("ca.crt"), ours.certificate.to_pem()).expect("ca");
    let connection = world.connection().await;
    assert_eq!((&connection["connected"], &connection["num_nodes_connected"]), (&json!(true), &json!(2)), "{connection}");
    assert_eq!(connection["cluster_credentials"], "::es_redacted::");

    // The key counts from the reload on, not from the write.
    let (_, other) = world.new_key().await;
    world.set_secret("w1", "cluster.remote.east.credentials", "bm9uc2Vuc2U6eA==");
    assert!(world.is_connected().await);
    world.reload().await;
    assert!(!world.is_connected().await);
    world.set_secret("w1", "cluster.remote.east.credentials", &other);
    world.reload().await;
    assert!(world.is_connected().await);

    // An invalidated key, and a key of the other kind.
    world.set_secret("w1", "cluster.remote.east.credentials", &encoded);
    world.reload().await;
    let (_, answer) = world.send("e1", "DELETE", "/_security/api_key", Some(json!({"ids": [id]}))).await;
    assert_eq!(answer["invalidated_api_keys"], json!([id]));
    assert!(!world.is_connected().await);
    assert!(world.log("e1").contains("Authentication using apikey failed - invalid credentials"));
    let (_, rest) = world.send("e1", "POST", "/_security/api_key", Some(json!({"name": "rest"}))).await;
    world.set_secret("w1", "cluster.remote.east.credentials", rest["encoded"].as_str().expect("encoded"));
    world.reload().await;
    assert!(!world.is_connected().await);
    assert!(world.log("w1").contains("authentication expected API key type of [cross_cluster]"), "{}", world.log("w1"));

    // The mode can only change as a whole.
    world.set_secret("w1", "cluster.remote.east.credentials", &other);
    world.reload().await;
    let (status, reason) = world.set(json!({"cluster.remote.east.mode": "proxy", "cluster.remote.east.proxy_address": seed})).await;
    assert_eq!((status, reason.contains("[required=SNIFF, configured=PROXY]")), (400, true), "{reason}");
    let switch = json!({"cluster.remote.east": {"mode": "proxy", "proxy_address": seed, "proxy_socket_connections": 2, "seeds": null}});
    assert_eq!(world.set(switch).await.0, 200);
    let connection = world.connection().await;
    assert_eq!((&connection["connected"], &connection["num_proxy_sockets_connected"]), (&json!(true), &json!(2)), "{connection}");

    // The transport port is no way in.
    let wrong = format!("{}:19300", world.address("e1"));
    assert_eq!(world.set(json!({"cluster.remote.east.proxy_address": wrong})).await.0, 200);
    assert!(!world.is_connected().await);

    assert_eq!(world.set(json!({"cluster.remote.east.*": null})).await.0, 200);
    assert_eq!(world.connection().await, Json::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_wrong_files_does_not_start_and_says_why_in_its_log() {
    let world = World::start("trial").await;
    let original = fs::read_to_string(world.conf("e2").join("elasticsearch.yml")).expect("settings");
    let keystore = fs::read(world.conf("e2").join("elasticsearch.keystore")).expect("keystore");
    assert_eq!(world.serve_remotely("e2", &authority("ours")).await, 0);
    let good = fs::read_to_string(world.conf("e2").join("elasticsearch.yml")).expect("settings");
    let with_password = fs::read(world.conf("e2").join("elasticsearch.keystore")).expect("keystore");
    let put = |text: &str, bytes: &[u8]| {
        fs::write(world.conf("e2").join("elasticsearch.yml"), text).expect("settings");
        fs::write(world.conf("e2").join("elasticsearch.keystore"), bytes).expect("keystore");
    };
    let damaged = [&with_password[..60], &[0xff], &with_password[61..]].concat();
    let cases: &[(&str, String, &[u8], &str)] = &[
        ("no password for the p12", good.clone(), &keystore, "this is usually caused by an incorrect password"),
        (
            "a plain-text password",
            format!("{good}xpack.security.remote_cluster_server.ssl.keystore.password: p12-password\n"),
            &with_password,
            "unknown setting [xpack.security.remote_cluster_server.ssl.keystore.password]",
        ),
        (
            "a misspelt setting",
            format!("{good}remote_cluster_servers.enabled: true\n"),
            &with_password,
            "unknown setting [remote_cluster_servers.enabled]",
        ),
        ("broken YAML", format!("{good}a: [\n"), &with_password, "Failed to load settings from [elasticsearch.yml]"),
        ("a damaged keystore", good.clone(), &damaged, "fatal exception while booting"),
        ("a p12 outside the folder", good.replace("remote.p12", "../e1/remote.p12"), &with_password, "SSL resources should be placed in"),
        ("a missing p12", good.replace("remote.p12", "gone.p12"), &with_password, "because the file does not exist"),
    ];
    for (what, text, bytes, message) in cases {
        put(text, bytes);
        fs::write(world.folder.path().join("e2.log"), "").expect("log");
        assert_eq!(world.restart("e2").await, 1, "{what}");
        assert!(world.log("e2").contains(message), "{what}: {}", world.log("e2"));
    }
    put(&good, &with_password);
    world.set_secret("e2", "cluster.remote.east.credential", "x");
    assert_eq!(world.restart("e2").await, 1, "an unknown secret");
    assert!(world.log("e2").contains("unknown secure setting [cluster.remote.east.credential]"));
    put(&original, &keystore);
    assert_eq!(world.restart("e2").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_checked_as_strictly_as_by_the_real_thing() {
    let world = World::start("trial").await;
    let create = "/_security/cross_cluster/api_key";
    let access = json!({"search": [{"names": ["a"]}]});
    for (body, reason) in [
        (json!({"name": "a"}), "Required [access]"),
        (json!({"access": access}), "Required [name]"),
        (json!({"name": "a", "access": null}), "access doesn't support values of type: VALUE_NULL"),
        (json!({"name": "a", "access": {}}), "must specify non-empty access for either [search] or [replication]"),
        (
            json!({"name": "a", "access": {"replication": [{"names": ["a"], "query": "{}"}]}}),
            "replication does not support document or field level security",
        ),
        (json!({"name": "a", "access": access, "expires": "1d"}), "unknown field [expires]"),
        (json!({"name": "a", "access": access, "expiration": "1 day"}), "unit is missing or unrecognized"),
        (json!({"name": "_a", "access": access}), "may not begin with an underscore"),
        (json!({"name": "a", "access": access, "metadata": {"_x": 1}}), "metadata keys may not start with [_]"),
    ] {
        let (status, told) = world.reason("e1", "POST", create, body).await;
        assert!(status == 400 && told.contains(reason), "{status} {told}");
    }
    let body = json!({"name": "a", "access": access});
    let (status, answer) = world.send_as("keymaker", "e1", "POST", create, Some(body.clone())).await;
    let reason = answer["error"]["reason"].as_str().expect("reason");
    assert!(
        status == 403 && reason.starts_with("action [cluster:admin/xpack/security/cross_cluster/api_key/create] is unauthorized"),
        "{answer}"
    );
    let (_, key) = world.send("e1", "POST", "/_security/api_key", Some(json!({"name": "rest"}))).await;
    let header = format!("ApiKey {}", key["encoded"].as_str().expect("encoded"));
    let (status, answer) = world.send_as(&header, "e1", "POST", create, Some(body.clone())).await;
    assert_eq!(status, 400);
    assert_eq!(
        answer["error"]["reason"],
        "authentication via API key not supported: An API key cannot be used to create a cross-cluster API key"
    );
    let (status, _) =
        world.send_as("watcher", "e1", "PUT", "/_cluster/settings", Some(json!({"persistent": {"search.max_buckets": 1}}))).await;
    assert_eq!(status, 403);

    let (id, encoded) = world.new_key().await;
    let (status, answer) = world.send_as(&format!("ApiKey {encoded}"), "e1", "GET", "/", None).await;
    assert_eq!(status, 401);
    assert!(answer["error"]["reason"].as_str().expect("reason").starts_with("authentication expected API key type of [rest]"), "{answer}");
    let update = format!("{create}/{id}");
    let same = json!({"access": {"search": [{"names": ["logs-*"]}]}});
    assert_eq!(world.send("e1", "PUT", &update, Some(same)).await.1, json!({"updated": false}));
    assert_eq!(world.send("e1", "PUT", &update, Some(json!({"access": access}))).await.1, json!({"updated": true}));
    assert_eq!(world.reason("e1", "PUT", &format!("{create}/none"), json!({"access": access})).await.0, 404);
    let (_, shown) = world.send("e1", "GET", &format!("/_security/api_key?id={id}&active_only=true"), None).await;
    assert_eq!(
        shown["api_keys"][0]["role_descriptors"]["cross_cluster"]["indices"][0]["privileges"],
        json!(["read", "read_cross_cluster", "view_index_metadata"])
    );
    assert!(!shown.to_string().contains("api_key\":\""), "{shown}");
    let find = json!({"query": {"bool": {"filter": [{"term": {"name": "west"}}, {"term": {"invalidated": false}}]}}});
    assert_eq!(world.send("e1", "POST", "/_security/_query/api_key", Some(find)).await.1["total"], 1);

    for (settings, reason) in [
        (json!({"cluster.remote.x.seeds": ["a"]}), "remote hosts need to be configured as [host:port], found [a] instead"),
        (json!({"cluster.remote.x.skip_unavailable": "maybe"}), "only [true] or [false] are allowed"),
        (json!({"no.such.setting": 1}), "persistent setting [no.such.setting], not recognized"),
        (json!({"node.name": "x"}), "persistent setting [node.name], not dynamically updateable"),
        (json!({"cluster.routing.allocation.enable": "some"}), "Illegal cluster.routing.allocation.enable value [SOME]"),
    ] {
        let (status, told) = world.set(settings).await;
        assert!(status == 400 && told.contains(reason), "{status} {told}");
    }
    let (status, echo) = world
        .send(
            "e1",
            "PUT",
            "/_cluster/settings?flat_settings=true",
            Some(json!({"persistent": {"cluster.remote.x": {"skip_unavailable": false}}})),
        )
        .await;
    assert_eq!(
        (status, echo),
        (200, json!({"acknowledged": true, "persistent": {"cluster.remote.x.skip_unavailable": "false"}, "transient": {}}))
    );
    for path in [
        "/_license",
        "/_security/_authenticate",
        "/_nodes",
        "/_nodes/settings,transport",
        "/_nodes/_local/jvm",
        "/_cluster/settings?include_defaults=true",
    ] {
        assert_eq!(world.send("e1", "GET", path, None).await.0, 200, "{path}");
    }
    assert_eq!(world.send("e1", "GET", "/_cluster/health?wait_for=x", None).await.0, 400);
    assert_eq!(world.send("e1", "GET", "/_nonsense", None).await.0, 400);

    let (status, answer) = World::start("platinum").await.send("e1", "POST", create, Some(body)).await;
    assert_eq!(
        (status, &answer["error"]["reason"]),
        (403, &json!("current license is non-compliant for [advanced-remote-cluster-security]"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_green_again_only_when_shards_may_be_assigned() {
    let world = World::start("trial").await;
    let health = async |query: &str| world.send("e1", "GET", &format!("/_cluster/health{query}"), None).await;
    assert_eq!(health("").await.1["status"], "green");
    let allocation = async |word: Json| {
        world.send("e1", "PUT", "/_cluster/settings", Some(json!({"persistent": {"cluster.routing.allocation.enable": word}}))).await
    };
    allocation(json!("primaries")).await;
    let stop = systemctl(&world.description.state, "e2", &["stop".into(), "elasticsearch.service".into()]).await;
    assert_eq!(stop.code, 0);
    let (status, body) = health("?wait_for_nodes=%3E%3D2&timeout=50ms").await;
    assert_eq!((status, &body["timed_out"], &body["status"]), (408, &json!(true), &json!("yellow")));
    assert_eq!(systemctl(&world.description.state, "e2", &["is-active".into(), "elasticsearch".into()]).await.stdout, "inactive\n");
    assert_eq!(systemctl(&world.description.state, "e2", &["start".into(), "elasticsearch".into()]).await.code, 0);
    assert_eq!(health("?wait_for_nodes=2&timeout=1s").await.0, 200);
    assert_eq!(health("?wait_for_status=green&timeout=500ms").await.0, 408);
    allocation(Json::Null).await;
    assert_eq!(health("?wait_for_status=green&timeout=5s").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_may_run_in_processes_of_their_own() {
    use std::io::BufRead as _;
    let world = World::prepare("trial");
    let site = world.folder.path().join("site.json");
    fs::write(&site, serde_json::to_vec(&world.description).expect("json")).expect("site");
    let mut processes = Vec::new();
    for (name, ..) in NODES {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_windlass"));
        command.arg("demo-nodes").arg("--site").arg(&site).args(["--only", name]).stdout(std::process::Stdio::piped());
        let mut process = command.spawn().expect("starts");
        let mut line = String::new();
        std::io::BufReader::new(process.stdout.take().expect("output")).read_line(&mut line).expect("says");
        assert_eq!(line, "ready\n");
        processes.push(process);
    }
    assert_eq!(world.send("e2", "GET", "/_cluster/health", None).await.1["number_of_nodes"], 2);
    world.set_secret("e2", "cluster.remote.other.credentials", "x");
    let (_, answer) = world.send("e1", "POST", "/_nodes/reload_secure_settings", None).await;
    let nodes: Vec<_> = answer["nodes"].as_object().expect("nodes").values().collect();
    let names = |name: &str| nodes.iter().find(|node| node["name"] == name).expect("node")["secure_setting_names"].clone();
    assert_eq!((names("e1"), names("e2")), (json!(["keystore.seed"]), json!(["cluster.remote.other.credentials", "keystore.seed"])));
    assert_eq!(world.restart("e1").await, 0);
    // A process that is killed is a node that left.
    let mut last = processes.remove(1);
    last.kill().and_then(|()| last.wait()).expect("ends");
    let (_, health) = world.send("e1", "GET", "/_cluster/health", None).await;
    assert_eq!((&health["number_of_nodes"], &health["status"]), (&json!(1), &json!("yellow")));
    for process in &mut processes {
        process.kill().and_then(|()| process.wait()).expect("ends");
    }
}

/// Runs a module on this machine against the simulator: a check, the run, and the run again, which has to change nothing.
struct Modules {
    url: String,
}

impl Modules {
    fn once(&self, name: &str, arguments: &Json, mode: Mode) -> Outcome {
        let entry = modules::find(name).expect("a module");
        let mut all = json!({"url": self.url, "username": "elastic", "password": "secret"});
        for (key, value) in arguments.as_object().expect("arguments") {
            all[key] = value.clone();
        }
        let all = windlass::value::json::from_json(&all);
        let map = all.as_map().expect("a map");
        (entry.check)(map).expect("arguments that fit");
        let mut host = Host::new();
        run_module(
            |host| (entry.plan)(map, host),
            |plan, done, host| (entry.result)(map, plan, done, host),
            &mut host,
            mode,
            true,
            &Default::default(),
        )
    }

    fn settles(&self, name: &str, arguments: Json) -> Map {
        let check = self.once(name, &arguments, Mode::Check);
        assert_eq!((check.changed, &check.failure), (true, &None), "check of {name} {arguments}");
        let run = self.once(name, &arguments, Mode::Apply);
        assert_eq!((run.changed, &run.failure), (true, &None), "{name} {arguments}");
        let again = self.once(name, &arguments, Mode::Apply);
        assert_eq!((again.changed, &again.failure), (false, &None), "second run of {name} {arguments}: {:?}", again.summary);
        run.values
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_modules_agree_with_the_simulator() {
    let world = World::start("trial").await;
    let ours = authority("ours");
    for node in ["e1", "e2"] {
        assert_eq!(world.serve_remotely(node, &ours).await, 0, "{}", world.log(node));
    }
    let (east, west) = (format!("http://{}:19200", world.address("e1")), format!("http://{}:19200", world.address("w1")));
    let name = "elasticsearch_cross_cluster_api_key";
    let first = tokio::task::spawn_blocking(move || {
        let modules = Modules { url: east };
        let access = json!({"search": [{"names": ["logs-*"]}]});
        let key = modules.settles(name, json!({"name": "west", "access": access, "expiration": "90d"}));
        modules.settles(
            name,
            json!({"name": "west", "access": {"search": [{"names": ["logs-*", "metrics-*"]}], "replication": [{"names": ["a"]}]}}),
        );
        // Lost at the other side: a new key; then only that one stays.
        let lost = modules.once(name, &json!({"name": "west", "access": access, "rotate": "when_lost", "local_id": ""}), Mode::Apply);
        assert_eq!((lost.changed, &lost.failure), (true, &None));
        assert_ne!(lost.values.get("id"), key.get("id"));
        let id = lost.values.get("id").and_then(Value::as_str).expect("id").to_owned();
        modules.settles(name, json!({"name": "west", "state": "absent", "keep_ids": [id]}));
        let kept = modules.once(name, &json!({"name": "west", "access": access, "rotate": "when_lost", "local_id": id}), Mode::Apply);
        assert_eq!((kept.changed, kept.values.get("id").and_then(Value::as_str)), (false, Some(id.as_str())), "{kept:?}");
        lost.values.get("encoded").and_then(Value::as_str).expect("encoded").to_owned()
    });
    let encoded = first.await.expect("runs");
    world.set_secret("w1", "cluster.remote.east.credentials", &encoded);
    fs::write(world.conf("w1").join("ca.crt"), ours.certificate.to_pem()).expect("ca");
    world.append("w1", "xpack.security.remote_cluster_client.ssl.certificate_authorities: [ca.crt]\n");
    assert_eq!(world.restart("w1").await, 0, "{}", world.log("w1"));
    let seed = format!("{}:19443", world.address("e1"));
    let second = tokio::task::spawn_blocking(move || {
        let modules = Modules { url: west };
        modules.settles("elasticsearch_cluster_settings", json!({"persistent": {"cluster.routing.allocation.enable": "primaries"}}));
        modules.settles("elasticsearch_cluster_settings", json!({"persistent": {"cluster.routing.allocation.enable": null}}));
        let unknown = modules.once("elasticsearch_cluster_settings", &json!({"persistent": {"no.such": 1}}), Mode::Apply);
        assert!(unknown.failure.is_some_and(|failure| failure.to_string().contains("not recognized")));
        let name = "elasticsearch_remote_cluster";
        modules.settles(name, json!({"alias": "east", "mode": "sniff", "seeds": [seed], "skip_unavailable": false}));
        modules.settles(
            name,
            json!({"alias": "east", "mode": "proxy", "proxy_address": seed, "proxy_socket_connections": 2, "skip_unavailable": false}),
        );
        modules.settles(name, json!({"alias": "east", "mode": "sniff", "seeds": [seed], "skip_unavailable": true}));
        let info = modules.once("elasticsearch_remote_info", &json!({"alias": "east", "timeout": 10}), Mode::Apply);
        assert_eq!((info.changed, &info.failure), (false, &None));
        assert_eq!(info.values.get("connected"), Some(&Value::Bool(true)));
        let reload = modules.once("elasticsearch_reload_secure_settings", &json!({"nodes": "_local"}), Mode::Apply);
        assert_eq!((reload.changed, &reload.failure), (true, &None));
        let health = modules.once("elasticsearch_health", &json!({"at_least": "green", "nodes": 1, "timeout": 5}), Mode::Apply);
        assert_eq!((health.changed, &health.failure), (false, &None));
        modules.settles(name, json!({"alias": "east", "state": "absent"}));
    });
    second.await.expect("runs");
}

/// Holds answers against the published API description, where it is present.
mod schema {
    use super::*;
    use std::sync::OnceLock;

    static API: OnceLock<Option<Json>> = OnceLock::new();

    fn api() -> Option<&'static Json> {
        let read = || {
            let path = std::env::var_os("WINDLASS_OPENAPI")
                .map_or_else(|| Path::new("../shared/elasticsearch/openapi-subset.json").to_owned(), PathBuf::from);
            serde_json::from_slice(&fs::read(path).ok()?).ok()
        };
        API.get_or_init(read).as_ref()
    }

    pub fn check(method: &str, uri: &str, status: u16, answer: &Json) {
        let Some(api) = api() else { return };
        let path = uri.split('?').next().unwrap_or_default();
        let parts: Vec<_> = path.split('/').collect();
        let same = |pattern: &str| {
            let pattern: Vec<_> = pattern.split('/').collect();
            pattern.len() == parts.len() && pattern.iter().zip(&parts).all(|(wanted, part)| wanted.starts_with('{') || wanted == part)
        };
        let paths = api["paths"].as_object().expect("paths");
        let found = paths.iter().filter(|(pattern, _)| same(pattern)).max_by_key(|(pattern, _)| !pattern.contains('{'));
        let Some(operation) = found.and_then(|(_, methods)| methods.get(method.to_lowercase())) else { return };
        let responses = &operation["responses"];
        let response = responses.get(status.to_string()).unwrap_or(&responses["default"]);
        let schema = &response["content"]["application/json"]["schema"];
        let mut wrong = Vec::new();
        fits(api, schema, answer, "$", &mut wrong);
        assert!(wrong.is_empty(), "{method} {uri} {status}: {wrong:?}\n{answer}");
    }

    fn fits(api: &Json, schema: &Json, value: &Json, place: &str, wrong: &mut Vec<String>) {
        if let Some(name) = schema["$ref"].as_str() {
            return fits(api, api.pointer(name.trim_start_matches('#')).expect("a schema"), value, place, wrong);
        }
        if schema["nullable"] == true && value.is_null() {
            return;
        }
        if let Some(options) = schema["oneOf"].as_array() {
            let any = options.iter().any(|option| {
                let mut problems = Vec::new();
                fits(api, option, value, place, &mut problems);
                problems.is_empty()
            });
            if !any {
                wrong.push(format!("{place} fits no option"));
            }
            return;
        }
        if let Some(words) = schema["enum"].as_array() {
            if !words.contains(value) {
                wrong.push(format!("{place}: {value} is none of {words:?}"));
            }
            return;
        }
        let right = match schema["type"].as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            Some("boolean") => value.is_boolean(),
            _ => true,
        };
        if !right {
            wrong.push(format!("{place}: {value} is no {}", schema["type"]));
            return;
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            if value.get(name).is_none() {
                wrong.push(format!("{place}.{name} is missing"));
            }
        }
        for (name, inner) in value.as_object().into_iter().flatten() {
            let place = format!("{place}.{name}");
            match (schema["properties"].get(name), &schema["additionalProperties"]) {
                (Some(property), _) => fits(api, property, inner, &place, wrong),
                (None, Json::Bool(false)) => wrong.push(format!("{place} is unknown")),
                (None, further) if further.is_object() => fits(api, further, inner, &place, wrong),
                _ => {}
            }
        }
        for (at, item) in value.as_array().into_iter().flatten().enumerate() {
            fits(api, &schema["items"], item, &format!("{place}[{at}]"), wrong);
        }
    }
}
