//! Roles: finding their folder and reading what is in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::load::collections;
use crate::load::keywords::{self, located};
use crate::load::loader::{Errors, Loader, find_yaml};
use crate::load::nodes::to_value;
use crate::load::playbook::{Item, Keywords, Role, RoleHead, RoleUse};
use crate::load::tasks::{self, Around};
use crate::source::{Diagnostic, Kind, Node, Span};
use crate::value::{Key, Map, Value};
use crate::vars::is_omit;

/// Roles may depend on roles; deeper than this it is a circle.
const DEEPEST: usize = 48;

/// Which files of a role to read, without suffix.
#[derive(Clone, Debug)]
pub struct RoleFiles {
    /// In `tasks/`.
    pub tasks: String,
    /// In `vars/`.
    pub vars: String,
    /// In `defaults/`.
    pub defaults: String,
    /// In `handlers/`.
    pub handlers: String,
}

impl Default for RoleFiles {
    fn default() -> Self {
        let main = || "main".to_owned();
        Self { tasks: main(), vars: main(), defaults: main(), handlers: main() }
    }
}

impl RoleFiles {
    /// Returns the files that a use of a role asks for; `render` renders their names.
    ///
    /// # Errors
    /// What `render` returns.
    pub fn of_use<E>(r#use: &RoleUse, render: impl Fn(&Value) -> Result<Value, E>) -> Result<Self, E> {
        let name = |from: &Option<Value>| match from {
            None => Ok("main".to_owned()),
            Some(value) => render(value).map(|value| if is_omit(&value) { "main".to_owned() } else { value.to_string() }),
        };
        Ok(Self {
            tasks: name(&r#use.tasks_from)?,
            vars: name(&r#use.vars_from)?,
            defaults: name(&r#use.defaults_from)?,
            handlers: name(&r#use.handlers_from)?,
        })
    }
}

impl Loader {
    /// Reads a role, for `include_role`. `from` is the folder of the task, `within` the role it stands in.
    ///
    /// # Errors
    /// There is no such role, or something in it is wrong.
    pub fn role(
        &self,
        name: &str,
        files: &RoleFiles,
        playbook_folder: &Path,
        within: Option<&Arc<RoleHead>>,
        collections: &[String],
        span: Span,
    ) -> Result<Arc<Role>, Errors> {
        let around = Around {
            loader: self,
            folder: playbook_folder.to_owned(),
            playbook_folder: playbook_folder.to_owned(),
            role: within.cloned(),
            known: Arc::default(),
            handlers: false,
            depth: 0,
            collections: collections.into(),
        };
        let mut errors = Vec::new();
        match read(&around, name, files, span, &mut errors) {
            Some(role) if errors.is_empty() => Ok(role),
            _ => Err(errors),
        }
    }

    /// Returns the folders where Ansible looks for roles, as it writes them.
    fn ansible_places(&self, around: &Around<'_>) -> String {
        let first = around.playbook_folder.join("roles");
        let folders = std::iter::once(&first).chain(&self.roles_path).chain([&around.playbook_folder]);
        unique(folders.map(|folder| folder.display().to_string()).collect()).join(":")
    }

    /// Returns the folders where a role is looked for, in order.
    fn role_places(&self, name: &str, around: &Around<'_>) -> Vec<PathBuf> {
        // A name with a collection before it is found under its last part, as roles of one's own often are.
        let last = if name.contains('/') { name } else { name.rsplit('.').next().unwrap_or(name) };
        let mut places = Vec::new();
        let own = around.role.as_deref().and_then(|role| role.path.parent());
        // `playbooks/site.yml` with `roles/` beside `playbooks/` is how many projects are laid out, ours too.
        let beside = around.playbook_folder.parent().map(|project| project.join("roles"));
        let folders = [around.playbook_folder.join("roles")].into_iter().chain(self.roles_path.iter().cloned()).chain(beside);
        let folders = folders.chain(own.map(Path::to_path_buf)).chain([around.playbook_folder.clone(), around.folder.clone()]);
        for folder in folders {
            for name in [name, last] {
                let place = folder.join(name);
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        places
    }
}

/// Reads a role.
pub(super) fn read(around: &Around<'_>, name: &str, files: &RoleFiles, span: Span, errors: &mut Errors) -> Option<Arc<Role>> {
    let loader = around.loader;
    let places = loader.role_places(name, around);
    let own = around.role.iter().flat_map(|role| &role.collections).chain(around.collections.iter()).cloned().collect::<Vec<_>>();
    let of_collection = loader.collections.role(name, &own, &around.playbook_folder);
    let (name, path) = match (of_collection, places.iter().find(|path| path.is_dir())) {
        (Some((collection, path)), _) => {
            let is_full = name.strip_prefix(&collection).is_some_and(|rest| rest.starts_with('.'));
            (if is_full { name.to_owned() } else { format!("{collection}.{name}") }, Some(path))
        }
        (None, place) => (name.to_owned(), place.cloned()),
    };
    let name = name.as_str();
    let Some(path) = path else {
        let folders: Vec<_> = places.iter().filter_map(|path| path.parent()).map(|folder| format!("`{}`", folder.display())).collect();
        let near = role_names(&places);
        let missing = match loader.sources.in_ansible_form() {
            false => format!("there is no role `{name}`"),
            true => format!("the role '{name}' was not found in {}", loader.ansible_places(around)),
        };
        errors.push(
            Diagnostic::error(missing)
                .rule("missing-role")
                .at(span)
                .did_you_mean(name, near.iter().map(String::as_str))
                .hint(format!("looked in {}", unique(folders).join(", "))),
        );
        return None;
    };
    let key = (path.clone(), [files.tasks.clone(), files.vars.clone(), files.defaults.clone(), files.handlers.clone()]);
    if let Some(role) = loader.roles.lock().ok().and_then(|roles| roles.get(&key).cloned()) {
        return Some(role);
    }
    if around.depth > DEEPEST {
        errors.push(
            Diagnostic::error(format!("the role `{name}` depends on itself, directly or through others"))
                .at(span)
                .hint("remove one of the dependencies"),
        );
        return None;
    }
    let before = errors.len();
    let role = read_folder(around, name, &path, files, span, errors)?;
    if errors.len() > before {
        return None;
    }
    let role = Arc::new(role);
    if let Ok(mut roles) = loader.roles.lock() {
        roles.insert(key, role.clone());
    }
    Some(role)
}

fn unique(names: Vec<String>) -> Vec<String> {
    let mut kept = Vec::new();
    for name in names {
        if !kept.contains(&name) {
            kept.push(name);
        }
    }
    kept
}

fn role_names(places: &[PathBuf]) -> Vec<String> {
    let folders = places.iter().filter_map(|path| path.parent()).filter(|folder| folder.ends_with("roles"));
    let entries = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().filter_map(Result::ok);
    entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn read_folder(around: &Around<'_>, name: &str, path: &Path, files: &RoleFiles, span: Span, errors: &mut Errors) -> Option<Role> {
    let loader = around.loader;
    for (folder, file) in [("defaults", &files.defaults), ("vars", &files.vars), ("tasks", &files.tasks), ("handlers", &files.handlers)] {
        if is_outside(&path.join(folder), file) {
            errors.push(
                Diagnostic::error(format!("'{file}' of the role `{name}` cannot be used, as it is not inside the expected role path"))
                    .at(span)
                    .hint(format!("name a file below `{}`", path.join(folder).display())),
            );
            return None;
        }
    }
    let mut variables = |folder: &str, file: &str, must: bool| match loader.vars_by_name(&path.join(folder), file) {
        Ok(Some(map)) => Arc::new(map),
        Ok(None) => {
            if must {
                errors.push(missing(name, folder, file, path, span));
            }
            Arc::default()
        }
        Err(more) => {
            errors.extend(more);
            Arc::default()
        }
    };
    let defaults = variables("defaults", &files.defaults, files.defaults != "main");
    let vars = variables("vars", &files.vars, files.vars != "main");
    let entry = Path::new(&files.tasks).file_stem().map_or_else(|| files.tasks.clone(), |stem| stem.to_string_lossy().into_owned());
    let meta = meta(loader, path, errors);
    let collection = collections::of_path(path);
    let named = meta.as_ref().and_then(|meta| meta.get("collections")).and_then(Node::as_list).unwrap_or_default();
    let named = named.iter().filter_map(Node::as_str).map(str::to_owned);
    let collections = collection.iter().cloned().chain(named).collect();
    let head = RoleHead { name: name.to_owned(), path: path.to_owned(), defaults, vars, collection, collections, entry };

    let dependencies = dependencies(around, &Arc::new(head.clone()), meta.as_ref(), errors);
    // A role sees the defaults and variables of the roles it depends on; its own are stronger.
    let below = |own: &Arc<Map>, of: fn(&RoleHead) -> &Arc<Map>| {
        let roles = dependencies.iter().filter_map(|dependency| dependency.role.as_ref());
        let mut all: Map = roles.flat_map(|role| of(&role.head).iter()).map(|(name, value)| (name.clone(), value.clone())).collect();
        all.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
        Arc::new(all)
    };
    let head =
        Arc::new(RoleHead { defaults: below(&head.defaults, |head| &head.defaults), vars: below(&head.vars, |head| &head.vars), ..head });
    let mut known = (*head.defaults).clone();
    known.extend(around.known.iter().map(|(name, value)| (name.clone(), value.clone())));
    known.extend(head.vars.iter().map(|(name, value)| (name.clone(), value.clone())));
    let place = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for (key, value) in [("role_path", place.to_string_lossy().into_owned()), ("role_name", name.to_owned())] {
        known.insert(Key::from(key), Value::from(value));
    }
    let mut inner = Around { role: Some(head.clone()), known: Arc::new(known), depth: around.depth + 1, ..around.clone() };
    let tasks = entry_file(&mut inner, path, "tasks", &files.tasks, (name, span), errors);
    inner.handlers = true;
    let handlers = entry_file(&mut inner, path, "handlers", &files.handlers, (name, span), errors);
    let allow_duplicates = meta.as_ref().and_then(|meta| meta.get("allow_duplicates")).is_some_and(|node| node.kind == Kind::Bool(true));
    let argument_spec = argument_spec(loader, path, meta.as_ref(), &head.entry, errors);
    Some(Role { head, tasks, handlers, dependencies, allow_duplicates, argument_spec })
}

/// Whether a name leads out of a folder.
fn is_outside(folder: &Path, name: &str) -> bool {
    use std::path::Component;
    let mut depth = 0_i32;
    for component in Path::new(name).components() {
        match component {
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return !Path::new(name).starts_with(folder),
        }
        if depth < 0 {
            return true;
        }
    }
    false
}

fn missing(role: &str, folder: &str, file: &str, path: &Path, span: Span) -> Diagnostic {
    Diagnostic::error(format!("the role `{role}` has no `{folder}/{file}`"))
        .at(span)
        .hint(format!("looked in `{}`", path.join(folder).display()))
}

fn entry_file(around: &mut Around<'_>, path: &Path, folder: &str, file: &str, role: (&str, Span), errors: &mut Errors) -> Vec<Item> {
    around.folder = path.join(folder);
    match find_yaml(&around.folder, file).filter(|path| path.is_file()) {
        Some(found) => tasks::file(around, &found, Some(role.1), errors),
        None => {
            if file != "main" {
                errors.push(missing(role.0, folder, file, path, role.1));
            }
            Vec::new()
        }
    }
}

fn meta(loader: &Loader, path: &Path, errors: &mut Errors) -> Option<Node> {
    let file = find_yaml(&path.join("meta"), "main").filter(|path| path.is_file())?;
    loader.document(&file, None).unwrap_or_else(|more| {
        errors.extend(more);
        None
    })
}

fn argument_spec(loader: &Loader, path: &Path, meta: Option<&Node>, entry: &str, errors: &mut Errors) -> Option<Node> {
    let specs = match find_yaml(&path.join("meta"), "argument_specs").filter(|path| path.is_file()) {
        Some(file) => match loader.document(&file, None) {
            Ok(node) => node?.get("argument_specs")?.clone(),
            Err(more) => {
                errors.extend(more);
                return None;
            }
        },
        None => meta?.get("argument_specs")?.clone(),
    };
    specs.get(entry).cloned()
}

fn dependencies(around: &Around<'_>, head: &Arc<RoleHead>, meta: Option<&Node>, errors: &mut Errors) -> Vec<Arc<RoleUse>> {
    let Some(node) = meta.and_then(|meta| meta.get("dependencies")) else { return Vec::new() };
    let inner = Around { role: Some(head.clone()), depth: around.depth + 1, ..around.clone() };
    uses(&inner, node, errors)
}

/// Reads a list of roles: `roles:` of a play, `dependencies:` of a role.
pub(super) fn uses(around: &Around<'_>, node: &Node, errors: &mut Errors) -> Vec<Arc<RoleUse>> {
    match &node.kind {
        Kind::Null => Vec::new(),
        Kind::List(items) => items.iter().filter_map(|item| one_use(around, item, errors)).map(Arc::new).collect(),
        _ => {
            errors.push(
                Diagnostic::error(format!(
                    "A malformed role declaration was encountered. Roles have to be a list, this is {}",
                    node.kind_name()
                ))
                .at(node.span)
                .hint("begin each role with `- `"),
            );
            Vec::new()
        }
    }
}

fn one_use(around: &Around<'_>, node: &Node, errors: &mut Errors) -> Option<RoleUse> {
    let mut keywords = Keywords::default();
    let mut parameters = Map::new();
    let mut name = None;
    let mut from: [Option<Value>; 4] = Default::default();
    let mut allow_duplicates = None;
    let mut rolespec_validate = None;
    match &node.kind {
        Kind::Map(entries) => {
            for (key, value) in entries.iter() {
                if keywords::take(&mut keywords, key, value, errors) {
                    continue;
                }
                match key.as_str().unwrap_or_default() {
                    "role" | "name" => name = Some(located(value)),
                    "tasks_from" => from[0] = Some(to_value(value)),
                    "vars_from" => from[1] = Some(to_value(value)),
                    "defaults_from" => from[2] = Some(to_value(value)),
                    "handlers_from" => from[3] = Some(to_value(value)),
                    "allow_duplicates" => allow_duplicates = Some(located(value)),
                    "rolespec_validate" => rolespec_validate = Some(located(value)),
                    "src" | "version" | "scm" if node.get("role").is_none() => {
                        name.get_or_insert_with(|| located(value));
                    }
                    text => {
                        parameters.insert(Key::from(text), to_value(value));
                    }
                }
            }
        }
        _ => name = Some(located(node)),
    }
    if let Some(Value::Str(text)) = name.as_ref().map(|name| &name.value)
        && node.as_map().is_none()
        && text.contains(',')
    {
        errors.push(
            Diagnostic::error(format!("Invalid old style role requirement: {text}"))
                .at(node.span)
                .hint("write `- role: name`, and its keys below"),
        );
        return None;
    }
    let Some(name) = name else {
        errors.push(Diagnostic::error("this names no role").at(node.span).hint("write `- role: name`"));
        return None;
    };
    let known =
        around.known.iter().chain(keywords.vars.iter()).chain(&parameters).map(|(name, value)| (name.clone(), value.clone())).collect();
    let text = match around.loader.early(&name.value, &known) {
        Ok(text) => text.to_string(),
        Err(error) => {
            errors.push(error.hint("roles are read before any host is known; `include_role` may use facts and host variables"));
            return None;
        }
    };
    let known: Map = known;
    tasks::early_tags(&Around { known: Arc::new(known.clone()), ..around.clone() }, &mut keywords, node.span, errors);
    let [tasks_from, vars_from, defaults_from, handlers_from] = from;
    let mut r#use = RoleUse {
        name: Value::str(&text),
        span: name.span,
        keywords,
        parameters: Arc::new(parameters),
        tasks_from,
        vars_from,
        defaults_from,
        handlers_from,
        allow_duplicates,
        rolespec_validate,
        public: None,
        role: None,
    };
    let files = match RoleFiles::of_use(&r#use, |value| around.loader.early(value, &known)) {
        Ok(files) => files,
        Err(error) => {
            errors.push(error);
            return None;
        }
    };
    let inner = Around { known: Arc::new(known), ..around.clone() };
    r#use.role = Some(read(&inner, &text, &files, name.span, errors)?);
    Some(r#use)
}
