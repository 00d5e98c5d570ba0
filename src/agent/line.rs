//! The agent's end of the conversation, which outlives a connection.
//!
//! What is said is written by a thread of its own, so that the work never waits for a wire that is dead. When the
//! connection is lost without a goodbye, the agent waits for a while: a new process of it on the same host
//! (see [`attach`]) finds it by a name that only its controller knows, and carries on the conversation. Both ends count
//! the frames they heard, so that none is lost and none is taken twice.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::frame;
use super::protocol::{FromAgent, ToAgent};
use super::serve::MARK;

/// How long a process that claims to carry on the conversation may take to say so.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long the last words of an agent that ends may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long an agent lives on without its controller where nothing else is said, seconds.
pub const LINGER: u64 = 20;

/// The conversation with the controller.
pub struct Line {
    state: Mutex<State>,
    /// Held while a frame is taken in, so that frames of an old connection stay before those of a new one.
    turn: Mutex<()>,
    hear: Box<dyn Fn(ToAgent) + Send + Sync>,
    end: fn(i32) -> !,
}

#[derive(Default)]
struct State {
    /// Goes up with each connection.
    connection: u64,
    writer: Option<Writer>,
    /// What was said since the last request, and how much before that.
    said: VecDeque<Arc<Vec<u8>>>,
    before: u64,
    heard: u64,
    linger: Duration,
    farewell: bool,
    /// When the connection was lost, while there is none.
    lost: Option<Instant>,
}

/// Writes in a thread of its own.
#[derive(Clone)]
struct Writer {
    give: Sender<Arc<Vec<u8>>>,
    waiting: Arc<AtomicUsize>,
}

impl Writer {
    fn write(&self, bytes: Arc<Vec<u8>>) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        if self.give.send(bytes).is_err() {
            self.waiting.store(0, Ordering::SeqCst);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    /// Returns a line that gives what it hears to `hear`, and calls `end` when the controller is gone for good.
    pub fn new(hear: impl Fn(ToAgent) + Send + Sync + 'static, end: fn(i32) -> !) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), turn: Mutex::default(), hear: Box::new(hear), end })
    }

    /// Speaks on standard output and listens on standard input from now on.
    pub fn open(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        let writer = self.writer(0, io::stdout());
        state.said.iter().for_each(|bytes| writer.write(Arc::clone(bytes)));
        state.writer = Some(writer);
        drop(state);
        let line = Arc::clone(self);
        std::thread::spawn(move || line.listen(0, &mut io::stdin().lock()));
    }

    /// Lives on for `linger` after a connection is lost, and can be found by `name` then.
    pub fn linger(self: &Arc<Self>, linger: Duration, name: &str) {
        let Ok(address) = address(name) else { return };
        let Ok(listener) = UnixListener::bind_addr(&address) else { return };
        lock(&self.state).linger = linger;
        let line = Arc::clone(self);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                line.attached(stream);
            }
        });
    }

    /// Says something to the controller: now, or when it is back.
    ///
    /// # Errors
    /// When it is too long for a frame.
    pub fn say(&self, message: &FromAgent) -> io::Result<()> {
        let bytes = Arc::new(frame::encode(message)?);
        let mut state = lock(&self.state);
        state.said.push_back(Arc::clone(&bytes));
        if let Some(writer) = &state.writer {
            writer.write(bytes);
        }
        Ok(())
    }

    /// Returns how many seconds are left of an agent whose controller is gone; `None` while it is there.
    pub fn left(&self) -> Option<u64> {
        let state = lock(&self.state);
        state.lost.map(|lost| state.linger.saturating_sub(lost.elapsed()).as_secs())
    }

    /// Waits a moment for what was said to be written.
    pub fn flush(&self) {
        let writer = lock(&self.state).writer.clone();
        let until = Instant::now() + LAST_WORDS;
        while writer.as_ref().is_some_and(|writer| writer.waiting.load(Ordering::SeqCst) > 0) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn writer(self: &Arc<Self>, connection: u64, mut to: impl Write + Send + 'static) -> Writer {
        let (give, take) = channel::<Arc<Vec<u8>>>();
        let waiting = Arc::new(AtomicUsize::new(0));
        let (line, left) = (Arc::clone(self), Arc::clone(&waiting));
        std::thread::spawn(move || {
            while let Ok(bytes) = take.recv() {
                if to.write_all(&bytes).and_then(|()| to.flush()).is_err() {
                    left.store(0, Ordering::SeqCst);
                    line.lost(connection);
                    return;
                }
                let _ = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            }
        });
        Writer { give, waiting }
    }

    fn listen(self: &Arc<Self>, connection: u64, from: &mut impl Read) {
        loop {
            match frame::read::<ToAgent>(from) {
                Ok(Some(message)) => {
                    let _turn = lock(&self.turn);
                    if !self.counted(connection, &message) {
                        return;
                    }
                    (self.hear)(message);
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    let _ = self.say(&FromAgent::Broken { message: error.to_string() });
                    self.flush();
                    (self.end)(1);
                }
                Ok(None) | Err(_) => return self.lost(connection),
            }
        }
    }

    /// Counts a frame; `false` where it came by a connection that is no longer the one.
    fn counted(&self, connection: u64, message: &ToAgent) -> bool {
        let mut state = lock(&self.state);
        if state.connection != connection {
            return false;
        }
        state.heard += 1;
        match message {
            ToAgent::Goodbye => state.farewell = true,
            ToAgent::Hello { .. } | ToAgent::Blob { .. } | ToAgent::Cancel => {}
            // Who asks anew has heard all that was answered before.
            _ => {
                state.before += state.said.len() as u64;
                state.said.clear();
            }
        }
        true
    }

    fn lost(self: &Arc<Self>, connection: u64) {
        let mut state = lock(&self.state);
        if state.connection != connection || state.lost.is_some() {
            return;
        }
        if state.farewell || state.linger.is_zero() {
            drop(state);
            (self.end)(0);
        }
        state.writer = None;
        state.lost = Some(Instant::now());
        let (line, linger) = (Arc::clone(self), state.linger);
        std::thread::spawn(move || {
            std::thread::sleep(linger);
            let state = lock(&line.state);
            if state.connection == connection && state.lost.is_some() {
                drop(state);
                (line.end)(0);
            }
        });
    }

    /// Takes up the conversation with whoever is at the other end, if that is the controller.
    fn attached(self: &Arc<Self>, mut stream: UnixStream) {
        let ours = rustix::net::sockopt::socket_peercred(&stream).is_ok_and(|peer| peer.uid.as_raw() == nix::unistd::getuid().as_raw());
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let Ok(Some(ToAgent::Attach { heard })) = (if ours { frame::read(&mut stream) } else { Ok(None) }) else { return };
        let _ = stream.set_read_timeout(None);
        let Ok(out) = stream.try_clone() else { return };
        let mut state = lock(&self.state);
        let Some(known) = heard.checked_sub(state.before).and_then(|known| usize::try_from(known).ok()) else { return };
        state.connection += 1;
        let connection = state.connection;
        let writer = self.writer(connection, out);
        if let Ok(greeting) = frame::encode(&FromAgent::Attached { heard: state.heard }) {
            writer.write(Arc::new(greeting));
        }
        state.said.iter().skip(known).for_each(|bytes| writer.write(Arc::clone(bytes)));
        state.writer = Some(writer);
        state.lost = None;
        drop(state);
        let line = Arc::clone(self);
        std::thread::spawn(move || line.listen(connection, &mut stream));
    }
}

fn address(name: &str) -> io::Result<SocketAddr> {
    SocketAddr::from_abstract_name(format!("windlass-attach:{name}"))
}

/// Passes on what is said between a controller that came back and the agent called `name`, until one of them is gone.
pub fn attach(nonce: &str, name: &str) -> ExitCode {
    let mut out = io::stdout();
    let stream = address(name).and_then(|address| UnixStream::connect_addr(&address));
    let word = if stream.is_ok() { "hello" } else { "gone" };
    if write!(out, "\n{MARK}{nonce}:{word}\n").and_then(|()| out.flush()).is_err() {
        return ExitCode::FAILURE;
    }
    let Ok(mut from) = stream else { return ExitCode::SUCCESS };
    if let Ok(mut to) = from.try_clone() {
        std::thread::spawn(move || {
            let _ = io::copy(&mut io::stdin().lock(), &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
    }
    let mut piece = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut piece) {
        let whole = out.write_all(piece.get(..count).unwrap_or_default());
        if whole.and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}
