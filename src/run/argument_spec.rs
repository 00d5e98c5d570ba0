//! `argument_specs` of a role: its arguments are checked before its first task.

use std::sync::Arc;

use crate::load::playbook::{Role, RoleUse};
use crate::report::event::{Event, TaskResult};
use crate::run::Run;
use crate::run::frame::Frame;
use crate::run::play::implicit;
use crate::run::stage::Stage;
use crate::run::step::Ended;
use crate::source::{Diagnostic, Kind, Node};
use crate::value::secret::Redactor;
use crate::value::{Map, Value, arguments};
use crate::vars::{Engine, Variables};

impl Run {
    /// Checks a role's arguments on each host, as a task of its own.
    pub(super) async fn check_arguments(
        self: &Arc<Self>,
        stage: &Arc<Stage>,
        r#use: &RoleUse,
        role: &Arc<Role>,
        hosts: &[Arc<str>],
        frame: &Arc<Frame>,
    ) {
        let Some(spec) = &role.argument_spec else { return };
        let is_off = r#use.rolespec_validate.as_ref().and_then(|located| arguments::to_bool(&located.value)) == Some(false);
        let is_wanted = self.selection.wants(&[frame.tags.clone(), vec!["always".to_owned()]].concat());
        let hosts = self.hosts.running(hosts);
        if is_off || !is_wanted || hosts.is_empty() || spec.get("options").is_none() {
            return;
        }
        let mut task = implicit(&format!("check the arguments of the entry point `{}`", role.head.entry), "assert", Map::new(), stage);
        task.role = Some(role.head.clone());
        task.span = r#use.span;
        task.folder = role.head.path.join("tasks");
        let task = Arc::new(task);
        let name = format!("{} : check the arguments of the entry point `{}`", role.head.name, role.head.entry);
        let place = self.sources.place(r#use.span);
        let check = self.settings.check;
        self.tell(Event::TaskStarted {
            name: name.clone(),
            module: "argument_specs".to_owned(),
            place,
            handler: false,
            hosts: hosts.len(),
            check,
        });
        let mut failed = Vec::new();
        for host in &hosts {
            let mut ended = {
                let variables = self.variables(stage, frame, Some(&task), host);
                let engine = self.engine(&self.search(stage, frame, &task));
                let wrong = Check { engine: &engine, variables: &variables, redactor: &self.redactor, role }.all(spec, r#use);
                let mut ended = Ended {
                    result: TaskResult { check, ..TaskResult::default() },
                    register: Value::Null,
                    then: Vec::new(),
                    notice: None,
                    key: None,
                    is_handler: false,
                };
                if !wrong.is_empty() {
                    let text = wrong.iter().map(|diagnostic| self.rendered(diagnostic)).collect::<Vec<_>>().join("\n");
                    let message = wrong.iter().map(|diagnostic| diagnostic.message.clone()).collect::<Vec<_>>().join("; ");
                    ended.fail(&text, &message);
                }
                ended
            };
            ended.register = Value::from(ended.result.values.clone());
            if self.settle(stage, &task, frame, &name, host, std::slice::from_ref(host), ended).await {
                failed.push(host.clone());
            }
        }
        self.spend(stage, &hosts, &failed, false);
    }
}

struct Check<'a> {
    engine: &'a Engine,
    variables: &'a dyn Variables,
    redactor: &'a Redactor,
    role: &'a Role,
}

impl Check<'_> {
    fn all(&self, spec: &Node, r#use: &RoleUse) -> Vec<Diagnostic> {
        let mut wrong = Vec::new();
        for (name, option) in spec.get("options").and_then(Node::as_map).unwrap_or_default() {
            let Some(text) = name.as_str() else { continue };
            let value = match self.variables.get(text).map(|value| self.engine.render(&value, self.variables)).transpose() {
                Ok(value) => value.filter(|value| !crate::vars::is_omit(value)),
                Err(diagnostic) => {
                    wrong.push(diagnostic);
                    continue;
                }
            };
            match value {
                None if is_set(option, "required") && option.get("default").is_none() => wrong.push(
                    Diagnostic::error(format!("the role `{}` needs the variable `{text}`", self.role.head.name))
                        .at(r#use.span)
                        .also(name.span, "it is required here")
                        .hint(described(option).unwrap_or_else(|| format!("set `{text}` in the inventory, the play, or with the role"))),
                ),
                None => {}
                Some(value) => self.option(text, option, &value, &mut wrong),
            }
        }
        wrong
    }

    fn option(&self, path: &str, option: &Node, value: &Value, wrong: &mut Vec<Diagnostic>) {
        if value.unknown_part().is_some() || (value.is_null() && !is_set(option, "required")) {
            return;
        }
        if is_set(option, "no_log")
            && let Value::Str(text) = value
        {
            self.redactor.learn(text);
        }
        let hidden = is_set(option, "no_log");
        let mut say = |what: String| {
            let shown = match value {
                Value::List(_) | Value::Map(_) => value.type_name().to_owned(),
                _ if hidden => "its value".to_owned(),
                other => format!("`{other}`"),
            };
            let message = format!("the variable `{path}` of the role `{}` {what}, {shown} is not", self.role.head.name);
            let diagnostic = Diagnostic::error(message).at(option.span);
            wrong.push(match described(option) {
                Some(text) => diagnostic.hint(text),
                None => diagnostic,
            });
        };
        let kind = text(option, "type").unwrap_or("str");
        if !fits(kind, value) {
            say(format!("has to be {}", kind_name(kind)));
            return;
        }
        if let Some(choices) = option.get("choices").and_then(Node::as_list) {
            let choices: Vec<_> = choices.iter().map(shown).collect();
            let given = match value {
                Value::List(items) => items.to_vec(),
                single => vec![single.clone()],
            };
            if given.iter().any(|item| !choices.contains(&item.to_string())) {
                say(format!("has to be one of {}", choices.join(", ")));
                return;
            }
        }
        match (kind, value) {
            ("list", Value::List(items)) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    let kind = text(option, "elements").unwrap_or("raw");
                    if fits(kind, item) {
                        self.nested(&path, option, item, wrong);
                    } else {
                        let message = format!(
                            "`{path}` of the role `{}` has to be {}, not {}",
                            self.role.head.name,
                            kind_name(kind),
                            item.type_name()
                        );
                        wrong.push(Diagnostic::error(message).at(option.span));
                    }
                }
            }
            ("dict", value) => self.nested(path, option, value, wrong),
            _ => {}
        }
    }

    /// Checks a dictionary against the `options` of its own.
    fn nested(&self, path: &str, option: &Node, value: &Value, wrong: &mut Vec<Diagnostic>) {
        let (Some(options), Some(map)) = (option.get("options").and_then(Node::as_map), value.as_map()) else { return };
        let names: Vec<_> = options.iter().filter_map(|(name, _)| name.as_str()).collect();
        for name in map.keys().map(ToString::to_string).filter(|name| !names.contains(&name.as_str())) {
            wrong.push(
                Diagnostic::error(format!("`{path}` of the role `{}` has no entry `{name}`", self.role.head.name))
                    .at(option.span)
                    .did_you_mean(&name, names.iter().copied()),
            );
        }
        for (name, inner) in options {
            let Some(key) = name.as_str() else { continue };
            match map.get(key) {
                Some(value) => self.option(&format!("{path}.{key}"), inner, value, wrong),
                None if is_set(inner, "required") => {
                    wrong.push(
                        Diagnostic::error(format!("`{path}` of the role `{}` needs the entry `{key}`", self.role.head.name)).at(name.span),
                    );
                }
                None => {}
            }
        }
    }
}

fn text<'a>(option: &'a Node, key: &str) -> Option<&'a str> {
    option.get(key).and_then(Node::as_str)
}

fn is_set(option: &Node, key: &str) -> bool {
    option.get(key).is_some_and(|node| node.kind == Kind::Bool(true))
}

fn shown(node: &Node) -> String {
    match &node.kind {
        Kind::Str(text) | Kind::Unsafe(text) => text.to_string(),
        Kind::Int(number) => number.to_string(),
        Kind::Float(number) => Value::Float(*number).to_string(),
        Kind::Bool(flag) => Value::Bool(*flag).to_string(),
        _ => String::new(),
    }
}

/// Returns what the specification says of an option.
fn described(option: &Node) -> Option<String> {
    let node = option.get("description")?;
    let text = match node.as_list() {
        Some(lines) => lines.iter().filter_map(Node::as_str).collect::<Vec<_>>().join(" "),
        None => node.as_str()?.to_owned(),
    };
    let text = text.trim().trim_end_matches('.').to_owned();
    (!text.is_empty()).then_some(text)
}

fn fits(kind: &str, value: &Value) -> bool {
    match kind {
        "bool" => arguments::to_bool(value).is_some(),
        "int" => arguments::from_value::<i64>(value).is_ok(),
        "float" => arguments::from_value::<f64>(value).is_ok(),
        "list" => !matches!(value, Value::Map(_)),
        "dict" => match value {
            Value::Map(_) => true,
            Value::Str(text) => text.contains('=') || text.trim_start().starts_with('{'),
            _ => false,
        },
        "str" | "path" | "bytes" | "bits" => !matches!(value, Value::List(_) | Value::Map(_)),
        _ => true,
    }
}

fn kind_name(kind: &str) -> &str {
    match kind {
        "bool" => "yes or no",
        "int" => "a whole number",
        "float" => "a number",
        "list" => "a list",
        "dict" => "a dictionary",
        "path" => "a path",
        _ => "a text",
    }
}
