//! Plans for approval: what is noted of each step while one is made, and what binds a run to one that was approved.
//!
//! While a plan is made (a check), every part of every step is noted: digests of its arguments and of what it would change.
//! While one is applied, a part is prepared, compared with what was approved, and only then sent; the host compares what it
//! would change. What is refused fails there, whatever `ignore_errors` and `failed_when` say.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::change::bound::{Bound, REFUSED, keyed, refusal};
use crate::change::kept::undo::hindrance;
use crate::change::{Change, Mode, Outcome};
use crate::load::playbook::{Action, Task};
use crate::modules::{self, Runs};
use crate::record::plan::{self, Keys, Part};
use crate::report::event::Status;
use crate::run::Run;
use crate::run::step::{Ended, Ready, Step, Stop};
use crate::value::{Map, Value};

/// How a run is bound to a plan.
#[derive(Debug, Default)]
pub enum Bond {
    /// Not at all.
    #[default]
    Free,
    /// One is being made.
    Noting(Notes),
    /// One that was approved is applied.
    Approved(Approval),
}

/// What is noted while a plan is made.
#[derive(Debug)]
pub struct Notes {
    keys: Keys,
    noted: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    parts: HashMap<(String, String), Vec<NotedPart>>,
    steps: Vec<plan::Step>,
}

#[derive(Debug, Default)]
struct NotedPart {
    part: Part,
    /// Why its arguments are not known, although it goes to a host.
    unknown: Option<String>,
    /// Whether one of its changes cannot be undone.
    is_final: bool,
    /// Whether it only looks, in a check too.
    only_looks: bool,
}

/// What was approved.
#[derive(Debug)]
pub struct Approval {
    keys: Keys,
    steps: HashMap<(String, String), plan::Step>,
    /// Hosts with an include that could not be predicted: what it brings is in no plan.
    open: HashSet<String>,
    refused: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the key of an include begins: it is no step that is done on a host.
const INCLUDE: &str = "include:";

impl Bond {
    /// Returns the bond of a run that makes a plan.
    pub fn noting(keys: Keys) -> Self {
        Self::Noting(Notes { keys, noted: Mutex::default() })
    }

    /// Returns the bond of a run that applies a plan whose unknown steps were all allowed.
    pub fn approved(keys: Keys, steps: &[plan::Step]) -> Self {
        let open = steps.iter().filter(|step| step.key.starts_with(INCLUDE)).map(|step| step.host.clone()).collect();
        let steps = steps.iter().map(|step| ((step.host.clone(), step.key.clone()), step.clone())).collect();
        Self::Approved(Approval { keys, steps, open, refused: AtomicBool::new(false) })
    }

    /// Returns what was noted: the steps of a task together, in the order of the run, its hosts by name.
    pub fn steps(&self) -> Vec<plan::Step> {
        let Self::Noting(notes) = self else { return Vec::new() };
        let steps = lock(&notes.noted).steps.clone();
        let mut order: HashMap<&str, usize> = HashMap::new();
        for step in &steps {
            let next = order.len();
            order.entry(&step.key).or_insert(next);
        }
        let mut sorted = steps.clone();
        sorted.sort_by(|a, b| (order.get(a.key.as_str()), &a.host).cmp(&(order.get(b.key.as_str()), &b.host)));
        sorted
    }

    /// Notes that something was refused.
    pub(super) fn note_refusal(&self) {
        if let Self::Approved(approval) = self {
            approval.refused.store(true, Ordering::SeqCst);
        }
    }

    /// Whether anything was refused.
    pub fn has_refused(&self) -> bool {
        matches!(self, Self::Approved(approval) if approval.refused.load(Ordering::SeqCst))
    }
}

/// What may be compared and kept of a prepared part: nothing that is a password.
fn described(ready: &Ready) -> Vec<u8> {
    let target = &ready.seat.target;
    let r#become = ready.seat.r#become.as_ref().map(|it| (&it.method, &it.user));
    let place = (&target.name, &target.connection, &target.host, target.port, &target.user, r#become);
    postcard::to_stdvec(&(ready.entry.name, &ready.arguments, &ready.environment, ready.timeout, place)).unwrap_or_default()
}

fn unknown_argument(arguments: &Map) -> Option<String> {
    let (name, unknown) = arguments.iter().find_map(|(name, value)| Some((name, value.unknown_part()?)))?;
    Some(format!("`{name}` is not known: {}", unknown.why))
}

impl Step {
    /// Binds a part of this step to the plan, where there is one: notes what it is, or compares it with what was approved.
    pub(super) fn bind(&self, part: &str, prepared: Result<Ready, Stop>) -> Result<Ready, Stop> {
        let Some(key) = &self.key else { return prepared };
        let prepared = prepared.map(|ready| Ready { part: part.to_owned(), ..ready });
        match &*self.run.bond {
            Bond::Free => prepared,
            Bond::Noting(notes) => notes.part(&self.host, &key.text, part, prepared),
            Bond::Approved(approval) => approval.part(&self.host, &key.text, part, prepared),
        }
    }

    /// Notes what a host would change for a part of this step.
    pub(super) fn note_outcome(&self, ready: &Ready, outcome: &Outcome) {
        let (Bond::Noting(notes), Some(key)) = (&*self.run.bond, &self.key) else { return };
        let mut noted = lock(&notes.noted);
        let parts = noted.parts.entry((self.host.to_string(), key.text.clone())).or_default();
        if let Some(part) = parts.iter_mut().find(|noted| noted.part.part == ready.part) {
            part.part.changes.clone_from(&outcome.planned);
            part.part.found.clone_from(&outcome.found);
            let is_final = |change: &Change| hindrance(change).is_some();
            part.is_final =
                outcome.changes_foreseen().any(is_final) || (outcome.unknown.is_some() && ready.entry.runs != Runs::WithoutHost);
        }
    }
}

impl Notes {
    fn part(&self, host: &str, key: &str, part: &str, prepared: Result<Ready, Stop>) -> Result<Ready, Stop> {
        let mut new = NotedPart { part: Part { part: part.to_owned(), ..Part::default() }, ..NotedPart::default() };
        let prepared = match prepared {
            Ok(ready) => {
                match unknown_argument(&ready.arguments) {
                    Some(why) => new.unknown = Some(why).filter(|_| ready.entry.runs != Runs::WithoutHost),
                    None => {
                        let described = described(&ready);
                        new.only_looks = ready.looks_at_host();
                        new.part.arguments = Some(keyed(&self.keys.digest, &described));
                        new.part.sealed = self.keys.seal.seal(&described).ok();
                    }
                }
                // What a check really does (`reads: true`) is done while the plan is made.
                let bound = if ready.mode == Mode::Check { Bound::Told { key: self.keys.digest } } else { Bound::Free };
                Ok(Ready { bound, ..ready })
            }
            Err(stop) => {
                new.part.skipped = matches!(stop, Stop::Skip(_));
                Err(stop)
            }
        };
        let mut noted = lock(&self.noted);
        let parts = noted.parts.entry((host.to_owned(), key.to_owned())).or_default();
        parts.retain(|known| known.part.part != part);
        parts.push(new);
        prepared
    }
}

impl Approval {
    fn part(&self, host: &str, key: &str, part: &str, prepared: Result<Ready, Stop>) -> Result<Ready, Stop> {
        let refuse = |message: &str| Err(Stop::Failed(refusal(message)));
        let Some(step) = self.steps.get(&(host.to_owned(), key.to_owned())) else {
            let is_open = self.open.contains(host) || prepared.is_err();
            return if is_open { prepared } else { refuse("this step is not in the plan that was approved") };
        };
        let planned = step.parts.iter().find(|known| known.part == part);
        match (planned, prepared) {
            (_, Err(Stop::Skip(_)))
                if planned.is_some_and(|planned| planned.arguments.is_some())
                    && step.unknown.is_none()
                    && step.status != Status::Unknown =>
            {
                refuse("its condition no longer holds, and was approved to hold")
            }
            (_, Err(stop)) => Err(stop),
            // What only computes was not to be allowed, even where it was not known what of.
            (None, Ok(ready)) if step.unknown.is_some() || step.status == Status::Unknown => Ok(ready),
            (None, Ok(_)) => refuse("this item is not in the plan that was approved"),
            (Some(planned), Ok(_)) if planned.skipped => refuse("this was skipped when the plan was made, and is not in it"),
            (Some(planned), Ok(mut ready)) => {
                let Some(arguments) = &planned.arguments else { return Ok(ready) };
                if *arguments != keyed(&self.keys.digest, &described(&ready)) {
                    return refuse("what it is given is no longer what was approved");
                }
                if let Some(digest) = &planned.changes {
                    ready.bound = Bound::Only { key: self.keys.digest, digest: digest.clone() };
                }
                Ok(ready)
            }
        }
    }
}

impl Run {
    /// Notes what a task came to on a host while a plan is made.
    pub(super) fn note_planned(&self, host: &str, name: &str, task: &Task, ended: &Ended) {
        let Bond::Noting(notes) = &*self.bond else { return };
        let place = self.sources.place(task.span).map(|place| place.to_string()).unwrap_or_default();
        let mut noted = lock(&notes.noted);
        let (key, parts) = match &ended.key {
            Some(key) => (key.text.clone(), noted.parts.remove(&(host.to_owned(), key.text.clone())).unwrap_or_default()),
            // An include: of interest only where it cannot be predicted, as what it brings is in no plan then.
            None if ended.result.status == Status::Unknown => (format!("{INCLUDE}{place}"), Vec::new()),
            None => return,
        };
        let (module, by) = match &task.action {
            Action::Module { name, .. } => (modules::short_name(name).to_owned(), modules::find(name)),
            Action::IncludeTasks { .. } => ("include_tasks".to_owned(), None),
            Action::IncludeRole { .. } => ("include_role".to_owned(), None),
        };
        let result = &ended.result;
        let open = !result.no_log;
        let why = if open { result.because.clone() } else { "hidden by no_log".to_owned() };
        // What only computes (`set_fact`, `debug`) or looks does nothing to a host, known or not.
        let only_looks = !parts.is_empty() && parts.iter().all(|part| part.only_looks);
        let touches = by.is_none_or(|entry| entry.runs != Runs::WithoutHost) && !only_looks;
        let arguments = parts.iter().find_map(|part| part.unknown.clone()).filter(|_| open);
        let unknown = if result.status == Status::Unknown { Some(why.clone()).filter(|_| touches) } else { arguments };
        let is_final = parts.iter().any(|part| part.is_final);
        let mut parts: Vec<Part> = parts.into_iter().map(|part| part.part).collect();
        parts.sort_by(|a, b| (a.part.len(), &a.part).cmp(&(b.part.len(), &b.part)));
        noted.steps.push(plan::Step {
            host: host.to_owned(),
            key,
            task: name.to_owned(),
            module,
            place,
            handler: ended.is_handler,
            status: result.status,
            because: why,
            unknown,
            changes: if open { result.summary.clone() } else { Vec::new() },
            diff: if open { result.diff.clone() } else { Vec::new() },
            reversible: !is_final,
            no_log: result.no_log,
            delegated_to: result.delegated_to.clone(),
            parts,
        });
    }
}

/// Whether a failure's values say that something was not approved.
pub(super) fn is_refusal(values: &Map) -> bool {
    values.get(REFUSED) == Some(&Value::Bool(true))
}
