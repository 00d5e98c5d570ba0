//! Inventories that make groups and hosts out of others: `plugin: constructed`, `plugin: generator`.

use std::path::Path;
use std::sync::Arc;

use crate::load::at_load::{AtLoad, Known};
use crate::load::nodes::to_value;
use crate::source::{Diagnostic, Kind, Node};
use crate::value::{Key, Map, Value, arguments};
use crate::vars::{Engine, Truth};

use super::read::add_hosts;
use super::{HostName, Inventory};

/// Reads an inventory with a `plugin` key and returns what is wrong.
pub(super) fn read(inventory: &mut Inventory, path: &Path, node: &Node, name: &Node) -> Vec<Diagnostic> {
    let engine = Engine::new(Arc::new(AtLoad::new(inventory.vault.clone())), inventory.sources.clone());
    let short = name.as_str().unwrap_or_default().trim_start_matches("ansible.builtin.");
    let read = match short {
        "constructed" => Constructed::new(&engine, node).read(inventory),
        "generator" => Generator { engine: &engine, path }.read(inventory, node),
        other => Err(Diagnostic::error(format!("the inventory plugin `{other}` is not known"))
            .at(name.span)
            .did_you_mean(short, ["constructed", "generator"])
            .hint("known are `constructed` and `generator`; for a cloud, save what `ansible-inventory --list` prints as a file, or write a program that prints it")),
    };
    read.err().into_iter().collect()
}

/// Returns the name of a group without characters that a variable's name cannot have.
fn safe(name: &str) -> String {
    let is_fine = |(at, c): (usize, char)| c == '_' || c.is_alphabetic() || (at > 0 && c.is_alphanumeric());
    name.chars().enumerate().map(|(at, c)| if is_fine((at, c)) { c } else { '_' }).collect()
}

fn is_set(node: &Node, key: &str, default: bool) -> bool {
    node.get(key).and_then(|flag| arguments::to_bool(&to_value(flag))).unwrap_or(default)
}

/// `plugin: constructed`: variables and groups worked out for each host that is known so far.
struct Constructed<'a> {
    engine: &'a Engine,
    node: &'a Node,
    strict: bool,
}

impl<'a> Constructed<'a> {
    fn new(engine: &'a Engine, node: &'a Node) -> Self {
        Self { engine, node, strict: is_set(node, "strict", false) }
    }

    fn read(&self, inventory: &mut Inventory) -> Result<(), Diagnostic> {
        inventory.settle();
        let with_files = is_set(self.node, "use_vars_plugins", false);
        if with_files && let Some(error) = inventory.read_variables().into_iter().next() {
            return Err(error);
        }
        let hosts: Vec<HostName> = inventory.hosts.keys().cloned().collect();
        for host in hosts {
            let mut known = if with_files { inventory.variables(&host) } else { inventory.file_variables(&host) };
            known.insert("inventory_hostname".into(), Value::Str(host.clone()));
            known.insert("group_names".into(), Value::list(inventory.group_names_of(&host).into_iter().map(Value::Str)));
            known.insert("groups".into(), inventory.groups_value());
            known.extend(inventory.options.extra_vars.iter().map(|(name, value)| (name.clone(), value.clone())));
            for (name, expression) in self.entries("compose") {
                if let Some(value) = self.kept(self.value(expression, &known), "compose")? {
                    let text = name.as_str().unwrap_or_default();
                    known.insert(text.into(), value.clone());
                    if let Some(host) = inventory.hosts.get_mut(&host) {
                        host.own.set(text, value, expression.span);
                    }
                }
            }
            for (name, condition) in self.entries("groups") {
                let truth = self.engine.condition(&to_value(condition), condition.span, &Known(known.clone()));
                if self.kept(truth, "groups")? == Some(Truth::Yes) {
                    inventory.put_in_group(&host, &safe(name.as_str().unwrap_or_default()));
                }
            }
            for entry in self.node.get("keyed_groups").and_then(Node::as_list).unwrap_or_default() {
                self.keyed(inventory, &host, entry, &known)?;
            }
        }
        Ok(())
    }

    fn entries(&self, key: &str) -> &[(Node, Node)] {
        self.node.get(key).and_then(Node::as_map).unwrap_or_default()
    }

    /// Returns the value of an expression: a text of the inventory, written without braces.
    fn value(&self, expression: &Node, known: &Map) -> Result<Value, Diagnostic> {
        match &expression.kind {
            Kind::Str(text) => self.engine.expression(text, expression.span, &Known(known.clone())),
            _ => Ok(to_value(expression)),
        }
    }

    /// Returns what was worked out; what could not be is passed over unless the inventory is strict.
    fn kept<T>(&self, outcome: Result<T, Diagnostic>, what: &str) -> Result<Option<T>, Diagnostic> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error) if self.strict => Err(error.hint(format!("`strict: false` passes over what `{what}` cannot work out for a host"))),
            Err(_) => Ok(None),
        }
    }

    /// Puts a host into the groups that one entry of `keyed_groups` makes of it.
    fn keyed(&self, inventory: &mut Inventory, host: &HostName, entry: &Node, known: &Map) -> Result<(), Diagnostic> {
        let Some(expression) = entry.get("key") else {
            return Err(Diagnostic::error("this entry of `keyed_groups` has no `key`").at(entry.span));
        };
        let text = |key: &str| entry.get(key).filter(|value| !value.is_null()).map(|value| to_value(value).to_string());
        let default = text("default_value");
        let trailing = entry.get("trailing_separator").filter(|value| !value.is_null());
        if default.is_some() && trailing.is_some() {
            return Err(Diagnostic::error("`default_value` and `trailing_separator` exclude each other").at(entry.span));
        }
        let Some(key) = self.kept(self.value(expression, known), "keyed_groups")? else { return Ok(()) };
        let prefix = text("prefix").unwrap_or_default();
        let separator = text("separator").unwrap_or_else(|| "_".to_owned());
        let is_empty = |value: &Value| value.is_null() || value.as_str() == Some("");
        let mut names: Vec<String> = Vec::new();
        match &key {
            empty if is_empty(empty) => names.extend(default.clone()),
            Value::List(items) => {
                names.extend(items.iter().filter_map(|item| if is_empty(item) { default.clone() } else { Some(item.to_string()) }));
            }
            Value::Map(entries) => names.extend(entries.iter().map(|(name, value)| match (&default, is_empty(value)) {
                (_, false) => format!("{name}{separator}{value}"),
                (Some(default), true) => format!("{name}{separator}{default}"),
                (None, true) if !is_set(entry, "trailing_separator", true) => name.to_string(),
                (None, true) => format!("{name}{separator}"),
            })),
            Value::Str(name) => names.push(name.to_string()),
            other if self.strict => {
                let message =
                    format!("a key of `keyed_groups` has to be a text, a list or a dictionary, for `{host}` it is {}", other.type_name());
                return Err(Diagnostic::error(message).at(expression.span));
            }
            other => names.push(other.to_string()),
        }
        if names.is_empty() && self.strict && is_empty(&key) {
            return Err(Diagnostic::error(format!("the key of this entry is empty for the host `{host}`")).at(expression.span));
        }
        let parent = match entry.get("parent_group").filter(|parent| !parent.is_null()) {
            Some(parent) => {
                let rendered = self.engine.render(&to_value(parent), &Known(known.clone()));
                match self.kept(rendered, "parent_group")? {
                    Some(parent) => Some(safe(&parent.to_string())),
                    None => return Ok(()),
                }
            }
            None => None,
        };
        let leads = !prefix.is_empty() || is_set(self.node, "leading_separator", true);
        let separator = if leads { separator } else { String::new() };
        for name in names {
            let group = safe(&format!("{prefix}{separator}{name}"));
            inventory.put_in_group(host, &group);
            if let Some(parent) = &parent {
                inventory.add_child(parent, &group).map_err(|message| Diagnostic::error(message).at(entry.span))?;
            }
        }
        Ok(())
    }
}

/// `plugin: generator`: a host for every combination of the layers.
struct Generator<'a> {
    engine: &'a Engine,
    path: &'a Path,
}

impl Generator<'_> {
    fn read(&self, inventory: &mut Inventory, node: &Node) -> Result<(), Diagnostic> {
        let missing = |key: &str| Diagnostic::error(format!("`plugin: generator` needs `{key}`")).at(node.span);
        let layers = node.get("layers").and_then(Node::as_map).ok_or_else(|| missing("layers"))?;
        let hosts = node.get("hosts").ok_or_else(|| missing("hosts"))?;
        let name = hosts.get("name").ok_or_else(|| missing("hosts: name"))?;
        let mut rows = vec![Map::new()];
        for (layer, values) in layers {
            let key = Key::from(layer.as_str().unwrap_or_default());
            let values: Vec<_> = match values.as_list() {
                Some(items) => items.iter().map(to_value).collect(),
                None => vec![to_value(values)],
            };
            if rows.len().saturating_mul(values.len()) > super::ranges::MOST {
                return Err(Diagnostic::error(format!("the layers make more than {} hosts", super::ranges::MOST)).at(layer.span));
            }
            let with = |row: &Map, value: &Value| {
                let mut row = row.clone();
                row.insert(key.clone(), value.clone());
                row
            };
            rows = rows.iter().flat_map(|row| values.iter().map(move |value| with(row, value))).collect();
        }
        for row in rows {
            let host = self.text(name, &row)?;
            add_hosts(inventory, std::slice::from_ref(&host), None, super::UNGROUPED, Some(self.path), name.span);
            self.parents(inventory, &host, true, hosts, &row)?;
        }
        Ok(())
    }

    fn text(&self, node: &Node, row: &Map) -> Result<String, Diagnostic> {
        Ok(self.engine.render(&to_value(node), &Known(row.clone()))?.to_string())
    }

    /// Puts a host, or a group, into the groups that its `parents` name.
    fn parents(&self, inventory: &mut Inventory, child: &str, is_host: bool, node: &Node, row: &Map) -> Result<(), Diagnostic> {
        for parent in node.get("parents").and_then(Node::as_list).unwrap_or_default() {
            let Some(name) = parent.get("name") else {
                let message = format!("Element {child} has a parent with no name.");
                return Err(Diagnostic::error(message).at(parent.span).hint("give the parent a `name`"));
            };
            let group = self.text(name, row)?;
            if is_host {
                let host = inventory.host(child);
                inventory.put_in_group(&host, &group);
            } else {
                inventory.add_child(&group, child).map_err(|message| Diagnostic::error(message).at(name.span))?;
            }
            for (variable, value) in parent.get("vars").and_then(Node::as_map).unwrap_or_default() {
                // What the layers do not know is left for the plays to know.
                let value = to_value(value);
                let rendered = self.engine.render(&value, &Known(row.clone())).unwrap_or(value);
                let group = inventory.group(&group);
                inventory.set_group_variable(&group, variable.as_str().unwrap_or_default(), rendered, variable.span);
            }
            self.parents(inventory, &group, false, parent, row)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_groups_are_made_safe() {
        assert_eq!(safe("a-b.c"), "a_b_c");
        assert_eq!(safe("9lives"), "_lives");
        assert_eq!(safe("größe_1"), "größe_1");
    }
}
