//! What the run uses: a session a host, whatever it takes to work there.
//!
//! Over SSH a session has one agent for each user that tasks become, started when it is first needed. On the controller
//! itself modules run in this very process, unless `become` asks for another user. In a check, what one agent foresees
//! the others are told before their next task.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex as Lock, MutexGuard, PoisonError};

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::blobs::Shelf;
use super::client::{Agent, Canceller, Circumstances};
use super::protocol::{Answer, Question, Recalled, RunIdentity, Task, Undo};
use super::remote::RemoteProbe;
use super::road::Road;
use super::upload::Programs;
use super::{answer, serve};
use crate::change::doubt::doubted;
use crate::change::kept::Past;
use crate::change::{Bound, Done, Doubt, Failure, Foreseen, Host, Mode, Outcome, Output, Plan, carry_out, programs};
use crate::connect::{Become, Kind, Links, Settings, Target, Trouble, escalate};
use crate::modules::Entry;
use crate::value::Map;

/// All hosts of a run.
#[derive(Debug)]
pub struct Sessions {
    links: Arc<Links>,
    programs: Arc<Programs>,
    shelf: Shelf,
    run: Lock<Option<RunIdentity>>,
}

/// Work on one host.
#[derive(Debug)]
pub struct Session {
    road: Arc<Road>,
    shelf: Shelf,
    run: Option<RunIdentity>,
    /// The controller itself, where the connection is local.
    here: Option<Arc<Lock<Host>>>,
    seats: Mutex<HashMap<String, Arc<Seat>>>,
    cancellers: Lock<HashMap<String, Canceller>>,
    /// What was foreseen on this host, and by which seat.
    foreseen: Lock<Vec<(String, Foreseen)>>,
    /// How much of it modules in this process have heard.
    heard_here: Lock<usize>,
}

/// An agent's place: one a user.
#[derive(Debug, Default)]
struct Seat {
    name: String,
    agent: Mutex<Option<Arc<Mutex<Agent>>>>,
    /// How much of what is foreseen its agent has heard.
    heard: Lock<usize>,
}

/// A module that plans on the controller, and how.
#[derive(Clone, Debug)]
pub struct Control {
    /// The module.
    pub entry: &'static Entry,
    /// Its arguments, prepared.
    pub arguments: Map,
    /// Whether to make the changes.
    pub mode: Mode,
    /// Whether differences are wanted.
    pub diff: bool,
    /// Variables added to the environment.
    pub environment: Vec<(String, String)>,
    /// The step's key, where something is kept of it.
    pub step: Option<String>,
    /// What was approved of it.
    pub bound: Bound,
    /// What a check is told of it besides.
    pub doubt: Doubt,
}

fn lock<T>(mutex: &Lock<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sessions {
    /// Returns the sessions of a run; none is open yet.
    pub fn new(settings: Settings) -> Self {
        Self { links: Arc::new(Links::new(settings)), programs: Arc::default(), shelf: Shelf::default(), run: Lock::default() }
    }

    /// Names the run that sessions opened from now on work for.
    pub fn work_for(&self, run: RunIdentity) {
        *lock(&self.run) = Some(run);
    }

    /// Makes a large file of the controller ready: agents that ask for this SHA-256 (hex) get it.
    pub fn offer(&self, sha256: &str, path: &Path) {
        self.shelf.offer(sha256, path);
    }

    /// Connects to a host.
    ///
    /// # Errors
    /// Says why no connection came about.
    pub async fn open(&self, target: &Target) -> Result<Session, Trouble> {
        let road = Arc::new(Road::open(&self.links, &self.programs, target).await?);
        let here = road.link().is_local().then(|| Arc::new(Lock::new(self.here())));
        Ok(Session {
            road,
            shelf: self.shelf.clone(),
            run: lock(&self.run).clone(),
            here,
            seats: Mutex::default(),
            cancellers: Lock::default(),
            foreseen: Lock::default(),
            heard_here: Lock::default(),
        })
    }

    /// Returns the controller as a host: for plans' changes to the controller's own files.
    pub fn here(&self) -> Host {
        let mut host = Host::new();
        host.set_blobs(Arc::new(self.shelf.clone()));
        host
    }
}

impl Session {
    /// Whether the connection is gone, so that a new session is needed.
    pub fn is_closed(&self) -> bool {
        self.road.link().is_closed()
    }

    /// Whether it can be worked with, connected anew where the connection was lost. Agents that wait are found again.
    pub async fn is_open(&self) -> bool {
        !self.is_closed() || (!self.road.linger().is_zero() && self.road.again().await.is_ok())
    }

    /// Runs a task; `on_item` gets what came of each item as it comes.
    ///
    /// # Errors
    /// When the host is lost, or the user cannot be become.
    pub async fn task(
        &self,
        r#become: Option<&Become>,
        mut task: Task,
        on_item: &mut (dyn FnMut(u32, Outcome) + Send),
    ) -> Result<(), Trouble> {
        for user in task.ends() {
            self.leave(&user).await;
        }
        if let Some(host) = self.in_process(r#become) {
            return self.task_here(host, task, on_item).await;
        }
        let (seat, mut agent) = self.agent(r#become).await?;
        task.foreseen = self.news_for(&seat);
        let mut keep = |index, outcome: Outcome| {
            self.keep(&seat.name, &outcome);
            on_item(index, outcome);
        };
        let ran = agent.task(task, &mut keep).await;
        self.after(&seat, agent, ran).await
    }

    /// Runs a module that plans on the controller.
    ///
    /// # Errors
    /// As [`Session::task`].
    pub async fn control(&self, r#become: Option<&Become>, control: Control) -> Result<Outcome, Trouble> {
        if let Some(host) = self.in_process(r#become) {
            let news = self.news(HERE, &self.heard_here);
            let ran = self.blocking(move || {
                let mut host = lock(&host);
                serve::foresee(&mut host, &news)?;
                host.set_environment(control.environment.clone());
                let Control { entry, arguments, mode, diff, bound, doubt, .. } = &control;
                serve::guarded(|| serve::bound_module(&mut host, entry, arguments, bound, *mode, *diff, doubt))
            });
            let outcome = ran.await?.unwrap_or_else(serve::failed);
            self.keep(HERE, &outcome);
            return Ok(outcome);
        }
        let (seat, agent) = self.agent(r#become).await?;
        let circumstances = Circumstances {
            mode: control.mode,
            diff: control.diff,
            environment: control.environment.clone(),
            foreseen: self.news_for(&seat),
            step: control.step.clone(),
        };
        let runtime = tokio::runtime::Handle::current();
        let (outcome, lost) = self
            .blocking(move || {
                let probe = RemoteProbe::new(runtime, agent, circumstances);
                let outcome = serve::guarded(|| controlled(&control, &probe)).unwrap_or_else(serve::failed);
                (outcome, probe.lost())
            })
            .await?;
        if let Some(trouble) = lost {
            self.drop_agent(&seat).await;
            return Err(trouble);
        }
        self.keep(&seat.name, &outcome);
        Ok(outcome)
    }

    /// Asks something about the host.
    ///
    /// # Errors
    /// As [`Session::task`]. Within, what the host says.
    pub async fn ask(&self, r#become: Option<&Become>, question: Question, mode: Mode) -> Result<Result<Answer, Failure>, Trouble> {
        if let Some(host) = self.in_process(r#become) {
            return self
                .blocking(move || {
                    let mut host = lock(&host);
                    host.set_mode(mode);
                    answer::answer(&*host, &question)
                })
                .await;
        }
        let (seat, mut agent) = self.agent(r#become).await?;
        let foreseen = self.news_for(&seat);
        let circumstances = Circumstances { mode, diff: false, environment: Vec::new(), foreseen, step: None };
        let asked = agent.ask(question, circumstances).await;
        self.after(&seat, agent, asked).await
    }

    /// Asks what the host knows of steps of this run.
    ///
    /// # Errors
    /// As [`Session::task`].
    pub async fn recall(&self, r#become: Option<&Become>, steps: &[String]) -> Result<Vec<Recalled>, Trouble> {
        let (Some(run), None) = (&self.run, self.in_process(r#become)) else { return Ok(Vec::new()) };
        let (seat, mut agent) = self.agent(r#become).await?;
        let recalled = agent.recall(&run.id, steps).await;
        self.after(&seat, agent, recalled).await
    }

    /// Asks what was changed here for a run, as the user of `become`.
    ///
    /// # Errors
    /// As [`Session::task`].
    pub async fn history(&self, r#become: Option<&Become>, run: &str, key: &[u8; 32]) -> Result<Vec<Past>, Trouble> {
        let (seat, mut agent) = self.agent(r#become).await?;
        let history = agent.history(run, key).await;
        self.after(&seat, agent, history).await
    }

    /// Takes changes of a run back; `on_item` gets what came of each as it comes.
    ///
    /// # Errors
    /// As [`Session::task`].
    pub async fn undo(
        &self,
        r#become: Option<&Become>,
        mut order: Undo,
        on_item: &mut (dyn FnMut(u32, Outcome) + Send),
    ) -> Result<(), Trouble> {
        let (seat, mut agent) = self.agent(r#become).await?;
        order.foreseen = self.news_for(&seat);
        let mut keep = |index, outcome: Outcome| {
            self.keep(&seat.name, &outcome);
            on_item(index, outcome);
        };
        let undone = agent.undo(order, &mut keep).await;
        self.after(&seat, agent, undone).await
    }

    /// Carries out a plan that was made on the controller.
    ///
    /// # Errors
    /// As [`Session::task`].
    pub async fn carry_out(&self, r#become: Option<&Become>, plan: Plan, mode: Mode, diff: bool) -> Result<(Vec<Done>, Outcome), Trouble> {
        if let Some(host) = self.in_process(r#become) {
            let (done, outcome) = self.blocking(move || carry_out(&mut lock(&host), &plan, mode, diff)).await?;
            self.keep(HERE, &outcome);
            return Ok((done, outcome));
        }
        let (seat, mut agent) = self.agent(r#become).await?;
        let foreseen = self.news_for(&seat);
        let circumstances = Circumstances { mode, diff, environment: Vec::new(), foreseen, step: None };
        let carried = agent.carry_out(plan, circumstances).await;
        let (done, outcome) = self.after(&seat, agent, carried).await?;
        self.keep(&seat.name, &outcome);
        Ok((done, outcome))
    }

    /// Runs a line in the login shell, without the agent.
    ///
    /// # Errors
    /// As [`Session::task`].
    pub async fn raw(&self, r#become: Option<&Become>, line: &str) -> Result<Output, Trouble> {
        let lost = |error: std::io::Error| Trouble::new(Kind::Lost, format!("the connection to {} was lost: {error}", self.road.name()));
        let (start, link) = (now(), self.road.link());
        let finished = match r#become {
            // As it is: what answers may be no POSIX shell at all.
            None => link.exec(line, false).await?.finish().await,
            Some(_) => {
                let mark = format!("{}{}:", serve::MARK, escalate::nonce());
                let script = format!("echo {mark}raw; {line}");
                escalate::rest(escalate::begin(&link, &script, r#become, &mark).await?).await
            }
        };
        let (stdout, stderr, ended) = finished.map_err(lost)?;
        if ended.status.is_none() && ended.signal.is_none() && link.is_closed() {
            return Err(Trouble::new(Kind::Lost, format!("the connection to {} was lost", self.road.name())));
        }
        Ok(Output { rc: ended.code(), stdout, stderr, start, end: now() })
    }

    /// Ends the programs that tasks run on this host now.
    pub async fn cancel(&self) {
        self.road.give_up();
        for canceller in self.cancellers() {
            canceller.cancel().await;
        }
        if self.here.is_some() {
            programs::end_all();
        }
    }

    /// Ends the agents and closes the connection.
    pub async fn close(&self) {
        self.road.give_up();
        futures_util::future::join_all(self.cancellers().iter().map(Canceller::goodbye)).await;
        lock(&self.cancellers).clear();
        self.seats.lock().await.clear();
        self.road.link().close().await;
    }

    fn cancellers(&self) -> Vec<Canceller> {
        lock(&self.cancellers).values().cloned().collect()
    }

    fn in_process(&self, r#become: Option<&Become>) -> Option<Arc<Lock<Host>>> {
        match r#become {
            None => self.here.clone(),
            Some(_) => None,
        }
    }

    async fn task_here(&self, host: Arc<Lock<Host>>, task: Task, on_item: &mut (dyn FnMut(u32, Outcome) + Send)) -> Result<(), Trouble> {
        let (give, mut take) = tokio::sync::mpsc::unbounded_channel();
        let news = self.news(HERE, &self.heard_here);
        let ran = self.blocking(move || {
            let mut host = lock(&host);
            host.set_environment(task.environment.clone());
            let heard = serve::foresee(&mut host, &news);
            for (index, arguments) in (0_u32..).zip(&task.items) {
                let outcome = match &heard {
                    Ok(()) => serve::one_item(&mut host, &task, index as usize, arguments),
                    Err(failure) => serve::failed(failure.clone()),
                };
                let _ = give.send((index, outcome));
            }
        });
        let (ran, ()) = tokio::join!(ran, async {
            while let Some((index, outcome)) = take.recv().await {
                self.keep(HERE, &outcome);
                on_item(index, outcome);
            }
        });
        ran
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Trouble> {
        let name = self.road.name().to_owned();
        tokio::task::spawn_blocking(work).await.map_err(|_| Trouble::new(Kind::Lost, format!("the task on {name} was ended")))
    }

    /// Returns the agent for a user, started if need be.
    async fn agent(&self, r#become: Option<&Become>) -> Result<(Arc<Seat>, OwnedMutexGuard<Agent>), Trouble> {
        let name = r#become.map_or_else(String::new, |it| format!("{} {}", it.method, it.user));
        let fresh = || Arc::new(Seat { name: name.clone(), ..Seat::default() });
        let seat = Arc::clone(self.seats.lock().await.entry(name.clone()).or_insert_with(fresh));
        let mut slot = seat.agent.lock().await;
        if let Some(agent) = slot.clone() {
            let mut agent = agent.lock_owned().await;
            if agent.is_back().await {
                drop(slot);
                return Ok((seat, agent));
            }
        }
        *slot = None;
        let (begun, back) = self.road.start(r#become).await?;
        // The controller's own machine is shared by all runs that are started there.
        let lease = !self.road.link().is_local();
        let agent = Agent::greet(self.road.name(), begun, back, self.shelf.clone(), self.run.clone(), lease).await?;
        lock(&self.cancellers).insert(name, agent.canceller());
        let agent = Arc::new(Mutex::new(agent));
        *slot = Some(Arc::clone(&agent));
        // A new agent has heard nothing, not even what the one before foresaw itself.
        *lock(&seat.heard) = 0;
        self.disown(&seat.name);
        drop(slot);
        Ok((seat, agent.lock_owned().await))
    }

    async fn after<T>(&self, seat: &Seat, agent: OwnedMutexGuard<Agent>, result: Result<T, Trouble>) -> Result<T, Trouble> {
        let sound = agent.is_sound();
        drop(agent);
        if result.is_err() || !sound {
            self.drop_agent(seat).await;
        }
        result
    }

    /// Ends the agents that work here as `user`: one who has processes cannot be removed.
    pub async fn leave(&self, user: &str) {
        let seats: Vec<_> = self.seats.lock().await.values().cloned().collect();
        for seat in seats.iter().filter(|seat| seat.name.split_once(' ').is_some_and(|(_, of)| of == user)) {
            let canceller = lock(&self.cancellers).get(&seat.name).cloned();
            if let Some(canceller) = canceller {
                canceller.goodbye().await;
            }
            self.drop_agent(seat).await;
        }
    }

    async fn drop_agent(&self, seat: &Seat) {
        lock(&self.cancellers).remove(&seat.name);
        seat.agent.lock().await.take();
    }

    /// Returns what others foresaw since this seat's agent last heard.
    fn news_for(&self, seat: &Seat) -> Vec<Foreseen> {
        self.news(&seat.name, &seat.heard)
    }

    fn news(&self, seat: &str, heard: &Lock<usize>) -> Vec<Foreseen> {
        let log = lock(&self.foreseen);
        let mut heard = lock(heard);
        let news = log.iter().skip(*heard).filter(|(from, _)| from != seat).map(|(_, foreseen)| foreseen.clone()).collect();
        *heard = log.len();
        news
    }

    fn keep(&self, seat: &str, outcome: &Outcome) {
        lock(&self.foreseen).extend(outcome.foreseen.iter().map(|foreseen| (seat.to_owned(), foreseen.clone())));
    }

    /// Makes what a lost agent foresaw news to its successor.
    fn disown(&self, seat: &str) {
        for (from, _) in lock(&self.foreseen).iter_mut().filter(|(from, _)| from == seat) {
            "lost".clone_into(from);
        }
    }
}

/// The seat of modules that run in this process.
const HERE: &str = "here";

/// Plans on the controller, carries out on the host.
fn controlled(control: &Control, probe: &RemoteProbe) -> Outcome {
    let Control { entry, arguments, mode, bound, doubt, .. } = control;
    let planned = bound.plan(probe, || (entry.plan)(arguments, probe));
    let plan = match doubted(planned, *mode, doubt) {
        Ok(plan) => plan,
        Err(failure) => return serve::failed(failure),
    };
    let (done, mut outcome) = probe.carry_out(plan.clone());
    let finished = *mode == Mode::Apply || plan.changes.is_empty();
    if finished && outcome.failure.is_none() && outcome.unknown.is_none() {
        match (entry.result)(arguments, &plan, &done, probe) {
            Ok(values) => outcome.values = values,
            Err(Failure::Unknown { why, .. }) if *mode == Mode::Check => outcome.unknown = Some(why),
            Err(failure) => outcome.failure = Some(failure),
        }
    }
    outcome
}

fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
