//! One run at a time on a host.
//!
//! The lease is a name that only one process can have: an abstract socket, which is no file and is freed with its process,
//! however that ends. So no lease is ever left behind. Who finds it taken asks its holder. Agents of one controller share it:
//! each of the others keeps a connection to the holder, and takes the name over when the holder ends. Where a run is resumed, its
//! agents take the host from those of the controller that is gone, when the step that these are still at has ended.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::frame;
use super::protocol::RunIdentity;

/// A variable of the host's environment that tells apart hosts which share a network name space.
pub const SCOPE: &str = "WINDLASS_LEASE_SCOPE";

/// How long a holder may take to say who it is: long, as a host may be busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a name may be neither free nor held: its holder is just beginning, or was killed and is being cleared away.
const BETWEEN: Duration = Duration::from_secs(10);

/// How long a holder that was asked to give the host up may take to end its running step.
const YIELD: Duration = Duration::from_secs(120);

/// How often a name that is to be free soon is tried.
const AGAIN: Duration = Duration::from_millis(100);

/// Who wants, or has, the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    run: String,
    owner: String,
    since: String,
    what: String,
    steal: bool,
    part: (u32, u64),
}

impl Claim {
    /// Whether both work for the same controller.
    fn is_one_with(&self, other: &Self) -> bool {
        self.run == other.run && self.part == other.part
    }

    /// Whether this one takes the host from `other`: it was told to, or its controller went on where the other's broke off.
    fn supersedes(&self, other: &Self) -> bool {
        if self.run == other.run { self.part != other.part && self.part.0 >= other.part.0 } else { self.steal }
    }

    fn told(&self) -> String {
        format!("run {} of {} ({}, since {})", self.run, self.owner, self.what, self.since)
    }
}

/// What is said through the socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Word {
    /// From who finds the name taken.
    Ask(Claim),
    /// From the holder. `left`: the seconds it still lives where its controller is gone.
    Held { by: Claim, left: Option<u64> },
    /// From the holder, to agents of its own run: this one takes the host over.
    Taken(Claim),
}

/// Why the host cannot be worked on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What stands behind the name of the host: `is held by ...`.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// The lease of this host, held or shared.
#[derive(Clone)]
pub struct Lease(Arc<Shared>);

struct Shared {
    claim: Claim,
    address: SocketAddr,
    /// The seconds this process still lives, where its controller is gone.
    left: Box<dyn Fn() -> Option<u64> + Send + Sync>,
    /// Ends this process, as its run goes on without it.
    over: fn(),
    state: Mutex<State>,
    changed: Condvar,
    /// Agents of the same run that are connected to this holder.
    members: AtomicUsize,
}

#[derive(Default)]
struct State {
    busy: bool,
    /// Another run that takes the host over, or has.
    taken_by: Option<Claim>,
    /// Why there is no lease any more.
    gone: Option<Refused>,
    /// The connections of other agents of the run, where this one is the holder.
    members: Vec<UnixStream>,
}

/// How a try to get the name went.
enum Try {
    Holder(UnixListener),
    Member(UnixStream),
    Held {
        by: Claim,
        left: Option<u64>,
        yields: bool,
    },
    /// Whoever had it is gone, or is just beginning.
    Between,
    /// Somebody has it, and does not say who.
    Silent(Option<(i32, u32)>),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lease {
    /// Takes the lease for a run. `left` says how many seconds this process lives on where its controller is gone; `over` is
    /// called when the run goes on without this process.
    ///
    /// # Errors
    /// Says who holds it, and what to do.
    pub fn take(run: &RunIdentity, left: impl Fn() -> Option<u64> + Send + Sync + 'static, over: fn()) -> Result<Self, Refused> {
        // A name of this kind is short; a scope may be a path.
        let short = |scope: String| format!(":{:.32}", crate::change::digest::sha256(scope.as_bytes()));
        let scope = std::env::var(SCOPE).map_or_else(|_| String::new(), short);
        Self::take_name(&format!("windlass-lease{scope}"), run, left, over)
    }

    fn take_name(
        name: &str,
        run: &RunIdentity,
        left: impl Fn() -> Option<u64> + Send + Sync + 'static,
        over: fn(),
    ) -> Result<Self, Refused> {
        let address = SocketAddr::from_abstract_name(name)
            .map_err(|error| Refused { message: format!("has no name for its lease: {error}"), hint: format!("see {SCOPE}") })?;
        let RunIdentity { id, owner, since, what, steal, part, .. } = run.clone();
        let claim = Claim { run: id, owner, since, what, steal, part };
        let lease = Self(Arc::new(Shared {
            claim,
            address,
            left: Box::new(left),
            over,
            state: Mutex::default(),
            changed: Condvar::new(),
            members: AtomicUsize::new(0),
        }));
        lease.acquire().map(|()| lease)
    }

    /// Begins a step: until it ends, nobody is given the host.
    ///
    /// # Errors
    /// When another run took the host meanwhile.
    pub fn enter(&self) -> Result<Busy, Refused> {
        let mut state = lock(&self.0.state);
        if let Some(refused) = &state.gone {
            return Err(refused.clone());
        }
        if let Some(thief) = &state.taken_by {
            return Err(self.taken(thief));
        }
        state.busy = true;
        Ok(Busy(Arc::clone(&self.0)))
    }

    fn acquire(&self) -> Result<(), Refused> {
        let (shared, begun) = (&self.0, Instant::now());
        let mut killed = false;
        let mut returns = None;
        let mut between = None;
        loop {
            let tried = shared.attempt();
            if !matches!(tried, Try::Between) {
                between = None;
            }
            match tried {
                Try::Holder(listener) => {
                    let lease = self.clone();
                    std::thread::spawn(move || lease.hold(&listener));
                    return Ok(());
                }
                Try::Member(stream) => {
                    let lease = self.clone();
                    std::thread::spawn(move || lease.belong(stream));
                    return Ok(());
                }
                Try::Held { yields: true, .. } if begun.elapsed() < YIELD => {}
                Try::Held { by, yields: true, .. } => return Err(still_busy(&by)),
                Try::Held { left: Some(left), .. }
                    if *returns.get_or_insert(Instant::now() + Duration::from_secs(left + 2)) > Instant::now() => {}
                Try::Held { by, left, .. } => return Err(held(&by, left)),
                Try::Between if between.get_or_insert_with(Instant::now).elapsed() < BETWEEN => {}
                Try::Between => return Err(silent(None)),
                Try::Silent(Some((pid, _))) if shared.claim.steal && !killed && is_agent(pid) => {
                    killed = true;
                    if let Err(errno) = kill(Pid::from_raw(pid), Signal::SIGKILL) {
                        return Err(cannot_end(pid, errno));
                    }
                }
                Try::Silent(_) if killed && begun.elapsed() < YIELD => {}
                Try::Silent(peer) => return Err(silent(peer)),
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// Answers who asks, until the host is given up.
    fn hold(&self, listener: &UnixListener) {
        for stream in listener.incoming().flatten() {
            if lock(&self.0.state).gone.is_some() {
                return;
            }
            let lease = self.clone();
            std::thread::spawn(move || lease.answer(stream));
        }
    }

    fn answer(&self, mut stream: UnixStream) {
        let shared = &self.0;
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let Ok(Some(Word::Ask(claim))) = frame::read::<Word>(&mut stream) else { return };
        if frame::write(&mut stream, &Word::Held { by: shared.claim.clone(), left: (shared.left)() }).is_err() {
            return;
        }
        if claim.is_one_with(&shared.claim) {
            let _ = stream.set_read_timeout(None);
            if let Ok(stream) = stream.try_clone() {
                lock(&shared.state).members.push(stream);
            }
            shared.members.fetch_add(1, Ordering::SeqCst);
            // It says no more: this waits for its end.
            let _ = frame::read::<Word>(&mut stream);
            shared.members.fetch_sub(1, Ordering::SeqCst);
            shared.changed.notify_all();
        } else if claim.supersedes(&shared.claim) {
            self.give_up(&claim);
        }
    }

    /// Gives the host up when the running step has ended, here and in the other agents of the run.
    fn give_up(&self, thief: &Claim) {
        let shared = &self.0;
        let mut state = lock(&shared.state);
        if state.taken_by.is_some() {
            return;
        }
        state.taken_by = Some(thief.clone());
        for member in &mut state.members {
            let _ = frame::write(member, &Word::Taken(thief.clone()));
        }
        while state.busy || shared.members.load(Ordering::SeqCst) > 0 {
            state = shared.changed.wait_timeout(state, AGAIN).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.gone = Some(self.taken(thief));
        drop(state);
        self.end_where_needless(thief);
        // The thread that waits for visitors has the name: a last one wakes it up.
        let _ = UnixStream::connect_addr(&shared.address);
    }

    /// Ends this process where it is its own run that took the host: its controller is gone for good.
    fn end_where_needless(&self, thief: &Claim) {
        if thief.run == self.0.claim.run {
            (self.0.over)();
        }
    }

    fn taken(&self, by: &Claim) -> Refused {
        if by.run == self.0.claim.run {
            return Refused {
                message: format!("is worked on by a later part of {}", by.told()),
                hint: "the run was resumed: see how it goes on there".to_owned(),
            };
        }
        Refused {
            message: format!("was taken over with --steal-lease by {}", by.told()),
            hint: "this run stopped there after its last step; `windlass resume` goes on when the other has ended".to_owned(),
        }
    }

    /// Shares the lease of another agent of the run, and takes it over when that one ends.
    fn belong(&self, mut stream: UnixStream) {
        let shared = &self.0;
        if let Ok(Some(Word::Taken(thief))) = frame::read::<Word>(&mut stream) {
            let mut state = lock(&shared.state);
            state.taken_by = Some(thief.clone());
            while state.busy {
                state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            drop(state);
            self.end_where_needless(&thief);
            return;
        }
        if let Err(refused) = self.acquire() {
            lock(&shared.state).gone = Some(refused);
        }
    }
}

impl Shared {
    fn attempt(&self) -> Try {
        if let Ok(listener) = UnixListener::bind_addr(&self.address) {
            return Try::Holder(listener);
        }
        let Ok(mut stream) = UnixStream::connect_addr(&self.address) else { return Try::Between };
        let peer = rustix::net::sockopt::socket_peercred(&stream).ok();
        let peer = peer.map(|peer| (peer.pid.as_raw_nonzero().get(), peer.uid.as_raw()));
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let _ = stream.set_write_timeout(Some(PATIENCE));
        // A holder that was killed is asked in vain until the system has cleared it away.
        let is_gone = |error: &std::io::Error| {
            use std::io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected, UnexpectedEof};
            matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected | UnexpectedEof)
        };
        match frame::write(&mut stream, &Word::Ask(self.claim.clone())).and_then(|()| frame::read::<Word>(&mut stream)) {
            Ok(Some(Word::Held { by, .. })) if by.is_one_with(&self.claim) => {
                let _ = stream.set_read_timeout(None);
                Try::Member(stream)
            }
            Ok(Some(Word::Held { by, left })) => Try::Held { left, yields: self.claim.supersedes(&by), by },
            Ok(None) => Try::Between,
            Err(error) if is_gone(&error) => Try::Between,
            _ => Try::Silent(peer),
        }
    }
}

/// A step that is on its way.
pub struct Busy(Arc<Shared>);

impl Drop for Busy {
    fn drop(&mut self) {
        lock(&self.0.state).busy = false;
        self.0.changed.notify_all();
    }
}

fn held(by: &Claim, left: Option<u64>) -> Refused {
    let lost = if left.is_some() { ", whose connection was lost and which waits for it" } else { "" };
    Refused {
        message: format!("is held by {}{lost}", by.told()),
        hint: "wait until that run ends, or take the host from it with --steal-lease: it then stops after its running step".to_owned(),
    }
}

fn still_busy(by: &Claim) -> Refused {
    let seconds = YIELD.as_secs();
    Refused {
        message: format!("is held by {}, which was asked to give it up but did not end its running step within {seconds} s", by.told()),
        hint: "it stops after that step: try again then".to_owned(),
    }
}

fn silent(peer: Option<(i32, u32)>) -> Refused {
    let Some((pid, uid)) = peer else {
        return Refused {
            message: "has a lease that can neither be taken nor asked about".to_owned(),
            hint: "try again in a moment".to_owned(),
        };
    };
    let user = crate::change::accounts::user(&uid.to_string()).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    let program = std::fs::read_to_string(format!("/proc/{pid}/comm")).map_or_else(|_| String::new(), |name| format!(" ({})", name.trim()));
    if is_agent(pid) {
        return Refused {
            message: format!("is held by an agent that does not answer: process {pid} of {user}"),
            hint: "--steal-lease ends it and takes the host over".to_owned(),
        };
    }
    Refused {
        message: format!("has its lease held by process {pid}{program} of {user}, which is not windlass"),
        hint: "see what that process is; the lease is free when it has ended".to_owned(),
    }
}

fn cannot_end(pid: i32, errno: nix::Error) -> Refused {
    Refused {
        message: format!("is held by an agent that does not answer (process {pid}) and cannot be ended: {}", errno.desc()),
        hint: "end that process on the host, or connect as a user who may".to_owned(),
    }
}

/// Whether a process is an agent of windlass.
fn is_agent(pid: i32) -> bool {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).nth(1) == Some(b"agent-serve")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: &str, steal: bool) -> RunIdentity {
        let (owner, since, what) = ("anna@ctl".into(), "12:00".into(), "site.yml".into());
        RunIdentity { id: id.into(), owner, since, what, steal, part: (0, 7), key: [0; 32] }
    }

    fn take(name: &str, run: &RunIdentity) -> Result<Lease, Refused> {
        Lease::take_name(name, run, || None, || {})
    }

    fn name() -> String {
        format!("windlass-lease-test-{:016x}", rand::random::<u64>())
    }

    fn wait_for(mut there: impl FnMut() -> bool) {
        let until = Instant::now() + Duration::from_secs(10);
        while !there() {
            assert!(Instant::now() < until, "waited too long");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_second_run_is_told_who_holds_the_host_and_the_same_run_shares_it() {
        let name = name();
        let first = take(&name, &run("r1", false)).expect("free");
        let refused = take(&name, &run("r2", false)).err().expect("taken");
        assert_eq!(refused.message, "is held by run r1 of anna@ctl (site.yml, since 12:00)");
        let second = take(&name, &run("r1", false)).expect("shared");
        assert!(first.enter().is_ok() && second.enter().is_ok());
    }

    #[test]
    fn a_holder_gives_the_host_up_between_steps_and_says_who_took_it() {
        let name = name();
        let first = take(&name, &run("r1", false)).expect("free");
        let member = take(&name, &run("r1", false)).expect("shared");
        let step = first.enter().expect("held");
        let thief = {
            let name = name.clone();
            std::thread::spawn(move || take(&name, &run("r2", true)).map(|_| ()))
        };
        wait_for(|| member.enter().is_err());
        std::thread::sleep(Duration::from_millis(300));
        assert!(!thief.is_finished(), "the step still runs");
        drop(step);
        assert!(thief.join().expect("ends").is_ok());
        for lease in [first, member] {
            let refused = lease.enter().err().expect("taken");
            assert!(refused.message.starts_with("was taken over with --steal-lease by run r2 "), "{}", refused.message);
        }
    }

    #[test]
    fn a_run_that_is_resumed_takes_the_host_from_the_part_of_it_that_is_gone() {
        static ENDED: AtomicUsize = AtomicUsize::new(0);
        let name = name();
        let over = || {
            ENDED.fetch_add(1, Ordering::SeqCst);
        };
        let gone = Lease::take_name(&name, &run("r1", false), || Some(20), over).expect("free");
        let member = Lease::take_name(&name, &run("r1", false), || Some(20), over).expect("shared");
        let step = gone.enter().expect("held");
        let resumed = {
            let (name, run) = (name.clone(), RunIdentity { part: (1, 8), ..run("r1", false) });
            std::thread::spawn(move || take(&name, &run))
        };
        wait_for(|| member.enter().is_err());
        std::thread::sleep(Duration::from_millis(300));
        assert!(!resumed.is_finished(), "the step still runs");
        drop(step);
        let resumed = resumed.join().expect("ends").expect("taken over");
        assert!(resumed.enter().is_ok());
        wait_for(|| ENDED.load(Ordering::SeqCst) == 2);
        let late = take(&name, &run("r1", false)).err().expect("an agent that comes late does nothing");
        assert!(late.message.starts_with("is held by run r1 "), "{}", late.message);
    }

    #[test]
    fn the_lease_of_a_holder_that_was_killed_is_waited_for() {
        let name = name();
        // Asked, but never answered; as a killed process is until the system has closed its sockets.
        let dying = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).expect("name")).expect("bind");
        let cleared = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(500));
            drop(dying);
        });
        assert!(take(&name, &run("r1", false)).is_ok());
        cleared.join().expect("cleared");
    }

    #[test]
    fn who_holds_the_name_and_does_not_answer_is_named() {
        let name = name();
        let _other = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).expect("name")).expect("bind");
        let refused = take(&name, &run("r1", true)).err().expect("taken");
        let pid = std::process::id();
        assert!(refused.message.starts_with(&format!("has its lease held by process {pid} (")), "{}", refused.message);
        assert!(refused.message.ends_with("which is not windlass"), "{}", refused.message);
    }
}
