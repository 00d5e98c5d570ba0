//! `windlass playbook`: loads, runs, reports.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

/// Flags of `windlass playbook`. Those that ansible-playbook has mean the same here.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// Playbooks, run one after the other
    #[arg(required = true)]
    pub playbooks: Vec<PathBuf>,
    /// Inventory file, folder, or list of hosts with a comma (`-i host,`); may be given several times
    #[arg(short, long, visible_alias = "inventory-file")]
    pub inventory: Vec<String>,
    /// Run on these hosts only: a pattern, or `@file`
    #[arg(short, long)]
    pub limit: Vec<String>,
    /// Variables: `name=value`, YAML or JSON, or `@file`
    #[arg(short = 'e', long = "extra-vars")]
    pub extra_vars: Vec<String>,
    /// Run only tasks with one of these tags
    #[arg(short, long, value_delimiter = ',')]
    pub tags: Vec<String>,
    /// Leave out tasks with one of these tags
    #[arg(long, value_delimiter = ',')]
    pub skip_tags: Vec<String>,
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
    /// Options for SSH, as `ssh` has them (`-o`, `-J`, `-F` ...)
    #[arg(long, allow_hyphen_values = true)]
    pub ssh_common_args: Option<String>,
    /// More options for SSH
    #[arg(long, allow_hyphen_values = true)]
    pub ssh_extra_args: Option<String>,
    /// Vault secrets: `label@file`, `label@prompt`, a file or a script
    #[arg(long)]
    pub vault_id: Vec<String>,
    /// File or script with the vault's password
    #[arg(long, visible_alias = "vault-pass-file")]
    pub vault_password_file: Vec<PathBuf>,
    /// Ask for the vault's password
    #[arg(short = 'J', long, visible_alias = "ask-vault-password")]
    pub ask_vault_pass: bool,
    /// Run handlers even when a task failed
    #[arg(long)]
    pub force_handlers: bool,
    /// Forget cached facts (none are cached yet)
    #[arg(long)]
    pub flush_cache: bool,
    /// Show the hosts and do nothing
    #[arg(long)]
    pub list_hosts: bool,
    /// Show the tasks and do nothing
    #[arg(long)]
    pub list_tasks: bool,
    /// Show the tags and do nothing
    #[arg(long)]
    pub list_tags: bool,
    /// Read everything and do nothing
    #[arg(long)]
    pub syntax_check: bool,
    /// Show more: -v all results, -vv their values, -vvv everything
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
    /// The form of the report
    #[arg(long, value_enum, default_value = "windlass")]
    pub output: Form,
}

/// The form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// What matters, folded
    Windlass,
    /// Ansible's default form
    Ansible,
    /// One JSON event a line
    Json,
}
