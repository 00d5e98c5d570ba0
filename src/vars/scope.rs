//! The layers of variables and their order: Ansible's 22 levels in one array.

use std::sync::Arc;

use super::Variables;
use crate::value::{Map, Value};

/// Where a variable was defined. In order: a later one wins. The order is that of Ansible's manual, "Understanding variable precedence".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// 1. Values of the command line that are no variables (`-u`).
    CommandLine,
    /// 2. `defaults/main.yml` of a role.
    RoleDefaults,
    /// 3. `[group:vars]` of an inventory file.
    InventoryGroup,
    /// 4. `group_vars/all` beside the inventory.
    InventoryGroupVarsAll,
    /// 5. `group_vars/all` beside the playbook.
    PlaybookGroupVarsAll,
    /// 6. `group_vars/NAME` beside the inventory.
    InventoryGroupVars,
    /// 7. `group_vars/NAME` beside the playbook.
    PlaybookGroupVars,
    /// 8. Variables of a host in an inventory file.
    InventoryHost,
    /// 9. `host_vars/NAME` beside the inventory.
    InventoryHostVars,
    /// 10. `host_vars/NAME` beside the playbook.
    PlaybookHostVars,
    /// 11. Facts, and `set_fact` with `cacheable`.
    Facts,
    /// 12. `vars` of a play.
    PlayVars,
    /// 13. `vars_prompt` of a play.
    PlayVarsPrompt,
    /// 14. `vars_files` of a play.
    PlayVarsFiles,
    /// 15. `vars/main.yml` of a role.
    RoleVars,
    /// 16. `vars` of a block.
    BlockVars,
    /// 17. `vars` of a task.
    TaskVars,
    /// 18. `include_vars`.
    IncludeVars,
    /// 19. `set_fact` and `register`.
    SetFacts,
    /// 20. Parameters of a role.
    RoleParameters,
    /// 21. Parameters of an include.
    IncludeParameters,
    /// 22. `-e`. Always wins.
    ExtraVars,
}

/// Variables of one level, shared by all hosts that have them.
#[derive(Clone, Debug)]
pub struct Layer {
    /// How strong they are.
    pub level: Level,
    /// The variables.
    pub variables: Arc<Map>,
}

/// The layers that one task on one host sees. Layers of the same level: the one pushed later wins.
#[derive(Clone, Default)]
pub struct Scope {
    /// Strongest last.
    layers: Vec<Layer>,
    /// Magic variables: found before every layer but `-e`, worked out when asked for.
    magic: Option<Arc<dyn Variables>>,
    /// Dictionaries of several layers are merged.
    merges: bool,
}

impl Scope {
    /// Returns a scope without layers; where `merges` is so, a dictionary of one layer is merged with those below it.
    pub fn merging(merges: bool) -> Self {
        Self { merges, ..Self::default() }
    }

    /// Adds variables at their level.
    pub fn push(&mut self, level: Level, variables: Arc<Map>) {
        if variables.is_empty() {
            return;
        }
        let at = self.layers.partition_point(|layer| layer.level <= level);
        self.layers.insert(at, Layer { level, variables });
    }

    /// Adds variables that count as one: where dictionaries are merged, they are with each other first.
    pub fn push_all(&mut self, level: Level, all: Vec<Arc<Map>>) {
        if !self.merges {
            all.into_iter().for_each(|variables| self.push(level, variables));
            return;
        }
        self.push(level, Arc::new(united(all.iter().map(|variables| &**variables))));
    }

    /// Sets where magic variables come from.
    pub fn set_magic(&mut self, magic: Arc<dyn Variables>) {
        self.magic = Some(magic);
    }

    /// Returns a variable, its dictionaries merged. Those of blocks and their tasks replace each other, as do those of includes.
    fn merged(&self, name: &str) -> Option<Value> {
        let is_task = |level| matches!(level, Level::BlockVars | Level::TaskVars);
        let found: Vec<_> = self.layers.iter().filter_map(|layer| Some((layer.level, layer.variables.get(name)?))).collect();
        let replaced = |at: usize, level| {
            found[at + 1..].iter().any(|(later, _)| {
                (is_task(level) && is_task(*later)) || (level == Level::IncludeParameters && *later == Level::IncludeParameters)
            })
        };
        let counting = found.iter().enumerate().filter(|(at, (level, _))| !replaced(*at, *level)).map(|(_, (_, value))| *value);
        counting.fold(None, |below: Option<Value>, value| Some(below.map_or_else(|| value.clone(), |below| merged(&below, value))))
    }

    /// Returns the layers, strongest last.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }
}

/// Returns `above` laid over `below`, dictionaries in them merged.
pub fn merged(below: &Value, above: &Value) -> Value {
    let (Value::Map(low), Value::Map(high)) = (below, above) else { return above.clone() };
    let mut all = (**low).clone();
    for (name, value) in high.iter() {
        let value = all.get(name).map_or_else(|| value.clone(), |known| merged(known, value));
        all.insert(name.clone(), value);
    }
    Value::from(all)
}

/// Returns all variables, later ones over earlier ones, dictionaries merged.
pub fn united<'a>(all: impl IntoIterator<Item = &'a Map>) -> Map {
    let mut united = Map::new();
    for (name, value) in all.into_iter().flatten() {
        let value = united.get(name).map_or_else(|| value.clone(), |known| merged(known, value));
        united.insert(name.clone(), value);
    }
    united
}

impl Variables for Scope {
    fn get(&self, name: &str) -> Option<Value> {
        if let Some(value) = self.magic.as_ref().and_then(|magic| magic.get(name)) {
            return Some(value);
        }
        let mut found = self.layers.iter().rev().filter_map(|layer| layer.variables.get(name));
        if self.merges { self.merged(name) } else { Some(found.next()?.clone()) }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            self.layers.iter().flat_map(|layer| layer.variables.keys()).filter_map(|key| key.as_str()).map(str::to_owned).collect();
        names.extend(self.magic.iter().flat_map(|magic| magic.names()));
        names.sort_unstable();
        names.dedup();
        names
    }

    fn host(&self, name: &str) -> Option<Arc<dyn Variables>> {
        self.magic.as_ref()?.host(name)
    }

    fn host_names(&self) -> Vec<String> {
        self.magic.as_ref().map(|magic| magic.host_names()).unwrap_or_default()
    }
}
