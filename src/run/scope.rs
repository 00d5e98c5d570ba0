//! Which variables a task on a host sees.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::load::playbook::Task;
use crate::run::Run;
use crate::run::frame::Frame;
use crate::run::magic::Magic;
use crate::run::stage::Stage;
use crate::source::Diagnostic;
use crate::value::{Key, Map, Value};
use crate::vars::Variables;
use crate::vars::scope::{Level, Scope};

/// The variables of one task on one host: those of its scope, and above all of them those of the task's own making
/// (the item of the loop, the result so far).
#[derive(Clone)]
pub(super) struct TaskVariables {
    own: Arc<Map>,
    scope: Arc<Scope>,
    /// What the task uses that will go; those with more on top share it.
    deprecations: Arc<Mutex<Vec<String>>>,
}

impl TaskVariables {
    fn over(scope: Scope) -> Self {
        Self { own: Arc::default(), scope: Arc::new(scope), deprecations: Arc::default() }
    }

    /// Returns these variables with more on top.
    pub(super) fn with<K: Into<Key>>(&self, more: impl IntoIterator<Item = (K, Value)>) -> Self {
        let mut own = (*self.own).clone();
        own.extend(more.into_iter().map(|(name, value)| (name.into(), value)));
        Self { own: Arc::new(own), ..self.clone() }
    }

    /// Returns what the task was seen to use that will go.
    pub(super) fn deprecations(&self) -> Vec<String> {
        self.deprecations.lock().map(|told| told.clone()).unwrap_or_default()
    }
}

impl Variables for TaskVariables {
    fn get(&self, name: &str) -> Option<Value> {
        self.own.get(name).cloned().or_else(|| self.scope.get(name))
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.scope.names();
        names.extend(self.own.keys().filter_map(|name| name.as_str()).map(str::to_owned));
        names.sort_unstable();
        names.dedup();
        names
    }

    fn host(&self, name: &str) -> Option<Arc<dyn Variables>> {
        self.scope.host(name)
    }

    fn host_names(&self) -> Vec<String> {
        self.scope.host_names()
    }

    fn deprecated(&self, message: &str) {
        if let Ok(mut told) = self.deprecations.lock() {
            told.push(message.to_owned());
        }
    }
}

impl Run {
    /// Returns what a task in `frame` sees on `host`.
    pub(super) fn variables(self: &Arc<Self>, stage: &Arc<Stage>, frame: &Frame, task: Option<&Task>, host: &Arc<str>) -> TaskVariables {
        let magic = Magic::of_task(self, stage, frame, task, host);
        let mut scope = self.host_scope(host);
        for (level, variables) in stage.exposed() {
            scope.push(level, variables);
        }
        scope.push(Level::PlayVarsPrompt, stage.prompted());
        let own = frame.role_in_use();
        let dependencies = own.map(|(_, role)| role.all_dependencies()).unwrap_or_default();
        // Those of the task's role, of what it depends on and of what depends on it count as one layer.
        let mut defaults: Vec<_> = dependencies.iter().map(|role| role.head.defaults.clone()).collect();
        let (mut of_role, mut parameters) = (Vec::new(), Vec::new());
        for (level, variables) in frame.inward().into_iter().flat_map(|ring| &ring.vars) {
            match level {
                Level::RoleDefaults => defaults.push(variables.clone()),
                Level::RoleVars => of_role.push(variables.clone()),
                Level::RoleParameters => parameters.push(variables.clone()),
                _ => scope.push(*level, variables.clone()),
            }
        }
        of_role.extend(dependencies.iter().map(|role| role.head.vars.clone()));
        if let Some(role) = task.and_then(|task| task.role.as_ref()) {
            defaults.push(role.defaults.clone());
            of_role.push(role.vars.clone());
        }
        of_role.extend(own.map(|(r#use, _)| r#use.keywords.vars.clone()));
        scope.push_all(Level::RoleDefaults, defaults);
        scope.push_all(Level::RoleVars, of_role);
        scope.push_all(Level::RoleParameters, parameters);
        scope.push(Level::TaskVars, task.map(|task| task.keywords.vars.clone()).unwrap_or_default());
        // The task's own host has an address, its name, where the inventory gives none.
        let mut given = Map::from_iter([
            ("ansible_host".into(), Value::str(host)),
            ("ansible_managed".into(), Value::text(&self.settings.managed, stage.play.span)),
        ]);
        if let Some(password) = &self.settings.password {
            given.insert("ansible_password".into(), Value::str(password.reveal()));
        }
        scope.push(Level::CommandLine, Arc::new(given));
        scope.set_magic(Arc::new(magic));
        if !stage.play.vars_files.is_empty() {
            let (files, _) = self.vars_files(stage, &TaskVariables::over(scope.clone()));
            for variables in files {
                scope.push(Level::PlayVarsFiles, variables);
            }
        }
        TaskVariables::over(scope)
    }

    /// Returns what is known of a host whatever the task: what `hostvars` shows.
    pub(super) fn host_scope(&self, host: &str) -> Scope {
        let mut scope = Scope::merging(self.settings.merge_dictionaries);
        for layer in self.site.layers(host) {
            scope.push(layer.level, layer.variables);
        }
        let (facts, included, set_facts) =
            self.hosts.with(host, |host| (host.fact_variables.clone(), host.included.clone(), host.set_facts.clone()));
        scope.push(Level::Facts, facts);
        scope.push(Level::IncludeVars, included);
        scope.push(Level::SetFacts, set_facts);
        scope.push(Level::ExtraVars, self.settings.extra_vars.clone());
        scope
    }

    /// Returns what the play's `vars_files` hold for a host, and what is wrong with them. An entry whose name cannot be
    /// rendered yet, as facts are still missing, is left out.
    pub(super) fn vars_files(self: &Arc<Self>, stage: &Stage, variables: &TaskVariables) -> (Vec<Arc<Map>>, Vec<Diagnostic>) {
        let mut found = Vec::new();
        let mut wrong = Vec::new();
        let engine = self.engine_of_play(&stage.play.folder);
        for entry in &stage.play.vars_files {
            let names = match &entry.value {
                Value::List(names) => names.to_vec(),
                single => vec![single.clone()],
            };
            let mut tried = Vec::new();
            let mut undefined = None;
            let path = names.iter().find_map(|name| match engine.render(name, variables) {
                Ok(name) => existing(&stage.play.folder, &name.to_string(), &mut tried),
                Err(diagnostic) => {
                    undefined = Some(diagnostic);
                    None
                }
            });
            let Some(path) = path else {
                let places: Vec<_> = tried.iter().map(|path| format!("`{}`", path.display())).collect();
                let missing = || {
                    Diagnostic::error("there is no such file of variables").at(entry.span).hint(format!("looked for {}", places.join(", ")))
                };
                wrong.push(undefined.unwrap_or_else(missing));
                continue;
            };
            match stage.variables_of_file(&path, || self.library.variables(&path, Some(entry.span))) {
                Ok(variables) => found.push(variables),
                Err(errors) => wrong.extend(errors),
            }
        }
        (found, wrong)
    }
}

fn existing(folder: &Path, name: &str, tried: &mut Vec<PathBuf>) -> Option<PathBuf> {
    let places = [folder.join("vars").join(name), folder.join(name)];
    let found = places.iter().find(|path| path.is_file()).cloned();
    tried.extend(places);
    found
}
