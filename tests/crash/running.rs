//! A windlass at work: waited for, killed, and how it ended.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::record::Record;

/// How often the record is looked at.
const AGAIN: Duration = Duration::from_millis(1);

/// When something is killed.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    /// It has told of so many steps. They may not be in the record yet: a run that is resumed may have no more of them than before.
    Told(usize),
    /// It has added so many steps to the record: a run that is resumed goes on after them.
    Recorded(usize),
    /// Its hosts have noted something so often: that they begin to change something, or that they have. It may not know yet.
    Noted(usize),
    /// So much time on.
    After(Duration),
}

/// How a process of windlass ended.
pub struct Ended {
    /// Its exit code; none where it was killed.
    pub code: Option<i32>,
    /// What it told.
    pub events: Vec<Value>,
    /// What it complained.
    pub errors: String,
    /// How many steps are in the record, and how many of them it added.
    pub recorded: usize,
    pub fresh: usize,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "exit code {:?}\n{}", self.code, self.errors)?;
        for event in self.events.iter().filter(|event| event["earlier"] != true) {
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            writeln!(
                f,
                "  {} {} {} {} {} {}{}",
                text("event"),
                text("host"),
                text("task"),
                text("label"),
                text("status"),
                text("because"),
                text("message") + &text("text")
            )?;
        }
        Ok(())
    }
}

impl Ended {
    /// Returns how many steps were done now.
    pub fn steps(&self) -> usize {
        self.events.iter().filter(|event| is_step(event)).count()
    }
}

fn is_step(event: &Value) -> bool {
    event["event"] == "result" && event["earlier"] != true
}

/// A windlass at work.
pub struct Running {
    child: Child,
    events: Receiver<Value>,
    heard: Vec<Value>,
    record: Record,
    /// How many steps the record had before.
    before: usize,
}

impl Running {
    /// Starts it, with `--output json`. Of what it does there is this record.
    pub fn start(mut command: Command, mut record: Record) -> Self {
        let before = record.steps().len();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("windlass starts");
        let (send, events) = channel();
        let output = BufReader::new(child.stdout.take().expect("output"));
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Ok(event) = serde_json::from_str::<Value>(&line)
                    && send.send(event).is_err()
                {
                    return;
                }
            }
        });
        Self { child, events, heard: Vec::new(), record, before }
    }

    /// Kills it.
    pub fn kill(&self) {
        let _ = kill(Pid::from_raw(i32::try_from(self.child.id()).expect("id")), Signal::SIGKILL);
    }

    /// Waits for the moment, at most so long; false where the run ended before it.
    pub fn wait_for(&mut self, moment: Moment, patience: Duration) -> bool {
        let (mut told, mut notes, mut noted) = (0, 0, self.record.noted());
        let until = Instant::now()
            + match moment {
                Moment::After(time) => time,
                Moment::Told(_) | Moment::Recorded(_) | Moment::Noted(_) => patience,
            };
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if matches!(moment, Moment::Noted(_)) {
                let now = self.record.noted();
                notes += usize::from(now > noted);
                noted = now;
            }
            let pause = match moment {
                Moment::Recorded(wanted) if self.record.steps().len() >= self.before + wanted => return true,
                Moment::Noted(wanted) if notes >= wanted => return true,
                Moment::Recorded(_) | Moment::Noted(_) => left.min(AGAIN),
                Moment::Told(_) | Moment::After(_) => left,
            };
            match self.events.recv_timeout(pause) {
                Ok(event) => {
                    told += usize::from(is_step(&event));
                    self.heard.push(event);
                    if matches!(moment, Moment::Told(wanted) if told >= wanted) {
                        return true;
                    }
                }
                Err(RecvTimeoutError::Timeout) if pause < left => {}
                Err(RecvTimeoutError::Timeout) => return matches!(moment, Moment::After(_)),
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Waits for its end, and ends it where it takes too long.
    pub fn finish(mut self, patience: Duration) -> Ended {
        let until = Instant::now() + patience;
        let mut late = String::new();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("child") {
                break status;
            }
            if Instant::now() > until && late.is_empty() {
                late = format!("LATE: it did not end within {patience:?}, and was killed\n");
                self.kill();
            }
            self.heard.extend(self.events.try_iter());
            std::thread::sleep(Duration::from_millis(5));
        };
        while let Ok(event) = self.events.recv_timeout(Duration::from_secs(5)) {
            self.heard.push(event);
        }
        let mut errors = late;
        if let Some(stderr) = &mut self.child.stderr {
            let _ = stderr.read_to_string(&mut errors);
        }
        let recorded = self.record.steps().len();
        Ended { code: status.code(), events: self.heard, errors, recorded, fresh: recorded - self.before }
    }
}
