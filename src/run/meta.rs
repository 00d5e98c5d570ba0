//! `meta`: what steers the play itself.

use std::sync::Arc;

use crate::load::playbook::{Action, Task};
use crate::report::event::{Event, Status, TaskResult};
use crate::run::Run;
use crate::run::frame::Frame;
use crate::run::host::Standing;
use crate::run::stage::Stage;
use crate::run::step::{Step, Stop};
use crate::source::Diagnostic;
use crate::value::{Map, Value};
use crate::vars::Truth;

/// Actions that are done on each host by itself; the others are decided on the first host and hold for all.
const BY_HOST: &[&str] = &["noop", "end_host", "end_role", "reset_connection", "flush_handlers"];

/// Every action.
const ALL: &[&str] = &[
    "clear_facts",
    "clear_host_errors",
    "end_batch",
    "end_host",
    "end_play",
    "end_role",
    "flush_handlers",
    "noop",
    "refresh_inventory",
    "reset_connection",
];

impl Run {
    /// Runs a `meta` task.
    pub(super) async fn meta(
        self: &Arc<Self>,
        stage: &Arc<Stage>,
        task: &Arc<Task>,
        hosts: &[Arc<str>],
        frame: &Arc<Frame>,
        is_handler: bool,
    ) {
        let action = action(task);
        if !ALL.contains(&action.as_str()) {
            self.report(
                &Diagnostic::error(format!("there is no meta action `{action}`"))
                    .at(task.span)
                    .did_you_mean(&action, ALL.iter().copied())
                    .hint(format!("known are {}", ALL.join(", "))),
            );
            stage.break_off();
            return;
        }
        let misplaced = match action.as_str() {
            "flush_handlers" if is_handler => Some("flush_handlers cannot be used as a handler"),
            "end_role" if is_handler => Some("Cannot execute 'end_role' from a handler"),
            "end_role" if frame.outward().all(|ring| ring.role_number.is_none()) => {
                Some("Cannot execute 'end_role' from outside of a role")
            }
            _ => None,
        };
        if let Some(misplaced) = misplaced {
            self.report(&Diagnostic::error(misplaced).at(task.span));
            stage.break_off();
            return;
        }
        if let Some(first) = hosts.first() {
            let name = self.task_name(stage, task, frame, first);
            self.announce(stage, (task, frame), hosts, (&name, "meta"), is_handler);
        }
        let workers = if BY_HOST.contains(&action.as_str()) { hosts } else { hosts.get(..1).unwrap_or_default() };
        let mut held = Vec::new();
        for host in workers {
            let step = Step {
                run: self.clone(),
                stage: stage.clone(),
                frame: frame.clone(),
                task: task.clone(),
                host: host.clone(),
                name: action.clone(),
                key: None,
                is_handler: false,
                own: Map::new(),
                redone: 0,
            };
            let variables = self.variables(stage, frame, Some(task), host);
            let engine = self.engine(&self.search(stage, frame, task));
            let conditions = frame.all(task, |keywords| &keywords.when);
            let stop = match step.hold(&conditions, &variables, &engine) {
                Ok((Truth::Yes, _)) => match self.doubt(frame, host) {
                    None => {
                        held.push(host.clone());
                        continue;
                    }
                    Some(why) => Stop::Doubt(why),
                },
                Ok((Truth::No, _)) => {
                    self.tell_skipped(task, &action, host);
                    continue;
                }
                Ok((Truth::Unknown(why), _)) => Stop::Doubt(why),
                Err(stop) => stop,
            };
            if let Stop::Doubt(why) = &stop
                && self.settings.check
            {
                self.doubt_the_rest(&action, host, hosts, why);
            }
            let ended = step.came(stop, &variables, &engine).into_ended();
            let is_failed = ended.result.status == Status::Failed;
            if self.settle(stage, task, frame, &action, host, std::slice::from_ref(host), ended).await && is_failed {
                self.spend(stage, hosts, std::slice::from_ref(host), false);
            }
        }
        if !held.is_empty() {
            let whom = if BY_HOST.contains(&action.as_str()) { held.as_slice() } else { held.get(..1).unwrap_or_default() };
            for host in whom {
                self.tell(Event::MetaDone { host: host.clone(), text: done(&action, task, host) });
            }
            self.meta_action(stage, &action, &held, task, frame).await;
        }
    }

    /// Notes that a check does not know whether the play goes on, where this action would end it.
    fn doubt_the_rest(&self, action: &str, host: &Arc<str>, hosts: &[Arc<str>], why: &str) {
        let whom = match action {
            "end_host" => std::slice::from_ref(host),
            "end_play" | "end_batch" => hosts,
            _ => return,
        };
        let why = format!("`{action}` may end the play before: {why}");
        for host in whom {
            self.hosts.with(host, |host| host.doubt.get_or_insert_with(|| why.clone()).len());
        }
    }

    /// Tells that a meta action was not done, as its condition does not hold.
    fn tell_skipped(&self, task: &Task, action: &str, host: &Arc<str>) {
        let why = skipped(action, task, host);
        self.tell(Event::MetaDone { host: host.clone(), text: why.clone() });
        let values = Map::from_iter([
            ("msg".into(), Value::str(action)),
            ("skipped".into(), Value::Bool(true)),
            ("skip_reason".into(), Value::str(&why)),
        ]);
        let result = TaskResult { status: Status::Skipped, because: why, values, ..TaskResult::default() };
        self.tell(Event::Result { host: host.clone(), task: action.to_owned(), result: Box::new(result) });
    }

    /// Does a meta action, for the hosts on which its condition holds.
    pub(super) async fn meta_action(
        self: &Arc<Self>,
        stage: &Arc<Stage>,
        action: &str,
        hosts: &[Arc<str>],
        task: &Task,
        frame: &Arc<Frame>,
    ) {
        match action {
            "flush_handlers" => self.flush(stage, hosts, frame.is_rescued).await,
            "end_play" => {
                for host in self.hosts.running(&stage.all) {
                    self.hosts.set_standing(&host, Standing::Ended);
                }
                stage.stop();
            }
            "end_batch" => {
                for host in self.hosts.running(&stage.batch()) {
                    self.hosts.set_standing(&host, Standing::Ended);
                }
            }
            "end_host" => hosts.iter().for_each(|host| self.hosts.set_standing(host, Standing::Ended)),
            "end_role" => {
                if let Some(number) = frame.outward().find_map(|ring| ring.role_number) {
                    hosts.iter().for_each(|host| self.hosts.set_standing(host, Standing::LeftRole(number)));
                }
            }
            "clear_facts" => stage.all.iter().for_each(|host| self.forget_facts(host)),
            "clear_host_errors" => {
                for host in &stage.all {
                    self.hosts.with(host, |host| {
                        host.cleared += 1;
                        host.forgiven = host.counts;
                        if matches!(host.standing, Standing::Failed | Standing::Unreachable) {
                            host.standing = Standing::Running;
                        }
                    });
                }
            }
            "refresh_inventory" => {
                let refreshed = self.site.refresh().and_then(|()| self.pattern(&stage.play)).and_then(|pattern| self.site.select(&pattern));
                match refreshed {
                    Ok(hosts) => stage.show(hosts),
                    Err(diagnostic) => {
                        self.report(&diagnostic);
                        stage.break_off();
                    }
                }
            }
            "reset_connection" => {
                for host in hosts {
                    self.reconnect(stage, task, host).await;
                }
            }
            _ => {}
        }
    }

    /// Closes the connection to a host, or to the one the task is delegated to.
    pub(super) async fn reconnect(self: &Arc<Self>, stage: &Arc<Stage>, task: &Task, host: &Arc<str>) {
        let step = Step {
            run: self.clone(),
            stage: stage.clone(),
            frame: stage.frame.clone(),
            task: Arc::new(task.clone()),
            host: host.clone(),
            name: String::new(),
            key: None,
            is_handler: false,
            own: Map::new(),
            redone: 0,
        };
        let seat = {
            let variables = self.variables(stage, &stage.frame, Some(task), host);
            let engine = self.engine(&self.search(stage, &stage.frame, task));
            let delegate = step.delegate(&variables, &engine).ok().flatten();
            step.seat(delegate.as_ref(), &variables, &engine)
        };
        if let Ok(seat) = seat {
            self.hands.close(&seat.target).await;
        }
    }
}

/// Says what a meta action came to.
fn done(action: &str, task: &Task, host: &str) -> String {
    let role = task.role.as_ref().map_or("", |role| role.name.as_str());
    match action {
        "flush_handlers" => format!("triggered running handlers for {host}"),
        "refresh_inventory" => "inventory successfully refreshed".to_owned(),
        "clear_facts" => "facts cleared".to_owned(),
        "clear_host_errors" => "cleared host errors".to_owned(),
        "end_batch" => "ending batch".to_owned(),
        "end_play" => "ending play".to_owned(),
        "end_host" => format!("ending play for {host}"),
        "end_role" => format!("ending role {role} for {host}"),
        "reset_connection" => "reset connection".to_owned(),
        other => other.to_owned(),
    }
}

/// Says that a meta action was not done, as its condition does not hold.
fn skipped(action: &str, task: &Task, host: &str) -> String {
    let role = task.role.as_ref().map_or("", |role| role.name.as_str());
    let instead = match action {
        "flush_handlers" => format!("not running handlers for {host}"),
        "clear_facts" => format!("not clearing facts and fact cache for {host}"),
        "clear_host_errors" => format!("not clearing host error state for {host}"),
        "end_batch" => "continuing current batch".to_owned(),
        "end_play" => "continuing play".to_owned(),
        "end_role" => format!("continuing role {role} for {host}"),
        _ => format!("continuing execution for {host}"),
    };
    format!("{action} conditional evaluated to False, {instead}")
}

fn action(task: &Task) -> String {
    let Action::Module { arguments, .. } = &task.action else { return String::new() };
    ["_raw_params", "free_form", "action"]
        .iter()
        .find_map(|name| arguments.get(*name))
        .or_else(|| arguments.values().next())
        .map(|value| value.to_string().trim().to_owned())
        .unwrap_or_default()
}
