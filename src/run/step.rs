//! One task on one host: when → loop → arguments → host → result.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::agent::protocol;
use crate::change::{Bound, Doubt, Failure, Mode, Outcome, Plan};
use crate::load::playbook::{Action, Located, Task};
use crate::modules::{Entry, Runs};
use crate::report::event::{Event, Status, TaskResult};
use crate::run::Run;
use crate::run::background::Background;
use crate::run::controller::SharedEngine;
use crate::run::frame::Frame;
use crate::run::hands::{Control, Lost, Seat};
use crate::run::host::Notice;
use crate::run::no_host::NoHost;
use crate::run::replay::{self, StepKey};
use crate::run::result::Came;
use crate::run::scope::TaskVariables;
use crate::run::stage::Stage;
use crate::source::{Diagnostic, Span};
use crate::value::{Map, Value, arguments};
use crate::vars::Truth;

/// One task on one host.
pub(super) struct Step {
    pub(super) run: Arc<Run>,
    pub(super) stage: Arc<Stage>,
    pub(super) frame: Arc<Frame>,
    pub(super) task: Arc<Task>,
    pub(super) host: Arc<str>,
    /// The task's name, rendered.
    pub(super) name: String,
    /// Which of the run's steps this is; none where it leaves no trace.
    pub(super) key: Option<StepKey>,
    /// Whether the task is a handler.
    pub(super) is_handler: bool,
    /// Variables that the debugger set.
    pub(super) own: Map,
    /// How often the debugger had it done again.
    pub(super) redone: usize,
}

/// What a task came to on a host, all items of its loop together.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) result: TaskResult,
    /// What `register` gets.
    pub(super) register: Value,
    /// What the run has to do then; for the host named, where facts belong to the one delegated to.
    pub(super) then: Vec<(Option<Arc<str>>, crate::change::Then)>,
    /// Whether handlers are notified.
    pub(super) notice: Option<Notice>,
    /// Which of the run's steps this was.
    pub(super) key: Option<StepKey>,
    /// Whether the task is a handler.
    pub(super) is_handler: bool,
    /// Whether it was told already, as the debugger stopped there.
    pub(super) told: bool,
}

impl Ended {
    /// What a task with this result came to, and nothing besides.
    pub(super) fn of(result: TaskResult) -> Self {
        Self { result, register: Value::Null, then: Vec::new(), notice: None, key: None, is_handler: false, told: false }
    }

    /// What a step that broke down came to.
    pub(super) fn broken_down() -> Self {
        let message = "windlass itself broke down in this task; please report it";
        let mut ended = Self::of(TaskResult::default());
        ended.fail(message, message);
        ended
    }

    /// Notes that the run itself changed something.
    pub(super) fn change(&mut self) {
        self.result.values.insert("changed".into(), Value::Bool(true));
        if let Value::Map(map) = &mut self.register {
            Arc::make_mut(map).insert("changed".into(), Value::Bool(true));
        }
        self.notice = self.notice.max(Some(Notice::Surely));
    }

    /// Makes a failure of it.
    pub(super) fn fail(&mut self, diagnostic: &str, message: &str) {
        self.result.status = Status::Failed;
        self.result.because = message.to_owned();
        self.result.diagnostic = Some(diagnostic.to_owned());
        self.result.values.insert("failed".into(), Value::Bool(true));
        self.result.values.insert("msg".into(), Value::str(message));
    }
}

/// Why a task does not come to its module.
#[derive(Debug)]
pub(super) enum Stop {
    /// A condition does not hold.
    Skip(Value),
    /// A check cannot know.
    Unknown(String),
    /// A check cannot know whether the task is done at all.
    Doubt(String),
    /// Something in the user's files is wrong.
    Wrong(Box<Diagnostic>),
    /// As `Wrong`, with what the task was about, for the registered `msg`: Ansible's has that in front.
    Within(String, Box<Diagnostic>),
    /// The module's preparation failed.
    Failed(Failure),
}

impl From<Diagnostic> for Stop {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Wrong(Box::new(diagnostic))
    }
}

/// A task, or one item of its loop, ready to be carried out.
pub(super) struct Ready {
    pub(super) entry: &'static Entry,
    pub(super) arguments: Map,
    pub(super) seat: Seat,
    pub(super) mode: Mode,
    /// Which try this is, where there may be several.
    pub(super) attempt: Option<u32>,
    /// Whether differences are made.
    pub(super) diff: bool,
    /// Whether they are also shown, and not only recorded.
    pub(super) shows_diff: bool,
    pub(super) environment: Vec<(String, String)>,
    pub(super) timeout: Option<u64>,
    pub(super) delegate: Option<Arc<str>>,
    /// How it goes on by itself, with `async`.
    pub(super) background: Option<Background>,
    /// The key of this part of the step.
    pub(super) step: Option<String>,
    /// Whether it only checks, within a run that does not.
    pub(super) alone: bool,
    /// Which part of the step this is: empty for the whole, `/item2` for an item of its loop.
    pub(super) part: String,
    /// What was approved of it.
    pub(super) bound: Bound,
    /// Why a check does not know whether it runs at all, and whether nothing of it may be told (`no_log`).
    pub(super) doubt: Doubt,
    /// What the module is asked for, for who wants to see it.
    pub(super) invocation: Option<Value>,
}

impl Ready {
    /// Whether it looks at the host itself in a check, and not at what the check foresees of it.
    pub(super) fn looks_at_host(&self) -> bool {
        self.entry.runs == Runs::OnHost && (self.mode == Mode::Apply || (self.entry.asks)(&self.arguments))
    }

    /// Whether a check foresees what it does from its plan, and does nothing of it.
    pub(super) fn is_foreseen(&self) -> bool {
        self.mode == Mode::Check
            && match self.entry.runs {
                Runs::OnHost | Runs::OnController => !self.looks_at_host() && !matches!(self.entry.name, "raw" | "reboot"),
                Runs::WithoutHost => matches!(self.entry.name, "set_fact" | "include_vars"),
            }
    }

    /// Whether both can go to the host in one message.
    pub(super) fn goes_with(&self, other: &Self) -> bool {
        self.entry.name == other.entry.name
            && self.seat == other.seat
            && self.mode == other.mode
            && self.doubt == other.doubt
            && self.diff == other.diff
            && self.environment == other.environment
            && self.timeout == other.timeout
            && self.background.is_none()
            && other.background.is_none()
            && !(self.is_without_agent() && self.is_opaque())
            && self.entry.runs == Runs::OnHost
            && !matches!(self.entry.name, "raw" | "reboot" | "wait_for_connection")
    }

    pub(super) fn message(&self, items: Vec<Map>) -> protocol::Task {
        protocol::Task {
            module: self.entry.name.to_owned(),
            items,
            mode: self.mode,
            diff: self.diff,
            environment: self.environment.clone(),
            timeout: self.timeout,
            foreseen: Vec::new(),
            job: None,
            steps: self.step.clone().filter(|_| self.mode == Mode::Apply).into_iter().collect(),
            alone: self.alone,
            doubt: self.doubt.clone(),
            bound: vec![self.bound.clone()],
        }
    }
}

impl Step {
    /// Does the task.
    pub(super) async fn perform(&self) -> Ended {
        if let Some(ended) = self.replayed() {
            return ended;
        }
        if let Some(key) = &self.key {
            self.run.met.done_now(&self.host, key.ordinal);
        }
        let began = Instant::now();
        let variables = self.run.variables(&self.stage, &self.frame, Some(&self.task), &self.host).with(self.own.clone());
        let engine = self.run.engine(&self.run.search(&self.stage, &self.frame, &self.task));
        let mut ended = match &self.task.r#loop {
            None => self.single(&variables, &engine).await.into_ended(),
            Some(r#loop) => self.looped(r#loop, &variables, &engine).await,
        };
        ended.result.took = began.elapsed();
        let told = variables.deprecations();
        if let (false, Value::Map(map)) = (told.is_empty(), &mut ended.register) {
            let told = told.iter().map(|message| Value::map([("msg", Value::str(message))]));
            Arc::make_mut(map).insert("deprecations".into(), Value::list(told));
        }
        ended.key.clone_from(&self.key);
        ended.is_handler = self.is_handler;
        ended
    }

    /// Does the task as often as `until` wants it.
    async fn single(&self, variables: &TaskVariables, engine: &SharedEngine) -> Came {
        self.often("", variables, engine).await
    }

    /// Does one item of the task's loop as often as `until` wants it.
    pub(super) async fn single_item(&self, index: usize, variables: &TaskVariables, engine: &SharedEngine) -> Came {
        self.often(&format!("/item{index}"), variables, engine).await
    }

    /// Gets a part of the step ready, and compares it with the plan where there is one.
    pub(super) fn ready(&self, part: &str, variables: &TaskVariables, engine: &SharedEngine) -> Result<Ready, Stop> {
        let ready = self.bind(part, self.prepare(variables, engine))?;
        match self.frame.is_after_change && ready.looks_at_host() {
            true => Err(Stop::Unknown("it looks at the host after the changes, and a check makes none".to_owned())),
            false => Ok(ready),
        }
    }

    /// `part` says which part of the step this is, for its key.
    async fn often(&self, part: &str, variables: &TaskVariables, engine: &SharedEngine) -> Came {
        let mut ready = match self.ready(part, variables, engine) {
            Ok(ready) => ready,
            Err(stop) => return self.came(stop, variables, engine),
        };
        let again = if self.redone > 0 { format!("/redo{}", self.redone) } else { String::new() };
        ready.step = ready.step.map(|key| format!("{key}{part}{again}"));
        let tries = match self.tries(variables, engine) {
            Ok(tries) => tries,
            Err(stop) => return self.came(stop, variables, engine),
        };
        let Some(tries) = tries else {
            let outcome = self.carry_out(&ready).await;
            return self.judge(&ready, outcome, variables, engine).await;
        };
        let mut attempt = 1;
        let whole = ready.step.clone();
        loop {
            ready.step = whole.as_ref().map(|key| format!("{key}/try{attempt}"));
            ready.attempt = Some(attempt);
            let outcome = self.carry_out(&ready).await;
            let mut came = self.judge(&ready, outcome, variables, engine).await;
            came.note("attempts", Value::from(attempt));
            if came.result.status == Status::Unreachable || replay::is_unsure(&came.result) {
                return came;
            }
            match self.is_enough(&came, variables, engine) {
                Err(stop) => return self.came(stop, variables, engine),
                Ok(Truth::Yes) => return came,
                Ok(Truth::Unknown(why)) => return self.came(Stop::Unknown(why), variables, engine),
                Ok(Truth::No) if ready.mode == Mode::Check && !ready.entry.looks => {
                    let why = "`until` does not hold yet, and a check does not wait for it";
                    return self.came(Stop::Unknown(why.to_owned()), variables, engine);
                }
                Ok(Truth::No) if attempt > tries.more => {
                    came.note("attempts", Value::from(tries.more.max(1)));
                    came.give_up(attempt);
                    if self.run.sources.in_ansible_form() && came.result.status == Status::Failed && came.result.diagnostic.is_none() {
                        let text = Diagnostic::error("Task failed: Action failed.").at(self.task.span);
                        came.result.diagnostic = Some(self.run.rendered(&text));
                    }
                    came.result.ignored = self.is_ignored(variables, engine);
                    return came;
                }
                Ok(Truth::No) => {}
            }
            self.run.tell(Event::Retry {
                host: self.host.clone(),
                task: self.name.clone(),
                attempt,
                of: tries.more,
                result: Box::new(came.result),
            });
            if self.run.is_interrupted() {
                return self.came(Stop::Failed(Failure::failed("interrupted while it was tried again")), variables, engine);
            }
            tokio::time::sleep(tries.delay).await;
            attempt += 1;
        }
    }

    /// Returns how often the task is tried again; `None` without `until` and `retries`.
    fn tries(&self, variables: &TaskVariables, engine: &SharedEngine) -> Result<Option<Tries>, Stop> {
        if self.task.until.is_empty() && self.task.retries.is_none() {
            return Ok(None);
        }
        let number = |located: &Option<Located>, otherwise: f64| match located {
            None => Ok(otherwise),
            Some(located) => self.typed::<f64>(located, variables, engine, "a number"),
        };
        let more = number(&self.task.retries, 3.0)?.max(0.0);
        let delay = number(&self.task.delay, 5.0)?.clamp(0.0, 1e9);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Ok(Some(Tries { more: more as u32, delay: Duration::from_secs_f64(delay) }))
    }

    /// Whether an attempt is the last: `until` holds, or without it the task did not fail.
    fn is_enough(&self, came: &Came, variables: &TaskVariables, engine: &SharedEngine) -> Result<Truth, Stop> {
        if self.task.until.is_empty() {
            return Ok(if came.result.status == Status::Failed { Truth::No } else { Truth::Yes });
        }
        if came.result.status == Status::Unknown {
            return Ok(Truth::Unknown(came.result.because.clone()));
        }
        let variables = self.with_result(variables, &came.register);
        self.hold(&self.task.until.iter().collect::<Vec<_>>(), &variables, engine).map(|(truth, _)| truth)
    }

    /// Returns the variables with the result under the name that `register` gives it.
    pub(super) fn with_result(&self, variables: &TaskVariables, result: &Value) -> TaskVariables {
        match self.task.register.as_ref().and_then(|register| register.value.as_str()) {
            Some(name) => variables.with([(name, result.clone())]),
            None => variables.clone(),
        }
    }

    /// Whether all conditions hold, and the first that does not. A condition that fails after one that is unknown may
    /// have been guarded by it, so it counts as unknown too.
    pub(super) fn hold(&self, conditions: &[&Located], variables: &TaskVariables, engine: &SharedEngine) -> Result<(Truth, Value), Stop> {
        let mut unknown = None;
        for condition in conditions {
            match (engine.condition(&condition.value, condition.span, variables), &unknown) {
                (Ok(Truth::Yes), _) => {}
                (Ok(Truth::No), _) => return Ok((Truth::No, plain(&condition.value))),
                (Ok(Truth::Unknown(why)), _) => unknown = unknown.or(Some(why)),
                (Err(_), Some(_)) => break,
                (Err(diagnostic), None) => {
                    return Err(Stop::Within("Error while evaluating conditional: ".to_owned(), Box::new(diagnostic)));
                }
            }
        }
        Ok((unknown.map_or(Truth::Yes, Truth::Unknown), Value::Null))
    }

    /// Returns a keyword's value as `T`.
    pub(super) fn typed<T: serde::de::DeserializeOwned>(
        &self,
        located: &Located,
        variables: &TaskVariables,
        engine: &SharedEngine,
        wanted: &str,
    ) -> Result<T, Stop> {
        let value = self.rendered(&located.value, variables, engine)?;
        arguments::from_value(&value).map_err(|_| Diagnostic::error(format!("`{value}` is not {wanted}")).at(located.span).into())
    }

    /// Renders a value that has to be known.
    pub(super) fn rendered(&self, value: &Value, variables: &TaskVariables, engine: &SharedEngine) -> Result<Value, Stop> {
        let value = engine.render(value, variables)?;
        match value.unknown_part() {
            Some(unknown) => Err(Stop::Unknown(unknown.why.clone())),
            None => Ok(value),
        }
    }

    /// Has the work done, where it is to be done.
    pub(super) async fn carry_out(&self, ready: &Ready) -> Result<Outcome, Lost> {
        // What runs on the host keeps the time there, where its programs can be ended.
        let is_timed_there = ready.entry.runs == Runs::OnHost && !matches!(ready.entry.name, "raw" | "wait_for_connection");
        match ready.timeout.filter(|_| !is_timed_there) {
            None => self.carried_out(ready).await,
            Some(seconds) => match tokio::time::timeout(Duration::from_secs(seconds), self.carried_out(ready)).await {
                Ok(outcome) => outcome,
                Err(_) => Ok(Outcome { failure: Some(Failure::timed_out(seconds)), ..Outcome::default() }),
            },
        }
    }

    async fn carried_out(&self, ready: &Ready) -> Result<Outcome, Lost> {
        if let Some(known) = self.recalled(&[ready]).await?.pop().flatten()
            && let Some(outcome) = self.gone_on(ready, known).await?
        {
            return Ok(outcome);
        }
        let outcome = self.done(ready).await?;
        self.note_part(ready, &outcome);
        Ok(outcome)
    }

    async fn done(&self, ready: &Ready) -> Result<Outcome, Lost> {
        let hands = &self.run.hands;
        match (ready.entry.name, ready.entry.runs) {
            ("raw", _) => self.raw(ready).await,
            ("wait_for_connection", _) => self.wait_for_connection(ready).await,
            ("reboot", _) => self.reboot(ready).await,
            (_, Runs::WithoutHost) => Ok(without_host(ready)),
            (_, Runs::OnController) => {
                let control = Control {
                    entry: ready.entry,
                    arguments: ready.arguments.clone(),
                    mode: ready.mode,
                    diff: ready.diff,
                    environment: ready.environment.clone(),
                    step: ready.step.clone(),
                    bound: ready.bound.clone(),
                    doubt: ready.doubt.clone(),
                };
                hands.control(&ready.seat, control).await
            }
            (_, Runs::OnHost) if ready.background.is_some() => self.in_background(ready).await,
            (_, Runs::OnHost) => {
                let mut outcome = None;
                let mut keep = |_: u32, what: Outcome| outcome = Some(what);
                hands.task(&ready.seat, ready.message(vec![ready.arguments.clone()]), &mut keep).await?;
                let outcome = outcome.ok_or_else(|| Lost {
                    message: "the agent ended the task without a result".to_owned(),
                    hint: None,
                    reached: false,
                })?;
                Ok(if ready.entry.name == "async_status" { crate::agent::jobs::outcome(outcome) } else { outcome })
            }
        }
    }

    /// Carries out on the controller what a task on a host asks for (`fetch`).
    pub(super) async fn here(&self, ready: &Ready, outcome: &mut Outcome) {
        if outcome.on_controller.is_empty() || outcome.failure.is_some() {
            return;
        }
        let changes = std::mem::take(&mut outcome.on_controller);
        let plan = Plan { changes, doubt: ready.doubt.clone(), ..Plan::default() };
        let done = self.run.hands.here(plan, ready.mode, ready.diff).await;
        outcome.changed |= done.changed;
        outcome.failure = done.failure;
        outcome.diff.extend(done.diff);
        outcome.summary.extend(done.summary);
    }

    /// Returns the place of an argument, or of the module's name.
    pub(super) fn place_of(&self, argument: Option<&str>) -> Span {
        let Action::Module { name_span, node, .. } = &self.task.action else { return self.task.span };
        let Some(argument) = argument else { return *name_span };
        let mut span = *name_span;
        let mut node = node.as_ref();
        for key in argument.split('.') {
            let Some((name, value)) = node.and_then(|node| node.entry(key)) else { break };
            span = name.span;
            node = Some(value);
        }
        span
    }
}

struct Tries {
    /// After the first.
    more: u32,
    delay: Duration,
}

/// Returns a condition as it is told.
fn plain(condition: &Value) -> Value {
    match condition {
        Value::Lazy(_) => Value::from(condition.to_string()),
        other => other.clone(),
    }
}

/// Runs a module that needs no host.
fn without_host(ready: &Ready) -> Outcome {
    let host = NoHost;
    let entry = ready.entry;
    let planned = (entry.plan)(&ready.arguments, &host).and_then(|plan| {
        let values = (entry.result)(&ready.arguments, &plan, &[], &host)?;
        Ok((plan, values))
    });
    match planned {
        Ok((plan, values)) => Outcome {
            changed: !plan.changes.is_empty(),
            because: plan.because,
            values,
            then: plan.then,
            warnings: plan.warnings,
            secrets: plan.secrets,
            unknown: ready.doubt.why.clone(),
            ..Outcome::default()
        },
        Err(Failure::Unknown { why, .. }) => Outcome { unknown: Some(why), ..Outcome::default() },
        Err(failure) => Outcome { failure: Some(failure), ..Outcome::default() },
    }
}
