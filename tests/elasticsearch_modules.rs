//! The Elasticsearch, certificate and YAML modules against the simulator and a real folder: what a check says is what a run
//! then does, a second run changes nothing, and a failure says what to do.

#![allow(clippy::disallowed_methods, reason = "tests write their own files")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};
use windlass::change::carry::run_module;
use windlass::change::{Failure, Host, Mode, Outcome};
use windlass::demo::elasticsearch::Simulator;
use windlass::demo::elasticsearch::site::{Cluster, Description, Node, User};
use windlass::formats::keystore::Keystore;
use windlass::modules;
use windlass::value::json::{from_json, to_json};
use windlass::value::{Map, Value};

/// Runs a task on this machine.
fn task(host: &mut Host, mode: Mode, name: &str, arguments: &Json) -> Outcome {
    let entry = modules::find(name).expect("a module");
    let map: Map = from_json(arguments).as_map().expect("arguments").clone();
    run_module(
        |host| (entry.plan)(&map, host),
        |plan, done, host| (entry.result)(&map, plan, done, host),
        host,
        mode,
        true,
        &Default::default(),
    )
}

/// Runs a task as a check and for real, and again: the check must foresee the change, and the second run must find nothing to do.
fn settle(name: &str, arguments: &Json) -> Json {
    let checked = task(&mut Host::new(), Mode::Check, name, arguments);
    assert_eq!(checked.failure, None, "{name}");
    let first = task(&mut Host::new(), Mode::Apply, name, arguments);
    assert_eq!(first.failure, None, "{name}");
    assert_eq!(checked.changed, first.changed, "{name}: the check told otherwise");
    let second = task(&mut Host::new(), Mode::Apply, name, arguments);
    assert_eq!((second.failure, second.changed), (None, false), "{name}: {}", second.because);
    to_json(&Value::from(first.values))
}

fn apply(name: &str, arguments: &Json) -> Outcome {
    task(&mut Host::new(), Mode::Apply, name, arguments)
}

fn failure(outcome: &Outcome) -> String {
    match outcome.failure.as_ref().expect("a failure") {
        Failure::Failed { message, hint, .. } | Failure::Argument { message, hint, .. } => {
            format!("{message}\n{}", hint.clone().unwrap_or_default())
        }
        other => other.to_string(),
    }
}

struct World {
    folder: tempfile::TempDir,
    network: String,
}

impl World {
    /// Starts a cluster `east` with one node, and `west` with one.
    async fn start(license: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().expect("folder");
        let network = format!("127.{}.{}.", rand::random_range(120..250), rand::random_range(1..250));
        let user = |role: &str| User { password: "secret".into(), roles: vec![role.into()] };
        let users = BTreeMap::from([("elastic".to_owned(), user("superuser")), ("watcher".to_owned(), user("monitoring_user"))]);
        let cluster = Cluster { version: "8.15.0".into(), license: license.into(), users, roles: BTreeMap::new() };
        let mut nodes = BTreeMap::new();
        for (name, cluster, at) in [("e1", "east", 1), ("w1", "west", 2)] {
            let conf = folder.path().join(name);
            fs::create_dir(&conf).expect("folder");
            let text = format!(
                "cluster.name: {cluster}\nnode.name: {name}\nnetwork.host: {network}{at}\nhttp.port: 19200\ntransport.port: 19300\n"
            );
            fs::write(conf.join("elasticsearch.yml"), text).expect("settings");
            let store = Keystore::new(5).and_then(|store| store.write("")).expect("keystore");
            fs::write(conf.join("elasticsearch.keystore"), store).expect("keystore");
            let log = folder.path().join(format!("{name}.log"));
            let node = Node { cluster: cluster.into(), log, conf, keystore_password: String::new(), names: BTreeMap::new() };
            nodes.insert(name.to_owned(), node);
        }
        let clusters = BTreeMap::from([("east".to_owned(), cluster.clone()), ("west".to_owned(), cluster)]);
        let description = Description { state: folder.path().join("state"), clusters, nodes, pace: 10 };
        let simulator = Simulator::prepare(&description, &[]).expect("prepares");
        simulator.start().await.expect("starts");
        tokio::spawn(simulator.serve());
        Self { folder, network }
    }

    fn at(&self, node: u8, more: Json) -> Json {
        let mut arguments =
            json!({"url": format!("http://{}{node}:19200", self.network), "username": "elastic", "password": "secret", "timeout": 3});
        if let (Some(all), Some(more)) = (arguments.as_object_mut(), more.as_object()) {
            all.extend(more.clone());
        }
        arguments
    }

    fn keystore(&self) -> String {
        self.folder.path().join("w1/elasticsearch.keystore").to_string_lossy().into_owned()
    }
}

/// Runs blocking tests where blocking is allowed.
async fn blocking(test: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(test).await.expect("passes");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_and_remote_clusters_settle() {
    let world = World::start("trial").await;
    blocking(move || {
        let wanted =
            world.at(1, json!({"persistent": {"cluster.routing.allocation.enable": "primaries", "search": {"max_buckets": 5000}}}));
        let told = settle("elasticsearch_cluster_settings", &wanted);
        assert_eq!(told["previous"], json!({"cluster.routing.allocation.enable": null, "search.max_buckets": null}));
        let back = world.at(1, json!({"persistent": told["previous"]}));
        assert_eq!(settle("elasticsearch_cluster_settings", &back)["previous"]["search.max_buckets"], "5000");

        let sniff = world.at(2, json!({"alias": "east", "seeds": [format!("{}1:9443", world.network)], "skip_unavailable": false}));
        settle("elasticsearch_remote_cluster", &sniff);
        let proxy = world.at(
            2,
            json!({"alias": "east", "mode": "proxy", "proxy_address": format!("{}1:9443", world.network), "proxy_socket_connections": 3}),
        );
        settle("elasticsearch_remote_cluster", &proxy);

        let info = apply("elasticsearch_remote_info", &world.at(2, json!({"alias": ["east"], "wait": false})));
        assert_eq!((info.changed, info.values.get("connected")), (false, Some(&Value::Bool(false))));
        let waited = failure(&apply("elasticsearch_remote_info", &world.at(2, json!({"alias": ["east"]}))));
        assert!(waited.contains("the remote cluster `east`: it is not connected at"), "{waited}");
        let checked = task(&mut Host::new(), Mode::Check, "elasticsearch_remote_info", &world.at(2, json!({"alias": ["east"]})));
        assert!(checked.failure.is_none() && checked.unknown.is_some(), "a check cannot wait: {checked:?}");

        settle("elasticsearch_remote_cluster", &world.at(2, json!({"alias": "east", "state": "absent"})));
        let refused = failure(&apply("elasticsearch_cluster_settings", &world.at(1, json!({"persistent": {"no.such": 1}}))));
        assert!(refused.contains("not recognized"), "{refused}");
        let mut watcher = world.at(1, json!({"persistent": {"search.max_buckets": 7}}));
        watcher["username"] = json!("watcher");
        assert!(failure(&apply("elasticsearch_cluster_settings", &watcher)).contains("403"));
        watcher["password"] = json!("wrong");
        assert!(failure(&apply("elasticsearch_cluster_settings", &watcher)).contains("401"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_check_sees_what_its_earlier_tasks_would_do() {
    let world = World::start("trial").await;
    blocking(move || {
        let mut host = Host::new();
        let wanted = world.at(1, json!({"persistent": {"search.max_buckets": 5000}}));
        assert!(task(&mut host, Mode::Check, "elasticsearch_cluster_settings", &wanted).changed);
        assert!(!task(&mut host, Mode::Check, "elasticsearch_cluster_settings", &wanted).changed, "foreseen");
        assert!(task(&mut Host::new(), Mode::Check, "elasticsearch_cluster_settings", &wanted).changed, "and not done");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_adopted_rotated_and_made_invalid() {
    let world = World::start("trial").await;
    blocking(move || {
        let name = "elasticsearch_cross_cluster_api_key";
        let access = json!({"search": [{"names": ["logs-*", "metrics-*"]}], "replication": []});
        let wanted = world.at(1, json!({"name": "dr", "access": access, "expiration": "90d"}));
        let foreseen = task(&mut Host::new(), Mode::Check, name, &wanted);
        assert!(matches!(foreseen.values.get("encoded"), Some(Value::Unknown(_))));
        let first = settle(name, &wanted);
        let (id, encoded) = (first["id"].as_str().expect("id"), first["encoded"].as_str().expect("encoded"));
        let made = apply(name, &wanted);
        assert_eq!((made.changed, made.values.get("id"), made.values.get("encoded")), (false, Some(&Value::str(id)), None));

        let wider = world.at(1, json!({"name": "dr", "access": {"search": [{"names": ["*"]}], "replication": [{"names": ["*"]}]}}));
        assert_eq!(settle(name, &wider)["id"], id);

        // The credential goes to a keystore; only its id is told.
        let entries = json!({"path": world.keystore(), "entries": {"cluster.remote.east.credentials": encoded}});
        let told = settle("elasticsearch_keystore", &entries);
        assert_eq!(told["api_key_ids"], json!({"cluster.remote.east.credentials": id}));
        assert_eq!((&told["reload_names"], &told["restart_names"]), (&json!(["cluster.remote.east.credentials"]), &json!([])));
        assert!(!told.to_string().contains(encoded));
        let digest = told["sha256"].as_str().expect("digest");
        let reload = apply("elasticsearch_reload_secure_settings", &world.at(2, json!({"nodes": "_local", "sha256": digest})));
        assert_eq!(reload.failure, None);
        let stale = apply("elasticsearch_reload_secure_settings", &world.at(2, json!({"sha256": "00"})));
        assert!(stale.failure.is_none() || failure(&stale).contains("another keystore"), "{stale:?}");

        let kept = world.at(1, json!({"name": "dr", "access": {"search": [{"names": ["*"]}], "replication": [{"names": ["*"]}]}, "rotate": "when_lost", "local_id": id}));
        assert!(!apply(name, &kept).changed);
        let mut lost = kept.clone();
        lost["local_id"] = json!("");
        let rotated = apply(name, &lost);
        assert_eq!((rotated.failure.clone(), rotated.changed, rotated.values.get("old_ids")), (None, true, Some(&Value::list([Value::str(id)]))));
        assert_eq!(rotated.secrets, ["encoded", "api_key"]);
        let new = to_json(&Value::from(rotated.values));
        settle(name, &world.at(1, json!({"name": "dr", "state": "absent", "keep_ids": [new["id"]]})));
        let adopted = apply(name, &wider);
        assert_eq!((adopted.changed, adopted.values.get("id")), (false, Some(&from_json(&new["id"]))));
        settle(name, &world.at(1, json!({"name": "dr", "state": "absent"})));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_what_to_do() {
    let world = World::start("platinum").await;
    blocking(move || {
        let wanted = world.at(1, json!({"name": "dr", "access": {"search": [{"names": ["x"]}]}}));
        let refused = failure(&apply("elasticsearch_cross_cluster_api_key", &wanted));
        assert!(refused.contains("current license is non-compliant") && refused.contains("enterprise or trial licence"), "{refused}");
        let mut both = wanted.clone();
        both["bearer_token"] = json!("x");
        assert!(failure(&apply("elasticsearch_cross_cluster_api_key", &both)).contains("give one login"));
        let mut insecure = world.at(1, json!({}));
        insecure["insecure"] = json!(true);
        let warned = apply("elasticsearch_health", &insecure);
        assert!(warned.warnings.iter().any(|warning| warning.contains("NOT verified")), "{warned:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_waits_and_tells() {
    let world = World::start("trial").await;
    blocking(move || {
        let health = apply("elasticsearch_health", &world.at(1, json!({"at_least": "yellow", "nodes": 1, "no_relocating": true})));
        assert_eq!(health.failure, None);
        assert_eq!(health.values.get("cluster_name"), Some(&Value::str("east")));
        let many = failure(&apply("elasticsearch_health", &world.at(1, json!({"nodes": 9}))));
        assert!(many.contains("it has 1 nodes, not 9"), "{many}");
        let gone = json!({"url": format!("http://{}9:19200", world.network), "timeout": 2});
        assert!(apply("elasticsearch_health", &gone).failure.is_some());
    })
    .await;
}

#[test]
fn a_keystore_keeps_its_format_and_password_and_writes_once() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("elasticsearch.keystore");
    let at = |more: Json| {
        let mut arguments = json!({"path": path.to_string_lossy(), "elasticsearch_version": "8.15.0"});
        arguments.as_object_mut().expect("map").extend(more.as_object().expect("map").clone());
        arguments
    };
    fs::write(folder.path().join("gcs.json"), b"{}\n").expect("file");
    let file = folder.path().join("gcs.json").to_string_lossy().into_owned();
    let told = settle(
        "elasticsearch_keystore",
        &at(json!({"password": "pw", "entries": {"a.b": "1", "c": true}, "files": {"gcs.client.default.credentials_file": file}})),
    );
    assert_eq!((&told["format"], &told["restart_names"]), (&json!(6), &json!(["a.b", "c"])));
    let read = |password: &str| Keystore::read(&fs::read(&path).expect("there"), password);
    let store = read("pw").expect("reads");
    assert_eq!(store.entries["gcs.client.default.credentials_file"].value, b"{}\n");
    assert_eq!(store.entries["c"].value, b"true");
    let seed = store.entries["keystore.seed"].value.clone();

    assert!(
        failure(&apply("elasticsearch_keystore", &at(json!({"password": "no", "entries": {"a": "1"}}))))
            .contains("the password does not fit")
    );
    assert!(failure(&apply("elasticsearch_keystore", &at(json!({"entries": {"a": "1"}})))).contains("protected by a password"));
    for (bad, about) in [
        (json!({"entries": {"a b": "1"}}), "entries.a b"),
        (json!({"absent": ["keystore.seed"]}), "absent"),
        (json!({"entries": {"a": null}}), "entries.a"),
    ] {
        assert_eq!(apply("elasticsearch_keystore", &at(bad)).failure.expect("refused").about(), Some(about));
    }
    let told = settle(
        "elasticsearch_keystore",
        &at(json!({"password": "pw", "entries": {"a.b": "2"}, "absent": ["c", "never.there"], "purge": true})),
    );
    assert_eq!(told["removed"], json!(["c", "gcs.client.default.credentials_file"]));
    let store = read("pw").expect("reads");
    assert_eq!((store.version, store.entries.keys().map(String::as_str).collect::<Vec<_>>()), (6, vec!["a.b", "keystore.seed"]));
    assert_eq!(store.entries["keystore.seed"].value, seed);

    fs::write(&path, b"rubbish").expect("damage");
    assert!(failure(&apply("elasticsearch_keystore", &at(json!({})))).contains("damaged"));
}

/// The newest format is not known yet: the node's own tool does it, secrets on its standard input.
#[test]
fn a_format_of_the_future_is_left_to_the_nodes_own_tool() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("folder");
    for name in ["config", "bin"] {
        fs::create_dir(folder.path().join(name)).expect("folder");
    }
    let mut bytes = Keystore::new(7).and_then(|store| store.write("")).expect("keystore");
    bytes[30] = 9;
    let path = folder.path().join("config/elasticsearch.keystore");
    fs::write(&path, bytes).expect("keystore");
    let tool = folder.path().join("bin/elasticsearch-keystore");
    let record = folder.path().join("record");
    let script = format!(
        "#!/bin/sh\ncase $1 in list) echo keystore.seed; echo old; echo same;; show) echo value;; *) echo \"$@\" >>{0}; cat >>{0};; esac\n",
        record.display()
    );
    fs::write(&tool, script).expect("tool");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).expect("mode");
    let arguments = json!({"path": path.to_string_lossy(), "entries": {"new": "s3cret", "same": "value"}, "absent": ["old", "gone"]});
    let outcome = apply("elasticsearch_keystore", &arguments);
    assert_eq!((outcome.failure, outcome.changed), (None, true));
    assert_eq!(fs::read_to_string(record).expect("record"), "add -f -x new\ns3cret\nremove old\n");
}

fn certificate(folder: &Path, more: Json) -> Json {
    let text = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let mut arguments = json!({
        "path": text("node.p12"), "password": "changeit", "dns": ["es.example.net"], "ip": ["198.51.100.20"], "key": "ec-p256",
        "authority": {"cert": "ca.crt", "key": "ca.key"},
    });
    arguments.as_object_mut().expect("map").extend(more.as_object().expect("map").clone());
    if arguments["authority"].is_object() {
        let read = |name: &str| fs::read_to_string(folder.join(name)).expect("authority");
        arguments["_authority"] = json!({"certificates": read("ca.crt"), "key": read("ca.key")});
    }
    arguments
}

#[test]
fn a_certificate_is_issued_for_a_reason_and_not_without() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path();
    let text = |name: &str| path.join(name).to_string_lossy().into_owned();
    let authority = json!({"path": text("ca.crt"), "key_path": text("ca.key"), "common_name": "Example CA", "key": "ec-p256"});
    assert_eq!(settle("certificate_authority", &authority)["subject"], "CN=Example CA");
    let ca = fs::read(path.join("ca.crt")).expect("ca");

    let told = settle("certificate", &certificate(path, json!({})));
    assert_eq!(
        (&told["reason"], &told["issuer"], &told["dns"]),
        (&json!("there is none yet"), &json!("CN=Example CA"), &json!(["es.example.net"]))
    );
    let reason = |more: Json| settle("certificate", &certificate(path, more))["reason"].as_str().expect("reason").to_owned();
    assert_eq!(reason(json!({"dns": ["es.example.net", "es2.example.net"]})), "it does not name es2.example.net");
    assert_eq!(
        reason(json!({"dns": ["es.example.net"], "ip": []})),
        "it does not name 198.51.100.20".replace("it does not name", "it names es2.example.net,")
    );
    assert_eq!(reason(json!({"ip": [], "key": "rsa-2048"})), "its key is ec-p256, not rsa-2048");
    assert_eq!(reason(json!({"ip": [], "key": "rsa-2048", "name": "node1"})), "its name is `CN=es.example.net`, not `node1`");
    assert_eq!(
        reason(json!({"ip": [], "key": "rsa-2048", "name": "node1", "password": "another"})),
        "what is there cannot be used: the password does not fit"
    );
    fs::write(path.join("node.p12"), "rubbish").expect("damage");
    assert!(reason(json!({})).starts_with("what is there cannot be used"));
    assert_eq!(reason(json!({"renew_before": 30, "days": 40})), "");
    assert_eq!(
        reason(json!({"renew_before": 30, "days": 40, "dns": ["x.example.net"]})),
        "it does not name x.example.net; it names es.example.net"
    );
    let soon = apply("certificate", &certificate(path, json!({"dns": ["x.example.net"], "renew_before": 60})));
    assert!(soon.values["reason"].to_string().starts_with("it expires in "), "{soon:?}");

    fs::remove_file(path.join("ca.crt")).expect("remove");
    fs::remove_file(path.join("ca.key")).expect("remove");
    settle("certificate_authority", &authority);
    assert_ne!(fs::read(path.join("ca.crt")).expect("ca"), ca);
    assert_eq!(reason(json!({"dns": ["x.example.net"]})), "it was issued by another authority, `CN=Example CA`");
}

#[test]
fn pem_files_and_refusals() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path();
    let text = |name: &str| path.join(name).to_string_lossy().into_owned();
    let pem = json!({"path": text("web.crt"), "key_path": text("web.key"), "dns": ["web.example.net"], "key": "ec-p256"});
    settle("certificate", &pem);
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(path.join("web.key")).expect("key")) & 0o777, 0o600);
    let mut sealed = pem.clone();
    sealed["password"] = json!("hunter22");
    assert!(settle("certificate", &sealed)["reason"].as_str().expect("reason").contains("not encrypted"));
    for (more, about) in [
        (json!({"password": ""}), "password"),
        (json!({"password": "pässword"}), "password"),
        (json!({"dns": ["a b"]}), "dns"),
        (json!({"key_path": "/x"}), "key_path"),
        (json!({"days": 10, "renew_before": 30}), "renew_before"),
        (json!({"ip": ["1.2.3"]}), "ip"),
    ] {
        let mut arguments = certificate(path, json!({"authority": null}));
        arguments.as_object_mut().expect("map").extend(more.as_object().expect("map").clone());
        let outcome = apply("certificate", &arguments);
        assert_eq!(
            outcome
                .failure
                .as_ref()
                .and_then(Failure::about)
                .map(|about| about.split('.').next().unwrap_or_default().to_owned())
                .as_deref(),
            Some(about),
            "{outcome:?}"
        );
    }
    assert!(!path.join("node.p12").exists());
}

#[test]
fn an_expired_authority_signs_nothing_and_can_be_renewed() {
    use windlass::formats::certificates::{Wish, new_authority};
    use windlass::formats::private_key::{KeyKind, PrivateKey};
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path();
    let key = PrivateKey::generate(KeyKind::EcP256).expect("key");
    let wish = Wish { subject: "Old CA".into(), not_before: 1_500_000_000, not_after: 1_600_000_000, ..Wish::default() };
    let old = new_authority(&wish, &key).expect("authority");
    fs::write(path.join("ca.crt"), old.to_pem()).expect("ca");
    fs::write(path.join("ca.key"), key.to_pem(None).expect("pem").as_bytes()).expect("key");
    let refused = failure(&apply("certificate", &certificate(path, json!({}))));
    assert!(refused.contains("expired") && refused.contains("renew_before") && !path.join("node.p12").exists(), "{refused}");
    let text = |name: &str| path.join(name).to_string_lossy().into_owned();
    let mut authority = json!({"path": text("ca.crt"), "key_path": text("ca.key"), "key": "ec-p256"});
    assert!(failure(&apply("certificate_authority", &authority)).contains("expired"));
    authority["renew_before"] = json!(30);
    let told = settle("certificate_authority", &authority);
    assert_eq!(
        (&told["subject"], fs::read(path.join("ca.key")).expect("key")),
        (&json!("CN=Old CA"), key.to_pem(None).expect("pem").as_bytes().to_vec())
    );
    settle("certificate", &certificate(path, json!({})));
}

#[test]
fn yaml_settings_settle() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("e.yml");
    fs::write(&path, "# why\ncluster:\n  name: a # b\n").expect("file");
    let arguments = json!({"path": path.to_string_lossy(), "settings": {"cluster.name": "c", "remote_cluster.port": 9443}, "backup": true});
    let told = settle("yaml_settings", &arguments);
    assert_eq!(told["set"], json!(["cluster.name", "remote_cluster.port"]));
    assert_eq!(fs::read_to_string(&path).expect("file"), "# why\ncluster:\n  name: c # b\nremote_cluster.port: 9443\n");
    assert!(Path::new(told["backup_file"].as_str().expect("backup")).exists());
    let gone = json!({"path": folder.path().join("none.yml").to_string_lossy(), "settings": {"a": 1}});
    assert!(failure(&apply("yaml_settings", &gone)).contains("does not exist"));
}
