//! Handlers: who is notified, and what runs when they are flushed.

use std::sync::{Arc, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::load::playbook::{Located, Rolling, Task};
use crate::report::event::Event;
use crate::run::Run;
use crate::run::budget;
use crate::run::frame::Frame;
use crate::run::host::{HandlerId, Notice, Standing};
use crate::run::stage::Stage;
use crate::source::Diagnostic;
use crate::value::{Value, arguments};

/// A handler and where it stands.
pub(super) struct Handler {
    pub(super) task: Arc<Task>,
    pub(super) frame: Arc<Frame>,
    /// The number of the list it stands in: of the play's handlers, or of a role's.
    pub(super) list: usize,
}

impl Run {
    /// Notes for a host all handlers that a task notifies, and returns their names. Which handlers a name means is told
    /// when they are run, as includes may bring more of them until then; only a handler notifies others at once.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn notify(
        self: &Arc<Self>,
        stage: &Arc<Stage>,
        task: &Arc<Task>,
        frame: &Arc<Frame>,
        host: &Arc<str>,
        notice: Notice,
        by: &str,
        is_handler: bool,
    ) -> Result<Vec<String>, Diagnostic> {
        let notified = frame.notified_by(task);
        let mut names = Vec::new();
        if notified.is_empty() {
            return Ok(names);
        }
        let handlers = self.named_handlers(stage, host);
        for located in notified {
            for topic in self.texts(stage, task, frame, host, located)? {
                let meant = meant(&handlers, &topic);
                if meant.is_empty() {
                    let missing = format!(
                        "The requested handler '{topic}' was not found in either the main handlers list nor in the listening handlers list"
                    );
                    if self.settings.execution.error_on_missing_handler == Some(false) {
                        self.warn(missing);
                        continue;
                    }
                    let names = handlers.iter().flat_map(|handler| handler.names.iter().chain(&handler.listens)).map(String::as_str);
                    return Err(Diagnostic::error(missing)
                        .at(located.span)
                        .did_you_mean(&topic, names)
                        .hint("a handler answers to its `name`, or to a topic in its `listen`"));
                }
                let of = |id: &HandlerId| handlers.get(*id).and_then(|handler| handler.names.last()).cloned();
                names.extend(meant.iter().filter_map(of));
                self.hosts.with(host, |host| match is_handler {
                    true => meant.into_iter().for_each(|handler| host.notify(handler, notice, by)),
                    false => host.notify_topic(topic, notice, by),
                });
            }
        }
        Ok(names)
    }

    /// Tells which handlers the names mean that were notified on a host.
    pub(super) fn settle_topics(self: &Arc<Self>, stage: &Arc<Stage>, host: &Arc<str>) {
        let topics = self.hosts.with(host, |host| std::mem::take(&mut host.topics));
        if topics.is_empty() {
            return;
        }
        let handlers = self.named_handlers(stage, host);
        for (topic, (notice, by)) in topics {
            for handler in meant(&handlers, &topic) {
                self.hosts.with(host, |host| host.notify(handler, notice, &by));
            }
        }
    }

    /// Returns the texts of a keyword that holds one or several.
    fn texts(
        self: &Arc<Self>,
        stage: &Arc<Stage>,
        task: &Arc<Task>,
        frame: &Arc<Frame>,
        host: &Arc<str>,
        located: &Located,
    ) -> Result<Vec<String>, Diagnostic> {
        let value = match &located.value {
            value @ Value::Lazy(_) => {
                let variables = self.variables(stage, frame, Some(task), host);
                self.engine(&self.search(stage, frame, task)).render(value, &variables)?
            }
            plain => plain.clone(),
        };
        Ok(match value {
            Value::List(items) => items.iter().map(ToString::to_string).collect(),
            Value::Null => Vec::new(),
            single => vec![single.to_string()],
        })
    }

    /// Warns, once, of a handler that nothing can notify.
    fn warn_unusable(&self, handler: &Task) {
        let name = handler.name.as_ref().map(ToString::to_string).unwrap_or_default();
        let is_new = self.unusable.lock().unwrap_or_else(PoisonError::into_inner).insert(handler.span);
        if handler.listen.is_empty() && is_new {
            self.warn(format!("Handler '{name}' is unusable: its name cannot be rendered here, and it listens to no topic"));
        }
    }

    /// Returns what each handler answers to. A name that cannot be rendered on this host is left out.
    fn named_handlers(self: &Arc<Self>, stage: &Arc<Stage>, host: &Arc<str>) -> Vec<Named> {
        let named = |handler: Arc<Handler>| {
            let texts = |located: &Located| match self.texts(stage, &handler.task, &handler.frame, host, located) {
                Ok(texts) => texts,
                Err(_) => {
                    self.warn_unusable(&handler.task);
                    Vec::new()
                }
            };
            let name = handler.task.name.clone().map(|value| Located { value, span: handler.task.span });
            let mut names: Vec<_> = name.iter().flat_map(&texts).collect();
            if let Some(role) = &handler.task.role {
                names.extend(of_role(&role.name, &names));
            }
            let mut listens: Vec<_> = handler.task.listen.iter().flat_map(|located| plain_texts(&located.value)).collect();
            if let Some(role) = &handler.task.role {
                listens.extend(of_role(&role.name, &listens));
            }
            Named { names, listens, list: handler.list }
        };
        stage.handlers().into_iter().map(named).collect()
    }

    /// Runs the handlers that were notified, in the order of their definition, each once on every host that it was notified on.
    /// A handler that notifies one before it has that run at the next flush.
    pub(super) fn flush<'a>(self: &'a Arc<Self>, stage: &'a Arc<Stage>, hosts: &'a [Arc<str>], is_rescued: bool) -> BoxFuture<'a, ()> {
        async move {
            let forced = self.forces_handlers(stage);
            for host in hosts {
                let standing = self.hosts.standing(host);
                if standing == Standing::Running || (forced && standing == Standing::Failed) {
                    self.settle_topics(stage, host);
                }
            }
            let mut next = 0;
            while let Some(handler) = stage.handlers().get(next).cloned() {
                if stage.is_stopped() || self.is_interrupted() {
                    return;
                }
                self.run_handler(stage, next, &handler, hosts, Flush { forced, is_rescued }).await;
                next += 1;
            }
        }
        .boxed()
    }

    /// As [`Run::flush`], at the end of a section of the play.
    pub(super) async fn flush_at_end(self: &Arc<Self>, stage: &Arc<Stage>, hosts: &[Arc<str>]) {
        for host in self.hosts.running(hosts) {
            if self.hosts.with(&host, |host| !host.topics.is_empty()) {
                let text = format!("triggered running handlers for {host}");
                self.tell(Event::MetaDone { host, text });
            }
        }
        self.flush(stage, hosts, false).await;
    }

    async fn run_handler(self: &Arc<Self>, stage: &Arc<Stage>, id: HandlerId, handler: &Handler, hosts: &[Arc<str>], flush: Flush) {
        let mut targets = Vec::new();
        let mut revived = Vec::new();
        let mut doubts = Vec::new();
        for host in hosts {
            let standing = self.hosts.standing(host);
            let is_revived = flush.forced && standing == Standing::Failed;
            if standing != Standing::Running && !is_revived {
                continue;
            }
            let Some((notice, by)) = self.hosts.with(host, |host| host.notified.shift_remove(&id)) else { continue };
            if is_revived {
                self.hosts.set_standing(host, Standing::Running);
                revived.push(host.clone());
            }
            if notice == Notice::Perhaps {
                doubts.push((host.clone(), format!("`{by}` cannot be predicted, and would notify it")));
            }
            targets.push(host.clone());
        }
        if targets.is_empty() {
            return;
        }
        let frame = if flush.is_rescued { handler.frame.rescued() } else { handler.frame.clone() };
        let frame = frame.in_doubt(doubts, None);
        match &handler.task.rolling {
            None => self.task(stage, &handler.task, &targets, &frame, true).await,
            Some(rolling) => self.roll(stage, (&handler.task, rolling), &targets, &frame).await,
        }
        for host in self.hosts.running(&revived) {
            self.hosts.set_standing(&host, Standing::Failed);
        }
    }

    /// Takes a handler over its hosts, so many at a time: `before`, the handler, and `after`, which runs even when something
    /// failed or the user pressed Ctrl-C. Where a host fails, the ones that wait are not begun, and still have to be notified.
    async fn roll(
        self: &Arc<Self>,
        stage: &Arc<Stage>,
        (handler, rolling): (&Arc<Task>, &Rolling),
        targets: &[Arc<str>],
        frame: &Arc<Frame>,
    ) {
        let known = crate::run::play::known(stage, self);
        let sizes = self.engine_of_play(&stage.play.folder).render(&rolling.serial.value, &known).and_then(|serial| {
            budget::batches(&serial, targets.len()).map_err(|wrong| {
                Diagnostic::error(wrong).at(rolling.serial.span).hint("write `serial: 1`, `serial: 30%`, or a list of them")
            })
        });
        let sizes = match sizes {
            Ok(sizes) => sizes,
            Err(diagnostic) => {
                self.report(&diagnostic);
                return stage.break_off();
            }
        };
        let mut waiting = targets;
        let around = frame.around_handler();
        for size in sizes {
            let (now, later) = waiting.split_at(size.min(waiting.len()));
            waiting = later;
            let marks = self.marks(now);
            self.items(stage, &rolling.before, now, &around).await;
            let ready = self.hosts.running(now);
            if !stage.is_stopped() && !self.is_interrupted() {
                self.task(stage, handler, &ready, frame, true).await;
            }
            if !rolling.after.is_empty() {
                self.note_again(&marks, self.is_interrupted() || stage.is_broken(), true).await;
                self.always(stage, &rolling.after, now, &self.frame_afterwards(&around, now)).await;
            }
            let failed: Vec<_> = now.iter().filter(|host| self.hosts.standing(host) != Standing::Running).cloned().collect();
            if waiting.is_empty() || !(stage.is_stopped() || self.is_interrupted() || !failed.is_empty()) {
                continue;
            }
            if !failed.is_empty() {
                let why = format!("a handler failed on {}: it is not begun on {}", failed.join(", "), waiting.join(", "));
                self.tell(Event::PlayStopped { why });
                stage.break_off();
            }
            self.owe(handler, waiting);
            return;
        }
    }

    fn forces_handlers(self: &Arc<Self>, stage: &Stage) -> bool {
        let own = stage.play.force_handlers.as_ref().and_then(|value| {
            let value = self.engine_of_play(&stage.play.folder).render(value, &crate::run::play::known(stage, self)).ok()?;
            arguments::to_bool(&value)
        });
        own.unwrap_or(self.settings.force_handlers || self.settings.execution.force_handlers == Some(true))
    }
}

/// How handlers are run.
#[derive(Clone, Copy)]
struct Flush {
    /// Also on hosts that failed.
    forced: bool,
    /// Whether a `rescue` catches what fails.
    is_rescued: bool,
}

/// What a handler answers to.
struct Named {
    list: usize,
    names: Vec<String>,
    listens: Vec<String>,
}

/// Returns the topics of `listen`: they are no templates.
fn plain_texts(value: &Value) -> Vec<String> {
    match value {
        Value::List(items) => items.iter().map(ToString::to_string).collect(),
        Value::Null => Vec::new(),
        single => vec![single.to_string()],
    }
}

/// Returns the names with that of their role before them, and without the role's collection.
fn of_role(role: &str, names: &[String]) -> Vec<String> {
    let short = role.rsplit('.').next().unwrap_or(role);
    let roles = if short == role { vec![role] } else { vec![role, short] };
    roles.iter().flat_map(|role| names.iter().map(move |name| format!("{role} : {name}"))).collect()
}

/// Returns the handlers that a topic means: the one of that name, and all that listen to it. Of several of one name that
/// of the last list counts, and within a list the first.
fn meant(handlers: &[Named], topic: &str) -> Vec<HandlerId> {
    let mut order: Vec<HandlerId> = (0..handlers.len()).collect();
    order.sort_by_key(|id| std::cmp::Reverse(handlers.get(*id).map(|handler| handler.list)));
    let ordered = || order.iter().filter_map(|id| Some((*id, handlers.get(*id)?)));
    let is = |name: &String| name == topic;
    let by_name = ordered().find(|(_, handler)| handler.names.iter().any(is)).map(|(id, _)| id);
    let mut meant: Vec<_> = by_name.into_iter().collect();
    let mut seen: Vec<&String> = Vec::new();
    for (id, handler) in ordered().filter(|(_, handler)| handler.listens.iter().any(is)) {
        if let Some(name) = handler.names.first() {
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
        }
        if !meant.contains(&id) {
            meant.push(id);
        }
    }
    meant
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_name_in_the_last_list_and_all_listeners_are_meant() {
        let named = |list: usize, names: &[&str], listens: &[&str]| Named {
            list,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            listens: listens.iter().map(|name| (*name).to_owned()).collect(),
        };
        let handlers = [
            named(0, &["restart"], &[]),
            named(0, &["a"], &["restart"]),
            named(1, &["restart"], &["restart"]),
            named(1, &["restart"], &[]),
            named(1, &["b"], &["other"]),
        ];
        assert_eq!(meant(&handlers, "restart"), [2, 1]);
        assert!(meant(&handlers, "nothing").is_empty());
    }
}
