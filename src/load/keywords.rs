//! Keywords that plays, roles, blocks and tasks share: from nodes to [`Keywords`].

use std::sync::Arc;

use crate::load::nodes::to_value;
use crate::load::playbook::{Keywords, Located};
use crate::modules;
use crate::source::{Diagnostic, Kind, Node};
use crate::value::{Map, Value};

/// Names of the shared keywords.
pub const SHARED: &[&str] = &[
    "any_errors_fatal",
    "become",
    "become_exe",
    "become_flags",
    "become_method",
    "become_user",
    "check_mode",
    "collections",
    "connection",
    "debugger",
    "delegate_facts",
    "delegate_to",
    "diff",
    "environment",
    "ignore_errors",
    "ignore_unreachable",
    "module_defaults",
    "no_log",
    "port",
    "remote_user",
    "run_once",
    "tags",
    "throttle",
    "timeout",
    "vars",
    "when",
];

/// Returns a node's value and place.
pub fn located(node: &Node) -> Located {
    Located { value: to_value(node), span: node.span }
}

/// Returns the entries of a list, or the one thing as a list of one.
pub fn one_or_many(node: &Node) -> Vec<Located> {
    match &node.kind {
        Kind::Null => Vec::new(),
        Kind::List(items) => items.iter().map(located).collect(),
        _ => vec![located(node)],
    }
}

/// Returns names: a list, or a text with commas.
pub fn names(node: &Node) -> Vec<String> {
    let split = |text: &str| text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect::<Vec<_>>();
    match &node.kind {
        Kind::Null => Vec::new(),
        Kind::List(items) => items.iter().flat_map(names).collect(),
        _ => split(&to_value(node).to_string()),
    }
}

/// Takes the keyword `name` into `keywords`. Returns whether it is a shared one.
pub fn take(keywords: &mut Keywords, name: &Node, value: &Node, errors: &mut Vec<Diagnostic>) -> bool {
    let single = || (!value.is_null()).then(|| located(value));
    match name.as_str().unwrap_or_default() {
        "any_errors_fatal" => keywords.any_errors_fatal = single(),
        "become" => keywords.r#become = single(),
        "become_exe" => keywords.become_exe = single(),
        "become_flags" => keywords.become_flags = single(),
        "become_method" => keywords.become_method = single(),
        "become_user" => keywords.become_user = single(),
        "check_mode" => keywords.check_mode = single(),
        "collections" => keywords.collections = names(value),
        "connection" => keywords.connection = single(),
        "debugger" => {
            let known = ["always", "never", "on_failed", "on_skipped", "on_unreachable"];
            if let Some(word) = value.as_str().filter(|word| !known.contains(word)) {
                let hint = "it is always, never, on_failed, on_skipped or on_unreachable";
                errors
                    .push(Diagnostic::error(format!("`debugger` cannot be `{word}`")).at(value.span).hint(hint).did_you_mean(word, known));
            }
            keywords.debugger = single();
        }
        "delegate_facts" => keywords.delegate_facts = single(),
        "delegate_to" => keywords.delegate_to = single(),
        "diff" => keywords.diff = single(),
        "environment" => keywords.environment = one_or_many(value),
        "ignore_errors" => keywords.ignore_errors = single(),
        "ignore_unreachable" => keywords.ignore_unreachable = single(),
        "module_defaults" => {
            known_groups(value, errors);
            keywords.module_defaults = one_or_many(value);
        }
        "no_log" => keywords.no_log = single(),
        "port" => keywords.port = single(),
        "remote_user" => keywords.remote_user = single(),
        "run_once" => keywords.run_once = single(),
        "tags" => keywords.tags = names(value),
        "throttle" => keywords.throttle = single(),
        "timeout" => keywords.timeout = single(),
        "vars" => keywords.vars = vars(value, errors),
        "when" => keywords.when = one_or_many(value),
        _ => return false,
    }
    true
}

/// Says which groups of `module_defaults` there are not.
fn known_groups(defaults: &Node, errors: &mut Vec<Diagnostic>) {
    let names = defaults.as_map().unwrap_or_default().iter().filter_map(|(name, _)| Some((name, name.as_str()?.strip_prefix("group/")?)));
    for (name, group) in names.filter(|(_, group)| modules::group(group).is_none()) {
        let known = modules::GROUPS.iter().map(|(name, _)| *name);
        let hint = format!("known are {}", known.clone().map(|name| format!("`group/{name}`")).collect::<Vec<_>>().join(", "));
        errors
            .push(Diagnostic::error(format!("there is no group of modules `{group}`")).at(name.span).did_you_mean(group, known).hint(hint));
    }
}

/// Returns the variables of a `vars:`: a dictionary, or (as old playbooks have it) a list of them.
pub fn vars(node: &Node, errors: &mut Vec<Diagnostic>) -> Arc<Map> {
    let mut all = Map::new();
    let mut add = |node: &Node| match to_value(node) {
        Value::Map(map) => {
            for (name, entry) in node.as_map().unwrap_or_default().iter().zip(map.iter()) {
                let text = name.0.as_str().unwrap_or_default();
                if !is_variable_name(text) {
                    errors.push(
                        Diagnostic::error(format!("`{}` cannot be the name of a variable", to_value(&name.0)))
                            .at(name.0.span)
                            .hint("names have letters, digits and underscores, and do not begin with a digit"),
                    );
                }
                all.insert(entry.0.clone(), entry.1.clone());
            }
        }
        Value::Null => {}
        _ => errors.push(
            Diagnostic::error(format!("`vars` has to be a dictionary, this is {}", node.kind_name()))
                .at(node.span)
                .hint("write `name: value` lines below `vars:`"),
        ),
    };
    match &node.kind {
        Kind::List(items) => items.iter().for_each(&mut add),
        _ => add(node),
    }
    Arc::new(all)
}

/// Whether a text can be the name of a variable.
pub fn is_variable_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') && chars.all(|c| c.is_alphanumeric() || c == '_')
}

/// Says that a keyword does not belong here.
pub fn unknown(name: &Node, place: &str, known: &[&[&str]]) -> Diagnostic {
    let text = to_value(name).to_string();
    Diagnostic::error(format!("`{text}` is not a keyword of {place}"))
        .at(name.span)
        .did_you_mean(&text, known.iter().flat_map(|names| names.iter().copied()))
}
