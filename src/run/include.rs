//! `include_tasks` and `include_role`: what is included may differ from host to host, and from item to item of a loop.

use std::sync::Arc;

use crate::load::playbook::{Action, Item, Located, Role, RoleUse, Task};
use crate::report::event::Event;
use crate::run::Run;
use crate::run::controller::SharedEngine;
use crate::run::frame::Frame;
use crate::run::library::{Entries, From};
use crate::run::role::Use;
use crate::run::scope::TaskVariables;
use crate::run::search;
use crate::run::stage::Stage;
use crate::run::step::{Step, Stop};
use crate::source::Diagnostic;
use crate::value::{Map, Value, arguments};
use crate::vars::is_omit;

/// What is included, with the variables that the loop gives it, and the hosts that include it.
struct Group {
    what: What,
    own: Map,
    label: Option<String>,
    hosts: Vec<Arc<str>>,
    /// The hosts for which a check does not know whether they include it, and why.
    doubts: Vec<(Arc<str>, String)>,
}

/// So many includes within includes there may be.
const DEEPEST: usize = 500;

/// A file of tasks or a role, by name.
#[derive(Clone, PartialEq)]
enum What {
    Tasks(String),
    Role { name: String, entries: Entries, public: bool, duplicates: Option<bool>, validate: Option<bool> },
}

/// One thing that a host includes: what, the loop's variables, and the label of the item.
type Inclusion = (What, Map, Option<String>);

/// What was read.
enum Read {
    Tasks(String, Vec<Item>),
    Role(Arc<RoleUse>, Arc<Role>, bool),
}

impl Run {
    /// Runs an include: works out for each host what it includes, then runs each thing on its hosts, in order.
    pub(super) async fn include(
        self: &Arc<Self>,
        stage: &Arc<Stage>,
        task: &Arc<Task>,
        hosts: &[Arc<str>],
        frame: &Arc<Frame>,
        name: String,
        is_handler: bool,
    ) {
        let Some(first) = hosts.first() else { return };
        let module = if matches!(task.action, Action::IncludeRole { .. }) { "include_role" } else { "include_tasks" };
        self.announce(stage, (task, frame), hosts, (&name, module), is_handler);
        let flags = match self.flags(stage, task, frame, first) {
            Ok(flags) => flags,
            Err(diagnostic) => {
                self.report(&diagnostic);
                stage.break_off();
                return;
            }
        };
        let once = flags.once;
        let mut groups: Vec<Group> = Vec::new();
        for host in if once { std::slice::from_ref(first) } else { hosts } {
            let step = Step {
                run: self.clone(),
                stage: stage.clone(),
                frame: frame.clone(),
                task: task.clone(),
                host: host.clone(),
                name: name.clone(),
                key: None,
                is_handler: false,
                own: Map::new(),
                redone: 0,
            };
            let included = {
                let variables = self.variables(stage, frame, Some(task), host);
                let engine = self.engine(&self.search(stage, frame, task));
                step.included(&variables, &engine).map_err(|stop| step.came(stop, &variables, &engine).into_ended())
            };
            // With `run_once` only one host includes it; the result is all hosts'.
            let for_hosts = vec![host.clone()];
            match included {
                Ok((included, registered, doubt)) => {
                    let registered = doubt.as_ref().map_or(registered, |why| Value::unknown(why.as_str()));
                    if let Some(register) = task.register.as_ref().and_then(|register| register.value.as_str()) {
                        for host in if once { hosts } else { &for_hosts } {
                            self.hosts.with(host, |host| host.set(register, registered.clone()));
                        }
                    }
                    for (what, own, label) in included {
                        let known = groups.iter_mut().find(|group| group.what == what && group.own == own && !group.hosts.contains(host));
                        let doubts = doubt.iter().map(|why| (host.clone(), why.clone()));
                        match known {
                            Some(group) => {
                                group.hosts.extend(for_hosts.iter().cloned());
                                group.doubts.extend(doubts);
                            }
                            None => groups.push(Group { what, own, label, hosts: for_hosts.clone(), doubts: doubts.collect() }),
                        }
                    }
                }
                Err(ended) => {
                    if self.settle(stage, task, frame, &name, host, &for_hosts, ended).await {
                        self.spend(stage, hosts, std::slice::from_ref(host), flags.any_errors_fatal || once);
                    }
                }
            }
        }
        let mut all = Vec::new();
        for group in groups {
            let wanted = group.hosts.clone();
            match self.included(stage, task, frame, &name, group, is_handler).await {
                Some(included) => all.push(included),
                None => self.spend(stage, hosts, &wanted, flags.any_errors_fatal || once),
            }
        }
        for (read, hosts, inner) in all {
            self.run_included(stage, read, &hosts, &inner, is_handler).await;
        }
    }

    /// Reads what a group of hosts includes, and tells it; `None` where that cannot be read.
    async fn included(
        self: &Arc<Self>,
        stage: &Arc<Stage>,
        task: &Arc<Task>,
        frame: &Arc<Frame>,
        name: &str,
        group: Group,
        is_handler: bool,
    ) -> Option<(Read, Vec<Arc<str>>, Arc<Frame>)> {
        let hosts = self.hosts.running(&group.hosts);
        let apply = match &task.action {
            Action::IncludeTasks { apply, .. } | Action::IncludeRole { apply, .. } => apply.as_deref(),
            Action::Module { .. } => None,
        };
        let read = match self.read(stage, task, &group.what, is_handler) {
            Ok(_) if frame.depth() >= DEEPEST => {
                let deep = format!("this is the {DEEPEST}th include within includes: it seems to include itself without end");
                let deep = Diagnostic::error(deep).at(task.span).hint("give it a `when` that ends it, or write a loop with `until`");
                self.not_included(stage, task, frame, name, &hosts, &group.what, vec![deep]).await;
                return None;
            }
            Ok(read) => read,
            Err(diagnostics) => {
                self.not_included(stage, task, frame, name, &hosts, &group.what, diagnostics).await;
                return None;
            }
        };
        let mut parameters = (*task.keywords.vars).clone();
        parameters.extend(group.own);
        let inner = frame.include(apply, Arc::new(parameters)).in_doubt(group.doubts, Some(self.place(task)));
        for host in &hosts {
            let number = frame.outward().find_map(|ring| ring.role_number);
            self.hosts.with(host, |host| {
                host.counts.ok += 1;
                host.roles_begun.extend(number);
            });
        }
        let file = match &read {
            Read::Tasks(file, _) => file.clone(),
            Read::Role(_, role, _) => role.head.name.clone(),
        };
        self.tell(Event::Included { file, hosts: hosts.clone(), label: group.label });
        Some((read, hosts, inner))
    }

    /// Runs what was included, on the hosts that still take part.
    async fn run_included(self: &Arc<Self>, stage: &Arc<Stage>, read: Read, hosts: &[Arc<str>], inner: &Arc<Frame>, is_handler: bool) {
        match read {
            Read::Tasks(_, items) => {
                stage.take_in_included(&items, inner, None);
                if is_handler {
                    self.handler_items(stage, &items, hosts, inner).await;
                } else {
                    self.items(stage, &items, hosts, inner).await;
                }
            }
            Read::Role(r#use, role, public) => {
                let ring = inner.role_use(&r#use, &role, None);
                stage.take_in_included(&role.tasks, &ring, Some(&role));
                stage.note_role(&role);
                if public {
                    stage.expose(&role);
                }
                self.role(stage, &r#use, &role, &role.tasks, hosts, inner, Use::of_task(&r#use)).await;
            }
        }
    }

    /// Runs included items as handlers: no tags, as the handler was notified.
    async fn handler_items(self: &Arc<Self>, stage: &Arc<Stage>, items: &[Item], hosts: &[Arc<str>], frame: &Arc<Frame>) {
        for item in items {
            match item {
                Item::Task(task) => Box::pin(self.task(stage, task, hosts, frame, true)).await,
                Item::Block(block) => {
                    let inner = frame.block(block, false);
                    Box::pin(self.handler_items(stage, &block.block, hosts, &inner)).await;
                }
            }
        }
    }

    /// Returns where a task stands: the same for a file that is read again.
    fn place(&self, task: &Task) -> String {
        self.sources.place(task.span).map(|place| place.to_string()).unwrap_or_default()
    }

    fn read(&self, stage: &Stage, task: &Task, what: &What, is_handler: bool) -> Result<Read, Vec<Diagnostic>> {
        let mut from = From {
            role: task.role.as_ref(),
            folder: &task.folder,
            playbook_folder: &stage.play.folder,
            collections: if task.keywords.collections.is_empty() { &stage.play.keywords.collections } else { &task.keywords.collections },
            handlers: is_handler,
            span: task.span,
        };
        match (what, &task.action) {
            (What::Role { name, entries, public, duplicates, validate }, Action::IncludeRole { role: r#use, .. }) => {
                from.span = r#use.span;
                let role = self.library.role(name, entries, &from)?;
                let settled = |flag: &Option<bool>| flag.map(|flag| Located { value: flag.into(), span: r#use.span });
                let (allow_duplicates, rolespec_validate) = (settled(duplicates), settled(validate));
                let (name, role_read) = (Value::str(name), Some(role.clone()));
                let r#use = RoleUse { name, role: role_read, allow_duplicates, rolespec_validate, ..(**r#use).clone() };
                Ok(Read::Role(Arc::new(r#use), role, *public))
            }
            (What::Tasks(name), Action::IncludeTasks { file, .. }) => {
                from.span = file.span;
                let (path, items) = self.library.tasks(name, &from)?;
                Ok(Read::Tasks(path.display().to_string(), items))
            }
            _ => Err(vec![Diagnostic::error("this includes nothing").at(task.span)]),
        }
    }

    /// Fails the hosts that wanted what cannot be read.
    #[allow(clippy::too_many_arguments)]
    async fn not_included(
        self: &Arc<Self>,
        stage: &Arc<Stage>,
        task: &Arc<Task>,
        frame: &Arc<Frame>,
        name: &str,
        hosts: &[Arc<str>],
        what: &What,
        diagnostics: Vec<Diagnostic>,
    ) {
        let mut first = diagnostics.first().cloned().unwrap_or_else(|| Diagnostic::error("this cannot be included").at(task.span));
        let named = match &task.action {
            Action::IncludeTasks { file, .. } => file.span,
            _ => task.span,
        };
        // What is wrong in a file of the user's is not for a `rescue` to mend; that there is none is.
        let is_missing = first.rule == Some("missing-file") && first.span == Some(named);
        let is_wrong = !is_missing && matches!(what, What::Tasks(_));
        if is_wrong {
            stage.break_off();
        }
        if let (true, What::Tasks(file)) = (is_missing, what) {
            let file = search::absolute(&task.folder.join(file));
            first.message = format!("Could not find or access '{}' on the controller: {}", file.display(), first.message);
        }
        let is_ansible = self.sources.in_ansible_form();
        let without_hints = |diagnostic: &Diagnostic| Diagnostic { hints: Vec::new(), ..diagnostic.clone() };
        let rendered = |diagnostic: &Diagnostic| match is_ansible {
            true => self.rendered(&without_hints(diagnostic)),
            false => self.rendered(diagnostic),
        };
        let text = diagnostics.iter().map(rendered).collect::<Vec<_>>().join("\n");
        if is_ansible {
            self.tell(Event::Diagnostic { text: text.clone() });
        }
        for host in hosts {
            let mut ended = crate::run::step::Ended::broken_down();
            ended.fail(&text, &first.message);
            let reason = ("reason".into(), Value::str(&first.message));
            let mut register = ended.result.values.clone();
            register.extend([reason.clone(), ("changed".into(), Value::Bool(false))]);
            ended.register = Value::from(register);
            if is_ansible {
                // Ansible tells the reason apart from the result, and calls it so.
                ended.result.diagnostic = None;
                ended.result.values = Map::from_iter([("failed".into(), Value::Bool(true))]);
                ended.result.values.extend((!is_wrong).then_some(reason));
            }
            self.settle(stage, task, frame, name, host, std::slice::from_ref(host), ended).await;
        }
    }
}

impl Step {
    /// Returns what this host includes, in order, what `register` gets, and why a check does not know whether it is included.
    fn included(&self, variables: &TaskVariables, engine: &SharedEngine) -> Result<(Vec<Inclusion>, Value, Option<String>), Stop> {
        let Some(r#loop) = &self.task.r#loop else {
            let doubt = self.require(variables, engine)?;
            let what = self.what(variables, engine).map_err(|stop| doubt.clone().map_or(stop, Stop::Doubt))?;
            let register = Value::from(registered(&what));
            return Ok((vec![(what, Map::new(), None)], register, doubt));
        };
        let named = self.named_loop(r#loop, variables, engine)?;
        let r#loop = named.as_ref().unwrap_or(r#loop);
        let values = self.loop_values(r#loop, variables, engine)?;
        let mut all = Vec::new();
        let mut results = Vec::new();
        let mut skipped = Stop::Skip(Value::Null);
        let mut doubt = None;
        for item in self.loop_items(r#loop, &values, variables, engine)? {
            match self.require(&item.variables, engine) {
                Ok(why) => {
                    doubt = doubt.or(why);
                    let what = self.what(&item.variables, engine)?;
                    let mut result = registered(&what);
                    result.extend(item.own.iter().cloned());
                    results.push(Value::from(result));
                    let label = match self.is_secret(&item.variables, engine) {
                        true => "(censored due to no_log)".to_owned(),
                        false => self.label(r#loop, &item, &item.variables, engine)?,
                    };
                    all.push((what, item.own.into_iter().collect(), Some(label)));
                }
                Err(Stop::Skip(condition)) => {
                    let came = self.came(Stop::Skip(condition.clone()), &item.variables, engine);
                    results.push(self.told_item(r#loop, &item, came, engine).register);
                    skipped = Stop::Skip(condition);
                }
                Err(stop) => return Err(stop),
            }
        }
        if all.is_empty() {
            return Err(skipped);
        }
        let register = Value::map([
            ("results", Value::list(results)),
            ("changed", Value::Bool(false)),
            ("skipped", Value::Bool(false)),
            ("msg", Value::str("All items completed")),
        ]);
        Ok((all, register, doubt))
    }

    /// As [`Step::require_conditions`]. What includes itself while nobody knows how often is not followed.
    fn require(&self, variables: &TaskVariables, engine: &SharedEngine) -> Result<Option<String>, Stop> {
        match self.require_conditions(variables, engine)? {
            Some(why) if !self.run.settings.check || self.frame.is_by(&self.run.place(&self.task)) => Err(Stop::Doubt(why)),
            doubt => Ok(doubt),
        }
    }

    fn what(&self, variables: &TaskVariables, engine: &SharedEngine) -> Result<What, Stop> {
        match &self.task.action {
            Action::IncludeTasks { file, .. } => Ok(What::Tasks(self.rendered(&file.value, variables, engine)?.to_string())),
            Action::IncludeRole { role, public, .. } => {
                let name = self.rendered(&role.name, variables, engine)?.to_string();
                let entry = |value: &Option<Value>| match value {
                    None => Ok::<_, Stop>("main".to_owned()),
                    Some(value) => {
                        let value = self.rendered(value, variables, engine)?;
                        Ok(if is_omit(&value) { "main".to_owned() } else { value.to_string() })
                    }
                };
                let entries = Entries {
                    tasks: entry(&role.tasks_from)?,
                    vars: entry(&role.vars_from)?,
                    defaults: entry(&role.defaults_from)?,
                    handlers: entry(&role.handlers_from)?,
                };
                let flag = |located: &Option<Located>| match located {
                    None => Ok::<_, Stop>(None),
                    Some(located) => {
                        let value = self.rendered(&located.value, variables, engine)?;
                        Ok((!is_omit(&value)).then(|| arguments::to_bool(&value).unwrap_or(false)))
                    }
                };
                let public = flag(public)?.unwrap_or(self.run.settings.execution.private_role_vars == Some(false));
                let (duplicates, validate) = (flag(&role.allow_duplicates)?, flag(&role.rolespec_validate)?);
                Ok(What::Role { name, entries, public, duplicates, validate })
            }
            Action::Module { .. } => Err(Diagnostic::error("a module is no include").at(self.task.span).into()),
        }
    }
}

/// Returns what `register` gets of one inclusion.
fn registered(what: &What) -> Map {
    let name = match what {
        What::Tasks(file) => file,
        What::Role { name, .. } => name,
    };
    Map::from_iter([
        ("include".into(), Value::str(name)),
        ("include_args".into(), Value::Map(Arc::default())),
        ("changed".into(), Value::Bool(false)),
        ("failed".into(), Value::Bool(false)),
    ])
}
