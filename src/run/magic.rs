//! Variables that nobody defines: `inventory_hostname`, `groups`, `hostvars`, `ansible_play_hosts`, `role_path`, ...

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::load::playbook::{RoleHead, Task};
use crate::run::Run;
use crate::run::frame::Frame;
use crate::run::stage::Stage;
use crate::value::{Map, Value};
use crate::vars::Variables;

/// The release of Ansible whose behaviour is followed; playbooks ask for it to guard what they use.
pub const LIKE_ANSIBLE: [i64; 3] = [2, 19, 14];

/// Names that are always there.
const ALWAYS: &[&str] = &[
    "ansible_check_mode",
    "ansible_config_file",
    "ansible_diff_mode",
    "ansible_facts",
    "ansible_forks",
    "ansible_inventory_sources",
    "ansible_playbook_python",
    "ansible_run_tags",
    "ansible_skip_tags",
    "ansible_verbosity",
    "ansible_version",
    "group_names",
    "groups",
    "inventory_dir",
    "inventory_file",
    "inventory_hostname",
    "inventory_hostname_short",
    "playbook_dir",
    "windlass_version",
];

/// Names that are there while a play runs.
const IN_PLAY: &[&str] = &[
    "ansible_dependent_role_names",
    "ansible_play_batch",
    "ansible_play_hosts",
    "ansible_play_hosts_all",
    "ansible_play_name",
    "ansible_play_role_names",
    "ansible_role_names",
    "ansible_search_path",
    "environment",
    "play_hosts",
    "role_names",
];

/// Names that are there in a role.
const IN_ROLE: &[&str] =
    &["ansible_parent_role_names", "ansible_parent_role_paths", "ansible_role_name", "ansible_collection_name", "role_name", "role_path"];

/// The magic variables of a host, and of a task where there is one.
pub(super) struct Magic {
    run: Arc<Run>,
    host: Arc<str>,
    task: Option<TaskSide>,
}

struct TaskSide {
    stage: Arc<Stage>,
    role: Option<Arc<RoleHead>>,
    /// Names and folders of the roles that brought this one in, nearest first.
    parents: Vec<(String, PathBuf)>,
    search: Vec<PathBuf>,
    /// `environment` of the task and of what is around it, outermost first.
    environment: Vec<Value>,
}

impl Magic {
    /// The magic variables of a task on a host.
    pub(super) fn of_task(run: &Arc<Run>, stage: &Arc<Stage>, frame: &Frame, task: Option<&Task>, host: &Arc<str>) -> Self {
        let role = task.and_then(|task| task.role.clone());
        let parents = frame.parent_roles().into_iter().map(|role| (role.head.name.clone(), role.head.path.clone())).collect();
        let search =
            task.map(|task| run.search(stage, frame, task).folders().into_iter().map(Path::to_path_buf).collect()).unwrap_or_default();
        let environment = match task {
            Some(task) => frame.all(task, |keywords| &keywords.environment).into_iter().map(|located| located.value.clone()).collect(),
            None => Vec::new(),
        };
        let task = TaskSide { stage: stage.clone(), role, parents, search, environment };
        Self { run: run.clone(), host: host.clone(), task: Some(task) }
    }

    /// The magic variables of a host, whatever the task.
    pub(super) fn of_host(run: &Arc<Run>, host: &str) -> Self {
        Self { run: run.clone(), host: host.into(), task: None }
    }

    fn always(&self, name: &str) -> Option<Value> {
        let settings = &self.run.settings;
        Some(match name {
            "inventory_hostname" => Value::str(&self.host),
            "inventory_hostname_short" => Value::str(self.host.split('.').next().unwrap_or(&self.host)),
            "group_names" => Value::from(self.run.site.groups_of(&self.host)),
            "groups" => Value::map(self.run.site.groups().iter().map(|(name, hosts)| (name.as_str(), names(hosts)))),
            "ansible_facts" => Value::Map(self.run.hosts.with(&self.host, |host| host.facts.clone())),
            "playbook_dir" => path(self.run.playbook_folder()),
            "inventory_file" => path(&self.run.site.file(&self.host)?),
            "inventory_dir" => path(absolute(&self.run.site.file(&self.host)?).parent()?),
            "ansible_inventory_sources" => Value::from(settings.inventory_sources.clone()),
            "ansible_config_file" => path(settings.config_file.as_ref()?),
            "ansible_playbook_python" => Value::from(python()),
            "ansible_check_mode" => Value::Bool(settings.check),
            "ansible_diff_mode" => Value::Bool(settings.diff),
            "ansible_forks" => Value::from(settings.forks),
            "ansible_verbosity" => Value::Int(i64::from(settings.verbosity)),
            "ansible_run_tags" => Value::from(if settings.tags.is_empty() { vec!["all".to_owned()] } else { settings.tags.clone() }),
            "ansible_skip_tags" => Value::from(settings.skip_tags.clone()),
            "ansible_limit" => Value::from(settings.limit.clone()?),
            "ansible_version" => version(),
            "windlass_version" => Value::str(env!("CARGO_PKG_VERSION")),
            _ => return None,
        })
    }
}

impl TaskSide {
    fn get(&self, name: &str, run: &Run) -> Option<Value> {
        let stage = &self.stage;
        Some(match name {
            "play_hosts" | "ansible_play_batch" => names(&stage.alive(run, &stage.batch())),
            "ansible_play_hosts" => names(&stage.alive(run, &stage.shown())),
            "ansible_play_hosts_all" => names(&stage.shown()),
            "ansible_play_name" => Value::str(&stage.name),
            "role_names" | "ansible_play_role_names" => Value::from(stage.role_names()),
            "ansible_role_names" => {
                let all: indexmap::IndexSet<_> = stage.role_names().into_iter().chain(stage.dependent_role_names()).collect();
                Value::from(all.into_iter().collect::<Vec<_>>())
            }
            "ansible_dependent_role_names" => Value::from(stage.dependent_role_names()),
            "ansible_search_path" => Value::list(self.search.iter().map(path)),
            "environment" => Value::list(self.environment.iter().cloned()),
            "ansible_role_name" => Value::str(&self.role.as_ref()?.name),
            "ansible_collection_name" => Value::str(self.role.as_ref()?.collection.as_ref()?),
            "role_name" => {
                let role = self.role.as_ref()?;
                let collection = role.collection.as_ref().map(|collection| format!("{collection}."));
                Value::str(collection.and_then(|collection| role.name.strip_prefix(&collection)).unwrap_or(&role.name))
            }
            "role_path" => path(&self.role.as_ref()?.path),
            "ansible_parent_role_names" if !self.parents.is_empty() => Value::list(self.parents.iter().map(|(name, _)| Value::str(name))),
            "ansible_parent_role_paths" if !self.parents.is_empty() => Value::list(self.parents.iter().map(|(_, folder)| path(folder))),
            _ => return None,
        })
    }
}

impl Variables for Magic {
    fn get(&self, name: &str) -> Option<Value> {
        self.always(name).or_else(|| self.task.as_ref()?.get(name, &self.run))
    }

    fn names(&self) -> Vec<String> {
        let in_task = self.task.iter().flat_map(|task| IN_PLAY.iter().chain(task.role.iter().flat_map(|_| IN_ROLE)));
        ALWAYS.iter().chain(in_task).filter(|name| self.get(name).is_some()).map(|name| (*name).to_owned()).collect()
    }

    fn host(&self, name: &str) -> Option<Arc<dyn Variables>> {
        let known = self.run.site.hosts().iter().any(|host| **host == *name) || *self.host == *name || is_localhost(name);
        if !known {
            return None;
        }
        let mut scope = self.run.host_scope(name);
        scope.set_magic(Arc::new(Self::of_host(&self.run, name)));
        Some(Arc::new(scope))
    }

    fn host_names(&self) -> Vec<String> {
        self.run.site.hosts().iter().map(|host| host.to_string()).collect()
    }
}

/// Whether a name means this machine.
pub(super) fn is_localhost(name: &str) -> bool {
    matches!(name, "localhost" | "127.0.0.1" | "::1")
}

fn names(hosts: &[Arc<str>]) -> Value {
    Value::list(hosts.iter().map(Value::str))
}

fn path(path: impl AsRef<Path>) -> Value {
    Value::from(absolute(path.as_ref()).to_string_lossy().into_owned())
}

/// Returns the Python of this machine: playbooks give it to hosts that are this machine.
fn python() -> String {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|folder| folder.join("python3")).find(|program| program.is_file());
    found.map_or_else(|| "/usr/bin/python3".to_owned(), |program| program.display().to_string())
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn version() -> Value {
    let [major, minor, revision] = LIKE_ANSIBLE;
    let full = format!("{major}.{minor}.{revision}");
    Value::from(Map::from_iter([
        ("full".into(), Value::from(full.clone())),
        ("major".into(), Value::Int(major)),
        ("minor".into(), Value::Int(minor)),
        ("revision".into(), Value::Int(revision)),
        ("string".into(), Value::from(full)),
        ("windlass".into(), Value::str(env!("CARGO_PKG_VERSION"))),
    ]))
}
