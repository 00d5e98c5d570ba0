//! `windlass lint`: what can be told wrong of playbooks and roles without a host.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::{Value as Json, json};

use crate::cli::flags::Flags;
use crate::cli::ground::Ground;
use crate::load::loader::Errors;
use crate::load::playbook::Playbook;
use crate::load::{check, doomed, lint};
use crate::source::{Diagnostic, Severity, Sources};

/// The rule of everything that keeps a file from being read.
const SYNTAX: &str = "syntax";

/// Flags of `windlass lint`.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// Playbooks, and folders of roles
    #[arg(required = true)]
    pub paths: Vec<PathBuf>,
    /// The form of what is found
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// Leave out what breaks these rules
    #[arg(long, value_delimiter = ',')]
    pub ignore: Vec<String>,
    /// Inventory, `-e`, vault: with an inventory, undefined variables are told too
    #[command(flatten)]
    pub flags: Flags,
}

/// The form of what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// A list of findings
    Json,
    /// SARIF 2.1.0, which code hosts and editors show
    Sarif,
}

/// Looks at the files and returns the exit code: 0 where no error was found.
pub fn run(arguments: &Arguments) -> u8 {
    let sources = super::sources();
    let mut found = look(arguments, &sources);
    found.retain(|diagnostic| !arguments.ignore.iter().any(|rule| rule == rule_of(diagnostic)));
    match arguments.format {
        Format::Text => super::complain(&sources, &found),
        Format::Json => super::say(&pretty(&json!(found.iter().map(|diagnostic| finding(&sources, diagnostic)).collect::<Vec<_>>()))),
        Format::Sarif => super::say(&pretty(&sarif(&sources, &found))),
    }
    if found.iter().any(|diagnostic| diagnostic.severity == Severity::Error) { super::ERROR } else { super::OK }
}

fn rule_of(diagnostic: &Diagnostic) -> &'static str {
    diagnostic.rule.unwrap_or(SYNTAX)
}

fn look(arguments: &Arguments, sources: &Sources) -> Vec<Diagnostic> {
    let folder = arguments.paths.first().and_then(|path| path.parent()).map(Path::to_path_buf).unwrap_or_default();
    let ground = match Ground::open(&arguments.flags, &folder, sources) {
        Ok(ground) => ground,
        Err(errors) => return errors,
    };
    let known = ground.known_names();
    let mut found: Vec<Diagnostic> = Vec::new();
    for path in &arguments.paths {
        match playbook(&ground, path) {
            Ok(playbook) => {
                found.extend(check::playbook(&playbook, true, &ground.loader.collections));
                found.extend(doomed::playbook(&playbook, sources));
                found.extend(lint::playbook(&playbook, known.as_ref()));
            }
            Err(errors) => found.extend(errors),
        }
    }
    found.extend(ground.loader.take_warnings());
    let mut seen: Vec<Diagnostic> = Vec::new();
    found.retain(|diagnostic| {
        let is_new = !seen.contains(diagnostic);
        seen.push(diagnostic.clone());
        is_new
    });
    found.sort_by_key(|diagnostic| diagnostic.span.map(|span| (span.file.0, span.start)));
    found
}

/// Reads a playbook, or a role as the playbook that only has it.
fn playbook(ground: &Ground, path: &Path) -> Result<Playbook, Errors> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if !absolute.is_dir() {
        return ground.loader.playbook(&absolute);
    }
    let play = json!({ "hosts": "all", "roles": [absolute.display().to_string()] });
    let play = ground.loader.play_of_text("<role>", play.to_string(), absolute.parent().unwrap_or(Path::new("/")))?;
    Ok(Playbook { path: absolute, plays: vec![play] })
}

impl Ground {
    /// Returns the names of variables that inventory and command line define. `None` where no host is known.
    fn known_names(&self) -> Option<HashSet<String>> {
        let hosts = self.site.hosts();
        let layers = hosts.iter().flat_map(|host| self.site.layers(host));
        let mut names: HashSet<String> =
            layers.flat_map(|layer| layer.variables.keys().filter_map(|key| key.as_str()).map(str::to_owned).collect::<Vec<_>>()).collect();
        names.extend(self.extra().keys().filter_map(|key| key.as_str()).map(str::to_owned));
        (!hosts.is_empty()).then_some(names)
    }
}

fn finding(sources: &Sources, diagnostic: &Diagnostic) -> Json {
    let place = diagnostic.span.and_then(|span| sources.place(span));
    json!({
        "rule": rule_of(diagnostic),
        "severity": if diagnostic.severity == Severity::Error { "error" } else { "warning" },
        "message": diagnostic.message,
        "path": place.as_ref().map(|place| place.path.display().to_string()),
        "line": place.as_ref().map(|place| place.line),
        "column": place.as_ref().map(|place| place.column),
        "hints": diagnostic.hints,
    })
}

fn sarif(sources: &Sources, found: &[Diagnostic]) -> Json {
    let mut rules: Vec<&str> = found.iter().map(rule_of).collect();
    rules.sort_unstable();
    rules.dedup();
    let results: Vec<_> = found
        .iter()
        .map(|diagnostic| {
            let place = diagnostic.span.and_then(|span| sources.place(span));
            let locations: Vec<_> = place
                .iter()
                .map(|place| {
                    json!({ "physicalLocation": {
                        "artifactLocation": { "uri": place.path.display().to_string() },
                        "region": { "startLine": place.line, "startColumn": place.column },
                    } })
                })
                .collect();
            let hints: String = diagnostic.hints.iter().map(|hint| format!(" ({hint})")).collect();
            json!({
                "ruleId": rule_of(diagnostic),
                "level": if diagnostic.severity == Severity::Error { "error" } else { "warning" },
                "message": { "text": format!("{}{hints}", diagnostic.message) },
                "locations": locations,
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "windlass",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|rule| json!({ "id": rule })).collect::<Vec<_>>(),
            } },
            "results": results,
        }],
    })
}

fn pretty(json: &Json) -> String {
    serde_json::to_string_pretty(json).unwrap_or_default()
}
