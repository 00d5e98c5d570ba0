//! `_security/_authenticate` and `_security/user/_has_privileges`.

use serde_json::{Map, Value as Json, json};

use super::answer::{Ask, Refusal, Reply, object, texts};

/// `GET /_security/_authenticate`
pub fn authenticate(ask: &Ask) -> Result<Reply, Refusal> {
    ask.only(&[])?;
    let who = &ask.who;
    let realm = if who.key.is_some() { ("_es_api_key", "_es_api_key") } else { ("native1", "native") };
    let mut body = json!({
        "username": who.username,
        "roles": who.roles,
        "full_name": Json::Null,
        "email": Json::Null,
        "metadata": {},
        "enabled": true,
        "authentication_realm": {"name": realm.0, "type": realm.1},
        "lookup_realm": {"name": realm.0, "type": realm.1},
        "authentication_type": if who.key.is_some() { "api_key" } else { "realm" },
    });
    if let (Some((id, name)), Some(map)) = (&who.key, body.as_object_mut()) {
        map.insert("api_key".to_owned(), json!({"id": id, "name": name}));
    }
    if let Some(map) = body.as_object_mut() {
        // The real thing leaves these out where the user has none.
        map.retain(|name, value| !value.is_null() || !["full_name", "email"].contains(&name.as_str()));
    }
    Ok(body.into())
}

/// `GET|POST /_security/user/_has_privileges`
pub fn has_privileges(ask: &Ask) -> Result<Reply, Refusal> {
    ask.only(&[])?;
    let body = object(&ask.body, "has_privileges", &["cluster", "index", "application"])?;
    let asked = body
        .get("cluster")
        .map_or(Ok(Vec::new()), |value| texts(value).ok_or_else(|| Refusal::wrong_type("has_privileges", "cluster", value)))?;
    let mut all = true;
    let mut cluster = Map::new();
    for privilege in asked {
        let may = ask.who.may(&privilege);
        all &= may;
        cluster.insert(privilege, json!(may));
    }
    let mut index = Map::new();
    for item in body.get("index").and_then(Json::as_array).into_iter().flatten() {
        let map = object(item, "index", &["names", "privileges", "allow_restricted_indices"])?;
        let list = |name: &str| map.get(name).and_then(texts).ok_or_else(|| Refusal::illegal(format!("Required [{name}]")));
        let may = ask.who.may("all");
        for name in list("names")? {
            let granted: Map<_, _> = list("privileges")?.into_iter().map(|privilege| (privilege, json!(may))).collect();
            all &= may;
            index.insert(name, Json::Object(granted));
        }
    }
    if cluster.is_empty() && index.is_empty() && !body.contains_key("application") {
        return Err(Refusal::invalid(&["must specify at least one privilege".to_owned()]));
    }
    Ok(json!({"username": ask.who.username, "has_all_requested": all, "cluster": cluster, "index": index, "application": {}}).into())
}
