//! `windlass inventory`: shows hosts, groups and variables as they were read.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::load::config::Config;
use crate::load::inventory::{ALL, GroupName, HostName, Inventory};
use crate::load::loader::Loader;
use crate::load::vault::Vault;
use crate::source::{Diagnostic, Sources};
use crate::value::secret::Redactor;
use crate::value::{Key, Lazy, Map, Value, has_template_marks, json};
use crate::vars::{YamlStyle, write_yaml};

use super::vault::SecretArguments;

/// The inventory that is read where neither flag nor environment names one.
const DEFAULT: &str = "/etc/ansible/hosts";

/// Flags of `windlass inventory`.
#[derive(Clone, Debug, Args)]
#[command(group = clap::ArgGroup::new("what").args(["list", "host", "graph"]))]
pub struct Arguments {
    /// Inventory file, folder, or list of hosts with a comma (`-i host,`); may be given several times
    #[arg(short, long, visible_alias = "inventory-file")]
    pub inventory: Vec<String>,
    /// Show everything, in the form that inventory programs have
    #[arg(long)]
    pub list: bool,
    /// Show the variables of one host
    #[arg(long)]
    pub host: Option<String>,
    /// Show groups and hosts as a tree
    #[arg(long)]
    pub graph: bool,
    /// The group that the tree begins with
    #[arg(default_value = ALL)]
    pub group: String,
    /// Write YAML instead of JSON
    #[arg(short, long)]
    pub yaml: bool,
    /// Write TOML instead of JSON
    #[arg(long, conflicts_with = "yaml")]
    pub toml: bool,
    /// Show variables in the tree
    #[arg(long)]
    pub vars: bool,
    /// Keep variables with the group that they come from
    #[arg(long)]
    pub export: bool,
    /// Only these hosts: a pattern, or `@file`
    #[arg(short, long)]
    pub limit: Vec<String>,
    /// Write to this file
    #[arg(long)]
    pub output: Option<PathBuf>,
    /// Read `group_vars` and `host_vars` of this folder too, as a playbook in it would
    #[arg(long)]
    pub playbook_dir: Option<PathBuf>,
    /// Variables for inventories that work something out
    #[arg(short = 'e', long = "extra-vars")]
    pub extra_vars: Vec<String>,
    /// Taken for the sake of scripts; there is nothing more to show
    #[arg(short, long, action = clap::ArgAction::Count, hide = true)]
    pub verbose: u8,
    /// Taken for the sake of scripts; no facts are asked for here
    #[arg(long, hide = true)]
    pub flush_cache: bool,
    /// Show what came out of vaulted files, instead of `***`
    #[arg(long)]
    pub show_secrets: bool,
    /// The vault's secrets
    #[command(flatten)]
    pub secrets: SecretArguments,
}

/// Does what the flags say and returns the exit code.
pub fn run(arguments: &Arguments) -> u8 {
    let sources = super::sources();
    match text(arguments, &sources) {
        Ok(text) => match &arguments.output {
            Some(path) => match crate::load::vault::private::replace(path, format!("{text}\n").as_bytes()) {
                Ok(()) => super::OK,
                Err(error) => {
                    super::complain(&sources, &[Diagnostic::error(format!("cannot write `{}`: {error}", path.display()))]);
                    super::ERROR
                }
            },
            None => {
                super::say(&text);
                super::OK
            }
        },
        Err(errors) => {
            super::complain(&sources, &errors);
            super::ERROR
        }
    }
}

/// Returns what is read: what `-i` names, or the settings, or the machine's own inventory.
pub fn inputs(named: &[String], config: &Config) -> Vec<String> {
    let set = config.inventory();
    match (named, set.is_empty()) {
        ([], false) => set,
        ([], true) => [DEFAULT].iter().filter(|path| std::path::Path::new(path).exists()).map(|path| (*path).to_owned()).collect(),
        (named, _) => named.to_vec(),
    }
}

fn text(arguments: &Arguments, sources: &Sources) -> Result<String, Vec<Diagnostic>> {
    let one = |error: Diagnostic| vec![error];
    if !arguments.list && arguments.host.is_none() && !arguments.graph {
        let message = "No action selected, at least one of --host, --graph or --list needs to be specified.";
        return Err(one(Diagnostic::error(message)));
    }
    let config = Config::from_environment();
    let redactor = Redactor::default();
    let secrets = super::vault::load(&arguments.secrets.sources(&config)).map_err(one)?;
    let vault = Arc::new(Vault::new(secrets, redactor.clone()).matching_labels(config.is_on("DEFAULT_VAULT_ID_MATCH")));
    let early = super::early::early(sources, &vault, Arc::default());
    let loader = Loader::new(sources.clone(), vault.clone(), Vec::new(), early);
    let extra_vars = Arc::new(super::extra_vars::read(&loader, &arguments.extra_vars)?);
    let options = super::flags::inventory_options(&config, &extra_vars);
    let mut inventory = Inventory::load_with(sources, &vault, &inputs(&arguments.inventory, &config), options)?;
    if let Some(folder) = &arguments.playbook_dir {
        inventory.set_playbook_folder(folder)?;
    }
    super::complain(sources, &inventory.take_warnings());
    let redactor = (!arguments.show_secrets).then_some(redactor);
    let hosts = allowed(&inventory, &arguments.limit).map_err(one)?;
    let view = View { hosts, inventory, redactor, extra_vars };
    let text = view.show(arguments).map_err(one)?;
    Ok(text.trim_end().to_owned())
}

fn allowed(inventory: &Inventory, limit: &[String]) -> Result<HashSet<HostName>, Diagnostic> {
    let hosts = inventory.hosts_matching(ALL, limit)?;
    if hosts.is_empty() && !limit.is_empty() && !super::is_like_ansible() {
        return Err(Diagnostic::error(format!("no host matches the limit `{}`", limit.join(","))));
    }
    Ok(hosts.into_iter().collect())
}

struct View {
    inventory: Inventory,
    hosts: HashSet<HostName>,
    redactor: Option<Redactor>,
    extra_vars: Arc<Map>,
}

/// What was shown already.
#[derive(Default)]
struct Seen {
    hosts: HashSet<HostName>,
    groups: HashSet<GroupName>,
}

impl View {
    fn show(&self, arguments: &Arguments) -> Result<String, Diagnostic> {
        if let Some(host) = &arguments.host {
            if !self.inventory.has_host(host) && !matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1") {
                let known = self.inventory.hosts();
                let message = format!("Could not match supplied host pattern, ignoring: {host}: there is no such host in the inventory");
                let diagnostic = Diagnostic::error(message);
                return Err(diagnostic.did_you_mean(host, known.iter().map(|name| &**name)));
            }
            return Ok(form(&self.shown(self.variables(host)), arguments.yaml));
        }
        let Some(group) = self.inventory.group_names().find(|name| ***name == *arguments.group) else {
            let message = "Pattern must be valid group name when using --graph, and the inventory has no group";
            let diagnostic = Diagnostic::error(format!("{message} `{}`", arguments.group));
            return Err(diagnostic.did_you_mean(&arguments.group, self.inventory.group_names().map(|name| &**name)));
        };
        if arguments.graph {
            let mut lines = vec![format!("@{group}:")];
            self.graph(group, 1, arguments.vars, &mut lines);
            return Ok(lines.join("\n"));
        }
        let all = GroupName::from(ALL);
        if arguments.toml {
            return self.toml(arguments.export);
        }
        if arguments.yaml {
            let tree = self.tree(&all, arguments.export, &mut Seen::default());
            return Ok(form(&Value::map(tree.map(|tree| (ALL, tree))), true));
        }
        Ok(form(&self.listing(arguments.export), false))
    }

    /// Returns the variables of a host, merged; those of `-e` win.
    fn variables(&self, host: &str) -> Map {
        let mut all = self.inventory.variables(host);
        all.extend(self.extra_vars.iter().map(|(name, value)| (name.clone(), value.clone())));
        all
    }

    /// Returns the form of TOML inventories: every group, its hosts with their variables where they come first.
    fn toml(&self, export: bool) -> Result<String, Diagnostic> {
        let mut seen = HashSet::new();
        let mut all = Map::new();
        for group in self.inventory.group_names() {
            let mut entry = Map::new();
            let children: Vec<_> = self.inventory.children(group).cloned().map(Value::Str).collect();
            if !children.is_empty() {
                entry.insert("children".into(), Value::list(children));
            }
            let mut hosts = Map::new();
            for host in self.inventory.own_hosts(group).filter(|host| &**group != ALL && self.hosts.contains(*host)) {
                let own = if export { self.inventory.own_variables(host) } else { self.variables(host) };
                let own = if seen.insert(host.clone()) { own } else { Map::new() };
                hosts.insert(Key::Str(host.clone()), self.shown(own));
            }
            if !hosts.is_empty() {
                entry.insert("hosts".into(), Value::from(hosts));
            }
            let own = if export { self.inventory.group_variables(group) } else { Map::new() };
            if !own.is_empty() {
                entry.insert("vars".into(), self.shown(own));
            }
            if !entry.is_empty() {
                all.insert(Key::Str(group.clone()), Value::from(entry));
            }
        }
        let json = without_null(sorted(json::to_json(&Value::from(all))));
        toml::to_string_pretty(&json).map_err(|error| Diagnostic::error(format!("this inventory cannot be written as TOML: {error}")))
    }

    /// Adds what is in a group, as a tree.
    fn graph(&self, group: &GroupName, depth: usize, vars: bool, lines: &mut Vec<String>) {
        for child in self.inventory.children(group) {
            lines.push(branch(depth, &format!("@{child}:")));
            self.graph(child, depth + 1, vars, lines);
        }
        if &**group != ALL {
            for host in self.inventory.own_hosts(group) {
                lines.push(branch(depth, host));
                if vars {
                    lines.extend(self.graph_variables(self.variables(host), depth + 1));
                }
            }
        }
        if vars {
            lines.extend(self.graph_variables(self.inventory.group_variables(group), depth));
        }
    }

    fn graph_variables(&self, variables: Map, depth: usize) -> Vec<String> {
        let Value::Map(map) = self.shown(variables) else { return Vec::new() };
        let mut lines: Vec<_> = map.iter().map(|(name, value)| branch(depth, &format!("{{{name} = {value}}}"))).collect();
        lines.sort_unstable();
        lines
    }

    /// Returns the form of inventory programs: `_meta`, and each group with its hosts and children.
    fn listing(&self, export: bool) -> Value {
        let mut hosts: Vec<_> = self.inventory.hosts().into_iter().filter(|host| self.hosts.contains(host)).collect();
        hosts.sort_unstable();
        let mut variables = Map::new();
        for host in hosts {
            let own = if export { self.inventory.own_variables(&host) } else { self.variables(&host) };
            if !own.is_empty() {
                variables.insert(Key::Str(host), self.shown(own));
            }
        }
        let meta = Value::map([("hostvars", Value::from(variables)), ("profile", Value::str("inventory_legacy"))]);
        let mut groups: Vec<_> = self.inventory.group_names().cloned().collect();
        groups.sort_unstable();
        let mut all = Map::from_iter([(Key::from("_meta"), meta)]);
        for group in groups {
            let mut entry = Map::new();
            let children = self.inventory.children(&group).cloned().map(Value::Str);
            let hosts =
                self.inventory.own_hosts(&group).filter(|host| &*group != ALL && self.hosts.contains(*host)).cloned().map(Value::Str);
            for (name, items) in [("children", Value::list(children)), ("hosts", Value::list(hosts))] {
                if items.as_list().is_some_and(|items| !items.is_empty()) {
                    entry.insert(Key::from(name), items);
                }
            }
            let own = if export { self.inventory.group_variables(&group) } else { Map::new() };
            if !own.is_empty() {
                entry.insert(Key::from("vars"), self.shown(own));
            }
            if !entry.is_empty() {
                all.insert(Key::Str(group), Value::from(entry));
            }
        }
        Value::from(all)
    }

    /// Returns a group in the form of YAML inventories; what a group has, and a host's variables, stand where it comes first.
    fn tree(&self, group: &GroupName, export: bool, seen: &mut Seen) -> Option<Value> {
        if seen.groups.contains(group) {
            return Some(Value::from(Map::new()));
        }
        let mut children = Map::new();
        for child in self.inventory.children(group) {
            if let Some(tree) = self.tree(child, export, seen) {
                children.insert(Key::Str(child.clone()), tree);
            }
        }
        let mut hosts = Map::new();
        for host in self.inventory.own_hosts(group).filter(|host| &**group != ALL && self.hosts.contains(*host)) {
            let first = seen.hosts.insert(host.clone());
            let own = if export { self.inventory.own_variables(host) } else { self.variables(host) };
            hosts.insert(Key::Str(host.clone()), self.shown(if first { own } else { Map::new() }));
        }
        let own = if export { self.inventory.group_variables(group) } else { Map::new() };
        if children.is_empty() && hosts.is_empty() && own.is_empty() {
            return None;
        }
        seen.groups.insert(group.clone());
        let parts = [("children", Value::from(children)), ("hosts", Value::from(hosts)), ("vars", self.shown(own))];
        Some(Value::map(parts.into_iter().filter(|(_, part)| part.as_map().is_some_and(|map| !map.is_empty()))))
    }

    /// Returns variables as they are shown: templates as written, secrets masked unless wanted.
    fn shown(&self, variables: Map) -> Value {
        let plain = plain(&Value::from(variables));
        self.redactor.as_ref().map_or_else(|| plain.clone(), |redactor| redactor.mask_value(&plain))
    }
}

fn branch(depth: usize, text: &str) -> String {
    format!("{}--{text}", "  |".repeat(depth))
}

/// Returns a value without anything lazy in it: a template is its text, a vaulted value its armoured text.
pub fn plain(value: &Value) -> Value {
    match value {
        Value::Lazy(lazy) => match &**lazy {
            Lazy::Unsafe(text) => Value::map([("__ansible_unsafe", Value::str(&text.text))]),
            Lazy::Template(text) => Value::str(&text.text),
            Lazy::Vault(text) => Value::map([("__ansible_vault", Value::str(&text.text))]),
        },
        // A text that looks like a template and is none.
        Value::Str(text) if has_template_marks(text) => Value::map([("__ansible_unsafe", value.clone())]),
        Value::List(items) => Value::list(items.iter().map(plain)),
        Value::Map(map) => Value::map(map.iter().map(|(key, item)| (key.clone(), plain(item)))),
        other => other.clone(),
    }
}

/// Returns a value without the nulls in it, which TOML does not have.
fn without_null(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => {
            map.into_iter().filter(|(_, item)| !item.is_null()).map(|(key, item)| (key, without_null(item))).collect()
        }
        serde_json::Value::Array(items) => items.into_iter().filter(|item| !item.is_null()).map(without_null).collect(),
        other => other,
    }
}

/// Returns a value as JSON or YAML, keys sorted.
pub(super) fn form(value: &Value, yaml: bool) -> String {
    if yaml {
        return write_yaml(value, &YamlStyle { indent: 2, sort_keys: true, block: Some(true), tags: true, ..YamlStyle::default() });
    }
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut text, formatter);
    let written = serde::Serialize::serialize(&sorted(json::to_json(value)), &mut writer);
    match written {
        Ok(()) => String::from_utf8(text).unwrap_or_default(),
        Err(_) => String::new(),
    }
}

fn sorted(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            entries.into_iter().collect()
        }
        serde_json::Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = "lone a=1\n[db]\nd1\n[web]\nw2 x=\"{{ y }}\"\nw1\n[site:children]\nweb\ndb\n[empty]\n[web:vars]\nz=[1]\n";

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn shown(flags: &str) -> String {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::io::Write::write_all(&mut file.as_file(), HOSTS.as_bytes()).expect("writes");
        let words = ["inventory", "-i"].into_iter().map(str::to_owned);
        let words = words.chain([file.path().display().to_string()]).chain(flags.split_whitespace().map(str::to_owned));
        let arguments = <Line as clap::Parser>::parse_from(words).arguments;
        match text(&arguments, &Sources::default()) {
            Ok(text) => text,
            Err(errors) => errors.into_iter().map(|error| error.message).collect(),
        }
    }

    #[test]
    fn a_tree_shows_groups_hosts_and_variables() {
        insta::assert_snapshot!(shown("--graph --vars"), @r#"
@all:
  |--@ungrouped:
  |  |--lone
  |  |  |--{a = 1}
  |--@site:
  |  |--@web:
  |  |  |--w2
  |  |  |  |--{x = {{ y }}}
  |  |  |  |--{z = [1]}
  |  |  |--w1
  |  |  |  |--{z = [1]}
  |  |  |--{z = [1]}
  |  |--@db:
  |  |  |--d1
  |--@empty:
"#);
    }

    #[test]
    fn a_list_has_the_form_of_inventory_programs() {
        insta::assert_snapshot!(shown("--list --limit w*"), @r#"
{
    "_meta": {
        "hostvars": {
            "w1": {
                "z": [
                    1
                ]
            },
            "w2": {
                "x": "{{ y }}",
                "z": [
                    1
                ]
            }
        },
        "profile": "inventory_legacy"
    },
    "all": {
        "children": [
            "ungrouped",
            "site",
            "empty"
        ]
    },
    "site": {
        "children": [
            "web",
            "db"
        ]
    },
    "web": {
        "hosts": [
            "w2",
            "w1"
        ]
    }
}
"#);
        insta::assert_snapshot!(shown("--list --yaml --export"), @r#"
all:
  children:
    site:
      children:
        db:
          hosts:
            d1: {}
        web:
          hosts:
            w1: {}
            w2:
              x: '{{ y }}'
          vars:
            z:
            - 1
    ungrouped:
      hosts:
        lone:
          a: 1
"#);
    }

    #[test]
    fn a_group_below_two_others_is_shown_whole_once() {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::io::Write::write_all(&mut file.as_file(), b"[g]\nh\n[a:children]\ng\n[b:children]\ng\n").expect("writes");
        let words = ["inventory", "-i", file.path().to_str().expect("a path"), "--list", "--yaml"];
        let text = text(&<Line as clap::Parser>::parse_from(words).arguments, &Sources::default()).expect("a listing");
        assert_eq!(
            text,
            "all:\n  children:\n    a:\n      children:\n        g:\n          hosts:\n            h: {}\n    b:\n      children:\n        g: {}"
        );
    }

    #[test]
    fn what_is_not_there_is_told() {
        assert_eq!(shown("--host w3"), "Could not match supplied host pattern, ignoring: w3: there is no such host in the inventory");
        assert_eq!(shown("--graph wbe"), "Pattern must be valid group name when using --graph, and the inventory has no group `wbe`");
        assert_eq!(shown("--list --limit x*"), "no host matches the limit `x*`");
    }
}
