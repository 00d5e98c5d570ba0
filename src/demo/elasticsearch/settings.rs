//! Which settings there are, and what is right for them: those of `elasticsearch.yml`, of the keystore and of the cluster.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::answer::Refusal;

/// Settings that the cluster takes through its API, besides those of remote clusters and loggers.
const DYNAMIC: &[&str] = &[
    "action.auto_create_index",
    "action.destructive_requires_name",
    "cluster.max_shards_per_node",
    "cluster.routing.allocation.disk.watermark.flood_stage",
    "cluster.routing.allocation.disk.watermark.high",
    "cluster.routing.allocation.disk.watermark.low",
    "cluster.routing.allocation.enable",
    "cluster.routing.allocation.node_concurrent_recoveries",
    "cluster.routing.rebalance.enable",
    "indices.lifecycle.poll_interval",
    "indices.recovery.max_bytes_per_sec",
    "search.max_buckets",
    "xpack.monitoring.collection.enabled",
];

/// Settings of a node's file that cannot change while it runs.
const OF_A_NODE: &[&str] = &[
    "bootstrap.memory_lock",
    "cluster.initial_master_nodes",
    "cluster.name",
    "cluster.remote.initial_connect_timeout",
    "cluster.remote.node.attr",
    "discovery.seed_hosts",
    "discovery.seed_providers",
    "discovery.type",
    "http.bind_host",
    "http.host",
    "http.port",
    "http.publish_host",
    "http.publish_port",
    "network.bind_host",
    "network.host",
    "network.publish_host",
    "node.name",
    "node.roles",
    "path.data",
    "path.logs",
    "path.repo",
    "remote_cluster.bind_host",
    "remote_cluster.host",
    "remote_cluster.port",
    "remote_cluster.publish_host",
    "remote_cluster.publish_port",
    "remote_cluster_server.enabled",
    "transport.bind_host",
    "transport.host",
    "transport.port",
    "transport.profiles.default.port",
    "transport.publish_host",
    "transport.publish_port",
    "xpack.license.self_generated.type",
    "xpack.ml.enabled",
    "xpack.security.autoconfiguration.enabled",
    "xpack.security.enabled",
    "xpack.security.enrollment.enabled",
];

/// What each TLS context takes, after `xpack.security.<context>.ssl.`.
const OF_A_CONTEXT: &[&str] = &[
    "certificate",
    "certificate_authorities",
    "cipher_suites",
    "enabled",
    "key",
    "keystore.algorithm",
    "keystore.path",
    "keystore.type",
    "supported_protocols",
    "truststore.algorithm",
    "truststore.path",
    "truststore.type",
    "verification_mode",
];

/// The same for secrets that older contexts still take as plain text.
const PLAIN_SECRETS: &[&str] = &["key_passphrase", "keystore.key_password", "keystore.password", "truststore.password"];

/// Secrets of a context, in the keystore.
const SECRETS: &[&str] =
    &["keystore.secure_key_password", "keystore.secure_password", "secure_key_passphrase", "truststore.secure_password"];

/// The TLS contexts.
const CONTEXTS: &[&str] = &["http", "transport", "remote_cluster_server", "remote_cluster_client"];

/// Secrets of other parts that a keystore may hold.
const OTHER_SECRETS: &[(&str, &[&str])] = &[
    ("gcs.client.", &["credentials_file"]),
    ("s3.client.", &["access_key", "secret_key", "session_token"]),
    ("azure.client.", &["account", "key", "sas_token"]),
    ("xpack.notification.", &["secure_password", "secure_url", "secure_user"]),
    ("xpack.security.authc.realms.", &["secure_bind_password", "rp.client_secret", "client_authentication.shared_secret", "hmac_key"]),
    ("xpack.monitoring.exporters.", &["auth.secure_password"]),
];

/// Keys of a remote cluster that only one mode has.
const SNIFF_ONLY: &[&str] = &["seeds", "node_connections"];
const PROXY_ONLY: &[&str] = &["proxy_address", "proxy_socket_connections", "server_name"];
/// Keys that both modes have.
const BOTH_MODES: &[&str] = &["mode", "skip_unavailable", "transport.compress", "transport.compression_scheme", "transport.ping_schedule"];

/// Returns alias and key of a remote cluster's setting.
pub fn remote_part(name: &str) -> Option<(&str, &str)> {
    let (alias, key) = name.strip_prefix("cluster.remote.")?.split_once('.')?;
    let known = SNIFF_ONLY.iter().chain(PROXY_ONLY).chain(BOTH_MODES).any(|known| *known == key)
        || key == "credentials"
        || key.starts_with("signing.");
    (known && !alias.is_empty()).then_some((alias, key))
}

fn context_part(name: &str) -> Option<(&str, &str)> {
    let (context, key) = name.strip_prefix("xpack.security.")?.split_once(".ssl.")?;
    CONTEXTS.contains(&context).then_some((context, key))
}

/// Whether `elasticsearch.yml` may hold this setting.
pub fn is_known_to_a_node(name: &str) -> bool {
    if let Some((context, key)) = context_part(name) {
        let remote = context.starts_with("remote_cluster");
        return OF_A_CONTEXT.contains(&key)
            || (key == "client_authentication" && context != "remote_cluster_client")
            || (PLAIN_SECRETS.contains(&key) && !remote);
    }
    OF_A_NODE.contains(&name)
        || DYNAMIC.contains(&name)
        || name.starts_with("node.attr.")
        || name.starts_with("xpack.security.authc.")
        || name.starts_with("xpack.security.audit.")
        || remote_part(name).is_some_and(|(_, key)| key != "credentials")
}

/// Whether the keystore may hold this entry.
pub fn is_known_secret(name: &str) -> bool {
    matches!(name, "keystore.seed" | "bootstrap.password")
        || context_part(name).is_some_and(|(_, key)| SECRETS.contains(&key))
        || remote_part(name).is_some_and(|(_, key)| key == "credentials" || key == "signing.keystore.secure_password")
        || OTHER_SECRETS.iter().any(|(start, ends)| name.starts_with(start) && ends.iter().any(|end| name.ends_with(end)))
}

/// Whether a node takes up a changed entry when it is told to reload, rather than at its next start.
pub fn is_reloadable(name: &str) -> bool {
    context_part(name).is_none() && !matches!(name, "keystore.seed" | "bootstrap.password")
}

/// Returns a nested object as flat names. Scalars become texts, as the API gives them back; `null` stays.
pub fn flatten(value: &Json) -> BTreeMap<String, Json> {
    let mut flat = BTreeMap::new();
    flatten_into("", value, &mut flat);
    flat
}

fn flatten_into(prefix: &str, value: &Json, flat: &mut BTreeMap<String, Json>) {
    let scalar = |value: &Json| match value {
        Json::Bool(_) | Json::Number(_) => Json::String(value.to_string()),
        other => other.clone(),
    };
    match value {
        Json::Object(map) => {
            for (key, value) in map {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten_into(&name, value, flat);
            }
        }
        Json::Array(items) => {
            flat.insert(prefix.to_owned(), Json::Array(items.iter().map(scalar).collect()));
        }
        other => {
            flat.insert(prefix.to_owned(), scalar(other));
        }
    }
}

/// Returns flat names as a nested object.
pub fn nested(flat: &BTreeMap<String, Json>) -> Json {
    let mut root = serde_json::Map::new();
    for (name, value) in flat {
        insert(&mut root, name, value);
    }
    Json::Object(root)
}

fn insert(map: &mut serde_json::Map<String, Json>, name: &str, value: &Json) {
    let Some((first, rest)) = name.split_once('.') else {
        map.insert(name.to_owned(), value.clone());
        return;
    };
    match map.entry(first).or_insert_with(|| Json::Object(serde_json::Map::new())) {
        Json::Object(inner) => insert(inner, rest, value),
        // A name that is both a value and a beginning of others stays flat.
        _ => {
            map.insert(name.to_owned(), value.clone());
        }
    }
}

/// Applies an update: `null` removes, with `*` at the end all that begin so.
pub fn apply(settings: &mut BTreeMap<String, Json>, update: &BTreeMap<String, Json>) {
    for (name, value) in update {
        match (value, name.strip_suffix('*')) {
            (Json::Null, Some(start)) => settings.retain(|known, _| !known.starts_with(start)),
            (Json::Null, None) => {
                settings.remove(name);
            }
            (value, _) => {
                settings.insert(name.clone(), value.clone());
            }
        }
    }
}

/// Refuses what the cluster's settings cannot be. `scope` is `persistent` or `transient`.
pub fn check_update(scope: &str, update: &BTreeMap<String, Json>) -> Result<(), Refusal> {
    for (name, value) in update {
        let plain = name.trim_end_matches('*').trim_end_matches('.');
        let dynamic = DYNAMIC.contains(&name.as_str()) || name.starts_with("logger.") || remote_part(name).is_some();
        if value.is_null() && (dynamic || name.ends_with('*')) {
            continue;
        }
        if remote_part(name).is_some_and(|(_, key)| key == "credentials") {
            return Err(Refusal::illegal(format!(
                "Setting [{name}] is a secure setting and must be stored inside the Elasticsearch keystore"
            )));
        }
        if !dynamic {
            let kind = if is_known_to_a_node(plain) { "not dynamically updateable" } else { "not recognized" };
            return Err(Refusal::illegal(format!("{scope} setting [{name}], {kind}")));
        }
        check_value(name, value)?;
    }
    Ok(())
}

fn check_value(name: &str, value: &Json) -> Result<(), Refusal> {
    let key = remote_part(name).map_or(name, |(_, key)| key);
    let text = value.as_str();
    let failed = |why: String| Err(Refusal::illegal(format!("Failed to parse value [{}] for setting [{name}]{why}", plain(value))));
    match (key, text) {
        ("seeds", _) => super::answer::texts(value).unwrap_or_default().iter().try_for_each(|seed| check_address(seed)),
        ("proxy_address", Some(text)) => check_address(text),
        ("mode", Some(text)) if !["sniff", "proxy"].contains(&text.to_ascii_lowercase().as_str()) => {
            let constant = text.to_uppercase();
            Err(Refusal::illegal(format!(
                "No enum constant org.elasticsearch.transport.RemoteConnectionStrategy.ConnectionStrategy.{constant}"
            )))
        }
        ("skip_unavailable" | "action.destructive_requires_name" | "xpack.monitoring.collection.enabled", Some(text))
            if !["true", "false"].contains(&text) =>
        {
            failed(" as only [true] or [false] are allowed.".to_owned())
        }
        ("node_connections" | "proxy_socket_connections" | "cluster.max_shards_per_node", Some(text)) => match text.parse::<i64>() {
            Ok(number) if number >= 1 => Ok(()),
            Ok(_) => failed(" must be >= 1".to_owned()),
            Err(_) => failed(String::new()),
        },
        ("cluster.routing.allocation.enable" | "cluster.routing.rebalance.enable", Some(text)) => {
            let words: &[&str] = if key.contains("rebalance") {
                &["all", "primaries", "replicas", "none"]
            } else {
                &["all", "primaries", "new_primaries", "none"]
            };
            if words.contains(&text.to_ascii_lowercase().as_str()) {
                Ok(())
            } else {
                Err(Refusal::illegal(format!("Illegal {name} value [{}]", text.to_uppercase())))
            }
        }
        _ => Ok(()),
    }
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Refuses what is not `host:port`.
fn check_address(address: &str) -> Result<(), Refusal> {
    let Some((host, port)) =
        address.rsplit_once(':').filter(|(host, _)| !host.is_empty() && (!host.contains(':') || host.starts_with('[')))
    else {
        return Err(Refusal::illegal(format!("remote hosts need to be configured as [host:port], found [{address}] instead")));
    };
    let _ = host;
    match port.parse::<i64>() {
        Err(_) => Err(Refusal::illegal("failed to parse port")),
        Ok(number) if number <= 0 => Err(Refusal::illegal(format!("port number must be > 0 but was: [{number}]"))),
        Ok(number) if number > 65535 => Err(Refusal::illegal(format!("port out of range:{number}"))),
        Ok(_) => Ok(()),
    }
}

/// Refuses settings of remote clusters that belong to the other mode. `all` is what is in force after the update.
pub fn check_modes(all: &BTreeMap<String, Json>) -> Result<(), Refusal> {
    for alias in aliases(all) {
        let mode = mode(all, &alias);
        let (forbidden, required) = if mode == "proxy" { (SNIFF_ONLY, "SNIFF") } else { (PROXY_ONLY, "PROXY") };
        for key in forbidden {
            if all.contains_key(&format!("cluster.remote.{alias}.{key}")) {
                let reason = format!(
                    "Setting \"cluster.remote.{alias}.{key}\" cannot be used with the configured \"cluster.remote.{alias}.mode\" \
                     [required={required}, configured={}]",
                    mode.to_uppercase()
                );
                return Err(Refusal::illegal(reason));
            }
        }
    }
    Ok(())
}

/// Returns the aliases that any setting names.
pub fn aliases(all: &BTreeMap<String, Json>) -> BTreeSet<String> {
    all.keys().filter_map(|name| remote_part(name)).map(|(alias, _)| alias.to_owned()).collect()
}

/// Returns the mode of an alias, lower case.
pub fn mode(all: &BTreeMap<String, Json>, alias: &str) -> String {
    all.get(&format!("cluster.remote.{alias}.mode")).and_then(Json::as_str).unwrap_or("sniff").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_of_the_other_mode_are_refused() {
        let all = flatten(&json!({"cluster": {"remote": {"dr": {"mode": "proxy", "seeds": ["a:9443"]}}}}));
        let refusal = check_modes(&all).expect_err("seeds do not belong to proxy mode");
        assert_eq!(
            refusal.reason,
            r#"Setting "cluster.remote.dr.seeds" cannot be used with the configured "cluster.remote.dr.mode" [required=SNIFF, configured=PROXY]"#
        );
    }

    #[test]
    fn scalars_come_back_as_texts() {
        assert_eq!(flatten(&json!({"a": {"b": true, "c.d": 3, "e": [1]}})), flatten(&json!({"a.b": "true", "a.c.d": "3", "a.e": ["1"]})));
    }

    #[test]
    fn addresses_need_host_and_port() {
        for (seed, reason) in [
            ("a", "remote hosts need to be configured as [host:port], found [a] instead"),
            ("a:b", "failed to parse port"),
            ("a:0", "port number must be > 0 but was: [0]"),
        ] {
            let update = flatten(&json!({"cluster.remote.x.seeds": [seed]}));
            assert_eq!(check_update("persistent", &update).expect_err(seed).reason, reason);
        }
    }

    #[test]
    fn plain_passwords_are_refused_for_remote_clusters_only() {
        assert!(!is_known_to_a_node("xpack.security.remote_cluster_server.ssl.keystore.password"));
        assert!(is_known_to_a_node("xpack.security.transport.ssl.keystore.password"));
        assert!(is_known_secret("xpack.security.remote_cluster_server.ssl.keystore.secure_password"));
        assert!(!is_known_secret("cluster.remote.dr.credential"));
    }
}
