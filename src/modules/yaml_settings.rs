//! `yaml_settings`: settings in a YAML file.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Example, Module};
use crate::change::attributes::{FileMode, Wanted};
use crate::change::doubt::Names;
use crate::change::target::{Manner, Target};
use crate::change::{Done, Failure, Plan, Probe};
use crate::formats::yaml_edit::{YamlEditError, edit};
use crate::value::arguments::Anything;
use crate::value::{Map, Value};

/// Sets and removes settings in a YAML file such as `elasticsearch.yml`, and leaves the rest of the file as it is: comments,
/// order, quotes and indentation stay. `cluster.name: x` and `cluster: {name: x}` are the same setting, in the file as in
/// the task; one that stands in the file in both spellings becomes one. A file that has everything is not touched.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct YamlSettings {
    /// The file.
    #[serde(alias = "dest", alias = "file")]
    path: String,
    /// Settings to have, nested or dotted. One whose value is `null` is removed.
    #[serde(default)]
    settings: Option<Anything>,
    /// Dotted names of settings to remove, each with all that is below it.
    #[serde(default)]
    absent: Vec<String>,
    /// Whether a file is made where there is none.
    #[serde(default)]
    create: bool,
    /// Whether to keep a copy of the old file beside it.
    #[serde(default)]
    backup: bool,
    /// A command that must accept the new file before it replaces the old one; `%s` stands for it.
    validate: Option<String>,
    /// Owner of the file.
    owner: Option<String>,
    /// Group of the file.
    group: Option<String>,
    /// Mode of the file. A new one has `0644`, or less by the umask.
    mode: Option<FileMode>,
}

impl Module for YamlSettings {
    const NAME: &'static str = "yaml_settings";
    const CHANGES: &'static [Names] = &[Names::Path("path"), Names::Path("dest"), Names::Path("file")];
    const EXAMPLES: &'static [Example] = &[
        Example {
            title: "Let a cluster accept others by API key",
            task: "path: /etc/elasticsearch/elasticsearch.yml\nsettings:\n  remote_cluster_server.enabled: true\n  remote_cluster:\n    port: 9443\nabsent: [old.setting]\n",
            given: &[
                ("/etc/elasticsearch/", ""),
                ("/etc/elasticsearch/elasticsearch.yml", "# the name\ncluster:\n  name: example # ours\nold.setting: 1\n"),
            ],
            changes: true,
        },
        Example {
            title: "A setting that is there in the other spelling",
            task: "path: /etc/elasticsearch/elasticsearch.yml\nsettings: {cluster.name: example}\n",
            given: &[("/etc/elasticsearch/", ""), ("/etc/elasticsearch/elasticsearch.yml", "cluster:\n  name: example # ours\n")],
            changes: false,
        },
        Example {
            title: "Make the file when there is none",
            task: "path: /etc/example.yml\nsettings: {log.level: debug}\ncreate: true\nmode: \"0640\"\n",
            given: &[("/etc/", "")],
            changes: true,
        },
    ];

    fn plan(&self, host: &dyn Probe) -> Result<Plan, Failure> {
        let nothing = Map::new();
        let settings = match self.settings.as_ref().map(|settings| &settings.0) {
            None | Some(Value::Null) => &nothing,
            Some(Value::Map(map)) => map,
            Some(other) => return Err(Failure::argument("settings", format!("`settings` is a {}, not a dictionary", other.type_name()))),
        };
        let target = Target::find(host, Path::new(&self.path), "path")?;
        let asked = Wanted { owner: self.owner.as_deref(), group: self.group.as_deref(), mode: self.mode.as_ref() };
        let wanted = target.wanted(host, &asked)?;
        if target.content.is_none() && !self.create {
            return Err(Failure::argument("path", format!("`{}` does not exist", self.path)).hint("`create: true` makes it"));
        }
        let before = std::str::from_utf8(target.content.as_deref().unwrap_or_default())
            .map_err(|_| Failure::argument("path", format!("`{}` is no text in UTF-8", self.path)))?;
        let edited = edit(before, settings, &self.absent).map_err(|error| self.failure(&error))?;
        let content = (target.content.is_none() || edited.text != before).then(|| edited.text.clone().into_bytes());
        let manner = Manner { wanted, backup: self.backup, validate: self.validate.clone(), ..Manner::default() };
        let changes = target.changes(content, &manner);
        let parts = [("sets", &edited.set), ("removes", &edited.removed)];
        let parts: Vec<_> =
            parts.iter().filter(|(_, names)| !names.is_empty()).map(|(verb, names)| format!("{verb} {}", names.join(", "))).collect();
        let because = match (parts.is_empty(), changes.is_empty()) {
            (true, true) => "every setting is as asked".to_owned(),
            (true, false) => "the file itself is not as asked".to_owned(),
            (false, _) => parts.join("; "),
        };
        let mut plan =
            Plan::all(because, changes).value("path", self.path.as_str()).value("set", edited.set).value("removed", edited.removed);
        plan.warnings = edited.warnings.into_iter().map(|warning| format!("`{}`: {warning}", self.path)).collect();
        Ok(plan)
    }

    fn result(&self, plan: &Plan, done: &[Done], _: &dyn Probe) -> Result<Map, Failure> {
        let mut values = plan.values.clone();
        for done in done {
            if let Done::Wrote { backup: Some(copy) } = done {
                values.insert("backup_file".into(), copy.to_string_lossy().into_owned().into());
            }
        }
        Ok(values)
    }
}

impl YamlSettings {
    fn failure(&self, error: &YamlEditError) -> Failure {
        Failure::failed(format!("`{}`: {error}", self.path))
    }
}
