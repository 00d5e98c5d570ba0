//! Flags that say on which hosts, as whom and how: those that `playbook` and `adhoc` share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::cli::vault::{SecretArguments, load};
use crate::load::config::Config;
use crate::load::execution::Execution;
use crate::load::inventory::{GroupNames, Options};
use crate::load::vault::Vault;
use crate::run::fact_cache::FactCache;
use crate::run::{Asker, Settings};
use crate::source::Diagnostic;
use crate::value::Map;
use crate::value::secret::{Redactor, Secret};

/// Flags that `playbook` and `adhoc` share. Those that Ansible has mean the same here.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct Flags {
    /// Inventory file, folder, or list of hosts with a comma (`-i host,`); may be given several times
    #[arg(short, long, visible_alias = "inventory-file")]
    pub inventory: Vec<String>,
    /// Run on these hosts only: a pattern, or `@file`
    #[arg(short, long)]
    pub limit: Vec<String>,
    /// Variables: `name=value`, YAML or JSON, or `@file`
    #[arg(short = 'e', long = "extra-vars")]
    pub extra_vars: Vec<String>,
    /// Change nothing, say what would change
    #[arg(short = 'C', long)]
    pub check: bool,
    /// Show the differences of what changes
    #[arg(short = 'D', long)]
    pub diff: bool,
    /// How many hosts at a time
    #[arg(short, long)]
    pub forks: Option<usize>,
    /// Become another user (root) on the hosts
    #[arg(short, long = "become")]
    pub r#become: bool,
    /// How to become: sudo, su or doas
    #[arg(long)]
    pub become_method: Option<String>,
    /// Whom to become
    #[arg(long)]
    pub become_user: Option<String>,
    /// Ask for the password of `become`
    #[arg(short = 'K', long)]
    pub ask_become_pass: bool,
    /// File with the password of `become`
    #[arg(long, visible_alias = "become-pass-file")]
    pub become_password_file: Option<PathBuf>,
    /// Ask for the login password
    #[arg(short = 'k', long)]
    pub ask_pass: bool,
    /// File with the login password
    #[arg(long, visible_alias = "conn-pass-file")]
    pub connection_password_file: Option<PathBuf>,
    /// Log in as this user
    #[arg(short, long)]
    pub user: Option<String>,
    /// How to connect: ssh or local
    #[arg(short, long)]
    pub connection: Option<String>,
    /// Log in with this private key
    #[arg(long, visible_alias = "key-file")]
    pub private_key: Option<PathBuf>,
    /// Seconds to wait for a connection
    #[arg(short = 'T', long)]
    pub timeout: Option<u64>,
    /// Seconds that work on a host goes on, and is taken up again, when the connection is lost (20; 0: it ends at once)
    #[arg(long)]
    pub linger: Option<u64>,
    /// Options for SSH, as `ssh` has them (`-o`, `-J`, `-F` ...)
    #[arg(long, allow_hyphen_values = true)]
    pub ssh_common_args: Option<String>,
    /// More options for SSH
    #[arg(long, allow_hyphen_values = true)]
    pub ssh_extra_args: Option<String>,
    /// Taken for the sake of scripts; files are copied without `scp`
    #[arg(long, allow_hyphen_values = true, hide = true)]
    pub scp_extra_args: Option<String>,
    /// Taken for the sake of scripts; files are copied without `sftp`
    #[arg(long, allow_hyphen_values = true, hide = true)]
    pub sftp_extra_args: Option<String>,
    /// Folders with modules that are scripts, separated by colons
    #[arg(short = 'M', long)]
    pub module_path: Vec<String>,
    /// The vault's secrets
    #[command(flatten)]
    pub secrets: SecretArguments,
    /// Forget cached facts
    #[arg(long)]
    pub flush_cache: bool,
    /// Show the hosts and do nothing
    #[arg(long)]
    pub list_hosts: bool,
    /// Show more: -v all results, -vv their values, -vvv everything
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
    /// The form of the report
    #[arg(long, value_enum, default_value = "windlass")]
    pub output: Form,
    /// Also write a JUnit file to this folder, for build servers
    #[arg(long, value_name = "FOLDER")]
    pub junit: Option<PathBuf>,
    /// Let conditions give anything, as Ansible did before 2.19, with a warning for each place
    #[arg(long)]
    #[serde(default)]
    pub lenient_conditionals: bool,
}

/// The form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Form {
    /// What matters, folded
    Windlass,
    /// Ansible's default form
    Ansible,
    /// One JSON event a line
    Json,
}

/// How many hosts at a time where nothing is said. A task on a host costs one round trip, not a process of ours.
const DEFAULT_FORKS: usize = 50;

impl Flags {
    /// Returns the number of `-v`, or of the settings where there is none.
    pub fn verbosity(&self, config: &Config) -> u8 {
        let set = config.number("DEFAULT_VERBOSITY").and_then(|number| u8::try_from(number).ok());
        if self.verbose > 0 { self.verbose } else { set.unwrap_or_default() }
    }

    /// Returns the vault with the secrets that the flags and the settings name.
    ///
    /// # Errors
    /// A secret cannot be read.
    pub fn vault(&self, config: &Config, redactor: &Redactor) -> Result<Vault, Diagnostic> {
        let vault = Vault::new(load(&self.secrets.sources(config))?, redactor.clone());
        Ok(vault.matching_labels(config.is_on("DEFAULT_VAULT_ID_MATCH")))
    }

    /// Returns what the flags say about a run; passwords are asked for now.
    ///
    /// # Errors
    /// A password cannot be read or asked for.
    pub fn settings(&self, config: &Config, extra_vars: Arc<Map>, person: &dyn Asker) -> Result<Settings, Diagnostic> {
        let forks = config.number("DEFAULT_FORKS").and_then(|forks| usize::try_from(forks).ok()).filter(|forks| *forks > 0);
        let login_file = self.connection_password_file.clone().or_else(|| config.path("CONNECTION_PASSWORD_FILE"));
        let become_file = self.become_password_file.clone().or_else(|| config.path("BECOME_PASSWORD_FILE"));
        let ask_login = self.ask_pass || config.is_on("DEFAULT_ASK_PASS");
        let ask_become = self.ask_become_pass || config.is_on("DEFAULT_BECOME_ASK_PASS");
        let login = password(login_file.as_deref(), ask_login, "SSH password: ", person)?;
        let become_prompt = if login.is_some() { "BECOME password[defaults to SSH password]: " } else { "BECOME password: " };
        let mut r#become = password(become_file.as_deref(), ask_become, become_prompt, person)?;
        if r#become.as_deref() == Some("") {
            r#become.clone_from(&login);
        }
        let ssh =
            [("--ssh-common-args", &self.ssh_common_args, "ssh_common_args"), ("--ssh-extra-args", &self.ssh_extra_args, "ssh_extra_args")];
        let ssh = ssh.map(|(flag, said, name)| (flag.to_owned(), said.clone().or_else(|| config.text(name).map(str::to_owned))));
        Ok(Settings {
            check: self.check,
            diff: self.diff || config.is_on("DIFF_ALWAYS"),
            forks: self.forks.or(forks).unwrap_or(DEFAULT_FORKS),
            limit: (!self.limit.is_empty()).then(|| self.limit.join(":")),
            extra_vars,
            verbosity: self.verbosity(config),
            r#become: self.r#become,
            become_user: self.become_user.clone(),
            become_method: self.become_method.clone(),
            become_password: r#become.map(Secret::new),
            remote_user: self.user.clone().or_else(|| config.text("DEFAULT_REMOTE_USER").map(str::to_owned)),
            connection: self.connection.clone().or_else(|| config.text("DEFAULT_TRANSPORT").map(str::to_owned)),
            lenient_conditionals: self.lenient_conditionals || config.is_on("ALLOW_BROKEN_CONDITIONALS"),
            config_file: config.file.clone(),
            managed: config.text("DEFAULT_MANAGED_STR").unwrap_or("Ansible managed").to_owned(),
            merge_dictionaries: config.text("DEFAULT_HASH_BEHAVIOUR") == Some("merge"),
            private_key: self.private_key.clone().or_else(|| config.path("DEFAULT_PRIVATE_KEY_FILE")),
            password: login.map(Secret::new),
            timeout: self.timeout.or(config.number("DEFAULT_TIMEOUT")),
            linger: self.linger,
            ssh_arguments: ssh.into_iter().filter_map(|(name, text)| Some((name, text?))).collect(),
            inventory_sources: self.inventory.clone(),
            execution: Execution::read(&|name| config.variable(name)),
            fact_cache: fact_cache(config)?,
            flush_cache: self.flush_cache,
            ..Settings::default()
        })
    }
}

/// Returns where the settings keep facts for later runs.
fn fact_cache(config: &Config) -> Result<Option<FactCache>, Diagnostic> {
    let plugin = config.text("CACHE_PLUGIN").unwrap_or("memory");
    match plugin.rsplit('.').next() {
        Some("memory") => return Ok(None),
        Some("jsonfile") => {}
        _ => {
            let message = format!("the fact cache `{plugin}` is a Python plugin, which cannot run here");
            return Err(Diagnostic::error(message).hint("`fact_caching` is memory or jsonfile"));
        }
    }
    let Some(folder) = config.path("CACHE_PLUGIN_CONNECTION") else {
        let hint = "say `fact_caching_connection` in ansible.cfg, or ANSIBLE_CACHE_PLUGIN_CONNECTION";
        return Err(Diagnostic::error("the fact cache `jsonfile` needs a folder").hint(hint));
    };
    let seconds = config.number("CACHE_PLUGIN_TIMEOUT").unwrap_or(86400);
    let prefix = config.text("CACHE_PLUGIN_PREFIX").unwrap_or_default().to_owned();
    Ok(Some(FactCache { folder, prefix, timeout: (seconds > 0).then(|| Duration::from_secs(seconds)) }))
}

/// Returns what the settings say of how inventories are read.
pub fn inventory_options(config: &Config, extra_vars: &Arc<Map>) -> Options {
    let lenient = super::is_like_ansible() && !config.is_on("INVENTORY_ANY_UNPARSED_IS_FAILED");
    let advanced_lists = config.list("INVENTORY_ENABLED").iter().any(|name| name.ends_with("advanced_host_list"));
    let merges = config.text("DEFAULT_HASH_BEHAVIOUR") == Some("merge");
    let group_names = match config.text("TRANSFORM_INVALID_GROUP_CHARS") {
        Some("always") => GroupNames::Replaced,
        Some("silently") => GroupNames::ReplacedSilently,
        Some("never") => GroupNames::Noted,
        None if super::is_like_ansible() => GroupNames::Noted,
        _ => GroupNames::Kept,
    };
    Options { lenient, merges, advanced_lists, group_names, extra_vars: extra_vars.clone() }
}

fn password(file: Option<&Path>, ask: bool, prompt: &str, person: &dyn Asker) -> Result<Option<String>, Diagnostic> {
    if let Some(file) = file {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Diagnostic::error(format!("cannot read the password file `{}`: {error}", file.display())))?;
        return Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()));
    }
    if !ask {
        return Ok(None);
    }
    match person.ask(prompt, false) {
        Some(text) => Ok(Some(text)),
        None => Err(Diagnostic::error("nobody can be asked for a password: this is no terminal")
            .hint("use `--become-password-file` or `--connection-password-file`")),
    }
}
