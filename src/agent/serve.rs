//! The agent at work: reads requests from standard input, does them, answers on standard output.
//!
//! One thread does the tasks, one after the other. Others read and write ([`super::line`]), so that the end of the input is
//! noticed at any time: where nobody takes the conversation up again in time, the programs that run are ended, temporary
//! files are removed, and the agent with them.

use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::answer::answer;
use super::lease::{Lease, Refused};
use super::line::{self, Line};
use super::protocol::{FromAgent, RunIdentity, Task, ToAgent, Undo, VERSION};
use crate::change::host::Blobs;
use crate::change::kept::{Store, Work, is_opaque, store, undo};
use crate::change::{
    Bound, Doubt, Failure, Foreseen, Host, Mode, Outcome, Probe as _, carry_out, jobs, keeper, programs, run_module, temporary,
};
use crate::modules::{self, Entry};

/// How the line begins by which the controller finds the start of the conversation, after whatever login scripts print.
pub const MARK: &str = "windlass:";

/// Pieces of a large file that wait to be written. When so many do, reading stops and the controller with it.
const WAITING_PIECES: usize = 8;

/// The agent as a program: it is uploaded, started over SSH, speaks [`super::protocol`] on its standard input and output,
/// and ends when its input does.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let arguments: Vec<String> = arguments.collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        // Asked before the program is put to use: it shows that this machine can run it.
        ["agent-try"] => ExitCode::SUCCESS,
        ["agent-serve", nonce] => serve(nonce),
        ["agent-attach", nonce, name] => line::attach(nonce, name),
        [jobs::WORD, folder, name] => super::jobs::carry_out(folder, name),
        [keeper::WORD, session] => {
            keeper::keep(session);
            ExitCode::SUCCESS
        }
        _ => ExitCode::from(2),
    }
}

/// Speaks with the controller until it goes.
fn serve(nonce: &str) -> ExitCode {
    remember_panics();
    keeper::enable();
    // The end of a terminal is no reason to stop in the middle. Programs that are started hear of it as ever.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::default());
    let (give, take) = channel();
    let agent = Arc::new(Agent::default());
    let ear = Arc::clone(&agent);
    let line = Line::new(move |message| ear.hear(message, &give), end);
    agent.line.get_or_init(|| Arc::clone(&line));
    let mut out = io::stdout();
    if write!(out, "\n{MARK}{nonce}:hello\n").and_then(|()| out.flush()).is_err() {
        return ExitCode::FAILURE;
    }
    agent.say(&greeting());
    line.open();
    agent.work(nonce, &take);
    end(0)
}

fn greeting() -> FromAgent {
    let uid = nix::unistd::getuid();
    let user = Host::new().me().map_or_else(|_| uid.to_string(), |me| me.name);
    FromAgent::Hello { version: VERSION, user, pid: std::process::id() }
}

/// Ends the agent with everything it started.
#[allow(clippy::exit, reason = "the other thread may be in the middle of a task that nothing else can end")]
fn end(code: i32) -> ! {
    programs::end_all();
    temporary::cleanup();
    // What the other thread may have started meanwhile.
    programs::end_all();
    std::process::exit(code)
}

/// What the two threads share.
#[derive(Default)]
struct Agent {
    line: OnceLock<Arc<Line>>,
    /// The large file that is being received: its hash, and where its pieces go.
    receiving: Mutex<Option<(String, SyncSender<Vec<u8>>)>>,
    cancelled: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Agent {
    fn say(&self, message: &FromAgent) {
        let Some(line) = self.line.get() else { return };
        if let Err(error) = line.say(message) {
            let sorry = Outcome { failure: Some(Failure::failed(format!("the result cannot be sent: {error}"))), ..Outcome::default() };
            let smaller = match message {
                FromAgent::Item { index, .. } => FromAgent::Item { index: *index, outcome: sorry },
                FromAgent::CarriedOut { .. } => FromAgent::CarriedOut { done: Vec::new(), outcome: sorry },
                FromAgent::Answer(_) => FromAgent::Answer(Err(Failure::failed(format!("the answer cannot be sent: {error}")))),
                _ => FromAgent::Broken { message: error.to_string() },
            };
            let _ = line.say(&smaller);
        }
    }

    /// Takes in what the controller says; what is to be done goes to the thread that does it.
    fn hear(&self, message: ToAgent, give: &Sender<ToAgent>) {
        match message {
            ToAgent::Blob { sha256, bytes } => self.take_piece(&sha256, bytes),
            ToAgent::Cancel => {
                self.cancelled.store(true, Ordering::SeqCst);
                programs::end_all();
            }
            ToAgent::Goodbye => end(0),
            message => {
                if give.send(message).is_err() {
                    end(1);
                }
            }
        }
    }

    fn take_piece(&self, sha256: &str, bytes: Vec<u8>) {
        let mut receiving = lock(&self.receiving);
        let Some((_, give)) = receiving.as_ref().filter(|(wanted, _)| wanted == sha256) else { return };
        let give = give.clone();
        if bytes.is_empty() {
            *receiving = None;
        } else {
            drop(receiving);
            // Whoever wanted it may have given up: the rest is read and dropped.
            let _ = give.send(bytes);
        }
    }

    /// Does what is asked, one after the other.
    fn work(self: &Arc<Self>, nonce: &str, take: &Receiver<ToAgent>) {
        let mut host = Host::new();
        host.set_blobs(Arc::new(Wire(Arc::clone(self))));
        let mut lease = Ok(None);
        let mut kept: Option<(RunIdentity, Arc<Store>)> = None;
        while let Ok(message) = take.recv() {
            self.cancelled.store(false, Ordering::SeqCst);
            let holds = lease.as_ref().map_err(Refused::clone).and_then(|lease: &Option<Lease>| match lease {
                Some(lease) if changes(&message) => lease.enter().map(Some),
                _ => Ok(None),
            });
            let _busy = match holds {
                Ok(busy) => busy,
                Err(refused) => {
                    self.refuse(&refused);
                    continue;
                }
            };
            match message {
                ToAgent::Hello { version: VERSION, run, lease: wanted, linger } => {
                    if let Some(line) = self.line.get().filter(|_| linger > 0) {
                        line.linger(Duration::from_secs(linger), nonce);
                    }
                    kept = run.as_ref().and_then(|run| Some((run.clone(), Arc::new(Store::new(&store::base(), &run.id, &run.key)?))));
                    if let Some(run) = run.clone() {
                        std::thread::spawn(move || store::prune(&store::base(), &run.id, 0));
                    }
                    if let Some(run) = run.filter(|_| wanted) {
                        let agent = Arc::clone(self);
                        let left = move || agent.line.get().and_then(|line| line.left());
                        let taken = Lease::take(&run, left, || end(0));
                        if let Err(refused) = &taken {
                            self.refuse(refused);
                        }
                        lease = taken.map(Some);
                    }
                }
                ToAgent::Hello { version, .. } => self.say(&FromAgent::Broken {
                    message: format!("the controller speaks version {version} of the protocol, this agent {VERSION}"),
                }),
                ToAgent::Task(task) => {
                    self.task(&mut host, kept.as_ref(), &task);
                    self.say(&FromAgent::Finished);
                }
                ToAgent::Ask { question, mode, environment, foreseen } => {
                    let answered = guarded(|| {
                        foresee(&mut host, &foreseen)?;
                        host.set_environment(environment);
                        host.set_mode(mode);
                        answer(&host, &question)
                    });
                    self.say(&FromAgent::Answer(answered.unwrap_or_else(Err)));
                }
                ToAgent::CarryOut { plan, mode, diff, environment, foreseen, step } => {
                    host.set_work(work(kept.as_ref(), mode, step.as_deref(), true));
                    let carried = guarded(|| {
                        foresee(&mut host, &foreseen)?;
                        host.set_environment(environment);
                        Ok(carry_out(&mut host, &plan, mode, diff))
                    });
                    let (done, outcome) = carried.and_then(|carried| carried).unwrap_or_else(|failure| (Vec::new(), failed(failure)));
                    if let Some(work) = host.take_work() {
                        work.ended(&outcome, true);
                    }
                    self.say(&FromAgent::CarriedOut { done, outcome });
                }
                ToAgent::Recall { run, steps } => {
                    let known = kept.as_ref().filter(|(identity, _)| identity.id == run).map(|(_, store)| store.recall(&steps));
                    self.say(&FromAgent::Recalled(known.unwrap_or_default().into_iter().map(Into::into).collect()));
                }
                ToAgent::History { run, key } => {
                    let history = Store::new(&store::base(), &run, &key).map(|store| store.history());
                    self.say(&FromAgent::History(history.unwrap_or_default()));
                }
                ToAgent::Undo(order) => {
                    self.undo(&mut host, kept.as_ref(), &order);
                    self.say(&FromAgent::Finished);
                }
                ToAgent::Blob { .. } | ToAgent::Cancel | ToAgent::Goodbye | ToAgent::Attach { .. } => {}
            }
        }
    }

    /// Takes changes of another run back, one after the other, up to the first that cannot be.
    fn undo(&self, host: &mut Host, kept: Option<&(RunIdentity, Arc<Store>)>, order: &Undo) {
        let Undo { run, key, changes, mode, diff, foreseen } = order;
        let heard = guarded(|| foresee(host, foreseen)).and_then(|heard| heard);
        let store = Store::new(&store::base(), run, key);
        for (index, id) in (0_u32..).zip(changes) {
            host.set_work(work(kept, *mode, Some(&format!("undo {run} {id}")), true));
            let outcome = match (&heard, &store) {
                (Err(failure), _) => failed(failure.clone()),
                (_, None) => failed(Failure::failed("nothing is kept of that run")),
                (Ok(()), Some(store)) => guarded(|| undo::take_back(store, id, host, *mode, *diff)).unwrap_or_else(failed),
            };
            if let Some(work) = host.take_work() {
                work.ended(&outcome, true);
            }
            let stop = outcome.failure.is_some() || outcome.unknown.is_some();
            self.say(&FromAgent::Item { index, outcome });
            if stop {
                return;
            }
        }
    }

    fn refuse(&self, refused: &Refused) {
        let Refused { message, hint } = refused.clone();
        self.say(&FromAgent::Refused { message, hint });
    }

    fn task(&self, host: &mut Host, kept: Option<&(RunIdentity, Arc<Store>)>, task: &Task) {
        let clock = Clock::start(task.timeout);
        host.set_environment(task.environment.clone());
        let heard = guarded(|| foresee(host, &task.foreseen)).and_then(|heard| heard);
        for (index, arguments) in task.items.iter().enumerate() {
            let repeats = !is_opaque(&task.module, arguments);
            host.set_work(work(kept, task.mode, task.steps.get(index).map(String::as_str), repeats));
            let outcome = if let Err(failure) = &heard {
                failed(failure.clone())
            } else if self.cancelled.load(Ordering::SeqCst) {
                failed(Failure::failed("the task was ended before this"))
            } else if clock.is_over() {
                failed(clock.failure())
            } else {
                one_item(host, task, index, arguments)
            };
            let outcome = if clock.is_over() && outcome.failure.is_some() { failed(clock.failure()) } else { outcome };
            if let Some(work) = host.take_work() {
                work.ended(&outcome, index + 1 == task.items.len());
            }
            self.say(&FromAgent::Item { index: u32::try_from(index).unwrap_or(u32::MAX), outcome });
        }
        if task.alone {
            host.forget_all();
        }
        clock.stop();
    }
}

/// Returns what notes the changes of a step, where they are to be noted.
fn work(kept: Option<&(RunIdentity, Arc<Store>)>, mode: Mode, step: Option<&str>, repeats: bool) -> Option<Work> {
    let (_, store) = kept.filter(|_| mode == Mode::Apply)?;
    step.map(|step| Work::new(Arc::clone(store), step, repeats))
}

/// Whether a message asks for changes.
fn changes(message: &ToAgent) -> bool {
    match message {
        ToAgent::Task(task) => task.mode == Mode::Apply,
        ToAgent::CarryOut { mode, .. } | ToAgent::Undo(Undo { mode, .. }) => *mode == Mode::Apply,
        _ => false,
    }
}

/// Runs the one item of a task in the time that the task may take.
pub fn timed(host: &mut Host, task: &Task) -> Outcome {
    remember_panics();
    let clock = Clock::start(task.timeout);
    host.set_environment(task.environment.clone());
    let arguments = task.items.first().cloned().unwrap_or_default();
    let outcome = one_item(host, task, 0, &arguments);
    let outcome = if clock.is_over() && outcome.failure.is_some() { failed(clock.failure()) } else { outcome };
    clock.stop();
    outcome
}

/// Runs a module with the arguments of one item. Used on the controller too, for `connection: local`.
pub fn one_item(host: &mut Host, task: &Task, index: usize, arguments: &crate::value::Map) -> Outcome {
    if let Some(job) = &task.job {
        return super::jobs::begin(host, task, job, arguments);
    }
    let Some(entry) = modules::find(&task.module) else {
        return failed(Failure::failed(format!("this agent has no module `{}`", task.module)));
    };
    let bound = task.bound.get(index).cloned().unwrap_or_default();
    guarded(|| bound_module(host, entry, arguments, &bound, task.mode, task.diff, &task.doubt)).unwrap_or_else(failed)
}

/// Runs a module as far as it is what was approved.
pub fn bound_module(
    host: &mut Host,
    entry: &Entry,
    arguments: &crate::value::Map,
    bound: &Bound,
    mode: Mode,
    diff: bool,
    doubt: &Doubt,
) -> Outcome {
    run_module(
        |probe| bound.plan(probe, || (entry.plan)(arguments, probe)),
        |plan, done, probe| (entry.result)(arguments, plan, done, probe),
        host,
        mode,
        diff,
        doubt,
    )
}

/// Takes in what other agents of this host foresaw.
///
/// # Errors
/// When the host cannot be read there.
pub fn foresee(host: &mut Host, news: &[Foreseen]) -> Result<(), Failure> {
    host.set_mode(Mode::Check);
    news.iter().try_for_each(|foreseen| host.take_in(foreseen))
}

/// Returns the outcome of a task that failed before anything was planned.
pub fn failed(failure: Failure) -> Outcome {
    Outcome { failure: Some(failure), ..Outcome::default() }
}

/// Where the last panic was, and what it said.
static LAST_PANIC: Mutex<Option<String>> = Mutex::new(None);

fn remember_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |place| format!(" at {place}"));
        let payload = info.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
        let message = text.unwrap_or("no message");
        *lock(&LAST_PANIC) = Some(format!("{message}{place}"));
    }));
}

/// Does something; a panic becomes a failure that says so.
///
/// # Errors
/// When it panicked.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        let what = lock(&LAST_PANIC).take().unwrap_or_else(|| "no message".to_owned());
        Failure::failed(format!("windlass itself broke: {what}")).hint("this is a mistake in windlass, please report it with the task")
    })
}

/// Large files that come over the wire when they are needed.
struct Wire(Arc<Agent>);

impl Blobs for Wire {
    fn fetch(&self, sha256: &str) -> Result<Box<dyn Read + '_>, Failure> {
        let (give, take) = sync_channel(WAITING_PIECES);
        *lock(&self.0.receiving) = Some((sha256.to_owned(), give));
        self.0.say(&FromAgent::NeedBlob { sha256: sha256.to_owned() });
        Ok(Box::new(Pieces { take, piece: Vec::new(), at: 0 }))
    }
}

struct Pieces {
    take: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.piece.len() {
            let Ok(piece) = self.take.recv() else { return Ok(0) };
            (self.piece, self.at) = (piece, 0);
        }
        let read = (&self.piece[self.at..]).read(into)?;
        self.at += read;
        Ok(read)
    }
}

/// Ends a task's programs when its time is up.
struct Clock {
    seconds: Option<u64>,
    over: Arc<AtomicBool>,
    stop: Option<Sender<()>>,
}

impl Clock {
    fn start(seconds: Option<u64>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let stop = seconds.filter(|seconds| *seconds > 0).map(|seconds| {
            let (stop, stopped) = channel::<()>();
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                if stopped.recv_timeout(Duration::from_secs(seconds)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                    over.store(true, Ordering::SeqCst);
                    programs::end_all();
                }
            });
            stop
        });
        Self { seconds, over, stop }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn failure(&self) -> Failure {
        let seconds = self.seconds.unwrap_or_default();
        Failure::timed_out(seconds)
    }

    fn stop(self) {
        drop(self.stop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // No test here may set the panic hook or end programs: both belong to the whole process, and so to other tests too.
    #[test]
    fn a_panic_is_a_failure_that_asks_for_a_report() {
        let failure = guarded(|| panic!("the sky fell")).expect_err("panicked");
        assert!(failure.to_string().starts_with("windlass itself broke: "), "{failure}");
    }
}
