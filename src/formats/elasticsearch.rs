//! What Elasticsearch says: its answers read, its failures in words that tell what to do.

use std::collections::BTreeMap;

use serde_json::Value as Json;

/// What went wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// A text that failures have in them, and what to do then. The first that fits counts.
const ADVICE: &[(&str, &str)] = &[
    (
        "authentication via api key not supported",
        "log in as a user (`username` and `password`, or `bearer_token`): an API key cannot create cross-cluster API keys",
    ),
    (
        "an api key cannot be used to create",
        "log in as a user (`username` and `password`, or `bearer_token`): an API key cannot create cross-cluster API keys",
    ),
    (
        "current license is non-compliant",
        "cross-cluster API keys need an enterprise or trial licence on the remote cluster; `GET /_license` tells which there is",
    ),
    (
        "cross_cluster/api_key/create] is unauthorized",
        "the user needs the cluster privilege `manage_security`; `manage_api_key` is not enough for cross-cluster API keys",
    ),
    (
        "no api key owned by requesting user found",
        "the key belongs to another user or is no longer valid; use the user who made it, or `rotate: true` for a new one",
    ),
    ("while expected type is [cross_cluster]", "the name belongs to a REST API key; choose another `name`"),
    (
        "authentication expected api key type of [cross_cluster]",
        "the credential in the local keystore is a REST API key; make a cross-cluster one with `elasticsearch_cross_cluster_api_key`",
    ),
    (
        "authentication expected api key type of [rest]",
        "a cross-cluster API key is no login for the REST API; give `username` and `password`, or another `api_key`",
    ),
    (
        "cannot be used with the configured",
        "the alias is set to the other mode; `elasticsearch_remote_cluster` switches the mode and removes the other mode's settings in one request",
    ),
    ("remote hosts need to be configured as [host:port]", "write each remote node as `host:port`, as in `es.example.net:9443`"),
    (
        "secure settings cannot be updated cluster wide when tls",
        "switch on TLS for the transport layer, or ask each node by itself with `nodes: _local`",
    ),
    (
        "_cross_cluster_access_credentials] but none found",
        "this node has no credential for the remote cluster: write `cluster.remote.<alias>.credentials` into its keystore and reload the secure settings on every node",
    ),
    (
        "failed to establish trust with server",
        "the local node does not trust the remote certificate: see `xpack.security.remote_cluster_client.ssl.certificate_authorities`, the names in the certificate and its expiry; \
         where the message speaks of transport.ssl, the node has no credential for the alias",
    ),
    (
        "client did not trust this server's certificate",
        "see `xpack.security.remote_cluster_client.ssl.certificate_authorities` on the local nodes, and the names in the certificate",
    ),
    (
        "bad_certificate",
        "this looks like the transport port: with an API key, connect to the remote cluster server's port, 9443 unless changed",
    ),
    (
        "empty client certificate chain",
        "this looks like the transport port: with an API key, connect to the remote cluster server's port, 9443 unless changed",
    ),
    (
        "missing authentication credentials for action [cluster:internal/remote_cluster/handshake]",
        "this is the transport port: with an API key, connect to the remote cluster server's port, 9443 unless changed",
    ),
    (
        "requires channel profile to be [_remote_cluster]",
        "this is the transport port: connect to the remote cluster server's port, 9443 unless changed",
    ),
    (
        "failed to open any proxy connections",
        "nothing answers at the proxy address: see `remote_cluster_server.enabled`, host, port, firewall, and that the publish address is not loopback",
    ),
    (
        "unable to connect to remote cluster",
        "nothing answers, or not as expected: see `remote_cluster_server.enabled`, host, port, firewall, and that the publish address is not loopback",
    ),
    (
        "connect_exception",
        "nothing answers there: see `remote_cluster_server.enabled`, host, port, firewall, and that the publish address is reachable from here and not loopback",
    ),
    (
        "invalid credentials",
        "the API key in the keystore is wrong, expired or was invalidated: rotate it with `elasticsearch_cross_cluster_api_key`, write it to every node and reload",
    ),
    (
        "no remote indices privileges apply",
        "give the local user's role `remote_indices` for the alias, and the API key access to those indices",
    ),
    ("granted by the index privileges", "widen the API key's `access`, or `remote_indices` of the local user's role"),
    (
        "closed by remote",
        "something between the clusters cuts idle connections: set a TCP keepalive, or `cluster.remote.<alias>.transport.ping_schedule`",
    ),
    ("unable to authenticate user", "see the user's name and password"),
    ("missing authentication credentials", "give `username` and `password`, `bearer_token` or `api_key`"),
    ("not recognized", "the setting does not exist in this version; see its spelling"),
    ("is unauthorized for user", "the user lacks a cluster privilege that the message names"),
];

/// Returns what to do about a failure that says `text`.
pub fn advice(text: &str) -> Option<&'static str> {
    let text = text.to_lowercase();
    ADVICE.iter().find(|(part, _)| text.contains(part)).map(|(_, hint)| *hint)
}

/// Returns what an answer that is no success means.
pub fn trouble(what: &str, status: u16, body: &Json) -> Trouble {
    let reason = reason(body);
    let message = match (status, &reason) {
        (_, Some(reason)) => format!("{what}: Elasticsearch answered {status}: {reason}"),
        (401, None) => format!("{what}: Elasticsearch does not accept the login (401)"),
        (403, None) => format!("{what}: the user may not do that (403)"),
        (status, None) => format!("{what}: the answer was {status}"),
    };
    let hint = reason.as_deref().and_then(advice).or(match status {
        401 => Some("see the user's name and password"),
        404 => Some("see whether the address is the one of an Elasticsearch node, and its version"),
        _ => None,
    });
    Trouble { message, hint: hint.map(ToOwned::to_owned) }
}

/// Returns the innermost reasons of an error, without repeats.
pub fn reason(body: &Json) -> Option<String> {
    let mut found: Vec<String> = Vec::new();
    collect_reasons(body.get("error").unwrap_or(body), &mut found, 0);
    let mut out: Vec<String> = Vec::new();
    for reason in found {
        if !out.iter().any(|other| other.contains(&reason)) {
            out.push(reason);
        }
    }
    (!out.is_empty()).then(|| out.join(": "))
}

fn collect_reasons(error: &Json, out: &mut Vec<String>, depth: u8) {
    if depth > 10 {
        return;
    }
    match error {
        Json::String(text) => out.push(text.clone()),
        Json::Object(map) => {
            match (map.get("type").and_then(Json::as_str), map.get("reason")) {
                (Some(kind), Some(Json::String(reason))) if kind.contains("connect") => out.push(format!("{kind}: {reason}")),
                (_, Some(Json::String(reason))) => out.push(reason.clone()),
                (_, Some(inner @ Json::Object(_))) => collect_reasons(inner, out, depth + 1),
                _ => {}
            }
            if let Some(cause) = map.get("caused_by") {
                collect_reasons(cause, out, depth + 1);
            }
        }
        _ => {}
    }
}

/// Flat settings: dotted name and value.
pub type Flat = BTreeMap<String, Json>;

/// Returns settings, nested or dotted, as flat ones. `null` stays: it removes.
pub fn flat(settings: &Json) -> Flat {
    let mut out = Flat::new();
    flatten(settings, "", &mut out);
    out
}

fn flatten(value: &Json, prefix: &str, out: &mut Flat) {
    match value {
        Json::Object(map) => {
            for (key, value) in map {
                flatten(value, &if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") }, out);
            }
        }
        value if !prefix.is_empty() => {
            out.insert(prefix.to_owned(), normal(value));
        }
        _ => {}
    }
}

/// Returns a setting's value as Elasticsearch gives it back: every scalar is a text.
pub fn normal(value: &Json) -> Json {
    match value {
        Json::Bool(flag) => flag.to_string().into(),
        Json::Number(number) => number.to_string().into(),
        Json::Array(items) => items.iter().map(normal).collect(),
        other => other.clone(),
    }
}

/// Returns what of `wanted` is not so in `found`: names with their new value, `null` for what has to go. A name that ends
/// with `.*` and is `null` means all below it.
pub fn differing(found: &Flat, wanted: &Flat) -> Flat {
    let mut out = Flat::new();
    for (name, value) in wanted {
        match name.strip_suffix('*').filter(|_| value.is_null()) {
            Some(prefix) => out.extend(found.keys().filter(|key| key.starts_with(prefix)).map(|key| (key.clone(), Json::Null))),
            None if found.get(name).unwrap_or(&Json::Null) != value => {
                out.insert(name.clone(), value.clone());
            }
            None => {}
        }
    }
    out
}

/// Returns `found` after `changes`.
pub fn merged(found: &Flat, changes: &Flat) -> Flat {
    let mut out = found.clone();
    for (name, value) in changes {
        if value.is_null() {
            out.remove(name)
        } else {
            out.insert(name.clone(), value.clone())
        };
    }
    out
}

/// Returns settings as lines, for a difference.
pub fn lines<'a>(settings: impl IntoIterator<Item = (&'a String, &'a Json)>) -> String {
    let line = |(name, value): (&String, &Json)| match value {
        Json::String(text) => format!("{name}: {text}\n"),
        other => format!("{name}: {other}\n"),
    };
    settings.into_iter().map(line).collect()
}

/// The access of a cross-cluster API key, in one form for both spellings of the same.
pub fn normal_access(access: &Json) -> Json {
    let mut out = serde_json::Map::new();
    for kind in ["search", "replication"] {
        let rules: Vec<_> = access.get(kind).and_then(Json::as_array).into_iter().flatten().map(normal_rule).collect();
        if !rules.is_empty() {
            out.insert(kind.to_owned(), rules.into());
        }
    }
    Json::Object(out)
}

fn normal_rule(rule: &Json) -> Json {
    let mut out = serde_json::Map::new();
    for (name, value) in rule.as_object().into_iter().flatten() {
        let value = match name.as_str() {
            "names" => sorted(value),
            "allow_restricted_indices" if value == &Json::Bool(false) => continue,
            "privileges" => continue,
            _ if value.is_null() => continue,
            "query" if value.is_object() => value.to_string().into(),
            _ => value.clone(),
        };
        out.insert(name.clone(), value);
    }
    let mut entries: Vec<_> = out.into_iter().collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Json::Object(entries.into_iter().collect())
}

fn sorted(names: &Json) -> Json {
    let mut names: Vec<String> = match names {
        Json::Array(items) => items.iter().filter_map(Json::as_str).map(ToOwned::to_owned).collect(),
        Json::String(name) => vec![name.clone()],
        _ => Vec::new(),
    };
    names.sort();
    names.dedup();
    names.into()
}

/// Returns the access that a key has, as an answer tells it: older versions tell only the role that was made of it.
pub fn access_of_key(key: &Json) -> Json {
    if let Some(access) = key.get("access") {
        return normal_access(access);
    }
    let indices = key.pointer("/role_descriptors/cross_cluster/indices").and_then(Json::as_array);
    let (mut search, mut replication) = (Vec::new(), Vec::new());
    for rule in indices.into_iter().flatten() {
        let privileges = rule.get("privileges").and_then(Json::as_array);
        let replicates =
            privileges.is_some_and(|all| all.iter().filter_map(Json::as_str).any(|name| name.starts_with("cross_cluster_replication")));
        if replicates { &mut replication } else { &mut search }.push(rule.clone());
    }
    normal_access(&serde_json::json!({ "search": search, "replication": replication }))
}

/// Returns a text for the path or the query of an address.
pub fn encoded(text: &str) -> String {
    let keep = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    text.bytes().map(|byte| if keep(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Returns the milliseconds of a duration such as `90d`, `12h`, `500ms`.
pub fn millis(duration: &str) -> Option<i64> {
    let at = duration.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = duration.split_at(at);
    let factor = match unit {
        "d" => 86_400_000,
        "h" => 3_600_000,
        "m" => 60_000,
        "s" => 1000,
        "ms" => 1,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}

/// How well a cluster is: higher is better.
pub fn rank(status: &str) -> u8 {
    match status {
        "green" => 2,
        "yellow" => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_compare_whatever_their_spelling_and_types() {
        let found = flat(&json!({"cluster.remote.dr.skip_unavailable": "false", "cluster.remote.dr.seeds": ["a:9443"], "x": "1"}));
        let wanted = flat(&json!({"cluster": {"remote.dr": {"skip_unavailable": false, "seeds": ["a:9443"]}}, "x": 2, "gone": null}));
        assert_eq!(differing(&found, &wanted), Flat::from([("x".to_owned(), json!("2"))]));
        let all = flat(&json!({"cluster.remote.dr.*": null}));
        assert_eq!(differing(&found, &all).len(), 2);
        assert_eq!(merged(&found, &differing(&found, &all)).keys().collect::<Vec<_>>(), ["x"]);
    }

    #[test]
    fn failures_say_what_to_do() {
        let body = json!({"error": {"type": "security_exception", "reason": "current license is non-compliant for [advanced-remote-cluster-security]"}, "status": 403});
        let trouble = trouble("create the API key `x`", 403, &body);
        insta::assert_snapshot!(format!("{}\n{}", trouble.message, trouble.hint.unwrap_or_default()), @r"
        create the API key `x`: Elasticsearch answered 403: current license is non-compliant for [advanced-remote-cluster-security]
        cross-cluster API keys need an enterprise or trial licence on the remote cluster; `GET /_license` tells which there is
        ");
        let nested = json!({"error": {"reason": "outer", "caused_by": {"type": "connect_exception", "reason": "refused"}}});
        assert_eq!(reason(&nested).as_deref(), Some("outer: connect_exception: refused"));
        assert!(advice("x connect_exception: refused").expect("advice").contains("remote_cluster_server.enabled"));
    }

    #[test]
    fn access_is_the_same_in_every_spelling() {
        let asked = json!({"search": [{"names": ["b", "a"]}], "replication": []});
        let told = json!({"access": {"search": [{"names": ["a", "b"], "allow_restricted_indices": false}]}});
        assert_eq!(normal_access(&asked), access_of_key(&told));
        let role = json!({"role_descriptors": {"cross_cluster": {"indices": [
            {"names": ["a", "b"], "privileges": ["read", "read_cross_cluster", "view_index_metadata"], "allow_restricted_indices": false}]}}});
        assert_eq!(normal_access(&asked), access_of_key(&role));
    }

    #[test]
    fn durations_and_addresses() {
        assert_eq!(millis("90d"), Some(90 * 86_400_000));
        assert_eq!(millis("5x"), None);
        assert_eq!(encoded("a b/ü"), "a%20b%2F%C3%BC");
    }
}
