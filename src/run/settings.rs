//! What the command line says about a run.

use std::path::PathBuf;
use std::sync::Arc;

use crate::load::execution::Execution;
use crate::run::fact_cache::FactCache;
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
    pub unsure: Decisions,
    /// `--window`, `--until`: when the run has to be done.
    pub window: Option<Window>,
    /// `--max-hosts`: more than these are asked about.
    pub max_hosts: Option<usize>,
    /// `--detailed-exitcode`: a check says by its exit code whether anything would change.
    pub detailed_exitcode: bool,
    /// The settings file in use.
    pub config_file: Option<PathBuf>,
    /// `--step`: ask before each task.
    pub step: bool,
    /// What `ansible_managed` is.
    pub managed: String,
    /// Dictionaries that are defined more than once are merged, not replaced.
    pub merge_dictionaries: bool,
    /// Conditions may give anything, as before Ansible 2.19.
    pub lenient_conditionals: bool,
    /// What the environment says about execution.
    pub execution: Execution,
    /// Where facts stay for later runs.
    pub fact_cache: Option<FactCache>,
    /// `--flush-cache`: facts of earlier runs are forgotten first.
    pub flush_cache: bool,
}

/// What becomes of a command that broke off in the middle, when its run is resumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unsure {
    /// The host stops there, and the message says so
    #[default]
    Stop,
    /// It is run again
    Redo,
    /// It counts as done
    Skip,
}

/// What becomes of such commands on each host: `redo`, or `web1=skip` for one host. Where several fit, the last counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions(pub Vec<(Option<String>, Unsure)>);

impl Decisions {
    /// Returns what was decided for a host.
    pub fn of(&self, host: &str) -> Unsure {
        let own = self.0.iter().rev().find(|(name, _)| name.as_deref() == Some(host));
        own.or_else(|| self.0.iter().rev().find(|(name, _)| name.is_none())).map_or(Unsure::Stop, |(_, unsure)| *unsure)
    }

    /// Reads one decision.
    ///
    /// # Errors
    /// Says what it has to be.
    pub fn one(text: &str) -> Result<(Option<String>, Unsure), String> {
        let (host, word) = text.rsplit_once('=').map_or((None, text), |(host, word)| (Some(host.to_owned()), word));
        let unsure = match word {
            "stop" => Unsure::Stop,
            "redo" => Unsure::Redo,
            "skip" => Unsure::Skip,
            _ => return Err("it has to be stop, redo or skip, or one of them for a host: web1=skip".to_owned()),
        };
        Ok((host, unsure))
    }
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
            unsure: Decisions::default(),
            window: None,
            max_hosts: None,
            detailed_exitcode: false,
            config_file: None,
            lenient_conditionals: false,
            step: false,
            managed: "Ansible managed".to_owned(),
            merge_dictionaries: false,
            execution: Execution::default(),
            fact_cache: None,
            flush_cache: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_decided_for_a_host_outweighs_what_was_for_all() {
        let read = |words: &[&str]| Decisions(words.iter().map(|word| Decisions::one(word).expect("fits")).collect());
        let decisions = read(&["web1=skip", "redo"]);
        assert_eq!((decisions.of("web1"), decisions.of("web2")), (Unsure::Skip, Unsure::Redo));
        assert_eq!(read(&["web1=skip"]).of("web2"), Unsure::Stop);
        assert!(Decisions::one("web1=perhaps").is_err());
    }
}
