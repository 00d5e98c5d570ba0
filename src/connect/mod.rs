//! A channel of bytes to a host: over SSH, or to this machine itself.
//!
//! [`Links::open`] makes one connection a host. Over it, [`Link::exec`] starts programs; [`escalate`] starts them as
//! another user. What is said over the channel is none of this folder's business.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::value::secret::Secret;

pub mod auth;
pub mod config;
pub mod escalate;
pub mod guard;
pub mod identity;
pub mod known_hosts;
pub mod link;
pub mod local;
pub mod options;
pub mod process;
pub mod route;
pub mod settings;
pub mod ssh;
pub mod trouble;

pub use link::{Link, Links};
pub use process::{Ended, Process};
pub use settings::Settings;
pub use trouble::{Kind, Trouble};

/// How to reach a host: what inventory, keywords and flags came to. All values are rendered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The name in the inventory, for messages.
    pub name: String,
    /// `ansible_connection`: `ssh` (also `paramiko`, `smart`) or `local`.
    pub connection: String,
    /// `ansible_host`, else the name.
    pub host: String,
    /// `ansible_port`; `None`: ssh_config's, else 22.
    pub port: Option<u16>,
    /// `ansible_user`, `-u`, `remote_user`; `None`: ssh_config's, else the login name.
    pub user: Option<String>,
    /// `ansible_password`, `ansible_ssh_pass`, `-k`.
    pub password: Option<Secret<String>>,
    /// `ansible_ssh_private_key_file`, `--private-key`.
    pub key_file: Option<PathBuf>,
    /// `ansible_ssh_private_key_passphrase`.
    pub key_passphrase: Option<Secret<String>>,
    /// `ansible_ssh_common_args` and `ansible_ssh_extra_args`, in this order; each with the name it came from.
    pub arguments: Vec<(String, String)>,
    /// `ansible_host_key_checking` / `ansible_ssh_host_key_checking`; `None`: ssh_config's, else strict.
    pub host_key_checking: Option<bool>,
    /// `ansible_timeout`, `-T`, seconds; `None`: ssh_config's, else 10.
    pub timeout: Option<u64>,
    /// Where the agent is kept on the host; `None`: the login user's cache folder.
    pub agent_folder: Option<String>,
    /// `windlass_linger`, `--linger`: seconds that the agent lives on when the connection is lost; `None`: 20.
    pub linger: Option<u64>,
}

/// How to become another user.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Become {
    /// `sudo` or `su`.
    pub method: String,
    /// The user to become.
    pub user: String,
    /// The password it may ask for.
    pub password: Option<Secret<String>>,
    /// More flags for the method.
    pub flags: Option<String>,
    /// The program, where it is not the method's name.
    pub program: Option<String>,
    /// The folder to go to first (`ansible_sudo_chdir`).
    pub folder: Option<String>,
    /// `ansible_su_prompt_l10n`: the words one of which a question for the password has; empty: any question.
    pub prompts: Vec<String>,
    /// `ansible_local_become_success_timeout`, seconds; `None`: 60.
    pub patience: Option<u64>,
}

impl Become {
    /// Returns the command line behind which a program runs as the other user, for reports.
    pub fn line(&self) -> String {
        let program = self.program.as_deref().unwrap_or(&self.method);
        let flags = self.flags.as_ref().map(|flags| format!("{} ", flags.trim())).unwrap_or_default();
        match (self.method.as_str(), &self.password) {
            ("sudo", None) => format!("{program} {flags}-H -S -n -u {}", self.user),
            ("sudo", Some(_)) => format!("{program} {flags}-H -S -u {}", self.user),
            _ => format!("{program} {flags}{}", self.user),
        }
    }
}
