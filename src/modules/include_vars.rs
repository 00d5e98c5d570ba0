//! `include_vars`: load variables from files of the controller.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Controller, Example, Module, Runs};
use crate::change::{Failure, Plan, Probe, Then};
use crate::value::arguments::{self, Anything};
use crate::value::{Map, Value};

/// Loads variables from YAML or JSON files of the controller, one file or all of a directory, in the order of their names.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IncludeVars {
    /// The file: looked for in the role's `vars`, then beside the tasks and the playbook.
    #[serde(alias = "_raw_params")]
    file: Option<String>,
    /// A directory, instead of a file.
    dir: Option<String>,
    /// A variable to put everything under.
    name: Option<String>,
    /// How deep to go into `dir`; 0 is all the way.
    #[serde(default)]
    depth: usize,
    /// Only files whose names fit this regular expression.
    files_matching: Option<String>,
    /// Files to leave out, as regular expressions.
    #[serde(default)]
    ignore_files: Vec<String>,
    /// Endings that count as variable files.
    #[serde(default = "usual_extensions")]
    extensions: Vec<String>,
    /// Whether files with other endings are passed over rather than refused.
    #[serde(default)]
    ignore_unknown_extensions: bool,
    /// `merge` joins dictionaries with those that are defined already; `replace` replaces them.
    hash_behaviour: Option<String>,
    #[schemars(skip)]
    _variables: Option<Anything>,
    #[schemars(skip)]
    #[serde(default)]
    _files: Vec<String>,
    /// Whether something of it came out of a vault.
    #[schemars(skip)]
    #[serde(default)]
    _hidden: bool,
}

fn usual_extensions() -> Vec<String> {
    ["yaml", "yml", "json"].map(str::to_owned).to_vec()
}

impl Module for IncludeVars {
    const NAME: &'static str = "include_vars";
    const RUNS: Runs = Runs::WithoutHost;
    const FREE_FORM: Option<&'static str> = Some("file");
    const EXAMPLES: &'static [Example] = &[Example {
        title: "Load the variables of one site, below a name",
        task: "{file: dr-site.yml, name: site}",
        given: &[("controller:vars/dr-site.yml", "nodes: 3\n")],
        changes: false,
    }];

    fn prepare(map: &mut Map, controller: &dyn Controller) -> Result<(), Failure> {
        let module: Self = arguments::from_map(map)?;
        let files = module.files(controller)?;
        let hidden = files.iter().any(|path| controller.is_vaulted(path));
        let mut variables = Map::new();
        let mut shown = Vec::new();
        let merge = match module.hash_behaviour.as_deref() {
            Some("merge") => true,
            None | Some("replace") => false,
            Some(other) => return Err(Failure::argument("hash_behaviour", format!("`{other}` is neither `merge` nor `replace`"))),
        };
        for path in files {
            for (name, value) in controller.variables(&path)? {
                variables.insert(name, value);
            }
            shown.push(path.to_string_lossy().into_owned());
        }
        if let Some(name) = &module.name {
            variables = [(name.as_str().into(), variables.into())].into_iter().collect();
        }
        if merge {
            let mut defined = Map::new();
            for name in variables.keys() {
                // An undefined variable is nothing to merge with.
                if let Ok(value) = controller.expression(&name.to_string()) {
                    defined.insert(name.clone(), value);
                }
            }
            for (name, value) in variables {
                put(&mut defined, name, value, true);
            }
            variables = defined;
        }
        map.insert("_variables".into(), variables.into());
        map.insert("_files".into(), shown.into());
        map.insert("_hidden".into(), Value::Bool(hidden));
        Ok(())
    }

    fn plan(&self, _host: &dyn Probe) -> Result<Plan, Failure> {
        let variables = self._variables.as_ref().and_then(|value| value.0.as_map()).cloned().unwrap_or_default();
        let mut plan = Plan::nothing(format!("{} variables loaded", variables.len()))
            .value("ansible_facts", variables.clone())
            .value("ansible_included_var_files", self._files.clone());
        if self._hidden {
            plan = plan.value("_ansible_no_log", true);
        }
        plan.then.push(Then::Variables(variables));
        Ok(plan)
    }
}

/// Puts a variable into `map`, joining dictionaries where `merge` says so.
fn put(map: &mut Map, name: crate::value::Key, value: Value, merge: bool) {
    if merge && let (Some(Value::Map(old)), Value::Map(new)) = (map.get(&name), &value) {
        let mut joined = (**old).clone();
        for (name, value) in new.iter() {
            put(&mut joined, name.clone(), value.clone(), true);
        }
        map.insert(name, joined.into());
        return;
    }
    map.insert(name, value);
}

impl IncludeVars {
    fn files(&self, controller: &dyn Controller) -> Result<Vec<std::path::PathBuf>, Failure> {
        let dir = match (&self.file, &self.dir) {
            (Some(_), Some(_)) => return Err(Failure::argument("dir", "`file` and `dir` exclude each other")),
            (None, None) => return Err(Failure::argument("file", "Could not find file: neither `file` nor `dir` is given")),
            (Some(file), None) => return Ok(vec![controller.find("vars", file).map_err(|failure| failure.at("file"))?]),
            (None, Some(dir)) => controller.find("vars", dir).map_err(|failure| failure.at("dir"))?,
        };
        let regex = |argument: &str, text: &str| {
            regex::Regex::new(text).map_err(|_| Failure::argument(argument, format!("`{text}` is not a regular expression")))
        };
        let wanted = self.files_matching.as_deref().map(|text| regex("files_matching", text)).transpose()?;
        let unwanted = self.ignore_files.iter().map(|text| regex("ignore_files", text)).collect::<Result<Vec<_>, _>>()?;
        let mut files = Vec::new();
        for below in controller.walk(&dir, true)? {
            let is_folder = below.is_folder();
            let below = below.path;
            let level = below.split('/').count();
            if is_folder || (self.depth > 0 && level > self.depth) {
                continue;
            }
            let name = below.rsplit('/').next().unwrap_or_default();
            if wanted.as_ref().is_some_and(|regex| !regex.is_match(name)) || unwanted.iter().any(|regex| regex.is_match(name)) {
                continue;
            }
            let extension = Path::new(name).extension().map(|extension| extension.to_string_lossy().into_owned()).unwrap_or_default();
            if self.extensions.iter().any(|known| known.trim_start_matches('.') == extension) {
                files.push(dir.join(&below));
            } else if !self.ignore_unknown_extensions && !name.starts_with('.') {
                return Err(Failure::argument(
                    "dir",
                    format!("`{}` does not have a valid extension: {}", dir.join(&below).display(), self.extensions.join(", ")),
                )
                .hint("`ignore_unknown_extensions: true` passes over such files"));
            }
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_joins_dictionaries_to_the_last_level() {
        let mut map: Map = [("a".into(), Value::map([("x", Value::map([("p", Value::Int(1))]))]))].into_iter().collect();
        let new = Value::map([("x", Value::map([("q", Value::Int(2))]))]);
        put(&mut map, "a".into(), new.clone(), true);
        assert_eq!(Value::from(map.clone()).to_string(), "{'a': {'x': {'p': 1, 'q': 2}}}");
        put(&mut map, "a".into(), new, false);
        assert_eq!(Value::from(map).to_string(), "{'a': {'x': {'q': 2}}}");
    }
}
