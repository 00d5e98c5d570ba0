//! `--list-tasks`, `--list-tags` and `--list-hosts`: what a playbook would do, without doing it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::load::playbook::{Action, Item, Keywords, Play, Playbook, Role, Task};
use crate::value::Value;

/// What to list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// `--list-hosts`.
    pub hosts: bool,
    /// `--list-tasks`.
    pub tasks: bool,
    /// `--list-tags`.
    pub tags: bool,
}

/// Returns the listing of a playbook, under the path that the user typed. `hosts_of` tells a play's hosts, `selected` whether tags are wanted.
pub fn playbook(
    playbook: &Playbook,
    typed: &Path,
    wanted: Wanted,
    hosts_of: impl Fn(&Play) -> Vec<String>,
    selected: impl Fn(&[String]) -> bool,
) -> String {
    let mut lines = vec![String::new(), format!("playbook: {}", typed.display())];
    for (number, play) in playbook.plays.iter().enumerate() {
        let pattern = pattern(&play.hosts);
        let name = if play.name.is_null() { pattern.clone() } else { play.name.to_string() };
        lines.push(String::new());
        lines.push(format!("  play #{} ({pattern}): {name}\tTAGS: {}", number + 1, tags(&play.keywords.tags)));
        if wanted.hosts {
            let hosts = hosts_of(play);
            lines.push(format!("    pattern: ['{pattern}']"));
            lines.push(format!("    hosts ({}):", hosts.len()));
            lines.extend(hosts.iter().map(|host| format!("      {host}")));
        }
        let rows = rows(play);
        let kept = || rows.iter().filter(|(_, tags)| selected(tags));
        if wanted.tasks {
            lines.push("    tasks:".to_owned());
            lines.extend(kept().map(|(name, task_tags)| format!("      {name}\tTAGS: {}", tags(task_tags))));
        }
        if wanted.tags {
            let all: BTreeSet<_> = kept().flat_map(|(_, tags)| tags.iter().cloned()).collect();
            lines.push(format!("      TASK TAGS: {}", tags(&all.into_iter().collect::<Vec<_>>())));
        }
    }
    lines.join("\n")
}

fn pattern(hosts: &Value) -> String {
    match hosts.as_list() {
        Some(items) => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        None => hosts.to_string(),
    }
}

fn tags(tags: &[String]) -> String {
    let sorted: BTreeSet<_> = tags.iter().map(String::as_str).collect();
    format!("[{}]", sorted.into_iter().collect::<Vec<_>>().join(", "))
}

/// Returns name and tags of each task of a play, in the order they run.
fn rows(play: &Play) -> Vec<(String, Vec<String>)> {
    let mut rows = Vec::new();
    walk(&play.pre_tasks, &play.keywords.tags, None, &mut rows);
    for r#use in &play.roles {
        if let Some(role) = &r#use.role {
            of_role(role, &joined(&play.keywords.tags, &r#use.keywords), &mut rows);
        }
    }
    walk(&play.tasks, &play.keywords.tags, None, &mut rows);
    walk(&play.post_tasks, &play.keywords.tags, None, &mut rows);
    rows
}

fn of_role(role: &Arc<Role>, inherited: &[String], rows: &mut Vec<(String, Vec<String>)>) {
    for dependency in &role.dependencies {
        if let Some(role) = &dependency.role {
            of_role(role, &joined(inherited, &dependency.keywords), rows);
        }
    }
    walk(&role.tasks, inherited, Some(&role.head.name), rows);
}

fn joined(inherited: &[String], keywords: &Keywords) -> Vec<String> {
    let mut all = inherited.to_vec();
    all.extend(keywords.tags.iter().filter(|tag| !inherited.contains(tag)).cloned());
    all
}

fn walk(items: &[Item], inherited: &[String], role: Option<&str>, rows: &mut Vec<(String, Vec<String>)>) {
    for item in items {
        match item {
            Item::Block(block) => {
                let tags = joined(inherited, &block.keywords);
                let imported = block.role.as_deref().and_then(|r#use| r#use.role.as_ref());
                for dependency in imported.iter().flat_map(|role| &role.dependencies) {
                    if let Some(role) = &dependency.role {
                        of_role(role, &joined(&tags, &dependency.keywords), rows);
                    }
                }
                let role = block.role.as_deref().and_then(|r#use| r#use.role.as_deref()).map(|role| role.head.name.as_str()).or(role);
                for items in [&block.block, &block.rescue, &block.always] {
                    walk(items, &tags, role, rows);
                }
            }
            Item::Task(task) => rows.push((title(task, role), joined(inherited, &task.keywords))),
        }
    }
}

/// Returns the name of a task as the listing has it: with its role before it.
fn title(task: &Task, role: Option<&str>) -> String {
    let name = task.name.as_ref().map(ToString::to_string).unwrap_or_else(|| match &task.action {
        Action::Module { name, .. } => name.clone(),
        Action::IncludeTasks { .. } => "include_tasks".to_owned(),
        Action::IncludeRole { .. } => "include_role".to_owned(),
    });
    match role.filter(|_| task.name.is_some()) {
        Some(role) => format!("{role} : {name}"),
        None => name,
    }
}
