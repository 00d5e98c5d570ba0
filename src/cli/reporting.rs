//! Which listeners a run has: the form of its report, the log, the JUnit file.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use crate::cli::flags::{Flags, Form};
use crate::load::config::Config;
use crate::report::ansible::AnsibleForm;
use crate::report::json::JsonLines;
use crate::report::junit::Junit;
use crate::report::log::Log;
use crate::report::manner::{Manner, Yaml};
use crate::report::minimal::{Minimal, Style};
use crate::report::output::Output;
use crate::report::terminal::{Terminal, progress_bar};
use crate::report::{Event, Listener};
use crate::source::Diagnostic;
use crate::value::Value;
use crate::value::secret::Redactor;
use crate::vars::{YamlStyle, write_yaml};

/// Several listeners, told one after the other.
struct All(Vec<Arc<dyn Listener>>);

impl Listener for All {
    fn tell(&self, event: &Event) {
        self.0.iter().for_each(|listener| listener.tell(event));
    }
}

/// What an ad hoc task says of its report.
#[derive(Clone, Debug, Default)]
pub struct AdHoc {
    /// `--one-line`.
    pub one_line: bool,
    /// `--tree`.
    pub tree: Option<PathBuf>,
}

/// Returns what hears of a run; `ad_hoc` where it is a task without a playbook.
///
/// # Errors
/// The log cannot be written.
pub fn listener(flags: &Flags, config: &Config, redactor: &Redactor, ad_hoc: Option<AdHoc>) -> Result<Arc<dyn Listener>, Diagnostic> {
    let log = match config.path("DEFAULT_LOG_PATH") {
        None => None,
        Some(path) => {
            Some(Log::open(&path).map_err(|error| Diagnostic::error(format!("cannot write to the log `{}`: {error}", path.display())))?)
        }
    };
    let colour = |terminal| super::colour(terminal) && flags.output != Form::Json;
    let output = Output::new(Box::new(std::io::stdout()), redactor.clone(), colour(std::io::stdout().is_terminal())).with_log(log.clone());
    let errors = Output::new(Box::new(std::io::stderr()), redactor.clone(), colour(std::io::stderr().is_terminal())).with_log(log.clone());
    let verbosity = flags.verbosity(config);
    let terminal = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    let mut all: Vec<Arc<dyn Listener>> = vec![match flags.output {
        Form::Json => Arc::new(JsonLines::new(output)),
        Form::Windlass if terminal => Arc::new(Terminal::new(output.with_bar(progress_bar()), verbosity)),
        Form::Windlass => Arc::new(Terminal::new(output, verbosity)),
        Form::Ansible => match style(config, ad_hoc.as_ref()) {
            Some(style) => Arc::new(Minimal::new(output, errors, verbosity, style, ad_hoc.and_then(|ad_hoc| ad_hoc.tree))),
            None => {
                if verbosity > 0 {
                    output.line(&settings_used(config));
                }
                Arc::new(AnsibleForm::new(output, errors, manner(config, verbosity)))
            }
        },
    }];
    // What the log is to have beyond the report.
    let log_verbosity = config.number("LOG_VERBOSITY").and_then(|number| u8::try_from(number).ok()).unwrap_or(verbosity);
    if let Some(log) = log.filter(|_| log_verbosity > verbosity) {
        let quiet = || Output::new(Box::new(std::io::sink()), redactor.clone(), false).with_log(Some(log.clone()));
        all.push(Arc::new(AnsibleForm::new(quiet(), quiet(), manner(config, log_verbosity))));
    }
    let is_called = config.list("CALLBACKS_ENABLED").iter().any(|name| name.rsplit('.').next() == Some("junit"));
    if let Some(folder) = flags.junit.clone().or_else(|| config.paths("junit_output_dir").into_iter().next().filter(|_| is_called)) {
        all.push(Arc::new(Junit::new(folder, redactor.clone())));
    }
    Ok(match all.pop() {
        Some(only) if all.is_empty() => only,
        last => Arc::new(All(all.into_iter().chain(last).collect())),
    })
}

/// Returns the short form that is wanted, if any: that of ad hoc tasks, or of `ANSIBLE_STDOUT_CALLBACK`.
fn style(config: &Config, ad_hoc: Option<&AdHoc>) -> Option<Style> {
    let named = match config.text("DEFAULT_STDOUT_CALLBACK").and_then(|name| name.rsplit('.').next()) {
        Some("oneline") => Some(Style::OneLine),
        Some("minimal") => Some(Style::Minimal),
        _ => None,
    };
    let Some(ad_hoc) = ad_hoc else { return named };
    let named = named.filter(|_| config.is_on("DEFAULT_LOAD_CALLBACK_PLUGINS"));
    Some(if ad_hoc.one_line { Style::OneLine } else { named.unwrap_or(Style::Minimal) })
}

/// Returns which file of settings counts, as Ansible says it when asked for more.
fn settings_used(config: &Config) -> String {
    match &config.file {
        Some(file) => format!("Using {} as config file", file.display()),
        None => "No config file found; using defaults".to_owned(),
    }
}

fn manner(config: &Config, verbosity: u8) -> Manner {
    let is_yaml = config.text("callback_result_format") == Some("yaml");
    Manner {
        verbosity,
        skipped: config.is_on("DISPLAY_SKIPPED_HOSTS"),
        ok: config.is_on("display_ok_hosts"),
        failed_to_stderr: config.is_on("display_failed_stderr"),
        path_on_failure: config.is_on("show_task_path_on_failure"),
        check_markers: config.is_on("check_mode_markers"),
        custom_stats: config.is_on("SHOW_CUSTOM_STATS"),
        deprecations: config.is_on("DEPRECATION_WARNINGS"),
        debug: config.is_on("DEFAULT_DEBUG"),
        yaml: is_yaml.then_some(as_yaml as Yaml),
        pretty: config.flag("callback_format_pretty"),
    }
}

fn as_yaml(value: &Value, tidy: bool) -> String {
    write_yaml(value, &YamlStyle { indent: 4, sort_keys: true, width: 1000, block: Some(true), lines: Some(tidy), ..YamlStyle::default() })
}
