//! Who asks, and what that one may do.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::answer::Refusal;
use super::state::Cluster;

/// Who sent a request.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The user; for a key, its owner.
    pub username: String,
    /// Roles of the user.
    pub roles: Vec<String>,
    /// Cluster privileges.
    pub privileges: Vec<String>,
    /// Id and name of the API key, where one was used.
    pub key: Option<(String, String)>,
}

/// Every cluster privilege that is asked for, and those that grant it besides `all`.
const GRANTED_BY: &[(&str, &[&str])] = &[
    ("monitor", &["monitor", "manage"]),
    ("manage", &["manage"]),
    ("manage_security", &["manage_security"]),
    ("read_security", &["read_security", "manage_security"]),
    ("manage_api_key", &["manage_api_key", "manage_security"]),
    ("manage_own_api_key", &["manage_own_api_key", "manage_api_key", "manage_security"]),
    ("manage_ml", &["manage_ml", "manage"]),
    ("cross_cluster_search", &["cross_cluster_search"]),
];

impl Identity {
    /// Whether it has a cluster privilege.
    pub fn may(&self, privilege: &str) -> bool {
        let granting = GRANTED_BY.iter().find(|(name, _)| *name == privilege).map_or(&[][..], |(_, list)| list);
        self.privileges.iter().any(|held| held == "all" || held == privilege || granting.contains(&held.as_str()))
    }

    /// Refuses who lacks a privilege for an action.
    pub fn need(&self, privilege: &str, action: &str) -> Result<(), Refusal> {
        if self.may(privilege) {
            return Ok(());
        }
        let who = match &self.key {
            Some((id, _)) => format!("API key id [{id}] of user [{}]", self.username),
            None => format!("user [{}] with effective roles [{}]", self.username, self.roles.join(",")),
        };
        let mut granting: Vec<_> = GRANTED_BY.iter().find(|(name, _)| *name == privilege).map_or(&[][..], |(_, list)| list).to_vec();
        granting.push("all");
        let granting = granting.join(",");
        let reason = format!("action [{action}] is unauthorized for {who}, this action is granted by the cluster privileges [{granting}]");
        Err(Refusal::new(403, "security_exception", reason))
    }
}

/// Returns who a request comes from.
pub fn identify(cluster: &Cluster, authorization: Option<&str>, uri: &str) -> Result<Identity, Refusal> {
    let missing = || Refusal::new(401, "security_exception", format!("missing authentication credentials for REST request [{uri}]"));
    let (scheme, credentials) = authorization.and_then(|text| text.trim().split_once(' ')).ok_or_else(missing)?;
    let decoded = STANDARD.decode(credentials.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let Some((name, secret)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
        return Err(Refusal::new(401, "security_exception", format!("invalid {} authentication header value", scheme.to_lowercase())));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "basic" => user(cluster, name, secret, uri),
        "apikey" => key(cluster, name, secret, uri),
        _ => Err(missing()),
    }
}

fn user(cluster: &Cluster, name: &str, password: &str, uri: &str) -> Result<Identity, Refusal> {
    let Some(user) = cluster.start.users.get(name).filter(|user| user.password == password) else {
        return Err(Refusal::new(401, "security_exception", format!("unable to authenticate user [{name}] for REST request [{uri}]")));
    };
    let mut privileges = Vec::new();
    for role in &user.roles {
        match role.as_str() {
            "superuser" => privileges.push("all".to_owned()),
            "monitoring_user" => privileges.push("monitor".to_owned()),
            other => privileges.extend(cluster.start.roles.get(other).cloned().unwrap_or_default()),
        }
    }
    Ok(Identity { username: name.to_owned(), roles: user.roles.clone(), privileges, key: None })
}

fn key(cluster: &Cluster, id: &str, secret: &str, uri: &str) -> Result<Identity, Refusal> {
    let Some(key) = cluster.keys.iter().find(|key| key.id == id && key.secret == secret && key.is_active()) else {
        return Err(Refusal::new(
            401,
            "security_exception",
            format!("unable to authenticate with provided credentials for REST request [{uri}]"),
        ));
    };
    if key.kind != "rest" {
        let reason = format!("authentication expected API key type of [rest], but API key [{id}] has type [{}]", key.kind);
        return Err(Refusal::new(401, "security_exception", reason));
    }
    let described = key.roles.as_object().into_iter().flat_map(|roles| roles.values());
    let mut privileges: Vec<String> = described
        .filter_map(|role| role.get("cluster")?.as_array())
        .flatten()
        .filter_map(|privilege| privilege.as_str().map(str::to_owned))
        .collect();
    if key.roles.as_object().is_none_or(serde_json::Map::is_empty) {
        // A key without roles of its own has its owner's.
        privileges = cluster.start.users.get(&key.username).map(|_| vec!["all".to_owned()]).unwrap_or_default();
    }
    Ok(Identity { username: key.username.clone(), roles: Vec::new(), privileges, key: Some((key.id.clone(), key.name.clone())) })
}

/// Checks the credential of a remote cluster, as it comes with a handshake.
pub fn identify_remote(cluster: &Cluster, credential: Option<&str>) -> Result<String, String> {
    let Some(credential) = credential else {
        return Err("Cross cluster requests through the dedicated remote cluster server port require transport header \
                    [_cross_cluster_access_credentials] but none found. Please ensure you have configured remote cluster credentials on the cluster \
                    originating the request."
            .to_owned());
    };
    let decoded = STANDARD.decode(credential).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let Some((id, secret)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
        return Err("cross cluster access header is invalid".to_owned());
    };
    match cluster.keys.iter().find(|key| key.id == id && key.secret == secret) {
        Some(key) if key.kind != "cross_cluster" => {
            Err(format!("authentication expected API key type of [cross_cluster], but API key [{id}] has type [{}]", key.kind))
        }
        Some(key) if key.is_active() => Ok(key.id.clone()),
        _ => Err(format!("unable to authenticate user [{id}] for action [cluster:internal/remote_cluster/handshake]")),
    }
}
