//! Links: one connection a host, and the connections on the way shared among all.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex as Lock, PoisonError};

use tokio::sync::Mutex;

use super::Target;
use super::config::Config;
use super::identity::Identities;
use super::local;
use super::process::Process;
use super::route::{self, Hop};
use super::settings::Settings;
use super::ssh::{self, Connection};
use super::trouble::{Kind, Trouble};

/// How many hosts may be on the way to another.
const LONGEST_WAY: usize = 8;

/// What all connections of a run share.
#[derive(Debug)]
pub struct Links {
    settings: Settings,
    configs: Lock<HashMap<Option<String>, Arc<Config>>>,
    identities: Identities,
    /// Connections to hosts on the way, by the way that leads to them.
    ways: Mutex<HashMap<String, Way>>,
}

/// A connection that others go through, made when the first of them needs it.
type Way = Arc<Mutex<Option<Arc<Connection>>>>;

/// One connection to a host.
#[derive(Debug)]
pub struct Link {
    name: String,
    user: String,
    kind: LinkKind,
}

#[derive(Debug)]
enum LinkKind {
    Ssh(Connection),
    Local,
}

impl Links {
    /// Returns links of a run.
    pub fn new(settings: Settings) -> Self {
        Self { settings, configs: Lock::default(), identities: Identities::default(), ways: Mutex::default() }
    }

    /// Connects to a host.
    ///
    /// # Errors
    /// Says why no connection came about.
    pub async fn open(&self, target: &Target) -> Result<Link, Trouble> {
        match target.connection.as_str() {
            "local" => Ok(Link { name: target.name.clone(), user: self.settings.login.clone(), kind: LinkKind::Local }),
            "" | "ssh" | "smart" | "paramiko" | "paramiko_ssh" => {
                let (hop, file) = route::to(target, &self.settings, |file| self.config(file))?;
                let connection = self.connect(&hop, file.as_deref(), 0).await?;
                Ok(Link { name: target.name.clone(), user: hop.user, kind: LinkKind::Ssh(connection) })
            }
            other => {
                Err(Trouble::new(Kind::Settings, format!("{} has the connection `{other}`, which windlass does not have", target.name))
                    .hint("ansible_connection is ssh or local"))
            }
        }
    }

    /// Returns the configuration: that of the user and the system, or the file that `-F` names.
    fn config(&self, file: Option<&str>) -> Arc<Config> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        let read = configs.entry(file.map(str::to_owned)).or_insert_with(|| {
            let files = match file {
                Some("none") => Vec::new(),
                Some(file) => vec![self.settings.untilded(file)],
                None => vec![self.settings.user_config.clone(), self.settings.system_config.clone()],
            };
            Arc::new(Config::read(&files.into_iter().collect::<Vec<PathBuf>>(), &self.settings))
        });
        Arc::clone(read)
    }

    async fn connect(&self, hop: &Hop, file: Option<&str>, depth: usize) -> Result<Connection, Trouble> {
        let way = match &hop.jump {
            Some(jump) => Some(self.way(jump, hop, file, depth).await?),
            None => None,
        };
        ssh::connect(hop, way, &self.settings, &self.identities).await
    }

    /// Returns the connection to the last host of `jump`, which other hosts may be using already.
    async fn way(&self, jump: &str, last: &Hop, file: Option<&str>, depth: usize) -> Result<Arc<Connection>, Trouble> {
        if depth >= LONGEST_WAY {
            return Err(Trouble::new(
                Kind::Settings,
                format!("the way to {} is longer than {LONGEST_WAY} hosts: do they lead to each other?", last.name),
            ));
        }
        let (before, entry) = match jump.rsplit_once(',') {
            Some((before, entry)) => (Some(before), entry),
            None => (None, jump),
        };
        let config = self.config(file);
        let mut hop = route::jump(entry, last, &self.settings, &config)?;
        if before.is_some() {
            hop.jump = before.map(str::to_owned);
        }
        // Credentials count too: another host may come with another key.
        let name = format!("{}|{}|{entry}|{:?}", file.unwrap_or_default(), hop.jump.as_deref().unwrap_or_default(), hop.identities);
        let slot = Arc::clone(self.ways.lock().await.entry(name).or_default());
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(Arc::clone(connection));
        }
        let connected = Box::pin(self.connect(&hop, file, depth + 1))
            .await
            .map_err(|trouble| Trouble { message: format!("the way to {} is closed: {}", last.name, trouble.message), ..trouble })?;
        let connection = Arc::new(connected);
        *slot = Some(Arc::clone(&connection));
        Ok(connection)
    }
}

impl Link {
    /// The host's name in the inventory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The login user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Whether this is the controller itself.
    pub fn is_local(&self) -> bool {
        matches!(self.kind, LinkKind::Local)
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        match &self.kind {
            LinkKind::Ssh(connection) => connection.is_closed(),
            LinkKind::Local => false,
        }
    }

    /// Starts a program through the login shell (on the controller: through `sh`).
    ///
    /// # Errors
    /// When the connection is gone, or the server refuses.
    pub async fn exec(&self, command: &str, terminal: bool) -> Result<Process, Trouble> {
        match &self.kind {
            LinkKind::Ssh(connection) => connection.exec(command, terminal).await.map_err(|error| {
                let why = if connection.is_closed() { "the connection is gone".to_owned() } else { error.to_string() };
                Trouble::new(Kind::Lost, format!("nothing can be started on {}: {why}", self.name))
            }),
            LinkKind::Local => {
                local::exec(command).map_err(|error| Trouble::new(Kind::Lost, format!("nothing can be started on {}: {error}", self.name)))
            }
        }
    }

    /// Says goodbye.
    pub async fn close(&self) {
        if let LinkKind::Ssh(connection) = &self.kind {
            connection.close().await;
        }
    }
}
