//! `windlass adhoc`: one task on hosts, without a playbook.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::flags::Flags;
use crate::cli::ground::{self, Ground};
use crate::cli::keep::Kept;
use crate::cli::reporting::{self, AdHoc};
use crate::load::check;
use crate::load::loader::Errors;
use crate::load::playbook::Playbook;
use crate::modules;
use crate::source::{Diagnostic, Sources, Span};
use crate::value::{Map, Value};

/// Modules that do nothing without an argument.
const NEED_ARGUMENTS: &[&str] = &["command", "expect", "raw", "script", "shell"];

/// Flags of `windlass adhoc`. Those that `ansible` has mean the same here.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// Which hosts: a pattern
    #[arg(value_name = "HOSTS")]
    pub pattern: String,
    /// The module
    #[arg(short, long, default_value = "command")]
    pub module_name: String,
    /// Its arguments: `name=value` words, JSON, or the command line
    #[arg(short, long, default_value = "", allow_hyphen_values = true)]
    pub args: String,
    /// Let it go on by itself, for so many seconds at most
    #[arg(short = 'B', long)]
    pub background: Option<u64>,
    /// With `-B`: look after so many seconds whether it is done; 0 does not wait
    #[arg(short = 'P', long)]
    pub poll: Option<u64>,
    /// Seconds that the task may take
    #[arg(long)]
    pub task_timeout: Option<u64>,
    /// One line a host
    #[arg(short, long)]
    pub one_line: bool,
    /// Write each host's result to a file in this folder
    #[arg(short, long)]
    pub tree: Option<PathBuf>,
    /// The folder that stands for the playbook's: `group_vars`, roles and files are looked for in it
    #[arg(long)]
    pub playbook_dir: Option<PathBuf>,
    /// On which hosts, as whom and how
    #[command(flatten)]
    pub flags: Flags,
}

/// Runs the task and reports it.
pub fn run(arguments: &Arguments) -> u8 {
    let sources = super::sources();
    ground::finish(&sources, prepare(arguments, &sources))
}

fn prepare(arguments: &Arguments, sources: &Sources) -> Result<Option<ground::Prepared>, Errors> {
    let one = |error: Diagnostic| vec![error];
    let flags = &arguments.flags;
    let folder = match &arguments.playbook_dir {
        Some(folder) => std::path::absolute(folder),
        None => std::env::current_dir(),
    };
    let folder = folder.map_err(|error| one(Diagnostic::error(format!("cannot tell the folder for this task: {error}"))))?;
    let ground = Ground::open(flags, &folder, sources)?;
    let pattern = ground.early(&arguments.pattern).map_err(one)?;
    let module = ground.early(&arguments.module_name).map_err(one)?;
    let hosts = ground.site.select(&pattern).map_err(one)?;
    super::complain(sources, &ground.loader.take_warnings());
    if hosts.is_empty() {
        super::complain(sources, &[Diagnostic::warning(format!("no host matches `{pattern}`, so there is nothing to do"))]);
        return Ok(None);
    }
    if flags.list_hosts {
        super::say(&format!("  hosts ({}):", hosts.len()));
        hosts.iter().for_each(|host| super::say(&format!("    {host}")));
        return Ok(None);
    }
    if NEED_ARGUMENTS.contains(&modules::short_name(&module)) && arguments.args.trim().is_empty() {
        return Err(one(Diagnostic::error(format!("the module `{module}` needs a command line")).hint("give it with `-a`")));
    }
    let play = ground.loader.play_of_text("<adhoc>", play(arguments, &pattern, &module).to_string(), &folder)?;
    let playbook = Playbook { path: folder.join("adhoc"), plays: vec![play] };
    let wrong = check::playbook(&playbook, true, &ground.loader.collections);
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let settings = ground.settings(flags)?;
    let ad_hoc = AdHoc { one_line: arguments.one_line, tree: arguments.tree.clone() };
    let listener = reporting::listener(flags, &ground.config, &ground.redactor, Some(ad_hoc)).map_err(one)?;
    Ok(Some(ground.prepared(vec![playbook], settings, listener, Kept::default())))
}

/// Returns the play of the task, as a playbook would have it.
fn play(arguments: &Arguments, pattern: &str, module: &str) -> serde_json::Value {
    let text = arguments.args.trim();
    let action = match serde_json::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::Object(mut entries)) => {
            entries.insert("module".to_owned(), json!(module));
            json!(entries)
        }
        _ => json!(format!("{module} {text}")),
    };
    let mut task = json!({ "action": action });
    if let Some(seconds) = arguments.background {
        task["async"] = json!(seconds);
        task["poll"] = json!(arguments.poll.unwrap_or(15));
    }
    if let Some(seconds) = arguments.task_timeout {
        task["timeout"] = json!(seconds);
    }
    json!({ "name": "Ad hoc", "hosts": pattern, "gather_facts": false, "tasks": [task] })
}

impl Ground {
    /// Renders a text of the command line, with what `-e` defines.
    fn early(&self, text: &str) -> Result<String, Diagnostic> {
        let value = Value::text(text, Span::default());
        self.loader.early(&value, &Map::new()).map(|value| value.to_string())
    }
}
