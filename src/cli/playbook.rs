//! `windlass playbook`: loads, runs, reports.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::cli::flags::{Flags, Form};
use crate::cli::ground::{self, Ground};
use crate::cli::keep::{self, Kept, Resumed};
use crate::cli::list;
use crate::cli::plan::Approved;
use crate::cli::reporting;
use crate::cli::window::{self, WindowFlags};
use crate::load::check;
use crate::load::loader::{Errors, Loader};
use crate::load::playbook::{Play, Playbook};
use crate::report::{Listener, Output};
use crate::run::settings::Decisions;
use crate::run::tags::Selection;
use crate::run::{Settings, Site};
use crate::source::{Diagnostic, Sources};

/// Flags of `windlass playbook`. Those that ansible-playbook has mean the same here.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct Arguments {
    /// Playbooks, run one after the other
    #[arg(required = true)]
    pub playbooks: Vec<PathBuf>,
    /// Run only tasks with one of these tags
    #[arg(short, long, value_delimiter = ',')]
    pub tags: Vec<String>,
    /// Leave out tasks with one of these tags
    #[arg(long, value_delimiter = ',')]
    pub skip_tags: Vec<String>,
    /// Begin at the task of this name, and leave out those before it
    #[arg(long)]
    pub start_at_task: Option<String>,
    /// Ask before each task
    #[arg(long)]
    #[serde(default)]
    pub step: bool,
    /// Run handlers even when a task failed
    #[arg(long)]
    pub force_handlers: bool,
    /// Show the tasks and do nothing
    #[arg(long)]
    pub list_tasks: bool,
    /// Show the tags and do nothing
    #[arg(long)]
    pub list_tags: bool,
    /// Read everything and do nothing
    #[arg(long)]
    pub syntax_check: bool,
    /// What the change is for: the number or text of a ticket, kept with the run
    #[arg(long)]
    pub ticket: Option<String>,
    /// Take hosts from another run that holds them
    #[arg(long)]
    #[serde(default)]
    pub steal_lease: bool,
    /// Ask before more hosts than this are touched; without a terminal, refuse
    #[arg(long)]
    #[serde(default)]
    pub max_hosts: Option<usize>,
    /// When the run may be at work
    #[command(flatten)]
    #[serde(default)]
    pub window: WindowFlags,
    /// Exit with 10 where a check would change something, with 11 where it cannot predict some of it
    #[arg(long)]
    #[serde(default)]
    pub detailed_exitcode: bool,
    /// The plan that is applied: only `windlass apply` has this
    #[arg(skip)]
    #[serde(default)]
    pub approved: Option<Approved>,
    /// What becomes of a command that broke off in the middle: only `windlass resume` has this
    #[arg(skip)]
    #[serde(skip)]
    pub unsure: Decisions,
    /// On which hosts, as whom and how
    #[command(flatten)]
    pub flags: Flags,
}

/// Loads, runs and reports the playbooks.
pub fn run(arguments: &Arguments) -> u8 {
    let sources = super::sources();
    ground::finish(&sources, prepare(arguments, &sources, None))
}

/// Goes on with a run that broke off.
pub(super) fn go_on(arguments: &Arguments, resumed: &Resumed) -> u8 {
    let sources = super::sources();
    ground::finish(&sources, prepare(arguments, &sources, Some(resumed)))
}

/// Playbooks that were read and checked, and all that they stand on.
#[derive(Clone)]
pub(super) struct Ready {
    pub(super) ground: Ground,
    pub(super) playbooks: Vec<Playbook>,
    pub(super) settings: Settings,
}

impl Ready {
    /// Returns everything a run needs.
    pub(super) fn prepared(self, listener: Arc<dyn Listener>, kept: Kept) -> ground::Prepared {
        self.ground.prepared(self.playbooks, self.settings, listener, kept)
    }
}

fn prepare(arguments: &Arguments, sources: &Sources, resumed: Option<&Resumed>) -> Result<Option<ground::Prepared>, Errors> {
    let Some(ready) = read(arguments, sources)? else { return Ok(None) };
    let redactor = &ready.ground.redactor;
    let listener = reporting::listener(&arguments.flags, &ready.ground.config, redactor, None).map_err(|error| vec![error])?;
    let kept = match resumed {
        _ if arguments.flags.check => Kept::default(),
        None => keep::begin(arguments, sources, redactor),
        Some(resumed) => keep::resume(resumed, arguments, sources, redactor).map_err(|error| vec![error])?,
    };
    if resumed.is_none() && !arguments.flags.check && arguments.flags.output == Form::Windlass {
        tell_one_way(&ready);
    }
    if let Some(window) = ready.settings.window.as_ref().filter(|_| arguments.flags.output == Form::Windlass) {
        Output::new(Box::new(std::io::stderr()), redactor.clone(), false).line(&window::closing(window));
    }
    Ok(Some(ready.prepared(listener, kept)))
}

/// Says, before anything is done, what cannot be undone of it.
fn tell_one_way(ready: &Ready) {
    let selection = Selection::new(&ready.settings.tags, &ready.settings.skip_tags);
    if let Some(line) = list::one_way(&ready.playbooks, |tags| selection.wants(tags)) {
        Output::new(Box::new(std::io::stderr()), ready.ground.redactor.clone(), false).line(&line);
    }
}

/// Reads and checks everything; `None` where only a listing was asked for.
///
/// # Errors
/// Everything wrong in it.
pub(super) fn read(arguments: &Arguments, sources: &Sources) -> Result<Option<Ready>, Errors> {
    let folder = arguments.playbooks.first().and_then(|path| path.parent()).map(Path::to_path_buf).unwrap_or_default();
    let ground = Ground::open(&arguments.flags, &folder, sources)?;
    let mut playbooks = Vec::new();
    let mut errors = Vec::new();
    for path in &arguments.playbooks {
        match read_playbook(&ground.loader, path, arguments.syntax_check) {
            Ok(playbook) => playbooks.push(playbook),
            Err(more) => errors.extend(more),
        }
    }
    super::complain(sources, &ground.loader.take_warnings());
    if !errors.is_empty() {
        return Err(errors);
    }
    if arguments.lists_only() {
        list_playbooks(arguments, &playbooks, &*ground.site);
        return Ok(None);
    }
    let window =
        if arguments.flags.check { None } else { arguments.window.open(&keep::absolute(arguments)).map_err(|error| vec![error])? };
    let settings = Settings {
        force_handlers: arguments.force_handlers,
        start_at_task: arguments.start_at_task.clone(),
        step: arguments.step,
        unsure: arguments.unsure.clone(),
        max_hosts: arguments.max_hosts,
        window,
        detailed_exitcode: arguments.detailed_exitcode,
        ..ground.settings(&arguments.flags)?
    };
    let settings = Settings {
        tags: or_else(&arguments.tags, &settings.execution.run_tags),
        skip_tags: or_else(&arguments.skip_tags, &settings.execution.skip_tags),
        ..settings
    };
    Ok(Some(Ready { ground, playbooks, settings }))
}

/// Returns what the command line says, or else what the environment does.
fn or_else(said: &[String], otherwise: &[String]) -> Vec<String> {
    if said.is_empty() { otherwise.to_vec() } else { said.to_vec() }
}

impl Arguments {
    /// Returns the flags that hold no secrets.
    pub(super) fn open(&self) -> serde_json::Value {
        let flags = Flags { extra_vars: Vec::new(), ..self.flags.clone() };
        serde_json::to_value(Self { flags, ..self.clone() }).unwrap_or_default()
    }

    /// Returns the flags that may hold secrets.
    pub(super) fn secret(&self) -> serde_json::Value {
        serde_json::json!({ "extra_vars": self.flags.extra_vars })
    }

    /// Returns the flags again from both parts.
    ///
    /// # Errors
    /// When they are not those of this version.
    pub(super) fn restored(open: &serde_json::Value, secret: &serde_json::Value) -> Result<Self, String> {
        let wrong = |error: serde_json::Error| format!("the run was begun by another version of windlass: {error}");
        let mut arguments: Self = serde_json::from_value(open.clone()).map_err(wrong)?;
        let extra = secret.get("extra_vars").cloned().unwrap_or_default();
        arguments.flags.extra_vars = serde_json::from_value(extra).map_err(wrong)?;
        Ok(arguments)
    }

    fn lists_only(&self) -> bool {
        self.flags.list_hosts || self.list_tasks || self.list_tags || self.syntax_check
    }
}

fn read_playbook(loader: &Loader, path: &Path, strict: bool) -> Result<Playbook, Errors> {
    let of_collection = path.to_str().filter(|_| !path.exists()).and_then(|name| loader.collections.playbook(name, Path::new("")));
    let path = of_collection.as_deref().unwrap_or(path);
    if !path.exists() {
        return Err(vec![Diagnostic::error(format!("there is no playbook `{}`", path.display())).hint("give the path of its file")]);
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // Paths in messages stay as the user typed them; what runs needs to know the whole.
    let playbook = loader.playbook(if path.is_absolute() { path } else { &absolute })?;
    let wrong = check::playbook(&playbook, strict, &loader.collections);
    if wrong.is_empty() { Ok(playbook) } else { Err(wrong) }
}

fn list_playbooks(arguments: &Arguments, playbooks: &[Playbook], site: &dyn Site) {
    let wanted = list::Wanted {
        hosts: arguments.flags.list_hosts,
        tasks: arguments.list_tasks,
        tags: arguments.list_tags,
        one_way: !super::is_like_ansible(),
    };
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
