//! Flags that say on which hosts, as whom and how: those that `playbook` and `adhoc` share.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{ArgAction, Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::cli::vault::{SecretArguments, ask};
use crate::load::config::Config;
use crate::load::execution::Execution;
use crate::load::vault::Vault;
use crate::report::Listener;
use crate::report::ansible::AnsibleForm;
use crate::report::json::JsonLines;
use crate::report::output::Output;
use crate::report::terminal::{Terminal, progress_bar};
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
    /// How to become: sudo or su
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
    /// Returns what writes the report.
    pub fn listener(&self, redactor: &Redactor) -> Arc<dyn Listener> {
        let output = self.report_to(redactor);
        let terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        match self.output {
            Form::Json => Arc::new(JsonLines::new(output)),
            Form::Ansible => Arc::new(AnsibleForm::new(output, self.verbose)),
            Form::Windlass if terminal => Arc::new(Terminal::new(output.with_bar(progress_bar()), self.verbose)),
            Form::Windlass => Arc::new(Terminal::new(output, self.verbose)),
        }
    }

    /// Returns where the report is written to: standard output, in colour where that is wanted.
    pub fn report_to(&self, redactor: &Redactor) -> Output {
        let colour = super::colour(std::io::stdout().is_terminal()) && self.output != Form::Json;
        Output::new(Box::new(std::io::stdout()), redactor.clone(), colour)
    }

    /// Returns the vault with the secrets that the flags and the settings name.
    ///
    /// # Errors
    /// A secret cannot be read.
    pub fn vault(&self, config: &Config, redactor: &Redactor) -> Result<Vault, Diagnostic> {
        Ok(Vault::new(self.secrets.sources(config).load(&mut ask)?, redactor.clone()))
    }

    /// Returns what the flags say about a run; passwords are asked for now.
    ///
    /// # Errors
    /// A password cannot be read or asked for.
    pub fn settings(&self, config: &Config, extra_vars: Arc<Map>, person: &dyn Asker) -> Result<Settings, Diagnostic> {
        let login = password(self.connection_password_file.as_deref(), self.ask_pass, "SSH password: ", person)?;
        let become_prompt = if login.is_some() { "BECOME password[defaults to SSH password]: " } else { "BECOME password: " };
        let mut r#become = password(self.become_password_file.as_deref(), self.ask_become_pass, become_prompt, person)?;
        if r#become.as_deref() == Some("") {
            r#become.clone_from(&login);
        }
        let ssh = [("--ssh-common-args", &self.ssh_common_args), ("--ssh-extra-args", &self.ssh_extra_args)];
        Ok(Settings {
            check: self.check,
            diff: self.diff,
            forks: self.forks.or(config.forks).unwrap_or(DEFAULT_FORKS),
            limit: (!self.limit.is_empty()).then(|| self.limit.join(":")),
            extra_vars,
            verbosity: self.verbose,
            r#become: self.r#become,
            become_user: self.become_user.clone(),
            become_method: self.become_method.clone(),
            become_password: r#become.map(Secret::new),
            remote_user: self.user.clone().or_else(|| config.remote_user.clone()),
            connection: self.connection.clone(),
            private_key: self.private_key.clone().or_else(|| config.private_key_file.clone()),
            password: login.map(Secret::new),
            timeout: self.timeout.or(config.timeout),
            linger: self.linger,
            ssh_arguments: ssh.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.clone()?))).collect(),
            inventory_sources: self.inventory.clone(),
            execution: Execution::from_environment(),
            ..Settings::default()
        })
    }
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
