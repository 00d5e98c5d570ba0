//! The person at the terminal, whom a run may ask.

use crate::run::Asker;

/// The person at the terminal.
pub struct Person;

impl Asker for Person {
    fn ask(&self, prompt: &str, echo: bool) -> Option<String> {
        use std::io::{BufRead, IsTerminal, Write};
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

    fn command(&self, prompt: &str) -> Option<String> {
        use std::io::{BufRead, Write};
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
