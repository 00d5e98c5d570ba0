//! `/`, `_cluster/*`, `_license`, `_flush`: what concerns the cluster as a whole.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::answer::{Ask, Refusal, Reply, milliseconds, object};
use super::node::Node;
use super::settings;
use super::state::{Cluster, now};

/// How long missing copies take to be assigned again.
const RECOVERY: u64 = 200;

/// `GET /`
pub fn about(node: &Node, cluster: &Cluster) -> Reply {
    let version = &cluster.start.version;
    let major = version.split('.').next().unwrap_or("8");
    json!({
        "name": node.name,
        "cluster_name": cluster.name,
        "cluster_uuid": cluster.uuid,
        "version": {
            "number": version,
            "build_flavor": "default",
            "build_type": "deb",
            "build_hash": "0000000000000000000000000000000000000000",
            "build_date": "2024-08-05T10:05:34.233336849Z",
            "build_snapshot": false,
            "lucene_version": if major == "9" { "10.2.2" } else { "9.11.1" },
            "minimum_wire_compatibility_version": if major == "9" { "8.19.0" } else { "7.17.0" },
            "minimum_index_compatibility_version": if major == "9" { "8.0.0" } else { "7.0.0" },
        },
        "tagline": "You Know, for Search",
    })
    .into()
}

/// `GET /_license`
pub fn license(ask: &Ask, cluster: &Cluster) -> Result<Reply, Refusal> {
    ask.only(&["accept_enterprise", "local"])?;
    Ok(json!({"license": {
        "status": "active",
        "uid": "00000000-0000-4000-8000-000000000000",
        "type": cluster.start.license,
        "issue_date": "2024-08-05T10:05:34.233Z",
        "issue_date_in_millis": 1_722_852_334_233_u64,
        "max_nodes": if cluster.start.license == "enterprise" { Json::Null } else { json!(1000) },
        "max_resource_units": if cluster.start.license == "enterprise" { json!(100) } else { Json::Null },
        "issued_to": cluster.name,
        "issuer": "elasticsearch",
        "start_date_in_millis": -1,
    }})
    .into())
}

/// `POST /_flush`
pub fn flush(ask: &Ask, cluster: &Cluster) -> Result<Reply, Refusal> {
    ask.only(&["force", "wait_if_ongoing", "ignore_unavailable", "allow_no_indices", "expand_wildcards"])?;
    let all = shards(cluster);
    Ok(json!({"_shards": {"total": all * 2, "successful": all * 2, "failed": 0}}).into())
}

/// `GET /_cluster/settings`
pub fn get_settings(ask: &Ask, node: &Node, cluster: &Cluster) -> Result<Reply, Refusal> {
    ask.only(&["flat_settings", "include_defaults", "master_timeout", "timeout"])?;
    let flat = ask.switch("flat_settings")?;
    let shape = |settings: &BTreeMap<String, Json>| if flat { json!(settings) } else { settings::nested(settings) };
    let mut body = json!({"persistent": shape(&cluster.persistent), "transient": shape(&cluster.transient)});
    if ask.switch("include_defaults")? {
        let mut defaults = BTreeMap::from([
            ("cluster.routing.allocation.enable".to_owned(), json!("all")),
            ("cluster.remote.initial_connect_timeout".to_owned(), json!("30s")),
            ("cluster.max_shards_per_node".to_owned(), json!("1000")),
        ]);
        // What a node's file says counts as a default here.
        if let Some(member) = cluster.members.get(&node.name) {
            defaults.extend(member.settings.clone());
        }
        defaults.retain(|name, _| cluster.setting(name).is_none());
        if let Some(map) = body.as_object_mut() {
            map.insert("defaults".to_owned(), shape(&defaults));
        }
    }
    Ok(body.into())
}

/// `PUT /_cluster/settings`
pub fn put_settings(ask: &Ask, node: &Node) -> Result<Reply, Refusal> {
    ask.only(&["flat_settings", "master_timeout", "timeout"])?;
    let body = object(&ask.body, "cluster_update_settings_request", &["persistent", "transient"])?;
    let part = |name: &str| match body.get(name) {
        None => Ok(BTreeMap::new()),
        Some(value) if value.is_object() => Ok(settings::flatten(value)),
        Some(value) => Err(Refusal::wrong_type("cluster_update_settings_request", name, value)),
    };
    let (persistent, transient) = (part("persistent")?, part("transient")?);
    if persistent.is_empty() && transient.is_empty() {
        return Err(Refusal::invalid(&["no settings to update".to_owned()]));
    }
    settings::check_update("persistent", &persistent)?;
    settings::check_update("transient", &transient)?;
    node.update(|cluster| {
        settings::apply(&mut cluster.persistent, &persistent);
        settings::apply(&mut cluster.transient, &transient);
        settings::check_modes(&cluster.settings())?;
        let names: Vec<_> = persistent.keys().chain(transient.keys()).cloned().collect();
        cluster.note(format!("settings {}", names.join(" ")));
        Ok(())
    })?;
    let flat = ask.switch("flat_settings")?;
    let echo = |update: BTreeMap<String, Json>| {
        let set: BTreeMap<_, _> = update.into_iter().filter(|(_, value)| !value.is_null()).collect();
        if flat { json!(set) } else { settings::nested(&set) }
    };
    Ok(json!({"acknowledged": true, "persistent": echo(persistent), "transient": echo(transient)}).into())
}

/// How many primary shards the cluster has. Each has one copy where there are two nodes for data.
fn shards(cluster: &Cluster) -> usize {
    4 + cluster.keys.len().min(1)
}

/// `GET /_cluster/health`, once it is known; `Err` holds the body that a timeout sends.
pub async fn health(ask: &Ask, node: &Node) -> Result<Reply, Refusal> {
    ask.only(&[
        "expand_wildcards",
        "level",
        "local",
        "wait_for_active_shards",
        "wait_for_events",
        "wait_for_nodes",
        "wait_for_no_initializing_shards",
        "wait_for_no_relocating_shards",
        "wait_for_status",
        "master_timeout",
        "timeout",
    ])?;
    let wait = Wait::of(ask)?;
    let patience = ask.query.get("timeout").map_or(Ok(30_000), |text| milliseconds(text, "timeout"))?;
    let end = now().saturating_add(patience);
    loop {
        let mut body = json!(null);
        node.update(|cluster| {
            body = picture(cluster);
            Ok(())
        })?;
        if wait.is_met(&body) {
            return Ok(body.into());
        }
        if now() >= end {
            body["timed_out"] = json!(true);
            return Ok(Reply { status: 408, ..Reply::from(body) });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Returns the health as of now, and takes recovery a step further.
fn picture(cluster: &mut Cluster) -> Json {
    let nodes = cluster.up().count();
    let data = cluster.up().filter(|(_, member)| member.has_data()).count();
    let known = cluster.members.values().filter(|member| member.has_data()).count();
    let away = known.saturating_sub(data);
    let primaries = shards(cluster);
    let wanted = if known > 1 { primaries } else { 0 };
    let may_assign =
        cluster.setting("cluster.routing.allocation.enable").and_then(Json::as_str).is_none_or(|word| word.eq_ignore_ascii_case("all"));
    let mut initializing = 0;
    if away > 0 || !may_assign {
        cluster.recovering = None;
    } else if cluster.degraded {
        match cluster.recovering {
            None => {
                cluster.recovering = Some(now());
                initializing = wanted.min(2);
            }
            Some(since) if now() < since + RECOVERY => initializing = wanted.min(2),
            Some(_) => {
                cluster.degraded = false;
                cluster.recovering = None;
            }
        }
    }
    // With one copy of each shard, two nodes away at once mean that some data is not there at all.
    let lost = if away > 1 { primaries / 2 } else { 0 };
    let missing = if away > 0 || cluster.degraded { wanted.min(2) + lost } else { 0 };
    let active = (primaries + wanted).saturating_sub(missing + lost);
    let status = if lost > 0 || data == 0 {
        "red"
    } else if missing > 0 {
        "yellow"
    } else {
        "green"
    };
    #[allow(clippy::cast_precision_loss, reason = "a handful of shards")]
    let percent = active as f64 * 100.0 / (primaries + wanted) as f64;
    json!({
        "cluster_name": cluster.name,
        "status": status,
        "timed_out": false,
        "number_of_nodes": nodes,
        "number_of_data_nodes": data,
        "active_primary_shards": primaries - lost,
        "active_shards": active,
        "relocating_shards": 0,
        "initializing_shards": initializing,
        "unassigned_shards": missing.saturating_sub(initializing),
        "unassigned_primary_shards": lost,
        "delayed_unassigned_shards": 0,
        "number_of_pending_tasks": 0,
        "number_of_in_flight_fetch": 0,
        "task_max_waiting_in_queue_millis": 0,
        "active_shards_percent_as_number": percent,
    })
}

/// What a caller of health waits for.
struct Wait {
    status: Option<usize>,
    nodes: Option<(String, usize)>,
    settled: bool,
}

const STATUSES: &[&str] = &["green", "yellow", "red"];

impl Wait {
    fn of(ask: &Ask) -> Result<Self, Refusal> {
        let status = ask.query.get("wait_for_status").map(|word| {
            let at = STATUSES.iter().position(|status| status.eq_ignore_ascii_case(word));
            at.ok_or_else(|| Refusal::illegal(format!("unknown cluster health status [{word}]")))
        });
        let nodes = ask.query.get("wait_for_nodes").map(|text| {
            let inner = text.trim_end_matches(')');
            let word = |start: &str, sign: &str| inner.strip_prefix(start).map(|rest| (sign.to_owned(), rest));
            let (sign, digits) =
                word("ge(", ">=").or_else(|| word("le(", "<=")).or_else(|| word("gt(", ">")).or_else(|| word("lt(", "<")).unwrap_or_else(
                    || (text.chars().take_while(|c| !c.is_ascii_digit()).collect(), text.trim_start_matches(['<', '>', '='])),
                );
            digits.parse().map(|number| (sign, number)).map_err(|_| Refusal::illegal(format!("failed to parse [{text}]")))
        });
        let settled = ask.switch("wait_for_no_initializing_shards")?;
        ask.switch("wait_for_no_relocating_shards")?;
        if let Some(word) = ask
            .query
            .get("wait_for_events")
            .filter(|word| !["immediate", "urgent", "high", "normal", "low", "languid"].contains(&word.to_lowercase().as_str()))
        {
            return Err(Refusal::illegal(format!("No enum constant org.elasticsearch.common.Priority.{}", word.to_uppercase())));
        }
        Ok(Self { status: status.transpose()?, nodes: nodes.transpose()?, settled })
    }

    fn is_met(&self, body: &Json) -> bool {
        let number = |name: &str| body[name].as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or_default();
        let status = STATUSES.iter().position(|status| body["status"] == **status).unwrap_or(2);
        let nodes = number("number_of_nodes");
        let enough = self.nodes.as_ref().is_none_or(|(sign, wanted)| match sign.as_str() {
            ">=" => nodes >= *wanted,
            "<=" => nodes <= *wanted,
            ">" => nodes > *wanted,
            "<" => nodes < *wanted,
            _ => nodes == *wanted,
        });
        enough && self.status.is_none_or(|wanted| status <= wanted) && (!self.settled || number("initializing_shards") == 0)
    }
}
