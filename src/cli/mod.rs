//! One file per subcommand. Only here flags, exit codes and the terminal are known.
//!
//! | exit code | means |
//! |---|---|
//! | 0 | all went well |
//! | 1 | nothing could be started, or the files are wrong |
//! | 2 | tasks failed on hosts; or the flags are wrong |
//! | 4 | hosts could not be reached |
//! | 10 | `--detailed-exitcode`: the check went well, and something would change; `drift`: a host is no longer as a run left it |
//! | 11 | `--detailed-exitcode`: some of it cannot be predicted; `apply`: the plan has unknown steps that are not allowed; `drift`: something cannot be known |
//! | 12 | `apply`: something has moved since the plan was made, and was refused |
//! | 13 | the change window left no time for the rest |
//! | 130 | interrupted |

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};

use crate::agent::serve;
use crate::source::{Diagnostic, Severity, Sources, render};
use crate::value::{Value, arguments};

pub mod adhoc;
mod called;
pub mod demo;
pub mod doc;
mod drift;
pub mod early;
pub mod extra_vars;
pub mod flags;
pub mod ground;
pub mod hosts;
pub mod inventory;
mod keep;
mod language;
pub mod lint;
pub mod list;
mod moved;
pub mod person;
pub mod plan;
pub mod playbook;
mod pull;
mod report;
pub mod reporting;
pub mod runs;
pub mod settings;
pub mod show;
mod show_html;
pub mod template;
pub mod undo;
pub mod variables;
pub mod vault;
pub mod window;

/// Runs Ansible-style playbooks over SSH, with a check mode that tells the truth.
#[derive(Debug, Parser)]
#[command(name = "windlass", version, max_term_width = 120, args_override_self = true, infer_long_args = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run playbooks
    #[command(alias = "run")]
    Playbook(Box<playbook::Arguments>),
    /// Run one task on hosts, without a playbook
    Adhoc(Box<adhoc::Arguments>),
    /// Fetch a repository of playbooks to this machine, and run them here
    Pull(pull::Arguments),
    /// Write down what playbooks would do, for somebody to approve
    Plan(Box<plan::Make>),
    /// Show a plan
    Show(show::Arguments),
    /// Do what a plan says, and nothing else
    Apply(plan::Apply),
    /// Go on with a run that broke off
    Resume(runs::Resume),
    /// Show what was run
    Runs(runs::Runs),
    /// Report a run from its record: as text, as an HTML page for a change board, as JUnit XML, as JSON
    Report(report::Arguments),
    /// Compare hosts with what a run left: 0 no drift, 10 drift, 11 something cannot be known
    Drift(drift::Arguments),
    /// Take back what a run changed
    Undo(undo::Undo),
    /// Show hosts, groups and variables as they were read
    Inventory(inventory::Arguments),
    /// Show every definition of a host's variables, the one that counts, and where each stands
    Vars(Box<variables::Arguments>),
    /// Tell what is wrong with playbooks and roles, without a host
    Lint(Box<lint::Arguments>),
    /// Show the settings: what they are and where that was said
    Config(settings::Arguments),
    /// Encrypt, decrypt, show and edit vaulted files
    Vault(vault::VaultCommand),
    /// Show what a template or a condition gives
    Template(template::Arguments),
    /// Show the manual of a module, or list the modules
    Doc(doc::Arguments),
    /// See it work: two simulated clusters, connected over real SSH on this machine
    Demo(demo::Arguments),
    #[command(hide = true)]
    AgentTry,
    #[command(hide = true)]
    AgentServe { nonce: String },
    #[command(hide = true)]
    AgentKeep { session: String },
    #[command(hide = true)]
    AgentAttach { nonce: String, name: String },
    #[command(hide = true)]
    AgentJob { folder: String, name: String },
    #[command(hide = true)]
    DemoSystemctl(demo::Systemctl),
    #[command(hide = true)]
    DemoNodes(demo::Nodes),
}

/// All went well.
pub const OK: u8 = 0;
/// Nothing could be started: wrong files, wrong flags.
pub const ERROR: u8 = 1;
/// Tasks failed on hosts.
pub const FAILED_HOSTS: u8 = 2;
/// Hosts could not be reached.
pub const UNREACHABLE: u8 = 4;
/// The flags are wrong.
pub const USAGE: u8 = 2;
/// Some steps cannot be predicted.
pub const UNKNOWN: u8 = 11;
/// What was approved is not what would be done now.
pub const DRIFT: u8 = 12;

/// Parses the command line, does what it says, and returns the exit code.
pub fn main() -> ExitCode {
    let line = called::line(std::env::args_os());
    LIKE_ANSIBLE.store(line.like_ansible, Ordering::Relaxed);
    if let Some(text) = line.version {
        say(&text);
        return ExitCode::from(OK);
    }
    let cli = match Cli::try_parse_from(line.words) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { USAGE } else { OK };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let code = match cli.command {
        Command::Playbook(arguments) => playbook::run(&arguments),
        Command::Adhoc(arguments) => adhoc::run(&arguments),
        Command::Pull(arguments) => pull::run(&arguments),
        Command::Plan(arguments) => plan::make(&arguments),
        Command::Show(arguments) => show::run(&arguments),
        Command::Apply(arguments) => plan::apply(&arguments),
        Command::Resume(arguments) => runs::resume(&arguments),
        Command::Runs(arguments) => runs::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Drift(arguments) => drift::run(&arguments),
        Command::Undo(arguments) => undo::run(&arguments),
        Command::Inventory(arguments) => inventory::run(&arguments),
        Command::Vars(arguments) => variables::run(&arguments),
        Command::Lint(arguments) => lint::run(&arguments),
        Command::Config(arguments) => settings::run(&arguments),
        Command::Vault(command) => vault::run(&command),
        Command::Template(arguments) => template::run(&arguments),
        Command::Doc(arguments) => doc::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::AgentTry
        | Command::AgentServe { .. }
        | Command::AgentKeep { .. }
        | Command::AgentAttach { .. }
        | Command::AgentJob { .. } => {
            return serve::main(std::env::args().skip(1));
        }
        Command::DemoSystemctl(arguments) => demo::systemctl(&arguments),
        Command::DemoNodes(arguments) => demo::nodes(&arguments),
    };
    ExitCode::from(code)
}

/// Whether windlass was called as one of Ansible's programs, or with `--output ansible`.
static LIKE_ANSIBLE: AtomicBool = AtomicBool::new(false);

/// Whether windlass was called as one of Ansible's programs, or with `--output ansible`: messages have Ansible's form, and
/// what is a warning to Ansible is one.
pub(crate) fn is_like_ansible() -> bool {
    LIKE_ANSIBLE.load(Ordering::Relaxed)
}

/// Returns texts without any yet, whose messages have the form that is wanted.
pub(crate) fn sources() -> Sources {
    let sources = Sources::default();
    if is_like_ansible() {
        sources.use_ansible_form();
    }
    sources
}

/// Whether colours are wanted on this stream: a terminal, and neither `NO_COLOR` nor `ANSIBLE_NOCOLOR`; `ANSIBLE_FORCE_COLOR` forces them.
pub(crate) fn colour(is_terminal: bool) -> bool {
    let set = |name: &str| std::env::var(name).is_ok_and(|value| !value.is_empty());
    let is_on = |name: &str| std::env::var(name).is_ok_and(|value| arguments::to_bool(&Value::str(value)) == Some(true));
    let forced = is_on("ANSIBLE_FORCE_COLOR") || set("CLICOLOR_FORCE");
    !set("NO_COLOR") && !is_on("ANSIBLE_NOCOLOR") && (forced || (is_terminal && std::env::var("TERM").as_deref() != Ok("dumb")))
}

/// Writes to standard output; a reader that went away ends the program quietly.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Writes diagnostics to standard error, errors last, each once.
pub(crate) fn complain(sources: &Sources, diagnostics: &[Diagnostic]) {
    let colour = colour(std::io::stderr().is_terminal());
    let mut sorted: Vec<_> = diagnostics.iter().collect();
    sorted.sort_by_key(|diagnostic| diagnostic.severity);
    let mut seen = Vec::new();
    let mut err = std::io::stderr().lock();
    for diagnostic in sorted {
        let text = render::text(sources, diagnostic, colour);
        if !seen.contains(&text) {
            let _ = writeln!(err, "{text}\n");
            seen.push(text);
        }
    }
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    if errors > 1 && !sources.in_ansible_form() {
        let _ = writeln!(err, "{errors} errors");
    }
}
