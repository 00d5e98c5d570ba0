//! The inventory: hosts, groups, and where each of their variables was defined.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};

use crate::load::vault::Vault;
use crate::source::{Diagnostic, Sources, Span};
use crate::value::{Key, Map, Value};
use crate::vars::scope::{Layer, Level, merged, united};

mod ini;
mod literal;
mod patterns;
mod plugin;
mod program;
mod ranges;
mod read;
mod toml;
mod variables;
mod yaml;

use variables::VariableFolder;

/// The name of a host, as the inventory has it.
pub type HostName = Arc<str>;
/// The name of a group.
pub type GroupName = Arc<str>;

/// The group that every host is in.
pub const ALL: &str = "all";
/// The group of hosts that no other group has.
pub const UNGROUPED: &str = "ungrouped";

/// Variables with the places of their names.
#[derive(Clone, Debug, Default)]
pub struct Defined {
    /// The variables.
    pub variables: Arc<Map>,
    /// Where each was defined.
    pub places: Arc<HashMap<Arc<str>, Span>>,
    /// A dictionary that is defined again is merged, not replaced.
    merges: bool,
}

impl Defined {
    fn merging(merges: bool) -> Self {
        Self { merges, ..Self::default() }
    }

    /// Sets one variable.
    fn set(&mut self, name: &str, value: Value, place: Span) {
        let value = match self.variables.get(name).filter(|_| self.merges) {
            Some(known) => merged(known, &value),
            None => value,
        };
        Arc::make_mut(&mut self.variables).insert(Key::from(name), value);
        Arc::make_mut(&mut self.places).insert(name.into(), place);
    }

    /// Takes in all of `other`, which wins.
    fn extend(&mut self, other: &Self) {
        if self.variables.is_empty() {
            *self = Self { merges: self.merges, ..other.clone() };
            return;
        }
        for (name, value) in other.variables.iter() {
            let value = match self.variables.get(name).filter(|_| self.merges) {
                Some(known) => merged(known, value),
                None => value.clone(),
            };
            Arc::make_mut(&mut self.variables).insert(name.clone(), value);
        }
        Arc::make_mut(&mut self.places).extend(other.places.iter().map(|(name, place)| (name.clone(), *place)));
    }
}

/// Variables of one level, and who gave them.
#[derive(Clone, Debug)]
pub struct Definition {
    /// How strong they are.
    pub level: Level,
    /// The group whose variables they are; none for a host's own.
    pub group: Option<GroupName>,
    /// The variables.
    pub defined: Defined,
}

#[derive(Clone, Debug, Default)]
struct Host {
    own: Defined,
    /// The groups that name it.
    groups: IndexSet<GroupName>,
    /// The file or folder that named it first.
    source: Option<PathBuf>,
}

#[derive(Clone, Debug)]
struct Group {
    own: Defined,
    hosts: IndexSet<HostName>,
    children: IndexSet<GroupName>,
    parents: IndexSet<GroupName>,
    /// `ansible_group_priority`.
    priority: i64,
    depth: usize,
}

impl Default for Group {
    fn default() -> Self {
        let (hosts, children, parents) = Default::default();
        Self { own: Defined::default(), hosts, children, parents, priority: 1, depth: 0 }
    }
}

/// Hosts and groups with their variables.
#[derive(Clone, Debug)]
pub struct Inventory {
    hosts: IndexMap<HostName, Host>,
    groups: IndexMap<GroupName, Group>,
    folders: Vec<VariableFolder>,
    /// How variable files are read.
    sources: Sources,
    vault: Arc<Vault>,
    warnings: Vec<Diagnostic>,
    options: Options,
    /// Whether any source could be read.
    parsed: bool,
}

/// How inventories are read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What cannot be read is a warning, as it is to Ansible; else an error.
    pub lenient: bool,
    /// Dictionaries that are defined more than once are merged, not replaced.
    pub merges: bool,
    /// `-i` lists may have ranges also where lenient.
    pub advanced_lists: bool,
    /// What becomes of names of groups that are no names of variables.
    pub group_names: GroupNames,
    /// `-e`, for inventories that work something out.
    pub extra_vars: Arc<Map>,
}

/// What becomes of names of groups that have other characters than names of variables have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupNames {
    /// They stay, and nothing is said.
    #[default]
    Kept,
    /// They stay, with a warning.
    Noted,
    /// The characters become `_`, with a warning.
    Replaced,
    /// The characters become `_`.
    ReplacedSilently,
}

/// Returns the name of a group with `_` for every character that no name of a variable has.
fn safe_name(name: &str) -> String {
    let is_first = |at: usize, c: char| at == 0 && c.is_ascii_digit();
    name.char_indices().map(|(at, c)| if (c.is_alphanumeric() || c == '_') && !is_first(at, c) { c } else { '_' }).collect()
}

impl Inventory {
    /// Returns an inventory without hosts.
    pub fn empty(sources: &Sources, vault: &Arc<Vault>) -> Self {
        let mut inventory = Self {
            hosts: IndexMap::new(),
            groups: IndexMap::new(),
            folders: Vec::new(),
            sources: sources.clone(),
            vault: vault.clone(),
            warnings: Vec::new(),
            options: Options::default(),
            parsed: false,
        };
        inventory.groups.insert(ALL.into(), Group::default());
        inventory.groups.insert(UNGROUPED.into(), Group::default());
        // It comes before all that a file puts into `all`; that it is inside nothing yet cannot fail.
        let _ = inventory.add_child(ALL, UNGROUPED);
        inventory
    }

    /// Reads the inventory that the `-i` arguments name: files, folders, and lists of hosts with a comma in them. Later ones win.
    ///
    /// # Errors
    /// Says everything that is wrong in them.
    pub fn load(sources: &Sources, vault: &Arc<Vault>, inputs: &[String]) -> Result<Self, Vec<Diagnostic>> {
        Self::load_with(sources, vault, inputs, Options::default())
    }

    /// As [`Inventory::load`], with options.
    ///
    /// # Errors
    /// Says everything that is wrong in them.
    pub fn load_with(sources: &Sources, vault: &Arc<Vault>, inputs: &[String], options: Options) -> Result<Self, Vec<Diagnostic>> {
        let mut inventory = Self { options, ..Self::empty(sources, vault) };
        let merges = inventory.options.merges;
        inventory.groups.values_mut().for_each(|group| group.own.merges = merges);
        let mut errors = Vec::new();
        for input in inputs {
            errors.extend(read::input(&mut inventory, input));
        }
        if inventory.options.lenient && !inventory.parsed {
            inventory.warnings.push(Diagnostic::warning("No inventory was parsed, only implicit localhost is available"));
        }
        inventory.settle();
        errors.extend(inventory.read_variables());
        if errors.is_empty() { Ok(inventory) } else { Err(errors) }
    }

    /// Sets the folder of the playbook: `group_vars` and `host_vars` in it count for the plays of that playbook.
    ///
    /// # Errors
    /// Says everything that is wrong in the files.
    pub fn set_playbook_folder(&mut self, folder: &Path) -> Result<(), Vec<Diagnostic>> {
        self.folders.retain(|known| !known.of_playbook);
        self.folders.push(VariableFolder::new(folder, true));
        let errors = self.read_variables();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Returns the warnings since the last call.
    pub fn take_warnings(&mut self) -> Vec<Diagnostic> {
        std::mem::take(&mut self.warnings)
    }

    /// Returns all hosts, in order: those of `all` as a play would visit them.
    pub fn hosts(&self) -> Vec<HostName> {
        self.hosts_in(ALL)
    }

    /// Whether there is such a host.
    pub fn has_host(&self, name: &str) -> bool {
        self.hosts.contains_key(name)
    }

    /// Returns the names of all groups, `all` and `ungrouped` first.
    pub fn group_names(&self) -> impl Iterator<Item = &GroupName> {
        self.groups.keys()
    }

    /// Returns the groups that are directly in `group`.
    pub fn children(&self, group: &str) -> impl Iterator<Item = &GroupName> {
        self.groups.get(group).into_iter().flat_map(|group| group.children.iter())
    }

    /// Returns the hosts that are directly in `group`.
    pub fn own_hosts(&self, group: &str) -> impl Iterator<Item = &HostName> {
        self.groups.get(group).into_iter().flat_map(|group| group.hosts.iter())
    }

    /// Returns the variables of a group, merged: those of the inventory files, then those of `group_vars`.
    pub fn group_variables(&self, group: &str) -> Map {
        let files = self.folders.iter().filter_map(|folder| folder.groups.get(group));
        let own = self.groups.get(group).map(|group| &group.own);
        let entries = own.into_iter().chain(files).flat_map(|defined| defined.variables.iter());
        entries.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Returns the variables of a host that no group gives it, merged.
    pub fn own_variables(&self, host: &str) -> Map {
        let own = self.definitions(host).into_iter().filter(|found| found.group.is_none());
        own.flat_map(|found| Arc::unwrap_or_clone(found.defined.variables)).collect()
    }

    /// Returns all hosts of a group, of its children too.
    pub fn hosts_in(&self, group: &str) -> Vec<HostName> {
        let mut hosts = IndexSet::new();
        for name in self.with_descendants(group) {
            if let Some(group) = self.groups.get(&name) {
                hosts.extend(group.hosts.iter().cloned());
            }
        }
        hosts.into_iter().collect()
    }

    /// Returns a group and what is in it, level by level.
    fn with_descendants(&self, group: &str) -> IndexSet<GroupName> {
        let mut found = IndexSet::new();
        let mut queue: VecDeque<GroupName> = self.groups.get_key_value(group).map(|(name, _)| name.clone()).into_iter().collect();
        while let Some(name) = queue.pop_front() {
            if found.insert(name.clone())
                && let Some(group) = self.groups.get(&name)
            {
                queue.extend(group.children.iter().cloned());
            }
        }
        found
    }

    /// Returns every group that a host is in, weakest first: `all`, then by depth, priority and name.
    pub fn groups_of(&self, host: &str) -> Vec<GroupName> {
        let mut found: HashSet<GroupName> = HashSet::new();
        let mut queue: Vec<GroupName> = self.hosts.get(host).map(|host| host.groups.iter().cloned().collect()).unwrap_or_default();
        queue.extend(self.groups.get_key_value(ALL).map(|(name, _)| name.clone()));
        while let Some(name) = queue.pop() {
            if let Some(group) = self.groups.get(&name)
                && found.insert(name)
            {
                queue.extend(group.parents.iter().cloned());
            }
        }
        let mut sorted: Vec<_> = found.into_iter().collect();
        sorted.sort_by_cached_key(|name| self.groups.get(name).map(|group| (group.depth, group.priority, name.clone())));
        sorted
    }

    /// Returns the names for the magic variable `group_names`: sorted, without `all`.
    pub fn group_names_of(&self, host: &str) -> Vec<GroupName> {
        let mut names: Vec<_> = self.groups_of(host).into_iter().filter(|name| &**name != ALL).collect();
        names.sort_unstable();
        names
    }

    /// Returns the magic variable `groups`: every group and all of its hosts.
    pub fn groups_value(&self) -> Value {
        Value::map(self.groups.keys().map(|name| (Key::Str(name.clone()), Value::list(self.hosts_in(name).into_iter().map(Value::Str)))))
    }

    /// Returns the file or folder that named a host, for `inventory_file` and `inventory_dir`.
    pub fn source_of(&self, host: &str) -> Option<&Path> {
        self.hosts.get(host)?.source.as_deref()
    }

    /// Returns the variables of a host, weakest first: groups, files, the host's own.
    pub fn layers(&self, host: &str) -> Vec<Layer> {
        let mut layers: Vec<Layer> = Vec::new();
        let mut is_open = false;
        for found in self.definitions(host) {
            let is_all = found.group.as_deref() == Some(ALL);
            let variables = found.defined.variables;
            // Where dictionaries are merged, those of all groups but `all` are with each other first.
            match layers.last_mut().filter(|last| self.options.merges && is_open && last.level == found.level) {
                Some(last) => last.variables = Arc::new(united([&*last.variables, &*variables])),
                None => layers.push(Layer { level: found.level, variables }),
            }
            is_open = !is_all;
        }
        layers
    }

    /// Returns the variables of a host as [`Inventory::layers`] does, with who gave them and their places.
    pub fn definitions(&self, host: &str) -> Vec<Definition> {
        let groups = self.groups_of(host);
        let mut all = Vec::new();
        let mut add = |level, group: Option<&GroupName>, defined: &Defined| {
            if !defined.variables.is_empty() {
                all.push(Definition { level, group: group.cloned(), defined: defined.clone() });
            }
        };
        for name in &groups {
            if let Some(group) = self.groups.get(name) {
                add(Level::InventoryGroup, Some(name), &group.own);
            }
        }
        for folder in &self.folders {
            let levels = match folder.of_playbook {
                false => (Level::InventoryGroupVarsAll, Level::InventoryGroupVars, Level::InventoryHostVars),
                true => (Level::PlaybookGroupVarsAll, Level::PlaybookGroupVars, Level::PlaybookHostVars),
            };
            for name in &groups {
                if let Some(defined) = folder.groups.get(name) {
                    add(if &**name == ALL { levels.0 } else { levels.1 }, Some(name), defined);
                }
            }
            if let Some(defined) = folder.hosts.get(host) {
                add(levels.2, None, defined);
            }
        }
        match self.hosts.get(host) {
            Some(host) => add(Level::InventoryHost, None, &host.own),
            None if matches!(host, "localhost" | "127.0.0.1" | "::1") => add(Level::InventoryHost, None, &implicit()),
            None => {}
        }
        all.sort_by_key(|found| found.level);
        all
    }

    /// Returns the variables of a host, merged: what `windlass inventory` shows.
    pub fn variables(&self, host: &str) -> Map {
        let mut all = Map::new();
        for layer in self.layers(host) {
            for (name, value) in layer.variables.iter() {
                let value = match all.get(name).filter(|_| self.options.merges) {
                    Some(known) => merged(known, value),
                    None => value.clone(),
                };
                all.insert(name.clone(), value);
            }
        }
        all
    }

    /// Returns the variables of a host that inventory files give it, merged, those of its groups too: without `group_vars` and `host_vars`.
    fn file_variables(&self, host: &str) -> Map {
        let mut all = Map::new();
        for group in self.groups_of(host).iter().filter_map(|name| self.groups.get(name)) {
            all.extend(group.own.variables.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        if let Some(host) = self.hosts.get(host) {
            all.extend(host.own.variables.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        all
    }

    /// Returns where the value that counts of a host's variable was defined.
    pub fn origin(&self, host: &str, variable: &str) -> Option<(Level, Span)> {
        let definitions = self.definitions(host);
        let found = definitions.iter().rev().find(|found| found.defined.variables.contains_key(variable))?;
        Some((found.level, *found.defined.places.get(variable)?))
    }

    /// Adds a host while a play runs, with variables and in groups; those it has already stay.
    ///
    /// # Errors
    /// Its variable files are wrong.
    pub fn add_host(&mut self, name: &str, groups: &[String], variables: &Map) -> Result<HostName, Vec<Diagnostic>> {
        let host = self.host(name);
        if let Some(host) = self.hosts.get_mut(&host) {
            Arc::make_mut(&mut host.own.variables).extend(variables.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        for group in groups {
            self.put_in_group(&host, group);
        }
        self.settle();
        let errors = self.read_variables();
        if errors.is_empty() { Ok(host) } else { Err(errors) }
    }

    /// Returns a variable that a host itself has.
    pub fn own_variable(&self, host: &str, name: &crate::value::Key) -> Option<&crate::value::Value> {
        self.hosts.get(host)?.own.variables.get(name)
    }

    /// Puts a host in a group while a play runs; the group is made, inside `parents`, where it does not exist.
    ///
    /// # Errors
    /// The variable files of the group are wrong, or it would be inside itself.
    pub fn add_group_member(&mut self, group: &str, host: &str, parents: &[String]) -> Result<(), Vec<Diagnostic>> {
        let host = self.host(host);
        self.put_in_group(&host, group);
        for parent in parents {
            self.add_child(parent, group).map_err(|message| vec![Diagnostic::error(message)])?;
        }
        self.settle();
        let errors = self.read_variables();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Returns the host, which now exists.
    fn host(&mut self, name: &str) -> HostName {
        if let Some((name, _)) = self.hosts.get_key_value(name) {
            return name.clone();
        }
        let name: HostName = name.into();
        self.hosts.insert(name.clone(), Host { own: Defined::merging(self.options.merges), ..Host::default() });
        name
    }

    /// Returns the group, which now exists.
    fn group(&mut self, name: &str) -> GroupName {
        if let Some((name, _)) = self.groups.get_key_value(name) {
            return name.clone();
        }
        let safe = if self.options.group_names == GroupNames::Kept { name.to_owned() } else { safe_name(name) };
        let name: GroupName = match self.options.group_names {
            _ if safe == name => name.into(),
            GroupNames::Kept => name.into(),
            GroupNames::Noted => {
                self.warn_once("Invalid characters were found in group names but not replaced");
                name.into()
            }
            GroupNames::Replaced => {
                self.warn_once("Invalid characters were found in group names and automatically replaced");
                safe.into()
            }
            GroupNames::ReplacedSilently => safe.into(),
        };
        if self.groups.contains_key(&name) {
            return name;
        }
        self.groups.insert(name.clone(), Group { own: Defined::merging(self.options.merges), ..Group::default() });
        name
    }

    fn warn_once(&mut self, message: &str) {
        if !self.warnings.iter().any(|warning| warning.message == message) {
            self.warnings.push(Diagnostic::warning(message));
        }
    }

    fn put_in_group(&mut self, host: &HostName, group: &str) {
        let group = self.group(group);
        if let Some(host) = self.hosts.get_mut(host) {
            host.groups.insert(group.clone());
        }
        if let Some(group) = self.groups.get_mut(&group) {
            group.hosts.insert(host.clone());
        }
    }

    /// Puts one group inside another.
    fn add_child(&mut self, parent: &str, child: &str) -> Result<(), String> {
        let (parent, child) = (self.group(parent), self.group(child));
        if self.with_descendants(&child).contains(&parent) {
            return Err(format!("the group `{parent}` cannot contain `{child}`, which contains it"));
        }
        if let Some(group) = self.groups.get_mut(&parent) {
            group.children.insert(child.clone());
        }
        if let Some(group) = self.groups.get_mut(&child) {
            group.parents.insert(parent);
        }
        Ok(())
    }

    fn set_group_variable(&mut self, group: &GroupName, name: &str, value: Value, place: Span) {
        let Some(group) = self.groups.get_mut(group) else { return };
        if name == "ansible_group_priority" {
            group.priority = value.as_int().or_else(|| value.to_string().parse().ok()).unwrap_or(group.priority);
        } else {
            group.own.set(name, value, place);
        }
    }

    /// Puts every group below `all`, hosts without one in `ungrouped`, and works out depths.
    fn settle(&mut self) {
        let loose: Vec<_> = self.groups.iter().filter(|(name, group)| &***name != ALL && group.parents.is_empty()).collect();
        let loose: Vec<_> = loose.into_iter().map(|(name, _)| name.clone()).collect();
        for name in loose {
            // `all` is inside nothing, so this cannot fail.
            let _ = self.add_child(ALL, &name);
        }
        let names: Vec<_> = self.hosts.keys().cloned().collect();
        for host in names {
            let groups = self.hosts.get(&host).map(|host| &host.groups);
            let grouped = groups.is_some_and(|groups| groups.iter().any(|group| !matches!(&**group, ALL | UNGROUPED)));
            if !grouped {
                self.put_in_group(&host, UNGROUPED);
            } else if let Some(entry) = self.hosts.get_mut(&host)
                && entry.groups.shift_remove(UNGROUPED)
                && let Some(ungrouped) = self.groups.get_mut(UNGROUPED)
            {
                ungrouped.hosts.shift_remove(&host);
            }
        }
        // The depth of a group is its longest way from `all`.
        let mut queue = VecDeque::from([(GroupName::from(ALL), 0)]);
        self.groups.values_mut().for_each(|group| group.depth = 0);
        while let Some((name, depth)) = queue.pop_front() {
            let Some(group) = self.groups.get_mut(&name) else { continue };
            if depth >= group.depth {
                group.depth = depth;
                queue.extend(group.children.iter().map(|child| (child.clone(), depth + 1)));
            }
        }
    }

    /// Reads the variable files of hosts and groups that were not read yet.
    fn read_variables(&mut self) -> Vec<Diagnostic> {
        let mut folders = std::mem::take(&mut self.folders);
        let mut errors = Vec::new();
        for folder in &mut folders {
            let reader = variables::Reader { sources: &self.sources, vault: &self.vault };
            let found = folder.read(&reader, self.groups.keys(), self.hosts.keys());
            errors.extend(found.errors);
            self.warnings.extend(found.warnings);
        }
        self.folders = folders;
        errors
    }
}

/// Variables of a host that no inventory names: the controller itself.
fn implicit() -> Defined {
    let mut own = Defined::default();
    Arc::make_mut(&mut own.variables).insert(Key::from("ansible_connection"), Value::str("local"));
    own
}

#[cfg(test)]
mod tests;
