//! What the simulator is told: which clusters there are, and where each node keeps its files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// All clusters and nodes of a site.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// Folder for what nodes share: one JSON file a cluster, one control socket a node.
    pub state: PathBuf,
    /// The clusters, by name.
    pub clusters: BTreeMap<String, Cluster>,
    /// The nodes, by name (`node.name`).
    pub nodes: BTreeMap<String, Node>,
    /// How long a node takes to stop and to start, in milliseconds.
    #[serde(default = "pace")]
    pub pace: u64,
}

fn pace() -> u64 {
    150
}

/// A cluster as it is before its first start.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// The version of Elasticsearch.
    pub version: String,
    /// The licence: `trial`, `basic`, `platinum`, `enterprise`.
    pub license: String,
    /// Users: name, password, roles.
    pub users: BTreeMap<String, User>,
    /// Roles that are not built in: name and cluster privileges.
    #[serde(default)]
    pub roles: BTreeMap<String, Vec<String>>,
}

/// A user of the native realm.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The password.
    pub password: String,
    /// The roles.
    pub roles: Vec<String>,
}

/// Where a node lives.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its cluster.
    pub cluster: String,
    /// Its configuration folder (`ES_PATH_CONF`), as the simulator sees it.
    pub conf: PathBuf,
    /// Its log file.
    pub log: PathBuf,
    /// The keystore's password, where it has one.
    #[serde(default)]
    pub keystore_password: String,
    /// Other hosts may only be reached by these names: name to address, as `/etc/hosts` would have it.
    #[serde(default)]
    pub names: BTreeMap<String, String>,
}
