//! `windlass vars`: every definition of a host's variables, the one that counts, and the place of each.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::cli::flags::Flags;
use crate::cli::ground::Ground;
use crate::cli::inventory::{self, plain};
use crate::load::inventory::Inventory;
use crate::load::loader::Errors;
use crate::load::nodes::to_value;
use crate::load::playbook::{Playbook, RoleUse};
use crate::source::{Diagnostic, Node, Sources, Span};
use crate::value::Value;
use crate::value::json::to_json;
use crate::vars::scope::Level;

/// Flags of `windlass vars`.
#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// The host
    pub host: String,
    /// The variable; without one, all of them
    pub name: Option<String>,
    /// Playbooks whose plays' and roles' variables count too
    #[arg(short, long)]
    pub playbook: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Show what came out of vaulted files, instead of `***`
    #[arg(long)]
    pub show_secrets: bool,
    /// Inventory, `-e`, vault
    #[command(flatten)]
    pub flags: Flags,
}

/// Shows the definitions and returns the exit code.
pub fn run(arguments: &Arguments) -> u8 {
    let sources = super::sources();
    match show(arguments, &sources) {
        Ok(text) => {
            super::say(&text);
            super::OK
        }
        Err(errors) => {
            super::complain(&sources, &errors);
            super::ERROR
        }
    }
}

/// One definition of a variable.
struct Definition {
    name: String,
    level: Level,
    value: Value,
    place: Option<Span>,
    /// What it is: "group `web`", "defaults of the role `nginx`".
    of: String,
}

fn show(arguments: &Arguments, sources: &Sources) -> Result<String, Errors> {
    let first = arguments.playbook.first().and_then(|path| path.parent()).map(Path::to_path_buf).unwrap_or_default();
    let ground = Ground::open(&arguments.flags, &first, sources)?;
    let inputs = inventory::inputs(&arguments.flags.inventory, &ground.config);
    let mut inventory = Inventory::load_with(sources, &ground.loader.vault, &inputs, ground.inventory_options())?;
    inventory.set_playbook_folder(&first)?;
    let host = arguments.host.as_str();
    if !inventory.has_host(host) && host != "localhost" {
        let known = inventory.hosts();
        let missing = Diagnostic::error(format!("there is no host `{host}` in the inventory"));
        return Err(vec![missing.did_you_mean(host, known.iter().map(|name| &**name))]);
    }
    let mut found = of_inventory(&inventory, host);
    for path in &arguments.playbook {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let playbook = ground.loader.playbook(&path)?;
        of_playbook(&ground, &path, &playbook, host, &mut found)?;
    }
    for (name, value) in ground.extra() {
        found.push(Definition { name: name.to_string(), level: Level::ExtraVars, value, place: None, of: "-e".to_owned() });
    }
    if let Some(name) = &arguments.name {
        let names: Vec<String> = found.iter().map(|definition| definition.name.clone()).collect();
        found.retain(|definition| definition.name == *name);
        if found.is_empty() {
            let missing = Diagnostic::error(format!("nothing defines `{name}` for the host `{host}`"));
            return Err(vec![missing.did_you_mean(name, names.iter().map(String::as_str))]);
        }
    }
    // A folder beside both inventory and playbook counts twice; the stronger one is shown.
    let places: Vec<_> = found.iter().map(|definition| (definition.name.clone(), place(sources, definition))).collect();
    let mut at = 0;
    found.retain(|_| {
        at += 1;
        let own = &places[at - 1];
        own.1.is_none() || !places[at..].contains(own)
    });
    // Weakest first; where two are as strong, the later one wins.
    found.sort_by_key(|definition| definition.level);
    for definition in &mut found {
        let value = plain(&definition.value);
        definition.value = if arguments.show_secrets { value } else { ground.redactor.mask_value(&value) };
    }
    Ok(if arguments.json { as_json(sources, &found) } else { as_text(sources, &found) })
}

fn of_inventory(inventory: &Inventory, host: &str) -> Vec<Definition> {
    let mut found = Vec::new();
    for definition in inventory.definitions(host) {
        let of = definition.group.as_ref().map_or_else(|| format!("host `{host}`"), |group| format!("group `{group}`"));
        for (name, value) in definition.defined.variables.iter() {
            let place = name.as_str().and_then(|name| definition.defined.places.get(name)).copied();
            found.push(Definition { name: name.to_string(), level: definition.level, value: value.clone(), place, of: of.clone() });
        }
    }
    found
}

/// Adds what plays that run on the host define, and their roles.
fn of_playbook(ground: &Ground, path: &Path, playbook: &Playbook, host: &str, found: &mut Vec<Definition>) -> Result<(), Errors> {
    let node = ground.loader.document(path, None)?;
    for play in &playbook.plays {
        let pattern = match play.hosts.as_list() {
            Some(items) => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            None => play.hosts.to_string(),
        };
        let is_of_host = ground.site.select(&pattern).is_ok_and(|hosts| hosts.iter().any(|known| **known == *host));
        if !is_of_host {
            continue;
        }
        let written = node.as_ref().and_then(Node::as_list).unwrap_or_default();
        let written = written.iter().find(|node| node.span.start == play.span.start && node.get("hosts").is_some());
        let place = |name: &str| written?.get("vars")?.entry(name).map(|(name, _)| name.span);
        let title = if play.name.is_null() { pattern.clone() } else { play.name.to_string() };
        for (name, value) in play.keywords.vars.iter() {
            let (of, place) = (format!("play `{title}`"), name.as_str().and_then(place));
            found.push(Definition { name: name.to_string(), level: Level::PlayVars, value: value.clone(), place, of });
        }
        for file in play.vars_files.iter().filter_map(|entry| entry.value.as_str()) {
            let file = play.folder.join(file);
            if file.is_file() {
                of_file(ground, &file, Level::PlayVarsFiles, &format!("vars_files of the play `{title}`"), found)?;
            }
        }
        for r#use in &play.roles {
            of_role(ground, r#use, found)?;
        }
    }
    Ok(())
}

fn of_role(ground: &Ground, r#use: &RoleUse, found: &mut Vec<Definition>) -> Result<(), Errors> {
    let Some(role) = &r#use.role else { return Ok(()) };
    for dependency in &role.dependencies {
        of_role(ground, dependency, found)?;
    }
    let name = &role.head.name;
    for (folder, level) in [("defaults", Level::RoleDefaults), ("vars", Level::RoleVars)] {
        for suffix in ["yml", "yaml", "json"] {
            let file = role.head.path.join(folder).join(format!("main.{suffix}"));
            if file.is_file() {
                of_file(ground, &file, level, &format!("{folder} of the role `{name}`"), found)?;
            }
        }
    }
    for (given, level, what) in
        [(&r#use.keywords.vars, Level::RoleVars, "vars of the use"), (&r#use.parameters, Level::RoleParameters, "parameter")]
    {
        for (name_of, value) in given.iter() {
            let of = format!("{what} of the role `{name}`");
            found.push(Definition { name: name_of.to_string(), level, value: value.clone(), place: Some(r#use.span), of });
        }
    }
    Ok(())
}

fn of_file(ground: &Ground, file: &Path, level: Level, of: &str, found: &mut Vec<Definition>) -> Result<(), Errors> {
    let node = ground.loader.document(file, None)?;
    for (name, value) in node.as_ref().and_then(Node::as_map).unwrap_or_default() {
        if let Some(text) = name.as_str() {
            found.push(Definition { name: text.to_owned(), level, value: to_value(value), place: Some(name.span), of: of.to_owned() });
        }
    }
    Ok(())
}

/// Returns the names in order, each with the number of its last definition, which counts.
fn winners(found: &[Definition]) -> Vec<(&str, usize)> {
    let mut names: Vec<&str> = found.iter().map(|definition| definition.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let last = |name: &str| found.iter().rposition(|definition| definition.name == name).unwrap_or_default();
    names.into_iter().map(|name| (name, last(name))).collect()
}

fn place(sources: &Sources, definition: &Definition) -> Option<String> {
    let place = sources.place(definition.place?)?;
    (!place.path.as_os_str().is_empty() && place.path != Path::new("<command line>"))
        .then(|| format!("{}:{}", place.path.display(), place.line))
}

fn as_text(sources: &Sources, found: &[Definition]) -> String {
    let mut lines = Vec::new();
    for (name, winner) in winners(found) {
        lines.push(name.to_owned());
        for (at, definition) in found.iter().enumerate().filter(|(_, definition)| definition.name == name) {
            let mark = if at == winner { "=" } else { " " };
            let place = place(sources, definition).map(|place| format!("  {place}")).unwrap_or_default();
            lines.push(format!("  {mark} {}{place}  ({})", to_json(&definition.value), definition.of));
        }
    }
    lines.join("\n")
}

fn as_json(sources: &Sources, found: &[Definition]) -> String {
    let all: serde_json::Map<String, serde_json::Value> = winners(found)
        .into_iter()
        .map(|(name, winner)| {
            let definitions: Vec<_> = found
                .iter()
                .enumerate()
                .filter(|(_, definition)| definition.name == name)
                .map(|(at, definition)| {
                    json!({
                        "value": to_json(&definition.value),
                        "of": definition.of,
                        "place": place(sources, definition),
                        "counts": at == winner,
                    })
                })
                .collect();
            (name.to_owned(), json!(definitions))
        })
        .collect();
    serde_json::to_string_pretty(&all).unwrap_or_default()
}
