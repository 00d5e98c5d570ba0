//! What outlives a killed agent: a tiny process beside it that then ends its programs and removes its temporary files.
//!
//! The agent notes what it starts and makes, before it does. Its keeper reads the notes from a pipe whose other end only the
//! agent has: however the agent ends, the pipe does too. The keeper has a session of its own, so that what is sent to the
//! agent's group or session does not reach it.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpid, getsid, setsid};

use super::temporary;

/// The word by which this program is told to be a keeper.
pub const WORD: &str = "agent-keep";

/// How often, and how long apart, a program is looked for that was being started when the agent was killed.
const LOOKS: (u32, Duration) = (5, Duration::from_millis(20));

/// Whether this process wants a keeper.
static WANTED: AtomicBool = AtomicBool::new(false);

/// The keeper, once there was something to note.
static KEEPER: Mutex<Option<Child>> = Mutex::new(None);

/// Asks for a keeper. It is started at the first note. A session of its own tells this process' programs from others'.
pub fn enable() {
    // One that leads a group cannot have it; then only what was noted as started is ended.
    let _ = setsid();
    WANTED.store(true, Ordering::SeqCst);
}

/// One thing for the keeper to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note<'a> {
    /// A program is about to be started.
    Starting,
    /// It was not started.
    NotStarted,
    /// It was started, and leads this process group.
    Started(i32),
    /// It ended.
    Ended(i32),
    /// A temporary file of this name may exist from now on.
    Made(&'a Path),
    /// It does no longer.
    Gone(&'a Path),
}

/// Tells the keeper, if one is wanted. One that cannot be told is no reason to stop the work.
pub(super) fn note(note: &Note<'_>) {
    if !WANTED.load(Ordering::SeqCst) {
        return;
    }
    let mut keeper = KEEPER.lock().unwrap_or_else(PoisonError::into_inner);
    if keeper.is_none() {
        *keeper = start().ok();
    }
    let told = keeper.as_mut().and_then(|child| child.stdin.as_mut()).map(|pipe| pipe.write_all(&encoded(note)));
    if !matches!(told, Some(Ok(()))) {
        *keeper = None;
    }
}

#[allow(clippy::disallowed_methods, reason = "starts this very program as its keeper")]
fn start() -> io::Result<Child> {
    let (own, session) = (getpid(), getsid(None).unwrap_or(Pid::from_raw(0)));
    let session = if own == session { session.as_raw() } else { 0 };
    Command::new("/proc/self/exe")
        .args([WORD, &session.to_string()])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

/// A note is its letter, its text and a zero byte, which no path has.
fn encoded(note: &Note<'_>) -> Vec<u8> {
    let mut bytes = match note {
        Note::Starting => b"s".to_vec(),
        Note::NotStarted => b"n".to_vec(),
        Note::Started(group) => format!("g{group}").into_bytes(),
        Note::Ended(group) => format!("e{group}").into_bytes(),
        Note::Made(path) => [b"m", path.as_os_str().as_bytes()].concat(),
        Note::Gone(path) => [b"r", path.as_os_str().as_bytes()].concat(),
    };
    bytes.push(0);
    bytes
}

/// What the notes came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Book {
    running: BTreeSet<i32>,
    /// Every group that was ever noted: what is left of those that ended was left on purpose.
    known: BTreeSet<i32>,
    starting: usize,
    files: BTreeSet<PathBuf>,
}

impl Book {
    fn take(&mut self, note: &[u8]) {
        let Some((letter, text)) = note.split_first() else { return };
        let group = || std::str::from_utf8(text).ok().and_then(|text| text.parse::<i32>().ok()).filter(|group| *group > 1);
        let path = || PathBuf::from(std::ffi::OsString::from_vec(text.to_vec()));
        match letter {
            b's' => self.starting += 1,
            b'n' => self.starting = self.starting.saturating_sub(1),
            b'g' => {
                self.starting = self.starting.saturating_sub(1);
                self.running.extend(group());
                self.known.extend(group());
            }
            b'e' => self.running.retain(|running| Some(*running) != group()),
            b'm' => {
                self.files.insert(path());
            }
            b'r' => {
                self.files.remove(&path());
            }
            _ => {}
        }
    }

    /// Reads notes until whoever writes them is gone.
    fn read(from: &mut impl Read) -> Self {
        let (mut book, mut rest, mut piece) = (Self::default(), Vec::new(), vec![0; 8192]);
        loop {
            let count = match from.read(&mut piece) {
                Ok(0) => return book,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return book,
            };
            for byte in piece.get(..count).unwrap_or_default() {
                if *byte == 0 { book.take(&std::mem::take(&mut rest)) } else { rest.push(*byte) }
            }
        }
    }

    /// Puts things right after the agent was killed.
    fn clear(&self, session: i32) {
        let end = |groups: &BTreeSet<i32>| {
            for group in groups {
                let _ = killpg(Pid::from_raw(*group), Signal::SIGKILL);
            }
        };
        end(&self.running);
        if self.starting > 0 && session > 0 {
            for _ in 0..LOOKS.0 {
                end(&strangers(session, &self.known));
                std::thread::sleep(LOOKS.1);
            }
        }
        self.files.iter().for_each(|path| temporary::remove(path));
    }
}

/// Returns the process groups of a session that are neither the leader's nor known.
fn strangers(session: i32, known: &BTreeSet<i32>) -> BTreeSet<i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = entries.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
    let groups = stats.filter_map(|stat| {
        // The name of the program, in parentheses, may have anything in it.
        let mut words = stat.rsplit_once(')')?.1.split_whitespace().skip(2);
        let (group, of): (i32, i32) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (of == session && group != session && !known.contains(&group)).then_some(group)
    });
    groups.collect()
}

/// The keeper's whole life. `session` is the agent's, or 0 where it has none of its own.
pub fn keep(session: &str) {
    let _ = setsid();
    let _ = nix::sys::prctl::set_name(c"windlass-keeper");
    let book = Book::read(&mut io::stdin().lock());
    book.clear(session.parse().unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_book_has_what_is_neither_ended_nor_gone() {
        let (a, b) = (Path::new("/srv/.windlass-1\n-a"), Path::new("/srv/b"));
        let notes = [
            Note::Made(a),
            Note::Starting,
            Note::Started(41),
            Note::Starting,
            Note::NotStarted,
            Note::Made(b),
            Note::Gone(b),
            Note::Ended(41),
            Note::Starting,
            Note::Started(42),
            Note::Starting,
        ];
        let wire: Vec<u8> = notes.iter().flat_map(encoded).collect();
        let book = Book::read(&mut wire.as_slice());
        let wanted = Book { running: [42].into(), known: [41, 42].into(), starting: 1, files: [a.to_owned()].into() };
        assert_eq!(book, wanted);
    }

    #[test]
    fn a_note_never_names_every_process() {
        let mut book = Book::default();
        for text in ["g-1", "g0", "g1", "gx", "g"] {
            book.take(text.as_bytes());
        }
        assert!(book.running.is_empty());
    }
}
