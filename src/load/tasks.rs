//! Lists of tasks and blocks, as they stand in plays, roles and task files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::load::action;
use crate::load::keywords::{self, located, one_or_many};
use crate::load::loader::{Errors, Loader};
use crate::load::nodes::to_value;
use crate::load::playbook::{Block, Item, Keywords, Located, Loop, RoleHead, Rolling, Task};
use crate::source::{Diagnostic, Kind, Node, Span};
use crate::value::arguments::to_bool;
use crate::value::{Map, Value};

/// Keywords that only tasks have.
pub const OF_TASKS: &[&str] = &[
    "action",
    "args",
    "async",
    "changed_when",
    "delay",
    "failed_when",
    "listen",
    "local_action",
    "loop",
    "loop_control",
    "name",
    "notify",
    "poll",
    "reads",
    "register",
    "retries",
    "until",
];

/// Keywords that only blocks have.
pub const OF_BLOCKS: &[&str] = &["always", "block", "name", "notify", "rescue"];

/// Import files may import files; deeper than this it is a circle.
const DEEPEST: usize = 64;

/// Where a list of tasks stands.
#[derive(Clone)]
pub(super) struct Around<'a> {
    pub(super) loader: &'a Loader,
    /// The folder of the file.
    pub(super) folder: PathBuf,
    /// The folder of the playbook.
    pub(super) playbook_folder: PathBuf,
    /// The role whose file it is.
    pub(super) role: Option<Arc<RoleHead>>,
    /// Variables known when the playbook is read.
    pub(super) known: Arc<Map>,
    /// Whether these are handlers.
    pub(super) handlers: bool,
    /// How many imports led here.
    pub(super) depth: usize,
    /// Collections in which roles are looked for.
    pub collections: Arc<[String]>,
}

impl Loader {
    /// Reads a file of tasks, for `include_tasks`.
    ///
    /// # Errors
    /// Everything wrong in the file and in what it imports.
    pub fn tasks_file(
        &self,
        path: &Path,
        role: Option<Arc<RoleHead>>,
        handlers: bool,
        playbook_folder: &Path,
        from: Option<Span>,
    ) -> Result<Vec<Item>, Errors> {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let around = Around {
            loader: self,
            folder,
            playbook_folder: playbook_folder.to_owned(),
            role,
            known: Arc::default(),
            handlers,
            depth: 0,
            collections: Arc::default(),
        };
        let mut errors = Vec::new();
        let items = file(&around, path, from, &mut errors);
        if errors.is_empty() { Ok(items) } else { Err(errors) }
    }

    /// Returns the file that `include_tasks` or `import_tasks` means by `name`, or the places looked at.
    ///
    /// # Errors
    /// No such file; the error lists the places.
    pub fn find_tasks_file(
        &self,
        name: &str,
        role: Option<&RoleHead>,
        folder: &Path,
        playbook_folder: &Path,
        handlers: bool,
    ) -> Result<PathBuf, Vec<PathBuf>> {
        let mut places = Vec::new();
        if let Some(role) = role {
            if handlers {
                places.push(role.path.join("handlers").join(name));
            }
            places.extend([role.path.join("tasks").join(name), role.path.join(name)]);
        }
        places.extend([folder.join(name), playbook_folder.join(name), playbook_folder.join("tasks").join(name)]);
        places.dedup();
        match places.iter().find(|path| path.is_file()) {
            Some(path) => Ok(path.clone()),
            None => Err(places),
        }
    }
}

/// Reads a file of tasks.
pub(super) fn file(around: &Around<'_>, path: &Path, from: Option<Span>, errors: &mut Errors) -> Vec<Item> {
    if around.depth > DEEPEST {
        let circle = Diagnostic::error(format!("`{}` imports itself, directly or through others", path.display()));
        errors.push(from.map_or(circle.clone(), |span| circle.at(span)).hint("use `include_tasks` with a condition that ends it"));
        return Vec::new();
    }
    match around.loader.document(path, from) {
        Ok(Some(node)) => list(around, &node, errors),
        Ok(None) => Vec::new(),
        Err(more) => {
            errors.extend(more);
            Vec::new()
        }
    }
}

/// Reads a list of tasks and blocks.
pub(super) fn list(around: &Around<'_>, node: &Node, errors: &mut Errors) -> Vec<Item> {
    match &node.kind {
        Kind::Null => Vec::new(),
        Kind::List(items) => items.iter().filter_map(|item| one(around, item, errors)).collect(),
        _ => {
            let mut wrong = Diagnostic::error(format!("tasks have to be a list, this is {}", node.kind_name())).at(node.span);
            if node.get("hosts").is_some() {
                wrong = wrong.hint("this looks like a play; a file of tasks has only the tasks");
            }
            errors.push(wrong.hint("begin each task with `- `"));
            Vec::new()
        }
    }
}

fn one(around: &Around<'_>, node: &Node, errors: &mut Errors) -> Option<Item> {
    let Some(entries) = node.as_map() else {
        if !node.is_null() {
            errors.push(
                Diagnostic::error(format!("a task has to be a dictionary, this is {}", node.kind_name()))
                    .at(node.span)
                    .hint("write `- module: ...` or `- name: ...`"),
            );
        }
        return None;
    };
    if let Some((name, _)) = node.entry("block").filter(|_| around.handlers) {
        errors.push(
            Diagnostic::error("Using a block as a handler is not supported.")
                .at(name.span)
                .hint("write its tasks as handlers, or put them into a file for `include_tasks`"),
        );
        return None;
    }
    if node.get("block").is_some() {
        return block(around, node, entries, errors).map(|block| Item::Block(Arc::new(block)));
    }
    if let Some((name, _)) = node.entry("rescue").or_else(|| node.entry("always")) {
        errors.push(
            Diagnostic::error(format!("`{}` without a `block`", name.as_str().unwrap_or_default()))
                .at(name.span)
                .hint("put the tasks to watch over below `block:`"),
        );
        return None;
    }
    task(around, node, entries, errors)
}

fn block(around: &Around<'_>, node: &Node, entries: &[(Node, Node)], errors: &mut Errors) -> Option<Block> {
    let mut block = Block {
        name: None,
        span: node.span,
        keywords: Keywords::default(),
        notify: Vec::new(),
        block: Vec::new(),
        rescue: Vec::new(),
        always: Vec::new(),
        role: None,
    };
    for (name, value) in entries {
        if keywords::take(&mut block.keywords, name, value, errors) {
            continue;
        }
        match name.as_str().unwrap_or_default() {
            "name" => block.name = Some(to_value(value)),
            "notify" => block.notify = one_or_many(value),
            "block" => block.block = list(around, value, errors),
            "rescue" => block.rescue = list(around, value, errors),
            "always" => block.always = list(around, value, errors),
            "vars_files" | "loop" | "register" => errors.push(
                Diagnostic::error(format!("a block cannot have `{}`", to_value(name)))
                    .at(name.span)
                    .hint("use `include_tasks` where a block has to loop or register"),
            ),
            _ => errors.push(keywords::unknown(name, "a block", &[keywords::SHARED, OF_BLOCKS])),
        }
    }
    early_tags(around, &mut block.keywords, node.span, errors);
    Some(block)
}

/// Renders tags that are templates: they decide what is run, so they must be known now.
pub(super) fn early_tags(around: &Around<'_>, keywords: &mut Keywords, span: Span, errors: &mut Errors) {
    let mut tags = Vec::with_capacity(keywords.tags.len());
    for tag in keywords.tags.drain(..) {
        match around.loader.early(&Value::text(&tag, span), &around.known) {
            Ok(Value::List(items)) => tags.extend(items.iter().map(ToString::to_string)),
            Ok(value) => tags.extend(value.to_string().split(',').map(|tag| tag.trim().to_owned())),
            Err(error) => errors.push(error),
        }
    }
    keywords.tags = tags;
}

fn task(around: &Around<'_>, node: &Node, entries: &[(Node, Node)], errors: &mut Errors) -> Option<Item> {
    let before = errors.len();
    let mut keywords = Keywords::default();
    let mut task = empty_task(around, node.span);
    let mut others: Vec<(&Node, &Node)> = Vec::new();
    let mut control = None;
    let mut rolling = Rolling { serial: Located { value: Value::Null, span: node.span }, before: Vec::new(), after: Vec::new() };
    for (name, value) in entries {
        if keywords::take(&mut keywords, name, value, errors) {
            continue;
        }
        let single = || (!value.is_null()).then(|| located(value));
        match name.as_str().unwrap_or_default() {
            "name" => task.name = (!value.is_null()).then(|| to_value(value)),
            "async" => task.r#async = single(),
            "changed_when" => task.changed_when = one_or_many(value),
            "delay" => task.delay = single(),
            "failed_when" => task.failed_when = one_or_many(value),
            "listen" => task.listen = one_or_many(value),
            "loop_control" => control = Some(value),
            "notify" => task.notify = one_or_many(value),
            "poll" => task.poll = single(),
            "reads" => task.reads = single(),
            "register" => task.register = register(value, errors),
            "retries" => task.retries = single(),
            "until" => task.until = one_or_many(value),
            "serial" | "before" | "after" if around.handlers => {
                match name.as_str().unwrap_or_default() {
                    "serial" => rolling.serial = located(value),
                    "before" => rolling.before = list(around, value, errors),
                    _ => rolling.after = list(around, value, errors),
                }
                task.rolling = Some(Box::new(rolling.clone()));
            }
            "loop" => set_loop(&mut task, "loop", name, value, errors),
            "args" | "action" | "local_action" => others.push((name, value)),
            with if with.starts_with("with_") => set_loop(&mut task, with.trim_start_matches("with_"), name, value, errors),
            _ => others.push((name, value)),
        }
    }
    if let Some(control) = control {
        loop_control(&mut task, control, errors);
    }
    // What only reads changes nothing.
    if let Some(reads) = task.reads.as_ref().filter(|reads| task.changed_when.is_empty() && to_bool(&reads.value) == Some(true)) {
        task.changed_when = vec![Located { value: Value::Bool(false), span: reads.span }];
    }
    early_tags(around, &mut keywords, node.span, errors);
    task.keywords = keywords;
    let item = action::read(around, task, node, &others, errors);
    if errors.len() > before { None } else { item }
}

fn empty_task(around: &Around<'_>, span: Span) -> Task {
    Task { role: around.role.clone(), ..Task::of_module("", Map::new(), span, around.folder.clone()) }
}

fn register(value: &Node, errors: &mut Errors) -> Option<crate::load::playbook::Located> {
    let name = to_value(value);
    if !matches!(name, Value::Lazy(_)) && !keywords::is_variable_name(name.as_str().unwrap_or_default()) {
        errors.push(
            Diagnostic::error(format!("Invalid variable name '{name}' in `register`"))
                .at(value.span)
                .hint("names have letters, digits and underscores, and do not begin with a digit"),
        );
        return None;
    }
    Some(located(value))
}

fn set_loop(task: &mut Task, kind: &str, name: &Node, value: &Node, errors: &mut Errors) {
    if task.r#loop.is_some() {
        errors.push(Diagnostic::error("a task has one loop at most").at(name.span).hint("remove one of the two"));
        return;
    }
    let items = located(value);
    task.r#loop = Some(Loop {
        kind: kind.to_owned(),
        items,
        variable: "item".to_owned(),
        index_variable: None,
        label: None,
        pause: None,
        extended: None,
        extended_allitems: None,
        break_when: Vec::new(),
    });
}

fn loop_control(task: &mut Task, node: &Node, errors: &mut Errors) {
    const KNOWN: &[&str] = &["break_when", "extended", "extended_allitems", "index_var", "label", "loop_var", "pause"];
    let Some(entries) = node.as_map() else {
        errors.push(Diagnostic::error("`loop_control` has to be a dictionary").at(node.span));
        return;
    };
    let Some(r#loop) = task.r#loop.as_mut() else { return };
    for (name, value) in entries {
        match name.as_str().unwrap_or_default() {
            "break_when" => r#loop.break_when = one_or_many(value),
            "extended" => r#loop.extended = Some(located(value)),
            "extended_allitems" => r#loop.extended_allitems = Some(located(value)),
            "index_var" => r#loop.index_variable = value.as_str().map(str::to_owned),
            "label" => r#loop.label = Some(located(value)),
            "loop_var" => r#loop.variable = value.as_str().unwrap_or("item").to_owned(),
            "pause" => r#loop.pause = Some(located(value)),
            _ => errors.push(keywords::unknown(name, "loop_control", &[KNOWN])),
        }
    }
}
