//! The journal's side of a run: what is noted of each step, and what a resumed run takes from there instead of doing it again.
//!
//! A resumed run goes through its playbook from the start. A step that the journal has settled is not done: what came of
//! it is taken from there and has its effects on the run, so registered values, facts, new hosts and notified handlers
//! are back. A step that may have been done without the controller hearing of it is asked of its host first.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use crate::agent::protocol::Recalled;
use crate::change::kept::is_opaque;
use crate::change::{Failure, Mode, Outcome, Then};
use crate::load::playbook::{Action, Task};
use crate::modules::{self, Runs};
use crate::record::Entry;
use crate::record::entry;
use crate::report::event::{Event, TaskResult};
use crate::run::Run;
use crate::run::frame::Frame;
use crate::run::hands::{Lost, Seat};
use crate::run::host::{Notice, Standing};
use crate::run::recap::Recap;
use crate::run::settings::Unsure;
use crate::run::stage::Stage;
use crate::run::step::{Ended, Ready, Step};
use crate::source::Diagnostic;
use crate::value::Value;

/// Which of a host's steps one is. The same step of a resumed run has the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StepKey {
    /// The place of the task, its module, and how often the host had met it: `site.yml:4:7/copy#1`.
    pub(super) text: String,
    /// The number of the step among those of its host, from 0.
    pub(super) ordinal: u64,
}

/// How often each host met each task, and how many steps it had.
#[derive(Default)]
pub(super) struct Met {
    hosts: Mutex<HashMap<Arc<str>, OfHost>>,
}

/// How many steps one host had, and how often it met each task.
#[derive(Default)]
struct OfHost {
    steps: u64,
    /// The key of each step, in order.
    keys: Vec<String>,
    /// The first that was done now, and not in an earlier part of the run.
    fresh: Option<u64>,
    places: HashMap<String, u32>,
}

impl Met {
    fn next(&self, host: &Arc<str>, place: String) -> StepKey {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let of_host = hosts.entry(host.clone()).or_default();
        let ordinal = of_host.steps;
        of_host.steps += 1;
        let times = of_host.places.entry(place.clone()).or_default();
        *times += 1;
        let text = format!("{place}#{times}");
        of_host.keys.push(text.clone());
        StepKey { text, ordinal }
    }

    /// Returns the key that [`Met::next`] would return.
    fn peek(&self, host: &str, place: &str) -> String {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let times = hosts.get(host).and_then(|of_host| of_host.places.get(place)).copied().unwrap_or_default();
        format!("{place}#{}", times + 1)
    }

    /// Notes that a step is done now.
    pub(super) fn done_now(&self, host: &str, ordinal: u64) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_host) = hosts.get_mut(host) {
            of_host.fresh = Some(of_host.fresh.map_or(ordinal, |fresh| fresh.min(ordinal)));
        }
    }

    /// Whether a step that had this number then came after what is done only now.
    fn is_passed(&self, host: &str, ordinal: u64) -> bool {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.get(host).and_then(|of_host| of_host.fresh).is_some_and(|fresh| fresh <= ordinal)
    }

    fn steps(&self, host: &str) -> u64 {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner).get(host).map_or(0, |of_host| of_host.steps)
    }
}

impl Run {
    /// Returns the key of the step that a task now is on a host.
    pub(super) fn step_key(&self, task: &Task, module: &str, host: &Arc<str>) -> StepKey {
        self.met.next(host, self.place_of_step(task, module))
    }

    /// Returns the host that does a task which is done once for all: the one that has done it, where the run is resumed, or else
    /// the first that can.
    pub(super) fn who_does(&self, task: &Task, module: &str, batch: &[Arc<str>], hosts: &[Arc<str>]) -> Vec<Arc<str>> {
        let place = self.place_of_step(task, module);
        let has_done = |host: &&Arc<str>| self.known.has(host, &self.met.peek(host, &place));
        hosts.iter().chain(batch).find(has_done).or(hosts.first()).cloned().into_iter().collect()
    }

    fn place_of_step(&self, task: &Task, module: &str) -> String {
        let place = self.sources.place(task.span).map(|place| place.to_string()).unwrap_or_default();
        format!("{place}/{module}")
    }

    /// Waits until all that was noted is on disk. Without a journal that can be written, the run goes no further.
    pub(super) async fn in_journal(&self) -> Option<String> {
        match self.journal.settle().await {
            Ok(hash) => Some(hash),
            Err(error) => {
                if !self.interrupted.swap(true, Ordering::SeqCst) {
                    self.listener.tell(&Event::Diagnostic {
                        text: format!("error: {error}\n  = hint: the run stops here, as it could not be resumed or undone"),
                    });
                }
                self.broken.store(true, Ordering::SeqCst);
                None
            }
        }
    }

    /// Notes what was told, as far as the journal keeps it.
    pub(super) fn note(&self, event: &Event) {
        let entry = match event {
            Event::PlayStarted { name, hosts, .. } => {
                Entry::Play { name: name.clone(), hosts: hosts.iter().map(ToString::to_string).collect() }
            }
            Event::TaskStarted { name, module, place, handler, .. } => Entry::Task {
                name: name.clone(),
                module: module.clone(),
                place: place.as_ref().map(ToString::to_string).unwrap_or_default(),
                handler: *handler,
            },
            Event::Warning { message } => Entry::Warning { message: message.clone() },
            Event::Diagnostic { text } => Entry::Stopped { why: text.clone() },
            Event::PlayStopped { why } => Entry::Stopped { why: why.clone() },
            _ => return,
        };
        self.journal.write(&entry);
    }

    /// Returns what a resumed run needs of a step, sealed; `None` where it has to be done again then.
    pub(super) fn sealed(&self, ended: &Ended) -> Option<String> {
        let key = self.journal.key().filter(|_| ended.key.is_some() && !ended.result.earlier)?;
        let replay = entry::Replay {
            // The journal has the differences already.
            result: TaskResult { diff: Vec::new(), ..ended.result.clone() },
            register: ended.register.clone(),
            then: ended.then.iter().map(|(host, then)| (host.as_ref().map(ToString::to_string), then.clone())).collect(),
            notifies: ended.notice.is_some(),
        };
        // A template of the user's files belongs to the reading of this process.
        if replay.register.has_template() || replay.then.iter().any(|(_, then)| then_has_template(then)) {
            return None;
        }
        key.seal(&replay.packed()?).ok()
    }

    /// Notes where, and as whom, something is about to be changed: an undo finds it by that.
    fn note_seat(&self, host: &Arc<str>, seat: &Seat) {
        let Some(key) = self.journal.key() else { return };
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if seats.iter().any(|(of, known)| of == host && known == seat) {
            return;
        }
        let is_new = !seats.iter().any(|(_, known)| known == seat);
        seats.push((host.clone(), seat.clone()));
        if !is_new {
            return;
        }
        if let Some(sealed) = postcard::to_stdvec(seat).ok().and_then(|plain| key.seal(&plain).ok()) {
            self.journal.write(&Entry::Seat { host: seat.target.name.clone(), sealed });
        }
    }

    /// Notes a step that was done now.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn note_step(
        &self,
        host: &str,
        name: &str,
        task: &Task,
        frame: &Frame,
        ended: &Ended,
        notified: Vec<String>,
        sealed: Option<String>,
    ) {
        let Some(key) = ended.key.as_ref().filter(|_| !ended.result.earlier && self.journal.run().is_some()) else { return };
        let result = &ended.result;
        let module = match &task.action {
            Action::Module { name, .. } => modules::short_name(name).to_owned(),
            _ => String::new(),
        };
        let open = !result.no_log;
        self.journal.write(&Entry::Step(Box::new(entry::Step {
            host: host.to_owned(),
            key: key.text.clone(),
            ordinal: key.ordinal,
            task: name.to_owned(),
            module,
            handler: ended.is_handler,
            around_handler: frame.is_around_handler,
            status: result.status,
            because: if open { result.because.clone() } else { "hidden by no_log".to_owned() },
            changes: if open { result.summary.clone() } else { Vec::new() },
            diff: if open { result.diff.iter().map(entry::kept).collect() } else { Vec::new() },
            diagnostic: result.diagnostic.clone().filter(|_| open),
            delegated_to: result.delegated_to.clone(),
            ignored: result.ignored,
            rescued: frame.is_rescued && !is_unsure(result),
            unsure: is_unsure(result),
            broken_off: has_broken_off(result),
            no_log: result.no_log,
            warnings: if open { result.warnings.clone() } else { Vec::new() },
            seconds: result.took.as_secs_f64(),
            notified,
            sealed,
        })));
    }

    /// Returns the keys of a host's steps from a number on.
    pub(super) fn keys_since(&self, host: &str, from: u64) -> Vec<String> {
        let hosts = self.met.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = hosts.get(host).map(|of_host| of_host.keys.as_slice()).unwrap_or_default();
        keys.iter().skip(usize::try_from(from).unwrap_or(usize::MAX)).cloned().collect()
    }

    /// Returns where, and as whom, something was changed for these hosts: there, or on others that their tasks were delegated to.
    pub(super) fn seats_of(&self, hosts: &[Arc<str>]) -> Vec<Seat> {
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.iter().filter(|(host, _)| hosts.contains(host)).map(|(_, seat)| seat.clone()).collect()
    }

    /// Returns how many steps each of these hosts has had.
    pub(super) fn marks(&self, hosts: &[Arc<str>]) -> Vec<(Arc<str>, u64)> {
        hosts.iter().map(|host| (host.clone(), self.met.steps(host))).collect()
    }

    /// Notes that a block is to be done again from these marks on, for the hosts on which it was broken off; with `whole`
    /// commands that were done too.
    pub(super) async fn note_again(&self, marks: &[(Arc<str>, u64)], all: bool, whole: bool) {
        let mut any = false;
        for (host, from) in marks {
            if all || self.hosts.standing(host) == Standing::Failed {
                self.journal.write(&Entry::Again { host: host.to_string(), from: *from, whole });
                any = true;
            }
        }
        if any {
            self.in_journal().await;
        }
    }

    /// Notes the handlers that a play ends without.
    pub(super) fn note_owed(self: &Arc<Self>, stage: &Arc<Stage>) {
        for host in &stage.all {
            self.settle_topics(stage, host);
        }
        let handlers = stage.handlers();
        for host in &stage.all {
            let surely = |(id, (notice, _)): (&usize, &(Notice, String))| (*notice == Notice::Surely).then_some(*id);
            let ids: Vec<_> = self.hosts.with(host, |host| host.notified.iter().filter_map(surely).collect());
            let name = |id: usize| handlers.get(id).and_then(|handler| handler.task.name.as_ref()).map(ToString::to_string);
            let names: Vec<_> = ids.into_iter().filter_map(name).collect();
            if !names.is_empty() {
                let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
                owed.entry(host.to_string()).or_default().extend(names);
            }
        }
    }

    /// Notes that a handler is still to be run on these hosts.
    pub(super) fn owe(&self, handler: &Task, hosts: &[Arc<str>]) {
        let name = handler.name.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        for host in hosts {
            owed.entry(host.to_string()).or_default().push(name.clone());
        }
    }

    /// Notes how the run ended.
    pub(super) fn note_end(&self, recap: &Recap) {
        self.journal.write(&Entry::Ended(Box::new(entry::Ended {
            code: recap.exit_code(),
            recap: recap.hosts.iter().map(|(host, counts)| (host.to_string(), *counts)).collect(),
            owed: self.owed.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        })));
    }
}

impl Step {
    /// Returns what came of this step in an earlier part of the run.
    pub(super) fn replayed(&self) -> Option<Ended> {
        let key = self.key.as_ref()?;
        let (known, replay) = self.run.known.step(&self.host, &key.text)?;
        // A handler that ran before its time (`force_handlers`) has to run after what is done only now.
        if self.is_handler && self.run.met.is_passed(&self.host, known.ordinal) {
            return None;
        }
        let mut result = replay.result;
        result.earlier = true;
        let then = replay.then.into_iter().map(|(host, then)| (host.map(Arc::from), then));
        Some(Ended {
            register: replay.register,
            // Nobody waits a second time.
            then: then.filter(|(_, then)| !matches!(then, Then::Pause { .. } | Then::Reconnect)).collect(),
            notice: replay.notifies.then_some(Notice::Surely),
            key: Some(key.clone()),
            is_handler: self.is_handler,
            ..Ended::of(result)
        })
    }

    /// Returns what came of parts of this step that were done without the controller hearing of it, one for each; `None` is still
    /// to be done.
    pub(super) async fn recalled(&self, parts: &[&Ready]) -> Result<Vec<Option<Outcome>>, Lost> {
        let keys: Vec<String> = parts.iter().filter(|part| part.mode == Mode::Apply).filter_map(|part| part.step.clone()).collect();
        // What is done without a host leaves nothing there, and may be done again.
        let leaves_notes = |part: &&&Ready| part.entry.runs != Runs::WithoutHost && part.entry.name != "wait_for_connection";
        let Some(first) = parts.first().filter(leaves_notes).filter(|_| keys.len() == parts.len()) else {
            return Ok(vec![None; parts.len()]);
        };
        self.run.note_seat(&self.host, &first.seat);
        let was_broken_off = self.key.as_ref().is_some_and(|key| self.run.known.was_broken_off(&self.host, &key.text));
        if was_broken_off && parts.iter().any(|part| part.is_opaque()) && self.run.settings.unsure.of(&self.host) != Unsure::Redo {
            return Ok(parts.iter().map(|_| self.when_unsure()).collect());
        }
        let mut recalled = if first.is_without_agent() {
            keys.iter().map(|key| self.known_here(key)).collect()
        } else if self.run.known.may_have_more(&self.host) {
            self.run.hands.recall(&first.seat, &keys).await?
        } else {
            Vec::new()
        };
        recalled.resize(keys.len(), Recalled::Never);
        if recalled.contains(&Recalled::Never) {
            self.run.known.no_more(&self.host);
        }
        let known = parts.iter().zip(recalled).map(|(part, recalled)| match recalled {
            Recalled::Done(outcome) => Some(*outcome),
            Recalled::Began if part.is_opaque() => self.when_unsure(),
            Recalled::Began | Recalled::Never => None,
        });
        let known: Vec<_> = known.collect();
        if let ([part], [None]) = (parts, known.as_slice())
            && part.is_opaque()
            && part.is_without_agent()
            && self.run.journal.run().is_some()
        {
            let key = part.step.clone().unwrap_or_default();
            self.run.journal.write(&Entry::StepBegan { host: self.host.to_string(), key });
            self.run.in_journal().await;
        }
        Ok(known)
    }

    /// Returns what the journal knows of a part that no agent keeps.
    fn known_here(&self, key: &str) -> Recalled {
        match self.run.known.part(&self.host, key) {
            Some(outcome) => Recalled::Done(Box::new(outcome)),
            None if self.run.known.had_begun(&self.host, key) => Recalled::Began,
            None => Recalled::Never,
        }
    }

    /// Returns what becomes of a part of which nobody knows whether it is done; `None`: it is done again.
    pub(super) fn when_unsure(&self) -> Option<Outcome> {
        match self.run.settings.unsure.of(&self.host) {
            Unsure::Stop => Some(unsure()),
            Unsure::Skip => Some(Outcome {
                changed: true,
                because: "it had begun before the run broke off, and was said to count as done".to_owned(),
                ..Outcome::default()
            }),
            Unsure::Redo => None,
        }
    }

    /// Notes what came of an item, or an attempt, where no agent keeps it and the step as a whole is not done yet.
    pub(super) fn note_part(&self, part: &Ready, outcome: &Outcome) {
        let is_part = |key: &&String| key.rsplit('/').next().is_some_and(|last| last.starts_with("item") || last.starts_with("try"));
        let Some(key) = part.step.as_ref().filter(is_part).filter(|_| part.is_opaque() && part.is_without_agent()) else { return };
        let sealed = self.run.journal.key().and_then(|seal| seal.seal(&postcard::to_stdvec(outcome).ok()?).ok());
        if let Some(sealed) = sealed {
            self.run.journal.write(&Entry::PartEnded { host: self.host.to_string(), key: key.clone(), sealed });
        }
    }
}

impl Ready {
    /// Whether nobody could say, had it begun and broken off, that it may be done again.
    pub(super) fn is_opaque(&self) -> bool {
        is_opaque(self.entry.name, &self.arguments)
    }

    /// Whether no agent keeps what is begun and done, so that the journal has to.
    pub(super) fn is_without_agent(&self) -> bool {
        (self.seat.target.connection == "local" && self.seat.r#become.is_none()) || self.entry.name == "raw"
    }
}

impl Step {
    /// Notes that a program did not come to its own end, where the second Ctrl-C ended it.
    pub(super) fn cut_short(&self, ready: &Ready, outcome: &mut Outcome) {
        if outcome.failure.is_some() && ready.is_opaque() && self.run.cut_short.load(Ordering::SeqCst) {
            let failure = Failure::failed("it was ended by Ctrl-C, and nobody knows how far it came")
                .hint("look at the host, then resume with `--unsure redo` (run it again) or `--unsure skip` (count it as done)");
            outcome.failure = Some(failure.with(BROKEN_OFF, true));
        }
    }
}

/// What a command came to of which nobody knows whether it is done.
fn unsure() -> Outcome {
    let failure = Failure::failed("this had begun when the run broke off, and nobody knows how far it came")
        .hint("look at the host, then resume with `--unsure redo` (run it again) or `--unsure skip` (count it as done)");
    Outcome { failure: Some(failure.with(UNSURE, true)), ..Outcome::default() }
}

/// The value that tells such a failure from others.
pub(super) const UNSURE: &str = "unsure";

/// The value that tells a program that was ended in the middle.
pub(super) const BROKEN_OFF: &str = "broken_off";

/// Whether a step's program was ended in the middle. What cleans up after it still runs.
pub(super) fn has_broken_off(result: &TaskResult) -> bool {
    result.values.contains_key(BROKEN_OFF)
}

/// Whether a part of a step came to that.
pub(super) fn is_unsure_outcome(outcome: &Outcome) -> bool {
    matches!(&outcome.failure, Some(Failure::Failed { values, .. }) if values.contains_key(UNSURE))
}

/// Whether a step failed only as nobody knows whether it was done. It stops its host as a lost connection does: nothing rescues it,
/// and no `always` takes back what it may depend on.
pub(super) fn is_unsure(result: &TaskResult) -> bool {
    result.values.contains_key(UNSURE)
}

fn then_has_template(then: &Then) -> bool {
    let any = |map: &crate::value::Map| map.values().any(Value::has_template);
    match then {
        Then::Facts { facts, .. } => any(facts),
        Then::Variables(variables) | Then::AddHost { variables, .. } => any(variables),
        _ => false,
    }
}

/// Checks that the files a run was begun with are still the same.
///
/// # Errors
/// Names those that are not.
pub fn same_files(
    then: &std::collections::BTreeMap<String, String>,
    now: &std::collections::BTreeMap<String, String>,
) -> Result<(), Diagnostic> {
    let changed: Vec<_> =
        then.iter().filter(|(path, hash)| now.get(*path).is_some_and(|now| now != *hash)).map(|(path, _)| path.as_str()).collect();
    if changed.is_empty() {
        return Ok(());
    }
    Err(Diagnostic::error(format!("these files have changed since the run began: {}", changed.join(", ")))
        .hint("`--changed-files` resumes with them as they are now; steps are told apart by their lines"))
}
