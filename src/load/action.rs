//! What a task does: the one key of it that is no keyword.

use std::sync::Arc;

use crate::load::free_form;
use crate::load::keywords;
use crate::load::loader::Errors;
use crate::load::nodes::to_value;
use crate::load::playbook::{Action, Apply, Block, Item, Keywords, Located, RoleUse, Task};
use crate::load::role::{self, RoleFiles};
use crate::load::tasks::{self, Around, OF_BLOCKS, OF_TASKS};
use crate::modules;
use crate::source::{Diagnostic, Kind, Node, Span};
use crate::value::{Map, Value};

/// Actions that are syntax rather than modules.
pub const SYNTAX: &[&str] = &["import_role", "import_tasks", "include_role", "include_tasks"];

/// Modules whose text is a command line.
const COMMANDS: &[&str] = &["command", "shell", "raw", "script", "win_command", "win_shell", "expect"];

/// Finds the action among `others`, the keys of a task that are no keywords, and completes the task.
pub(super) fn read(around: &Around<'_>, mut task: Task, node: &Node, others: &[(&Node, &Node)], errors: &mut Errors) -> Option<Item> {
    let (args, actions): (Vec<_>, Vec<_>) = others.iter().copied().partition(|(name, _)| name.as_str() == Some("args"));
    let [(name, value)] = actions[..] else {
        errors.push(not_one_action(node, &actions));
        return None;
    };
    let args = args.first().map(|(_, value)| *value);
    match name.as_str().unwrap_or_default() {
        "action" => old_style(around, task, value, args, errors),
        "local_action" => {
            task.keywords.delegate_to = Some(Located { value: Value::str("localhost"), span: name.span });
            task.keywords.connection = Some(Located { value: Value::str("local"), span: name.span });
            old_style(around, task, value, args, errors)
        }
        text => finish(around, task, text, name.span, value, args, errors),
    }
}

fn not_one_action(node: &Node, actions: &[(&Node, &Node)]) -> Diagnostic {
    let text = |node: &Node| to_value(node).to_string();
    let known = || modules::ALL.iter().map(|entry| entry.name).chain(SYNTAX.iter().copied());
    let is_known = |name: &str| modules::find(name).is_some() || SYNTAX.contains(&modules::short_name(name));
    match actions {
        [] => Diagnostic::error("this task has no module").at(node.span).hint("add what it shall do, such as `copy:` or `command:`"),
        several => {
            let wrong = several.iter().find(|(name, _)| !is_known(&text(name)));
            let (name, _) = wrong.or(several.get(1)).copied().unwrap_or(several[0]);
            let names: Vec<_> = several.iter().map(|(name, _)| format!("`{}`", text(name))).collect();
            let keywords = keywords::SHARED.iter().chain(OF_TASKS).chain(OF_BLOCKS).copied();
            Diagnostic::error(format!("a task has one module, but this one has {}", names.join(" and ")))
                .at(name.span)
                .label(if wrong.is_some() { "neither a keyword nor a module that windlass knows" } else { "a second module" })
                .did_you_mean(&text(name), keywords.chain(known()))
                .hint("one task does one thing; an argument of the module is indented below it")
        }
    }
}

/// `action: copy src=a dest=b`, `action: {module: copy, src: a}`.
fn old_style(around: &Around<'_>, task: Task, value: &Node, args: Option<&Node>, errors: &mut Errors) -> Option<Item> {
    match &value.kind {
        Kind::Map(entries) => {
            let Some(module) = value.get("module").and_then(Node::as_str) else {
                errors.push(Diagnostic::error("this action names no module").at(value.span).hint("write `module: copy` in it"));
                return None;
            };
            let (module, rest) = split_module(module);
            let mut kept: Vec<_> = entries.iter().filter(|(name, _)| name.as_str() != Some("module")).cloned().collect();
            if let Some(at) = kept.iter().position(|(name, value)| name.as_str() == Some("args") && value.as_map().is_some()) {
                let (_, inner) = kept.remove(at);
                kept.extend(inner.as_map().unwrap_or_default().iter().cloned());
            }
            let mut node = Node { span: value.span, kind: Kind::Map(Arc::new(kept)) };
            if !rest.is_empty() {
                node = Node { span: value.span, kind: Kind::Str(rest.into()) };
            }
            finish(around, task, module, value.span, &node, args, errors)
        }
        _ => {
            let text = value.as_str().unwrap_or_default().trim();
            let (module, rest) = split_module(text);
            let node = Node { span: value.span, kind: Kind::Str(rest.trim().into()) };
            finish(around, task, module, value.span, &node, args, errors)
        }
    }
}

/// Splits off the first word, which may hold a template with blanks.
fn split_module(text: &str) -> (&str, &str) {
    let first = free_form::words(text).and_then(|words| words.first().map(|word| word.len()));
    let text = text.trim_start();
    match first.and_then(|end| Some((text.get(..end)?, text.get(end..)?))) {
        Some(split) => split,
        None => text.split_once(char::is_whitespace).unwrap_or((text, "")),
    }
}

fn finish(
    around: &Around<'_>,
    mut task: Task,
    name: &str,
    name_span: Span,
    value: &Node,
    args: Option<&Node>,
    errors: &mut Errors,
) -> Option<Item> {
    let short = modules::short_name(name);
    if SYNTAX.contains(&short) {
        if around.handlers && short.ends_with("_role") {
            errors.push(
                Diagnostic::error(format!("Using '{short}' as a handler is not supported."))
                    .at(name_span)
                    .hint("write the handler as a task, or use `include_tasks`"),
            );
            return None;
        }
        let arguments = arguments_of(short, value, args, errors)?;
        return match short {
            "import_tasks" => import_tasks(around, task, &arguments, value, errors),
            "include_tasks" => include_tasks(around, task, &arguments, value, errors),
            "import_role" => import_role(around, task, &arguments, value, errors),
            _ => include_role(around, task, &arguments, value, errors),
        };
    }
    if short == "include" {
        errors.push(
            Diagnostic::error("`include` was removed from Ansible")
                .at(name_span)
                .hint("use `include_tasks` (decided during the run) or `import_tasks` (when the playbook is read)"),
        );
        return None;
    }
    let before = errors.len();
    let arguments = match arguments_of(short, value, args, errors) {
        Some(arguments) => arguments,
        // Where a failure is ignored, it is one of the task when it runs.
        None if task.keywords.ignore_errors.is_some() => {
            errors.truncate(before);
            Map::from_iter([("_wrong".into(), to_value(value))])
        }
        None => return None,
    };
    let node = (!value.is_null()).then(|| value.clone());
    let free = value.as_str().map(str::to_owned);
    task.action = Action::Module { name: name.to_owned(), name_span, arguments: Arc::new(arguments), node, free };
    Some(Item::Task(Arc::new(task)))
}

/// Returns the arguments of a module: a dictionary, or text taken apart, with those of `args` below them.
fn arguments_of(module: &str, value: &Node, args: Option<&Node>, errors: &mut Errors) -> Option<Map> {
    let mut arguments = match args.map(to_value) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Map(map)) => Arc::unwrap_or_clone(map),
        Some(whole @ Value::Lazy(_)) => Map::from_iter([("_template".into(), whole)]),
        Some(_) => {
            errors.push(Diagnostic::error("`args` has to be a dictionary").at(args.map_or(value.span, |node| node.span)));
            return None;
        }
    };
    match &value.kind {
        Kind::Null => {}
        Kind::Map(_) => {
            if let Value::Map(map) = to_value(value) {
                arguments.extend(Arc::unwrap_or_clone(map));
            }
        }
        _ => match from_text(module, value) {
            Ok(map) => arguments.extend(map),
            Err(message) => {
                errors.push(
                    Diagnostic::error(format!("the arguments of `{module}` are not understood: {message}"))
                        .at(value.span)
                        .hint("write them as a dictionary below the module"),
                );
                return None;
            }
        },
    }
    Some(arguments)
}

fn from_text(module: &str, value: &Node) -> Result<Map, String> {
    let whole = to_value(value);
    let under = modules::find(module).and_then(|entry| entry.free_form);
    let Some(text) = value.as_str() else {
        // A list or a number for a module that takes free text: `meta: 1`, `debug: 5`.
        let name = under.ok_or_else(|| format!("{} is given where a dictionary is wanted", value.kind_name()))?;
        return Ok(Map::from_iter([(name.into(), whole)]));
    };
    if COMMANDS.contains(&module) {
        let mut arguments = free_form::command_line(text, value.span, under.unwrap_or("_raw_params"));
        // A shell is told the newline at the end of a block of lines too.
        if module == "shell"
            && text.ends_with('\n')
            && let Some(line) = arguments.get_mut("cmd")
        {
            *line = Value::text(&format!("{line}\n"), value.span);
        }
        return Ok(arguments);
    }
    let alone = text.trim();
    let is_one_template = alone.starts_with("{{") && alone.ends_with("}}") && !alone.contains('=');
    match under {
        None if is_one_template && !SYNTAX.contains(&module) => Ok(Map::from_iter([("_template".into(), whole)])),
        _ if SYNTAX.contains(&module) => free_form::key_values(text, value.span, Some("_raw_params")),
        Some(name) => free_form::key_values(text, value.span, Some(name)),
        None if modules::find(module).is_none() => free_form::key_values(text, value.span, Some("_raw_params")),
        None => free_form::key_values(text, value.span, None),
    }
}

/// Takes an argument out of a dictionary, with the place of its value.
fn take(arguments: &Map, name: &str, node: &Node) -> Option<Located> {
    let value = arguments.get(name)?.clone();
    Some(Located { value, span: node.get(name).map_or(node.span, |node| node.span) })
}

fn only_known(arguments: &Map, known: &[&str], what: &str, node: &Node, errors: &mut Errors) {
    for name in arguments.keys().filter_map(|key| key.as_str()).filter(|name| !known.contains(name)) {
        let span = node.entry(name).map_or(node.span, |(name, _)| name.span);
        let visible = known.iter().copied().filter(|name| !name.starts_with('_'));
        errors.push(Diagnostic::error(format!("Invalid options for {what}: {name}")).at(span).did_you_mean(name, visible));
    }
}

fn no_loop(task: &Task, what: &str, instead: &str, errors: &mut Errors) {
    if let Some(r#loop) = &task.r#loop {
        errors.push(
            Diagnostic::error(format!("`{what}` cannot loop: it is unfolded when the playbook is read"))
                .at(r#loop.items.span)
                .hint(format!("use `{instead}`")),
        );
    }
}

fn import_tasks(around: &Around<'_>, task: Task, arguments: &Map, node: &Node, errors: &mut Errors) -> Option<Item> {
    no_loop(&task, "import_tasks", "include_tasks", errors);
    only_known(arguments, &["_raw_params", "file"], "import_tasks", node, errors);
    let Some(file) = take(arguments, "file", node).or_else(|| take(arguments, "_raw_params", node)) else {
        errors.push(
            Diagnostic::error("No file specified for ansible.builtin.import_tasks").at(task.span).hint("write `import_tasks: file.yml`"),
        );
        return None;
    };
    let known = joined(&around.known, &task.keywords.vars);
    let name = match around.loader.early(&file.value, &known) {
        Ok(name) => name.to_string(),
        Err(error) => {
            errors.push(error.hint("`import_tasks` is read before any host is known; `include_tasks` may use facts and host variables"));
            return None;
        }
    };
    let path = match around.loader.find_tasks_file(&name, around.role.as_deref(), &around.folder, &around.playbook_folder, around.handlers)
    {
        Ok(path) => path,
        Err(places) => {
            errors.push(missing_file(&name, file.span, &places));
            return None;
        }
    };
    let folder = path.parent().map_or_else(|| around.folder.clone(), std::path::Path::to_path_buf);
    let inner = Around { folder, known: Arc::new(known), depth: around.depth + 1, ..around.clone() };
    let items = tasks::file(&inner, &path, Some(file.span), errors);
    Some(Item::Block(Arc::new(as_block(task, items, None))))
}

/// Says that a file of tasks is missing, and where it was looked for.
pub fn missing_file(name: &str, span: Span, places: &[std::path::PathBuf]) -> Diagnostic {
    let places: Vec<_> = places.iter().map(|path| format!("`{}`", path.display())).collect();
    Diagnostic::error(format!("there is no file `{name}`")).at(span).hint(format!("looked for {}", places.join(", "))).rule("missing-file")
}

fn joined(known: &Map, more: &Map) -> Map {
    known.iter().chain(more).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Returns the block that an import becomes: its keywords hold for all that it brings in.
fn as_block(task: Task, block: Vec<Item>, role: Option<Arc<RoleUse>>) -> Block {
    let Task { name, span, keywords, notify, .. } = task;
    Block { name, span, keywords, notify, block, rescue: Vec::new(), always: Vec::new(), role }
}

fn apply(arguments: &Map, node: &Node, errors: &mut Errors) -> Option<Box<Apply>> {
    let node = node.get("apply").filter(|_| arguments.contains_key("apply"))?;
    let mut apply = Apply::default();
    for (name, value) in node.as_map().unwrap_or_default() {
        if name.as_str() == Some("notify") {
            apply.notify = keywords::one_or_many(value);
        } else if !keywords::take(&mut apply.keywords, name, value, errors) {
            errors.push(keywords::unknown(name, "apply", &[keywords::SHARED, &["notify"]]));
        }
    }
    Some(Box::new(apply))
}

fn include_tasks(_around: &Around<'_>, mut task: Task, arguments: &Map, node: &Node, errors: &mut Errors) -> Option<Item> {
    only_known(arguments, &["_raw_params", "file", "apply"], "include_tasks", node, errors);
    let Some(file) = take(arguments, "file", node).or_else(|| take(arguments, "_raw_params", node)) else {
        errors.push(
            Diagnostic::error("No file specified for ansible.builtin.include_tasks").at(task.span).hint("write `include_tasks: file.yml`"),
        );
        return None;
    };
    task.action = Action::IncludeTasks { file, apply: apply(arguments, node, errors) };
    Some(Item::Task(Arc::new(task)))
}

const OF_ROLES: &[&str] = &[
    "_raw_params",
    "allow_duplicates",
    "apply",
    "defaults_from",
    "handlers_from",
    "name",
    "public",
    "role",
    "rolespec_validate",
    "tasks_from",
    "vars_from",
];

fn role_use(task: &Task, arguments: &Map, node: &Node, what: &str, errors: &mut Errors) -> Option<RoleUse> {
    only_known(arguments, OF_ROLES, what, node, errors);
    let name = ["name", "role", "_raw_params"].iter().find_map(|key| take(arguments, key, node));
    let Some(name) = name else {
        errors.push(Diagnostic::error(format!("`{what}` names no role")).at(node.span).hint("write `name: role_name` below it"));
        return None;
    };
    for key in ["tasks_from", "vars_from", "defaults_from", "handlers_from"] {
        if let Some(value @ (Value::List(_) | Value::Map(_))) = arguments.get(key) {
            let message = format!("Expected a string for {key} but got <class '{}'> instead", value.type_name());
            errors.push(Diagnostic::error(message).at(node.entry(key).map_or(node.span, |(_, value)| value.span)));
            return None;
        }
    }
    let get = |key: &str| arguments.get(key).cloned();
    Some(RoleUse {
        name: name.value,
        span: name.span,
        keywords: Keywords { vars: task.keywords.vars.clone(), ..Keywords::default() },
        parameters: Arc::default(),
        tasks_from: get("tasks_from"),
        vars_from: get("vars_from"),
        defaults_from: get("defaults_from"),
        handlers_from: get("handlers_from"),
        allow_duplicates: take(arguments, "allow_duplicates", node),
        rolespec_validate: take(arguments, "rolespec_validate", node),
        public: take(arguments, "public", node).and_then(|located| crate::value::arguments::to_bool(&located.value)),
        role: None,
    })
}

fn import_role(around: &Around<'_>, task: Task, arguments: &Map, node: &Node, errors: &mut Errors) -> Option<Item> {
    no_loop(&task, "import_role", "include_role", errors);
    let mut r#use = role_use(&task, arguments, node, "import_role", errors)?;
    let known = joined(&around.known, &task.keywords.vars);
    let files = RoleFiles::of_use(&r#use, |value| around.loader.early(value, &known));
    let early = around.loader.early(&r#use.name, &known).and_then(|name| Ok((name.to_string(), files?)));
    let (name, files) = match early {
        Ok(found) => found,
        Err(error) => {
            errors.push(error.hint("`import_role` is read before any host is known; `include_role` may use facts and host variables"));
            return None;
        }
    };
    for flag in [&mut r#use.allow_duplicates, &mut r#use.rolespec_validate].into_iter().flatten() {
        match around.loader.early(&flag.value, &known) {
            Ok(value) => flag.value = value,
            Err(error) => errors.push(error),
        }
    }
    let inner = Around { known: Arc::new(known), depth: around.depth + 1, ..around.clone() };
    let role = role::read(&inner, &name, &files, r#use.span, errors)?;
    r#use.role = Some(role.clone());
    Some(Item::Block(Arc::new(as_block(task, role.tasks.clone(), Some(Arc::new(r#use))))))
}

fn include_role(_around: &Around<'_>, mut task: Task, arguments: &Map, node: &Node, errors: &mut Errors) -> Option<Item> {
    let role = role_use(&task, arguments, node, "include_role", errors)?;
    let public = take(arguments, "public", node);
    task.action = Action::IncludeRole { role: Box::new(role), apply: apply(arguments, node, errors), public };
    Some(Item::Task(Arc::new(task)))
}
