//! What can be told wrong of a playbook without a host, beyond what keeps it from running.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::load::playbook::{Action, Block, Item, Keywords, Located, Play, Playbook, Role, RoleUse, Task};
use crate::modules;
use crate::source::{Diagnostic, Span};
use crate::value::{Lazy, Map, Value};
use crate::vars::needs::{Needs, needs};

/// A handler is notified that does not exist.
pub const UNKNOWN_HANDLER: &str = "unknown-handler";
/// A variable is used that nothing defines.
pub const UNDEFINED_VARIABLE: &str = "undefined-variable";
/// Tags of an include do not hold for what it brings in.
pub const INCLUDE_TAGS: &str = "include-tags";
/// A condition of an import is asked again for each task, which may change it.
pub const IMPORT_WHEN: &str = "import-when";

/// Names that are there without anybody defining them; those that begin with `ansible_` too.
const MAGIC: &[&str] = &[
    "environment",
    "group_names",
    "groups",
    "hostvars",
    "inventory_dir",
    "inventory_file",
    "inventory_hostname",
    "inventory_hostname_short",
    "item",
    "omit",
    "play_hosts",
    "playbook_dir",
    "role_name",
    "role_names",
    "role_path",
    "vars",
    "windlass_version",
    "True",
    "False",
    "None",
    "true",
    "false",
    "none",
];

/// Returns what a playbook does that looks wrong. `known` has the variables of inventory and command line: without it,
/// nothing is said of undefined ones, as they may be defined there.
pub fn playbook(playbook: &Playbook, known: Option<&HashSet<String>>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut names = Names::default();
    for play in &playbook.plays {
        let mut walk = Walk::default();
        walk.play(play, &mut names);
        found.append(&mut walk.found);
        if !walk.is_open {
            for notify in &walk.notified {
                if let Some(name) = plain(&notify.value)
                    && !walk.handlers.contains(name)
                {
                    let diagnostic = Diagnostic::error(format!("no handler has the name or topic `{name}`")).at(notify.span);
                    let diagnostic = diagnostic.did_you_mean(name, walk.handlers.iter().map(String::as_str));
                    found.push(diagnostic.rule(UNKNOWN_HANDLER));
                }
            }
        }
    }
    if let Some(known) = known.filter(|_| !names.is_open) {
        found.extend(names.undefined(known));
    }
    found
}

fn plain(value: &Value) -> Option<&str> {
    value.as_str()
}

/// Names of variables, throughout the playbook.
#[derive(Default)]
struct Names {
    defined: HashSet<String>,
    asked: BTreeSet<String>,
    needed: Vec<(String, Span)>,
    /// Something may define names that cannot be told.
    is_open: bool,
}

impl Names {
    fn undefined(&self, known: &HashSet<String>) -> Vec<Diagnostic> {
        let is_known = |name: &str| {
            name.starts_with("ansible_")
                || MAGIC.contains(&name)
                || self.asked.contains(name)
                || self.defined.contains(name)
                || known.contains(name)
        };
        let mut found = Vec::new();
        for (name, span) in self.needed.iter().filter(|(name, _)| !is_known(name)) {
            let all = self.defined.iter().chain(known).map(String::as_str);
            let diagnostic = Diagnostic::error(format!("nothing defines the variable `{name}`")).at(*span).did_you_mean(name, all);
            found.push(diagnostic.rule(UNDEFINED_VARIABLE));
        }
        found
    }

    fn define(&mut self, map: &Map) {
        self.defined.extend(map.keys().filter_map(|key| key.as_str()).map(str::to_owned));
        map.values().for_each(|value| self.ask_only(value));
    }

    fn take(&mut self, of: Needs, span: Span) {
        self.asked.extend(of.asked);
        self.needed.extend(of.needed.into_iter().map(|name| (name, span)));
    }

    /// Takes in the templates of a value that is sure to be rendered.
    fn value(&mut self, value: &Value) {
        match value {
            Value::Lazy(lazy) => {
                if let Lazy::Template(text) = &**lazy {
                    self.take(needs(&text.text, false), text.span);
                }
            }
            Value::List(items) => items.iter().for_each(|item| self.value(item)),
            Value::Map(map) => map.values().for_each(|item| self.value(item)),
            _ => {}
        }
    }

    /// As [`Names::value`], for a variable: nobody may use it.
    fn ask_only(&mut self, value: &Value) {
        let before = self.needed.len();
        self.value(value);
        self.needed.truncate(before);
    }

    fn conditions(&mut self, conditions: &[Located]) {
        for condition in conditions {
            match &condition.value {
                Value::Str(text) => self.take(needs(text, true), condition.span),
                other => self.value(other),
            }
        }
    }
}

/// What is gathered of one play.
#[derive(Default)]
struct Walk {
    found: Vec<Diagnostic>,
    notified: Vec<Located>,
    handlers: HashSet<String>,
    /// Handlers may come from where it cannot be told.
    is_open: bool,
    roles: Vec<*const Role>,
}

impl Walk {
    fn play(&mut self, play: &Play, names: &mut Names) {
        self.keywords(&play.keywords, names);
        names.is_open |= !play.vars_files.is_empty();
        for prompt in &play.vars_prompt {
            names.defined.extend(prompt.get("name").and_then(|name| name.as_str()).map(str::to_owned));
        }
        for r#use in &play.roles {
            self.role_use(r#use, names);
        }
        for items in [&play.pre_tasks, &play.tasks, &play.post_tasks] {
            self.items(items, names);
        }
        self.handlers(&play.handlers, names);
    }

    fn keywords(&mut self, keywords: &Keywords, names: &mut Names) {
        names.define(&keywords.vars);
        names.conditions(&keywords.when);
    }

    fn role_use(&mut self, r#use: &RoleUse, names: &mut Names) {
        self.keywords(&r#use.keywords, names);
        names.define(&r#use.parameters);
        match &r#use.role {
            Some(role) => self.role(role, names),
            None => {
                self.is_open = true;
                names.is_open = true;
            }
        }
    }

    fn role(&mut self, role: &Arc<Role>, names: &mut Names) {
        if self.roles.contains(&Arc::as_ptr(role)) {
            return;
        }
        self.roles.push(Arc::as_ptr(role));
        names.define(&role.head.defaults);
        names.define(&role.head.vars);
        if let Some(options) = role.argument_spec.as_ref().and_then(|spec| spec.get("options")).and_then(|options| options.as_map()) {
            names.defined.extend(options.iter().filter_map(|(name, _)| name.as_str()).map(str::to_owned));
        }
        role.dependencies.iter().for_each(|dependency| self.role_use(dependency, names));
        self.items(&role.tasks, names);
        self.handlers(&role.handlers, names);
        // A handler of a role may be notified with the role's name before it.
        let prefixed: Vec<_> = self.handlers.iter().map(|name| format!("{} : {name}", role.head.name)).collect();
        self.handlers.extend(prefixed);
    }

    fn handlers(&mut self, items: &[Item], names: &mut Names) {
        self.items(items, names);
        for item in items {
            match item {
                Item::Block(block) => self.handlers(&block.block, names),
                Item::Task(task) => {
                    self.is_open |= !matches!(task.action, Action::Module { .. });
                    match &task.name {
                        Some(Value::Str(name)) => {
                            self.handlers.insert(name.to_string());
                        }
                        Some(_) => self.is_open = true,
                        None => {}
                    }
                    for topic in &task.listen {
                        match plain(&topic.value) {
                            Some(topic) => {
                                self.handlers.insert(topic.to_owned());
                            }
                            None => self.is_open = true,
                        }
                    }
                }
            }
        }
    }

    fn items(&mut self, items: &[Item], names: &mut Names) {
        for item in items {
            match item {
                Item::Block(block) => self.block(block, names),
                Item::Task(task) => self.task(task, names),
            }
        }
    }

    fn block(&mut self, block: &Block, names: &mut Names) {
        self.keywords(&block.keywords, names);
        self.notified.extend(block.notify.iter().cloned());
        if let Some(r#use) = block.role.as_deref() {
            self.role_use(r#use, names);
        }
        for items in [&block.block, &block.rescue, &block.always] {
            self.items(items, names);
        }
        // An import is unfolded to a block; `when` of it is asked before each of its tasks.
        for condition in &block.keywords.when {
            let Value::Str(text) = &condition.value else { continue };
            let asked = needs(text, true);
            let set = block.block.iter().filter_map(|item| match item {
                Item::Task(task) => Some(sets(task)),
                Item::Block(_) => None,
            });
            if let Some(name) = set.flatten().find(|name| asked.needed.contains(name) || asked.asked.contains(name)) {
                let message = format!("the condition uses `{name}`, which a task below it sets: it is asked again for each task");
                let hint = "`include_tasks` asks once; or keep the answer in a variable of its own before";
                self.found.push(Diagnostic::warning(message).at(condition.span).hint(hint).rule(IMPORT_WHEN));
            }
        }
    }

    fn task(&mut self, task: &Task, names: &mut Names) {
        self.keywords(&task.keywords, names);
        self.notified.extend(task.notify.iter().cloned());
        names.defined.extend(sets(task));
        if let Some(each) = &task.r#loop {
            names.defined.insert(each.variable.clone());
            names.defined.extend(each.index_variable.clone());
        }
        names.conditions(&task.changed_when);
        names.conditions(&task.failed_when);
        match &task.action {
            Action::Module { name, arguments, .. } => {
                let short = modules::short_name(name);
                let tells = matches!(short, "include_vars" | "add_host" | "group_by" | "getent" | "set_stats" | "setup" | "script");
                names.is_open |= (tells && short != "setup") || short.ends_with("_facts") || modules::find(name).is_none();
                match short {
                    "set_fact" => arguments.values().for_each(|value| names.value(value)),
                    "assert" | "fail" | "debug" => arguments.values().for_each(|value| names.ask_only(value)),
                    _ => arguments.values().for_each(|value| names.value(value)),
                }
                if short == "debug"
                    && let Some(Value::Lazy(_)) = arguments.get("msg")
                {
                    arguments.get("msg").into_iter().for_each(|value| names.value(value));
                }
            }
            Action::IncludeTasks { apply, .. } | Action::IncludeRole { apply, .. } => {
                self.is_open = true;
                names.is_open = true;
                let is_special = |tag: &String| matches!(tag.as_str(), "always" | "never");
                let has_own = task.keywords.tags.iter().any(|tag| !is_special(tag));
                let applies = apply.as_ref().is_some_and(|apply| !apply.keywords.tags.is_empty());
                if has_own && !applies {
                    let message = "the tags of this include choose whether it is done, and do not hold for the tasks that it brings in";
                    let hint = "give them to the tasks too: `apply: {tags: ...}`; or use `import_tasks` or `import_role`";
                    self.found.push(Diagnostic::warning(message).at(task.span).hint(hint).rule(INCLUDE_TAGS));
                }
            }
        }
    }
}

/// Returns the variables that a task sets.
fn sets(task: &Task) -> Vec<String> {
    let mut names: Vec<String> = task.register.iter().filter_map(|register| register.value.as_str()).map(str::to_owned).collect();
    if let Action::Module { name, arguments, .. } = &task.action
        && modules::short_name(name) == "set_fact"
    {
        names.extend(arguments.keys().filter_map(|key| key.as_str()).map(str::to_owned));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::loader::Loader;
    use crate::source::Sources;

    fn found(text: &str, known: Option<&[&str]>) -> Vec<String> {
        let sources = Sources::default();
        let early: crate::load::loader::Early = Arc::new(|value, _| Ok(value.clone()));
        let loader = Loader::new(sources.clone(), Arc::default(), Vec::new(), early);
        let play = loader.play_of_text("p.yml", text.to_owned(), std::path::Path::new("/")).expect("reads");
        let known: Option<HashSet<String>> = known.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let playbook = super::playbook(&Playbook { path: "p.yml".into(), plays: vec![play] }, known.as_ref());
        let line = |diagnostic: &Diagnostic| {
            let line = diagnostic.span.and_then(|span| sources.place(span)).map(|place| place.line).unwrap_or_default();
            format!("{}:{line} {}", diagnostic.rule.unwrap_or_default(), diagnostic.message)
        };
        playbook.iter().map(line).collect()
    }

    #[test]
    fn handlers_that_do_not_exist_are_found() {
        let text = "hosts: all\ntasks:\n- {command: x, notify: [restart, topic, '{{ any }}', rstart]}\nhandlers:\n- {name: restart, command: x, listen: topic}\n";
        assert_eq!(found(text, None), ["unknown-handler:3 no handler has the name or topic `rstart`"]);
    }

    #[test]
    fn variables_that_nothing_defines_are_found_where_that_can_be_told() {
        let text = "hosts: all\nvars: {a: '{{ later }}'}\ntasks:\n- command: 'x {{ a }} {{ b.c }} {{ d | default(1) }} {{ inventory }} {{ ansible_host }}'\n  when: e is defined and f\n  register: g\n- {command: '{{ item }} {{ g.rc }} {{ h }}', loop: [1]}\n";
        let wrong = ["undefined-variable:4 nothing defines the variable `b`", "undefined-variable:7 nothing defines the variable `h`"];
        assert_eq!(found(text, Some(&["inventory"])), wrong);
        assert_eq!(found(text, None), Vec::<String>::new());
        let open = format!("{text}- include_vars: x.yml\n");
        assert_eq!(found(&open, Some(&["inventory"])), Vec::<String>::new());
    }

    #[test]
    fn tags_of_an_include_are_a_trap() {
        let text = "hosts: all\ntasks:\n- {include_tasks: x.yml, tags: t}\n- {include_tasks: {file: x.yml, apply: {tags: t}}, tags: t}\n- {include_tasks: x.yml, tags: always}\n";
        let found = found(text, None);
        assert!(found.len() == 1 && found[0].starts_with("include-tags:3 "), "{found:?}");
    }
}
