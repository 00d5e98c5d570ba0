//! Inventories in YAML and JSON.

use std::path::Path;

use crate::load::nodes::to_value;
use crate::source::{Diagnostic, Kind, Node, Severity, yaml};

use super::read::add_hosts;
use super::{Defined, Inventory, plugin, ranges};

/// Reads a YAML inventory and returns what is wrong.
pub(super) fn read(inventory: &mut Inventory, path: &Path, text: String) -> Vec<Diagnostic> {
    let parsed = yaml::parse(&inventory.sources, path, text);
    let (mut errors, warnings): (Vec<_>, Vec<_>) =
        parsed.diagnostics.into_iter().partition(|diagnostic| diagnostic.severity == Severity::Error);
    inventory.warnings.extend(warnings);
    let Some(node) = parsed.documents.first().filter(|node| errors.is_empty() && !node.is_null()) else { return errors };
    errors.extend(match node.entry("plugin").filter(|(_, plugin)| plugin.as_str().is_some()) {
        Some((_, name)) if node.as_map().is_some_and(|entries| entries.len() > 1) => plugin::read(inventory, path, node, name),
        _ => groups(inventory, path, node),
    });
    errors
}

/// Reads a tree of groups and returns what is wrong.
pub(super) fn groups(inventory: &mut Inventory, path: &Path, node: &Node) -> Vec<Diagnostic> {
    let mut reader = Reader { inventory, path, errors: Vec::new() };
    match node.as_map() {
        Some(groups) => {
            for (name, body) in groups {
                reader.group(name, body);
            }
        }
        None => {
            let message = format!("an inventory has to be a dictionary of groups, this is {}", node.kind_name());
            reader.errors.push(Diagnostic::error(message).at(node.span).hint("begin with `all:`, and `hosts:` below it, indented"));
        }
    }
    reader.errors
}

struct Reader<'a> {
    inventory: &'a mut Inventory,
    path: &'a Path,
    errors: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn group(&mut self, name: &Node, body: &Node) {
        let Some(text) = name.as_str() else {
            let message = format!("the name of a group has to be a text, this is {}", name.kind_name());
            self.errors.push(Diagnostic::error(message).at(name.span).hint("quote it"));
            return;
        };
        let group = self.inventory.group(text);
        if body.is_null() {
            return;
        }
        let Some(sections) = body.as_map() else {
            let message = format!("the group `{text}` has to be a dictionary, this is {}", body.kind_name());
            self.errors.push(Diagnostic::error(message).at(body.span).hint("put its hosts under `hosts:`, each as a key: `name:`"));
            return;
        };
        for (section, content) in sections {
            match section.as_str() {
                Some("hosts") => self.each(text, "hosts", content, |reader, host, own| reader.host(&group, host, own)),
                Some("children") => self.each(text, "children", content, |reader, child, body| {
                    reader.group(child, body);
                    if let Some(child_name) = child.as_str()
                        && let Err(message) = reader.inventory.add_child(&group, child_name)
                    {
                        reader.errors.push(Diagnostic::error(message).at(child.span));
                    }
                }),
                Some("vars") => self.each(text, "vars", content, |reader, name, value| {
                    let Some(text) = reader.variable(name) else { return };
                    reader.inventory.set_group_variable(&group, text, to_value(value), name.span);
                }),
                other => {
                    let shown = other.unwrap_or_default();
                    let known = ["hosts", "children", "vars"];
                    let message = format!("a group has `hosts`, `children` and `vars`; `{shown}` in `{text}` counts for nothing");
                    let warning = Diagnostic::warning(message).at(section.span).did_you_mean(shown, known);
                    self.inventory.warnings.push(warning.hint("a group inside another goes under `children:`"));
                }
            }
        }
    }

    /// Calls `each` with the entries of a section; a single text is a name without a value.
    fn each(&mut self, group: &str, section: &str, content: &Node, mut each: impl FnMut(&mut Self, &Node, &Node)) {
        match &content.kind {
            Kind::Null => {}
            Kind::Map(entries) => entries.iter().for_each(|(name, value)| each(self, name, value)),
            Kind::Str(_) => each(self, content, &Node { span: content.span, kind: Kind::Null }),
            _ => {
                let message = format!("`{section}` of the group `{group}` has to be a dictionary, this is {}", content.kind_name());
                let hint = "write each as a key of its own: `name:` without a dash";
                self.errors.push(Diagnostic::error(message).at(content.span).hint(hint));
            }
        }
    }

    fn host(&mut self, group: &str, name: &Node, own: &Node) {
        let written = match &name.kind {
            Kind::Str(text) | Kind::Unsafe(text) => text.to_string(),
            // A name of digits is a number to YAML, and may no longer be what was written: `0123`, `1_000`.
            _ => {
                let message = format!("Host pattern {} must be a string, this is {}", to_value(name), name.kind_name());
                self.errors.push(Diagnostic::error(message).at(name.span).hint("quote it"));
                return;
            }
        };
        let (names, port) = match ranges::expand(&written) {
            Ok(expanded) => expanded,
            Err(message) => {
                self.errors.push(Diagnostic::error(message).at(name.span));
                return;
            }
        };
        let mut defined = Defined::default();
        match &own.kind {
            Kind::Null => {}
            Kind::Map(entries) => {
                for (name, value) in entries.iter() {
                    if let Some(text) = self.variable(name) {
                        defined.set(text, to_value(value), name.span);
                    }
                }
            }
            _ => {
                let message = format!("the variables of the host `{written}` have to be a dictionary, this is {}", own.kind_name());
                self.errors.push(Diagnostic::error(message).at(own.span).hint("write `name: value` lines below it, indented"));
            }
        }
        add_hosts(self.inventory, &names, port, group, Some(self.path), name.span);
        for name in &names {
            if let Some(host) = self.inventory.hosts.get_mut(name.as_str()) {
                host.own.extend(&defined);
            }
        }
    }

    fn variable<'n>(&mut self, name: &'n Node) -> Option<&'n str> {
        if name.as_str().is_none() {
            let message = format!("the name of a variable has to be a text, this is {}", name.kind_name());
            self.errors.push(Diagnostic::error(message).at(name.span).hint("quote it"));
        }
        name.as_str()
    }
}
