//! Inventories that are programs: what `PROGRAM --list` prints, and `PROGRAM --host NAME` where that does not tell all.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::load::nodes::to_value;
use crate::source::{Diagnostic, Kind, Node, Severity, yaml};

use super::read::add_hosts;
use super::{Inventory, UNGROUPED};

/// What a group of a program's inventory may hold.
const SECTIONS: &[&str] = &["hosts", "vars", "children"];

/// Runs the program, takes in what it prints, and returns what is wrong.
pub(super) fn read(inventory: &mut Inventory, path: &Path) -> Vec<Diagnostic> {
    let listing = match printed(inventory, path, &["--list"]) {
        Ok(listing) => listing,
        Err(errors) => return errors,
    };
    let Some(groups) = listing.as_map() else {
        let message = format!("`{} --list` has to print a dictionary of groups, this is {}", path.display(), listing.kind_name());
        return vec![Diagnostic::error(message).at(listing.span)];
    };
    let mut errors = Vec::new();
    for (name, body) in groups {
        match name.as_str() {
            Some("_meta") => {}
            Some(text) => group(inventory, path, text, body, &mut errors),
            None => errors.push(Diagnostic::error("the name of a group has to be a text").at(name.span)),
        }
    }
    let known = listing.get("_meta").and_then(|meta| meta.get("hostvars"));
    let hosts: Vec<_> =
        inventory.hosts.iter().filter(|(_, host)| host.source.as_deref() == Some(path)).map(|(name, _)| name.clone()).collect();
    for host in hosts {
        let variables = match known {
            Some(known) => known.get(&host).cloned(),
            None => match printed(inventory, path, &["--host", &host]) {
                Ok(variables) => Some(variables),
                Err(more) => {
                    errors.extend(more);
                    continue;
                }
            },
        };
        if let Some(entries) = variables.as_ref().and_then(Node::as_map)
            && let Some(entry) = inventory.hosts.get_mut(&host)
        {
            for (name, value) in entries {
                if let Some(text) = name.as_str() {
                    entry.own.set(text, to_value(value), name.span);
                }
            }
        }
    }
    errors
}

fn group(inventory: &mut Inventory, path: &Path, name: &str, body: &Node, errors: &mut Vec<Diagnostic>) {
    let group = inventory.group(name);
    let mut hosts = |inventory: &mut Inventory, list: &Node| {
        for host in list.as_list().unwrap_or_default() {
            let text = match &host.kind {
                Kind::Str(text) => text.to_string(),
                Kind::Int(number) => number.to_string(),
                _ => {
                    errors.push(
                        Diagnostic::error(format!("the name of a host has to be a text, this is {}", host.kind_name())).at(host.span),
                    );
                    continue;
                }
            };
            let target = if name == super::ALL { UNGROUPED } else { name };
            add_hosts(inventory, &[text], None, target, Some(path), host.span);
        }
    };
    let Some(entries) = body.as_map() else {
        // The short form: a group is the list of its hosts.
        hosts(inventory, body);
        return;
    };
    if !entries.iter().any(|(section, _)| section.as_str().is_some_and(|section| SECTIONS.contains(&section))) {
        // The shortest form: a host, and its variables.
        add_hosts(inventory, &[name.to_owned()], None, name, Some(path), body.span);
        for (variable, value) in entries {
            if let Some(text) = variable.as_str() {
                inventory.set_group_variable(&group, text, to_value(value), variable.span);
            }
        }
        return;
    }
    if let Some(list) = body.get("hosts") {
        hosts(inventory, list);
    }
    for (variable, value) in body.get("vars").and_then(Node::as_map).unwrap_or_default() {
        if let Some(text) = variable.as_str() {
            inventory.set_group_variable(&group, text, to_value(value), variable.span);
        }
    }
    for child in body.get("children").and_then(Node::as_list).unwrap_or_default() {
        if let Some(text) = child.as_str()
            && let Err(message) = inventory.add_child(&group, text)
        {
            errors.push(Diagnostic::error(message).at(child.span));
        }
    }
}

/// Runs the program and returns what it printed, read as JSON.
#[allow(clippy::disallowed_methods, reason = "the user's own inventory program, on the controller")]
fn printed(inventory: &mut Inventory, path: &Path, words: &[&str]) -> Result<Node, Vec<Diagnostic>> {
    let line = format!("{} {}", path.display(), words.join(" "));
    // A bare name would be looked for in PATH.
    let program = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let output = Command::new(program).args(words).stdin(Stdio::null()).output();
    let output = output.map_err(|error| {
        let text = error.to_string();
        let why = text.split(" (os error").next().unwrap_or_default();
        vec![
            Diagnostic::error(format!("cannot run the inventory program `{line}`: {why}"))
                .hint("its first line has to name its interpreter"),
        ]
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let message = format!("the inventory program `{line}` failed: {}", said.trim());
        return Err(vec![Diagnostic::error(message)]);
    }
    for line in said.lines().filter(|line| !line.trim().is_empty()) {
        inventory.warnings.push(Diagnostic::warning(format!("{}: {line}", path.display())));
    }
    let Ok(text) = String::from_utf8(output.stdout) else {
        return Err(vec![Diagnostic::error(format!("`{line}` printed something that is not UTF-8 text"))]);
    };
    let parsed = yaml::parse(&inventory.sources, Path::new(&line), text);
    let errors: Vec<_> = parsed.diagnostics.into_iter().filter(|diagnostic| diagnostic.severity == Severity::Error).collect();
    match parsed.documents.into_iter().next() {
        Some(node) if errors.is_empty() => Ok(node),
        _ if errors.is_empty() => {
            Err(vec![Diagnostic::error(format!("`{line}` printed nothing")).hint("it has to print a JSON dictionary")])
        }
        _ => Err(errors),
    }
}
