//! `async` and `poll`: tasks that go on by themselves on the host, and are looked after from here.

use std::time::{Duration, Instant};

use crate::agent::jobs;
use crate::agent::protocol::{self, Job};
use crate::change::{Failure, Mode, Outcome, jobs::FOLDER};
use crate::load::playbook::Located;
use crate::modules::{Entry, Runs};
use crate::report::event::Event;
use crate::run::controller::SharedEngine;
use crate::run::hands::Lost;
use crate::run::scope::TaskVariables;
use crate::run::step::{Ready, Step, Stop};
use crate::value::{Map, Value};

/// How a task goes on by itself.
#[derive(Clone, Debug)]
pub(super) struct Background {
    /// Seconds that it may take.
    seconds: u64,
    /// Seconds between looks at it; 0: nobody waits for it.
    poll: u64,
    /// The folder of jobs on the host.
    folder: String,
}

/// Seconds between looks at a job where nothing else is said.
const POLL: u64 = 15;

impl Step {
    /// Returns how the task goes on by itself, where it is to. In a check it does not, but where it only looks: what it would do is
    /// foreseen as ever.
    pub(super) fn background(
        &self,
        entry: &Entry,
        mode: Mode,
        environment: &[(String, String)],
        variables: &TaskVariables,
        engine: &SharedEngine,
    ) -> Result<Option<Background>, Stop> {
        let number = |located: &Option<Located>, otherwise: u64| match located {
            None => Ok(otherwise),
            Some(located) => self.typed::<u64>(located, variables, engine, "a number of seconds"),
        };
        let seconds = number(&self.task.r#async, 0)?;
        if seconds == 0 || (mode == Mode::Check && !entry.looks) {
            return Ok(None);
        }
        if entry.runs != Runs::OnHost || matches!(entry.name, "raw" | "script" | "wait_for_connection" | "async_status") {
            let wrong = Failure::failed(format!("This action ({}) does not support async.", entry.name));
            return Err(Stop::Failed(wrong.hint("remove `async`: it is for what runs on the host by itself")));
        }
        let poll = number(&self.task.poll, self.run.settings.execution.poll_interval.unwrap_or(POLL))?;
        let from_environment = environment.iter().rev().find(|(name, _)| name == "ANSIBLE_ASYNC_DIR").map(|(_, value)| value.clone());
        let folder = match self.variable(&["ansible_async_dir"], variables, engine)? {
            Some(folder) => folder.to_string(),
            None => from_environment.unwrap_or_else(|| FOLDER.to_owned()),
        };
        Ok(Some(Background { seconds, poll, folder }))
    }

    /// Starts a task as a job, and waits for it as far as it is to be waited for.
    pub(super) async fn in_background(&self, ready: &Ready) -> Result<Outcome, Lost> {
        let Some(background) = &ready.background else { return Ok(Outcome::default()) };
        let name = format!("j{:012}.{}", rand::random::<u64>() % 1_000_000_000_000, std::process::id());
        let job = Job { name: name.clone(), folder: background.folder.clone(), seconds: background.seconds };
        let message = protocol::Task { job: Some(job), ..ready.message(vec![ready.arguments.clone()]) };
        let begun = self.ask_host(ready, message).await?;
        if begun.failure.is_some() || background.poll == 0 {
            return Ok(begun);
        }
        self.looked_after(ready, background, name).await
    }

    /// Returns what becomes of a part that was done in an earlier part of the run: where it is a job that is waited for, that is
    /// waited for now. `None`: it is done again.
    pub(super) async fn gone_on(&self, ready: &Ready, known: Outcome) -> Result<Option<Outcome>, Lost> {
        let name = known.values.get("ansible_job_id").map(ToString::to_string);
        let waited_for = ready.background.as_ref().filter(|background| background.poll > 0 && known.failure.is_none());
        let (Some(background), Some(name)) = (waited_for, name) else { return Ok(Some(known)) };
        // A job that ended and is forgotten there came to what nobody heard.
        if self.job(ready, background, &name, "status").await?.failure.is_some() {
            return Ok(if ready.is_opaque() { self.when_unsure() } else { None });
        }
        self.looked_after(ready, background, name).await.map(Some)
    }

    /// Waits for a job as long as it may take.
    async fn looked_after(&self, ready: &Ready, background: &Background, name: String) -> Result<Outcome, Lost> {
        let began = Instant::now();
        let limit = Duration::from_secs(background.seconds);
        loop {
            tokio::time::sleep(Duration::from_secs(background.poll).min(limit.saturating_sub(began.elapsed()))).await;
            let status = self.job(ready, background, &name, "status").await?;
            let is_finished = status.failure.is_some() || status.values.get("finished") == Some(&Value::Bool(true));
            if is_finished {
                let outcome = jobs::outcome(status);
                self.job(ready, background, &name, "cleanup").await?;
                self.tell_job(&name, if outcome.failure.is_some() { "FAILED" } else { "OK" });
                return Ok(outcome);
            }
            if began.elapsed() >= limit || self.run.is_interrupted() {
                self.tell_job(&name, "FAILED");
                let late = format!("async task did not complete within the requested time - {}s", background.seconds);
                let failure = Failure::failed(late).with("ansible_job_id", name.as_str()).with("started", true).with("finished", false);
                return Ok(Outcome { failure: Some(failure), ..Outcome::default() });
            }
            self.tell_job(&name, "POLL");
        }
    }

    /// Asks the host for a job, or has it forget one that ended.
    async fn job(&self, ready: &Ready, background: &Background, name: &str, mode: &str) -> Result<Outcome, Lost> {
        let arguments = Map::from_iter([
            ("jid".into(), Value::str(name)),
            ("mode".into(), Value::str(mode)),
            ("_async_dir".into(), Value::str(&background.folder)),
        ]);
        let message =
            protocol::Task { module: "async_status".to_owned(), steps: Vec::new(), timeout: None, ..ready.message(vec![arguments]) };
        self.ask_host(ready, message).await
    }

    async fn ask_host(&self, ready: &Ready, message: protocol::Task) -> Result<Outcome, Lost> {
        let mut outcome = None;
        let mut keep = |_: u32, what: Outcome| outcome = Some(what);
        self.run.hands.task(&ready.seat, message, &mut keep).await?;
        outcome.ok_or_else(|| Lost { message: "the agent ended the task without a result".to_owned(), hint: None, reached: false })
    }

    fn tell_job(&self, job: &str, how: &'static str) {
        self.run.tell(Event::Job { host: self.host.clone(), job: job.to_owned(), how });
    }
}
