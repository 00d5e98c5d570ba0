//! A host seen from afar: the probe of modules that plan on the controller.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::OwnedMutexGuard;

use super::client::{Agent, Circumstances};
use super::protocol::{Answer, Question};
use crate::change::probe::Stat;
use crate::change::{
    Done, Failure, Foreseen, GroupEntry, Mode, Outcome, Output, Plan, Probe, Program, Request, Response, UnitState, UserEntry,
};
use crate::connect::Trouble;

/// A host seen through its agent. It blocks: only for threads that may wait.
pub struct RemoteProbe {
    runtime: Handle,
    agent: Mutex<OwnedMutexGuard<Agent>>,
    mode: Mode,
    diff: bool,
    environment: Vec<(String, String)>,
    foreseen: Mutex<Vec<Foreseen>>,
    step: Option<String>,
    lost: Mutex<Option<Trouble>>,
    variables: OnceLock<Vec<(String, String)>>,
}

impl std::fmt::Debug for RemoteProbe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RemoteProbe")
    }
}

fn take<T: Default>(slot: &Mutex<T>) -> T {
    std::mem::take(&mut *slot.lock().unwrap_or_else(PoisonError::into_inner))
}

impl RemoteProbe {
    /// Returns the host behind `agent`.
    pub fn new(runtime: Handle, agent: OwnedMutexGuard<Agent>, circumstances: Circumstances) -> Self {
        let Circumstances { mode, diff, environment, foreseen, step } = circumstances;
        let (agent, foreseen) = (Mutex::new(agent), Mutex::new(foreseen));
        Self { runtime, agent, mode, diff, environment, foreseen, step, lost: Mutex::default(), variables: OnceLock::new() }
    }

    /// Carries out a plan on the host.
    pub fn carry_out(&self, plan: Plan) -> (Vec<Done>, Outcome) {
        let circumstances = self.circumstances();
        let mut agent = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
        match self.runtime.block_on(agent.carry_out(plan, circumstances)) {
            Ok(carried) => carried,
            Err(trouble) => (Vec::new(), Outcome { failure: Some(self.note(trouble)), ..Outcome::default() }),
        }
    }

    /// Returns how the connection was lost, if it was.
    pub fn lost(&self) -> Option<Trouble> {
        take(&self.lost)
    }

    fn circumstances(&self) -> Circumstances {
        Circumstances {
            mode: self.mode,
            diff: self.diff,
            environment: self.environment.clone(),
            foreseen: take(&self.foreseen),
            step: self.step.clone(),
        }
    }

    fn note(&self, trouble: Trouble) -> Failure {
        let failure = Failure::failed(trouble.message.clone());
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(trouble);
        failure
    }

    fn ask(&self, question: Question) -> Result<Answer, Failure> {
        if self.lost.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Err(Failure::failed("the connection was lost"));
        }
        let circumstances = self.circumstances();
        let mut agent = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
        match self.runtime.block_on(agent.ask(question, circumstances)) {
            Ok(answer) => answer,
            Err(trouble) => Err(self.note(trouble)),
        }
    }
}

/// Takes the one kind of answer that a question has.
macro_rules! only {
    ($answer:expr, $kind:ident) => {
        match $answer? {
            Answer::$kind(inner) => Ok(inner),
            _ => Err(Failure::failed("the agent answered another question")),
        }
    };
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Probe for RemoteProbe {
    fn stat(&self, path: &Path, follow: bool) -> Result<Option<Stat>, Failure> {
        only!(self.ask(Question::Stat { path: text(path), follow }), Stat)
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, Failure> {
        only!(self.ask(Question::Read { path: text(path) }), Bytes)
    }

    fn digest(&self, path: &Path, algorithm: &str) -> Result<Option<String>, Failure> {
        only!(self.ask(Question::Digest { path: text(path), algorithm: algorithm.to_owned() }), Text)
    }

    fn list(&self, path: &Path) -> Result<Option<Vec<String>>, Failure> {
        only!(self.ask(Question::List { path: text(path) }), Names)
    }

    fn user(&self, name: &str) -> Result<Option<UserEntry>, Failure> {
        only!(self.ask(Question::User { name: name.to_owned() }), User)
    }

    fn group(&self, name: &str) -> Result<Option<GroupEntry>, Failure> {
        only!(self.ask(Question::Group { name: name.to_owned() }), Group)
    }

    fn groups_of(&self, user: &str) -> Result<Vec<String>, Failure> {
        only!(self.ask(Question::GroupsOf { user: user.to_owned() }), Names).map(Option::unwrap_or_default)
    }

    fn unit(&self, name: &str, scope: &str) -> Result<UnitState, Failure> {
        only!(self.ask(Question::Unit { name: name.to_owned(), scope: scope.to_owned() }), Unit)
    }

    fn package(&self, name: &str) -> Result<Option<String>, Failure> {
        only!(self.ask(Question::Package { name: name.to_owned() }), Text)
    }

    fn query(&self, argv: &[&str]) -> Result<Output, Failure> {
        only!(self.ask(Question::Query { argv: argv.iter().map(|word| (*word).to_owned()).collect() }), Output)
    }

    fn vouched(&self, program: &Program) -> Result<Output, Failure> {
        only!(self.ask(Question::Vouched { program: program.clone() }), Output)
    }

    fn http(&self, request: &Request) -> Result<Response, Failure> {
        only!(self.ask(Question::Http { request: request.clone() }), Response)
    }

    fn connect(&self, host: &str, port: u16, timeout: Duration) -> Result<Result<(), String>, Failure> {
        let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        only!(self.ask(Question::Connect { host: host.to_owned(), port, milliseconds }), Connected)
    }

    fn environment(&self, name: &str) -> Option<String> {
        self.environment_all().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    fn environment_all(&self) -> Vec<(String, String)> {
        self.variables
            .get_or_init(|| match self.ask(Question::Environment) {
                Ok(Answer::Environment(variables)) => variables,
                _ => Vec::new(),
            })
            .clone()
    }

    fn now(&self) -> f64 {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
    }

    fn wait(&self, duration: Duration) {
        if self.moves() {
            std::thread::sleep(duration);
        }
    }

    fn moves(&self) -> bool {
        self.mode == Mode::Apply
    }

    fn me(&self) -> Result<UserEntry, Failure> {
        only!(self.ask(Question::Me), User)?.ok_or_else(|| Failure::failed("the agent does not know its user"))
    }

    fn find_program(&self, name: &str) -> Result<Option<PathBuf>, Failure> {
        only!(self.ask(Question::FindProgram { name: name.to_owned() }), Text).map(|path| path.map(PathBuf::from))
    }

    fn free_space(&self, path: &Path) -> Option<(u64, u64)> {
        match self.ask(Question::FreeSpace { path: text(path) }) {
            Ok(Answer::Space(space)) => space,
            _ => None,
        }
    }
}
