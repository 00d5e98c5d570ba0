//! One task on the hosts of a batch: who works on it, and what its results mean for the hosts.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use futures_util::future::Either;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::load::playbook::{Action, Task};
use crate::modules;
use crate::report::event::{Event, Status, TaskResult};
use crate::run::Run;
use crate::run::budget;
use crate::run::frame::Frame;
use crate::run::host::Standing;
use crate::run::replay;
use crate::run::stage::Stage;
use crate::run::step::{Ended, Step};
use crate::source::Diagnostic;
use crate::value::{Key, Map, Value, arguments};

/// Modules that do their work once for all hosts.
const ONCE_FOR_ALL: &[&str] = &["add_host", "pause"];

impl Run {
    /// Runs a task, or handler, on those of `hosts` that take part.
    pub(super) async fn task(
        self: &Arc<Self>,
        stage: &Arc<Stage>,
        task: &Arc<Task>,
        hosts: &[Arc<str>],
        frame: &Arc<Frame>,
        is_handler: bool,
    ) {
        let hosts = self.hosts.running(hosts);
        let is_wanted = is_handler || self.selection.wants(&frame.tags_of(task));
        let Some(first) = hosts.first().filter(|_| is_wanted) else { return };
        let name = self.task_name(stage, task, frame, first);
        if !self.has_started(&name, task) || !self.is_confirmed(&name, task) {
            return;
        }
        self.note_reserved(&task.keywords.vars, task.span);
        match &task.action {
            Action::IncludeTasks { .. } | Action::IncludeRole { .. } => self.include(stage, task, &hosts, frame, name, is_handler).await,
            Action::Module { name: module, .. } if modules::short_name(module) == "meta" => {
                self.meta(stage, task, &hosts, frame, is_handler).await
            }
            Action::Module { name: module, .. } => {
                let module = modules::short_name(module).to_owned();
                if !self.task_may_start(&name, task, hosts.len()) {
                    return;
                }
                let began = std::time::Instant::now();
                self.announce(stage, (task, frame), &hosts, (&name, &module), is_handler);
                if self.on_hosts(stage, task, &hosts, frame, &name, &module, is_handler).await {
                    self.guard.changed(began.elapsed());
                }
            }
        }
    }

    /// Returns the name to show: the role's and the task's, rendered as far as it can be.
    pub(super) fn task_name(self: &Arc<Self>, stage: &Arc<Stage>, task: &Arc<Task>, frame: &Arc<Frame>, host: &Arc<str>) -> String {
        let name = match (&task.name, &task.action) {
            (Some(Value::Str(name)), _) => name.to_string(),
            (Some(name), _) => {
                let variables = self.variables(stage, frame, Some(task), host);
                let engine = self.engine(&self.search(stage, frame, task));
                engine.render(name, &variables).unwrap_or_else(|_| name.clone()).to_string()
            }
            (None, Action::Module { name, .. }) => modules::short_name(name).to_owned(),
            (None, Action::IncludeTasks { .. }) => "include_tasks".to_owned(),
            (None, Action::IncludeRole { role, .. }) => format!("include_role : {}", role.name),
        };
        match &task.role {
            Some(role) => format!("{} : {name}", role.name),
            None => name,
        }
    }

    /// Whether the task of `--start-at-task` was met.
    fn has_started(&self, name: &str, task: &Task) -> bool {
        if self.started.load(Ordering::SeqCst) {
            return true;
        }
        let is_own = matches!(&task.action, Action::Module { name, .. } if matches!(modules::short_name(name), "setup" | "meta"));
        let wanted = self.settings.start_at_task.as_deref().unwrap_or_default();
        let bare = name.rsplit(" : ").next().unwrap_or(name);
        if wanted == name || wanted == bare {
            self.started.store(true, Ordering::SeqCst);
            return true;
        }
        is_own
    }

    /// With `--step`: whether the person at the terminal wants the task. Where nobody answers, nothing is run.
    fn is_confirmed(&self, name: &str, task: &Task) -> bool {
        let is_own = matches!(&task.action, Action::Module { name, .. } if modules::short_name(name) == "meta");
        if is_own || !self.stepping.load(Ordering::SeqCst) {
            return true;
        }
        let answer = self.asker.ask(&format!("Perform task: TASK: {name} (N)o/(y)es/(c)ontinue: "), true);
        match answer.as_deref().map(|answer| answer.trim().to_lowercase()).as_deref() {
            Some("y" | "yes") => true,
            Some("c" | "continue") => {
                self.stepping.store(false, Ordering::SeqCst);
                true
            }
            _ => false,
        }
    }

    /// Does a task on hosts, and says whether anything was changed now.
    #[allow(clippy::too_many_arguments)]
    async fn on_hosts(
        self: &Arc<Self>,
        stage: &Arc<Stage>,
        task: &Arc<Task>,
        hosts: &[Arc<str>],
        frame: &Arc<Frame>,
        name: &str,
        module: &str,
        is_handler: bool,
    ) -> bool {
        let Some(first) = hosts.first() else { return false };
        let flags = match self.flags(stage, task, frame, first) {
            Ok(flags) => flags,
            Err(diagnostic) => {
                self.report(&diagnostic);
                stage.break_off();
                return false;
            }
        };
        let once = flags.once || ONCE_FOR_ALL.contains(&module);
        let one = if once { self.who_does(task, module, &stage.batch(), hosts) } else { Vec::new() };
        let workers = if once { one.as_slice() } else { hosts };
        let throttle = flags.throttle.map(|most| stage.throttle(task.span, most));

        let mut steps = JoinSet::new();
        for host in workers {
            let step = Step {
                run: self.clone(),
                stage: stage.clone(),
                frame: frame.clone(),
                task: task.clone(),
                host: host.clone(),
                name: name.to_owned(),
                key: Some(self.step_key(task, module, host)),
                is_handler,
                own: Map::new(),
                redone: 0,
            };
            // The hosts get their turns in their own order, whatever thread looks after them; also so that none holds one of the
            // two that another waits for with the other.
            let own = match &throttle {
                Some(throttle) => Some(queued(throttle).await),
                None => None,
            };
            let one_of_all = queued(&self.forks).await;
            steps.spawn(async move {
                let _own = match own {
                    Some(own) => own.await.ok(),
                    None => None,
                };
                let _one_of_all = one_of_all.await;
                let ended = step.perform().await;
                (step, ended)
            });
        }
        let mut changed = false;
        let mut failed = Vec::new();
        let mut left: Vec<_> = workers.to_vec();
        while let Some(joined) = steps.join_next().await {
            let (step, ended) = match joined {
                Ok(joined) => joined,
                // A step that broke down is one of those that did not come back; they are failed below.
                Err(_) => continue,
            };
            let host = step.host.clone();
            left.retain(|other| *other != host);
            let ended = self.debugged(step, ended).await;
            changed |= ended.result.status == Status::Changed && !ended.result.earlier;
            let for_hosts = match once {
                // Also of those that are elsewhere, as in a file that one host includes.
                true if flags.once => self.reached(&stage.batch(), hosts),
                true => hosts.to_vec(),
                false => vec![host.clone()],
            };
            if self.settle(stage, task, frame, name, &host, &for_hosts, ended).await {
                failed.push(host);
            }
        }
        for host in left {
            let ended = Ended::broken_down();
            self.settle(stage, task, frame, name, &host, std::slice::from_ref(&host), ended).await;
            failed.push(host);
        }
        self.in_journal().await;
        self.spend(stage, hosts, &failed, flags.any_errors_fatal || once);
        changed
    }

    /// Returns the hosts of a batch that were not lost, and `hosts`.
    fn reached(&self, batch: &[Arc<str>], hosts: &[Arc<str>]) -> Vec<Arc<str>> {
        let is_there = |host: &&Arc<str>| hosts.contains(host) || self.hosts.standing(host) != Standing::Unreachable;
        let more = hosts.iter().filter(|host| !batch.contains(host));
        batch.iter().filter(is_there).chain(more).cloned().collect()
    }

    /// Takes in what a task came to on a host: reports it, counts it, registers, notifies; and says whether the host failed.
    #[allow(clippy::too_many_arguments)]
    pub(super) async fn settle(
        self: &Arc<Self>,
        stage: &Arc<Stage>,
        task: &Arc<Task>,
        frame: &Arc<Frame>,
        name: &str,
        host: &Arc<str>,
        for_hosts: &[Arc<str>],
        ended: Ended,
    ) -> bool {
        let mut ended = ended;
        let sealed = self.sealed(&ended);
        self.register(task, for_hosts, &ended.register);
        for (delegate, then) in std::mem::take(&mut ended.then) {
            let targets = delegate.map_or_else(|| for_hosts.to_vec(), |delegate| vec![delegate]);
            let before = ended.result.status;
            ended.result.status = self.then(stage, task, &targets, host, then, before).await;
            if before != ended.result.status && ended.result.status == Status::Failed {
                let aborted = Diagnostic::error("user requested abort!").at(task.span);
                ended.fail(&self.rendered(&aborted), &aborted.message);
            } else if before != ended.result.status && !task.changed_when.is_empty() {
                ended.result.status = before;
            } else if before != ended.result.status && ended.result.status == Status::Changed {
                ended.change();
                self.register(task, for_hosts, &ended.register);
            }
        }
        let mut notified = Vec::new();
        if let Some(notice) = ended.notice {
            match self.notify(stage, task, frame, host, notice, name, ended.is_handler) {
                Ok(names) => notified = names,
                Err(diagnostic) => {
                    ended.fail(&self.rendered(&diagnostic), &diagnostic.message);
                    // The message stands above the result already, and what the module itself said was no failure.
                    ended.result.values.shift_remove("msg");
                }
            }
        }
        self.count(host, name, &ended.result, frame.is_rescued && !stage.is_broken());
        if let Some(number) = frame.outward().find_map(|ring| ring.role_number)
            && !matches!(ended.result.status, Status::Skipped | Status::Unreachable)
        {
            self.hosts.with(host, |host| host.roles_begun.insert(number));
        }
        let failed = self.new_standing(host, task, name, frame, &ended);
        self.note_planned(host, name, task, &ended);
        self.note_step(host, name, task, frame, &ended, notified, sealed);
        if !ended.told {
            self.tell(Event::Result { host: host.clone(), task: name.to_owned(), result: Box::new(ended.result) });
        }
        failed
    }

    fn register(&self, task: &Task, hosts: &[Arc<str>], value: &Value) {
        let Some(name) = task.register.as_ref().and_then(|register| register.value.as_str()) else { return };
        for host in hosts {
            self.hosts.with(host, |host| host.set(name, value.clone()));
        }
    }

    fn count(&self, host: &str, name: &str, result: &TaskResult, is_rescued: bool) {
        if result.check {
            if result.status == Status::Unknown {
                self.unknown.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(name.to_owned());
            } else {
                self.predicted.fetch_add(1, Ordering::SeqCst);
            }
        }
        self.hosts.with(host, |host| {
            let counts = &mut host.counts;
            match result.status {
                Status::Ok => counts.ok += 1,
                Status::Changed => {
                    counts.ok += 1;
                    counts.changed += 1;
                }
                Status::Skipped => counts.skipped += 1,
                Status::Unknown => counts.unknown += 1,
                Status::Failed | Status::Unreachable if result.ignored => {
                    counts.ok += 1;
                    counts.ignored += 1;
                    counts.changed += u32::from(result.values.get("changed") == Some(&Value::Bool(true)));
                }
                Status::Failed if is_rescued && !replay::is_unsure(result) => counts.rescued += 1,
                Status::Failed => counts.failed += 1,
                Status::Unreachable => counts.unreachable += 1,
            }
        });
    }

    /// Sets whether the host goes on, and says whether it failed.
    fn new_standing(&self, host: &Arc<str>, task: &Task, name: &str, frame: &Frame, ended: &Ended) -> bool {
        if ended.result.ignored {
            return false;
        }
        match ended.result.status {
            Status::Failed if !replay::is_unsure(&ended.result) => {
                self.hosts.with(host, |host| {
                    host.standing = Standing::Failed;
                    if frame.is_rescued {
                        host.set("ansible_failed_task", failed_task(task, name));
                        host.set("ansible_failed_result", ended.register.clone());
                    }
                });
                true
            }
            Status::Failed | Status::Unreachable => {
                self.hosts.set_standing(host, Standing::Unreachable);
                true
            }
            _ => false,
        }
    }

    /// Stops more hosts where too many have failed: all of them with `any_errors_fatal`, the whole play when
    /// `max_fail_percentage` is exceeded.
    pub(super) fn spend(&self, stage: &Arc<Stage>, hosts: &[Arc<str>], failed: &[Arc<str>], is_fatal: bool) {
        if failed.is_empty() {
            return;
        }
        if is_fatal {
            for host in self.hosts.running(hosts) {
                self.hosts.set_standing(&host, Standing::Failed);
            }
        }
        let Some(allowed) = &stage.play.max_fail_percentage else { return };
        let share = self.engine_of_play(&stage.play.folder).render(&allowed.value, &crate::run::play::known(stage, self));
        let share = share.ok().and_then(|share| arguments::from_value::<f64>(&share).ok());
        let Some(share) = share else {
            self.report(&Diagnostic::error("`max_fail_percentage` has to be a number").at(allowed.span));
            stage.break_off();
            return;
        };
        let batch = stage.batch();
        let lost = batch.iter().filter(|host| matches!(self.hosts.standing(host), Standing::Failed)).count();
        if budget::is_spent(lost, batch.len(), share) {
            self.tell(Event::PlayStopped { why: format!("{lost} of {} hosts have failed, more than {share} percent", batch.len()) });
            stage.break_off();
        }
    }
}

/// Takes a place in the queue of a semaphore now, and returns what waits for its turn.
async fn queued(semaphore: &Arc<Semaphore>) -> impl Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send + use<> {
    let mut turn = Box::pin(semaphore.clone().acquire_owned());
    match std::future::poll_fn(|context| Poll::Ready(turn.as_mut().poll(context))).await {
        Poll::Ready(now) => Either::Left(std::future::ready(now)),
        Poll::Pending => Either::Right(turn),
    }
}

/// What `ansible_failed_task` tells.
fn failed_task(task: &Task, name: &str) -> Value {
    let (action, arguments) = match &task.action {
        Action::Module { name, arguments, .. } => (name.clone(), arguments.clone()),
        Action::IncludeTasks { .. } => ("include_tasks".to_owned(), Arc::default()),
        Action::IncludeRole { .. } => ("include_role".to_owned(), Arc::default()),
    };
    let bare = if task.name.is_some() { name.rsplit(" : ").next().unwrap_or(name) } else { "" };
    Value::from(Map::from_iter([
        (Key::from("name"), Value::str(bare)),
        (Key::from("action"), Value::from(action)),
        (Key::from("args"), Value::Map(arguments)),
    ]))
}
