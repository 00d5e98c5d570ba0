//! `--list-tasks`, `--list-tags` and `--list-hosts`: what a playbook would do, without doing it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::load::one_way::is_one_way;
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
    /// Tasks that cannot be undone are marked.
    pub one_way: bool,
}

/// A task of a listing.
struct Row {
    name: String,
    tags: Vec<String>,
    one_way: bool,
}

/// How many tasks are named that cannot be undone, before the rest is only counted.
const NAMED: usize = 3;

/// Returns a line about the tasks of these playbooks that cannot be undone; `None` where there are none. `selected` says whether tags
/// are wanted.
pub fn one_way(playbooks: &[Playbook], selected: impl Fn(&[String]) -> bool) -> Option<String> {
    let plays = playbooks.iter().flat_map(|playbook| &playbook.plays);
    let mut all = Vec::new();
    for play in plays {
        let mut rows = rows(play);
        walk(&play.handlers, &play.keywords.tags, None, &mut rows);
        all.extend(rows.into_iter().filter(|row| row.one_way && selected(&row.tags)).map(|row| row.name));
    }
    let count = all.len();
    let mut names: Vec<String> = Vec::new();
    for name in all {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let named = names.iter().take(NAMED).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let more = if names.len() > NAMED { ", ...; `--list-tasks` marks them" } else { "" };
    match count {
        0 => None,
        1 => Some(format!("1 task of this run cannot be undone: {named}")),
        count => Some(format!("{count} tasks of this run cannot be undone: {named}{more}")),
    }
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
        let kept = || rows.iter().filter(|row| selected(&row.tags));
        if wanted.tasks {
            lines.push("    tasks:".to_owned());
            let mark = |row: &Row| if row.one_way && wanted.one_way { "\tcannot be undone" } else { "" };
            lines.extend(kept().map(|row| format!("      {}\tTAGS: {}{}", row.name, tags(&row.tags), mark(row))));
        }
        if wanted.tags {
            let all: BTreeSet<_> = kept().flat_map(|row| row.tags.iter().cloned()).collect();
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

/// Returns each task of a play, in the order they run.
fn rows(play: &Play) -> Vec<Row> {
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

fn of_role(role: &Arc<Role>, inherited: &[String], rows: &mut Vec<Row>) {
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

fn walk(items: &[Item], inherited: &[String], role: Option<&str>, rows: &mut Vec<Row>) {
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
            Item::Task(task) => {
                rows.push(Row { name: title(task, role), tags: joined(inherited, &task.keywords), one_way: is_one_way(task) });
            }
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
