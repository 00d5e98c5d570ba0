//! `_nodes/*` and `_cat/nodes`: who the nodes are, reloading their keystores, announcing their shutdown.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::answer::{Ask, Refusal, Reply, milliseconds, object};
use super::control::{self, Order};
use super::node::Node;
use super::settings::nested;
use super::state::{Cluster, Member, Shutdown, now};

const METRICS: &[&str] = &[
    "_all",
    "_none",
    "aggregations",
    "http",
    "indices",
    "ingest",
    "jvm",
    "os",
    "plugins",
    "process",
    "remote_cluster_server",
    "settings",
    "thread_pool",
    "transport",
];

/// Answers everything below `_nodes`, and `_cat/nodes`.
pub async fn nodes(node: &Arc<Node>, ask: &Ask, state: &Cluster, path: &[&str]) -> Result<Reply, Refusal> {
    let monitor = || ask.who.need("monitor", "cluster:monitor/nodes/info");
    let manage = |action: &str| ask.who.need("manage", action);
    match (ask.method.as_str(), path) {
        (_, ["_cat", "nodes"]) => {
            ask.only(&["h", "s", "v", "full_id", "master_timeout", "time", "bytes"])?;
            monitor()?;
            Ok(state
                .up()
                .map(|(name, member)| json!({"name": name, "node.role": "cdhimrs", "http_address": member.http}))
                .collect::<Json>()
                .into())
        }
        ("POST", ["_nodes", "reload_secure_settings"]) => {
            manage("cluster:admin/nodes/reload_secure_settings")?;
            reload(node, ask, state, "_all").await
        }
        ("POST", ["_nodes", wanted, "reload_secure_settings"]) => {
            manage("cluster:admin/nodes/reload_secure_settings")?;
            reload(node, ask, state, wanted).await
        }
        (method, ["_nodes", "shutdown"]) => {
            manage("cluster:admin/shutdown/get")?;
            shutdown(node, ask, state, method, None)
        }
        (method, ["_nodes", wanted, "shutdown"]) => {
            manage("cluster:admin/shutdown/create")?;
            shutdown(node, ask, state, method, Some(wanted))
        }
        (_, ["_nodes"]) => monitor().and_then(|()| describe(node, ask, state, "_all", "_all")),
        (_, ["_nodes", word]) if word.split(',').all(|part| METRICS.contains(&part)) => {
            monitor().and_then(|()| describe(node, ask, state, "_all", word))
        }
        (_, ["_nodes", wanted]) => monitor().and_then(|()| describe(node, ask, state, wanted, "_all")),
        (_, ["_nodes", wanted, metrics]) => monitor().and_then(|()| describe(node, ask, state, wanted, metrics)),
        _ => Err(Refusal::illegal(format!("no handler found for uri [{}] and method [{}]", ask.uri, ask.method))),
    }
}

/// Returns the nodes that a filter means, of those that are up.
fn chosen<'a>(own: &str, state: &'a Cluster, filter: &str) -> Vec<(&'a String, &'a Member)> {
    let up: Vec<_> = state.up().collect();
    let master = up.iter().find(|(_, member)| member.roles.iter().any(|role| role == "master")).map(|(name, _)| (*name).clone());
    let means = |name: &str, member: &Member, word: &str| match word {
        "_all" | "*" | "" => true,
        "_local" => name == own,
        "_master" => Some(name) == master.as_deref(),
        word if word == name || word == member.id || member.transport.starts_with(&format!("{word}:")) => true,
        word => match word.split_once(':') {
            Some((role, "true")) => member.roles.iter().any(|held| held == role),
            Some((role, "false")) => !member.roles.iter().any(|held| held == role),
            _ => word.strip_suffix('*').is_some_and(|start| name.starts_with(start)),
        },
    };
    up.into_iter().filter(|(name, member)| filter.split(',').any(|word| means(name, member, word))).collect()
}

fn describe(node: &Node, ask: &Ask, state: &Cluster, filter: &str, metrics: &str) -> Result<Reply, Refusal> {
    ask.only(&["flat_settings", "timeout"])?;
    let flat = ask.switch("flat_settings")?;
    let strange: Vec<_> = metrics.split(',').filter(|metric| !METRICS.contains(metric)).collect();
    if !strange.is_empty() {
        return Err(Refusal::illegal(format!("request [{}] contains unrecognized metrics: [{}]", ask.uri, strange.join(", "))));
    }
    let wants = |metric: &str| metrics.split(',').any(|word| word == metric || word == "_all");
    let found = chosen(&node.name, state, filter);
    let mut nodes = Map::new();
    for (name, member) in &found {
        let host = member.transport.rsplit_once(':').map_or(member.transport.as_str(), |(host, _)| host);
        let mut entry = json!({
            "name": name,
            "transport_address": member.transport,
            "host": host,
            "ip": host,
            "version": state.start.version,
            "build_flavor": "default",
            "build_type": "deb",
            "build_hash": "0000000000000000000000000000000000000000",
            "roles": member.roles,
            "attributes": {"xpack.installed": "true"},
        });
        let Some(map) = entry.as_object_mut() else { continue };
        if wants("settings") {
            map.insert("settings".to_owned(), if flat { json!(member.settings) } else { nested(&member.settings) });
        }
        if wants("http") {
            map.insert(
                "http".to_owned(),
                json!({"bound_address": [member.http], "publish_address": member.http, "max_content_length_in_bytes": 104_857_600}),
            );
        }
        if wants("transport") {
            map.insert(
                "transport".to_owned(),
                json!({"bound_address": [member.transport], "publish_address": member.transport, "profiles": {}}),
            );
        }
        if wants("jvm") {
            map.insert("jvm".to_owned(), json!({"pid": member.process, "version": "22.0.1", "start_time_in_millis": member.started}));
        }
        if let Some(address) = member.remote.as_ref().filter(|_| wants("remote_cluster_server")) {
            map.insert("remote_cluster_server".to_owned(), json!({"bound_address": [address], "publish_address": address}));
        }
        nodes.insert(member.id.clone(), entry);
    }
    let counts = json!({"total": found.len(), "successful": found.len(), "failed": 0});
    Ok(json!({"_nodes": counts, "cluster_name": state.name, "nodes": nodes}).into())
}

async fn reload(node: &Arc<Node>, ask: &Ask, state: &Cluster, filter: &str) -> Result<Reply, Refusal> {
    ask.only(&["timeout"])?;
    let empty = json!({});
    let body = object(if ask.has_body { &ask.body } else { &empty }, "reload_secure_settings", &["secure_settings_password"])?;
    let password = match body.get("secure_settings_password") {
        None | Some(Json::Null) => None,
        Some(Json::String(text)) => Some(text.clone()),
        Some(other) => return Err(Refusal::wrong_type("reload_secure_settings", "secure_settings_password", other)),
    };
    let encrypted = node
        .with_running(|running| super::files::switch(&running.settings, "xpack.security.transport.ssl.enabled", false).unwrap_or(false));
    if password.is_some() && encrypted != Some(true) && filter != "_local" && state.up().count() > 1 {
        let reason = "Secure settings cannot be updated cluster wide when TLS for the transport layer is not enabled. \
                      Enable TLS or use the API with a `_local` filter on each node.";
        return Err(Refusal::new(500, "exception", reason));
    }
    let mut nodes = Map::new();
    let found = chosen(&node.name, state, filter);
    for (name, member) in &found {
        let report = control::ask(&node.state, name, &Order::Reload { password: password.clone() }).await;
        let mut entry = json!({"name": name});
        let Some(map) = entry.as_object_mut() else { continue };
        match report {
            Err(error) => {
                map.insert("reload_exception".to_owned(), json!({"type": "node_disconnected_exception", "reason": error.to_string()}));
            }
            Ok(report) => match report.error {
                Some((kind, reason)) => {
                    map.insert("reload_exception".to_owned(), json!({"type": kind, "reason": reason}));
                }
                None => {
                    let modified = i64::try_from(report.modified).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
                    map.insert("secure_setting_names".to_owned(), json!(report.names));
                    map.insert("keystore_path".to_owned(), json!(report.path));
                    map.insert("keystore_digest".to_owned(), json!(report.digest));
                    map.insert("keystore_last_modified_time".to_owned(), json!(modified.map(|time| time.to_string()).unwrap_or_default()));
                }
            },
        }
        nodes.insert(member.id.clone(), entry);
    }
    let counts = json!({"total": found.len(), "successful": found.len(), "failed": 0});
    Ok(json!({"_nodes": counts, "cluster_name": state.name, "nodes": nodes}).into())
}

fn shutdown(node: &Node, ask: &Ask, state: &Cluster, method: &str, wanted: Option<&str>) -> Result<Reply, Refusal> {
    ask.only(&["master_timeout", "timeout"])?;
    match (method, wanted) {
        ("PUT", Some(id)) => {
            let parser = "put_shutdown_request";
            let body = object(&ask.body, parser, &["type", "reason", "allocation_delay", "target_node_name", "grace_period"])?;
            let text = |name: &str| match body.get(name) {
                None => Ok(None),
                Some(Json::String(text)) => Ok(Some(text.clone())),
                Some(other) => Err(Refusal::wrong_type(parser, name, other)),
            };
            let kind = text("type")?.ok_or_else(|| Refusal::illegal("Required [type]"))?.to_uppercase();
            if !["RESTART", "REMOVE", "REPLACE", "SIGTERM"].contains(&kind.as_str()) {
                return Err(Refusal::illegal(format!("invalid shutdown type: {kind}")));
            }
            let reason = text("reason")?.ok_or_else(|| Refusal::illegal("Required [reason]"))?;
            let delay = text("allocation_delay")?;
            if let Some(delay) = &delay {
                milliseconds(delay, "allocation_delay")?;
                if kind != "RESTART" {
                    return Err(Refusal::invalid(&["shard allocation delay is only valid for RESTART-type shutdowns".to_owned()]));
                }
            }
            node.update(|cluster| {
                cluster.shutdowns.insert(id.to_owned(), Shutdown { kind, reason, started: now(), delay });
                Ok(())
            })?;
            Ok(json!({"acknowledged": true}).into())
        }
        ("DELETE", Some(id)) => {
            node.update(|cluster| {
                let missing = || Refusal::new(404, "resource_not_found_exception", format!("node [{id}] is not currently shutting down"));
                cluster.shutdowns.remove(id).map(|_| ()).ok_or_else(missing)
            })?;
            Ok(json!({"acknowledged": true}).into())
        }
        _ => {
            let list: Vec<_> = state
                .shutdowns
                .iter()
                .filter(|(id, _)| wanted.is_none_or(|wanted| wanted == *id))
                .map(|(id, shutdown)| shown(id, shutdown))
                .collect();
            Ok(json!({"nodes": list}).into())
        }
    }
}

fn shown(id: &str, shutdown: &Shutdown) -> Json {
    let mut entry = json!({
        "node_id": id,
        "type": shutdown.kind,
        "reason": shutdown.reason,
        "shutdown_startedmillis": shutdown.started,
        "status": "COMPLETE",
        "shard_migration": {"status": "COMPLETE", "shard_migrations_remaining": 0},
        "persistent_tasks": {"status": "COMPLETE"},
        "plugins": {"status": "COMPLETE"},
    });
    if let (Some(delay), Some(map)) = (&shutdown.delay, entry.as_object_mut()) {
        map.insert("allocation_delay".to_owned(), json!(delay));
    }
    entry
}
