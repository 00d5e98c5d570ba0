//! `windlass playbook`: loads, runs, reports.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clap::{ArgAction, Args, ValueEnum};

use crate::cli::person::Person;
use crate::cli::{extra_vars, hosts, list};
use crate::load::check;
use crate::load::execution::Execution;
use crate::load::loader::{Early, Errors, Loader};
use crate::load::playbook::{Play, Playbook};
use crate::load::vault::{SecretSources, Vault};
use crate::report::Listener;
use crate::report::ansible::AnsibleForm;
use crate::report::json::JsonLines;
use crate::report::output::Output;
use crate::report::terminal::{Terminal, progress_bar};
use crate::run::files::Files;
use crate::run::hands::Hands;
use crate::run::here::Here;
use crate::run::tags::Selection;
use crate::run::{Asker, Settings, Site, Surroundings};
use crate::source::{Diagnostic, Sources, Span};
use crate::value::secret::{Redactor, Secret};
use crate::value::{Map, Value};
use crate::vars::{Engine, Variables, World};

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
    /// Begin at the task of this name, and leave out those before it
    #[arg(long)]
    pub start_at_task: Option<String>,
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

/// Loads, runs and reports the playbooks.
pub fn run(arguments: Arguments) -> u8 {
    let sources = Sources::default();
    match prepare(&arguments, &sources) {
        Ok(Some(prepared)) => {
            let Ok(runtime) = tokio::runtime::Runtime::new() else {
                super::complain(&sources, &[Diagnostic::error("no threads can be started")]);
                return super::ERROR;
            };
            let code = runtime.block_on(prepared.run());
            // A program on this machine that does not end must not hold windlass up.
            runtime.shutdown_timeout(std::time::Duration::from_millis(200));
            code
        }
        Ok(None) => super::OK,
        Err(errors) => {
            super::complain(&sources, &errors);
            super::ERROR
        }
    }
}

/// Everything a run needs, read and checked.
struct Prepared {
    playbooks: Vec<Playbook>,
    settings: Settings,
    surroundings: Surroundings,
}

impl Prepared {
    async fn run(self) -> u8 {
        let recap = crate::run::run(&self.playbooks, self.settings, self.surroundings.clone()).await;
        self.surroundings.hands.cancel().await;
        recap.exit_code()
    }
}

/// Reads and checks everything; `None` where only a listing was asked for.
fn prepare(arguments: &Arguments, sources: &Sources) -> Result<Option<Prepared>, Errors> {
    let one = |error: Diagnostic| vec![error];
    let redactor = Redactor::default();
    let config = crate::load::config::Config::from_environment();
    let vault = Arc::new(open_vault(arguments, &config, &redactor).map_err(one)?);
    let extra = Arc::new(Mutex::new(Map::new()));
    let early = early(sources, &vault, extra.clone());
    let roles_path = config.roles_path.clone();
    let loader = Arc::new(Loader::new(sources.clone(), vault.clone(), roles_path, early));
    let extra_vars = Arc::new(extra_vars::read(&loader, &arguments.extra_vars)?);
    if let Ok(mut known) = extra.lock() {
        known.clone_from(&extra_vars);
    }

    let folder = arguments.playbooks.first().and_then(|path| path.parent()).map(Path::to_path_buf).unwrap_or_default();
    let inventory = if arguments.inventory.is_empty() { config.inventory.clone() } else { arguments.inventory.clone() };
    let site: Arc<dyn Site> = Arc::new(hosts::Hosts::read(&loader, &inventory, &arguments.limit, &folder)?);

    let mut playbooks = Vec::new();
    let mut errors = Vec::new();
    for path in &arguments.playbooks {
        match read_playbook(&loader, path, arguments.syntax_check) {
            Ok(playbook) => playbooks.push(playbook),
            Err(more) => errors.extend(more),
        }
    }
    super::complain(sources, &loader.take_warnings());
    if !errors.is_empty() {
        return Err(errors);
    }
    if arguments.lists_only() {
        list_playbooks(arguments, &playbooks, &*site);
        return Ok(None);
    }

    let person: Arc<dyn Asker> = Arc::new(Person);
    let settings = settings(arguments, &config, extra_vars, &*person).map_err(one)?;
    let listener = listener(arguments, &redactor);
    let hands: Arc<dyn Hands> = Arc::new(Here::new(Arc::new(hosts::Reach::new(listener.clone()))));
    let library = Arc::new(Files::new(loader));
    let surroundings = Surroundings { site, hands, library, asker: person, listener, sources: sources.clone(), redactor };
    Ok(Some(Prepared { playbooks, settings, surroundings }))
}

impl Arguments {
    fn lists_only(&self) -> bool {
        self.list_hosts || self.list_tasks || self.list_tags || self.syntax_check
    }
}

fn read_playbook(loader: &Loader, path: &Path, strict: bool) -> Result<Playbook, Errors> {
    if !path.exists() {
        return Err(vec![Diagnostic::error(format!("there is no playbook `{}`", path.display())).hint("give the path of its file")]);
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // Paths in messages stay as the user typed them; what runs needs to know the whole.
    let playbook = loader.playbook(if path.is_absolute() { path } else { &absolute })?;
    let wrong = check::playbook(&playbook, strict);
    if wrong.is_empty() { Ok(playbook) } else { Err(wrong) }
}

fn list_playbooks(arguments: &Arguments, playbooks: &[Playbook], site: &dyn Site) {
    let wanted = list::Wanted { hosts: arguments.list_hosts, tasks: arguments.list_tasks, tags: arguments.list_tags };
    let selection = Selection::new(&arguments.tags, &arguments.skip_tags);
    // Without a selection, the tags of tasks that run only when asked for are listed too.
    let is_all = arguments.list_tags && !arguments.list_tasks && arguments.tags.is_empty() && arguments.skip_tags.is_empty();
    let hosts_of = |play: &Play| {
        let pattern = match play.hosts.as_list() {
            Some(items) => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            None => play.hosts.to_string(),
        };
        site.select(&pattern).unwrap_or_default().iter().map(ToString::to_string).collect()
    };
    for (playbook, typed) in playbooks.iter().zip(&arguments.playbooks) {
        if arguments.syntax_check && !(wanted.hosts || wanted.tasks || wanted.tags) {
            super::say(&format!("\nplaybook: {}", typed.display()));
        } else {
            super::say(&list::playbook(playbook, typed, wanted, hosts_of, |tags| is_all || selection.wants(tags)));
        }
    }
}

fn open_vault(arguments: &Arguments, config: &crate::load::config::Config, redactor: &Redactor) -> Result<Vault, Diagnostic> {
    let wanted =
        SecretSources { ids: arguments.vault_id.clone(), files: arguments.vault_password_file.clone(), ask: arguments.ask_vault_pass };
    let wanted = wanted.with_environment(&config.vault_identity_list, config.vault_password_file.as_deref());
    let mut ask = |prompt: &str| rpassword::prompt_password(prompt);
    Ok(Vault::new(wanted.load(&mut ask)?, redactor.clone()))
}

fn settings(
    arguments: &Arguments,
    config: &crate::load::config::Config,
    extra_vars: Arc<Map>,
    person: &dyn Asker,
) -> Result<Settings, Diagnostic> {
    let login = password(arguments.connection_password_file.as_deref(), arguments.ask_pass, "SSH password: ", person)?;
    let become_prompt = if login.is_some() { "BECOME password[defaults to SSH password]: " } else { "BECOME password: " };
    let mut r#become = password(arguments.become_password_file.as_deref(), arguments.ask_become_pass, become_prompt, person)?;
    if r#become.as_deref() == Some("") {
        r#become.clone_from(&login);
    }
    let ssh = [("--ssh-common-args", &arguments.ssh_common_args), ("--ssh-extra-args", &arguments.ssh_extra_args)];
    let execution = Execution::from_environment();
    Ok(Settings {
        check: arguments.check,
        diff: arguments.diff,
        forks: arguments.forks.or(config.forks).unwrap_or(DEFAULT_FORKS),
        limit: (!arguments.limit.is_empty()).then(|| arguments.limit.join(":")),
        tags: or_else(&arguments.tags, &execution.run_tags),
        skip_tags: or_else(&arguments.skip_tags, &execution.skip_tags),
        extra_vars,
        verbosity: arguments.verbose,
        r#become: arguments.r#become,
        become_user: arguments.become_user.clone(),
        become_method: arguments.become_method.clone(),
        become_password: r#become.map(Secret::new),
        remote_user: arguments.user.clone().or_else(|| config.remote_user.clone()),
        connection: arguments.connection.clone(),
        private_key: arguments.private_key.clone().or_else(|| config.private_key_file.clone()),
        password: login.map(Secret::new),
        timeout: arguments.timeout.or(config.timeout),
        ssh_arguments: ssh.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.clone()?))).collect(),
        force_handlers: arguments.force_handlers,
        start_at_task: arguments.start_at_task.clone(),
        inventory_sources: arguments.inventory.clone(),
        execution,
        ..Settings::default()
    })
}

/// Returns what the command line says, or else what the environment does.
fn or_else(said: &[String], otherwise: &[String]) -> Vec<String> {
    if said.is_empty() { otherwise.to_vec() } else { said.to_vec() }
}

/// How many hosts at a time where nothing is said. A task on a host costs one round trip, not a process of ours.
const DEFAULT_FORKS: usize = 50;

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

fn listener(arguments: &Arguments, redactor: &Redactor) -> Arc<dyn Listener> {
    let terminal = std::io::stdout().is_terminal();
    let colour = super::colour(terminal) && arguments.output != Form::Json;
    let output = Output::new(Box::new(std::io::stdout()), redactor.clone(), colour);
    match arguments.output {
        Form::Json => Arc::new(JsonLines::new(output)),
        Form::Ansible => Arc::new(AnsibleForm::new(output, arguments.verbose)),
        Form::Windlass if terminal && std::io::stderr().is_terminal() => {
            Arc::new(Terminal::new(output.with_bar(progress_bar()), arguments.verbose))
        }
        Form::Windlass => Arc::new(Terminal::new(output, arguments.verbose)),
    }
}

/// Returns what renders names that must be known when the playbook is read: `-e` and what the play itself defines.
fn early(sources: &Sources, vault: &Arc<Vault>, extra: Arc<Mutex<Map>>) -> Early {
    let engine = Engine::new(Arc::new(EarlyWorld(vault.clone())), sources.clone());
    Arc::new(move |value: &Value, known: &Map| {
        let mut all: HashMap<String, Value> = known.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
        if let Ok(extra) = extra.lock() {
            all.extend(extra.iter().map(|(name, value)| (name.to_string(), value.clone())));
        }
        engine.render(value, &EarlyVariables(all))
    })
}

struct EarlyVariables(HashMap<String, Value>);

impl Variables for EarlyVariables {
    fn get(&self, name: &str) -> Option<Value> {
        self.0.get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

/// What can be read while the playbook is read: files by their path, the vault.
struct EarlyWorld(Arc<Vault>);

impl World for EarlyWorld {
    fn unvault(&self, armoured: &str, span: Span) -> Result<Arc<str>, Diagnostic> {
        self.0.decrypt_text(armoured, span)
    }

    fn find(&self, _folder: &str, name: &str) -> Option<PathBuf> {
        Some(PathBuf::from(name)).filter(|path| path.exists())
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        self.0.read_file(path).map_err(|diagnostic| diagnostic.message)
    }

    fn secret(&self, _text: &str) {}

    fn warn(&self, _message: &str) {}

    fn folder(&self) -> PathBuf {
        std::env::current_dir().unwrap_or_default()
    }
}
