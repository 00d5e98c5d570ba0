//! `argument_specs` of a role: its arguments are checked before its first task.

use std::sync::Arc;

use crate::load::nodes::to_value;
use crate::load::playbook::{Role, RoleUse, Task};
use crate::report::event::{Event, Status, TaskResult};
use crate::run::Run;
use crate::run::frame::Frame;
use crate::run::stage::Stage;
use crate::run::step::Ended;
use crate::source::{Diagnostic, Node};
use crate::value::secret::Redactor;
use crate::value::{Map, Value, arguments, specification};
use crate::vars::{Engine, Variables};

impl Run {
    /// Checks a role's arguments on each host, as a task of its own. They are looked at also where an earlier part of the run found them
    /// right, as secrets may be among them.
    pub(super) async fn check_arguments(
        self: &Arc<Self>,
        stage: &Arc<Stage>,
        r#use: &RoleUse,
        role: &Arc<Role>,
        hosts: &[Arc<str>],
        frame: &Arc<Frame>,
    ) {
        let Some((spec, options)) = role.argument_spec.as_ref().and_then(|spec| Some((spec, spec.get("options")?))) else { return };
        let Value::Map(data) = to_value(options) else { return };
        let is_off = r#use.rolespec_validate.as_ref().and_then(|located| arguments::to_bool(&located.value)) == Some(false);
        let is_wanted = self.selection.wants(&[frame.tags.clone(), vec!["always".to_owned()]].concat());
        let hosts = self.hosts.running(hosts);
        if is_off || !is_wanted || hosts.is_empty() {
            return;
        }
        let name = name_of(role, spec);
        let mut task = Task::implicit(&name, "validate_argument_spec", Map::new(), stage.play.span, stage.play.folder.clone());
        task.role = Some(role.head.clone());
        task.span = r#use.span;
        task.folder = role.head.path.join("tasks");
        let task = Arc::new(task);
        let name = format!("{} : {name}", role.head.name);
        let check = self.settings.check;
        self.tell(Event::TaskStarted {
            name: name.clone(),
            module: "validate_argument_spec".to_owned(),
            place: self.sources.place(r#use.span),
            handler: false,
            hosts: hosts.len(),
            check,
        });
        let mut failed = Vec::new();
        for host in &hosts {
            let key = self.step_key(&task, "validate_argument_spec", host);
            let mut ended = {
                let variables = self.variables(stage, frame, Some(&task), host);
                let engine = self.engine(&self.search(stage, frame, &task));
                let given = given(&data, &engine, &variables, &self.redactor);
                self.judged_arguments(r#use, role, options, &data, given)
            };
            ended.result.earlier = ended.result.status == Status::Ok && self.known.has(host, &key.text);
            ended.key = Some(key);
            if self.settle(stage, &task, frame, &name, host, std::slice::from_ref(host), ended).await {
                failed.push(host.clone());
            }
        }
        self.spend(stage, &hosts, &failed, false);
    }

    fn judged_arguments(&self, r#use: &RoleUse, role: &Role, options: &Node, data: &Arc<Map>, given: Result<Map, Diagnostic>) -> Ended {
        let mut ended = Ended::of(TaskResult { check: self.settings.check, ..TaskResult::default() });
        let errors = match given {
            Ok(given) => specification::errors(data, &given),
            Err(diagnostic) => {
                ended.fail(&self.rendered(&diagnostic), &diagnostic.message);
                ended.register = Value::from(ended.result.values.clone());
                return ended;
            }
        };
        let mut values = Map::from_iter([
            ("changed".into(), Value::Bool(false)),
            ("validate_args_context".into(), context(role)),
            ("msg".into(), Value::str("The arg spec validation passed")),
        ]);
        if !errors.is_empty() {
            let message = format!("Validation of arguments failed:\n{}", errors.join("\n"));
            let told = match self.sources.in_ansible_form() {
                true => Diagnostic::error(format!("Task failed: Action failed: {message}")).at(r#use.span),
                false => Diagnostic::error(format!("the role `{}` is used wrongly: {}", role.head.name, errors.join("; ")))
                    .at(r#use.span)
                    .also(options.span, "its options are told here"),
            };
            ended.result.status = Status::Failed;
            ended.result.because = errors.join("; ");
            ended.result.diagnostic = Some(self.rendered(&told));
            values.extend([
                ("failed".into(), Value::Bool(true)),
                ("msg".into(), Value::from(message)),
                ("argument_errors".into(), Value::from(errors)),
                ("argument_spec_data".into(), Value::Map(data.clone())),
            ]);
        }
        ended.register = Value::from(values.clone());
        ended.result.values = values;
        ended
    }
}

fn name_of(role: &Role, spec: &Node) -> String {
    let about = spec.get("short_description").and_then(Node::as_str).map(|about| format!(" - {about}")).unwrap_or_default();
    format!("Validating arguments against arg spec '{}'{about}", role.head.entry)
}

/// Returns what is told of the role beside its arguments.
fn context(role: &Role) -> Value {
    let collection = role.head.collection.as_ref().map(|collection| format!("{collection}."));
    let name = collection.and_then(|collection| role.head.name.strip_prefix(&collection)).unwrap_or(&role.head.name);
    let path = std::path::absolute(&role.head.path).unwrap_or_else(|_| role.head.path.clone());
    Value::map([
        ("type", Value::str("role")),
        ("name", Value::str(name)),
        ("argument_spec_name", Value::str(&role.head.entry)),
        ("path", Value::from(path.display().to_string())),
    ])
}

/// Returns the variables that the options name, rendered. Those that are secrets are kept out of every output.
fn given(options: &Map, engine: &Engine, variables: &dyn Variables, redactor: &Redactor) -> Result<Map, Diagnostic> {
    let mut given = Map::new();
    for (name, option) in options {
        let Some(value) = name.as_str().and_then(|name| variables.get(name)) else { continue };
        let value = engine.render(&value, variables)?;
        if crate::vars::is_omit(&value) {
            continue;
        }
        if let (Value::Str(text), Some(Value::Bool(true))) = (&value, option.get("no_log")) {
            redactor.learn(text);
        }
        given.insert(name.clone(), value);
    }
    Ok(given)
}
