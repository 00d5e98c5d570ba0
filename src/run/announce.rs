//! Telling which task is at work. Where each host goes by itself, the results of several tasks come mixed, so that a task is
//! told again before a result of it that does not follow another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::load::playbook::Task;
use crate::report::event::Event;
use crate::run::Run;
use crate::run::frame::Frame;
use crate::run::stage::Stage;
use crate::source::Span;
use crate::value::arguments::to_bool;

/// What makes two announcements the same.
type Identity = (Span, String, bool);

/// Who is at which task, where hosts go by themselves.
#[derive(Default)]
pub(super) struct Announcements(Mutex<State>);

#[derive(Default)]
struct State {
    at: HashMap<Arc<str>, (Identity, Event)>,
    last: Option<Identity>,
}

impl Announcements {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Run {
    /// Tells that a task begins on `hosts`.
    pub(super) fn announce(
        &self,
        stage: &Stage,
        (task, frame): (&Task, &Frame),
        hosts: &[Arc<str>],
        (name, module): (&str, &str),
        handler: bool,
    ) {
        // A template may differ from host to host: then the run's own mode is told.
        let keyword = frame.nearest(task, |keywords| keywords.check_mode.as_ref());
        let check = keyword.and_then(|located| to_bool(&located.value)).unwrap_or(self.settings.check);
        let event = Event::TaskStarted {
            name: name.to_owned(),
            module: module.to_owned(),
            place: self.sources.place(task.span),
            handler,
            hosts: hosts.len(),
            check,
        };
        if stage.strategy.is_together() {
            self.listener.tell(&event);
            return;
        }
        let identity = (task.span, name.to_owned(), handler);
        let mut state = self.announcements.lock();
        for host in hosts {
            state.at.insert(host.clone(), (identity.clone(), event.clone()));
        }
    }

    /// Tells an event, and before it the task that it belongs to, where that was not the last one told.
    pub(super) fn tell(&self, mut event: Event) {
        self.note(&event);
        if let Event::Item { result, .. } | Event::Result { result, .. } | Event::Retry { result, .. } = &mut event
            && result.records_diff
        {
            result.diff.clear();
        }
        let host = match &event {
            Event::Item { host, .. }
            | Event::Result { host, .. }
            | Event::Retry { host, .. }
            | Event::MetaDone { host, .. }
            | Event::Job { host, .. } => Some(host),
            Event::Included { hosts, .. } => hosts.first(),
            _ => None,
        };
        let mut state = self.announcements.lock();
        if let Some((identity, started)) = host.and_then(|host| state.at.get(host)).cloned()
            && state.last.as_ref() != Some(&identity)
        {
            self.listener.tell(&started);
            state.last = Some(identity);
        }
        self.listener.tell(&event);
    }

    /// Forgets who is at which task, as a play ends.
    pub(super) fn end_announcements(&self) {
        *self.announcements.lock() = State::default();
    }
}
