//! What connections need to know of the controller: its user, their files, where warnings go.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What connections need to know of the controller.
#[derive(Clone)]
pub struct Settings {
    /// The user's home folder.
    pub home: PathBuf,
    /// The user's name: the login name where nothing else is said.
    pub login: String,
    /// The user's `ssh_config`.
    pub user_config: PathBuf,
    /// The system's `ssh_config`.
    pub system_config: PathBuf,
    /// The system's known hosts.
    pub global_known_hosts: Vec<PathBuf>,
    /// `SSH_AUTH_SOCK`.
    pub agent_socket: Option<PathBuf>,
    /// Takes warnings; each is given once.
    pub warnings: Warnings,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings of {}", self.login)
    }
}

/// Takes warnings, each once.
#[derive(Clone)]
pub struct Warnings {
    tell: Arc<dyn Fn(&str) + Send + Sync>,
    told: Arc<Mutex<HashSet<String>>>,
}

impl Warnings {
    /// Returns a place for warnings.
    pub fn to(tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { tell: Arc::new(tell), told: Arc::default() }
    }

    /// Says something, unless it was said before.
    pub fn say(&self, message: &str) {
        let fresh = self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(message.to_owned());
        if fresh {
            (self.tell)(message);
        }
    }
}

impl Settings {
    /// Returns the settings of the user that runs this program.
    pub fn of_this_user(warnings: Warnings) -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = PathBuf::from(variable("HOME").unwrap_or_else(|| "/".to_owned()));
        Self {
            login: variable("USER").or_else(|| variable("LOGNAME")).unwrap_or_else(|| "root".to_owned()),
            user_config: home.join(".ssh/config"),
            system_config: PathBuf::from("/etc/ssh/ssh_config"),
            global_known_hosts: vec![PathBuf::from("/etc/ssh/ssh_known_hosts"), PathBuf::from("/etc/ssh/ssh_known_hosts2")],
            agent_socket: variable("SSH_AUTH_SOCK").map(PathBuf::from),
            home,
            warnings,
        }
    }

    /// Returns a path with a leading `~` made the home folder.
    pub fn untilded(&self, path: &str) -> PathBuf {
        match path.strip_prefix('~') {
            Some("") => self.home.clone(),
            Some(rest) if rest.starts_with('/') => self.home.join(rest.trim_start_matches('/')),
            _ => PathBuf::from(path),
        }
    }

    /// Returns a path as a person would write it.
    pub fn tilded(&self, path: &Path) -> String {
        match path.strip_prefix(&self.home) {
            Ok(rest) if self.home != Path::new("/") => format!("~/{}", rest.display()),
            _ => path.display().to_string(),
        }
    }
}
