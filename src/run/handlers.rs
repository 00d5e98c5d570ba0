//! Handlers: who is notified, and what runs when they are flushed.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::load::playbook::{Located, Task};
use crate::run::Run;
use crate::run::frame::Frame;
use crate::run::host::{HandlerId, Notice, Standing};
use crate::run::stage::Stage;
use crate::run::task::HandlerRun;
use crate::source::Diagnostic;
use crate::value::{Value, arguments};

/// A handler and where it stands.
pub(super) struct Handler {
    pub(super) task: Arc<Task>,
    pub(super) frame: Arc<Frame>,
}

impl Run {
    /// Notes for a host all handlers that a task notifies, and returns their names.
    pub(super) fn notify(
        self: &Arc<Self>,
        stage: &Arc<Stage>,
        task: &Arc<Task>,
        frame: &Arc<Frame>,
        host: &Arc<str>,
        notice: Notice,
        by: &str,
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
                    let names = handlers.iter().flat_map(|handler| handler.names.iter().chain(&handler.listens)).map(String::as_str);
                    return Err(Diagnostic::error(format!("there is no handler `{topic}`"))
                        .at(located.span)
                        .did_you_mean(&topic, names)
                        .hint("a handler answers to its `name`, or to a topic in its `listen`"));
                }
                let of = |id: &HandlerId| handlers.get(*id).and_then(|handler| handler.names.last()).cloned();
                names.extend(meant.iter().filter_map(of));
                self.hosts.with(host, |host| {
                    for handler in meant {
                        host.notify(handler, notice, by);
                    }
                });
            }
        }
        Ok(names)
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

    /// Returns what each handler answers to. A name that cannot be rendered on this host is left out.
    fn named_handlers(self: &Arc<Self>, stage: &Arc<Stage>, host: &Arc<str>) -> Vec<Named> {
        let named = |handler: Arc<Handler>| {
            let texts = |located: &Located| self.texts(stage, &handler.task, &handler.frame, host, located).unwrap_or_default();
            let name = handler.task.name.clone().map(|value| Located { value, span: handler.task.span });
            let mut names: Vec<_> = name.iter().flat_map(&texts).collect();
            if let Some(role) = &handler.task.role {
                let with_role: Vec<_> = names.iter().map(|name| format!("{} : {name}", role.name)).collect();
                names.extend(with_role);
            }
            Named { names, listens: handler.task.listen.iter().flat_map(&texts).collect() }
        };
        stage.handlers().into_iter().map(named).collect()
    }

    /// Runs the handlers that were notified, in the order of their definition, each once on every host that it was notified on.
    /// A handler that notifies one before it has that run at the next flush.
    pub(super) fn flush<'a>(self: &'a Arc<Self>, stage: &'a Arc<Stage>, hosts: &'a [Arc<str>]) -> BoxFuture<'a, ()> {
        async move {
            let forced = self.forces_handlers(stage);
            let mut next = 0;
            while let Some(handler) = stage.handlers().get(next).cloned() {
                if stage.is_stopped() || self.is_interrupted() {
                    return;
                }
                self.run_handler(stage, next, &handler, hosts, forced).await;
                next += 1;
            }
        }
        .boxed()
    }

    async fn run_handler(self: &Arc<Self>, stage: &Arc<Stage>, id: HandlerId, handler: &Handler, hosts: &[Arc<str>], forced: bool) {
        let mut targets = Vec::new();
        let mut revived = Vec::new();
        let mut doubts = Vec::new();
        for host in hosts {
            let standing = self.hosts.standing(host);
            let is_revived = forced && standing == Standing::Failed;
            if standing != Standing::Running && !is_revived {
                continue;
            }
            let Some((notice, by)) = self.hosts.with(host, |host| host.notified.shift_remove(&id)) else { continue };
            if is_revived {
                self.hosts.set_standing(host, Standing::Running);
                revived.push(host.clone());
            }
            if notice == Notice::Perhaps {
                doubts.push((host.clone(), by));
            }
            targets.push(host.clone());
        }
        if targets.is_empty() {
            return;
        }
        self.task(stage, &handler.task, &targets, &handler.frame, Some(&HandlerRun { doubts })).await;
        for host in self.hosts.running(&revived) {
            self.hosts.set_standing(&host, Standing::Failed);
        }
    }

    fn forces_handlers(self: &Arc<Self>, stage: &Stage) -> bool {
        let own = stage.play.force_handlers.as_ref().and_then(|value| {
            let value = self.engine_of_play(&stage.play.folder).render(value, &crate::run::play::known(stage, self)).ok()?;
            arguments::to_bool(&value)
        });
        own.or(self.settings.execution.force_handlers).unwrap_or(false) || self.settings.force_handlers
    }
}

/// What a handler answers to.
struct Named {
    names: Vec<String>,
    listens: Vec<String>,
}

/// Returns the handlers that a topic means: the last one of that name, and all that listen to it; of listeners of one
/// name, as a role that is used twice has, the last.
fn meant(handlers: &[Named], topic: &str) -> Vec<HandlerId> {
    let is = |name: &String| name == topic;
    let by_name = handlers.iter().rposition(|handler| handler.names.iter().any(is));
    let mut meant: Vec<_> = by_name.into_iter().collect();
    let listens = |(_, handler): &(usize, &Named)| handler.listens.iter().any(is);
    let is_last = |(id, handler): &(usize, &Named)| match handler.names.first() {
        None => true,
        Some(name) => !handlers.iter().skip(id + 1).any(|later| later.names.first() == Some(name) && later.listens.iter().any(is)),
    };
    let listeners = handlers.iter().enumerate().filter(listens).filter(is_last).map(|(id, _)| id);
    meant.extend(listeners.filter(|id| Some(*id) != by_name));
    meant
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_name_and_all_listeners_are_meant() {
        let named = |names: &[&str], listens: &[&str]| Named {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            listens: listens.iter().map(|name| (*name).to_owned()).collect(),
        };
        let handlers =
            [named(&["restart"], &[]), named(&["a"], &["restart"]), named(&["restart"], &["restart"]), named(&["b"], &["other"])];
        assert_eq!(meant(&handlers, "restart"), [2, 1]);
        assert!(meant(&handlers, "nothing").is_empty());
    }
}
