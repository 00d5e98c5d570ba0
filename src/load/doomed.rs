//! What fails on whatever host it comes to: templates that cannot be read, and arguments that no module takes as they are
//! written. A run may never come to such a task, or want it to fail, so it is `lint` that tells.

use std::sync::Arc;

use crate::change::Failure;
use crate::load::playbook::{Action, Item, Keywords, Located, Playbook, Role, RoleUse, Task};
use crate::modules::{self, Entry};
use crate::source::{Diagnostic, Node, Sources, Span};
use crate::value::{Lazy, Map, Value};
use crate::vars::needs::mistake;

/// A template cannot be read.
pub const TEMPLATE_SYNTAX: &str = "template-syntax";
/// A module does not take an argument as it is written, or misses one.
pub const BAD_ARGUMENT: &str = "bad-argument";

/// Returns what of a playbook fails wherever it is run.
pub fn playbook(playbook: &Playbook, sources: &Sources) -> Vec<Diagnostic> {
    let mut walk = Walk { sources, found: Vec::new(), roles: Vec::new(), has_defaults: false };
    for play in &playbook.plays {
        walk.has_defaults = false;
        walk.keywords(&play.keywords);
        play.roles.iter().for_each(|r#use| walk.role_use(r#use));
        for items in [&play.pre_tasks, &play.tasks, &play.post_tasks, &play.rollout.gate, &play.rollout.verify, &play.handlers] {
            walk.items(items);
        }
    }
    walk.found
}

struct Walk<'a> {
    sources: &'a Sources,
    found: Vec<Diagnostic>,
    /// Roles seen, so that one used often is told of once.
    roles: Vec<*const Role>,
    /// Whether arguments may come from elsewhere (`module_defaults`), so that none can be said to be missing.
    has_defaults: bool,
}

impl Walk<'_> {
    fn role_use(&mut self, r#use: &RoleUse) {
        self.keywords(&r#use.keywords);
        self.map(&r#use.parameters);
        let Some(role) = r#use.role.as_ref().filter(|role| !self.roles.contains(&Arc::as_ptr(role))) else { return };
        self.roles.push(Arc::as_ptr(role));
        self.map(&role.head.defaults);
        self.map(&role.head.vars);
        role.dependencies.iter().for_each(|dependency| self.role_use(dependency));
        self.items(&role.tasks);
        self.items(&role.handlers);
    }

    fn keywords(&mut self, keywords: &Keywords) {
        self.has_defaults |= !keywords.module_defaults.is_empty();
        self.map(&keywords.vars);
        self.conditions(&keywords.when);
        keywords.environment.iter().for_each(|located| self.value(&located.value));
    }

    fn items(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Task(task) => self.task(task),
                Item::Block(block) => {
                    let before = self.has_defaults;
                    self.keywords(&block.keywords);
                    if let Some(r#use) = block.role.as_deref() {
                        self.role_use(r#use);
                    }
                    for items in [&block.block, &block.rescue, &block.always] {
                        self.items(items);
                    }
                    self.has_defaults = before;
                }
            }
        }
    }

    fn task(&mut self, task: &Task) {
        let before = self.has_defaults;
        self.keywords(&task.keywords);
        for conditions in [&task.changed_when, &task.failed_when, &task.until] {
            self.conditions(conditions);
        }
        task.name.iter().for_each(|name| self.value(name));
        task.r#loop.iter().for_each(|each| self.value(&each.items.value));
        if let Some(rolling) = &task.rolling {
            self.items(&rolling.before);
            self.items(&rolling.after);
        }
        if let Action::Module { name, name_span, arguments, node, .. } = &task.action {
            self.map(arguments);
            if let Some(entry) = modules::find(name) {
                self.arguments(entry, arguments, node.as_ref(), *name_span);
            }
        }
        self.has_defaults = before;
    }

    /// Holds arguments that are no templates against what the module takes.
    fn arguments(&mut self, entry: &Entry, arguments: &Map, node: Option<&Node>, name: Span) {
        if entry.any_argument || arguments.keys().any(|key| key.as_str().is_none_or(|key| key.starts_with('_'))) {
            return;
        }
        let is_plain = |value: &Value| !value.has_template();
        let plain: Map = arguments.iter().filter(|(_, value)| is_plain(value)).map(|(key, value)| (key.clone(), value.clone())).collect();
        let is_whole = plain.len() == arguments.len() && !self.has_defaults;
        let Err(Failure::Argument { argument, message, hint }) = (entry.check)(&plain) else { return };
        let own = argument.split('.').next().unwrap_or_default();
        let place = node.and_then(|node| node.entry(own)).map(|(_, value)| value.span);
        // What is missing may be in a template, under another of its names.
        if message.starts_with("unknown argument") || (place.is_none() && !is_whole) {
            return;
        }
        let mut diagnostic = Diagnostic::error(format!("`{}`: {message}", entry.name)).at(place.unwrap_or(name)).rule(BAD_ARGUMENT);
        if let Some(hint) = hint {
            diagnostic = diagnostic.hint(hint);
        }
        self.found.push(diagnostic.hint(format!("`windlass doc {}` lists its arguments", entry.name)));
    }

    fn map(&mut self, map: &Map) {
        map.values().for_each(|value| self.value(value));
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Lazy(lazy) => {
                if let Lazy::Template(text) = &**lazy {
                    self.text(&text.text, text.span, false);
                }
            }
            Value::List(items) => items.iter().for_each(|item| self.value(item)),
            Value::Map(map) => self.map(map),
            _ => {}
        }
    }

    fn conditions(&mut self, conditions: &[Located]) {
        for condition in conditions {
            match &condition.value {
                Value::Str(text) => self.text(text, condition.span, true),
                other => self.value(other),
            }
        }
    }

    fn text(&mut self, text: &str, span: Span, is_condition: bool) {
        if let Some(wrong) = mistake(self.sources, text, span, is_condition) {
            self.found.push(wrong.rule(TEMPLATE_SYNTAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::loader::Loader;

    fn found(tasks: &str) -> Vec<String> {
        let sources = Sources::default();
        let early: crate::load::loader::Early = Arc::new(|value, _| Ok(value.clone()));
        let loader = Loader::new(sources.clone(), Arc::default(), Vec::new(), early);
        let text = format!("hosts: all\ntasks:\n{tasks}");
        let play = loader.play_of_text("p.yml", text, std::path::Path::new("/")).expect("reads");
        let line = |diagnostic: &Diagnostic| {
            let place = diagnostic.span.and_then(|span| sources.place(span)).expect("a place");
            format!("{}:{}:{} {}", diagnostic.rule.unwrap_or_default(), place.line, place.column, diagnostic.message)
        };
        playbook(&Playbook { path: "p.yml".into(), plays: vec![play] }, &sources).iter().map(line).collect()
    }

    #[test]
    fn templates_that_cannot_be_read_are_told_with_their_place() {
        let wrong = found("- debug: {msg: 'a {{ b '}\n- command: x\n  when: a ==\n- copy: {content: '{{ x | b64encod }}', dest: /x}\n");
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        for (told, line) in wrong.iter().zip([3, 5, 6]) {
            assert!(told.starts_with(&format!("template-syntax:{line}:")), "{told}");
        }
        assert_eq!(
            found("- debug: {msg: '{{ a | default(1) }}'}\n- command: x\n  when: a is defined and b.c == 1\n"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn arguments_that_no_module_takes_are_told_where_they_are_no_templates() {
        let wrong = found("- file: {path: /x, state: dirctory}\n- file: {path: '{{ x }}', state: dirctory}\n- stat: {}\n");
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        for (told, place) in wrong.iter().zip(["3:27", "4:34", "5:3"]) {
            assert!(told.starts_with(&format!("bad-argument:{place} ")), "{told}");
        }
        let fine =
            "- file: {path: /x, state: '{{ s }}'}\n- stat: '{{ all }}'\n- module_defaults: {stat: {path: /x}}\n  block: [stat: {}]\n";
        assert_eq!(found(fine), Vec::<String>::new());
    }

    #[test]
    fn the_examples_of_all_modules_are_sound() {
        for entry in modules::ALL.iter().filter(|entry| !matches!(entry.name, "meta" | "script_module")) {
            for example in entry.examples {
                let task = example.task.lines().map(|line| format!("    {line}\n")).collect::<String>();
                assert_eq!(found(&format!("- {}:\n{task}", entry.name)), Vec::<String>::new(), "{}: {}", entry.name, example.title);
            }
        }
    }
}
