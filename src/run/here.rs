//! This machine: tasks with a local connection run in this very process, without an agent. All others go on to the
//! hands that reach away. In a check, what is foreseen of this machine is kept here, for every task and for what the
//! controller itself reads.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::agent::protocol::{Recalled, RunIdentity, Task, Undo};
use crate::agent::{jobs, serve};
use crate::change::kept::{self, Past, Store, store};
use crate::change::{self, Blobs, Failure, Host, Mode, Outcome, Output, Plan, Probe, Program, programs};
use crate::connect::Target;
use crate::modules;
use crate::run::hands::{Control, Hands, Lost, OnItem, Seat};

/// This machine, and the way to all others.
pub struct Here {
    machine: Arc<Mutex<Host>>,
    offered: Arc<Offered>,
    away: Arc<dyn Hands>,
    /// What is kept of the run that is worked for.
    kept: Option<Arc<Store>>,
}

/// Large files that tasks may ask for.
#[derive(Default)]
struct Offered(Mutex<HashMap<String, PathBuf>>);

impl Blobs for Offered {
    fn fetch(&self, sha256: &str) -> Result<Box<dyn Read + '_>, Failure> {
        let path = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(sha256).cloned();
        let path = path.ok_or_else(|| Failure::failed("a large file is needed that nobody offered"))?;
        let file = std::fs::File::open(&path).map_err(|error| Failure::io("read", &path, &error))?;
        Ok(Box::new(file))
    }
}

/// What a task does on a machine.
type Work = Box<dyn FnOnce(&mut Host) -> Outcome + Send>;

impl Here {
    /// Returns this machine; `away` reaches all others. With a run that is worked for, what it changes is kept for its undo.
    pub fn new(away: Arc<dyn Hands>, run: Option<&RunIdentity>) -> Self {
        let offered = Arc::new(Offered::default());
        let mut host = Host::new();
        host.set_blobs(offered.clone());
        let kept = run.and_then(|run| Store::new(&store::home(), &run.id, &run.key)).map(Arc::new);
        Self { machine: Arc::new(Mutex::new(host)), offered, away, kept }
    }

    /// Returns what notes the changes of a step, where they are to be noted.
    fn notes(&self, mode: Mode, step: Option<&str>) -> Option<kept::Work> {
        let kept = self.kept.as_ref().filter(|_| mode == Mode::Apply)?;
        // The journal, without which there is no run, knows what began here.
        step.map(|step| kept::Work::new(kept.clone(), step, true))
    }

    /// Whether a task runs in this process: a local connection, and no other user wanted.
    fn is_here(&self, seat: &Seat) -> bool {
        let is_own = |user: &str| {
            let machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
            machine.me().is_ok_and(|me| me.name == user)
        };
        seat.target.connection == "local" && seat.r#become.as_ref().is_none_or(|r#become| is_own(&r#become.user))
    }

    /// Does work on this machine. In a check, and where a check before it has foreseen something, one after the other;
    /// else side by side, each on a machine of its own that has nothing foreseen.
    async fn work(&self, mode: Mode, environment: Vec<(String, String)>, timeout: Option<u64>, work: Work) -> Outcome {
        let machine = self.machine.clone();
        let done = tokio::task::spawn_blocking(move || {
            let mut shared = machine.lock().unwrap_or_else(PoisonError::into_inner);
            if mode == Mode::Check || !shared.overlay().is_empty() {
                shared.set_environment(environment);
                return work(&mut shared);
            }
            let mut own = shared.clone();
            drop(shared);
            own.set_environment(environment);
            work(&mut own)
        });
        let done = match timeout {
            None => done.await.ok(),
            Some(seconds) => match tokio::time::timeout(std::time::Duration::from_secs(seconds), done).await {
                Ok(done) => done.ok(),
                Err(_) => {
                    // What runs on its thread cannot be taken from it, but its programs can be ended.
                    programs::end_all();
                    return failed(Failure::timed_out(seconds));
                }
            },
        };
        done.unwrap_or_else(|| failed(Failure::failed("windlass itself broke down in this task; please report it")))
    }
}

fn failed(failure: Failure) -> Outcome {
    Outcome { failure: Some(failure), ..Outcome::default() }
}

fn task_without_items(task: &Task) -> Task {
    Task { items: Vec::new(), ..task.clone() }
}

fn module_work(control: Control, notes: Option<kept::Work>) -> Work {
    let Control { entry, arguments, mode, diff, bound, doubt, .. } = control;
    Box::new(move |host| {
        host.set_work(notes);
        serve::bound_module(host, entry, &arguments, &bound, mode, diff, &doubt)
    })
}

impl Hands for Here {
    fn task<'a>(&'a self, seat: &'a Seat, task: Task, on_item: OnItem<'a>) -> BoxFuture<'a, Result<(), Lost>> {
        if !self.is_here(seat) {
            return self.away.task(seat, task, on_item);
        }
        async move {
            let Some(entry) = modules::find(&task.module) else {
                return Err(Lost { message: format!("there is no module `{}`", task.module), hint: None, reached: false });
            };
            for user in task.ends() {
                self.away.leave(&seat.target, &user).await;
            }
            for (index, arguments) in (0_u32..).zip(task.items.clone()) {
                let bound = task.bound.get(index as usize).cloned().unwrap_or_default();
                let step = task.steps.get(index as usize).map(String::as_str);
                let work = match &task.job {
                    None => {
                        let notes = self.notes(task.mode, step);
                        let (mode, diff, doubt) = (task.mode, task.diff, task.doubt.clone());
                        let control = Control { entry, arguments, mode, diff, environment: Vec::new(), step: None, bound, doubt };
                        module_work(control, notes)
                    }
                    Some(job) => {
                        let (task, job) = (task_without_items(&task), job.clone());
                        Box::new(move |host: &mut Host| {
                            host.set_work(None);
                            jobs::begin(host, &task, &job, &arguments)
                        })
                    }
                };
                on_item(index, self.work(task.mode, task.environment.clone(), task.timeout, work).await);
            }
            if task.alone {
                self.machine.lock().unwrap_or_else(PoisonError::into_inner).forget_all();
            }
            Ok(())
        }
        .boxed()
    }

    fn control<'a>(&'a self, seat: &'a Seat, control: Control) -> BoxFuture<'a, Result<Outcome, Lost>> {
        if !self.is_here(seat) {
            return self.away.control(seat, control);
        }
        async move {
            let notes = self.notes(control.mode, control.step.as_deref());
            Ok(self.work(control.mode, control.environment.clone(), None, module_work(control, notes)).await)
        }
        .boxed()
    }

    fn raw<'a>(&'a self, seat: &'a Seat, line: &'a str) -> BoxFuture<'a, Result<Output, Lost>> {
        if !self.is_here(seat) {
            return self.away.raw(seat, line);
        }
        let program = Program { argv: vec!["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()], ..Program::default() };
        async move {
            match tokio::task::spawn_blocking(move || programs::run(&program, &[])).await {
                Ok(Ok(output)) => Ok(output),
                Ok(Err(failure)) => Err(Lost { message: failure.to_string(), hint: None, reached: false }),
                Err(_) => Err(Lost { message: "the command was broken off".to_owned(), hint: None, reached: false }),
            }
        }
        .boxed()
    }

    fn recall<'a>(&'a self, seat: &'a Seat, steps: &'a [String]) -> BoxFuture<'a, Result<Vec<Recalled>, Lost>> {
        if self.is_here(seat) { async { Ok(Vec::new()) }.boxed() } else { self.away.recall(seat, steps) }
    }

    fn history<'a>(&'a self, seat: &'a Seat, run: &'a str, key: &'a [u8; 32]) -> BoxFuture<'a, Result<Vec<Past>, Lost>> {
        if !self.is_here(seat) {
            return self.away.history(seat, run, key);
        }
        async move { Ok(Store::new(&store::home(), run, key).map(|store| store.history()).unwrap_or_default()) }.boxed()
    }

    fn undo<'a>(&'a self, seat: &'a Seat, order: Undo, on_item: OnItem<'a>) -> BoxFuture<'a, Result<(), Lost>> {
        if !self.is_here(seat) {
            return self.away.undo(seat, order, on_item);
        }
        async move {
            for (index, id) in (0_u32..).zip(order.changes) {
                let notes = self.notes(order.mode, Some(&format!("undo {} {id}", order.run)));
                let (run, key, mode, diff) = (order.run.clone(), order.key, order.mode, order.diff);
                let work: Work = Box::new(move |host| {
                    host.set_work(notes);
                    match Store::new(&store::home(), &run, &key) {
                        Some(store) => kept::undo::take_back(&store, &id, host, mode, diff),
                        None => failed(Failure::failed("nothing is kept of that run")),
                    }
                });
                let outcome = self.work(mode, Vec::new(), None, work).await;
                let stop = outcome.failure.is_some() || outcome.unknown.is_some();
                on_item(index, outcome);
                if stop {
                    break;
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn here(&self, plan: Plan, mode: Mode, diff: bool) -> BoxFuture<'_, Outcome> {
        let work: Work = Box::new(move |host| {
            host.set_work(None);
            change::carry_out(host, &plan, mode, diff).1
        });
        self.work(mode, Vec::new(), None, work).boxed()
    }

    fn offer(&self, sha256: &str, path: &Path) {
        self.offered.0.lock().unwrap_or_else(PoisonError::into_inner).insert(sha256.to_owned(), path.to_owned());
        self.away.offer(sha256, path);
    }

    fn foreseen_here(&self) -> Option<Host> {
        let machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        if machine.overlay().is_empty() {
            return None;
        }
        let mut seen = machine.clone();
        seen.set_mode(Mode::Check);
        Some(seen)
    }

    fn close<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, ()> {
        self.away.close(target)
    }

    fn cancel(&self) -> BoxFuture<'_, ()> {
        programs::end_all();
        self.away.cancel()
    }

    fn farewell(&self) -> BoxFuture<'_, ()> {
        self.away.farewell()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::run::fake::FakeHands;
    use crate::value::Value;

    fn seat() -> Seat {
        Seat { target: Target { connection: "local".to_owned(), ..Target::default() }, r#become: None }
    }

    fn task(module: &str, arguments: &[(&str, &str)], mode: Mode) -> Task {
        let items = vec![arguments.iter().map(|(name, value)| ((*name).into(), Value::str(value))).collect()];
        Task {
            module: module.to_owned(),
            items,
            mode,
            diff: false,
            environment: vec![("GREETING".into(), "hi".into())],
            timeout: None,
            foreseen: Vec::new(),
            job: None,
            steps: Vec::new(),
            alone: false,
            doubt: change::Doubt::default(),
            bound: Vec::new(),
        }
    }

    async fn run(here: &Here, task: Task) -> String {
        let mut text = String::new();
        let mut on_item = |_: u32, outcome: Outcome| {
            let _ = write!(text, "{} {:?} {:?}", outcome.changed, outcome.values.get("stdout").map(ToString::to_string), outcome.failure);
        };
        here.task(&seat(), task, &mut on_item).await.expect("here");
        text
    }

    #[tokio::test]
    async fn a_local_task_runs_in_this_process() {
        let away = Arc::new(FakeHands::default());
        let here = Here::new(away.clone(), None);
        let came = run(&here, task("shell", &[("cmd", "echo $GREETING")], Mode::Apply)).await;
        assert_eq!(came, "true Some(\"hi\") None");
        assert!(away.sent.lock().expect("lock").is_empty());
        assert!(here.foreseen_here().is_none());
    }

    #[tokio::test]
    async fn other_users_and_hosts_are_reached_through_the_others() {
        let away = Arc::new(FakeHands::default());
        let here = Here::new(away.clone(), None);
        let target = Target { name: "web1".to_owned(), connection: "ssh".to_owned(), ..Target::default() };
        let mut ignore = |_: u32, _: Outcome| {};
        here.task(&Seat { target, r#become: None }, task("command", &[("cmd", "ok")], Mode::Apply), &mut ignore).await.expect("away");
        assert_eq!(*away.sent.lock().expect("lock"), ["web1: command ok"]);
    }
}
