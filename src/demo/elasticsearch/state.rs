//! What the nodes of a cluster share: a JSON file, changed under a lock.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::site;

/// Everything that a cluster knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cluster {
    /// `cluster.name`.
    pub name: String,
    /// `cluster_uuid`.
    pub uuid: String,
    /// As described at its first start.
    pub start: site::Cluster,
    /// Persistent settings: flat names; texts and lists.
    pub persistent: BTreeMap<String, Json>,
    /// Transient settings.
    pub transient: BTreeMap<String, Json>,
    /// API keys, oldest first.
    pub keys: Vec<ApiKey>,
    /// Nodes that ever joined.
    pub members: BTreeMap<String, Member>,
    /// Shutdowns that were announced, by node id.
    pub shutdowns: BTreeMap<String, Shutdown>,
    /// Copies of shards that lost their node and were not assigned again.
    pub degraded: bool,
    /// Since when missing copies are being assigned, milliseconds since 1970.
    pub recovering: Option<u64>,
    /// What happened, oldest first, for the proof at the end.
    pub history: Vec<String>,
}

/// An API key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its id.
    pub id: String,
    /// Its name; names need not be unique.
    pub name: String,
    /// `rest` or `cross_cluster`.
    pub kind: String,
    /// The secret part.
    pub secret: String,
    /// When it was made, milliseconds since 1970.
    pub creation: u64,
    /// When it ends.
    pub expiration: Option<u64>,
    /// When it was invalidated.
    pub invalidation: Option<u64>,
    /// Who made it.
    pub username: String,
    /// The maker's realm.
    pub realm: String,
    /// What the maker noted.
    pub metadata: serde_json::Map<String, Json>,
    /// `access` of a cross-cluster key.
    pub access: Option<Json>,
    /// `role_descriptors` of a REST key.
    pub roles: Json,
    /// The pattern for the signing certificate.
    pub identity: Option<String>,
}

impl ApiKey {
    /// Whether it can be used now.
    pub fn is_active(&self) -> bool {
        self.invalidation.is_none() && self.expiration.is_none_or(|end| end > now())
    }
}

/// A node as the others see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Member {
    /// Its persistent id.
    pub id: String,
    /// The process it runs in; `None` while it is down.
    pub process: Option<u32>,
    /// The file that it keeps locked while it runs: so the others see when its process is gone, wherever that ran.
    pub sign: PathBuf,
    /// Goes up with each start.
    pub starts: u32,
    /// When it was started last, milliseconds since 1970.
    pub started: u64,
    /// `http.publish_address`.
    pub http: String,
    /// `transport.publish_address`.
    pub transport: String,
    /// Publish address of the remote-cluster server, where it is enabled.
    pub remote: Option<String>,
    /// Its roles.
    pub roles: Vec<String>,
    /// Its settings, flat, without secrets.
    pub settings: BTreeMap<String, Json>,
}

impl Member {
    /// Whether it is in the cluster now.
    pub fn is_up(&self) -> bool {
        let locked = || File::open(&self.sign).is_ok_and(|file| file.try_lock_shared().is_err());
        self.process.is_some() && locked()
    }

    /// Whether it holds data.
    pub fn has_data(&self) -> bool {
        self.roles.iter().any(|role| role.starts_with("data"))
    }
}

/// An announced shutdown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shutdown {
    /// `RESTART`, `REMOVE`, ...
    pub kind: String,
    /// Why.
    pub reason: String,
    /// Since when, milliseconds since 1970.
    pub started: u64,
    /// `allocation_delay`, as given.
    pub delay: Option<String>,
}

impl Cluster {
    /// Returns a cluster before its first start.
    pub fn new(name: &str, start: &site::Cluster) -> Self {
        Self {
            name: name.to_owned(),
            uuid: identifier(),
            start: start.clone(),
            persistent: BTreeMap::new(),
            transient: BTreeMap::new(),
            keys: Vec::new(),
            members: BTreeMap::new(),
            shutdowns: BTreeMap::new(),
            degraded: false,
            recovering: None,
            history: Vec::new(),
        }
    }

    /// Returns the value of a setting: transient before persistent.
    pub fn setting(&self, name: &str) -> Option<&Json> {
        self.transient.get(name).or_else(|| self.persistent.get(name))
    }

    /// Returns all settings that are in force by the API.
    pub fn settings(&self) -> BTreeMap<String, Json> {
        let mut all = self.persistent.clone();
        all.extend(self.transient.clone());
        all
    }

    /// Returns the nodes that are in the cluster now.
    pub fn up(&self) -> impl Iterator<Item = (&String, &Member)> {
        self.members.iter().filter(|(_, member)| member.is_up())
    }

    /// Notes that something happened.
    pub fn note(&mut self, what: impl Into<String>) {
        self.history.push(what.into());
    }
}

/// The file that holds a cluster.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    start: site::Cluster,
    name: String,
}

impl Store {
    /// Returns the store of a cluster; the file is made at the first change.
    pub fn new(folder: &Path, name: &str, start: &site::Cluster) -> Self {
        Self { path: folder.join(format!("{name}.json")), start: start.clone(), name: name.to_owned() }
    }

    /// Returns the cluster as it is.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self) -> io::Result<Cluster> {
        match fs::read(&self.path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Cluster::new(&self.name, &self.start)),
            Err(error) => Err(error),
        }
    }

    /// Changes the cluster. Nothing is written when `change` says it is an error.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn update<T, E>(&self, change: impl FnOnce(&mut Cluster) -> Result<T, E>) -> io::Result<Result<T, E>> {
        let lock = File::create(self.path.with_extension("lock"))?;
        lock.lock()?;
        let mut cluster = self.read()?;
        let outcome = change(&mut cluster);
        if outcome.is_ok() {
            let temporary = self.path.with_extension("new");
            let mut file = File::create(&temporary)?;
            file.write_all(&serde_json::to_vec_pretty(&cluster)?)?;
            fs::rename(temporary, &self.path)?;
        }
        Ok(outcome)
    }

    /// Changes the cluster by what cannot fail.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn change(&self, change: impl FnOnce(&mut Cluster)) -> io::Result<()> {
        let done: Result<(), ()> = self.update(|cluster| {
            change(cluster);
            Ok(())
        })?;
        done.map_err(|()| io::Error::other("the change was refused"))
    }
}

/// Returns the milliseconds since 1970.
pub fn now() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Returns a random identifier in the form that Elasticsearch uses: 16 bytes, URL-safe base64.
pub fn identifier() -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()).replace(['-', '_'], "x")
}
