//! `windlass config`: the settings that are heeded, what they are, and where that was said.

use clap::{Args, Subcommand};
use serde_json::json;

use crate::load::config::{Config, Origin};
use crate::load::settings::{self, Setting};
use crate::source::Diagnostic;

/// Flags of `windlass config`.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Show what each setting is
    Dump {
        /// Only those that were said somewhere
        #[arg(long)]
        only_changed: bool,
        /// The form of the list
        #[arg(short, long, default_value = "display", value_parser = ["display", "json"])]
        format: String,
        /// Taken for the sake of scripts
        #[arg(short, long, action = clap::ArgAction::Count, hide = true)]
        verbose: u8,
    },
    /// List every setting, with its variables and keys
    List,
    /// Show the file of settings that counts
    View,
}

/// Does what the flags say and returns the exit code.
pub fn run(arguments: &Arguments) -> u8 {
    let config = Config::from_environment();
    let sources = super::sources();
    let warnings: Vec<_> = config.warnings.iter().map(Diagnostic::warning).collect();
    super::complain(&sources, &warnings);
    match &arguments.action {
        Action::Dump { only_changed, format, .. } => {
            let rows = settings::ALL.iter().filter(|setting| !only_changed || config.said(setting.name).is_some());
            let rows: Vec<_> = rows.map(|setting| row(&config, setting)).collect();
            if format == "json" {
                let all: Vec<_> =
                    rows.iter().map(|(name, value, origin)| json!({ "name": name, "value": value, "origin": origin })).collect();
                super::say(&serde_json::to_string_pretty(&all).unwrap_or_default());
            } else {
                if let Some(file) = &config.file {
                    super::say(&format!("CONFIG_FILE() = {}", file.display()));
                }
                rows.iter().for_each(|(name, value, origin)| super::say(&format!("{name}({origin}) = {value}")));
            }
        }
        Action::List => settings::ALL.iter().for_each(|setting| super::say(&described(setting))),
        Action::View => match &config.file {
            Some(file) => match std::fs::read_to_string(file) {
                Ok(text) => super::say(text.trim_end()),
                Err(error) => {
                    super::complain(&sources, &[Diagnostic::error(format!("cannot read `{}`: {error}", file.display()))]);
                    return super::ERROR;
                }
            },
            None => {
                let missing = Diagnostic::error("there is no file of settings");
                super::complain(
                    &sources,
                    &[missing.hint("it is `ansible.cfg` in this folder, `~/.ansible.cfg`, or what ANSIBLE_CONFIG names")],
                );
                return super::ERROR;
            }
        },
    }
    super::OK
}

/// Returns a setting's name, what it is, and where that was said.
fn row(config: &Config, setting: &Setting) -> (&'static str, String, String) {
    match config.said(setting.name) {
        None => (setting.name, setting.default.to_owned(), "default".to_owned()),
        Some(said) => {
            let origin = match &said.origin {
                Origin::Variable(name) => format!("env: {name}"),
                Origin::File => config.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default(),
            };
            (setting.name, said.text.clone(), origin)
        }
    }
}

fn described(setting: &Setting) -> String {
    let mut lines = vec![format!("{}:", setting.name), format!("  default: {}", setting.default)];
    let parts = |text: &str| text.split(' ').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    for (name, items) in [("env", parts(setting.environment)), ("ini", parts(setting.keys))] {
        if !items.is_empty() {
            lines.push(format!("  {name}: {}", items.join(", ")));
        }
    }
    lines.join("\n")
}
