//! What can be told wrong of a playbook without a host: modules and arguments that do not exist.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::change::Failure;
use crate::load::collections::Collections;
use crate::load::library;
use crate::load::playbook::{Action, Item, Playbook, Role, Task};
use crate::modules::{self, Entry};
use crate::source::Diagnostic;
use crate::value::{Map, Value};

/// A task names a module that does not exist.
pub const UNKNOWN_MODULE: &str = "unknown-module";
/// A module is given an argument that it does not have.
pub const UNKNOWN_ARGUMENT: &str = "unknown-argument";
/// A task is said to only read, whose module writes.
pub const READS: &str = "reads";

/// Modules of which a task may say `reads: true`: they do what only its author knows.
const MAY_READ: &[&str] = &["command", "expect", "raw", "script", "script_module", "shell", "uri"];

/// Returns everything wrong in a playbook. A module that does not exist counts only where the task is sure to run: tasks
/// for other systems, guarded by `when`, are common and harmless. With `strict` every one counts.
pub fn playbook(playbook: &Playbook, strict: bool, collections: &Collections) -> Vec<Diagnostic> {
    let mut check =
        Check { strict, folder: PathBuf::new(), collections, searched: Vec::new(), wrong: Vec::new(), is_caught: false, roles: Vec::new() };
    for play in &playbook.plays {
        check.searched.clone_from(&play.keywords.collections);
        let guarded = !play.keywords.when.is_empty();
        check.folder.clone_from(&play.folder);
        for items in [&play.pre_tasks, &play.tasks, &play.post_tasks, &play.rollout.gate, &play.rollout.verify] {
            check.items(items, guarded);
        }
        check.items(&play.handlers, true);
        for r#use in &play.roles {
            if let Some(role) = &r#use.role {
                check.role(role, guarded || !r#use.keywords.when.is_empty());
            }
        }
    }
    check.wrong
}

/// Returns the modules that do not exist in tasks that are about to run: those of a file that is included.
pub fn included(items: &[Item], folder: &Path, searched: &[String], collections: &Collections) -> Vec<Diagnostic> {
    let (folder, searched) = (folder.to_owned(), searched.to_vec());
    let mut check = Check { strict: false, folder, collections, searched, wrong: Vec::new(), is_caught: true, roles: Vec::new() };
    check.items(items, false);
    check.wrong
}

struct Check<'a> {
    strict: bool,
    /// The folder of the playbook.
    folder: PathBuf,
    collections: &'a Collections,
    /// The play's `collections`.
    searched: Vec<String>,
    wrong: Vec<Diagnostic>,
    /// Whether a failure of the task at hand is caught, so that what is wrong in it may be told when it runs.
    is_caught: bool,
    /// Roles seen, so that one used often is told of once.
    roles: Vec<*const Role>,
}

impl Check<'_> {
    fn role(&mut self, role: &Arc<Role>, guarded: bool) {
        if self.roles.contains(&Arc::as_ptr(role)) {
            return;
        }
        self.roles.push(Arc::as_ptr(role));
        for dependency in &role.dependencies {
            if let Some(role) = &dependency.role {
                self.role(role, guarded || !dependency.keywords.when.is_empty());
            }
        }
        self.items(&role.tasks, guarded);
        self.items(&role.handlers, true);
    }

    fn items(&mut self, items: &[Item], guarded: bool) {
        for item in items {
            match item {
                Item::Block(block) => {
                    let guarded = guarded || !block.keywords.when.is_empty();
                    let before = self.is_caught;
                    self.is_caught |= !block.rescue.is_empty() || block.keywords.ignore_errors.is_some();
                    self.items(&block.block, guarded || !block.rescue.is_empty());
                    self.is_caught = before;
                    self.items(&block.rescue, true);
                    self.items(&block.always, guarded);
                }
                Item::Task(task) => {
                    let before = self.is_caught;
                    self.is_caught |= task.keywords.ignore_errors.is_some() || !task.failed_when.is_empty();
                    self.task(task, guarded || !task.keywords.when.is_empty() || task.keywords.ignore_errors.is_some());
                    self.is_caught = before;
                }
            }
        }
    }

    fn task(&mut self, task: &Task, guarded: bool) {
        if let Some(rolling) = &task.rolling {
            self.items(&rolling.before, guarded);
            self.items(&rolling.after, guarded);
        }
        let Action::Module { name, name_span, arguments, node, .. } = &task.action else { return };
        let role = task.role.as_ref().map(|role| role.path.as_path());
        if library::find(name, role.into_iter().chain([task.folder.as_path(), self.folder.as_path()])).is_some() {
            return;
        }
        let Some(entry) = modules::find(name) else {
            if name.contains("{{") || self.is_of_collection(name, task) {
                return;
            }
            if self.strict || !guarded {
                self.wrong.push(unknown_module(name, *name_span));
            }
            return;
        };
        if let Some(reads) = task.reads.as_ref().filter(|_| !MAY_READ.contains(&entry.name)) {
            self.wrong.push(
                Diagnostic::error(format!("`reads` is for what runs a program or asks a server, and `{}` does neither", entry.name))
                    .at(reads.span)
                    .rule(READS)
                    .hint("remove it: a check foresees what the module would do, and changes nothing"),
            );
        }
        if entry.any_argument || (self.is_caught && !self.strict) {
            return;
        }
        for argument in arguments.keys().filter_map(|key| key.as_str()).filter(|name| !name.starts_with('_')) {
            if !has_argument(entry, argument) {
                let place = node.as_ref().and_then(|node| node.entry(argument)).map_or(*name_span, |(name, _)| name.span);
                let known = entry.argument_names();
                self.wrong.push(
                    Diagnostic::error(format!("`{}` has no argument `{argument}`", entry.name))
                        .at(place)
                        .did_you_mean(argument, known.iter().map(String::as_str))
                        .rule(UNKNOWN_ARGUMENT)
                        .hint(format!("`windlass doc {}` lists its arguments", entry.name)),
                );
            }
        }
    }
}

impl Check<'_> {
    /// Whether a module of a collection is meant.
    fn is_of_collection(&self, name: &str, task: &Task) -> bool {
        let of_role = task.role.iter().flat_map(|role| &role.collections);
        let searched: Vec<_> = task.keywords.collections.iter().chain(&self.searched).chain(of_role).cloned().collect();
        self.collections.module(name, &searched, &self.folder).is_some()
    }
}

/// Says that there is no such module.
pub fn unknown_module(name: &str, span: crate::source::Span) -> Diagnostic {
    let short = modules::short_name(name);
    let mut unknown =
        Diagnostic::error(format!("there is no module `{name}`")).at(span).did_you_mean(short, modules::ALL.iter().map(|entry| entry.name));
    if unknown.hints.is_empty() {
        unknown = unknown.hint(match modules::instead::of(name) {
            Some(instead) => format!("use {instead}"),
            None => "`windlass doc` lists the modules; Python modules of collections cannot run here".to_owned(),
        });
    }
    unknown.rule(UNKNOWN_MODULE)
}

/// Whether a module has an argument of that name, aliases included: serde knows them, the schema does not.
fn has_argument(entry: &Entry, argument: &str) -> bool {
    let alone = Map::from_iter([(argument.into(), Value::Null)]);
    !matches!((entry.check)(&alone), Err(Failure::Argument { argument: named, message, .. }) if named == argument && message.starts_with("unknown argument"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_that_does_not_exist_is_found_without_its_value() {
        let ping = modules::find("ansible.builtin.ping").expect("ping");
        assert!(has_argument(ping, "data"));
        assert!(!has_argument(ping, "dato"));
    }
}
