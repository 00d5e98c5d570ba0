//! The person at the terminal, whom a run may ask.

use std::io::{IsTerminal, Stdin, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, read, tcgetpgrp};

use crate::run::{Asker, Waited};

const INTERRUPT: u8 = 3;
const END: u8 = 4;
const KILL: u8 = 21;
const ERASE: [u8; 2] = [8, 127];

/// The person at the terminal.
pub struct Person;

impl Asker for Person {
    fn ask(&self, prompt: &str, echo: bool) -> Option<String> {
        use std::io::BufRead;
        if !std::io::stdin().is_terminal() {
            return None;
        }
        if !echo {
            return rpassword::prompt_password(prompt).ok();
        }
        let mut err = std::io::stderr().lock();
        let _ = write!(err, "{prompt}").and_then(|()| err.flush());
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).ok()?;
        Some(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    fn wait(&self, prompt: &str, seconds: Option<f64>, echo: bool) -> Option<Waited> {
        let keys = Keys::take()?;
        show(prompt);
        let until = seconds.and_then(|seconds| Instant::now().checked_add(Duration::from_secs_f64(seconds)));
        let mut typed: Vec<u8> = Vec::new();
        loop {
            match keys.next(until) {
                // With a time, Enter ends nothing, and what is typed counts for nothing.
                None => break,
                Some(b'\r' | b'\n' | END) if until.is_none() => break,
                Some(INTERRUPT) => {
                    show("\nPress 'C' to continue the play or 'A' to abort ");
                    loop {
                        match keys.next(None) {
                            Some(b'c' | b'C') => break,
                            Some(b'a' | b'A') | None => {
                                show("\n");
                                return Some(Waited::Abort);
                            }
                            Some(_) => {}
                        }
                    }
                    break;
                }
                Some(key) if ERASE.contains(&key) || key == keys.erase => {
                    // A letter may be several bytes, of which all but the first say that they go on.
                    while let Some(byte) = typed.pop() {
                        if byte & 0xc0 != 0x80 {
                            show(if echo { "\u{8} \u{8}" } else { "" });
                            break;
                        }
                    }
                }
                Some(KILL) => {
                    let letters = String::from_utf8_lossy(&typed).chars().count();
                    show(&if echo { "\u{8} \u{8}".repeat(letters) } else { String::new() });
                    typed.clear();
                }
                Some(key) if key < 32 => {}
                Some(key) => {
                    typed.push(key);
                    if echo {
                        let mut err = std::io::stderr().lock();
                        let _ = err.write_all(&[key]).and_then(|()| err.flush());
                    }
                }
            }
        }
        show("\n");
        Some(Waited::On(if until.is_some() { String::new() } else { String::from_utf8_lossy(&typed).into_owned() }))
    }

    fn command(&self, prompt: &str) -> Option<String> {
        use std::io::BufRead;
        let mut out = std::io::stdout().lock();
        let _ = write!(out, "{prompt}").and_then(|()| out.flush());
        drop(out);
        let mut line = String::new();
        match std::io::stdin().lock().read_line(&mut line) {
            Ok(1..) => Some(line.trim_end_matches(['\r', '\n']).to_owned()),
            _ => None,
        }
    }
}

fn show(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// The terminal's keys, each as it is pressed, Ctrl+C among them; given back when it goes.
struct Keys {
    stdin: Stdin,
    before: Termios,
    /// The key that takes a letter back.
    erase: u8,
}

impl Keys {
    /// Takes the keys, where there is a terminal and it is ours.
    fn take() -> Option<Self> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() || tcgetpgrp(&stdin).ok()? != getpgrp() {
            return None;
        }
        let before = tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        raw.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG);
        if let Some(least) = raw.control_chars.get_mut(SpecialCharacterIndices::VMIN as usize) {
            *least = 1;
        }
        tcsetattr(&stdin, SetArg::TCSANOW, &raw).ok()?;
        let erase = before.control_chars.get(SpecialCharacterIndices::VERASE as usize).copied().unwrap_or_default();
        Some(Self { stdin, before, erase })
    }

    /// Returns the next key, or `None` when the time is over or the terminal is gone.
    fn next(&self, until: Option<Instant>) -> Option<u8> {
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let slice = left.unwrap_or(Duration::from_secs(60)).min(Duration::from_secs(60)).as_millis();
            let mut polled = [PollFd::new(self.stdin.as_fd(), PollFlags::POLLIN)];
            match poll(&mut polled, PollTimeout::try_from(slice).unwrap_or(PollTimeout::MAX)) {
                Ok(0) if left.is_some_and(|left| left.as_millis() <= slice) => return None,
                Ok(0) | Err(nix::errno::Errno::EINTR) => {}
                Ok(_) => {
                    let mut key = [0];
                    return (read(&self.stdin, &mut key) == Ok(1)).then_some(key[0]);
                }
                Err(_) => return None,
            }
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.stdin, SetArg::TCSANOW, &self.before);
    }
}
