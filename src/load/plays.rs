//! Playbooks: lists of plays and of other playbooks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::load::keywords::{self, located, one_or_many};
use crate::load::loader::{Errors, Loader};
use crate::load::nodes::to_value;
use crate::load::playbook::{Keywords, Play, Playbook, Rollout};
use crate::load::role;
use crate::load::tasks::{self, Around};
use crate::modules;
use crate::source::{Diagnostic, Kind, Node};
use crate::value::{Map, Value};

/// Keywords that only plays have.
pub const OF_PLAYS: &[&str] = &[
    "fact_path",
    "force_handlers",
    "gate",
    "gather_facts",
    "gather_subset",
    "gather_timeout",
    "handlers",
    "hosts",
    "max_fail_percentage",
    "max_hosts",
    "name",
    "on_failure",
    "order",
    "post_tasks",
    "pre_tasks",
    "quorum",
    "roles",
    "serial",
    "stages",
    "strategy",
    "tasks",
    "user",
    "vars_files",
    "vars_prompt",
    "validate_argspec",
    "verify",
];

impl Loader {
    /// Reads a playbook and all that it imports.
    ///
    /// # Errors
    /// Everything wrong in its files.
    pub fn playbook(&self, path: &Path) -> Result<Playbook, Errors> {
        let mut errors = Vec::new();
        let plays = plays_of(self, path, None, &Map::new(), 0, &mut errors);
        if errors.is_empty() { Ok(Playbook { path: path.to_owned(), plays }) } else { Err(errors) }
    }

    /// Reads one play from a text, which messages call `name`; `folder` is where its paths start from.
    ///
    /// # Errors
    /// Everything wrong in it.
    pub fn play_of_text(&self, name: &str, text: String, folder: &Path) -> Result<Play, Errors> {
        let node = self.document_of_text(Path::new(name), text)?;
        let mut errors = Vec::new();
        match node.and_then(|node| play(self, &node, folder, &Map::new(), &mut errors)) {
            Some(play) if errors.is_empty() => Ok(play),
            _ => Err(errors),
        }
    }
}

fn plays_of(loader: &Loader, path: &Path, from: Option<crate::source::Span>, known: &Map, depth: usize, errors: &mut Errors) -> Vec<Play> {
    let node = match loader.document(path, from) {
        Ok(Some(node)) => node,
        Ok(None) => {
            let empty = Diagnostic::error(format!("the playbook `{}` is empty", path.display()))
                .hint("a playbook is a list of plays: `- hosts: ...`");
            errors.push(from.map_or(empty.clone(), |span| empty.at(span)));
            return Vec::new();
        }
        Err(more) => {
            errors.extend(more);
            return Vec::new();
        }
    };
    let Some(items) = node.as_list() else {
        errors.push(
            Diagnostic::error(format!("a playbook has to be a list of plays, this is {}", node.kind_name()))
                .at(node.span)
                .hint("begin each play with `- hosts: ...`"),
        );
        return Vec::new();
    };
    if items.is_empty() {
        errors.push(Diagnostic::error("A playbook must contain at least one play").at(node.span).hint("begin one with `- hosts: ...`"));
    }
    let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
    let mut plays = Vec::new();
    for item in items {
        match imported(item) {
            Some((name, file)) => plays.extend(import(loader, item, name, file, &folder, known, depth, errors)),
            None => plays.extend(play(loader, item, &folder, known, errors)),
        }
    }
    plays
}

/// Returns key and value of `import_playbook`, if this is one.
fn imported(item: &Node) -> Option<(&Node, &Node)> {
    let entries = item.as_map()?;
    entries
        .iter()
        .find(|(name, _)| name.as_str().is_some_and(|name| modules::short_name(name) == "import_playbook"))
        .map(|(name, value)| (name, value))
}

#[allow(clippy::too_many_arguments)]
fn import(
    loader: &Loader,
    item: &Node,
    name: &Node,
    file: &Node,
    folder: &Path,
    known: &Map,
    depth: usize,
    errors: &mut Errors,
) -> Vec<Play> {
    let mut keywords = Keywords::default();
    for (key, value) in item.as_map().unwrap_or_default() {
        let is_ours = key.span == name.span || key.as_str() == Some("name");
        if !is_ours && !keywords::take(&mut keywords, key, value, errors) {
            errors.push(keywords::unknown(key, "import_playbook", &[keywords::SHARED, &["name"]]));
        }
    }
    let known: Map = known.iter().chain(keywords.vars.iter()).map(|(name, value)| (name.clone(), value.clone())).collect();
    let text = match loader.early(&to_value(file), &known) {
        Ok(text) => text.to_string(),
        Err(error) => {
            errors.push(error);
            return Vec::new();
        }
    };
    let path = folder.join(&text);
    let path = if path.is_file() { path } else { loader.collections.playbook(&text, folder).unwrap_or(path) };
    if depth > 32 {
        errors.push(Diagnostic::error(format!("`{}` imports itself, directly or through others", path.display())).at(file.span));
        return Vec::new();
    }
    if !path.is_file() {
        errors.push(
            Diagnostic::error(format!("there is no playbook `{text}`")).at(file.span).hint(format!("looked for `{}`", path.display())),
        );
        return Vec::new();
    }
    let mut plays = plays_of(loader, &path, Some(file.span), &known, depth + 1, errors);
    for play in &mut plays {
        let inherited = &mut play.keywords;
        inherited.tags.extend(keywords.tags.iter().cloned());
        inherited.when.splice(0..0, keywords.when.iter().cloned());
        let own = keywords.vars.iter().chain(inherited.vars.iter()).map(|(name, value)| (name.clone(), value.clone())).collect();
        inherited.vars = Arc::new(own);
    }
    plays
}

fn play(loader: &Loader, node: &Node, folder: &Path, known: &Map, errors: &mut Errors) -> Option<Play> {
    let Some(entries) = node.as_map() else {
        errors.push(
            Diagnostic::error(format!("a play has to be a dictionary, this is {}", node.kind_name()))
                .at(node.span)
                .hint("begin it with `- hosts: ...`"),
        );
        return None;
    };
    let Some((_, hosts)) = node.entry("hosts").filter(|(_, hosts)| !hosts.is_null()) else {
        let mut missing = Diagnostic::error("this play does not say on which hosts it runs").at(node.span);
        if node.get("tasks").is_none() && entries.iter().any(|(name, _)| name.as_str().is_some_and(|name| modules::find(name).is_some())) {
            missing = missing.hint("this looks like a task; tasks stand below `tasks:` of a play");
        }
        let is_known = |name: &str| OF_PLAYS.contains(&name) || keywords::SHARED.contains(&name);
        if let Some(name) = entries.iter().filter_map(|(name, _)| name.as_str()).find(|name| !is_known(name)) {
            missing = missing.hint(format!("'{name}' is not a valid attribute for a Play"));
        }
        errors.push(missing.hint("add `hosts: all`, a group, or a pattern"));
        return None;
    };
    if let (Some(_), Some((user, _))) = (node.get("remote_user"), node.entry("user")) {
        errors.push(Diagnostic::error("both 'user' and 'remote_user' are set for this play.").at(user.span).hint("keep `remote_user`"));
    }
    if hosts.as_list().is_some_and(<[Node]>::is_empty) {
        errors.push(Diagnostic::error("Hosts list cannot be empty. Please check your playbook").at(hosts.span));
    }
    let mut play = empty(node, hosts, folder);
    for (name, value) in entries {
        if !keywords::take(&mut play.keywords, name, value, errors) && !own_keyword(&mut play, name, value) {
            errors.push(keywords::unknown(name, "a play", &[keywords::SHARED, OF_PLAYS]));
        }
    }
    let known: Map = known.iter().chain(play.keywords.vars.iter()).map(|(name, value)| (name.clone(), value.clone())).collect();
    let around = Around {
        loader,
        folder: folder.to_owned(),
        playbook_folder: folder.to_owned(),
        role: None,
        known: Arc::new(known),
        handlers: false,
        depth: 0,
        collections: play.keywords.collections.clone().into(),
    };
    tasks::early_tags(&around, &mut play.keywords, node.span, errors);
    let mut list = |name: &str| {
        let Some(value) = node.get(name) else { return Vec::new() };
        if value.is_null() || value.as_list().is_some() {
            return tasks::list(&around, value, errors);
        }
        let shown = if value.as_map().is_some() { value.kind_name().to_owned() } else { to_value(value).to_string() };
        let message = format!("A malformed block was encountered while loading {name}: {shown} should be a list or None");
        errors.push(Diagnostic::error(message).at(value.span).hint("begin each task with `- `"));
        Vec::new()
    };
    play.pre_tasks = list("pre_tasks");
    play.tasks = list("tasks");
    play.post_tasks = list("post_tasks");
    play.rollout.gate = list("gate");
    play.rollout.verify = list("verify");
    let handlers = Around { handlers: true, ..around.clone() };
    play.handlers = node.get("handlers").map(|value| tasks::list(&handlers, value, errors)).unwrap_or_default();
    play.roles = node.get("roles").map(|value| role::uses(&around, value, errors)).unwrap_or_default();
    Some(play)
}

fn empty(node: &Node, hosts: &Node, folder: &Path) -> Play {
    let pattern = match to_value(hosts) {
        Value::List(items) => Value::list(items.iter().cloned()),
        other => other,
    };
    Play {
        name: Value::Null,
        span: node.span,
        folder: folder.to_owned(),
        hosts: pattern,
        hosts_span: hosts.span,
        keywords: Keywords::default(),
        gather_facts: None,
        gather_subset: None,
        gather_timeout: None,
        fact_path: None,
        vars_files: Vec::new(),
        vars_prompt: Vec::new(),
        serial: None,
        strategy: None,
        max_fail_percentage: None,
        force_handlers: None,
        order: None,
        pre_tasks: Vec::new(),
        roles: Vec::new(),
        tasks: Vec::new(),
        post_tasks: Vec::new(),
        handlers: Vec::new(),
        rollout: Rollout::default(),
    }
}

/// Takes a keyword that only plays have. Task lists and roles are read later, as they need the play's variables.
fn own_keyword(play: &mut Play, name: &Node, value: &Node) -> bool {
    let single = || (!value.is_null()).then(|| to_value(value));
    match name.as_str().unwrap_or_default() {
        "name" => play.name = to_value(value),
        "hosts" | "pre_tasks" | "roles" | "tasks" | "post_tasks" | "handlers" | "validate_argspec" | "gate" | "verify" => {}
        "stages" => play.rollout.stages = Some(located(value)),
        "max_hosts" => play.rollout.max_hosts = Some(located(value)),
        "quorum" => play.rollout.quorum = Some(located(value)),
        "on_failure" => play.rollout.on_failure = Some(located(value)),
        "fact_path" => play.fact_path = single(),
        "gather_timeout" => play.gather_timeout = single(),
        "user" => {
            play.keywords.remote_user.get_or_insert_with(|| located(value));
        }
        "force_handlers" => play.force_handlers = single(),
        "gather_facts" => play.gather_facts = single(),
        "gather_subset" => play.gather_subset = single(),
        "max_fail_percentage" => play.max_fail_percentage = Some(located(value)),
        "order" => play.order = single(),
        "serial" => play.serial = Some(located(value)),
        "strategy" => play.strategy = single(),
        "vars_files" => play.vars_files = one_or_many(value),
        "vars_prompt" => {
            play.vars_prompt = match &value.kind {
                Kind::List(items) => items.to_vec(),
                _ => vec![value.clone()],
            };
        }
        _ => return false,
    }
    true
}
