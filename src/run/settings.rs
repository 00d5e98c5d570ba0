//! What the command line says about a run.

use std::path::PathBuf;
use std::sync::Arc;

use crate::load::execution::Execution;
use crate::run::window::Window;
use crate::value::Map;
use crate::value::secret::Secret;

/// What the command line says about a run. [`Settings::default`] is a run without any flag.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `--check`: foresee, change nothing.
    pub check: bool,
    /// `--diff`: show differences.
    pub diff: bool,
    /// `--forks`: how many hosts are worked on at once.
    pub forks: usize,
    /// `--limit`: only these hosts.
    pub limit: Option<String>,
    /// `--tags`; empty: all.
    pub tags: Vec<String>,
    /// `--skip-tags`.
    pub skip_tags: Vec<String>,
    /// `-e`: variables that win over all others.
    pub extra_vars: Arc<Map>,
    /// `-v`, counted.
    pub verbosity: u8,
    /// `-b`.
    pub r#become: bool,
    /// `--become-user`.
    pub become_user: Option<String>,
    /// `--become-method`.
    pub become_method: Option<String>,
    /// What was typed for `-K`.
    pub become_password: Option<Secret<String>>,
    /// `-u`.
    pub remote_user: Option<String>,
    /// `-c`.
    pub connection: Option<String>,
    /// `--private-key`.
    pub private_key: Option<PathBuf>,
    /// What was typed for `-k`.
    pub password: Option<Secret<String>>,
    /// `-T`, seconds.
    pub timeout: Option<u64>,
    /// `--linger`, seconds.
    pub linger: Option<u64>,
    /// `--ssh-common-args`, `--ssh-extra-args`: name and text.
    pub ssh_arguments: Vec<(String, String)>,
    /// `--force-handlers`.
    pub force_handlers: bool,
    /// `--start-at-task`.
    pub start_at_task: Option<String>,
    /// The `-i` of the command line, as written.
    pub inventory_sources: Vec<String>,
    /// What becomes of a command that broke off in the middle, where nobody knows how far it came.
    pub unsure: Unsure,
    /// `--window`, `--until`: when the run has to be done.
    pub window: Option<Window>,
    /// `--max-hosts`: more than these are asked about.
    pub max_hosts: Option<usize>,
    /// The settings file in use.
    pub config_file: Option<PathBuf>,
    /// What the environment says about execution.
    pub execution: Execution,
}

/// What becomes of a command that broke off in the middle, when its run is resumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Unsure {
    /// The host stops there, and the message says so
    #[default]
    Stop,
    /// It is run again
    Redo,
    /// It counts as done
    Skip,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            check: false,
            diff: false,
            forks: 5,
            limit: None,
            tags: Vec::new(),
            skip_tags: Vec::new(),
            extra_vars: Arc::default(),
            verbosity: 0,
            r#become: false,
            become_user: None,
            become_method: None,
            become_password: None,
            remote_user: None,
            connection: None,
            private_key: None,
            password: None,
            timeout: None,
            linger: None,
            ssh_arguments: Vec::new(),
            force_handlers: false,
            start_at_task: None,
            inventory_sources: Vec::new(),
            unsure: Unsure::Stop,
            window: None,
            max_hosts: None,
            config_file: None,
            execution: Execution::default(),
        }
    }
}
