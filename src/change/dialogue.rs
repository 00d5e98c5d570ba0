//! Programs that ask: each runs on a terminal of its own, and what it asks is answered by patterns.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime};

use fancy_regex::Regex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use pty_process::Size;
use pty_process::blocking::{Command, Pty};
use serde::{Deserialize, Serialize};

use super::programs::{self, Noted};
use super::{Failure, Output, Program};
use crate::value::pattern;

/// How long is waited for more output at a time, to see whether the program ended.
const SLICE: Duration = Duration::from_millis(100);

/// What a program is answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Dialogue {
    /// Regular expressions, and the answers to each: one for every time, or several, each for one time.
    pub answers: Vec<(String, Answers)>,
    /// Whether answers show in the output.
    pub echo: bool,
    /// Seconds that each question is waited for; none: without end.
    pub patience: Option<u64>,
}

/// The answers to a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answers {
    /// The same each time.
    Same(String),
    /// One after the other; when there are no more, the dialogue fails.
    Each(Vec<String>),
}

/// A question that is waited for.
struct Question<'a> {
    text: &'a str,
    pattern: Regex,
    answers: &'a Answers,
    asked: usize,
}

impl Question<'_> {
    /// Returns the next answer.
    fn answer(&mut self) -> Option<String> {
        let answer = match self.answers {
            Answers::Same(answer) => Some(answer),
            Answers::Each(answers) => answers.get(self.asked),
        };
        self.asked += 1;
        answer.map(|answer| format!("{}\n", answer.trim_end_matches('\n')))
    }
}

/// Runs a program on a terminal and answers its questions.
///
/// # Errors
/// When it cannot be started, asks what there is no answer for, or makes one wait too long.
pub(super) fn run(program: &Program, dialogue: &Dialogue, environment: &[(String, String)]) -> Result<Output, Failure> {
    let mut questions = Vec::new();
    for (text, answers) in &dialogue.answers {
        let pattern = pattern::compile(text, "s").map_err(|why| Failure::argument("responses", why))?;
        questions.push(Question { text, pattern, answers, asked: 0 });
    }
    let started = SystemTime::now();
    let shown = programs::shown(&program.argv);
    let cannot = |error: &dyn std::fmt::Display| Failure::failed(format!("`{shown}` cannot be started: {error}"));
    let (pty, pts) = pty_process::blocking::open().map_err(|error| cannot(&error))?;
    pty.resize(Size::new(24, 80)).map_err(|error| cannot(&error))?;
    if !dialogue.echo {
        let mut terminal = tcgetattr(&pty).map_err(|error| cannot(&error))?;
        terminal.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&pty, SetArg::TCSANOW, &terminal).map_err(|error| cannot(&error))?;
    }
    let Some((name, arguments)) = program.argv.split_first() else { return Err(cannot(&"the command is empty")) };
    let file = if name.contains('/') { Some(name.into()) } else { programs::find(name, &[]) };
    let file = file.ok_or_else(|| cannot(&"there is no such program"))?;
    let added = environment.iter().chain(&program.environment).map(|(name, value)| (name, value));
    let mut command = Command::new(file).args(arguments).envs(added);
    if let Some(folder) = &program.chdir {
        command = command.current_dir(folder);
    }
    let (mut child, group) = Noted::start(|| {
        let child = command.spawn(pts).map_err(|error| cannot(&error))?;
        let process = child.id();
        Ok((child, process))
    })?;
    let mut talk = Talk { pty, heard: Vec::new(), open: 0 };
    let told = talk.all(&mut questions, dialogue.patience.map(Duration::from_secs), || child.try_wait().ok().flatten());
    if !matches!(told, Told::Ended) {
        group.kill();
    }
    let status = child.wait();
    group.over();
    let Ok(stdout) = String::from_utf8(talk.heard) else {
        return Err(Failure::failed("Refusing to deserialize an invalid UTF8 string value: the program printed what is no text"));
    };
    match told {
        Told::Ended => {
            let rc = programs::code(status.unwrap_or_else(|_| ExitStatus::default()));
            let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            Ok(Output { rc, stdout: stdout.into_bytes(), stderr: Vec::new(), start: seconds(started), end: seconds(SystemTime::now()) })
        }
        Told::Late => Err(Failure::failed("command exceeded timeout").with("stdout", stdout.trim_end())),
        Told::Speechless(question) => {
            Err(Failure::failed(format!("No remaining responses for '{question}', output was '{}'", stdout.trim_end())))
        }
    }
}

/// How a talk ended.
enum Told {
    /// The program ended.
    Ended,
    /// Nothing was asked for too long.
    Late,
    /// This was asked once more than there are answers.
    Speechless(String),
}

struct Talk {
    pty: Pty,
    heard: Vec<u8>,
    /// Where in `heard` what is not answered begins.
    open: usize,
}

impl Talk {
    /// Answers until the program ends.
    fn all(&mut self, questions: &mut [Question<'_>], patience: Option<Duration>, mut ended: impl FnMut() -> Option<ExitStatus>) -> Told {
        let mut since = Instant::now();
        loop {
            let is_over = ended().is_some();
            match self.listen() {
                Some(true) => {}
                // What was left in the background may keep the terminal open.
                Some(false) if is_over => return Told::Ended,
                Some(false) => {}
                None => return Told::Ended,
            }
            while let Some((which, end)) = self.question(questions) {
                self.open = end;
                since = Instant::now();
                let Some(question) = questions.get_mut(which) else { break };
                let Some(answer) = question.answer() else { return Told::Speechless(question.text.to_owned()) };
                if self.pty.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
            if patience.is_some_and(|patience| since.elapsed() > patience) {
                return Told::Late;
            }
        }
    }

    /// Returns the question that is asked first in what is not answered yet, and where it ends.
    fn question(&self, questions: &[Question<'_>]) -> Option<(usize, usize)> {
        let bytes = self.heard.get(self.open..)?;
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?,
        };
        let found = questions.iter().enumerate().filter_map(|(which, question)| {
            let found = question.pattern.find(text).ok().flatten()?;
            (found.end() > 0).then(|| (found.start(), which, self.open + found.end()))
        });
        found.min().map(|(_, which, end)| (which, end))
    }

    /// Takes in what is printed next; false where nothing came for a while, `None` where nothing will.
    fn listen(&mut self) -> Option<bool> {
        let mut polled = [PollFd::new(self.pty.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, PollTimeout::try_from(SLICE).unwrap_or(PollTimeout::ZERO)) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => return Some(false),
            Ok(_) => {}
            Err(_) => return None,
        }
        let mut buffer = [0; 16 * 1024];
        match self.pty.read(&mut buffer) {
            Ok(count @ 1..) => {
                let room = programs::MOST_OUTPUT.saturating_sub(self.heard.len()).min(count);
                self.heard.extend_from_slice(buffer.get(..room).unwrap_or_default());
                Some(true)
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Some(true),
            // The end of a terminal is an error.
            Ok(_) | Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(line: &str, answers: &[(&str, Answers)], patience: Option<u64>) -> Result<Output, Failure> {
        let answers = answers.iter().map(|(text, answers)| ((*text).to_owned(), answers.clone())).collect();
        let program = Program { argv: vec!["sh".into(), "-c".into(), line.into()], ..Program::default() };
        run(&program, &Dialogue { answers, echo: false, patience }, &[])
    }

    #[test]
    fn questions_are_answered_on_a_terminal() {
        let line =
            "test -t 0 && printf 'name: ' >/dev/tty && read name </dev/tty && printf 'again: ' && read more && echo \"<$name $more>\"";
        let answers = [("(?i)NAME", Answers::Same("Ada".into())), ("again", Answers::Each(vec!["L.\n".into()]))];
        let output = talk(line, &answers, Some(20)).expect("answered");
        assert_eq!((output.rc, String::from_utf8_lossy(&output.stdout).as_ref()), (0, "name: again: <Ada L.>\r\n"));
    }

    #[test]
    fn what_is_asked_too_often_or_never_fails() {
        let twice = "printf 'q? '; read a; printf 'q? '; read b";
        let failure = talk(twice, &[("q", Answers::Each(vec!["one".into()]))], Some(20)).expect_err("one answer");
        assert!(failure.to_string().starts_with("No remaining responses for 'q'"), "{failure}");
        let begun = Instant::now();
        let failure = talk("sleep 60", &[("q", Answers::Same("a".into()))], Some(1)).expect_err("never asks");
        assert_eq!(failure.to_string(), "command exceeded timeout");
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}
