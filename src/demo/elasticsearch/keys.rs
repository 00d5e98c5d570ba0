//! API keys: making, changing, listing and invalidating them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value as Json, json};

use super::answer::{Ask, Refusal, Reply, milliseconds, object, texts};
use super::node::Node;
use super::state::{ApiKey, Cluster, identifier, now};

const PAYLOAD: &str = "cross_cluster_api_key_request_payload";
const CREATE_CROSS: &str = "cluster:admin/xpack/security/cross_cluster/api_key/create";
const UPDATE_CROSS: &str = "cluster:admin/xpack/security/cross_cluster/api_key/update";

/// Refuses cross-cluster keys without the licence for them.
fn licensed(cluster: &Cluster) -> Result<(), Refusal> {
    if ["enterprise", "trial"].contains(&cluster.start.license.as_str()) {
        return Ok(());
    }
    Err(Refusal::new(403, "security_exception", "current license is non-compliant for [advanced-remote-cluster-security]"))
}

/// Refuses API keys that would make API keys for other clusters.
fn not_by_key(ask: &Ask, what: &str) -> Result<(), Refusal> {
    if ask.who.key.is_none() {
        return Ok(());
    }
    Err(Refusal::illegal(format!("authentication via API key not supported: An API key cannot be used to {what} a cross-cluster API key")))
}

/// `POST /_security/cross_cluster/api_key`
pub fn create_cross(ask: &Ask, node: &Node) -> Result<Reply, Refusal> {
    ask.only(&["refresh"])?;
    ask.who.need("manage_security", CREATE_CROSS)?;
    let body = object(&ask.body, PAYLOAD, &["name", "access", "expiration", "metadata", "certificate_identity"])?;
    let name = match body.get("name") {
        None => return Err(Refusal::illegal("Required [name]")),
        Some(Json::String(name)) => name.clone(),
        Some(other) => return Err(Refusal::wrong_type(PAYLOAD, "name", other)),
    };
    let access = checked_access(body.get("access").ok_or_else(|| Refusal::illegal("Required [access]"))?)?;
    check_name(&name)?;
    not_by_key(ask, "create")?;
    let key = ApiKey {
        kind: "cross_cluster".to_owned(),
        access: Some(access),
        identity: identity(body, node)?.flatten(),
        expiration: expiration(body)?,
        metadata: metadata(body)?.unwrap_or_default(),
        ..blank(ask, &name)
    };
    store(node, key, licensed)
}

/// `POST /_security/api_key`
pub fn create_rest(ask: &Ask, node: &Node) -> Result<Reply, Refusal> {
    ask.only(&["refresh"])?;
    ask.who.need("manage_own_api_key", "cluster:admin/xpack/security/api_key/create")?;
    let body = object(&ask.body, "api_key_request", &["name", "expiration", "role_descriptors", "metadata"])?;
    let name = body.get("name").and_then(Json::as_str).unwrap_or_default().to_owned();
    check_name(&name)?;
    let roles = body.get("role_descriptors").cloned().unwrap_or_else(|| json!({}));
    if ask.who.key.is_some() && roles != json!({}) {
        return Err(Refusal::illegal("creating derived api keys requires an explicit role descriptor that is empty (has no privileges)"));
    }
    let key = ApiKey { roles, expiration: expiration(body)?, metadata: metadata(body)?.unwrap_or_default(), ..blank(ask, &name) };
    store(node, key, |_| Ok(()))
}

fn blank(ask: &Ask, name: &str) -> ApiKey {
    ApiKey {
        id: identifier(),
        name: name.to_owned(),
        kind: "rest".to_owned(),
        secret: identifier(),
        creation: now(),
        expiration: None,
        invalidation: None,
        username: ask.who.username.clone(),
        realm: "native1".to_owned(),
        metadata: Map::new(),
        access: None,
        roles: json!({}),
        identity: None,
    }
}

fn store(node: &Node, key: ApiKey, allow: impl FnOnce(&Cluster) -> Result<(), Refusal>) -> Result<Reply, Refusal> {
    let encoded = STANDARD.encode(format!("{}:{}", key.id, key.secret));
    let mut answer = json!({"id": key.id, "name": key.name, "api_key": key.secret, "encoded": encoded});
    if let (Some(end), Some(map)) = (key.expiration, answer.as_object_mut()) {
        map.insert("expiration".to_owned(), json!(end));
    }
    node.update(|cluster| {
        allow(cluster)?;
        cluster.note(format!("API key {} created", key.name));
        cluster.keys.push(key);
        Ok(())
    })?;
    Ok(answer.into())
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let problem = if name.is_empty() {
        "api key name is required"
    } else if name.chars().count() > 256 {
        "api key name may not be more than 256 characters long"
    } else if name.trim() != name {
        "api key name may not begin or end with whitespace"
    } else if name.starts_with('_') {
        "api key name may not begin with an underscore"
    } else {
        return Ok(());
    };
    Err(Refusal::invalid(&[problem.to_owned()]))
}

fn expiration(body: &Map<String, Json>) -> Result<Option<u64>, Refusal> {
    match body.get("expiration") {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(now().saturating_add(milliseconds(text, "expiration")?))),
        Some(other) => Err(Refusal::wrong_type(PAYLOAD, "expiration", other)),
    }
}

fn metadata(body: &Map<String, Json>) -> Result<Option<Map<String, Json>>, Refusal> {
    match body.get("metadata") {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Object(map)) if map.keys().any(|key| key.starts_with('_')) => {
            Err(Refusal::invalid(&["API key metadata keys may not start with [_]".to_owned()]))
        }
        Some(Json::Object(map)) => Ok(Some(map.clone())),
        Some(other) => Err(Refusal::wrong_type(PAYLOAD, "metadata", other)),
    }
}

/// Returns `certificate_identity`: `None` where it is not given, `Some(None)` where it is cleared. Servers before 9.3 do not know it.
fn identity(body: &Map<String, Json>, node: &Node) -> Result<Option<Option<String>>, Refusal> {
    match body.get("certificate_identity") {
        None => Ok(None),
        Some(_) if !node.is_at_least(9, 3) => Err(Refusal::unknown_field(PAYLOAD, "certificate_identity")),
        Some(Json::Null) => Ok(Some(None)),
        Some(Json::String(text)) => Ok(Some(Some(text.clone()))),
        Some(other) => Err(Refusal::wrong_type(PAYLOAD, "certificate_identity", other)),
    }
}

/// Returns `access` in the form in which the server gives it back, or says what is wrong with it.
fn checked_access(access: &Json) -> Result<Json, Refusal> {
    if !access.is_object() {
        return Err(Refusal::wrong_type(PAYLOAD, "access", access));
    }
    let map = object(access, "access", &["search", "replication"])?;
    let part = |name: &str, fields: &[&str]| -> Result<Vec<Json>, Refusal> {
        let Some(list) = map.get(name) else { return Ok(Vec::new()) };
        let Some(items) = list.as_array() else { return Err(Refusal::wrong_type("access", name, list)) };
        items.iter().map(|item| checked_indices(name, item, fields)).collect()
    };
    let search = part("search", &["names", "query", "field_security", "allow_restricted_indices"])?;
    let restricts = |item: &Json| item.get("query").is_some() || item.get("field_security").is_some();
    let replication = part("replication", &["names", "query", "field_security", "allow_restricted_indices"])?;
    if replication.iter().any(restricts) {
        return Err(Refusal::illegal("replication does not support document or field level security"));
    }
    if search.is_empty() && replication.is_empty() {
        return Err(Refusal::illegal("must specify non-empty access for either [search] or [replication]"));
    }
    if !replication.is_empty() && search.iter().any(restricts) {
        return Err(Refusal::illegal("search does not support document or field level security if [replication] is specified"));
    }
    let mut checked = Map::new();
    for (name, list) in [("search", search), ("replication", replication)] {
        if !list.is_empty() {
            checked.insert(name.to_owned(), Json::Array(list));
        }
    }
    Ok(Json::Object(checked))
}

fn checked_indices(part: &str, item: &Json, fields: &[&str]) -> Result<Json, Refusal> {
    let map = object(item, part, fields)?;
    let names = map.get("names").ok_or_else(|| Refusal::illegal("Required [names]"))?;
    let names = texts(names).filter(|names| !names.is_empty()).ok_or_else(|| Refusal::wrong_type(part, "names", names))?;
    let mut checked = Map::new();
    checked.insert("names".to_owned(), json!(names));
    if let Some(query) = map.get("query") {
        let text = query.as_str().map_or_else(|| query.to_string(), str::to_owned);
        checked.insert("query".to_owned(), json!(text));
    }
    if let Some(security) = map.get("field_security") {
        object(security, "field_security", &["grant", "except"])?;
        checked.insert("field_security".to_owned(), security.clone());
    }
    match map.get("allow_restricted_indices") {
        None => checked.insert("allow_restricted_indices".to_owned(), json!(false)),
        Some(Json::Bool(value)) => checked.insert("allow_restricted_indices".to_owned(), json!(value)),
        Some(other) => return Err(Refusal::wrong_type(part, "allow_restricted_indices", other)),
    };
    Ok(Json::Object(checked))
}

/// `PUT /_security/cross_cluster/api_key/{id}`
pub fn update_cross(ask: &Ask, node: &Node, id: &str) -> Result<Reply, Refusal> {
    ask.only(&[])?;
    ask.who.need("manage_security", UPDATE_CROSS)?;
    if !ask.has_body {
        return Err(Refusal::new(400, "parse_exception", "request body is required"));
    }
    let body =
        object(&ask.body, "update_cross_cluster_api_key_request_payload", &["access", "expiration", "metadata", "certificate_identity"])?;
    if !["access", "metadata", "expiration", "certificate_identity"].iter().any(|field| body.contains_key(*field)) {
        return Err(Refusal::invalid(&["must update either [access] or [metadata] for cross-cluster API keys".to_owned()]));
    }
    let access = body.get("access").map(checked_access).transpose()?;
    let metadata = metadata(body)?;
    let identity = identity(body, node)?;
    let expiration = expiration(body)?;
    not_by_key(ask, "update")?;
    let mut updated = false;
    node.update(|cluster| {
        licensed(cluster)?;
        let missing =
            || Refusal::new(404, "resource_not_found_exception", format!("no API key owned by requesting user found for ID [{id}]"));
        let key = cluster.keys.iter_mut().find(|key| key.id == id && key.username == ask.who.username).ok_or_else(missing)?;
        if key.kind != "cross_cluster" {
            return Err(Refusal::illegal(format!("cannot update API key of type [{}] while expected type is [cross_cluster]", key.kind)));
        }
        if key.invalidation.is_some() {
            return Err(Refusal::illegal(format!("cannot update invalidated API key [{id}]")));
        }
        if !key.is_active() {
            return Err(Refusal::illegal(format!("cannot update expired API key [{id}]")));
        }
        let before = json!([key.access, key.metadata, key.expiration, key.identity]);
        key.access = access.clone().or(key.access.take());
        key.metadata = metadata.clone().unwrap_or_else(|| key.metadata.clone());
        key.expiration = expiration.or(key.expiration);
        key.identity = identity.clone().unwrap_or_else(|| key.identity.clone());
        updated = before != json!([key.access, key.metadata, key.expiration, key.identity]);
        Ok(())
    })?;
    Ok(json!({"updated": updated}).into())
}

/// `GET /_security/api_key`
pub fn get(ask: &Ask, cluster: &Cluster) -> Result<Reply, Refusal> {
    ask.only(&["id", "name", "owner", "realm_name", "username", "with_limited_by", "active_only", "with_profile_uid"])?;
    let owner = ask.switch("owner")?;
    if !owner || !ask.who.may("manage_own_api_key") {
        ask.who.need("read_security", "cluster:admin/xpack/security/api_key/get")?;
    }
    let active = ask.switch("active_only")?;
    let fits = |key: &&ApiKey| {
        let same = |parameter: &str, value: &str| ask.query.get(parameter).is_none_or(|wanted| wanted == value);
        let named = ask.query.get("name").is_none_or(|wanted| match wanted.strip_suffix('*') {
            Some(start) => key.name.starts_with(start),
            None => *wanted == key.name,
        });
        named
            && same("id", &key.id)
            && same("username", &key.username)
            && same("realm_name", &key.realm)
            && (!owner || key.username == ask.who.username)
            && (!active || key.is_active())
    };
    let found: Vec<_> = cluster.keys.iter().filter(fits).map(shown).collect();
    if found.is_empty() && ask.query.contains_key("id") {
        let id = ask.query.get("id").map(String::as_str).unwrap_or_default();
        return Err(Refusal::new(404, "resource_not_found_exception", format!("API key with id [{id}] not found")));
    }
    Ok(json!({"api_keys": found}).into())
}

/// `GET|POST /_security/_query/api_key`
pub fn query(ask: &Ask, cluster: &Cluster) -> Result<Reply, Refusal> {
    ask.only(&["with_limited_by", "with_profile_uid", "typed_keys"])?;
    ask.who.need("manage_own_api_key", "cluster:admin/xpack/security/api_key/query")?;
    let fields = ["query", "from", "size", "sort", "search_after", "aggregations", "aggs"];
    let empty = json!({});
    let body = object(if ask.has_body { &ask.body } else { &empty }, "query_api_key_request", &fields)?;
    let all = ask.who.may("read_security");
    let mut found = Vec::new();
    for key in cluster.keys.iter().filter(|key| all || key.username == ask.who.username) {
        if body.get("query").map_or(Ok(true), |query| matches(query, &shown(key)))? {
            found.push(shown(key));
        }
    }
    let number = |name: &str, default: u64| body.get(name).and_then(Json::as_u64).unwrap_or(default);
    let total = found.len();
    let skip = usize::try_from(number("from", 0)).unwrap_or_default();
    let take = usize::try_from(number("size", 10)).unwrap_or_default();
    let page: Vec<_> = found.into_iter().skip(skip).take(take).collect();
    Ok(json!({"total": total, "count": page.len(), "api_keys": page}).into())
}

/// Whether a key fits a query of `bool`, `term`, `terms`, `match_all`, `exists`, `prefix` and `wildcard`.
fn matches(query: &Json, key: &Json) -> Result<bool, Refusal> {
    let strange = || Refusal::new(400, "parsing_exception", format!("unknown or unsupported query {query}"));
    let (kind, inner) = query.as_object().filter(|map| map.len() == 1).and_then(|map| map.iter().next()).ok_or_else(strange)?;
    let list = |value: &Json| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    let each = |value: &Json| -> Result<Vec<bool>, Refusal> { list(value).iter().map(|part| matches(part, key)).collect() };
    match kind.as_str() {
        "match_all" => Ok(true),
        "exists" => Ok(inner.get("field").and_then(Json::as_str).is_some_and(|field| key.get(field).is_some_and(|value| !value.is_null()))),
        "bool" => {
            let all = |name: &str| inner.get(name).map_or(Ok(true), |value| each(value).map(|found| found.iter().all(|yes| *yes)));
            let none = inner.get("must_not").map_or(Ok(true), |value| each(value).map(|found| !found.contains(&true)))?;
            let any = inner.get("should").map_or(Ok(true), |value| each(value).map(|found| found.contains(&true)))?;
            Ok(all("must")? && all("filter")? && none && any)
        }
        "term" | "terms" | "prefix" | "wildcard" | "match" => {
            let (field, wanted) = inner.as_object().and_then(|map| map.iter().next()).ok_or_else(strange)?;
            let wanted = wanted.get("value").or_else(|| wanted.get("query")).unwrap_or(wanted);
            let value = field.split('.').try_fold(key, |value, part| value.get(part)).cloned().unwrap_or(Json::Null);
            let text = value.as_str().unwrap_or_default();
            Ok(match (kind.as_str(), wanted.as_str()) {
                ("terms", _) => list(wanted).contains(&value),
                ("prefix", Some(start)) => text.starts_with(start),
                ("wildcard", Some(pattern)) => text.starts_with(pattern.trim_end_matches('*')),
                _ => *wanted == value,
            })
        }
        _ => Err(strange()),
    }
}

/// Returns a key as the API shows it: never with its secret.
fn shown(key: &ApiKey) -> Json {
    let mut shown = json!({
        "id": key.id,
        "name": key.name,
        "type": key.kind,
        "creation": key.creation,
        "invalidated": key.invalidation.is_some(),
        "username": key.username,
        "realm": key.realm,
        "realm_type": "native",
        "metadata": key.metadata,
        "role_descriptors": key.roles,
    });
    let Some(map) = shown.as_object_mut() else { return shown };
    if let Some(end) = key.expiration {
        map.insert("expiration".to_owned(), json!(end));
    }
    if let Some(time) = key.invalidation {
        map.insert("invalidation".to_owned(), json!(time));
    }
    if let Some(access) = &key.access {
        map.insert("role_descriptors".to_owned(), json!({"cross_cluster": role(access)}));
        map.insert("access".to_owned(), access.clone());
    }
    if let Some(identity) = &key.identity {
        map.insert("certificate_identity".to_owned(), json!(identity));
    }
    shown
}

/// Returns the role that the server makes of `access`.
fn role(access: &Json) -> Json {
    let mut cluster = Vec::new();
    let mut indices = Vec::new();
    let kinds: [(&str, &str, &[&str]); 2] = [
        ("search", "cross_cluster_search", &["read", "read_cross_cluster", "view_index_metadata"]),
        ("replication", "cross_cluster_replication", &["cross_cluster_replication", "cross_cluster_replication_internal"]),
    ];
    for (part, privilege, granted) in kinds {
        let Some(list) = access.get(part).and_then(Json::as_array) else { continue };
        cluster.push(privilege);
        for item in list {
            let mut entry = item.clone();
            if let Some(map) = entry.as_object_mut() {
                map.insert("privileges".to_owned(), json!(granted));
            }
            indices.push(entry);
        }
    }
    json!({"cluster": cluster, "indices": indices, "applications": [], "run_as": [], "metadata": {}, "transient_metadata": {"enabled": true}})
}

/// `DELETE /_security/api_key`
pub fn invalidate(ask: &Ask, node: &Node) -> Result<Reply, Refusal> {
    ask.only(&[])?;
    let body = object(&ask.body, "invalidate_api_key_request", &["id", "ids", "name", "owner", "realm_name", "username"])?;
    let text = |name: &str| {
        body.get(name).map(|value| texts(value).ok_or_else(|| Refusal::wrong_type("invalidate_api_key_request", name, value))).transpose()
    };
    let (id, ids, name, user) = (text("id")?, text("ids")?, text("name")?, text("username")?);
    let owner = body.get("owner").and_then(Json::as_bool).unwrap_or(false);
    if id.is_none() && ids.is_none() && name.is_none() && user.is_none() && !owner && body.get("realm_name").is_none() {
        let problem = "One of [api key id(s), api key name, username, realm name] must be specified if [owner] flag is false";
        return Err(Refusal::invalid(&[problem.to_owned()]));
    }
    if ids.as_ref().is_some_and(Vec::is_empty) {
        return Err(Refusal::invalid(&["Field [ids] cannot be an empty array".to_owned()]));
    }
    if !owner {
        ask.who.need("manage_api_key", "cluster:admin/xpack/security/api_key/invalidate")?;
    } else {
        ask.who.need("manage_own_api_key", "cluster:admin/xpack/security/api_key/invalidate")?;
    }
    let wanted: Option<Vec<String>> = ids.or(id);
    let (mut done, mut before, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    node.update(|cluster| {
        for key in &mut cluster.keys {
            let hit = wanted.as_ref().is_none_or(|ids| ids.contains(&key.id))
                && name.as_ref().is_none_or(|names| names.contains(&key.name))
                && user.as_ref().is_none_or(|users| users.contains(&key.username))
                && (!owner || key.username == ask.who.username);
            if !hit {
                continue;
            }
            if key.kind == "cross_cluster" && !ask.who.may("manage_security") {
                let reason = format!(
                    "Cannot invalidate cross-cluster API key [{}]. This requires [manage_security] cluster privilege or higher",
                    key.id
                );
                refused.push(json!({"type": "exception", "reason": reason}));
            } else if key.invalidation.is_some() {
                before.push(key.id.clone());
            } else {
                key.invalidation = Some(now());
                done.push(key.id.clone());
            }
        }
        for id in &done {
            cluster.note(format!("API key {id} invalidated"));
        }
        Ok(())
    })?;
    let mut answer = json!({"invalidated_api_keys": done, "previously_invalidated_api_keys": before, "error_count": refused.len()});
    if !refused.is_empty() {
        answer["error_details"] = Json::Array(refused);
    }
    Ok(answer.into())
}
